//! A delayed projection as one complex matrix product per frequency.
//!
//! The input is divided into blocks of B steps. Every pass is a circular convolution or correlation
//! of period N >= B + K - 1, so that no step in use is aliased. The outputs of adjacent blocks
//! overlap by K - 1 steps and are added (overlap-add). The upstream gradient is read in windows of
//! B + K - 1 steps, which overlap by as many.

use super::fft::{Fft, length};
use super::product::{Contract, Factor, product};
use super::spectrum::Spectrum;
use super::{KernelPasses, Parameters};
use crate::lanes::{Complex, Lanes, Vector, fetch, vectorize, whole_vectors};
use crate::scratch::Scratch;
use crate::sequence::Sequence;
use polychron_core::delay::LANES;
use polychron_core::num::Real;
use polychron_core::shape::{Shape, Synapses};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// The division of a sequence into blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockPlan {
    /// Steps N of a transform.
    pub(super) length: usize,
    /// Steps B from one block to the next.
    block: usize,
    pub(super) blocks: usize,
}

/// Largest number of blocks of a sequence.
const BLOCKS: usize = 64;

/// Multiply-adds that take as long as writing and reading one value of the weights' spectrum
/// (measured).
const MOVE: usize = 64;

impl BlockPlan {
    /// The cheapest plan.
    pub(super) fn cheapest<R: Lanes>(taps: usize, input: Shape) -> Self {
        let of = |blocks| Self::with_blocks(blocks, taps, input.steps);
        let cost = |plan: &Self| plan.cost::<R>(input.batch);
        (1..=BLOCKS.min(input.steps)).map(of).min_by_key(cost).unwrap_or(of(1))
    }

    /// A plan of at most `blocks` blocks.
    fn with_blocks(blocks: usize, taps: usize, steps: usize) -> Self {
        let block = steps.div_ceil(blocks).max(1);
        Self { length: length(block + taps - 1), block, blocks: steps.div_ceil(block) }
    }

    /// The cost of one pass per synapse, in multiply-adds.
    pub(super) fn cost<R: Lanes>(&self, batch: usize) -> usize {
        self.multiply_adds::<R>(batch) + self.length * MOVE
    }

    /// Multiply-adds of one pass per synapse.
    pub(super) fn multiply_adds<R: Lanes>(&self, batch: usize) -> usize {
        self.length * self.lanes::<R>(batch) * 3 / 2
    }

    /// Lanes of the spectrum of a neuron.
    pub(super) fn lanes<R: Lanes>(&self, batch: usize) -> usize {
        self.blocks * whole_vectors::<R>(batch)
    }
}

/// The spectrum of a sequence, kept from the forward pass for the backward pass.
#[derive(Debug)]
pub(crate) struct KeptSpectrum<R> {
    plan: BlockPlan,
    spectrum: Spectrum<R>,
}

/// The passes of one projection in the frequency domain.
pub(super) struct Frequency<'a, R: Real> {
    synapses: &'a Synapses,
    kernel: &'a dyn KernelPasses<R>,
    params: &'a Parameters<'a, R>,
    scratch: &'a Scratch<R>,
    plan: BlockPlan,
    fft: Fft<R>,
}

/// The neurons that are the series of the weights' spectrum. The others are its lanes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Series {
    Inputs,
    Outputs,
}

impl<'a, R: Lanes> Frequency<'a, R> {
    pub(super) fn new(
        synapses: &'a Synapses,
        kernel: &'a dyn KernelPasses<R>,
        params: &'a Parameters<'a, R>,
        scratch: &'a Scratch<R>,
        plan: BlockPlan,
    ) -> Self {
        Self { synapses, kernel, params, scratch, plan, fft: Fft::new(plan.length) }
    }

    /// Keeps the spectrum of the input if the backward pass needs it.
    pub(super) fn forward(&self, x: &Sequence<R>, keep: bool, y: &mut Sequence<R>) {
        let weights = self.weight_spectrum(Series::Inputs);
        let spectrum = self.analyse(x, self.plan.block);
        let mut product = self.spectrum(self.synapses.outputs, spectrum.lanes());
        self.multiply(Contract::Series, (&weights, false), (&spectrum, false), &mut product);
        drop(weights);
        if keep {
            x.keep(KeptSpectrum { plan: self.plan, spectrum });
        } else {
            drop(spectrum);
        }
        self.synthesise(&product, self.plan.block + self.synapses.taps - 1, y);
    }

