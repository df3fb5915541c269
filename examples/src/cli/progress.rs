//! Progress and final figures of runs on the terminal.

use super::interrupt;
use super::print::{note, note_rounding, percent, say, say_json};
use crate::error::Result;
use crate::observer::{EpochEnd, Flow, Observer, Outcome, Start, Step};
use crate::report::{Figures, name};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

/// Shows a progress bar or a line per epoch, and stops a run at a signal.
pub(super) struct Progress {
    bar: ProgressBar,
    /// Number of epochs after which the run stops.
    stop_after: Option<u64>,
    /// Whether the run is one of several.
    several: bool,
    /// The option that names the data folder, if there is one.
    data: String,
    /// When the last line was printed.
    line: Instant,
    /// Number of steps of the whole run, and of its epochs.
    steps: u64,
    epochs: u64,
}

/// The longest time without a line where there is no terminal.
const PAUSE: Duration = Duration::from_secs(60);

impl Progress {
    pub(super) fn new(stop_after: Option<u64>, several: bool) -> Self {
        let (bar, line) = (ProgressBar::hidden(), Instant::now());
        Self { bar, stop_after, several, data: String::new(), line, steps: 0, epochs: 0 }
    }
}

fn flow() -> Flow {
    if interrupt::requested() { Flow::Stop } else { Flow::Continue }
}

impl Observer for Progress {
    fn run_opened(&mut self, folder: &Path, resumed: bool) -> Flow {
        if flow() == Flow::Continue {
            note(&format!(
                "{}: {}",
                folder.display(),
                if resumed { "resuming" } else { "starting" }
            ));
        }
        flow()
    }

    fn warned(&mut self, warning: &str) {
        note(warning);
    }

    fn run_started(&mut self, start: &Start<'_>) {
        interrupt::listen();
        let folder = start.task.folder.as_ref();
        self.data = folder.map_or(String::new(), |folder| format!(" --data {}", folder.display()));
        self.bar = bar(start.steps);
        self.bar.set_position(start.step);
        self.bar.reset_eta();
        (self.line, self.steps, self.epochs) = (Instant::now(), start.steps, start.epochs);
        if self.bar.is_hidden() {
            note(&begin_line(start));
        }
    }

    fn epoch_started(&mut self, epoch: u64) -> Flow {
        if self.stop_after.is_some_and(|stop| epoch >= stop) { Flow::Stop } else { flow() }
    }

    fn step_ended(&mut self, step: &Step) -> Flow {
        self.bar.inc(1);
        if self.bar.is_hidden() && self.line.elapsed() >= PAUSE {
            let (epochs, steps) = (self.epochs, self.steps);
            note(&format!(
                "epoch {}/{epochs}: step {} of {steps}, loss {:.4}",
                step.epoch, step.step, step.loss
            ));
            self.line = Instant::now();
        }
        flow()
    }

    fn epoch_ended(&mut self, end: &EpochEnd<'_>) -> Flow {
        if self.bar.is_hidden() {
            note(&epoch_line(end, end.epoch.valid_loss));
            self.line = Instant::now();
        }
        self.bar.set_message(epoch_line(end, None));
        Flow::Continue
    }

    fn run_ended(&mut self, folder: &Path, outcome: &Outcome) {
        self.bar.finish_and_clear();
        let shown = folder.display();
        match outcome {
            Outcome::Stopped { epoch, step } if interrupt::requested() => {
                interrupt::report_stop(&format!(
                    "{shown}: interrupted in epoch {}, after step {step}; \
                     continue with train --resume --out {shown}{}",
                    epoch + 1,
                    self.data
                ));
            }
            Outcome::Finished(figures) if self.several => {
                note(&format!("{shown}: test {}", percent(figures.test_accuracy)));
            }
            _ => {}
        }
    }
}

