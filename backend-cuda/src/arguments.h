// The arguments of the kernels, generated from arguments.rs by its test
// `the_header_declares_the_same_structures` with UPDATE=1.
#pragma once

template <class R>
struct Dropout {
    R *mask;
    unsigned long long len;
    unsigned long long seed;
    unsigned long long stream;
    double probability;
    R keep;
};

template <class R>
struct Finite {
    const R *values;
    unsigned *found;
    unsigned long long len;
};

template <class R>
struct Events {
    const unsigned *places;
    const R *values;
    R *to;
    unsigned long long events;
    unsigned long long len;
};

template <class R>
struct Elementwise {
    const R *x;
    R *to;
    unsigned long long len;
};

template <class R>
struct Scale {
    R *values;
    unsigned long long len;
    R factor;
};

template <class R>
struct Squares {
    const R *values;
    double *sums;
    unsigned long long len;
};

template <class R>
struct SumRows {
    const R *values;
    R *out;
    unsigned long long rows;
    unsigned columns;
    R scale;
};

template <class R>
struct RepeatRows {
    const R *values;
    R *out;
    unsigned long long len;
    unsigned long long rows;
    unsigned columns;
};

template <class R>
struct AdamStep {
    const R *gradient;
    R *params;
    R *first;
    R *second;
    unsigned long long len;
    R rate;
    R beta1;
    R beta2;
    R epsilon;
    R l2;
    R scale;
    R root;
    R low;
    R high;
    unsigned decoupled;
    unsigned bounded;
};

template <class R>
struct NormStatistics {
    const R *y;
    const unsigned *valid;
    R *sums;
    R *squares;
    unsigned padding;
    unsigned steps;
    unsigned batch;
    unsigned width;
    R count;
};

template <class R>
struct NormFinish {
    const R *sums;
    const R *squares;
    const R *fixed;
    R *running;
    R *saved;
    unsigned width;
    unsigned slices;
    R count;
    R unbias;
    R momentum;
    R epsilon;
};

template <class R>
struct NormApply {
    const R *params;
    const R *saved;
    const R *y;
    R *z;
    unsigned long long rows;
    unsigned width;
};

template <class R>
struct NormBackward {
    const R *params;
    const R *saved;
    const unsigned *valid;
    const R *y;
    const R *d_z;
    R *d_y;
    R *gammas;
    R *betas;
    R *d_params;
    unsigned padding;
    unsigned steps;
    unsigned batch;
    unsigned width;
    unsigned slices;
    R count;
};

template <class R>
struct RatePenalty {
    const R *sums;
    const unsigned *valid;
    double *penalties;
    R *d;
    double weight;
    double low;
    double high;
    double count;
    unsigned padding;
    unsigned steps;
    unsigned batch;
    unsigned width;
    unsigned slices;
};

template <class R>
struct Readout {
    const R *x;
    const unsigned *valid;
    const R *targets;
    R *membrane;
    R *scores;
    R *losses;
    const R *d_scores;
    R *d_x;
    unsigned padding;
    unsigned steps;
    unsigned batch;
    unsigned classes;
    unsigned loss;
    R rate;
    R gain;
};

template <class R>
struct NeuronModel {
    R rate;
    R rest;
    R threshold;
    R q;
    unsigned decay_input;
    unsigned soft;
    unsigned detach;
};

template <class R>
struct NeuronStage {
    const R *x;
    const R *params;
    const R *held;
    const R *mask;
    const unsigned *valid;
    const R *norm;
    const R *saved;
    const R *start;
    R *spikes;
    R *end;
    R *states;
    const R *d_spikes;
    R *d_x;
    R *d_params;
    NeuronModel<R> model;
    R surrogate[3];
    unsigned kind;
    unsigned firing;
    unsigned padding;
    unsigned steps;
    unsigned batch;
    unsigned width;
    unsigned sets;
};

template <class R>
struct RecurrentStage {
    NeuronStage<R> neurons;
    const R *lines;
    const R *dense;
    const R *mask;
    R *input;
    R *sent;
    R *relayed;
    unsigned order;
    unsigned taps;
    unsigned earlier;
    unsigned rows;
};

template <class R>
struct ToSpectrum {
    const R *sequence;
    const Complex<R> *roots;
    const unsigned *places;
    Complex<R> *spectrum;
    unsigned long long columns;
    unsigned steps;
    unsigned length;
    unsigned log_pairs;
};

template <class R>
struct ToSequence {
    const Complex<R> *spectrum;
    const Complex<R> *roots;
    const unsigned *places;
    R *sequence;
    unsigned long long columns;
    unsigned steps;
    unsigned length;
    unsigned log_pairs;
};

template <class R>
struct Taps {
    const R *weights;
    const R *delays;
    const R *sigma;
    const Complex<R> *roots;
    const unsigned *places;
    Complex<R> *spectrum;
    const Complex<R> *d_spectrum;
    R *dense;
    const R *d_dense;
    R *d_weights;
    R *d_delays;
    R *d_sigma;
    unsigned long long sigmas;
    unsigned long long first;
    unsigned long long synapses;
    unsigned count;
    unsigned taps;
    unsigned length;
    unsigned log_pairs;
    unsigned kernel;
};

template <class R>
struct Lines {
    const R *delays;
    const R *sigma;
    R *lines;
    unsigned stride;
    unsigned neurons;
    unsigned taps;
    unsigned kernel;
};

template <class R>
struct BySender {
    const R *dense;
    R *sorted;
    unsigned neurons;
    unsigned taps;
    unsigned backwards;
};

template <class R>
struct Direct {
    const R *dense;
    const R *x;
    const R *d_y;
    R *y;
    R *d_x;
    R *d_dense;
    unsigned x_steps;
    unsigned y_steps;
    unsigned batch;
    unsigned inputs;
    unsigned outputs;
    unsigned taps;
};

template <class R>
struct Product {
    const Complex<R> *a;
    const Complex<R> *b;
    Complex<R> *c;
    unsigned long long a_bin;
    unsigned long long b_bin;
    unsigned long long c_bin;
    unsigned a_leading;
    unsigned b_leading;
    unsigned c_leading;
    unsigned rows;
    unsigned columns;
    unsigned depth;
    unsigned accumulate;
};
