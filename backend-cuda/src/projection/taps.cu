#include "fourier.h"
#include "taps.h"

// A block handles two synapses per pair of columns. A thread handles one synapse, its lane, and
// every rows-th tap of it.
template <class R>
struct Lanes {
    R *partial;
    unsigned lanes, lane, row, rows;

    __device__ Lanes(const Columns<R> &z)
        : partial((R *)(z.at + (z.length << z.log_pairs))),
          lanes(2 * z.pairs),
          lane(threadIdx.x & (lanes - 1)),
          row(threadIdx.x >> (z.log_pairs + 1)),
          rows(blockDim.x >> (z.log_pairs + 1)) {}
    // The sum over the threads of a lane; every thread of the lane receives it.
    __device__ R sum(R x) const {
        partial[threadIdx.x] = x;
        __syncthreads();
        R all = R(0);
        for (unsigned r = 0; r < rows; r++) all += partial[r * lanes + lane];
        __syncthreads();
        return all;
    }
};

// One kernel element of a synapse.
template <class R>
struct Element {
    R weight, delay, width, by_sigma;

    __device__ Element(const Taps<R> &a, Wide e) : weight(a.weights[e]), delay(a.delays[e]) {
        width = width_of(a.kernel, a.sigma[a.sigmas == 1 ? 0 : e], by_sigma);
    }
};

// The kernel spectra [bin][synapse] of synapses first to first + synapses.
template <class R>
__device__ void taps_to_spectrum(const Taps<R> &a) {
    Columns<R> z(a);
    Lanes<R> lanes(z);
    Wide start = (Wide)blockIdx.x * lanes.lanes, synapse = start + lanes.lane;
    bool inside = synapse < a.synapses;
    for (unsigned j = lanes.row; j < a.length; j += lanes.rows) z.component(j, lanes.lane) = R(0);
    for (unsigned n = 0; n < a.count; n++) {
        Element<R> e(a, inside ? (a.first + synapse) * a.count + n : 0);
        R mass = R(0);
        for (unsigned j = lanes.row; j < a.taps; j += lanes.rows) mass += bump(a.kernel, j, e.delay, e.width, a.taps).value;
        mass = lanes.sum(mass);
        R factor = inside ? e.weight * scale_of(a.kernel, mass) : R(0);
        for (unsigned j = lanes.row; j < a.taps; j += lanes.rows) {
            z.component(j, lanes.lane) += factor * bump(a.kernel, j, e.delay, e.width, a.taps).value;
        }
    }
    __syncthreads();
    transform(z);
    store_spectra(z, a.spectrum, a.synapses, start, a.synapses);
}
EXPORT_BARRIERS(taps_to_spectrum, Taps, 256)

// The gradients of a synapse's elements from the kernel's gradient; see `gather` of polychron-core.
template <class R, class At, class Sum>
__device__ inline void gather(const Taps<R> &a, Wide place, unsigned row, unsigned rows, bool writes, At upstream, Sum sum) {
    Element<R> e(a, place);
    R mass = R(0), value = R(0), d_delay = R(0), d_width = R(0);
    for (unsigned j = row; j < a.taps; j += rows) {
        R g = bump(a.kernel, j, e.delay, e.width, a.taps).value;
        mass += g;
        value += upstream(j) * g;
    }
    R scale = scale_of(a.kernel, sum(mass)), d_weight = sum(value) * scale;
    for (unsigned j = row; j < a.taps; j += rows) {
        Bump<R> g = bump(a.kernel, j, e.delay, e.width, a.taps);
        d_delay += (upstream(j) - d_weight) * g.d_delay;
        d_width += (upstream(j) - d_weight) * g.d_width;
    }
    d_delay = sum(d_delay);
    d_width = sum(d_width);
    if (!writes) return;
    R outer = e.weight * scale;
    a.d_weights[place] = d_weight;
    a.d_delays[place] = d_delay * outer;
    a.d_sigma[place] = d_width * (outer * e.by_sigma);
}

template <class R>
__device__ void taps_from_spectrum(const Taps<R> &a) {
    Columns<R> z(a);
    Lanes<R> lanes(z);
    Wide start = (Wide)blockIdx.x * lanes.lanes, synapse = start + lanes.lane;
    bool inside = synapse < a.synapses;
    load_spectra(z, a.d_spectrum, a.synapses, start, a.synapses);
    inverse_transform(z);
    R scale = R(1) / R(a.length);
    for (unsigned n = 0; n < a.count; n++) {
        Wide place = inside ? (a.first + synapse) * a.count + n : 0;
        gather(
            a, place, lanes.row, lanes.rows, inside && lanes.row == 0,
            [&](unsigned j) { return scale * z.component(j, lanes.lane); }, [&](R x) { return lanes.sum(x); });
    }
}
EXPORT_BARRIERS(taps_from_spectrum, Taps, 256)

// The dense kernels [synapse][taps]; one thread per synapse.
template <class R>
__device__ void taps_to_dense(const Taps<R> &a) {
    for (Wide s = thread_index(); s < a.synapses; s += thread_count()) {
        R *dense = a.dense + s * a.taps;
        for (unsigned j = 0; j < a.taps; j++) dense[j] = R(0);
        for (unsigned n = 0; n < a.count; n++) {
            Element<R> e(a, s * a.count + n);
            R mass = R(0);
            for (unsigned j = 0; j < a.taps; j++) mass += bump(a.kernel, j, e.delay, e.width, a.taps).value;
            R factor = e.weight * scale_of(a.kernel, mass);
            for (unsigned j = 0; j < a.taps; j++) dense[j] += factor * bump(a.kernel, j, e.delay, e.width, a.taps).value;
        }
    }
}
EXPORT(taps_to_dense, Taps, 128)

template <class R>
__device__ void taps_from_dense(const Taps<R> &a) {
    for (Wide s = thread_index(); s < a.synapses; s += thread_count()) {
        const R *d_dense = a.d_dense + s * a.taps;
        for (unsigned n = 0; n < a.count; n++) {
            gather(
                a, s * a.count + n, 0, 1, true, [&](unsigned j) { return d_dense[j]; }, [](R x) { return x; });
        }
    }
}
EXPORT(taps_from_dense, Taps, 128)

// Delay lines [taps][neurons] of weight 1.
template <class R>
__device__ void taps_of_lines(const Lines<R> &a) {
    for (Wide n = thread_index(); n < a.neurons; n += thread_count()) {
        R delay = a.delays[n * a.stride], by_sigma, width = width_of(a.kernel, *a.sigma, by_sigma), mass = R(0);
        for (unsigned j = 0; j < a.taps; j++) mass += bump(a.kernel, j, delay, width, a.taps).value;
        R scale = scale_of(a.kernel, mass);
        for (unsigned j = 0; j < a.taps; j++) {
            a.lines[(Wide)j * a.neurons + n] = scale * bump(a.kernel, j, delay, width, a.taps).value;
        }
    }
}
EXPORT(taps_of_lines, Lines, 128)

// Kernels [tap][sender][receiver] from [out][in][tap]. Gradients are sent by the outputs.
template <class R>
__device__ void taps_by_sender(const BySender<R> &a) {
    Wide square = (Wide)a.neurons * a.neurons, len = square * a.taps;
    for (Wide n = thread_index(); n < len; n += thread_count()) {
        Wide j = n / square, from = n / a.neurons % a.neurons, to = n % a.neurons;
        a.sorted[n] = a.dense[(a.backwards ? from * a.neurons + to : to * a.neurons + from) * a.taps + j];
    }
}
EXPORT(taps_by_sender, BySender, 128)
