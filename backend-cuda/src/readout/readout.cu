#include "../kernel.h"

enum { SUM, MEAN, MAX, SPIKE_COUNT };

// Steps loaded together.
constexpr unsigned AT_ONCE = 8;

// The membrane [steps][C] of the block's sample; one thread per class.
template <class R>
__device__ inline void integrate(const Readout<R> &a, R *v, unsigned b, unsigned steps) {
    for (unsigned c = threadIdx.x; c < a.classes; c += blockDim.x) {
        R h = R(0), x[AT_ONCE];
        for (unsigned first = 0; first < steps; first += AT_ONCE) {
            UNROLL(8)
            for (unsigned n = 0; n < AT_ONCE; n++) {
                unsigned t = first + n < steps ? first + n : first;
                x[n] = a.x[((Wide)t * a.batch + b) * a.classes + c];
            }
            UNROLL(8)
            for (unsigned n = 0; n < AT_ONCE; n++) {
                if (first + n >= steps) break;
                h = h - h * a.rate + a.gain * x[n];
                v[(Wide)(first + n) * a.classes + c] = h;
            }
        }
    }
}

template <class R>
__device__ inline void softmax(R *row, unsigned classes) {
    R top = row[0], sum = R(0);
    for (unsigned c = 1; c < classes; c++) top = larger(top, row[c]);
    for (unsigned c = 0; c < classes; c++) {
        row[c] = exp(row[c] - top);
        sum += row[c];
    }
    for (unsigned c = 0; c < classes; c++) row[c] /= sum;
}

template <class R>
__device__ inline R score(const Readout<R> &a, const R *v, unsigned c, unsigned steps) {
    if (steps == 0) return R(0);
    R score = v[c];
    for (unsigned t = 1; t < steps; t++) {
        R x = v[(Wide)t * a.classes + c];
        score = a.loss == MAX ? larger(score, x) : score + x;
    }
    return a.loss == MEAN ? score / R(steps) : score;
}

// The cross entropy of a sample; d receives its gradient by the scores, divided by the batch size.
template <class R>
__device__ inline R cross_entropy(const R *scores, const R *target, R *d, unsigned classes, unsigned batch) {
    R top = scores[0], all = R(0), mass = R(0), loss = R(0);
    for (unsigned c = 1; c < classes; c++) top = larger(top, scores[c]);
    for (unsigned c = 0; c < classes; c++) {
        all += exp(scores[c] - top);
        mass += target[c];
    }
    for (unsigned c = 0; c < classes; c++) {
        loss += target[c] * (log(all) - (scores[c] - top));
        d[c] = (mass * exp(scores[c] - top) / all - target[c]) * (R(1) / R(batch));
    }
    return loss;
}

// Replaces the membrane [steps][C] by its gradient.
template <class R>
__device__ inline void by_membrane(const Readout<R> &a, R *v, const R *d, unsigned steps) {
    if (a.loss == SUM) {
        for (unsigned t = threadIdx.x; t < steps; t += blockDim.x) {
            R *q = v + (Wide)t * a.classes, mean = R(0);
            for (unsigned c = 0; c < a.classes; c++) mean += q[c] * d[c];
            for (unsigned c = 0; c < a.classes; c++) q[c] *= d[c] - mean;
        }
        return;
    }
    for (unsigned c = threadIdx.x; c < a.classes; c += blockDim.x) {
        unsigned best = 0;
        for (unsigned t = 1; a.loss == MAX && t < steps; t++) {
            if (v[(Wide)t * a.classes + c] > v[(Wide)best * a.classes + c]) best = t;
        }
        R each = a.loss == MEAN ? d[c] / R(steps) : d[c];
        for (unsigned t = 0; t < steps; t++) v[(Wide)t * a.classes + c] = a.loss != MAX || t == best ? each : R(0);
    }
}

template <class R>
__device__ inline void back_through_time(const Readout<R> &a, const R *d_v, unsigned b, unsigned steps) {
    for (unsigned c = threadIdx.x; c < a.classes; c += blockDim.x) {
        R d_state = R(0), d[AT_ONCE];
        for (unsigned end = a.steps; end;) {
            unsigned first = end > AT_ONCE ? end - AT_ONCE : 0;
            UNROLL(8)
            for (unsigned n = 0; n < AT_ONCE; n++) {
                unsigned t = first + n;
                d[n] = t < end && t < steps ? d_v[(Wide)t * a.classes + c] : R(0);
            }
            UNROLL(8)
            for (unsigned k = 0; k < AT_ONCE; k++) {
                unsigned n = AT_ONCE - 1 - k, t = first + n;
                if (t >= end) continue;
                R d_h = d_state + d[n];
                a.d_x[((Wide)t * a.batch + b) * a.classes + c] = d_h * a.gain;
                d_state = d_h * (R(1) - a.rate);
            }
            end = first;
        }
    }
}

// The membrane [steps][C] of the block's sample; for SUM the softmax of its rows.
template <class R>
__device__ inline R *scored(const Readout<R> &a, unsigned b, unsigned steps) {
    R *v = a.membrane + (Wide)b * a.steps * a.classes;
    integrate(a, v, b, steps);
    __syncthreads();
    if (a.loss == SUM) {
        for (unsigned t = threadIdx.x; t < steps; t += blockDim.x) softmax(v + (Wide)t * a.classes, a.classes);
    }
    __syncthreads();
    return v;
}

// The gradient by the input for the gradient d [C] by the scores.
template <class R>
__device__ inline void by_input(const Readout<R> &a, R *v, const R *d, unsigned b, unsigned steps) {
    by_membrane(a, v, d, steps);
    __syncthreads();
    back_through_time(a, v, b, steps);
}

// One block per sample, as for readout_backward.
template <class R>
__device__ void readout(const Readout<R> &a) {
    R *d = (R *)shared_memory();
    unsigned b = blockIdx.x, steps = valid_steps(a, b);
    R *v = scored(a, b, steps), *scores = a.scores + (Wide)b * a.classes;
    for (unsigned c = threadIdx.x; c < a.classes; c += blockDim.x) scores[c] = score(a, v, c, steps);
    __syncthreads();
    if (a.targets && threadIdx.x == 0) {
        a.losses[b] = cross_entropy(scores, a.targets + (Wide)b * a.classes, d, a.classes, a.batch);
    }
    __syncthreads();
    if (a.targets && a.d_x) by_input(a, v, d, b, steps);
}
EXPORT_BARRIERS(readout, Readout, 128)

template <class R>
__device__ void readout_backward(const Readout<R> &a) {
    unsigned b = blockIdx.x, steps = valid_steps(a, b);
    by_input(a, scored(a, b, steps), a.d_scores + (Wide)b * a.classes, b, steps);
}
EXPORT_BARRIERS(readout_backward, Readout, 128)
