//! Callbacks that follow a run.

use crate::backend::Classifier;
use crate::report::{Epoch, Figures};
use crate::task::Task;
use std::path::Path;

/// Whether a run continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The run continues.
    Continue,
    /// The run stops here. [`Run::train`](crate::Run::train) or
    /// [`Run::resume`](crate::Run::resume) continues it later.
    Stop,
}

/// The position of a run when it starts or resumes.
#[derive(Clone, Copy)]
pub struct Start<'a> {
    /// Folder of the run.
    pub folder: &'a Path,
    /// Number of steps taken before.
    pub step: u64,
    /// Number of steps of the whole run.
    pub steps: u64,
    /// Number of epochs of the whole run.
    pub epochs: u64,
    /// The data.
    pub task: &'a Task,
}

/// A training step.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Number of the epoch, from 1.
    pub epoch: u64,
    /// Number of steps taken so far.
    pub step: u64,
    /// Mean loss of the batch.
    pub loss: f32,
    /// Number of items in the batch that were classified correctly.
    pub correct: usize,
    /// Number of items in the batch.
    pub items: usize,
}

/// A finished epoch, whose report and checkpoint have been written.
pub struct EpochEnd<'a> {
    /// Folder of the run.
    pub folder: &'a Path,
    /// Loss and accuracies.
    pub epoch: &'a Epoch,
    /// Number of epochs of the whole run.
    pub epochs: u64,
    /// The model after this epoch.
    pub model: &'a dyn Classifier,
    /// The data.
    pub task: &'a Task,
}

/// The result of [`Run::train`](crate::Run::train).
#[derive(Clone, Debug)]
pub enum Outcome {
    /// All epochs are finished, and the folder holds the model.
    Finished(Box<Figures>),
    /// An observer stopped the run, and the folder holds a checkpoint.
    Stopped {
        /// Number of finished epochs.
        epoch: u64,
        /// Number of steps taken.
        step: u64,
    },
}

impl Outcome {
    /// Returns the final figures of a finished run; `None` if it was stopped.
    #[must_use]
    pub fn figures(self) -> Option<Figures> {
        match self {
            Self::Finished(figures) => Some(*figures),
            Self::Stopped { .. } => None,
        }
    }
}

/// A set of callbacks that follow a run and may stop it. By default, all methods do nothing.
///
/// `()` observes nothing. A closure `FnMut(&EpochEnd<'_>) -> Flow` is called after every epoch, for
/// example for early stopping or custom metrics.
pub trait Observer {
    /// Is called before a run of a reproduction is created or resumed.
    fn run_opened(&mut self, _folder: &Path, _resumed: bool) -> Flow {
        Flow::Continue
    }
    /// Is called when the data of a reproduction were loaded with a [warning](Task::warnings).
    fn warned(&mut self, _warning: &str) {}
    /// Is called when training starts or continues.
    fn run_started(&mut self, _start: &Start<'_>) {}
    /// Is called when an epoch starts or continues, after `epoch` finished epochs.
    fn epoch_started(&mut self, _epoch: u64) -> Flow {
        Flow::Continue
    }
    /// Is called after each step.
    fn step_ended(&mut self, _step: &Step) -> Flow {
        Flow::Continue
    }
    /// Is called after each epoch.
    fn epoch_ended(&mut self, _end: &EpochEnd<'_>) -> Flow {
        Flow::Continue
    }
    /// Is called when training has finished or stopped.
    fn run_ended(&mut self, _folder: &Path, _outcome: &Outcome) {}
}

impl Observer for () {}

impl<F: FnMut(&EpochEnd<'_>) -> Flow> Observer for F {
    fn epoch_ended(&mut self, end: &EpochEnd<'_>) -> Flow {
        self(end)
    }
}
