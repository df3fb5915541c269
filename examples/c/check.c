/* Tests the library against polychron.h: check MODEL.pcn, a model of spikes. */
#include "polychron.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                           \
    do {                                                                           \
        if (!(condition)) {                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            exit(EXIT_FAILURE);                                                    \
        }                                                                          \
    } while (0)

enum { CHANNELS = 4096, BEHIND = 64 };

static uint8_t file[1 << 20];
static size_t length, needed, n_channels, n_classes;

/* A network in memory of exactly the size it needs. All bits of it, and of the bytes behind it,
   are one. */
static polychron *open_network(uint8_t **memory) {
    polychron *network;
    CHECK(*memory = malloc(needed + BEHIND));
    memset(*memory, 0xff, needed + BEHIND);
    CHECK(polychron_open(file, length, *memory, needed, &network) == POLYCHRON_OK && network);
    return network;
}

static void check_behind(const uint8_t *memory) {
    for (size_t i = 0; i < BEHIND; i++)
        CHECK(memory[needed + i] == 0xff);
}

static int same(const polychron *a, const polychron *b) {
    for (size_t class = 0; class < n_classes; class++)
        if (polychron_score(a, class) != polychron_score(b, class))
            return 0;
    return polychron_decide(a) == polychron_decide(b);
}

static size_t spikes(unsigned tick, uint16_t *channels) {
    size_t count = 0;
    for (size_t channel = 0; channel < n_channels; channel++)
        if ((channel * 7 + tick * 13) % 23 == 0)
            channels[count++] = (uint16_t)channel;
    return count;
}

static void check_open(void) {
    static _Alignas(8) uint8_t memory[8];
    static uint8_t bad[sizeof file];
    polychron *network = (polychron *)memory;
    CHECK(polychron_fault(file, length) == SIZE_MAX);
    CHECK(polychron_open(NULL, length, memory, needed, &network) == POLYCHRON_NULL && !network);
    CHECK(polychron_open(file, length, NULL, needed, &network) == POLYCHRON_NULL);
    CHECK(polychron_open(file, length, memory, needed, NULL) == POLYCHRON_NULL);
    CHECK(polychron_open(file, length, memory + 4, needed, &network) == POLYCHRON_ALIGNMENT);
    CHECK(polychron_open(file, SIZE_MAX, memory, needed, &network) == POLYCHRON_COUNT);
    network = (polychron *)memory;
    CHECK(polychron_open(file, length, memory, needed - 1, &network) == POLYCHRON_MEMORY && !network);
    CHECK(polychron_open(file, length, memory, 0, &network) == POLYCHRON_MEMORY);
    CHECK(polychron_memory(NULL, length) == 0 && polychron_fault(NULL, length) == 0);
    CHECK(polychron_memory(file, SIZE_MAX) == 0);
    for (size_t shorter = 0; shorter < length; shorter += shorter < 64 ? 1 : length / 61) {
        CHECK(polychron_open(file, shorter, memory, SIZE_MAX, &network) == POLYCHRON_FILE && !network);
        CHECK(polychron_memory(file, shorter) == 0);
        CHECK(polychron_fault(file, shorter) == (shorter < 32 ? shorter : 8));
    }
    static const struct {
        size_t byte, fault;
    } DAMAGE[] = {{0, 0}, {4, 4}, {6, 6}, {9, 8}, {100, 12}};
    for (size_t i = 0; i < sizeof DAMAGE / sizeof *DAMAGE; i++) {
        memcpy(bad, file, length);
        bad[DAMAGE[i].byte] ^= 1;
        CHECK(polychron_open(bad, length, memory, SIZE_MAX, &network) == POLYCHRON_FILE && !network);
        CHECK(polychron_fault(bad, length) == DAMAGE[i].fault && polychron_memory(bad, length) == 0);
    }
}

static void check_null(void) {
    uint16_t channels[1] = {0};
    int8_t values[1] = {0};
    size_t label;
    CHECK(polychron_step(NULL, channels, 1) == POLYCHRON_NULL);
    CHECK(polychron_step_values(NULL, values, 1) == POLYCHRON_NULL);
    CHECK(polychron_finish(NULL) == POLYCHRON_NULL && polychron_reset(NULL) == POLYCHRON_NULL);
    CHECK(polychron_forget_scores(NULL) == POLYCHRON_NULL);
    CHECK(polychron_decide(NULL) == SIZE_MAX && polychron_score(NULL, 0) == INT32_MIN);
    CHECK(!polychron_label(NULL, 0, &label) && label == 0);
    CHECK(!polychron_tick_us(NULL) && !polychron_channels(NULL) && !polychron_classes(NULL));
}

