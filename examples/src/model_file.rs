//! The contents of a model file and its cost on a microcontroller.

use crate::error::{Result, at};
use crate::task::Task;
use polychron_core::format::{Fault, FormatError, Input, LayerInfo, ModelFile, Scheme, Weight};
use serde::Serialize;
use std::path::Path;

/// Instruction counts of the integer engine on a Cortex-M4F, built for size, measured by
/// `examples/firmware/run.sh`.
mod cost {
    /// An event in a group of `g` synapses: `EVENT + GROUP / g`.
    pub(super) const EVENT: f64 = 6.3;
    pub(super) const GROUP: f64 = 19.0;
    /// An event in a ring.
    pub(super) const RING: f64 = 18.2;
    /// A neuron, and a spike of a neuron.
    pub(super) const NEURON: f64 = 17.4;
    pub(super) const SPIKE: f64 = 37.0;
    /// A class of the readout.
    pub(super) const CLASS: f64 = 70.0;
    /// A past tick of a block. If its spikes are not listed, a constant and a cost per spike are
    /// added.
    pub(super) const TICK: f64 = 40.0;
    pub(super) const UNLISTED: f64 = 200.0;
    pub(super) const WALK: f64 = 23.0;
}

/// The contents of a model file and its cost on a microcontroller. It serializes to JSON.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Description {
    /// Number of input channels.
    pub channels: usize,
    /// Number of classes.
    pub classes: usize,
    /// What a channel takes in a tick: `spikes`, or `values`: numbers of spikes, for which
    /// firmware calls `step_values`.
    pub input: &'static str,
    /// Length of a tick in microseconds.
    pub tick_us: u32,
    /// Number of silent ticks that the engine runs after an utterance, so that the last delayed
    /// spikes arrive.
    pub padding: usize,
    /// Size of the file in bytes, which firmware keeps in flash.
    pub flash: usize,
    /// Size of the engine's state in bytes, which firmware keeps in RAM.
    pub ram: usize,
    /// The layers, the readout last.
    pub layers: Vec<Layer>,
    /// Estimated work of a tick for several activities. Empty unless the weights are integers.
    pub work: Vec<Work>,
}

/// A layer of a model file.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Layer {
    /// Number of inputs.
    pub inputs: usize,
    /// Number of neurons.
    pub outputs: usize,
    /// The longest delay in ticks, plus one.
    pub taps: usize,
    /// How the spikes of the inputs are delivered: `groups` or `ring`, as
    /// [`Scheme`].
    pub scheme: &'static str,
    /// Largest number of spikes per tick and 256 inputs that are also listed; 0 stores bitmaps only.
    pub list: u8,
    /// Number of synapses; in a ring, of all pairs of an input and an output.
    pub synapses: usize,
    /// Mean number of synapses per group: those of one input with one delay; in a ring, all of one
    /// input.
    pub group: f64,
    /// Size of the layer in the file in bytes.
    pub flash: usize,
    /// Bytes of the file per synapse.
    pub flash_per_synapse: f64,
    /// RAM for the membranes in bytes.
    pub membranes: usize,
    /// RAM for the sums that are still to arrive, in bytes.
    pub arriving: usize,
    /// RAM for the past spikes of the inputs in bytes.
    pub history: usize,
    #[serde(skip)]
    info: LayerInfo,
}

/// The estimated work of a tick on a Cortex-M4F.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Work {
    /// Share of the inputs and neurons that are active in the tick, in [0, 1].
    pub activity: f64,
    /// Number of synaptic events: spikes times their synapses.
    pub events: f64,
    /// Number of instructions.
    pub instructions: f64,
}

/// Shares of active inputs and neurons per tick in `Description::work`.
const ACTIVITIES: [f64; 4] = [0.01, 0.05, 0.15, 1.0];

impl Description {
    pub(crate) fn new<W: Weight>(model: &ModelFile<'_, W>) -> Self {
        let layer = |info: LayerInfo| {
            let (scheme, list) = match info.scheme {
                Scheme::Groups { list } => ("groups", list),
                Scheme::Ring { list } => ("ring", list),
            };
            let [membranes, arriving, history] = info.ram;
            Layer {
                inputs: info.inputs,
                outputs: info.outputs,
                taps: info.taps,
                scheme,
                list,
                synapses: info.synapses,
                group: info.synapses as f64 / info.groups.max(1) as f64,
                flash: info.flash,
                flash_per_synapse: info.flash as f64 / info.synapses.max(1) as f64,
                membranes,
                arriving,
                history,
                info,
            }
        };
        let mut description = Self {
            channels: model.channels(),
            classes: model.classes(),
            input: match model.input() {
                Input::Spikes => "spikes",
                Input::Values => "values",
            },
            tick_us: model.tick_us(),
            padding: model.padding(),
            flash: model.flash(),
            ram: model.ram(),
            layers: (0..model.depth()).filter_map(|l| model.layer(l)).map(layer).collect(),
            work: Vec::new(),
        };
        if W::CODE == i8::CODE {
            description.work = ACTIVITIES.map(|activity| description.work(activity)).into();
        }
        description
    }

    /// The work of a tick in which a share `activity` of the inputs and neurons is active.
    fn work(&self, activity: f64) -> Work {
        let (mut events, mut instructions) = (0.0, 0.0);
        for (l, Layer { info, group, .. }) in self.layers.iter().enumerate() {
            let layer_events = activity * info.synapses as f64;
            events += layer_events;
            instructions += match info.scheme {
                Scheme::Groups { list } => {
                    let past = (info.taps * info.blocks) as f64;
                    let spikes = activity * (info.inputs.min(256)) as f64;
                    let walk = if spikes > list.into() {
                        cost::UNLISTED + cost::WALK * spikes
                    } else {
                        0.0
                    };
                    let per_event = cost::EVENT + cost::GROUP / group.max(1.0);
                    layer_events * per_event + (cost::TICK + walk) * past
                }
                Scheme::Ring { .. } => layer_events * cost::RING,
            };
            let last = l + 1 == self.layers.len();
            let neuron = cost::NEURON + activity * cost::SPIKE;
            instructions += info.outputs as f64 * if last { cost::CLASS } else { neuron };
        }
        Work { activity, events, instructions }
    }
}

/// Describes a model file with weights of either type.
///
/// # Errors
/// If the file cannot be read or is not a model file.
pub fn describe(path: &Path) -> Result<Description> {
    let bytes = std::fs::read(path).map_err(at(path.display()))?;
    let description = match ModelFile::<i8>::parse(&bytes) {
        Err(FormatError { fault: Fault::Weights, .. }) => {
            ModelFile::<f32>::parse(&bytes).map(|model| Description::new(&model))
        }
        integers => integers.map(|model| Description::new(&model)),
    };
    description.map_err(at(path.display()))
}

/// The input of an item, tick by tick.
pub(crate) fn ticks(task: &Task, item: usize) -> Result<Vec<Vec<i8>>> {
    let batch = task.batch(&[item])?;
    let (dense, batch) = (batch.batch.dense(), batch.view());
    let width = batch.shape.width;
    let steps = batch.lengths.map_or(batch.shape.steps, |lengths| lengths[0]);
    let tick = |x: &[f32]| x.iter().map(|&x| x as i8).collect::<Vec<_>>();
    Ok(dense[..steps * width].chunks_exact(width).map(tick).collect())
}
