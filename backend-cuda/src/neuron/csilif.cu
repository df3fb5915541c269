#include "kernels.h"

template <class R>
struct CSiLif {
    static const int STATES = 2, PARAMS = 3;
    typedef Vector<R, 2> State;
    Reset<R> reset_to;
    R decay, slope, cosine, sine, gain;

    __device__ CSiLif(const NeuronModel<R> &m, const R *raw)
        : reset_to{m.threshold, m.rest, m.soft, m.detach},
          decay(exp(-exp(raw[0]))),
          slope(-exp(raw[0] - exp(raw[0]))),
          cosine(cos(raw[1])),
          sine(sin(raw[1])),
          gain(raw[2]) {}
    __device__ bool fires() const { return true; }
    __device__ State at_rest() const { return {{reset_to.rest, R(0)}}; }
    __device__ State turned(State s) const {
        return {{cosine * s.at[0] - sine * s.at[1], sine * s.at[0] + cosine * s.at[1]}};
    }
    __device__ State charge(State s, R x) const {
        State to = turned(s);
        return {{decay * to.at[0] + gain * x, decay * to.at[1]}};
    }
    __device__ State charge_adjoint(State s, R x, State d, R *d_params, R &d_x) const {
        State to = turned(s);
        d_x = d.at[0] * gain;
        d_params[0] += slope * (d.at[0] * to.at[0] + d.at[1] * to.at[1]);
        d_params[1] += decay * (d.at[1] * to.at[0] - d.at[0] * to.at[1]);
        d_params[2] += d.at[0] * x;
        return {{decay * (cosine * d.at[0] + sine * d.at[1]), decay * (cosine * d.at[1] - sine * d.at[0])}};
    }
    __device__ State reset(State h, R s) const { return {{reset_to.apply(h.at[0], s), h.at[1]}}; }
    __device__ State reset_adjoint(State h, R s, State d, R *, R &by_spike) const {
        return {{reset_to.adjoint(h.at[0], s, d.at[0], by_spike), d.at[1]}};
    }
};

NEURON(csilif, CSiLif)
