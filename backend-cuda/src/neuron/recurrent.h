// Neurons that hear each other, over time. A block of threads owns SAMPLES samples and all their
// neurons, so that a barrier of the block is enough between steps. All values are in device memory,
// most of them in the caches, so that no size is limited.
#pragma once
#include "stage.h"

static const unsigned SAMPLES = 2;

enum { PAIRS, LINES_FIRST, MATRIX_FIRST };

// What the neurons send and what arrives, in the steps of a pass: gradients travel backwards in time
// through the transposed synapses. All pairs have taps of their own; or each sender, or each
// receiver, has one delay line, and a matrix follows or precedes it.
template <class R, bool BACKWARDS>
struct Traffic {
    static const unsigned AT_ONCE = 8; // senders loaded together
    const RecurrentStage<R> &r;
    const unsigned width, first, samples;
    const Wide columns;

    __device__ Traffic(const RecurrentStage<R> &r)
        : r(r),
          width(r.neurons.width),
          first(blockIdx.x * SAMPLES),
          samples(smaller(SAMPLES, r.neurons.batch - first)),
          columns((Wide)r.neurons.batch * r.neurons.width) {}
    __device__ Wide column(unsigned s, unsigned n) const { return (Wide)(first + s) * width + n; }
    // The row of `sent` and `relayed` for a step, which is negative for those before the first.
    __device__ Wide row(long long step) const {
        return columns * (Wide)(BACKWARDS ? r.rows - 1 - step : r.earlier + step);
    }
    // The number of taps through which something has arrived.
    __device__ unsigned arrived(unsigned step) const { return smaller(r.taps, step + r.earlier); }
    // Adds the values [width] of all senders to the sums of receiver n.
    __device__ void multiply(const R *dense, const R *values, unsigned n, R (&sums)[SAMPLES]) const {
        for (unsigned from = 0; from < width; from += AT_ONCE) {
            R x[AT_ONCE][SAMPLES];
            bool any = false;
            UNROLL(8)
            for (unsigned k = 0; k < AT_ONCE; k++) {
                for (unsigned s = 0; s < SAMPLES; s++) {
                    x[k][s] = s < samples && from + k < width ? values[column(s, from + k)] : R(0);
                    any |= x[k][s] != R(0);
                }
            }
            if (!any) continue;
            UNROLL(8)
            for (unsigned k = 0; k < AT_ONCE; k++) {
                R weight = from + k < width ? dense[(Wide)(from + k) * width + n] : R(0);
                for (unsigned s = 0; s < SAMPLES; s++) sums[s] += weight * x[k][s];
            }
        }
    }
    // What leaves the delay lines of neuron n.
    __device__ void delay(const R *values, unsigned step, unsigned n, R (&sums)[SAMPLES]) const {
        for (unsigned j = 0; j < arrived(step); j++) {
            R tap = r.lines[(Wide)j * width + n];
            const R *x = values + row((long long)step - 1 - j);
            for (unsigned s = 0; s < samples; s++) sums[s] += tap * x[column(s, n)];
        }
    }
    // Before the neurons receive. All threads of the block call this.
    __device__ void prepare(unsigned step) const {
        if (r.order == PAIRS) return;
        bool delays = r.order == LINES_FIRST;
        // The matrix takes what was sent at the last step; at first, what was sent at all steps before.
        long long at = delays ? step : step ? (long long)step - 1 : -(long long)r.earlier;
        for (long long end = (long long)step + delays; at < end; at++) {
            for (unsigned n = threadIdx.x; n < width; n += blockDim.x) {
                R sums[SAMPLES] = {};
                if (delays) {
                    delay(r.sent, step, n, sums);
                } else {
                    multiply(r.dense, r.sent + row(at), n, sums);
                }
                for (unsigned s = 0; s < samples; s++) r.relayed[row(at) + column(s, n)] = sums[s];
            }
        }
        if (delays) __syncthreads();
    }
    // What arrives at neuron n.
    __device__ void receive(unsigned step, unsigned n, R (&sums)[SAMPLES]) const {
        if (r.order == MATRIX_FIRST) return delay(r.relayed, step, n, sums);
        bool pairs = r.order == PAIRS;
        const R *values = pairs ? r.sent : r.relayed;
        long long latest = pairs ? (long long)step - 1 : step;
        unsigned taps = pairs ? arrived(step) : 1;
        for (unsigned j = 0; j < taps; j++) multiply(r.dense + (Wide)j * width * width, values + row(latest - j), n, sums);
    }
    // After all neurons have sent. All threads of the block call this.
    __device__ void send() const {
        if (r.order != LINES_FIRST) __syncthreads();
    }
};

// The neuron that a thread computed last, since most threads have only one.
template <class R, class Neuron>
struct Recent {
    unsigned o;
    Neuron neuron;

    __device__ Recent(const NeuronStage<R> &a, unsigned o) : o(o), neuron(a.model, parameters<R, Neuron>(a, o).at) {}
    __device__ const Neuron &of(const NeuronStage<R> &a, unsigned wanted) {
        if (wanted != o) *this = Recent(a, wanted);
        return neuron;
    }
};

