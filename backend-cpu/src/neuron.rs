use crate::backend::{Cpu, Error};
use crate::lanes::{Lanes, fetch, vectorize};
use crate::norm::{NeuronNorm, Norm, StepCounts, rows, rows_mut};
use crate::sequence::{Sequence, same};
use crate::stages::Stages;
use crate::stream::{Affine, StreamNeurons, stream_neurons};
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
    surrogate: &'a dyn Surrogate<R>,
    firing: Firing<'a, Sequence<R>>,
    mask: Option<&'a [R]>,
    step_counts: StepCounts<R>,
    norm: Norm<'a, R>,
    input: &'a Sequence<R>,
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
            same("recorded spikes", shape, held.shape())?;
        }
        let (sets, raw) = (stage.sets(shape.width)?, stage.params.slice()?);
        Ok(Self {
            neurons: (0..sets).map(|n| stage.neuron.0.with_raw(raw, sets, n)).collect(),
            surrogate: &**stage.surrogate,
            firing: stage.firing,
            mask,
            step_counts: StepCounts::new(stage.valid, shape),
            norm,
            input,
        })
    }

    /// Runs the neurons forward and returns the normalisation of each.
    pub(crate) fn forward(
        &self,
        cpu: &Cpu<R>,
        spikes: &mut Sequence<R>,
    ) -> Result<Vec<NeuronNorm<R>>, Error> {
        same("neurons' output", self.input.shape(), spikes.shape())?;
        if self.spikes_are_steps(self.neuron(0).can_fire()) && !self.input.shape().is_empty() {
            spikes.make_spikes()?;
        }
        Ok(R::neurons_forward(cpu, self, spikes))
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
        same("neurons' output gradient", self.input.shape(), d.shape())?;
        let raw = self.neurons.len() * self.neuron(0).param_count();
        expect("neurons' parameters", raw, d_params.len())?;
        Ok(R::neurons_backward(cpu, self, through_norm, d, d_params))
    }
}

