mod cost;
mod dense;
mod events;
mod fft;
mod frequency;
mod kernel;
mod product;
mod spectrum;
mod taps;
mod windows;

use crate::algorithm::{Algorithm, Plan};
use crate::backend::{Cpu, Error};
use crate::lanes::{Lanes, whole_vectors};
use crate::scratch::{Block, Scratch};
use crate::sequence::Sequence;
use events::Events;
pub(crate) use events::{Gather, Scatter};
pub(crate) use frequency::{Analyse, KeptSpectrum, Synthesise};
use frequency::{BlockPlan, Frequency};
pub use kernel::KernelPasses;
use polychron_core::backend::{SynapseGradients, SynapseParams};
use polychron_core::delay::{DelayKernel, Rounding, check_parameters, dense_kernel};
use polychron_core::num::Real;
use polychron_core::shape::{ShapeError, Synapses, expect};
pub(crate) use product::Multiply;
use rayon::prelude::*;
pub(crate) use taps::{Correlate, SumTaps};
pub(crate) use windows::{Windows, window_len};

/// Synapses per task.
const CHUNK: usize = 1024;

/// The parameters `[out, in, count]` of a projection.
pub(crate) struct Parameters<'a, R> {
    pub(crate) weights: &'a [R],
    pub(crate) delays: &'a [R],
    pub(crate) sigma: &'a [R],
}

impl<'a, R: Real> Parameters<'a, R> {
    pub(crate) fn new(
        synapses: &Synapses,
        params: &'a SynapseParams<'_, Vec<R>>,
    ) -> Result<Self, ShapeError> {
        let (weights, delays) = (params.weights.slice()?, params.delays.slice()?);
        let sigma = params.sigma.slice()?;
        check_parameters(synapses, weights, delays, sigma)?;
        Ok(Self { weights, delays, sigma })
    }

    pub(crate) fn sigma(&self, element: usize) -> R {
        if self.sigma.len() == 1 { self.sigma[0] } else { self.sigma[element] }
    }

    /// The parameters of elements `first..first + len`.
    fn part(&self, first: usize, len: usize) -> Self {
        let of = |values: &'a [R]| &values[first..first + len];
        let sigma = if self.sigma.len() == 1 { self.sigma } else { of(self.sigma) };
        Self { weights: of(self.weights), delays: of(self.delays), sigma }
    }

    /// The dense kernel `[out][in][K]`.
    fn dense_taps(
        &self,
        scratch: &Scratch<R>,
        synapses: &Synapses,
        kernel: &dyn DelayKernel<R>,
    ) -> Result<Block<R>, ShapeError> {
        let Synapses { inputs, outputs, kernel_count: count, taps, .. } = *synapses;
        let mut dense = scratch.block((outputs, inputs, taps));
        dense.values_mut().par_chunks_mut(CHUNK * taps).enumerate().try_for_each(
            |(n, dense)| {
                let part = Synapses { inputs: dense.len() / taps, outputs: 1, ..*synapses };
                let Self { weights, delays, sigma } = self.part(n * CHUNK * count, part.weights());
                let mut scratch = vec![R::zero(); taps];
                dense_kernel(kernel, &part, weights, delays, sigma, &mut scratch, dense)?;
                flush(dense);
                Ok::<_, ShapeError>(())
            },
        )?;
        Ok(dense)
    }

    /// The gradients with respect to weights, delays and sigma for the gradient with respect to the
    /// taps.
    fn backward(
        &self,
        synapses: &Synapses,
        kernel: &dyn DelayKernel<R>,
        d_taps: &[R],
        [d_weights, d_delays, d_sigma]: [&mut [R]; 3],
    ) {
        let shared = self.sigma.len() == 1;
        let mut per_element = vec![R::zero(); self.weights.len()];
        let by_sigma = if shared { &mut per_element } else { &mut *d_sigma };
        let chunks = d_weights
            .par_chunks_mut(CHUNK)
            .zip(d_delays.par_chunks_mut(CHUNK))
            .zip(by_sigma.par_chunks_mut(CHUNK));
        chunks.enumerate().for_each(|(n, ((d_weights, d_delays), d_sigma))| {
            for e in 0..d_weights.len() {
                let at = n * CHUNK + e;
                let upstream =
                    &d_taps[at / synapses.kernel_count * synapses.taps..][..synapses.taps];
                let sigma = self.sigma(at);
                let g = kernel.backward(self.weights[at], self.delays[at], sigma, upstream);
                (d_weights[e], d_delays[e], d_sigma[e]) = (g.weight, g.delay, g.sigma);
            }
        });
        if shared {
            d_sigma[0] = per_element.into_iter().sum();
        }
    }
}

