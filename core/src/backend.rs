//! The boundary between model and machine: coarse operations over whole `[time, batch, width]` blocks.
//!
//! A backend implements [`Backend`], [`SynapseOps`] for the delay kernels and [`NeuronOps`] for the neurons and
//! surrogates that it has, and [`LayerOps`], whose methods compose the parts unless it has a fused pass. The
//! conformance suite says whether it is right. Gradients are written, not added to.

pub use crate::neuron::Firing;

use crate::delay::DelayKernel;
use crate::loss::Loss;
use crate::neuron::{Li, NeuronModel};
use crate::norm::{BatchNorm, ValidSteps};
use crate::num::Real;
use crate::optim::Adam;
use crate::rng::Rng;
use crate::shape::{Shape, ShapeError, Synapses};
use crate::surrogate::Surrogate;
use alloc::vec;
use alloc::vec::Vec;
use core::error::Error;
use core::ops::Range;

/// A part of a flat buffer.
#[derive(Debug)]
pub struct View<'a, B> {
    /// The whole buffer.
    pub buffer: &'a B,
    /// The part that is meant.
    pub range: Range<usize>,
}

impl<'a, B> View<'a, B> {
    /// A part of `buffer`.
    pub fn new(buffer: &'a B, range: Range<usize>) -> Self {
        Self { buffer, range }
    }
}

impl<'a, R> View<'a, Vec<R>> {
    /// The part, of a buffer in host memory.
    ///
    /// # Errors
    /// [`ShapeError`] where the buffer ends before the part.
    pub fn slice(&self) -> Result<&'a [R], ShapeError> {
        let (expected, found) = (self.range.end, self.buffer.len());
        let error = ShapeError { what: "part of a buffer", expected, found };
        self.buffer.get(self.range.clone()).ok_or(error)
    }
}

impl<B> Clone for View<'_, B> {
    fn clone(&self) -> Self {
        Self { buffer: self.buffer, range: self.range.clone() }
    }
}

/// A part of a flat buffer, to be written.
#[derive(Debug)]
pub struct ViewMut<'a, B> {
    /// The whole buffer.
    pub buffer: &'a mut B,
    /// The part that is meant.
    pub range: Range<usize>,
}

impl<'a, B> ViewMut<'a, B> {
    /// A part of `buffer`.
    pub fn new(buffer: &'a mut B, range: Range<usize>) -> Self {
        Self { buffer, range }
    }
}

impl<'a, R> ViewMut<'a, Vec<R>> {
    /// The part, of a buffer in host memory.
    ///
    /// # Errors
    /// [`ShapeError`] where the buffer ends before the part.
    pub fn slice(self) -> Result<&'a mut [R], ShapeError> {
        let (expected, found) = (self.range.end, self.buffer.len());
        let error = ShapeError { what: "part of a buffer", expected, found };
        self.buffer.get_mut(self.range).ok_or(error)
    }
}

/// Which statistics normalise, and what becomes of them.
#[derive(Debug)]
pub enum NormMode<'a, B> {
    /// Statistics of this batch; the running ones follow.
    Batch {
        /// `[mean | var]` of the layer, updated.
        running: ViewMut<'a, B>,
    },
    /// The running statistics `[mean | var]`.
    Running(View<'a, B>),
}

/// A projection's parameters: weights and delays `[out, in, count]`, sigma one number or as many.
#[derive(Debug)]
pub struct SynapseParams<'a, B> {
    /// Weights.
    pub weights: View<'a, B>,
    /// Delays in steps.
    pub delays: View<'a, B>,
    /// Raw sigma.
    pub sigma: View<'a, B>,
}

/// Where a projection's gradients go; shapes as in [`SynapseParams`].
#[derive(Debug)]
pub struct SynapseGradients<'a, B> {
    /// By the weights.
    pub weights: ViewMut<'a, B>,
    /// By the delays.
    pub delays: ViewMut<'a, B>,
    /// By sigma.
    pub sigma: ViewMut<'a, B>,
}

/// Memory, the stages without a model choice, and the optimizer.
///
/// Buffers and sequences are opaque: the host's side is a slice in time-major order; how a device lays data out
/// is its own business. Operations check shapes at the door and may run asynchronously until a download or
/// [`synchronize`](Self::synchronize).
///
/// # Errors
/// Every operation fails with [`ShapeError`] (as [`Backend::Error`]) for a block of the wrong size, and with what the
/// device reports otherwise.
pub trait Backend<R: Real> {
    /// A flat block of numbers: parameters, gradients, masks.
    type Buffer;
    /// A block `[time, batch, width]`.
    type Sequence;
    /// What can go wrong.
    type Error: Error + From<ShapeError> + Send + Sync + 'static;

