#![deny(unsafe_code)]
//! Training of spiking networks with learnable delays on NVIDIA GPUs: the operations of
//! [`polychron_core::backend`] as CUDA kernels, launched through `cust`.
//!
//! Every network that trains on the CPU backend also trains with [`Cuda`], apart from custom models
//! (see below). Delayed projections are products in the frequency domain, in full precision, so
//! that the time hardly depends on the longest delay. Sequences too long for the shared memory of a
//! block are projected tap by tap. A run on the same kind of device with the same driver repeats
//! bit for bit: every sum has a fixed order, and no kernel uses atomics.
//!
//! Programs also start on machines without a GPU: [`Cuda::new`] loads the driver's library and
//! returns [`Error::Unavailable`] with a reason if that fails. It needs compute capability 7.5 and
//! a driver for CUDA 13 (r580).
//!
//! # Building
//!
//! No CUDA toolkit is needed, but `cust` links against `lib64/libcuda.so` in the folder that the
//! variable `CUDA_LIBRARY_PATH` names. Set it to the folder `driver` of this crate, or to a
//! toolkit. Inside this repository `.cargo/config.toml` sets it.
//!
//! ```
//! use polychron_cuda::Cuda;
//!
//! match Cuda::<f32>::new(0) {
//!     Ok(cuda) => println!("{cuda:?}"),
//!     Err(error) => println!("{error}"),
//! }
//! ```
//!
//! # Kernels
//!
//! A kernel is a template over the number type, next to the Rust code that launches it.
//! `kernels.sh` compiles the kernels to the PTX in this crate. The feature `emulator` compiles the
//! same sources for the host, where the conformance suite runs.
//!
//! Custom delay kernels, neurons and surrogates have no CUDA kernel. Using one is a type error,
//! since [`Cuda`] does not implement `HasKernel`, `HasNeuron` or `HasSurrogate` for it:
//!
//! ```compile_fail,E0277
//! use polychron_core::{backend::HasNeuron, neuron::Lif};
//!
//! struct Custom(Lif<f32>);
//! <polychron_cuda::Cuda<f32> as HasNeuron<Custom>>::neuron(Custom(Lif::new(2.0)));
//! ```

mod arguments;
mod backend;
mod device;
mod error;
mod memory;
mod neuron;
mod norm;
mod optim;
mod projection;
mod readout;

pub use backend::{Cuda, Sequence};
pub use device::{Buffer, Number};
pub use error::Error;
pub use projection::{Algorithm, Work, work};

/// The limits of an emulated device.
#[cfg(feature = "emulator")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Emulated {
    /// Memory in bytes; `None` for no limit.
    pub memory: Option<usize>,
    /// The number of kernel launches after which the device is lost; `None` for no limit.
    pub launches: Option<usize>,
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
