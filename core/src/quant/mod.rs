//! From a trained network to a model file: fold, quantize, write.
//!
//! ```text
//! fold        weight = gain scale w, bias = gain offset      v counted from rest
//!             scale = gamma / sqrt(var + epsilon), offset = beta - mean scale
//! quantize    weight / unit, threshold / unit, bias / unit   per neuron: its largest weight is 127
//! to_bytes    the layout of FORMAT.md
//! ```
//! A delay becomes one or two synapses with whole delays, as [`Network::rounding`] says.
//!
//! A unit per hidden neuron costs nothing, because a membrane is compared only with the threshold
//! of its own neuron. The membranes of the readout are compared with each other, so the readout has
//! one unit.
//!
//! [`Network::rounding`]: crate::train::Network::rounding

mod bytes;
mod fold;
mod quantize;
#[cfg(feature = "conformance")]
pub mod reference;
mod spec;

pub use fold::{FoldError, Metadata, fold};
pub use quantize::quantize;
pub use spec::{Decay, LayerSpec, ModelSpec, NeuronSpec, SpecError, SynapseSpec};
