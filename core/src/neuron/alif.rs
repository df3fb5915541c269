use super::adlif::TAU_W;
use super::any::{ATTACHED, DECAYING, OFFSET, SOFT, TAU, example};
use super::any::{DECAY_INPUT, DETACH, RESET, TAU_MS, THRESHOLD, V_RESET};
use super::{ChargeAdjoint, Example, Lif, NamedNeuron, Neuron, ResetAdjoint};
use crate::num::{Real, logistic, logistic_slope, logit};
use crate::parameter::{Domain, Parameter, ParameterError, Settings, Value::Number};

/// The adaptive-threshold LIF (ALIF) of the LSNN: every spike raises the threshold, which decays
/// back.
///
/// ```text
/// h[t] = v[t-1] - rate (v[t-1] - v_rest) + gain x[t]
/// s[t] = step(h[t] - threshold - beta a[t-1])
/// v[t] = reset(h[t], s[t])
/// a[t] = a[t-1] - rate_a a[t-1] + s[t]
/// ```
/// The state is `[v - beta a, a]`: component 0 is the membrane minus the variable part of the
/// threshold. The gain is that of [`Lif`]. The raw learnable parameters are `[w, r, beta]`, with
/// `rate = logistic(w)`, `rate_a = logistic(r)` and `beta` at least 0. A soft reset subtracts the
/// constant threshold. A detached reset also detaches the spike in `a`.
///
/// Source: Bellec et al., *A solution to the learning dilemma for recurrent networks of spiking
/// neurons* (Nature Communications, 2020), with a soft reset and a gain of 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alif<R> {
    lif: Lif<R>,
    rate_a: R,
    raw: [R; 3],
}

impl<R: Real> Alif<R> {
    /// The membrane of `lif`, the time constant of the threshold in steps, and the increase of the
    /// threshold per spike. The raw parameters `-ln(tau - 1)` are finite if both time constants are
    /// finite and above 1 step; `train::Network::check` rejects others.
    #[must_use]
    pub fn new(lif: Lif<R>, tau_a: R, beta: R) -> Self {
        let rate_a = R::one() / tau_a;
        Self { lif, rate_a, raw: [logit(lif.rate), logit(rate_a), beta] }
    }

    /// The membrane with its current rate.
    #[must_use]
    pub fn lif(&self) -> &Lif<R> {
        &self.lif
    }

    #[inline]
    fn beta(&self) -> R {
        self.raw[2]
    }
}

impl<R: Real> Neuron for Alif<R> {
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
        Self { lif: Lif { rate: logistic(raw[0]), ..self.lif }, rate_a: logistic(raw[1]), raw }
    }
    fn bounds(&self) -> Option<([R; 3], [R; 3])> {
        let any = R::infinity();
        Some(([-any, -any, R::zero()], [any; 3]))
    }
    fn rest(&self) -> [R; 2] {
        [self.lif.reset.rest(), R::zero()]
    }
    #[inline]
    fn charge(&self, [d, a]: [R; 2], x: R) -> [R; 2] {
        let raised = self.beta() * a;
        [self.lif.charge([d + raised], x)[0] - raised, a]
    }
    #[inline]
    fn charge_adjoint(
        &self,
        [d, a]: [R; 2],
        x: R,
        [d_h, d_a]: [R; 2],
    ) -> ChargeAdjoint<[R; 2], [R; 3], R> {
        let v = d + self.beta() * a;
        let membrane = self.lif.charge_adjoint([v], x, [d_h]);
        let d_raised = membrane.state[0] - d_h;
        let slope = logistic_slope(self.lif.rate);
        ChargeAdjoint {
            state: [membrane.state[0], d_a + self.beta() * d_raised],
            params: [d_h * self.lif.rate_slope(v, x) * slope, R::zero(), a * d_raised],
            input: membrane.input,
        }
    }
    #[inline]
    fn excess(&self, [h, _]: [R; 2]) -> R {
        self.lif.excess([h])
    }
    #[inline]
    fn reset(&self, [h, a]: [R; 2], s: R) -> [R; 2] {
        let after = a - self.rate_a * a + s;
        let v = self.lif.reset([h + self.beta() * a], s)[0];
        [v - self.beta() * after, after]
    }
    #[inline]
    fn reset_adjoint(
        &self,
        [h, a]: [R; 2],
        s: R,
        [d_v, d_a]: [R; 2],
    ) -> ResetAdjoint<[R; 2], [R; 3], R> {
        let (beta, after) = (self.beta(), a - self.rate_a * a + s);
        let inner = self.lif.reset_adjoint([h + beta * a], s, [d_v]);
        let (d_membrane, d_after) = (inner.charged[0], d_a - beta * d_v);
        let slope = logistic_slope(self.rate_a);
        ResetAdjoint {
            charged: [d_membrane, beta * d_membrane + d_after - self.rate_a * d_after],
            params: [R::zero(), -a * d_after * slope, a * d_membrane - after * d_v],
            spike: if self.lif.detach { R::zero() } else { inner.spike + d_after },
        }
    }
    fn detached(&self) -> bool {
        self.lif.detach
    }
}

impl<R: Real> NamedNeuron for Alif<R> {
    const NAMES: &'static [&'static str] = &["alif"];
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new("tau_ms", Domain::LongTime(TAU_MS)),
        TAU_W,
        Parameter::new("beta", Domain::Number(0.25)),
        THRESHOLD,
        RESET,
        V_RESET,
        DETACH,
        DECAY_INPUT,
    ];
    const EXAMPLES: &'static [Example] = &[
        example("alif, hard, detached", "alif", &[TAU, ("tau_w_ms", Number(8.0))]),
        example("alif, soft", "alif", &[TAU, ("tau_w_ms", Number(8.0)), ATTACHED, SOFT]),
        example(
            "alif, hard to -0.25, decaying input",
            "alif",
            &[TAU, ("tau_w_ms", Number(16.0)), ("beta", Number(0.5)), ATTACHED, OFFSET, DECAYING],
        ),
    ];

    fn from_settings<'a>(settings: &Settings<'a>) -> Result<Self, ParameterError<'a>> {
        let beta: R = settings.number("beta")?;
        settings.require(beta >= R::zero(), "beta", "is below 0")?;
        Ok(Self::new(Lif::with_tau(settings)?, settings.number("tau_w_ms")?, beta))
    }
}
