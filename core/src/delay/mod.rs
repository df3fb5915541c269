//! Delay kernels: how a weight at a delay spreads over the taps of a dense kernel.
//!
//! A synapse delays by `d` steps, `0 <= d <= K - 1`. Tap `j` of its dense kernel delays by `j`
//! steps.
//!
//! ```text
//! g_j      = g(j - d, s)                       a bump of width s around the delay
//! X_j      = g_j / (sum_j g_j + 1e-7)
//! kernel_j = sum over the synapse's elements of w X_j
//! y[t]     = sum_j kernel_j x[t - j]
//! ```
//!
//! The bump exists in training only. A network that runs step by step has taps at whole steps;
//! [`Rounding`] says which.
//!
//! The DCLS packages count positions from the other end. Their position `P`, relative to the centre
//! of a kernel of K taps, is the delay `(K - 1) - K / 2 - P` (integer division); their tap `k` is
//! tap `K - 1 - k` here.
//!
//! Source: Khalfaoui-Hassani et al., *Dilated convolution with learnable spacings* (ICLR 2023) and
//! *beyond bilinear interpolation* (2023); Hammouamri et al. (ICLR 2024).

mod kernels;
mod place;
mod rounding;

pub use kernels::*;
pub use place::Place;
pub use rounding::Rounding;

use crate::num::Real;
use core::fmt::Debug;

/// Added to the sum of the taps, which is 0 if no tap lies near the delay.
const FLOOR: f64 = 1e-7;

/// The number of synapses that [`DelayKernel::taps_lanes`] computes at once.
pub const LANES: usize = 16;

/// The number of taps that the backward pass keeps on the stack instead of computing them twice.
const CACHED: usize = 64;

/// One tap of an unnormalised bump, with its derivatives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tap<R> {
    /// g(u, s).
    pub value: R,
    /// The derivative by the delay d, the negative of the derivative by u = j - d.
    pub d_delay: R,
    /// The derivative by the width s.
    pub d_width: R,
}

/// The gradient of one kernel element's parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SynapseGradient<R> {
    /// By the weight.
    pub weight: R,
    /// By the delay, in 1 / steps.
    pub delay: R,
    /// By the raw sigma.
    pub sigma: R,
}

/// A bump around a delay. An implementation provides [`width`](Self::width) and [`tap`](Self::tap).
///
/// `delay_kernel_laws!` (feature `conformance`) tests the laws of an implementation: the taps of a
/// delay from 0 to K - 1 sum to one, [`backward`](Self::backward) is the gradient of
/// [`taps`](Self::taps), the methods for lanes return the numbers of the scalar methods, and taps
/// beyond [`reach`](Self::reach) are negligible.
pub trait DelayKernel<R: Real>: Debug + Send + Sync {
    /// The width s of the bump for a raw sigma, and ds/dsigma.
    fn width(&self, sigma: R) -> (R, R);

    /// The bump around `delay` at tap `j`, a distance of `u = j - d` steps.
    fn tap(&self, j: usize, delay: R, width: R) -> Tap<R>;

    /// The distance from the delay, in steps, beyond which taps are below the rounding of the
    /// largest tap; infinite if none is known. Distances below half a step count as half a step.
    ///
    /// For the taps within reach alone, with the delay counted from the first of them,
    /// [`taps`](Self::taps) and [`backward`](Self::backward) return the same numbers up to
    /// rounding.
    fn reach(&self, _width: R) -> R {
        R::infinity()
    }

    /// Writes the normalised taps X_j of a delay to `out`, whose length is K.
    ///
    /// Cost: K evaluations of the bump.
    fn taps(&self, delay: R, sigma: R, out: &mut [R]) {
        spread(|j, d, s| self.tap(j, d, s), self.width(sigma).0, delay, out);
    }

    /// The gradient of `sum_j G_j w X_j` for an upstream gradient `G` of K taps.
    fn backward(&self, weight: R, delay: R, sigma: R, upstream: &[R]) -> SynapseGradient<R> {
        gather(|j, d, s| self.tap(j, d, s), self.width(sigma), weight, delay, upstream)
    }

    /// [`taps`](Self::taps) of [`LANES`] synapses; `out` is `[K][LANES]`. Returns the same numbers.
    /// Its inner loops run over the synapses, so that they vectorise.
    #[inline(always)]
    fn taps_lanes(&self, delays: &[R; LANES], sigmas: &[R; LANES], out: &mut [[R; LANES]]) {
        let mut sums = [R::zero(); LANES];
        for (j, row) in out.iter_mut().enumerate() {
            for l in 0..LANES {
                row[l] = self.tap(j, delays[l], self.width(sigmas[l]).0).value;
                sums[l] += row[l];
            }
        }
        for sum in &mut sums {
            *sum = R::one() / (*sum + R::of(FLOOR));
        }
        for row in out {
            for l in 0..LANES {
                row[l] *= sums[l];
            }
        }
    }

    /// [`backward`](Self::backward) of [`LANES`] synapses; `upstream` is `[K][LANES]`. Returns the
    /// same numbers.
    #[inline(always)]
    fn backward_lanes(
        &self,
        weights: &[R; LANES],
        delays: &[R; LANES],
        sigmas: &[R; LANES],
        upstream: &[[R; LANES]],
    ) -> SynapseGradient<[R; LANES]> {
        let zero = [R::zero(); LANES];
        let (mut mass, mut value) = (zero, zero);
        for (j, g) in upstream.iter().enumerate() {
            for l in 0..LANES {
                let bump = self.tap(j, delays[l], self.width(sigmas[l]).0).value;
                mass[l] += bump;
                value[l] += g[l] * bump;
            }
        }
        let mut found = SynapseGradient { weight: zero, delay: zero, sigma: zero };
        for l in 0..LANES {
            mass[l] = R::one() / (mass[l] + R::of(FLOOR));
            found.weight[l] = value[l] * mass[l];
        }
        for (j, g) in upstream.iter().enumerate() {
            for l in 0..LANES {
                let bump = self.tap(j, delays[l], self.width(sigmas[l]).0);
                found.delay[l] += (g[l] - found.weight[l]) * bump.d_delay;
                found.sigma[l] += (g[l] - found.weight[l]) * bump.d_width;
            }
        }
        for l in 0..LANES {
            let outer = weights[l] * mass[l];
            found.delay[l] *= outer;
            found.sigma[l] *= outer * self.width(sigmas[l]).1;
        }
        found
    }
}

