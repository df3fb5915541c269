// The delay kernels of polychron-core: one tap of a bump around a delay, with its derivatives.
#pragma once
#include "../kernel.h"

enum { GAUSS, MAX_TENT, TRIANGLE_TENT, DISCRETE };

template <class R>
struct Bump {
    R value, d_delay, d_width;
};

template <class R>
__device__ inline R sign(R x) {
    return x > R(0) ? R(1) : x < R(0) ? R(-1) : R(0);
}

// The width for a raw sigma; by_sigma receives its derivative.
template <class R>
__device__ inline R width_of(unsigned kernel, R sigma, R &by_sigma) {
    by_sigma = kernel == GAUSS || kernel == MAX_TENT ? sign(sigma) : R(0);
    if (kernel == GAUSS) return magnitude(sigma) + R(0.27);
    if (kernel != MAX_TENT) return R(1);
    R size = magnitude(sigma), flat = R(1ull << 60);
    if (size > flat) by_sigma = R(0);
    return size > flat ? flat : size + R(1);
}

// The tap that holds the weight of a discrete kernel.
template <class R>
__device__ inline unsigned rounded(R delay, unsigned taps) {
    R last = R(taps - 1);
    if (delay > last) return taps - 1;
    R whole = rint(delay);
    return whole > R(0) ? (unsigned)whole : 0;
}

template <class R>
__device__ inline Bump<R> bump(unsigned kernel, unsigned j, R delay, R width, unsigned taps) {
    if (kernel == DISCRETE) return {rounded(delay, taps) == j ? R(1) : R(0), R(0), R(0)};
    R u = R(j) - delay;
    if (kernel == GAUSS) {
        R z = u / width, exponent = z * z * R(0.5);
        R value = exponent > R(69.07755278982137) ? R(0) : exp(-exponent), slope = value * z / width;
        return {value, slope, slope * z};
    }
    R height = width - magnitude(u);
    if (height > R(0)) return {height, sign(u), R(1)};
    return {R(0), R(0), R(0)};
}

// 1 / (the sum of a kernel's taps + 1e-7). A discrete tap is exactly its weight.
template <class R>
__device__ inline R scale_of(unsigned kernel, R mass) {
    return kernel == DISCRETE ? R(1) : R(1) / (mass + R(1e-7));
}
