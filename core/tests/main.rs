//! Every test of the crate that needs only its public interface, in one executable.

mod alif;
mod common;
mod conformance;
mod connectivity;
mod construction;
mod fold;
mod golden_kernels;
mod golden_loss;
mod golden_network;
mod golden_neuron;
mod golden_optimizer;
mod golden_projection;
mod golden_schedules;
mod gradients;
mod graph;
mod initial;
mod model_file;
mod numbers;
mod place;
mod recurrent;
mod spread;
mod stability;
mod surrogate;
mod trainer;
mod windows;
