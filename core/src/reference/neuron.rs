use crate::neuron::{Firing, Neuron};
use crate::norm::ValidSteps;
use crate::num::Real;
use crate::shape::{Shape, ShapeError, expect};
use crate::surrogate::{Surrogate, step};
use alloc::vec::Vec;

/// The arguments of the neuron stage, except its input.
#[derive(Debug)]
pub struct NeuronArgs<'a, R, N> {
    /// One neuron for all, or one for each, with their raw parameters set.
    pub neurons: &'a [N],
    /// The surrogate derivative.
    pub surrogate: &'a dyn Surrogate<R>,
    /// How neurons spike. Recorded spikes are a block like the input, before the dropout mask.
    pub firing: Firing<'a, [R]>,
    /// Dropout mask `[B, N]`.
    pub mask: Option<&'a [R]>,
    /// The valid steps.
    pub valid: ValidSteps<'a>,
    /// Shape of the input.
    pub shape: Shape,
    /// The states `[S, B, N]` before the first step; with `None`, neurons start at rest.
    pub start: Option<&'a [R]>,
}

/// The state of a neuron before a step, the charged state, and the spike that resets it.
pub(super) type Replayed<R, N> = (<N as Neuron>::State, <N as Neuron>::State, R);

impl<R: Real, N: Neuron<Real = R>> NeuronArgs<'_, R, N> {
    pub(super) fn check(&self, x: &[R], y: &[R]) -> Result<(), ShapeError> {
        expect("neurons' input", self.shape.len(), x.len())?;
        expect("neurons' output", self.shape.len(), y.len())?;
        if self.neurons.len() != 1 {
            expect("neurons", self.shape.width.max(1), self.neurons.len())?;
        }
        if let Some(mask) = self.mask {
            expect("dropout mask", self.shape.batch * self.shape.width, mask.len())?;
        }
        if let Firing::SmoothHeld(held) | Firing::Frozen(held) = self.firing {
            expect("recorded spikes", self.shape.len(), held.len())?;
        }
        match self.start {
            Some(start) => expect("neurons' first states", self.state_len(), start.len()),
            None => Ok(()),
        }
    }

    pub(super) fn check_gradients(&self, d_x: &[R], d_params: &[R]) -> Result<(), ShapeError> {
        self.check(d_x, d_x)?;
        let params = self.neurons[0].params().as_ref().len();
        expect("neurons' parameters", params * self.neurons.len(), d_params.len())
    }

    /// The number of values of the states of all neurons.
    fn state_len(&self) -> usize {
        let components = N::fill_state(R::zero()).as_ref().len();
        Shape::new(components, self.shape.batch, self.shape.width).len()
    }

    /// The state of neuron `o` of sample `b` before the first step.
    fn first_state(&self, b: usize, o: usize) -> N::State {
        let mut state = self.neuron(o).rest();
        if let Some(start) = self.start {
            for (s, value) in state.as_mut().iter_mut().enumerate() {
                *value = start[self.shape.at(s, b, o)];
            }
        }
        state
    }

    /// The states `[B, N]` before the first step.
    pub(super) fn first_states(&self) -> Vec<N::State> {
        let Shape { batch, width, .. } = self.shape;
        (0..batch * width).map(|n| self.first_state(n / width, n % width)).collect()
    }

    /// Copies the states `[B, N]` to a block `[S, B, N]`.
    pub(super) fn write_states(
        &self,
        states: &[N::State],
        end: &mut [R],
    ) -> Result<(), ShapeError> {
        expect("neurons' last states", self.state_len(), end.len())?;
        for (n, state) in states.iter().enumerate() {
            for (s, &value) in state.as_ref().iter().enumerate() {
                end[s * states.len() + n] = value;
            }
        }
        Ok(())
    }

    /// Neuron `o`.
    pub(super) fn neuron(&self, o: usize) -> &N {
        self.neurons.get(o).unwrap_or(&self.neurons[0])
    }

    /// The output spike and the spike that resets the state.
    pub(super) fn fire(&self, at: usize, excess: R) -> (R, R) {
        if !self.neurons[0].fires() {
            return (R::zero(), R::zero());
        }
        match self.firing {
            Firing::Step => (step(excess), step(excess)),
            Firing::Smooth => (self.surrogate.primitive(excess), self.surrogate.primitive(excess)),
            Firing::SmoothHeld(held) => (self.surrogate.primitive(excess), held[at]),
            Firing::Frozen(held) => (held[at], held[at]),
        }
    }

    fn slope(&self, excess: R) -> R {
        match self.firing {
            Firing::Frozen(_) => R::zero(),
            _ if !self.neurons[0].fires() => R::zero(),
            _ => self.surrogate.derivative(excess),
        }
    }

    /// The factor of the output: the dropout mask at valid steps, else 0.
    pub(super) fn gate(&self, t: usize, b: usize, o: usize) -> R {
        if t >= self.valid.steps(b, self.shape.steps) {
            return R::zero();
        }
        self.mask.map_or(R::one(), |mask| mask[b * self.shape.width + o])
    }

    /// Runs neuron `o` of sample `b` forward and keeps its states.
    pub(super) fn replay(&self, x: &[R], b: usize, o: usize) -> Vec<Replayed<R, N>> {
        let (neuron, mut state) = (self.neuron(o), self.first_state(b, o));
        let mut step = |t| {
            let at = self.shape.at(t, b, o);
            let charged = neuron.charge(state, x[at]);
            let (_, reset_spike) = self.fire(at, neuron.excess(charged));
            let replayed = (state, charged, reset_spike);
            state = neuron.reset(charged, reset_spike);
            replayed
        };
        (0..self.shape.steps).map(&mut step).collect()
    }

    /// One step back of neuron `o` at place `at`, from the gradients by its spike and by its next
    /// state: adds to the gradient by the parameters, writes that by the state, and returns that by
    /// the input.
    pub(super) fn step_back(
        &self,
        &(before, charged, reset_spike): &Replayed<R, N>,
        (o, at): (usize, usize),
        x: &[R],
        d_spike: R,
        d_state: &mut N::State,
        d_params: &mut [R],
    ) -> R {
        let (neuron, sets) = (self.neuron(o), self.neurons.len());
        let reset = neuron.reset_adjoint(charged, reset_spike, *d_state);
        let mut d_charged = reset.charged;
        let held = matches!(self.firing, Firing::SmoothHeld(_));
        let through_reset = if held { R::zero() } else { reset.spike };
        // The excess has slope 1 by the membrane and 0 by everything else.
        d_charged.as_mut()[0] += (d_spike + through_reset) * self.slope(neuron.excess(charged));
        let charge = neuron.charge_adjoint(before, x[at], d_charged);
        *d_state = charge.state;
        let set = d_params.iter_mut().skip(o.min(sets - 1)).step_by(sets);
        let parts = reset.params.as_ref().iter().zip(charge.params.as_ref());
        for (d, (&r, &c)) in set.zip(parts) {
            *d += r + c;
        }
        charge.input
    }
}

