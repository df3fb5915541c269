//! The surrogates with a kink or a jump, and the constant one.

use super::{Surrogate, up_to_three};
use crate::num::{Real, logistic};
use crate::surrogate::Sigmoid;

/// Softsign or fast sigmoid: f(u) = (alpha/2) / (1 + alpha |u|)^2.
///
/// F(u) = (1 + alpha u / (1 + alpha |u|)) / 2, from 0 to 1. SpikingJelly's `SoftSign` has the same
/// factor. SuperSpike (Zenke and Ganguli, Neural Computation 2018), snnTorch's
/// `fast_sigmoid(slope = alpha)` and Norse's `superspike_fn`, f(u) = 1 / (1 + alpha |u|)^2, are
/// this times 2/alpha.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softsign<R> {
    /// Steepness, per unit of membrane; the peak is alpha/2.
    pub alpha: R,
}

impl<R: Real> Surrogate<R> for Softsign<R> {
    #[inline]
    fn derivative(&self, u: R) -> R {
        let d = R::one() + self.alpha * u.abs();
        R::of(0.5) * self.alpha / (d * d)
    }
    #[inline]
    fn primitive(&self, u: R) -> R {
        from_tail(u, R::of(0.5) / (R::one() + self.alpha * u.abs()))
    }
    fn kinks(&self) -> [Option<R>; 3] {
        up_to_three([R::zero()])
    }
}

/// Triangle or piecewise quadratic: f(u) = max(0, alpha - alpha^2 |u|).
///
/// F(u) is two parabolas, from 0 at u = -1/alpha to 1 at u = 1/alpha. SpikingJelly's
/// `PiecewiseQuadratic` has the same factor. Norse's `triangle_fn`, f(u) = gamma max(0, 1 - |u|)
/// (Esser et al., PNAS 2016; Bellec et al., Nature Communications 2020, gamma = 0.3), is this with
/// alpha = 1, times gamma.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Triangle<R> {
    /// Peak, and one over the half-width in units of the membrane.
    pub alpha: R,
}

impl<R: Real> Surrogate<R> for Triangle<R> {
    #[inline]
    fn derivative(&self, u: R) -> R {
        (self.alpha - self.alpha * self.alpha * u.abs()).max(R::zero())
    }
    #[inline]
    fn primitive(&self, u: R) -> R {
        let d = (R::one() - self.alpha * u.abs()).max(R::zero());
        from_tail(u, R::of(0.5) * d * d)
    }
    fn kinks(&self) -> [Option<R>; 3] {
        let edge = self.alpha.recip();
        up_to_three([-edge, R::zero(), edge])
    }
}

/// Piecewise exponential: f(u) = (alpha/2) exp(-alpha |u|).
///
/// F(u) = exp(alpha u) / 2 below 0 and 1 - exp(-alpha u) / 2 above, from 0 to 1. Source: Shrestha
/// and Orchard, "SLAYER", NeurIPS 2018; SpikingJelly's `PiecewiseExp`, with the same factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PiecewiseExp<R> {
    /// Steepness, per unit of membrane; the peak is alpha/2.
    pub alpha: R,
}

impl<R: Real> Surrogate<R> for PiecewiseExp<R> {
    #[inline]
    fn derivative(&self, u: R) -> R {
        R::of(0.5) * self.alpha * (-self.alpha * u.abs()).exp()
    }
    #[inline]
    fn primitive(&self, u: R) -> R {
        from_tail(u, R::of(0.5) * (-self.alpha * u.abs()).exp())
    }
    fn kinks(&self) -> [Option<R>; 3] {
        up_to_three([R::zero()])
    }
}

/// Spike-rate escape: f(u) = slope exp(-beta |u - centre|).
///
/// F(u) goes from 0 to 2 slope / beta. Source: the escape rate of Gerstner and Kistler, "Spiking
/// neuron models", 2002, as in snnTorch's `spike_rate_escape`, which fixes `centre` at 1. With
/// centre = 0 it is [`PiecewiseExp`] with alpha = beta, times 2 slope / beta.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpikeRateEscape<R> {
    /// Steepness, per unit of membrane.
    pub beta: R,
    /// The peak.
    pub slope: R,
    /// Where the peak is, in units of the membrane above threshold.
    pub centre: R,
}

impl<R: Real> Surrogate<R> for SpikeRateEscape<R> {
    #[inline]
    fn derivative(&self, u: R) -> R {
        self.slope * (-self.beta * (u - self.centre).abs()).exp()
    }
    #[inline]
    fn primitive(&self, u: R) -> R {
        let area = R::of(2.0) * self.slope / self.beta;
        area * PiecewiseExp { alpha: self.beta }.primitive(u - self.centre)
    }
    fn kinks(&self) -> [Option<R>; 3] {
        up_to_three([self.centre])
    }
}

/// Rectangle: f(u) = 1/width where |u| < width, else 0.
///
/// F(u) is a ramp from 0 to 2: the height is SpikingJelly's, and the area is 2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect<R> {
    /// Half-width, in units of the membrane.
    pub width: R,
}

