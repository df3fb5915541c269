#include "../kernel.h"

// Philox4x32-10, with the same words as rng.rs of polychron-core.
__device__ inline unsigned philox(Wide place, Wide seed, Wide stream) {
    unsigned c[4] = {(unsigned)(place >> 2), (unsigned)(place >> 34), (unsigned)stream, (unsigned)(stream >> 32)};
    unsigned k[2] = {(unsigned)seed, (unsigned)(seed >> 32)};
    for (int round = 0; round < 10; round++) {
        Wide a = (Wide)0xD2511F53u * c[0], b = (Wide)0xCD9E8D57u * c[2];
        unsigned next[4] = {(unsigned)(b >> 32) ^ c[1] ^ k[0], (unsigned)b, (unsigned)(a >> 32) ^ c[3] ^ k[1], (unsigned)a};
        for (int n = 0; n < 4; n++) c[n] = next[n];
        k[0] += 0x9E3779B9u;
        k[1] += 0xBB67AE85u;
    }
    return c[place & 3];
}

template <class R>
__device__ void dropout(const Dropout<R> &a) {
    for (Wide n = thread_index(); n < a.len; n += thread_count()) {
        double draw = (double)(philox(n, a.seed, a.stream) >> 8) * (1.0 / 16777216.0);
        a.mask[n] = draw < a.probability ? R(0) : a.keep;
    }
}
EXPORT(dropout, Dropout, 256)

template <class R>
__device__ void find_not_finite(const Finite<R> &a) {
    for (Wide n = thread_index(); n < a.len; n += thread_count()) {
        if (!isfinite(a.values[n])) *a.found = 1;
    }
}
EXPORT(find_not_finite, Finite, 256)

// Places beyond the block are skipped.
template <class R>
__device__ void scatter(const Events<R> &a) {
    for (Wide n = thread_index(); n < a.events; n += thread_count()) {
        if (a.places[n] < a.len) a.to[a.places[n]] = a.values[n];
    }
}
EXPORT(scatter, Events, 256)

template <class R>
__device__ void copy(const Elementwise<R> &a) {
    for (Wide n = thread_index(); n < a.len; n += thread_count()) a.to[n] = a.x[n];
}
EXPORT(copy, Elementwise, 256)

template <class R>
__device__ void add(const Elementwise<R> &a) {
    for (Wide n = thread_index(); n < a.len; n += thread_count()) a.to[n] += a.x[n];
}
EXPORT(add, Elementwise, 256)

template <class R>
__device__ void scale(const Scale<R> &a) {
    for (Wide n = thread_index(); n < a.len; n += thread_count()) a.values[n] *= a.factor;
}
EXPORT(scale, Scale, 256)

// The sum over the threads of a block, a power of two, for thread 0. The order does not depend on
// the device.
template <class R>
__device__ inline R block_sum(R sum) {
    R *partial = (R *)shared_memory();
    partial[threadIdx.x] = sum;
    __syncthreads();
    for (unsigned half = blockDim.x / 2; half; half /= 2) {
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
        __syncthreads();
    }
    return partial[0];
}

// One sum per block.
template <class R>
__device__ void square_sums(const Squares<R> &a) {
    double sum = 0.0;
    for (Wide n = thread_index(); n < a.len; n += thread_count()) sum += (double)a.values[n] * (double)a.values[n];
    sum = block_sum(sum);
    if (threadIdx.x == 0) a.sums[blockIdx.x] = sum;
}
EXPORT_BARRIERS(square_sums, Squares, 256)

// out[group][column] = scale * the sum over the rows of values [groups][rows][columns]. One block of
// threads per sum.
template <class R>
__device__ void sum_rows(const SumRows<R> &a) {
    R sum = R(0);
    Wide first = blockIdx.x / a.columns * a.rows, column = blockIdx.x % a.columns;
    for (Wide row = threadIdx.x; row < a.rows; row += blockDim.x) sum += a.values[(first + row) * a.columns + column];
    sum = block_sum(sum);
    if (threadIdx.x == 0) a.out[blockIdx.x] = sum * a.scale;
}
EXPORT_BARRIERS(sum_rows, SumRows, 1024)

// out[group][row][column] = values[group][column].
template <class R>
__device__ void repeat_rows(const RepeatRows<R> &a) {
    for (Wide n = thread_index(); n < a.len; n += thread_count()) {
        a.out[n] = a.values[n / a.columns / a.rows * a.columns + n % a.columns];
    }
}
EXPORT(repeat_rows, RepeatRows, 256)
