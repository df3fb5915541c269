//! A run: its folder and its training loop.

mod checks;
mod finish;
mod folder;
mod inherit;

pub(crate) use checks::{check_choice, rehearse};
pub(crate) use finish::selected_epoch;
#[cfg(feature = "cli")]
pub(crate) use folder::tidy;
pub(crate) use folder::{
    BEST, CHECKPOINT, CONFIG, MODEL, REPORT, check_same, lock_folder, stored_config,
};

use crate::backend::{self, Classifier, Learner};
use crate::batch::LabeledBatch;
use crate::checkpoint::{Checkpoint, PartialEpoch};
use crate::config::{Config, Protocol};
use crate::data_card::DataCard;
use crate::error::{Result, at, fail};
use crate::given::hold_delays;
use crate::model::Model;
use crate::network;
use crate::observer::{EpochEnd, Flow, Observer, Outcome, Start, Step};
use crate::report::{self, Epoch, Figures, Report};
use crate::sparse::{Pruned, SparseMask};
use crate::task::Task;
use crate::{files, prefetch};
use checks::{check, divergence};
use folder::{CURVES, FILES, INITIAL, create_folder};
use inherit::inherit;
use polychron_core::train::{Delays, State, Tensor};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A training run in a folder.
///
/// The folder holds `config.toml` and `checkpoint.safetensors` from the beginning, `report.json`
/// and `curves.jsonl` from the end of the first epoch, and `model.safetensors` and figures from the
/// end of the run. It is locked while the `Run` exists.
///
/// A `Run` is not [`Send`], because a GPU backend belongs to the thread that made it.
///
/// ```
/// use polychron::{Config, EpochEnd, Flow, Run, Task};
///
/// # fn main() -> Result<(), polychron::Error> {
/// # let temporary = tempfile::tempdir()?;
/// # let folder = temporary.path().join("run");
/// let mut config = Config::preset("order")?;
/// config.train.epochs = 3;
/// config.network.hidden = vec![8];
/// let task = Task::load(&config, None)?;
/// let mut run = Run::create(&config, task, &folder)?;
/// run.train(&mut |end: &EpochEnd<'_>| {
///     println!("{}: {:.3}", end.epoch.epoch, end.epoch.loss);
///     if end.epoch.epoch == 2 { Flow::Stop } else { Flow::Continue }
/// })?;
/// assert!(run.train(&mut ())?.figures().is_some());
/// # Ok(())
/// # }
/// ```
pub struct Run {
    config: Config,
    task: Task,
    card: DataCard,
    learner: Box<dyn Learner>,
    mask: SparseMask,
    /// Parameters before the first step.
    initial: Vec<Tensor<f32>>,
    folder: PathBuf,
    curves: Vec<Epoch>,
    partial: PartialEpoch,
    /// Whether steps were taken since the last checkpoint.
    unsaved: bool,
    figures: Option<Figures>,
    /// Whether an error ended a call: what is in memory may differ from what is in the folder.
    failed: bool,
    /// Holds the lock of the folder.
    _lock: File,
}

impl Run {
    /// Creates the folder of a new run, which must not exist yet.
    ///
    /// First, a trial step is taken on the largest batch, so that a run that does not fit into
    /// memory fails before anything is written.
    ///
    /// # Errors
    /// If the folder exists or cannot be written, if `task` was loaded for another configuration,
    /// and if network and data do not fit each other or memory.
    pub fn create(config: &Config, task: Task, folder: impl AsRef<Path>) -> Result<Self> {
        let (config, interface) = (&config.with_epochs(&task)?, task.interface());
        let learner = || backend::learner(config, interface);
        Self::create_with(&learner, config, task, folder.as_ref(), None)
    }

    /// As [`Run::create`], but the parameters start as those of a trained model: every tensor that
    /// has the name, the shape and the place of delays of one of the network. Delays are cut to the
    /// longest one. If the steps have another length, delays keep theirs in ms and neurons start
    /// anew. Returns the names of the tensors that start anew, for example because the classes are
    /// others.
    ///
    /// # Errors
    /// As [`Run::create`]; if no tensor of the model fits the network.
    pub fn create_from(
        model: &Model,
        config: &Config,
        task: Task,
        folder: impl AsRef<Path>,
    ) -> Result<(Self, Vec<String>)> {
        let (config, interface) = (&config.with_epochs(&task)?, task.interface());
        let learner = || backend::learner(config, interface);
        let first = learner()?;
        let mut start = first.state()?;
        let own = (first.model().graph(), first.model().specs());
        let new = inherit(model, own, interface.dt_ms, &mut start)?;
        let run = Self::create_with(&learner, config, task, folder.as_ref(), Some(&start))?;
        Ok((run, new))
    }