impl<R: Real> Stage<'_, R> {
    fn neuron(&self, n: usize) -> &dyn NeuronPasses<R> {
        &**self.neurons.get(n).unwrap_or(&self.neurons[0])
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
    fn fire(
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
    fn spikes_are_steps(&self, fires: bool) -> bool {
        fires && matches!(self.firing, Firing::Step)
    }

    /// Turns the excess into the derivatives of the spikes.
    fn slopes(&self, fires: bool, excess: &mut [R]) {
        if !fires || matches!(self.firing, Firing::Frozen(_)) {
            excess.fill(R::zero());
        } else {
            self.surrogate.derivatives(excess);
        }
    }

    /// The factors `[batch]` of the outputs of neuron `n` at valid steps: its dropout mask.
    fn gate(&self, n: usize) -> Vec<R> {
        let Shape { batch, width, .. } = self.input.shape();
        (0..batch).map(|b| self.mask.map_or(R::one(), |mask| mask[b * width + n])).collect()
    }
}

/// The passes over the block `[time][batch]` of one neuron. The rest of a stage is compiled once
/// for all neuron models.
pub(crate) trait NeuronPasses<R: Real>: ErasedNeuron<R> + Send + Sync {
    /// [`Neuron::with_set`]
    fn with_raw(&self, raw: &[R], sets: usize, n: usize) -> Box<dyn NeuronPasses<R>>;
    /// The neurons of a layer in a stream, behind a norm, with raw parameters `[P, sets]`.
    fn stream(&self, raw: &[R], sets: usize, norm: Vec<Affine<R>>) -> Box<dyn StreamNeurons<R>>;
    /// [`Neuron::fires`]
    fn can_fire(&self) -> bool;
    /// Writes the spikes, 0 or 1: the steps of the excess.
    fn write_spikes(&self, stage: &Stage<'_, R>, x: &[R], norm: &NeuronNorm<R>, fired: &mut [u8]);
    /// Writes the output of neuron `n`.
    fn write_numbers(
        &self,
        stage: &Stage<'_, R>,
        n: usize,
        x: &[R],
        norm: &NeuronNorm<R>,
        to: &mut [R],
    );
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

impl<R: Stages, N: Neuron<Real = R>> NeuronPasses<R> for N {
    fn with_raw(&self, raw: &[R], sets: usize, n: usize) -> Box<dyn NeuronPasses<R>> {
        Box::new(self.with_set(raw, sets, n))
    }

    fn stream(&self, raw: &[R], sets: usize, norm: Vec<Affine<R>>) -> Box<dyn StreamNeurons<R>> {
        stream_neurons((0..sets).map(|n| self.with_set(raw, sets, n)).collect(), norm)
    }

    fn can_fire(&self) -> bool {
        self.fires()
    }

    fn write_spikes(&self, stage: &Stage<'_, R>, x: &[R], norm: &NeuronNorm<R>, fired: &mut [u8]) {
        vectorize(
            #[inline(always)]
            || spikes_of(stage, self, x, norm, fired),
        );
    }

    fn write_numbers(
        &self,
        stage: &Stage<'_, R>,
        n: usize,
        x: &[R],
        norm: &NeuronNorm<R>,
        to: &mut [R],
    ) {
        vectorize(
            #[inline(always)]
            || numbers_of(stage, self, n, x, norm, to),
        );
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
) -> Vec<NeuronNorm<R>> {
    cpu.install(|| {
        if stage.input.shape().is_empty() {
            return (0..stage.input.shape().width).map(|n| stage.neuron_norm(n)).collect();
        }
        if stage.spikes_are_steps(stage.neuron(0).can_fire()) {
            let neurons = spikes.spikes_mut().enumerate().map(|(n, (fired, gate))| {
                gate.copy_from_slice(&stage.gate(n));
                let (block, norm) = (stage.input.block(n), stage.neuron_norm(n));
                stage.neuron(n).write_spikes(stage, &block, &norm, fired);
                norm
            });
            return neurons.collect();
        }
        let neurons = spikes.blocks_mut().enumerate().map(|(n, to)| {
            let (block, norm) = (stage.input.block(n), stage.neuron_norm(n));
            stage.neuron(n).write_numbers(stage, n, &block, &norm, to);
            norm
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

/// Writes the spikes of one neuron over time, the steps of its excess. Lanes are samples.
#[inline(always)]
fn spikes_of<R: Stages, N: Neuron<Real = R>>(
    stage: &Stage<'_, R>,
    neuron: &N,
    inputs: &[R],
    norm: &NeuronNorm<R>,
    fired: &mut [u8],
) {
    let batch = stage.input.shape().batch;
    let mut states = vec![neuron.rest(); batch];
    let (states, step_counts) = (&mut states[..batch], &stage.step_counts.counts[..batch]);
    for (t, (inputs, fired)) in rows(inputs, batch).zip(rows_mut(fired, batch)).enumerate() {
        let (inputs, fired, time) = (&inputs[..batch], &mut fired[..batch], R::count(t));
        for b in 0..batch {
            let charged = neuron.charge(states[b], norm.apply(inputs[b]));
            let spike = step(neuron.excess(charged));
            states[b] = neuron.reset(charged, spike);
            fired[b] = u8::from((spike > R::zero()) & (time < step_counts[b]));
        }
    }
}

/// Writes the output of one neuron over time. Lanes are samples.
#[inline(always)]
fn numbers_of<R: Stages, N: Neuron<Real = R>>(
    stage: &Stage<'_, R>,
    neuron: &N,
    n: usize,
    inputs: &[R],
    norm: &NeuronNorm<R>,
    to: &mut [R],
) {
    let batch = stage.input.shape().batch;
    let (gate, recorded) = (stage.gate(n), stage.recorded(n));
    let mut states = vec![neuron.rest(); batch];
    let mut reset_spikes = vec![R::zero(); batch];
    let (gate, step_counts) = (&gate[..batch], &stage.step_counts.counts[..batch]);
    let (states, reset_spikes) = (&mut states[..batch], &mut reset_spikes[..batch]);
    for (t, (inputs, out)) in rows(inputs, batch).zip(rows_mut(to, batch)).enumerate() {
        let (inputs, out) = (&inputs[..batch], &mut out[..batch]);
        for b in 0..batch {
            states[b] = neuron.charge(states[b], norm.apply(inputs[b]));
            out[b] = neuron.excess(states[b]);
        }
        stage.fire(neuron.fires(), &recorded, t, out, reset_spikes);
        let time = R::count(t);
        for b in 0..batch {
            states[b] = neuron.reset(states[b], reset_spikes[b]);
            out[b] *= if time < step_counts[b] { gate[b] } else { R::zero() };
        }
    }
}

/// Computes the states of one neuron again, then runs backward through time from the gradient by
/// its output to the gradient by its input. Returns the gradients by the raw parameters and by
/// gamma and beta of the norm.
#[inline(always)]
fn backward_block<R: Stages, N: Neuron<Real = R>>(
    stage: &Stage<'_, R>,
    neuron: &N,
    n: usize,
    inputs: &[R],
    norm: &NeuronNorm<R>,
    d: &mut [R],
    replayed: &mut Replay<N::State, R>,
) -> (N::Params, (R, R)) {
    let Shape { steps, batch, .. } = stage.input.shape();
    fetch(inputs);
    fetch(d);
    replay(stage, neuron, n, inputs, norm, replayed);
    let Replay { charged, reset_spikes } = replayed;
    let gate = stage.gate(n);
    let zero = R::zero();
    let rest_states = vec![neuron.rest(); batch];
    let (no_spikes, mut slopes) = (vec![zero; batch], vec![zero; batch]);
    let (mut d_gamma, mut d_beta) = (vec![zero; batch], vec![zero; batch]);
    let mut d_states = vec![N::fill_state(zero); batch];
    let mut d_params = vec![N::fill_params(zero); batch];
    for t in (0..steps).rev() {
        let now = t * batch..(t + 1) * batch;
        for (slope, &charged) in slopes.iter_mut().zip(&charged[now.clone()]) {
            *slope = neuron.excess(charged);
        }
        stage.slopes(neuron.fires(), &mut slopes);
        // A neuron at rest that does not spike stays at rest.
        let (charged_before, reset_spikes_before) = match t.checked_sub(1) {
            Some(before) => {
                let before = before * batch..t * batch;
                (&charged[before.clone()][..batch], &reset_spikes[before][..batch])
            }
            None => (&rest_states[..batch], &no_spikes[..batch]),
        };
        let mut step = BackwardStep::<N> {
            time: R::count(t),
            recorded: matches!(stage.firing, Firing::SmoothHeld(_)),
            charged: &charged[now.clone()][..batch],
            reset_spikes: &reset_spikes[now.clone()][..batch],
            charged_before,
            reset_spikes_before,
            slopes: &slopes[..batch],
            x: &inputs[now.clone()][..batch],
            gate: &gate[..batch],
            step_counts: &stage.step_counts.counts[..batch],
            d: &mut d[now][..batch],
            d_states: &mut d_states[..batch],
            d_params: &mut d_params[..batch],
            d_gamma: &mut d_gamma[..batch],
            d_beta: &mut d_beta[..batch],
        };
        let whole = batch - batch % LANES;
        for b in (0..whole).step_by(LANES) {
            step.run::<LANES>(neuron, norm, b);
        }
        for b in whole..batch {
            step.run::<1>(neuron, norm, b);
        }
    }
    let mut sum = N::fill_params(zero);
    for lane in &d_params {
        add(sum.as_mut(), lane.as_ref());
    }
    (sum, (d_gamma.iter().copied().sum(), d_beta.iter().copied().sum()))
}

/// Samples that go back through time together.
const LANES: usize = 16;

/// One step of one neuron backward through time. Every slice has one element per sample.
struct BackwardStep<'a, N: Neuron> {
    time: N::Real,
    /// Whether the reset uses recorded spikes, whose gradient is 0.
    recorded: bool,
    charged: &'a [N::State],
    reset_spikes: &'a [N::Real],
    charged_before: &'a [N::State],
    reset_spikes_before: &'a [N::Real],
    slopes: &'a [N::Real],
    x: &'a [N::Real],
    gate: &'a [N::Real],
    step_counts: &'a [N::Real],
    d: &'a mut [N::Real],
    d_states: &'a mut [N::State],
    d_params: &'a mut [N::Params],
    d_gamma: &'a mut [N::Real],
    d_beta: &'a mut [N::Real],
}

impl<N: Neuron> BackwardStep<'_, N> {
    /// Runs samples `b..b + L`. Reads everything before it writes, so that the loop vectorises.
    #[inline(always)]
    fn run<const L: usize>(&mut self, neuron: &N, norm: &NeuronNorm<N::Real>, b: usize) {
        let zero = N::Real::of(0.0);
        let (charged, reset_spikes) =
            (lanes_at::<_, L>(self.charged, b), lanes_at::<_, L>(self.reset_spikes, b));
        let charged_before = lanes_at::<_, L>(self.charged_before, b);
        let reset_spikes_before = lanes_at::<_, L>(self.reset_spikes_before, b);
        let (x, d_spikes) = (lanes_at::<_, L>(self.x, b), lanes_at::<_, L>(self.d, b));
        let (gate, step_counts) =
            (lanes_at::<_, L>(self.gate, b), lanes_at::<_, L>(self.step_counts, b));
        let slopes = lanes_at::<_, L>(self.slopes, b);
        let (mut d_x, mut d_states) = ([zero; L], lanes_at::<_, L>(self.d_states, b));
        let mut d_params = lanes_at::<_, L>(self.d_params, b);
        let (mut d_gamma, mut d_beta) =
            (lanes_at::<_, L>(self.d_gamma, b), lanes_at::<_, L>(self.d_beta, b));
        for l in 0..L {
            let reset = neuron.reset_adjoint(charged[l], reset_spikes[l], d_states[l]);
            let through_reset = if self.recorded { zero } else { reset.spike };
            let valid = self.time < step_counts[l];
            let upstream = d_spikes[l] * if valid { gate[l] } else { zero };
            let mut d_charged = reset.charged;
            // The excess is the membrane minus a constant.
            d_charged.as_mut()[0] += (upstream + through_reset) * slopes[l];
            let before = neuron.reset(charged_before[l], reset_spikes_before[l]);
            let charge = neuron.charge_adjoint(before, norm.apply(x[l]), d_charged);
            (d_x[l], d_states[l]) = (charge.input, charge.state);
            let d_z = if valid { charge.input } else { zero };
            d_gamma[l] += d_z * norm.deviation(x[l]);
            d_beta[l] += d_z;
            add(d_params[l].as_mut(), reset.params.as_ref());
            add(d_params[l].as_mut(), charge.params.as_ref());
        }
        self.d[b..b + L].copy_from_slice(&d_x);
        self.d_states[b..b + L].copy_from_slice(&d_states);
        self.d_params[b..b + L].copy_from_slice(&d_params);
        self.d_gamma[b..b + L].copy_from_slice(&d_gamma);
        self.d_beta[b..b + L].copy_from_slice(&d_beta);
    }
}

#[inline(always)]
fn lanes_at<T: Copy, const L: usize>(values: &[T], at: usize) -> [T; L] {
    let mut lanes = [values[at]; L];
    lanes.copy_from_slice(&values[at..at + L]);
    lanes
}

/// The states and spikes `[time][batch]` of one neuron in a forward pass.
struct Replay<T, R> {
    /// States before the reset.
    charged: Vec<T>,
    /// Spikes that reset the states.
    reset_spikes: Vec<R>,
}

impl<T, R> Replay<T, R> {
    fn new() -> Self {
        Self { charged: Vec::new(), reset_spikes: Vec::new() }
    }
}

/// Runs one neuron forward and keeps its states and spikes.
#[inline(always)]
fn replay<R: Stages, N: Neuron<Real = R>>(
    stage: &Stage<'_, R>,
    neuron: &N,
    n: usize,
    inputs: &[R],
    norm: &NeuronNorm<R>,
    replayed: &mut Replay<N::State, R>,
) {
    let Shape { steps, batch, .. } = stage.input.shape();
    let recorded = stage.recorded(n);
    let Replay { charged, reset_spikes } = replayed;
    charged.resize(steps * batch, neuron.rest());
    reset_spikes.resize(steps * batch, R::zero());
    let mut states = vec![neuron.rest(); batch];
    let mut excess = vec![R::zero(); batch];
    let kept = rows_mut(charged, batch).zip(rows_mut(reset_spikes, batch));
    let (states, excess) = (&mut states[..batch], &mut excess[..batch]);
    let spikes_are_steps = stage.spikes_are_steps(neuron.fires());
    for (t, (inputs, (charged, reset_spikes))) in rows(inputs, batch).zip(kept).enumerate() {
        let (inputs, charged, reset_spikes) =
            (&inputs[..batch], &mut charged[..batch], &mut reset_spikes[..batch]);
        if spikes_are_steps {
            for b in 0..batch {
                charged[b] = neuron.charge(states[b], norm.apply(inputs[b]));
                reset_spikes[b] = step(neuron.excess(charged[b]));
                states[b] = neuron.reset(charged[b], reset_spikes[b]);
            }
            continue;
        }
        for b in 0..batch {
            charged[b] = neuron.charge(states[b], norm.apply(inputs[b]));
            excess[b] = neuron.excess(charged[b]);
        }
        stage.fire(neuron.fires(), &recorded, t, excess, reset_spikes);
        for b in 0..batch {
            states[b] = neuron.reset(charged[b], reset_spikes[b]);
        }
    }
}

#[inline(always)]
fn add<R: Real>(to: &mut [R], from: &[R]) {
    for (to, &x) in to.iter_mut().zip(from) {
        *to += x;
    }
}
