#![no_main]
//! Recordings of a file of any kind are read again as the same after they are written as HDF5.

use libfuzzer_sys::fuzz_target;
use polychron_datasets::{Recordings, TimeFormat, shd};
use polychron_fuzz::spikes;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let file = if choice < 128 { bytes.to_vec() } else { spikes::archive(bytes) };
    let Ok(read) = spikes::read(choice, file, 64, 192) else { return };
    let Ok(written) = shd::to_bytes(&read) else { return };
    let again = shd::from_bytes(written, "fuzz", &shd::Options::default()).unwrap();
    assert!(again == Recordings { time_format: TimeFormat::F32, ..read });
});
