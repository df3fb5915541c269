#include "fourier.h"

// Sequences [steps][columns] to spectra [bin][columns]; a block takes 2 pairs columns.
template <class R>
__device__ void sequence_to_spectrum(const ToSpectrum<R> &a) {
    Columns<R> z = {(Complex<R> *)shared_memory(), a.roots, a.length, a.pairs};
    Wide first = (Wide)blockIdx.x * 2 * a.pairs;
    unsigned lanes = 2 * a.pairs;
    for (unsigned w = threadIdx.x; w < a.length * lanes; w += blockDim.x) {
        unsigned lane = w % lanes, t = w / lanes;
        bool inside = t < a.steps && first + lane < a.columns;
        R x = inside ? a.sequence[(Wide)t * a.columns + first + lane] : R(0);
        Complex<R> &to = z.at[t * a.pairs + lane % a.pairs];
        *(lane < a.pairs ? &to.re : &to.im) = x;
    }
    __syncthreads();
    transform(z);
    store_spectra(z, a.spectrum, a.columns, first, a.columns);
}
EXPORT_BARRIERS(sequence_to_spectrum, ToSpectrum, 256)

// And back, for the first `steps` steps.
template <class R>
__device__ void spectrum_to_sequence(const ToSequence<R> &a) {
    Columns<R> z = {(Complex<R> *)shared_memory(), a.roots, a.length, a.pairs};
    Wide first = (Wide)blockIdx.x * 2 * a.pairs;
    unsigned lanes = 2 * a.pairs;
    load_spectra(z, a.spectrum, a.columns, first, a.columns);
    inverse_transform(z);
    R scale = R(1) / R(a.length);
    for (unsigned w = threadIdx.x; w < a.steps * lanes; w += blockDim.x) {
        unsigned lane = w % lanes, t = w / lanes;
        if (first + lane >= a.columns) continue;
        R x = R(0);
        if (t < a.length) {
            Complex<R> from = z.at[t * a.pairs + lane % a.pairs];
            x = scale * (lane < a.pairs ? from.re : from.im);
        }
        a.sequence[(Wide)t * a.columns + first + lane] = x;
    }
}
EXPORT_BARRIERS(spectrum_to_sequence, ToSequence, 256)
