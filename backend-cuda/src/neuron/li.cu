#include "kernels.h"

template <class R>
struct Li {
    static const int STATES = 1, PARAMS = 0;
    typedef Vector<R, 1> State;
    Leak<R> leak;

    __device__ Li(const NeuronModel<R> &m, const R *) : leak{m.rate, R(0), m.decay_input} {}
    __device__ bool fires() const { return false; }
    __device__ State at_rest() const { return {{R(0)}}; }
    __device__ State charge(State s, R x) const { return {{s.at[0] - s.at[0] * leak.rate + leak.gain() * x}}; }
    __device__ State charge_adjoint(State, R, State d, R *, R &d_x) const {
        d_x = d.at[0] * leak.gain();
        return {{d.at[0] * (R(1) - leak.rate)}};
    }
    __device__ State reset(State h, R) const { return h; }
    __device__ State reset_adjoint(State, R, State d, R *, R &by_spike) const {
        by_spike = R(0);
        return d;
    }
};

NEURON(li, Li)