    /// The gradients with respect to weights, delays and sigma, and to the input, where requested.
    pub(super) fn backward(
        &self,
        x: &Sequence<R>,
        d_y: &Sequence<R>,
        gradients: Option<[&mut [R]; 3]>,
        d_x: Option<&mut Sequence<R>>,
    ) {
        let upstream = self.analyse(d_y, self.plan.block + self.synapses.taps - 1);
        if let Some(d_x) = d_x {
            let weights = self.weight_spectrum(Series::Outputs);
            let mut product = self.spectrum(self.synapses.inputs, upstream.lanes());
            self.multiply(Contract::Series, (&weights, true), (&upstream, false), &mut product);
            drop(weights);
            self.synthesise(&product, self.plan.block, d_x);
        }
        let Some(gradients) = gradients else { return };
        let kept = x.take().filter(|kept| kept.plan == self.plan);
        let x = kept.map_or_else(|| self.analyse(x, self.plan.block), |kept| kept.spectrum);
        let columns = self.synapses.inputs.next_multiple_of(LANES);
        let mut product = self.spectrum(self.synapses.outputs, columns);
        self.multiply(Contract::Lanes, (&upstream, false), (&x, true), &mut product);
        drop((upstream, x));
        self.write_gradients(&product, gradients);
    }

    fn spectrum(&self, series: usize, lanes: usize) -> Spectrum<R> {
        Spectrum::new(self.scratch, series, self.fft.bins(), lanes)
    }

    fn multiply(
        &self,
        contract: Contract,
        (a, conjugate_a): (&Spectrum<R>, bool),
        (b, conjugate_b): (&Spectrum<R>, bool),
        to: &mut Spectrum<R>,
    ) {
        let (a, b) = (
            Factor { spectrum: a, conjugate: conjugate_a },
            Factor { spectrum: b, conjugate: conjugate_b },
        );
        product(self.scratch, contract, a, b, to);
    }

    /// The spectrum of a sequence in blocks of `window` steps. Series are neurons, lanes are
    /// `[block][sample]`.
    fn analyse(&self, x: &Sequence<R>, window: usize) -> Spectrum<R> {
        let batch = x.shape().batch;
        let mut spectrum = self.spectrum(x.shape().width, self.plan.lanes::<R>(batch));
        let (stride, lanes, pitch) = (spectrum.stride(), spectrum.lanes(), spectrum.pitch());
        spectrum.values_mut().par_chunks_mut(stride).enumerate().for_each(|(n, to)| {
            let Self { plan, fft, .. } = self;
            R::analyse(Analyse { fft, plan, window, from: &x.block(n), batch, to, lanes, pitch });
        });
        spectrum
    }

    /// Writes the sum of the first `keep` steps of every block.
    fn synthesise(&self, spectrum: &Spectrum<R>, keep: usize, y: &mut Sequence<R>) {
        let batch = y.shape().batch;
        y.blocks_mut().enumerate().for_each(|(n, to)| {
            let (from, lanes, pitch) = (spectrum.one_series(n), spectrum.lanes(), spectrum.pitch());
            let Self { plan, fft, .. } = self;
            R::synthesise(Synthesise { fft, plan, keep, from, lanes, pitch, batch, to });
        });
    }

    /// The spectrum of the dense kernel.
    fn weight_spectrum(&self, series: Series) -> Spectrum<R> {
        let Synapses { inputs, outputs, taps, .. } = *self.synapses;
        let (all, lanes) =
            if series == Series::Inputs { (inputs, outputs) } else { (outputs, inputs) };
        let mut spectrum = self.spectrum(all, lanes.next_multiple_of(LANES));
        let (stride, lanes, pitch) = (spectrum.stride(), spectrum.lanes(), spectrum.pitch());
        let (fft, plan) = (&self.fft, &self.kernel_plan());
        spectrum.values_mut().par_chunks_mut(stride).enumerate().for_each(|(n, to)| {
            let mut buffer = self.scratch.block((1, taps, lanes + LANES));
            let (columns, bump) = buffer.values_mut().split_at_mut(taps * lanes);
            vectorize(
                #[inline(always)]
                || self.write_columns(series, n, columns, bump.as_chunks_mut().0),
            );
            let (window, from, batch) = (taps, &*columns, lanes);
            R::analyse(Analyse { fft, plan, window, from, batch, to, lanes, pitch });
        });
        spectrum
    }

