//! Networks that have only some of the possible synapses.

use crate::backend::Learner;
use crate::config::Config;
use crate::error::Result;
use crate::task::Task;
use polychron_core::delay::Place;
use polychron_core::rng::Rng;
use polychron_core::train::{Delays, Edge, Graph, Tensor};

/// The generator's stream of sparse inputs. The trainer uses streams 1 to 3.
const STREAM: u64 = 0x7370_6172_7365;

/// What pruning a trained model costs, on the validation items of the new run, or on its training
/// items if there are none. Delays are rounded.
#[derive(Clone, Debug, PartialEq)]
pub struct Pruned {
    /// Number of synapses of the network.
    pub synapses: usize,
    /// Number of those that are left.
    pub kept: usize,
    /// Accuracy with all synapses.
    pub accuracy_before: Option<f64>,
    /// Mean loss with all synapses.
    pub loss_before: Option<f64>,
    /// Accuracy with those that are left.
    pub accuracy: Option<f64>,
    /// Mean loss with those that are left.
    pub loss: Option<f64>,
}

/// The missing synapses of a sparse network. Their weights are 0 before every step, so their delays
/// have no gradient.
pub(crate) struct SparseMask {
    connections: Vec<Masked>,
    pruned: Option<Pruned>,
}

/// The missing synapses of a connection.
struct Masked {
    /// The name of the weights `[outputs, inputs, count]`.
    name: String,
    /// Indices into them.
    places: Vec<usize>,
    /// Whether every synapse has a delay that learns.
    delayed: bool,
}

impl SparseMask {
    /// Keeps `network.fan_in` inputs of every neuron, drawn with the seed; 0 keeps all inputs. Of
    /// each connection keeps the share `network.density` of the weights, those with the largest
    /// magnitudes in `tensors`. The weights of a run that has begun give the same synapses: its
    /// missing ones are 0.
    pub(crate) fn new(config: &Config, graph: &Graph, tensors: &[Tensor<f32>]) -> Self {
        let rng = Rng::new(config.seed, STREAM);
        let (fan_in, density) = (config.network.fan_in, config.network.density);
        let mut connections = Vec::new();
        for (l, node) in graph.nodes.iter().enumerate() {
            for (c, edge) in node.connections().enumerate() {
                let Edge { synapses, place, fixed_delays, .. } = edge;
                let layer = rng.fork(l as u64);
                let rng = if c == 0 { layer } else { layer.fork(c as u64) };
                let mut places = Vec::new();
                let outputs = if fan_in == 0 { 0 } else { synapses.outputs };
                for o in 0..outputs {
                    let mut inputs: Vec<usize> = (0..synapses.inputs).collect();
                    rng.fork(o as u64).shuffle(&mut inputs);
                    for i in inputs.into_iter().skip(fan_in) {
                        let first = (o * synapses.inputs + i) * synapses.kernel_count;
                        places.extend(first..first + synapses.kernel_count);
                    }
                }
                let name = format!("{}.weight", graph.connection_name(l, c));
                if density < 1.0
                    && let Some(weights) = tensors.iter().find(|tensor| tensor.name == name)
                {
                    let mut sizes: Vec<_> = weights.values.iter().map(|w| w.abs()).collect();
                    places.iter().for_each(|&place| sizes[place] = 0.0);
                    let mut order: Vec<_> = (0..sizes.len()).collect();
                    order.sort_by(|&a, &b| sizes[b].total_cmp(&sizes[a]));
                    places = order.split_off((density * sizes.len() as f64).ceil() as usize);
                }
                let delayed = !fixed_delays && *place == Place::Synaptic && synapses.taps > 1;
                connections.push(Masked { name, places, delayed });
            }
        }
        Self { connections, pruned: None }
    }

    /// Makes the mask of a new run and sets the masked weights to 0. If the weights are those of a
    /// trained model, also measures what pruning to `network.density` costs.
    pub(crate) fn begin(
        config: &Config,
        learner: &mut dyn Learner,
        task: &Task,
        trained: bool,
    ) -> Result<Self> {
        let measure = |learner: &mut dyn Learner| -> Result<_> {
            let split = &task.split;
            let items = if split.valid.is_empty() { &split.train } else { &split.valid };
            let (found, loss) = task.predict_with_loss(learner.model(), Delays::Rounded, items)?;
            Ok((found.accuracy(&task.data, |_| true), loss))
        };
        let mut mask = Self::new(config, learner.model().graph(), &learner.model().tensors()?);
        if !trained || config.network.density == 1.0 {
            mask.apply(learner)?;
            return Ok(mask);
        }
        let (accuracy_before, loss_before) = measure(learner)?;
        mask.apply(learner)?;
        let (accuracy, loss) = measure(learner)?;
        let synapses = learner.model().graph().connections().map(|e| e.weights()).sum();
        let missing: usize = mask.connections.iter().map(|own| own.places.len()).sum();
        let kept = synapses - missing;
        mask.pruned = Some(Pruned { synapses, kept, accuracy_before, loss_before, accuracy, loss });
        Ok(mask)
    }

    /// What pruning cost, if [`begin`](Self::begin) has pruned a trained model.
    pub(crate) fn pruned(&self) -> Option<&Pruned> {
        self.pruned.as_ref()
    }

    /// The number of masked parameters of every connection.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = usize> {
        let count = |own: &Masked| own.places.len() * if own.delayed { 2 } else { 1 };
        self.connections.iter().map(count)
    }

    /// Sets the masked weights to 0.
    pub(crate) fn apply(&self, learner: &mut dyn Learner) -> Result<()> {
        if self.connections.iter().all(|own| own.places.is_empty()) {
            return Ok(());
        }
        let mut state = learner.state()?;
        for Masked { name, places, .. } in &self.connections {
            for tensor in state.tensors.iter_mut().filter(|tensor| tensor.name == *name) {
                places.iter().for_each(|&place| tensor.values[place] = 0.0);
            }
        }
        learner.restore(&state)
    }
}
