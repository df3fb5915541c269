//! The boundary between models and machines: coarse operations on whole `[time, batch, width]`
//! blocks.
//!
//! A backend implements [`Backend`], [`SynapseOps`] for its delay kernels, [`NeuronOps`] for its
//! neurons and surrogates, and [`LayerOps`], whose default methods compose the other two. The
//! feature `conformance` has the laws of a backend. Operations overwrite gradients.

pub use crate::neuron::Firing;

use crate::delay::{DelayKernel, Rounding};
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

/// Memory, the stages that do not depend on a model type, and the optimizer.
///
/// Buffers and sequences are opaque. On the host a block is a slice in time-major order; a device
/// may use another layout. Operations check shapes first. They may run asynchronously until a
/// download or [`synchronize`](Self::synchronize).
///
/// # Errors
/// Every operation fails with a [`ShapeError`] (as [`Backend::Error`]) if the size of a block does
/// not match or exceeds the address space. Other errors are those of the device.
pub trait Backend<R: Real> {
    /// A flat block of numbers: parameters, gradients, masks.
    type Buffer;
    /// A block `[time, batch, width]`.
    type Sequence;
    /// The error type.
    type Error: Error + From<ShapeError> + Send + Sync + 'static;

    /// A name for reports, such as `"cpu"`.
    fn name(&self) -> &'static str;

    /// The device memory in use, in bytes; `None` if the backend uses host memory.
    fn device_bytes(&self) -> Option<usize> {
        None
    }

    /// A buffer of `len` zeros.
    fn buffer(&self, len: usize) -> Result<Self::Buffer, Self::Error>;
    /// A sequence of zeros.
    fn sequence(&self, shape: Shape) -> Result<Self::Sequence, Self::Error>;
    /// The shape of a sequence.
    fn shape(&self, sequence: &Self::Sequence) -> Shape;
    /// Copies a host block to a buffer of the same length.
    fn upload(&self, from: &[R], to: &mut Self::Buffer) -> Result<(), Self::Error>;
    /// Copies a buffer to a host block of the same length.
    fn download(&self, from: &Self::Buffer, to: &mut [R]) -> Result<(), Self::Error>;
    /// Copies a time-major host block to a sequence.
    fn upload_sequence(&self, from: &[R], to: &mut Self::Sequence) -> Result<(), Self::Error>;
    /// Copies a sequence to a time-major host block.
    fn download_sequence(&self, from: &Self::Sequence, to: &mut [R]) -> Result<(), Self::Error>;
    /// Waits until all operations have finished.
    fn synchronize(&self) -> Result<(), Self::Error>;

    /// Normalises `y` into `z` (equation at [`BatchNorm`]). `params` is `[gamma | beta]`; `saved`
    /// receives `[mean | 1 / deviation]` for the backward pass.
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

    /// Normalises `y` into `z` again with the statistics that [`norm_forward`](Self::norm_forward)
    /// saved.
    fn norm_apply(
        &self,
        params: View<'_, Self::Buffer>,
        saved: &Self::Buffer,
        y: &Self::Sequence,
        z: &mut Self::Sequence,
    ) -> Result<(), Self::Error>;

    /// The backward pass of [`norm_forward`](Self::norm_forward) with the statistics of the batch.
    /// `d_params` is `[gamma | beta]`.
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

    /// Integrates `x` in the readout and writes the scores `[batch, classes]`. With `targets`
    /// (distributions `[batch, classes]`) it returns the mean loss and writes its gradient to
    /// `d_x`. Without targets the loss is 0 and `d_x` does not change.
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

    /// One optimizer step on the same range of four flat buffers.
    fn adam(
        &self,
        adam: &Adam<R>,
        range: Range<usize>,
        gradient: &Self::Buffer,
        params: &mut Self::Buffer,
        first: &mut Self::Buffer,
        second: &mut Self::Buffer,
    ) -> Result<(), Self::Error>;

    /// Whether all values of the buffers are finite. Each buffer is given with its length.
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

    /// A dropout mask `[batch, width]`: value `n` is 0 if `rng.uniform(n) < p`, else `1 / (1 - p)`.
    /// The mask is the same on every backend.
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
    /// `y[t, b, o] = sum over i, j of kernel_j[o, i] x[t - j, b, i]`, with the kernel of
    /// [`crate::delay`], or that of [`SynapseParams::rounding`].
    fn project(
        &self,
        synapses: &Synapses,
        kernel: &K,
        params: SynapseParams<'_, Self::Buffer>,
        x: &Self::Sequence,
        y: &mut Self::Sequence,
    ) -> Result<(), Self::Error>;

