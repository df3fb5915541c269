//! The laws of [`DelayKernel`].

use super::{below, hold, near, tolerance};
use crate::conformance::Failure;
use crate::delay::{DelayKernel, LANES};
use crate::gradcheck::{STEP, kernel_error};
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

/// The taps of a delay from 0 to K - 1 sum to 1 within 1e-6.
///
/// # Errors
/// [`Failure`] with a minimal case that violates the law.
pub fn taps_sum_to_one<K: DelayKernel<f64>>(
    kernels: impl Strategy<Value = K>,
) -> Result<(), Failure> {
    hold(&(kernels, elements()), |(kernel, element)| {
        let sum: f64 = element.taps_of(&kernel).iter().sum();
        below("sum of the taps", (sum - 1.0).abs(), 1e-6)
    })
}

/// [`DelayKernel::backward`] equals the difference quotients of [`DelayKernel::taps`] by weight,
/// delay and sigma. Cases at a kink or a jump of the taps are skipped.
///
/// # Errors
/// [`Failure`] with a minimal case that violates the law.
pub fn backward_is_the_gradient_of_taps<K: DelayKernel<f64>>(
    kernels: impl Strategy<Value = K>,
) -> Result<(), Failure> {
    hold(&(kernels, elements()), |(kernel, element)| {
        let Element { weight, delay, sigma, upstream } = &element;
        let value = |delay: f64, sigma: f64| -> f64 {
            let taps = Element { delay, sigma, ..element.clone() }.taps_of(&kernel);
            taps.iter().zip(upstream).map(|(x, g)| x * g).sum()
        };
        prop_assume!(is_smooth(|step| value(delay + step, *sigma)));
        prop_assume!(is_smooth(|step| value(*delay, sigma + step)));
        let mut scratch = vec![0.0; 2 * upstream.len()];
        let error = kernel_error(&kernel, [*weight, *delay, *sigma], upstream, &mut scratch);
        below("backward", error, tolerance("delay kernel"))
    })
}

/// [`DelayKernel::taps_lanes`] and [`DelayKernel::backward_lanes`] return the numbers of
/// [`DelayKernel::taps`] and [`DelayKernel::backward`].
///
/// # Errors
/// [`Failure`] with a minimal case that violates the law.
pub fn lanes_equal_scalars<K: DelayKernel<f64>>(
    kernels: impl Strategy<Value = K>,
) -> Result<(), Failure> {
    let cases = (kernels, prop::collection::vec(elements(), LANES), taps());
    hold(&cases, |(kernel, mut elements, taps)| {
        elements.iter_mut().for_each(|element| element.resize(taps));
        let of =
            |f: fn(&Element) -> f64| -> [f64; LANES] { core::array::from_fn(|l| f(&elements[l])) };
        let (delays, sigmas) = (of(|e| e.delay), of(|e| e.sigma));
        let upstream: Vec<[f64; LANES]> =
            (0..taps).map(|j| core::array::from_fn(|l| elements[l].upstream[j])).collect();
        let mut lanes = vec![[f64::NAN; LANES]; taps];
        kernel.taps_lanes(&delays, &sigmas, &mut lanes);
        let found = kernel.backward_lanes(&of(|e| e.weight), &delays, &sigmas, &upstream);
        for (l, element) in elements.iter().enumerate() {
            let lane: Vec<f64> = lanes.iter().map(|row| row[l]).collect();
            prop_assert_eq!(lane, element.taps_of(&kernel), "taps of lane {}", l);
            let Element { weight, delay, sigma, upstream } = element;
            let one = kernel.backward(*weight, *delay, *sigma, upstream);
            let lane = [found.weight[l], found.delay[l], found.sigma[l]];
            prop_assert_eq!(lane, [one.weight, one.delay, one.sigma], "gradient of lane {}", l);
        }
        Ok(())
    })
}

