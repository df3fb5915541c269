#![deny(unsafe_code)]
//! The CPU backend: every operation of [`polychron_core::backend`] on all cores, for `f32` and
//! `f64`.
//!
//! Sequences are stored as `[neuron][time][batch]`. The block of one neuron holds everything that
//! its normalisation and its state need, so a layer runs both in one pass over the neurons.
//! Vector lanes are samples. A delayed projection is a set of matrix products over taps or over
//! frequencies, or a sum over the taps and spikes that matter ([`Algorithm`]).
//!
//! Tasks are neurons, frequencies and chunks of fixed size. Results therefore do not depend on the
//! number of threads: they are equal to the byte.
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
mod models;
mod neuron;
mod norm;
mod ops;
mod projection;
mod raw;
mod readout;
mod recurrent;
mod scratch;
mod sequence;
mod stages;
mod stream;
mod vectors;

pub use algorithm::{Algorithm, Choice, Plan, Work};
pub use backend::{Cpu, Error};
pub use lanes::Lanes;
pub use models::CpuNeuron;
pub use projection::KernelPasses;
pub use sequence::Sequence;
pub use stream::Stream;
pub use vectors::Vectors;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
