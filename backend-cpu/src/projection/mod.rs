mod dense;
mod frequency;

use crate::backend::{Cpu, Error};
use crate::scratch::{Block, Scratch};
use crate::sequence::{Sequence, same};
use frequency::{Factor, Transform, frequencies, product};

use polychron_core::backend::{SynapseGradients, SynapseOps, SynapseParams};
use polychron_core::delay::{DelayKernel, check_parameters, dense_kernel};
use polychron_core::num::Real;
use polychron_core::shape::{ShapeError, Synapses, expect};
use rayon::prelude::*;

/// How a delayed projection is computed. Results agree to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// One matrix product per tap: fast for few taps.
    Dense,
    /// One complex matrix product per frequency: the cost hardly grows with the taps.
    Frequency,
}

/// Multiply-adds that take as long as moving one number of the weights' spectrum in and out of memory (measured).
const MOVE: usize = 64;

impl Algorithm {
    /// The faster one by multiply-adds of a forward pass.
    fn of(synapses: &Synapses, steps: usize, batch: usize) -> Self {
        let Synapses { inputs, outputs, taps, tail, .. } = *synapses;
        let planes = 2 * frequencies(period(synapses, steps));
        let dense = taps * steps * inputs * outputs * batch;
        let products = planes * inputs * outputs * batch * 3 / 2;
        let signals = planes * (steps * inputs + (steps + tail) * outputs) * batch;
        let kernel = planes * (taps + MOVE) * inputs * outputs;
        if dense <= products + signals + kernel { Self::Dense } else { Self::Frequency }
    }
}

/// The least period at which nothing wraps onto what is kept.
fn period(synapses: &Synapses, steps: usize) -> usize {
    (steps + synapses.taps - 1).max(steps + synapses.tail)
}

/// Synapses to a task.
const CHUNK: usize = 1024;

/// The parameters `[out, in, count]` of a projection.
struct Parameters<'a, R> {
    weights: &'a [R],
    delays: &'a [R],
    sigma: &'a [R],
}

impl<'a, R: Real> Parameters<'a, R> {
    fn new(synapses: &Synapses, params: &'a SynapseParams<'_, Vec<R>>) -> Result<Self, ShapeError> {
        let (weights, delays) = (params.weights.slice()?, params.delays.slice()?);
        let sigma = params.sigma.slice()?;
        check_parameters(synapses, weights, delays, sigma)?;
        Ok(Self { weights, delays, sigma })
    }

    /// Elements `first..first + len`.
    fn part(&self, first: usize, len: usize) -> Self {
        let of = |values: &'a [R]| &values[first..first + len];
        let sigma = if self.sigma.len() == 1 { self.sigma } else { of(self.sigma) };
        Self { weights: of(self.weights), delays: of(self.delays), sigma }
    }

    /// The dense kernel `[out][in][K]`.
    fn taps(
        &self,
        scratch: &Scratch<R>,
        synapses: &Synapses,
        kernel: &dyn DelayKernel<R>,
    ) -> Result<Block<R>, ShapeError> {
        let Synapses { inputs, outputs, count, taps, .. } = *synapses;
        let mut dense = scratch.block((outputs, inputs, taps));
        dense.values_mut().par_chunks_mut(CHUNK * taps).enumerate().try_for_each(
            |(n, dense)| {
                let some = Synapses { inputs: dense.len() / taps, outputs: 1, ..*synapses };
                let Self { weights, delays, sigma } = self.part(n * CHUNK * count, some.weights());
                let mut scratch = vec![R::zero(); taps];
                dense_kernel(kernel, &some, weights, delays, sigma, &mut scratch, dense)?;
                flush(dense);
                Ok::<_, ShapeError>(())
            },
        )?;
        Ok(dense)
    }

    /// From the gradient by the taps to those by weights, delays and sigma.
    fn backward(
        &self,
        synapses: &Synapses,
        kernel: &dyn DelayKernel<R>,
        d_taps: &[R],
        [d_weights, d_delays, d_sigma]: [&mut [R]; 3],
    ) {
        let shared = self.sigma.len() == 1;
        let mut own = vec![R::zero(); self.weights.len()];
        let by_sigma = if shared { &mut own } else { &mut *d_sigma };
        let chunks = d_weights
            .par_chunks_mut(CHUNK)
            .zip(d_delays.par_chunks_mut(CHUNK))
            .zip(by_sigma.par_chunks_mut(CHUNK));
        chunks.enumerate().for_each(|(n, ((d_weights, d_delays), d_sigma))| {
            for e in 0..d_weights.len() {
                let at = n * CHUNK + e;
                let upstream = &d_taps[at / synapses.count * synapses.taps..][..synapses.taps];
                let sigma = if shared { self.sigma[0] } else { self.sigma[at] };
                let g = kernel.backward(self.weights[at], self.delays[at], sigma, upstream);
                (d_weights[e], d_delays[e], d_sigma[e]) = (g.weight, g.delay, g.sigma);
            }
        });
        if shared {
            d_sigma[0] = own.into_iter().sum();
        }
    }
}

