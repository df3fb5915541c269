/* Runs a model file on a stream of spikes:

       main MODEL.pcn [SPIKES]

   Every line is a tick: the channels that spike, separated by spaces. An empty line is a silent
   tick. Without a file, the ticks come from standard input. A word ends with 40 silent ticks, or
   with the stream: then its class and label are printed, and the scores start anew.

   On a device the model is in flash and the spikes come from a sensor; the rest is the same. */
#include "polychron.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef MEMORY
#define MEMORY (64 << 10)
#endif

enum { CHANNELS = 4096, PAUSE = 40 };

static uint8_t file[1 << 20];
static _Alignas(8) uint8_t memory[MEMORY];
static char line[8 * CHANNELS];
static uint16_t channels[CHANNELS];

static void print_class(const polychron *network) {
    size_t class = polychron_decide(network), length;
    const char *label = polychron_label(network, class, &length);
    printf("%lu %.*s\n", (unsigned long)class, (int)length, label ? label : "");
}

/* Reads the numbers of a line; returns 0 if there is anything else. */
static int read_channels(size_t *count) {
    const char *at = line;
    for (*count = 0; *count < CHANNELS; ++*count) {
        at += strspn(at, " \t\r\n");
        if (*at == 0)
            return 1;
        char *end;
        unsigned long channel = strtoul(at, &end, 10);
        if (end == at || channel > UINT16_MAX)
            return 0;
        channels[*count] = (uint16_t)channel;
        at = end;
    }
    return 0;
}

static int run(FILE *spikes, polychron *network) {
    int heard = 0, silent = 0;
    for (unsigned long tick = 0; fgets(line, sizeof line, spikes); tick++) {
        size_t count;
        int error;
        if (!read_channels(&count)) {
            fprintf(stderr, "error: line %lu is not a list of channels\n", tick + 1);
            return EXIT_FAILURE;
        }
        if ((error = polychron_step(network, channels, count))) {
            fprintf(stderr, "error: line %lu: error %d of polychron.h\n", tick + 1, error);
            return EXIT_FAILURE;
        }
        silent = count ? 0 : silent + 1;
        heard |= count > 0;
        if (heard && silent == PAUSE) {
            printf("%8.2f s  ", (double)tick * polychron_tick_us(network) * 1e-6);
            print_class(network);
            polychron_forget_scores(network);
            heard = 0;
        }
    }
    if (heard) {
        polychron_finish(network);
        printf("at the end  ");
        print_class(network);
    }
    return EXIT_SUCCESS;
}

int main(int count, char **arguments) {
    if (count < 2) {
        fprintf(stderr, "usage: main MODEL.pcn [SPIKES]\n");
        return EXIT_FAILURE;
    }
    FILE *model = fopen(arguments[1], "rb");
    FILE *spikes = count > 2 ? fopen(arguments[2], "r") : stdin;
    if (!model || !spikes) {
        fprintf(stderr, "error: %s: %s\n", arguments[model ? 2 : 1], strerror(errno));
        return EXIT_FAILURE;
    }
    size_t length = fread(file, 1, sizeof file, model);
    polychron *network;
    int error = polychron_open(file, length, memory, sizeof memory, &network);
    if (error == POLYCHRON_FILE)
        fprintf(stderr, "error: the model file is invalid at byte %lu\n", (unsigned long)polychron_fault(file, length));
    else if (error == POLYCHRON_MEMORY)
        fprintf(stderr, "error: the network needs %lu bytes of memory, but there are %lu\n", (unsigned long)polychron_memory(file, length),
                (unsigned long)sizeof memory);
    else if (error)
        fprintf(stderr, "error %d of polychron.h\n", error);
    return error ? EXIT_FAILURE : run(spikes, network);
}