impl<R: Real> Surrogate<R> for Rect<R> {
    #[inline]
    fn derivative(&self, u: R) -> R {
        LeakyRect { width: self.width, leak: R::zero() }.derivative(u)
    }
    #[inline]
    fn primitive(&self, u: R) -> R {
        LeakyRect { width: self.width, leak: R::zero() }.primitive(u)
    }
    fn kinks(&self) -> [Option<R>; 3] {
        up_to_three([-self.width, self.width])
    }
}

/// Leaky rectangle: f(u) = 1/width where |u| < width, else leak.
///
/// F is continuous with F(0) = 1 and slope `leak` outside. Source: SpikingJelly's `LeakyRect`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeakyRect<R> {
    /// Half-width, in units of the membrane.
    pub width: R,
    /// Derivative outside.
    pub leak: R,
}

impl<R: Real> Surrogate<R> for LeakyRect<R> {
    #[inline]
    fn derivative(&self, u: R) -> R {
        if u.abs() < self.width { self.width.recip() } else { self.leak }
    }
    #[inline]
    fn primitive(&self, u: R) -> R {
        let inside = u.max(-self.width).min(self.width);
        R::one() + inside / self.width + self.leak * (u - inside)
    }
    fn kinks(&self) -> [Option<R>; 3] {
        up_to_three([-self.width, self.width])
    }
}

/// Leaky rectifier: f(u) = slope where u >= 0, else leak.
///
/// F(u) = slope u where u >= 0, else leak u. SpikingJelly's `LeakyKReLU(leak, k = slope)` is the
/// same. snnTorch's leaky spike operator `LSO` is slope = 1, leak = 0.1; its `heaviside` is
/// slope = 1, leak = 0; its `triangular(threshold)` is slope = -threshold, leak = threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeakyKRelu<R> {
    /// Derivative at and above threshold.
    pub slope: R,
    /// Derivative below threshold.
    pub leak: R,
}

impl<R: Real> Surrogate<R> for LeakyKRelu<R> {
    #[inline]
    fn derivative(&self, u: R) -> R {
        if u >= R::zero() { self.slope } else { self.leak }
    }
    #[inline]
    fn primitive(&self, u: R) -> R {
        self.derivative(u) * u
    }
    fn kinks(&self) -> [Option<R>; 3] {
        up_to_three([R::zero()])
    }
}

/// Sigmoid below threshold, hyperbola above: f(u) = alpha q (1 - q) with q = 1 / (1 + exp(-alpha
/// u)) where u < 0, else beta / (u + 1).
///
/// F(u) = q where u < 0, else 1/2 + beta ln(u + 1). Source: Suetake et al., "S2NN", 2022;
/// SpikingJelly's `S2NN`, with alpha = 4, beta = 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct S2nn<R> {
    /// Steepness below threshold, per unit of membrane.
    pub alpha: R,
    /// Derivative just above threshold.
    pub beta: R,
}

impl<R: Real> Surrogate<R> for S2nn<R> {
    #[inline]
    fn derivative(&self, u: R) -> R {
        if u < R::zero() {
            Sigmoid { alpha: self.alpha }.derivative(u)
        } else {
            self.beta / (u + R::one())
        }
    }
    #[inline]
    fn primitive(&self, u: R) -> R {
        if u < R::zero() {
            logistic(self.alpha * u)
        } else {
            R::of(0.5) + self.beta * (u + R::one()).ln()
        }
    }
    fn kinks(&self) -> [Option<R>; 3] {
        up_to_three([R::zero()])
    }
}

/// Straight-through: f(u) = 1.
///
/// F(u) = u. Source: Bengio et al., "Estimating or propagating gradients through stochastic
/// neurons", 2013; snnTorch's `straight_through_estimator`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StraightThrough;

impl<R: Real> Surrogate<R> for StraightThrough {
    #[inline]
    fn derivative(&self, _: R) -> R {
        R::one()
    }
    #[inline]
    fn primitive(&self, u: R) -> R {
        u
    }
}

/// Sparse fast sigmoid: f(u) = 1 / (1 + slope |u|)^2 where u > bound, else 0.
///
/// F(u) = u / (1 + slope |u|) - bound / (1 + slope |bound|) where u > bound, else 0. Source:
/// snnTorch's `SFS(slope, B = bound)`, after Perez-Nieves and Goodman, "Sparse spiking gradient
/// descent", NeurIPS 2021.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SparseFastSigmoid<R> {
    /// Steepness, per unit of membrane.
    pub slope: R,
    /// The point below which the derivative is 0, in units of the membrane above threshold.
    pub bound: R,
}

impl<R: Real> Surrogate<R> for SparseFastSigmoid<R> {
    #[inline]
    fn derivative(&self, u: R) -> R {
        let d = R::one() + self.slope * u.abs();
        if u > self.bound { (d * d).recip() } else { R::zero() }
    }
    #[inline]
    fn primitive(&self, u: R) -> R {
        let softsign = |u: R| u / (R::one() + self.slope * u.abs());
        softsign(u.max(self.bound)) - softsign(self.bound)
    }
    fn kinks(&self) -> [Option<R>; 3] {
        up_to_three([self.bound, R::zero()])
    }
}

/// F(u) of a symmetric f of area 1, given the area beyond |u| on one side.
#[inline]
fn from_tail<R: Real>(u: R, tail: R) -> R {
    if u < R::zero() { tail } else { R::one() - tail }
}
