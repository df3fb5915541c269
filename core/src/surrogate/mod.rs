//! Surrogate derivatives: the smooth stand-ins for the slope of a spike.
//!
//! A neuron spikes with the step of `u = membrane - threshold`, whose true derivative is zero almost
//! everywhere. Training replaces it, in the backward pass only, by a [`Surrogate`] derivative f(u).
//!
//! Together the families cover the deterministic surrogates of snnTorch (`snntorch.surrogate`) and
//! Norse (`norse.torch.functional.threshold`). Libraries often scale one and the same curve
//! differently; a curve is one family here, its documentation states each library's factor, and
//! [`Scaled`] applies it. snnTorch's stochastic spike operator, which draws its derivative at
//! random, is left out: a surrogate is a function of u alone.

mod any;
mod kinked;
mod smooth;

pub use any::{AnySurrogate, SurrogateError};
pub use kinked::{
    LeakyKRelu, LeakyRect, PiecewiseExp, Rect, S2nn, Softsign, SparseFastSigmoid, SpikeRateEscape,
    StraightThrough, Triangle,
};
pub use smooth::{Atan, Circ, Erf, Gaussian, MultiGaussian, Sigmoid};

use crate::num::Real;
use core::fmt::Debug;

/// A stand-in for the derivative of the spike with respect to `u = membrane - threshold`.
///
/// `u` is in units of the membrane. Every family is finite for |u| up to 1e9 in `f32` and `f64`.
pub trait Surrogate<R: Real>: Debug + Send + Sync {
    /// The derivative f(u), used for d spike / d u.
    fn derivative(&self, u: R) -> R;

    /// The smooth primitive F(u), with F' = f wherever f is continuous.
    ///
    /// A forward pass that spikes with F has f as its true derivative, so central differences can
    /// check a backward pass. F(-inf) = 0 where the integral converges.
    fn primitive(&self, u: R) -> R;

    /// Replaces each u by f(u).
    fn derivatives(&self, u: &mut [R]) {
        for u in u {
            *u = self.derivative(*u);
        }
    }

    /// Replaces each u by F(u).
    fn primitives(&self, u: &mut [R]) {
        for u in u {
            *u = self.primitive(*u);
        }
    }

    /// The points u where f jumps or has a kink, from which difference quotients keep away.
    fn kinks(&self) -> [Option<R>; 3] {
        [None; 3]
    }
}

/// The spike: 1 where `u = membrane - threshold >= 0`, else 0.
#[inline]
pub fn step<R: Real>(u: R) -> R {
    if u >= R::zero() { R::one() } else { R::zero() }
}

/// Another surrogate times a constant: factor * f(u).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaled<R, S> {
    /// The constant.
    pub factor: R,
    /// The surrogate to scale.
    pub surrogate: S,
}

impl<R: Real, S: Surrogate<R>> Surrogate<R> for Scaled<R, S> {
    #[inline]
    fn derivative(&self, u: R) -> R {
        self.factor * self.surrogate.derivative(u)
    }
    #[inline]
    fn primitive(&self, u: R) -> R {
        self.factor * self.surrogate.primitive(u)
    }
    fn kinks(&self) -> [Option<R>; 3] {
        self.surrogate.kinks()
    }
}

/// Up to three items, as an array that needs no allocation.
fn up_to_three<T, const N: usize>(items: [T; N]) -> [Option<T>; 3] {
    let mut items = items.into_iter();
    core::array::from_fn(|_| items.next())
}
