use super::Backend;
use crate::delay::{Place, Rounding};
use crate::neuron::{ErasedNeuron, Firing};
use crate::norm::{BatchNorm, ValidSteps};
use crate::shape::{ShapeError, Synapses, expect};
use alloc::vec::Vec;
use core::ops::Range;

/// A part of a flat buffer.
#[derive(Debug)]
pub struct View<'a, B> {
    /// The whole buffer.
    pub buffer: &'a B,
    /// The indices of the part.
    pub range: Range<usize>,
}

impl<'a, B> View<'a, B> {
    /// The part `range` of `buffer`.
    #[must_use]
    pub fn new(buffer: &'a B, range: Range<usize>) -> Self {
        Self { buffer, range }
    }
}

impl<'a, R> View<'a, Vec<R>> {
    /// The values of a part of a buffer in host memory.
    ///
    /// # Errors
    /// [`ShapeError`] if the range exceeds the buffer.
    pub fn slice(&self) -> Result<&'a [R], ShapeError> {
        let (expected, found) = (self.range.end, self.buffer.len());
        let error = ShapeError { what: "part of a buffer", expected, found };
        self.buffer.get(self.range.clone()).ok_or(error)
    }
}

impl<B> Clone for SynapseParams<'_, B> {
    fn clone(&self) -> Self {
        let Self { weights, delays, sigma, rounding } = self;
        let [weights, delays, sigma] = [weights, delays, sigma].map(View::clone);
        Self { weights, delays, sigma, rounding: *rounding }
    }
}

impl<B> Clone for View<'_, B> {
    fn clone(&self) -> Self {
        Self { buffer: self.buffer, range: self.range.clone() }
    }
}

/// A writable part of a flat buffer.
#[derive(Debug)]
pub struct ViewMut<'a, B> {
    /// The whole buffer.
    pub buffer: &'a mut B,
    /// The indices of the part.
    pub range: Range<usize>,
}

impl<'a, B> ViewMut<'a, B> {
    /// The part `range` of `buffer`.
    #[must_use]
    pub fn new(buffer: &'a mut B, range: Range<usize>) -> Self {
        Self { buffer, range }
    }

    /// The same part, borrowed for a shorter time.
    #[must_use]
    pub fn reborrow(&mut self) -> ViewMut<'_, B> {
        ViewMut { buffer: self.buffer, range: self.range.clone() }
    }
}

impl<'a, R> ViewMut<'a, Vec<R>> {
    /// The values of a part of a buffer in host memory.
    ///
    /// # Errors
    /// [`ShapeError`] if the range exceeds the buffer.
    pub fn slice(self) -> Result<&'a mut [R], ShapeError> {
        let (expected, found) = (self.range.end, self.buffer.len());
        let error = ShapeError { what: "part of a buffer", expected, found };
        self.buffer.get_mut(self.range).ok_or(error)
    }
}

/// The statistics of a normalisation.
#[derive(Debug)]
pub enum NormMode<'a, B> {
    /// The statistics of this batch, which also update the running statistics.
    Batch {
        /// `[mean | var]` of the layer.
        running: ViewMut<'a, B>,
    },
    /// The running statistics `[mean | var]`.
    Running(View<'a, B>),
}

/// The parameters of a projection: weights and delays `[out, in, count]`; sigma has one value in
/// all or one per weight.
#[derive(Debug)]
pub struct SynapseParams<'a, B> {
    /// Weights.
    pub weights: View<'a, B>,
    /// Delays in steps.
    pub delays: View<'a, B>,
    /// Raw sigma.
    pub sigma: View<'a, B>,
    /// How delays become whole steps; with `None`, the delay kernel spreads them.
    pub rounding: Option<Rounding>,
}

/// The gradients of a projection, with the shapes of [`SynapseParams`].
#[derive(Debug)]
pub struct SynapseGradients<'a, B> {
    /// By the weights.
    pub weights: ViewMut<'a, B>,
    /// By the delays.
    pub delays: ViewMut<'a, B>,
    /// By sigma.
    pub sigma: ViewMut<'a, B>,
}

impl<B> SynapseGradients<'_, B> {
    /// The same parts, borrowed for a shorter time.
    #[must_use]
    pub fn reborrow(&mut self) -> SynapseGradients<'_, B> {
        let Self { weights, delays, sigma } = self;
        SynapseGradients {
            weights: weights.reborrow(),
            delays: delays.reborrow(),
            sigma: sigma.reborrow(),
        }
    }
}

