//! Difference quotients, to test gradients.
//!
//! A backward pass is correct if it equals the slope of its forward pass. This module provides
//! difference quotients, one definition of the relative error, the allowed error of every stage,
//! and tests of one [`Neuron`], [`DelayKernel`] or [`Surrogate`] at one point. The feature
//! `conformance` turns the tests into laws over random points.
//!
#![doc = include_str!("../GRADIENTS.md")]

use crate::delay::{DelayKernel, dense_kernel};
use crate::neuron::Neuron;
use crate::shape::Synapses;
use crate::surrogate::Surrogate;

/// The step h of a difference quotient of numbers around 1; a power of two, so that `x + h` is
/// nearly exact.
pub const STEP: f64 = 1.0 / 1024.0;

/// The fraction of the scale below which errors are absolute: rounding of the loss leaves about
/// 1e-12 of it in every quotient.
pub const FLOOR: f64 = 1e-2;

/// The largest relative error allowed for a stage in a mode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// The stage.
    pub stage: &'static str,
    /// The test.
    pub mode: &'static str,
    /// Largest [`relative_error`].
    pub bound: f64,
}

/// Every stage and mode with its bound.
pub const TOLERANCES: [Tolerance; 34] = [
    row("surrogate", "difference", 1e-8),
    row("delay kernel", "difference", 1e-8),
    row("neuron, charge", "difference", 1e-8),
    row("neuron, reset", "difference", 1e-8),
    row("projection", "difference", 1e-8),
    row("projection", "directional", 1e-8),
    row("projection by input", "adjoint", 1e-12),
    row("projection by weights", "adjoint", 1e-12),
    row("norm", "difference", 1e-8),
    row("norm", "directional", 1e-8),
    row("neurons over time", "smooth", 1e-8),
    row("neurons over time", "held", 1e-8),
    row("neurons over time", "frozen", 1e-8),
    row("neurons over time", "step", 1e-8),
    row("neurons over time", "adjoint", 1e-12),
    row("readout and loss", "difference", 1e-8),
    row("layer", "smooth", 1e-8),
    row("layer", "held", 1e-8),
    row("layer", "frozen", 1e-8),
    row("network", "smooth", 1e-7),
    row("network", "held", 1e-7),
    row("network", "frozen", 1e-7),
    row("network", "directional", 1e-7),
    row("network with skips", "smooth", 1e-7),
    row("network with skips", "held", 1e-7),
    row("network with skips", "frozen", 1e-7),
    row("network with skips", "directional", 1e-7),
    row("recurrent layer", "smooth", 1e-8),
    row("recurrent layer", "held", 1e-8),
    row("recurrent layer", "step", 1e-8),
    row("recurrent layer", "adjoint", 1e-12),
    row("recurrent network", "smooth", 1e-8),
    row("recurrent network", "held", 1e-8),
    row("recurrent network", "directional", 1e-8),
];

const fn row(stage: &'static str, mode: &'static str, bound: f64) -> Tolerance {
    Tolerance { stage, mode, bound }
}

/// The central difference `(f(h) - f(-h)) / 2h`, whose error is of order h^2.
pub fn central(mut f: impl FnMut(f64) -> f64, h: f64) -> f64 {
    (f(h) - f(-h)) / (2.0 * h)
}

/// The slope of `f` at 0: central differences of steps h, h/2, h/4 and so on, extrapolated to step
/// 0 for as long as their disagreement falls.
///
/// Source: Ridders, *Accurate computation of F'(x) and F'(x) F''(x)* (Advances in Engineering
/// Software, 1982).
///
/// ```
/// let slope = polychron_core::gradcheck::extrapolated(|x| libm::exp(3.0 * x), 1e-3);
/// assert!((slope - 3.0).abs() < 1e-11);
/// ```
pub fn extrapolated(mut f: impl FnMut(f64) -> f64, h: f64) -> f64 {
    const LEVELS: usize = 8;
    let mut orders = [0.0; LEVELS];
    orders[0] = central(&mut f, h);
    let (mut best, mut least) = (orders[0], f64::INFINITY);
    let mut step = h;
    for level in 1..LEVELS {
        step *= 0.5;
        let last = orders[level - 1];
        let mut coarse = orders[0];
        orders[0] = central(&mut f, step);
        let mut power = 1.0;
        for order in 1..=level {
            power *= 4.0;
            let fine = orders[order - 1];
            let slope = (power * fine - coarse) / (power - 1.0);
            let disagreement = (slope - fine).abs().max((slope - coarse).abs());
            if disagreement <= least {
                (best, least) = (slope, disagreement);
            }
            coarse = orders[order];
            orders[order] = slope;
        }
        if (orders[level] - last).abs() >= 2.0 * least {
            break;
        }
    }
    best
}

