use super::LANES;
use super::wiring::{Traffic, Wiring};
use crate::lanes::{Lanes, vectorize};
use crate::neuron::Stage;
use crate::scratch::{Block, Scratch};
use crate::sequence::Sequence;
use crate::stages::Stages;
use core::ops::Range;
use polychron_core::backend::Firing;
use polychron_core::neuron::Neuron;
use polychron_core::num::Real;
use polychron_core::surrogate::step;

/// Steps that are computed without those before them, at most.
const BLOCK: usize = 16;

/// [`LANES`] samples of a recurrent layer. Blocks are `[time][neuron][LANES]`; lanes beyond the
/// last sample are 0 and unused.
pub(crate) struct Chunk<'a, R: Real> {
    pub(super) stage: &'a Stage<'a, R>,
    pub(super) wiring: &'a Wiring<R>,
    pub(super) samples: Range<usize>,
    /// The dropout mask `[neuron][LANES]` of the current.
    pub(super) mask: Vec<R>,
    /// What the neurons integrate; in the forward pass first without the current.
    pub(super) input: Block<R>,
    /// Spikes that are recorded; empty if none are.
    pub(super) recorded: Vec<R>,
    /// Forward: the spikes. Backward: the gradient by the spikes, then by the input.
    pub(super) spikes: Block<R>,
    /// The spikes of the steps before the first; empty if there were none.
    pub(super) before: Vec<R>,
    /// The states `[S][neuron][LANES]` after the last step.
    pub(super) end: Vec<R>,
}

impl<R: Stages + Lanes> Chunk<'_, R> {
    fn neurons(&self) -> usize {
        self.wiring.neurons
    }

    fn steps(&self) -> usize {
        self.input.values().len() / (self.neurons() * LANES).max(1)
    }

    /// The states of neuron `n` before the first step.
    fn first_states<N: Neuron<Real = R>>(&self, neuron: &N, n: usize) -> [N::State; LANES] {
        let mut states = [neuron.rest(); LANES];
        let Some(start) = self.stage.start else { return states };
        let batch = start.len() / (neuron.rest().as_ref().len() * self.neurons()).max(1);
        for (b, state) in self.samples.clone().zip(&mut states) {
            for (s, value) in state.as_mut().iter_mut().enumerate() {
                *value = start[(s * batch + b) * self.neurons() + n];
            }
        }
        states
    }

    /// The spikes that are recorded for a row of [`LANES`] values.
    #[inline(always)]
    fn recorded(&self, at: usize) -> &[R] {
        if self.recorded.is_empty() { &[] } else { &self.recorded[at..at + LANES] }
    }

    /// Multiplies what arrives by the dropout mask.
    #[inline(always)]
    fn masked(&self, values: &mut [R]) {
        values.iter_mut().zip(&self.mask).for_each(|(x, &mask)| *x *= mask);
    }
}

/// Neurons of a layer, one for all or one for each.
#[inline(always)]
fn neuron_of<N>(neurons: &[N], n: usize) -> &N {
    neurons.get(n).unwrap_or(&neurons[0])
}

/// Runs the neurons forward.
pub(crate) fn forward<R: Stages + Lanes, N: Neuron<Real = R>>(
    neurons: &[N],
    chunk: &mut Chunk<'_, R>,
) {
    vectorize(
        #[inline(always)]
        || forward_here(neurons, chunk),
    );
}

#[inline(always)]
fn forward_here<R: Stages + Lanes, N: Neuron<Real = R>>(neurons: &[N], chunk: &mut Chunk<'_, R>) {
    let (width, steps, longest) = (chunk.neurons(), chunk.steps(), chunk.wiring.longest);
    let row = width * LANES;
    let block = chunk.wiring.shortest.min(BLOCK);
    let mut traffic = Traffic::new(chunk.wiring, block);
    for now in 0..longest {
        traffic.skip(now);
        if !chunk.before.is_empty() {
            traffic.send(now, &chunk.before[now * row..(now + 1) * row]);
        }
    }
    let mut states: Vec<_> =
        (0..width).map(|n| chunk.first_states(neuron_of(neurons, n), n)).collect();
    let mut arriving = vec![R::zero(); row];
    for first in (0..steps).step_by(block) {
        let now = first..steps.min(first + block);
        for t in now.clone() {
            traffic.receive(longest + t, &mut arriving);
            chunk.masked(&mut arriving);
            let input = &mut chunk.input.values_mut()[t * row..(t + 1) * row];
            input.iter_mut().zip(&arriving).for_each(|(sum, &x)| *sum += x);
        }
        for (n, state) in states.iter_mut().enumerate() {
            let neuron = neuron_of(neurons, n);
            for t in now.clone() {
                let (at, mut out) = (t * row + n * LANES, [R::zero(); LANES]);
                forward_step(chunk, neuron, at, state, &mut out);
                chunk.spikes.values_mut()[at..at + LANES].copy_from_slice(&out);
            }
        }
        for t in now {
            traffic.send(longest + t, &chunk.spikes.values()[t * row..(t + 1) * row]);
        }
    }
    for (s, end) in chunk.end.chunks_exact_mut(row.max(1)).enumerate() {
        for (end, states) in end.chunks_exact_mut(LANES).zip(&states) {
            end.iter_mut().zip(states).for_each(|(to, state)| *to = state.as_ref()[s]);
        }
    }
}

