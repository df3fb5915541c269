#![no_main]
//! Reading any text as a table of spikes gives valid recordings, or an error of one line.

use libfuzzer_sys::fuzz_target;
use polychron_fuzz::spikes;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, text)) = data.split_first() else { return };
    let head = b"time,unit,item,label\n".as_slice();
    let file = if choice < 128 { [head, text].concat() } else { text.to_vec() };
    let _ = spikes::read(choice, file, 64, 16);
});
