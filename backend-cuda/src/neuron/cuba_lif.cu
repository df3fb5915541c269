#include "kernels.h"

template <class R>
struct CubaLif {
    static const int STATES = 2, PARAMS = 2;
    typedef Vector<R, 2> State;
    Leak<R> leak;
    Reset<R> reset_to;
    R rate_syn;

    __device__ CubaLif(const NeuronModel<R> &m, const R *raw)
        : leak{logistic(raw[1]), m.rest, m.decay_input},
          reset_to{m.threshold, m.rest, m.soft, m.detach},
          rate_syn(logistic(raw[0])) {}
    __device__ bool fires() const { return true; }
    __device__ State at_rest() const { return {{leak.rest, R(0)}}; }
    __device__ State charge(State s, R x) const {
        R current = s.at[1] - s.at[1] * rate_syn + x;
        return {{leak.charge(s.at[0], current), current}};
    }
    __device__ State charge_adjoint(State s, R x, State d, R *d_params, R &d_x) const {
        R current = s.at[1] - s.at[1] * rate_syn + x, rate = leak.rate;
        d_x = d.at[1] + d.at[0] * leak.gain();
        d_params[0] += -d_x * s.at[1] * (rate_syn * (R(1) - rate_syn));
        d_params[1] += d.at[0] * leak.by_rate(s.at[0], current) * (rate * (R(1) - rate));
        return {{d.at[0] * (R(1) - rate), d_x * (R(1) - rate_syn)}};
    }
    __device__ State reset(State h, R s) const { return {{reset_to.apply(h.at[0], s), h.at[1]}}; }
    __device__ State reset_adjoint(State h, R s, State d, R *, R &by_spike) const {
        return {{reset_to.adjoint(h.at[0], s, d.at[0], by_spike), d.at[1]}};
    }
};

NEURON(cuba_lif, CubaLif)
