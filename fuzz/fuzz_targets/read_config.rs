#![no_main]
//! Any text is a configuration that is equal to itself after a write and a read, or is rejected in
//! one line.

use libfuzzer_sys::fuzz_target;
use polychron::Config;
use polychron_fuzz::memory::within;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match within(48 << 20, || Config::parse(text, "fuzz")) {
        Ok(config) => {
            let written = config.to_toml().unwrap();
            assert!(Config::parse(&written, "again").unwrap() == config, "{written}");
        }
        Err(failure) => assert!(!failure.to_string().contains(char::is_control), "{failure}"),
    }
});
