//! Recurrent layers: one step after the other, [`LANES`] samples at a time, each group of samples
//! on its own. All steps before the shortest delay are computed together.

mod gradients;
mod passes;
mod product;
mod wiring;

use crate::backend::{Cpu, Error};
use crate::lanes::{Lanes, vectorize};
use crate::neuron::Stage;
use crate::norm::Norm;
use crate::projection::{KernelPasses, Parameters};
use crate::scratch::{Block, Scratch};
use crate::sequence::Sequence;
pub(crate) use passes::Chunk;
use passes::gather;
pub(crate) use passes::{backward as chunk_backward, forward as chunk_forward};
use polychron_core::backend::{
    Firing, NeuronStage, RecurrentGradients, RecurrentStage, SynapseGradients,
};
use polychron_core::delay::{Rounding, check_parameters};
use polychron_core::shape::{Shape, expect};
pub(crate) use product::MultiplyActive;
use rayon::prelude::*;
use wiring::{Places, Wiring};

/// Samples that are computed together.
const LANES: usize = 16;

/// Checked recurrent synapses.
struct Synaptic<'a, R: Lanes> {
    stage: &'a RecurrentStage<'a, Cpu<R>>,
    kernel: &'a dyn KernelPasses<R>,
    params: Parameters<'a, R>,
    mask: Option<&'a [R]>,
    shape: Shape,
}

impl<R: Lanes> Synaptic<'_, R> {
    fn places(&self) -> Places<'_> {
        let RecurrentStage { synapses, place, spread, .. } = *self.stage;
        (synapses, place, spread)
    }

    fn wiring(&self, cpu: &Cpu<R>) -> Wiring<R> {
        Wiring::new(cpu.scratch(), self.places(), self.kernel, &self.params)
    }

    /// A chunk of samples with the mask, and the recorded and earlier spikes.
    fn chunk<'c>(
        &self,
        scratch: &Scratch<R>,
        stage: &'c Stage<'c, R>,
        wiring: &'c Wiring<R>,
        n: usize,
        input: &Sequence<R>,
    ) -> Chunk<'c, R> {
        let Shape { batch, width, .. } = self.shape;
        let samples = n * LANES..batch.min((n + 1) * LANES);
        let mut mask = vec![R::zero(); width * LANES];
        for (n, row) in mask.chunks_exact_mut(LANES).enumerate() {
            for (x, b) in row.iter_mut().zip(samples.clone()) {
                *x = self.mask.map_or(R::one(), |mask| mask[b * width + n]);
            }
        }
        let of = |from| gather(scratch, from, samples.clone()).values().to_vec();
        let recorded = match stage.firing {
            Firing::SmoothHeld(held) | Firing::Frozen(held) => of(held),
            Firing::Step | Firing::Smooth => Vec::new(),
        };
        let before = self.stage.before.map(of);
        Chunk {
            stage,
            wiring,
            mask,
            input: gather(scratch, input, samples.clone()),
            recorded,
            spikes: scratch.block((0, 0, 0)),
            before: before.unwrap_or_default(),
            end: Vec::new(),
            samples,
        }
    }
}

