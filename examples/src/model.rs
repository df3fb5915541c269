//! The model of a run.

use crate::backend::{self, Classifier, CpuModel, Restore};
use crate::checkpoint::Checkpoint;
use crate::config::{Backend, Config, Rounding};
use crate::data_card::DataCard;
use crate::error::{Error, ErrorKind, Result, fail};
use crate::network::{self, Interface};
use crate::presets;
use crate::run::{BEST, CHECKPOINT, CONFIG, MODEL};
use crate::task::Task;
use polychron_core::loss::Loss;
use polychron_core::neuron::Li;
use polychron_core::train::{self, Batch, Graph, Spikes, State, Tensor, TensorSpec, Trace};
use std::path::{Path, PathBuf};

/// A trained model with the configuration that made it. It is not [`Send`], because a GPU backend
/// belongs to the thread that made it.
///
/// ```no_run
/// use polychron::{Model, Part};
///
/// let model = Model::load("runs/order-learned-seed0")?;
/// let task = model.task(None)?;
/// let evaluation = model.evaluate(&task, Part::Test)?;
/// println!("{:.1} % of {} items", 100.0 * evaluation.accuracy.unwrap_or(0.0), evaluation.items);
/// # Ok::<(), polychron::Error>(())
/// ```
pub struct Model {
    /// The configuration of the run.
    pub config: Config,
    /// Differences between `config.toml` and the configuration that made the model, of which the
    /// latter is used, and which epoch of an unfinished run the model is.
    pub warnings: Vec<String>,
    state: State<f32>,
    card: Option<DataCard>,
    interface: Interface,
    classifier: Box<dyn Classifier>,
    path: PathBuf,
}

impl Model {
    /// Loads the model of a run on the backend of its configuration: of an unfinished run its best
    /// epoch so far, or its checkpoint if no epoch is selected.
    ///
    /// # Errors
    /// If no step was trained, the file is damaged or the backend is not available.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self> {
        Self::load_on(folder, None)
    }

    /// Loads the model of a run on another backend; `None` keeps that of its
    /// configuration.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load_on(folder: impl AsRef<Path>, backend: Option<Backend>) -> Result<Self> {
        let folder = folder.as_ref();
        let (path, stored) = read_run(folder)?;
        let Stored { mut state, mut config, card, interface, warnings } = stored;
        if state.step == 0 {
            let shown = folder.display();
            fail!("{shown}: no step was trained; continue it with train --resume --out {shown}")
        }
        state.tensors.retain(|tensor| !tensor.name.starts_with("adam."));
        config.backend = backend.unwrap_or(config.backend);
        let restore = Restore { config: &config, interface, state: &state, path: &path };
        let classifier = backend::run_on_backend(&config, restore)?;
        Ok(Self { config, warnings, state, card, interface, classifier, path })
    }

    /// Loads the data that the model was trained on. `folder` holds the data files if the source
    /// has any.
    ///
    /// # Errors
    /// As [`Task::load`].
    pub fn task(&self, folder: Option<&Path>) -> Result<Task> {
        let mut task = Task::load(&self.config, folder)?;
        self.check(&task)?;
        task.warnings.extend(self.changed(&task));
        Ok(task)
    }

    /// Says if the data are not those of the training.
    pub(crate) fn changed(&self, task: &Task) -> Option<String> {
        let (name, path) = (&task.data.name, self.path.display());
        self.card.as_ref()?.has_changed(&task.card()).then(|| {
            format!(
                "{name}: has changed since {path} was trained on it; its test items may have been \
                 training items, and classes may have other names"
            )
        })
    }

    /// Fails unless the model fits the data.
    pub(crate) fn check(&self, task: &Task) -> Result<()> {
        let (own, data) = (self.interface, task.interface());
        if own != data {
            let (path, name) = (self.path.display(), &task.data.name);
            fail!("{path}: was trained on {own}, but {name} has {data}")
        }
        Ok(())
    }

    /// Returns the path of the model file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the parameters and the position in the training.
    #[must_use]
    pub fn state(&self) -> &State<f32> {
        &self.state
    }

    /// Returns the properties of the data that the network was made for.
    #[must_use]
    pub fn interface(&self) -> Interface {
        self.interface
    }

    /// Returns the description of the data that the model was trained on; `None` if an earlier
    /// version trained it.
    #[must_use]
    pub fn card(&self) -> Option<&DataCard> {
        self.card.as_ref()
    }

    /// Returns how the readout's membrane becomes scores.
    ///
    /// # Errors
    /// If the configuration does not name a loss.
    pub fn loss(&self) -> Result<Loss> {
        let name = &self.config.network.loss;
        let unknown = || Error::new(format!("network.loss = {name:?} is not the name of a loss"));
        Loss::from_name(name).ok_or_else(unknown)
    }

    /// The delays that the model had in training.
    pub(crate) fn trained_delays(&self) -> train::Delays {
        network::trained_delays(&self.config, self.state.epoch)
    }

    /// Makes a copy of the model on the CPU.
    pub(crate) fn on_cpu(&self) -> Result<CpuModel> {
        self.on_cpu_with(None)
    }

    /// Makes a copy of the model on the CPU whose delays are rounded in another way.
    pub(crate) fn on_cpu_with(&self, rounding: Option<Rounding>) -> Result<CpuModel> {
        let Self { interface, state, path, .. } = self;
        let mut config = self.config.clone();
        config.train.rounding = rounding.unwrap_or(config.train.rounding);
        Restore { config: &config, interface: *interface, state, path }.on(backend::cpu(&config)?)
    }
}

