//! The contents of a model file and its cost on a microcontroller.

use crate::error::{Result, at};
use crate::task::Task;
use polychron_core::format::{Fault, FormatError, LayerInfo, ModelFile, Scheme, Weight};
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
pub struct Description {
    pub(crate) channels: usize,
    pub(crate) classes: usize,
    pub(crate) tick_us: u32,
    pub(crate) tail: usize,
    /// Flash and RAM in bytes.
    pub(crate) flash: usize,
    pub(crate) ram: usize,
    pub(crate) layers: Vec<Layer>,
    /// Share of active inputs and neurons, synaptic events and instructions of a tick, for several
    /// shares. Empty unless the weights are integers.
    pub(crate) work: Vec<(f64, f64, f64)>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Layer {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) taps: usize,
    pub(crate) scheme: &'static str,
    /// Largest number of spikes of a tick that are listed.
    pub(crate) list: u8,
    pub(crate) synapses: usize,
    /// Mean number of synapses per group: of one source with one delay.
    pub(crate) group: f64,
    pub(crate) flash: usize,
    pub(crate) flash_per_synapse: f64,
    pub(crate) membranes: usize,
    pub(crate) arriving: usize,
    pub(crate) history: usize,
    #[serde(skip)]
    pub(crate) info: LayerInfo,
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
            tick_us: model.tick_us(),
            tail: model.padding(),
            flash: model.flash(),
            ram: model.ram(),
            layers: (0..model.depth()).filter_map(|l| model.layer(l)).map(layer).collect(),
            work: Vec::new(),
        };
        if W::CODE == i8::CODE {
            let work = |share| {
                let (events, instructions) = description.work(share);
                (share, events, instructions)
            };
            description.work = ACTIVITIES.map(work).into();
        }
        description
    }

    /// Synaptic events and instructions of a tick in which a share `activity` of the inputs and
    /// neurons is active.
    fn work(&self, activity: f64) -> (f64, f64) {
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
        (events, instructions)
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
    let batch = batch.view();
    let width = batch.shape.width;
    let steps = batch.lengths.map_or(batch.shape.steps, |lengths| lengths[0]);
    let tick = |x: &[f32]| x.iter().map(|&x| x as i8).collect::<Vec<_>>();
    Ok(batch.x[..steps * width].chunks_exact(width).map(tick).collect())
}
