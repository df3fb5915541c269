use crate::delay::Rounding;
use crate::loss::Loss;
use crate::neuron::{Li, NeuronModel};
use crate::norm::BatchNorm;
use crate::num::Real;
use crate::shape::Synapses;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

/// A hidden layer: synapses with delays, batch norm, neurons and dropout.
#[derive(Clone, Debug)]
pub struct HiddenLayer<R, K, N, S> {
    /// The sizes of the synapses.
    pub synapses: Synapses,
    /// The delay kernel used in training.
    pub kernel: K,
    /// The norm between synapses and neurons.
    pub norm: Option<BatchNorm<R>>,
    /// The neuron model.
    pub neuron: N,
    /// The surrogate derivative.
    pub surrogate: S,
    /// The probability that a neuron is silenced for a whole sample.
    pub dropout: f64,
}

/// The last layer: synapses with delays, and one leaky integrator per class.
#[derive(Clone, Debug)]
pub struct ReadoutLayer<R, K> {
    /// The sizes of the synapses.
    pub synapses: Synapses,
    /// The delay kernel used in training.
    pub kernel: K,
    /// The integrator.
    pub readout: Li<R>,
}

/// A feed-forward network.
#[derive(Clone, Debug)]
pub struct Network<R, K, N, S> {
    /// The hidden layers, from the input on.
    pub hidden: Vec<HiddenLayer<R, K, N, S>>,
    /// The readout.
    pub output: ReadoutLayer<R, K>,
    /// The loss, computed from the membranes of the readout.
    pub loss: Loss,
    /// How delays become whole steps.
    pub rounding: Rounding,
}

/// Why a network description is invalid.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NetworkError {
    /// A layer has another number of inputs than the previous layer has outputs.
    Width {
        /// The layer; the readout is the last.
        layer: usize,
        /// The number of outputs of the previous layer.
        expected: usize,
        /// The number of inputs of this layer.
        found: usize,
    },
    /// A layer has no inputs, outputs, taps or kernel elements.
    Empty {
        /// The layer.
        layer: usize,
        /// The field that is zero.
        field: &'static str,
    },
    /// A layer has more weights or taps than [`Network::LARGEST`].
    TooLarge {
        /// The layer.
        layer: usize,
    },
    /// A dropout probability is outside [0, 1).
    Dropout {
        /// The layer.
        layer: usize,
        /// The probability.
        found: f64,
    },
    /// A raw neuron parameter is not finite, because a learned time constant is not above one step.
    Neuron {
        /// The layer.
        layer: usize,
        /// Its index among the raw parameters of the neuron.
        index: usize,
        /// The parameter.
        found: f64,
    },
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Width { layer, expected, found } => {
                write!(
                    f,
                    "layer {layer}: {found} inputs, but the previous layer has {expected} outputs"
                )
            }
            Self::Empty { layer, field } => write!(f, "layer {layer}: {field} is 0"),
            Self::TooLarge { layer } => {
                write!(f, "layer {layer}: there are more than 2^30 weights or taps")
            }
            Self::Dropout { layer, found } => {
                write!(f, "layer {layer}: dropout {found} is not in [0, 1)")
            }
            Self::Neuron { layer, index, found } => write!(
                f,
                "layer {layer}: raw neuron parameter {index} is {found}; a learned time constant is above 1 step"
            ),
        }
    }
}

impl core::error::Error for NetworkError {}

impl<R: Real, K, N: NeuronModel<R>, S> Network<R, K, N, S> {
    /// The largest number of weights, and of taps of the dense kernel, in a layer.
    pub const LARGEST: usize = 1 << 30;

    /// The synapses of every layer, the readout last.
    pub fn synapses(&self) -> impl Iterator<Item = &Synapses> {
        self.hidden.iter().map(|h| &h.synapses).chain([&self.output.synapses])
    }

    /// Checks that sizes are consistent, and that dropout and neuron parameters are in range.
    ///
    /// # Errors
    /// [`NetworkError`] names the first layer that is invalid.
    pub fn check(&self) -> Result<(), NetworkError> {
        let mut before = None;
        for (layer, s) in self.synapses().enumerate() {
            for (field, value) in [
                ("inputs", s.inputs),
                ("outputs", s.outputs),
                ("taps", s.taps),
                ("kernel_count", s.kernel_count),
            ] {
                if value == 0 {
                    return Err(NetworkError::Empty { layer, field });
                }
            }
            let pairs = s.inputs.checked_mul(s.outputs);
            let fits = |per_pair| {
                let all = pairs.and_then(|pairs| pairs.checked_mul(per_pair));
                all.is_some_and(|all| all <= Self::LARGEST)
            };
            if !fits(s.kernel_count) || !fits(s.taps) {
                return Err(NetworkError::TooLarge { layer });
            }
            if let Some(expected) = before.filter(|&expected| expected != s.inputs) {
                return Err(NetworkError::Width { layer, expected, found: s.inputs });
            }
            before = Some(s.outputs);
        }
        for (layer, h) in self.hidden.iter().enumerate() {
            if !(0.0..1.0).contains(&h.dropout) {
                return Err(NetworkError::Dropout { layer, found: h.dropout });
            }
            let mut raw = vec![R::zero(); h.neuron.param_count()];
            h.neuron.write_params(&mut raw);
            if let Some(index) = raw.iter().position(|p| !p.is_finite()) {
                return Err(NetworkError::Neuron { layer, index, found: raw[index].as_f64() });
            }
        }
        Ok(())
    }

    pub(super) fn layout(&self) -> ParameterLayout {
        let mut layout = ParameterLayout { layers: Vec::new(), total: LayerRanges::default() };
        for (l, synapses) in self.synapses().enumerate() {
            let hidden = self.hidden.get(l);
            let normed = hidden.is_some_and(|h| h.norm.is_some());
            let total = &mut layout.total;
            layout.layers.push(LayerRanges {
                synapses: take(&mut total.synapses, synapses.weights()),
                sigma: take(&mut total.sigma, 1),
                norm: take(&mut total.norm, if normed { 2 * synapses.outputs } else { 0 }),
                neuron: take(&mut total.neuron, hidden.map_or(0, |h| h.neuron.param_count())),
            });
        }
        layout
    }
}

/// The ranges of all layers in the parameter blocks.
#[derive(Clone, Debug)]
pub(super) struct ParameterLayout {
    pub(super) layers: Vec<LayerRanges>,
    /// The whole blocks.
    pub(super) total: LayerRanges,
}

/// The ranges of a layer. Weights and delays share one; `[gamma | beta]` and the running `[mean |
/// var]` share another.
#[derive(Clone, Debug, Default)]
pub(super) struct LayerRanges {
    pub(super) synapses: Range<usize>,
    pub(super) sigma: Range<usize>,
    pub(super) norm: Range<usize>,
    pub(super) neuron: Range<usize>,
}

fn take(total: &mut Range<usize>, len: usize) -> Range<usize> {
    let start = total.end;
    total.end += len;
    start..total.end
}
