// Neurons over time. The kernels of each model are in a separate file, since the driver takes
// seconds to compile all of them.
#pragma once
#include "neurons.h"
#include "surrogates.h"

enum { STEP, SMOOTH, SMOOTH_HELD, FROZEN };

// The spike and its slope, for every firing mode and surrogate, chosen at run time.
template <class R>
struct AnyFiring {
    static const unsigned AT_ONCE = 4; // steps loaded together
    const NeuronStage<R> &a;
    const R p, q, r;

    __device__ AnyFiring(const NeuronStage<R> &a) : a(a), p(a.surrogate[0]), q(a.surrogate[1]), r(a.surrogate[2]) {}
    // Returns the output spike; resets receives the spike that resets the neuron.
    __device__ R fire(Wide at, R drive, R &resets) const {
        R step = drive >= R(0) ? R(1) : R(0);
        if (a.firing == STEP) return resets = step;
        if (a.firing == FROZEN) return resets = a.held[at];
        R smooth = primitive(a.kind, p, q, r, drive);
        resets = a.firing == SMOOTH ? smooth : a.held[at];
        return smooth;
    }
    __device__ R slope(R drive) const { return a.firing == FROZEN ? R(0) : derivative(a.kind, p, q, r, drive); }
    __device__ bool spike_is_held() const { return a.firing == SMOOTH_HELD; }
};

// Training as in the paper: step spikes with the slope of the arc tangent.
template <class R>
struct AtanFiring {
    static const unsigned AT_ONCE = 8;
    const R alpha;

    __device__ AtanFiring(const NeuronStage<R> &a) : alpha(a.surrogate[0]) {}
    __device__ R fire(Wide, R drive, R &resets) const { return resets = drive >= R(0) ? R(1) : R(0); }
    __device__ R slope(R drive) const { return atan_derivative(alpha, drive); }
    __device__ bool spike_is_held() const { return false; }
};

// The input of a column, normalised if the stage has a norm.
template <class R>
struct Input {
    const R *x;
    R gamma, beta, mean, scale;
    bool norm;

    __device__ Input(const NeuronStage<R> &a, unsigned o) : x(a.x), gamma(1), beta(0), mean(0), scale(1), norm(a.saved) {
        if (norm) {
            gamma = a.norm[o];
            beta = a.norm[a.width + o];
            mean = a.saved[o];
            scale = a.saved[a.width + o];
        }
    }
    // Loads N inputs from step `first`; 0 from step `end` on.
    template <unsigned N>
    __device__ void load(R (&into)[N], unsigned first, unsigned end, Wide columns, Wide column) const {
        UNROLL(8)
        for (unsigned n = 0; n < N; n++) into[n] = first + n < end ? x[(Wide)(first + n) * columns + column] : R(0);
        UNROLL(8)
        for (unsigned n = 0; n < N; n++) into[n] = norm ? gamma * ((into[n] - mean) * scale) + beta : into[n];
    }
};

// The raw parameters of neuron o: those of the layer, or its column of [PARAMS][width].
template <class R, class Neuron>
__device__ inline Vector<R, Neuron::PARAMS> parameters(const NeuronStage<R> &a, unsigned o) {
    Vector<R, Neuron::PARAMS> raw = {};
    for (int p = 0; p < Neuron::PARAMS; p++) raw.at[p] = a.params[(Wide)p * a.sets + (a.sets == 1 ? 0 : o)];
    return raw;
}

// The state of a column before the first step.
template <class R, class Neuron>
__device__ inline typename Neuron::State first_state(const NeuronStage<R> &a, const Neuron &neuron, Wide column, Wide columns) {
    typename Neuron::State state = neuron.at_rest();
    if (a.start) {
        for (int s = 0; s < Neuron::STATES; s++) state.at[s] = a.start[s * columns + column];
    }
    return state;
}

// One step of a neuron with input x. Returns the output spike.
template <class R, class Neuron, class Firing>
__device__ inline R advance(const NeuronStage<R> &a, const Neuron &neuron, const Firing &firing, Wide at, R x,
                            typename Neuron::State &state) {
    typename Neuron::State charged = neuron.charge(state, x);
    R resets = R(0), out = neuron.fires() ? firing.fire(at, charged.at[0] - a.model.threshold, resets) : R(0);
    state = neuron.reset(charged, resets);
    return out;
}

// The adjoint of advance, for the state before the step. d_state is the gradient by the state after
// the step, then that by the state before it. Returns the gradient by x.
template <class R, class Neuron, class Firing>
__device__ inline R retreat(const NeuronStage<R> &a, const Neuron &neuron, const Firing &firing, Wide at, R x, R d_out,
                            typename Neuron::State before, typename Neuron::State &d_state, R *d_params) {
    R resets = R(0), slope = R(0), by_spike, d_x;
    typename Neuron::State charged = neuron.charge(before, x);
    R drive = charged.at[0] - a.model.threshold;
    if (neuron.fires()) {
        firing.fire(at, drive, resets);
        slope = firing.slope(drive);
    }
    typename Neuron::State d_charged = neuron.reset_adjoint(charged, resets, d_state, d_params, by_spike);
    R d_spike = firing.spike_is_held() ? d_out : d_out + by_spike;
    d_charged.at[0] += d_spike * slope;
    d_state = neuron.charge_adjoint(before, x, d_charged, d_params, d_x);
    return d_x;
}

