#![no_main]
//! Any bytes read as an SHD file give recordings or an error.

use libfuzzer_sys::fuzz_target;
use polychron_datasets::shd;

fuzz_target!(|data: &[u8]| {
    if let Ok(recordings) = shd::from_bytes(data.to_vec(), "fuzz", None) {
        recordings.validate().unwrap();
    }
});