pub(crate) fn project<R: Lanes>(
    cpu: &Cpu<R>,
    synapses: &Synapses,
    kernel: &dyn KernelPasses<R>,
    params: SynapseParams<'_, Vec<R>>,
    x: &Sequence<R>,
    y: &mut Sequence<R>,
) -> Result<(), Error> {
    synapses.check(x.shape(), y.shape())?;
    let rounded = params.rounding.map(Rounding::kernel);
    let kernel = rounded.as_ref().map_or(kernel, |rounded| rounded);
    let params = Parameters::new(synapses, &params)?;
    if is_empty(synapses, x) {
        cpu.install(|| y.clear());
        return Ok(());
    }
    cpu.install(|| {
        let plan = cpu.plan_for(synapses, kernel.kernel(), params.sigma, x);
        let scratch = cpu.scratch();
        let passes = Passes { synapses, kernel, params: &params, scratch, window: plan.window };
        passes.forward(&plan, x, y)
    })?;
    Ok(())
}

pub(crate) fn project_backward<R: Lanes>(
    cpu: &Cpu<R>,
    synapses: &Synapses,
    kernel: &dyn KernelPasses<R>,
    params: SynapseParams<'_, Vec<R>>,
    x: &Sequence<R>,
    d_y: &Sequence<R>,
    gradients: SynapseGradients<'_, Vec<R>>,
    d_x: Option<&mut Sequence<R>>,
) -> Result<(), Error> {
    synapses.check(x.shape(), d_y.shape())?;
    if let Some(d_x) = &d_x {
        x.shape().expect("projection's input gradient", d_x.shape())?;
    }
    let rounded = params.rounding.map(Rounding::kernel);
    let kernel = rounded.as_ref().map_or(kernel, |rounded| rounded);
    let params = Parameters::new(synapses, &params)?;
    let SynapseGradients { weights, delays, sigma } = gradients;
    let gradients = [weights.slice()?, delays.slice()?, sigma.slice()?];
    check_parameters(synapses, gradients[0], gradients[1], gradients[2])?;
    expect("projection's sigma gradient", params.sigma.len(), gradients[2].len())?;
    if is_empty(synapses, x) {
        gradients.into_iter().for_each(|gradient| gradient.fill(R::zero()));
        if let Some(d_x) = d_x {
            cpu.install(|| d_x.clear());
        }
        return Ok(());
    }
    cpu.install(|| {
        let numbers = d_y.to_dense();
        let d_y = numbers.as_ref().unwrap_or(d_y);
        let plan = cpu.plan_for(synapses, kernel.kernel(), params.sigma, x);
        let scratch = cpu.scratch();
        let passes = Passes { synapses, kernel, params: &params, scratch, window: plan.window };
        let (by_input, by_kernel) = (plan.by_input.algorithm, plan.by_kernel.algorithm);
        let (mut d_x, mut gradients) = (d_x, Some(gradients));
        if let Some(d_x) = d_x.take_if(|_| by_input != Algorithm::Frequency) {
            passes.by_input(by_input, d_y, d_x)?;
        }
        if let Some(gradients) = gradients.take_if(|_| by_kernel != Algorithm::Frequency) {
            passes.by_kernel(by_kernel, x, d_y, gradients);
        }
        if d_x.is_some() || gradients.is_some() {
            passes.frequency(x).backward(x, d_y, gradients, d_x);
        }
        Ok::<_, ShapeError>(())
    })?;
    Ok(())
}

/// The forward and backward passes of one projection.
struct Passes<'a, R: Real> {
    synapses: &'a Synapses,
    kernel: &'a dyn KernelPasses<R>,
    params: &'a Parameters<'a, R>,
    scratch: &'a Scratch<R>,
    /// The number of taps of a window.
    window: usize,
}

