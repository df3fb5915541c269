//! The boundary between models and machines: coarse operations on whole `[time, batch, width]`
//! blocks.
//!
//! A backend implements [`Backend`], and [`HasKernel`], [`HasNeuron`] and [`HasSurrogate`] for the
//! models that it can compute. They turn a model into a handle of the backend, so that networks,
//! models and trainers have one type parameter. The feature `conformance` has the laws of a
//! backend. Operations overwrite gradients.

mod arguments;
mod borrowed;
mod handles;
mod host;
mod optim;
mod recurrent;
mod sharing;

pub use crate::neuron::Firing;
pub use crate::shape::Event;
pub use arguments::{
    Activation, ActivationGradients, NeuronStage, NormMode, RecurrentGradients, RecurrentStage,
    SynapseGradients, SynapseParams, View, ViewMut,
};
pub use handles::{HasKernel, HasNeuron, HasSurrogate};
pub use optim::optimize_on_host;
pub use sharing::{expand_on_host, reduce_on_host};

use crate::connectivity::Sharing;
use crate::loss::{Loss, RatePenalty};
use crate::neuron::{ErasedNeuron, Li};
use crate::norm::{BatchNorm, ValidSteps};
use crate::num::Real;
use crate::optim::Step;
use crate::reference;
use crate::rng::Rng;
use crate::shape::{Shape, ShapeError, Synapses};
use alloc::vec;
use core::error::Error;
use core::fmt::Debug;
use core::ops::Range;
use num_traits::Zero;
use num_traits::float::FloatCore;

/// Memory, the stages of a network, and the optimizer, for one number type.
///
/// Buffers and sequences are opaque. On the host a block is a slice in time-major order; a device
/// may use another layout. Operations check shapes first. They may run asynchronously until a
/// download or [`synchronize`](Self::synchronize).
///
/// # Errors
/// Every operation fails with a [`ShapeError`] (as [`Backend::Error`]) if the size of a block does
/// not match or exceeds the address space. Other errors are those of the device.
pub trait Backend: Sized {
    /// The number type.
    type Real: Real;
    /// A flat block of numbers: parameters, gradients, masks.
    type Buffer;
    /// A block `[time, batch, width]`.
    type Sequence;
    /// A delay kernel of this backend; see [`HasKernel`].
    type Kernel: Clone + Debug;
    /// A neuron model of this backend; see [`HasNeuron`].
    type Neuron: ErasedNeuron<Self::Real> + Clone;
    /// A surrogate of this backend; see [`HasSurrogate`].
    type Surrogate: Clone + Debug;
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
    fn upload(&self, from: &[Self::Real], to: &mut Self::Buffer) -> Result<(), Self::Error>;
    /// Copies a buffer to a host block of the same length.
    fn download(&self, from: &Self::Buffer, to: &mut [Self::Real]) -> Result<(), Self::Error>;
    /// Copies a time-major host block to a sequence.
    fn upload_sequence(
        &self,
        from: &[Self::Real],
        to: &mut Self::Sequence,
    ) -> Result<(), Self::Error>;
    /// Writes a sequence from its events, in the order of [`Event::check`]; other values are 0.
    fn upload_events(
        &self,
        events: &[Event<Self::Real>],
        to: &mut Self::Sequence,
    ) -> Result<(), Self::Error> {
        let shape = self.shape(to);
        Event::check(events, shape)?;
        let mut host = vec![Self::Real::zero(); shape.len()];
        for event in events {
            host[event.at(shape)] = event.value;
        }
        self.upload_sequence(&host, to)
    }
    /// Copies a sequence to a time-major host block.
    fn download_sequence(
        &self,
        from: &Self::Sequence,
        to: &mut [Self::Real],
    ) -> Result<(), Self::Error>;
    /// Waits until all operations have finished.
    fn synchronize(&self) -> Result<(), Self::Error>;

