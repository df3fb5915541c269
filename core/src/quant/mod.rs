//! From a trained network to a model file: fold, quantize, write.
//!
//! ```text
//! fold        weight = gain scale w, bias = gain offset             delays rounded, membranes counted from their rest
//!             scale = gamma / sqrt(var + epsilon), offset = beta - mean scale
//! quantize    weight / unit, threshold / unit, bias / unit          a neuron's own unit: its largest weight is 127
//! write       the layout of core/FORMAT.md
//! ```
//! A hidden neuron's unit costs nothing, for only its own threshold is held against its membrane; the readout, whose membranes are
//! held against each other, has one unit.

mod fold;
mod quantize;
mod write;

pub use fold::{About, FoldError, fold};
pub use quantize::quantize;
pub use write::{Decay, LayerSpec, NeuronSpec, Spec, SpecError, SynapseSpec, write};
