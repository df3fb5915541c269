//! `polychron train`.

use super::interrupt;
use super::print::{note, percent, say};
use super::progress::{self, Progress};
use crate::backend;
use crate::config::{Backend, Config, Protocol};
use crate::error::{Result, fail};
use crate::model::Model;
use crate::observer::Outcome;
use crate::presets::{self, Variant};
use crate::report::{self, Report};
use crate::run::{self, Run};
use crate::sparse::Pruned;
use crate::task::Task;
use polychron_core::train::Batch;
use std::path::{Path, PathBuf};

/// A smaller number of epochs that follows from the steps is noted.
const FEW_EPOCHS: usize = 10;

/// The folder of data files.
#[derive(Clone, clap::Args)]
pub(super) struct DataFolder {
    /// Folder of the data files [env: POLYCHRON_DATA]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl DataFolder {
    /// Whether the command line names the folder.
    pub(super) fn is_given(&self) -> bool {
        self.data.is_some()
    }

    /// The folder for a configuration: that of the command line, or of the environment if the
    /// configuration reads files.
    pub(super) fn of(&self, config: &Config) -> Option<PathBuf> {
        let variable = || std::env::var_os("POLYCHRON_DATA").map(PathBuf::from);
        self.data.clone().or_else(|| config.data.reads_files().then(variable).flatten())
    }
}

/// Options of `train`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Preset: digits (default), recordings, order, fsdd, tts, shd, ssc, gsc, {shd,ssc,gsc}-clean,
    /// {digits,order,fsdd,tts}-reference
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    preset: Option<String>,
    /// Apply one of the paper's ablations to the preset or configuration file
    #[arg(long, value_enum)]
    variant: Option<Variant>,
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    data: DataFolder,
    /// Seed of all random numbers
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    /// Number of passes over the training items
    #[arg(long)]
    epochs: Option<usize>,
    /// Number of threads; 0 uses one per core
    #[arg(long)]
    threads: Option<usize>,
    /// Backend to train on
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// How the reported epoch is chosen
    #[arg(long, value_enum)]
    protocol: Option<Protocol>,
    /// New folder for the run [default: runs/PRESET-DELAYS-seedSEED]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue an interrupted run in its folder
    #[arg(long)]
    resume: bool,
    /// Begin from the weights of another run, also with other classes or another recipe
    #[arg(long, value_name = "RUN", conflicts_with_all = ["resume", "plan"])]
    from: Option<PathBuf>,
    /// Print the algorithm chosen for every layer and the costs compared, without training
    #[arg(long)]
    plan: bool,
    /// Print the final figures as one line of JSON
    #[arg(long)]
    json: bool,
    /// Set a field of the configuration; VALUE is TOML; `polychron config` shows all fields
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    set: Vec<String>,
    /// Stop the run after this many epochs, as if it were interrupted
    #[arg(long, value_name = "EPOCHS", hide = true)]
    stop_after: Option<u64>,
}

impl Args {
    fn assignments(&self) -> Result<Vec<String>> {
        let mut set: Vec<_> = self.variant.map(Variant::assignment).into_iter().collect();
        match self.protocol {
            Some(protocol) if self.config.is_none() => {
                set.extend(presets::protocol_assignments(self.preset.as_deref(), protocol)?);
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

    /// Returns the configuration and the folder of the run.
    fn resolve(&self) -> Result<(Config, PathBuf)> {
        let set = self.assignments()?;
        let named = || presets::load(self.preset.as_deref(), self.config.as_deref(), &set);
        let folder = match &self.out {
            Some(out) => out.clone(),
            None => Path::new("runs").join(report::run_name(&named()?)?),
        };
        let mut config = if self.resume {
            let path = folder.join(run::CONFIG);
            let found = run::stored_config(&folder, &[])?;
            let own = self.preset.is_none() && self.config.is_none();
            let expected = if own { run::stored_config(&folder, &set)? } else { named()? };
            let same = run::check_same(&found, &path, &expected, "the command line");
            same.map_err(|failure| {
                let (shown, config) = (folder.display(), path.display());
                let ends = if found.train.epochs == expected.train.epochs {
                    ""
                } else {
                    "the schedules of a run end with its epochs; "
                };
                failure.hint(format!(
                    "{ends}--from {shown} --config {config} --out NEW begins a new run from its \
                     weights"
                ))
            })?;
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

/// Runs `train`.
pub(super) fn train(args: &Args) -> Result<()> {
    let (config, folder) = args.resolve()?;
    let shown = folder.display();
    if folder.exists() && !args.resume && !args.plan {
        fail!("{shown}: exists; continue it with --resume or name another folder with --out DIR")
    }
    if args.resume && folder.join(run::REPORT).exists() {
        let report = Report::read(&folder.join(run::REPORT))?;
        if let Some(figures) = report.figures {
            let (done, all) = (report.curves.len(), figures.epochs);
            let state = if done < all {
                format!("stopped early and finished after {done} of {all} epochs")
            } else {
                format!("all {all} epochs are finished")
            };
            note(&format!("{shown}: {state}"));
            run::tidy(&folder)?;
            return progress::print_figures(&figures, &folder, args.json);
        }
    }
    let task = load(&config, &args.data)?;
    let config = config.with_epochs(&task)?;
    if let Some(steps) = config.train.steps
        && config.train.epochs < FEW_EPOCHS
        && !args.resume
    {
        let epochs = config.train.epochs;
        note(&format!(
            "train.steps = {steps} makes {epochs} epochs of these data; --epochs 30 trains longer"
        ));
    }
    if args.plan {
        let batch = task.largest_batch(config.data.batch)?;
        let (Batch { shape, .. }, density) = (batch.view(), batch.batch.density());
        return say(&backend::plan(&config, task.interface(), shape, density)?);
    }
    let mut run = match &args.from {
        Some(from) => {
            let model = Model::load_on(from, Some(Backend::Cpu))?;
            model.warnings.iter().for_each(|warning| note(warning));
            let (run, new) = Run::create_from(&model, &config, task, &folder)?;
            if !new.is_empty() {
                note(&format!("{}: starts anew: {}", from.display(), new.join(", ")));
            }
            run.pruned().into_iter().for_each(|pruned| note(&pruned_line(pruned)));
            run
        }
        None if args.resume => Run::resume(&config, task, &folder)?,
        None => Run::create(&config, task, &folder)?,
    };
    let mut progress = Progress::new(args.stop_after, false);
    match run.train(&mut progress)? {
        Outcome::Finished(figures) => progress::print_figures(&figures, &folder, args.json),
        Outcome::Stopped { .. } if interrupt::has_stopped() => Ok(()),
        Outcome::Stopped { epoch, .. } => {
            say(&format!("{shown}: stopped after epoch {epoch}; continue with --resume\n"))
        }
    }
}

fn pruned_line(pruned: &Pruned) -> String {
    let &Pruned { synapses, kept, accuracy_before, loss_before, accuracy, loss } = pruned;
    let [loss_before, loss] = [loss_before, loss].map(Option::unwrap_or_default);
    format!(
        "pruned: {kept} of {synapses} synapses are left; before training, accuracy {} instead of \
         {}, loss {loss:.4} instead of {loss_before:.4}",
        percent(accuracy),
        percent(accuracy_before)
    )
}

/// Loads the data of a configuration and prints warnings.
pub(super) fn load(config: &Config, folder: &DataFolder) -> Result<Task> {
    let task = Task::load(config, folder.of(config).as_deref())?;
    task.warnings.iter().for_each(|warning| note(warning));
    Ok(task)
}
