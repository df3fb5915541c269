//! Export of a model to a file for the inference engine.

use crate::backend::CpuModel;
use crate::config::{self, Rounding};
use crate::error::{Error, Result, at, fail};
use crate::model::Model;
use crate::model_file::{self, Description};
use crate::task::{Predictions, Task};
use polychron_core::format::{self, Input, RING_MAX, Scheme, Weight};
use polychron_core::infer::recording::Writer;
use polychron_core::infer::{Arithmetic, Engine, HeapState};
use polychron_core::quant::{Metadata, ModelSpec, SynapseSpec, fold, quantize};
use polychron_core::train::Delays;
use serde::Serialize;

/// The arithmetic of a model file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// 8-bit integers.
    I8,
    /// Single-precision floating point.
    F32,
}

/// The resource that the delivery of spikes saves.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Instructions: bitmaps of past spikes and lists of them.
    Fast,
    /// Memory: bitmaps only.
    Small,
}

/// Entries of a list of spikes under [`Delivery::Fast`].
const LIST_LEN: u8 = 31;
/// Neurons of the widest layer that may use a ring of sums, whose memory grows with the width.
const MAX_RING_OUTPUTS: usize = 64;
/// Mean synapses per group from which groups cost no more than a ring.
const MIN_GROUP: f64 = 8.0;

/// Options of an export.
#[derive(Clone, Copy, Debug)]
pub struct ExportOptions {
    /// The arithmetic of the file.
    pub weights: Weights,
    /// The resource that the delivery of spikes saves.
    pub scheme: Delivery,
    /// How delays become whole steps; `None` rounds as the configuration says.
    pub rounding: Option<Rounding>,
    /// Largest number of test items to record; `None` makes no recording.
    pub recorded: Option<usize>,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self { weights: Weights::I8, scheme: Delivery::Fast, rounding: None, recorded: None }
    }
}

/// A model file, and its accuracy and costs.
pub struct Export {
    /// The model file.
    pub file: Vec<u8>,
    /// A recording to replay on a device, if [`ExportOptions::recorded`] is set.
    pub recording: Option<Vec<u8>>,
    /// Accuracy and costs.
    pub summary: Summary,
}

/// The accuracy after each step from the trained network to the model file, and the costs of the
/// file on a device.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The arithmetic of the file.
    pub weights: Weights,
    /// The resource that the delivery of spikes saves.
    pub scheme: Delivery,
    /// Number of test items; 0 if the export had no data, and thus no accuracies.
    pub items: usize,
    /// Accuracy of the network as trained.
    pub float_accuracy: Option<f64>,
    /// How delays became whole steps: `nearest` or `split`.
    pub rounding: &'static str,
    /// Accuracy with rounded delays.
    pub rounded_accuracy: Option<f64>,
    /// Accuracy of the file in its engine.
    pub engine_accuracy: Option<f64>,
    /// Share of items that the engine and the network with rounded delays classify alike.
    pub agreement: Option<f64>,
    /// The delivery scheme of every layer, and its reason.
    pub schemes: Vec<String>,
    /// Layers, memory and work.
    #[serde(flatten)]
    pub model: Description,
}

impl Model {
    /// Converts the model to a file for the inference engine. With the data, evaluates the file on
    /// the test items, too. Without them, [`Model::card`] must be there.
    ///
    /// # Errors
    /// If a model file cannot represent the network, the model does not fit the data, a recording
    /// is requested without data, integer weights and input spikes, or nothing describes the data.
    pub fn export(&self, task: Option<&Task>, options: &ExportOptions) -> Result<Export> {
        task.map_or(Ok(()), |task| self.check(task))?;
        if options.rounding.is_some() && !self.config.network.has_delays(config::Delays::Learned) {
            fail!("rounding: the delays of {} are whole already", self.path().display())
        }
        let card = match (self.card(), task) {
            (Some(card), _) => card.clone(),
            (None, Some(task)) => task.card(),
            (None, None) => fail!(
                "{}: does not name its classes, because an earlier version made it; load its data",
                self.path().display()
            ),
        };
        let input = card.format_input()?;
        if let Some(recorded) = options.recorded {
            if options.weights != Weights::I8 {
                fail!("recorded = {recorded}: recordings need weights = i8")
            }
            if task.is_none() {
                fail!("recorded = {recorded}: recordings need the data")
            }
            if input != Input::Spikes {
                let source = &card.source;
                fail!("recorded = {recorded}: {source} has counts; recordings need spikes")
            }
        }
        let dt_ms = self.config.data.dt_ms;
        let Some(tick_us) = dt_ms.checked_mul(1000) else {
            fail!("data.dt_ms = {dt_ms}: a tick of a model file has at most 4294967 ms")
        };
        let metadata = Metadata { tick_us, input, labels: card.classes };
        let model = self.on_cpu_with(options.rounding)?;
        let place = self.path().display();
        let spec = fold(&model, metadata).map_err(at(&place))?;
        match options.weights {
            Weights::I8 => {
                let spec = quantize(&spec).map_err(at(&place))?;
                let mut export = self.export_spec::<i8>(options, task, &model, spec)?;
                if let (Some(items), Some(task)) = (options.recorded, task) {
                    let test = &task.split.test;
                    let items = &test[..items.min(test.len())];
                    export.recording = Some(record(&export.file, task, items)?);
                }
                Ok(export)
            }
            Weights::F32 => self.export_spec::<f32>(options, task, &model, spec),
        }
    }

