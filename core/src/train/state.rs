use super::model::layer_name;
use super::network::Network;
use crate::neuron::NeuronModel;
use crate::num::Real;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A named array of numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<R> {
    /// `layer.parameter`; [`Model::tensors`](super::Model::tensors) lists the names.
    pub name: String,
    /// The dimensions, the innermost last.
    pub shape: Vec<usize>,
    /// The values.
    pub values: Vec<R>,
}

/// Everything that training changes: the contents of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct State<R> {
    /// Parameters, running statistics and, for a trainer, Adam's moments.
    pub tensors: Vec<Tensor<R>>,
    /// The number of finished epochs.
    pub epoch: u64,
    /// The number of optimizer steps.
    pub step: u64,
    /// The seed of all random numbers.
    pub seed: u64,
}

impl<R: Real> State<R> {
    /// Checks that the weights of every layer exist in the shapes of a network. A model of the
    /// network then takes memory in proportion to this state.
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

/// Why a state does not belong to a network.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum StateError {
    /// A tensor is missing.
    Missing {
        /// Its name.
        name: String,
    },
    /// A tensor has another shape.
    Shape {
        /// Its name.
        name: String,
        /// The shape that the network needs.
        expected: Vec<usize>,
        /// The shape of the tensor.
        found: Vec<usize>,
    },
    /// A tensor holds a NaN or an infinity.
    NotFinite {
        /// Its name.
        name: String,
        /// The index of the first such value.
        index: usize,
    },
    /// A tensor holds a value that is out of range.
    Outside {
        /// Its name.
        name: String,
        /// The index of the first such value.
        index: usize,
        /// The value. The smallest valid one is 0.
        found: f64,
        /// The largest valid value.
        most: f64,
    },
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name } => write!(f, "tensor {name} is missing"),
            Self::Shape { name, expected, found } => {
                write!(f, "tensor {name} has shape {found:?}; the network needs {expected:?}")
            }
            Self::NotFinite { name, index } => write!(f, "tensor {name}[{index}] is not finite"),
            Self::Outside { name, index, found, most } => {
                write!(f, "tensor {name}[{index}] is {found}, not between 0 and {most}")
            }
        }
    }
}

impl core::error::Error for StateError {}

/// Reads the tensors of one layer.
pub(super) struct TensorReader<'a, R> {
    pub(super) state: &'a State<R>,
    pub(super) layer: String,
}

impl<'a, R: Real> TensorReader<'a, R> {
    /// Copies a tensor. A tensor without values need not exist.
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

    /// The tensor with this name, shape and number of values.
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

    /// Checks that the values of a tensor are from 0 to `most`.
    pub(super) fn within(&self, name: &str, values: &[R], most: R) -> Result<(), StateError> {
        let Some(index) = values.iter().position(|&v| v < R::zero() || v > most) else {
            return Ok(());
        };
        let name = alloc::format!("{}.{name}", self.layer);
        Err(StateError::Outside { name, index, found: values[index].as_f64(), most: most.as_f64() })
    }
}
