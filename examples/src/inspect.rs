//! Layers, parameters and delays of a run's model.

use crate::backend::{self, Classifier, Restore};
use crate::config::{Config, Connect, Delays, Neuron, Surrogate};
use crate::data_card::DataCard;
use crate::error::{Result, fail};
use crate::model::{self, Stored};
use crate::network;
use crate::sparse::SparseMask;
use polychron_core::train::{Edge, Group, State, Tensor, TensorSpec};
use serde::Serialize;
use std::path::Path;

/// The layers, parameters and delays of a run's model.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// Finished epochs.
    pub epoch: u64,
    /// Number of training steps.
    pub step: u64,
    /// Number of trained parameters.
    pub parameters: usize,
    /// Number of input channels.
    pub channels: usize,
    /// Number of classes.
    pub classes: usize,
    /// The data that the model was trained on; `None` if an earlier version trained it.
    pub data: Option<DataCard>,
    /// The connections of all layers, the readout last.
    pub layers: Vec<Layer>,
}

/// A connection of a layer, and its statistics. The first connection of a hidden layer has those
/// of its neurons, too.
#[derive(Clone, Debug, Serialize)]
pub struct Layer {
    /// `hidden.0`, `hidden.1`, ..., `output`; `hidden.0.inputs.1`, ... for further connections.
    pub name: String,
    /// Where the connection comes from: `input`, `hidden.0`, `hidden.1`, ...
    pub from: String,
    /// Kernel in training.
    pub kernel: String,
    /// Whether the delays are `learned`, `fixed`, `given`, or `zero` without delays.
    pub delays: Delays,
    /// Where the delays sit: `synaptic`, `axonal`, `dendritic`, `shared`, or `none` without delays.
    pub delay_place: String,
    /// Which neurons are connected.
    pub connect: Connect,
    /// Longest delay in steps.
    pub max_delay: usize,
    /// Longest delay in ms.
    pub max_delay_ms: f64,
    /// The neurons of a hidden layer.
    pub neurons: Option<Neurons>,
    /// Outputs, inputs, kernel elements per synapse; of a convolution, output maps, input maps,
    /// width, kernel elements.
    pub shape: Vec<usize>,
    /// Number of trained parameters.
    pub parameters: usize,
    /// Statistics of the weights.
    pub weight: Moments,
    /// Statistics of the delays, in steps.
    pub delay: Moments,
    /// Share of delays that round to 0.
    pub delays_at_zero: f64,
    /// Share of delays that round to the longest delay.
    pub delays_at_longest: f64,
    /// Sigma of the kernel, as stored.
    pub sigma: f64,
    /// Biases, if the layer has some.
    pub bias: Option<Moments>,
    /// Scale of the norm, if the layer has one.
    pub gamma: Option<Moments>,
    /// Shift of the norm.
    pub beta: Option<Moments>,
    /// Running mean of the norm.
    pub running_mean: Option<Moments>,
    /// Running variance of the norm.
    pub running_var: Option<Moments>,
    /// Parameters of the neurons, as stored.
    pub neuron: Vec<f32>,
}

/// The settings of the neurons of a hidden layer.
#[derive(Clone, Debug, Serialize)]
pub struct Neurons {
    /// The neuron model and its initial parameters.
    pub model: Neuron,
    /// The surrogate derivative of a spike.
    pub surrogate: Surrogate,
    /// Whether the layer has batch norm.
    pub norm: bool,
    /// Probability that a neuron is silenced for a whole sample in training.
    pub dropout: f64,
}

/// Mean, deviation and range of numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Moments {
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub deviation: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

impl Inspection {
    /// Inspects the model in a run's folder; of an unfinished run its best epoch so far, or its
    /// checkpoint if no epoch is selected. Also returns warnings, as in
    /// [`Model::warnings`](crate::Model::warnings).
    ///
    /// # Errors
    /// If the folder has neither file, or the file is damaged.
    pub fn read(folder: &Path) -> Result<(Self, Vec<String>)> {
        let (path, stored) = model::read_run(folder)?;
        let Stored { state, config, card: data, interface, warnings } = stored;
        let restore = Restore { config: &config, interface, state: &state, path: &path };
        let model = restore.on(backend::cpu(&config)?)?;
        let tensors = Classifier::tensors(&model)?;
        let (graph, recipe) = (model.graph(), network::recipe(&config));
        let learns = |group| recipe.learning(group, 0).is_some();
        let mut layers = Vec::new();
        for (l, node) in graph.nodes.iter().enumerate() {
            for (c, edge) in node.connections().enumerate() {
                let own = model.specs().iter().zip(&tensors);
                let own = own.filter(|(spec, _)| (spec.layer, spec.connection) == (l, c));
                let own: Vec<_> = own.collect();
                let trained = own.iter().filter(|(spec, _)| learns(spec.group) && !spec.is_fixed());
                let parameters = trained.map(|(_, tensor)| tensor.values.len()).sum();
                let name = graph.connection_name(l, c);
                layers.push(layer(&own, name, settings(&config, l, c, edge)?, parameters)?);
            }
        }
        let mask = SparseMask::new(&config, graph, &tensors);
        for (layer, masked) in layers.iter_mut().zip(mask.parameters()) {
            layer.parameters -= masked;
        }
        let State { epoch, step, .. } = state;
        let parameters = layers.iter().map(|layer| layer.parameters).sum();
        let (channels, classes) = (interface.channels, interface.classes);
        Ok((Self { epoch, step, parameters, channels, classes, data, layers }, warnings))
    }
}

