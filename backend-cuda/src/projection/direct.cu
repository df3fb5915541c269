#include "../kernel.h"

// Projection tap by tap, for sequences too long to transform in shared memory. Kernels are
// [out][in][taps]; one thread per result.

template <class R>
__device__ void direct_forward(const Direct<R> &a) {
    Wide len = (Wide)a.y_steps * a.batch * a.outputs;
    for (Wide n = thread_index(); n < len; n += thread_count()) {
        unsigned o = n % a.outputs, b = n / a.outputs % a.batch, t = n / a.outputs / a.batch;
        R sum = R(0);
        for (unsigned i = 0; i < a.inputs; i++) {
            const R *dense = a.dense + ((Wide)o * a.inputs + i) * a.taps;
            for (unsigned j = t < a.x_steps ? 0 : t - a.x_steps + 1; j < a.taps && j <= t; j++) {
                sum += dense[j] * a.x[((Wide)(t - j) * a.batch + b) * a.inputs + i];
            }
        }
        a.y[n] = sum;
    }
}
EXPORT(direct_forward, Direct, 128)

template <class R>
__device__ void direct_input(const Direct<R> &a) {
    Wide len = (Wide)a.x_steps * a.batch * a.inputs;
    for (Wide n = thread_index(); n < len; n += thread_count()) {
        unsigned i = n % a.inputs, b = n / a.inputs % a.batch, t = n / a.inputs / a.batch;
        R sum = R(0);
        for (unsigned o = 0; o < a.outputs; o++) {
            const R *dense = a.dense + ((Wide)o * a.inputs + i) * a.taps;
            for (unsigned j = 0; j < a.taps && t + j < a.y_steps; j++) {
                sum += dense[j] * a.d_y[((Wide)(t + j) * a.batch + b) * a.outputs + o];
            }
        }
        a.d_x[n] = sum;
    }
}
EXPORT(direct_input, Direct, 128)

template <class R>
__device__ void direct_kernel(const Direct<R> &a) {
    Wide len = (Wide)a.outputs * a.inputs * a.taps;
    for (Wide n = thread_index(); n < len; n += thread_count()) {
        unsigned j = n % a.taps, i = n / a.taps % a.inputs, o = n / a.taps / a.inputs;
        R sum = R(0);
        for (unsigned t = j; t < a.y_steps && t - j < a.x_steps; t++) {
            for (unsigned b = 0; b < a.batch; b++) {
                sum += a.d_y[((Wide)t * a.batch + b) * a.outputs + o] * a.x[((Wide)(t - j) * a.batch + b) * a.inputs + i];
            }
        }
        a.d_dense[n] = sum;
    }
}
EXPORT(direct_kernel, Direct, 128)
