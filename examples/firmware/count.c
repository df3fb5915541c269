/* Counts the instructions that QEMU executes, exactly, between calls of the firmware's markers:

       region_begin ... region_end      counted into the current region, as often as they are called
       region_next                      the following calls count into the next region

   At exit it prints, for each region,

       region NUMBER CALLS INSTRUCTIONS
       symbol NUMBER NAME INSTRUCTIONS        one line per function, those of its callees not included

   without the instructions of the markers. QEMU has no header for its plugins, so the part of
   version 1 that this file uses is declared below. */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
extern const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *);
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int operation, void *, uint64_t);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned, void *), int registers, void *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

enum { ADD = 0, NO_REGISTERS = 0, SYMBOLS = 2048, REGIONS = 16 };

static char *names[SYMBOLS];
static uint64_t executed[SYMBOLS];
static uint64_t at_begin[SYMBOLS];
static int symbols;
static struct {
    uint64_t calls, instructions[SYMBOLS];
} regions[REGIONS];
static int region, open;

static void begin(unsigned cpu, void *data) {
    memcpy(at_begin, executed, sizeof executed);
    open = 1;
}

static void end(unsigned cpu, void *data) {
    if (!open)
        return;
    open = 0;
    regions[region].calls++;
    for (int i = 0; i < symbols; i++)
        regions[region].instructions[i] += executed[i] - at_begin[i];
}

static void next(unsigned cpu, void *data) {
    if (++region == REGIONS) {
        fprintf(stderr, "more than %d regions\n", REGIONS);
        exit(1);
    }
}

static const struct {
    const char *name;
    void (*run)(unsigned, void *);
} MARKERS[] = {{"region_begin", begin}, {"region_end", end}, {"region_next", next}};
enum { COUNT = sizeof MARKERS / sizeof *MARKERS };
static uint64_t entry[COUNT];

static int marker(const char *name) {
    for (int m = 0; m < COUNT; m++)
        if (!strcmp(name, MARKERS[m].name))
            return m;
    return -1;
}

static int symbol(const char *name) {
    for (int i = 0; i < symbols; i++)
        if (!strcmp(names[i], name))
            return i;
    if (symbols == SYMBOLS) {
        fprintf(stderr, "more than %d functions\n", SYMBOLS);
        exit(1);
    }
    names[symbols] = strdup(name);
    return symbols++;
}

static void translate(plugin_id id, struct qemu_plugin_tb *block) {
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        const char *name = qemu_plugin_insn_symbol(instruction);
        if (!name)
            name = "?";
        int m = marker(name);
        if (m < 0) {
            qemu_plugin_register_vcpu_insn_exec_inline(instruction, ADD, &executed[symbol(name)], 1);
            continue;
        }
        /* A function is first translated from its first instruction. */
        uint64_t address = qemu_plugin_insn_vaddr(instruction);
        if (!entry[m])
            entry[m] = address;
        if (entry[m] == address)
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, MARKERS[m].run, NO_REGISTERS, NULL);
    }
}

static void report(plugin_id id, void *data) {
    for (int r = 0; r < REGIONS; r++) {
        if (!regions[r].calls)
            continue;
        uint64_t sum = 0;
        for (int i = 0; i < symbols; i++)
            sum += regions[r].instructions[i];
        fprintf(stderr, "region %d %" PRIu64 " %" PRIu64 "\n", r, regions[r].calls, sum);
        for (int i = 0; i < symbols; i++)
            if (regions[r].instructions[i])
                fprintf(stderr, "symbol %d %s %" PRIu64 "\n", r, names[i], regions[r].instructions[i]);
    }
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    qemu_plugin_register_atexit_cb(id, report, NULL);
    return 0;
}
