//! A neuron with an adaptive threshold, written as a model maker would.

use polychron_core::neuron::{ChargeAdjoint, Neuron, ResetAdjoint};
use polychron_core::num::{Real, logistic};

/// The adaptive LIF (ALIF) of the LSNN: every spike raises the threshold, which decays back.
///
/// ```text
/// h[t] = alpha v[t-1] + x[t]
/// s[t] = step(h[t] - A[t])        A[t] = threshold + beta a[t-1]
/// v[t] = h[t] - s[t] threshold
/// a[t] = rho a[t-1] + s[t]
/// ```
/// The state is `[v - beta a, a]`: component 0 is the membrane minus the variable part of the
/// threshold, so that the slope of the excess by it is 1. The raw parameters are `[w, r, beta]`,
/// with `alpha = logistic(w)`, `rho = logistic(r)` and `beta` at least 0. A detached reset also
/// detaches the spike in `a`.
///
/// Source: Bellec, Salaj, Subramoney, Legenstein and Maass, *Long short-term memory and
/// learning-to-learn in networks of spiking neurons* (NeurIPS 2018).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Alif<R> {
    pub(crate) threshold: R,
    pub(crate) raw: [R; 3],
    pub(crate) detach: bool,
}

impl<R: Real> Alif<R> {
    pub(crate) fn new(threshold: f64, raw: [f64; 3], detach: bool) -> Self {
        Self { threshold: R::of(threshold), raw: raw.map(R::of), detach }
    }

    /// `[alpha, rho, beta]`
    pub(crate) fn constants(&self) -> [R; 3] {
        let [w, r, beta] = self.raw;
        [logistic(w), logistic(r), beta]
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
        Self { raw, ..*self }
    }
    fn bounds(&self) -> Option<([R; 3], [R; 3])> {
        let any = R::infinity();
        Some(([-any, -any, R::zero()], [any; 3]))
    }
    fn rest(&self) -> [R; 2] {
        [R::zero(); 2]
    }
    fn charge(&self, [d, a]: [R; 2], x: R) -> [R; 2] {
        let [alpha, _, beta] = self.constants();
        [alpha * (d + beta * a) + x - beta * a, a]
    }
    fn charge_adjoint(
        &self,
        [d, a]: [R; 2],
        _x: R,
        [d_h, d_a]: [R; 2],
    ) -> ChargeAdjoint<[R; 2], [R; 3], R> {
        let [alpha, _, beta] = self.constants();
        let (keep, lost) = (alpha * d_h, (R::one() - alpha) * d_h);
        ChargeAdjoint {
            state: [keep, d_a - beta * lost],
            params: [keep * (R::one() - alpha) * (d + beta * a), R::zero(), -lost * a],
            input: d_h,
        }
    }
    fn excess(&self, [h, _]: [R; 2]) -> R {
        h - self.threshold
    }
    fn reset(&self, [h, a]: [R; 2], s: R) -> [R; 2] {
        let [_, rho, beta] = self.constants();
        let after = rho * a + s;
        [h + beta * a - s * self.threshold - beta * after, after]
    }
    fn reset_adjoint(
        &self,
        [_, a]: [R; 2],
        s: R,
        [d_v, d_a]: [R; 2],
    ) -> ResetAdjoint<[R; 2], [R; 3], R> {
        let [_, rho, beta] = self.constants();
        let (after, d_after) = (rho * a + s, d_a - beta * d_v);
        ResetAdjoint {
            charged: [d_v, beta * d_v + rho * d_after],
            params: [R::zero(), rho * (R::one() - rho) * a * d_after, d_v * (a - after)],
            spike: if self.detach { R::zero() } else { d_after - d_v * self.threshold },
        }
    }
    fn detached(&self) -> bool {
        self.detach
    }
}
