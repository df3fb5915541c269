#![no_main]
//! Any bytes read in the layout of the spoken digits give a data set, which can be checked, or an error.

use libfuzzer_sys::fuzz_target;
use polychron_datasets::digits;

fuzz_target!(|data: &[u8]| {
    if let Ok(dataset) = digits::from_bytes(data.to_vec(), "fuzz") {
        let _ = dataset.validate();
    }
});
