// Included by every kernel: numbers, indices, and the macros that turn a template into a pair of
// kernels. All shared memory is dynamic, and threads communicate only through memory and barriers,
// so that the same source also runs on the host (device/emulator.h).
#pragma once

#ifdef POLYCHRON_EMULATOR
#include "device/emulator.h"
#define EXPORT(name, Args, threads) EMULATED(name, Args)
#define EXPORT_BARRIERS(name, Args, threads) EMULATED_BARRIERS(name, Args)
#define UNROLL(times)
#else
#define EXPORT(name, Args, threads)                                                              \
    extern "C" __global__ void __launch_bounds__(threads) name##_f32(const Args<float> a) {      \
        name<float>(a);                                                                          \
    }                                                                                            \
    extern "C" __global__ void __launch_bounds__(threads) name##_f64(const Args<double> a) {     \
        name<double>(a);                                                                         \
    }
#define EXPORT_BARRIERS(name, Args, threads) EXPORT(name, Args, threads)
#define PRAGMA(text) _Pragma(#text)
#define UNROLL(times) PRAGMA(unroll times)
extern __shared__ double2 shared_block[];
__device__ inline void *shared_memory() { return shared_block; }
#endif

template <class R>
struct alignas(2 * sizeof(R)) Complex {
    R re, im;
};

#include "arguments.h"

typedef unsigned long long Wide;

__device__ inline Wide thread_index() { return (Wide)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ inline Wide thread_count() { return (Wide)gridDim.x * blockDim.x; }

// The valid steps of sample b: its length plus the padding of the layers before; all steps if there
// is no list of lengths.
template <class Args>
__device__ inline unsigned valid_steps(const Args &a, unsigned b) {
    if (!a.valid) return a.steps;
    unsigned length = a.valid[b];
    return length < a.steps && a.padding < a.steps - length ? length + a.padding : a.steps;
}

template <class R>
__device__ inline R larger(R a, R b) {
    return a > b ? a : b;
}

template <class R>
__device__ inline R smaller(R a, R b) {
    return a < b ? a : b;
}

template <class R>
__device__ inline R magnitude(R x) {
    return x < R(0) ? -x : x;
}

template <class R>
__device__ inline R logistic(R x) {
    if (x >= R(0)) return R(1) / (R(1) + exp(-x));
    R e = exp(x);
    return e / (R(1) + e);
}
