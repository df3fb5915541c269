//! The laws of [`Neuron`].

use super::{Checked, ROUNDING, below, hold, near, tolerance};
use crate::conformance::Failure;
use crate::gradcheck::{STEP, charge_error, excess_error, extrapolated, reset_error};
use crate::neuron::{Neuron, NeuronModel, NeuronVisitor};
use alloc::vec::Vec;
use proptest::prelude::*;

/// [`Neuron::charge_adjoint`] equals the difference quotients of [`Neuron::charge`] by state, input
/// and raw parameters.
///
/// # Errors
/// [`Failure`] with a minimal case that violates the law.
pub fn charge_adjoint_matches_differences<M: NeuronModel<Real = f64>>(
    neurons: impl Strategy<Value = M>,
) -> Result<(), Failure> {
    test(neurons, Law::Charge)
}

/// `<u, J v> = <J' u, v>` for the Jacobian J of [`Neuron::charge`] and a direction v in states,
/// inputs and raw parameters.
///
/// # Errors
/// [`Failure`] with a minimal case that violates the law.
pub fn charge_adjoint_satisfies_the_adjoint_identity<M: NeuronModel<Real = f64>>(
    neurons: impl Strategy<Value = M>,
) -> Result<(), Failure> {
    test(neurons, Law::ChargeIdentity)
}

/// [`Neuron::reset_adjoint`] equals the difference quotients of [`Neuron::reset`] by state, spike
/// and raw parameters. The gradient by the spike of a detached neuron is 0.
///
/// # Errors
/// [`Failure`] with a minimal case that violates the law.
pub fn reset_adjoint_matches_differences<M: NeuronModel<Real = f64>>(
    neurons: impl Strategy<Value = M>,
) -> Result<(), Failure> {
    test(neurons, Law::Reset)
}

/// `<u, J v> = <J' u, v>` for the Jacobian J of [`Neuron::reset`] and a direction v in states,
/// spikes and raw parameters; without the spike if the neuron is detached.
///
/// # Errors
/// [`Failure`] with a minimal case that violates the law.
pub fn reset_adjoint_satisfies_the_adjoint_identity<M: NeuronModel<Real = f64>>(
    neurons: impl Strategy<Value = M>,
) -> Result<(), Failure> {
    test(neurons, Law::ResetIdentity)
}

/// Both adjoints are linear in the upstream gradient.
///
/// # Errors
/// [`Failure`] with a minimal case that violates the law.
pub fn adjoints_are_linear<M: NeuronModel<Real = f64>>(
    neurons: impl Strategy<Value = M>,
) -> Result<(), Failure> {
    test(neurons, Law::Linear)
}

/// `with_params(params())` is the same neuron up to rounding, and [`Neuron::params`] returns the
/// parameters that [`Neuron::with_params`] was given.
///
/// # Errors
/// [`Failure`] with a minimal case that violates the law.
pub fn own_parameters_change_nothing<M: NeuronModel<Real = f64>>(
    neurons: impl Strategy<Value = M>,
) -> Result<(), Failure> {
    test(neurons, Law::OwnParameters)
}

/// The slope of [`Neuron::excess`] is 1 by component 0 of the state and 0 by everything else, if
/// the neuron can spike.
///
/// # Errors
/// [`Failure`] with a minimal case that violates the law.
pub fn excess_has_slope_one_by_the_membrane<M: NeuronModel<Real = f64>>(
    neurons: impl Strategy<Value = M>,
) -> Result<(), Failure> {
    test(neurons, Law::Excess)
}

#[derive(Clone, Copy)]
enum Law {
    Charge,
    ChargeIdentity,
    Reset,
    ResetIdentity,
    Linear,
    OwnParameters,
    Excess,
}

