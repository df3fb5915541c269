use super::adlif::{A_MAX, A_MIN, B_MAX, B_MIN, COUPLED, FREE, Range, parts_of_adlif};
use super::any::{ATTACHED, DETACH, OFFSET, RESET, SOFT, THRESHOLD, V_RESET, example};
use super::{AdLif, ChargeAdjoint, Example, NamedNeuron, Neuron, Reset, ResetAdjoint};
use crate::num::Real;
use crate::parameter::{Domain, Parameter, ParameterError, Settings, Value, Value::Number};

/// The adaptive LIF in symplectic Euler steps (SE-adLIF): the adaptation is driven by the membrane
/// after the reset.
///
/// ```text
/// h[t] = v[t-1] + rate (x[t] - w[t-1] - v[t-1])
/// v[t] = reset(h[t], s[t])
/// w[t] = w[t-1] - rate_w w[t-1] + rate_w q (a v[t] + b s[t])
/// ```
/// State, raw parameters, rest and detached resets are those of [`AdLif`]; `q` is fixed. By
/// default, `a` is between 0 and 1 and `b` between 0 and 2.
///
/// Source: Baronig, Ferrand, Sabathiel and Legenstein, *Advancing spatio-temporal processing
/// through adaptation in spiking neural networks* (Nature Communications, 2025). There, `q` is 120,
/// and the time constants are 5 to 25 steps and 60 to 300 steps, with `1 - rate = exp(-1 / tau)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeAdLif<R> {
    inner: AdLif<R>,
    q: R,
}

impl<R: Real> SeAdLif<R> {
    /// The parameters, bounds and reset of a neuron, and `q`.
    #[must_use]
    pub fn new(adlif: AdLif<R>, q: R) -> Self {
        Self { inner: adlif, q }
    }

    /// Threshold, reset and whether the reset is detached.
    #[must_use]
    pub fn membrane(&self) -> (R, Reset<R>, bool) {
        self.inner.membrane()
    }

    /// The values of `a` between which the neuron is stable: without input and spikes, its state
    /// decays to 0. With the decays `alpha = 1 - rate` and `beta = 1 - rate_w`, they are those of
    /// [`AdLif::stable_couplings`] divided by `(1 - beta) q`:
    ///
    /// ```text
    /// -1 / q < a < (1 + alpha) (1 + beta) / ((1 - alpha) (1 - beta) q)
    /// ```
    #[must_use]
    pub fn stable_couplings(alpha: R, beta: R, q: R) -> (R, R) {
        let (least, most) = AdLif::stable_couplings(alpha, beta);
        let factor = (R::one() - beta) * q;
        (least / factor, most / factor)
    }
}

impl<R: Real> Neuron for SeAdLif<R> {
    parts_of_adlif!();

    fn with_params(&self, raw: [R; 4]) -> Self {
        Self { inner: self.inner.with_params(raw), ..*self }
    }
    #[inline]
    fn reset(&self, [h, w]: [R; 2], s: R) -> [R; 2] {
        let (threshold, reset, _) = self.inner.membrane();
        let [_, _, a, b] = self.inner.params();
        let (v, rate_w) = (reset.apply(h, threshold, s), self.inner.rates()[1]);
        [v, w - rate_w * w + rate_w * self.q * (a * v + b * s)]
    }
    #[inline]
    fn reset_adjoint(
        &self,
        [h, w]: [R; 2],
        s: R,
        [d_v, d_w]: [R; 2],
    ) -> ResetAdjoint<[R; 2], [R; 4], R> {
        let (threshold, reset, detach) = self.inner.membrane();
        let [_, _, a, b] = self.inner.params();
        let (v, rate_w) = (reset.apply(h, threshold, s), self.inner.rates()[1]);
        let drive = self.q * (a * v + b * s);
        let d_drive = d_w * rate_w * self.q;
        let (d_h, d_s) = reset.adjoint(h, threshold, s, d_v + a * d_drive);
        let d_rate_w = d_w * (drive - w);
        ResetAdjoint {
            charged: [d_h, d_w - d_w * rate_w],
            params: [R::zero(), d_rate_w * self.inner.slope_w(), d_drive * v, d_drive * s],
            spike: if detach { R::zero() } else { d_s + b * d_drive },
        }
    }
}

const MEMBRANE: (&str, Value<'_>) = ("tau_ms", Number(8.0));
const SLOW: (&str, Value<'_>) = ("tau_w_ms", Number(64.0));

impl<R: Real> NamedNeuron for SeAdLif<R> {
    const NAMES: &'static [&'static str] = &["se-adlif"];
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new("tau_ms", Domain::LongTime(24.0)),
        Parameter::new("tau_w_ms", Domain::LongTime(250.0)),
        Parameter::new("bounds", Domain::Word(&["se-adlif", "none"])),
        Parameter::new("a", Domain::Number(0.5)),
        A_MIN,
        A_MAX,
        Parameter::new("b", Domain::Number(1.0)),
        B_MIN,
        B_MAX,
        Parameter::new("q", Domain::Number(120.0)),
        THRESHOLD,
        RESET,
        V_RESET,
        DETACH,
    ];
    const EXAMPLES: &'static [Example] = &[
        example("se-adlif, hard, detached", "se-adlif", &[MEMBRANE, SLOW, COUPLED]),
        example("se-adlif, soft", "se-adlif", &[MEMBRANE, SLOW, COUPLED, ATTACHED, SOFT]),
        example("se-adlif, hard to -0.25", "se-adlif", &[MEMBRANE, SLOW, ATTACHED, OFFSET]),
    ];

    fn from_settings<'a>(settings: &Settings<'a>) -> Result<Self, ParameterError<'a>> {
        // exp(-1/5), exp(-1/25), exp(-1/60), exp(-1/300)
        const ALPHA: Range = (0.818_730_753_077_981_8, 0.960_789_439_152_323_2);
        const BETA: Range = (0.983_471_453_821_617_5, 0.996_672_216_054_523_3);
        let q: R = settings.number("q")?;
        settings.require(q > R::zero(), "q", "is not above 0")?;
        let bounds = match settings.word("bounds")? {
            "none" => FREE,
            _ => {
                let most = Self::stable_couplings(R::of(ALPHA.0), R::of(BETA.0), q).1;
                [ALPHA, BETA, (0.0, most.as_f64().min(1.0)), (0.0, 2.0)]
            }
        };
        Ok(Self::new(AdLif::within(settings, bounds)?, q))
    }
}
