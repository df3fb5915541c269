//! `train`: what is trained, where, and whether it can be.

use crate::ahead;
use crate::config::{Backend, Config, Protocol, Select};
use crate::error::{Result, fail, note};
use crate::machine::{self, Machine};
use crate::network;
use crate::presets::{self, Variant};
use crate::report::{self, Figures, Report, say};
use crate::run::{self, Run};
use crate::sparse::Absent;
use crate::task::Task;
use polychron_core::train::{self, TrainError};
use std::path::{Path, PathBuf};

/// Options of `train`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Preset: digits (default), recordings, order, fsdd, tts, shd, ssc, gsc, {shd,ssc,gsc}-clean, {digits,order,fsdd,tts}-reference
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
        match self.protocol {
            Some(protocol) if self.config.is_none() => {
                set.extend(presets::chosen_by(self.preset.as_deref(), protocol)?);
            }
            Some(protocol) => set.push(format!("protocol={}", report::name(&protocol)?)),
            None => {}
        }
        set.extend(self.set.iter().cloned());
        set.extend(self.seed.map(|seed| format!("seed={seed}")));
        set.extend(self.epochs.map(|epochs| format!("train.epochs={epochs}")));
        if let Some(backend) = self.backend {
            set.push(format!("backend={}", report::name(&backend)?));
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

/// Takes one step of a trainer that is thrown away and evaluates it, beside as many batches as wait while training: what the
/// machine cannot hold fails here, on a device with the batch that it can.
pub(crate) fn rehearse<B: Machine>(
    backend: &impl Fn() -> Result<B>,
    config: &Config,
    task: &Task,
) -> Result<()> {
    task.epoch(0)?;
    let take = |batch| -> Result<()> {
        let mut trainer = machine::trainer(backend()?, config, task.ends())?;
        let blocks = (0..ahead::HELD).map(|_| task.largest(batch)).collect::<Result<Vec<_>>>()?;
        match trainer.step(&blocks[0].view()) {
            Ok(_) | Err(TrainError::Diverged { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        trainer.evaluate(&blocks[0].view())?;
        Ok(())
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
            note(&format!("{shown}: all {} epochs are finished", figures.epochs));
            run::tidy(&folder)?;
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
        let kept = resume.then(|| run::kept(&folder, config, task.ends())).transpose()?;
        rehearse(&backend, config, &task)?;
        let mut trainer = machine::trainer(backend()?, config, task.ends())?;
        let absent = Absent::of(config, trainer.model().network());
        absent.clear(&mut trainer)?;
        let mut run = Run::new(config.clone(), task, trainer, absent, folder)?;
        match kept {
            Some(kept) => run.go_on(kept)?,
            None => run.begin()?,
        }
        run.train(stop_after)
    }
}
