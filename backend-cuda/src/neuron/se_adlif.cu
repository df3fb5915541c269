#include "adlif.h"

// An AdLif whose adaptation is driven by the membrane after the reset.
template <class R>
struct SeAdLif : AdLif<R> {
    typedef typename AdLif<R>::State State;
    R q, gain;

    __device__ SeAdLif(const NeuronModel<R> &m, const R *raw) : AdLif<R>(m, raw), q(m.q), gain(this->rate_w * q) {}
    __device__ R drive(R v, R s) const { return this->a * v + this->b * s; }
    __device__ State reset(State h, R s) const {
        R v = this->reset_to.apply(h.at[0], s), w = h.at[1];
        return {{v, w - this->rate_w * w + gain * drive(v, s)}};
    }
    __device__ State reset_adjoint(State h, R s, State d, R *d_params, R &by_spike) const {
        R v = this->reset_to.apply(h.at[0], s), w = h.at[1], d_w = d.at[1], d_drive = d_w * gain;
        R d_h = this->reset_to.adjoint(h.at[0], s, d.at[0] + this->a * d_drive, by_spike);
        if (!this->reset_to.detach) by_spike += this->b * d_drive;
        d_params[1] += d_w * (q * drive(v, s) - w) * this->slope_w;
        d_params[2] += d_drive * v;
        d_params[3] += d_drive * s;
        return {{d_h, d_w - d_w * this->rate_w}};
    }
};

NEURON(se_adlif, SeAdLif)
