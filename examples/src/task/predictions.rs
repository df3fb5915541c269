use polychron_core::loss::{Loss, decide, softmax};
use polychron_datasets::Dataset;

/// The classes that a model predicts for items.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// Index of every item among the task's samples.
    pub items: Vec<usize>,
    /// Predicted class of every item.
    pub classes: Vec<usize>,
    /// Scores of every item, `[items, classes]`; the highest one is predicted. Their scale depends
    /// on `network.loss`. Empty for a model file, which is asked for its decisions only.
    pub scores: Vec<f32>,
}

impl Predictions {
    /// No predictions yet for items.
    pub(crate) fn of(items: &[usize]) -> Self {
        Self { items: items.to_vec(), ..Self::default() }
    }

    /// Returns the class that most of the items have, and its share; `None` without items.
    #[must_use]
    pub fn most_frequent(&self, data: &Dataset) -> Option<(usize, f64)> {
        let mut counts = vec![0usize; data.classes];
        self.items.iter().for_each(|&i| counts[usize::from(data.samples[i].label)] += 1);
        let most = counts.iter().copied().max().filter(|&most| most > 0)?;
        let class = counts.iter().position(|&count| count == most)?;
        Some((class, most as f64 / self.items.len() as f64))
    }

    /// Returns the share of correct predictions among the items that `filter` accepts; `None` if it
    /// accepts none.
    pub fn accuracy(&self, data: &Dataset, filter: impl Fn(usize) -> bool) -> Option<f64> {
        let picked = self.items.iter().zip(&self.classes).filter(|(i, _)| filter(**i));
        let right = picked.map(|(&i, &class)| usize::from(data.samples[i].label) == class);
        let (mut hits, mut all) = (0, 0);
        right.for_each(|right| (hits, all) = (hits + usize::from(right), all + 1));
        (all > 0).then(|| hits as f64 / all as f64)
    }

    /// The scores of the item at a position as shares, which sum to 1: their parts of the sum for
    /// `softmax_sum`, whose scores are sums of shares over the steps, else their softmax. Empty if
    /// there are no scores.
    #[must_use]
    pub fn shares(&self, position: usize, loss: Loss) -> Vec<f32> {
        let classes = self.scores.len() / self.items.len().max(1);
        let Some(scores) = self.scores.chunks_exact(classes.max(1)).nth(position) else {
            return Vec::new();
        };
        let mut shares = scores.to_vec();
        if loss == Loss::SoftmaxSum {
            let sum: f32 = scores.iter().sum();
            shares.iter_mut().for_each(|share| *share /= sum);
        } else {
            softmax(&mut shares);
        }
        shares
    }

    /// Adds the predictions of a batch, given its scores `[B, classes]`.
    pub(crate) fn extend(&mut self, scores: &[f32], classes: usize) {
        self.classes.extend(scores.chunks_exact(classes).map(decide));
        self.scores.extend(scores);
    }
}