    /// The backward pass of [`project`](Self::project) for the upstream gradient `d_y`. The
    /// gradient of the input is computed only if `d_x` is given.
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

/// The arguments of a neuron stage, except its input.
#[derive(Debug)]
pub struct NeuronStage<'a, N, S, B, Q> {
    /// The model.
    pub neuron: &'a N,
    /// The raw learnable parameters.
    pub params: View<'a, B>,
    /// The surrogate derivative.
    pub surrogate: &'a S,
    /// How neurons spike.
    pub firing: Firing<'a, Q>,
    /// Dropout mask `[batch, width]`, constant over time.
    pub mask: Option<&'a B>,
    /// The valid steps.
    pub valid: ValidSteps<'a>,
}

/// Neurons over time.
#[diagnostic::on_unimplemented(
    message = "the backend `{Self}` has no kernel for neuron `{N}` with surrogate `{S}`",
    note = "the CPU and the reference backend take every type that implements `Neuron` and `Surrogate`"
)]
pub trait NeuronOps<R: Real, N: NeuronModel<R>, S: Surrogate<R>>: Backend<R> {
    /// The spikes for input `x`: `mask[b, o] s[t, b, o]` at valid steps, 0 elsewhere. States start
    /// at rest.
    fn neuron_forward(
        &self,
        stage: &NeuronStage<'_, N, S, Self::Buffer, Self::Sequence>,
        x: &Self::Sequence,
        spikes: &mut Self::Sequence,
    ) -> Result<(), Self::Error>;

    /// Backpropagation through time for the upstream gradient `d_spikes` of
    /// [`neuron_forward`](Self::neuron_forward). States are recomputed from `x`.
    fn neuron_backward(
        &self,
        stage: &NeuronStage<'_, N, S, Self::Buffer, Self::Sequence>,
        x: &Self::Sequence,
        d_spikes: &Self::Sequence,
        d_x: &mut Self::Sequence,
        d_params: ViewMut<'_, Self::Buffer>,
    ) -> Result<(), Self::Error>;
}

/// The arguments of a hidden layer: delayed projection, normalisation, neurons, dropout.
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
    /// As [`SynapseParams::rounding`].
    pub rounding: Option<Rounding>,
    /// Normalisation and its `[gamma | beta]`.
    pub norm: Option<(&'a BatchNorm<R>, View<'a, B>)>,
    /// The neurons. `valid` applies to the output of the layer.
    pub stage: NeuronStage<'a, N, S, B, Q>,
}

impl<'a, R, K, N, S, B, Q> Layer<'a, R, K, N, S, B, Q> {
    /// The parameters of the projection.
    #[must_use]
    pub fn synapse_params(&self) -> SynapseParams<'a, B> {
        SynapseParams {
            weights: self.weights.clone(),
            delays: self.delays.clone(),
            sigma: self.sigma.clone(),
            rounding: self.rounding,
        }
    }
}

/// The gradients of a hidden layer.
#[derive(Debug)]
pub struct LayerGradients<'a, B> {
    /// By weights, delays, sigma.
    pub synapses: SynapseGradients<'a, B>,
    /// By `[gamma | beta]`.
    pub norm: ViewMut<'a, B>,
    /// By the raw parameters of the neuron.
    pub neuron: ViewMut<'a, B>,
}

/// The results of a forward pass that the backward pass needs: 4 or 8 bytes per neuron and step.
#[derive(Debug)]
pub struct LayerTape<B, Q> {
    /// The output of the projection.
    pub projected: Q,
    /// `[mean | 1 / deviation]`.
    pub statistics: B,
}

/// Whole hidden layers. The default methods compose the stages; a backend may fuse them.
pub trait LayerOps<R, K, N, S>: SynapseOps<R, K> + NeuronOps<R, N, S>
where
    R: Real,
    K: DelayKernel<R>,
    N: NeuronModel<R>,
    S: Surrogate<R>,
{
    /// A tape for a layer whose output has the given shape.
    fn tape(&self, shape: Shape) -> Result<LayerTape<Self::Buffer, Self::Sequence>, Self::Error> {
        Ok(LayerTape {
            projected: self.sequence(shape)?,
            statistics: self.buffer(2 * shape.width)?,
        })
    }

    /// The spikes of the layer for input `x`. Without a norm, `mode` is ignored.
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

    /// The backward pass of [`layer_forward`](Self::layer_forward) in batch mode. The gradient of
    /// the input is computed only if `d_x` is given. `d_spikes` is scratch afterwards.
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
