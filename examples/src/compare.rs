//! Several runs side by side.

use crate::checkpoint::Checkpoint;
use crate::error::{Result, fail};
use crate::inspect::Inspection;
use crate::model::check_folder;
use crate::report::{Epoch, Report};
use crate::run::{self, CHECKPOINT, MODEL, REPORT};
use crate::{plot, reproduce};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Value;

/// Fields of the configuration that decide which items a model is tested on.
const ITEMS: [&str; 7] = [
    "data.source",
    "data.train_file",
    "data.test_file",
    "data.split",
    "data.split_file",
    "data.speaker",
    "data.test",
];

/// Several runs side by side.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// The runs, in the order in which they were named.
    pub runs: Vec<Entry>,
    /// Fields of the configuration that are not the same in all runs.
    pub differing: Vec<String>,
    /// Why the accuracies on the test items are not comparable.
    pub note: Option<String>,
}

/// A run in a comparison.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// Folder of the run.
    pub run: PathBuf,
    /// Whether the run has its final figures. Those of an unfinished run are of the epoch that
    /// would be selected now.
    pub finished: bool,
    /// Number of finished epochs.
    pub epochs_done: usize,
    /// `train.epochs`.
    pub epochs: usize,
    /// The epoch whose model was kept and tested, from 1.
    pub chosen_epoch: Option<usize>,
    /// Accuracy on the test items, with rounded delays.
    pub test_accuracy: Option<f64>,
    /// Accuracy on the validation items, with rounded delays.
    pub valid_accuracy: Option<f64>,
    /// Number of trained parameters.
    pub parameters: usize,
    /// Wall-clock seconds of the finished epochs.
    pub seconds: f64,
    /// The values of the differing fields that the run has.
    pub settings: BTreeMap<String, Value>,
    #[serde(skip)]
    curves: Vec<Epoch>,
    #[serde(skip)]
    test_items: Option<usize>,
    /// The hash of the test items.
    #[serde(skip)]
    tested: Option<u32>,
    #[serde(skip)]
    classes: Option<Vec<String>>,
}

impl Comparison {
    /// Compares the runs in these folders, finished or not. A folder of
    /// [`reproduce`] stands for all its runs.
    ///
    /// # Errors
    /// If a folder is not that of a run, or a file in it is damaged.
    pub fn read<P: AsRef<Path>>(folders: &[P]) -> Result<Self> {
        let mut runs: Vec<Entry> = Vec::new();
        for folder in folders.iter().map(AsRef::as_ref) {
            match reproduce::members(folder)? {
                Some(members) if members.is_empty() => fail!("{}: has no run", folder.display()),
                Some(members) => {
                    for member in members {
                        runs.push(Entry::read(member)?);
                    }
                }
                None => runs.push(Entry::read(folder.into())?),
            }
        }
        let mut keys: Vec<_> = runs.iter().flat_map(|run| run.settings.keys()).cloned().collect();
        keys.sort();
        keys.dedup();
        let first = runs.first().map(|run| run.settings.clone()).unwrap_or_default();
        keys.retain(|key| runs.iter().any(|run| run.settings.get(key) != first.get(key)));
        for run in &mut runs {
            run.settings.retain(|key, _| keys.contains(key));
        }
        let note = note(&runs, &keys);
        Ok(Self { runs, differing: keys, note })
    }

    /// Draws the validation accuracy of all runs over the epochs, or the training accuracy of runs
    /// without validation items. Runs in one folder are named without it.
    ///
    /// # Errors
    /// If no run has a finished epoch or the file cannot be written.
    pub fn draw(&self, path: &Path) -> Result<()> {
        let mut parents = self.runs.iter().map(|run| run.run.parent());
        let first = parents.next();
        let folder = first.flatten().filter(|_| parents.all(|parent| Some(parent) == first));
        let name = |run: &Entry| match folder.and_then(|folder| run.run.strip_prefix(folder).ok()) {
            Some(name) => name.display().to_string(),
            None => run.run.display().to_string(),
        };
        let curves = self.runs.iter().map(|run| (name(run), &run.curves[..]));
        plot::draw_runs(path, &curves.collect::<Vec<_>>())
    }
}

impl Entry {
    fn read(run: PathBuf) -> Result<Self> {
        check_folder(&run)?;
        let config = run::stored_config(&run, &[])?;
        let path = run.join(REPORT);
        let report = path.exists().then(|| Report::read(&path)).transpose()?;
        let (figures, curves) = report.map_or((None, Vec::new()), |r| (r.figures, r.curves));
        let state = [MODEL, CHECKPOINT].map(|name| run.join(name)).into_iter().find(|p| p.exists());
        let card = state.map(|path| Checkpoint::read(&path)).transpose()?.and_then(|s| s.data);
        let chosen = run::selected_epoch(&config, &curves);
        let best = curves.get(chosen);
        let parameters = match &figures {
            Some(figures) => figures.parameters,
            None => Inspection::read(&run)?.0.parameters,
        };
        Ok(Self {
            finished: figures.is_some(),
            epochs_done: curves.len(),
            epochs: config.train.epochs,
            chosen_epoch: match &figures {
                Some(figures) => Some(figures.chosen_epoch),
                None => best.map(|epoch| epoch.epoch),
            },
            test_accuracy: match &figures {
                Some(figures) => figures.test_accuracy,
                None => best.and_then(|epoch| epoch.test_accuracy),
            },
            valid_accuracy: match &figures {
                Some(figures) => figures.valid_accuracy,
                None => best.and_then(|epoch| epoch.valid_accuracy),
            },
            parameters,
            seconds: curves.iter().map(|epoch| epoch.seconds).sum(),
            settings: config.fields()?,
            test_items: figures.map(|figures| figures.test_items),
            tested: card.as_ref().and_then(|card| card.test_hash),
            classes: card.map(|card| card.classes),
            curves,
            run,
        })
    }
}

/// Says in what the data of the runs differ.
fn note(runs: &[Entry], differing: &[String]) -> Option<String> {
    let mut named: Vec<_> =
        ITEMS.into_iter().filter(|key| differing.iter().any(|k| k == key)).collect();
    let classes: Vec<_> = runs.iter().filter_map(|run| run.classes.as_ref()).collect();
    if classes.windows(2).any(|pair| pair[0] != pair[1]) {
        named.push("the classes");
    }
    let items: Vec<_> = runs.iter().filter_map(|run| run.test_items).collect();
    let tested: Vec<_> = runs.iter().filter_map(|run| run.tested).collect();
    let same = tested.windows(2).all(|pair| pair[0] == pair[1]);
    if tested.len() == runs.len() {
        named.retain(|name| *name == "the classes");
        if !same {
            named.push("the test items");
        }
    }
    if named.is_empty() && items.windows(2).any(|pair| pair[0] != pair[1]) {
        named.push("the number of test items");
    }
    let differ = "test accuracies are not comparable: the runs differ in ";
    (!named.is_empty()).then(|| format!("{differ}{}", named.join(", ")))
}
