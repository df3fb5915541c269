//! Layers, parameters and delays of a run's model.

use crate::backend::{self, Restore};
use crate::config::Delays;
use crate::error::{Error, Result};
use crate::run::{CHECKPOINT, MODEL};
use crate::sparse::SparseMask;
use crate::{model, network};
use polychron_core::train::{State, Tensor};
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
    /// The layers, the readout last.
    pub layers: Vec<Layer>,
}

/// Statistics of a layer.
#[derive(Clone, Debug, Serialize)]
pub struct Layer {
    /// `hidden.0`, `hidden.1`, ..., `output`.
    pub name: String,
    /// Outputs, inputs, kernel elements per synapse.
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
    /// Inspects the model in a run's folder, or the checkpoint of an unfinished run. Also returns
    /// warnings, as in [`Model::warnings`](crate::Model::warnings).
    ///
    /// # Errors
    /// If the folder has neither file, or the file is damaged.
    pub fn read(folder: &Path) -> Result<(Self, Vec<String>)> {
        model::check_folder(folder)?;
        let model = folder.join(MODEL);
        let path = if model.exists() { model } else { folder.join(CHECKPOINT) };
        let (state, config, warnings) = model::read(&path)?;
        let learned = config.train.delays == Delays::Learned;
        let mut trained = vec![".weight", ".gamma", ".beta"];
        trained.extend(learned.then_some(".delay"));
        trained.extend(config.train.train_neurons.then_some(".neuron"));
        let interface = model::interface(&state, &config, &path)?;
        let graph = network::graph(&config, interface)?;
        let mut layers = Vec::new();
        for (l, node) in graph.nodes.iter().enumerate() {
            for (c, edge) in node.edges.iter().enumerate() {
                let longest = edge.synapses.taps - 1;
                let layer = layer(&state, graph.connection_name(l, c), longest, &trained);
                layers.push(layer.map_err(|name| {
                    Error::new(format!("{}: tensor {name} is missing", path.display()))
                })?);
            }
        }
        let restore = Restore { config: &config, interface, state: &state, path: &path };
        restore.on(backend::cpu(&config)?)?;
        let mask = SparseMask::new(&config, &graph);
        for (layer, masked) in layers.iter_mut().zip(mask.parameters()) {
            layer.parameters -= masked;
        }
        let State { epoch, step, .. } = state;
        let parameters = layers.iter().map(|layer| layer.parameters).sum();
        Ok((Self { epoch, step, parameters, layers }, warnings))
    }
}

fn layer(
    state: &State<f32>,
    name: String,
    longest: usize,
    trained: &[&str],
) -> std::result::Result<Layer, String> {
    let tensor = |part: &str| -> Option<&Tensor<f32>> {
        state.tensors.iter().find(|t| t.name.strip_prefix(&name) == Some(part))
    };
    let require = |part: &str| tensor(part).ok_or_else(|| format!("{name}{part}"));
    let (weight, delay, sigma) = (require(".weight")?, require(".delay")?, require(".sigma")?);
    let share = |steps: usize| {
        let equal = delay.values.iter().filter(|d| d.round_ties_even() == steps as f32);
        equal.count() as f64 / delay.values.len() as f64
    };
    let optional = |part| tensor(part).map(|t| moments(&t.values));
    Ok(Layer {
        shape: weight.shape.clone(),
        parameters: trained.iter().filter_map(|part| tensor(part)).map(|t| t.values.len()).sum(),
        weight: moments(&weight.values),
        delay: moments(&delay.values),
        delays_at_zero: share(0),
        delays_at_longest: share(longest),
        sigma: sigma.values.first().map_or(0.0, |&s| s.into()),
        gamma: optional(".gamma"),
        beta: optional(".beta"),
        running_mean: optional(".running_mean"),
        running_var: optional(".running_var"),
        neuron: tensor(".neuron").map_or(Vec::new(), |t| t.values.clone()),
        name,
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
