//! Batch normalisation over time and batch.

use crate::num::Real;

/// Normalises every neuron over all valid (time, sample) pairs of a batch.
///
/// ```text
/// z = gamma (y - mean) / sqrt(var + epsilon) + beta          var biased, over the n valid values
/// running <- (1 - momentum) running + momentum batch         with the unbiased variance
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm<R> {
    /// Added to the variance.
    pub epsilon: R,
    /// Share of the newest batch in the running statistics.
    pub momentum: R,
}

impl<R: Real> Default for BatchNorm<R> {
    fn default() -> Self {
        Self { epsilon: R::of(1e-5), momentum: R::of(0.1) }
    }
}

impl<R: Real> BatchNorm<R> {
    /// Moves one neuron's running mean and variance toward a batch of `n` values.
    pub fn track(&self, running_mean: &mut R, running_var: &mut R, mean: R, var: R, n: usize) {
        let unbiased = if n > 1 { var * R::count(n) / R::count(n - 1) } else { var };
        let keep = R::one() - self.momentum;
        *running_mean = keep * *running_mean + self.momentum * mean;
        *running_var = keep * *running_var + self.momentum * unbiased;
    }

    /// `1 / sqrt(var + epsilon)`.
    pub fn inverse_deviation(&self, var: R) -> R {
        R::one() / (var + self.epsilon).sqrt()
    }
}

/// Which steps of every sample count: those before its own length, padding by the tails of the layers so far.
///
/// Steps outside carry no spikes, count in no statistics and in no loss, so a sample's result does not depend
/// on how far its batch is padded.
#[derive(Clone, Copy, Debug, Default)]
pub struct ValidSteps<'a> {
    /// Steps of each sample at the network's input; `None`: every step counts.
    pub lengths: Option<&'a [usize]>,
    /// Steps that the layers so far have added.
    pub padding: usize,
}

impl ValidSteps<'_> {
    /// The valid steps of sample `b` in a sequence of `steps` steps.
    pub fn steps(&self, b: usize, steps: usize) -> usize {
        self.lengths
            .and_then(|lengths| lengths.get(b))
            .map_or(steps, |&length| length.saturating_add(self.padding).min(steps))
    }

    /// The valid (time, sample) pairs of a sequence.
    pub fn count(&self, steps: usize, batch: usize) -> usize {
        (0..batch).map(|b| self.steps(b, steps)).sum()
    }

    /// The same lengths after `tail` more steps.
    pub fn grow(&self, tail: usize) -> Self {
        Self { lengths: self.lengths, padding: self.padding + tail }
    }
}
