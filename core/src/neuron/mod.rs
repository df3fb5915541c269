//! Neuron models: one neuron, one step, and the adjoint of that step.
//!
//! A step has three parts. *Charge* integrates the input, *compare* holds the membrane against the
//! threshold, *reset* takes the spike back:
//!
//! ```text
//! charged[t] = charge(state[t-1], x[t])
//! s[t]       = step(drive(charged[t]))
//! state[t]   = reset(charged[t], s[t])
//! ```
//!
//! Component 0 of a state is the membrane; after the reset it is the recorded membrane `v[t]`.

mod adlif;
mod any;
mod cuba;
mod lif;

pub use adlif::AdLif;
pub use any::{AnyNeuron, NeuronModel, NeuronVisitor};
pub use cuba::CubaLif;
pub use lif::{Li, Lif, Plif};

use crate::num::Real;
use core::fmt::Debug;

/// What a spike does to the membrane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reset<R> {
    /// `v = v_reset`; the membrane also rests at and leaks toward that value.
    Hard(R),
    /// `v = h - threshold`; the membrane rests at 0.
    Soft,
}

impl<R: Real> Reset<R> {
    /// The value at which the membrane starts and toward which it leaks.
    pub fn rest(&self) -> R {
        match *self {
            Self::Hard(v) => v,
            Self::Soft => R::zero(),
        }
    }

    /// The membrane after a spike `s` (0 or 1; in between where a smooth primitive spikes).
    #[inline]
    pub fn apply(&self, h: R, threshold: R, s: R) -> R {
        match *self {
            Self::Hard(v) => (R::one() - s) * h + s * v,
            Self::Soft => h - s * threshold,
        }
    }

    /// The adjoint of [`Reset::apply`]: the gradients by `h` and by `s`.
    #[inline]
    pub fn adjoint(&self, h: R, threshold: R, s: R, d_v: R) -> (R, R) {
        match *self {
            Self::Hard(v) => (d_v * (R::one() - s), d_v * (v - h)),
            Self::Soft => (d_v, -d_v * threshold),
        }
    }
}

/// The adjoint of a charge.
#[derive(Clone, Copy, Debug)]
pub struct ChargeAdjoint<S, P, R> {
    /// By the state before.
    pub state: S,
    /// By the raw parameters.
    pub params: P,
    /// By the input.
    pub input: R,
}

/// The adjoint of a reset.
#[derive(Clone, Copy, Debug)]
pub struct ResetAdjoint<S, P, R> {
    /// By the charged state.
    pub charged: S,
    /// By the raw parameters.
    pub params: P,
    /// By the spike; 0 where the reset is detached.
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
/// The learnable part is an array of raw parameters, shared by a layer. They live outside, in the trainer's
/// flat buffers: [`with_params`](Self::with_params) gives the configured neuron of one step's values.
///
/// Laws, held by the conformance suite: each adjoint is the transposed Jacobian of its part;
/// `with_params(params())` changes nothing.
pub trait Neuron: Copy + Debug + Send + Sync + 'static {
    /// The numbers it computes with.
    type Real: Real;
    /// State between steps, `[Real; n]`.
    type State: Copy + AsRef<[Self::Real]> + AsMut<[Self::Real]> + Debug + Send + Sync;
    /// Raw learnable parameters, `[Real; n]`; `[Real; 0]` for none.
    type Params: Copy + AsRef<[Self::Real]> + AsMut<[Self::Real]> + Debug + Send + Sync;

    /// A state whose components all are `x`.
    fn fill_state(x: Self::Real) -> Self::State;
    /// Parameters that all are `x`.
    fn fill_params(x: Self::Real) -> Self::Params;

    /// The raw parameters of this configuration.
    fn params(&self) -> Self::Params;
    /// The same neuron with other raw parameters.
    fn with_params(&self, params: Self::Params) -> Self;

    /// The state before the first step.
    fn rest(&self) -> Self::State;
    /// Integrates the input of one step.
    fn charge(&self, state: Self::State, input: Self::Real) -> Self::State;
    /// The adjoint of [`charge`](Self::charge).
    fn charge_adjoint(
        &self,
        state: Self::State,
        input: Self::Real,
        d_charged: Self::State,
    ) -> ChargeAdjoint<Self::State, Self::Params, Self::Real>;
    /// Membrane minus a constant threshold: the neuron spikes where this is 0 or more. Its derivative by the membrane is
    /// 1, by everything else 0.
    fn excess(&self, charged: Self::State) -> Self::Real;
    /// Takes the spike back.
    fn reset(&self, charged: Self::State, spike: Self::Real) -> Self::State;
    /// The adjoint of [`reset`](Self::reset).
    fn reset_adjoint(
        &self,
        charged: Self::State,
        spike: Self::Real,
        d_state: Self::State,
    ) -> ResetAdjoint<Self::State, Self::Params, Self::Real>;

    /// Whether the gradient ends at the reset, so that [`reset_adjoint`](Self::reset_adjoint) gives the
    /// spike none.
    fn detached(&self) -> bool;
    /// Whether the neuron can spike; a leaky integrator can't.
    fn fires(&self) -> bool {
        true
    }
    /// The linear membrane that this neuron is, exactly and for every input; `None` for all other
    /// dynamics, which is the default. Model files hold linear membranes only.
    fn linear_membrane(&self) -> Option<LinearMembrane<Self::Real>> {
        None
    }
}
