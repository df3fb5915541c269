use super::any::{self, DECAY_INPUT, DETACH, RESET, TAU_MS, THRESHOLD, V_RESET};
use super::any::{ATTACHED, DECAYING, OFFSET, SOFT, TAU, example};
use super::{ChargeAdjoint, Example, LinearMembrane, NamedNeuron, Neuron, Reset, ResetAdjoint};
use crate::num::{Real, logistic, logistic_slope, logit};
use crate::parameter::{Domain, Parameter, ParameterError, Settings, Value::Number};

/// The leaky integrate-and-fire neuron of the paper.
///
/// ```text
/// h[t] = v[t-1] - rate (v[t-1] - v_rest) + gain x[t]      rate = 1 / tau, gain = 1
/// ```
/// With `decay_input` the gain is `rate`. With a rate of 0 it is the integrate-and-fire neuron
/// (IF).
///
/// ```
/// use polychron_core::neuron::{Lif, Neuron};
/// let lif = Lif::new(2.0);
/// assert_eq!(lif.charge([0.5], 1.0), [1.25]);
/// assert_eq!(lif.reset([1.25], 1.0), [0.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lif<R> {
    /// 1 / tau, tau in steps.
    pub rate: R,
    /// The membrane at which the neuron spikes.
    pub threshold: R,
    /// The effect of a spike on the membrane.
    pub reset: Reset<R>,
    /// Whether the input is multiplied by the rate.
    pub decay_input: bool,
    /// Whether the reset is detached: no gradient passes through it to the spike.
    pub detach: bool,
}

impl<R: Real> Lif<R> {
    /// The neuron of the paper: threshold 1, hard reset to 0, detached, gain 1. `tau` is in steps.
    #[must_use]
    pub fn new(tau: R) -> Self {
        Self {
            rate: R::one() / tau,
            threshold: R::one(),
            reset: Reset::Hard(R::zero()),
            decay_input: false,
            detach: true,
        }
    }

    /// Integrate-and-fire: no decay, otherwise as [`Lif::new`].
    #[must_use]
    pub fn integrate_and_fire() -> Self {
        Self { rate: R::zero(), ..Self::new(R::one()) }
    }

    #[inline]
    fn gain(&self) -> R {
        if self.decay_input { self.rate } else { R::one() }
    }

    /// dh / drate.
    #[inline]
    pub(super) fn rate_slope(&self, v: R, x: R) -> R {
        let leak = self.reset.rest() - v;
        if self.decay_input { leak + x } else { leak }
    }

    #[inline]
    fn step(&self, v: R, x: R) -> R {
        v + (self.reset.rest() - v) * self.rate + self.gain() * x
    }

    #[inline]
    fn reset_membrane(&self, h: R, s: R, d_v: R) -> (R, R) {
        let (d_h, d_s) = self.reset.adjoint(h, self.threshold, s, d_v);
        (d_h, if self.detach { R::zero() } else { d_s })
    }
}

impl<R: Real> Neuron for Lif<R> {
    type Real = R;
    type State = [R; 1];
    type Params = [R; 0];

    fn fill_state(x: R) -> [R; 1] {
        [x]
    }
    fn fill_params(_x: R) -> [R; 0] {
        []
    }
    fn params(&self) -> [R; 0] {
        []
    }
    fn with_params(&self, _params: [R; 0]) -> Self {
        *self
    }
    fn rest(&self) -> [R; 1] {
        [self.reset.rest()]
    }
    #[inline]
    fn charge(&self, [v]: [R; 1], x: R) -> [R; 1] {
        [self.step(v, x)]
    }
    #[inline]
    fn charge_adjoint(
        &self,
        _state: [R; 1],
        _input: R,
        [d_h]: [R; 1],
    ) -> ChargeAdjoint<[R; 1], [R; 0], R> {
        ChargeAdjoint {
            state: [d_h * (R::one() - self.rate)],
            params: [],
            input: d_h * self.gain(),
        }
    }
    #[inline]
    fn excess(&self, [h]: [R; 1]) -> R {
        h - self.threshold
    }
    #[inline]
    fn reset(&self, [h]: [R; 1], s: R) -> [R; 1] {
        [self.reset.apply(h, self.threshold, s)]
    }
    #[inline]
    fn reset_adjoint(&self, [h]: [R; 1], s: R, [d_v]: [R; 1]) -> ResetAdjoint<[R; 1], [R; 0], R> {
        let (d_h, spike) = self.reset_membrane(h, s, d_v);
        ResetAdjoint { charged: [d_h], params: [], spike }
    }
    fn detached(&self) -> bool {
        self.detach
    }
    fn linear_membrane(&self) -> Option<LinearMembrane<R>> {
        Some(LinearMembrane {
            decay: R::one() - self.rate,
            input_gain: self.gain(),
            threshold: self.threshold - self.reset.rest(),
            reset: self.reset,
        })
    }
}

