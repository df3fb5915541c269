//! Evaluation of a model.

use crate::backend::{Classifier, CpuModel};
use crate::error::Result;
use crate::model::Model;
use crate::report::{count_spikes, median, neuron_steps};
use crate::task::{Predictions, Task};
use polychron_core::train::Delays;
use polychron_cpu::Stream;
use polychron_datasets::{Dataset, Part};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

/// Largest number of confusions listed.
const CONFUSIONS: usize = 5;

/// The result of evaluating a model on a part of the items.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// The part evaluated.
    pub split: Part,
    /// Number of items.
    pub items: usize,
    /// Share of items classified correctly with rounded delays; `None` without items.
    pub accuracy: Option<f64>,
    /// Share of items classified correctly with the delays of training.
    pub accuracy_as_trained: Option<f64>,
    /// Accuracy for speakers who also occur in the training or validation items.
    pub seen_accuracy: Option<f64>,
    /// Accuracy for all other speakers.
    pub unseen_accuracy: Option<f64>,
    /// Accuracy of every speaker, if the data have several.
    pub speakers: Vec<SpeakerFigures>,
    /// Mean spikes per neuron and step of every hidden layer.
    pub rates: Vec<f64>,
    /// Median time per item, if items are evaluated one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms_per_item: Option<f64>,
    /// Mean recall of the classes that have items; `None` without items.
    pub balanced_accuracy: Option<f64>,
    /// The class that most of the items have.
    pub most_frequent_class: Option<String>,
    /// The accuracy of always predicting that class.
    pub most_frequent_accuracy: Option<f64>,
    /// The classes that have items or are predicted.
    pub classes: Vec<ClassFigures>,
    /// Number of items of each of these classes (rows) that the model takes for each (columns).
    pub confusion: Vec<Vec<usize>>,
    /// The most frequent confusions, in descending order.
    pub confusions: Vec<Confusion>,
    /// The prediction of every item.
    #[serde(skip)]
    pub predictions: Predictions,
}

/// How well a model understands a speaker.
#[derive(Clone, Debug, Serialize)]
pub struct SpeakerFigures {
    /// Name of the speaker, or the number if there is no name.
    pub speaker: String,
    /// Number of items.
    pub items: usize,
    /// Share of them classified correctly.
    pub accuracy: Option<f64>,
}

/// How well a model knows a class.
#[derive(Clone, Debug, Serialize)]
pub struct ClassFigures {
    /// Name of the class.
    pub class: String,
    /// Number of items.
    pub items: usize,
    /// Number of items that the model takes for this class.
    pub predicted: usize,
    /// Share of the items that the model recognizes; `None` without items.
    pub recall: Option<f64>,
    /// Share of items of this class among those that the model takes for it; `None` if there are
    /// none.
    pub precision: Option<f64>,
}

/// A pair of classes that the model confuses.
#[derive(Clone, Debug, Serialize)]
pub struct Confusion {
    /// Class of the items.
    pub class: String,
    /// Class that the model predicts.
    pub taken_for: String,
    /// Number of items of `class` classified as `taken_for`.
    pub items: usize,
    /// Number of items of `class`.
    pub of: usize,
}

impl Model {
    /// Evaluates the model with rounded delays, in batches.
    ///
    /// # Errors
    /// If the model does not fit the data or the backend fails.
    pub fn evaluate(&self, task: &Task, part: Part) -> Result<Evaluation> {
        self.check(task)?;
        self.with_training(task, evaluate(self, task, part)?)
    }

    /// Evaluates the model with rounded delays, item by item on one CPU thread, as in a live
    /// system.
    ///
    /// # Errors
    /// As [`Model::evaluate`].
    pub fn evaluate_one_by_one(&self, task: &Task, part: Part) -> Result<Evaluation> {
        self.check(task)?;
        let outcome = evaluate_items(task, &self.on_cpu()?, task.part(part))?;
        self.with_training(task, evaluation(part, task, &outcome))
    }

    /// Adds the accuracy with the delays of training.
    fn with_training(&self, task: &Task, mut evaluation: Evaluation) -> Result<Evaluation> {
        evaluation.accuracy_as_trained = match self.trained_delays() {
            Delays::Rounded => evaluation.accuracy,
            Delays::Spread => task.accuracy(self, Delays::Spread, task.part(evaluation.split))?,
        };
        Ok(evaluation)
    }

