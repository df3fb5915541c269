use super::any::{self, DETACH, RESET, TAU_MS, THRESHOLD, V_RESET};
use super::any::{ATTACHED, SOFT, TAU, example};
use super::{ChargeAdjoint, Example, NamedNeuron, Neuron, Reset, ResetAdjoint};
use crate::num::{Real, logistic};
use crate::parameter::{Domain, Parameter, ParameterError, Settings, Value, Value::Number};

/// The adaptive LIF (adLIF): a second state, the adaptation `w`, is driven by the membrane (`a`)
/// and by the spikes (`b`).
///
/// ```text
/// h[t] = v[t-1] + rate (x[t] - w[t-1] - v[t-1])
/// v[t] = reset(h[t], s[t])
/// w[t] = w[t-1] - rate_w w[t-1] + a h[t] + b s[t]
/// ```
/// The state is `[v, w]`. The raw learnable parameters are `[r, r_w, a, b]`, with
/// `rate = logistic(r)` and `rate_w = logistic(r_w)`. The membrane starts at the reset value and
/// decays toward 0. A detached reset also detaches the spike in `b s[t]`.
///
/// Source: Bittar and Garner, *A surrogate gradient spiking baseline for speech command
/// recognition* (Frontiers in Neuroscience, 2022), eq. 6, with a soft reset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdLif<R> {
    threshold: R,
    reset: Reset<R>,
    detach: bool,
    raw: [R; 4],
    rate: R,
    rate_w: R,
    couplings: Option<[(R, R); 2]>,
}

impl<R: Real> AdLif<R> {
    /// Time constants of membrane and adaptation in steps, and the couplings `a` and `b`. The raw
    /// parameters `-ln(tau - 1)` are finite if the time constants are finite and above 1 step;
    /// `train::Network::check` rejects others.
    #[must_use]
    pub fn new(tau: R, tau_w: R, a: R, b: R) -> Self {
        let raw = |tau: R| -(tau - R::one()).ln();
        Self {
            threshold: R::one(),
            reset: Reset::Soft,
            detach: false,
            raw: [raw(tau), raw(tau_w), a, b],
            rate: R::one() / tau,
            rate_w: R::one() / tau_w,
            couplings: None,
        }
    }

    /// Sets threshold and reset, and whether the reset is detached.
    #[must_use]
    pub fn with_reset(self, threshold: R, reset: Reset<R>, detach: bool) -> Self {
        Self { threshold, reset, detach, ..self }
    }

    /// Sets the smallest and the largest values of the couplings `a` and `b`.
    #[must_use]
    pub fn with_coupling_bounds(self, a: (R, R), b: (R, R)) -> Self {
        Self { couplings: Some([a, b]), ..self }
    }

    /// Threshold, reset and whether the reset is detached; see [`with_reset`](Self::with_reset).
    #[must_use]
    pub fn membrane(&self) -> (R, Reset<R>, bool) {
        (self.threshold, self.reset, self.detach)
    }
}

impl<R: Real> Neuron for AdLif<R> {
    type Real = R;
    type State = [R; 2];
    type Params = [R; 4];

