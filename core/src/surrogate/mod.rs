//! Surrogate derivatives: smooth replacements of the slope of a spike.
//!
//! A spike is the step of `u = membrane - threshold`, whose derivative is zero almost everywhere.
//! Training replaces the derivative, in the backward pass only, by a [`Surrogate`] derivative f(u).
//!
//! The families cover the deterministic surrogates of snnTorch (`snntorch.surrogate`) and Norse
//! (`norse.torch.functional.threshold`). Libraries often scale the same curve differently. Here
//! each curve is one family; its documentation states the factor of each library, and [`Scaled`]
//! applies it. The stochastic spike operator of snnTorch is missing, because a surrogate is a
//! function of u alone.

mod any;
mod kinked;
mod smooth;

pub use any::{AnySurrogate, SurrogateError};
pub use kinked::*;
pub use smooth::*;

use crate::num::Real;
use core::fmt::Debug;

/// A replacement of the derivative of the spike by `u = membrane - threshold`.
///
/// `u` is in units of the membrane. Every family is finite for |u| up to 1e9, in `f32` and `f64`.
///
/// `surrogate_laws!` (feature `conformance`) tests the laws of an implementation: the derivative is
/// the slope of the primitive, slices return the numbers of the scalar methods, and values are
/// finite.
pub trait Surrogate<R: Real>: Debug + Send + Sync {
    /// The derivative f(u), in place of d spike / d u.
    fn derivative(&self, u: R) -> R;

    /// The smooth primitive F(u), with F' = f wherever f is continuous.
    ///
    /// If F(u) replaces the spike in the forward pass, f is the true derivative, and difference
    /// quotients can test the backward pass. F(-inf) = 0 if the integral converges.
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

    /// The points u where f has a jump or a kink, which difference quotients avoid.
    fn kinks(&self) -> [Option<R>; 3] {
        [None; 3]
    }
}

/// The spike: 1 if `u = membrane - threshold >= 0`, else 0.
#[inline]
#[must_use]
pub fn step<R: Real>(u: R) -> R {
    if u >= R::zero() { R::one() } else { R::zero() }
}

/// A surrogate times a constant: factor * f(u).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaled<R, S> {
    /// The constant.
    pub factor: R,
    /// The scaled surrogate.
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

/// Pads up to three items with `None`.
fn up_to_three<T, const N: usize>(items: [T; N]) -> [Option<T>; 3] {
    let mut items = items.into_iter();
    core::array::from_fn(|_| items.next())
}
