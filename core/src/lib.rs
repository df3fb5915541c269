#![no_std]
#![forbid(unsafe_code)]
//! Spiking neural networks whose synapses have learnable delays.
#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "alloc")]
pub mod backend;
pub mod delay;
pub mod init;
pub mod loss;
pub mod neuron;
pub mod norm;
pub mod num;
pub mod optim;
#[cfg(feature = "alloc")]
pub mod reference;
pub mod rng;
pub mod schedule;
pub mod shape;
pub mod surrogate;
#[cfg(feature = "alloc")]
pub mod train;
