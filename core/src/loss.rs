//! Losses over the readout's membrane, and a penalty for the rates of hidden neurons.

use crate::norm::ValidSteps;
use crate::num::{Real, logistic};
use crate::shape::Shape;
use core::fmt::Debug;

/// How the membrane `v[t]` of the readout becomes one score per class.
///
/// The loss is that of an [`Objective`], averaged over the batch: by default the cross entropy
/// between the target distribution and the softmax of the scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// `score = sum_t softmax(v[t])`, as in the paper.
    SoftmaxSum,
    /// `score = mean_t v[t]`
    Mean,
    /// `score = max_t v[t]`; ties go to the first.
    Max,
    /// `score = sum_t v[t]`
    MembraneSum,
}

impl Loss {
    /// Every loss with its name in configurations.
    pub const ALL: [(&'static str, Self); 4] = [
        ("softmax_sum", Self::SoftmaxSum),
        ("mean", Self::Mean),
        ("max", Self::Max),
        ("membrane_sum", Self::MembraneSum),
    ];

    /// The loss of a name; `None` if the name is unknown.
    ///
    /// `sum` and `spike_count`, the names of the reference implementation, are aliases of
    /// `softmax_sum` and `membrane_sum`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let name = match name {
            "sum" => "softmax_sum",
            "spike_count" => "membrane_sum",
            name => name,
        };
        Self::ALL.iter().find(|(n, _)| *n == name).map(|&(_, loss)| loss)
    }

    /// The name in [`Loss::ALL`].
    #[must_use]
    pub fn name(&self) -> &'static str {
        Self::ALL.iter().find(|(_, loss)| loss == self).map_or("", |(name, _)| name)
    }
}

/// A loss of the scores of one sample.
///
/// `gradient` has one value per score, like `scores` and `target`, and receives the derivatives by
/// the scores. `gradcheck` compares them with difference quotients.
pub trait Objective<R: Real>: Debug + Send + Sync {
    /// The loss. Writes its gradient by the scores.
    fn loss(&self, scores: &[R], target: &[R], gradient: &mut [R]) -> R;
}

/// [`cross_entropy`] as an [`Objective`]: the target is a distribution over the classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrossEntropy;

/// The sum of the squares of the differences of scores and targets, divided by the number of
/// scores: for regression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeanSquare;

/// The sum of the cross entropies of a logistic function of every score with its target from 0 to
/// 1: for samples with several labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BinaryCrossEntropy;

impl<R: Real> Objective<R> for CrossEntropy {
    fn loss(&self, scores: &[R], target: &[R], gradient: &mut [R]) -> R {
        cross_entropy(scores, target, gradient)
    }
}

impl<R: Real> Objective<R> for MeanSquare {
    fn loss(&self, scores: &[R], target: &[R], gradient: &mut [R]) -> R {
        let share = R::one() / R::count(scores.len().max(1));
        let mut loss = R::zero();
        for ((&s, &y), g) in scores.iter().zip(target).zip(gradient) {
            loss += share * (s - y) * (s - y);
            *g = share * (s - y) * R::of(2.0);
        }
        loss
    }
}

impl<R: Real> Objective<R> for BinaryCrossEntropy {
    fn loss(&self, scores: &[R], target: &[R], gradient: &mut [R]) -> R {
        let mut loss = R::zero();
        for ((&s, &y), g) in scores.iter().zip(target).zip(gradient) {
            // log(1 + e^s) - y s, without overflow
            loss += s.max(R::zero()) + (R::one() + (-s.abs()).exp()).ln() - y * s;
            *g = logistic(s) - y;
        }
        loss
    }
}

/// Every objective with its name in configurations.
#[must_use]
pub fn objectives<R: Real>() -> [(&'static str, &'static dyn Objective<R>); 3] {
    [
        ("cross_entropy", &CrossEntropy),
        ("mean_square", &MeanSquare),
        ("binary_cross_entropy", &BinaryCrossEntropy),
    ]
}

/// Neurons whose rates are summed together.
const GROUP: usize = 64;

