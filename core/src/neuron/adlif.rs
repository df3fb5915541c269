use super::any::{self, DETACH, RESET, TAU_MS, THRESHOLD, V_RESET};
use super::any::{ATTACHED, SOFT, TAU, example};
use super::{ChargeAdjoint, Example, NamedNeuron, Neuron, Reset, ResetAdjoint};
use crate::num::{Real, logistic, logistic_slope};
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
/// By default, `a` is at least 0 and at most 1: the neuron is then stable with all time constants;
/// see [`stable_couplings`](Self::stable_couplings).
///
/// Source: Bittar and Garner, *A surrogate gradient spiking baseline for speech command
/// recognition* (Frontiers in Neuroscience, 2022), eq. 6, with a soft reset and with `a` between -1
/// and 1. With other bounds, it is the cAdLIF of Deckers et al., *Co-learning synaptic delays,
/// weights and adaptation in spiking neural networks* (Frontiers in Neuroscience, 2024).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdLif<R> {
    threshold: R,
    reset: Reset<R>,
    detach: bool,
    raw: [R; 4],
    rate: R,
    rate_w: R,
    slopes: [R; 2],
    bounds: ([R; 4], [R; 4]),
}

impl<R: Real> AdLif<R> {
    /// Time constants of membrane and adaptation in steps, and the couplings `a` and `b`. The raw
    /// parameters `-ln(tau - 1)` are finite if the time constants are finite and above 1 step;
    /// `train::Network::check` rejects others.
    #[must_use]
    pub fn new(tau: R, tau_w: R, a: R, b: R) -> Self {
        let raw = |tau: R| -(tau - R::one()).ln();
        let (rate, rate_w, any) = (R::one() / tau, R::one() / tau_w, R::infinity());
        Self {
            threshold: R::one(),
            reset: Reset::Soft,
            detach: false,
            raw: [raw(tau), raw(tau_w), a, b],
            rate,
            rate_w,
            slopes: [rate, rate_w].map(logistic_slope),
            bounds: ([-any, -any, R::zero(), -any], [any, any, R::one(), any]),
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
        let ([r, r_w, ..], [r_max, r_w_max, ..]) = self.bounds;
        Self { bounds: ([r, r_w, a.0, b.0], [r_max, r_w_max, a.1, b.1]), ..self }
    }

    /// Sets the smallest and the largest values, from 0 to 1, of the decays `alpha = 1 - rate` and
    /// `beta = 1 - rate_w`.
    #[must_use]
    pub fn with_decay_bounds(self, alpha: (R, R), beta: (R, R)) -> Self {
        let raw = |decay: R| ((R::one() - decay) / decay).ln();
        let ([_, _, a, b], [_, _, a_max, b_max]) = self.bounds;
        let least = [raw(alpha.1), raw(beta.1), a, b];
        Self { bounds: (least, [raw(alpha.0), raw(beta.0), a_max, b_max]), ..self }
    }

    /// The values of `a` between which the neuron is stable: without input and spikes, its state
    /// decays to 0. With the decays `alpha = 1 - rate` and `beta = 1 - rate_w`:
    ///
    /// ```text
    /// -(1 - beta) < a < (1 + alpha) (1 + beta) / (1 - alpha)
    /// ```
    /// Source: Jury's criterion. A step without input and spikes has the determinant `alpha beta`
    /// and the trace `alpha + beta - (1 - alpha) a`.
    #[must_use]
    pub fn stable_couplings(alpha: R, beta: R) -> (R, R) {
        let one = R::one();
        (beta - one, (one + alpha) * (one + beta) / (one - alpha))
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
        let rates = [raw[0], raw[1]].map(logistic);
        self.with_rates(raw, rates, rates.map(logistic_slope))
    }
    fn bounds(&self) -> Option<([R; 4], [R; 4])> {
        Some(self.bounds)
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
        let zero = R::zero();
        ChargeAdjoint {
            state: [d_h - d_drive, d_w - d_drive],
            params: [d_h * (x - w - v) * self.slopes[0], zero, zero, zero],
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
        ResetAdjoint {
            charged: [d_h + a * d_w, d_w - d_w * self.rate_w],
            params: [R::zero(), -d_w * w * self.slopes[1], d_w * h, d_w * s],
            spike: if self.detach { R::zero() } else { d_s + b * d_w },
        }
    }
    fn detached(&self) -> bool {
        self.detach
    }
}

/// What a neuron has in common with the adaptive LIF that is its field `inner`.
macro_rules! parts_of_adlif {
    () => {
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
            self.inner.params()
        }
        fn bounds(&self) -> Option<([R; 4], [R; 4])> {
            self.inner.bounds()
        }
        fn rest(&self) -> [R; 2] {
            self.inner.rest()
        }
        #[inline]
        fn charge(&self, state: [R; 2], x: R) -> [R; 2] {
            self.inner.charge(state, x)
        }
        #[inline]
        fn charge_adjoint(
            &self,
            state: [R; 2],
            x: R,
            d_charged: [R; 2],
        ) -> ChargeAdjoint<[R; 2], [R; 4], R> {
            self.inner.charge_adjoint(state, x, d_charged)
        }
        #[inline]
        fn excess(&self, charged: [R; 2]) -> R {
            self.inner.excess(charged)
        }
        fn detached(&self) -> bool {
            self.inner.detached()
        }
    };
}
pub(super) use parts_of_adlif;

/// Smallest and largest values.
pub(super) type Range = (f64, f64);

pub(super) const ALL: Range = (0.0, 1.0);
const ANY: Range = (f64::NEG_INFINITY, f64::INFINITY);
/// No bounds.
pub(super) const FREE: [Range; 4] = [ALL, ALL, ANY, ANY];

/// Bounds by name: those of the decays `alpha` and `beta`, and of the couplings `a` and `b`.
fn bounds(name: &str) -> [Range; 4] {
    match name {
        "none" => FREE,
        // exp(-1/5), exp(-1/25), exp(-1/30), exp(-1/120)
        "adlif" => {
            let alpha = (0.818_730_753_077_981_8, 0.960_789_439_152_323_2);
            let beta = (0.967_216_100_482_005_9, 0.991_701_292_638_876);
            [alpha, beta, ALL, (0.0, 2.0)]
        }
        "cadlif" => [(0.36, 0.96), (0.96, 0.99), ALL, (0.0, 2.0)],
        _ => [ALL, ALL, ALL, ANY],
    }
}

pub(super) const SLOW: (&str, Value<'_>) = ("tau_w_ms", Number(8.0));
pub(super) const COUPLED: (&str, Value<'_>) = ("a", Number(0.25));

pub(super) const TAU_W: Parameter = Parameter::new("tau_w_ms", Domain::LongTime(100.0));
pub(super) const A_MIN: Parameter = Parameter::new("a_min", Domain::Bound(f64::NEG_INFINITY));
pub(super) const A_MAX: Parameter = Parameter::new("a_max", Domain::Bound(f64::INFINITY));
pub(super) const B_MIN: Parameter = Parameter::new("b_min", Domain::Bound(f64::NEG_INFINITY));
pub(super) const B_MAX: Parameter = Parameter::new("b_max", Domain::Bound(f64::INFINITY));

impl<R: Real> AdLif<R> {
    /// The same neuron with raw parameters, with rates that follow from the first two of them, and
    /// with the slopes of the rates by these.
    pub(super) fn with_rates(&self, raw: [R; 4], [rate, rate_w]: [R; 2], slopes: [R; 2]) -> Self {
        Self { raw, rate, rate_w, slopes, ..*self }
    }

    pub(super) fn rates(&self) -> [R; 2] {
        [self.rate, self.rate_w]
    }

    #[inline]
    pub(super) fn slope_w(&self) -> R {
        self.slopes[1]
    }

    /// The neuron of a configuration, with bounds of `alpha`, `beta`, `a` and `b`. Those of the
    /// couplings that the configuration gives take their place.
    pub(super) fn within<'a>(
        settings: &Settings<'a>,
        bounds: [Range; 4],
    ) -> Result<Self, ParameterError<'a>> {
        const DECAY: &str =
            "is outside `bounds`, counted in steps; take another, or bounds = \"none\"";
        const A: &str = "is not between a_min and a_max, or is outside `bounds`";
        const B: &str = "is not between b_min and b_max, or is outside `bounds`";
        const CHECKS: [(&str, &str); 4] =
            [("tau_ms", DECAY), ("tau_w_ms", DECAY), ("a", A), ("b", B)];
        let number = |name| settings.number(name);
        let [alpha, beta, a, b] = bounds.map(|(least, most)| (R::of(least), R::of(most)));
        let given = |least, most, other: (R, R)| {
            let [least, most]: [R; 2] = [number(least)?, number(most)?];
            let or = |x: R, other| if x.is_finite() { x } else { other };
            Ok((or(least, other.0), or(most, other.1)))
        };
        let (threshold, reset, detach) = any::membrane(settings)?;
        let neuron = Self::new(number("tau_ms")?, number("tau_w_ms")?, number("a")?, number("b")?)
            .with_reset(threshold, reset, detach)
            .with_decay_bounds(alpha, beta)
            .with_coupling_bounds(given("a_min", "a_max", a)?, given("b_min", "b_max", b)?);
        let (least, most) = neuron.bounds;
        for (n, (name, problem)) in CHECKS.into_iter().enumerate() {
            let within = least[n] <= neuron.raw[n] && neuron.raw[n] <= most[n];
            settings.require(within, name, problem)?;
        }
        Ok(neuron)
    }
}

impl<R: Real> NamedNeuron for AdLif<R> {
    const NAMES: &'static [&'static str] = &["adlif"];
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new("tau_ms", Domain::LongTime(TAU_MS)),
        TAU_W,
        Parameter::new("bounds", Domain::Word(&["stable", "adlif", "cadlif", "none"])),
        Parameter::new("a", Domain::Number(0.1)),
        A_MIN,
        A_MAX,
        Parameter::new("b", Domain::Number(0.5)),
        B_MIN,
        B_MAX,
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
        Self::within(settings, bounds(settings.word("bounds")?))
    }
}
