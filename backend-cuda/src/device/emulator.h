// Runs kernels on the host, for tests. Blocks run one after another; a kernel with barriers gets
// one fiber per thread. Every other launch runs blocks and threads in reverse order, so that a
// result that depends on their order changes.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#define __device__
#define __noinline__

struct Dimensions {
    unsigned x, y, z;
};

namespace emulator {
inline thread_local Dimensions thread, block, threads, blocks;
inline thread_local void *shared = nullptr;
inline thread_local bool backwards = true;

struct Fiber {
    void *stack_pointer;
    char *stack;
    bool done;
};

constexpr size_t STACK = 64 * 1024;
inline thread_local std::vector<Fiber> fibers;
inline thread_local unsigned running = 0;
inline thread_local void *scheduler = nullptr;
inline thread_local void (*body)(const void *) = nullptr;
inline thread_local const void *arguments = nullptr;

extern "C" void polychron_switch_stack(void **from, void *to);

inline void wait() { polychron_switch_stack(&fibers[running].stack_pointer, scheduler); }

inline void run_fiber() {
    body(arguments);
    fibers[running].done = true;
    for (;;) wait();
}

// The registers that polychron_switch_stack pops; the address of the entry follows them.
#if defined(__x86_64__)
constexpr size_t SAVED = 6;
#elif defined(__aarch64__)
constexpr size_t SAVED = 20;
#else
#error "the emulator supports x86-64 and aarch64"
#endif

inline void start(Fiber &fiber) {
    if (!fiber.stack) fiber.stack = (char *)malloc(STACK);
    uint64_t *top = (uint64_t *)(((uintptr_t)fiber.stack + STACK) & ~(uintptr_t)15);
#if defined(__x86_64__)
    // Popping the entry's address leaves the stack as after a call: 8 below a multiple of 16.
    uint64_t *at = top - 2 - SAVED;
    memset(at, 0, (SAVED + 2) * sizeof *at);
    at[SAVED] = (uint64_t)(uintptr_t)&run_fiber;
#else
    uint64_t *at = top - SAVED;
    memset(at, 0, SAVED * sizeof *at);
    at[1] = (uint64_t)(uintptr_t)&run_fiber;
#endif
    fiber.stack_pointer = at;
    fiber.done = false;
}

inline void run_block_with_barriers(unsigned count) {
    if (fibers.size() < count) fibers.resize(count, Fiber{nullptr, nullptr, true});
    for (unsigned n = 0; n < count; n++) start(fibers[n]);
    for (unsigned left = count; left;) {
        unsigned finished = 0;
        for (unsigned n = 0; n < count; n++) {
            running = backwards ? count - 1 - n : n;
            if (fibers[running].done) continue;
            thread = {running, 0, 0};
            polychron_switch_stack(&scheduler, fibers[running].stack_pointer);
            finished += fibers[running].done;
        }
        // Some threads ended while others wait at a barrier; on a device that is undefined.
        if (finished && finished != left) abort();
        left -= finished;
    }
}

template <bool barriers>
void launch(const unsigned *grid, unsigned count, unsigned shared_bytes, void (*kernel)(const void *), const void *a) {
    blocks = {grid[0], grid[1], grid[2]};
    threads = {count, 1, 1};
    void *memory = shared_bytes ? aligned_alloc(64, (shared_bytes + 63) / 64 * 64) : nullptr;
    shared = memory;
    body = kernel;
    arguments = a;
    backwards = !backwards;
    unsigned all = grid[0] * grid[1] * grid[2];
    for (unsigned n = 0; n < all; n++) {
        unsigned at = backwards ? all - 1 - n : n;
        block = {at % grid[0], at / grid[0] % grid[1], at / grid[0] / grid[1]};
        if (memory) memset(memory, 0xff, shared_bytes);
        if (barriers) {
            run_block_with_barriers(count);
            continue;
        }
        for (unsigned m = 0; m < count; m++) {
            thread = {backwards ? count - 1 - m : m, 0, 0};
            kernel(a);
        }
    }
    free(memory);
}
} // namespace emulator

#define threadIdx emulator::thread
#define blockIdx emulator::block
#define blockDim emulator::threads
#define gridDim emulator::blocks

inline void __syncthreads() { emulator::wait(); }
inline void *shared_memory() { return emulator::shared; }

namespace emulator {
typedef void (*Kernel)(const unsigned *grid, unsigned threads, unsigned shared, const void *arguments);

// The list of kernels. Every file adds its kernels before the program starts.
struct Entry {
    const char *name;
    Kernel kernel;
    const Entry *next;
    static inline const Entry *all = nullptr;
    Entry(const char *name, Kernel kernel) : name(name), kernel(kernel), next(all) { all = this; }
};
} // namespace emulator

#define EMULATED_AS(name, Args, R, suffix, barriers)                                                      \
    static const emulator::Entry name##suffix(                                                            \
        #name #suffix, [](const unsigned *grid, unsigned threads, unsigned shared, const void *a) {       \
            emulator::launch<barriers>(                                                                   \
                grid, threads, shared, [](const void *a) { name<R>(*(const Args<R> *)a); }, a);           \
        });
#define EMULATED(name, Args)                    \
    EMULATED_AS(name, Args, float, _f32, false) \
    EMULATED_AS(name, Args, double, _f64, false)
#define EMULATED_BARRIERS(name, Args)          \
    EMULATED_AS(name, Args, float, _f32, true) \
    EMULATED_AS(name, Args, double, _f64, true)

using std::atan;
using std::cos;
using std::erf;
using std::exp;
using std::isfinite;
using std::log;
using std::rint;
using std::sin;
using std::sqrt;