fn spread<R: Real>(tap: impl Fn(usize, R, R) -> Tap<R>, width: R, delay: R, out: &mut [R]) {
    let mut sum = R::zero();
    for (j, x) in out.iter_mut().enumerate() {
        *x = tap(j, delay, width).value;
    }
    for &mut x in &mut *out {
        sum += x;
    }
    let scale = R::one() / (sum + R::of(FLOOR));
    for x in out {
        *x *= scale;
    }
}

fn gather<R: Real>(
    tap: impl Fn(usize, R, R) -> Tap<R>,
    (width, d_width): (R, R),
    weight: R,
    delay: R,
    upstream: &[R],
) -> SynapseGradient<R> {
    let zero = R::zero();
    let (mut mass, mut value) = (zero, zero);
    let (mut values, mut by_delay, mut by_width) = ([zero; CACHED], [zero; CACHED], [zero; CACHED]);
    for j in 0..upstream.len().min(CACHED) {
        let bump = tap(j, delay, width);
        (values[j], by_delay[j], by_width[j]) = (bump.value, bump.d_delay, bump.d_width);
    }
    let at = |j: usize| {
        if j < CACHED {
            Tap { value: values[j], d_delay: by_delay[j], d_width: by_width[j] }
        } else {
            tap(j, delay, width)
        }
    };
    for (j, &g) in upstream.iter().enumerate() {
        let bump = at(j);
        mass += bump.value;
        value += g * bump.value;
    }
    let scale = R::one() / (mass + R::of(FLOOR));
    let d_weight = value * scale;
    let (mut d_delay, mut d_sigma) = (zero, zero);
    for (j, &g) in upstream.iter().enumerate() {
        let bump = at(j);
        d_delay += (g - d_weight) * bump.d_delay;
        d_sigma += (g - d_weight) * bump.d_width;
    }
    let outer = weight * scale;
    SynapseGradient { weight: d_weight, delay: d_delay * outer, sigma: d_sigma * (outer * d_width) }
}

/// `u = j - d`, in steps.
#[inline]
fn distance<R: Real>(j: usize, delay: R) -> R {
    R::from_i32(j as i32).unwrap_or_else(R::infinity) - delay
}

/// Rounds a delay to the nearest tap of a kernel of `taps` taps; halves to even, NaN to 0.
///
/// ```
/// use polychron_core::delay::round_delay;
/// assert_eq!(round_delay(3.4, 25), 3);
/// assert_eq!(round_delay(-0.4, 25), 0);
/// assert_eq!(round_delay(99.0, 25), 24);
/// assert_eq!(round_delay(f64::INFINITY, 25), 24);
/// ```
#[must_use]
pub fn round_delay<R: Real>(delay: R, taps: usize) -> usize {
    let last = taps.saturating_sub(1);
    if delay > R::count(last) { last } else { delay.round_even().to_usize().unwrap_or(0) }
}

/// Writes the dense kernel `[out, in, K]` of a whole projection.
///
/// `weights` and `delays` are `[out, in, count]`; `sigma` has one value in all or one per weight.
/// `scratch` has K values. Tap `j` delays by `j` steps.
///
/// # Errors
/// [`ShapeError`](crate::shape::ShapeError) if the size of a block does not match.
pub fn dense_kernel<R: Real>(
    kernel: &dyn DelayKernel<R>,
    synapses: &crate::shape::Synapses,
    weights: &[R],
    delays: &[R],
    sigma: &[R],
    scratch: &mut [R],
    out: &mut [R],
) -> Result<(), crate::shape::ShapeError> {
    check_parameters(synapses, weights, delays, sigma)?;
    crate::shape::expect("kernel's scratch", synapses.taps, scratch.len())?;
    crate::shape::expect("dense kernel", synapses.dense_len(), out.len())?;
    if synapses.taps == 0 || synapses.kernel_count == 0 {
        return Ok(());
    }
    for (n, dense) in out.chunks_exact_mut(synapses.taps).enumerate() {
        dense.fill(R::zero());
        for e in n * synapses.kernel_count..(n + 1) * synapses.kernel_count {
            kernel.taps(delays[e], sigma[e % sigma.len()], scratch);
            for (to, &x) in dense.iter_mut().zip(scratch.iter()) {
                *to += weights[e] * x;
            }
        }
    }
    Ok(())
}

/// Checks the sizes of a projection's parameter blocks.
///
/// # Errors
/// [`ShapeError`](crate::shape::ShapeError) if the size of a block does not match.
pub fn check_parameters<R>(
    synapses: &crate::shape::Synapses,
    weights: &[R],
    delays: &[R],
    sigma: &[R],
) -> Result<(), crate::shape::ShapeError> {
    let n = synapses.weights();
    crate::shape::expect("projection's weights", n, weights.len())?;
    crate::shape::expect("projection's delays", n, delays.len())?;
    if sigma.len() == 1 {
        Ok(())
    } else {
        crate::shape::expect("projection's sigma", n, sigma.len())
    }
}