    /// Does the work of [`Run::create`] with a trainer that `learner` makes.
    pub(crate) fn create_with(
        learner: &dyn Fn() -> Result<Box<dyn Learner>>,
        config: &Config,
        task: Task,
        folder: &Path,
        start: Option<&State<f32>>,
    ) -> Result<Self> {
        if folder.exists() {
            fail!("{}: exists", folder.display())
        }
        check(config, &task)?;
        rehearse(learner, config, &task)?;
        let mut learner = learner()?;
        if let Some(start) = start {
            learner.restore(start)?;
        }
        hold_delays(config, &mut *learner, start.is_some())?;
        let mask = SparseMask::begin(config, &mut *learner, &task, start.is_some())?;
        let card = task.card();
        let checkpoint = Checkpoint {
            state: learner.state()?,
            config: without_threads(config),
            data: Some(card.clone()),
            partial: PartialEpoch::default(),
        };
        let lock = create_folder(folder, &checkpoint, config, start.is_some())?;
        let initial = learner.model().tensors()?;
        Ok(Self {
            config: config.clone(),
            task,
            card,
            learner,
            mask,
            initial,
            folder: folder.into(),
            curves: Vec::new(),
            partial: PartialEpoch::default(),
            unsaved: false,
            figures: None,
            failed: false,
            _lock: lock,
        })
    }

    /// Opens an unfinished run to continue it. `config` must be the run's configuration, and `task`
    /// holds its data.
    ///
    /// # Errors
    /// If the folder holds no unfinished run of this configuration, or another process has locked
    /// it.
    pub fn resume(config: &Config, task: Task, folder: impl AsRef<Path>) -> Result<Self> {
        let (config, interface) = (&config.with_epochs(&task)?, task.interface());
        Self::resume_with(&|| backend::learner(config, interface), config, task, folder.as_ref())
    }

    /// Does the work of [`Run::resume`] with a trainer that `learner` makes.
    pub(crate) fn resume_with(
        learner: &dyn Fn() -> Result<Box<dyn Learner>>,
        config: &Config,
        task: Task,
        folder: &Path,
    ) -> Result<Self> {
        check(config, &task)?;
        let lock = lock_folder(folder)?;
        let report = folder.join(REPORT);
        if report.exists() && Report::read(&report)?.figures.is_some() {
            fail!("{}: the run is finished", folder.display())
        }
        let path = folder.join(CHECKPOINT);
        let checkpoint = Checkpoint::read(&path)?;
        check_same(&checkpoint.config, &path, config, "config.toml")?;
        let (found, needed) = (checkpoint.config.train.epochs, config.train.epochs);
        if found != needed {
            fail!(
                "{}: has {found} epochs, but train.steps makes {needed} of these data",
                path.display()
            )
        }
        let card = task.card();
        if checkpoint.data.as_ref().is_some_and(|data| data.has_changed(&card)) {
            fail!(
                "{}: has changed since {} was trained on it; resume with the former data, or begin \
                 a new run from these weights: --from {} --out NEW",
                task.data.name,
                path.display(),
                folder.display()
            )
        }
        let graph = network::graph(config, task.interface())?;
        checkpoint.state.fits(&graph).map_err(at(path.display()))?;
        rehearse(learner, config, &task)?;
        let mut learner = learner()?;
        let mask = SparseMask::new(config, &graph, &checkpoint.state.tensors);
        mask.apply(&mut *learner)?;
        let begun = folder.join(INITIAL);
        let mut initial = learner.model().tensors()?;
        if begun.exists() {
            let state = Checkpoint::read(&begun)?.state;
            state.fits(&graph).map_err(at(begun.display()))?;
            let known = |name: &String| initial.iter().any(|tensor| tensor.name == *name);
            initial = state.tensors.into_iter().filter(|t| known(&t.name)).collect();
        }
        let mut run = Self {
            config: config.clone(),
            card,
            task,
            learner,
            mask,
            initial,
            folder: folder.into(),
            curves: Vec::new(),
            partial: checkpoint.partial,
            unsaved: true,
            figures: None,
            failed: false,
            _lock: lock,
        };
        run.restore(&checkpoint.state)?;
        files::remove_unfinished(folder, &FILES)?;
        run.save()?;
        run.write_curves()?;
        Ok(run)
    }