impl<R: Lanes> Passes<'_, R> {
    fn forward(&self, plan: &Plan, x: &Sequence<R>, y: &mut Sequence<R>) -> Result<(), ShapeError> {
        let Self { synapses, scratch, window, .. } = *self;
        let algorithm = plan.forward.algorithm;
        let numbers = write_out(algorithm, x);
        let x = numbers.as_ref().unwrap_or(x);
        match algorithm {
            Algorithm::Dense => dense::forward(synapses, &self.dense()?, x, y),
            Algorithm::Frequency => {
                let keep = plan.by_kernel.algorithm == Algorithm::Frequency;
                self.frequency(x).forward(x, keep, y);
            }
            Algorithm::Taps => taps::forward(scratch, synapses, &self.windows(window), x, y),
            Algorithm::Windows => {
                let windows = self.windows(whole_vectors::<R>(window));
                Events::new(synapses, &windows, x).forward(scratch, y);
            }
        }
        Ok(())
    }

    fn by_input(
        &self,
        algorithm: Algorithm,
        d_y: &Sequence<R>,
        d_x: &mut Sequence<R>,
    ) -> Result<(), ShapeError> {
        let Self { synapses, scratch, window, .. } = *self;
        if algorithm == Algorithm::Dense {
            dense::by_input(synapses, &self.dense()?, d_y, d_x);
        } else {
            taps::by_input(scratch, synapses, &self.windows(window), d_y, d_x);
        }
        Ok(())
    }

    fn by_kernel(
        &self,
        algorithm: Algorithm,
        x: &Sequence<R>,
        d_y: &Sequence<R>,
        gradients: [&mut [R]; 3],
    ) {
        let Self { synapses, kernel, params, scratch, window } = *self;
        let numbers = write_out(algorithm, x);
        let x = numbers.as_ref().unwrap_or(x);
        if algorithm == Algorithm::Dense {
            let shape = (synapses.outputs, synapses.inputs, synapses.taps);
            let mut d_taps = scratch.block(shape);
            dense::by_taps(x, d_y, &mut d_taps);
            return params.backward(synapses, kernel.kernel(), d_taps.values(), gradients);
        }
        let events = algorithm == Algorithm::Windows;
        let windows = self.windows(if events { whole_vectors::<R>(window) } else { window });
        let mut d_taps = windows.gradient_block(scratch);
        if events {
            Events::new(synapses, &windows, x).by_taps(scratch, d_y, &mut d_taps);
        } else {
            taps::by_taps(scratch, synapses, &windows, x, d_y, &mut d_taps);
        }
        windows.backward(kernel, params, &d_taps, gradients);
    }

    fn dense(&self) -> Result<Block<R>, ShapeError> {
        self.params.dense_taps(self.scratch, self.synapses, self.kernel.kernel())
    }

    fn frequency(&self, x: &Sequence<R>) -> Frequency<'_, R> {
        let Self { synapses, kernel, params, scratch, .. } = *self;
        let plan = BlockPlan::cheapest::<R>(synapses.taps, x.shape());
        Frequency::new(synapses, kernel, params, scratch, plan)
    }

    fn windows(&self, stride: usize) -> Windows<R> {
        let Self { synapses, kernel, params, scratch, window } = *self;
        Windows::new(scratch, synapses, kernel, params, window, stride)
    }
}

/// Sets the tails of bumps to zero. Subnormal numbers and products slow a matrix product down by a
/// factor of 50.
fn flush<R: Real>(taps: &mut [R]) {
    let least = R::min_positive_value().sqrt();
    for tap in taps {
        if tap.abs() < least {
            *tap = R::zero();
        }
    }
}

/// Writes spikes as numbers for an algorithm that reads each neuron more than once.
fn write_out<R: Real>(algorithm: Algorithm, x: &Sequence<R>) -> Option<Sequence<R>> {
    let often = matches!(algorithm, Algorithm::Dense | Algorithm::Taps);
    if often { x.to_dense() } else { None }
}

/// Whether the projection has no synapses, taps or input values.
fn is_empty<R: Real>(synapses: &Synapses, x: &Sequence<R>) -> bool {
    x.shape().is_empty() || synapses.weights() * synapses.taps == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use polychron_core::delay::Gauss;

    #[test]
    fn tails_of_bumps_are_zero_or_far_from_subnormal() {
        let synapses = Synapses::new(1, 1, 400);
        let params = Parameters { weights: &[0.1f32], delays: &[200.0], sigma: &[6.0] };
        let taps = params.dense_taps(&Scratch::default(), &synapses, &Gauss).unwrap();
        assert!(taps.values().iter().all(|&x| x == 0.0 || x > 1e-20));
        assert!((taps.values().iter().sum::<f32>() - 0.1).abs() < 1e-6);
    }
}