/// The slope of `f` by `x[i]`, [`extrapolated`] from step `h`; 0 if `i` is out of range. `x` is
/// restored.
pub fn partial(mut f: impl FnMut(&[f64]) -> f64, x: &mut [f64], i: usize, h: f64) -> f64 {
    let Some(&centre) = x.get(i) else { return 0.0 };
    let slope = extrapolated(
        |step| {
            x[i] = centre + step;
            f(x)
        },
        h,
    );
    x[i] = centre;
    slope
}

/// The slope of `f` at `x` along `direction`, [`extrapolated`] from step `h`. `at` is scratch of
/// the size of `x`.
pub fn directional(
    mut f: impl FnMut(&[f64]) -> f64,
    x: &[f64],
    direction: &[f64],
    at: &mut [f64],
    h: f64,
) -> f64 {
    extrapolated(
        |step| {
            for ((at, &x), &v) in at.iter_mut().zip(x).zip(direction) {
                *at = x + step * v;
            }
            f(at)
        },
        h,
    )
}

/// `|a - b| / max(|a|, |b|, FLOOR scale)`, where `scale` is the magnitude of the loss or of the
/// largest gradient; 0 if `a` equals `b`, infinite if one is NaN.
#[must_use]
pub fn relative_error(a: f64, b: f64, scale: f64) -> f64 {
    if a == b {
        0.0
    } else {
        let error = (a - b).abs() / a.abs().max(b.abs()).max(FLOOR * scale);
        if error.is_nan() { f64::INFINITY } else { error }
    }
}

/// The error of a surrogate's derivative at `u` against the slope of its primitive. No kink lies
/// within [`STEP`] of `u`.
#[must_use]
pub fn surrogate_error<S: Surrogate<f64>>(surrogate: &S, u: f64) -> f64 {
    let slope = extrapolated(|step| surrogate.primitive(u + step), STEP);
    relative_error(surrogate.derivative(u), slope, 1.0)
}

/// The worst error of a kernel's gradient by weight, delay and sigma, for an upstream gradient of K
/// taps. `scratch` has room for 2 K numbers. No kink of the kernel lies within [`STEP`].
#[must_use]
pub fn kernel_error<K: DelayKernel<f64>>(
    kernel: &K,
    [weight, delay, sigma]: [f64; 3],
    upstream: &[f64],
    scratch: &mut [f64],
) -> f64 {
    let synapses = Synapses::new(1, 1, upstream.len());
    let (taps, dense) = scratch.split_at_mut(scratch.len() / 2);
    let mut value = |weight: f64, delay: f64, sigma: f64| match dense_kernel(
        kernel,
        &synapses,
        &[weight],
        &[delay],
        &[sigma],
        taps,
        dense,
    ) {
        Ok(()) => dot(upstream, dense),
        Err(_) => f64::NAN,
    };
    let by_weight = extrapolated(|e| value(weight + e, delay, sigma), STEP);
    let by_delay = extrapolated(|e| value(weight, delay + e, sigma), STEP);
    let by_sigma = extrapolated(|e| value(weight, delay, sigma + e), STEP);
    let g = kernel.backward(weight, delay, sigma, upstream);
    let scale = upstream.iter().fold(0.0, |top: f64, g| top.max(g.abs()));
    relative_error(g.weight, by_weight, scale)
        .max(relative_error(g.delay, by_delay, scale * weight.abs()))
        .max(relative_error(g.sigma, by_sigma, scale * weight.abs()))
}

/// The worst error of a neuron's charge adjoint by state, input and raw parameters, for the
/// upstream gradient `d_charged`.
#[must_use]
pub fn charge_error<N: Neuron<Real = f64>>(
    neuron: &N,
    state: N::State,
    input: f64,
    d_charged: N::State,
) -> f64 {
    let value = |raw: N::Params, state: N::State, input: f64| {
        dot(d_charged.as_ref(), neuron.with_params(raw).charge(state, input).as_ref())
    };
    let raw = neuron.params();
    let adjoint = neuron.charge_adjoint(state, input, d_charged);
    let scale = largest(d_charged.as_ref());
    let by_input = extrapolated(|e| value(raw, state, input + e), STEP);
    relative_error(adjoint.input, by_input, scale)
        .max(array_error(state, adjoint.state.as_ref(), scale, |state| value(raw, state, input)))
        .max(array_error(raw, adjoint.params.as_ref(), scale, |raw| value(raw, state, input)))
}

