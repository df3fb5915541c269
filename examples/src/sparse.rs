//! Networks in which a neuron hears only some of the neurons before it.

use crate::config::{Config, Delays};
use crate::error::Result;
use crate::machine::{Machine, Trainer};
use crate::network::Net;
use polychron_core::rng::Rng;

/// The stream of the draw; the trainer's own are 1 to 3.
const STREAM: u64 = 0x7370_6172_7365;

/// Synapses that are not there: their weights are 0 before every step, so that their delays have no gradient.
pub(crate) struct Absent {
    /// Places in every layer's block of weights `[outputs, inputs, count]`.
    layers: Vec<Vec<usize>>,
    learned: bool,
}

impl Absent {
    /// Every neuron hears `network.fan_in` of its inputs, drawn from the seed; 0: all.
    pub(crate) fn of(config: &Config, network: &Net) -> Self {
        let rng = Rng::new(config.seed, STREAM);
        let fan_in = config.network.fan_in;
        let layers = network.synapses().enumerate().map(|(l, synapses)| {
            let mut absent = Vec::new();
            if fan_in == 0 {
                return absent;
            }
            for o in 0..synapses.outputs {
                let mut inputs: Vec<usize> = (0..synapses.inputs).collect();
                rng.fork(l as u64).fork(o as u64).shuffle(&mut inputs);
                for i in inputs.into_iter().skip(fan_in) {
                    let first = (o * synapses.inputs + i) * synapses.kernel_count;
                    absent.extend(first..first + synapses.kernel_count);
                }
            }
            absent
        });
        Self { layers: layers.collect(), learned: config.train.delays == Delays::Learned }
    }

    /// Parameters that are not there, of every layer.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = usize> {
        let each = if self.learned { 2 } else { 1 };
        self.layers.iter().map(move |absent| each * absent.len())
    }

    /// Takes their weights away again after a step.
    pub(crate) fn clear<B: Machine>(&self, trainer: &mut Trainer<B>) -> Result<()> {
        if self.layers.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let mut state = trainer.state()?;
        for (l, absent) in self.layers.iter().enumerate() {
            let last = l + 1 == self.layers.len();
            let name = if last { "output.weight".into() } else { format!("hidden.{l}.weight") };
            for tensor in state.tensors.iter_mut().filter(|tensor| tensor.name == name) {
                absent.iter().for_each(|&place| tensor.values[place] = 0.0);
            }
        }
        Ok(trainer.restore(&state)?)
    }
}
