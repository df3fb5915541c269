use crate::backend::{Cpu, Error};
use crate::lanes::{fetch, vectorize};
use crate::norm::{Lengths, Norm, Normal, rows, rows_mut};
use crate::sequence::{Sequence, same};
use crate::stages::Stages;
use polychron_core::backend::{Firing, NeuronOps, NeuronStage, ViewMut};
use polychron_core::neuron::{Neuron, NeuronModel, NeuronVisitor};
use polychron_core::num::Real;
use polychron_core::shape::{Shape, ShapeError, expect};
use polychron_core::surrogate::{Surrogate, step};
use rayon::prelude::*;
use std::any::Any;
use std::borrow::Cow;

/// A stage with its blocks checked, over input normalised on the way.
#[doc(hidden)]
pub struct Stage<'a, R> {
    params: &'a [R],
    surrogate: &'a dyn Surrogate<R>,
    firing: Firing<'a, Sequence<R>>,
    mask: Option<&'a [R]>,
    lengths: Lengths<R>,
    norm: Norm<'a, R>,
    input: &'a Sequence<R>,
}

impl<'a, R: Stages> Stage<'a, R> {
    pub(crate) fn new<N, S: Surrogate<R>>(
        stage: &NeuronStage<'a, N, S, Vec<R>, Sequence<R>>,
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
        Ok(Self {
            params: stage.params.slice()?,
            surrogate: stage.surrogate,
            firing: stage.firing,
            mask,
            lengths: Lengths::new(stage.valid, shape),
            norm,
            input,
        })
    }

    /// Runs the model forward; returns every neuron's normalisation.
    pub(crate) fn forward<N: NeuronModel<R>>(
        &self,
        cpu: &Cpu<R>,
        model: &N,
        spikes: &mut Sequence<R>,
    ) -> Result<Vec<Normal<R>>, ShapeError> {
        same("neurons' output", self.input.shape(), spikes.shape())?;
        let run = |neuron: &dyn NeuronPasses<R>| R::neurons_forward(cpu, self, neuron, spikes);
        model.visit(Configured { raw: self.params, run })
    }

    /// Runs the model backward, and the normalisation where `through_norm`. Turns the gradient by the
    /// output into the one by the input; returns every neuron's gradients by gamma and beta.
    pub(crate) fn backward<N: NeuronModel<R>>(
        &self,
        cpu: &Cpu<R>,
        model: &N,
        through_norm: bool,
        d: &mut Sequence<R>,
        d_params: &mut [R],
    ) -> Result<Vec<(R, R)>, ShapeError> {
        same("neurons' output gradient", self.input.shape(), d.shape())?;
        expect("neurons' parameters", model.param_count(), d_params.len())?;
        let run = |neuron: &dyn NeuronPasses<R>| {
            R::neurons_backward(cpu, self, neuron, through_norm, d, d_params)
        };
        model.visit(Configured { raw: self.params, run })
    }

    /// The normalisation of neuron `n`.
    fn normal(&self, n: usize) -> Normal<R> {
        vectorize(
            #[inline(always)]
            || self.norm.of(n, &self.lengths, self.input),
        )
    }

    /// The recorded spikes `[time][batch]` of neuron `n`, where there are any.
    fn held(&self, n: usize) -> Cow<'_, [R]> {
        match self.firing {
            Firing::SmoothHeld(spikes) | Firing::Frozen(spikes) => spikes.block(n),
            Firing::Step | Firing::Smooth => Cow::default(),
        }
    }

    /// Turns one step's drives of a neuron into the spikes that are put out; `resets` receives those that reset.
    #[inline(always)]
    fn fire(&self, fires: bool, held: &[R], t: usize, drives: &mut [R], resets: &mut [R]) {
        let held = || &held[t * drives.len()..][..drives.len()];
        if !fires {
            drives.fill(R::zero());
            resets.fill(R::zero());
            return;
        }
        match self.firing {
            Firing::Step => {
                for (drive, reset) in drives.iter_mut().zip(resets) {
                    *drive = step(*drive);
                    *reset = *drive;
                }
            }
            Firing::Smooth => {
                self.surrogate.primitives(drives);
                resets.copy_from_slice(drives);
            }
            Firing::SmoothHeld(_) => {
                resets.copy_from_slice(held());
                self.surrogate.primitives(drives);
            }
            Firing::Frozen(_) => {
                resets.copy_from_slice(held());
                drives.copy_from_slice(resets);
            }
        }
    }

    /// Whether a spike is the step of its own drive, which needs no other row.
    fn fires_alone(&self, fires: bool) -> bool {
        fires && matches!(self.firing, Firing::Step)
    }

    /// Turns drives into the derivatives of the spikes.
    fn slopes(&self, fires: bool, drives: &mut [R]) {
        if !fires || matches!(self.firing, Firing::Frozen(_)) {
            drives.fill(R::zero());
        } else {
            self.surrogate.derivatives(drives);
        }
    }

    /// What valid outputs of neuron `n` are multiplied by, sample by sample.
    fn pass(&self, n: usize) -> Vec<R> {
        let Shape { batch, width, .. } = self.input.shape();
        (0..batch).map(|b| self.mask.map_or(R::one(), |mask| mask[b * width + n])).collect()
    }
}

