//! What is checked before the first step of a run, and the error of a run that diverges.

use crate::backend::Learner;
use crate::config::{Backend, Config, Protocol, Select};
use crate::error::{Error, ErrorKind, Result, fail};
use crate::prefetch;
use crate::run::CHECKPOINT;
use crate::task::Task;
use polychron_core::shape::Shape;
use polychron_core::train::Delays;
use std::path::Path;

/// Fails if the configuration is invalid or the data were loaded for another one.
pub(super) fn check(config: &Config, task: &Task) -> Result<()> {
    config.check()?;
    task.check(config)?;
    check_choice(config, task)
}

/// Fails if the items on which the model is selected are missing.
pub(crate) fn check_choice(config: &Config, task: &Task) -> Result<()> {
    let (choice, part, items) = match (config.protocol, config.train.select) {
        (Protocol::Paper, _) => ("protocol = paper", "test", &task.split.test),
        (Protocol::Clean, Select::Valid) => {
            ("train.select = valid", "validation", &task.split.valid)
        }
        (Protocol::Clean, Select::Last) => ("train.select = last", "training", &task.split.train),
    };
    if items.is_empty() {
        fail!("{choice} needs {part} items, but the split has none");
    }
    Ok(())
}

/// Takes and evaluates one step with a temporary trainer and as many batches in memory as in
/// training. If a device cannot hold the batch, the error names a batch size that fits.
pub(crate) fn rehearse(
    learner: &dyn Fn() -> Result<Box<dyn Learner>>,
    config: &Config,
    task: &Task,
) -> Result<()> {
    task.epoch(0)?;
    let try_size = |size| -> Result<()> {
        let mut learner = learner()?;
        let batches = (0..prefetch::IN_MEMORY)
            .map(|_| task.largest_batch(size))
            .collect::<Result<Vec<_>>>()?;
        let batch = batches[0].view();
        let mut step = || -> Result<()> {
            learner.step(&batch)?;
            learner.model().scores(&batch, Delays::Rounded)?;
            Ok(())
        };
        step().map_err(|failure| match failure.kind() {
            ErrorKind::OutOfMemory => {
                let Shape { steps, batch, .. } = batch.shape;
                let failure = failure.at(format!("a batch with steps = {steps}, items = {batch}"));
                match config.train.window_steps {
                    Some(_) => failure,
                    None => failure.hint("long samples train in windows: train.window_steps"),
                }
            }
            _ => failure,
        })
    };
    let whole = config.data.batch;
    let failure = match try_size(whole) {
        Err(failure) if config.backend != Backend::Cpu => failure,
        done => return done,
    };
    let smaller = std::iter::successors(Some(whole / 2), |size| Some(size / 2));
    match smaller.take_while(|&size| size > 1).find(|&size| try_size(size).is_ok()) {
        Some(size) => Err(failure.hint(format!("data.batch = {size} fits"))),
        None => Err(failure),
    }
}

pub(super) fn divergence(config: &Config, folder: &Path, epoch: u64, batch: usize) -> Error {
    let rate = config.train.rate;
    let (epoch, checkpoint) = (epoch + 1, folder.join(CHECKPOINT));
    Error::new(format!(
        "epoch {epoch}, batch {batch}: the loss, a gradient or a parameter is not finite at \
         train.rate = {rate:?}; lower the rate; {} holds the last good state",
        checkpoint.display()
    ))
    .with_kind(ErrorKind::Diverged)
}
