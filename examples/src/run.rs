//! A training: its epochs and its folder.

use crate::checkpoint::{self, Begun, Checkpoint};
use crate::config::{Config, Protocol, Select};
use crate::error::{Failure, Result, at, fail, note};
use crate::machine::{Machine, Trainer};
use crate::network::{self, Ends};
use crate::report::{self, Epoch, Figures, Report, percent, say};
use crate::sparse::Absent;
use crate::task::{Block, Task};
use crate::train::same;
use crate::{ahead, interrupt, plot};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use polychron_core::train::{Delays, State, Tensor, TrainError};
use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

const CONFIG: &str = "config.toml";
const CHECKPOINT: &str = "checkpoint.safetensors";
/// The chosen epoch's state, while there are epochs to come.
const BEST: &str = "best.safetensors";

/// A run at work.
pub(crate) struct Run<B: Machine> {
    config: Config,
    task: Task,
    trainer: Trainer<B>,
    absent: Absent,
    /// Parameters before the first step.
    initial: Vec<Tensor<f32>>,
    folder: PathBuf,
    curves: Vec<Epoch>,
    /// What the steps of an epoch that is not finished add up to.
    begun: Begun,
    /// Keeps other processes from the folder.
    held: Option<File>,
}

impl<B: Machine> Run<B> {
    /// A run before its first step; nothing is written.
    pub(crate) fn new(
        config: Config,
        task: Task,
        trainer: Trainer<B>,
        absent: Absent,
        folder: PathBuf,
    ) -> Result<Self> {
        let initial = trainer.model().tensors()?;
        let (curves, begun, held) = (Vec::new(), Begun::default(), None);
        Ok(Self { config, task, trainer, absent, initial, folder, curves, begun, held })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes the folder, with configuration and checkpoint in it or not at all.
    pub(crate) fn begin(&mut self) -> Result<()> {
        let shown = self.folder.display();
        if let Some(parent) = self.folder.parent() {
            std::fs::create_dir_all(parent).map_err(at(parent.display()))?;
        }
        let unfinished = checkpoint::unfinished(&self.folder);
        discard(&unfinished)?;
        std::fs::create_dir(&unfinished).map_err(at(&shown))?;
        let path = unfinished.join(CONFIG);
        let mut held = checkpoint::hold(File::create_new(&path), &path)?;
        let config = self.config.to_toml()?;
        let written = held.write_all(config.as_bytes()).and_then(|()| held.sync_all());
        written
            .map_err(at(path.display()))
            .and_then(|()| self.save(&unfinished.join(CHECKPOINT)))
            .and_then(|()| checkpoint::put(&unfinished, &self.folder).map_err(at(&shown)))
            .inspect_err(|_| {
                // Held, the folder is this run's.
                let _ = std::fs::remove_dir_all(&unfinished);
            })?;
        self.held = Some(held);
        Ok(())
    }

    /// Takes up the run in its folder, which must be one to write to.
    pub(crate) fn go_on(&mut self, (kept, held): (Checkpoint, File)) -> Result<()> {
        self.held = Some(held);
        let path = self.path(CHECKPOINT);
        let Checkpoint { state, begun, .. } = kept;
        self.trainer.restore(&state).map_err(at(path.display()))?;
        let (epoch, step) = (state.epoch, state.step);
        let Some(batches) = self.batches_begun() else {
            let epoch = epoch.saturating_add(1);
            let all = self.task.epoch(0)?.len();
            fail!(
                "{}: step {step} is not one of epoch {epoch}; the data make {all} batches an epoch",
                path.display()
            )
        };
        let items = self.task.epoch(epoch)?[..batches].iter().map(Vec::len).sum();
        if begun.correct > items || !begun.loss.is_finite() || !begun.seconds.is_finite() {
            fail!("{}: {begun:?} is not of {items} items", path.display())
        }
        self.begun = begun;
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
        self.save(&path)
    }

    /// Batches of this epoch that were trained on before, where the steps taken fit the epochs.
    fn batches_begun(&self) -> Option<usize> {
        let all = self.task.epoch(self.trainer.epoch()).ok()?.len();
        let before = self.trainer.epoch().checked_mul(all as u64)?;
        let begun = usize::try_from(self.trainer.step_count().checked_sub(before)?).ok()?;
        (begun <= all).then_some(begun)
    }

    /// Trains to the end, to epoch `stop_after` or until it is interrupted; the final figures, where it came to the end.
    pub(crate) fn train(mut self, stop_after: Option<u64>) -> Result<Option<Figures>> {
        interrupt::listen();
        let all = self.config.train.epochs as u64;
        let batches = self.task.epoch(0)?.len() as u64;
        let bar = progress(batches * all);
        bar.set_position(self.trainer.step_count());
        bar.reset_eta();
        while self.trainer.epoch() < all {
            let (epoch, step) = (self.trainer.epoch(), self.trainer.step_count());
            let shown = self.folder.display();
            if interrupt::asked() {
                bar.finish_and_clear();
                self.save(&self.path(CHECKPOINT))?;
                interrupt::leave(&format!(
                    "{shown}: interrupted in epoch {}, after step {step}; train --resume --out {shown} goes on",
                    epoch + 1
                ));
                return Ok(None);
            }
            if stop_after.is_some_and(|stop| epoch >= stop) {
                say(&format!("{shown}: left after epoch {epoch}; --resume goes on\n"))?;
                return Ok(None);
            }
            let Some(epoch) = self.epoch(&bar)? else { continue };
            let line = line(&epoch, all);
            self.curves.push(epoch);
            if self.chooses() && self.chosen() + 1 == self.curves.len() {
                self.save(&self.path(BEST))?;
            }
            Report::write(&self.path("report.json"), &self.curves, None)?;
            self.save(&self.path(CHECKPOINT))?;
            if bar.is_hidden() {
                note(&line);
            }
            bar.set_message(line);
        }
        bar.finish_and_clear();
        self.finish().map(Some)
    }

    /// Trains an epoch to its end; `None` where it is interrupted.
    fn epoch(&mut self, bar: &ProgressBar) -> Result<Option<Epoch>> {
        let start = Instant::now();
        let number = self.trainer.epoch();
        let batches = self.task.epoch(number)?;
        let (done, left) = batches.split_at(self.batches_begun().unwrap_or_default());
        let mut items: usize = done.iter().map(Vec::len).sum();
        let Self { task, trainer, absent, begun: sums, config, folder, .. } = self;
        let mut batch = done.len();
        let take = |indices: &Vec<usize>, block: Block| {
            batch += 1;
            let report = trainer.step(&block.view()).map_err(|error| match error {
                TrainError::Diverged { .. } => diverged(config, folder, number, batch),
                error => error.into(),
            })?;
            absent.clear(trainer)?;
            sums.loss += f64::from(report.loss) * indices.len() as f64;
            sums.correct += report.correct;
            items += indices.len();
            bar.inc(1);
            Ok(!interrupt::asked())
        };
        let make = |indices: &Vec<usize>| task.training_block(indices, number);
        if !ahead::each(left, config.threads(), make, take)? {
            sums.seconds += start.elapsed().as_secs_f64();
            return Ok(None);
        }
        let Begun { loss, correct, seconds } = std::mem::take(sums);
        self.trainer.finish_epoch()?;
        let (task, model) = (&self.task, self.trainer.model());
        let tests = self.config.protocol == Protocol::Paper;
        Ok(Some(Epoch {
            epoch: number as usize + 1,
            loss: loss / items as f64,
            train_accuracy: correct as f64 / items as f64,
            valid_accuracy: task.accuracy(model, &task.split.valid)?,
            test_accuracy: if tests { task.accuracy(model, &task.split.test)? } else { None },
            rates: self.rates()?,
            seconds: seconds + start.elapsed().as_secs_f64(),
        }))
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

    fn save(&self, path: &Path) -> Result<()> {
        self.write(path, self.trainer.state()?)
    }

    fn write(&self, path: &Path, state: State<f32>) -> Result<()> {
        let config = Config { threads: 0, ..self.config.clone() };
        checkpoint::write(path, &Checkpoint { state, config, begun: self.begun })
    }

    /// Takes the chosen model, tests it and writes what is left to write.
    fn finish(&mut self) -> Result<Figures> {
        let best = self.path(BEST);
        if self.chooses() {
            let Checkpoint { state, .. } = checkpoint::read(&best)?;
            let (found, chosen) = (state.epoch, self.chosen() + 1);
            if found != chosen as u64 {
                fail!("{}: is of epoch {found}, but {chosen} is chosen", best.display())
            }
            self.trainer.restore(&state).map_err(at(best.display()))?;
        }
        let figures = self.figures()?;
        let mut state = self.trainer.state()?;
        state.tensors.retain(|t| !t.name.starts_with("adam."));
        let (drawn, dt_ms) = (self.path("delays.svg"), self.task.ends().dt_ms);
        plot::delays(&drawn, &self.initial, &state.tensors, dt_ms)?;
        self.write(&self.path("model.safetensors"), state)?;
        plot::curves(&self.path("curves.svg"), &self.curves)?;
        plot::raster(&self.path("raster.svg"), &self.task, self.trainer.model())?;
        Report::write(&self.path("report.json"), &self.curves, Some(&figures))?;
        tidy(&self.folder)?;
        Ok(figures)
    }

    fn figures(&self) -> Result<Figures> {
        let (task, config) = (&self.task, &self.config);
        let split = &task.split;
        let decisions =
            task.decide(self.trainer.model(), Delays::Rounded, &split.test, |_| Ok(()))?;
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

/// The checkpoint in a run's folder, which must be one of that network and configuration, and what keeps other processes
/// from the folder.
pub(crate) fn kept(folder: &Path, config: &Config, ends: Ends) -> Result<(Checkpoint, File)> {
    let [path, own] = [CHECKPOINT, CONFIG].map(|name| folder.join(name));
    let held = checkpoint::hold(File::open(&own), &own)?;
    let kept = checkpoint::read(&path)?;
    same(&kept.config, &path, config, "config.toml")?;
    kept.state.fits(&network::network(config, ends)?).map_err(at(path.display()))?;
    Ok((kept, held))
}

fn diverged(config: &Config, folder: &Path, epoch: u64, batch: usize) -> Failure {
    let rate = config.train.rate;
    let (epoch, kept) = (epoch + 1, folder.join(CHECKPOINT));
    Failure(format!(
        "epoch {epoch}, batch {batch}: the loss, a gradient or a parameter is not finite at train.rate = {rate:?}; {} keeps the last good state",
        kept.display()
    ))
}

/// Removes what a finished run no longer needs.
pub(crate) fn tidy(folder: &Path) -> Result<()> {
    let best = folder.join(BEST);
    match std::fs::remove_file(&best) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at(best.display())(error)),
        _ => Ok(()),
    }
}

/// Removes what a run leaves that is killed before it has its folder.
fn discard(unfinished: &Path) -> Result<()> {
    let own = [CONFIG, CHECKPOINT, ".checkpoint.safetensors.tmp"];
    let (shown, config) = (unfinished.display(), unfinished.join(CONFIG));
    let _held = match File::open(&config) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        opened => Some(checkpoint::hold(opened, &config)?),
    };
    match checkpoint::first_other(unfinished, &own)? {
        Some(found) => fail!("{shown}: holds {found}, which no run has put there"),
        None if unfinished.exists() => std::fs::remove_dir_all(unfinished).map_err(at(shown)),
        None => Ok(()),
    }
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
