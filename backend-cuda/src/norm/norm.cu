#include "../kernel.h"

// Blocks of 32 neurons x 8 rows. A row is one (t, b); the rows are divided into grid.y slices.
constexpr unsigned LANES = 32, ROWS = 8;

struct Place {
    unsigned o, row, slice, slices;
};

__device__ inline Place place() {
    return {blockIdx.x * LANES + threadIdx.x % LANES, threadIdx.x / LANES, blockIdx.y, gridDim.y};
}

// Calls f(index) for this thread's part of the valid values of its neuron.
template <class Args, class F>
__device__ inline void each_valid(const Args &a, F f) {
    Place p = place();
    if (p.o >= a.width) return;
    unsigned rows = a.steps * a.batch;
    for (unsigned row = p.slice * ROWS + p.row; row < rows; row += p.slices * ROWS) {
        if (row / a.batch < valid_steps(a, row % a.batch)) f((Wide)row * a.width + p.o);
    }
}

// partial[slice][o] = the sum over the rows of the block.
template <class R>
__device__ inline void store_sum(R sum, R *partial, unsigned width) {
    R *rows = (R *)shared_memory();
    Place p = place();
    rows[threadIdx.x] = sum;
    __syncthreads();
    if (p.row == 0 && p.o < width) {
        for (unsigned row = 1; row < ROWS; row++) sum += rows[row * LANES + threadIdx.x];
        partial[(Wide)p.slice * width + p.o] = sum;
    }
    __syncthreads();
}

template <class R>
__device__ inline R total(const R *partial, unsigned o, unsigned width, unsigned slices) {
    R sum = R(0);
    for (unsigned slice = 0; slice < slices; slice++) sum += partial[(Wide)slice * width + o];
    return sum;
}

template <class R>
__device__ void norm_sums(const NormStatistics<R> &a) {
    R sum = R(0);
    each_valid(a, [&](Wide at) { sum += a.y[at]; });
    store_sum(sum, a.sums, a.width);
}
EXPORT_BARRIERS(norm_sums, NormStatistics, 256)

template <class R>
__device__ void norm_squares(const NormStatistics<R> &a) {
    Place p = place();
    R mean = p.o < a.width ? total(a.sums, p.o, a.width, p.slices) / a.count : R(0), squares = R(0);
    each_valid(a, [&](Wide at) { squares += (a.y[at] - mean) * (a.y[at] - mean); });
    store_sum(squares, a.squares, a.width);
}
EXPORT_BARRIERS(norm_squares, NormStatistics, 256)

// saved = [mean | 1 / deviation], and the running statistics; see norm.rs of polychron-core.
template <class R>
__device__ void norm_finish(const NormFinish<R> &a) {
    for (Wide o = thread_index(); o < a.width; o += thread_count()) {
        R mean, var;
        if (a.slices) {
            mean = total(a.sums, o, a.width, a.slices) / a.count;
            var = total(a.squares, o, a.width, a.slices) / a.count;
            R keep = R(1) - a.momentum;
            a.running[o] = keep * a.running[o] + a.momentum * mean;
            a.running[a.width + o] = keep * a.running[a.width + o] + a.momentum * (var * a.unbias);
        } else {
            mean = a.fixed[o];
            var = a.fixed[a.width + o];
        }
        a.saved[o] = mean;
        a.saved[a.width + o] = R(1) / sqrt(var + a.epsilon);
    }
}
EXPORT(norm_finish, NormFinish, 256)

template <class R>
__device__ void norm_apply(const NormApply<R> &a) {
    Wide len = a.rows * a.width;
    for (Wide at = thread_index(); at < len; at += thread_count()) {
        unsigned o = at % a.width;
        R normal = (a.y[at] - a.saved[o]) * a.saved[a.width + o];
        a.z[at] = a.params[o] * normal + a.params[a.width + o];
    }
}
EXPORT(norm_apply, NormApply, 256)

template <class R>
__device__ void norm_gradient_sums(const NormBackward<R> &a) {
    Place p = place();
    bool inside = p.o < a.width;
    R mean = inside ? a.saved[p.o] : R(0), scale = inside ? a.saved[a.width + p.o] : R(0);
    R gamma = R(0), beta = R(0);
    each_valid(a, [&](Wide at) {
        gamma += a.d_z[at] * (a.y[at] - mean) * scale;
        beta += a.d_z[at];
    });
    store_sum(gamma, a.gammas, a.width);
    store_sum(beta, a.betas, a.width);
}
EXPORT_BARRIERS(norm_gradient_sums, NormBackward, 256)

template <class R>
__device__ void norm_gradient_finish(const NormBackward<R> &a) {
    for (Wide o = thread_index(); o < a.width; o += thread_count()) {
        a.d_params[o] = total(a.gammas, o, a.width, a.slices);
        a.d_params[a.width + o] = total(a.betas, o, a.width, a.slices);
    }
}
EXPORT(norm_gradient_finish, NormBackward, 256)

// d_y and d_z may be the same block.
template <class R>
__device__ void norm_backward(const NormBackward<R> &a) {
    Wide len = (Wide)a.steps * a.batch * a.width;
    for (Wide at = thread_index(); at < len; at += thread_count()) {
        unsigned o = at % a.width, row = at / a.width;
        R d = R(0);
        if (row / a.batch < valid_steps(a, row % a.batch)) {
            R scale = a.saved[a.width + o], normal = (a.y[at] - a.saved[o]) * scale;
            R gamma = a.d_params[o], beta = a.d_params[a.width + o];
            d = a.params[o] * scale * (a.d_z[at] - beta / a.count - normal * gamma / a.count);
        }
        a.d_y[at] = d;
    }
}
EXPORT(norm_backward, NormBackward, 256)

// Adds the gradient of the penalty for rates to d; see loss.rs of polychron-core. The sums are those
// of norm_sums over the spikes.
template <class R>
__device__ void rate_penalty(const RatePenalty<R> &a) {
    Place p = place();
    if (p.o >= a.width) return;
    double rate = (double)total(a.sums, p.o, a.width, a.slices) / a.count;
    double beyond = rate < a.low ? rate - a.low : rate > a.high ? rate - a.high : 0.0;
    R slope = R(2.0 * a.weight * beyond / a.count);
    each_valid(a, [&](Wide at) { a.d[at] += slope; });
    if (p.slice == 0 && p.row == 0) a.penalties[p.o] = a.weight * beyond * beyond;
}
EXPORT(rate_penalty, RatePenalty, 256)
