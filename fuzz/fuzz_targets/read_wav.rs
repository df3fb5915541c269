#![no_main]
//! Any bytes read as a wav file give finite samples, at most eight times as large, or an error.

use libfuzzer_sys::fuzz_target;
use polychron_datasets::sound;

fuzz_target!(|data: &[u8]| {
    if let Ok(samples) = sound::from_bytes(data.to_vec(), "fuzz") {
        assert!(!samples.is_empty() && samples.iter().all(|x| x.is_finite()));
        assert!(size_of_val(&samples[..]) <= 8 * data.len());
    }
});