/// Runs work with the neuron that has the parameters `raw`.
struct Configured<'a, R, F> {
    raw: &'a [R],
    run: F,
}

impl<R: Stages, T, F> NeuronVisitor<R> for Configured<'_, R, F>
where
    F: FnOnce(&dyn NeuronPasses<R>) -> T,
{
    type Output = Result<T, ShapeError>;

    fn visit<N: Neuron<Real = R>>(self, neuron: &N) -> Self::Output {
        let mut raw = neuron.params();
        expect("neurons' parameters", raw.as_ref().len(), self.raw.len())?;
        raw.as_mut().copy_from_slice(self.raw);
        Ok((self.run)(&neuron.with_params(raw)))
    }
}

/// What a stage needs of a neuron: passes over its block `[time][batch]`. Everything else about stages
/// is compiled once for all neurons.
#[doc(hidden)]
pub trait NeuronPasses<R: Real>: Sync {
    /// [`Neuron::fires`]
    fn can_fire(&self) -> bool;
    /// Writes the spikes, 0 or 1, each the step of its own drive.
    fn write_spikes(&self, stage: &Stage<'_, R>, x: &[R], normal: &Normal<R>, fired: &mut [u8]);
    /// Writes the output of neuron `n`.
    fn write_numbers(
        &self,
        stage: &Stage<'_, R>,
        n: usize,
        x: &[R],
        normal: &Normal<R>,
        to: &mut [R],
    );
    /// Memory for [`NeuronPasses::backward`].
    fn memory(&self) -> Box<dyn Any + Send>;
    /// Turns the gradient by the output of neuron `n` into the one by its input. Returns the gradients
    /// by the raw parameters, and by the norm's gamma and beta.
    fn backward(
        &self,
        stage: &Stage<'_, R>,
        n: usize,
        x: &[R],
        normal: &Normal<R>,
        d: &mut [R],
        memory: &mut dyn Any,
    ) -> (Vec<R>, (R, R));
}

impl<R: Stages, N: Neuron<Real = R>> NeuronPasses<R> for N {
    fn can_fire(&self) -> bool {
        self.fires()
    }

    fn write_spikes(&self, stage: &Stage<'_, R>, x: &[R], normal: &Normal<R>, fired: &mut [u8]) {
        vectorize(
            #[inline(always)]
            || spikes_of(stage, self, x, normal, fired),
        );
    }

