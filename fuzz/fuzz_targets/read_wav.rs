#![no_main]
//! Reading any bytes as a wav file gives finite samples of at most eight times their size, or an
//! error.

use libfuzzer_sys::fuzz_target;
use polychron_datasets::sound;
use polychron_fuzz::memory::within;

fuzz_target!(|data: &[u8]| {
    let read = || sound::from_bytes(data.to_vec(), "fuzz");
    if let Ok(samples) = within(9 * data.len() + (4 << 10), read) {
        assert!(!samples.is_empty() && samples.iter().all(|x| x.is_finite()));
        assert!(size_of_val(&samples[..]) <= 8 * data.len());
    }
});
