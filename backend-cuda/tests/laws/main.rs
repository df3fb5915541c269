//! The tests of the GPU backend.

mod conformance;
mod training;
