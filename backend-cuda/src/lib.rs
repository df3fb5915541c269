#![deny(unsafe_code)]
//! Polychron's backend for NVIDIA GPUs: the operations of [`polychron_core::backend`] as CUDA kernels of its own, launched through
//! `cust`.
//!
//! Everything that trains on the CPU trains here by choosing [`Cuda`]. Delayed projections are products in the frequency domain,
//! in full precision, so that time hardly depends on the longest delay; sequences too long for a block's shared memory are
//! projected tap by tap. Runs repeat bit for bit on one kind of device with one driver, which compiles the kernels: every sum has a
//! fixed order, and no kernel has an atomic.
//!
//! Programs start where there is no GPU: the driver's library is looked for when a [`Cuda`] is made, which fails with
//! [`Error::Unavailable`] and a reason. It needs compute capability 7.5 and a driver for CUDA 13 (r580).
//!
//! To build it, `cust` wants a folder with a `lib64/libcuda.so` and no more of a toolkit: this repository's `.cargo/config.toml` names its own;
//! elsewhere set `CUDA_LIBRARY_PATH` to a toolkit's folder or to `driver` of this crate.
//!
//! ```
//! use polychron_cuda::Cuda;
//!
//! match Cuda::new(0) {
//!     Ok(cuda) => println!("{cuda:?}"),
//!     Err(error) => println!("{error}"),
//! }
//! ```
//!
//! A kernel is a template over the number's type beside the Rust that launches it. `kernels.sh` compiles all into the PTX that is
//! part of the crate; the feature `emulator` compiles the same text for the host, on which the conformance suite runs.
//!
//! Delay kernels, neurons and surrogates of one's own have no kernel here: they are a type error where the type is named, since
//! [`DeviceKernel`], [`DeviceNeuron`] and [`DeviceSurrogate`] are not implemented for them.

mod arguments;
mod backend;
mod device;
mod error;
mod layer;
mod neuron;
mod norm;
mod optim;
mod projection;
mod readout;

pub use backend::{Cuda, Sequence};
pub use device::{Buffer, Number};
pub use error::Error;
pub use neuron::{DeviceNeuron, DeviceSurrogate};
pub use projection::{Algorithm, DeviceKernel, Work, work};

/// What an emulated device has.
#[cfg(feature = "emulator")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Emulated {
    /// Bytes of memory; `None`: as many as there are.
    pub memory: Option<usize>,
    /// Launches of kernels after which the device is lost; `None`: it never is.
    pub launches: Option<usize>,
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