    /// Counts the predictions that change when every item is alone in its batch, and the accuracy
    /// then; `None` if there are none. Items are padded to the longest one of their batch, and
    /// `data.mask = false` counts the padded steps.
    pub(crate) fn decided_by_padding(
        &self,
        task: &Task,
        predictions: &Predictions,
    ) -> Result<Option<(usize, Option<f64>)>> {
        let options = &self.config.data;
        let steps = |i: &usize| task.data.samples[*i].steps;
        let lengths = predictions.items.iter().map(steps);
        if options.mask || options.steps > 0 || lengths.clone().min() == lengths.max() {
            return Ok(None);
        }
        let mut alone = Predictions::of(&predictions.items);
        for &item in &predictions.items {
            let (scores, _) = self.scores(&task.batch(&[item])?.view(), Delays::Rounded)?;
            alone.extend(&scores, task.data.classes);
        }
        let pairs = alone.classes.iter().zip(&predictions.classes);
        let changed = pairs.filter(|(alone, batched)| alone != batched).count();
        Ok((changed > 0).then(|| (changed, alone.accuracy(&task.data, |_| true))))
    }

    /// Predicts the classes of items. `items` are indices into the samples of the task.
    ///
    /// # Errors
    /// As [`Model::evaluate`].
    pub fn predict(&self, task: &Task, items: &[usize]) -> Result<Predictions> {
        self.check(task)?;
        task.predict(self, Delays::Rounded, items)
    }
}

/// Evaluates any model with rounded delays, in batches. `accuracy_as_trained` is `None`, because it
/// is unknown how the model was trained.
///
/// # Errors
/// If the model does not fit the data or its backend fails.
pub fn evaluate(model: &dyn Classifier, task: &Task, part: Part) -> Result<Evaluation> {
    Ok(evaluation(part, task, &evaluate_batches(task, model, task.part(part))?))
}

/// Predictions, and spike counts of the hidden layers.
struct Outcome {
    predictions: Predictions,
    /// Spikes of every hidden layer, and neurons times valid steps.
    counts: Vec<(f64, f64)>,
    ms_per_item: Option<f64>,
}

fn evaluate_batches(task: &Task, model: &dyn Classifier, items: &[usize]) -> Result<Outcome> {
    let mut counts = vec![(0.0, 0.0); model.graph().hidden().len()];
    let mut predictions = Predictions::of(items);
    for indices in task.chunks(items) {
        let batch = task.batch(indices)?;
        let (scores, found) = count_spikes(model, &batch.view())?;
        predictions.extend(&scores, task.data.classes);
        for (count, (spikes, places)) in counts.iter_mut().zip(found) {
            *count = (count.0 + spikes, count.1 + places);
        }
    }
    Ok(Outcome { predictions, counts, ms_per_item: None })
}

fn evaluate_items(task: &Task, model: &CpuModel, items: &[usize]) -> Result<Outcome> {
    let mut stream = Stream::new(model)?;
    let mut counts = vec![(0.0, 0.0); model.graph().hidden().len()];
    let mut predictions = Predictions::of(items);
    let mut times = Vec::new();
    for &item in items {
        let batch = task.batch(&[item])?;
        let (dense, batch) = (batch.batch.dense(), batch.view());
        let steps = batch.lengths.map_or(batch.shape.steps, |lengths| lengths[0]);
        let start = Instant::now();
        stream.feed(&dense[..steps * batch.shape.width])?;
        predictions.extend(stream.finish(), task.data.classes);
        times.push(start.elapsed().as_secs_f64() * 1e3);
        let places = neuron_steps(model.graph(), steps);
        for ((count, &spikes), places) in counts.iter_mut().zip(stream.spikes()).zip(places) {
            *count = (count.0 + spikes as f64, count.1 + places);
        }
    }
    Ok(Outcome { predictions, counts, ms_per_item: Some(median(times.into_iter())) })
}

