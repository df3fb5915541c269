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

impl<R: Real, N: Neuron<Real = R>> NeuronArgs<'_, R, N> {
    fn check(&self, x: &[R], y: &[R]) -> Result<(), ShapeError> {
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

    /// Neuron `o`.
    fn neuron(&self, o: usize) -> &N {
        self.neurons.get(o).unwrap_or(&self.neurons[0])
    }

    /// The output spike and the spike that resets the state.
    fn fire(&self, at: usize, excess: R) -> (R, R) {
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
    fn gate(&self, t: usize, b: usize, o: usize) -> R {
        if t >= self.valid.steps(b, self.shape.steps) {
            return R::zero();
        }
        self.mask.map_or(R::one(), |mask| mask[b * self.shape.width + o])
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
    args.check(x, d_x)?;
    args.check(x, d_spikes)?;
    let (shape, sets) = (args.shape, args.neurons.len());
    let params = args.neurons[0].params().as_ref().len();
    expect("neurons' parameters", params * sets, d_params.len())?;
    d_params.fill(R::zero());
    let mut states = Vec::with_capacity(shape.steps);
    for b in 0..shape.batch {
        for o in 0..shape.width {
            states.clear();
            let neuron = args.neuron(o);
            let set = o.min(sets - 1);
            let mut state = args.first_state(b, o);
            for t in 0..shape.steps {
                let at = shape.at(t, b, o);
                let charged = neuron.charge(state, x[at]);
                let (_, reset_spike) = args.fire(at, neuron.excess(charged));
                states.push((state, charged, reset_spike));
                state = neuron.reset(charged, reset_spike);
            }
            let mut d_state = N::fill_state(R::zero());
            for (t, &(before, charged, reset_spike)) in states.iter().enumerate().rev() {
                let at = shape.at(t, b, o);
                if let Some(d_v) = d_membrane.and_then(|d| d.get(at)) {
                    d_state.as_mut()[0] += *d_v;
                }
                let reset = neuron.reset_adjoint(charged, reset_spike, d_state);
                let mut d_charged = reset.charged;
                let held = matches!(args.firing, Firing::SmoothHeld(_));
                let through_reset = if held { R::zero() } else { reset.spike };
                let d_spike = d_spikes[at] * args.gate(t, b, o) + through_reset;
                // The excess has slope 1 by the membrane and 0 by everything else.
                d_charged.as_mut()[0] += d_spike * args.slope(neuron.excess(charged));
                let charge = neuron.charge_adjoint(before, x[at], d_charged);
                d_x[at] = charge.input;
                d_state = charge.state;
                let parts = reset.params.as_ref().iter().zip(charge.params.as_ref());
                for (d, (&r, &c)) in d_params.iter_mut().skip(set).step_by(sets).zip(parts) {
                    *d += r + c;
                }
            }
        }
    }
    Ok(())
}
