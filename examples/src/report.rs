//! What a run reports: curves, final figures, and how they are shown.

use crate::checkpoint::write_atomic;
use crate::config::{Config, Delays, Protocol, Select};
use crate::error::{Result, at, plain};
use crate::network::Net;
use polychron_core::norm::ValidSteps;
use polychron_core::train::{Batch, Spikes};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

/// One epoch of training.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Epoch {
    /// Its number, from 1.
    pub(crate) epoch: usize,
    /// Mean loss of the training items, while training.
    pub(crate) loss: f64,
    /// Share of training items decided rightly, while training: with dropout and wide kernels.
    pub(crate) train_accuracy: f64,
    /// Accuracy on the validation items.
    pub(crate) valid_accuracy: Option<f64>,
    /// Accuracy on the test items; under protocol paper only.
    pub(crate) test_accuracy: Option<f64>,
    /// Mean spikes a neuron and step of every hidden layer, over one batch.
    pub(crate) rates: Vec<f64>,
    /// Wall-clock seconds, evaluation included.
    pub(crate) seconds: f64,
}

/// The final figures of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) preset: String,
    pub(crate) protocol: Protocol,
    pub(crate) select: Select,
    pub(crate) delays: Delays,
    pub(crate) hidden: Vec<usize>,
    pub(crate) seed: u64,
    pub(crate) epochs: usize,
    /// The epoch whose model was kept and tested, from 1.
    pub(crate) chosen_epoch: usize,
    /// Running accuracy of the chosen epoch.
    pub(crate) train_accuracy: f64,
    /// Accuracy of the chosen epoch on the validation items.
    pub(crate) valid_accuracy: Option<f64>,
    /// Accuracy of the chosen model on the test items.
    pub(crate) test_accuracy: Option<f64>,
    /// The same over speakers that are trained on, and over the others.
    pub(crate) test_seen_accuracy: Option<f64>,
    pub(crate) test_unseen_accuracy: Option<f64>,
    /// Under protocol paper: the best epoch's accuracy on the test items, and the last's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) best_test_accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_test_accuracy: Option<f64>,
    pub(crate) train_items: usize,
    pub(crate) valid_items: usize,
    pub(crate) test_items: usize,
    /// Trained numbers.
    pub(crate) parameters: usize,
    /// Wall-clock seconds of all epochs.
    pub(crate) seconds: f64,
    /// The median epoch's.
    pub(crate) seconds_per_epoch: f64,
    pub(crate) threads: usize,
}

/// `report.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Version of this program.
    pub(crate) version: String,
    /// The final figures; absent while the run is not finished.
    pub(crate) figures: Option<Figures>,
    /// One entry an epoch.
    pub(crate) curves: Vec<Epoch>,
}

impl Report {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).map_err(at(path.display()))?;
        serde_json::from_slice(&text).map_err(at(path.display()))
    }

    pub(crate) fn write(path: &Path, curves: &[Epoch], figures: Option<&Figures>) -> Result<()> {
        let report = Self {
            version: env!("CARGO_PKG_VERSION").into(),
            figures: figures.cloned(),
            curves: curves.to_vec(),
        };
        let mut text = serde_json::to_vec_pretty(&report)?;
        text.push(b'\n');
        write_atomic(path, &text)
    }
}

impl Figures {
    /// The protocol in words.
    pub(crate) fn how(&self) -> &'static str {
        match (self.protocol, self.select) {
            (Protocol::Paper, _) => "paper: the best epoch on the test items",
            (Protocol::Clean, Select::Valid) => "clean: the best epoch on the validation items",
            (Protocol::Clean, Select::Last) => "clean: the last epoch",
        }
    }

    /// Prints the figures: a table, or one JSON object on the last line.
    pub(crate) fn print(&self, folder: &Path, json: bool) -> Result<()> {
        if json {
            return say(&format!("{}\n", serde_json::to_string(self)?));
        }
        let how = self.how();
        let mut text =
            format!("{}, seed {}, delays {}\n", self.preset, self.seed, name(&self.delays)?);
        let _ = writeln!(
            text,
            "  protocol        {how}, epoch {} of {}",
            self.chosen_epoch, self.epochs
        );
        let rows = [
            ("test", self.test_accuracy, self.test_items),
            ("validation", self.valid_accuracy, self.valid_items),
            ("training", Some(self.train_accuracy), self.train_items),
        ];
        for (name, accuracy, items) in rows {
            let _ = writeln!(text, "  {name:<15} {} of {items} items", percent(accuracy));
        }
        for (name, accuracy) in
            [("seen", self.test_seen_accuracy), ("unseen", self.test_unseen_accuracy)]
        {
            if accuracy.is_some() {
                let _ = writeln!(text, "  test, {name:<9} {}", percent(accuracy));
            }
        }
        let _ = writeln!(text, "  parameters      {}", self.parameters);
        let _ = writeln!(
            text,
            "  time            {:.1} s, {:.2} s an epoch, {} threads",
            self.seconds, self.seconds_per_epoch, self.threads
        );
        let _ = writeln!(text, "  run             {}", folder.display());
        say(&text)
    }
}

/// A share in percent.
pub(crate) fn percent(share: Option<f64>) -> String {
    share.map_or("-".into(), |share| format!("{:.1} %", 100.0 * share))
}

/// The name that configuration files use.
pub(crate) fn name(choice: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(choice)?.trim_matches('"').into())
}

/// The name of a run's default folder.
pub(crate) fn run_name(config: &Config) -> Result<String> {
    Ok(format!("{}-{}-seed{}", config.preset, name(&config.train.delays)?, config.seed))
}

/// Writes to standard output.
pub(crate) fn say(text: &str) -> Result<()> {
    std::io::stdout().write_all(plain(text).as_bytes()).map_err(at("standard output"))
}

/// Spikes and the neuron steps in which they could be, of one layer in one batch.
pub(crate) fn count_spikes(batch: &Batch<'_, f32>, layer: &Spikes<f32>) -> (f64, f64) {
    let shape = layer.shape;
    let valid = ValidSteps { lengths: batch.lengths, padding: shape.steps - batch.shape.steps };
    let spikes: f64 = layer.values.iter().map(|&s| f64::from(s)).sum();
    (spikes, (valid.count(shape.steps, shape.batch) * shape.width) as f64)
}

/// Neurons times steps of every hidden layer, tails included, for an input of `steps` steps.
pub(crate) fn neuron_steps(network: &Net, mut steps: usize) -> impl Iterator<Item = f64> {
    network.hidden.iter().map(move |hidden| {
        steps += hidden.synapses.padding;
        (hidden.synapses.outputs * steps) as f64
    })
}

/// The median; 0 of nothing.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n => 0.5 * (values[(n - 1) / 2] + values[n / 2]),
    }
}