/// Calls `f` with the checked synapses.
fn with_checked<R: Lanes, T>(
    stage: &RecurrentStage<'_, Cpu<R>>,
    shape: Shape,
    f: impl FnOnce(&Synaptic<'_, R>) -> Result<T, Error>,
) -> Result<T, Error> {
    stage.check(shape)?;
    let rounded = stage.params.rounding.map(Rounding::kernel);
    let kernel: &dyn KernelPasses<R> = match &rounded {
        Some(rounded) => rounded,
        None => &**stage.kernel,
    };
    let params = Parameters::new(stage.synapses, &stage.params)?;
    let mask = stage.mask.map(Vec::as_slice);
    if let Some(mask) = mask {
        expect("recurrent dropout mask", shape.batch * shape.width, mask.len())?;
    }
    if let Some(before) = stage.before {
        let past = Shape { steps: stage.synapses.taps, ..shape };
        past.expect("spikes before", before.shape())?;
    }
    f(&Synaptic { stage, kernel, params, mask, shape })
}

pub(crate) fn forward<R: Lanes>(
    cpu: &Cpu<R>,
    recurrent: &RecurrentStage<'_, Cpu<R>>,
    neurons: &NeuronStage<'_, Cpu<R>>,
    x: &Sequence<R>,
    [input, fired, spikes]: [&mut Sequence<R>; 3],
    end: Option<&mut Vec<R>>,
) -> Result<(), Error> {
    let shape = x.shape();
    shape.expect("recurrent input", input.shape())?;
    shape.expect("recurrent spikes", fired.shape())?;
    shape.expect("neurons' output", spikes.shape())?;
    let stage = Stage::new(neurons, Norm::Identity, x)?;
    let states = Shape { steps: stage.state_count(), ..shape }.len();
    if let Some(end) = &end {
        expect("neurons' last states", states, end.len())?;
    }
    with_checked(recurrent, shape, |synaptic| {
        cpu.install(|| {
            let wiring = synaptic.wiring(cpu);
            let run = |n: usize| {
                let mut chunk = synaptic.chunk(cpu.scratch(), &stage, &wiring, n, x);
                chunk.spikes = cpu.scratch().block((shape.steps, shape.width, LANES));
                let states = if end.is_some() { stage.state_count() } else { 0 };
                chunk.end = vec![R::zero(); states * shape.width * LANES];
                stage.run_forward(&mut chunk);
                chunk
            };
            let chunks: Vec<_> =
                (0..shape.batch.div_ceil(LANES)).into_par_iter().map(run).collect();
            scatter(&chunks, |chunk| &chunk.input, input);
            if stage.fires_steps() && !shape.is_empty() {
                for to in [&mut *fired, &mut *spikes] {
                    to.make_spikes()?;
                }
                fired.spikes_mut().zip(spikes.spikes_mut()).enumerate().for_each(
                    |(n, ((fired, ones), (spikes, gate)))| {
                        ones.fill(R::one());
                        gate.copy_from_slice(&stage.gate(n));
                        let row = |chunk: &Chunk<'_, R>, t, at| {
                            let to = t * shape.batch + chunk.samples.start;
                            let to = to..to + chunk.samples.len();
                            let spiked = chunk.spikes.values()[at..]
                                .iter()
                                .map(|x| u8::from(*x > R::zero()));
                            let both = fired[to.clone()].iter_mut().zip(&mut spikes[to]);
                            let ends = &stage.step_counts.counts[chunk.samples.clone()];
                            for (((fired, spike), now), &end) in both.zip(spiked).zip(ends) {
                                *fired = now;
                                *spike = now & u8::from(R::count(t) < end);
                            }
                        };
                        vectorize(
                            #[inline(always)]
                            || each_row(&chunks, shape, n, row),
                        );
                    },
                );
            } else {
                scatter(&chunks, |chunk| &chunk.spikes, fired);
                spikes.blocks_mut().enumerate().for_each(|(n, to)| {
                    let gate = stage.gate(n);
                    each_row(&chunks, shape, n, |chunk, t, at| {
                        for (b, &spike) in chunk.samples.clone().zip(&chunk.spikes.values()[at..]) {
                            let gate = if stage.is_valid(t, b) { gate[b] } else { R::zero() };
                            to[t * shape.batch + b] = spike * gate;
                        }
                    });
                });
            }
            if let Some(end) = end {
                for chunk in &chunks {
                    for (n, row) in chunk.end.chunks_exact(LANES).enumerate() {
                        let (s, n) = (n / shape.width, n % shape.width);
                        for (b, &state) in chunk.samples.clone().zip(row) {
                            end[(s * shape.batch + b) * shape.width + n] = state;
                        }
                    }
                }
            }
            Ok(())
        })
    })
}

