//! Reader of SHD and SSC files.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};
use hdf5_writer::{DatasetBuilder, FilterDescription, Hdf5Builder, WriteOptions};
use polychron_datasets::{
    About, BinOptions, Dataset, Part, Recording, Recordings, TimeFormat, shd,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

fn error(name: &str) -> String {
    let error = shd::from_bytes(bytes(name), "x.h5", &shd::Options::default())
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

const TIMES: [&[f64]; 4] =
    [&[0.002, 0.03, 0.03, 0.041], &[0.0, 0.5, 1.25], &[0.1], &[0.01, 0.02, 0.7, 0.7]];
const UNITS: [&[u16]; 4] = [&[0, 7, 699, 350], &[5, 5, 5], &[42], &[1, 2, 3, 4]];

fn check(read: &Recordings, format: TimeFormat, items: usize) {
    assert_eq!((read.time_format, read.channels, read.items.len()), (format, 700, items));
    for (n, item) in read.items.iter().enumerate().map(|(n, item)| (n % 4, item)) {
        let round = |&t: &f64| match format {
            TimeFormat::F16 => half::f16::from_f64(t).to_f32(),
            TimeFormat::F32 => t as f32,
        };
        assert_eq!(item.times, TIMES[n].iter().map(round).collect::<Vec<_>>());
        assert_eq!(item.units, UNITS[n]);
        assert_eq!(item.label, [0, 1, 2, 0][n]);
    }
}

#[test]
fn contents_are_what_h5py_and_pytables_wrote() {
    for (name, format, items) in [
        ("small.h5", TimeFormat::F16, 4),
        ("big_endian.h5.gz", TimeFormat::F16, 4),
        ("float32.h5", TimeFormat::F32, 4),
        ("chunked.h5.gz", TimeFormat::F16, 100),
        ("pytables.h5.gz", TimeFormat::F16, 4),
    ] {
        let read = shd::read(fixture(name), &shd::Options::default()).unwrap();
        check(&read, format, items);
        assert_eq!(read.keys, ["zero", "one", "two"], "{name}");
        let speakers = read.items.iter().map(|r| r.speaker);
        assert!(speakers.eq([0, 1].into_iter().cycle().take(items)), "{name}");
        assert!(read.source.ends_with(name));
    }
}

#[test]
fn a_file_states_its_number_of_channels() {
    let read = |name, channels| {
        let options = shd::Options { channels, ..Default::default() };
        shd::from_bytes(bytes(name), "x.h5", &options)
    };
    for asked in [None, Some(800)] {
        let said = read("channels.h5.gz", asked).unwrap();
        assert_eq!((said.channels, &said.items), (800, &read("small.h5", None).unwrap().items));
    }
    let other = read("channels.h5.gz", Some(700)).unwrap_err().to_string();
    assert_eq!(other, "x.h5: extra/channels = 800 is not 700, the expected number of channels");
    assert_eq!(read("small.h5", Some(1000)).unwrap().channels, 1000);

    let written = shd::to_bytes(&read("small.h5", Some(1 << 16)).unwrap()).unwrap();
    assert_eq!(
        shd::from_bytes(written, "x.h5", &shd::Options::default()).unwrap().channels,
        1 << 16
    );
    let many = Recordings { channels: (1 << 16) + 1, ..read("small.h5", None).unwrap() };
    let many = shd::to_bytes(&many).unwrap_err().to_string();
    assert_eq!(many, "x.h5: channels = 65537 is above 65536, the most that this layout can hold");
}

#[test]
fn a_group_divides_the_stated_number_of_channels() {
    let read = shd::read(fixture("channels.h5.gz"), &shd::Options::default()).unwrap();
    let bin = |group| Dataset::from_recordings(&read, &BinOptions { group, ..Default::default() });
    assert_eq!(bin(8).unwrap().channels, 100);
    let error = bin(7).unwrap_err().to_string();
    let problem = "channels.h5.gz: group = 7 does not divide 800 channels; use 5 or 8";
    assert!(error.ends_with(problem), "{error}");
}

#[test]
fn extra_data_sets_are_optional() {
    let read = shd::read(fixture("ssc.h5.gz"), &shd::Options::default()).unwrap();
    check(&read, TimeFormat::F16, 4);
    assert_eq!(read.keys, ["0", "1", "2"]);
    assert!(read.items.iter().all(|r| r.speaker == 0));
}

#[test]
fn gzip_changes_nothing() {
    let plain = shd::from_bytes(bytes("small.h5"), "x", &shd::Options::default()).unwrap();
    assert_eq!(
        shd::from_bytes(gzip(&bytes("small.h5")), "x", &shd::Options::default()).unwrap(),
        plain
    );
}

#[test]
fn a_bad_value_is_named_with_its_file_and_place() {
    for (name, message) in [
        (
            "unit_high.h5.gz",
            "x.h5: spikes/units[0][2] = 812 is not below 700 channels; set their number with \
             data.channels or --channels",
        ),
        ("unit_negative.h5.gz", "x.h5: spikes/units[0][2] = -3 is not between 0 and 65535"),
        ("label_high.h5.gz", "x.h5: labels[2] = 3 is not below 3 classes"),
        ("nan.h5.gz", "x.h5: spikes/times[1][2] = NaN s is not finite"),
        ("infinite.h5.gz", "x.h5: spikes/times[1][2] = inf s is not finite"),
        (
            "negative.h5.gz",
            "x.h5: spikes/times[1][0] = -0.5 s is negative; data.origin or --origin first-spike \
             counts from the earliest spike",
        ),
        (
            "late.h5.gz",
            "x.h5: spikes/times[1][2] = 10000 s is above 3600 s; times are in seconds unless \
             data.time_unit or --time-unit says ms or us; for a clock that runs on, data.origin \
             or --origin first-spike",
        ),
        ("uneven.h5.gz", "x.h5: spikes/units[3] = 3 spikes do not match the 4 of spikes/times[3]"),
        ("no_utterance.h5.gz", "x.h5: labels = [] is empty; a file needs at least one utterance"),
        ("short_labels.h5.gz", "x.h5: spikes/times has 4 rows, but labels has 3"),
        ("short_units.h5.gz", "x.h5: spikes/units has 3 rows, but labels has 4"),
        ("short_speakers.h5.gz", "x.h5: extra/speaker has 3 rows, but labels has 4"),
        ("aliased.h5.gz", "x.h5: spikes/times refers to more values than the file holds"),
        ("aliased_keys.h5.gz", "x.h5: extra/keys refers to more values than the file holds"),
        ("no_channels.h5.gz", "x.h5: extra/channels = 0 is not between 1 and 65536"),
        ("two_channels.h5.gz", "x.h5: extra/channels has shape [2], not one value"),
        ("many_keys.h5.gz", "x.h5: extra/keys has 65537 rows, more than 65536"),
    ] {
        assert_eq!(error(name), message, "{name}");
    }
}

#[test]
fn a_file_that_declares_more_than_it_can_hold_is_refused() {
    let huge = error("huge.h5.gz");
    assert_eq!(huge, "x.h5: labels has more chunks than the file holds");
}

#[test]
fn a_file_of_one_class_is_read_but_not_valid_for_training() {
    let read = shd::read(fixture("one_class.h5.gz"), &shd::Options::default()).unwrap();
    let data = Dataset::from_recordings(&read, &BinOptions::default()).unwrap();
    data.check_samples().unwrap();
    let error = data.validate().unwrap_err().to_string();
    assert!(error.ends_with("one_class.h5.gz: label = 1 is the only class in the data"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = shd::read("no/such.h5", &shd::Options::default()).unwrap_err().to_string();
    assert!(error.starts_with("no/such.h5: "), "{error}");
}

#[test]
fn bytes_of_another_format_are_refused() {
    for bytes in [&b""[..], b"\x1f", b"\x1f\x8b", b"not a file", &[0; 4096]] {
        assert!(shd::from_bytes(bytes.to_vec(), "x", &shd::Options::default()).is_err());
    }
}

#[test]
fn truncated_gzip_is_refused() {
    let packed = gzip(&bytes("small.h5"));
    for end in 0..packed.len() {
        assert!(
            shd::from_bytes(packed[..end].to_vec(), "x", &shd::Options::default()).is_err(),
            "{end}"
        );
    }
    let mut long = packed;
    long.extend(b"more");
    assert!(shd::from_bytes(long, "x", &shd::Options::default()).is_err());
}

#[test]
fn a_decompression_bomb_is_refused() {
    let error = shd::from_bytes(gzip(&vec![0; 2 << 20]), "x", &shd::Options::default())
        .unwrap_err()
        .to_string();
    assert_eq!(error, "x: gzip stream holds more than 1048576 bytes");
}

/// The decoder shifts a 32-bit mask by the index of a filter.
#[test]
fn more_filters_than_the_format_allows_are_refused() {
    let write = |filters| {
        let labels = DatasetBuilder::typed_data("labels", [4], &[0u16, 1, 0, 1]).unwrap();
        let shuffle = || FilterDescription { id: 2, name: None, client_data: vec![2] };
        let labels = (0..filters).fold(labels.chunked([4]), |labels, _| labels.filter(shuffle()));
        let plan = Hdf5Builder::new().dataset(labels).into_plan().unwrap();
        plan.encode(WriteOptions::default()).unwrap()
    };
    let error = |filters| {
        shd::from_bytes(write(filters), "x.h5", &shd::Options::default()).unwrap_err().to_string()
    };
    assert_eq!(error(33), "x.h5: labels has 33 filters, more than 32");
    assert!(error(32).contains("spikes"), "{}", error(32));
}

/// A truncated file gives an error, or the whole contents if only unused bytes are missing.
#[test]
fn truncation_never_panics() {
    for name in ["small.h5", "float32.h5"] {
        let whole = bytes(name);
        let read = shd::from_bytes(whole.clone(), "x", &shd::Options::default()).unwrap();
        for end in 0..whole.len() {
            if let Ok(cut) = shd::from_bytes(whole[..end].to_vec(), "x", &shd::Options::default()) {
                assert_eq!(cut, read, "{name} cut at {end}");
            }
        }
    }
}

/// What is read from a damaged file is valid.
#[test]
fn corruption_never_panics() {
    for name in ["small.h5", "float32.h5"] {
        let whole = bytes(name);
        let mut refused = 0;
        for at in 0..whole.len() {
            for damage in [0xff, 0x01, 0x80] {
                let mut damaged = whole.clone();
                damaged[at] ^= damage;
                match shd::from_bytes(damaged, "x", &shd::Options::default()) {
                    Ok(read) => {
                        read.validate().unwrap();
                        let spikes = read.items.iter().map(|r| r.times.len()).sum::<usize>();
                        assert!(spikes < whole.len());
                    }
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(refused > 100, "{name}: only {refused} refused");
    }
}

#[test]
fn many_utterances_are_read_as_they_were_written() {
    let item = |n: u16| {
        let spikes = 1 + n * 7 % 90;
        let times = (0..spikes).map(|i| f32::from(i) * 0.003).collect();
        let units = (0..spikes).map(|i| (i * 31 + n) % 700).collect();
        Recording { times, units, label: n % 3, speaker: n / 7 }
    };
    let mut written = Recordings {
        source: "many".into(),
        channels: 700,
        keys: ["a", "b", "c"].map(String::from).to_vec(),
        time_format: TimeFormat::F32,
        about: About::default(),
        items: (0..700).map(item).collect(),
    };
    let bytes = shd::to_bytes(&written).unwrap();
    let read = |bytes| shd::from_bytes(bytes, "many", &shd::Options::default());
    assert!(read(bytes).unwrap() == written);
    written.about = About {
        names: (0..700).map(|n| format!("a/{n}.wav")).collect(),
        parts: [Part::Train, Part::Valid, Part::Test, Part::Train].repeat(175),
        speakers: (0..100).map(|n| format!("speaker {n:02}")).collect(),
        encoder: "delta".into(),
        step_ms: Some(2.5),
    };
    assert!(read(shd::to_bytes(&written).unwrap()).unwrap() == written);
    written.about.names.pop();
    let error = shd::to_bytes(&written).unwrap_err().to_string();
    assert_eq!(error, "many: names = 699 entries do not match 700 items");
    written.about = About::default();

    written.keys[1] = "\x1b[2J".into();
    let error = shd::to_bytes(&written).unwrap_err().to_string();
    assert_eq!(error, r"many: extra/keys[1] = \u{1b}[2J holds a control character");
}
