// Transforms of real columns in shared memory, two real columns as one complex column. Forward by
// decimation in frequency, inverse by decimation in time: the bins stay in digit-reversed order and
// need no sorting.
#pragma once
#include "../kernel.h"

template <class R>
__device__ inline Complex<R> operator+(Complex<R> a, Complex<R> b) {
    return {a.re + b.re, a.im + b.im};
}
template <class R>
__device__ inline Complex<R> operator-(Complex<R> a, Complex<R> b) {
    return {a.re - b.re, a.im - b.im};
}
template <class R>
__device__ inline Complex<R> operator*(Complex<R> a, Complex<R> b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
template <class R>
__device__ inline Complex<R> conjugate(Complex<R> a) {
    return {a.re, -a.im};
}
template <class R>
__device__ inline Complex<R> times_minus_i(Complex<R> a) {
    return {a.im, -a.re};
}

// The columns of a block: complex[length][pairs]. Column q is the real part of pair q, column q +
// pairs its imaginary part.
template <class R>
struct Columns {
    Complex<R> *at;
    const Complex<R> *roots; // exp(-2 pi i k / length)
    const unsigned *places;  // the place of bin k after the forward transform
    unsigned length, log_pairs, pairs;

    template <class Args>
    __device__ Columns(const Args &a)
        : at((Complex<R> *)shared_memory()),
          roots(a.roots),
          places(a.places),
          length(a.length),
          log_pairs(a.log_pairs),
          pairs(1u << a.log_pairs) {}
    __device__ Complex<R> &operator()(unsigned step, unsigned pair) const { return at[(step << log_pairs) + pair]; }
    __device__ Complex<R> &bin(unsigned k, unsigned pair) const { return (*this)(places[k], pair); }
    __device__ R &component(unsigned step, unsigned lane) const {
        Complex<R> &pair = (*this)(step, lane & (pairs - 1));
        return lane < pairs ? pair.re : pair.im;
    }
};

// A discrete Fourier transform of 2, 3, 4 or 5 numbers in place.
template <class R>
__device__ inline void small_transform(Complex<R> (&a)[2]) {
    Complex<R> sum = a[0] + a[1];
    a[1] = a[0] - a[1];
    a[0] = sum;
}

template <class R>
__device__ inline void small_transform(Complex<R> (&a)[4]) {
    Complex<R> even = a[0] + a[2], odd = a[1] + a[3], low = a[0] - a[2], high = times_minus_i(a[1] - a[3]);
    a[0] = even + odd;
    a[1] = low + high;
    a[2] = even - odd;
    a[3] = low - high;
}

template <class R>
__device__ inline void small_transform(Complex<R> (&a)[3]) {
    const R sine = R(0.86602540378443864676);
    Complex<R> sum = a[1] + a[2], difference = times_minus_i(a[1] - a[2]);
    Complex<R> centre = {a[0].re - R(0.5) * sum.re, a[0].im - R(0.5) * sum.im};
    Complex<R> turned = {sine * difference.re, sine * difference.im};
    a[0] = a[0] + sum;
    a[1] = centre + turned;
    a[2] = centre - turned;
}

template <class R>
__device__ inline void small_transform(Complex<R> (&a)[5]) {
    const R c1 = R(0.30901699437494742410), c2 = R(-0.80901699437494742410);
    const R s1 = R(0.95105651629515357212), s2 = R(0.58778525229247312917);
    Complex<R> sum1 = a[1] + a[4], sum2 = a[2] + a[3], dif1 = times_minus_i(a[1] - a[4]), dif2 = times_minus_i(a[2] - a[3]);
    Complex<R> near = {a[0].re + c1 * sum1.re + c2 * sum2.re, a[0].im + c1 * sum1.im + c2 * sum2.im};
    Complex<R> far = {a[0].re + c2 * sum1.re + c1 * sum2.re, a[0].im + c2 * sum1.im + c1 * sum2.im};
    Complex<R> near_turn = {s1 * dif1.re + s2 * dif2.re, s1 * dif1.im + s2 * dif2.im};
    Complex<R> far_turn = {s2 * dif1.re - s1 * dif2.re, s2 * dif1.im - s1 * dif2.im};
    a[0] = a[0] + sum1 + sum2;
    a[1] = near + near_turn;
    a[2] = far + far_turn;
    a[3] = far - far_turn;
    a[4] = near - near_turn;
}

// One stage over blocks of n steps. The inverse runs the same stages in reverse with conjugate
// roots.
template <int RADIX, bool INVERSE, class R>
__device__ inline void stage(const Columns<R> &z, unsigned n) {
    // A part is a power of two: 3 and 5 divide only the first block.
    unsigned part = n / RADIX, log_part = 0, work = (z.length / RADIX) << z.log_pairs, turn = z.length / n;
    while (1u << log_part < part) log_part++;
    for (unsigned w = threadIdx.x; w < work; w += blockDim.x) {
        unsigned pair = w & (z.pairs - 1), row = w >> z.log_pairs, j = row & (part - 1), base = (row >> log_part) * n + j;
        Complex<R> a[RADIX];
        for (int q = 0; q < RADIX; q++) {
            a[q] = z(base + q * part, pair);
            if (INVERSE) a[q] = conjugate(q ? a[q] * conjugate(z.roots[j * q * turn]) : a[q]);
        }
        small_transform(a);
        for (int q = 0; q < RADIX; q++) {
            if (INVERSE) {
                a[q] = conjugate(a[q]);
            } else if (q) {
                a[q] = a[q] * z.roots[j * q * turn];
            }
            z(base + q * part, pair) = a[q];
        }
    }
    __syncthreads();
}

// The radix of the stage over blocks of n: first 3 or 5, then 4, finally 2.
__device__ inline unsigned radix_of(unsigned n) { return n % 5 == 0 ? 5 : n % 3 == 0 ? 3 : n % 4 == 0 ? 4 : 2; }

template <bool INVERSE, class R>
__device__ inline void stage_of(const Columns<R> &z, unsigned n) {
    switch (radix_of(n)) {
    case 5:
        return stage<5, INVERSE>(z, n);
    case 3:
        return stage<3, INVERSE>(z, n);
    case 4:
        return stage<4, INVERSE>(z, n);
    default:
        return stage<2, INVERSE>(z, n);
    }
}

template <class R>
__device__ inline void transform(const Columns<R> &z) {
    for (unsigned n = z.length; n > 1; n /= radix_of(n)) stage_of<false>(z, n);
}

// The inverse transform times the length.
template <class R>
__device__ inline void inverse_transform(const Columns<R> &z) {
    unsigned n = 1;
    while (n < z.length) {
        // The next larger block of the forward stages.
        unsigned block = z.length;
        while (block / radix_of(block) > n) block /= radix_of(block);
        stage_of<true>(z, block);
        n = block;
    }
}

// Splits the transformed pairs into the spectra of their columns, spectrum[bin][stride], starting
// at column `first`.
template <class R>
__device__ inline void store_spectra(const Columns<R> &z, Complex<R> *spectrum, Wide stride, Wide first, Wide columns) {
    unsigned bins = z.length / 2 + 1, lanes = 2 * z.pairs;
    for (unsigned w = threadIdx.x; w < bins * lanes; w += blockDim.x) {
        unsigned lane = w & (lanes - 1), k = w >> (z.log_pairs + 1), pair = lane & (z.pairs - 1);
        if (first + lane >= columns) continue;
        Complex<R> a = z.bin(k, pair), b = conjugate(z.bin(k ? z.length - k : 0, pair));
        Complex<R> real = {R(0.5) * (a.re + b.re), R(0.5) * (a.im + b.im)};
        Complex<R> imaginary = times_minus_i(Complex<R>{R(0.5) * (a.re - b.re), R(0.5) * (a.im - b.im)});
        spectrum[k * stride + first + lane] = lane < z.pairs ? real : imaginary;
    }
}

// The inverse of store_spectra: pairs from the spectra of their columns.
template <class R>
__device__ inline void load_spectra(const Columns<R> &z, const Complex<R> *spectrum, Wide stride, Wide first, Wide columns) {
    unsigned bins = z.length / 2 + 1;
    for (unsigned w = threadIdx.x; w < bins * z.pairs; w += blockDim.x) {
        unsigned pair = w & (z.pairs - 1), k = w >> z.log_pairs;
        Complex<R> real = {R(0), R(0)}, imaginary = {R(0), R(0)};
        if (first + pair < columns) real = spectrum[k * stride + first + pair];
        if (first + pair + z.pairs < columns) imaginary = spectrum[k * stride + first + pair + z.pairs];
        z.bin(k, pair) = Complex<R>{real.re - imaginary.im, real.im + imaginary.re};
        if (k && k < z.length - k) {
            Complex<R> mirrored = {real.re + imaginary.im, imaginary.re - real.im};
            z.bin(z.length - k, pair) = mirrored;
        }
    }
    __syncthreads();
}
