use super::state::StateError;
use crate::shape::ShapeError;
use core::fmt;

/// Why training stopped.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TrainError<E> {
    /// The backend failed.
    Backend(E),
    /// The network description is invalid.
    Network(NetworkError),
    /// The state does not belong to this network.
    State(StateError),
    /// The loss, a running statistic, a gradient, an updated parameter or its moment is not finite.
    /// Restore an earlier state.
    Diverged {
        /// The epoch, counted from 0.
        epoch: u64,
        /// The step of the whole training, counted from 0.
        step: u64,
    },
}

impl<E: fmt::Display> fmt::Display for TrainError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(e) => e.fmt(f),
            Self::Network(e) => e.fmt(f),
            Self::State(e) => e.fmt(f),
            Self::Diverged { epoch, step } => {
                write!(
                    f,
                    "the training diverged in epoch {epoch}, step {step}: \
                     a loss, statistic, gradient, parameter or moment is not finite"
                )
            }
        }
    }
}

impl<E: core::error::Error> core::error::Error for TrainError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Backend(error) => error.source(),
            Self::Network(error) => error.source(),
            Self::State(error) => error.source(),
            Self::Diverged { .. } => None,
        }
    }
}

impl<E: From<ShapeError>> From<E> for TrainError<E> {
    fn from(error: E) -> Self {
        Self::Backend(error)
    }
}

/// Why a network description is invalid.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NetworkError {
    /// A connection has another number of inputs than its source has neurons.
    Width {
        /// The layer; the readout is the last.
        layer: usize,
        /// The number of neurons of the source.
        expected: usize,
        /// The number of inputs of the connection.
        found: usize,
    },
    /// The connections of a layer have different numbers of outputs.
    Outputs {
        /// The layer.
        layer: usize,
        /// The number of outputs of its first connection.
        expected: usize,
        /// The number of outputs of another connection.
        found: usize,
    },
    /// The recurrence of a layer connects another number of neurons.
    Recurrence {
        /// The layer.
        layer: usize,
        /// The number of neurons of the layer.
        expected: usize,
        /// The number of inputs or outputs of the recurrence.
        found: usize,
    },
    /// A connection has a connectivity of other sizes.
    Connectivity {
        /// The layer.
        layer: usize,
        /// The numbers of inputs and outputs of the connection.
        expected: [usize; 2],
        /// Those of the connectivity.
        found: [usize; 2],
    },
    /// A recurrence has a connectivity; recurrences are dense.
    RecurrentConnectivity {
        /// The layer.
        layer: usize,
    },
    /// A connection comes from a layer that is not before this layer.
    Order {
        /// The layer.
        layer: usize,
        /// The source.
        from: usize,
    },
    /// The output of a hidden layer reaches no other layer.
    Unused {
        /// The layer.
        layer: usize,
    },
    /// A layer has no connections, inputs, outputs, taps or kernel elements.
    Empty {
        /// The layer.
        layer: usize,
        /// The field that is zero.
        field: &'static str,
    },
    /// A connection has more weights or taps than [`Network::LARGEST`](super::Network::LARGEST).
    TooLarge {
        /// The layer.
        layer: usize,
    },
    /// A layer has a norm and biases.
    Bias {
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
    /// There are not as many initial raw parameters as the neurons of a layer have.
    Initial {
        /// The layer.
        layer: usize,
        /// The number that the neurons have.
        expected: usize,
        /// The number of [`Layer::initial`](super::Layer::initial).
        found: usize,
    },
    /// A raw neuron parameter is outside its bounds.
    NeuronBounds {
        /// The layer.
        layer: usize,
        /// Its index among the raw parameters of the neuron.
        index: usize,
        /// The parameter.
        found: f64,
        /// The smallest valid value.
        least: f64,
        /// The largest valid value.
        most: f64,
    },
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Width { layer, expected, found } => {
                write!(f, "layer {layer}: {found} inputs, but their source has {expected} outputs")
            }
            Self::Outputs { layer, expected, found } => write!(
                f,
                "layer {layer}: a connection has {found} outputs, but the first one has {expected}"
            ),
            Self::Recurrence { layer, expected, found } => write!(
                f,
                "layer {layer}: the recurrence connects {found} neurons, but the layer has \
                 {expected}"
            ),
            Self::Connectivity { layer, expected: [inputs, outputs], found } => write!(
                f,
                "layer {layer}: a connectivity has {} inputs and {} outputs, but its connection \
                 has {inputs} and {outputs}",
                found[0], found[1]
            ),
            Self::RecurrentConnectivity { layer } => {
                write!(
                    f,
                    "layer {layer}: a recurrence connects all neurons; remove its connectivity"
                )
            }
            Self::Order { layer, from } if layer == from => write!(
                f,
                "layer {layer}: a connection comes from the layer itself; use its recurrence"
            ),
            Self::Order { layer, from } => write!(
                f,
                "layer {layer}: a connection comes from layer {from}; it must come from an earlier \
                 layer"
            ),
            Self::Unused { layer } => {
                write!(f, "layer {layer}: its output reaches no other layer; connect or remove it")
            }
            Self::Empty { layer, field } => write!(f, "layer {layer}: {field} is 0"),
            Self::TooLarge { layer } => {
                write!(f, "layer {layer}: there are more than 2^30 weights or taps")
            }
            Self::Bias { layer } => {
                write!(f, "layer {layer}: bias and norm exclude each other; the norm has a bias")
            }
            Self::Dropout { layer, found } => {
                write!(f, "layer {layer}: dropout {found} is not in [0, 1)")
            }
            Self::Neuron { layer, index, found } => write!(
                f,
                "layer {layer}: raw neuron parameter {index} is {found}; a learned time constant \
                 is above 1 step"
            ),
            Self::Initial { layer, expected, found } => write!(
                f,
                "layer {layer}: there are {found} initial raw neuron parameters, not {expected}"
            ),
            Self::NeuronBounds { layer, index, found, least, most } => write!(
                f,
                "layer {layer}: raw neuron parameter {index} is {found}, not between {least} and \
                 {most}"
            ),
        }
    }
}

impl core::error::Error for NetworkError {}
