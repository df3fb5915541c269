use super::model::layer_name;
use super::network::Network;
use crate::neuron::NeuronModel;
use crate::num::Real;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A named block of numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<R> {
    /// `layer.parameter`, as [`Model::tensors`](super::Model::tensors) lists them.
    pub name: String,
    /// Dimensions, the last innermost.
    pub shape: Vec<usize>,
    /// Numbers.
    pub values: Vec<R>,
}

/// Everything that training has changed: a checkpoint without its file.
#[derive(Clone, Debug, PartialEq)]
pub struct State<R> {
    /// Parameters, running statistics and, for a trainer, Adam's moments.
    pub tensors: Vec<Tensor<R>>,
    /// Epochs finished.
    pub epoch: u64,
    /// Optimizer steps taken.
    pub step: u64,
    /// The seed of every draw.
    pub seed: u64,
}

impl<R: Real> State<R> {
    /// Checks that every layer's weights are here in a network's shapes: then a model of the network takes memory in
    /// proportion to this state.
    ///
    /// # Errors
    /// [`StateError::Missing`] or [`StateError::Shape`] names the tensor.
    pub fn fits<K, N: NeuronModel<R>, S>(
        &self,
        network: &Network<R, K, N, S>,
    ) -> Result<(), StateError> {
        let hidden = network.hidden.len();
        for (l, synapses) in network.synapses().enumerate() {
            let from = TensorReader { state: self, layer: layer_name(l, hidden) };
            let shape = [synapses.outputs, synapses.inputs, synapses.kernel_count];
            from.find("weight", &shape, shape.iter().fold(1, |n, &m| n.saturating_mul(m)))?;
        }
        Ok(())
    }
}

/// A state that is not of this network.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum StateError {
    /// A tensor is not there.
    Missing {
        /// Its name.
        name: String,
    },
    /// A tensor has another shape.
    Shape {
        /// Its name.
        name: String,
        /// The shape this network needs.
        expected: Vec<usize>,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// A tensor holds a NaN or an infinity.
    NotFinite {
        /// Its name.
        name: String,
        /// The first such place.
        index: usize,
    },
    /// A tensor holds a number that is too small or too large for what it stands for.
    Outside {
        /// Its name.
        name: String,
        /// The first such place.
        index: usize,
        /// The number there; the least is 0.
        found: f64,
        /// The greatest that may be.
        most: f64,
    },
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name } => write!(f, "tensor {name} is missing"),
            Self::Shape { name, expected, found } => {
                write!(f, "tensor {name} has shape {found:?}, this network needs {expected:?}")
            }
            Self::NotFinite { name, index } => write!(f, "tensor {name}[{index}] is not finite"),
            Self::Outside { name, index, found, most } => {
                write!(f, "tensor {name}[{index}] is {found}, not between 0 and {most}")
            }
        }
    }
}

impl core::error::Error for StateError {}

/// Reads one layer's tensors.
pub(super) struct TensorReader<'a, R> {
    pub(super) state: &'a State<R>,
    pub(super) layer: String,
}

impl<'a, R: Real> TensorReader<'a, R> {
    /// Copies a tensor; one that would be empty need not be there.
    pub(super) fn read(
        &self,
        name: &str,
        shape: &[usize],
        out: &mut [R],
    ) -> Result<(), StateError> {
        if out.is_empty() {
            return Ok(());
        }
        let tensor = self.find(name, shape, out.len())?;
        if let Some(index) = tensor.values.iter().position(|v| !v.is_finite()) {
            return Err(StateError::NotFinite { name: tensor.name.clone(), index });
        }
        out.copy_from_slice(&tensor.values);
        Ok(())
    }

    /// The tensor of that shape, of `len` numbers.
    fn find(&self, name: &str, shape: &[usize], len: usize) -> Result<&'a Tensor<R>, StateError> {
        let name = alloc::format!("{}.{name}", self.layer);
        let Some(tensor) = self.state.tensors.iter().find(|t| t.name == name) else {
            return Err(StateError::Missing { name });
        };
        if tensor.shape != shape || tensor.values.len() != len {
            let (expected, found) = (shape.to_vec(), tensor.shape.clone());
            return Err(StateError::Shape { name, expected, found });
        }
        Ok(tensor)
    }

    /// Checks the numbers of a tensor that has been read: from 0 to `most`.
    pub(super) fn within(&self, name: &str, values: &[R], most: R) -> Result<(), StateError> {
        let Some(index) = values.iter().position(|&v| v < R::zero() || v > most) else {
            return Ok(());
        };
        let name = alloc::format!("{}.{name}", self.layer);
        Err(StateError::Outside { name, index, found: values[index].as_f64(), most: most.as_f64() })
    }
}