    /// What pruning cost, if [`Run::create_from`] has pruned the model.
    #[must_use]
    pub fn pruned(&self) -> Option<&Pruned> {
        self.mask.pruned()
    }

    /// Returns the folder of the run.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the data.
    #[must_use]
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// Returns the model at this point of the training; after the end, the selected model.
    #[must_use]
    pub fn model(&self) -> &dyn Classifier {
        self.learner.model()
    }

    /// Returns the loss and the accuracies of the finished epochs.
    #[must_use]
    pub fn curves(&self) -> &[Epoch] {
        &self.curves
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Continues from a state. Its epoch and step must fit the data and the report.
    fn restore(&mut self, state: &State<f32>) -> Result<()> {
        let path = self.path(CHECKPOINT);
        self.learner.restore(state).map_err(at(path.display()))?;
        let (epoch, step, partial) = (state.epoch, state.step, self.partial);
        let Some(batches) = self.batches_done() else {
            let epoch = epoch.saturating_add(1);
            let all = self.task.epoch(0)?.len();
            fail!(
                "{}: step {step} does not belong to epoch {epoch}; an epoch has {all} batches",
                path.display()
            )
        };
        let items = self.task.epoch(epoch)?[..batches].iter().map(Vec::len).sum();
        if partial.correct > items || !partial.loss.is_finite() || !partial.seconds.is_finite() {
            fail!("{}: {partial:?} does not fit {items} items", path.display())
        }
        let report = self.path(REPORT);
        if report.exists() {
            self.curves = Report::read(&report)?.curves;
        }
        let done = epoch as usize;
        if self.curves.len() < done {
            fail!(
                "{}: holds {} epochs, but the checkpoint has {done}",
                report.display(),
                self.curves.len()
            )
        }
        self.curves.truncate(done);
        Ok(())
    }

    /// Number of finished batches in the current epoch; `None` if the number of steps does not fit
    /// the number of epochs.
    fn batches_done(&self) -> Option<usize> {
        let all = self.task.epoch(self.learner.epoch()).ok()?.len();
        let before = self.learner.epoch().checked_mul(all as u64)?;
        let done = usize::try_from(self.learner.step_count().checked_sub(before)?).ok()?;
        (done <= all).then_some(done)
    }

    /// Trains to the end, or until the observer stops the run.
    ///
    /// # Errors
    /// If the training diverges, a file cannot be written or the backend fails. The last checkpoint
    /// stays; [`Run::resume`] continues from there once this `Run` is dropped.
    pub fn train(&mut self, observer: &mut dyn Observer) -> Result<Outcome> {
        self.guard(|run| run.train_on(observer))
    }

    /// Does some work, unless an earlier call has failed.
    fn guard<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.failed {
            fail!("{}: has failed before; resume it from its checkpoint", self.folder.display())
        }
        self.failed = true;
        let done = work(self)?;
        self.failed = false;
        Ok(done)
    }

    fn train_on(&mut self, observer: &mut dyn Observer) -> Result<Outcome> {
        let all = self.config.train.epochs as u64;
        let batches = self.task.epoch(0)?.len() as u64;
        observer.run_started(&Start {
            folder: &self.folder,
            step: self.learner.step_count(),
            steps: batches * all,
            epochs: all,
            task: &self.task,
        });
        let outcome = if self.figures.is_none() && self.train_epochs(observer)? == Flow::Stop {
            if self.unsaved {
                self.save()?;
            }
            Outcome::Stopped { epoch: self.learner.epoch(), step: self.learner.step_count() }
        } else {
            Outcome::Finished(Box::new(self.complete()?))
        };
        observer.run_ended(&self.folder, &outcome);
        Ok(outcome)
    }

