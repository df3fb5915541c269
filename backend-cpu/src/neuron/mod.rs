mod passes;

use crate::backend::{Cpu, Error};
use crate::lanes::{Lanes, vectorize};
use crate::norm::{NeuronNorm, Norm, StepCounts};
use crate::recurrent::{Chunk, chunk_backward, chunk_forward};
use crate::sequence::Sequence;
use crate::stages::Stages;
use crate::stream::{Affine, StreamNeurons, stream_neurons};
use passes::{Replay, backward_block, numbers_of, spikes_of};
use polychron_core::backend::{Firing, NeuronStage};
use polychron_core::neuron::{ErasedNeuron, Neuron};
use polychron_core::num::Real;
use polychron_core::shape::{Shape, ShapeError, expect};
use polychron_core::surrogate::{Surrogate, step};
use rayon::prelude::*;
use std::any::Any;
use std::borrow::Cow;

/// A neuron stage with checked blocks, together with the normalisation of its input.
#[doc(hidden)]
pub struct Stage<'a, R: Real> {
    /// One neuron for all, or one for each.
    neurons: Vec<Box<dyn NeuronPasses<R>>>,
    /// Their raw parameters `[P, sets]`.
    raw: &'a [R],
    surrogate: &'a dyn Surrogate<R>,
    pub(crate) firing: Firing<'a, Sequence<R>>,
    mask: Option<&'a [R]>,
    pub(crate) step_counts: StepCounts<R>,
    norm: Norm<'a, R>,
    input: &'a Sequence<R>,
    /// The states `[S, batch, width]` before the first step; `None` for neurons at rest.
    pub(crate) start: Option<&'a [R]>,
    /// Whether the states after the last step are wanted.
    keeps_states: bool,
}

impl<'a, R: Lanes> Stage<'a, R> {
    pub(crate) fn new(
        stage: &NeuronStage<'a, Cpu<R>>,
        norm: Norm<'a, R>,
        input: &'a Sequence<R>,
    ) -> Result<Self, ShapeError> {
        let shape = input.shape();
        let mask = stage.mask.map(Vec::as_slice);
        if let Some(mask) = mask {
            expect("dropout mask", shape.batch * shape.width, mask.len())?;
        }
        if let Firing::SmoothHeld(held) | Firing::Frozen(held) = stage.firing {
            shape.expect("recorded spikes", held.shape())?;
        }
        let start = stage.start.map(Vec::as_slice);
        if let Some(start) = start {
            let states = Shape { steps: stage.neuron.state_count(), ..shape };
            expect("neurons' first states", states.len(), start.len())?;
        }
        let (sets, raw) = (stage.sets(shape.width)?, stage.params.slice()?);
        Ok(Self {
            neurons: (0..sets).map(|n| stage.neuron.0.with_raw(raw, sets, n)).collect(),
            raw,
            surrogate: &**stage.surrogate,
            firing: stage.firing,
            mask,
            step_counts: StepCounts::new(stage.valid, shape),
            norm,
            input,
            start,
            keeps_states: false,
        })
    }

    /// Runs the neurons forward and returns the normalisation of each. `end`, if given, receives
    /// the states `[S, batch, width]` after the last step.
    pub(crate) fn forward(
        mut self,
        cpu: &Cpu<R>,
        spikes: &mut Sequence<R>,
        end: Option<&mut [R]>,
    ) -> Result<Vec<NeuronNorm<R>>, Error> {
        let shape = self.input.shape();
        shape.expect("neurons' output", spikes.shape())?;
        if let Some(end) = &end {
            let states = Shape { steps: self.neuron(0).state_count(), ..shape };
            expect("neurons' last states", states.len(), end.len())?;
        }
        self.keeps_states = end.is_some();
        if self.spikes_are_steps(self.neuron(0).can_fire()) && !self.input.shape().is_empty() {
            spikes.make_spikes()?;
        }
        let neurons = R::neurons_forward(cpu, &self, spikes);
        if let Some(end) = end {
            for (n, (_, states)) in neurons.iter().enumerate() {
                let places = end.iter_mut().skip(n).step_by(shape.width);
                places.zip(states).for_each(|(to, &state)| *to = state);
            }
        }
        Ok(neurons.into_iter().map(|(norm, _)| norm).collect())
    }

