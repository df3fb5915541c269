use super::neuron::NeuronArgs;
use super::zeros::zeros;
use crate::neuron::Neuron;
use crate::num::Real;
use crate::shape::{Shape, ShapeError, expect, product};

/// Recurrent synapses among the N neurons of a layer, except their input.
#[derive(Clone, Copy, Debug)]
pub struct RecurrentArgs<'a, R> {
    /// The dense kernel `[N, N, K]`, output first. Tap `j` delays by `1 + j` steps.
    pub dense: &'a [R],
    /// The number K of taps.
    pub taps: usize,
    /// Dropout mask `[B, N]` of the current.
    pub mask: Option<&'a [R]>,
    /// The spikes `[K, B, N]` of the steps before the first; with `None`, there were none.
    pub before: Option<&'a [R]>,
}

impl<R: Real> RecurrentArgs<'_, R> {
    fn check(&self, shape: Shape) -> Result<(), ShapeError> {
        expect(
            "recurrent kernel",
            product([shape.width, shape.width, self.taps]),
            self.dense.len(),
        )?;
        if let Some(mask) = self.mask {
            expect("recurrent dropout mask", shape.batch * shape.width, mask.len())?;
        }
        let steps = self.taps;
        match self.before {
            Some(before) => expect("spikes before", Shape { steps, ..shape }.len(), before.len()),
            None => Ok(()),
        }
    }

    fn mask(&self, shape: Shape, b: usize, o: usize) -> R {
        self.mask.map_or(R::one(), |mask| mask[b * shape.width + o])
    }

    /// The spike of a neuron `back` steps before step `t`.
    fn spike(&self, fired: &[R], shape: Shape, t: usize, back: usize, (b, i): (usize, usize)) -> R {
        match (t.checked_sub(back), self.before) {
            (Some(t), _) => fired[shape.at(t, b, i)],
            (None, Some(before)) => before[shape.at(self.taps + t - back, b, i)],
            (None, None) => R::zero(),
        }
    }

    /// The current of neuron `o` at step `t`.
    fn current(&self, fired: &[R], shape: Shape, t: usize, (b, o): (usize, usize)) -> R {
        let mut sum = R::zero();
        for i in 0..shape.width {
            for j in 0..self.taps {
                let weight = self.dense[(o * shape.width + i) * self.taps + j];
                sum += weight * self.spike(fired, shape, t, 1 + j, (b, i));
            }
        }
        sum * self.mask(shape, b, o)
    }

    /// The gradient by the spike of neuron `i` at step `t`, from those by inputs of later steps.
    fn adjoint(&self, d_input: &[R], shape: Shape, t: usize, (b, i): (usize, usize)) -> R {
        let mut sum = R::zero();
        for o in 0..shape.width {
            for j in 0..self.taps.min(shape.steps - 1 - t) {
                let weight = self.dense[(o * shape.width + i) * self.taps + j];
                let d = d_input[shape.at(t + 1 + j, b, o)];
                sum += weight * d * self.mask(shape, b, o);
            }
        }
        sum
    }

    /// The spikes `[K + T - 1, B, N]` that [`project`](super::project) with K taps turns into the
    /// currents, its last T steps, and the gradient by that projection for the gradient `d_input`.
    pub(super) fn projected(
        &self,
        fired: &[R],
        d_input: &[R],
        shape: Shape,
    ) -> Result<(Shape, [alloc::vec::Vec<R>; 2]), ShapeError> {
        let steps = self.taps + shape.steps - 1;
        let long = Shape { steps, ..shape };
        let mut spikes = zeros("recurrent spikes", long.try_len()?)?;
        let mut d = zeros("recurrent gradient", long.len())?;
        for t in 0..steps {
            for b in 0..shape.batch {
                for n in 0..shape.width {
                    spikes[long.at(t, b, n)] = match t.checked_sub(self.taps) {
                        Some(t) => fired[shape.at(t, b, n)],
                        None => self.before.map_or(R::zero(), |before| before[shape.at(t, b, n)]),
                    };
                    if let Some(now) = (t + 1).checked_sub(self.taps) {
                        let by_input = d_input[shape.at(now, b, n)];
                        d[long.at(t, b, n)] = by_input * self.mask(shape, b, n);
                    }
                }
            }
        }
        Ok((long, [spikes, d]))
    }
}

/// [`neuron_forward`](super::neuron_forward) of neurons that hear each other:
///
/// ```text
/// input[t, b, o] = x[t, b, o] + mask[b, o] sum over i, j of dense[o, i, j] fired[t - 1 - j, b, i]
/// ```
///
/// `input` receives these inputs, `fired` the spikes before dropout, at all steps.
///
/// # Errors
/// [`ShapeError`] if the size of a block does not match.
pub fn recurrent_forward<R: Real, N: Neuron<Real = R>>(
    recurrent: &RecurrentArgs<'_, R>,
    args: &NeuronArgs<'_, R, N>,
    x: &[R],
    [input, fired, spikes]: [&mut [R]; 3],
    end: Option<&mut [R]>,
) -> Result<(), ShapeError> {
    let shape = args.shape;
    args.check(x, spikes)?;
    args.check(input, fired)?;
    recurrent.check(shape)?;
    let mut states = args.first_states();
    for t in 0..shape.steps {
        for (n, state) in states.iter_mut().enumerate() {
            let (b, o) = (n / shape.width, n % shape.width);
            let (at, neuron) = (shape.at(t, b, o), args.neuron(o));
            input[at] = x[at] + recurrent.current(fired, shape, t, (b, o));
            let charged = neuron.charge(*state, input[at]);
            let (spike, reset_spike) = args.fire(at, neuron.excess(charged));
            *state = neuron.reset(charged, reset_spike);
            fired[at] = spike;
            spikes[at] = spike * args.gate(t, b, o);
        }
    }
    match end {
        Some(end) => args.write_states(&states, end),
        None => Ok(()),
    }
}

/// Backpropagation through time of [`recurrent_forward`], whose inputs `input` are given: from the
/// gradient by `spikes` to those by `x` and by the raw parameters.
///
/// # Errors
/// [`ShapeError`] if the size of a block does not match.
pub fn recurrent_backward<R: Real, N: Neuron<Real = R>>(
    recurrent: &RecurrentArgs<'_, R>,
    args: &NeuronArgs<'_, R, N>,
    input: &[R],
    d_spikes: &[R],
    d_x: &mut [R],
    d_params: &mut [R],
) -> Result<(), ShapeError> {
    let shape = args.shape;
    args.check(input, d_spikes)?;
    args.check_gradients(d_x, d_params)?;
    recurrent.check(shape)?;
    d_params.fill(R::zero());
    let replays: alloc::vec::Vec<_> = (0..shape.batch * shape.width)
        .map(|n| args.replay(input, n / shape.width, n % shape.width))
        .collect();
    let mut d_states = alloc::vec![N::fill_state(R::zero()); replays.len()];
    for t in (0..shape.steps).rev() {
        for (n, (replay, d_state)) in replays.iter().zip(&mut d_states).enumerate() {
            let (b, o) = (n / shape.width, n % shape.width);
            let at = shape.at(t, b, o);
            let d_fired = recurrent.adjoint(d_x, shape, t, (b, o));
            let d_spike = d_spikes[at] * args.gate(t, b, o) + d_fired;
            d_x[at] = args.step_back(&replay[t], (o, at), input, d_spike, d_state, d_params);
        }
    }
    Ok(())
}
