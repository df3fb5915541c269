#![no_main]
//! Reading any bytes as an SHD file gives valid recordings or an error.

use libfuzzer_sys::fuzz_target;
use polychron_datasets::shd::{self, Origin, TimeUnit};
use polychron_fuzz::memory::{unpacked, within};

fuzz_target!(|data: &[u8]| {
    let mut options = shd::Options::default();
    if data.len() % 2 == 1 {
        (options.time_unit, options.origin) = (TimeUnit::Milliseconds, Origin::FirstSpike);
    }
    let read = || shd::from_bytes(data.to_vec(), "fuzz", &options);
    if let Ok(recordings) = within(16 * unpacked(data) + (192 << 20), read) {
        recordings.validate().unwrap();
        assert!(recordings.notes().len() <= 2);
    }
});
