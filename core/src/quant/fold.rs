use super::spec::{Decay, LayerSpec, ModelSpec, NeuronSpec, SynapseSpec};
use crate::backend::Backend;
use crate::delay::Rounding;
use crate::format::{Decision, Input, Scheme};
use crate::loss::Loss;
use crate::neuron::{ErasedNeuron, LinearMembrane, Neuron, Reset};
use crate::shape::Synapses;
use crate::train::{Edge, Group, InitialState, Model};
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
    /// The neurons of a hidden layer start from random states.
    InitialState {
        /// The layer.
        layer: usize,
    },
    /// The readout has biases.
    Bias,
    /// The neurons of a hidden layer decay at different rates.
    Decays {
        /// The layer.
        layer: usize,
    },
}

impl<E: fmt::Display> fmt::Display for FoldError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(error) => error.fmt(f),
            Self::Graph => f.write_str(
                "a model file holds a chain of layers; a layer is recurrent, has several inputs, \
                 or does not follow the previous one: remove the other connections of the network",
            ),
            Self::Neuron { layer } => write!(
                f,
                "layer {layer}: a model file holds leaky integrate-and-fire neurons, these are \
                 others"
            ),
            Self::InitialState { layer } => write!(
                f,
                "layer {layer}: a model file starts neurons at rest, these start from random states"
            ),
            Self::Bias => f.write_str(
                "a model file has no biases of the readout: remove those of the network",
            ),
            Self::Decays { layer } => write!(
                f,
                "layer {layer}: the neurons have different time constants; a model file holds one \
                 time constant a layer"
            ),
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

/// Rounds the delays of a network and folds its norms into weights and biases. Every synapse has a
/// delay in the file, at whatever [`Place`](crate::delay::Place) the network keeps it.
///
/// # Errors
/// [`FoldError::Graph`] if the network is not a chain; [`FoldError::Neuron`] if a layer's neurons
/// are no [linear membrane](Neuron::linear_membrane); [`FoldError::Decays`] if those of a layer
/// have different time constants; [`FoldError::InitialState`] if they start from random states;
/// [`FoldError::Bias`] if the readout has biases; [`FoldError::Backend`] if the backend cannot
/// download tensors.
pub fn fold<B: Backend<Real = f32>>(
    model: &Model<B>,
    metadata: Metadata,
) -> Result<ModelSpec<f32>, FoldError<B::Error>> {
    let (network, graph) = (model.network(), model.graph());
    let tensors = model.tensors().map_err(FoldError::Backend)?;
    // The values of the tensors of a group in a layer.
    let find = |layer: usize, group: Group| {
        let all = model.specs().iter().zip(&tensors);
        let mut found = all.filter(move |(spec, _)| spec.layer == layer && spec.group == group);
        move || found.next().map_or(&[][..], |(_, tensor)| &tensor.values)
    };
    let synapses = graph.chain().ok_or(FoldError::Graph)?;
    if network.output.bias {
        return Err(FoldError::Bias);
    }
    let edge = |l: usize| &graph.nodes[l].edges[0];
    let delays = (0..=network.hidden.len()).map(|l| model.delays(l, 0));
    let delays = delays.collect::<Result<Vec<_>, _>>().map_err(FoldError::Backend)?;
    let weights = (0..=network.hidden.len()).map(|l| model.weights(l, 0));
    let weights = weights.collect::<Result<Vec<_>, _>>().map_err(FoldError::Backend)?;
    let connection = |l: usize| [&weights[l][..], &delays[l]];
    let mut layers = Vec::new();
    for (l, hidden) in network.hidden.iter().enumerate() {
        if hidden.initial_state == InitialState::Random {
            return Err(FoldError::InitialState { layer: l });
        }
        let outputs = synapses[l].outputs;
        let sets = if hidden.per_neuron { outputs } else { 1 };
        let params = find(l, Group::Neurons)();
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
        let (mut norms, mut statistics) = (find(l, Group::Norms), find(l, Group::Statistics));
        let norm = hidden.norm.map(|norm| Norm {
            epsilon: norm.epsilon.into(),
            tensors: [norms(), norms(), statistics(), statistics()],
        });
        let mut weights = find(l, Group::Weights);
        let [_, biases] = [weights(), weights()];
        let bias = |o: usize| biases.get(o).map_or(0.0, |&bias| bias.into());
        let scale_and_offset =
            |o| norm.as_ref().map_or_else(|| (1.0, bias(o)), |norm| norm.scale_and_offset(o));
        let gain = |o: usize| f64::from(membranes[o].input_gain);
        let neuron = |o: usize| NeuronSpec {
            threshold: f64::from(membranes[o].threshold),
            bias: gain(o) * scale_and_offset(o).1,
        };
        layers.push(LayerSpec {
            neurons: (0..outputs).map(neuron).collect(),
            soft,
            ..layer(edge(l), network.rounding, connection(l), f64::from(decay), |o| {
                gain(o) * scale_and_offset(o).0
            })
        });
    }
    let output = &network.output;
    let last = network.hidden.len();
    let readout = output.integrator;
    let decay = f64::from(readout.charge([1.0], 0.0)[0]);
    let gain = f64::from(readout.charge([0.0], 1.0)[0]);
    layers.push(layer(edge(last), network.rounding, connection(last), decay, |_| gain));
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

/// The synapses of a layer that exist, one per tap, without neurons. The weights onto output `o`
/// are multiplied by `factor(o)`.
fn layer(
    edge: &Edge,
    of_network: Rounding,
    [weights, delays]: [&[f32]; 2],
    decay: f64,
    factor: impl Fn(usize) -> f64,
) -> LayerSpec<f32> {
    let Synapses { inputs, outputs, kernel_count, taps, padding } = edge.synapses;
    let rounding = edge.rounding(of_network);
    let mut found = Vec::new();
    for (e, (&w, &d)) in weights.iter().zip(delays).enumerate() {
        let target = e / kernel_count / inputs;
        let source = e / kernel_count % inputs;
        if edge.connectivity.as_ref().is_some_and(|units| units.unit(target, source).is_none()) {
            continue;
        }
        let weight = factor(target) * f64::from(w);
        let [first, second] = rounding.taps(f64::from(d), taps);
        let taps = core::iter::once(first).chain((second.1 > 0.0).then_some(second));
        found.extend(taps.map(|(delay, share)| {
            let weight = (weight * share) as f32;
            SynapseSpec { source, target, delay, weight }
        }));
    }
    LayerSpec {
        outputs,
        taps,
        padding,
        synapses: found,
        neurons: Vec::new(),
        decay: Decay::Float(decay as f32),
        soft: false,
        gain: (0, 0),
        scheme: Scheme::Groups { list: 31 },
    }
}

/// A norm with running statistics, `scale y + offset` for every output.
struct Norm<'a> {
    epsilon: f64,
    /// Gamma, beta, running mean and running variance.
    tensors: [&'a [f32]; 4],
}

impl Norm<'_> {
    fn scale_and_offset(&self, o: usize) -> (f64, f64) {
        let [gamma, beta, mean, var] = self.tensors.map(|tensor| f64::from(tensor[o]));
        let scale = gamma / libm::sqrt(var + self.epsilon);
        (scale, beta - mean * scale)
    }
}