    /// Writes the dense kernel `[K][lane]` of one series.
    #[inline(always)]
    fn write_columns(&self, series: Series, n: usize, to: &mut [R], bump: &mut [[R; LANES]]) {
        to.fill(R::zero());
        let lanes = to.len() / self.synapses.taps;
        for c in 0..self.synapses.kernel_count {
            for lane in (0..lanes).step_by(LANES) {
                let (at, present) = self.elements(series, n, lane, c);
                let Parameters { weights, delays, .. } = self.params;
                let mut params = [[R::zero(); LANES]; 3];
                for l in 0..present {
                    let at = at[l];
                    (params[0][l], params[1][l], params[2][l]) =
                        (weights[at], delays[at], self.params.sigma(at));
                }
                let [weights, delays, sigmas] = &params;
                self.kernel.vector_taps(delays, sigmas, bump);
                for (to, bump) in to.chunks_exact_mut(lanes).zip(&*bump) {
                    let to = &mut to[lane..lane + LANES];
                    for l in 0..LANES {
                        to[l] += weights[l] * bump[l];
                    }
                }
            }
        }
    }

    /// The indices of kernel element `c` of the synapses from a lane on, and their number.
    #[inline(always)]
    fn elements(&self, series: Series, n: usize, lane: usize, c: usize) -> ([usize; LANES], usize) {
        let Synapses { inputs, outputs, kernel_count: count, .. } = *self.synapses;
        let (first, apart, lanes) = match series {
            Series::Inputs => (n, inputs, outputs),
            Series::Outputs => (n * inputs, 1, inputs),
        };
        let present = lanes.saturating_sub(lane).min(LANES);
        let mut at = [0; LANES];
        for l in 0..present {
            at[l] = (first + (lane + l) * apart) * count + c;
        }
        (at, present)
    }

    /// The plan of the kernel: one block.
    fn kernel_plan(&self) -> BlockPlan {
        BlockPlan { block: self.synapses.taps, blocks: 1, ..self.plan }
    }

    /// The gradients of the parameters for the spectrum of the gradient with respect to the dense
    /// kernel, whose series are outputs.
    fn write_gradients(
        &self,
        spectrum: &Spectrum<R>,
        [d_weights, d_delays, d_sigma]: [&mut [R]; 3],
    ) {
        let Synapses { inputs, taps, kernel_count: count, .. } = *self.synapses;
        let shared = self.params.sigma.len() == 1;
        let mut per_element = self.scratch.block((1, 1, if shared { d_weights.len() } else { 0 }));
        let by_sigma = if shared { per_element.values_mut() } else { &mut *d_sigma };
        let row = inputs * count;
        let rows = d_weights
            .par_chunks_mut(row)
            .zip(d_delays.par_chunks_mut(row))
            .zip(by_sigma.par_chunks_mut(row));
        let (lanes, pitch) = (spectrum.lanes(), spectrum.pitch());
        let (fft, plan) = (&self.fft, &self.kernel_plan());
        rows.enumerate().for_each(|(n, ((d_weights, d_delays), d_sigma))| {
            let mut buffer = self.scratch.block((1, taps, lanes + LANES));
            let (columns, upstream) = buffer.values_mut().split_at_mut(taps * lanes);
            let (keep, from, batch, to) = (taps, spectrum.one_series(n), lanes, &mut *columns);
            R::synthesise(Synthesise { fft, plan, keep, from, lanes, pitch, batch, to });
            vectorize(
                #[inline(always)]
                || {
                    let gradients = [d_weights, d_delays, d_sigma];
                    self.output_gradients(n, columns, upstream.as_chunks_mut().0, gradients);
                },
            );
        });
        if shared {
            d_sigma[0] = per_element.values().iter().copied().sum();
        }
    }

