#![no_main]
//! Any bytes are a list of archives, or a division of samples, each in one part, or an error of one line.

use libfuzzer_sys::fuzz_target;
use polychron_datasets::fetch::Sources;
use polychron_datasets::{Error, Split};

const ITEMS: usize = 100;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        one_line(Sources::from_toml(text, "fuzz"));
    }
    for train in [0, 60, ITEMS] {
        if let Some(split) = one_line(Split::from_json(data, "fuzz", train, ITEMS)) {
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
