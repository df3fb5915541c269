#![no_main]
//! Reading any bytes in the layout of the spoken digits gives a data set or an error.

use libfuzzer_sys::fuzz_target;
use polychron_datasets::digits;
use polychron_fuzz::memory::{unpacked, within};

fuzz_target!(|data: &[u8]| {
    let read = || digits::from_bytes(data.to_vec(), "fuzz");
    if let Ok(dataset) = within(68 * unpacked(data) + (16 << 20), read) {
        let _ = dataset.validate();
    }
});