    /// The gradients of the synapses of output `n` for the gradient `[K][lane]` with respect to its
    /// dense kernel.
    #[inline(always)]
    fn output_gradients(
        &self,
        n: usize,
        columns: &[R],
        upstream: &mut [[R; LANES]],
        [d_weights, d_delays, d_sigma]: [&mut [R]; 3],
    ) {
        let first = n * d_weights.len();
        let lanes = columns.len() / self.synapses.taps;
        for lane in (0..lanes).step_by(LANES) {
            for (to, from) in upstream.iter_mut().zip(columns.chunks_exact(lanes)) {
                to.copy_from_slice(&from[lane..lane + LANES]);
            }
            for c in 0..self.synapses.kernel_count {
                let (at, present) = self.elements(Series::Outputs, n, lane, c);
                let Parameters { weights, delays, .. } = self.params;
                let mut params = [[R::zero(); LANES]; 3];
                for l in 0..present {
                    let at = at[l];
                    (params[0][l], params[1][l], params[2][l]) =
                        (weights[at], delays[at], self.params.sigma(at));
                }
                let [weights, delays, sigmas] = &params;
                let g = self.kernel.vector_backward(weights, delays, sigmas, upstream);
                for l in 0..present {
                    let e = at[l] - first;
                    (d_weights[e], d_delays[e], d_sigma[e]) = (g.weight[l], g.delay[l], g.sigma[l]);
                }
            }
        }
    }
}

/// Transforms the blocks of one series.
pub struct Analyse<'a, R> {
    fft: &'a Fft<R>,
    plan: &'a BlockPlan,
    window: usize,
    /// `[time][batch]`.
    from: &'a [R],
    batch: usize,
    /// `[bin][re, im][lane]`.
    to: &'a mut [R],
    lanes: usize,
    pitch: usize,
}

impl<R: Lanes> WithSimd for Analyse<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { fft, plan, window, from, batch, to, lanes, pitch } = self;
        let (width, steps) = (R::lanes::<S>(), from.len() / batch);
        let mut buffer = fft.buffer(s);
        fetch(from);
        fetch(to);
        for block in 0..plan.blocks {
            let start = block * plan.block;
            let end = steps.min(start + window);
            for first in (0..batch).step_by(width) {
                let lane = block * (lanes / plan.blocks) + first;
                fft.forward(
                    &mut buffer,
                    #[inline(always)]
                    |t| {
                        let row = (start + t) * batch;
                        if start + t < end {
                            Vector::load(s, &from[row + first..row + batch.min(first + width)])
                        } else {
                            Vector::splat(s, R::zero())
                        }
                    },
                    #[inline(always)]
                    |bin, z| {
                        let to = &mut to[2 * bin * pitch + lane..];
                        z.re.store(&mut to[..width]);
                        z.im.store(&mut to[pitch..pitch + width]);
                    },
                );
            }
        }
    }
}

/// Transforms the spectra of one series back and adds the blocks.
pub struct Synthesise<'a, R> {
    fft: &'a Fft<R>,
    plan: &'a BlockPlan,
    keep: usize,
    /// `[bin][re, im][lane]`.
    from: &'a [R],
    lanes: usize,
    pitch: usize,
    batch: usize,
    /// `[time][batch]`.
    to: &'a mut [R],
}

impl<R: Lanes> WithSimd for Synthesise<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { fft, plan, keep, from, lanes, pitch, batch, to } = self;
        let (width, steps) = (R::lanes::<S>(), to.len() / batch);
        // Both factors contain a 2, and the inverse transform contains N = 2 bins.
        let scale = Vector::splat(s, R::one() / R::count(8 * fft.bins()));
        let mut buffer = fft.buffer(s);
        fetch(from);
        fetch(to);
        let mut written = 0;
        for block in 0..plan.blocks {
            let start = block * plan.block;
            let end = steps.min(start + keep);
            for first in (0..batch).step_by(width) {
                let lane = block * (lanes / plan.blocks) + first;
                fft.inverse(
                    &mut buffer,
                    #[inline(always)]
                    |bin| {
                        let from = &from[2 * bin * pitch + lane..];
                        Complex {
                            re: Vector::load(s, &from[..width]),
                            im: Vector::load(s, &from[pitch..pitch + width]),
                        }
                    },
                    #[inline(always)]
                    |t, x| {
                        let t = start + t;
                        if t < end {
                            let to =
                                &mut to[t * batch + first..t * batch + batch.min(first + width)];
                            let before = if t < written {
                                Vector::load(s, to)
                            } else {
                                Vector::splat(s, R::zero())
                            };
                            x.mul_add(scale, before).store(to);
                        }
                    },
                );
            }
            written = end.max(written);
        }
        to[written * batch..].fill(R::zero());
    }
}

#[cfg(test)]
mod tests;
