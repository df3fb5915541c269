//! Neuron models: one neuron, one time step, and the adjoint of that step.
//!
//! A step has three parts: *charge* integrates the input, *excess* compares the membrane with the
//! threshold, and *reset* applies the spike to the state.
//!
//! ```text
//! charged[t] = charge(state[t-1], x[t])
//! s[t]       = step(excess(charged[t]))
//! state[t]   = reset(charged[t], s[t])
//! ```
//!
//! Component 0 of a state is the membrane; after the reset it is the recorded membrane `v[t]`.

mod adlif;
mod alif;
mod any;
mod csilif;
mod cuba;
mod firing;
mod lif;
mod se_adlif;
mod silif;

pub use adlif::AdLif;
pub use alif::Alif;
pub use any::{ErasedNeuron, Example, NamedNeuron, NeuronKind, NeuronModel, NeuronVisitor};
pub use csilif::CSiLif;
pub use cuba::CubaLif;
pub use firing::Firing;
pub use lif::{Li, Lif, Plif};
pub use se_adlif::SeAdLif;
pub use silif::SiLif;

use crate::num::Real;
use crate::parameter::{ParameterError, Problem, Settings, Value};
use core::fmt::Debug;

// Every neuron that configurations and tests know.
any::neurons! { Lif Plif Li CubaLif AdLif Alif SeAdLif SiLif CSiLif }

/// The effect of a spike on the membrane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reset<R> {
    /// `v = v_reset`; the membrane also starts at and decays toward that value.
    Hard(R),
    /// `v = h - threshold`; the membrane rests at 0.
    Soft,
}

impl<R: Real> Reset<R> {
    /// The value at which the membrane starts and toward which it decays.
    #[must_use]
    pub fn rest(&self) -> R {
        match *self {
            Self::Hard(v) => v,
            Self::Soft => R::zero(),
        }
    }

    /// The membrane after a spike `s`: 0 or 1, or a value between them from a smooth primitive.
    #[inline]
    #[must_use]
    pub fn apply(&self, h: R, threshold: R, s: R) -> R {
        match *self {
            Self::Hard(v) => (R::one() - s) * h + s * v,
            Self::Soft => h - s * threshold,
        }
    }

    /// The adjoint of [`Reset::apply`]: the gradients by `h` and by `s`.
    #[inline]
    #[must_use]
    pub fn adjoint(&self, h: R, threshold: R, s: R, d_v: R) -> (R, R) {
        match *self {
            Self::Hard(v) => (d_v * (R::one() - s), d_v * (v - h)),
            Self::Soft => (d_v, -d_v * threshold),
        }
    }
}

/// The gradients that [`Neuron::charge_adjoint`] returns.
#[derive(Clone, Copy, Debug)]
pub struct ChargeAdjoint<S, P, R> {
    /// By the previous state.
    pub state: S,
    /// By the raw parameters.
    pub params: P,
    /// By the input.
    pub input: R,
}

/// The gradients that [`Neuron::reset_adjoint`] returns.
#[derive(Clone, Copy, Debug)]
pub struct ResetAdjoint<S, P, R> {
    /// By the charged state.
    pub charged: S,
    /// By the raw parameters.
    pub params: P,
    /// By the spike; 0 if the reset is detached.
    pub spike: R,
}

/// The dynamics of a neuron whose state is one linear membrane, with `v` counted from its rest:
///
/// ```text
/// h = decay v + input_gain x        it spikes if h >= threshold
/// v = h, or after a spike: 0 (hard reset), h - threshold (soft reset)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearMembrane<R> {
    /// The factor by which the membrane decays in a step.
    pub decay: R,
    /// The factor of the input.
    pub input_gain: R,
    /// The threshold, counted from the rest.
    pub threshold: R,
    /// What a spike does; the value of a hard reset is the rest.
    pub reset: Reset<R>,
}

/// A neuron model with its fixed configuration.
///
/// The learnable part is an array of raw parameters: one set for all neurons of a layer, or one for
/// each. The trainer keeps the values in flat buffers and builds the neurons of a step with
/// [`with_params`](Self::with_params).
///
/// `neuron_laws!` (feature `conformance`) tests the laws of an implementation: each adjoint is the
/// transposed Jacobian of its part, `with_params(params())` changes nothing, and the slope of
/// [`excess`](Self::excess) is 1 by component 0 and 0 by everything else.
pub trait Neuron: Copy + Debug + Send + Sync + 'static {
    /// The number type.
    type Real: Real;
    /// State between steps, `[Real; n]`.
    type State: Copy + AsRef<[Self::Real]> + AsMut<[Self::Real]> + Debug + Send + Sync;
    /// Raw learnable parameters, `[Real; n]`; `[Real; 0]` for none.
    type Params: Copy + AsRef<[Self::Real]> + AsMut<[Self::Real]> + Debug + Send + Sync;

    /// A state with every component set to `x`.
    fn fill_state(x: Self::Real) -> Self::State;
    /// Parameters with every component set to `x`.
    fn fill_params(x: Self::Real) -> Self::Params;

    /// The raw parameters of this configuration.
    fn params(&self) -> Self::Params;
    /// The same neuron with other raw parameters.
    fn with_params(&self, params: Self::Params) -> Self;
    /// The same neuron with set `n` of the raw parameters `[params, sets]` of a layer.
    #[must_use]
    fn with_set(&self, raw: &[Self::Real], sets: usize, n: usize) -> Self {
        let mut params = self.params();
        let set = raw.iter().skip(n).step_by(sets.max(1));
        params.as_mut().iter_mut().zip(set).for_each(|(to, &from)| *to = from);
        self.with_params(params)
    }
    /// The smallest and the largest valid raw parameters. The default, `None`, allows all finite
    /// ones. The trainer keeps the parameters within the bounds.
    fn bounds(&self) -> Option<(Self::Params, Self::Params)> {
        None
    }

    /// The state before the first step.
    fn rest(&self) -> Self::State;
    /// Integrates the input of one step into the state.
    fn charge(&self, state: Self::State, input: Self::Real) -> Self::State;
    /// The adjoint of [`charge`](Self::charge).
    fn charge_adjoint(
        &self,
        state: Self::State,
        input: Self::Real,
        d_charged: Self::State,
    ) -> ChargeAdjoint<Self::State, Self::Params, Self::Real>;
    /// The membrane minus a constant threshold; the neuron spikes if the result is at least 0. A
    /// threshold that adapts is part of the state: component 0 is then the membrane minus the
    /// variable part of the threshold.
    fn excess(&self, charged: Self::State) -> Self::Real;
    /// Applies a spike to the charged state.
    fn reset(&self, charged: Self::State, spike: Self::Real) -> Self::State;
    /// The adjoint of [`reset`](Self::reset).
    fn reset_adjoint(
        &self,
        charged: Self::State,
        spike: Self::Real,
        d_state: Self::State,
    ) -> ResetAdjoint<Self::State, Self::Params, Self::Real>;

    /// Whether the reset is detached: [`reset_adjoint`](Self::reset_adjoint) then returns a spike
    /// gradient of 0.
    fn detached(&self) -> bool;
    /// Whether the neuron can spike; a leaky integrator cannot.
    fn fires(&self) -> bool {
        true
    }
    /// The linear membrane that this neuron is, exactly and for every input; `None` for all other
    /// dynamics, which is the default. Model files hold linear membranes only.
    fn linear_membrane(&self) -> Option<LinearMembrane<Self::Real>> {
        None
    }
}
