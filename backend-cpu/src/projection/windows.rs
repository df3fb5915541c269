//! The taps that are not negligible: one window of consecutive taps for every kernel element. All
//! windows have the same length.

use super::{KernelPasses, Parameters, flush};
use crate::lanes::vectorize;
use crate::scratch::{Block, Scratch};
use polychron_core::delay::{DelayKernel, LANES, round_delay};
use polychron_core::num::Real;
use polychron_core::shape::Synapses;
use rayon::prelude::*;

/// Kernel elements per task.
const CHUNK: usize = 1024;

/// The number of taps of the longest window.
pub(crate) fn window_len<R: Real>(kernel: &dyn DelayKernel<R>, sigma: &[R], taps: usize) -> usize {
    let reach = |&sigma: &R| kernel.reach(kernel.width(sigma).0);
    let longest = |m: usize, reach: R| {
        let both = (reach + reach).ceil().to_usize();
        m.max(both.unwrap_or(taps).clamp(1, taps.max(1)))
    };
    sigma.iter().map(reach).fold(1, longest)
}

/// The windows `[out, in, count]` of a projection.
pub(crate) struct Windows<R> {
    /// Taps of a window.
    len: usize,
    /// Taps from one window to the next. Those beyond `len` are 0.
    pub(super) stride: usize,
    /// The first tap of every window.
    pub(crate) first: Vec<usize>,
    /// `[out][in][count and stride]`.
    pub(crate) taps: Block<R>,
}

impl<R: Real> Windows<R> {
    /// Computes the `len` taps around each delay.
    pub(crate) fn new(
        scratch: &Scratch<R>,
        synapses: &Synapses,
        kernel: &dyn KernelPasses<R>,
        params: &Parameters<'_, R>,
        len: usize,
        stride: usize,
    ) -> Self {
        let Synapses { inputs, outputs, kernel_count: count, taps: all, .. } = *synapses;
        let middle = R::count(len - 1) * R::of(0.5);
        let places = all - len + 1;
        let first = params.delays.iter().map(|&delay| round_delay(delay - middle, places));
        let first: Vec<usize> = first.collect();
        let mut taps = scratch.block((outputs, inputs, count * stride));
        taps.values_mut().par_chunks_mut(CHUNK * stride).enumerate().for_each(|(n, taps)| {
            let mut bump = vec![[R::zero(); LANES]; len];
            vectorize(
                #[inline(always)]
                || {
                    for (k, taps) in taps.chunks_mut(LANES * stride).enumerate() {
                        let elements = Elements::new(params, &first, n * CHUNK + k * LANES);
                        kernel.vector_taps(&elements.delays, &elements.sigmas, &mut bump);
                        for (l, taps) in taps.chunks_exact_mut(stride).enumerate() {
                            taps.fill(R::zero());
                            for (tap, row) in taps.iter_mut().zip(&bump) {
                                *tap = elements.weights[l] * row[l];
                            }
                            flush(taps);
                        }
                    }
                },
            );
        });
        Self { len, stride, first, taps }
    }

    /// A block for the gradient with respect to the taps.
    pub(super) fn gradient_block(&self, scratch: &Scratch<R>) -> Block<R> {
        let (outputs, inputs, each) = self.taps.view().dim();
        scratch.block((outputs, inputs, each))
    }

    /// The gradients with respect to weights, delays and sigma for the gradient with respect to the
    /// taps.
    pub(super) fn backward(
        &self,
        kernel: &dyn KernelPasses<R>,
        params: &Parameters<'_, R>,
        d_taps: &Block<R>,
        [d_weights, d_delays, d_sigma]: [&mut [R]; 3],
    ) {
        let shared = params.sigma.len() == 1;
        let mut per_element = vec![R::zero(); if shared { d_weights.len() } else { 0 }];
        let by_sigma = if shared { &mut per_element } else { &mut *d_sigma };
        let chunks = d_weights
            .par_chunks_mut(LANES)
            .zip(d_delays.par_chunks_mut(LANES))
            .zip(by_sigma.par_chunks_mut(LANES))
            .zip(d_taps.values().par_chunks(LANES * self.stride))
            .with_min_len(CHUNK / LANES);
        chunks.enumerate().for_each_init(
            || vec![[R::zero(); LANES]; self.len],
            |upstream, (n, (((d_weights, d_delays), d_sigma), d_taps))| {
                vectorize(
                    #[inline(always)]
                    || {
                        for (l, d_taps) in d_taps.chunks_exact(self.stride).enumerate() {
                            for (row, &d) in upstream.iter_mut().zip(d_taps) {
                                row[l] = d;
                            }
                        }
                        let elements = Elements::new(params, &self.first, n * LANES);
                        let Elements { weights, delays, sigmas } = &elements;
                        let g = kernel.vector_backward(weights, delays, sigmas, upstream);
                        let present = d_weights.len();
                        d_weights.copy_from_slice(&g.weight[..present]);
                        d_delays.copy_from_slice(&g.delay[..present]);
                        d_sigma.copy_from_slice(&g.sigma[..present]);
                    },
                );
            },
        );
        if shared {
            d_sigma[0] = per_element.into_iter().sum();
        }
    }
}

/// The parameters of consecutive kernel elements. Delays count from the first tap of the window.
struct Elements<R> {
    weights: [R; LANES],
    delays: [R; LANES],
    sigmas: [R; LANES],
}

impl<R: Real> Elements<R> {
    #[inline(always)]
    fn new(params: &Parameters<'_, R>, first: &[usize], from: usize) -> Self {
        let zero = [R::zero(); LANES];
        let mut elements = Self { weights: zero, delays: zero, sigmas: zero };
        for (l, &first) in first[from..].iter().take(LANES).enumerate() {
            elements.weights[l] = params.weights[from + l];
            elements.delays[l] = params.delays[from + l] - R::count(first);
            elements.sigmas[l] = params.sigma(from + l);
        }
        elements
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polychron_core::delay::AnyKernel;

    #[test]
    fn taps_outside_a_window_are_negligible() {
        let synapses = Synapses { kernel_count: 2, ..Synapses::new(3, 4, 40) };
        let scratch = Scratch::default();
        let delays: Vec<f32> = (0..24).map(|e| [-3.0, 45.0][e % 2] + 1.5 * e as f32).collect();
        let weights = [0.5; 24];
        for (_, kernel) in AnyKernel::ALL {
            for sigma in [0.0, 0.23, 1.7, 30.0] {
                let params = Parameters { weights: &weights, delays: &delays, sigma: &[sigma] };
                let len = window_len(&kernel, params.sigma, synapses.taps);
                let windows = Windows::new(&scratch, &synapses, &kernel, &params, len, len + 3);
                let taps = windows.taps.values().chunks_exact(len + 3);
                for ((taps, first), &delay) in taps.zip(&windows.first).zip(&delays) {
                    let mut bump = [0.0; 40];
                    kernel.taps(delay, sigma, &mut bump);
                    for (j, bump) in bump.into_iter().enumerate() {
                        let tap = j.checked_sub(*first).and_then(|n| taps.get(n)).unwrap_or(&0.0);
                        assert!((tap - 0.5 * bump).abs() < 1e-7, "{kernel:?} {sigma} {delay} {j}");
                    }
                }
            }
        }
    }
}
