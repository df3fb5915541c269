use super::any::{ATTACHED, DECAYING, OFFSET, SOFT, TAU, example};
use super::any::{DECAY_INPUT, DETACH, RESET, TAU_MS, THRESHOLD, V_RESET};
use super::{ChargeAdjoint, Example, Lif, NamedNeuron, Neuron, ResetAdjoint};
use crate::num::{Real, logistic, logit};
use crate::parameter::{Domain, Parameter, ParameterError, Settings, Value::Number};

/// A current-based LIF: an exponential synaptic filter precedes the membrane.
///
/// ```text
/// i[t] = i[t-1] - rate_syn i[t-1] + x[t]
/// h[t] = v[t-1] - rate (v[t-1] - v_rest) + gain i[t]
/// ```
/// The state is `[v, i]`; the gain is that of [`Lif`]. The raw learnable parameters are
/// `[w_syn, w]`, with `rate_syn = logistic(w_syn)` and `rate = logistic(w)`.
///
/// Source: Neftci, Mostafa and Zenke, *Surrogate gradient learning in spiking neural networks*
/// (IEEE Signal Processing Magazine, 2019). The membrane integrates the current of the same step,
/// as in `Synaptic` of snnTorch (`alpha = 1 - rate_syn`, `beta = 1 - rate`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CubaLif<R> {
    lif: Lif<R>,
    rate_syn: R,
    raw: [R; 2],
}

impl<R: Real> CubaLif<R> {
    /// The membrane of `lif` with a synaptic time constant in steps. The raw parameters
    /// `-ln(tau - 1)` are finite if both time constants are finite and above 1 step;
    /// `train::Network::check` rejects others.
    #[must_use]
    pub fn new(lif: Lif<R>, tau_syn: R) -> Self {
        let rate_syn = R::one() / tau_syn;
        Self { lif, rate_syn, raw: [rate_syn, lif.rate].map(logit) }
    }

    /// The membrane with its current rate.
    #[must_use]
    pub fn lif(&self) -> &Lif<R> {
        &self.lif
    }
}

impl<R: Real> Neuron for CubaLif<R> {
    type Real = R;
    type State = [R; 2];
    type Params = [R; 2];

    fn fill_state(x: R) -> [R; 2] {
        [x; 2]
    }
    fn fill_params(x: R) -> [R; 2] {
        [x; 2]
    }
    fn params(&self) -> [R; 2] {
        self.raw
    }
    fn with_params(&self, raw: [R; 2]) -> Self {
        Self { lif: Lif { rate: logistic(raw[1]), ..self.lif }, rate_syn: logistic(raw[0]), raw }
    }
    fn rest(&self) -> [R; 2] {
        [self.lif.reset.rest(), R::zero()]
    }
    #[inline]
    fn charge(&self, [v, i]: [R; 2], x: R) -> [R; 2] {
        let current = i - i * self.rate_syn + x;
        [self.lif.charge([v], current)[0], current]
    }
    #[inline]
    fn charge_adjoint(
        &self,
        [v, i]: [R; 2],
        x: R,
        [d_h, d_current]: [R; 2],
    ) -> ChargeAdjoint<[R; 2], [R; 2], R> {
        let one = R::one();
        let current = i - i * self.rate_syn + x;
        let membrane = self.lif.charge_adjoint([v], current, [d_h]);
        let d_current = d_current + membrane.input;
        let d_rate = d_h * self.lif.rate_slope(v, current);
        let d_rate_syn = -d_current * i;
        ChargeAdjoint {
            state: [membrane.state[0], d_current * (one - self.rate_syn)],
            params: [
                d_rate_syn * self.rate_syn * (one - self.rate_syn),
                d_rate * self.lif.rate * (one - self.lif.rate),
            ],
            input: d_current,
        }
    }
    #[inline]
    fn excess(&self, [h, _]: [R; 2]) -> R {
        self.lif.excess([h])
    }
    #[inline]
    fn reset(&self, [h, i]: [R; 2], s: R) -> [R; 2] {
        [self.lif.reset([h], s)[0], i]
    }
    #[inline]
    fn reset_adjoint(
        &self,
        [h, _]: [R; 2],
        s: R,
        [d_v, d_i]: [R; 2],
    ) -> ResetAdjoint<[R; 2], [R; 2], R> {
        let inner = self.lif.reset_adjoint([h], s, [d_v]);
        ResetAdjoint {
            charged: [inner.charged[0], d_i],
            params: [R::zero(); 2],
            spike: inner.spike,
        }
    }
    fn detached(&self) -> bool {
        self.lif.detach
    }
}

impl<R: Real> NamedNeuron for CubaLif<R> {
    const NAMES: &'static [&'static str] = &["cuba-lif"];
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new("tau_ms", Domain::LongTime(TAU_MS)),
        Parameter::new("tau_syn_ms", Domain::LongTime(20.0)),
        THRESHOLD,
        RESET,
        V_RESET,
        DETACH,
        DECAY_INPUT,
    ];
    const EXAMPLES: &'static [Example] = &[
        example("cuba, hard, detached", "cuba-lif", &[TAU, ("tau_syn_ms", Number(2.0))]),
        example("cuba, soft", "cuba-lif", &[TAU, ("tau_syn_ms", Number(2.0)), ATTACHED, SOFT]),
        example(
            "cuba, hard to -0.25, decaying input",
            "cuba-lif",
            &[TAU, ("tau_syn_ms", Number(4.0)), ATTACHED, OFFSET, DECAYING],
        ),
    ];

    fn from_settings<'a>(settings: &Settings<'a>) -> Result<Self, ParameterError<'a>> {
        Ok(Self::new(Lif::with_tau(settings)?, settings.number("tau_syn_ms")?))
    }
}
