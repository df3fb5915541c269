//! Networks in which every neuron has only some of the possible inputs.

use crate::backend::Learner;
use crate::config::Config;
use crate::error::Result;
use polychron_core::delay::Place;
use polychron_core::rng::Rng;
use polychron_core::train::{Edge, Graph};

/// The generator's stream of sparse inputs. The trainer uses streams 1 to 3.
const STREAM: u64 = 0x7370_6172_7365;

/// The missing synapses of a sparse network. Their weights are 0 before every step, so their delays
/// have no gradient.
pub(crate) struct SparseMask {
    connections: Vec<Masked>,
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
    /// Keeps `network.fan_in` inputs of every neuron, drawn with the seed; 0 keeps all inputs.
    pub(crate) fn new(config: &Config, graph: &Graph) -> Self {
        let rng = Rng::new(config.seed, STREAM);
        let fan_in = config.network.fan_in;
        let mut connections = Vec::new();
        for (l, node) in graph.nodes.iter().enumerate() {
            for (c, edge) in node.edges.iter().enumerate() {
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
                let delayed = !fixed_delays && *place == Place::Synaptic && synapses.taps > 1;
                connections.push(Masked { name, places, delayed });
            }
        }
        Self { connections }
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
