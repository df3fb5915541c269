//! Losses over the readout's membrane.

use crate::num::Real;

/// How the membrane `v[t]` of the readout becomes one score per class.
///
/// The loss is the cross entropy between the target distribution and the softmax of the scores,
/// averaged over the batch.
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