/// What the configuration says about a connection.
struct Settings {
    from: String,
    kernel: String,
    delays: Delays,
    delay_place: String,
    connect: Connect,
    max_delay: usize,
    dt_ms: u32,
    neurons: Option<Neurons>,
}

fn settings(config: &Config, l: usize, c: usize, edge: &Edge) -> Result<Settings> {
    let own = config.network.layer(l)?;
    let input = own.inputs.get(c);
    let delays = input.and_then(|input| input.delays).unwrap_or(config.network.delays);
    let learned = delays == Delays::Learned;
    let kernel = input.and_then(|input| input.kernel.clone()).filter(|_| learned);
    let neurons = Neurons {
        model: own.neuron,
        surrogate: own.surrogate,
        norm: own.norm,
        dropout: own.dropout,
    };
    Ok(Settings {
        from: network::source_name(edge),
        kernel: kernel.unwrap_or_else(|| "discrete".into()),
        delays,
        delay_place: network::place_name(edge).into(),
        connect: input.and_then(|input| input.connect).unwrap_or_default(),
        max_delay: edge.synapses.taps - 1,
        dt_ms: config.data.dt_ms,
        neurons: (c == 0 && l < config.network.hidden.len()).then_some(neurons),
    })
}

/// The statistics of a connection from its tensors.
fn layer(
    tensors: &[(&TensorSpec<f32>, &Tensor<f32>)],
    name: String,
    settings: Settings,
    parameters: usize,
) -> Result<Layer> {
    let Settings { from, kernel, delays, delay_place, connect, .. } = settings;
    let Settings { max_delay, dt_ms, neurons, .. } = settings;
    let find = |group: Group| tensors.iter().filter(move |(spec, _)| spec.group == group);
    let first = |group| find(group).map(|(_, tensor)| *tensor).next();
    let bias = find(Group::Weights).nth(1).map(|(_, tensor)| moments(&tensor.values));
    let (Some(weight), Some(delay)) = (first(Group::Weights), first(Group::Delays)) else {
        fail!("{name}: has no synapses")
    };
    let share = |steps: usize| {
        let equal = delay.values.iter().filter(|d| d.round_ties_even() == steps as f32);
        equal.count() as f64 / delay.values.len() as f64
    };
    let mut norms = find(Group::Norms).map(|(_, tensor)| moments(&tensor.values));
    let mut statistics = find(Group::Statistics).map(|(_, tensor)| moments(&tensor.values));
    let values = |group| first(group).map_or(&[][..], |tensor| &tensor.values);
    Ok(Layer {
        shape: weight.shape.clone(),
        parameters,
        weight: moments(&weight.values),
        delay: moments(&delay.values),
        delays_at_zero: share(0),
        delays_at_longest: share(max_delay),
        sigma: values(Group::Sigma).first().map_or(0.0, |&s| s.into()),
        bias,
        gamma: norms.next(),
        beta: norms.next(),
        running_mean: statistics.next(),
        running_var: statistics.next(),
        neuron: values(Group::Neurons).to_vec(),
        name,
        from,
        kernel,
        delays,
        delay_place,
        connect,
        max_delay,
        max_delay_ms: max_delay as f64 * f64::from(dt_ms),
        neurons,
    })
}

fn moments(values: &[f32]) -> Moments {
    let values = || values.iter().map(|&v| f64::from(v));
    let n = values().count().max(1) as f64;
    let mean = values().sum::<f64>() / n;
    Moments {
        mean,
        deviation: (values().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt(),
        min: values().fold(f64::INFINITY, f64::min),
        max: values().fold(f64::NEG_INFINITY, f64::max),
    }
}
