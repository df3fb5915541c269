#include "kernels.h"

template <class R>
struct Plif : Lif<R> {
    static const int PARAMS = 1;
    typedef typename Lif<R>::State State;

    __device__ Plif(const NeuronModel<R> &m, const R *raw) : Lif<R>(m, raw) { this->leak.rate = logistic(raw[0]); }
    __device__ State charge_adjoint(State s, R x, State d, R *d_params, R &d_x) const {
        R rate = this->leak.rate;
        d_params[0] += d.at[0] * this->leak.by_rate(s.at[0], x) * (rate * (R(1) - rate));
        return Lif<R>::charge_adjoint(s, x, d, d_params, d_x);
    }
};

NEURON(plif, Plif)