    /// Writes the file, classifies the test items with its engine if there are any, and summarizes.
    fn export_spec<W: Arithmetic + Into<f64>>(
        &self,
        options: &ExportOptions,
        task: Option<&Task>,
        model: &CpuModel,
        mut spec: ModelSpec<W>,
    ) -> Result<Export> {
        let place = self.path().display();
        let schemes = choose_schemes(&mut spec, options.scheme);
        let file = spec.to_bytes().map_err(at(&place))?;
        let parsed = format::ModelFile::<W>::parse(&file).map_err(at(&place))?;
        let mut summary = Summary {
            weights: options.weights,
            scheme: options.scheme,
            items: 0,
            float_accuracy: None,
            rounding: model.network().rounding.name(),
            rounded_accuracy: None,
            engine_accuracy: None,
            agreement: None,
            schemes,
            model: Description::new(&parsed),
        };
        if let Some(task) = task {
            let items = &task.split.test;
            let engine = predict_by_engine(&parsed, task, items)?;
            let float = task.predict(self, self.trained_delays(), items)?;
            let rounded = task.predict(model, Delays::Rounded, items)?;
            let same = engine.classes.iter().zip(&rounded.classes).filter(|(a, b)| a == b).count();
            let accuracy = |of: &Predictions| of.accuracy(&task.data, |_| true);
            summary.items = items.len();
            summary.float_accuracy = accuracy(&float);
            summary.rounded_accuracy = accuracy(&rounded);
            summary.engine_accuracy = accuracy(&engine);
            summary.agreement = (!items.is_empty()).then(|| same as f64 / items.len() as f64);
        }
        Ok(Export { file, recording: None, summary })
    }
}

/// Records items and the results of the integer engine.
fn record(file: &[u8], task: &Task, items: &[usize]) -> Result<Vec<u8>> {
    let model = format::ModelFile::<i8>::parse(file)?;
    let mut state = HeapState::new(&model);
    let mut engine = Engine::new(&model, &mut state)?;
    let mut recording = Writer::new();
    for &item in items {
        let spikes = |values: Vec<i8>| {
            let active = (0..).zip(values).filter(|(_, value)| *value != 0);
            active.map(|(channel, _)| channel).collect()
        };
        let ticks: Vec<Vec<u16>> = model_file::ticks(task, item)?.into_iter().map(spikes).collect();
        let label = task.data.samples[item].label.into();
        let recorded = recording.record(&mut engine, &ticks, label);
        recorded.map_err(|error| Error::wrap(error).at(format!("item {item}")))?;
    }
    Ok(recording.to_bytes())
}

/// Chooses the delivery scheme of every layer and returns the reasons.
fn choose_schemes<W: Arithmetic + Into<f64>>(
    spec: &mut ModelSpec<W>,
    delivery: Delivery,
) -> Vec<String> {
    let list = match delivery {
        Delivery::Fast => LIST_LEN,
        Delivery::Small => 0,
    };
    let mut reasons = Vec::new();
    for (l, layer) in spec.layers.iter_mut().enumerate() {
        let present = || layer.synapses.iter().filter(|s| !s.weight.is_zero());
        let distinct = |key: fn(&SynapseSpec<W>) -> (usize, usize)| {
            let mut keys: Vec<_> = present().map(key).collect();
            keys.sort_unstable();
            keys.dedup();
            keys.len()
        };
        let (synapses, groups) = (present().count(), distinct(|s| (s.source, s.delay)));
        let mean = synapses as f64 / groups.max(1) as f64;
        let largest = if spec.input == Input::Values && l == 0 { 127.0 } else { 1.0 };
        let mut sums = vec![0.0; layer.outputs];
        present().for_each(|s| sums[s.target] += largest * s.weight.into().abs());
        let overflow = W::CODE == i8::CODE && sums.iter().any(|&sum| sum > RING_MAX.into());
        let groups = match mean {
            _ if mean >= MIN_GROUP => Some("groups: many synapses are due at once"),
            _ if layer.outputs > MAX_RING_OUTPUTS => {
                Some("groups: a ring's sums would take much memory")
            }
            _ if distinct(|s| (s.source, s.target)) < synapses => {
                Some("groups: pairs have many synapses")
            }
            _ if overflow => Some("groups: sums of 16 bits are too small"),
            _ => None,
        };
        layer.scheme =
            if groups.is_some() { Scheme::Groups { list } } else { Scheme::Ring { list } };
        let why = groups.unwrap_or("ring: few synapses are due at once");
        reasons.push(format!("{why} ({mean:.1})"));
    }
    reasons
}

fn predict_by_engine<W: Arithmetic>(
    model: &format::ModelFile<'_, W>,
    task: &Task,
    items: &[usize],
) -> Result<Predictions> {
    let mut state = HeapState::new(model);
    let mut engine = Engine::new(model, &mut state)?;
    let mut predictions = Predictions::of(items);
    for &item in items {
        engine.reset();
        for values in model_file::ticks(task, item)? {
            engine.step_values(&values)?;
        }
        engine.finish();
        predictions.classes.push(engine.decide());
    }
    Ok(predictions)
}