impl<R: Real, K: DelayKernel<R>> SynapseOps<R, K> for Cpu<R> {
    fn project(
        &self,
        synapses: &Synapses,
        kernel: &K,
        params: SynapseParams<'_, Vec<R>>,
        x: &Sequence<R>,
        y: &mut Sequence<R>,
    ) -> Result<(), Error> {
        synapses.check(x.shape(), y.shape())?;
        let params = Parameters::new(synapses, &params)?;
        if is_empty(synapses, x) {
            y.clear();
            return Ok(());
        }
        let scratch = self.scratch();
        self.install(|| {
            let taps = params.taps(scratch, synapses, kernel)?;
            match self.algorithm(synapses, x) {
                Algorithm::Dense => dense::forward(synapses, &taps, x, y),
                Algorithm::Frequency => {
                    let transform = Transform::new(period(synapses, x.shape().steps), scratch);
                    let weights = transform.taps(&taps);
                    let x = transform.sequence(x);
                    let product = product(scratch, &Factor::Plain(&weights), &Factor::Plain(&x));
                    transform.write_sequence(&product, y);
                }
            }
            Ok(())
        })
    }

    fn project_backward(
        &self,
        synapses: &Synapses,
        kernel: &K,
        params: SynapseParams<'_, Vec<R>>,
        x: &Sequence<R>,
        d_y: &Sequence<R>,
        gradients: SynapseGradients<'_, Vec<R>>,
        d_x: Option<&mut Sequence<R>>,
    ) -> Result<(), Error> {
        synapses.check(x.shape(), d_y.shape())?;
        if let Some(d_x) = &d_x {
            same("projection's input gradient", x.shape(), d_x.shape())?;
        }
        let params = Parameters::new(synapses, &params)?;
        let SynapseGradients { weights, delays, sigma } = gradients;
        let gradients = [weights.slice()?, delays.slice()?, sigma.slice()?];
        check_parameters(synapses, gradients[0], gradients[1], gradients[2])?;
        expect("projection's sigma gradient", params.sigma.len(), gradients[2].len())?;
        let scratch = self.scratch();
        self.install(|| {
            let mut d_taps = scratch.block((synapses.outputs, synapses.inputs, synapses.taps));
            if is_empty(synapses, x) {
                d_taps.values_mut().fill(R::zero());
                if let Some(d_x) = d_x {
                    d_x.clear();
                }
            } else {
                let taps = || params.taps(scratch, synapses, kernel);
                match self.algorithm(synapses, x) {
                    Algorithm::Dense => {
                        if let Some(d_x) = d_x {
                            dense::by_input(synapses, &taps()?, d_y, d_x);
                        }
                        dense::by_taps(x, d_y, &mut d_taps);
                    }
                    Algorithm::Frequency => {
                        let transform = Transform::new(period(synapses, x.shape().steps), scratch);
                        let upstream = transform.sequence(d_y);
                        let upstream = Factor::Plain(&upstream);
                        if let Some(d_x) = d_x {
                            let weights = transform.taps(&taps()?);
                            let product = product(scratch, &Factor::Adjoint(&weights), &upstream);
                            transform.write_sequence(&product, d_x);
                        }
                        let x = transform.sequence(x);
                        let product = product(scratch, &upstream, &Factor::Adjoint(&x));
                        transform.write_taps(&product, &mut d_taps);
                    }
                }
            }
            params.backward(synapses, kernel, d_taps.values(), gradients);
            Ok(())
        })
    }
}

/// Zeroes the far tails of bumps: subnormal numbers, and products that are, slow a matrix product down by a factor of 50.
fn flush<R: Real>(taps: &mut [R]) {
    let least = R::min_positive_value().sqrt();
    for tap in taps {
        if tap.abs() < least {
            *tap = R::zero();
        }
    }
}

/// Whether no input reaches any output.
fn is_empty<R: Real>(synapses: &Synapses, x: &Sequence<R>) -> bool {
    x.shape().is_empty() || synapses.weights() * synapses.taps == 0
}

impl<R: Real> Cpu<R> {
    fn algorithm(&self, synapses: &Synapses, x: &Sequence<R>) -> Algorithm {
        self.forced().unwrap_or_else(|| Algorithm::of(synapses, x.shape().steps, x.shape().batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polychron_core::delay::Gauss;

    #[test]
    fn tails_of_bumps_are_zero_or_far_from_subnormal() {
        let synapses = Synapses::new(1, 1, 400);
        let params = Parameters { weights: &[0.1f32], delays: &[200.0], sigma: &[6.0] };
        let taps = params.taps(&Scratch::default(), &synapses, &Gauss).unwrap();
        assert!(taps.values().iter().all(|&x| x == 0.0 || x > 1e-20));
        assert!((taps.values().iter().sum::<f32>() - 0.1).abs() < 1e-6);
    }
}
