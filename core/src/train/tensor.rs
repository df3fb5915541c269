use crate::num::Real;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

/// The groups of tensors. Each is one flat block, with one layer after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Weights `[out, in, count]`.
    Weights,
    /// Delays in steps, in the layout of the weights.
    Delays,
    /// One raw sigma per connection; a schedule sets it.
    Sigma,
    /// Gamma and beta of the norms.
    Norms,
    /// Raw parameters of the neurons, `[P]` or `[P, out]`.
    Neurons,
    /// Running mean and variance of the norms.
    Statistics,
}

impl Group {
    /// The groups with gradients, with their names in checkpoints.
    pub(super) const LEARNED: [(Self, &'static str); 5] = [
        (Self::Weights, "weights"),
        (Self::Delays, "delays"),
        (Self::Sigma, "sigma"),
        (Self::Norms, "norms"),
        (Self::Neurons, "neurons"),
    ];
}

/// A tensor of a network: what its values are and what they may be.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec<R> {
    /// `layer.parameter`, as [`Model::tensors`](super::Model::tensors) lists them.
    pub name: String,
    /// The dimensions, the innermost last.
    pub shape: Vec<usize>,
    /// The group, which decides how the tensor learns.
    pub group: Group,
    /// The smallest and the largest valid value: one entry for all values, or one for each index of
    /// the outermost dimension.
    pub bounds: Vec<Option<(R, R)>>,
    /// The place in the block of the group.
    pub(super) range: Range<usize>,
}

impl<R: Real> TensorSpec<R> {
    /// The bounds of the value with this index.
    #[must_use]
    pub fn bounds_of(&self, index: usize) -> Option<(R, R)> {
        let part = (self.range.len() / self.bounds.len().max(1)).max(1);
        self.bounds.get(index / part).copied().flatten()
    }
}
