// The neurons of polychron-core: charge, drive, reset and their adjoints, for one neuron and one
// step. State component 0 is the membrane.
#pragma once
#include "../kernel.h"

template <class R, int N>
struct Vector {
    R at[N > 0 ? N : 1];
};

template <class R>
struct Reset {
    R threshold, rest;
    unsigned soft, detach;

    __device__ R apply(R h, R s) const { return soft ? h - s * threshold : (R(1) - s) * h + s * rest; }
    // Returns the gradient by h. by_spike receives the gradient by s, 0 if the reset is detached.
    __device__ R adjoint(R h, R s, R d_v, R &by_spike) const {
        R d_s = soft ? -d_v * threshold : d_v * (rest - h);
        by_spike = detach ? R(0) : d_s;
        return soft ? d_v : d_v * (R(1) - s);
    }
};

// Shared by Lif, Plif, Li and CubaLif: h = v - rate (v - rest) + gain x.
template <class R>
struct Leak {
    R rate, rest;
    unsigned decay_input;

    __device__ R gain() const { return decay_input ? rate : R(1); }
    __device__ R charge(R v, R x) const { return v + (rest - v) * rate + gain() * x; }
    __device__ R by_rate(R v, R x) const { return decay_input ? rest - v + x : rest - v; }
};

template <class R>
struct Lif {
    static const int STATES = 1, PARAMS = 0;
    typedef Vector<R, 1> State;
    Leak<R> leak;
    Reset<R> reset_to;

    __device__ Lif(const NeuronModel<R> &m, const R *)
        : leak{m.rate, m.rest, m.decay_input}, reset_to{m.threshold, m.rest, m.soft, m.detach} {}
    __device__ bool fires() const { return true; }
    __device__ State at_rest() const { return {{leak.rest}}; }
    __device__ State charge(State s, R x) const { return {{leak.charge(s.at[0], x)}}; }
    __device__ State charge_adjoint(State, R, State d, R *, R &d_x) const {
        d_x = d.at[0] * leak.gain();
        return {{d.at[0] * (R(1) - leak.rate)}};
    }
    __device__ State reset(State h, R s) const { return {{reset_to.apply(h.at[0], s)}}; }
    __device__ State reset_adjoint(State h, R s, State d, R *, R &by_spike) const {
        return {{reset_to.adjoint(h.at[0], s, d.at[0], by_spike)}};
    }
};

template <class R>
struct Plif : Lif<R> {
    static const int PARAMS = 1;
    typedef typename Lif<R>::State State;

    __device__ Plif(const NeuronModel<R> &m, const R *raw) : Lif<R>(m, raw) { this->leak.rate = logistic(raw[0]); }
    __device__ State charge_adjoint(State s, R x, State d, R *d_params, R &d_x) const {
        R rate = this->leak.rate;
        d_params[0] += d.at[0] * this->leak.by_rate(s.at[0], x) * (rate * (R(1) - rate));
        return Lif<R>::charge_adjoint(s, x, d, d_params, d_x);
    }
};

template <class R>
struct Li {
    static const int STATES = 1, PARAMS = 0;
    typedef Vector<R, 1> State;
    Leak<R> leak;

    __device__ Li(const NeuronModel<R> &m, const R *) : leak{m.rate, R(0), m.decay_input} {}
    __device__ bool fires() const { return false; }
    __device__ State at_rest() const { return {{R(0)}}; }
    __device__ State charge(State s, R x) const { return {{s.at[0] - s.at[0] * leak.rate + leak.gain() * x}}; }
    __device__ State charge_adjoint(State, R, State d, R *, R &d_x) const {
        d_x = d.at[0] * leak.gain();
        return {{d.at[0] * (R(1) - leak.rate)}};
    }
    __device__ State reset(State h, R) const { return h; }
    __device__ State reset_adjoint(State, R, State d, R *, R &by_spike) const {
        by_spike = R(0);
        return d;
    }
};

template <class R>
struct CubaLif {
    static const int STATES = 2, PARAMS = 2;
    typedef Vector<R, 2> State;
    Leak<R> leak;
    Reset<R> reset_to;
    R rate_syn;

    __device__ CubaLif(const NeuronModel<R> &m, const R *raw)
        : leak{logistic(raw[1]), m.rest, m.decay_input},
          reset_to{m.threshold, m.rest, m.soft, m.detach},
          rate_syn(logistic(raw[0])) {}
    __device__ bool fires() const { return true; }
    __device__ State at_rest() const { return {{leak.rest, R(0)}}; }
    __device__ State charge(State s, R x) const {
        R current = s.at[1] - s.at[1] * rate_syn + x;
        return {{leak.charge(s.at[0], current), current}};
    }
    __device__ State charge_adjoint(State s, R x, State d, R *d_params, R &d_x) const {
        R current = s.at[1] - s.at[1] * rate_syn + x, rate = leak.rate;
        d_x = d.at[1] + d.at[0] * leak.gain();
        d_params[0] += -d_x * s.at[1] * (rate_syn * (R(1) - rate_syn));
        d_params[1] += d.at[0] * leak.by_rate(s.at[0], current) * (rate * (R(1) - rate));
        return {{d.at[0] * (R(1) - rate), d_x * (R(1) - rate_syn)}};
    }
    __device__ State reset(State h, R s) const { return {{reset_to.apply(h.at[0], s), h.at[1]}}; }
    __device__ State reset_adjoint(State h, R s, State d, R *, R &by_spike) const {
        return {{reset_to.adjoint(h.at[0], s, d.at[0], by_spike), d.at[1]}};
    }
};

template <class R>
struct AdLif {
    static const int STATES = 2, PARAMS = 4;
    typedef Vector<R, 2> State;
    Reset<R> reset_to;
    R rate, rate_w, a, b;

    __device__ AdLif(const NeuronModel<R> &m, const R *raw)
        : reset_to{m.threshold, m.rest, m.soft, m.detach},
          rate(logistic(raw[0])),
          rate_w(logistic(raw[1])),
          a(raw[2]),
          b(raw[3]) {}
    __device__ bool fires() const { return true; }
    __device__ State at_rest() const { return {{reset_to.rest, R(0)}}; }
    __device__ State charge(State s, R x) const { return {{s.at[0] + rate * (x - s.at[1] - s.at[0]), s.at[1]}}; }
    __device__ State charge_adjoint(State s, R x, State d, R *d_params, R &d_x) const {
        d_x = d.at[0] * rate;
        d_params[0] += d.at[0] * (x - s.at[1] - s.at[0]) * (rate * (R(1) - rate));
        return {{d.at[0] - d_x, d.at[1] - d_x}};
    }
    __device__ State reset(State h, R s) const {
        R w = h.at[1];
        return {{reset_to.apply(h.at[0], s), w - rate_w * w + a * h.at[0] + b * s}};
    }
    __device__ State reset_adjoint(State h, R s, State d, R *d_params, R &by_spike) const {
        R d_h = reset_to.adjoint(h.at[0], s, d.at[0], by_spike), d_w = d.at[1];
        if (!reset_to.detach) by_spike += b * d_w;
        d_params[1] += -d_w * h.at[1] * (rate_w * (R(1) - rate_w));
        d_params[2] += d_w * h.at[0];
        d_params[3] += d_w * s;
        return {{d_h + a * d_w, d_w - d_w * rate_w}};
    }
};
