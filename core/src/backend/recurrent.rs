use super::{Backend, NeuronStage, RecurrentGradients, RecurrentStage};
use crate::norm::ValidSteps;
use crate::num::Real;
use crate::shape::{Shape, ShapeError, expect, try_size};
use alloc::vec;
use alloc::vec::Vec;
use num_traits::Zero;

/// [`Backend::recurrent_forward`], made of projections and neuron stages.
pub(super) fn forward<B: Backend>(
    backend: &B,
    recurrent: &RecurrentStage<'_, B>,
    stage: &NeuronStage<'_, B>,
    x: &B::Sequence,
    [input, fired, spikes]: [&mut B::Sequence; 3],
    end: Option<&mut B::Buffer>,
) -> Result<(), B::Error> {
    let shape = backend.shape(x);
    for (what, found) in [("recurrent input", &*input), ("recurrent spikes", &*fired)] {
        shape.expect(what, backend.shape(found))?;
    }
    shape.expect("neurons' output", backend.shape(spikes))?;
    let current = Current::new(backend, recurrent, shape)?;
    let mut x_host = vec![B::Real::zero(); shape.len()];
    backend.download_sequence(x, &mut x_host)?;
    let mut known = vec![B::Real::zero(); shape.len()];
    let (stage_of_all, mut found) = (ungated(stage), known.clone());
    for _ in 0..=shape.steps {
        let mut sum = current.of(&known)?;
        sum.iter_mut().zip(&x_host).for_each(|(sum, &x)| *sum += x);
        backend.upload_sequence(&sum, input)?;
        backend.neuron_forward(&stage_of_all, input, fired, None)?;
        backend.download_sequence(fired, &mut found)?;
        if found == known {
            break;
        }
        core::mem::swap(&mut known, &mut found);
    }
    backend.neuron_forward(stage, input, spikes, end)
}

/// [`Backend::recurrent_backward`], made of projections and neuron stages.
pub(super) fn backward<B: Backend>(
    backend: &B,
    recurrent: &RecurrentStage<'_, B>,
    stage: &NeuronStage<'_, B>,
    [input, fired]: [&B::Sequence; 2],
    d: &mut B::Sequence,
    gradients: RecurrentGradients<'_, B::Buffer>,
) -> Result<(), B::Error> {
    let shape = backend.shape(input);
    shape.expect("recurrent spikes", backend.shape(fired))?;
    shape.expect("neurons' output gradient", backend.shape(d))?;
    let RecurrentGradients { synapses: mut by_synapse, neuron: mut by_neuron } = gradients;
    let current = Current::new(backend, recurrent, shape)?;
    let mut host = [(); 2].map(|()| vec![B::Real::zero(); shape.len()]);
    let [fired_host, d_host] = &mut host;
    backend.download_sequence(fired, fired_host)?;
    backend.download_sequence(d, d_host)?;
    let spikes = current.upload(&current.spikes(fired_host))?;
    gate(backend, stage, shape, d_host)?;
    let (stage, mut found) = (ungated(stage), vec![B::Real::zero(); shape.len()]);
    let (mut known, mut d_spikes) = (found.clone(), backend.sequence(shape)?);
    for _ in 0..=shape.steps {
        let mut sum = current.adjoint(&spikes, &known, &mut by_synapse)?;
        sum.iter_mut().zip(&*d_host).for_each(|(sum, &d)| *sum += d);
        backend.upload_sequence(&sum, &mut d_spikes)?;
        backend.neuron_backward(&stage, input, &d_spikes, d, by_neuron.reborrow())?;
        backend.download_sequence(d, &mut found)?;
        if found == known {
            break;
        }
        core::mem::swap(&mut known, &mut found);
    }
    Ok(())
}

/// The same stage without dropout, valid at all steps.
fn ungated<'a, B: Backend>(stage: &NeuronStage<'a, B>) -> NeuronStage<'a, B> {
    let NeuronStage { neuron, ref params, surrogate, firing, start, .. } = *stage;
    let (params, valid) = (params.clone(), ValidSteps::default());
    NeuronStage { neuron, params, surrogate, firing, mask: None, valid, start }
}

/// Multiplies by the dropout mask at valid steps, by 0 elsewhere.
fn gate<B: Backend>(
    backend: &B,
    stage: &NeuronStage<'_, B>,
    shape: Shape,
    d: &mut [B::Real],
) -> Result<(), B::Error> {
    let mask = host_mask(backend, stage.mask, shape)?;
    for (t, rows) in d.chunks_mut((shape.batch * shape.width).max(1)).enumerate() {
        for (b, row) in rows.chunks_mut(shape.width.max(1)).enumerate() {
            let valid = t < stage.valid.steps(b, shape.steps);
            for (d, &mask) in row.iter_mut().zip(&mask[b * shape.width..]) {
                *d *= if valid { mask } else { B::Real::zero() };
            }
        }
    }
    Ok(())
}