    /// A name for reports, `"cpu"` say.
    fn name(&self) -> &'static str;

    /// Bytes of device memory that the backend holds; `None` where its memory is the host's.
    fn device_bytes(&self) -> Option<usize> {
        None
    }

    /// A buffer of `len` zeros.
    fn buffer(&self, len: usize) -> Result<Self::Buffer, Self::Error>;
    /// A sequence of zeros.
    fn sequence(&self, shape: Shape) -> Result<Self::Sequence, Self::Error>;
    /// The shape of a sequence.
    fn shape(&self, sequence: &Self::Sequence) -> Shape;
    /// Copies a host block of the buffer's length into the buffer.
    fn upload(&self, from: &[R], to: &mut Self::Buffer) -> Result<(), Self::Error>;
    /// Copies the buffer to the host.
    fn download(&self, from: &Self::Buffer, to: &mut [R]) -> Result<(), Self::Error>;
    /// Copies a host block, time-major, into the sequence.
    fn upload_sequence(&self, from: &[R], to: &mut Self::Sequence) -> Result<(), Self::Error>;
    /// Copies the sequence to the host, time-major.
    fn download_sequence(&self, from: &Self::Sequence, to: &mut [R]) -> Result<(), Self::Error>;
    /// Waits until everything asked for is done.
    fn synchronize(&self) -> Result<(), Self::Error>;

    /// Normalises `y` into `z` (equation at [`BatchNorm`]). `params` is `[gamma | beta]`; `saved` receives
    /// `[mean | 1 / deviation]` for the backward pass.
    fn norm_forward(
        &self,
        norm: &BatchNorm<R>,
        params: View<'_, Self::Buffer>,
        mode: NormMode<'_, Self::Buffer>,
        valid: ValidSteps<'_>,
        y: &Self::Sequence,
        saved: &mut Self::Buffer,
        z: &mut Self::Sequence,
    ) -> Result<(), Self::Error>;

    /// Normalises `y` into `z` again with the statistics that [`norm_forward`](Self::norm_forward) saved.
    fn norm_apply(
        &self,
        params: View<'_, Self::Buffer>,
        saved: &Self::Buffer,
        y: &Self::Sequence,
        z: &mut Self::Sequence,
    ) -> Result<(), Self::Error>;

    /// The backward pass of [`norm_forward`](Self::norm_forward) with the batch's statistics; `d_params` is `[gamma | beta]`.
    fn norm_backward(
        &self,
        params: View<'_, Self::Buffer>,
        saved: &Self::Buffer,
        valid: ValidSteps<'_>,
        y: &Self::Sequence,
        d_z: &Self::Sequence,
        d_y: &mut Self::Sequence,
        d_params: ViewMut<'_, Self::Buffer>,
    ) -> Result<(), Self::Error>;

    /// Integrates `x` in the readout and scores it: `scores` receives `[batch, classes]`; with `targets`
    /// (distributions `[batch, classes]`) the mean loss is returned, and `d_x` receives its gradient. Without
    /// targets the loss is 0 and `d_x` is not touched.
    fn readout(
        &self,
        readout: &Li<R>,
        loss: Loss,
        valid: ValidSteps<'_>,
        x: &Self::Sequence,
        targets: Option<&Self::Buffer>,
        scores: &mut Self::Buffer,
        d_x: Option<&mut Self::Sequence>,
    ) -> Result<R, Self::Error>;

    /// One optimizer step over the same range of four flat buffers.
    fn adam(
        &self,
        adam: &Adam<R>,
        range: Range<usize>,
        gradient: &Self::Buffer,
        params: &mut Self::Buffer,
        first: &mut Self::Buffer,
        second: &mut Self::Buffer,
    ) -> Result<(), Self::Error>;