static void check_labels(const polychron *network) {
    size_t label;
    for (size_t class = 0; class < n_classes; class++) {
        const char *start = polychron_label(network, class, &label);
        CHECK(start > (const char *)file && start + label < (const char *)file + length);
        CHECK(start[label] == '\n' && !memchr(start, '\n', label));
    }
    CHECK(!polychron_label(network, n_classes, &label) && label == 0);
    CHECK(!polychron_label(network, 0, NULL));
    CHECK(polychron_score(network, n_classes) == INT32_MIN);
}

/* Calls that fail do not change a: it stays equal to the network b. */
static void check_step(polychron *a, polychron *b) {
    static uint16_t channels[CHANNELS + 1];
    static int8_t values[CHANNELS + 1];
    const uint16_t *odd = (const uint16_t *)((const uint8_t *)channels + 1);
    for (unsigned tick = 0; tick < 60; tick++) {
        size_t count = spikes(tick, channels);
        memset(values, 0, sizeof values);
        for (size_t i = 0; i < count; i++)
            values[channels[i]] = 1;
        CHECK(polychron_step(a, channels, count) == POLYCHRON_OK);
        CHECK(polychron_step_values(b, values, n_channels) == POLYCHRON_OK);
        CHECK(same(a, b));

        channels[count] = (uint16_t)n_channels;
        CHECK(polychron_step(a, channels, count + 1) == POLYCHRON_CHANNEL);
        CHECK(polychron_step(a, NULL, 1) == POLYCHRON_NULL);
        CHECK(polychron_step(a, odd, 1) == POLYCHRON_ALIGNMENT);
        CHECK(polychron_step(a, channels, SIZE_MAX) == POLYCHRON_COUNT);
        CHECK(polychron_step_values(a, NULL, n_channels) == POLYCHRON_NULL);
        CHECK(polychron_step_values(a, values, n_channels + 1) == POLYCHRON_COUNT);
        CHECK(polychron_step_values(a, values, n_channels - 1) == POLYCHRON_COUNT);
        CHECK(polychron_step_values(a, values, SIZE_MAX) == POLYCHRON_COUNT);
        values[n_channels - 1] = 2;
        CHECK(polychron_step_values(a, values, n_channels) == POLYCHRON_VALUE);
        values[n_channels - 1] = INT8_MIN;
        CHECK(polychron_step_values(a, values, n_channels) == POLYCHRON_VALUE);
        CHECK(same(a, b));
    }
    CHECK(polychron_step(a, NULL, 0) == POLYCHRON_OK && polychron_step(b, channels, 0) == POLYCHRON_OK);
    CHECK(polychron_finish(a) == POLYCHRON_OK && !same(a, b));
    CHECK(polychron_finish(b) == POLYCHRON_OK && same(a, b));
    CHECK(polychron_forget_scores(a) == POLYCHRON_OK && !same(a, b));
}

int main(int count, char **arguments) {
    FILE *model = count == 2 ? fopen(arguments[1], "rb") : NULL;
    CHECK(model);
    length = fread(file, 1, sizeof file, model);
    CHECK(needed = polychron_memory(file, length));
    check_open();
    check_null();

    uint8_t *memory[3];
    polychron *a = open_network(&memory[0]), *b = open_network(&memory[1]), *fresh = open_network(&memory[2]);
    CHECK(polychron_tick_us(a) > 0);
    n_channels = polychron_channels(a);
    n_classes = polychron_classes(a);
    CHECK(n_channels > 1 && n_channels <= CHANNELS && n_classes > 1);
    check_labels(a);
    CHECK(same(a, fresh));
    check_step(a, b);
    CHECK(!same(b, fresh));
    CHECK(polychron_reset(b) == POLYCHRON_OK && same(b, fresh));
    check_step(fresh, b);
    for (int i = 0; i < 3; i++) {
        check_behind(memory[i]);
        free(memory[i]);
    }
    return EXIT_SUCCESS;
}
