use super::adlif::{ALL, FREE};
use super::any::{ATTACHED, DETACH, RESET, SOFT, TAU, TAU_MS, THRESHOLD, V_RESET, example};
use super::{AdLif, ChargeAdjoint, Example, NamedNeuron, Neuron, ResetAdjoint};
use crate::num::Real;
use crate::parameter::{Domain, Parameter, ParameterError, Settings, Value, Value::Number};

/// The adaptive LIF with the decays of a state-space model (SiLIF): the equations of [`AdLif`] with
///
/// ```text
/// 1 - rate = exp(-exp(r))        1 - rate_w = exp(-exp(r_w))
/// ```
/// State, rest and detached resets are those of [`AdLif`]. The raw learnable parameters are
/// `[r, r_w, a, b]`. By default, `a` is between 0 and 1 and `b` between 0 and 2: the neuron is then
/// stable; see [`AdLif::stable_couplings`].
///
/// Source: Fabre, Dudchenko, Bouhadjar and Neftci, *SiLIF: structured state space model dynamics
/// and parametrization for spiking neural networks* (2025). There, `r` and `r_w` are sums of an own
/// parameter and of the logarithm of a step, which both share and which is learned too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SiLif<R> {
    inner: AdLif<R>,
}

impl<R: Real> SiLif<R> {
    /// The time constants, couplings, bounds of the couplings, and reset of `adlif`. The raw
    /// parameters `ln(-ln(1 - 1 / tau))` are finite if the time constants are finite and above 1
    /// step; `train::Network::check` rejects others.
    #[must_use]
    pub fn new(adlif: AdLif<R>) -> Self {
        let all = (R::zero(), R::one());
        let [_, _, a, b] = adlif.params();
        let [r, r_w] = adlif.rates().map(raw_decay);
        Self { inner: adlif.with_decay_bounds(all, all) }.with_params([r, r_w, a, b])
    }
}

impl<R: Real> Neuron for SiLif<R> {
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
    fn with_params(&self, raw: [R; 4]) -> Self {
        let decays = [raw[0], raw[1]];
        let rates = decays.map(|r| R::one() - (-r.exp()).exp());
        let slopes = decays.map(|r| (r - r.exp()).exp());
        Self { inner: self.inner.with_rates(raw, rates, slopes) }
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
    #[inline]
    fn reset(&self, charged: [R; 2], s: R) -> [R; 2] {
        self.inner.reset(charged, s)
    }
    #[inline]
    fn reset_adjoint(
        &self,
        charged: [R; 2],
        s: R,
        d_state: [R; 2],
    ) -> ResetAdjoint<[R; 2], [R; 4], R> {
        self.inner.reset_adjoint(charged, s, d_state)
    }
    fn detached(&self) -> bool {
        self.inner.detached()
    }
}

/// `ln(-ln(1 - rate))`, also for rates that are lost in `1 - rate`.
pub(super) fn raw_decay<R: Real>(rate: R) -> R {
    let one = R::one();
    if rate > R::of(1e-3) {
        return (-(one - rate).ln()).ln();
    }
    let [half, third, quarter] = [2, 3, 4].map(|n| one / R::count(n));
    rate.ln() + (rate * (half + rate * (third + rate * quarter)) + one).ln()
}

const SLOW: (&str, Value<'_>) = ("tau_w_ms", Number(8.0));
const COUPLED: (&str, Value<'_>) = ("a", Number(0.25));

impl<R: Real> NamedNeuron for SiLif<R> {
    const NAMES: &'static [&'static str] = &["silif"];
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new("tau_ms", Domain::LongTime(TAU_MS)),
        Parameter::new("tau_w_ms", Domain::LongTime(100.0)),
        Parameter::new("bounds", Domain::Word(&["silif", "none"])),
        Parameter::new("a", Domain::Number(0.5)),
        Parameter::new("a_min", Domain::Bound(f64::NEG_INFINITY)),
        Parameter::new("a_max", Domain::Bound(f64::INFINITY)),
        Parameter::new("b", Domain::Number(1.0)),
        Parameter::new("b_min", Domain::Bound(f64::NEG_INFINITY)),
        Parameter::new("b_max", Domain::Bound(f64::INFINITY)),
        THRESHOLD,
        RESET,
        V_RESET,
        DETACH,
    ];
    const EXAMPLES: &'static [Example] = &[
        example("silif, soft", "silif", &[TAU, SLOW, COUPLED, ATTACHED, SOFT]),
        example("silif, hard, detached", "silif", &[TAU, SLOW, COUPLED]),
    ];

    fn from_settings<'a>(settings: &Settings<'a>) -> Result<Self, ParameterError<'a>> {
        let bounds = match settings.word("bounds")? {
            "none" => FREE,
            _ => [ALL, ALL, ALL, (0.0, 2.0)],
        };
        Ok(Self::new(AdLif::within(settings, bounds)?))
    }
}
