use super::any::{self, DETACH, RESET, TAU_MS, THRESHOLD, V_RESET};
use super::any::{ATTACHED, OFFSET, SOFT, TAU, example};
use super::silif::raw_decay;
use super::{ChargeAdjoint, Example, NamedNeuron, Neuron, Reset, ResetAdjoint};
use crate::num::Real;
use crate::parameter::{Domain, Parameter, ParameterError, Settings, Value::Number};
use core::f64::consts::TAU as TURN;

/// A resonate-and-fire neuron with the decay of a state-space model (C-SiLIF): membrane `v` and
/// current `u` turn by an angle in every step, and decay.
///
/// ```text
/// h[t] = decay (cos(angle) v[t-1] - sin(angle) u[t-1]) + gain x[t]
/// u[t] = decay (sin(angle) v[t-1] + cos(angle) u[t-1])
/// v[t] = reset(h[t], s[t])
/// ```
/// The state is `[v, u]`: twice the real and the imaginary part of the complex state of the source.
/// The raw learnable parameters are `[r, angle, gain]`, with `decay = exp(-exp(r))`, which is below
/// 1: the neuron is always stable. The membrane starts at the reset value and turns around 0.
///
/// Source: Fabre, Dudchenko, Bouhadjar and Neftci, *SiLIF: structured state space model dynamics
/// and parametrization for spiking neural networks* (2025), with a soft reset, a threshold of 1 and
/// `gain = 2 b`. There, `exp(r)` and the angle are products of an own parameter and of a step,
/// which both share and which is learned too. After Izhikevich, *Resonate-and-fire neurons* (Neural
/// Networks, 2001).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CSiLif<R> {
    threshold: R,
    reset: Reset<R>,
    detach: bool,
    raw: [R; 3],
    decay: R,
    /// The derivative of the decay by `r`.
    slope: R,
    turn: [R; 2],
}

impl<R: Real> CSiLif<R> {
    /// The time constant in steps, with `decay = 1 - 1 / tau`, the angle of a step in radians, and
    /// the gain. The raw parameter `ln(-ln(decay))` is finite if the time constant is finite and
    /// above 1 step; `train::Network::check` rejects others. Threshold 1, soft reset, not detached.
    #[must_use]
    pub fn new(tau: R, angle: R, gain: R) -> Self {
        let (one, zero) = (R::one(), R::zero());
        let raw = [raw_decay(one / tau), angle, gain];
        let (threshold, reset, detach) = (one, Reset::Soft, false);
        Self { threshold, reset, detach, raw, decay: zero, slope: zero, turn: [zero; 2] }
            .with_params(raw)
    }

    /// Sets threshold and reset, and whether the reset is detached.
    #[must_use]
    pub fn with_reset(self, threshold: R, reset: Reset<R>, detach: bool) -> Self {
        Self { threshold, reset, detach, ..self }
    }

    /// `[v, u]` turned by an angle with this cosine and sine.
    #[inline]
    fn turned([v, u]: [R; 2], [cos, sin]: [R; 2]) -> [R; 2] {
        [cos * v - sin * u, sin * v + cos * u]
    }
}

impl<R: Real> Neuron for CSiLif<R> {
    type Real = R;
    type State = [R; 2];
    type Params = [R; 3];

    fn fill_state(x: R) -> [R; 2] {
        [x; 2]
    }
    fn fill_params(x: R) -> [R; 3] {
        [x; 3]
    }
    fn params(&self) -> [R; 3] {
        self.raw
    }
    fn with_params(&self, raw: [R; 3]) -> Self {
        let [r, angle, _] = raw;
        let decay = (-r.exp()).exp();
        let turn = [angle.cos(), angle.sin()];
        Self { raw, decay, slope: -(r - r.exp()).exp(), turn, ..*self }
    }
    fn rest(&self) -> [R; 2] {
        [self.reset.rest(), R::zero()]
    }
    #[inline]
    fn charge(&self, state: [R; 2], x: R) -> [R; 2] {
        let [v, u] = Self::turned(state, self.turn);
        [self.decay * v + self.raw[2] * x, self.decay * u]
    }
    #[inline]
    fn charge_adjoint(
        &self,
        state: [R; 2],
        x: R,
        [d_h, d_u]: [R; 2],
    ) -> ChargeAdjoint<[R; 2], [R; 3], R> {
        let [cos, sin] = self.turn;
        let [v, u] = Self::turned(state, self.turn);
        let back = Self::turned([d_h, d_u], [cos, -sin]);
        let d_angle = self.decay * (d_u * v - d_h * u);
        ChargeAdjoint {
            state: back.map(|d| self.decay * d),
            params: [self.slope * (d_h * v + d_u * u), d_angle, d_h * x],
            input: d_h * self.raw[2],
        }
    }
    #[inline]
    fn excess(&self, [h, _]: [R; 2]) -> R {
        h - self.threshold
    }
    #[inline]
    fn reset(&self, [h, u]: [R; 2], s: R) -> [R; 2] {
        [self.reset.apply(h, self.threshold, s), u]
    }
    #[inline]
    fn reset_adjoint(
        &self,
        [h, _]: [R; 2],
        s: R,
        [d_v, d_u]: [R; 2],
    ) -> ResetAdjoint<[R; 2], [R; 3], R> {
        let (d_h, d_s) = self.reset.adjoint(h, self.threshold, s, d_v);
        let spike = if self.detach { R::zero() } else { d_s };
        ResetAdjoint { charged: [d_h, d_u], params: [R::zero(); 3], spike }
    }
    fn detached(&self) -> bool {
        self.detach
    }
}

impl<R: Real> NamedNeuron for CSiLif<R> {
    const NAMES: &'static [&'static str] = &["c-silif"];
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new("tau_ms", Domain::LongTime(TAU_MS)),
        Parameter::new("period_ms", Domain::Time(100.0)),
        Parameter::new("gain", Domain::Number(1.0)),
        THRESHOLD,
        RESET,
        V_RESET,
        DETACH,
    ];
    const EXAMPLES: &'static [Example] = &[
        example("c-silif, hard, detached", "c-silif", &[TAU]),
        example("c-silif, soft", "c-silif", &[TAU, ("period_ms", Number(8.0)), ATTACHED, SOFT]),
        example(
            "c-silif, hard to -0.25",
            "c-silif",
            &[TAU, ("gain", Number(0.75)), ATTACHED, OFFSET],
        ),
    ];

    fn from_settings<'a>(settings: &Settings<'a>) -> Result<Self, ParameterError<'a>> {
        let (threshold, reset, detach) = any::membrane(settings)?;
        let angle = R::of(TURN) / settings.number("period_ms")?;
        let neuron = Self::new(settings.number("tau_ms")?, angle, settings.number("gain")?);
        Ok(neuron.with_reset(threshold, reset, detach))
    }
}