    /// Checks that the backend can compute a model that was chosen at run time. Networks are
    /// checked before their first step.
    fn supports(
        &self,
        _kernels: &[&Self::Kernel],
        _neuron: Option<(&Self::Neuron, &Self::Surrogate)>,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Adds `x` to `sum`, which has the same shape.
    fn add(&self, x: &Self::Sequence, sum: &mut Self::Sequence) -> Result<(), Self::Error> {
        let len = self.shape(x).len();
        let mut host = [(); 2].map(|()| vec![Self::Real::zero(); len]);
        self.download_sequence(x, &mut host[0])?;
        self.download_sequence(sum, &mut host[1])?;
        let [x, mut values] = host;
        for (sum, x) in values.iter_mut().zip(x) {
            *sum += x;
        }
        self.upload_sequence(&values, sum)
    }

    /// Adds a bias for each neuron, which acts at every step: `y[t, b, o] += bias[o]`. `bias`
    /// `[width]` is a part of a buffer of `len` values.
    fn add_bias(
        &self,
        bias: View<'_, Self::Buffer>,
        len: usize,
        y: &mut Self::Sequence,
    ) -> Result<(), Self::Error> {
        host::add_bias(self, bias, len, y)
    }

    /// The backward pass of [`add_bias`](Self::add_bias): `d_bias[o] = sum over t, b
    /// d_y[t, b, o]`. Steps after the end of a sample add nothing, as their `d_y` is 0.
    fn bias_backward(
        &self,
        d_y: &Self::Sequence,
        d_bias: ViewMut<'_, Self::Buffer>,
        len: usize,
    ) -> Result<(), Self::Error> {
        host::bias_backward(self, d_y, d_bias, len)
    }

    /// Writes the steps of `first` and then those of `second` to `joined`, which has as many.
    fn join(
        &self,
        first: &Self::Sequence,
        second: &Self::Sequence,
        joined: &mut Self::Sequence,
    ) -> Result<(), Self::Error> {
        host::join(self, first, second, joined)
    }

    /// Copies the last steps of `x` to `last`, which has as many or fewer.
    fn copy_last(&self, x: &Self::Sequence, last: &mut Self::Sequence) -> Result<(), Self::Error> {
        host::copy_last(self, x, last)
    }

    /// Writes a value of every synapse, `full` `[out, in, count]`, from those of a connection:
    /// [`Sharing::expand`]. `packed` is a part of a buffer of `len` values.
    fn expand(
        &self,
        synapses: &Synapses,
        sharing: Sharing<'_>,
        packed: View<'_, Self::Buffer>,
        len: usize,
        full: &mut Self::Buffer,
    ) -> Result<(), Self::Error> {
        expand_on_host(self, synapses, sharing, packed, len, full)
    }

    /// The gradient by the values of a connection for the gradient `full` `[out, in, count]` by
    /// those of its synapses: [`Sharing::reduce`]. `packed` is a part of a buffer of `len` values.
    fn reduce(
        &self,
        synapses: &Synapses,
        sharing: Sharing<'_>,
        full: &Self::Buffer,
        packed: ViewMut<'_, Self::Buffer>,
        len: usize,
    ) -> Result<(), Self::Error> {
        reduce_on_host(self, synapses, sharing, full, packed, len)
    }

    /// `y[t, b, o] = sum over i, j of kernel_j[o, i] x[t - j, b, i]`, with the kernel of
    /// [`crate::delay`], or that of [`SynapseParams::rounding`].
    fn project(
        &self,
        synapses: &Synapses,
        kernel: &Self::Kernel,
        params: SynapseParams<'_, Self::Buffer>,
        x: &Self::Sequence,
        y: &mut Self::Sequence,
    ) -> Result<(), Self::Error>;

    /// The backward pass of [`project`](Self::project) for the upstream gradient `d_y`. The
    /// gradient of the input is computed only if `d_x` is given.
    fn project_backward(
        &self,
        synapses: &Synapses,
        kernel: &Self::Kernel,
        params: SynapseParams<'_, Self::Buffer>,
        x: &Self::Sequence,
        d_y: &Self::Sequence,
        gradients: SynapseGradients<'_, Self::Buffer>,
        d_x: Option<&mut Self::Sequence>,
    ) -> Result<(), Self::Error>;

    /// Normalises `y` into `z` (equation at [`BatchNorm`]). `params` is `[gamma | beta]`; `saved`
    /// receives `[mean | 1 / deviation]` for the backward pass.
    fn norm_forward(
        &self,
        norm: &BatchNorm<Self::Real>,
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

    /// The spikes for input `x`: `mask[b, o] s[t, b, o]` at valid steps, 0 elsewhere. `end`, if
    /// given, receives the states after the last step, with which the next part of a longer
    /// sequence starts.
    fn neuron_forward(
        &self,
        stage: &NeuronStage<'_, Self>,
        x: &Self::Sequence,
        spikes: &mut Self::Sequence,
        end: Option<&mut Self::Buffer>,
    ) -> Result<(), Self::Error>;

    /// Backpropagation through time for the upstream gradient `d_spikes` of
    /// [`neuron_forward`](Self::neuron_forward). States are recomputed from `x`; those before the
    /// first step are constants.
    fn neuron_backward(
        &self,
        stage: &NeuronStage<'_, Self>,
        x: &Self::Sequence,
        d_spikes: &Self::Sequence,
        d_x: &mut Self::Sequence,
        d_params: ViewMut<'_, Self::Buffer>,
    ) -> Result<(), Self::Error>;

    /// [`neuron_forward`](Self::neuron_forward) of neurons that hear each other: their input is `x`
    /// plus the current of [`RecurrentStage`]. `input` receives the sum, and `fired` the spikes at
    /// all steps before dropout, for the backward pass.
    ///
    /// The default repeats whole passes until nothing changes: the earliest steps are right first.
    /// It takes up to T passes; a backend may run one step after the other instead.
    fn recurrent_forward(
        &self,
        recurrent: &RecurrentStage<'_, Self>,
        stage: &NeuronStage<'_, Self>,
        x: &Self::Sequence,
        [input, fired, spikes]: [&mut Self::Sequence; 3],
        end: Option<&mut Self::Buffer>,
    ) -> Result<(), Self::Error> {
        recurrent::forward(self, recurrent, stage, x, [input, fired, spikes], end)
    }

    /// The backward pass of [`recurrent_forward`](Self::recurrent_forward), with its `input` and
    /// `fired`: turns the gradient `d` by the spikes into the gradient by `x`. The default takes up
    /// to T passes too.
    fn recurrent_backward(
        &self,
        recurrent: &RecurrentStage<'_, Self>,
        stage: &NeuronStage<'_, Self>,
        [input, fired]: [&Self::Sequence; 2],
        d: &mut Self::Sequence,
        gradients: RecurrentGradients<'_, Self::Buffer>,
    ) -> Result<(), Self::Error> {
        recurrent::backward(self, recurrent, stage, [input, fired], d, gradients)
    }

    /// The spikes of a layer whose projections add up to `y`: norm, neurons and dropout.
    /// `statistics`, `[mean | 1 / deviation]`, is kept for the backward pass. Without a norm,
    /// `mode` is ignored. `end` is that of [`neuron_forward`](Self::neuron_forward). A backend may
    /// fuse the stages that the default composes.
    fn activate(
        &self,
        layer: &Activation<'_, Self>,
        mode: NormMode<'_, Self::Buffer>,
        y: &Self::Sequence,
        statistics: &mut Self::Buffer,
        spikes: &mut Self::Sequence,
        end: Option<&mut Self::Buffer>,
    ) -> Result<(), Self::Error> {
        let Some((norm, params)) = &layer.norm else {
            return self.neuron_forward(&layer.neurons, y, spikes, end);
        };
        let (params, valid) = (params.clone(), layer.neurons.valid);
        let mut z = self.sequence(self.shape(y))?;
        self.norm_forward(norm, params, mode, valid, y, statistics, &mut z)?;
        self.neuron_forward(&layer.neurons, &z, spikes, end)
    }

    /// The backward pass of [`activate`](Self::activate) in batch mode: turns the gradient `d` by
    /// the spikes into the gradient by `y`.
    fn activate_backward(
        &self,
        layer: &Activation<'_, Self>,
        y: &Self::Sequence,
        statistics: &Self::Buffer,
        d: &mut Self::Sequence,
        gradients: ActivationGradients<'_, Self::Buffer>,
    ) -> Result<(), Self::Error> {
        let shape = self.shape(y);
        let ActivationGradients { norm: d_norm, neuron: d_neuron } = gradients;
        let mut d_y = self.sequence(shape)?;
        if let Some((_, params)) = &layer.norm {
            let (mut z, mut d_z) = (self.sequence(shape)?, self.sequence(shape)?);
            self.norm_apply(params.clone(), statistics, y, &mut z)?;
            self.neuron_backward(&layer.neurons, &z, d, &mut d_z, d_neuron)?;
            let (params, valid) = (params.clone(), layer.neurons.valid);
            self.norm_backward(params, statistics, valid, y, &d_z, &mut d_y, d_norm)?;
        } else {
            self.neuron_backward(&layer.neurons, y, d, &mut d_y, d_neuron)?;
        }
        *d = d_y;
        Ok(())
    }

    /// Integrates `x` in the readout and writes the scores `[batch, classes]`. With `targets`
    /// (distributions `[batch, classes]`) it returns the mean loss and writes its gradient to
    /// `d_x`. Without targets the loss is 0 and `d_x` does not change.
    fn readout(
        &self,
        readout: &Li<Self::Real>,
        loss: Loss,
        valid: ValidSteps<'_>,
        x: &Self::Sequence,
        targets: Option<&Self::Buffer>,
        scores: &mut Self::Buffer,
        d_x: Option<&mut Self::Sequence>,
    ) -> Result<Self::Real, Self::Error>;

    /// The gradient by the input of the readout for a gradient `d_scores` `[batch, classes]` by the
    /// scores.
    fn readout_backward(
        &self,
        readout: &Li<Self::Real>,
        loss: Loss,
        valid: ValidSteps<'_>,
        x: &Self::Sequence,
        d_scores: &[Self::Real],
        d_x: &mut Self::Sequence,
    ) -> Result<(), Self::Error> {
        let shape = self.shape(x);
        let mut host = [(); 2].map(|()| vec![Self::Real::zero(); shape.len()]);
        let [x_host, d_host] = &mut host;
        self.download_sequence(x, x_host)?;
        reference::readout_backward(readout, loss, valid, (x_host, shape), d_scores, d_host)?;
        self.upload_sequence(d_host, d_x)
    }

    /// One optimizer step on the same range of four flat buffers, which have `len` values each.
    fn optimize(
        &self,
        step: &Step<Self::Real>,
        range: Range<usize>,
        gradient: &Self::Buffer,
        params: &mut Self::Buffer,
        first: &mut Self::Buffer,
        second: &mut Self::Buffer,
        len: usize,
    ) -> Result<(), Self::Error> {
        optimize_on_host(self, step, range, gradient, params, first, second, len)
    }

    /// The sum of the squares of the first `len` values of a buffer, which has `len` values.
    fn square_sum(&self, buffer: &Self::Buffer, len: usize) -> Result<f64, Self::Error> {
        let mut host = vec![Self::Real::zero(); len];
        self.download(buffer, &mut host)?;
        Ok(host.iter().map(|x| x.as_f64() * x.as_f64()).sum())
    }

    /// Multiplies the values of a buffer, which has `len` values.
    fn scale(
        &self,
        factor: Self::Real,
        buffer: &mut Self::Buffer,
        len: usize,
    ) -> Result<(), Self::Error> {
        let mut host = vec![Self::Real::zero(); len];
        self.download(buffer, &mut host)?;
        for x in &mut host {
            *x *= factor;
        }
        self.upload(&host, buffer)
    }

    /// Adds the values of a buffer to those of another; both have `len` values.
    fn add_buffer(
        &self,
        x: &Self::Buffer,
        sum: &mut Self::Buffer,
        len: usize,
    ) -> Result<(), Self::Error> {
        let mut host = [(); 2].map(|()| vec![Self::Real::zero(); len]);
        self.download(x, &mut host[0])?;
        self.download(sum, &mut host[1])?;
        let [x, values] = &mut host;
        values.iter_mut().zip(x).for_each(|(sum, x)| *sum += *x);
        self.upload(values, sum)
    }

    /// The penalty for the rates of the neurons of a layer with the output `spikes`. Adds its
    /// gradient to `d`.
    fn penalize_rates(
        &self,
        penalty: &RatePenalty,
        valid: ValidSteps<'_>,
        spikes: &Self::Sequence,
        d: &mut Self::Sequence,
    ) -> Result<Self::Real, Self::Error> {
        let shape = self.shape(spikes);
        let mut host = [(); 2].map(|()| vec![Self::Real::zero(); shape.len()]);
        self.download_sequence(spikes, &mut host[0])?;
        self.download_sequence(d, &mut host[1])?;
        let [spikes, values] = &mut host;
        let value = penalty.add_gradient(valid, shape, spikes, values);
        self.upload_sequence(values, d)?;
        Ok(value)
    }

    /// Whether all values of the buffers are finite. Each buffer is given with its length.
    fn are_finite(&self, buffers: &[(&Self::Buffer, usize)]) -> Result<bool, Self::Error> {
        for &(buffer, len) in buffers {
            let mut host = vec![Self::Real::zero(); len];
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
        let keep = Self::Real::of(1.0 / (1.0 - p));
        let mut mask = vec![Self::Real::zero(); len];
        for (n, m) in mask.iter_mut().enumerate() {
            *m = if rng.uniform::<f64>(n as u64) < p { Self::Real::zero() } else { keep };
        }
        let mut buffer = self.buffer(len)?;
        self.upload(&mask, &mut buffer)?;
        Ok(buffer)
    }
}
