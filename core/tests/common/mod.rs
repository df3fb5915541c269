//! The golden files, and how they are compared.
//!
//! `golden/README.md` has their equations. The files count positions P from the centre of a kernel
//! of K taps, and tap 0 has the longest delay. Here a delay is `(K - 1) - K / 2 - P` steps, and tap
//! j delays by j. So kernels are read in reverse, and gradients by position with the opposite sign.
// The backends' tests use a part of it.
#![allow(dead_code)]

pub(crate) mod network;

use polychron_core::num::Real;
use safetensors::{Dtype, SafeTensors};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// A part of the library with its own tolerances in `f32`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stage {
    Kernel,
    Projection,
    Neuron,
    Loss,
    Network,
    Optimizer,
    /// A gradient shared by a whole layer, whose terms cancel.
    Shared,
}

/// The errors that [`check`] allows for values and gradients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tolerance {
    pub(crate) value: f64,
    pub(crate) gradient: f64,
}

/// In `f64` the precision of the files; in `f32` about four times the error of the reference.
pub(crate) fn tolerance<R: Real>(stage: Stage) -> Tolerance {
    let (value, gradient) = match (R::NAME, stage) {
        ("f64", _) => (1e-10, 1e-9),
        (_, Stage::Kernel) => (3e-6, 1.2e-5),
        (_, Stage::Projection) => (1e-6, 2e-6),
        (_, Stage::Neuron) => (4e-7, 5e-6),
        (_, Stage::Loss) => (4e-7, 2e-6),
        (_, Stage::Network) => (2e-6, 2e-5),
        (_, Stage::Optimizer) => (6e-6, 6e-5),
        (_, Stage::Shared) => (4e-7, 1.2e-4),
    };
    Tolerance { value, gradient }
}

/// Asserts that every number is within `tolerance` of the golden number, relative to the largest
/// magnitude of the tensor.
#[track_caller]
pub(crate) fn check<R: Real>(name: &str, got: &[R], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{name}: length");
    let allowed = tolerance * want.iter().fold(0.0f64, |top, w| top.max(w.abs()));
    for (at, (got, &want)) in got.iter().zip(want).enumerate() {
        let error = (got.as_f64() - want).abs();
        assert!(
            error <= allowed,
            "{name}[{at}]: {got}, not {want} (off by {error:e}, allowed {allowed:e})"
        );
    }
}

macro_rules! files {
    ($($name:literal),*) => {
        fn file(name: &str) -> &'static [u8] {
            match name {
                $($name => include_bytes!(concat!("../golden/", $name, ".safetensors")),)*
                _ => panic!("no golden file {name}"),
            }
        }
    };
}

files!(
    "dcls_kernel_v1",
    "dcls_kernel_max",
    "dcls_kernel_gauss",
    "dcls_conv",
    "lif",
    "loss",
    "network",
    "train_steps",
    "schedules"
);

/// A golden file, which records the tensors that were read.
pub(crate) struct Golden {
    tensors: SafeTensors<'static>,
    /// The case parameters.
    pub(crate) meta: serde_json::Value,
    read: RefCell<BTreeSet<String>>,
}

impl Golden {
    pub(crate) fn open(name: &str) -> Self {
        let bytes = file(name);
        let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
        let json = &header.metadata().as_ref().unwrap()["json"];
        Self {
            tensors: SafeTensors::deserialize(bytes).unwrap(),
            meta: serde_json::from_str(json).unwrap(),
            read: RefCell::default(),
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }

    pub(crate) fn shape(&self, name: &str) -> Vec<usize> {
        self.tensors.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}")).shape().to_vec()
    }

    pub(crate) fn f64s(&self, name: &str) -> Vec<f64> {
        self.read.borrow_mut().insert(name.into());
        let tensor = self.tensors.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let bytes = tensor.data();
        match tensor.dtype() {
            Dtype::F64 => bytes.chunks_exact(8).map(f64::read_le).collect(),
            Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::read_le(b).as_f64()).collect(),
            Dtype::I64 => {
                let eight = bytes.chunks_exact(8).map(|b| b.try_into().unwrap());
                eight.map(|b| i64::from_le_bytes(b) as f64).collect()
            }
            other => panic!("{name}: {other:?}"),
        }
    }

    pub(crate) fn reals<R: Real>(&self, name: &str) -> Vec<R> {
        reals(&self.f64s(name))
    }

    /// Positions, converted to delays.
    pub(crate) fn delays<R: Real>(&self, name: &str, taps: usize) -> Vec<R> {
        self.f64s(name).into_iter().map(|p| R::of((taps - 1 - taps / 2) as f64 - p)).collect()
    }

    /// A gradient by positions, converted to a gradient by delays.
    pub(crate) fn by_delay(&self, name: &str) -> Vec<f64> {
        self.f64s(name).into_iter().map(|p| -p).collect()
    }

    /// Dense kernels `[out, in, K]`, tap j delaying by j.
    pub(crate) fn dense(&self, name: &str) -> Vec<f64> {
        let (mut dense, shape) = (self.f64s(name), self.shape(name));
        dense.chunks_exact_mut(shape[2]).for_each(<[f64]>::reverse);
        dense
    }

    /// Labels as distributions `[B, classes]`.
    pub(crate) fn one_hot<R: Real>(&self, labels: &str, classes: usize) -> Vec<R> {
        let mut targets = vec![R::zero(); self.shape(labels)[0] * classes];
        for (b, label) in self.f64s(labels).into_iter().enumerate() {
            targets[b * classes + label as usize] = R::one();
        }
        targets
    }

    /// Asserts that every tensor was read.
    #[track_caller]
    pub(crate) fn all_read(&self) {
        let read = self.read.borrow();
        let missed: Vec<_> =
            self.tensors.names().into_iter().filter(|name| !read.contains(*name)).collect();
        assert!(missed.is_empty(), "not compared: {missed:?}");
    }
}

pub(crate) fn reals<R: Real>(values: &[f64]) -> Vec<R> {
    values.iter().map(|&x| R::of(x)).collect()
}
