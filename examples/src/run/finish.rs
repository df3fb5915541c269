//! The end of a run: the epoch that is selected, its test, and the files of results.

use super::Run;
use super::folder::{BEST, MODEL, REPORT, tidy};
use crate::checkpoint::Checkpoint;
use crate::config::{Config, Protocol, Select};
use crate::error::{Result, at, fail};
use crate::report::{self, Epoch, Figures, Report};
use crate::{network, plot};
use polychron_core::train::Delays;

impl Run {
    /// `true` if an epoch before the last one may be selected.
    pub(super) fn selects_epoch(&self) -> bool {
        selects_epoch(&self.config)
    }

    /// `true` after the last epoch, or once patience with the validation accuracy has ended.
    pub(super) fn is_trained(&self) -> bool {
        let since = self.curves.len().saturating_sub(self.selected_epoch() + 1);
        self.curves.len() >= self.config.train.epochs
            || self.config.train.patience.is_some_and(|patience| since >= patience)
    }

    /// Index of the first epoch that may be selected.
    pub(super) fn first_choice(&self) -> usize {
        first_choice(&self.config, &self.curves)
    }

    /// Index of the epoch selected so far; the first one among equals.
    pub(super) fn selected_epoch(&self) -> usize {
        selected_epoch(&self.config, &self.curves)
    }

    /// The accuracy by which an epoch is selected.
    pub(super) fn score(&self, epoch: &Epoch) -> Option<f64> {
        score(&self.config, epoch)
    }

    /// Ends the run after the epochs so far: tests the selected model and writes model, figures and
    /// report. [`Run::train`] calls this after the last epoch; after early stopping, call it
    /// yourself.
    ///
    /// # Errors
    /// If no epoch has been trained, the current epoch is unfinished, or a file cannot be written.
    pub fn finish(&mut self) -> Result<Figures> {
        let shown = self.folder.display();
        if self.batches_done() != Some(0) {
            let epoch = self.learner.epoch() + 1;
            fail!("{shown}: epoch {epoch} is unfinished; stop a run between epochs to finish it")
        }
        if self.curves.is_empty() {
            fail!("{shown}: no epoch was trained")
        }
        self.guard(Self::complete)
    }

    pub(super) fn complete(&mut self) -> Result<Figures> {
        if let Some(figures) = &self.figures {
            return Ok(figures.clone());
        }
        let best = self.path(BEST);
        let mut chosen = self.selected_epoch();
        if self.selects_epoch() {
            let Checkpoint { state, .. } = Checkpoint::read(&best)?;
            let found = state.epoch;
            // Earlier versions also selected among epochs with wide kernels.
            let stored = usize::try_from(found).ok().and_then(|found| found.checked_sub(1));
            let stored = stored.and_then(|n| Some((n, self.score(self.curves.get(n)?))));
            match (stored, self.curves.get(chosen).map(|epoch| self.score(epoch))) {
                (Some((n, score)), Some(least)) if n == chosen || n < chosen && score >= least => {
                    chosen = n;
                }
                _ => {
                    let chosen = chosen + 1;
                    fail!(
                        "{}: holds epoch {found}, but epoch {chosen} was selected",
                        best.display()
                    )
                }
            }
            self.learner.restore(&state).map_err(at(best.display()))?;
        }
        let figures = self.test(chosen)?;
        let mut state = self.learner.state()?;
        state.tensors.retain(|t| !t.name.starts_with("adam."));
        let dt_ms = self.task.interface().dt_ms;
        plot::draw_delays(&self.path("delays.svg"), &self.initial, &state.tensors, dt_ms)?;
        self.write(&self.path(MODEL), state)?;
        plot::draw_curves(&self.path("curves.svg"), &self.curves)?;
        plot::draw_raster(&self.path("raster.svg"), &self.task, self.learner.model())?;
        Report::write(&self.path(REPORT), &self.curves, Some(&figures))?;
        tidy(&self.folder)?;
        self.figures = Some(figures.clone());
        Ok(figures)
    }

    pub(super) fn test(&self, chosen: usize) -> Result<Figures> {
        let (task, config) = (&self.task, &self.config);
        let by_validation =
            (config.protocol, config.train.select) == (Protocol::Clean, Select::Valid);
        let (Some(last), Some(best)) = (self.curves.last(), self.curves.get(chosen)) else {
            fail!("{}: no epoch was trained", self.folder.display())
        };
        let split = &task.split;
        let predictions = task.predict(self.learner.model(), Delays::Rounded, &split.test)?;
        let test_accuracy = predictions.accuracy(&task.data, |_| true);
        let test_as_trained = match network::trained_delays(config, chosen as u64 + 1) {
            Delays::Rounded => test_accuracy,
            Delays::Spread => task.accuracy(self.learner.model(), Delays::Spread, &split.test)?,
        };
        let [seen, unseen] = task.accuracy_by_speaker(&predictions);
        let paper = config.protocol == Protocol::Paper;
        Ok(Figures {
            folder: self.folder.display().to_string(),
            data: task.folder.as_ref().map(|folder| folder.display().to_string()),
            set: config.changes()?,
            preset: config.preset.clone(),
            protocol: config.protocol,
            select: config.train.select,
            delays: config.network.delays,
            rounding: config.train.rounding,
            hidden: config.network.hidden.clone(),
            seed: config.seed,
            epochs: config.train.epochs,
            stopped_after: Some(self.curves.len()).filter(|&done| done < config.train.epochs),
            chosen_epoch: chosen + 1,
            choice_from: by_validation.then_some(self.first_choice() + 1),
            train_accuracy: best.train_accuracy,
            valid_accuracy: best.valid_accuracy,
            valid_loss: best.valid_loss,
            test_accuracy,
            test_most_frequent: predictions.most_frequent(&task.data).map(|(_, share)| share),
            test_as_trained,
            test_seen_accuracy: seen,
            test_unseen_accuracy: unseen,
            best_test_accuracy: test_accuracy.filter(|_| paper),
            last_test_accuracy: last.test_accuracy,
            train_items: split.train.len(),
            valid_items: split.valid.len(),
            test_items: split.test.len(),
            parameters: self.learner.parameters() - self.mask.parameters().sum::<usize>(),
            seconds: self.curves.iter().map(|e| e.seconds).sum(),
            seconds_per_epoch: report::median(self.curves.iter().map(|e| e.seconds)),
            threads: config.threads(),
        })
    }
}

fn selects_epoch(config: &Config) -> bool {
    config.protocol == Protocol::Paper || config.train.select == Select::Valid
}

/// Index of the first epoch that may be selected. While kernels are wide, rounding changes the
/// network so much that its accuracy says nothing about the training.
fn first_choice(config: &Config, curves: &[Epoch]) -> usize {
    let wide = match config.protocol {
        Protocol::Paper => 0,
        Protocol::Clean => network::wide_epochs(config),
    };
    wide.min(curves.len().saturating_sub(1))
}

/// Index of the epoch that is selected among those so far; the first one among equals.
pub(crate) fn selected_epoch(config: &Config, curves: &[Epoch]) -> usize {
    let mut best = first_choice(config, curves);
    for (n, epoch) in curves.iter().enumerate().skip(best) {
        if !selects_epoch(config) || score(config, epoch) > score(config, &curves[best]) {
            best = n;
        }
    }
    best
}

fn score(config: &Config, epoch: &Epoch) -> Option<f64> {
    match config.protocol {
        Protocol::Paper => epoch.test_accuracy,
        Protocol::Clean => epoch.valid_accuracy,
    }
}
