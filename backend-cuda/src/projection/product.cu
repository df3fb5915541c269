#include "fourier.h"

// The complex product c = a b in every bin, in the same precision throughout. A block computes a
// tile of ROWS x COLUMNS and a thread EACH x 4 results. The inner dimension passes through two
// buffers in shared memory, DEPTH at a time.
constexpr unsigned DEPTH = 8;

// The layout of an operand: the place of an element by its outer index and depth.
struct ByDepth { // [outer][depth]
    static __device__ Wide at(unsigned outer, unsigned depth, unsigned leading) { return (Wide)outer * leading + depth; }
    // The n-th element of a tile in memory order.
    static __device__ void split(unsigned n, unsigned, unsigned &outer, unsigned &depth) {
        outer = n / DEPTH;
        depth = n % DEPTH;
    }
};
struct ByOuter { // [depth][outer]
    static __device__ Wide at(unsigned outer, unsigned depth, unsigned leading) { return (Wide)depth * leading + outer; }
    static __device__ void split(unsigned n, unsigned size, unsigned &outer, unsigned &depth) {
        outer = n % size;
        depth = n / size;
    }
};

// One operand, loaded from memory through registers into shared memory [DEPTH][SIZE + 1].
template <class R, unsigned SIZE, unsigned THREADS, class Layout>
struct Operand {
    static const unsigned PART = SIZE * DEPTH / THREADS;
    const Complex<R> *from;
    unsigned first, size, leading;
    Complex<R> held[PART];

    __device__ void load(unsigned start, unsigned end) {
        UNROLL(8)
        for (unsigned p = 0; p < PART; p++) {
            unsigned outer, depth;
            Layout::split(threadIdx.x + p * THREADS, SIZE, outer, depth);
            bool inside = first + outer < size && start + depth < end;
            held[p] = inside ? from[Layout::at(first + outer, start + depth, leading)] : Complex<R>{R(0), R(0)};
        }
    }
    __device__ void store(Complex<R> *tile) const {
        UNROLL(8)
        for (unsigned p = 0; p < PART; p++) {
            unsigned outer, depth;
            Layout::split(threadIdx.x + p * THREADS, SIZE, outer, depth);
            tile[depth * (SIZE + 1) + outer] = held[p];
        }
    }
};

template <class R, unsigned ROWS, unsigned COLUMNS, unsigned EACH, class LayoutA, class LayoutB, bool CONJUGATE_B>
__device__ inline void product(const Product<R> &a) {
    constexpr unsigned ACROSS = COLUMNS / 4, DOWN = ROWS / EACH, THREADS = ACROSS * DOWN;
    constexpr unsigned TILE = DEPTH * (ROWS + 1 + COLUMNS + 1);
    Complex<R> *tiles = (Complex<R> *)shared_memory();
    unsigned x = threadIdx.x % ACROSS, y = threadIdx.x / ACROSS, bin = blockIdx.z;
    Operand<R, ROWS, THREADS, LayoutA> left = {a.a + bin * a.a_bin, blockIdx.y * ROWS, a.rows, a.a_leading, {}};
    Operand<R, COLUMNS, THREADS, LayoutB> right = {a.b + bin * a.b_bin, blockIdx.x * COLUMNS, a.columns, a.b_leading, {}};
    Complex<R> sum[EACH][4] = {};
    left.load(0, a.depth);
    right.load(0, a.depth);
    left.store(tiles);
    right.store(tiles + DEPTH * (ROWS + 1));
    __syncthreads();
    for (unsigned start = 0; start < a.depth; start += DEPTH) {
        bool more = start + DEPTH < a.depth;
        const Complex<R> *now = tiles + start / DEPTH % 2 * TILE;
        if (more) {
            left.load(start + DEPTH, a.depth);
            right.load(start + DEPTH, a.depth);
        }
        UNROLL(1)
        for (unsigned k = 0; k < DEPTH; k++) {
            Complex<R> p[EACH], q[4];
            UNROLL(8)
            for (unsigned n = 0; n < EACH; n++) p[n] = now[k * (ROWS + 1) + y + n * DOWN];
            UNROLL(4)
            for (unsigned n = 0; n < 4; n++) q[n] = now[DEPTH * (ROWS + 1) + k * (COLUMNS + 1) + x + n * ACROSS];
            UNROLL(8)
            for (unsigned r = 0; r < EACH; r++) {
                UNROLL(4)
                for (unsigned c = 0; c < 4; c++) {
                    R im = CONJUGATE_B ? -q[c].im : q[c].im;
                    sum[r][c].re += p[r].re * q[c].re;
                    sum[r][c].re -= p[r].im * im;
                    sum[r][c].im += p[r].re * im;
                    sum[r][c].im += p[r].im * q[c].re;
                }
            }
        }
        if (more) {
            Complex<R> *next = tiles + (start / DEPTH + 1) % 2 * TILE;
            left.store(next);
            right.store(next + DEPTH * (ROWS + 1));
        }
        __syncthreads();
    }
    UNROLL(8)
    for (unsigned r = 0; r < EACH; r++) {
        UNROLL(4)
        for (unsigned c = 0; c < 4; c++) {
            unsigned row = blockIdx.y * ROWS + y + r * DOWN, column = blockIdx.x * COLUMNS + x + c * ACROSS;
            if (row >= a.rows || column >= a.columns) continue;
            Complex<R> &to = a.c[bin * a.c_bin + (Wide)row * a.c_leading + column];
            to = a.accumulate ? to + sum[r][c] : sum[r][c];
        }
    }
}

#define TILED(name, ROWS, EACH, LayoutA, LayoutB, CONJUGATE_B)            \
    template <class R>                                                      \
    __device__ void name(const Product<R> &a) {                             \
        product<R, ROWS, 64, EACH, LayoutA, LayoutB, CONJUGATE_B>(a);       \
    }                                                                       \
    EXPORT_BARRIERS(name, Product, ROWS / EACH * 16)

// y[b][o] = sum_i x[b][i] kernel[o][i]
TILED(product_forward, 128, 8, ByDepth, ByDepth, false)
TILED(product_forward_few_rows, 16, 4, ByDepth, ByDepth, false)
// d_x[b][i] = sum_o d_y[b][o] conj(kernel[o][i])
TILED(product_input, 128, 8, ByDepth, ByOuter, true)
TILED(product_input_few_rows, 16, 4, ByDepth, ByOuter, true)
// d_kernel[o][i] = sum_b d_y[b][o] conj(x[b][i])
TILED(product_kernel, 128, 8, ByOuter, ByOuter, true)
TILED(product_kernel_few_rows, 16, 4, ByOuter, ByOuter, true)
