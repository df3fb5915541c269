//! Batches with targets, for the trainer.

use polychron_core::shape::Shape;
use polychron_core::train::{self, Input};
use polychron_datasets::{SampleBatch, Values};

/// A batch with a target distribution over the classes for each item.
///
/// ```
/// use polychron::LabeledBatch;
/// use polychron_datasets::{SampleBatch, synthetic::burst_order};
///
/// let data = burst_order(20, 0.01, 0);
/// let batch = SampleBatch::assemble(&data, &[3, 1, 4], None)?;
/// let batch = LabeledBatch::new(batch, data.classes);
/// assert_eq!(batch.targets.len(), 3 * data.classes);
/// # Ok::<(), polychron_datasets::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LabeledBatch {
    /// Inputs, lengths and labels.
    pub batch: SampleBatch,
    /// Target distributions `[B, classes]`.
    pub targets: Vec<f32>,
    /// Whether steps after the end of an item are excluded from batch norm and loss.
    pub mask: bool,
}

impl LabeledBatch {
    /// Makes a batch with one-hot targets at the labels, which must be below `classes`. Padded
    /// steps are masked.
    #[must_use]
    pub fn new(batch: SampleBatch, classes: usize) -> Self {
        let mut targets = vec![0.0; batch.batch * classes];
        for (row, &label) in targets.chunks_exact_mut(classes.max(1)).zip(&batch.labels) {
            if let Some(target) = row.get_mut(label) {
                *target = 1.0;
            }
        }
        Self { batch, targets, mask: true }
    }

    /// Returns the batch in the form that [`train::Trainer`] and [`train::Model`] take.
    #[must_use]
    pub fn view(&self) -> train::Batch<'_, f32> {
        let batch = &self.batch;
        train::Batch {
            shape: Shape::new(batch.steps, batch.batch, batch.channels),
            x: match &batch.values {
                Values::Events(events) => Input::Events(events),
                Values::Dense(x) => Input::Dense(x),
            },
            targets: Some(&self.targets),
            lengths: self.mask.then_some(batch.lengths.as_slice()),
        }
    }
}
