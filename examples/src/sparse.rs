//! Networks in which every neuron has only some of the possible inputs.

use crate::backend::Learner;
use crate::config::{Config, Delays};
use crate::error::Result;
use crate::network::Net;
use polychron_core::rng::Rng;

/// The generator's stream of sparse inputs. The trainer uses streams 1 to 3.
const STREAM: u64 = 0x7370_6172_7365;

/// The missing synapses of a sparse network. Their weights are 0 before every step, so their delays
/// have no gradient.
pub(crate) struct SparseMask {
    /// Indices into the weights `[outputs, inputs, count]` of every layer.
    layers: Vec<Vec<usize>>,
    learned: bool,
}

impl SparseMask {
    /// Keeps `network.fan_in` inputs of every neuron, drawn with the seed; 0 keeps all inputs.
    pub(crate) fn new(config: &Config, network: &Net) -> Self {
        let rng = Rng::new(config.seed, STREAM);
        let fan_in = config.network.fan_in;
        let layers = network.synapses().enumerate().map(|(l, synapses)| {
            let mut masked = Vec::new();
            if fan_in == 0 {
                return masked;
            }
            for o in 0..synapses.outputs {
                let mut inputs: Vec<usize> = (0..synapses.inputs).collect();
                rng.fork(l as u64).fork(o as u64).shuffle(&mut inputs);
                for i in inputs.into_iter().skip(fan_in) {
                    let first = (o * synapses.inputs + i) * synapses.kernel_count;
                    masked.extend(first..first + synapses.kernel_count);
                }
            }
            masked
        });
        Self { layers: layers.collect(), learned: config.train.delays == Delays::Learned }
    }

    /// The number of masked parameters of every layer.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = usize> {
        let each = if self.learned { 2 } else { 1 };
        self.layers.iter().map(move |masked| each * masked.len())
    }

    /// Sets the masked weights to 0.
    pub(crate) fn apply(&self, learner: &mut dyn Learner) -> Result<()> {
        if self.layers.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let mut state = learner.state()?;
        for (l, masked) in self.layers.iter().enumerate() {
            let last = l + 1 == self.layers.len();
            let name = if last { "output.weight".into() } else { format!("hidden.{l}.weight") };
            for tensor in state.tensors.iter_mut().filter(|tensor| tensor.name == name) {
                masked.iter().for_each(|&place| tensor.values[place] = 0.0);
            }
        }
        learner.restore(&state)
    }
}
