//! The training loop and its folder.

use crate::config::{Backend, Config, Protocol, Select};
use crate::error::{Failure, Result, at, fail};
use crate::machine::{self, Machine, Trainer};
use crate::network;
use crate::presets::{self, Variant};
use crate::report::{self, Epoch, Figures, Report, percent, say};
use crate::sparse::Absent;
use crate::task::{Block, Task};
use crate::{ahead, checkpoint, plot};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use polychron_core::train::{self, Kernel, State, Tensor, TrainError};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Options of `train`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Preset: digits (default), order, fsdd, tts, shd, ssc, gsc, {shd,ssc,gsc}-clean, {digits,order,fsdd,tts}-reference
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    preset: Option<String>,
    /// One of the paper's ablations, over preset or file
    #[arg(long, value_enum)]
    variant: Option<Variant>,
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the data files
    #[arg(long, value_name = "DIR", env = "POLYCHRON_DATA")]
    data: Option<PathBuf>,
    /// Seed of every draw
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    /// Passes over the training items
    #[arg(long)]
    epochs: Option<usize>,
    /// Threads; 0: one per core
    #[arg(long)]
    threads: Option<usize>,
    /// What computes
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// How a result is chosen
    #[arg(long, value_enum)]
    protocol: Option<Protocol>,
    /// Folder of the run, which must not exist; runs/PRESET-DELAYS-seedSEED by default
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue the run in its folder
    #[arg(long)]
    resume: bool,
    /// Print what the backend picks for every layer in the largest batch, and why, and train nothing
    #[arg(long)]
    plan: bool,
    /// Print the final figures as one JSON object on the last line
    #[arg(long)]
    json: bool,
    /// Set any field of the configuration; VALUE is TOML
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    set: Vec<String>,
    /// Leave the run after so many epochs, as if it were interrupted
    #[arg(long, value_name = "EPOCHS", hide = true)]
    stop_after: Option<u64>,
}

impl Args {
    fn assignments(&self) -> Result<Vec<String>> {
        let mut set: Vec<_> = self.variant.map(Variant::assignment).into_iter().collect();
        set.extend(self.set.iter().cloned());
        set.extend(self.seed.map(|seed| format!("seed={seed}")));
        set.extend(self.epochs.map(|epochs| format!("train.epochs={epochs}")));
        if let Some(backend) = self.backend {
            set.push(format!("backend={}", report::name(&backend)?));
        }
        if let Some(protocol) = self.protocol {
            set.push(format!("protocol={}", report::name(&protocol)?));
        }
        Ok(set)
    }

    /// The configuration, and the folder of the run.
    fn resolve(&self) -> Result<(Config, PathBuf)> {
        let set = self.assignments()?;
        let named = || presets::load(self.preset.as_deref(), self.config.as_deref(), &set);
        let folder = match &self.out {
            Some(out) => out.clone(),
            None => Path::new("runs").join(report::run_name(&named()?)?),
        };
        let mut config = if self.resume {
            let path = folder.join("config.toml");
            let found = presets::stored(&path, &[])?;
            let over_it = self.preset.is_none() && self.config.is_none();
            let expected = if over_it { presets::stored(&path, &set)? } else { named()? };
            same(&found, &path, &expected, "the command line")?;
            expected
        } else {
            named()?
        };
        if let Some(threads) = self.threads {
            config.threads = threads;
            config.check()?;
        }
        Ok((config, folder))
    }
}

/// Fails where two configurations differ, naming the first field that does.
pub(crate) fn same(found: &Config, place: &Path, expected: &Config, who: &str) -> Result<()> {
    match found.difference(expected)? {
        Some((found, expected)) => {
            fail!("{}: has {found}, but {who} says {expected}", place.display())
        }
        None => Ok(()),
    }
}

