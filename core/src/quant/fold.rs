use super::spec::{Decay, LayerSpec, ModelSpec, NeuronSpec, SynapseSpec};
use crate::backend::LayerOps;
use crate::delay::{DelayKernel, Rounding};
use crate::format::{Decision, Input, Scheme};
use crate::loss::Loss;
use crate::neuron::{LinearMembrane, Neuron, NeuronModel, NeuronVisitor, Reset};
use crate::norm::BatchNorm;
use crate::shape::Synapses;
use crate::surrogate::Surrogate;
use crate::train::{Model, Network, Tensor};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// What a model file states about its data. A network does not know it.
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata {
    /// The length of a tick in microseconds.
    pub tick_us: u32,
    /// What a channel receives in every tick.
    pub input: Input,
    /// One name per class, or none at all.
    pub labels: Vec<String>,
}

/// Why a network cannot become a model file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FoldError<E> {
    /// The backend failed.
    Backend(E),
    /// The neurons of a hidden layer are no [linear membrane](Neuron::linear_membrane), their decay
    /// is not in [0, 1], or their threshold is not above their rest.
    Neuron {
        /// The layer.
        layer: usize,
    },
    /// A tensor is missing or has the wrong length.
    Tensor {
        /// The name of the tensor.
        name: String,
        /// The number of values that the network needs.
        expected: usize,
        /// The number of values of the tensor; 0 if it is missing.
        found: usize,
    },
}

impl<E: fmt::Display> fmt::Display for FoldError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(error) => error.fmt(f),
            Self::Neuron { layer } => write!(
                f,
                "layer {layer}: a model file holds leaky integrate-and-fire neurons, these are others"
            ),
            Self::Tensor { name, found: 0, .. } => write!(f, "tensor {name} is missing"),
            Self::Tensor { name, expected, found } => {
                write!(f, "tensor {name} has {found} values; the network needs {expected}")
            }
        }
    }
}

impl<E: core::error::Error> core::error::Error for FoldError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Backend(error) => error.source(),
            _ => None,
        }
    }
}

/// Rounds the delays of a network and folds its norms into weights and biases.
///
/// # Errors
/// [`FoldError::Neuron`] if a layer's neurons are no [linear membrane](Neuron::linear_membrane);
/// [`FoldError::Backend`] if the backend cannot download the tensors.
pub fn fold<B, K, N, S>(
    model: &Model<f32, B, K, N, S>,
    metadata: Metadata,
) -> Result<ModelSpec<f32>, FoldError<B::Error>>
where
    B: LayerOps<f32, K, N, S>,
    K: DelayKernel<f32>,
    N: NeuronModel<f32>,
    S: Surrogate<f32>,
{
    let tensors = model.tensors().map_err(FoldError::Backend)?;
    fold_tensors(model.network(), &tensors, metadata)
}

fn fold_tensors<K, N: NeuronModel<f32>, S, E>(
    network: &Network<f32, K, N, S>,
    tensors: &[Tensor<f32>],
    metadata: Metadata,
) -> Result<ModelSpec<f32>, FoldError<E>> {
    let rounding = network.rounding;
    let mut layers = Vec::new();
    for (l, hidden) in network.hidden.iter().enumerate() {
        let from = LayerTensors { tensors, layer: format!("hidden.{l}") };
        let params = from.find("neuron", hidden.neuron.param_count())?;
        let membrane =
            hidden.neuron.visit(Linear { params }).ok_or(FoldError::Neuron { layer: l })?;
        let norm = Norm::new(hidden.norm.as_ref(), &from, hidden.synapses.outputs)?;
        let gain = f64::from(membrane.input_gain);
        let neuron = |o: usize| NeuronSpec {
            threshold: f64::from(membrane.threshold),
            bias: gain * norm.scale_and_offset(o).1,
        };
        layers.push(LayerSpec {
            neurons: (0..hidden.synapses.outputs).map(neuron).collect(),
            soft: membrane.reset == Reset::Soft,
            ..layer(&hidden.synapses, rounding, &from, f64::from(membrane.decay), |o| {
                gain * norm.scale_and_offset(o).0
            })?
        });
    }
    let output = &network.output;
    let from = LayerTensors { tensors, layer: "output".into() };
    let readout = output.readout;
    let decay = f64::from(readout.charge([1.0], 0.0)[0]);
    let gain = f64::from(readout.charge([0.0], 1.0)[0]);
    layers.push(layer(&output.synapses, rounding, &from, decay, |_| gain)?);
    Ok(ModelSpec {
        tick_us: metadata.tick_us,
        input: metadata.input,
        channels: network.synapses().next().map_or(0, |s| s.inputs),
        decision: match network.loss {
            Loss::SoftmaxSum => Decision::SoftmaxSum,
            Loss::Mean | Loss::MembraneSum => Decision::MembraneSum,
            Loss::Max => Decision::Max,
        },
        labels: metadata.labels,
        layers,
    })
}

/// The tensors of one layer.
struct LayerTensors<'a> {
    tensors: &'a [Tensor<f32>],
    layer: String,
}

impl<'a> LayerTensors<'a> {
    /// The values of a tensor. A tensor without values need not exist.
    fn find<E>(&self, name: &str, expected: usize) -> Result<&'a [f32], FoldError<E>> {
        let name = format!("{}.{name}", self.layer);
        let tensor = self.tensors.iter().find(|t| t.name == name);
        let values = tensor.map_or(&[][..], |t| &t.values);
        if values.len() == expected {
            Ok(values)
        } else {
            Err(FoldError::Tensor { name, expected, found: values.len() })
        }
    }
}