/// The arguments of a neuron stage, except its input.
pub struct NeuronStage<'a, B: Backend> {
    /// The model.
    pub neuron: &'a B::Neuron,
    /// The raw learnable parameters: one set `[P]` for all neurons, or one for each, `[P, width]`.
    pub params: View<'a, B::Buffer>,
    /// The surrogate derivative.
    pub surrogate: &'a B::Surrogate,
    /// How neurons spike.
    pub firing: Firing<'a, B::Sequence>,
    /// Dropout mask `[batch, width]`, constant over time.
    pub mask: Option<&'a B::Buffer>,
    /// The valid steps.
    pub valid: ValidSteps<'a>,
    /// The states `[S, batch, width]` before the first step, with the S components of
    /// [`ErasedNeuron::state_count`]; with `None`, neurons start at rest.
    pub start: Option<&'a B::Buffer>,
}

impl<'a, B: Backend> NeuronStage<'a, B> {
    /// The same arguments for a backend with the same types, such as the one that `B` wraps.
    #[must_use]
    pub fn on<C>(&self) -> NeuronStage<'a, C>
    where
        C: Backend<
                Real = B::Real,
                Buffer = B::Buffer,
                Sequence = B::Sequence,
                Neuron = B::Neuron,
                Surrogate = B::Surrogate,
            >,
    {
        let Self { neuron, ref params, surrogate, firing, mask, valid, start } = *self;
        NeuronStage { neuron, params: params.clone(), surrogate, firing, mask, valid, start }
    }

    /// The number of parameter sets for `width` neurons: 1, or one for each.
    ///
    /// # Errors
    /// [`ShapeError`] if the number of parameters fits neither.
    pub fn sets(&self, width: usize) -> Result<usize, ShapeError> {
        let (one, found) = (self.neuron.param_count(), self.params.range.len());
        if width > 0 && found == one.saturating_mul(width) && found != one {
            return Ok(width);
        }
        expect("neurons' parameters", one, found).map(|()| 1)
    }
}

/// What follows the projections of a layer: norm, neurons, dropout.
pub struct Activation<'a, B: Backend> {
    /// Normalisation and its `[gamma | beta]`.
    pub norm: Option<(&'a BatchNorm<B::Real>, View<'a, B::Buffer>)>,
    /// The neurons. `valid` applies to the output of the layer.
    pub neurons: NeuronStage<'a, B>,
}

impl<'a, B: Backend> Activation<'a, B> {
    /// As [`NeuronStage::on`].
    #[must_use]
    pub fn on<C>(&self) -> Activation<'a, C>
    where
        C: Backend<
                Real = B::Real,
                Buffer = B::Buffer,
                Sequence = B::Sequence,
                Neuron = B::Neuron,
                Surrogate = B::Surrogate,
            >,
    {
        Activation { norm: self.norm.clone(), neurons: self.neurons.on() }
    }
}

/// The gradients of an [`Activation`].
#[derive(Debug)]
pub struct ActivationGradients<'a, B> {
    /// By `[gamma | beta]`.
    pub norm: ViewMut<'a, B>,
    /// By the raw parameters of the neuron.
    pub neuron: ViewMut<'a, B>,
}

/// Synapses among the neurons of a layer, with delays of `1 + j` steps at tap `j`.
///
/// ```text
/// current[t, b, o] = mask[b, o] sum over i, j of kernel_j[o, i] s[t - 1 - j, b, i]
/// ```
///
/// Source: DelRec (arXiv 2509.24852), with any delay kernel.
pub struct RecurrentStage<'a, B: Backend> {
    /// The sizes; the padding is 0.
    pub synapses: &'a Synapses,
    /// Where the delays sit. The delays of `params` are those of all synapses.
    pub place: Place,
    /// The delay kernel.
    pub kernel: &'a B::Kernel,
    /// The parameters.
    pub params: SynapseParams<'a, B::Buffer>,
    /// Where the sigmas sit if there is one per weight, as the delays do.
    pub spread: Option<Place>,
    /// Dropout mask `[batch, width]` of the current, constant over time.
    pub mask: Option<&'a B::Buffer>,
    /// The spikes, before dropout, of the `taps` steps before the first; with `None`, there were
    /// none.
    pub before: Option<&'a B::Sequence>,
}

impl<'a, B: Backend> RecurrentStage<'a, B> {
    /// As [`NeuronStage::on`].
    #[must_use]
    pub fn on<C>(&self) -> RecurrentStage<'a, C>
    where
        C: Backend<Buffer = B::Buffer, Sequence = B::Sequence, Kernel = B::Kernel>,
    {
        let Self { synapses, place, kernel, ref params, spread, mask, before } = *self;
        let params = params.clone();
        RecurrentStage { synapses, place, kernel, params, spread, mask, before }
    }
}

/// The gradients of a recurrent layer.
#[derive(Debug)]
pub struct RecurrentGradients<'a, B> {
    /// By the parameters of the synapses. Of synapses that share a delay or a sigma, only the sum
    /// of the gradients by it is specified: [`Place::reduce`].
    pub synapses: SynapseGradients<'a, B>,
    /// By the raw parameters of the neurons.
    pub neuron: ViewMut<'a, B>,
}
