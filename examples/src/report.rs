//! `report.json`: the curves and the final figures of a run.

use crate::backend::Classifier;
use crate::config::{Config, Delays, Protocol, Rounding, Select};
use crate::error::{Result, at};
use crate::files;
use polychron_core::norm::ValidSteps;
use polychron_core::train::{self, Batch, Graph};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One epoch of training.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Epoch {
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Running mean of the loss of the training items.
    pub loss: f64,
    /// Running accuracy on the training items, with dropout and kernels of the current width.
    pub train_accuracy: f64,
    /// Accuracy on the validation items, with rounded delays.
    pub valid_accuracy: Option<f64>,
    /// Mean loss of the validation items, with rounded delays; all items count the same.
    #[serde(default)]
    pub valid_loss: Option<f64>,
    /// Accuracy on the validation items with the delays of training. It differs from
    /// `valid_accuracy` while kernels are wide.
    #[serde(default)]
    pub valid_as_trained: Option<f64>,
    /// Accuracy on the test items, with rounded delays; only under the protocol `paper`.
    pub test_accuracy: Option<f64>,
    /// Mean spikes per neuron and step of every hidden layer, over one batch.
    pub rates: Vec<f64>,
    /// Wall-clock seconds, evaluation included.
    pub seconds: f64,
}

/// The final figures of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figures {
    /// Folder of the run, as it was given.
    #[serde(default)]
    pub folder: String,
    /// Folder of the data files, as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Fields of the configuration that are not those of the preset: `train.epochs = 5`.
    #[serde(default)]
    pub set: Vec<String>,
    /// `preset` of the configuration.
    pub preset: String,
    /// `protocol`.
    pub protocol: Protocol,
    /// `train.select`.
    pub select: Select,
    /// `network.delays`.
    pub delays: Delays,
    /// `train.rounding`.
    #[serde(default = "after")]
    pub rounding: Rounding,
    /// `network.hidden`.
    pub hidden: Vec<usize>,
    /// `seed`.
    pub seed: u64,
    /// `train.epochs`.
    pub epochs: usize,
    /// Number of trained epochs of a run that was finished before its last epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_after: Option<usize>,
    /// The epoch whose model was kept and tested, from 1.
    pub chosen_epoch: usize,
    /// The first epoch that could be chosen on the validation items, from 1. Epochs with wide
    /// kernels are not: their accuracy with rounded delays says nothing about the training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice_from: Option<usize>,
    /// Running accuracy of the chosen epoch on the training items.
    pub train_accuracy: f64,
    /// Accuracy of the chosen epoch on the validation items.
    pub valid_accuracy: Option<f64>,
    /// Mean loss of the chosen epoch on the validation items.
    #[serde(default)]
    pub valid_loss: Option<f64>,
    /// Accuracy of the chosen model on the test items, with rounded delays.
    pub test_accuracy: Option<f64>,
    /// Accuracy of always predicting the class that most of the test items have.
    #[serde(default)]
    pub test_most_frequent: Option<f64>,
    /// Accuracy of the chosen model on the test items with the delays of training.
    #[serde(default)]
    pub test_as_trained: Option<f64>,
    /// Test accuracy for speakers who also occur in the training items.
    pub test_seen_accuracy: Option<f64>,
    /// Test accuracy for all other speakers.
    pub test_unseen_accuracy: Option<f64>,
    /// Accuracy of the best epoch on the test items; only under the protocol `paper`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best_test_accuracy: Option<f64>,
    /// Accuracy of the last epoch on the test items; only under the protocol `paper`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_test_accuracy: Option<f64>,
    /// Number of training items.
    pub train_items: usize,
    /// Number of validation items.
    pub valid_items: usize,
    /// Number of test items.
    pub test_items: usize,
    /// Number of trained parameters.
    pub parameters: usize,
    /// Wall-clock seconds of all epochs.
    pub seconds: f64,
    /// Median wall-clock seconds of an epoch.
    pub seconds_per_epoch: f64,
    /// Number of training threads.
    pub threads: usize,
}

/// The rounding of runs whose report does not name it.
fn after() -> Rounding {
    Rounding::After
}

/// The contents of `report.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// Version of the program that wrote the report.
    pub version: String,
    /// The final figures; `None` until the run is finished.
    pub figures: Option<Figures>,
    /// One entry per epoch.
    pub curves: Vec<Epoch>,
}

impl Report {
    /// Reads a report.
    ///
    /// # Errors
    /// If the file cannot be read or is not a report.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).map_err(at(path.display()))?;
        serde_json::from_slice(&text).map_err(at(path.display()))
    }

    /// Writes a report.
    pub(crate) fn write(path: &Path, curves: &[Epoch], figures: Option<&Figures>) -> Result<()> {
        let report = Self {
            version: env!("CARGO_PKG_VERSION").into(),
            figures: figures.cloned(),
            curves: curves.to_vec(),
        };
        let mut text = serde_json::to_vec_pretty(&report)?;
        text.push(b'\n');
        files::replace(path, &text)
    }
}

impl Epoch {
    /// The epoch as one line of `curves.jsonl`.
    pub(crate) fn line(&self) -> Result<String> {
        Ok(serde_json::to_string(self)? + "\n")
    }
}

impl Figures {
    /// The protocol in words.
    #[must_use]
    pub fn protocol_name(&self) -> &'static str {
        match (self.protocol, self.select) {
            (Protocol::Paper, _) => "paper: the best epoch on the test items",
            (Protocol::Clean, Select::Valid) => "clean: the best epoch on the validation items",
            (Protocol::Clean, Select::Last) => "clean: the last epoch",
        }
    }
}

/// The name of a value in configuration files.
pub(crate) fn name(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(value)?.trim_matches('"').into())
}

/// The name of a run's default folder.
pub(crate) fn run_name(config: &Config) -> Result<String> {
    Ok(format!("{}-{}-seed{}", config.preset, name(&config.network.delays)?, config.seed))
}

/// Computes the scores of a batch with rounded delays, and for every hidden layer the number of
/// spikes and the number of neurons times valid steps.
pub(crate) fn count_spikes(
    model: &dyn Classifier,
    batch: &Batch<'_, f32>,
) -> Result<(Vec<f32>, Vec<(f64, f64)>)> {
    let hidden = model.graph().hidden().iter();
    let places = hidden.map(|node| {
        let valid = ValidSteps { lengths: batch.lengths, padding: node.padding };
        valid.count(batch.shape.steps + node.padding, batch.shape.batch) * node.width
    });
    let mut counts: Vec<_> = places.map(|places| (0.0, places as f64)).collect();
    let scores = model.watch(batch, train::Delays::Rounded, &mut |l, layer| {
        if let Some((spikes, _)) = counts.get_mut(l) {
            *spikes += layer.values.iter().map(|&s| f64::from(s)).sum::<f64>();
        }
    })?;
    Ok((scores, counts))
}

/// Neurons times steps of every hidden layer, padding included, for an input of `steps` steps.
pub(crate) fn neuron_steps(graph: &Graph, steps: usize) -> impl Iterator<Item = f64> {
    graph.hidden().iter().map(move |node| (node.width * (steps + node.padding)) as f64)
}

/// The median; 0 without values.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n => 0.5 * (values[(n - 1) / 2] + values[n / 2]),
    }
}
