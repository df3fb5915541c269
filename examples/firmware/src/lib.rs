//! Shared by the images: the replay of a recording, and probes of what a tick costs.
#![no_std]

#[cfg(target_arch = "arm")]
mod interrupts;
#[cfg(feature = "replay")]
pub mod probe;
#[cfg(feature = "replay")]
pub mod replay;
