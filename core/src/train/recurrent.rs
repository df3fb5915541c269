use super::graph::Node;
use super::layers::Layers;
use super::workspace::Signal;
use crate::backend::{
    Activation, ActivationGradients, Backend, NormMode, RecurrentGradients, SynapseGradients,
};
use crate::delay::Rounding;
use crate::rng::Rng;
use crate::shape::Shape;

/// The blocks of a recurrent layer in a pass.
pub(super) struct RecurrentSpace<B: Backend> {
    /// What the neurons integrate.
    input: B::Sequence,
    /// The spikes before dropout.
    fired: Signal<B>,
    mask: Option<B::Buffer>,
}

/// A pass over layer `l`.
pub(super) struct RecurrentPass<'a, B: Backend> {
    pub(super) backend: &'a B,
    pub(super) layers: &'a Layers<B>,
    pub(super) l: usize,
    pub(super) rounding: Option<Rounding>,
}

impl<B: Backend> RecurrentSpace<B> {
    /// The blocks for outputs of a shape; `None` if the layer is not recurrent.
    pub(super) fn new(
        backend: &B,
        node: &Node,
        output: Shape,
        in_windows: bool,
    ) -> Result<Option<Self>, B::Error> {
        let Some(edge) = &node.recurrence else { return Ok(None) };
        let past = in_windows.then_some(edge.synapses.taps);
        let (input, fired) = (backend.sequence(output)?, Signal::new(backend, output, past)?);
        Ok(Some(Self { input, fired, mask: None }))
    }

    /// Draws the dropout mask of a batch.
    pub(super) fn draw_mask(
        &mut self,
        backend: &B,
        rng: Rng,
        dropout: f64,
    ) -> Result<(), B::Error> {
        let Shape { batch, width, .. } = backend.shape(&self.input);
        self.mask = match dropout > 0.0 {
            true => Some(backend.dropout(rng, dropout, batch * width)?),
            false => None,
        };
        Ok(())
    }

    pub(super) fn restart(&mut self, backend: &B) -> Result<(), B::Error> {
        self.fired.restart(backend)
    }

    pub(super) fn advance(&mut self, backend: &B) -> Result<(), B::Error> {
        self.fired.advance(backend)
    }

    /// [`Backend::activate`] of a recurrent layer.
    pub(super) fn forward(
        &mut self,
        pass: &RecurrentPass<'_, B>,
        layer: &Activation<'_, B>,
        mode: NormMode<'_, B::Buffer>,
        y: &B::Sequence,
        statistics: &mut B::Buffer,
        spikes: &mut B::Sequence,
        end: Option<&mut B::Buffer>,
    ) -> Result<(), B::Error> {
        let RecurrentPass { backend, layers, l, rounding } = *pass;
        let z = match &layer.norm {
            Some((norm, params)) => {
                let mut z = backend.sequence(backend.shape(y))?;
                let (params, valid) = (params.clone(), layer.neurons.valid);
                backend.norm_forward(norm, params, mode, valid, y, statistics, &mut z)?;
                Some(z)
            }
            None => None,
        };
        let Self { input, fired: Signal { now, past }, mask } = self;
        let before = past.as_ref().map(|past| &past.before);
        if let Some(recurrent) = layers.recurrence(l, rounding, mask.as_ref(), before) {
            let (x, outputs) = (z.as_ref().unwrap_or(y), [input, now, spikes]);
            backend.recurrent_forward(&recurrent, &layer.neurons, x, outputs, end)?;
        }
        self.fired.join(backend)
    }

    /// [`Backend::activate_backward`] of a recurrent layer.
    pub(super) fn backward(
        &self,
        pass: &RecurrentPass<'_, B>,
        layer: &Activation<'_, B>,
        y: &B::Sequence,
        statistics: &B::Buffer,
        d: &mut B::Sequence,
        (by_synapse, by_activation): (
            SynapseGradients<'_, B::Buffer>,
            ActivationGradients<'_, B::Buffer>,
        ),
    ) -> Result<(), B::Error> {
        let RecurrentPass { backend, layers, l, rounding } = *pass;
        let Self { input, fired: Signal { now, past }, mask } = self;
        let before = past.as_ref().map(|past| &past.before);
        let ActivationGradients { norm: by_norm, neuron } = by_activation;
        if let Some(recurrent) = layers.recurrence(l, rounding, mask.as_ref(), before) {
            let gradients = RecurrentGradients { synapses: by_synapse, neuron };
            backend.recurrent_backward(&recurrent, &layer.neurons, [input, now], d, gradients)?;
        }
        if let Some((_, params)) = &layer.norm {
            let mut d_y = backend.sequence(backend.shape(y))?;
            let (params, valid) = (params.clone(), layer.neurons.valid);
            backend.norm_backward(params, statistics, valid, y, d, &mut d_y, by_norm)?;
            *d = d_y;
        }
        Ok(())
    }
}