/// The worst error of a neuron's reset adjoint by charged state, spike and raw parameters, for the
/// upstream gradient `d_state`, and of the slopes of its excess ([`excess_error`]).
///
/// The adjoint of a detached neuron returns a spike gradient of exactly 0.
#[must_use]
pub fn reset_error<N: Neuron<Real = f64>>(
    neuron: &N,
    charged: N::State,
    spike: f64,
    d_state: N::State,
) -> f64 {
    let value = |raw: N::Params, charged: N::State, spike: f64| {
        dot(d_state.as_ref(), neuron.with_params(raw).reset(charged, spike).as_ref())
    };
    let raw = neuron.params();
    let adjoint = neuron.reset_adjoint(charged, spike, d_state);
    let scale = largest(d_state.as_ref());
    let by_spike = if neuron.detached() {
        0.0
    } else {
        extrapolated(|e| value(raw, charged, spike + e), STEP)
    };
    let reset = relative_error(adjoint.spike, by_spike, scale)
        .max(array_error(charged, adjoint.charged.as_ref(), scale, |c| value(raw, c, spike)))
        .max(array_error(raw, adjoint.params.as_ref(), scale, |raw| value(raw, charged, spike)));
    reset.max(excess_error(neuron, charged))
}

/// The worst error of the slopes of a neuron's excess, which are 1 by the membrane and 0 by every
/// other component and parameter. The error is 0 for a neuron that cannot spike.
#[must_use]
pub fn excess_error<N: Neuron<Real = f64>>(neuron: &N, charged: N::State) -> f64 {
    if !neuron.fires() {
        return 0.0;
    }
    let mut slope = N::fill_state(0.0);
    slope.as_mut()[0] = 1.0;
    let (raw, none) = (neuron.params(), N::fill_params(0.0));
    array_error(charged, slope.as_ref(), 1.0, |charged| neuron.excess(charged)).max(array_error(
        raw,
        none.as_ref(),
        1.0,
        |raw| neuron.with_params(raw).excess(charged),
    ))
}

fn array_error<A: Copy + AsMut<[f64]>>(
    at: A,
    gradient: &[f64],
    scale: f64,
    mut f: impl FnMut(A) -> f64,
) -> f64 {
    let mut worst: f64 = 0.0;
    for (i, &g) in gradient.iter().enumerate() {
        let along = |step: f64| {
            let mut moved = at;
            moved.as_mut()[i] += step;
            f(moved)
        };
        worst = worst.max(relative_error(g, extrapolated(along, STEP), scale));
    }
    worst
}

/// The scalar product of two blocks.
#[must_use]
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The largest magnitude in a block.
#[must_use]
pub fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |top, x| top.max(x.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extrapolation_copes_with_a_large_step() {
        for (h, bound) in [(1.0, 1e-9), (1e-2, 1e-11), (STEP, 1e-11)] {
            let error = (extrapolated(|x| libm::sin(4.0 * x), h) - 4.0).abs();
            assert!(error < bound, "{h}: {error}");
        }
        assert!(extrapolated(|_| f64::NAN, STEP).is_nan());
    }

    #[test]
    fn partial_restores_its_point() {
        let mut x = [0.1, 0.2, 0.3];
        let slope = partial(|x| x[0] * x[1] * x[2], &mut x, 1, STEP);
        assert!((slope - 0.03).abs() < 1e-13);
        assert_eq!(x, [0.1, 0.2, 0.3]);
        assert_eq!(partial(|x| x[0], &mut x, 3, STEP), 0.0);
    }

    #[test]
    fn nan_is_an_infinite_error() {
        assert_eq!(relative_error(f64::NAN, 1.0, 1.0), f64::INFINITY);
        assert_eq!(relative_error(0.0, 0.0, 0.0), 0.0);
        assert!(relative_error(1.0, -1.0, 0.0) > 1.0);
        assert!(relative_error(1e-9, 0.0, 1.0) < 1e-6);
    }
}