/// Tests a law on time steps with random states, inputs, parameters, directions and gradients.
fn test<M: NeuronModel<Real = f64>>(
    neurons: impl Strategy<Value = M>,
    law: Law,
) -> Result<(), Failure> {
    struct Count;
    impl NeuronVisitor<f64> for Count {
        type Output = usize;
        fn visit<N: Neuron<Real = f64>>(self, neuron: &N) -> usize {
            let (state, params) = (neuron.rest(), neuron.params());
            4 * state.as_ref().len() + 2 + 2 * params.as_ref().len()
        }
    }
    let cases = neurons.prop_flat_map(|neuron| {
        let count = neuron.visit(Count);
        (Just(neuron), prop::collection::vec(-2.0..2.0f64, count))
    });
    hold(&cases, |(neuron, numbers)| neuron.visit(Case { law, numbers: &numbers }))
}

struct Case<'a> {
    law: Law,
    numbers: &'a [f64],
}

/// A point of one time step, or a direction. The input of a charge is the spike of a reset.
#[derive(Clone, Copy)]
struct Point<N: Neuron> {
    state: N::State,
    input: f64,
    params: N::Params,
}

impl<N: Neuron<Real = f64>> Point<N> {
    /// This point moved by `step` along `direction`.
    fn along(mut self, direction: &Self, step: f64) -> Self {
        add(self.state.as_mut(), direction.state.as_ref(), step);
        add(self.params.as_mut(), direction.params.as_ref(), step);
        self.input += step * direction.input;
        self
    }

    fn products(&self, other: &Self) -> Vec<f64> {
        let states = self.state.as_ref().iter().zip(other.state.as_ref());
        let params = self.params.as_ref().iter().zip(other.params.as_ref());
        let inputs = core::iter::once((&self.input, &other.input));
        states.chain(params).chain(inputs).map(|(a, b)| a * b).collect()
    }
}

fn add(to: &mut [f64], from: &[f64], factor: f64) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += factor * from);
}

fn charge_adjoint<N: Neuron<Real = f64>>(
    neuron: &N,
    at: &Point<N>,
    upstream: N::State,
) -> Point<N> {
    let found = neuron.charge_adjoint(at.state, at.input, upstream);
    Point { state: found.state, input: found.input, params: found.params }
}

fn reset_adjoint<N: Neuron<Real = f64>>(neuron: &N, at: &Point<N>, upstream: N::State) -> Point<N> {
    let found = neuron.reset_adjoint(at.state, at.input, upstream);
    Point { state: found.charged, input: found.spike, params: found.params }
}

/// `<u, J v> = <J' u, v>`, with J v from difference quotients along v.
fn identity<N: Neuron<Real = f64>>(
    neuron: &N,
    [at, v]: [&Point<N>; 2],
    u: N::State,
    adjoint: &Point<N>,
    part: impl Fn(&N, N::State, f64) -> N::State,
    bound: f64,
) -> Checked {
    let value = |step| {
        let to = at.along(v, step);
        let image = part(&neuron.with_params(to.params), to.state, to.input);
        u.as_ref().iter().zip(image.as_ref()).map(|(u, y)| u * y).sum()
    };
    let products = adjoint.products(v);
    let scale = products.iter().map(|p| p.abs()).fold(0.1, f64::max);
    near("<J' u, v>", [products.iter().sum(), extrapolated(value, STEP)], scale, bound)
}

/// `adjoint(u + w) = adjoint(u) + adjoint(w)`.
fn linear<N: Neuron<Real = f64>>(
    [u, w]: [N::State; 2],
    adjoint: impl Fn(N::State) -> Point<N>,
) -> Checked {
    let mut both = u;
    add(both.as_mut(), w.as_ref(), 1.0);
    let (found, sum) = (adjoint(both), adjoint(u).along(&adjoint(w), 1.0));
    let values = |point: &Point<N>| {
        let params = point.params.as_ref().iter();
        params.chain(point.state.as_ref()).copied().chain([point.input]).collect::<Vec<_>>()
    };
    let (found, sum) = (values(&found), values(&sum));
    let scale = sum.iter().map(|x| x.abs()).fold(1.0, f64::max);
    found
        .iter()
        .zip(&sum)
        .try_for_each(|(&a, &b)| near("adjoint of a sum", [a, b], 100.0 * scale, ROUNDING))
}