    fn write_numbers(
        &self,
        stage: &Stage<'_, R>,
        n: usize,
        x: &[R],
        normal: &Normal<R>,
        to: &mut [R],
    ) {
        vectorize(
            #[inline(always)]
            || numbers_of(stage, self, n, x, normal, to),
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
        normal: &Normal<R>,
        d: &mut [R],
        memory: &mut dyn Any,
    ) -> (Vec<R>, (R, R)) {
        let mut fresh = Replay::new();
        let replay = memory.downcast_mut::<Replay<N::State, R>>().unwrap_or(&mut fresh);
        let (by_params, by_norm) = vectorize(
            #[inline(always)]
            || backward_block(stage, self, n, x, normal, d, replay),
        );
        (by_params.as_ref().to_vec(), by_norm)
    }
}

pub(crate) fn forward<R: Stages>(
    cpu: &Cpu<R>,
    stage: &Stage<'_, R>,
    neuron: &dyn NeuronPasses<R>,
    spikes: &mut Sequence<R>,
) -> Vec<Normal<R>> {
    cpu.install(|| {
        if stage.input.shape().is_empty() {
            return (0..stage.input.shape().width).map(|n| stage.normal(n)).collect();
        }
        if stage.fires_alone(neuron.can_fire()) {
            let neurons = spikes.spikes_mut().enumerate().map(|(n, (fired, pass))| {
                pass.copy_from_slice(&stage.pass(n));
                let (block, normal) = (stage.input.block(n), stage.normal(n));
                neuron.write_spikes(stage, &block, &normal, fired);
                normal
            });
            return neurons.collect();
        }
        let neurons = spikes.blocks_mut().enumerate().map(|(n, to)| {
            let (block, normal) = (stage.input.block(n), stage.normal(n));
            neuron.write_numbers(stage, n, &block, &normal, to);
            normal
        });
        neurons.collect()
    })
}

pub(crate) fn backward<R: Stages>(
    cpu: &Cpu<R>,
    stage: &Stage<'_, R>,
    neuron: &dyn NeuronPasses<R>,
    through_norm: bool,
    d: &mut Sequence<R>,
    d_params: &mut [R],
) -> Vec<(R, R)> {
    cpu.install(|| {
        d_params.fill(R::zero());
        if stage.input.shape().is_empty() {
            return vec![(R::zero(), R::zero()); stage.input.shape().width];
        }
        if let Some(numbers) = d.written_out() {
            *d = numbers;
        }
        let backward = |memory: &mut Box<dyn Any + Send>, (n, d): (usize, &mut [R])| {
            let (block, normal) = (stage.input.block(n), stage.normal(n));
            let (by_params, by_norm) =
                neuron.backward(stage, n, &block, &normal, d, memory.as_mut());
            if through_norm {
                vectorize(
                    #[inline(always)]
                    || normal.backward_from(by_norm, &stage.lengths, &block, d),
                );
            }
            (by_params, by_norm)
        };
        let neurons = d.blocks_mut().enumerate();
        let gradients: Vec<_> = neurons.map_init(|| neuron.memory(), backward).collect();
        for (by_params, _) in &gradients {
            add(d_params, by_params);
        }
        gradients.into_iter().map(|(_, by_norm)| by_norm).collect()
    })
}

/// The spikes of one neuron over time, each the step of its own drive, sample by sample in the lanes.
#[inline(always)]
fn spikes_of<R: Stages, N: Neuron<Real = R>>(
    stage: &Stage<'_, R>,
    neuron: &N,
    inputs: &[R],
    normal: &Normal<R>,
    fired: &mut [u8],
) {
    let batch = stage.input.shape().batch;
    let mut states = vec![neuron.rest(); batch];
    let (states, lengths) = (&mut states[..batch], &stage.lengths.steps[..batch]);
    for (t, (inputs, fired)) in rows(inputs, batch).zip(rows_mut(fired, batch)).enumerate() {
        let (inputs, fired, time) = (&inputs[..batch], &mut fired[..batch], R::count(t));
        for b in 0..batch {
            let charged = neuron.charge(states[b], normal.apply(inputs[b]));
            let spike = step(neuron.excess(charged));
            states[b] = neuron.reset(charged, spike);
            fired[b] = u8::from((spike > R::zero()) & (time < lengths[b]));
        }
    }
}

/// The output of one neuron over time, sample by sample in the lanes.
#[inline(always)]
fn numbers_of<R: Stages, N: Neuron<Real = R>>(
    stage: &Stage<'_, R>,
    neuron: &N,
    n: usize,
    inputs: &[R],
    normal: &Normal<R>,
    to: &mut [R],
) {
    let batch = stage.input.shape().batch;
    let (pass, held) = (stage.pass(n), stage.held(n));
    let mut states = vec![neuron.rest(); batch];
    let mut resets = vec![R::zero(); batch];
    let (pass, lengths) = (&pass[..batch], &stage.lengths.steps[..batch]);
    let (states, resets) = (&mut states[..batch], &mut resets[..batch]);
    for (t, (inputs, out)) in rows(inputs, batch).zip(rows_mut(to, batch)).enumerate() {
        let (inputs, out) = (&inputs[..batch], &mut out[..batch]);
        for b in 0..batch {
            states[b] = neuron.charge(states[b], normal.apply(inputs[b]));
            out[b] = neuron.excess(states[b]);
        }
        stage.fire(neuron.fires(), &held, t, out, resets);
        let time = R::count(t);
        for b in 0..batch {
            states[b] = neuron.reset(states[b], resets[b]);
            out[b] *= if time < lengths[b] { pass[b] } else { R::zero() };
        }
    }
}

/// One neuron's states again, then backward through time, from the gradient by its output to the one by its input; returns
/// the gradients by the raw parameters and by the norm's gamma and beta.
#[inline(always)]
fn backward_block<R: Stages, N: Neuron<Real = R>>(
    stage: &Stage<'_, R>,
    neuron: &N,
    n: usize,
    inputs: &[R],
    normal: &Normal<R>,
    d: &mut [R],
    past: &mut Replay<N::State, R>,
) -> (N::Params, (R, R)) {
    let Shape { steps, batch, .. } = stage.input.shape();
    fetch(inputs);
    fetch(d);
    replay(stage, neuron, n, inputs, normal, past);
    let Replay { charged, resets } = past;
    let pass = stage.pass(n);
    let zero = R::zero();
    let at_rest = vec![neuron.rest(); batch];
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
        let (charged_before, resets_before) = match t.checked_sub(1) {
            Some(before) => {
                let before = before * batch..t * batch;
                (&charged[before.clone()][..batch], &resets[before][..batch])
            }
            None => (&at_rest[..batch], &no_spikes[..batch]),
        };
        let mut step = StepBack::<N> {
            time: R::count(t),
            held: matches!(stage.firing, Firing::SmoothHeld(_)),
            charged: &charged[now.clone()][..batch],
            resets: &resets[now.clone()][..batch],
            charged_before,
            resets_before,
            slopes: &slopes[..batch],
            x: &inputs[now.clone()][..batch],
            pass: &pass[..batch],
            lengths: &stage.lengths.steps[..batch],
            d: &mut d[now][..batch],
            d_states: &mut d_states[..batch],
            d_params: &mut d_params[..batch],
            d_gamma: &mut d_gamma[..batch],
            d_beta: &mut d_beta[..batch],
        };
        let whole = batch - batch % LANES;
        for b in (0..whole).step_by(LANES) {
            step.run::<LANES>(neuron, normal, b);
        }
        for b in whole..batch {
            step.run::<1>(neuron, normal, b);
        }
    }
    let mut sum = N::fill_params(zero);
    for lane in &d_params {
        add(sum.as_mut(), lane.as_ref());
    }
    (sum, (d_gamma.iter().copied().sum(), d_beta.iter().copied().sum()))
}

/// Samples whose step back is taken together.
const LANES: usize = 16;

/// One step of one neuron back through time, by sample.
struct StepBack<'a, N: Neuron> {
    time: N::Real,
    /// Whether the spikes that reset are recorded ones.
    held: bool,
    charged: &'a [N::State],
    resets: &'a [N::Real],
    charged_before: &'a [N::State],
    resets_before: &'a [N::Real],
    slopes: &'a [N::Real],
    x: &'a [N::Real],
    pass: &'a [N::Real],
    lengths: &'a [N::Real],
    d: &'a mut [N::Real],
    d_states: &'a mut [N::State],
    d_params: &'a mut [N::Params],
    d_gamma: &'a mut [N::Real],
    d_beta: &'a mut [N::Real],
}

