#include "kernels.h"

// State component 0 is the membrane minus beta a.
template <class R>
struct Alif {
    static const int STATES = 2, PARAMS = 3;
    typedef Vector<R, 2> State;
    Leak<R> leak;
    Reset<R> reset_to;
    R rate_a, beta;

    __device__ Alif(const NeuronModel<R> &m, const R *raw)
        : leak{logistic(raw[0]), m.rest, m.decay_input},
          reset_to{m.threshold, m.rest, m.soft, m.detach},
          rate_a(logistic(raw[1])),
          beta(raw[2]) {}
    __device__ bool fires() const { return true; }
    __device__ State at_rest() const { return {{leak.rest, R(0)}}; }
    __device__ R membrane(State s) const { return s.at[0] + beta * s.at[1]; }
    __device__ R after(State h, R s) const { return h.at[1] - rate_a * h.at[1] + s; }
    __device__ State charge(State s, R x) const { return {{leak.charge(membrane(s), x) - beta * s.at[1], s.at[1]}}; }
    __device__ State charge_adjoint(State s, R x, State d, R *d_params, R &d_x) const {
        R rate = leak.rate, d_raised = -d.at[0] * rate;
        d_x = d.at[0] * leak.gain();
        d_params[0] += d.at[0] * leak.by_rate(membrane(s), x) * (rate * (R(1) - rate));
        d_params[2] += s.at[1] * d_raised;
        return {{d.at[0] * (R(1) - rate), d.at[1] + beta * d_raised}};
    }
    __device__ State reset(State h, R s) const {
        R a = after(h, s);
        return {{reset_to.apply(membrane(h), s) - beta * a, a}};
    }
    __device__ State reset_adjoint(State h, R s, State d, R *d_params, R &by_spike) const {
        R d_v = reset_to.adjoint(membrane(h), s, d.at[0], by_spike), d_a = d.at[1] - beta * d.at[0];
        if (!reset_to.detach) by_spike += d_a;
        d_params[1] += -h.at[1] * d_a * (rate_a * (R(1) - rate_a));
        d_params[2] += h.at[1] * d_v - after(h, s) * d.at[0];
        return {{d_v, beta * d_v + d_a - rate_a * d_a}};
    }
};

NEURON(alif, Alif)