fn evaluation(split: Part, task: &Task, outcome: &Outcome) -> Evaluation {
    let Outcome { predictions, counts, ms_per_item } = outcome;
    let data = &task.data;
    let speaker = |i: usize| data.samples[i].speaker;
    let [seen_accuracy, unseen_accuracy] = task.accuracy_by_speaker(predictions);
    let (pairs, most) = (Pairs::new(data, predictions), predictions.most_frequent(data));
    let classes = pairs.figures(data);
    let mut speakers = BTreeMap::<u16, usize>::new();
    predictions.items.iter().for_each(|&i| *speakers.entry(speaker(i)).or_default() += 1);
    if data.speakers().len() < 2 {
        speakers.clear();
    }
    let figures = |(number, items)| SpeakerFigures {
        speaker: data.speaker_name(number),
        items,
        accuracy: predictions.accuracy(data, |i| speaker(i) == number),
    };
    Evaluation {
        split,
        items: predictions.items.len(),
        accuracy: predictions.accuracy(data, |_| true),
        accuracy_as_trained: None,
        seen_accuracy,
        unseen_accuracy,
        speakers: speakers.into_iter().map(figures).collect(),
        rates: counts.iter().map(|(spikes, places)| spikes / f64::max(*places, 1.0)).collect(),
        ms_per_item: *ms_per_item,
        balanced_accuracy: balanced(&classes),
        most_frequent_class: most.map(|(class, _)| data.class_names[class].clone()),
        most_frequent_accuracy: most.map(|(_, share)| share),
        confusion: pairs.matrix(),
        classes,
        confusions: pairs.confusions(data),
        predictions: predictions.clone(),
    }
}

/// The mean recall of the classes that have items.
fn balanced(classes: &[ClassFigures]) -> Option<f64> {
    let recalls: Vec<f64> = classes.iter().filter_map(|class| class.recall).collect();
    (!recalls.is_empty()).then(|| recalls.iter().sum::<f64>() / recalls.len() as f64)
}

/// How often items of one class are taken for another, or for their own.
struct Pairs {
    /// By class and predicted class.
    counts: BTreeMap<(usize, usize), usize>,
    /// Number of items of every class that has some or is predicted, and number of predictions.
    totals: BTreeMap<usize, [usize; 2]>,
}

impl Pairs {
    fn new(data: &Dataset, predictions: &Predictions) -> Self {
        let (mut counts, mut totals) = (BTreeMap::new(), BTreeMap::<_, [usize; 2]>::new());
        for (&i, &class) in predictions.items.iter().zip(&predictions.classes) {
            let label = usize::from(data.samples[i].label);
            *counts.entry((label, class)).or_default() += 1;
            totals.entry(label).or_default()[0] += 1;
            totals.entry(class).or_default()[1] += 1;
        }
        Self { counts, totals }
    }

    fn count(&self, label: usize, class: usize) -> usize {
        self.counts.get(&(label, class)).copied().unwrap_or(0)
    }

    fn figures(&self, data: &Dataset) -> Vec<ClassFigures> {
        let figures = |(&class, &[items, predicted]): (&usize, &[usize; 2])| {
            let hits = self.count(class, class) as f64;
            let share = |all: usize| (all > 0).then(|| hits / all as f64);
            let (recall, precision) = (share(items), share(predicted));
            let class = data.class_names[class].clone();
            ClassFigures { class, items, predicted, recall, precision }
        };
        self.totals.iter().map(figures).collect()
    }

    fn matrix(&self) -> Vec<Vec<usize>> {
        let classes = || self.totals.keys().copied();
        classes().map(|label| classes().map(|class| self.count(label, class)).collect()).collect()
    }

    /// The most frequent confusions, in descending order.
    fn confusions(&self, data: &Dataset) -> Vec<Confusion> {
        let mut pairs: Vec<_> = self.counts.iter().filter(|((a, b), _)| a != b).collect();
        pairs.sort_by_key(|&(_, items)| std::cmp::Reverse(items));
        let confusion = |(&(label, class), &items): (&(usize, usize), &usize)| Confusion {
            class: data.class_names[label].clone(),
            taken_for: data.class_names[class].clone(),
            items,
            of: self.totals[&label][0],
        };
        pairs.into_iter().take(CONFUSIONS).map(confusion).collect()
    }
}
