#![no_main]
//! Reading any archive of arrays gives valid recordings, or an error of one line.

use libfuzzer_sys::fuzz_target;
use polychron_fuzz::spikes;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let file = if choice < 128 { spikes::archive(bytes) } else { bytes.to_vec() };
    let _ = spikes::read(choice, file, 32, 64);
});