/// Takes one step of a trainer that is thrown away: what the machine cannot hold fails here, with the batch that it can.
pub(crate) fn rehearse<B: Machine>(
    backend: &impl Fn() -> Result<B>,
    config: &Config,
    task: &Task,
) -> Result<()> {
    task.epoch(0)?;
    let take = |batch| -> Result<()> {
        let mut trainer = machine::trainer(backend()?, config, task.ends())?;
        match trainer.step(&task.largest(batch)?.view()) {
            Ok(_) | Err(TrainError::Diverged { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    };
    let whole = config.data.batch;
    let failure = match take(whole) {
        Err(failure) if config.backend != Backend::Cpu => failure,
        done => return done,
    };
    let smaller = std::iter::successors(Some(whole / 2), |batch| Some(batch / 2));
    match smaller.take_while(|&batch| batch > 1).find(|&batch| take(batch).is_ok()) {
        Some(batch) => fail!("{failure}; data.batch = {batch} fits"),
        None => Err(failure),
    }
}

/// `polychron train`
pub(crate) fn train(args: &Args) -> Result<()> {
    let (config, folder) = args.resolve()?;
    let shown = folder.display();
    if folder.exists() && !args.resume && !args.plan {
        fail!("{shown}: exists; --resume continues that run, --out DIR makes another")
    }
    if args.resume && folder.join("report.json").exists() {
        let report = Report::read(&folder.join("report.json"))?;
        if let Some(figures) = report.figures {
            eprintln!("{shown}: all {} epochs are finished", figures.epochs);
            return figures.print(&folder, args.json);
        }
    }
    let task = Task::load(&config, args.data.as_deref())?;
    if args.plan {
        let network = network::network(&config, task.ends())?;
        let batch = task.largest(config.data.batch)?;
        let train::Batch { shape, x, .. } = batch.view();
        let density = x.iter().filter(|&&x| x != 0.0).count() as f64 / x.len() as f64;
        return say(&machine::plan(&config, &network, shape, density)?);
    }
    chooses_on_some(&config, &task)?;
    let (resume, stop_after) = (args.resume, args.stop_after);
    let training = Training { config: &config, task, folder: folder.clone(), resume, stop_after };
    match machine::on_backend(&config, training)? {
        Some(figures) => figures.print(&folder, args.json),
        None => Ok(()),
    }
}

/// Fails where there are no items to choose a model on.
pub(crate) fn chooses_on_some(config: &Config, task: &Task) -> Result<()> {
    let (choice, items) = match (config.protocol, config.train.select) {
        (Protocol::Paper, _) => ("protocol = paper", &task.split.test),
        (Protocol::Clean, Select::Valid) => ("train.select = valid", &task.split.valid),
        (Protocol::Clean, Select::Last) => ("train.select = last", &task.split.train),
    };
    if items.is_empty() {
        fail!("{choice} chooses on items that the split does not have");
    }
    Ok(())
}

/// A run that is ready to begin or to go on.
pub(crate) struct Training<'a> {
    pub(crate) config: &'a Config,
    pub(crate) task: Task,
    pub(crate) folder: PathBuf,
    /// Whether the folder holds a run to go on with.
    pub(crate) resume: bool,
    /// The epoch after which the run is left.
    pub(crate) stop_after: Option<u64>,
}

impl machine::Work for Training<'_> {
    /// The final figures, where the run was not left.
    type Output = Option<Figures>;

    fn on<B: Machine>(self, backend: impl Fn() -> Result<B>) -> Result<Option<Figures>> {
        let Self { config, task, folder, resume, stop_after } = self;
        if !resume {
            rehearse(&backend, config, &task)?;
        }
        let mut trainer = machine::trainer(backend()?, config, task.ends())?;
        let absent = Absent::of(config, trainer.model().network());
        absent.clear(&mut trainer)?;
        let initial = trainer.model().tensors()?;
        let config = config.clone();
        let mut run = Run { config, task, trainer, absent, initial, folder, curves: Vec::new() };
        if resume {
            run.continue_there()?
        } else {
            run.begin()?
        }
        if run.epochs(stop_after)? {
            return run.finish().map(Some);
        }
        let shown = run.folder.display();
        say(&format!("{shown}: left after epoch {}; --resume goes on\n", run.trainer.epoch()))?;
        Ok(None)
    }
}

struct Run<B: Machine> {
    config: Config,
    task: Task,
    trainer: Trainer<B>,
    absent: Absent,
    /// Parameters before the first step.
    initial: Vec<Tensor<f32>>,
    folder: PathBuf,
    curves: Vec<Epoch>,
}

impl<B: Machine> Run<B> {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn begin(&mut self) -> Result<()> {
        let shown = self.folder.display();
        if let Some(parent) = self.folder.parent() {
            std::fs::create_dir_all(parent).map_err(at(parent.display()))?;
        }
        std::fs::create_dir(&self.folder).map_err(at(&shown))?;
        let config = self.config.to_toml()?;
        let begun = checkpoint::write_atomic(&self.path("config.toml"), config.as_bytes())
            .and_then(|()| self.save("checkpoint.safetensors"));
        if begun.is_err() {
            // Only files of this run are in the folder that this run has made.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
        begun
    }

    fn continue_there(&mut self) -> Result<()> {
        let path = self.path("checkpoint.safetensors");
        let (state, config) = checkpoint::read(&path)?;
        same(&config, &path, &self.config, "config.toml")?;
        self.trainer.restore(&state).map_err(at(path.display()))?;
        let report = self.path("report.json");
        if report.exists() {
            self.curves = Report::read(&report)?.curves;
        }
        let done = state.epoch as usize;
        if self.curves.len() < done {
            fail!(
                "{}: has {} epochs, but the checkpoint {done}",
                report.display(),
                self.curves.len()
            )
        }
        self.curves.truncate(done);
        Ok(())
    }

    /// Trains to the end, or to epoch `stop_after`; whether it came to the end.
    fn epochs(&mut self, stop_after: Option<u64>) -> Result<bool> {
        let all = self.config.train.epochs as u64;
        let batches = self.task.epoch(0)?.len() as u64;
        let bar = progress(batches * all);
        bar.set_position(batches * self.trainer.epoch());
        bar.reset_eta();
        while self.trainer.epoch() < all {
            if stop_after.is_some_and(|stop| self.trainer.epoch() >= stop) {
                return Ok(false);
            }
            let epoch = self.epoch(&bar)?;
            let line = line(&epoch, all);
            if bar.is_hidden() {
                eprintln!("{line}");
            }
            bar.set_message(line);
            self.curves.push(epoch);
            if self.chooses() && self.chosen() + 1 == self.curves.len() {
                self.save("best.safetensors")?;
            }
            Report::write(&self.path("report.json"), &self.curves, None)?;
            self.save("checkpoint.safetensors")?;
        }
        bar.finish_and_clear();
        Ok(true)
    }

    fn epoch(&mut self, bar: &ProgressBar) -> Result<Epoch> {
        let start = Instant::now();
        let number = self.trainer.epoch();
        let (mut loss, mut correct, mut items, mut batch) = (0.0, 0, 0, 0);
        let (task, trainer, absent) = (&self.task, &mut self.trainer, &self.absent);
        let diverged = |batch| diverged(&self.config, &self.folder, number, batch);
        let take = |indices: &Vec<usize>, block: Block| {
            let report = trainer.step(&block.view()).map_err(|error| match error {
                TrainError::Diverged { .. } => diverged(batch),
                error => error.into(),
            })?;
            absent.clear(trainer)?;
            loss += f64::from(report.loss) * indices.len() as f64;
            correct += report.correct;
            items += indices.len();
            batch += 1;
            bar.inc(1);
            Ok(())
        };
        let make = |indices: &Vec<usize>| task.training_block(indices, number);
        ahead::each(&task.epoch(number)?, self.config.threads(), make, take)?;
        self.trainer.finish_epoch()?;
        let (task, model) = (&self.task, self.trainer.model());
        let tests = self.config.protocol == Protocol::Paper;
        Ok(Epoch {
            epoch: number as usize + 1,
            loss: loss / items as f64,
            train_accuracy: correct as f64 / items as f64,
            valid_accuracy: task.accuracy(model, &task.split.valid)?,
            test_accuracy: if tests { task.accuracy(model, &task.split.test)? } else { None },
            rates: self.rates()?,
            seconds: start.elapsed().as_secs_f64(),
        })
    }

    /// Mean spikes a neuron and step of the hidden layers, over a batch of validation or training items.
    fn rates(&self) -> Result<Vec<f64>> {
        let split = &self.task.split;
        let items = if split.valid.is_empty() { &split.train } else { &split.valid };
        let block = self.task.block(&items[..items.len().min(self.config.data.batch)])?;
        let layers = self.trainer.spikes(&block.view())?;
        let hidden = layers.iter().take(layers.len() - 1);
        let counts = hidden.map(|layer| report::count_spikes(&block.view(), layer));
        Ok(counts.map(|(spikes, places)| spikes / places).collect())
    }

    /// Whether an epoch other than the last may be chosen.
    fn chooses(&self) -> bool {
        self.config.protocol == Protocol::Paper || self.config.train.select == Select::Valid
    }

    /// The index of the chosen epoch among those so far, the first of equals.
    fn chosen(&self) -> usize {
        let mut best = 0;
        let score = |e: &Epoch| match self.config.protocol {
            Protocol::Paper => e.test_accuracy,
            Protocol::Clean => e.valid_accuracy,
        };
        for (n, epoch) in self.curves.iter().enumerate() {
            if !self.chooses() || score(epoch) > score(&self.curves[best]) {
                best = n;
            }
        }
        best
    }

    fn save(&self, name: &str) -> Result<()> {
        self.write(name, &self.trainer.state()?)
    }

    fn write(&self, name: &str, state: &State<f32>) -> Result<()> {
        let config = Config { threads: 0, ..self.config.clone() };
        checkpoint::write(&self.path(name), state, &config.to_toml()?)
    }

    /// Takes the chosen model, tests it and writes what is left to write.
    fn finish(&mut self) -> Result<Figures> {
        let best = self.path("best.safetensors");
        if self.chooses() {
            let (state, _) = checkpoint::read(&best)?;
            self.trainer.restore(&state).map_err(at(best.display()))?;
        }
        let figures = self.figures()?;
        let mut state = self.trainer.state()?;
        state.tensors.retain(|t| !t.name.starts_with("adam."));
        self.write("model.safetensors", &state)?;
        plot::curves(&self.path("curves.svg"), &self.curves)?;
        plot::delays(
            &self.path("delays.svg"),
            &self.initial,
            &state.tensors,
            self.task.ends().dt_ms,
        )?;
        plot::raster(&self.path("raster.svg"), &self.task, self.trainer.model())?;
        Report::write(&self.path("report.json"), &self.curves, Some(&figures))?;
        if self.chooses() {
            std::fs::remove_file(&best).map_err(at(best.display()))?;
        }
        Ok(figures)
    }

    fn figures(&self) -> Result<Figures> {
        let (task, config) = (&self.task, &self.config);
        let split = &task.split;
        let decisions =
            task.decide(self.trainer.model(), Kernel::Discrete, &split.test, |_| Ok(()))?;
        let test_accuracy = decisions.accuracy(&task.data, |_| true);
        let seen = task.seen_speakers();
        let of = |known: bool| {
            let seen = seen.as_ref()?;
            let speaker = |i: usize| task.data.samples[i].speaker;
            decisions.accuracy(&task.data, |i| seen.contains(&speaker(i)) == known)
        };
        let chosen = self.chosen();
        let (Some(last), Some(best)) = (self.curves.last(), self.curves.get(chosen)) else {
            fail!("{}: no epoch was trained", self.folder.display())
        };
        let paper = config.protocol == Protocol::Paper;
        Ok(Figures {
            preset: config.preset.clone(),
            protocol: config.protocol,
            select: config.train.select,
            delays: config.train.delays,
            hidden: config.network.hidden.clone(),
            seed: config.seed,
            epochs: config.train.epochs,
            chosen_epoch: chosen + 1,
            train_accuracy: best.train_accuracy,
            valid_accuracy: best.valid_accuracy,
            test_accuracy,
            test_seen_accuracy: of(true),
            test_unseen_accuracy: of(false),
            best_test_accuracy: test_accuracy.filter(|_| paper),
            last_test_accuracy: last.test_accuracy,
            train_items: split.train.len(),
            valid_items: split.valid.len(),
            test_items: split.test.len(),
            parameters: self.trainer.parameters() - self.absent.parameters().sum::<usize>(),
            seconds: self.curves.iter().map(|e| e.seconds).sum(),
            seconds_per_epoch: report::median(self.curves.iter().map(|e| e.seconds)),
            threads: config.threads(),
        })
    }
}

fn diverged(config: &Config, folder: &Path, epoch: u64, batch: usize) -> Failure {
    let rate = config.train.rate;
    let (epoch, batch) = (epoch + 1, batch + 1);
    let kept = folder.join("checkpoint.safetensors");
    Failure(format!(
        "epoch {epoch}, batch {batch}: the loss or a gradient is not finite at train.rate = {rate:?}; {} keeps the state before this epoch",
        kept.display()
    ))
}

/// A bar on a terminal, nothing elsewhere.
fn progress(steps: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{wide_bar} {percent:>3} % eta {eta} {msg}");
    ProgressBar::new(steps).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn line(epoch: &Epoch, all: u64) -> String {
    let mut line = format!(
        "epoch {}/{all}: loss {:.4}, train {}",
        epoch.epoch,
        epoch.loss,
        percent(Some(epoch.train_accuracy))
    );
    for (name, accuracy) in [("valid", epoch.valid_accuracy), ("test", epoch.test_accuracy)] {
        if accuracy.is_some() {
            line += &format!(", {name} {}", percent(accuracy));
        }
    }
    line + &format!(", {:.2} s", epoch.seconds)
}
