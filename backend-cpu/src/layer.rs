use crate::backend::{Cpu, Error};
use crate::lanes::Lanes;
use crate::neuron::Stage;
use crate::norm::{Norm, begin_norm, finish_norm, norm_params, write_norm_gradient};
use crate::sequence::Sequence;
use polychron_core::backend::{Layer, LayerGradients, LayerOps, LayerTape, NormMode, SynapseOps};
use polychron_core::delay::DelayKernel;
use polychron_core::neuron::NeuronModel;
use polychron_core::shape::expect;
use polychron_core::surrogate::Surrogate;

type CpuLayer<'a, R, K, N, S> = Layer<'a, R, K, N, S, Vec<R>, Sequence<R>>;

/// Runs the norm, the neurons and the dropout of a layer in one pass over the neurons.
impl<R: Lanes, K: DelayKernel<R>, N: NeuronModel<R>, S: Surrogate<R>> LayerOps<R, K, N, S>
    for Cpu<R>
{
    fn layer_forward(
        &self,
        layer: &CpuLayer<'_, R, K, N, S>,
        mode: NormMode<'_, Vec<R>>,
        x: &Sequence<R>,
        tape: &mut LayerTape<Vec<R>, Sequence<R>>,
        spikes: &mut Sequence<R>,
    ) -> Result<(), Error> {
        let LayerTape { projected, statistics } = tape;
        self.project(layer.synapses, layer.kernel, layer.synapse_params(), x, projected)?;
        let shape = projected.shape();
        let Some((norm, params)) = &layer.norm else {
            let stage = Stage::new(&layer.stage, Norm::Identity, projected)?;
            stage.forward(self, layer.stage.neuron, spikes)?;
            return Ok(());
        };
        let params = norm_params(params, shape.width)?;
        let running = begin_norm(norm, mode, shape.width, statistics)?;
        let source = match running {
            Some(_) => Norm::Batch { norm, params },
            None => Norm::Saved { params, saved: statistics },
        };
        let stage = Stage::new(&layer.stage, source, projected)?;
        let norms = stage.forward(self, layer.stage.neuron, spikes)?;
        if let Some(running) = running {
            let n = layer.stage.valid.count(shape.steps, shape.batch);
            finish_norm(norm, &norms, n, running, statistics);
        }
        Ok(())
    }

    fn layer_backward(
        &self,
        layer: &CpuLayer<'_, R, K, N, S>,
        x: &Sequence<R>,
        tape: &LayerTape<Vec<R>, Sequence<R>>,
        d_spikes: &mut Sequence<R>,
        gradients: LayerGradients<'_, Vec<R>>,
        d_x: Option<&mut Sequence<R>>,
    ) -> Result<(), Error> {
        let y = &tape.projected;
        let width = y.shape().width;
        let norm = match &layer.norm {
            Some((_, params)) => {
                let params = norm_params(params, width)?;
                expect("norm's statistics", 2 * width, tape.statistics.len())?;
                Norm::Saved { params, saved: &tape.statistics }
            }
            None => Norm::Identity,
        };
        let stage = Stage::new(&layer.stage, norm, y)?;
        let d_neuron = gradients.neuron.slice()?;
        let model = layer.stage.neuron;
        let by_norm = stage.backward(self, model, layer.norm.is_some(), d_spikes, d_neuron)?;
        if layer.norm.is_some() {
            let d_params = gradients.norm.slice()?;
            expect("norm's gradient", 2 * width, d_params.len())?;
            write_norm_gradient(by_norm.into_iter(), d_params);
        }
        let params = layer.synapse_params();
        self.project_backward(
            layer.synapses,
            layer.kernel,
            params,
            x,
            d_spikes,
            gradients.synapses,
            d_x,
        )
    }
}
