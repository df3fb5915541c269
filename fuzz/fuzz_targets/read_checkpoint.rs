#![no_main]
#![allow(dead_code)]
//! Any bytes are a checkpoint of finite numbers, at most as many as there are bytes for, or are refused in one line.

#[path = "../../examples/src/checkpoint.rs"]
mod checkpoint;
#[path = "../../examples/src/config.rs"]
mod config;
#[path = "../../examples/src/error.rs"]
mod error;
#[path = "../../examples/src/network.rs"]
mod network;
#[path = "../../examples/src/presets.rs"]
mod presets;

use checkpoint::Checkpoint;
use libfuzzer_sys::fuzz_target;
use polychron_fuzz::memory::within;

fuzz_target!(|data: &[u8]| {
    match within(8 * data.len() + (64 << 20), || checkpoint::from_bytes(data, "fuzz")) {
        Ok(Checkpoint { state, .. }) => {
            let numbers: usize = state.tensors.iter().map(|t| t.values.len()).sum();
            assert!(numbers * size_of::<f32>() <= data.len());
            assert!(state.tensors.iter().flat_map(|t| &t.values).all(|x| x.is_finite()));
        }
        Err(failure) => assert!(!failure.to_string().contains(char::is_control), "{failure}"),
    }
});
