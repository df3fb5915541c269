//! The embedded digits and their layout.

use std::path::Path;

use polychron_datasets::digits;

/// Two samples of three steps and four channels.
fn small() -> Vec<u8> {
    let mut bytes = b"SPK1".to_vec();
    bytes.extend([2, 0, 3, 0, 4, 0]);
    bytes.extend([1, 0]);
    bytes.extend([3, 2]);
    bytes.extend([0b1000_0010, 0b0001_0100, 0b0000_0000]);
    bytes
}

fn error(bytes: Vec<u8>) -> String {
    digits::from_bytes(bytes, "x").unwrap_err().to_string()
}

#[test]
fn bits_are_read_most_significant_first() {
    let data = digits::from_bytes(small(), "x").unwrap();
    let places = |i: usize| -> Vec<_> {
        data.samples[i].entries.iter().map(|e| (e.step, e.channel)).collect()
    };
    assert_eq!(places(0), [(0, 0), (1, 2), (2, 3)]);
    assert_eq!(places(1), [(0, 1)]);
    assert_eq!((data.channels, data.classes, data.dt_ms), (4, 2, 10));
    assert_eq!((data.samples[0].label, data.samples[1].steps), (1, 2));
}

#[test]
fn every_truncation_is_refused() {
    let bytes = small();
    for end in 0..bytes.len() {
        assert!(digits::from_bytes(bytes[..end].to_vec(), "x").is_err(), "{end}");
    }
}

#[test]
fn corruption_never_panics() {
    let bytes = small();
    for at in 0..bytes.len() {
        for value in 0..=255 {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            let _ = digits::from_bytes(damaged, "x");
        }
    }
}

#[test]
fn a_bad_value_is_named() {
    let set = |at: usize, value: u8| {
        let mut bytes = small();
        bytes[at] = value;
        error(bytes)
    };
    assert_eq!(set(12, 2), "x: spikes[0].step = 2 is not below its length, 2 steps");
    assert_eq!(set(13, 0), "x: lengths[1] = 0 is not between 1 and 3 steps");
    assert_eq!(set(13, 4), "x: lengths[1] = 4 is not between 1 and 3 steps");
    assert_eq!(set(5, 255), "x: bytes = 17 is not 228497, the size of 65282 samples of 3 x 4 bits");
    assert_eq!(set(0, b'T'), "x: does not begin with an SPK1 header");
    assert_eq!(
        error(b"SPK1\0\0\0\0\0\0".to_vec()),
        "x: samples = 0 is not a number of samples; a file holds at least one"
    );
}

#[test]
fn the_embedded_digits_are_complete() {
    let data = digits::embedded();
    data.validate().unwrap();
    assert_eq!((data.samples.len(), data.channels, data.classes), (3000, 48, 10));
    let mut counts = [0; 10];
    data.samples.iter().for_each(|s| counts[usize::from(s.label)] += 1);
    assert_eq!(counts, [300; 10]);
    assert_eq!(data.samples.iter().map(|s| s.entries.len()).sum::<usize>(), 259_200);
    assert_eq!(data.samples.iter().map(|s| s.steps).max(), Some(64));
    assert_eq!(data.class_names[7], "seven");
}

#[test]
fn other_files_of_the_layout_are_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/items/order.bin.gz");
    if !path.exists() {
        println!("skipped: no order.bin.gz");
        return;
    }
    let data = digits::read(path).unwrap();
    data.validate().unwrap();
    assert_eq!((data.samples.len(), data.channels, data.classes), (2000, 8, 10));
    assert_eq!(data.samples.iter().map(|s| s.entries.len()).sum::<usize>(), 25_481);
}
