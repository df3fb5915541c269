//! Hooks into a run.

use crate::backend::Classifier;
use crate::report::{Epoch, Figures};
use crate::task::Task;
use std::path::Path;

/// Whether a run continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It continues.
    Continue,
    /// It stops here. [`Run::train`](crate::Run::train) or
    /// [`Run::resume`](crate::Run::resume) continues it later.
    Stop,
}

/// The position of a run when it starts or resumes.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// Folder of the run.
    pub folder: &'a Path,
    /// Steps taken before.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Epochs of the whole run.
    pub epochs: u64,
}

/// A training step.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Epoch, from 1.
    pub epoch: u64,
    /// Steps taken so far.
    pub step: u64,
    /// Mean loss of the batch.
    pub loss: f32,
    /// Items of the batch that were classified correctly.
    pub correct: usize,
    /// Items of the batch.
    pub items: usize,
}

/// A finished epoch. Its report and checkpoint are on the disk.
pub struct EpochEnd<'a> {
    /// Folder of the run.
    pub folder: &'a Path,
    /// Loss and accuracies.
    pub epoch: &'a Epoch,
    /// Epochs of the whole run.
    pub epochs: u64,
    /// The model after this epoch.
    pub model: &'a dyn Classifier,
    /// The data.
    pub task: &'a Task,
}

/// The end of [`Run::train`](crate::Run::train).
#[derive(Clone, Debug)]
pub enum Outcome {
    /// All epochs are done; the folder holds the model.
    Finished(Box<Figures>),
    /// An observer stopped the run; the folder holds a checkpoint.
    Stopped {
        /// Finished epochs.
        epoch: u64,
        /// Steps taken.
        step: u64,
    },
}

impl Outcome {
    /// The final figures of a finished run.
    #[must_use]
    pub fn figures(self) -> Option<Figures> {
        match self {
            Self::Finished(figures) => Some(*figures),
            Self::Stopped { .. } => None,
        }
    }
}

/// Follows a run and may stop it. All methods do nothing by default.
///
/// `()` observes nothing. A closure `FnMut(&EpochEnd<'_>) -> Flow` is called after every epoch:
/// early stopping, own metrics.
pub trait Observer {
    /// A run of a reproduction is about to be created or resumed.
    fn run_opened(&mut self, _folder: &Path, _resumed: bool) -> Flow {
        Flow::Continue
    }
    /// Training begins, or continues.
    fn run_started(&mut self, _start: &Start<'_>) {}
    /// An epoch begins, or continues; `epoch` epochs are finished.
    fn epoch_started(&mut self, _epoch: u64) -> Flow {
        Flow::Continue
    }
    /// A step was taken.
    fn step_ended(&mut self, _step: &Step) -> Flow {
        Flow::Continue
    }
    /// An epoch is finished.
    fn epoch_ended(&mut self, _end: &EpochEnd<'_>) -> Flow {
        Flow::Continue
    }
    /// Training ended.
    fn run_ended(&mut self, _folder: &Path, _outcome: &Outcome) {}
}

impl Observer for () {}

impl<F: FnMut(&EpochEnd<'_>) -> Flow> Observer for F {
    fn epoch_ended(&mut self, end: &EpochEnd<'_>) -> Flow {
        self(end)
    }
}
