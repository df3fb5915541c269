//! Code that the targets share.

pub mod file;
pub mod kind;
pub mod memory;
pub mod network;
pub mod reference;
pub mod spikes;