/// A penalty for hidden neurons that spike too seldom or too often.
///
/// ```text
/// penalty = weight sum over neurons (max(0, low - r)^2 + max(0, r - high)^2)
/// ```
/// The rate `r` of a neuron is the mean of its output over the valid steps of a batch.
///
/// Source: Bittar and Garner, *A surrogate gradient spiking baseline for speech command
/// recognition* (Frontiers in Neuroscience, 2022), with squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatePenalty {
    /// The weight of the penalty in the loss.
    pub weight: f64,
    /// The lowest rate without a penalty, in spikes per step.
    pub low: f64,
    /// The highest rate without a penalty, in spikes per step.
    pub high: f64,
}

impl RatePenalty {
    /// The penalty for the output `spikes` `[time, batch, width]` of a layer. Adds its gradient to
    /// `gradient`, which has the same shape.
    pub fn add_gradient<R: Real>(
        &self,
        valid: ValidSteps<'_>,
        shape: Shape,
        spikes: &[R],
        gradient: &mut [R],
    ) -> R {
        let Shape { steps, batch, width } = shape;
        let count = valid.count(steps, batch).max(1) as f64;
        let rows =
            || (0..batch).flat_map(|b| (0..valid.steps(b, steps)).map(move |t| shape.at(t, b, 0)));
        let mut sum = 0.0;
        // A group of neurons at a time, because the sums of a whole layer need memory.
        for first in (0..width).step_by(GROUP) {
            let len = GROUP.min(width - first);
            let mut slopes = [0.0; GROUP];
            for at in rows() {
                let spikes = spikes.get(at + first..at + first + len).unwrap_or_default();
                spikes.iter().zip(&mut slopes).for_each(|(s, sum)| *sum += s.as_f64());
            }
            for slope in &mut slopes[..len] {
                let (value, by_rate) = self.of_rate(*slope / count);
                sum += value;
                *slope = by_rate / count;
            }
            for at in rows() {
                let d = gradient.get_mut(at + first..at + first + len).unwrap_or_default();
                d.iter_mut().zip(&slopes).for_each(|(d, &slope)| *d += R::of(slope));
            }
        }
        R::of(sum)
    }

    /// The penalty for a neuron of rate `r`, and its derivative by `r`.
    #[must_use]
    pub fn of_rate(&self, r: f64) -> (f64, f64) {
        let beyond = if r < self.low { r - self.low } else { (r - self.high).max(0.0) };
        (self.weight * beyond * beyond, 2.0 * self.weight * beyond)
    }
}

/// Replaces logits by their softmax, without overflow.
pub fn softmax<R: Real>(x: &mut [R]) {
    let top = x.iter().copied().fold(R::neg_infinity(), R::max);
    for x in x.iter_mut() {
        *x = (*x - top).exp();
    }
    let sum: R = x.iter().copied().sum();
    for x in x {
        *x /= sum;
    }
}

/// The cross entropy between `target` and the softmax of `scores`. Writes the gradient by the
/// scores, which is not divided by the batch size.
pub fn cross_entropy<R: Real>(scores: &[R], target: &[R], gradient: &mut [R]) -> R {
    let top = scores.iter().copied().fold(R::neg_infinity(), R::max);
    let total: R = scores.iter().map(|&s| (s - top).exp()).sum();
    let mass: R = target.iter().copied().sum();
    let mut loss = R::zero();
    for ((&s, &y), g) in scores.iter().zip(target).zip(gradient) {
        loss += y * (total.ln() - (s - top));
        *g = mass * (s - top).exp() / total - y;
    }
    loss
}

/// The class with the highest score; the first one if several are equal.
///
/// ```
/// assert_eq!(polychron_core::loss::decide(&[0.1, 0.7, 0.7]), 1);
/// ```
#[must_use]
pub fn decide<R: Real>(scores: &[R]) -> usize {
    let mut best = 0;
    for (class, &score) in scores.iter().enumerate() {
        if score > scores[best] {
            best = class;
        }
    }
    best
}