impl<R: Real> Lif<R> {
    /// The leaky neuron of a configuration.
    pub(super) fn with_tau<'a>(settings: &Settings<'a>) -> Result<Self, ParameterError<'a>> {
        let (threshold, reset, detach) = any::membrane(settings)?;
        let decay_input = settings.flag("decay_input")?;
        let tau = settings.number("tau_ms")?;
        Ok(Self { threshold, reset, detach, decay_input, ..Self::new(tau) })
    }
}

impl<R: Real> NamedNeuron for Lif<R> {
    const NAMES: &'static [&'static str] = &["lif", "if"];
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new("tau_ms", Domain::Time(TAU_MS)),
        THRESHOLD,
        RESET,
        V_RESET,
        DETACH,
        DECAY_INPUT,
    ];
    const EXAMPLES: &'static [Example] = &[
        example("lif, hard, detached", "lif", &[TAU]),
        example("lif, hard", "lif", &[TAU, ATTACHED]),
        example("lif, hard to -0.25, decaying input", "lif", &[TAU, ATTACHED, OFFSET, DECAYING]),
        example("lif, soft", "lif", &[TAU, ATTACHED, SOFT]),
        example("lif, soft, detached", "lif", &[TAU, SOFT]),
        example("lif, threshold 0.5", "lif", &[TAU, ATTACHED, ("threshold", Number(0.5))]),
        example("if, hard, detached", "if", &[]),
        example("if, soft", "if", &[ATTACHED, SOFT]),
    ];

    /// `if` has a rate of 0 and no decaying input.
    fn from_settings<'a>(settings: &Settings<'a>) -> Result<Self, ParameterError<'a>> {
        if settings.kind() != "if" {
            return Self::with_tau(settings);
        }
        let (threshold, reset, detach) = any::membrane(settings)?;
        Ok(Self { threshold, reset, detach, ..Self::integrate_and_fire() })
    }
}

/// A LIF whose rate is learned (PLIF): `1 / tau = logistic(w)`, one `w` per layer or per
/// neuron.
///
/// Source: Fang et al., *Incorporating learnable membrane time constant* (ICCV 2021).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plif<R> {
    lif: Lif<R>,
    w: R,
}

impl<R: Real> Plif<R> {
    /// The configuration of `lif` with `w = -ln(tau - 1)`, which is finite if tau is finite and
    /// above 1 step; `train::Network::check` rejects others.
    #[must_use]
    pub fn new(lif: Lif<R>) -> Self {
        Self { lif, w: logit(lif.rate) }
    }

    /// The neuron with its current rate.
    #[must_use]
    pub fn lif(&self) -> &Lif<R> {
        &self.lif
    }
}

impl<R: Real> Neuron for Plif<R> {
    type Real = R;
    type State = [R; 1];
    type Params = [R; 1];

    fn fill_state(x: R) -> [R; 1] {
        [x]
    }
    fn fill_params(x: R) -> [R; 1] {
        [x]
    }
    fn params(&self) -> [R; 1] {
        [self.w]
    }
    fn with_params(&self, [w]: [R; 1]) -> Self {
        Self { lif: Lif { rate: logistic(w), ..self.lif }, w }
    }
    fn rest(&self) -> [R; 1] {
        self.lif.rest()
    }
    #[inline]
    fn charge(&self, state: [R; 1], x: R) -> [R; 1] {
        self.lif.charge(state, x)
    }
    #[inline]
    fn charge_adjoint(
        &self,
        state: [R; 1],
        input: R,
        d_charged: [R; 1],
    ) -> ChargeAdjoint<[R; 1], [R; 1], R> {
        let inner = self.lif.charge_adjoint(state, input, d_charged);
        let d_rate = d_charged[0] * self.lif.rate_slope(state[0], input);
        let slope = logistic_slope(self.lif.rate);
        ChargeAdjoint { state: inner.state, params: [d_rate * slope], input: inner.input }
    }
    #[inline]
    fn excess(&self, charged: [R; 1]) -> R {
        self.lif.excess(charged)
    }
    #[inline]
    fn reset(&self, charged: [R; 1], s: R) -> [R; 1] {
        self.lif.reset(charged, s)
    }
    #[inline]
    fn reset_adjoint(&self, charged: [R; 1], s: R, d: [R; 1]) -> ResetAdjoint<[R; 1], [R; 1], R> {
        let inner = self.lif.reset_adjoint(charged, s, d);
        ResetAdjoint { charged: inner.charged, params: [R::zero()], spike: inner.spike }
    }
    fn detached(&self) -> bool {
        self.lif.detach
    }
    fn linear_membrane(&self) -> Option<LinearMembrane<R>> {
        self.lif.linear_membrane()
    }
}

