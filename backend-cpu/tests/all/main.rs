//! Tests of the public API, in one binary.

#[path = "../common/mod.rs"]
mod common;

mod adaptive_threshold;
mod conformance;
mod digits_trace;
mod extremes;
mod golden_network;
mod reference;
mod stream;
mod vectors;
