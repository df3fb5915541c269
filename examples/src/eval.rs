//! `polychron eval`: what a trained model does with items.

use crate::checkpoint;
use crate::config::{Backend, Config};
use crate::error::{Result, fail};
use crate::machine::{self, Machine, Model};
use crate::report::{count_spikes, median, neuron_steps, percent, say};
use crate::task::{Decisions, Task};
use polychron_core::loss::decide;
use polychron_core::train::{Delays, State};
use polychron_cpu::{Cpu, Stream};
use polychron_datasets::Dataset;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

/// Pairs of classes shown.
const PAIRS: usize = 5;

/// Options of `eval`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of a finished run
    run: PathBuf,
    /// Folder of the data files
    #[arg(long, value_name = "DIR", env = "POLYCHRON_DATA")]
    data: Option<PathBuf>,
    /// Which items
    #[arg(long, value_enum, default_value = "test")]
    split: Part,
    /// Run the items one by one on one thread of the CPU, as they would come in
    #[arg(long, conflicts_with = "backend")]
    stream: bool,
    /// What computes, where it is not what trained
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Part {
    Test,
    Valid,
    Train,
}

#[derive(Serialize)]
struct Evaluation {
    split: Part,
    items: usize,
    accuracy: Option<f64>,
    /// Accuracy of speakers that are trained on, and of the others.
    seen_accuracy: Option<f64>,
    unseen_accuracy: Option<f64>,
    /// Accuracy of every speaker, where more than one is known.
    speakers: BTreeMap<u16, Option<f64>>,
    /// Mean spikes a neuron and step of every hidden layer.
    rates: Vec<f64>,
    /// The median item's time, where items run one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    ms_per_item: Option<f64>,
    /// The commonest mistakes.
    confusions: Vec<Confusion>,
}

#[derive(Serialize)]
struct Confusion {
    class: String,
    taken_for: String,
    items: usize,
    of: usize,
}

/// Runs `eval`.
pub(crate) fn eval(args: &Args) -> Result<()> {
    let path = args.run.join("model.safetensors");
    if args.run.join("checkpoint.safetensors").exists() && !path.exists() {
        fail!("{}: no such file; finish the run with train --resume", path.display())
    }
    let (state, mut config) = checkpoint::read_run(&path)?;
    config.backend = args.backend.unwrap_or(config.backend);
    let task = Task::load(&config, args.data.as_deref())?;
    if args.stream {
        let cpu = machine::cpu(&config)?;
        let model = machine::restored(cpu, &config, task.ends(), &state, &path)?;
        return args.show(&task, &one_by_one(&task, &model, args.items(&task))?);
    }
    machine::on_backend(&config, InBatches { args, config: &config, task, state, path })
}

impl Args {
    fn items<'a>(&self, task: &'a Task) -> &'a [usize] {
        match self.split {
            Part::Test => &task.split.test,
            Part::Valid => &task.split.valid,
            Part::Train => &task.split.train,
        }
    }

    fn show(&self, task: &Task, outcome: &Outcome) -> Result<()> {
        let evaluation = evaluation(self.split, task, outcome);
        if self.json {
            return say(&format!("{}\n", serde_json::to_string(&evaluation)?));
        }
        say(&evaluation.table())
    }
}

/// A trained model and the items to evaluate it on.
struct InBatches<'a> {
    args: &'a Args,
    config: &'a Config,
    task: Task,
    state: State<f32>,
    path: PathBuf,
}

impl machine::Work for InBatches<'_> {
    type Output = ();

    fn on<B: Machine>(self, backend: impl Fn() -> Result<B>) -> Result<()> {
        let Self { args, config, task, state, path } = self;
        let model = machine::restored(backend()?, config, task.ends(), &state, &path)?;
        args.show(&task, &in_batches(&task, &model, args.items(&task))?)
    }
}

/// What the model did with the items.
struct Outcome {
    decisions: Decisions,
    /// Spikes of every hidden layer, and the neurons times steps in which they could be.
    counts: Vec<(f64, f64)>,
    ms_per_item: Option<f64>,
}

fn in_batches<B: Machine>(task: &Task, model: &Model<B>, items: &[usize]) -> Result<Outcome> {
    let mut counts = vec![(0.0, 0.0); model.network().hidden.len()];
    let decisions = task.decide(model, Delays::Rounded, items, |block| {
        let layers = model.spikes(&block.view(), Delays::Rounded)?;
        for (count, layer) in counts.iter_mut().zip(&layers) {
            let (spikes, places) = count_spikes(&block.view(), layer);
            *count = (count.0 + spikes, count.1 + places);
        }
        Ok(())
    })?;
    Ok(Outcome { decisions, counts, ms_per_item: None })
}

