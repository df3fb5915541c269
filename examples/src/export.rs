//! `polychron export`: from a run to a model file for firmware.

use crate::checkpoint::{self, write_atomic};
use crate::error::{Result, at, fail};
use crate::model_file::{self, Description};
use crate::network::{self, Model};
use crate::recording;
use crate::report::{percent, say};
use crate::task::{Decisions, Task};
use polychron_core::format::{self, Input, LayerInfo, Scheme};
use polychron_core::infer::{Arithmetic, Engine, HeapState};
use polychron_core::loss::decide;
use polychron_core::quant::{About, Spec, fold, quantize, write};
use polychron_core::train::Kernel;
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
    agreement: f64,
    /// Why every layer's spikes are delivered as they are.
    schemes: Vec<String>,
    #[serde(flatten)]
    model: Description,
}

/// Runs `export`.
pub(crate) fn export(args: &Args) -> Result<()> {
    let shown = args.output.display();
    for path in [Some(&args.output), args.recording.as_ref()].into_iter().flatten() {
        if path.exists() && !args.force {
            fail!("{}: exists; --force overwrites it", path.display())
        }
    }
    if args.recording.is_some() && args.weights == Weights::F32 {
        fail!("--recording: only the integer engine's hidden state is recorded, with --weights i8")
    }
    let path = args.run.join("model.safetensors");
    let (state, config) = checkpoint::read_run(&path)?;
    let task = Task::load(&config, args.data.as_deref())?;
    let mut model = network::model(&config, task.ends())?;
    model.restore(&state).map_err(at(path.display()))?;
    let items = &task.split.test;
    let input = input(&task)?;
    let about =
        About { tick_us: 1000 * config.data.dt_ms, input, labels: task.data.class_names.clone() };
    let mut spec = fold(&model, about).map_err(at(path.display()))?;
    let schemes = choose(&mut spec, args.scheme)?;
    let float = decisions(&task, &model, items, Kernel::Training)?;
    let rounded = decisions(&task, &model, items, Kernel::Discrete)?;
    let (file, engine, model) = match args.weights {
        Weights::I8 => finish::<i8>(&quantize(&spec)?, &task, items)?,
        Weights::F32 => finish::<f32>(&spec, &task, items)?,
    };
    write_atomic(&args.output, &file)?;
    if let Some(path) = &args.recording {
        write_atomic(path, &record(&file, &task, &items[..args.recorded.min(items.len())])?)?;
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
        agreement: same as f64 / items.len().max(1) as f64,
        schemes,
        model,
    };
    if args.json {
        return say(&format!("{}\n", serde_json::to_string(&export)?));
    }
    say(&export.table())
}

/// Whether channels spike or have counts.
fn input(task: &Task) -> Result<Input> {
    let mut most = 0.0f32;
    for indices in (0..task.data.samples.len()).collect::<Vec<_>>().chunks(256) {
        let block = task.block(indices)?;
        most = block.view().x.iter().copied().fold(most, f32::max);
    }
    if most > 127.0 {
        fail!("{}: a bin holds {most} spikes; a model file takes up to 127", task.data.name)
    }
    Ok(if most > 1.0 { Input::Values } else { Input::Spikes })
}

/// Items with what the integer engine of a file makes of them.
fn record(file: &[u8], task: &Task, items: &[usize]) -> Result<Vec<u8>> {
    let model = format::Model::<i8>::parse(file)?;
    if model.input() != Input::Spikes || model.channels() > 256 {
        fail!("--recording: it holds spikes of up to 256 channels; this model takes others")
    }
    let mut state = HeapState::new(&model);
    let mut engine = Engine::new(&model, &mut state)?;
    let mut bytes = recording::head(items.len());
    for &item in items {
        let spikes = |values: Vec<i8>| {
            let places = (0..).zip(values).filter(|(_, value)| *value != 0);
            places.map(|(channel, _)| channel).collect()
        };
        let ticks: Vec<Vec<u16>> = model_file::ticks(task, item)?.into_iter().map(spikes).collect();
        let label = task.data.samples[item].label as u8;
        bytes.extend(recording::utterance(&mut engine, &ticks, label)?);
    }
    Ok(bytes)
}

/// Gives every layer its scheme, and says why.
fn choose(spec: &mut Spec<f32>, saving: Saving) -> Result<Vec<String>> {
    let list = match saving {
        Saving::Fast => LIST,
        Saving::Small => 0,
    };
    let groups = Scheme::Groups { list };
    spec.layers.iter_mut().for_each(|layer| layer.scheme = groups);
    let file = write(spec)?;
    let model = format::Model::<f32>::parse(&file)?;
    let mut reasons = Vec::new();
    for (l, layer) in spec.layers.iter_mut().enumerate() {
        let Some(LayerInfo { synapses, groups, .. }) = model.layer(l) else { continue };
        let mean = synapses as f64 / groups.max(1) as f64;
        let mut pairs: Vec<_> = layer.synapses.iter().map(|s| (s.source, s.target)).collect();
        pairs.sort_unstable();
        let single = pairs.windows(2).all(|pair| pair[0] != pair[1]);
        let counts = spec.input == Input::Values && l == 0;
        reasons.push(if mean >= WORTH {
            format!("groups: {mean:.1} synapses are due at once")
        } else if layer.outputs > NARROW {
            format!("groups: {} sums a delay of a ring are too many", layer.outputs)
        } else if !single || counts {
            format!("groups: {}", if single { "sums of counts" } else { "pairs of many synapses" })
        } else {
            layer.scheme = Scheme::Ring { list };
            format!("ring: only {mean:.1} synapses are due at once")
        });
    }
    Ok(reasons)
}

/// Writes and describes the file, and decides on items with its engine.
fn finish<W: Arithmetic>(
    spec: &Spec<W>,
    task: &Task,
    items: &[usize],
) -> Result<(Vec<u8>, Decisions, Description)> {
    let file = write(spec)?;
    let model = format::Model::<W>::parse(&file)?;
    let mut state = HeapState::new(&model);
    let mut engine = Engine::new(&model, &mut state)?;
    let mut decisions = Decisions { items: items.to_vec(), classes: Vec::new() };
    for &item in items {
        engine.reset();
        for values in model_file::ticks(task, item)? {
            engine.step_values(&values)?;
        }
        engine.finish();
        decisions.classes.push(engine.decide());
    }
    let description = Description::of(&model);
    Ok((file, decisions, description))
}

fn decisions(task: &Task, model: &Model, items: &[usize], kernel: Kernel) -> Result<Decisions> {
    let mut decisions = Decisions { items: items.to_vec(), classes: Vec::new() };
    for indices in items.chunks(256) {
        let block = task.block(indices)?;
        let (scores, _) = model.evaluate(&block.view(), kernel)?;
        decisions.classes.extend(scores.chunks_exact(task.data.classes).map(decide));
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
        let _ = writeln!(text, "  decisions as rounded  {}\n", percent(Some(self.agreement)));
        for (l, why) in self.schemes.iter().enumerate() {
            let _ = writeln!(text, "layer {} by {why}", l + 1);
        }
        text.push('\n');
        text + &self.model.table()
    }
}
