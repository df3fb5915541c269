use super::spec::{Decay, LayerSpec, ModelSpec, NeuronSpec, SynapseSpec};
use crate::backend::Backend;
use crate::delay::Rounding;
use crate::format::{Decision, Input, Scheme};
use crate::loss::Loss;
use crate::neuron::{ErasedNeuron, LinearMembrane, Neuron, Reset};
use crate::norm::BatchNorm;
use crate::shape::Synapses;
use crate::train::{Graph, Model, Network, Tensor};
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
    /// The network is not a chain of layers.
    Graph,
    /// The neurons of a hidden layer are no [linear membrane](Neuron::linear_membrane), their decay
    /// is not in [0, 1], or their threshold is not above their rest.
    Neuron {
        /// The layer.
        layer: usize,
    },
    /// The neurons of a hidden layer decay at different rates.
    Decays {
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
            Self::Graph => f.write_str(
                "a model file holds a chain of layers; a layer has several inputs, or does not \
                 follow the previous one",
            ),
            Self::Neuron { layer } => write!(
                f,
                "layer {layer}: a model file holds leaky integrate-and-fire neurons, these are \
                 others"
            ),
            Self::Decays { layer } => write!(
                f,
                "layer {layer}: the neurons have different time constants; a model file holds one \
                 time constant a layer"
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
/// [`FoldError::Graph`] if the network is not a chain; [`FoldError::Neuron`] if a layer's neurons
/// are no [linear membrane](Neuron::linear_membrane); [`FoldError::Decays`] if those of a layer have
/// different time constants; [`FoldError::Backend`] if the backend cannot download the tensors.
pub fn fold<B: Backend<Real = f32>>(
    model: &Model<B>,
    metadata: Metadata,
) -> Result<ModelSpec<f32>, FoldError<B::Error>> {
    let tensors = model.tensors().map_err(FoldError::Backend)?;
    fold_tensors(model.network(), model.graph(), &tensors, metadata)
}

fn fold_tensors<B: Backend<Real = f32>, E>(
    network: &Network<B>,
    graph: &Graph,
    tensors: &[Tensor<f32>],
    metadata: Metadata,
) -> Result<ModelSpec<f32>, FoldError<E>> {
    let synapses = graph.chain().ok_or(FoldError::Graph)?;
    let rounding = network.rounding;
    let mut layers = Vec::new();
    for (l, hidden) in network.hidden.iter().enumerate() {
        let from = LayerTensors { tensors, layer: graph.name(l) };
        let outputs = synapses[l].outputs;
        let sets = if hidden.per_neuron { outputs } else { 1 };
        let params = from.find("neuron", hidden.neuron.param_count() * sets)?;
        let valid = |m: &LinearMembrane<f32>| (0.0..=1.0).contains(&m.decay) && m.threshold > 0.0;
        let membrane = |o: usize| {
            let set: Vec<_> = params.iter().skip(o % sets).step_by(sets).copied().collect();
            let membrane = hidden.neuron.membrane_with(&set).filter(valid);
            membrane.ok_or(FoldError::Neuron { layer: l })
        };
        let membranes = (0..outputs).map(membrane).collect::<Result<Vec<_>, _>>()?;
        let (decay, soft) = (membranes[0].decay, membranes[0].reset == Reset::Soft);
        if membranes.iter().any(|m| m.decay != decay || (m.reset == Reset::Soft) != soft) {
            return Err(FoldError::Decays { layer: l });
        }
        let norm = Norm::new(hidden.norm.as_ref(), &from, outputs)?;
        let gain = |o: usize| f64::from(membranes[o].input_gain);
        let neuron = |o: usize| NeuronSpec {
            threshold: f64::from(membranes[o].threshold),
            bias: gain(o) * norm.scale_and_offset(o).1,
        };
        layers.push(LayerSpec {
            neurons: (0..outputs).map(neuron).collect(),
            soft,
            ..layer(&synapses[l], rounding, &from, f64::from(decay), |o| {
                gain(o) * norm.scale_and_offset(o).0
            })?
        });
    }
    let output = &network.output;
    let last = network.hidden.len();
    let from = LayerTensors { tensors, layer: graph.name(last) };
    let readout = output.integrator;
    let decay = f64::from(readout.charge([1.0], 0.0)[0]);
    let gain = f64::from(readout.charge([0.0], 1.0)[0]);
    layers.push(layer(&synapses[last], rounding, &from, decay, |_| gain)?);
    Ok(ModelSpec {
        tick_us: metadata.tick_us,
        input: metadata.input,
        channels: graph.channels(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delay::Gauss;
    use crate::init::DelayInit;
    use crate::neuron::{Li, Lif, Plif};
    use crate::reference::Reference;
    use crate::shape::ShapeError;
    use crate::surrogate::Atan;
    use crate::train::{Layer, Readout};

    #[test]
    fn a_tensor_that_is_missing_or_short_is_named() {
        let (synapses, plif) = (Synapses::new(3, 4, 5), Plif::new(Lif::new(2.0)));
        let hidden = Layer::new(synapses, Gauss, plif, Atan { alpha: 5.0 });
        let output = Readout::new(Synapses::new(4, 2, 5), Gauss, Li::new(2.0));
        let network = Network::chain([hidden.with_norm(BatchNorm::default())], output);
        let model = Model::new(Reference::new(), network, DelayInit::Uniform, 1).unwrap();
        let tensors = model.tensors().unwrap();
        let metadata = Metadata { tick_us: 1, input: Input::Spikes, labels: Vec::new() };
        let fold = |tensors: &[Tensor<f32>]| {
            let (network, graph) = (model.network(), model.graph());
            fold_tensors::<_, ShapeError>(network, graph, tensors, metadata.clone())
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
