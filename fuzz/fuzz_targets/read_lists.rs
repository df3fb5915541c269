#![no_main]
//! Reading any bytes as a list of archives or as a split gives a valid one or an error of one line.

use libfuzzer_sys::fuzz_target;
use polychron_datasets::fetch::Sources;
use polychron_datasets::{Error, Split};
use polychron_fuzz::memory::within;

const ITEMS: usize = 100;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        one_line(within(48 << 20, || Sources::from_toml(text, "fuzz")));
    }
    for train in [0, 60, ITEMS] {
        let read = || Split::from_json(data, "fuzz", train, ITEMS);
        if let Some(split) = one_line(within(160 * data.len() + (64 << 10), read)) {
            split.validate("fuzz", ITEMS).unwrap();
        }
    }
});

fn one_line<T>(result: Result<T, Error>) -> Option<T> {
    result
        .inspect_err(|failure| {
            assert!(!failure.to_string().contains(char::is_control), "{failure}")
        })
        .ok()
}
