// Replaces libcuda at link time. Each driver function is a jump through a table that
// polychron_load_driver fills; until then a call returns 34, CUDA_ERROR_STUB_LIBRARY.
#define _GNU_SOURCE
#include "functions.h"
#include <dlfcn.h>
#include <stddef.h>

static int no_driver(void) { return 34; }

__attribute__((visibility("hidden"))) void *polychron_driver_table[COUNT] = {[0 ... COUNT - 1] = (void *)no_driver};

static const char *const names[COUNT] = {NAMES};

#if defined(__x86_64__)
#define JUMP(place, name)                                                         \
    __asm__(".text\n.globl " #name "\n.type " #name ",@function\n" #name ":\n"    \
            "\tjmp *polychron_driver_table+8*" #place "(%rip)\n"                  \
            ".size " #name ",.-" #name "\n");
#elif defined(__aarch64__)
#define JUMP(place, name)                                                         \
    __asm__(".text\n.globl " #name "\n.type " #name ",%function\n" #name ":\n"    \
            "\tadrp x16, polychron_driver_table+8*" #place "\n"                   \
            "\tldr x16, [x16, :lo12:polychron_driver_table+8*" #place "]\n"       \
            "\tbr x16\n.size " #name ",.-" #name "\n");
#else
#error "the driver table supports x86-64 and aarch64"
#endif
JUMPS

// Returns 0 if the driver was found, 1 otherwise.
int polychron_load_driver(void) {
    static const char *const places[] = {"libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1"};
    static void *driver = NULL;
    if (driver) return 0;
    void *found = NULL;
    for (size_t n = 0; !found && n < sizeof places / sizeof *places; n++) found = dlopen(places[n], RTLD_NOW);
    if (!found) return 1;
    for (int n = 0; n < COUNT; n++) {
        void *function = dlsym(found, names[n]);
        if (function) polychron_driver_table[n] = function;
    }
    driver = found;
    return 0;
}
