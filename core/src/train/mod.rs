//! Networks and their training, generic over the backend. This module uses no files, clocks or
//! threads.
//!
//! A [`Network`] describes the layers, a [`Recipe`] how they learn. A [`Model`] is a network with
//! parameters on a backend; it evaluates batches. A [`Trainer`] adds gradients and optimizer state.
//!
//! ```
//! use polychron_core::delay::Gauss;
//! use polychron_core::loss::decide;
//! use polychron_core::neuron::{Li, Lif};
//! use polychron_core::norm::BatchNorm;
//! use polychron_core::reference::Reference;
//! use polychron_core::shape::{Shape, Synapses};
//! use polychron_core::surrogate::Atan;
//! use polychron_core::train::{Batch, Input, Layer, Network, Readout, Recipe, Trainer};
//!
//! // 4 channels, 8 hidden neurons, 2 classes, delays of 0 to 6 steps.
//! let hidden = Layer::new(Synapses::new(4, 8, 7), Gauss, Lif::new(2.0), Atan { alpha: 5.0 });
//! let output = Readout::new(Synapses::new(8, 2, 7), Gauss, Li::new(2.0));
//! let network = Network::chain([hidden.with_norm(BatchNorm::default())], output);
//! let mut trainer = Trainer::new(Reference::new(), network, Recipe::paper(40), 0)?;
//!
//! // 10 steps of 2 samples: channel 0 spikes before channel 1, or after it.
//! let shape = Shape::new(10, 2, 4);
//! let mut x = vec![0.0f32; shape.len()];
//! for (step, sample, channel) in [(2, 0, 0), (5, 0, 1), (2, 1, 1), (5, 1, 0)] {
//!     x[(step * 2 + sample) * 4 + channel] = 1.0;
//! }
//! let targets = [1.0, 0.0, 0.0, 1.0];
//! let batch = Batch { shape, x: Input::Dense(&x), targets: Some(&targets), lengths: None };
//! for _ in 0..40 {
//!     trainer.step(&batch)?;
//!     trainer.finish_epoch()?;
//! }
//! let (scores, _) = trainer.evaluate(&batch)?;
//! assert_eq!([decide(&scores[..2]), decide(&scores[2..])], [0, 1]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod graph;
mod initial;
mod layers;
mod layout;
mod model;
mod network;
mod recipe;
mod recurrent;
mod spread;
mod start;
mod state;
mod tensor;
mod trainer;
mod windows;
mod workspace;

pub use error::{NetworkError, TrainError};
pub use graph::{Edge, Graph, Node};
pub use model::{Batch, Delays, Input, Model, Spikes, Trace};
pub use network::{Connection, Layer, Network, Readout, Recurrence, Source};
pub use recipe::{Learning, Recipe, Sigma};
pub use start::InitialState;
pub use state::{State, StateError, Tensor};
pub use tensor::{Group, Init, TensorSpec};
pub use trainer::{StepReport, Trainer};
