#include "adlif.h"

// An AdLif with other rates.
template <class R>
struct SiLif : AdLif<R> {
    __device__ SiLif(const NeuronModel<R> &m, const R *raw) : AdLif<R>(m, raw) {
        this->rate = R(1) - exp(-exp(raw[0]));
        this->rate_w = R(1) - exp(-exp(raw[1]));
        this->slope = exp(raw[0] - exp(raw[0]));
        this->slope_w = exp(raw[1] - exp(raw[1]));
    }
};

NEURON(silif, SiLif)
