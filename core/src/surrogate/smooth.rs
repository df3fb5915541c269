//! The surrogates that are smooth everywhere.

use super::Surrogate;
use crate::num::{Real, logistic};
use core::f64::consts::{FRAC_1_PI, FRAC_1_SQRT_2, FRAC_2_SQRT_PI, FRAC_PI_2};

/// Arc tangent: f(u) = (alpha/2) / (1 + (pi/2 alpha u)^2).
///
/// F(u) = atan(pi/2 alpha u) / pi + 1/2, from 0 to 1. Source: Fang et al., "Incorporating learnable
/// membrane time constant", ICCV 2021; SpikingJelly's and snnTorch's `ATan`, with the same factor.
/// "Learning delays in spiking neural networks using dilated convolutions with learnable spacings"
/// (ICLR 2024) takes alpha = 5.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Atan<R> {
    /// Steepness, per unit of membrane; the peak is alpha/2.
    pub alpha: R,
}

impl<R: Real> Surrogate<R> for Atan<R> {
    #[inline]
    fn derivative(&self, u: R) -> R {
        let x = R::of(FRAC_PI_2) * self.alpha * u;
        R::of(0.5) * self.alpha / (R::one() + x * x)
    }
    #[inline]
    fn primitive(&self, u: R) -> R {
        R::of(FRAC_1_PI) * (R::of(FRAC_PI_2) * self.alpha * u).atan() + R::of(0.5)
    }
}

/// Logistic sigmoid: f(u) = alpha q (1 - q), q = 1 / (1 + exp(-alpha u)).
///
/// F(u) = q, from 0 to 1. SpikingJelly's `Sigmoid` and snnTorch's `sigmoid(slope = alpha)` have the
/// same factor. Norse's `heavi_tanh_fn` and `logistic_fn`, f(u) = 1 - tanh(k u)^2, are this with
/// alpha = 2k, times 2/k.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sigmoid<R> {
    /// Steepness, per unit of membrane; the peak is alpha/4.
    pub alpha: R,
}

impl<R: Real> Surrogate<R> for Sigmoid<R> {
    #[inline]
    fn derivative(&self, u: R) -> R {
        let e = (-self.alpha * u.abs()).exp();
        let d = R::one() + e;
        self.alpha * e / (d * d)
    }
    #[inline]
    fn primitive(&self, u: R) -> R {
        logistic(self.alpha * u)
    }
}

/// Error function: f(u) = alpha / sqrt(pi) exp(-(alpha u)^2).
///
/// F(u) = (1 + erf(alpha u)) / 2, from 0 to 1. Source: SpikingJelly's `Erf`, with the same factor.
/// Norse's `heavi_erfc_fn`, f(u) = 2 / sqrt(pi) exp(-(k u)^2), is this with alpha = k, times 2/k.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Erf<R> {
    /// Steepness, per unit of membrane; the peak is alpha/sqrt(pi).
    pub alpha: R,
}

impl<R: Real> Surrogate<R> for Erf<R> {
    #[inline]
    fn derivative(&self, u: R) -> R {
        let x = self.alpha * u;
        R::of(0.5 * FRAC_2_SQRT_PI) * self.alpha * (-x * x).exp()
    }
    #[inline]
    fn primitive(&self, u: R) -> R {
        R::of(0.5) * (R::one() + (self.alpha * u).erf())
    }
}

/// Gaussian density: f(u) = N(u; 0, sigma^2) = exp(-u^2 / (2 sigma^2)) / (sigma sqrt(2 pi)).
///
/// F(u) is the normal distribution function, from 0 to 1. Source: Yin, Corradi and Bohte,
/// "Effective and efficient computation with multiple-timescale spiking recurrent neural networks",
/// ICONS 2020. The same curve as [`Erf`] with alpha = 1 / (sigma sqrt(2)).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gaussian<R> {
    /// Standard deviation, in units of the membrane.
    pub sigma: R,
}

impl<R: Real> Gaussian<R> {
    fn erf(&self) -> Erf<R> {
        Erf { alpha: R::of(FRAC_1_SQRT_2) / self.sigma }
    }
}

impl<R: Real> Surrogate<R> for Gaussian<R> {
    #[inline]
    fn derivative(&self, u: R) -> R {
        self.erf().derivative(u)
    }
    #[inline]
    fn primitive(&self, u: R) -> R {
        self.erf().primitive(u)
    }
}

/// A Gaussian with negative flanks:
/// f(u) = (1 + h) N(u; 0, sigma^2) - h N(u; sigma, (s sigma)^2) - h N(u; -sigma, (s sigma)^2).
///
/// F(u) is the same sum of normal distribution functions, from 0 to 1 - h. f is negative on the
/// flanks. Source: Yin, Corradi and Bohte, "Accurate and efficient time-domain classification with
/// adaptive spiking recurrent neural networks", Nature Machine Intelligence 2021, with sigma = 0.5,
/// h = 0.15, s = 6; their code multiplies it by 0.5.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MultiGaussian<R> {
    /// Standard deviation of the peak and offset of the flanks, in units of the membrane.
    pub sigma: R,
    /// Area h of each flank.
    pub height: R,
    /// Standard deviation s of the flanks, as a multiple of `sigma`.
    pub scale: R,
}

impl<R: Real> MultiGaussian<R> {
    fn mix(&self, u: R, of: impl Fn(Gaussian<R>, R) -> R) -> R {
        let flank = Gaussian { sigma: self.scale * self.sigma };
        (R::one() + self.height) * of(Gaussian { sigma: self.sigma }, u)
            - self.height * (of(flank, u - self.sigma) + of(flank, u + self.sigma))
    }
}

impl<R: Real> Surrogate<R> for MultiGaussian<R> {
    fn derivative(&self, u: R) -> R {
        self.mix(u, |g, u| g.derivative(u))
    }
    fn primitive(&self, u: R) -> R {
        self.mix(u, |g, u| g.primitive(u))
    }
}

/// Circle: f(u) = alpha^2 / (2 (u^2 + alpha^2)^(3/2)).
///
/// F(u) = 1/2 + u / (2 sqrt(u^2 + alpha^2)), from 0 to 1. Source: Norse's `heavi_circ_fn`, which is
/// this times 2 alpha: a peak of 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Circ<R> {
    /// Width, in units of the membrane; the peak is 1/(2 alpha).
    pub alpha: R,
}

impl<R: Real> Surrogate<R> for Circ<R> {
    #[inline]
    fn derivative(&self, u: R) -> R {
        let x = u / self.alpha;
        let square = R::one() + x * x;
        R::of(0.5) / (self.alpha * square * square.sqrt())
    }
    #[inline]
    fn primitive(&self, u: R) -> R {
        let x = u / self.alpha;
        R::of(0.5) + R::of(0.5) * x / (R::one() + x * x).sqrt()
    }
}
