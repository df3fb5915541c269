#![no_std]
#![forbid(unsafe_code)]
//! Spiking neural networks whose synapses have learnable delays.
//!
//! A synapse has a weight and a delay; between two layers the weighted, delayed spikes are a convolution over time with
//! one tap per synapse. To learn the delay by gradient descent the tap is spread into a narrow bump whose width shrinks while
//! training; afterwards every delay is a whole number of steps again. The method is DCLS-Delays (Hammouamri, Khalfaoui-Hassani,
//! Masquelier, *Learning delays in spiking neural networks using dilated convolutions with learnable spacings*, ICLR 2024).
//!
//! This crate needs neither `std` nor, without features, an allocator. From the ground up:
//!
//! * [`num`], [`shape`], [`rng`]: numbers, shapes, a counter-based generator;
//! * [`delay`], [`surrogate`], [`neuron`]: the three traits a model is made of, with the models of the field;
//! * [`norm`], [`loss`], [`optim`], [`schedule`], [`init`]: the rest of the recipe;
//! * [`gradcheck`]: difference quotients to hold gradients against.
//!
//! With feature `alloc`:
//!
//! * `reference`: every stage as plain loops, the oracle;
//! * `backend`: the boundary between model and machine;
//! * `train`: networks and the trainer, generic over the backend.
//!
//! With feature `conformance` also the suite of laws that every backend has to keep.
//!
//! ```
//! use polychron_core::delay::{DelayKernel, Gauss};
//! let mut taps = [0.0f64; 9];
//! Gauss.taps(3.0, 0.23, &mut taps);
//! assert!((taps.iter().sum::<f64>() - 1.0).abs() < 1e-6);
//! assert!(taps[3] > taps[2] && taps[2] == taps[4]);
//! ```

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

#[cfg(feature = "alloc")]
pub mod backend;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod delay;
pub mod format;
pub mod gradcheck;
pub mod infer;
pub mod init;
pub mod loss;
pub mod neuron;
pub mod norm;
pub mod num;
pub mod optim;
#[cfg(feature = "alloc")]
pub mod quant;
#[cfg(feature = "alloc")]
pub mod reference;
pub mod rng;
pub mod schedule;
pub mod shape;
pub mod surrogate;
#[cfg(feature = "alloc")]
pub mod train;