    /// Runs the neurons backward and, with `through_norm`, the normalisation too. `d` holds the
    /// gradient by the output and receives the gradient by the input. Returns the gradients by
    /// gamma and beta of every neuron.
    pub(crate) fn backward(
        &self,
        cpu: &Cpu<R>,
        through_norm: bool,
        d: &mut Sequence<R>,
        d_params: &mut [R],
    ) -> Result<Vec<(R, R)>, ShapeError> {
        self.input.shape().expect("neurons' output gradient", d.shape())?;
        let raw = self.neurons.len() * self.neuron(0).param_count();
        expect("neurons' parameters", raw, d_params.len())?;
        Ok(R::neurons_backward(cpu, self, through_norm, d, d_params))
    }
}

impl<R: Real> Stage<'_, R> {
    fn neuron(&self, n: usize) -> &dyn NeuronPasses<R> {
        &**self.neurons.get(n).unwrap_or(&self.neurons[0])
    }

    /// The number of components of a state.
    pub(crate) fn state_count(&self) -> usize {
        self.neuron(0).state_count()
    }

    /// The number of raw parameters of all neurons.
    pub(crate) fn param_len(&self) -> usize {
        self.neurons.len() * self.neuron(0).param_count()
    }

    /// Whether every output is the step of an excess.
    pub(crate) fn fires_steps(&self) -> bool {
        matches!(self.firing, Firing::Step) && self.neuron(0).can_fire()
    }

    /// Whether step `t` of sample `b` is valid.
    pub(crate) fn is_valid(&self, t: usize, b: usize) -> bool {
        R::count(t) < self.step_counts.counts[b]
    }

    /// Runs recurrent neurons forward.
    pub(crate) fn run_forward(&self, chunk: &mut Chunk<'_, R>) {
        self.neuron(0).recurrent_forward(self.raw, self.neurons.len(), chunk);
    }

    /// Runs recurrent neurons backward. Returns the gradients `[neuron][P]`.
    pub(crate) fn run_backward(&self, chunk: &mut Chunk<'_, R>) -> Vec<R> {
        self.neuron(0).recurrent_backward(self.raw, self.neurons.len(), chunk)
    }

    /// Adds gradients `[neuron][P]` to those by the raw parameters.
    pub(crate) fn add_params(&self, part: &[R], d_params: &mut [R]) {
        let (sets, count) = (self.neurons.len(), self.neuron(0).param_count());
        for (n, part) in part.chunks_exact(count.max(1)).enumerate() {
            let set = d_params.iter_mut().skip(n % sets).step_by(sets);
            set.zip(part).for_each(|(to, &d)| *to += d);
        }
    }
}

impl<R: Stages> Stage<'_, R> {
    /// The normalisation of neuron `n`.
    fn neuron_norm(&self, n: usize) -> NeuronNorm<R> {
        vectorize(
            #[inline(always)]
            || self.norm.of(n, &self.step_counts, self.input),
        )
    }

    /// The recorded spikes `[time][batch]` of neuron `n`; empty if none are recorded.
    fn recorded(&self, n: usize) -> Cow<'_, [R]> {
        match self.firing {
            Firing::SmoothHeld(spikes) | Firing::Frozen(spikes) => spikes.block(n),
            Firing::Step | Firing::Smooth => Cow::default(),
        }
    }

    /// Turns the excess of a neuron at step `t` into its output spikes, and writes the spikes that
    /// reset its state.
    #[inline(always)]
    pub(crate) fn fire(
        &self,
        fires: bool,
        recorded: &[R],
        t: usize,
        excess: &mut [R],
        reset_spikes: &mut [R],
    ) {
        let recorded = || &recorded[t * excess.len()..][..excess.len()];
        if !fires {
            excess.fill(R::zero());
            reset_spikes.fill(R::zero());
            return;
        }
        match self.firing {
            Firing::Step => {
                for (excess, reset_spike) in excess.iter_mut().zip(reset_spikes) {
                    *excess = step(*excess);
                    *reset_spike = *excess;
                }
            }
            Firing::Smooth => {
                self.surrogate.primitives(excess);
                reset_spikes.copy_from_slice(excess);
            }
            Firing::SmoothHeld(_) => {
                reset_spikes.copy_from_slice(recorded());
                self.surrogate.primitives(excess);
            }
            Firing::Frozen(_) => {
                reset_spikes.copy_from_slice(recorded());
                excess.copy_from_slice(reset_spikes);
            }
        }
    }

    /// Whether every spike, of the output and of the reset, is the step of its excess.
    pub(crate) fn spikes_are_steps(&self, fires: bool) -> bool {
        fires && matches!(self.firing, Firing::Step)
    }

    /// Turns the excess into the derivatives of the spikes.
    pub(crate) fn slopes(&self, fires: bool, excess: &mut [R]) {
        if !fires || matches!(self.firing, Firing::Frozen(_)) {
            excess.fill(R::zero());
        } else {
            self.surrogate.derivatives(excess);
        }
    }

    /// The factors `[batch]` of the outputs of neuron `n` at valid steps: its dropout mask.
    pub(crate) fn gate(&self, n: usize) -> Vec<R> {
        let Shape { batch, width, .. } = self.input.shape();
        (0..batch).map(|b| self.mask.map_or(R::one(), |mask| mask[b * width + n])).collect()
    }
}

