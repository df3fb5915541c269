//! `polychron export`: from a run to a model file for firmware.

use crate::checkpoint::{self, write_atomic};
use crate::error::{Failure, Result, at, fail};
use crate::machine;
use crate::model_file::{self, Description};
use crate::report::{percent, say};
use crate::task::{Decisions, Task};
use polychron_core::format::{self, Input, RING_MAX, Scheme, Weight};
use polychron_core::infer::recording::Writer;
use polychron_core::infer::{Arithmetic, Engine, HeapState};
use polychron_core::quant::{Metadata, ModelSpec, SynapseSpec, fold, quantize};
use polychron_core::train::Delays;
use polychron_cpu::Cpu;
use polychron_datasets::Dataset;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Options of `export`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of a finished run
    run: PathBuf,
    /// The model file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Kind of weights
    #[arg(long, value_enum, default_value = "i8")]
    weights: Weights,
    /// What to save, instructions or memory
    #[arg(long, value_enum, default_value = "fast")]
    scheme: Saving,
    /// Also write held-out items of spikes with what the integer engine makes of them, to be replayed on a device
    #[arg(long, value_name = "FILE")]
    recording: Option<PathBuf>,
    /// How many of them
    #[arg(long, default_value_t = 40)]
    recorded: usize,
    /// Overwrite files
    #[arg(long)]
    force: bool,
    /// Folder of the data files
    #[arg(long, value_name = "DIR", env = "POLYCHRON_DATA")]
    data: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Weights {
    /// Eight bits: the integer engine
    I8,
    /// Single precision
    F32,
}

#[derive(Clone, Copy, Debug, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Saving {
    /// Lists of past spikes beside their bitmaps
    Fast,
    /// Bitmaps alone
    Small,
}

/// Entries of a list in the fast scheme.
const LIST: u8 = 31;
/// Widest layer for which a ring of sums is worth its memory.
const NARROW: usize = 64;
/// Synapses of a group from which on groups cost no more than a ring.
const WORTH: f64 = 8.0;

/// What every step from the trained network to the file costs.
#[derive(Serialize)]
struct Export {
    file: String,
    weights: Weights,
    scheme: Saving,
    items: usize,
    /// Accuracy of the network as it was trained, with rounded delays, and of the file in its engine.
    float_accuracy: Option<f64>,
    rounded_accuracy: Option<f64>,
    engine_accuracy: Option<f64>,
    /// Share of items on which the engine decides as the rounded network.
    agreement: Option<f64>,
    /// Why every layer's spikes are delivered as they are.
    schemes: Vec<String>,
    #[serde(flatten)]
    model: Description,
}

/// Runs `export`.
pub(crate) fn export(args: &Args) -> Result<()> {
    let written = [Some(&args.output), args.recording.as_ref()];
    for path in written.into_iter().flatten() {
        if path.exists() && !args.force {
            fail!("{}: exists; --force overwrites it", path.display())
        }
    }
    if args.recording.as_ref() == Some(&args.output) {
        fail!("--recording: {} is the model's own file", args.output.display())
    }
    let path = args.run.join("model.safetensors");
    let (state, config) = checkpoint::read_run(&path)?;
    let task = Task::load(&config, args.data.as_deref())?;
    let cpu = machine::cpu(&config)?;
    let model = machine::restored(cpu, &config, task.ends(), &state, &path)?;
    let input = input(&task.data)?;
    if args.recording.is_some() && (args.weights != Weights::I8 || input != Input::Spikes) {
        fail!("--recording: it holds what the integer engine makes of spikes; here are others")
    }
    let Some(tick_us) = config.data.dt_ms.checked_mul(1000) else {
        fail!("data.dt_ms = {}: a model file holds ticks of up to 4294967 ms", config.data.dt_ms)
    };
    let metadata = Metadata { tick_us, input, labels: task.data.class_names.clone() };
    let spec = fold(&model, metadata).map_err(at(path.display()))?;
    match args.weights {
        Weights::I8 => {
            let spec = quantize(&spec).map_err(at(path.display()))?;
            finish::<i8>(args, &task, &model, spec, |file, items| match &args.recording {
                Some(path) => Ok(Some((path, record(file, &task, items)?))),
                None => Ok(None),
            })
        }
        Weights::F32 => finish::<f32>(args, &task, &model, spec, |_, _| Ok(None)),
    }
}

/// Items with what the integer engine of a file makes of them.
fn record(file: &[u8], task: &Task, items: &[usize]) -> Result<Vec<u8>> {
    let model = format::ModelFile::<i8>::parse(file)?;
    let mut state = HeapState::new(&model);
    let mut engine = Engine::new(&model, &mut state)?;
    let mut recording = Writer::new();
    for &item in items {
        let spikes = |values: Vec<i8>| {
            let places = (0..).zip(values).filter(|(_, value)| *value != 0);
            places.map(|(channel, _)| channel).collect()
        };
        let ticks: Vec<Vec<u16>> = model_file::ticks(task, item)?.into_iter().map(spikes).collect();
        let label = task.data.samples[item].label.into();
        let recorded = recording.record(&mut engine, &ticks, label);
        recorded.map_err(|error| Failure(format!("item {item}: {error}")))?;
    }
    Ok(recording.to_bytes())
}

