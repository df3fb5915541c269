//! Networks and their training, generic over the backend. This module uses no files, clocks or
//! threads.
//!
//! A [`Network`] describes the layers, a [`Recipe`] how they learn. A [`Model`] is a network with
//! parameters on a backend; it evaluates batches. A [`Trainer`] adds gradients and optimizer state.

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
