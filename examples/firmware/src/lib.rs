//! What the images share: recorded inputs with their results, and probes of what a tick costs.
#![no_std]

#[cfg(target_arch = "arm")]
mod interrupts;
pub mod probe;
pub mod recording;
pub mod replay;
