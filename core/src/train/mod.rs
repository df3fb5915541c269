//! Networks and their training, generic over the backend. No files, no clock, no threads here.
//!
//! A [`Network`] says what there is, a [`Recipe`] how it learns. A [`Model`] is a network with parameters on a
//! backend: it evaluates. A [`Trainer`] adds gradients and optimizer state.

mod error;
mod model;
mod network;
mod state;
mod trainer;

pub use error::TrainError;
pub use model::{Batch, Delays, Model, Spikes};
pub use network::{HiddenLayer, Network, NetworkError, ReadoutLayer};
pub use state::{State, StateError, Tensor};
pub use trainer::{Recipe, Sigma, StepReport, Trainer};
