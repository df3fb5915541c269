//! Tests of the public API, in one binary.

mod conformance;
mod digits_trace;
mod extremes;
mod golden_network;
mod reference;
mod stream;
mod vectors;
