use crate::backend::Firing;
use crate::neuron::Neuron;
use crate::norm::ValidSteps;
use crate::num::Real;
use crate::shape::{Shape, ShapeError, expect};
use crate::surrogate::{Surrogate, step};
use alloc::vec::Vec;

/// What the neuron stage reads besides its input.
#[derive(Debug)]
pub struct NeuronArgs<'a, R, N> {
    /// The neuron, its parameters in place.
    pub neuron: &'a N,
    /// The surrogate derivative.
    pub surrogate: &'a dyn Surrogate<R>,
    /// How spikes come about; recorded spikes are a block like the input, before the mask.
    pub firing: Firing<'a, [R]>,
    /// Dropout mask `[B, N]`.
    pub mask: Option<&'a [R]>,
    /// Steps that count.
    pub valid: ValidSteps<'a>,
    /// Shape of the input.
    pub shape: Shape,
}

impl<R: Real, N: Neuron<Real = R>> NeuronArgs<'_, R, N> {
    fn check(&self, x: &[R], y: &[R]) -> Result<(), ShapeError> {
        expect("neurons' input", self.shape.len(), x.len())?;
        expect("neurons' output", self.shape.len(), y.len())?;
        if let Some(mask) = self.mask {
            expect("dropout mask", self.shape.batch * self.shape.width, mask.len())?;
        }
        if let Firing::SmoothHeld(held) | Firing::Frozen(held) = self.firing {
            expect("recorded spikes", self.shape.len(), held.len())?;
        }
        Ok(())
    }

    /// The spike that is put out and the one that resets.
    fn fire(&self, at: usize, drive: R) -> (R, R) {
        if !self.neuron.fires() {
            return (R::zero(), R::zero());
        }
        match self.firing {
            Firing::Step => (step(drive), step(drive)),
            Firing::Smooth => (self.surrogate.primitive(drive), self.surrogate.primitive(drive)),
            Firing::SmoothHeld(held) => (self.surrogate.primitive(drive), held[at]),
            Firing::Frozen(held) => (held[at], held[at]),
        }
    }

    fn slope(&self, drive: R) -> R {
        match self.firing {
            Firing::Frozen(_) => R::zero(),
            _ if !self.neuron.fires() => R::zero(),
            _ => self.surrogate.derivative(drive),
        }
    }

    /// What the output is multiplied by.
    fn pass(&self, t: usize, b: usize, o: usize) -> R {
        if t >= self.valid.steps(b, self.shape.steps) {
            return R::zero();
        }
        self.mask.map_or(R::one(), |mask| mask[b * self.shape.width + o])
    }
}

/// Neurons over time: `spikes` receives the masked spikes, `membrane`, where given, the recorded membrane after the reset. All
/// blocks are `[T, B, N]`.
///
/// # Errors
/// [`ShapeError`] when a block's size does not fit.
pub fn neuron_forward<R: Real, N: Neuron<Real = R>>(
    args: &NeuronArgs<'_, R, N>,
    x: &[R],
    spikes: &mut [R],
    mut membrane: Option<&mut [R]>,
) -> Result<(), ShapeError> {
    args.check(x, spikes)?;
    let shape = args.shape;
    for b in 0..shape.batch {
        for o in 0..shape.width {
            let mut state = args.neuron.rest();
            for t in 0..shape.steps {
                let at = shape.at(t, b, o);
                let charged = args.neuron.charge(state, x[at]);
                let (put_out, resets) = args.fire(at, args.neuron.excess(charged));
                state = args.neuron.reset(charged, resets);
                spikes[at] = put_out * args.pass(t, b, o);
                if let Some(v) = membrane.as_mut().and_then(|membrane| membrane.get_mut(at)) {
                    *v = state.as_ref()[0];
                }
            }
        }
    }
    Ok(())
}

/// Backpropagation through time: from the gradients by the masked spikes and, where given, by the recorded membrane, to those by the
/// input and by the raw parameters.
///
/// # Errors
/// [`ShapeError`] when a block's size does not fit.
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
    expect("neurons' parameters", args.neuron.params().as_ref().len(), d_params.len())?;
    d_params.fill(R::zero());
    let (shape, neuron) = (args.shape, args.neuron);
    let mut states = Vec::with_capacity(shape.steps);
    for b in 0..shape.batch {
        for o in 0..shape.width {
            states.clear();
            let mut state = neuron.rest();
            for t in 0..shape.steps {
                let at = shape.at(t, b, o);
                let charged = neuron.charge(state, x[at]);
                let (_, resets) = args.fire(at, neuron.excess(charged));
                states.push((state, charged, resets));
                state = neuron.reset(charged, resets);
            }
            let mut d_state = N::fill_state(R::zero());
            for (t, &(before, charged, resets)) in states.iter().enumerate().rev() {
                let at = shape.at(t, b, o);
                if let Some(d_v) = d_membrane.and_then(|d| d.get(at)) {
                    d_state.as_mut()[0] += *d_v;
                }
                let reset = neuron.reset_adjoint(charged, resets, d_state);
                let mut d_charged = reset.charged;
                let held = matches!(args.firing, Firing::SmoothHeld(_));
                let through_reset = if held { R::zero() } else { reset.spike };
                let d_spike = d_spikes[at] * args.pass(t, b, o) + through_reset;
                // The drive is the membrane less a constant.
                d_charged.as_mut()[0] += d_spike * args.slope(neuron.excess(charged));
                let charge = neuron.charge_adjoint(before, x[at], d_charged);
                d_x[at] = charge.input;
                d_state = charge.state;
                let parts = reset.params.as_ref().iter().zip(charge.params.as_ref());
                for (d, (&r, &c)) in d_params.iter_mut().zip(parts) {
                    *d += r + c;
                }
            }
        }
    }
    Ok(())
}
