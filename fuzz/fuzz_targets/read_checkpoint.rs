#![no_main]
//! Any bytes are a checkpoint of finite numbers that take no more memory than the bytes, or are
//! rejected in one line.

use libfuzzer_sys::fuzz_target;
use polychron::Checkpoint;
use polychron_fuzz::memory::within;

fuzz_target!(|data: &[u8]| {
    match within(8 * data.len() + (64 << 20), || Checkpoint::from_bytes(data, "fuzz")) {
        Ok(Checkpoint { state, .. }) => {
            let numbers: usize = state.tensors.iter().map(|t| t.values.len()).sum();
            assert!(numbers * size_of::<f32>() <= data.len());
            assert!(state.tensors.iter().flat_map(|t| &t.values).all(|x| x.is_finite()));
        }
        Err(failure) => assert!(!failure.to_string().contains(char::is_control), "{failure}"),
    }
});
