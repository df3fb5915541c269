#include "../kernel.h"

// One step of Adam; see optim/adam.rs of polychron-core.
template <class R>
__device__ void adam(const AdamStep<R> &a) {
    for (Wide n = thread_index(); n < a.len; n += thread_count()) {
        R g = a.gradient[n], p = a.params[n];
        if (a.decoupled) {
            p -= a.rate * a.l2 * p;
        } else {
            g += a.l2 * p;
        }
        R m = a.beta1 * a.first[n] + (R(1) - a.beta1) * g;
        R v = a.beta2 * a.second[n] + (R(1) - a.beta2) * g * g;
        p -= a.scale * m / (sqrt(v * a.root) + a.epsilon);
        if (a.bounded) p = p < a.low ? a.low : p > a.high ? a.high : p;
        a.first[n] = m;
        a.second[n] = v;
        a.params[n] = p;
    }
}
EXPORT(adam, AdamStep, 256)
