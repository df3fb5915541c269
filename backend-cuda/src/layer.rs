use crate::backend::{Cuda, Sequence, same};
use crate::device::{Buffer, Number};
use crate::error::Error;
use crate::neuron::{self, DeviceNeuron, DeviceSurrogate};
use crate::norm;
use crate::projection::DeviceKernel;
use polychron_core::backend::{Layer, LayerGradients, LayerOps, LayerTape, NormMode, SynapseOps};

/// The kernels of the neurons apply the norm when they read their input.
impl<R, K, N, S> LayerOps<R, K, N, S> for Cuda
where
    R: Number,
    K: DeviceKernel<R>,
    N: DeviceNeuron<R>,
    S: DeviceSurrogate<R>,
{
    fn layer_forward(
        &self,
        layer: &Layer<'_, R, K, N, S, Buffer<R>, Sequence<R>>,
        mode: NormMode<'_, Buffer<R>>,
        x: &Sequence<R>,
        tape: &mut LayerTape<Buffer<R>, Sequence<R>>,
        spikes: &mut Sequence<R>,
    ) -> Result<(), Error> {
        same("layer's output", tape.projected.shape, spikes.shape)?;
        let params = layer.synapse_params();
        self.project(layer.synapses, layer.kernel, params, x, &mut tape.projected)?;
        let LayerTape { projected, statistics } = tape;
        let norm = match &layer.norm {
            Some((norm, params)) => {
                norm::statistics(self, norm, mode, layer.stage.valid, projected, statistics)?;
                Some((params.clone(), &*statistics))
            }
            None => None,
        };
        neuron::forward(self, &layer.stage, norm, projected, spikes)
    }

    fn layer_backward(
        &self,
        layer: &Layer<'_, R, K, N, S, Buffer<R>, Sequence<R>>,
        x: &Sequence<R>,
        tape: &LayerTape<Buffer<R>, Sequence<R>>,
        d_spikes: &mut Sequence<R>,
        gradients: LayerGradients<'_, Buffer<R>>,
        d_x: Option<&mut Sequence<R>>,
    ) -> Result<(), Error> {
        let LayerTape { projected, statistics } = tape;
        let mut d_y = self.blank(projected.shape)?;
        let norm = layer.norm.as_ref().map(|(_, params)| (params.clone(), statistics));
        neuron::backward(
            self,
            &layer.stage,
            norm.clone(),
            projected,
            d_spikes,
            &mut d_y,
            gradients.neuron,
        )?;
        if let Some((params, saved)) = norm {
            let valid = layer.stage.valid;
            norm::backward(self, params, saved, valid, projected, None, &mut d_y, gradients.norm)?;
        }
        let params = layer.synapse_params();
        let synapses = gradients.synapses;
        self.project_backward(layer.synapses, layer.kernel, params, x, &d_y, synapses, d_x)
    }
}