/// One step of one neuron, whose spikes go to `out`.
#[inline(always)]
fn forward_step<R: Stages + Lanes, N: Neuron<Real = R>>(
    chunk: &Chunk<'_, R>,
    neuron: &N,
    at: usize,
    states: &mut [N::State; LANES],
    out: &mut [R; LANES],
) {
    let mut input = [R::zero(); LANES];
    input.copy_from_slice(&chunk.input.values()[at..at + LANES]);
    if chunk.stage.spikes_are_steps(neuron.fires()) {
        for l in 0..LANES {
            let charged = neuron.charge(states[l], input[l]);
            out[l] = step(neuron.excess(charged));
            states[l] = neuron.reset(charged, out[l]);
        }
        return;
    }
    let mut reset_spikes = [R::zero(); LANES];
    for l in 0..LANES {
        states[l] = neuron.charge(states[l], input[l]);
        out[l] = neuron.excess(states[l]);
    }
    chunk.stage.fire(neuron.fires(), chunk.recorded(at), 0, out, &mut reset_spikes);
    for l in 0..LANES {
        states[l] = neuron.reset(states[l], reset_spikes[l]);
    }
}

/// The charged states and the spikes that reset them `[time][neuron]`, of a forward pass.
struct Replay<T, R> {
    charged: Vec<[T; LANES]>,
    /// Empty if every spike is the step of its excess.
    reset_spikes: Vec<[R; LANES]>,
}

impl<T: Copy, R: Real> Replay<T, R> {
    #[inline(always)]
    fn at<N: Neuron<Real = R, State = T>>(
        &self,
        neuron: &N,
        at: usize,
    ) -> ([T; LANES], [R; LANES]) {
        let charged = self.charged[at];
        let spikes = self.reset_spikes.get(at).copied();
        (charged, spikes.unwrap_or_else(|| charged.map(|charged| step(neuron.excess(charged)))))
    }
}

/// Runs the neurons backward, with the transposed synapses: turns the gradient by the spikes,
/// already gated, into the gradient by the input. Returns the gradients `[neuron]` by the raw
/// parameters.
pub(crate) fn backward<R: Stages + Lanes, N: Neuron<Real = R>>(
    neurons: &[N],
    chunk: &mut Chunk<'_, R>,
) -> Vec<N::Params> {
    vectorize(
        #[inline(always)]
        || backward_here(neurons, chunk),
    )
}

#[inline(always)]
fn backward_here<R: Stages + Lanes, N: Neuron<Real = R>>(
    neurons: &[N],
    chunk: &mut Chunk<'_, R>,
) -> Vec<N::Params> {
    let (width, steps) = (chunk.neurons(), chunk.steps());
    let row = width * LANES;
    let replayed = replay(neurons, chunk);
    let block = chunk.wiring.shortest.min(BLOCK);
    let mut traffic = Traffic::new(chunk.wiring, block);
    let zero = R::zero();
    let mut d_states = vec![[N::fill_state(zero); LANES]; width];
    let mut d_params = vec![[N::fill_params(zero); LANES]; width];
    let (mut arriving, mut masked) = (vec![zero; row], vec![zero; row]);
    // Step `past` counts from the last one.
    for first in (0..steps).step_by(block) {
        let past = first..steps.min(first + block);
        for past in past.clone() {
            traffic.receive(past, &mut arriving);
            let d = &mut chunk.spikes.values_mut()[(steps - 1 - past) * row..(steps - past) * row];
            d.iter_mut().zip(&arriving).for_each(|(d, &x)| *d += x);
        }
        for n in 0..width {
            let neuron = neuron_of(neurons, n);
            for t in past.clone().map(|past| steps - 1 - past) {
                let at = t * row + n * LANES;
                let mut d = [zero; LANES];
                d.copy_from_slice(&chunk.spikes.values()[at..at + LANES]);
                let before = match t.checked_sub(1) {
                    Some(before) => {
                        let (charged, spikes) = replayed.at(neuron, before * width + n);
                        core::array::from_fn(|l| neuron.reset(charged[l], spikes[l]))
                    }
                    None => chunk.first_states(neuron, n),
                };
                let (charged, spikes) = replayed.at(neuron, t * width + n);
                let states = (&before, &charged, &spikes);
                let (d_states, d_params) = (&mut d_states[n], &mut d_params[n]);
                backward_step(chunk, neuron, at, states, &mut d, d_states, d_params);
                chunk.spikes.values_mut()[at..at + LANES].copy_from_slice(&d);
            }
        }
        for past in past {
            let t = steps - 1 - past;
            masked.copy_from_slice(&chunk.spikes.values()[t * row..(t + 1) * row]);
            chunk.masked(&mut masked);
            traffic.send(past, &masked);
        }
    }
    let sum = |lanes: &[N::Params; LANES]| {
        let mut sum = N::fill_params(zero);
        for lane in lanes {
            sum.as_mut().iter_mut().zip(lane.as_ref()).for_each(|(sum, &x)| *sum += x);
        }
        sum
    };
    d_params.iter().map(sum).collect()
}