/// A dropout mask; ones if there is none.
fn host_mask<B: Backend>(
    backend: &B,
    mask: Option<&B::Buffer>,
    shape: Shape,
) -> Result<Vec<B::Real>, B::Error> {
    let mut host = vec![B::Real::of(1.0); shape.batch.saturating_mul(shape.width)];
    mask.map_or(Ok(()), |mask| backend.download(mask, &mut host))?;
    Ok(host)
}

/// The current of recurrent synapses as the last steps of a projection of K - 1 more.
struct Current<'a, B: Backend> {
    backend: &'a B,
    stage: &'a RecurrentStage<'a, B>,
    shape: Shape,
    mask: Vec<B::Real>,
    /// The spikes of the K steps before the first.
    before: Vec<B::Real>,
}

impl<'a, B: Backend> Current<'a, B> {
    fn new(
        backend: &'a B,
        stage: &'a RecurrentStage<'a, B>,
        shape: Shape,
    ) -> Result<Self, B::Error> {
        stage.check(shape)?;
        let past = Shape { steps: stage.synapses.taps, ..shape };
        let mut before = vec![B::Real::zero(); past.try_len()?];
        if let Some(spikes) = stage.before {
            past.expect("spikes before", backend.shape(spikes))?;
            backend.download_sequence(spikes, &mut before)?;
        }
        let mask = host_mask(backend, stage.mask, shape)?;
        Ok(Self { backend, stage, shape, mask, before })
    }

    /// The steps of the projection.
    fn steps(&self) -> usize {
        self.stage.synapses.taps + self.shape.steps.saturating_sub(1)
    }

    fn upload(&self, values: &[B::Real]) -> Result<B::Sequence, B::Error> {
        let mut sequence = self.backend.sequence(Shape { steps: self.steps(), ..self.shape })?;
        self.backend.upload_sequence(values, &mut sequence)?;
        Ok(sequence)
    }

    /// The spikes before each step, from K steps before the first on.
    fn spikes(&self, fired: &[B::Real]) -> Vec<B::Real> {
        let row = self.shape.batch * self.shape.width;
        [&self.before, &fired[..fired.len().saturating_sub(row)]].concat()
    }

    fn masked(&self, values: &mut [B::Real]) {
        for row in values.chunks_mut(self.mask.len().max(1)) {
            row.iter_mut().zip(&self.mask).for_each(|(x, &mask)| *x *= mask);
        }
    }

    /// The current of all steps.
    fn of(&self, fired: &[B::Real]) -> Result<Vec<B::Real>, B::Error> {
        let RecurrentStage { synapses, kernel, params, .. } = self.stage;
        let x = self.upload(&self.spikes(fired))?;
        let mut y = self.backend.sequence(self.backend.shape(&x))?;
        self.backend.project(synapses, kernel, params.clone(), &x, &mut y)?;
        let mut current = self.backend.sequence(self.shape)?;
        self.backend.copy_last(&y, &mut current)?;
        let mut host = vec![B::Real::zero(); self.shape.len()];
        self.backend.download_sequence(&current, &mut host)?;
        self.masked(&mut host);
        Ok(host)
    }

    /// The gradient by the spikes of all steps for the gradient by the current.
    fn adjoint(
        &self,
        spikes: &B::Sequence,
        d_current: &[B::Real],
        gradients: &mut super::SynapseGradients<'_, B::Buffer>,
    ) -> Result<Vec<B::Real>, B::Error> {
        let RecurrentStage { synapses, kernel, params, .. } = self.stage;
        let long = self.backend.shape(spikes);
        let mut d_y = vec![B::Real::zero(); long.len() - d_current.len()];
        d_y.extend_from_slice(d_current);
        self.masked(&mut d_y);
        let (d_y, mut d_x) = (self.upload(&d_y)?, self.backend.sequence(long)?);
        let (params, to) = (params.clone(), gradients.reborrow());
        self.backend.project_backward(
            synapses,
            kernel,
            params,
            spikes,
            &d_y,
            to,
            Some(&mut d_x),
        )?;
        let mut host = vec![B::Real::zero(); long.len()];
        self.backend.download_sequence(&d_x, &mut host)?;
        host.drain(..self.before.len());
        host.resize(self.shape.len(), B::Real::zero());
        Ok(host)
    }
}

impl<B: Backend> RecurrentStage<'_, B> {
    /// Checks the sizes of the synapses for a layer of neurons with outputs of a shape.
    ///
    /// # Errors
    /// [`ShapeError`] if they do not connect its neurons with each other.
    pub fn check(&self, shape: Shape) -> Result<(), ShapeError> {
        expect("recurrent inputs", shape.width, self.synapses.inputs)?;
        expect("recurrent outputs", shape.width, self.synapses.outputs)?;
        expect("recurrent padding", 0, self.synapses.padding)?;
        expect("recurrent taps", self.synapses.taps.max(1), self.synapses.taps)?;
        try_size("recurrent kernel", self.synapses.dense_len())?;
        try_size("recurrent weights", self.synapses.weights())?;
        let steps = self.synapses.taps.saturating_add(shape.steps);
        Shape { steps, ..shape }.try_len().map(|_| ())
    }
}
