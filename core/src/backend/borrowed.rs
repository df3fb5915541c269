use super::{
    Activation, ActivationGradients, Backend, Event, HasKernel, HasNeuron, HasSurrogate,
    NeuronStage, NormMode, RecurrentGradients, RecurrentStage, SynapseGradients, SynapseParams,
    View, ViewMut,
};
use crate::connectivity::Sharing;
use crate::loss::{Loss, RatePenalty};
use crate::neuron::Li;
use crate::norm::{BatchNorm, ValidSteps};
use crate::optim::Step;
use crate::rng::Rng;
use crate::shape::{Shape, Synapses};
use core::ops::Range;

type Result<T, B> = core::result::Result<T, <B as Backend>::Error>;

macro_rules! forwarded {
    ($($name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {$(
        fn $name(&self, $($arg: $type),*) -> $result {
            (**self).$name($($arg),*)
        }
    )*};
}

/// A borrowed backend is a backend, so that several models can share one.
impl<B: Backend> Backend for &B {
    type Real = B::Real;
    type Buffer = B::Buffer;
    type Sequence = B::Sequence;
    type Kernel = B::Kernel;
    type Neuron = B::Neuron;
    type Surrogate = B::Surrogate;
    type Error = B::Error;

    forwarded! {
        name() -> &'static str;
        device_bytes() -> Option<usize>;
        buffer(len: usize) -> Result<B::Buffer, B>;
        sequence(shape: Shape) -> Result<B::Sequence, B>;
        shape(sequence: &B::Sequence) -> Shape;
        upload(from: &[B::Real], to: &mut B::Buffer) -> Result<(), B>;
        download(from: &B::Buffer, to: &mut [B::Real]) -> Result<(), B>;
        upload_sequence(from: &[B::Real], to: &mut B::Sequence) -> Result<(), B>;
        upload_events(events: &[Event<B::Real>], to: &mut B::Sequence) -> Result<(), B>;
        download_sequence(from: &B::Sequence, to: &mut [B::Real]) -> Result<(), B>;
        synchronize() -> Result<(), B>;
        supports(
            kernels: &[&B::Kernel], neuron: Option<(&B::Neuron, &B::Surrogate)>
        ) -> Result<(), B>;
        add(x: &B::Sequence, sum: &mut B::Sequence) -> Result<(), B>;
        add_bias(
            bias: View<'_, B::Buffer>, len: usize, y: &mut B::Sequence
        ) -> Result<(), B>;
        bias_backward(
            d_y: &B::Sequence, d_bias: ViewMut<'_, B::Buffer>, len: usize
        ) -> Result<(), B>;
        join(
            first: &B::Sequence, second: &B::Sequence, joined: &mut B::Sequence
        ) -> Result<(), B>;
        copy_last(x: &B::Sequence, last: &mut B::Sequence) -> Result<(), B>;
        add_buffer(x: &B::Buffer, sum: &mut B::Buffer, len: usize) -> Result<(), B>;
        expand(
            synapses: &Synapses, sharing: Sharing<'_>, packed: View<'_, B::Buffer>, len: usize,
            full: &mut B::Buffer
        ) -> Result<(), B>;
        reduce(
            synapses: &Synapses, sharing: Sharing<'_>, full: &B::Buffer,
            packed: ViewMut<'_, B::Buffer>, len: usize
        ) -> Result<(), B>;
        project(
            synapses: &Synapses, kernel: &B::Kernel, params: SynapseParams<'_, B::Buffer>,
            x: &B::Sequence, y: &mut B::Sequence
        ) -> Result<(), B>;
        project_backward(
            synapses: &Synapses, kernel: &B::Kernel, params: SynapseParams<'_, B::Buffer>,
            x: &B::Sequence, d_y: &B::Sequence, gradients: SynapseGradients<'_, B::Buffer>,
            d_x: Option<&mut B::Sequence>
        ) -> Result<(), B>;
        norm_forward(
            norm: &BatchNorm<B::Real>, params: View<'_, B::Buffer>, mode: NormMode<'_, B::Buffer>,
            valid: ValidSteps<'_>, y: &B::Sequence, saved: &mut B::Buffer, z: &mut B::Sequence
        ) -> Result<(), B>;
        norm_apply(
            params: View<'_, B::Buffer>, saved: &B::Buffer, y: &B::Sequence, z: &mut B::Sequence
        ) -> Result<(), B>;
        norm_backward(
            params: View<'_, B::Buffer>, saved: &B::Buffer, valid: ValidSteps<'_>,
            y: &B::Sequence, d_z: &B::Sequence, d_y: &mut B::Sequence,
            d_params: ViewMut<'_, B::Buffer>
        ) -> Result<(), B>;
        readout(
            readout: &Li<B::Real>, loss: Loss, valid: ValidSteps<'_>, x: &B::Sequence,
            targets: Option<&B::Buffer>, scores: &mut B::Buffer, d_x: Option<&mut B::Sequence>
        ) -> Result<B::Real, B>;
        readout_backward(
            readout: &Li<B::Real>, loss: Loss, valid: ValidSteps<'_>, x: &B::Sequence,
            d_scores: &[B::Real], d_x: &mut B::Sequence
        ) -> Result<(), B>;
        optimize(
            step: &Step<B::Real>, range: Range<usize>, gradient: &B::Buffer,
            params: &mut B::Buffer, first: &mut B::Buffer, second: &mut B::Buffer, len: usize
        ) -> Result<(), B>;
        square_sum(buffer: &B::Buffer, len: usize) -> Result<f64, B>;
        scale(factor: B::Real, buffer: &mut B::Buffer, len: usize) -> Result<(), B>;
        penalize_rates(
            penalty: &RatePenalty, valid: ValidSteps<'_>, spikes: &B::Sequence,
            d: &mut B::Sequence
        ) -> Result<B::Real, B>;
        are_finite(buffers: &[(&B::Buffer, usize)]) -> Result<bool, B>;
        dropout(rng: Rng, p: f64, len: usize) -> Result<B::Buffer, B>;
    }

    fn neuron_forward(
        &self,
        stage: &NeuronStage<'_, Self>,
        x: &B::Sequence,
        spikes: &mut B::Sequence,
        end: Option<&mut B::Buffer>,
    ) -> Result<(), B> {
        (**self).neuron_forward(&stage.on(), x, spikes, end)
    }

    fn neuron_backward(
        &self,
        stage: &NeuronStage<'_, Self>,
        x: &B::Sequence,
        d_spikes: &B::Sequence,
        d_x: &mut B::Sequence,
        d_params: ViewMut<'_, B::Buffer>,
    ) -> Result<(), B> {
        (**self).neuron_backward(&stage.on(), x, d_spikes, d_x, d_params)
    }

    fn recurrent_forward(
        &self,
        recurrent: &RecurrentStage<'_, Self>,
        stage: &NeuronStage<'_, Self>,
        x: &B::Sequence,
        outputs: [&mut B::Sequence; 3],
        end: Option<&mut B::Buffer>,
    ) -> Result<(), B> {
        (**self).recurrent_forward(&recurrent.on(), &stage.on(), x, outputs, end)
    }

    fn recurrent_backward(
        &self,
        recurrent: &RecurrentStage<'_, Self>,
        stage: &NeuronStage<'_, Self>,
        saved: [&B::Sequence; 2],
        d: &mut B::Sequence,
        gradients: RecurrentGradients<'_, B::Buffer>,
    ) -> Result<(), B> {
        (**self).recurrent_backward(&recurrent.on(), &stage.on(), saved, d, gradients)
    }

    fn activate(
        &self,
        layer: &Activation<'_, Self>,
        mode: NormMode<'_, B::Buffer>,
        y: &B::Sequence,
        statistics: &mut B::Buffer,
        spikes: &mut B::Sequence,
        end: Option<&mut B::Buffer>,
    ) -> Result<(), B> {
        (**self).activate(&layer.on(), mode, y, statistics, spikes, end)
    }

    fn activate_backward(
        &self,
        layer: &Activation<'_, Self>,
        y: &B::Sequence,
        statistics: &B::Buffer,
        d: &mut B::Sequence,
        gradients: ActivationGradients<'_, B::Buffer>,
    ) -> Result<(), B> {
        (**self).activate_backward(&layer.on(), y, statistics, d, gradients)
    }
}

impl<K, B: HasKernel<K>> HasKernel<K> for &B {
    fn kernel(kernel: K) -> B::Kernel {
        B::kernel(kernel)
    }
}

impl<N, B: HasNeuron<N>> HasNeuron<N> for &B {
    fn neuron(neuron: N) -> B::Neuron {
        B::neuron(neuron)
    }
    fn has(neuron: &N) -> bool {
        B::has(neuron)
    }
}

impl<S, B: HasSurrogate<S>> HasSurrogate<S> for &B {
    fn surrogate(surrogate: S) -> B::Surrogate {
        B::surrogate(surrogate)
    }
}
