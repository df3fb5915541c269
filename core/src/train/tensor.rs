use crate::delay::round_delay;
use crate::init::{self, DelayInit};
use crate::num::Real;
use crate::rng::Rng;
use crate::shape::Synapses;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

/// The groups of tensors. Each is one flat block, with one layer after the other.
/// [`Recipe::learning`](super::Recipe::learning) says how a group learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Weights `[out, in, count]`, or packed as their
    /// [`Connectivity`](crate::connectivity::Connectivity) says, and biases `[out]`.
    Weights,
    /// Delays in steps, in the shape of their [`Place`](crate::delay::Place), and the learned
    /// [spreads](super::Connection::spread) in that of theirs.
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

/// A tensor of a network: what its values are, how they start and what they may be.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec<R> {
    /// `layer.parameter`, as [`Model::tensors`](super::Model::tensors) lists them.
    pub name: String,
    /// The layer, the readout last.
    pub layer: usize,
    /// The connection of the layer, the recurrent one last; 0 if the tensor belongs to the whole
    /// layer.
    pub connection: usize,
    /// The dimensions, the innermost last.
    pub shape: Vec<usize>,
    /// The group, which decides how the tensor learns.
    pub group: Group,
    /// The smallest and the largest valid value: one entry for all values, or one for each index of
    /// the outermost dimension.
    pub bounds: Vec<Option<(R, R)>>,
    /// The initial values.
    pub init: Init<R>,
    /// The place in the block of the group.
    pub(super) range: Range<usize>,
}

/// The initial values of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Init<R> {
    /// One number for all values, one for each index of the outermost dimension, or all values.
    Constant(Vec<R>),
    /// [`init::weights`]
    Weights(Synapses, Rng),
    /// [`init::biases`], for neurons with this number of weights.
    Biases(usize, Rng),
    /// [`init::orthogonal`]
    Orthogonal(Synapses, Rng),
    /// [`init::delays`]
    Delays(Synapses, DelayInit, Rng),
    /// [`init::delays`], rounded to whole steps: these delays do not learn.
    FixedDelays(Synapses, DelayInit, Rng),
}

impl<R: Real> TensorSpec<R> {
    /// The bounds of the value with this index.
    #[must_use]
    pub fn bounds_of(&self, index: usize) -> Option<(R, R)> {
        self.bounds.get(index / self.part(self.bounds.len())).copied().flatten()
    }

    /// Writes the initial values.
    pub(super) fn fill(&self, out: &mut [R]) {
        match &self.init {
            Init::Constant(values) => {
                for (out, &value) in out.chunks_mut(self.part(values.len())).zip(values) {
                    out.fill(value);
                }
            }
            Init::Weights(synapses, rng) => init::weights(synapses, *rng, out),
            Init::Biases(fan_in, rng) => init::biases(*fan_in, *rng, out),
            Init::Orthogonal(synapses, rng) => init::orthogonal(synapses, *rng, out),
            Init::Delays(synapses, delays, rng) => init::delays(synapses, *delays, *rng, out),
            Init::FixedDelays(synapses, delays, rng) => {
                init::delays(synapses, *delays, *rng, out);
                for d in out {
                    *d = R::count(round_delay(*d, synapses.taps));
                }
            }
        }
    }

    /// Whether the values never learn: they are fixed delays, or the bounds leave every value a
    /// single number, as those of the delays of a connection of one tap.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        if matches!(self.init, Init::FixedDelays(..)) {
            return true;
        }
        self.bounds.iter().all(|bounds| bounds.is_some_and(|(least, most)| least == most))
    }

    /// The number of values of each of `count` equal parts.
    fn part(&self, count: usize) -> usize {
        (self.range.len() / count.max(1)).max(1)
    }
}