    /// Whether every number in the buffers, each given with its length, is finite.
    fn are_finite(&self, buffers: &[(&Self::Buffer, usize)]) -> Result<bool, Self::Error> {
        for &(buffer, len) in buffers {
            let mut host = vec![R::zero(); len];
            self.download(buffer, &mut host)?;
            if !host.iter().all(|x| x.is_finite()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A dropout mask `[batch, width]` of zeros (with probability `p`) and `1 / (1 - p)`, the draw of each place being
    /// `rng.uniform(place) < p`: the same mask on every backend.
    fn dropout(&self, rng: Rng, p: f64, len: usize) -> Result<Self::Buffer, Self::Error> {
        let keep = R::of(1.0 / (1.0 - p));
        let mut mask = vec![R::zero(); len];
        for (n, m) in mask.iter_mut().enumerate() {
            *m = if rng.uniform::<f64>(n as u64) < p { R::zero() } else { keep };
        }
        let mut buffer = self.buffer(len)?;
        self.upload(&mask, &mut buffer)?;
        Ok(buffer)
    }
}

/// Delayed projections with a delay kernel.
#[diagnostic::on_unimplemented(
    message = "the backend `{Self}` has no delay kernel `{K}`",
    note = "the CPU and the reference backend take every type that implements `DelayKernel`"
)]
pub trait SynapseOps<R: Real, K: DelayKernel<R>>: Backend<R> {
    /// `y[t, b, o] = sum over i, j of kernel_j[o, i] x[t - j, b, i]`, the kernel built as in [`crate::delay`].
    fn project(
        &self,
        synapses: &Synapses,
        kernel: &K,
        params: SynapseParams<'_, Self::Buffer>,
        x: &Self::Sequence,
        y: &mut Self::Sequence,
    ) -> Result<(), Self::Error>;

    /// The backward pass of [`project`](Self::project) for an upstream gradient `d_y`; the input's gradient only where asked for.
    fn project_backward(
        &self,
        synapses: &Synapses,
        kernel: &K,
        params: SynapseParams<'_, Self::Buffer>,
        x: &Self::Sequence,
        d_y: &Self::Sequence,
        gradients: SynapseGradients<'_, Self::Buffer>,
        d_x: Option<&mut Self::Sequence>,
    ) -> Result<(), Self::Error>;
}

/// What a neuron stage reads besides its input.
#[derive(Debug)]
pub struct NeuronStage<'a, N, S, B, Q> {
    /// The model.
    pub neuron: &'a N,
    /// Its raw learnable parameters.
    pub params: View<'a, B>,
    /// The surrogate derivative.
    pub surrogate: &'a S,
    /// How spikes come about.
    pub firing: Firing<'a, Q>,
    /// Dropout mask `[batch, width]`, held over time.
    pub mask: Option<&'a B>,
    /// Steps that count.
    pub valid: ValidSteps<'a>,
}

/// Neurons over time.
#[diagnostic::on_unimplemented(
    message = "the backend `{Self}` has no kernel for neuron `{N}` with surrogate `{S}`",
    note = "the CPU and the reference backend take every type that implements `Neuron` and `Surrogate`"
)]
pub trait NeuronOps<R: Real, N: NeuronModel<R>, S: Surrogate<R>>: Backend<R> {
    /// Spikes of input `x`: `mask[b, o] s[t, b, o]` at valid steps, 0 elsewhere. States start at rest.
    fn neuron_forward(
        &self,
        stage: &NeuronStage<'_, N, S, Self::Buffer, Self::Sequence>,
        x: &Self::Sequence,
        spikes: &mut Self::Sequence,
    ) -> Result<(), Self::Error>;

    /// Backpropagation through time, from the gradient by [`neuron_forward`](Self::neuron_forward)'s output. States are
    /// computed again from `x`.
    fn neuron_backward(
        &self,
        stage: &NeuronStage<'_, N, S, Self::Buffer, Self::Sequence>,
        x: &Self::Sequence,
        d_spikes: &Self::Sequence,
        d_x: &mut Self::Sequence,
        d_params: ViewMut<'_, Self::Buffer>,
    ) -> Result<(), Self::Error>;
}

/// A hidden layer at work: delayed projection, normalisation, neurons, dropout.
#[derive(Debug)]
pub struct Layer<'a, R, K, N, S, B, Q> {
    /// Dimensions of the projection.
    pub synapses: &'a Synapses,
    /// Delay kernel.
    pub kernel: &'a K,
    /// Weights.
    pub weights: View<'a, B>,
    /// Delays.
    pub delays: View<'a, B>,
    /// Sigma.
    pub sigma: View<'a, B>,
    /// Normalisation and its `[gamma | beta]`.
    pub norm: Option<(&'a BatchNorm<R>, View<'a, B>)>,
    /// The neurons. `valid` is at the layer's output.
    pub stage: NeuronStage<'a, N, S, B, Q>,
}