impl<N: Neuron> StepBack<'_, N> {
    /// Samples `b..b + L`. All is read before anything is written, so that the loop is one of vectors.
    #[inline(always)]
    fn run<const L: usize>(&mut self, neuron: &N, normal: &Normal<N::Real>, b: usize) {
        let zero = N::Real::of(0.0);
        let (charged, resets) = (take::<_, L>(self.charged, b), take::<_, L>(self.resets, b));
        let charged_before = take::<_, L>(self.charged_before, b);
        let resets_before = take::<_, L>(self.resets_before, b);
        let (x, d_spikes) = (take::<_, L>(self.x, b), take::<_, L>(self.d, b));
        let (pass, lengths) = (take::<_, L>(self.pass, b), take::<_, L>(self.lengths, b));
        let slopes = take::<_, L>(self.slopes, b);
        let (mut d_x, mut d_states) = ([zero; L], take::<_, L>(self.d_states, b));
        let mut d_params = take::<_, L>(self.d_params, b);
        let (mut d_gamma, mut d_beta) =
            (take::<_, L>(self.d_gamma, b), take::<_, L>(self.d_beta, b));
        for l in 0..L {
            let reset = neuron.reset_adjoint(charged[l], resets[l], d_states[l]);
            let through_reset = if self.held { zero } else { reset.spike };
            let valid = self.time < lengths[l];
            let upstream = d_spikes[l] * if valid { pass[l] } else { zero };
            let mut d_charged = reset.charged;
            // The drive is the membrane less a constant.
            d_charged.as_mut()[0] += (upstream + through_reset) * slopes[l];
            let before = neuron.reset(charged_before[l], resets_before[l]);
            let charge = neuron.charge_adjoint(before, normal.apply(x[l]), d_charged);
            (d_x[l], d_states[l]) = (charge.input, charge.state);
            let d_z = if valid { charge.input } else { zero };
            d_gamma[l] += d_z * normal.deviation(x[l]);
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
fn take<T: Copy, const L: usize>(values: &[T], at: usize) -> [T; L] {
    let mut taken = [values[at]; L];
    taken.copy_from_slice(&values[at..at + L]);
    taken
}

/// What happened to one neuron, `[time][batch]`.
struct Replay<T, R> {
    /// States before the reset.
    charged: Vec<T>,
    /// Spikes that reset.
    resets: Vec<R>,
}

impl<T, R> Replay<T, R> {
    fn new() -> Self {
        Self { charged: Vec::new(), resets: Vec::new() }
    }
}

#[inline(always)]
fn replay<R: Stages, N: Neuron<Real = R>>(
    stage: &Stage<'_, R>,
    neuron: &N,
    n: usize,
    inputs: &[R],
    normal: &Normal<R>,
    past: &mut Replay<N::State, R>,
) {
    let Shape { steps, batch, .. } = stage.input.shape();
    let held = stage.held(n);
    let Replay { charged, resets } = past;
    charged.resize(steps * batch, neuron.rest());
    resets.resize(steps * batch, R::zero());
    let mut states = vec![neuron.rest(); batch];
    let mut drives = vec![R::zero(); batch];
    let kept = rows_mut(charged, batch).zip(rows_mut(resets, batch));
    let (states, drives) = (&mut states[..batch], &mut drives[..batch]);
    let alone = stage.fires_alone(neuron.fires());
    for (t, (inputs, (charged, resets))) in rows(inputs, batch).zip(kept).enumerate() {
        let (inputs, charged, resets) =
            (&inputs[..batch], &mut charged[..batch], &mut resets[..batch]);
        if alone {
            for b in 0..batch {
                charged[b] = neuron.charge(states[b], normal.apply(inputs[b]));
                resets[b] = step(neuron.excess(charged[b]));
                states[b] = neuron.reset(charged[b], resets[b]);
            }
            continue;
        }
        for b in 0..batch {
            charged[b] = neuron.charge(states[b], normal.apply(inputs[b]));
            drives[b] = neuron.excess(charged[b]);
        }
        stage.fire(neuron.fires(), &held, t, drives, resets);
        for b in 0..batch {
            states[b] = neuron.reset(charged[b], resets[b]);
        }
    }
}

fn copy<R: Real>(from: &Sequence<R>, to: &mut Sequence<R>) {
    let blocks = to.blocks_mut().enumerate();
    blocks.for_each(|(n, to)| to.copy_from_slice(&from.block(n)));
}

#[inline(always)]
fn add<R: Real>(to: &mut [R], from: &[R]) {
    for (to, &x) in to.iter_mut().zip(from) {
        *to += x;
    }
}

impl<R: Stages, N: NeuronModel<R>, S: Surrogate<R>> NeuronOps<R, N, S> for Cpu<R> {
    fn neuron_forward(
        &self,
        stage: &NeuronStage<'_, N, S, Vec<R>, Sequence<R>>,
        x: &Sequence<R>,
        spikes: &mut Sequence<R>,
    ) -> Result<(), Error> {
        let checked = Stage::new(stage, Norm::Identity, x)?;
        checked.forward(self, stage.neuron, spikes)?;
        Ok(())
    }

    fn neuron_backward(
        &self,
        stage: &NeuronStage<'_, N, S, Vec<R>, Sequence<R>>,
        x: &Sequence<R>,
        d_spikes: &Sequence<R>,
        d_x: &mut Sequence<R>,
        d_params: ViewMut<'_, Vec<R>>,
    ) -> Result<(), Error> {
        let checked = Stage::new(stage, Norm::Identity, x)?;
        let d_params = d_params.slice()?;
        same("neurons' output gradient", x.shape(), d_spikes.shape())?;
        same("neurons' input gradient", x.shape(), d_x.shape())?;
        self.install(|| copy(d_spikes, d_x));
        checked.backward(self, stage.neuron, false, d_x, d_params)?;
        Ok(())
    }
}