/// A progress bar; hidden unless standard error is a terminal.
fn bar(steps: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{wide_bar} {percent:>3} % eta {eta} {msg}");
    ProgressBar::new(steps).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn begin_line(start: &Start<'_>) -> String {
    let (data, split) = (&start.task.data, &start.task.split);
    let [train, valid, test] = [&split.train, &split.valid, &split.test].map(Vec::len);
    format!(
        "{}: {train} training, {valid} validation and {test} test items of {} classes; {} steps \
         an epoch",
        data.name,
        data.classes,
        start.steps / start.epochs.max(1)
    )
}

/// A line about an epoch. Next to a progress bar, there is no room for the validation loss.
fn epoch_line(end: &EpochEnd<'_>, valid_loss: Option<f64>) -> String {
    let (epoch, epochs) = (end.epoch, end.epochs);
    let mut line = format!("epoch {}/{epochs}: loss {:.4}", epoch.epoch, epoch.loss);
    if let Some(loss) = valid_loss {
        line += &format!(" (valid {loss:.4})");
    }
    line += &format!(", train {}", percent(Some(epoch.train_accuracy)));
    if epoch.valid_accuracy.is_some() {
        line += &format!(", valid {}", percent(epoch.valid_accuracy));
    }
    if epoch.valid_as_trained != epoch.valid_accuracy {
        line += &format!(" (as trained {})", percent(epoch.valid_as_trained));
    }
    if epoch.test_accuracy.is_some() {
        line += &format!(", test {}", percent(epoch.test_accuracy));
    }
    line + &format!(", {:.2} s", epoch.seconds)
}

/// Prints the figures of a run: a table, or one JSON object.
pub(super) fn print_figures(figures: &Figures, folder: &Path, json: bool) -> Result<()> {
    let (rounding, whole) = (figures.rounding, figures.test_accuracy);
    note_rounding(rounding, rounding, figures.test_as_trained, whole);
    if let (Some(found), Some(share)) = (figures.test_accuracy, figures.test_most_frequent)
        && found < share + 0.01
        && share > 0.5
    {
        note(&format!(
            "test {}, but always predicting the most frequent class gives {}; `eval` shows the \
             recall of every class, and train.class_weights = true lets all count the same",
            percent(Some(found)),
            percent(Some(share))
        ));
    }
    if json {
        return say_json(figures);
    }
    let mut protocol = figures.protocol_name().to_string();
    if let Some(first) = figures.choice_from {
        let _ = write!(protocol, " from epoch {first} on");
    }
    let mut text =
        format!("{}, seed {}, delays {}\n", figures.preset, figures.seed, name(&figures.delays)?);
    let _ = write!(
        text,
        "  protocol        {protocol}, epoch {} of {}",
        figures.chosen_epoch, figures.epochs
    );
    let stopped = figures.stopped_after.map(|done| format!(", stopped early after {done}"));
    text += &(stopped.unwrap_or_default() + "\n");
    let rows = [
        ("test", figures.test_accuracy, figures.test_items),
        ("validation", figures.valid_accuracy, figures.valid_items),
        ("training", Some(figures.train_accuracy), figures.train_items),
    ];
    for (name, accuracy, items) in rows {
        let _ = write!(text, "  {name:<15} {} of {items} items", percent(accuracy));
        if let ("test", Some(_)) = (name, figures.test_as_trained) {
            let _ = write!(text, ", as trained {}", percent(figures.test_as_trained));
        }
        text.push('\n');
    }
    for (name, accuracy) in [
        ("seen speakers", figures.test_seen_accuracy),
        ("new speakers", figures.test_unseen_accuracy),
    ] {
        if accuracy.is_some() {
            let _ = writeln!(text, "  {name:<15} {} of the test items", percent(accuracy));
        }
    }
    let _ = writeln!(text, "  parameters      {}", figures.parameters);
    let _ = writeln!(
        text,
        "  time            {:.1} s, {:.2} s an epoch, {} threads",
        figures.seconds, figures.seconds_per_epoch, figures.threads
    );
    let _ = writeln!(text, "  run             {}", folder.display());
    say(&text)
}