template <class Neuron, class R>
__device__ inline typename Neuron::State load_state(const R *states, Wide column, Wide columns) {
    typename Neuron::State state;
    for (int s = 0; s < Neuron::STATES; s++) state.at[s] = states[s * columns + column];
    return state;
}

template <class Neuron, class R>
__device__ inline void store_state(R *states, Wide column, Wide columns, typename Neuron::State state) {
    for (int s = 0; s < Neuron::STATES; s++) states[s * columns + column] = state.at[s];
}

// `end` has the states at every step.
template <class R, class Neuron>
__device__ inline void recurrent_forward(const RecurrentStage<R> &r) {
    const NeuronStage<R> &a = r.neurons;
    const AnyFiring<R> firing(a);
    const Traffic<R, false> traffic(r);
    Recent<R, Neuron> recent(a, smaller(threadIdx.x, a.width - 1));
    for (unsigned o = threadIdx.x; o < a.width; o += blockDim.x) {
        UNROLL(1)
        for (unsigned s = 0; s < traffic.samples; s++) {
            Wide column = traffic.column(s, o);
            store_state<Neuron>(a.end, column, traffic.columns, first_state(a, recent.of(a, o), column, traffic.columns));
        }
    }
    for (unsigned t = 0; t < a.steps; t++) {
        traffic.prepare(t);
        for (unsigned o = threadIdx.x; o < a.width; o += blockDim.x) {
            const Neuron &neuron = recent.of(a, o);
            R current[SAMPLES] = {};
            traffic.receive(t, o, current);
            UNROLL(1)
            for (unsigned s = 0; s < traffic.samples; s++) {
                Wide column = traffic.column(s, o), at = t * traffic.columns + column;
                R x = a.x[at] + (r.mask ? r.mask[column] * current[s] : current[s]);
                typename Neuron::State state = load_state<Neuron>(a.end, column, traffic.columns);
                R out = advance(a, neuron, firing, at, x, state);
                store_state<Neuron>(a.end, column, traffic.columns, state);
                r.input[at] = x;
                r.sent[traffic.row(t) + column] = out;
                R pass = a.mask ? a.mask[column] : R(1);
                a.spikes[at] = t < valid_steps(a, traffic.first + s) ? out * pass : R(0);
            }
        }
        traffic.send();
    }
}

// `end` has the gradients by the states after every step; what is sent is the gradient by the
// current.
template <class R, class Neuron>
__device__ inline void recurrent_backward(const RecurrentStage<R> &r) {
    const NeuronStage<R> &a = r.neurons;
    const AnyFiring<R> firing(a);
    const Traffic<R, true> traffic(r);
    const Wide columns = traffic.columns;
    Recent<R, Neuron> recent(a, smaller(threadIdx.x, a.width - 1));
    for (unsigned o = threadIdx.x; o < a.width; o += blockDim.x) {
        UNROLL(1)
        for (unsigned s = 0; s < traffic.samples; s++) {
            Wide column = traffic.column(s, o);
            record(a, recent.of(a, o), firing, Input<R>(a, o), column, columns);
            store_state<Neuron>(a.end, column, columns, typename Neuron::State{});
            for (int n = 0; n < Neuron::PARAMS; n++) a.d_params[gradient_place<Neuron>(a, traffic.first + s, o, n)] = R(0);
        }
    }
    for (unsigned step = 0; step < a.steps; step++) {
        traffic.prepare(step);
        Wide t = a.steps - 1 - step;
        for (unsigned o = threadIdx.x; o < a.width; o += blockDim.x) {
            const Neuron &neuron = recent.of(a, o);
            R d_fired[SAMPLES] = {};
            traffic.receive(step, o, d_fired);
            UNROLL(1)
            for (unsigned s = 0; s < traffic.samples; s++) {
                unsigned b = traffic.first + s;
                Wide column = traffic.column(s, o), at = t * columns + column;
                R pass = a.mask ? a.mask[column] : R(1), d_params[Neuron::PARAMS > 0 ? Neuron::PARAMS : 1] = {};
                R d_out = d_fired[s] + (t < valid_steps(a, b) ? a.d_spikes[at] * pass : R(0));
                typename Neuron::State before = load_state<Neuron>(a.states + t * Neuron::STATES * columns, column, columns);
                typename Neuron::State d_state = load_state<Neuron>(a.end, column, columns);
                R d_x = retreat(a, neuron, firing, at, a.x[at], d_out, before, d_state, d_params);
                store_state<Neuron>(a.end, column, columns, d_state);
                for (int n = 0; n < Neuron::PARAMS; n++) a.d_params[gradient_place<Neuron>(a, b, o, n)] += d_params[n];
                a.d_x[at] = d_x;
                r.sent[traffic.row(step) + column] = r.mask ? r.mask[column] * d_x : d_x;
            }
        }
        traffic.send();
    }
}
