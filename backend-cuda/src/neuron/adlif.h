// The adaptive LIF, which other neurons change.
#pragma once
#include "kernels.h"

template <class R>
struct AdLif {
    static const int STATES = 2, PARAMS = 4;
    typedef Vector<R, 2> State;
    Reset<R> reset_to;
    R rate, rate_w, slope, slope_w, a, b;

    __device__ AdLif(const NeuronModel<R> &m, const R *raw)
        : reset_to{m.threshold, m.rest, m.soft, m.detach},
          rate(logistic(raw[0])),
          rate_w(logistic(raw[1])),
          slope(rate * (R(1) - rate)),
          slope_w(rate_w * (R(1) - rate_w)),
          a(raw[2]),
          b(raw[3]) {}
    __device__ bool fires() const { return true; }
    __device__ State at_rest() const { return {{reset_to.rest, R(0)}}; }
    __device__ State charge(State s, R x) const { return {{s.at[0] + rate * (x - s.at[1] - s.at[0]), s.at[1]}}; }
    __device__ State charge_adjoint(State s, R x, State d, R *d_params, R &d_x) const {
        d_x = d.at[0] * rate;
        d_params[0] += d.at[0] * (x - s.at[1] - s.at[0]) * slope;
        return {{d.at[0] - d_x, d.at[1] - d_x}};
    }
    __device__ State reset(State h, R s) const {
        R w = h.at[1];
        return {{reset_to.apply(h.at[0], s), w - rate_w * w + a * h.at[0] + b * s}};
    }
    __device__ State reset_adjoint(State h, R s, State d, R *d_params, R &by_spike) const {
        R d_h = reset_to.adjoint(h.at[0], s, d.at[0], by_spike), d_w = d.at[1];
        if (!reset_to.detach) by_spike += b * d_w;
        d_params[1] += -d_w * h.at[1] * slope_w;
        d_params[2] += d_w * h.at[0];
        d_params[3] += d_w * s;
        return {{d_h + a * d_w, d_w - d_w * rate_w}};
    }
};