/// Runs the neurons forward and keeps their states.
#[inline(always)]
fn replay<R: Stages + Lanes, N: Neuron<Real = R>>(
    neurons: &[N],
    chunk: &Chunk<'_, R>,
) -> Replay<N::State, R> {
    let (width, steps) = (chunk.neurons(), chunk.steps());
    let mut states: Vec<_> =
        (0..width).map(|n| chunk.first_states(neuron_of(neurons, n), n)).collect();
    let (mut charged, mut reset_spikes) = (Vec::with_capacity(steps * width), Vec::new());
    for t in 0..steps {
        for (n, states) in states.iter_mut().enumerate() {
            let (neuron, at) = (neuron_of(neurons, n), (t * width + n) * LANES);
            let input = &chunk.input.values()[at..at + LANES];
            let now = core::array::from_fn(|l| neuron.charge(states[l], input[l]));
            let mut spikes = now.map(|charged| neuron.excess(charged));
            if chunk.stage.spikes_are_steps(neuron.fires()) {
                spikes = spikes.map(step);
            } else {
                let (mut excess, recorded) = (spikes, chunk.recorded(at));
                chunk.stage.fire(neuron.fires(), recorded, 0, &mut excess, &mut spikes);
                reset_spikes.push(spikes);
            }
            charged.push(now);
            *states = core::array::from_fn(|l| neuron.reset(now[l], spikes[l]));
        }
    }
    Replay { charged, reset_spikes }
}

/// The states of a neuron before a step and charged, and the spikes that reset them.
type States<'a, N> = (
    &'a [<N as Neuron>::State; LANES],
    &'a [<N as Neuron>::State; LANES],
    &'a [<N as Neuron>::Real; LANES],
);

/// One step of one neuron back in time. `d` is the gradient by its spikes, then by its input.
#[inline(always)]
fn backward_step<R: Stages + Lanes, N: Neuron<Real = R>>(
    chunk: &Chunk<'_, R>,
    neuron: &N,
    at: usize,
    (before, charged, reset_spikes): States<'_, N>,
    d: &mut [R; LANES],
    d_states: &mut [N::State; LANES],
    d_params: &mut [N::Params; LANES],
) {
    let mut slopes = [R::zero(); LANES];
    for l in 0..LANES {
        slopes[l] = neuron.excess(charged[l]);
    }
    chunk.stage.slopes(neuron.fires(), &mut slopes);
    let held = matches!(chunk.stage.firing, Firing::SmoothHeld(_));
    let input = &chunk.input.values()[at..at + LANES];
    for l in 0..LANES {
        let reset = neuron.reset_adjoint(charged[l], reset_spikes[l], d_states[l]);
        let through_reset = if held { R::zero() } else { reset.spike };
        let mut d_charged = reset.charged;
        // The excess is the membrane minus a constant.
        d_charged.as_mut()[0] += (d[l] + through_reset) * slopes[l];
        let charge = neuron.charge_adjoint(before[l], input[l], d_charged);
        (d[l], d_states[l]) = (charge.input, charge.state);
        let parts = reset.params.as_ref().iter().zip(charge.params.as_ref());
        for (to, (&a, &b)) in d_params[l].as_mut().iter_mut().zip(parts) {
            *to += a + b;
        }
    }
}

/// Copies samples of a sequence to a block `[time][neuron][LANES]`.
pub(super) fn gather<R: Real>(
    scratch: &Scratch<R>,
    from: &Sequence<R>,
    samples: Range<usize>,
) -> Block<R> {
    let shape = from.shape();
    let mut block = scratch.block((shape.steps, shape.width, LANES));
    let to = block.values_mut();
    if samples.len() < LANES {
        to.fill(R::zero());
    }
    for n in 0..shape.width {
        from.samples(n, samples.clone(), |t, values| {
            to[(t * shape.width + n) * LANES..][..values.len()].copy_from_slice(values);
        });
    }
    block
}
