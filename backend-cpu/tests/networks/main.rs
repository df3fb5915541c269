//! Whole networks on the CPU, in one program: what the compiler makes of them is the same for all of these.

mod digits_trace;
mod extremes;
mod golden_network;
mod stream;
