//! Batch normalisation over time and batch.

use crate::num::Real;

/// Batch normalisation: every neuron is normalised over all valid (time, sample) pairs of a batch.
///
/// ```text
/// z = gamma (y - mean) / sqrt(var + epsilon) + beta          var biased, over the n valid values
/// running <- (1 - momentum) running + momentum batch         with the unbiased variance
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm<R> {
    /// Constant added to the variance.
    pub epsilon: R,
    /// Weight of the newest batch in the running statistics.
    pub momentum: R,
}

impl<R: Real> Default for BatchNorm<R> {
    fn default() -> Self {
        Self { epsilon: R::of(1e-5), momentum: R::of(0.1) }
    }
}

impl<R: Real> BatchNorm<R> {
    /// Updates the running mean and variance of one neuron with the biased statistics of `n`
    /// values.
    pub fn track(&self, running_mean: &mut R, running_var: &mut R, mean: R, var: R, n: usize) {
        let unbiased = if n > 1 { var * R::count(n) / R::count(n - 1) } else { var };
        let keep = R::one() - self.momentum;
        *running_mean = keep * *running_mean + self.momentum * mean;
        *running_var = keep * *running_var + self.momentum * unbiased;
    }

    /// `1 / sqrt(var + epsilon)`.
    #[must_use]
    pub fn inverse_deviation(&self, var: R) -> R {
        R::one() / (var + self.epsilon).sqrt()
    }
}

/// The valid steps of every sample: its length at the network's input, plus the padding of the
/// layers passed so far.
///
/// Later steps carry no spikes and enter neither statistics nor loss, so a sample's result does not
/// depend on the length of the longest sample in its batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct ValidSteps<'a> {
    /// Steps of each sample at the network's input; `None` if every step is valid.
    pub lengths: Option<&'a [usize]>,
    /// Steps added by the layers so far; see
    /// [`Synapses::padding`](crate::shape::Synapses::padding).
    pub padding: usize,
}

impl ValidSteps<'_> {
    /// The number of valid steps of sample `b` in a sequence of `steps` steps.
    #[must_use]
    pub fn steps(&self, b: usize, steps: usize) -> usize {
        self.lengths
            .and_then(|lengths| lengths.get(b))
            .map_or(steps, |&length| length.saturating_add(self.padding).min(steps))
    }

    /// The number of valid (time, sample) pairs of a sequence.
    #[must_use]
    pub fn count(&self, steps: usize, batch: usize) -> usize {
        (0..batch).map(|b| self.steps(b, steps)).sum()
    }

    /// The valid steps after a layer that adds `padding` steps.
    #[must_use]
    pub fn extended(&self, padding: usize) -> Self {
        Self { lengths: self.lengths, padding: self.padding.saturating_add(padding) }
    }
}