/// The passes over the block `[time][batch]` of one neuron. The rest of a stage is compiled once
/// for all neuron models.
pub(crate) trait NeuronPasses<R: Real>: ErasedNeuron<R> + Send + Sync {
    /// [`Neuron::with_set`]
    fn with_raw(&self, raw: &[R], sets: usize, n: usize) -> Box<dyn NeuronPasses<R>>;
    /// The neurons of a layer in a stream, behind a norm, with raw parameters `[P, sets]` and, if
    /// they do not start at rest, the states `[S, width]` before the first step.
    fn stream(
        &self,
        raw: &[R],
        sets: usize,
        norm: Vec<Affine<R>>,
        start: Vec<R>,
    ) -> Box<dyn StreamNeurons<R>>;
    /// [`Neuron::fires`]
    fn can_fire(&self) -> bool;
    /// Writes the spikes of neuron `n`, 0 or 1: the steps of the excess. Returns the last states
    /// `[S, batch]` if the stage keeps them.
    fn write_spikes(
        &self,
        stage: &Stage<'_, R>,
        n: usize,
        x: &[R],
        norm: &NeuronNorm<R>,
        fired: &mut [u8],
    ) -> Vec<R>;
    /// Writes the output of neuron `n`. Returns the last states as
    /// [`write_spikes`](Self::write_spikes) does.
    fn write_numbers(
        &self,
        stage: &Stage<'_, R>,
        n: usize,
        x: &[R],
        norm: &NeuronNorm<R>,
        to: &mut [R],
    ) -> Vec<R>;
    /// Runs the neurons of a recurrent layer forward, with raw parameters `[P, sets]`.
    fn recurrent_forward(&self, raw: &[R], sets: usize, chunk: &mut Chunk<'_, R>);
    /// Runs the neurons of a recurrent layer backward. Returns the gradients `[neuron][P]`.
    fn recurrent_backward(&self, raw: &[R], sets: usize, chunk: &mut Chunk<'_, R>) -> Vec<R>;
    /// Allocates the working memory of [`NeuronPasses::backward`].
    fn memory(&self) -> Box<dyn Any + Send>;
    /// Turns the gradient by the output of neuron `n` into the gradient by its input. Returns the
    /// gradients by the raw parameters and by gamma and beta of the norm.
    fn backward(
        &self,
        stage: &Stage<'_, R>,
        n: usize,
        x: &[R],
        norm: &NeuronNorm<R>,
        d: &mut [R],
        memory: &mut dyn Any,
    ) -> (Vec<R>, (R, R));
}

impl<R: Lanes, N: Neuron<Real = R>> NeuronPasses<R> for N {
    fn with_raw(&self, raw: &[R], sets: usize, n: usize) -> Box<dyn NeuronPasses<R>> {
        Box::new(self.with_set(raw, sets, n))
    }

    fn stream(
        &self,
        raw: &[R],
        sets: usize,
        norm: Vec<Affine<R>>,
        start: Vec<R>,
    ) -> Box<dyn StreamNeurons<R>> {
        stream_neurons((0..sets).map(|n| self.with_set(raw, sets, n)).collect(), norm, start)
    }

    fn can_fire(&self) -> bool {
        self.fires()
    }

    fn write_spikes(
        &self,
        stage: &Stage<'_, R>,
        n: usize,
        x: &[R],
        norm: &NeuronNorm<R>,
        fired: &mut [u8],
    ) -> Vec<R> {
        vectorize(
            #[inline(always)]
            || spikes_of(stage, self, n, x, norm, fired),
        )
    }

    fn write_numbers(
        &self,
        stage: &Stage<'_, R>,
        n: usize,
        x: &[R],
        norm: &NeuronNorm<R>,
        to: &mut [R],
    ) -> Vec<R> {
        vectorize(
            #[inline(always)]
            || numbers_of(stage, self, n, x, norm, to),
        )
    }

    fn recurrent_forward(&self, raw: &[R], sets: usize, chunk: &mut Chunk<'_, R>) {
        let neurons: Vec<N> = (0..sets).map(|n| self.with_set(raw, sets, n)).collect();
        chunk_forward(&neurons, chunk);
    }

    fn recurrent_backward(&self, raw: &[R], sets: usize, chunk: &mut Chunk<'_, R>) -> Vec<R> {
        let neurons: Vec<N> = (0..sets).map(|n| self.with_set(raw, sets, n)).collect();
        let by_neuron = chunk_backward(&neurons, chunk);
        by_neuron.iter().flat_map(|params| params.as_ref().to_vec()).collect()
    }

    fn memory(&self) -> Box<dyn Any + Send> {
        Box::new(Replay::<N::State, R>::new())
    }

    fn backward(
        &self,
        stage: &Stage<'_, R>,
        n: usize,
        x: &[R],
        norm: &NeuronNorm<R>,
        d: &mut [R],
        memory: &mut dyn Any,
    ) -> (Vec<R>, (R, R)) {
        let mut fresh = Replay::new();
        let replay = memory.downcast_mut::<Replay<N::State, R>>().unwrap_or(&mut fresh);
        let (by_params, by_norm) = vectorize(
            #[inline(always)]
            || backward_block(stage, self, n, x, norm, d, replay),
        );
        (by_params.as_ref().to_vec(), by_norm)
    }
}

pub(crate) fn forward<R: Stages>(
    cpu: &Cpu<R>,
    stage: &Stage<'_, R>,
    spikes: &mut Sequence<R>,
) -> Vec<(NeuronNorm<R>, Vec<R>)> {
    cpu.install(|| {
        let width = stage.input.shape().width;
        if stage.input.shape().is_empty() {
            let states =
                |n| stage.neuron(n).write_numbers(stage, n, &[], &stage.neuron_norm(n), &mut []);
            return (0..width).map(|n| (stage.neuron_norm(n), states(n))).collect();
        }
        if stage.spikes_are_steps(stage.neuron(0).can_fire()) {
            let neurons = spikes.spikes_mut().enumerate().map(|(n, (fired, gate))| {
                gate.copy_from_slice(&stage.gate(n));
                let (block, norm) = (stage.input.block(n), stage.neuron_norm(n));
                let states = stage.neuron(n).write_spikes(stage, n, &block, &norm, fired);
                (norm, states)
            });
            return neurons.collect();
        }
        let neurons = spikes.blocks_mut().enumerate().map(|(n, to)| {
            let (block, norm) = (stage.input.block(n), stage.neuron_norm(n));
            let states = stage.neuron(n).write_numbers(stage, n, &block, &norm, to);
            (norm, states)
        });
        neurons.collect()
    })
}

pub(crate) fn backward<R: Stages>(
    cpu: &Cpu<R>,
    stage: &Stage<'_, R>,
    through_norm: bool,
    d: &mut Sequence<R>,
    d_params: &mut [R],
) -> Vec<(R, R)> {
    cpu.install(|| {
        d_params.fill(R::zero());
        if stage.input.shape().is_empty() {
            return vec![(R::zero(), R::zero()); stage.input.shape().width];
        }
        if let Some(numbers) = d.to_dense() {
            *d = numbers;
        }
        let backward = |memory: &mut Box<dyn Any + Send>, (n, d): (usize, &mut [R])| {
            let (block, norm) = (stage.input.block(n), stage.neuron_norm(n));
            let memory = memory.as_mut();
            let (by_params, by_norm) = stage.neuron(n).backward(stage, n, &block, &norm, d, memory);
            if through_norm {
                vectorize(
                    #[inline(always)]
                    || norm.backward_from(by_norm, &stage.step_counts, &block, d),
                );
            }
            (by_params, by_norm)
        };
        let neurons = d.blocks_mut().enumerate();
        let gradients: Vec<_> = neurons.map_init(|| stage.neuron(0).memory(), backward).collect();
        let sets = stage.neurons.len();
        for (n, (by_params, _)) in gradients.iter().enumerate() {
            let set = d_params.iter_mut().skip(n % sets).step_by(sets);
            set.zip(by_params).for_each(|(to, &d)| *to += d);
        }
        gradients.into_iter().map(|(_, by_norm)| by_norm).collect()
    })
}
