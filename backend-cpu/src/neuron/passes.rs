use super::Stage;
use crate::lanes::fetch;
use crate::norm::{NeuronNorm, rows, rows_mut};
use crate::stages::Stages;
use polychron_core::backend::Firing;
use polychron_core::neuron::Neuron;
use polychron_core::num::Real;
use polychron_core::shape::Shape;
use polychron_core::surrogate::step;

/// Writes the spikes of one neuron over time, the steps of its excess. Lanes are samples.
#[inline(always)]
pub(super) fn spikes_of<R: Stages, N: Neuron<Real = R>>(
    stage: &Stage<'_, R>,
    neuron: &N,
    n: usize,
    inputs: &[R],
    norm: &NeuronNorm<R>,
    fired: &mut [u8],
) -> Vec<R> {
    let batch = stage.input.shape().batch;
    let mut states = first_states(stage, neuron, n);
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
    last_states::<R, N>(stage, states)
}

/// Writes the output of one neuron over time. Lanes are samples.
#[inline(always)]
pub(super) fn numbers_of<R: Stages, N: Neuron<Real = R>>(
    stage: &Stage<'_, R>,
    neuron: &N,
    n: usize,
    inputs: &[R],
    norm: &NeuronNorm<R>,
    to: &mut [R],
) -> Vec<R> {
    let batch = stage.input.shape().batch;
    let (gate, recorded) = (stage.gate(n), stage.recorded(n));
    let mut states = first_states(stage, neuron, n);
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
    last_states::<R, N>(stage, states)
}

/// The states `[batch]` of neuron `n` before the first step.
fn first_states<R: Stages, N: Neuron<Real = R>>(
    stage: &Stage<'_, R>,
    neuron: &N,
    n: usize,
) -> Vec<N::State> {
    let Shape { batch, width, .. } = stage.input.shape();
    let mut states = vec![neuron.rest(); batch];
    let Some(start) = stage.start else { return states };
    for (b, state) in states.iter_mut().enumerate() {
        for (s, value) in state.as_mut().iter_mut().enumerate() {
            *value = start[(s * batch + b) * width + n];
        }
    }
    states
}

/// The states as `[S, batch]` if the stage keeps them.
fn last_states<R: Stages, N: Neuron<Real = R>>(
    stage: &Stage<'_, R>,
    states: &[N::State],
) -> Vec<R> {
    let count = states.first().map_or(0, |state| state.as_ref().len());
    let count = if stage.keeps_states { count } else { 0 };
    (0..count).flat_map(|s| states.iter().map(move |state| state.as_ref()[s])).collect()
}

/// Computes the states of one neuron again, then runs backward through time from the gradient by
/// its output to the gradient by its input. Returns the gradients by the raw parameters and by
/// gamma and beta of the norm.
#[inline(always)]
pub(super) fn backward_block<R: Stages, N: Neuron<Real = R>>(
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
    let start = first_states(stage, neuron, n);
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
        let (charged_before, reset_spikes_before) = match t.checked_sub(1) {
            Some(before) => {
                let before = before * batch..t * batch;
                (&charged[before.clone()][..batch], &reset_spikes[before][..batch])
            }
            None => (&start[..batch], &no_spikes[..batch]),
        };
        let mut step = BackwardStep::<N> {
            time: R::count(t),
            first: t == 0,
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
    /// Whether `charged_before` is the state before the first step.
    first: bool,
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
            let after_reset = neuron.reset(charged_before[l], reset_spikes_before[l]);
            let before = if self.first { charged_before[l] } else { after_reset };
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
pub(super) struct Replay<T, R> {
    /// States before the reset.
    charged: Vec<T>,
    /// Spikes that reset the states.
    reset_spikes: Vec<R>,
}

impl<T, R> Replay<T, R> {
    pub(super) fn new() -> Self {
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
    let mut states = first_states(stage, neuron, n);
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