impl<R: Real> NamedNeuron for Plif<R> {
    const NAMES: &'static [&'static str] = &["plif"];
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new("tau_ms", Domain::LongTime(TAU_MS)),
        THRESHOLD,
        RESET,
        V_RESET,
        DETACH,
        DECAY_INPUT,
    ];
    const EXAMPLES: &'static [Example] = &[
        example("plif, hard, detached", "plif", &[TAU]),
        example("plif, soft, decaying input", "plif", &[TAU, ATTACHED, SOFT, DECAYING]),
        example("plif, hard to -0.25", "plif", &[TAU, ATTACHED, OFFSET]),
    ];

    fn from_settings<'a>(settings: &Settings<'a>) -> Result<Self, ParameterError<'a>> {
        Ok(Self::new(Lif::with_tau(settings)?))
    }
}

/// A leaky integrator that never spikes: the readout.
///
/// `v[t] = v[t-1] - rate v[t-1] + gain x[t]`, with the gain of [`Lif`].
///
/// Source: Hammouamri et al. (ICLR 2024), whose readout is a LIF with an unreachable threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Li<R> {
    /// 1 / tau, tau in steps.
    pub rate: R,
    /// Whether the input is multiplied by the rate.
    pub decay_input: bool,
}

impl<R: Real> Li<R> {
    /// A leaky integrator with a gain of 1; `tau` is in steps.
    #[must_use]
    pub fn new(tau: R) -> Self {
        Self { rate: R::one() / tau, decay_input: false }
    }

    #[inline]
    fn gain(&self) -> R {
        if self.decay_input { self.rate } else { R::one() }
    }
}

impl<R: Real> Neuron for Li<R> {
    type Real = R;
    type State = [R; 1];
    type Params = [R; 0];

    fn fill_state(x: R) -> [R; 1] {
        [x]
    }
    fn fill_params(_x: R) -> [R; 0] {
        []
    }
    fn params(&self) -> [R; 0] {
        []
    }
    fn with_params(&self, _params: [R; 0]) -> Self {
        *self
    }
    fn rest(&self) -> [R; 1] {
        [R::zero()]
    }
    #[inline]
    fn charge(&self, [v]: [R; 1], x: R) -> [R; 1] {
        [v - v * self.rate + self.gain() * x]
    }
    #[inline]
    fn charge_adjoint(
        &self,
        _state: [R; 1],
        _input: R,
        [d_h]: [R; 1],
    ) -> ChargeAdjoint<[R; 1], [R; 0], R> {
        ChargeAdjoint {
            state: [d_h * (R::one() - self.rate)],
            params: [],
            input: d_h * self.gain(),
        }
    }
    #[inline]
    fn excess(&self, _charged: [R; 1]) -> R {
        -R::one()
    }
    #[inline]
    fn reset(&self, charged: [R; 1], _s: R) -> [R; 1] {
        charged
    }
    #[inline]
    fn reset_adjoint(&self, _charged: [R; 1], _s: R, d: [R; 1]) -> ResetAdjoint<[R; 1], [R; 0], R> {
        ResetAdjoint { charged: d, params: [], spike: R::zero() }
    }
    fn detached(&self) -> bool {
        true
    }
    fn fires(&self) -> bool {
        false
    }
}

impl<R: Real> NamedNeuron for Li<R> {
    const NAMES: &'static [&'static str] = &["li"];
    const PARAMETERS: &'static [Parameter] =
        &[Parameter::new("tau_ms", Domain::Time(TAU_MS)), DECAY_INPUT];
    const EXAMPLES: &'static [Example] =
        &[example("li", "li", &[TAU]), example("li, decaying input", "li", &[TAU, DECAYING])];

    fn from_settings<'a>(settings: &Settings<'a>) -> Result<Self, ParameterError<'a>> {
        let tau = settings.number("tau_ms")?;
        Ok(Self { decay_input: settings.flag("decay_input")?, ..Self::new(tau) })
    }
}