/// Runs neurons over time. `spikes` receives the spikes times the dropout mask; `membrane`, if
/// given, receives the membrane after the reset. These blocks are `[T, B, N]`. `end`, if given,
/// receives the states `[S, B, N]` after the last step.
///
/// # Errors
/// [`ShapeError`] if the size of a block does not match.
pub fn neuron_forward<R: Real, N: Neuron<Real = R>>(
    args: &NeuronArgs<'_, R, N>,
    x: &[R],
    spikes: &mut [R],
    mut membrane: Option<&mut [R]>,
    mut end: Option<&mut [R]>,
) -> Result<(), ShapeError> {
    args.check(x, spikes)?;
    if let Some(end) = &end {
        expect("neurons' last states", args.state_len(), end.len())?;
    }
    let shape = args.shape;
    for b in 0..shape.batch {
        for o in 0..shape.width {
            let neuron = args.neuron(o);
            let mut state = args.first_state(b, o);
            for t in 0..shape.steps {
                let at = shape.at(t, b, o);
                let charged = neuron.charge(state, x[at]);
                let (spike, reset_spike) = args.fire(at, neuron.excess(charged));
                state = neuron.reset(charged, reset_spike);
                spikes[at] = spike * args.gate(t, b, o);
                if let Some(v) = membrane.as_mut().and_then(|membrane| membrane.get_mut(at)) {
                    *v = state.as_ref()[0];
                }
            }
            if let Some(end) = &mut end {
                for (s, &value) in state.as_ref().iter().enumerate() {
                    end[shape.at(s, b, o)] = value;
                }
            }
        }
    }
    Ok(())
}

/// Backpropagation through time: from the gradients by the output spikes and, if given, by the
/// membrane after the reset, to the gradients by the input and by the raw parameters, `[P]` or
/// `[P, N]`. The states before the first step are constants.
///
/// # Errors
/// [`ShapeError`] if the size of a block does not match.
pub fn neuron_backward<R: Real, N: Neuron<Real = R>>(
    args: &NeuronArgs<'_, R, N>,
    x: &[R],
    d_spikes: &[R],
    d_membrane: Option<&[R]>,
    d_x: &mut [R],
    d_params: &mut [R],
) -> Result<(), ShapeError> {
    args.check(x, d_spikes)?;
    args.check_gradients(d_x, d_params)?;
    let shape = args.shape;
    d_params.fill(R::zero());
    for b in 0..shape.batch {
        for o in 0..shape.width {
            let replayed = args.replay(x, b, o);
            let mut d_state = N::fill_state(R::zero());
            for (t, step) in replayed.iter().enumerate().rev() {
                let at = shape.at(t, b, o);
                if let Some(d_v) = d_membrane.and_then(|d| d.get(at)) {
                    d_state.as_mut()[0] += *d_v;
                }
                let d_spike = d_spikes[at] * args.gate(t, b, o);
                d_x[at] = args.step_back(step, (o, at), x, d_spike, &mut d_state, d_params);
            }
        }
    }
    Ok(())
}
