#![deny(unsafe_code)]
//! The CPU backend: every operation of [`polychron_core::backend`] on all cores, for `f32` and `f64`.
//!
//! A sequence lies as `[neuron][time][batch]`, batch innermost. A neuron's block holds everything that its
//! normalisation and its states need, so these run neuron by neuron in one pass; vector lanes are samples.
//! Delayed projections are matrix products, over taps or over frequencies, or sums over the few taps and spikes that
//! matter ([`Algorithm`]).
//!
//! Work is divided by neurons, frequencies and fixed chunks, never by the number of threads: results are the same
//! bytes for any number of threads.
//!
//! ```
//! use polychron_core::backend::Backend;
//! use polychron_core::shape::Shape;
//! use polychron_cpu::{Cpu, Sequence};
//! let cpu = Cpu::new(2)?;
//! let mut x: Sequence<f32> = cpu.sequence(Shape::new(1, 2, 1))?;
//! cpu.upload_sequence(&[0.5, 1.5], &mut x)?;
//! # Ok::<(), polychron_cpu::Error>(())
//! ```

mod algorithm;
mod backend;
mod lanes;
mod layer;
mod neuron;
mod norm;
mod projection;
mod raw;
mod readout;
mod scratch;
mod sequence;
mod stages;
mod stream;
mod vectors;

pub use algorithm::{Algorithm, Choice, Plan, Work};
pub use backend::{Cpu, Error};
pub use lanes::Lanes;
pub use sequence::Sequence;
pub use stream::Stream;
pub use vectors::Vectors;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
