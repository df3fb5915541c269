// The surrogates of polychron-core: f(u) and its primitive F(u). neuron/mod.rs lists the same
// surrogates in the same order; a test compares the two.
#pragma once
#include "../kernel.h"

enum {
    ATAN,
    SIGMOID,
    SOFTSIGN,
    TRIANGLE,
    PIECEWISE_EXP,
    ERF,
    RECT,
    LEAKY_RECT,
    LEAKY_K_RELU,
    S2NN,
    STRAIGHT_THROUGH,
    GAUSSIAN,
    MULTI_GAUSSIAN,
    SPIKE_RATE_ESCAPE,
    CIRC,
    SPARSE_FAST_SIGMOID
};

template <class R>
__device__ inline R from_tail(R u, R tail) {
    return u < R(0) ? tail : R(1) - tail;
}

template <class R>
__device__ inline R gaussian(R u, R sigma, bool primitive) {
    R alpha = R(0.70710678118654752440) / sigma, x = alpha * u;
    return primitive ? R(0.5) * (R(1) + erf(x)) : R(0.56418958354775628695) * alpha * exp(-x * x);
}

template <class R>
__device__ inline R multi_gaussian(R u, R sigma, R height, R scale, bool primitive) {
    R flank = scale * sigma;
    return (R(1) + height) * gaussian(u, sigma, primitive) -
           height * (gaussian(u - sigma, flank, primitive) + gaussian(u + sigma, flank, primitive));
}

template <class R>
__device__ inline R atan_derivative(R alpha, R u) {
    R x = R(1.57079632679489661923) * alpha * u;
    return R(0.5) * alpha / (R(1) + x * x);
}

template <class R>
__device__ inline R sigmoid_derivative(R alpha, R u) {
    R e = exp(-alpha * magnitude(u)), d = R(1) + e;
    return alpha * e / (d * d);
}

template <class R>
__device__ __noinline__ R derivative(unsigned kind, R p, R q, R r, R u) {
    switch (kind) {
    case ATAN:
        return atan_derivative(p, u);
    case SIGMOID:
        return sigmoid_derivative(p, u);
    case SOFTSIGN: {
        R d = R(1) + p * magnitude(u);
        return R(0.5) * p / (d * d);
    }
    case TRIANGLE:
        return larger(p - p * p * magnitude(u), R(0));
    case PIECEWISE_EXP:
        return R(0.5) * p * exp(-p * magnitude(u));
    case ERF: {
        R x = p * u;
        return R(0.56418958354775628695) * p * exp(-x * x);
    }
    case RECT:
        return magnitude(u) < p ? R(1) / p : R(0);
    case LEAKY_RECT:
        return magnitude(u) < p ? R(1) / p : q;
    case LEAKY_K_RELU:
        return u >= R(0) ? p : q;
    case S2NN:
        return u < R(0) ? sigmoid_derivative(p, u) : q / (u + R(1));
    case STRAIGHT_THROUGH:
        return R(1);
    case GAUSSIAN:
        return gaussian(u, p, false);
    case MULTI_GAUSSIAN:
        return multi_gaussian(u, p, q, r, false);
    case SPIKE_RATE_ESCAPE:
        return q * exp(-p * magnitude(u - r));
    case CIRC: {
        R x = u / p, square = R(1) + x * x;
        return R(0.5) / (p * square * sqrt(square));
    }
    default: {
        R d = R(1) + p * magnitude(u);
        return u > q ? R(1) / (d * d) : R(0);
    }
    }
}

template <class R>
__device__ inline R leaky_rect_primitive(R width, R leak, R u) {
    R inside = smaller(larger(u, -width), width);
    return R(1) + inside / width + leak * (u - inside);
}

template <class R>
__device__ inline R piecewise_exp_primitive(R alpha, R u) {
    return from_tail(u, R(0.5) * exp(-alpha * magnitude(u)));
}

template <class R>
__device__ inline R softsign(R slope, R u) {
    return u / (R(1) + slope * magnitude(u));
}

template <class R>
__device__ __noinline__ R primitive(unsigned kind, R p, R q, R r, R u) {
    switch (kind) {
    case ATAN:
        return R(0.31830988618379067154) * atan(R(1.57079632679489661923) * p * u) + R(0.5);
    case SIGMOID:
        return logistic(p * u);
    case SOFTSIGN:
        return from_tail(u, R(0.5) / (R(1) + p * magnitude(u)));
    case TRIANGLE: {
        R d = larger(R(1) - p * magnitude(u), R(0));
        return from_tail(u, R(0.5) * d * d);
    }
    case PIECEWISE_EXP:
        return piecewise_exp_primitive(p, u);
    case ERF:
        return R(0.5) * (R(1) + erf(p * u));
    case RECT:
        return leaky_rect_primitive(p, R(0), u);
    case LEAKY_RECT:
        return leaky_rect_primitive(p, q, u);
    case LEAKY_K_RELU:
        return (u >= R(0) ? p : q) * u;
    case S2NN:
        return u < R(0) ? logistic(p * u) : R(0.5) + q * log(u + R(1));
    case STRAIGHT_THROUGH:
        return u;
    case GAUSSIAN:
        return gaussian(u, p, true);
    case MULTI_GAUSSIAN:
        return multi_gaussian(u, p, q, r, true);
    case SPIKE_RATE_ESCAPE:
        return R(2) * q / p * piecewise_exp_primitive(p, u - r);
    case CIRC: {
        R x = u / p;
        return R(0.5) + R(0.5) * x / sqrt(R(1) + x * x);
    }
    default:
        return softsign(p, larger(u, q)) - softsign(p, q);
    }
}
