use crate::lanes::vectorize;
use core::fmt::Debug;
use polychron_core::delay::{DelayKernel, LANES, SynapseGradient};
use polychron_core::num::Real;

/// A delay kernel whose type may be erased, with its vector code: every [`DelayKernel`].
///
/// It is the part of a projection that is compiled for each kernel. The rest is compiled once.
pub trait KernelPasses<R: Real>: Debug + Send + Sync {
    /// The kernel itself.
    fn kernel(&self) -> &dyn DelayKernel<R>;
    /// [`DelayKernel::taps_lanes`] with vector instructions.
    #[doc(hidden)]
    fn vector_taps(&self, delays: &[R; LANES], sigmas: &[R; LANES], out: &mut [[R; LANES]]);
    /// [`DelayKernel::backward_lanes`] with vector instructions.
    #[doc(hidden)]
    fn vector_backward(
        &self,
        weights: &[R; LANES],
        delays: &[R; LANES],
        sigmas: &[R; LANES],
        upstream: &[[R; LANES]],
    ) -> SynapseGradient<[R; LANES]>;
}

impl<R: Real, K: DelayKernel<R>> KernelPasses<R> for K {
    fn kernel(&self) -> &dyn DelayKernel<R> {
        self
    }

    fn vector_taps(&self, delays: &[R; LANES], sigmas: &[R; LANES], out: &mut [[R; LANES]]) {
        vectorize(
            #[inline(always)]
            || self.taps_lanes(delays, sigmas, out),
        );
    }

    fn vector_backward(
        &self,
        weights: &[R; LANES],
        delays: &[R; LANES],
        sigmas: &[R; LANES],
        upstream: &[[R; LANES]],
    ) -> SynapseGradient<[R; LANES]> {
        vectorize(
            #[inline(always)]
            || self.backward_lanes(weights, delays, sigmas, upstream),
        )
    }
}