    fn fill_state(x: R) -> [R; 2] {
        [x; 2]
    }
    fn fill_params(x: R) -> [R; 4] {
        [x; 4]
    }
    fn params(&self) -> [R; 4] {
        self.raw
    }
    fn with_params(&self, raw: [R; 4]) -> Self {
        Self { raw, rate: logistic(raw[0]), rate_w: logistic(raw[1]), ..*self }
    }
    fn bounds(&self) -> Option<([R; 4], [R; 4])> {
        let [a, b] = self.couplings?;
        let any = R::infinity();
        Some(([-any, -any, a.0, b.0], [any, any, a.1, b.1]))
    }
    fn rest(&self) -> [R; 2] {
        [self.reset.rest(), R::zero()]
    }
    #[inline]
    fn charge(&self, [v, w]: [R; 2], x: R) -> [R; 2] {
        [v + self.rate * (x - w - v), w]
    }
    #[inline]
    fn charge_adjoint(
        &self,
        [v, w]: [R; 2],
        x: R,
        [d_h, d_w]: [R; 2],
    ) -> ChargeAdjoint<[R; 2], [R; 4], R> {
        let d_drive = d_h * self.rate;
        let slope = self.rate * (R::one() - self.rate);
        let zero = R::zero();
        ChargeAdjoint {
            state: [d_h - d_drive, d_w - d_drive],
            params: [d_h * (x - w - v) * slope, zero, zero, zero],
            input: d_drive,
        }
    }
    #[inline]
    fn excess(&self, [h, _]: [R; 2]) -> R {
        h - self.threshold
    }
    #[inline]
    fn reset(&self, [h, w]: [R; 2], s: R) -> [R; 2] {
        let [_, _, a, b] = self.raw;
        [self.reset.apply(h, self.threshold, s), w - self.rate_w * w + a * h + b * s]
    }
    #[inline]
    fn reset_adjoint(
        &self,
        [h, w]: [R; 2],
        s: R,
        [d_v, d_w]: [R; 2],
    ) -> ResetAdjoint<[R; 2], [R; 4], R> {
        let [_, _, a, b] = self.raw;
        let (d_h, d_s) = self.reset.adjoint(h, self.threshold, s, d_v);
        let slope = self.rate_w * (R::one() - self.rate_w);
        ResetAdjoint {
            charged: [d_h + a * d_w, d_w - d_w * self.rate_w],
            params: [R::zero(), -d_w * w * slope, d_w * h, d_w * s],
            spike: if self.detach { R::zero() } else { d_s + b * d_w },
        }
    }
    fn detached(&self) -> bool {
        self.detach
    }
}

const SLOW: (&str, Value<'_>) = ("tau_w_ms", Number(8.0));
const COUPLED: (&str, Value<'_>) = ("a", Number(0.25));

impl<R: Real> NamedNeuron for AdLif<R> {
    const NAMES: &'static [&'static str] = &["adlif"];
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new("tau_ms", Domain::LongTime(TAU_MS)),
        Parameter::new("tau_w_ms", Domain::LongTime(100.0)),
        Parameter::new("a", Domain::Number(0.1)),
        Parameter::new("a_min", Domain::Bound(f64::NEG_INFINITY)),
        Parameter::new("a_max", Domain::Bound(f64::INFINITY)),
        Parameter::new("b", Domain::Number(0.5)),
        Parameter::new("b_min", Domain::Bound(f64::NEG_INFINITY)),
        Parameter::new("b_max", Domain::Bound(f64::INFINITY)),
        THRESHOLD,
        RESET,
        V_RESET,
        DETACH,
    ];
    const EXAMPLES: &'static [Example] = &[
        example("adlif", "adlif", &[TAU, SLOW, COUPLED, ATTACHED, SOFT]),
        example("adlif, detached", "adlif", &[TAU, SLOW, COUPLED, SOFT]),
        example(
            "adlif, hard",
            "adlif",
            &[TAU, SLOW, COUPLED, ATTACHED, ("threshold", Number(0.75))],
        ),
    ];

    fn from_settings<'a>(settings: &Settings<'a>) -> Result<Self, ParameterError<'a>> {
        let (threshold, reset, detach) = any::membrane(settings)?;
        let number = |name| settings.number(name);
        let [a, b] = [number("a")?, number("b")?];
        let bounds_a = (number("a_min")?, number("a_max")?);
        let bounds_b = (number("b_min")?, number("b_max")?);
        let within = |x: R, (least, most): (R, R)| least <= x && x <= most;
        settings.require(within(a, bounds_a), "a", "is not between a_min and a_max")?;
        settings.require(within(b, bounds_b), "b", "is not between b_min and b_max")?;
        let neuron = Self::new(number("tau_ms")?, number("tau_w_ms")?, a, b);
        Ok(neuron.with_reset(threshold, reset, detach).with_coupling_bounds(bounds_a, bounds_b))
    }
}