fn one_by_one(task: &Task, model: &Model<Cpu<f32>>, items: &[usize]) -> Result<Outcome> {
    let mut stream = Stream::new(model)?;
    let mut counts = vec![(0.0, 0.0); model.network().hidden.len()];
    let mut decisions = Decisions { items: items.to_vec(), classes: Vec::new() };
    let mut times = Vec::new();
    for &item in items {
        let block = task.block(&[item])?;
        let batch = block.view();
        let steps = batch.lengths.map_or(batch.shape.steps, |lengths| lengths[0]);
        let start = Instant::now();
        stream.feed(&batch.x[..steps * batch.shape.width])?;
        decisions.classes.push(decide(stream.finish()));
        times.push(start.elapsed().as_secs_f64() * 1e3);
        let places = neuron_steps(model.network(), steps);
        for ((count, &spikes), places) in counts.iter_mut().zip(stream.spikes()).zip(places) {
            *count = (count.0 + spikes as f64, count.1 + places);
        }
    }
    Ok(Outcome { decisions, counts, ms_per_item: Some(median(times.into_iter())) })
}

fn evaluation(split: Part, task: &Task, outcome: &Outcome) -> Evaluation {
    let Outcome { decisions, counts, ms_per_item } = outcome;
    let data = &task.data;
    let speaker = |i: usize| data.samples[i].speaker;
    let seen = task.seen_speakers();
    let of = |known: bool| {
        let seen = seen.as_ref()?;
        decisions.accuracy(data, |i| seen.contains(&speaker(i)) == known)
    };
    let mut speakers = BTreeMap::new();
    if seen.is_some() {
        for &i in &decisions.items {
            let one = |j| speaker(j) == speaker(i);
            speakers.entry(speaker(i)).or_insert_with(|| decisions.accuracy(data, one));
        }
    }
    Evaluation {
        split,
        items: decisions.items.len(),
        accuracy: decisions.accuracy(data, |_| true),
        seen_accuracy: of(true),
        unseen_accuracy: of(false),
        speakers,
        rates: counts.iter().map(|(spikes, places)| spikes / f64::max(*places, 1.0)).collect(),
        ms_per_item: *ms_per_item,
        confusions: confusions(data, decisions),
    }
}

/// The commonest mistakes, the most first.
fn confusions(data: &Dataset, decisions: &Decisions) -> Vec<Confusion> {
    let mut pairs = BTreeMap::new();
    let mut totals = BTreeMap::new();
    for (&i, &class) in decisions.items.iter().zip(&decisions.classes) {
        let label = usize::from(data.samples[i].label);
        *totals.entry(label).or_insert(0) += 1;
        if class != label {
            *pairs.entry((label, class)).or_insert(0) += 1;
        }
    }
    let mut pairs: Vec<((usize, usize), usize)> = pairs.into_iter().collect();
    pairs.sort_by_key(|&(_, items)| std::cmp::Reverse(items));
    let confusion = |((label, class), items): ((usize, usize), usize)| Confusion {
        class: data.class_names[label].clone(),
        taken_for: data.class_names[class].clone(),
        items,
        of: totals[&label],
    };
    pairs.into_iter().take(PAIRS).map(confusion).collect()
}

impl Evaluation {
    fn table(&self) -> String {
        let mut text =
            format!("accuracy        {} of {} items\n", percent(self.accuracy), self.items);
        for (name, accuracy) in [("seen", self.seen_accuracy), ("unseen", self.unseen_accuracy)] {
            if accuracy.is_some() {
                let _ = writeln!(text, "speakers {name:<6} {}", percent(accuracy));
            }
        }
        for (speaker, accuracy) in &self.speakers {
            let _ = writeln!(text, "  speaker {speaker:<5} {}", percent(*accuracy));
        }
        for (n, rate) in self.rates.iter().enumerate() {
            let _ = writeln!(text, "hidden layer {}  {rate:.3} spikes a neuron and step", n + 1);
        }
        if let Some(ms) = self.ms_per_item {
            let _ = writeln!(text, "time            {ms:.3} ms an item");
        }
        for Confusion { class, taken_for, items, of } in &self.confusions {
            let _ = writeln!(text, "{class} taken for {taken_for}: {items} of {of}");
        }
        text
    }
}
