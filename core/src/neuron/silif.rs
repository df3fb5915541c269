use super::adlif::{A_MAX, A_MIN, ALL, B_MAX, B_MIN, COUPLED, FREE, SLOW, TAU_W, parts_of_adlif};
use super::any::{ATTACHED, DETACH, RESET, SOFT, TAU, TAU_MS, THRESHOLD, V_RESET, example};
use super::{AdLif, ChargeAdjoint, Example, NamedNeuron, Neuron, ResetAdjoint};
use crate::num::Real;
use crate::parameter::{Domain, Parameter, ParameterError, Settings};

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
    parts_of_adlif!();

    fn with_params(&self, raw: [R; 4]) -> Self {
        let decays = [raw[0], raw[1]];
        let rates = decays.map(|r| R::one() - (-r.exp()).exp());
        let slopes = decays.map(|r| (r - r.exp()).exp());
        Self { inner: self.inner.with_rates(raw, rates, slopes) }
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

impl<R: Real> NamedNeuron for SiLif<R> {
    const NAMES: &'static [&'static str] = &["silif"];
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new("tau_ms", Domain::LongTime(TAU_MS)),
        TAU_W,
        Parameter::new("bounds", Domain::Word(&["silif", "none"])),
        Parameter::new("a", Domain::Number(0.5)),
        A_MIN,
        A_MAX,
        Parameter::new("b", Domain::Number(1.0)),
        B_MIN,
        B_MAX,
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