    /// Trains the remaining epochs.
    fn train_epochs(&mut self, observer: &mut dyn Observer) -> Result<Flow> {
        let all = self.config.train.epochs as u64;
        while !self.is_trained() {
            if observer.epoch_started(self.learner.epoch()) == Flow::Stop {
                return Ok(Flow::Stop);
            }
            let Some(epoch) = self.train_epoch(observer)? else { return Ok(Flow::Stop) };
            self.curves.push(epoch);
            if self.selects_epoch() && self.selected_epoch() + 1 == self.curves.len() {
                self.write(&self.path(BEST), self.learner.state()?)?;
            }
            Report::write(&self.path(REPORT), &self.curves, None)?;
            self.save()?;
            self.append_curves()?;
            let end = EpochEnd {
                folder: &self.folder,
                epoch: &self.curves[self.curves.len() - 1],
                epochs: all,
                model: self.learner.model(),
                task: &self.task,
            };
            if observer.epoch_ended(&end) == Flow::Stop && !self.is_trained() {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::Continue)
    }

    /// Trains to the end of the epoch; `None` if the observer stopped it.
    fn train_epoch(&mut self, observer: &mut dyn Observer) -> Result<Option<Epoch>> {
        let start = Instant::now();
        let number = self.learner.epoch();
        let batches = self.task.epoch(number)?;
        let (done, left) = batches.split_at(self.batches_done().unwrap_or_default());
        let mut items: usize = done.iter().map(Vec::len).sum();
        let Self { task, learner, mask, partial: sums, unsaved, config, folder, .. } = self;
        let mut batch = done.len();
        let train_on = |indices: &Vec<usize>, labeled: LabeledBatch| {
            batch += 1;
            let Some(report) = learner.step(&labeled.view())? else {
                return Err(divergence(config, folder, number, batch));
            };
            mask.apply(&mut **learner)?;
            *unsaved = true;
            sums.loss += f64::from(report.loss) * indices.len() as f64;
            sums.correct += report.correct;
            items += indices.len();
            let step = Step {
                epoch: number + 1,
                step: learner.step_count(),
                loss: report.loss,
                correct: report.correct,
                items: indices.len(),
            };
            Ok(observer.step_ended(&step) == Flow::Continue)
        };
        let make = |indices: &Vec<usize>| task.training_batch(indices, number);
        if !prefetch::for_each(left, config.threads(), make, train_on)? {
            sums.seconds += start.elapsed().as_secs_f64();
            return Ok(None);
        }
        let PartialEpoch { loss, correct, seconds } = std::mem::take(sums);
        let tests = self.config.protocol == Protocol::Paper;
        let (task, model) = (&self.task, self.learner.model());
        let valid = &task.split.valid;
        let (predictions, valid_loss) = task.predict_with_loss(model, Delays::Rounded, valid)?;
        let valid_accuracy = predictions.accuracy(&task.data, |_| true);
        let valid_as_trained = match network::trained_delays(&self.config, number + 1) {
            Delays::Rounded => valid_accuracy,
            Delays::Spread => task.accuracy(model, Delays::Spread, valid)?,
        };
        self.learner.finish_epoch()?;
        let (task, model) = (&self.task, self.learner.model());
        let test = |items| task.accuracy(model, Delays::Rounded, items);
        Ok(Some(Epoch {
            epoch: number as usize + 1,
            loss: loss / items as f64,
            train_accuracy: correct as f64 / items as f64,
            valid_accuracy,
            valid_loss,
            valid_as_trained,
            test_accuracy: if tests { test(&task.split.test)? } else { None },
            rates: self.measure_rates()?,
            seconds: seconds + start.elapsed().as_secs_f64(),
        }))
    }

    /// Measures the mean number of spikes per neuron and step in each hidden layer, on a batch of
    /// validation items, or of training items if there are none.
    fn measure_rates(&self) -> Result<Vec<f64>> {
        let split = &self.task.split;
        let items = if split.valid.is_empty() { &split.train } else { &split.valid };
        let batch = self.task.batch(&items[..items.len().min(self.config.data.batch)])?;
        let (_, counts) = report::count_spikes(self.learner.model(), &batch.view())?;
        Ok(counts.into_iter().map(|(spikes, places)| spikes / places).collect())
    }

    fn save(&mut self) -> Result<()> {
        self.write(&self.path(CHECKPOINT), self.learner.state()?)?;
        self.unsaved = false;
        Ok(())
    }

    /// Adds the last epoch to `curves.jsonl`. What a killed process leaves there is replaced when
    /// the run is resumed.
    fn append_curves(&self) -> Result<()> {
        let path = self.path(CURVES);
        let line = self.curves.last().map(Epoch::line).transpose()?.unwrap_or_default();
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.map_err(at(path.display()))
    }

    /// Writes all finished epochs to `curves.jsonl`.
    fn write_curves(&self) -> Result<()> {
        let lines = self.curves.iter().map(Epoch::line).collect::<Result<String>>()?;
        files::replace(&self.path(CURVES), lines.as_bytes())
    }

    fn write(&self, path: &Path, state: State<f32>) -> Result<()> {
        let (config, data) = (without_threads(&self.config), Some(self.card.clone()));
        Checkpoint { state, config, data, partial: self.partial }.write(path)
    }
}

/// The configuration as result files store it, without the number of threads.
fn without_threads(config: &Config) -> Config {
    Config { threads: 0, ..config.clone() }
}

#[cfg(test)]
mod tests;