/// The synapses of a layer, one per tap, without neurons. The weights onto output `o` are
/// multiplied by `factor(o)`.
fn layer<E>(
    synapses: &Synapses,
    rounding: Rounding,
    from: &LayerTensors<'_>,
    decay: f64,
    factor: impl Fn(usize) -> f64,
) -> Result<LayerSpec<f32>, FoldError<E>> {
    let Synapses { inputs, outputs, kernel_count, taps, padding } = *synapses;
    let weights = from.find("weight", synapses.weights())?;
    let delays = from.find("delay", synapses.weights())?;
    let mut found = Vec::new();
    for (e, (&w, &d)) in weights.iter().zip(delays).enumerate() {
        let target = e / kernel_count / inputs;
        let source = e / kernel_count % inputs;
        let weight = factor(target) * f64::from(w);
        let [first, second] = rounding.taps(f64::from(d), taps);
        let taps = core::iter::once(first).chain((second.1 > 0.0).then_some(second));
        found.extend(taps.map(|(delay, share)| {
            let weight = (weight * share) as f32;
            SynapseSpec { source, target, delay, weight }
        }));
    }
    Ok(LayerSpec {
        outputs,
        taps,
        padding,
        synapses: found,
        neurons: Vec::new(),
        decay: Decay::Float(decay as f32),
        soft: false,
        gain: (0, 0),
        scheme: Scheme::Groups { list: 31 },
    })
}

/// A norm with running statistics, `scale y + offset` for every output.
struct Norm<'a> {
    epsilon: f64,
    /// Gamma, beta, running mean and running variance.
    tensors: Option<[&'a [f32]; 4]>,
}

impl<'a> Norm<'a> {
    fn new<E>(
        norm: Option<&BatchNorm<f32>>,
        from: &LayerTensors<'a>,
        outputs: usize,
    ) -> Result<Self, FoldError<E>> {
        let Some(norm) = norm else { return Ok(Self { epsilon: 0.0, tensors: None }) };
        let find = |name| from.find(name, outputs);
        let tensors = [find("gamma")?, find("beta")?, find("running_mean")?, find("running_var")?];
        Ok(Self { epsilon: norm.epsilon.into(), tensors: Some(tensors) })
    }

    fn scale_and_offset(&self, o: usize) -> (f64, f64) {
        let Some(tensors) = self.tensors else { return (1.0, 0.0) };
        let [gamma, beta, mean, var] = tensors.map(|tensor| f64::from(tensor[o]));
        let scale = gamma / libm::sqrt(var + self.epsilon);
        (scale, beta - mean * scale)
    }
}

/// Finds the linear membrane of a neuron with these raw parameters.
struct Linear<'a> {
    params: &'a [f32],
}

impl NeuronVisitor<f32> for Linear<'_> {
    type Output = Option<LinearMembrane<f32>>;

    fn visit<N: Neuron<Real = f32>>(self, neuron: &N) -> Self::Output {
        let mut params = neuron.params();
        params.as_mut().copy_from_slice(self.params);
        let membrane = neuron.with_params(params).linear_membrane()?;
        let valid = (0.0..=1.0).contains(&membrane.decay) && membrane.threshold > 0.0;
        (valid && neuron.fires()).then_some(membrane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delay::Gauss;
    use crate::init::DelayInit;
    use crate::neuron::{Li, Lif, Plif};
    use crate::reference::Reference;
    use crate::shape::ShapeError;
    use crate::surrogate::Atan;
    use crate::train::{HiddenLayer, ReadoutLayer};

    #[test]
    fn a_tensor_that_is_missing_or_short_is_named() {
        let hidden = HiddenLayer {
            synapses: Synapses::new(3, 4, 5),
            kernel: Gauss,
            norm: Some(BatchNorm::default()),
            neuron: Plif::new(Lif::new(2.0)),
            surrogate: Atan { alpha: 5.0 },
            dropout: 0.0,
        };
        let output =
            ReadoutLayer { synapses: Synapses::new(4, 2, 5), kernel: Gauss, readout: Li::new(2.0) };
        let network = Network {
            hidden: alloc::vec![hidden],
            output,
            loss: Loss::SoftmaxSum,
            rounding: Rounding::Nearest,
        };
        let model = Model::new(Reference, network, DelayInit::Uniform, 1).unwrap();
        let tensors = model.tensors().unwrap();
        let metadata = Metadata { tick_us: 1, input: Input::Spikes, labels: Vec::new() };
        let fold = |tensors: &[Tensor<f32>]| {
            fold_tensors::<_, _, _, ShapeError>(model.network(), tensors, metadata.clone())
        };
        fold(&tensors).unwrap();
        for n in 0..tensors.len() {
            let name = &tensors[n].name;
            if name.ends_with(".sigma") {
                continue;
            }
            let mut fewer = tensors.clone();
            fewer.remove(n);
            let error = fold(&fewer).unwrap_err();
            assert_eq!(format!("{error}"), format!("tensor {name} is missing"));
            let mut longer = tensors.clone();
            longer[n].values.push(0.0);
            let FoldError::Tensor { name: found, .. } = fold(&longer).unwrap_err() else {
                panic!("{name}")
            };
            assert_eq!(found, *name);
        }
    }
}
