//! From a trained network to a model file.

mod write;

pub use write::{LayerSpec, Leak, NeuronSpec, Scheme, Spec, SpecError, SynapseSpec, write};