/// Taps beyond [`DelayKernel::reach`], and beyond half a step, are below the rounding of the
/// largest. Without them, with the delay counted from the first tap within reach,
/// [`DelayKernel::taps`] and [`DelayKernel::backward`] return the same numbers up to rounding.
///
/// # Errors
/// [`Failure`] with a minimal case that violates the law.
pub fn taps_beyond_reach_are_negligible<K: DelayKernel<f64>>(
    kernels: impl Strategy<Value = K>,
) -> Result<(), Failure> {
    hold(&(kernels, elements()), |(kernel, element)| {
        let Element { weight, delay, sigma, upstream } = &element;
        let reach = kernel.reach(kernel.width(*sigma).0).max(0.5);
        prop_assert!(!reach.is_nan(), "the reach is NaN");
        // Rounding half to even depends on the parity of the tap from which the delay is counted.
        let half = (delay * 2.0) as usize as f64 == delay * 2.0;
        if half || reach == f64::INFINITY {
            return Ok(());
        }
        let within = |j: &usize| (*j as f64 - delay).abs() <= reach;
        let first = (0..upstream.len()).find(within).unwrap_or(0);
        let last = (0..upstream.len()).rfind(within).unwrap_or(0);
        let full = element.taps_of(&kernel);
        let largest = full.iter().map(|x| x.abs()).fold(0.0, f64::max);
        for (j, x) in full.iter().enumerate().filter(|(j, _)| *j < first || *j > last) {
            prop_assert!(x.abs() <= f64::EPSILON * largest, "tap {}, out of reach, is {}", j, x);
        }
        let near_part = Element {
            delay: delay - first as f64,
            upstream: upstream[first..=last].to_vec(),
            ..element.clone()
        };
        for (a, b) in near_part.taps_of(&kernel).into_iter().zip(&full[first..]) {
            near("tap within reach", [a, *b], 100.0 * largest, 1e-12)?;
        }
        let found = kernel.backward(*weight, near_part.delay, *sigma, &near_part.upstream);
        let all = kernel.backward(*weight, *delay, *sigma, upstream);
        let scale = upstream.iter().map(|g| g.abs()).fold(0.0, f64::max);
        near("gradient by weight", [found.weight, all.weight], scale, 1e-10)?;
        near("gradient by delay", [found.delay, all.delay], scale * weight.abs(), 1e-10)?;
        near("gradient by sigma", [found.sigma, all.sigma], scale * weight.abs(), 1e-10)
    })
}

/// One kernel element and an upstream gradient of K taps.
#[derive(Clone, Debug)]
struct Element {
    weight: f64,
    delay: f64,
    sigma: f64,
    upstream: Vec<f64>,
}

impl Element {
    fn taps_of<K: DelayKernel<f64>>(&self, kernel: &K) -> Vec<f64> {
        let mut taps = vec![f64::NAN; self.upstream.len()];
        kernel.taps(self.delay, self.sigma, &mut taps);
        taps
    }

    /// Repeats or cuts off the upstream gradient. The delay may lie beyond the last tap.
    fn resize(&mut self, taps: usize) {
        self.upstream = self.upstream.iter().copied().cycle().take(taps).collect();
    }
}

/// Kernel lengths on both sides of the buffers of `backward`.
fn taps() -> impl Strategy<Value = usize> {
    prop_oneof![3 => 1usize..12, 1 => 12usize..80]
}

/// Delays at both ends, at whole and half steps and between them; sigmas of either sign, near 0 and
/// up to 12.
fn elements() -> impl Strategy<Value = Element> {
    taps().prop_flat_map(|taps| {
        let last = (taps - 1) as f64;
        let between = (0.0..=1.0).prop_map(move |share: f64| share * last);
        let halves = (0..2 * taps - 1).prop_map(|n| n as f64 / 2.0);
        let delay = prop_oneof![4 => between, 1 => halves];
        let size = prop_oneof![Just(0.0), 0.01..0.3f64, 0.3..12.0f64];
        let sigma = (size, any::<bool>()).prop_map(|(s, minus)| if minus { -s } else { s });
        let upstream = prop::collection::vec(-1.0..1.0f64, taps);
        (-2.0..2.0f64, delay, sigma, upstream)
            .prop_map(|(weight, delay, sigma, upstream)| Element { weight, delay, sigma, upstream })
    })
}

/// Whether `f` is smooth around 0: the second difference falls by 4 when the step is halved, or
/// is too small to matter. At a kink it falls by 2, at a jump it stays.
fn is_smooth(f: impl Fn(f64) -> f64) -> bool {
    let bend = |h: f64| (f(h) + f(-h) - 2.0 * f(0.0)).abs();
    let (whole, half) = (bend(STEP), bend(0.5 * STEP));
    whole <= 1e-9 * STEP || (3.99..4.01).contains(&(whole / half))
}
