use super::graph::Graph;
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
    /// Parameters, running statistics and, for a trainer, the moments of the optimizer.
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
    pub fn fits(&self, graph: &Graph) -> Result<(), StateError> {
        for (l, node) in graph.nodes.iter().enumerate() {
            for (c, edge) in node.connections().enumerate() {
                let name = alloc::format!("{}.weight", graph.connection_name(l, c));
                let shape = edge.packed().shape(&edge.synapses);
                self.find(&name, &shape, shape.iter().fold(1, |n, &m| n.saturating_mul(m)))?;
            }
        }
        Ok(())
    }

    /// Copies a tensor whose values are within the bounds of their index.
    pub(super) fn read(
        &self,
        name: &str,
        shape: &[usize],
        bounds: impl Fn(usize) -> Option<(R, R)>,
        out: &mut [R],
    ) -> Result<(), StateError> {
        let tensor = self.find(name, shape, out.len())?;
        let name = || name.into();
        if let Some(index) = tensor.values.iter().position(|v| !v.is_finite()) {
            return Err(StateError::NotFinite { name: name(), index });
        }
        for (index, &found) in tensor.values.iter().enumerate() {
            let Some((least, most)) = bounds(index) else { continue };
            if found < least || found > most {
                let [found, least, most] = [found, least, most].map(Real::as_f64);
                return Err(StateError::Outside { name: name(), index, found, least, most });
            }
        }
        out.copy_from_slice(&tensor.values);
        Ok(())
    }

    /// The tensor with this name, shape and number of values.
    fn find(&self, name: &str, shape: &[usize], len: usize) -> Result<&Tensor<R>, StateError> {
        let name = String::from(name);
        let Some(tensor) = self.tensors.iter().find(|t| t.name == name) else {
            return Err(StateError::Missing { name });
        };
        if tensor.shape != shape || tensor.values.len() != len {
            let (expected, found) = (shape.to_vec(), tensor.shape.clone());
            return Err(StateError::Shape { name, expected, found });
        }
        Ok(tensor)
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
        /// The value.
        found: f64,
        /// The smallest valid value.
        least: f64,
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
            Self::Outside { name, index, found, least, most } => {
                write!(f, "tensor {name}[{index}] is {found}, not between {least} and {most}")
            }
        }
    }
}

impl core::error::Error for StateError {}