/// Whether channels spike or have counts.
fn input(data: &Dataset) -> Result<Input> {
    if data.samples.iter().any(|sample| sample.dense.is_some()) {
        fail!("{}: real values; a model file takes whole numbers up to 127", data.name)
    }
    let entries = data.samples.iter().flat_map(|sample| &sample.entries);
    let mut spikes = true;
    for entry in entries {
        let count = entry.count;
        if count > 127 {
            fail!("{}: a bin holds {count}; a model file takes whole numbers up to 127", data.name)
        }
        spikes &= count == 1;
    }
    Ok(if spikes { Input::Spikes } else { Input::Values })
}

/// Writes the file, decides on held-out items with its engine and tells what every step has cost.
fn finish<'a, W: Arithmetic + Into<f64>>(
    args: &Args,
    task: &Task,
    model: &machine::Model<Cpu<f32>>,
    mut spec: ModelSpec<W>,
    record: impl FnOnce(&[u8], &[usize]) -> Result<Option<(&'a PathBuf, Vec<u8>)>>,
) -> Result<()> {
    let shown = args.output.display();
    let items = &task.split.test;
    let schemes = choose(&mut spec, args.scheme);
    let file = spec.to_bytes().map_err(at(shown.to_string()))?;
    let parsed = format::ModelFile::<W>::parse(&file).map_err(at(shown.to_string()))?;
    let engine = decide_by_engine(&parsed, task, items)?;
    let float = task.decide(model, Delays::AsTrained, items, |_| Ok(()))?;
    let rounded = task.decide(model, Delays::Rounded, items, |_| Ok(()))?;
    let recorded = record(&file, &items[..args.recorded.min(items.len())])?;
    write_atomic(&args.output, &file)?;
    if let Some((path, bytes)) = recorded {
        write_atomic(path, &bytes)?;
    }
    let same = engine.classes.iter().zip(&rounded.classes).filter(|(a, b)| a == b).count();
    let of = |decisions: &Decisions| decisions.accuracy(&task.data, |_| true);
    let export = Export {
        file: shown.to_string(),
        weights: args.weights,
        scheme: args.scheme,
        items: items.len(),
        float_accuracy: of(&float),
        rounded_accuracy: of(&rounded),
        engine_accuracy: of(&engine),
        agreement: (!items.is_empty()).then(|| same as f64 / items.len() as f64),
        schemes,
        model: Description::of(&parsed),
    };
    if args.json {
        return say(&format!("{}\n", serde_json::to_string(&export)?));
    }
    say(&export.table())
}

/// Gives every layer its scheme, and says why.
fn choose<W: Arithmetic + Into<f64>>(spec: &mut ModelSpec<W>, saving: Saving) -> Vec<String> {
    let list = match saving {
        Saving::Fast => LIST,
        Saving::Small => 0,
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
        let narrow = W::CODE == i8::CODE && sums.iter().any(|&sum| sum > RING_MAX.into());
        let groups = match mean {
            _ if mean >= WORTH => Some("groups: many synapses are due at once"),
            _ if layer.outputs > NARROW => Some("groups: a ring's sums would take much memory"),
            _ if distinct(|s| (s.source, s.target)) < synapses => {
                Some("groups: pairs have many synapses")
            }
            _ if narrow => Some("groups: sums of 16 bits are too small"),
            _ => None,
        };
        layer.scheme =
            if groups.is_some() { Scheme::Groups { list } } else { Scheme::Ring { list } };
        let why = groups.unwrap_or("ring: few synapses are due at once");
        reasons.push(format!("{why} ({mean:.1})"));
    }
    reasons
}

fn decide_by_engine<W: Arithmetic>(
    model: &format::ModelFile<'_, W>,
    task: &Task,
    items: &[usize],
) -> Result<Decisions> {
    let mut state = HeapState::new(model);
    let mut engine = Engine::new(model, &mut state)?;
    let mut decisions = Decisions { items: items.to_vec(), classes: Vec::new() };
    for &item in items {
        engine.reset();
        for values in model_file::ticks(task, item)? {
            engine.step_values(&values)?;
        }
        engine.finish();
        decisions.classes.push(engine.decide());
    }
    Ok(decisions)
}

impl Export {
    fn table(&self) -> String {
        let mut text = format!("{}\n\naccuracy on {} held-out items\n", self.file, self.items);
        let engine = match self.weights {
            Weights::I8 => "weights of 8 bits",
            Weights::F32 => "single precision",
        };
        for (what, accuracy) in [
            ("as trained", self.float_accuracy),
            ("delays rounded", self.rounded_accuracy),
            (engine, self.engine_accuracy),
        ] {
            let _ = writeln!(text, "  {what:<18} {}", percent(accuracy));
        }
        let _ = writeln!(text, "  decisions as rounded  {}\n", percent(self.agreement));
        for (l, why) in self.schemes.iter().enumerate() {
            let _ = writeln!(text, "layer {} by {why}", l + 1);
        }
        text.push('\n');
        text + &self.model.table()
    }
}
