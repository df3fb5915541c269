//! What people bring as spikes: types, clocks, containers, labels and channels.

use std::io::Read as _;

use polychron_datasets::shd::{Options, Origin, TimeUnit};
use polychron_datasets::{BinOptions, Dataset, Error, Recordings, TimeFormat, shd};

fn bytes(name: &str) -> Vec<u8> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read(folder.join(name)).unwrap()
}

fn read_with(name: &str, options: &Options) -> Result<Recordings, Error> {
    let name = if name.contains('.') { name.into() } else { format!("{name}.h5.gz") };
    shd::from_bytes(bytes(&name), "x.h5", options)
}

fn unpacked(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let packed = bytes(&format!("{name}.h5.gz"));
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut out).unwrap();
    out
}

fn read(name: &str) -> Recordings {
    read_with(name, &Options::default()).unwrap()
}

fn error_with(name: &str, options: &Options) -> String {
    let error = read_with(name, options).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

fn error(name: &str) -> String {
    error_with(name, &Options::default())
}

/// The spikes of `small.h5` with times as float32.
fn base() -> Recordings {
    let mut base = read("float32.h5");
    base.source = "x.h5".into();
    base
}

fn labels(read: &Recordings) -> Vec<u16> {
    read.items.iter().map(|item| item.label).collect()
}

fn speakers(read: &Recordings) -> Vec<u16> {
    read.items.iter().map(|item| item.speaker).collect()
}

#[test]
fn every_numeric_type_holds_the_same_values() {
    for name in ["float64", "matlab"] {
        assert!(read(name) == base(), "{name}");
    }
    let small = read("small.h5");
    for name in ["float_units", "label_row"] {
        assert!(read(name) == small, "{name}");
    }
    assert_eq!(error("half_label"), "x.h5: labels[1] = 1.5 is not a whole number");
}

#[test]
fn booleans_are_two_classes() {
    for name in ["bool", "pytables_bool"] {
        let read = read(name);
        assert_eq!((labels(&read), read.keys.len()), (vec![0, 1, 1, 0], 2), "{name}");
    }
    let spikes = |read: Recordings| read.items.into_iter().map(|item| (item.times, item.units));
    assert!(spikes(read("pytables_bool")).eq(spikes(base())));
}

#[test]
fn names_are_numbered_in_their_order() {
    let text = read("text");
    assert_eq!(
        (labels(&text), text.keys),
        (vec![1, 0, 2, 1], vec!["one".into(), "two".into(), "zero".into()])
    );
    let known = read("text_keys");
    assert_eq!((labels(&known), &known.keys), (vec![2, 1, 0, 2], &read("small.h5").keys));
    let unknown = "x.h5: labels = three is not one of the names in extra/keys";
    assert_eq!(error("text_unknown"), unknown);
    for name in ["speaker_text", "speaker_bytes"] {
        assert_eq!(speakers(&read(name)), [2, 0, 0, 1], "{name}");
    }
    assert_eq!(speakers(&read("speaker_numbers")), [1, 0, 0, 2]);
}

#[test]
fn a_wrong_type_or_shape_is_named_as_its_writer_knows_it() {
    assert_eq!(error("records"), "x.h5: labels holds records, not whole numbers or text");
    assert_eq!(error("label_square"), "x.h5: labels has shape [2, 2], not one dimension");
}

#[test]
fn times_have_the_unit_that_is_asked_for() {
    let unit = |time_unit| Options { time_unit, ..Options::default() };
    let (ms, us) = (TimeUnit::Milliseconds, TimeUnit::Microseconds);
    assert!(read_with("milliseconds", &unit(ms)).unwrap() == base());
    assert!(read_with("microseconds", &unit(us)).unwrap() == base());
    let half = read_with("small.h5", &unit(ms)).unwrap();
    assert_eq!(half.time_format, TimeFormat::F32);
    assert!((half.items[1].times[2] - 0.00125).abs() < 1e-9);
    assert_eq!(
        error("microseconds"),
        "x.h5: spikes/times[0][1] = 30000 s is above 3600 s; times are in seconds unless \
         data.time_unit or --time-unit says ms or us; for a clock that runs on, data.origin or \
         --origin first-spike"
    );
}

#[test]
fn times_that_look_like_another_unit_are_noted() {
    let unit = |time_unit| Options { time_unit, ..Options::default() };
    assert_eq!(read("float64").notes(), [""; 0]);
    assert_eq!(
        read("milliseconds").notes(),
        ["x.h5: the longest recording lasts 1250 s with 3 spikes; times count as seconds: are \
          these milliseconds? data.time_unit or --time-unit sets their unit"]
    );
    let short = read_with("float64", &unit(TimeUnit::Milliseconds)).unwrap().notes();
    assert_eq!(
        short,
        ["x.h5: the longest recording lasts 1.250 ms with 3 spikes; is the unit of its times \
          right? data.time_unit or --time-unit sets their unit"]
    );
    // Short recordings in whole milliseconds.
    let mut whole = base();
    whole.items.iter_mut().for_each(|item| item.times.iter_mut().for_each(|t| *t = t.ceil() * 9.0));
    assert!(whole.notes()[0].contains("all times are whole numbers of seconds, up to 18"));
}

#[test]
fn a_clock_that_runs_on_counts_from_the_first_spike() {
    let origin = Options { origin: Origin::FirstSpike, ..Options::default() };
    let read = read_with("clock", &origin).unwrap();
    for (item, plain) in read.items.iter().zip(base().items) {
        assert_eq!((item.times[0], &item.units), (0.0, &plain.units));
        let apart = |(a, b): (&f32, &f32)| (a - (b - plain.times[0])).abs();
        assert!(item.times.iter().zip(&plain.times).map(apart).fold(0.0, f32::max) < 1e-6);
    }
    assert!(error("clock").contains("= 1700000000 s is above 3600 s"));
    let single = read_with("clock_single", &origin).unwrap();
    assert_eq!(
        single.notes(),
        ["x.h5: 3 of 4 recordings have all their spikes at one time; times of a clock that \
             runs on need float64, not float32"]
    );
    let negative = read_with("negative", &origin).unwrap();
    assert_eq!(negative.items[1].times, [0.0, 1.0, 1.75]);
    let mut late = base();
    late.items.iter_mut().for_each(|item| item.times.iter_mut().for_each(|t| *t += 7.0));
    assert!(
        late.notes()[0].starts_with("x.h5: 4 of 4 recordings have no spike in their first 1 s")
    );
}

#[test]
fn spikes_are_sorted_by_time_and_keep_their_order_within_one() {
    let sorted = read("by_channel");
    for (n, (item, plain)) in sorted.items.iter().zip(base().items).enumerate() {
        assert_eq!(item.times, plain.times, "{n}");
        let mut pairs: Vec<_> = item.times.iter().map(|t| t.to_bits()).zip(&item.units).collect();
        let mut plain: Vec<_> = plain.times.iter().map(|t| t.to_bits()).zip(&plain.units).collect();
        pairs.sort_unstable();
        plain.sort_unstable();
        assert_eq!(pairs, plain, "{n}");
    }
    // 0.02 s is replaced by 0.7, 0.005, 0.7 s: the units follow.
    let unsorted = read("unsorted");
    assert_eq!(unsorted.items[3].units, [3, 1, 2, 4]);
    let mut same = base();
    same.items[1].times = vec![0.5, 0.1, 0.5];
    same.items[1].units = vec![9, 8, 7];
    same.sort().unwrap();
    assert_eq!(same.items[1].units, [8, 9, 7]);
    same.items[1].times = vec![0.5, -0.1, 0.2];
    let place = "x.h5: spikes/times[1][1] = -0.1 s is negative";
    assert_eq!(same.sort().unwrap_err().to_string(), place);
}

#[test]
fn rows_without_a_spike_are_items() {
    let silent = read("silent");
    assert_eq!((silent.items.len(), silent.items[3].times.len()), (4, 0));
    let long = BinOptions { dt_ms: 50, ..BinOptions::default() };
    let data = Dataset::from_recordings(&silent, &long).unwrap();
    data.validate().unwrap();
    assert_eq!((data.samples[3].steps, data.samples[3].entries.len()), (1, 0));
    assert_eq!(data.notes(), ["x.h5: 1 of 4 items has no spikes"]);
    let again = shd::to_bytes(&silent).unwrap();
    let again = shd::from_bytes(again, "x.h5", &Options::default()).unwrap();
    assert!(again.items == silent.items);

    let none = read("all_silent");
    assert_eq!(none.notes(), [""; 0]);
    let data = Dataset::from_recordings(&none, &BinOptions::default()).unwrap();
    assert_eq!(data.notes(), ["x.h5: 4 of 4 items have no spikes"]);
    // Spikes behind the last step are dropped.
    let early = BinOptions { max_steps: Some(2), ..BinOptions::default() };
    let early = Dataset::from_recordings(&base(), &early).unwrap();
    assert_eq!(early.notes(), ["x.h5: 1 of 4 items has no spikes"]);
}

#[test]
fn lzf_is_read_and_other_filters_are_named() {
    for name in ["lzf", "lzf_sum"] {
        let lzf = read(name);
        let small = read("small.h5");
        assert!(lzf.items.len() == 400 && lzf.items[396..] == small.items[..], "{name}");
    }
    for (name, filter) in [("blosc", "blosc (filter 32001)"), ("zstd", "zstd (filter 32015)")] {
        let message = format!(
            "x.h5: labels is compressed with {filter}, which is not read: \
             h5repack -f GZIP=4 in.h5 out.h5"
        );
        assert_eq!(error(name), message);
    }
}

#[test]
fn large_attributes_and_many_members_are_passed_over() {
    let small = read("small.h5");
    // Labels in chunks of four bytes, as a logger appends them.
    assert!(read("single").items[36..] == small.items[..]);
    for name in ["settings", "settings_latest", "members", "members_latest", "attributes_latest"] {
        assert!(read(name).items == small.items, "{name}");
    }
}

#[test]
fn a_file_is_what_its_bytes_are() {
    let error = |bytes: &[u8]| {
        shd::from_bytes(bytes.to_vec(), "x.h5", &Options::default()).unwrap_err().to_string()
    };
    let page = b"<!DOCTYPE html>\n<html>\n";
    assert_eq!(error(page), "x.h5: is not HDF5: a web page; download the file itself");
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n";
    assert_eq!(error(pointer), "x.h5: is a Git LFS pointer, not the file itself: git lfs pull");
    assert_eq!(error(b"PK\x03\x04\x14\0"), "x.h5: is a zip archive; unzip it");
    let whole = bytes("small.h5");
    let (end, len) = (whole.len() * 6 / 10, whole.len());
    let cut = format!("x.h5: the file ends at byte {end} of {len}: download or copy it again");
    assert_eq!(error(&whole[..end]), cut);
    // A user block of 512 bytes stands before the file.
    let behind = [&[b'#'; 512][..], &whole].concat();
    let read = shd::from_bytes(behind.clone(), "x.h5", &Options::default()).unwrap();
    assert!(read.items == self::read("small.h5").items);
    let members = [&[b'#'; 512][..], &unpacked("members")].concat();
    let members = shd::from_bytes(members, "x.h5", &Options::default()).unwrap();
    assert!(members.items == read.items);
    assert!(error(&behind[..len]).contains(&format!("byte {len} of {}", len + 512)));
    // A user block that the file knows, as MATLAB writes it.
    for name in ["user_block", "user_block_latest"] {
        assert!(self::read(name).items == read.items, "{name}");
        let (cut, len) = (unpacked(name), unpacked(name).len());
        assert!(error(&cut[..len - 1]).contains(&format!("byte {} of {len}", len - 1)));
    }
    let packed = bytes("channels.h5.gz");
    assert!(error(&packed[..packed.len() / 2]).ends_with("download or copy it again"));
}

#[test]
fn labels_and_units_from_one_are_noted() {
    let notes = |read: &Recordings| {
        let options = BinOptions { dt_ms: 50, ..BinOptions::default() };
        Dataset::from_recordings(read, &options).unwrap().notes()
    };
    let from_one = "x.h5: class 0 has no item; do labels begin at 1? They count from 0";
    assert_eq!(notes(&read("from_one")), [from_one]);
    let ignored = "x.h5: 253 classes have no item, the first is 2; does the label 255 mean none?";
    assert_eq!(notes(&read("ignored")), [ignored]);
    let mut named = read("small.h5");
    named.keys.push("three".into());
    assert_eq!(notes(&named), ["x.h5: class three has no item"]);
    assert_eq!(
        error("units_from_one"),
        "x.h5: spikes/units[0][2] = 700 is not below 700 channels; units begin at 1? They count \
         from 0: data convert --first-unit 1"
    );
}

#[test]
fn a_number_of_channels_that_does_not_fit_says_what_to_set() {
    let channels = |n| Options { channels: Some(n), ..Options::default() };
    assert_eq!(
        error("pixels"),
        "x.h5: spikes/units[0][2] = 1234 is not below 700 channels; set their number with \
         data.channels or --channels"
    );
    let read = read_with("pixels", &channels(2312)).unwrap();
    let group = |group| {
        let options = BinOptions { group, ..BinOptions::default() };
        Dataset::from_recordings(&read, &options).map(|data| data.channels)
    };
    assert_eq!(group(8).unwrap(), 289);
    assert_eq!(read.notes(), [""; 0]);
    assert_eq!(
        read_with("pixels", &channels(5000)).unwrap().notes(),
        ["x.h5: no spike is in channels 2312 to 4999; data.channels or --channels sets their \
          number"]
    );
    let error = |n| group(n).unwrap_err().to_string();
    assert_eq!(error(5), "x.h5: group = 5 does not divide 2312 channels; use 4 or 8");
    assert_eq!(error(0), "x.h5: group = 0 does not divide 2312 channels; use 1");
    assert_eq!(error(5000), "x.h5: group = 5000 does not divide 2312 channels; use 2312");
    assert_eq!(
        error_with("many_pixels", &channels(179_920)),
        "x.h5: channels = 179920 is not between 1 and 65536; sum neighbours in larger data"
    );
    assert_eq!(
        self::error("many_pixels"),
        "x.h5: spikes/units[0][2] = 179919 is not between 0 and 65535; sum neighbours in larger \
         data"
    );
    assert_eq!(
        self::error("label_negative"),
        "x.h5: labels[1] = -1 is not between 0 and 65535; leave out items without a class"
    );
    assert_eq!(
        error_with("pixels", &channels(1000)),
        "x.h5: spikes/units[0][2] = 1234 is not below 1000 channels"
    );
}
