#![no_main]
#![allow(dead_code)]
//! Any text is a configuration that says the same when it is written and read again, or is refused in one line.

#[path = "../../examples/src/checkpoint.rs"]
mod checkpoint;
#[path = "../../examples/src/config.rs"]
mod config;
#[path = "../../examples/src/error.rs"]
mod error;
#[path = "../../examples/src/network.rs"]
mod network;
#[path = "../../examples/src/presets.rs"]
mod presets;

use libfuzzer_sys::fuzz_target;
use polychron_fuzz::memory::within;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match within(48 << 20, || presets::parse(text, "fuzz")) {
        Ok(config) => {
            let written = config.to_toml().unwrap();
            assert!(presets::parse(&written, "again").unwrap() == config, "{written}");
        }
        Err(failure) => assert!(!failure.to_string().contains(char::is_control), "{failure}"),
    }
});
