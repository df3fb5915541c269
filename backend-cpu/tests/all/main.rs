//! All tests of the public interface, in one program.

mod conformance;
mod digits_trace;
mod extremes;
mod golden_network;
mod reference;
mod stream;
mod vectors;