// The place of a raw parameter's gradient. sum_rows makes one set of the rows [batch][width][PARAMS],
// and one set per neuron of the rows [batch][PARAMS][width].
template <class Neuron, class R>
__device__ inline Wide gradient_place(const NeuronStage<R> &a, unsigned b, unsigned o, int n) {
    if (a.sets == 1) return ((Wide)b * a.width + o) * Neuron::PARAMS + n;
    return ((Wide)b * Neuron::PARAMS + n) * a.width + o;
}

// One thread per column (sample b, neuron o).
template <class R, class Neuron, class Firing>
__device__ inline void forward(const NeuronStage<R> &a) {
    Wide columns = (Wide)a.batch * a.width;
    for (Wide column = thread_index(); column < columns; column += thread_count()) {
        unsigned b = column / a.width, o = column % a.width, valid = valid_steps(a, b);
        const Neuron neuron(a.model, parameters<R, Neuron>(a, o).at);
        const Firing firing(a);
        const Input<R> input(a, o);
        R pass = a.mask ? a.mask[column] : R(1);
        typename Neuron::State state = first_state(a, neuron, column, columns);
        R *spikes = a.spikes, x[Firing::AT_ONCE];
        for (unsigned first = 0; first < a.steps; first += Firing::AT_ONCE) {
            input.load(x, first, a.steps, columns, column);
            UNROLL(8)
            for (unsigned n = 0; n < Firing::AT_ONCE; n++) {
                if (first + n >= a.steps) break;
                Wide at = (first + n) * columns + column;
                R out = advance(a, neuron, firing, at, x[n], state);
                spikes[at] = first + n < valid ? out * pass : R(0);
            }
        }
        if (a.end) {
            for (int s = 0; s < Neuron::STATES; s++) a.end[s * columns + column] = state.at[s];
        }
    }
}

// Records the state before every step, [T][S][columns], for the backward pass.
template <class R, class Neuron, class Firing>
__device__ inline void record(const NeuronStage<R> &a, const Neuron &neuron, const Firing &firing, const Input<R> &input,
                              Wide column, Wide columns) {
    typename Neuron::State state = first_state(a, neuron, column, columns);
    R *states = a.states, x[Firing::AT_ONCE];
    for (unsigned first = 0; first < a.steps; first += Firing::AT_ONCE) {
        input.load(x, first, a.steps, columns, column);
        UNROLL(8)
        for (unsigned n = 0; n < Firing::AT_ONCE; n++) {
            if (first + n >= a.steps) break;
            Wide t = first + n;
            for (int s = 0; s < Neuron::STATES; s++) states[(t * Neuron::STATES + s) * columns + column] = state.at[s];
            advance(a, neuron, firing, t * columns + column, x[n], state);
        }
    }
}

template <class R, class Neuron, class Firing>
__device__ inline void backward(const NeuronStage<R> &a) {
    Wide columns = (Wide)a.batch * a.width;
    for (Wide column = thread_index(); column < columns; column += thread_count()) {
        unsigned b = column / a.width, o = column % a.width, valid = valid_steps(a, b);
        const Neuron neuron(a.model, parameters<R, Neuron>(a, o).at);
        const Firing firing(a);
        const Input<R> input(a, o);
        record(a, neuron, firing, input, column, columns);
        R pass = a.mask ? a.mask[column] : R(1), d_params[Neuron::PARAMS > 0 ? Neuron::PARAMS : 1] = {};
        typename Neuron::State d_state = {};
        const R *states = a.states;
        R *d_x = a.d_x, x[Firing::AT_ONCE], d_out[Firing::AT_ONCE];
        typename Neuron::State before[Firing::AT_ONCE];
        for (unsigned end = a.steps; end;) {
            unsigned first = end > Firing::AT_ONCE ? end - Firing::AT_ONCE : 0, part = end - first;
            input.load(x, first, end, columns, column);
            UNROLL(8)
            for (unsigned n = 0; n < Firing::AT_ONCE; n++) {
                Wide t = n < part ? first + n : first;
                d_out[n] = t < valid ? a.d_spikes[t * columns + column] * pass : R(0);
                for (int s = 0; s < Neuron::STATES; s++) {
                    before[n].at[s] = states[(t * Neuron::STATES + s) * columns + column];
                }
            }
            UNROLL(8)
            for (unsigned k = 0; k < Firing::AT_ONCE; k++) {
                unsigned n = Firing::AT_ONCE - 1 - k;
                if (n >= part) continue;
                Wide at = (Wide)(first + n) * columns + column;
                d_x[at] = retreat(a, neuron, firing, at, x[n], d_out[n], before[n], d_state, d_params);
            }
            end = first;
        }
        for (int n = 0; n < Neuron::PARAMS; n++) a.d_params[gradient_place<Neuron>(a, b, o, n)] = d_params[n];
    }
}