pub(crate) fn backward<R: Lanes>(
    cpu: &Cpu<R>,
    recurrent: &RecurrentStage<'_, Cpu<R>>,
    neurons: &NeuronStage<'_, Cpu<R>>,
    [input, fired]: [&Sequence<R>; 2],
    d: &mut Sequence<R>,
    gradients: RecurrentGradients<'_, Vec<R>>,
) -> Result<(), Error> {
    let shape = input.shape();
    shape.expect("recurrent spikes", fired.shape())?;
    shape.expect("neurons' output gradient", d.shape())?;
    let RecurrentGradients { synapses: mut by_synapse, neuron } = gradients;
    let SynapseGradients { weights, delays, sigma } = by_synapse.reborrow();
    let (weights, delays, sigma) = (weights.slice()?, delays.slice()?, sigma.slice()?);
    check_parameters(recurrent.synapses, weights, delays, sigma)?;
    expect("recurrent sigma gradient", recurrent.params.sigma.range.len(), sigma.len())?;
    let stage = Stage::new(neurons, Norm::Identity, input)?;
    let by_neuron = neuron.slice()?;
    expect("neurons' parameters", stage.param_len(), by_neuron.len())?;
    with_checked(recurrent, shape, |synaptic| {
        cpu.install(|| {
            let wiring = synaptic.wiring(cpu).transposed(synaptic.params.weights);
            let run = |n: usize| {
                let mut chunk = synaptic.chunk(cpu.scratch(), &stage, &wiring, n, input);
                chunk.before = Vec::new();
                chunk.spikes = gather(cpu.scratch(), d, chunk.samples.clone());
                gate(&stage, &mut chunk, shape);
                let by_neuron = stage.run_backward(&mut chunk);
                (chunk, by_neuron)
            };
            let chunks: Vec<_> =
                (0..shape.batch.div_ceil(LANES)).into_par_iter().map(run).collect();
            by_neuron.fill(R::zero());
            for (_, part) in &chunks {
                stage.add_params(part, by_neuron);
            }
            let chunks: Vec<_> = chunks.into_iter().map(|(chunk, _)| chunk).collect();
            scatter(&chunks, |chunk| &chunk.spikes, d);
            drop(chunks);
            gradients::write(cpu, synaptic, fired, d, by_synapse)
        })
    })
}

/// Multiplies the gradient by the output by the dropout mask at valid steps, by 0 elsewhere.
fn gate<R: Lanes>(stage: &Stage<'_, R>, chunk: &mut Chunk<'_, R>, shape: Shape) {
    for n in 0..shape.width {
        let gate = stage.gate(n);
        for t in 0..shape.steps {
            let row = &mut chunk.spikes.values_mut()[(t * shape.width + n) * LANES..][..LANES];
            for (d, b) in row.iter_mut().zip(chunk.samples.clone()) {
                *d *= if stage.is_valid(t, b) { gate[b] } else { R::zero() };
            }
        }
    }
}

/// Calls `f` with the chunk, the step and the index of the row of every sample of neuron `n`.
#[inline(always)]
fn each_row<R: Lanes>(
    chunks: &[Chunk<'_, R>],
    shape: Shape,
    n: usize,
    mut f: impl FnMut(&Chunk<'_, R>, usize, usize),
) {
    for chunk in chunks {
        (0..shape.steps).for_each(|t| f(chunk, t, (t * shape.width + n) * LANES));
    }
}

/// Copies the blocks of all chunks to a sequence.
fn scatter<R: Lanes>(
    chunks: &[Chunk<'_, R>],
    block: impl for<'c> Fn(&'c Chunk<'_, R>) -> &'c Block<R> + Sync,
    to: &mut Sequence<R>,
) {
    let shape = to.shape();
    to.blocks_mut().enumerate().for_each(|(n, to)| {
        each_row(chunks, shape, n, |chunk, t, at| {
            let values = &block(chunk).values()[at..at + chunk.samples.len()];
            to[t * shape.batch + chunk.samples.start..][..values.len()].copy_from_slice(values);
        });
    });
}