impl Classifier for Model {
    fn graph(&self) -> &Graph {
        self.classifier.graph()
    }
    fn integrator(&self) -> Li<f32> {
        self.classifier.integrator()
    }
    fn scores(&self, batch: &Batch<'_, f32>, delays: train::Delays) -> Result<(Vec<f32>, f32)> {
        self.classifier.scores(batch, delays)
    }
    fn trace(&self, batch: &Batch<'_, f32>, delays: train::Delays) -> Result<Trace<f32>> {
        self.classifier.trace(batch, delays)
    }
    fn watch(
        &self,
        batch: &Batch<'_, f32>,
        delays: train::Delays,
        look: &mut dyn FnMut(usize, Spikes<f32>),
    ) -> Result<Vec<f32>> {
        self.classifier.watch(batch, delays, look)
    }
    fn specs(&self) -> &[TensorSpec<f32>] {
        self.classifier.specs()
    }
    fn tensors(&self) -> Result<Vec<Tensor<f32>>> {
        self.classifier.tensors()
    }
}

/// Fails if a folder is not that of a run.
pub(crate) fn check_folder(folder: &Path) -> Result<()> {
    let shown = folder.display();
    let error = if !folder.is_dir() {
        Error::new(format!("{shown}: no such run; `train` creates it"))
    } else if [CONFIG, CHECKPOINT, MODEL].iter().all(|name| !folder.join(name).exists()) {
        Error::new(format!("{shown}: not the folder of a run; it has no {CHECKPOINT}"))
    } else {
        return Ok(());
    };
    Err(error.with_kind(ErrorKind::Io))
}

/// The contents of a file with a state.
pub(crate) struct Stored {
    pub(crate) state: State<f32>,
    pub(crate) config: Config,
    pub(crate) card: Option<DataCard>,
    pub(crate) interface: Interface,
    pub(crate) warnings: Vec<String>,
}

/// Reads the model of a run, and returns the path of its file, too. An unfinished run has that of
/// its best epoch so far, or its checkpoint if no epoch is selected; a warning says so.
pub(crate) fn read_run(folder: &Path) -> Result<(PathBuf, Stored)> {
    check_folder(folder)?;
    let [model, best, last] = [MODEL, BEST, CHECKPOINT].map(|name| folder.join(name));
    if model.exists() || !last.exists() {
        let stored = read(&model)?;
        return Ok((model, stored));
    }
    let done = Checkpoint::read(&last)?.state.epoch;
    let selected = best.exists();
    let path = if selected { best } else { last };
    let mut stored = read(&path)?;
    let (epoch, all) = (stored.state.epoch, stored.config.train.epochs);
    let used = if selected {
        format!("its best epoch so far, {epoch},")
    } else {
        format!("its checkpoint after step {}", stored.state.step)
    };
    let shown = folder.display();
    // A process that was killed may have written the best epoch before the checkpoint.
    let mut note =
        format!("{shown}: unfinished, epoch {} of {all}; {used} is used", done.max(epoch));
    if epoch <= network::wide_epochs(&stored.config) as u64 {
        note += "; its kernels are wide, so that rounded delays cost accuracy";
    }
    stored.warnings.insert(0, note);
    Ok((path, stored))
}

/// Reads a state, the configuration that made it and the description of its data, with a warning
/// if the `config.toml` next to the file differs. The number of threads comes from `config.toml`.
pub(crate) fn read(path: &Path) -> Result<Stored> {
    let Checkpoint { state, mut config, data: card, .. } = Checkpoint::read(path)?;
    let (config_path, shown) = (path.with_file_name(CONFIG), path.display());
    let mut warnings = Vec::new();
    match presets::read_stored(&config_path, &[]) {
        Ok(found) => {
            if let Some((found, made)) = found.difference(&config)? {
                let place = config_path.display();
                warnings.push(format!(
                    "{place}: has {found}, but {shown} was made with {made}, which is used"
                ));
            }
            config.threads = found.threads;
        }
        Err(failure) => {
            warnings.push(format!("{failure}; the configuration in {shown} is used"));
        }
    }
    let interface = match &card {
        Some(card) if card.dt_ms == config.data.dt_ms => card.interface(),
        Some(card) => fail!(
            "{shown}: data.dt_ms = {}, but the data have steps of {} ms",
            config.data.dt_ms,
            card.dt_ms
        ),
        None => interface(&state, &config, path)?,
    };
    Ok(Stored { state, config, card, interface, warnings })
}

/// Reads the interface of a network from the shapes of its tensors.
fn interface(state: &State<f32>, config: &Config, path: &Path) -> Result<Interface> {
    let axis = |name: &str, axis: usize| {
        let tensor = state.tensors.iter().find(|tensor| tensor.name == name);
        let size = tensor.map(|tensor| tensor.shape.get(axis).map_or(1, |&n| n.max(1)));
        let shown = path.display();
        size.ok_or_else(|| Error::new(format!("{shown}: tensor {name} is missing")))
    };
    let first = if config.network.hidden.is_empty() { "output" } else { "hidden.0" };
    Ok(Interface {
        channels: axis(&format!("{first}.weight"), 1)?,
        classes: axis("output.weight", 0)?,
        dt_ms: config.data.dt_ms.into(),
    })
}