impl<'a, R, K, N, S, B, Q> Layer<'a, R, K, N, S, B, Q> {
    /// The projection's parameters.
    pub fn synapse_params(&self) -> SynapseParams<'a, B> {
        SynapseParams {
            weights: self.weights.clone(),
            delays: self.delays.clone(),
            sigma: self.sigma.clone(),
        }
    }
}

/// Where a hidden layer's gradients go.
#[derive(Debug)]
pub struct LayerGradients<'a, B> {
    /// By weights, delays, sigma.
    pub synapses: SynapseGradients<'a, B>,
    /// By `[gamma | beta]`.
    pub norm: ViewMut<'a, B>,
    /// By the neuron's raw parameters.
    pub neuron: ViewMut<'a, B>,
}

/// What the forward pass of a layer keeps for the backward pass: 4 or 8 bytes a neuron and step.
#[derive(Debug)]
pub struct LayerTape<B, Q> {
    /// The projection's output.
    pub projected: Q,
    /// `[mean | 1 / deviation]`.
    pub statistics: B,
}

/// Whole hidden layers. The provided methods compose the parts; a backend with a fused pass overrides them.
pub trait LayerOps<R, K, N, S>: SynapseOps<R, K> + NeuronOps<R, N, S>
where
    R: Real,
    K: DelayKernel<R>,
    N: NeuronModel<R>,
    S: Surrogate<R>,
{
    /// A tape for a layer whose output has this shape.
    fn tape(&self, shape: Shape) -> Result<LayerTape<Self::Buffer, Self::Sequence>, Self::Error> {
        Ok(LayerTape {
            projected: self.sequence(shape)?,
            statistics: self.buffer(2 * shape.width)?,
        })
    }

    /// Spikes of the layer for input `x`. `mode` is needed where the layer has a norm.
    fn layer_forward(
        &self,
        layer: &Layer<'_, R, K, N, S, Self::Buffer, Self::Sequence>,
        mode: NormMode<'_, Self::Buffer>,
        x: &Self::Sequence,
        tape: &mut LayerTape<Self::Buffer, Self::Sequence>,
        spikes: &mut Self::Sequence,
    ) -> Result<(), Self::Error> {
        let params = layer.synapse_params();
        self.project(layer.synapses, layer.kernel, params, x, &mut tape.projected)?;
        let Some((norm, params)) = &layer.norm else {
            return self.neuron_forward(&layer.stage, &tape.projected, spikes);
        };
        let mut z = self.sequence(self.shape(&tape.projected))?;
        let valid = layer.stage.valid;
        self.norm_forward(
            norm,
            params.clone(),
            mode,
            valid,
            &tape.projected,
            &mut tape.statistics,
            &mut z,
        )?;
        self.neuron_forward(&layer.stage, &z, spikes)
    }

    /// The backward pass of [`layer_forward`](Self::layer_forward) in batch mode; the input's gradient only where asked for.
    /// What `d_spikes` holds afterwards is not specified.
    fn layer_backward(
        &self,
        layer: &Layer<'_, R, K, N, S, Self::Buffer, Self::Sequence>,
        x: &Self::Sequence,
        tape: &LayerTape<Self::Buffer, Self::Sequence>,
        d_spikes: &mut Self::Sequence,
        gradients: LayerGradients<'_, Self::Buffer>,
        d_x: Option<&mut Self::Sequence>,
    ) -> Result<(), Self::Error> {
        let shape = self.shape(&tape.projected);
        let mut d_y = self.sequence(shape)?;
        if let Some((_, params)) = &layer.norm {
            let valid = layer.stage.valid;
            let (mut z, mut d_z) = (self.sequence(shape)?, self.sequence(shape)?);
            self.norm_apply(params.clone(), &tape.statistics, &tape.projected, &mut z)?;
            self.neuron_backward(&layer.stage, &z, d_spikes, &mut d_z, gradients.neuron)?;
            let saved = &tape.statistics;
            self.norm_backward(
                params.clone(),
                saved,
                valid,
                &tape.projected,
                &d_z,
                &mut d_y,
                gradients.norm,
            )?;
        } else {
            self.neuron_backward(
                &layer.stage,
                &tape.projected,
                d_spikes,
                &mut d_y,
                gradients.neuron,
            )?;
        }
        let params = layer.synapse_params();
        self.project_backward(
            layer.synapses,
            layer.kernel,
            params,
            x,
            &d_y,
            gradients.synapses,
            d_x,
        )
    }
}
