#![no_main]
//! Reading any bytes as an SHD file gives valid recordings or an error.

use libfuzzer_sys::fuzz_target;
use polychron_datasets::shd;
use polychron_fuzz::memory::{unpacked, within};

fuzz_target!(|data: &[u8]| {
    let read = || shd::from_bytes(data.to_vec(), "fuzz", None);
    if let Ok(recordings) = within(16 * unpacked(data) + (192 << 20), read) {
        recordings.validate().unwrap();
    }
});