/// Charge, excess and reset of `with_params(params())`.
fn own_parameters<N: Neuron<Real = f64>>(neuron: &N, at: &Point<N>) -> Checked {
    let again = neuron.with_params(neuron.params());
    let raw = neuron.with_params(at.params).params();
    prop_assert_eq!(raw.as_ref(), at.params.as_ref(), "params() of with_params()");
    let same = |what, a: &[f64], b: &[f64]| {
        prop_assert_eq!(a.len(), b.len(), "{}", what);
        a.iter().zip(b).try_for_each(|(&a, &b)| {
            let error = (a - b).abs() / a.abs().max(1.0);
            below(what, error, 1e-14)
        })
    };
    same("rest", neuron.rest().as_ref(), again.rest().as_ref())?;
    let charged = neuron.charge(at.state, at.input);
    same("charge", charged.as_ref(), again.charge(at.state, at.input).as_ref())?;
    same("excess", &[neuron.excess(charged)], &[again.excess(charged)])?;
    let reset = |neuron: &N| neuron.reset(at.state, at.input);
    same("reset", reset(neuron).as_ref(), reset(&again).as_ref())?;
    prop_assert!(again.detached() == neuron.detached() && again.fires() == neuron.fires());
    Ok(())
}

impl NeuronVisitor<f64> for Case<'_> {
    type Output = Checked;

    fn visit<N: Neuron<Real = f64>>(self, neuron: &N) -> Checked {
        let mut numbers = self.numbers.iter().copied().cycle();
        let mut state = || {
            let mut state = N::fill_state(0.0);
            state.as_mut().iter_mut().zip(&mut numbers).for_each(|(to, from)| *to = from);
            state
        };
        let states = [state(), state(), state(), state()];
        let mut inputs = [0.0; 2];
        inputs.iter_mut().zip(&mut numbers).for_each(|(to, from)| *to = from);
        let mut raw = [neuron.params(), neuron.params()];
        for (to, from) in raw[0].as_mut().iter_mut().zip(&mut numbers) {
            *to += 0.25 * from;
        }
        raw[1].as_mut().iter_mut().zip(&mut numbers).for_each(|(to, from)| *to = from);

        let at = Point::<N> { state: states[0], input: inputs[0], params: raw[0] };
        let mut v = Point::<N> { state: states[1], input: inputs[1], params: raw[1] };
        let (u, w) = (states[2], states[3]);
        let moved = neuron.with_params(raw[0]);
        let (charge, reset) = (tolerance("neuron, charge"), tolerance("neuron, reset"));
        match self.law {
            Law::Charge => {
                below("charge_adjoint", charge_error(neuron, at.state, at.input, u), charge)?;
                below("charge_adjoint", charge_error(&moved, at.state, at.input, u), charge)
            }
            Law::ChargeIdentity => {
                let adjoint = charge_adjoint(&moved, &at, u);
                identity(&moved, [&at, &v], u, &adjoint, |n, s, x| n.charge(s, x), charge)
            }
            Law::Reset => {
                below("reset_adjoint", reset_error(neuron, at.state, at.input, u), reset)?;
                below("reset_adjoint", reset_error(&moved, at.state, at.input, u), reset)
            }
            Law::ResetIdentity => {
                if neuron.detached() {
                    v.input = 0.0;
                }
                let adjoint = reset_adjoint(&moved, &at, u);
                identity(&moved, [&at, &v], u, &adjoint, |n, s, x| n.reset(s, x), reset)
            }
            Law::Linear => {
                linear::<N>([u, w], |upstream| charge_adjoint(&moved, &at, upstream))?;
                linear::<N>([u, w], |upstream| reset_adjoint(&moved, &at, upstream))
            }
            Law::OwnParameters => own_parameters(neuron, &at),
            Law::Excess => {
                below("slope of excess", excess_error(neuron, at.state), reset)?;
                below("slope of excess", excess_error(&moved, at.state), reset)
            }
        }
    }
}
