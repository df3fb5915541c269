// What neurons share. The file of a neuron has its equations as in polychron-core: charge, reset and
// their adjoints, for one neuron and one step. State component 0 is the membrane.
#pragma once
#include "../kernel.h"

template <class R, int N>
struct Vector {
    R at[N > 0 ? N : 1];
};

template <class R>
struct Reset {
    R threshold, rest;
    unsigned soft, detach;

    __device__ R apply(R h, R s) const { return soft ? h - s * threshold : (R(1) - s) * h + s * rest; }
    // Returns the gradient by h. by_spike receives the gradient by s, 0 if the reset is detached.
    __device__ R adjoint(R h, R s, R d_v, R &by_spike) const {
        R d_s = soft ? -d_v * threshold : d_v * (rest - h);
        by_spike = detach ? R(0) : d_s;
        return soft ? d_v : d_v * (R(1) - s);
    }
};

// h = v - rate (v - rest) + gain x.
template <class R>
struct Leak {
    R rate, rest;
    unsigned decay_input;

    __device__ R gain() const { return decay_input ? rate : R(1); }
    __device__ R charge(R v, R x) const { return v + (rest - v) * rate + gain() * x; }
    __device__ R by_rate(R v, R x) const { return decay_input ? rest - v + x : rest - v; }
};

// Plif is a Lif with another rate.
template <class R>
struct Lif {
    static const int STATES = 1, PARAMS = 0;
    typedef Vector<R, 1> State;
    Leak<R> leak;
    Reset<R> reset_to;

    __device__ Lif(const NeuronModel<R> &m, const R *)
        : leak{m.rate, m.rest, m.decay_input}, reset_to{m.threshold, m.rest, m.soft, m.detach} {}
    __device__ bool fires() const { return true; }
    __device__ State at_rest() const { return {{leak.rest}}; }
    __device__ State charge(State s, R x) const { return {{leak.charge(s.at[0], x)}}; }
    __device__ State charge_adjoint(State, R, State d, R *, R &d_x) const {
        d_x = d.at[0] * leak.gain();
        return {{d.at[0] * (R(1) - leak.rate)}};
    }
    __device__ State reset(State h, R s) const { return {{reset_to.apply(h.at[0], s)}}; }
    __device__ State reset_adjoint(State h, R s, State d, R *, R &by_spike) const {
        return {{reset_to.adjoint(h.at[0], s, d.at[0], by_spike)}};
    }
};
