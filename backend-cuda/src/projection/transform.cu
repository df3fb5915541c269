#include "fourier.h"

// Sequences [steps][columns] to spectra [bin][columns]; a block transforms two columns per pair.
template <class R>
__device__ void sequence_to_spectrum(const ToSpectrum<R> &a) {
    Columns<R> z(a);
    unsigned lanes = 2 * z.pairs;
    Wide first = (Wide)blockIdx.x * lanes;
    for (unsigned w = threadIdx.x; w < a.length * lanes; w += blockDim.x) {
        unsigned lane = w & (lanes - 1), t = w >> (z.log_pairs + 1);
        bool inside = t < a.steps && first + lane < a.columns;
        z.component(t, lane) = inside ? a.sequence[(Wide)t * a.columns + first + lane] : R(0);
    }
    __syncthreads();
    transform(z);
    store_spectra(z, a.spectrum, a.columns, first, a.columns);
}
EXPORT_BARRIERS(sequence_to_spectrum, ToSpectrum, 256)

// Spectra [bin][columns] to the first `steps` steps of sequences [steps][columns].
template <class R>
__device__ void spectrum_to_sequence(const ToSequence<R> &a) {
    Columns<R> z(a);
    unsigned lanes = 2 * z.pairs;
    Wide first = (Wide)blockIdx.x * lanes;
    load_spectra(z, a.spectrum, a.columns, first, a.columns);
    inverse_transform(z);
    R scale = R(1) / R(a.length);
    for (unsigned w = threadIdx.x; w < a.steps * lanes; w += blockDim.x) {
        unsigned lane = w & (lanes - 1), t = w >> (z.log_pairs + 1);
        if (first + lane >= a.columns) continue;
        a.sequence[(Wide)t * a.columns + first + lane] = t < a.length ? scale * z.component(t, lane) : R(0);
    }
}
EXPORT_BARRIERS(spectrum_to_sequence, ToSequence, 256)
