use crate::loss::Loss;
use crate::neuron::{Li, NeuronModel};
use crate::norm::BatchNorm;
use crate::num::Real;
use crate::shape::Synapses;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

/// A hidden layer: delayed projection, batch norm, neurons, dropout.
#[derive(Clone, Debug)]
pub struct HiddenLayer<R, K, N, S> {
    /// Dimensions of the projection.
    pub synapses: Synapses,
    /// Delay kernel used in training.
    pub kernel: K,
    /// Normalisation of the projection's output.
    pub norm: Option<BatchNorm<R>>,
    /// Neuron model.
    pub neuron: N,
    /// Surrogate derivative.
    pub surrogate: S,
    /// Probability that a neuron is silenced for a whole sample.
    pub dropout: f64,
}

/// The last layer: delayed projection and leaky integrators, one a class.
#[derive(Clone, Debug)]
pub struct ReadoutLayer<R, K> {
    /// Dimensions of the projection.
    pub synapses: Synapses,
    /// Delay kernel used in training.
    pub kernel: K,
    /// The integrator.
    pub readout: Li<R>,
}

/// A feed-forward network.
#[derive(Clone, Debug)]
pub struct Network<R, K, N, S> {
    /// Hidden layers, the first one next to the input.
    pub hidden: Vec<HiddenLayer<R, K, N, S>>,
    /// The readout.
    pub output: ReadoutLayer<R, K>,
    /// The loss over the readout's membrane.
    pub loss: Loss,
}

/// A network that cannot be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NetworkError {
    /// A layer's inputs are not the outputs of the one before.
    Width {
        /// The layer, the readout counted last.
        layer: usize,
        /// Outputs of the layer before.
        expected: usize,
        /// Inputs of this layer.
        found: usize,
    },
    /// A layer without inputs, outputs, taps or kernel elements.
    Empty {
        /// The layer.
        layer: usize,
        /// What is 0.
        field: &'static str,
    },
    /// A layer of more weights or taps than [`Network::LARGEST`].
    TooLarge {
        /// The layer.
        layer: usize,
    },
    /// A dropout probability outside [0, 1).
    Dropout {
        /// The layer.
        layer: usize,
        /// The probability.
        found: f64,
    },
    /// A raw neuron parameter that is not finite: a learned time constant that is not above one step.
    Neuron {
        /// The layer.
        layer: usize,
        /// Its place among the neuron's raw parameters.
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
                    "layer {layer}: {found} inputs, but the layer before has {expected} outputs"
                )
            }
            Self::Empty { layer, field } => write!(f, "layer {layer}: {field} is 0"),
            Self::TooLarge { layer } => {
                write!(f, "layer {layer}: more than 2^30 weights or taps")
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
    /// Most weights, and most taps of the dense kernel, that a layer may have.
    pub const LARGEST: usize = 1 << 30;

    /// The projections, the readout's last.
    pub fn synapses(&self) -> impl Iterator<Item = &Synapses> {
        self.hidden.iter().map(|h| &h.synapses).chain([&self.output.synapses])
    }

    /// Checks that the layers fit and that neurons can learn.
    ///
    /// # Errors
    /// [`NetworkError`] names the first layer that does not.
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

/// Where each layer's parameters lie in the flat buffers.
#[derive(Clone, Debug)]
pub(super) struct ParameterLayout {
    pub(super) layers: Vec<LayerRanges>,
    /// The whole buffers.
    pub(super) total: LayerRanges,
}

/// A layer's ranges: weights and delays share one, `[gamma | beta]` and the running `[mean | var]` another.
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
