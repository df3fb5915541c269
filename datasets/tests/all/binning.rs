//! Binning, compared with the results of other loaders.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use half::f16;
use polychron_core::rng::Rng;
use polychron_datasets::binning::steps_of;
use polychron_datasets::{
    About, BinOptions, Binning, Dataset, Entry, Recording, Recordings, TimeFormat, shd,
};
use safetensors::SafeTensors;

/// The bins of most published networks: 140 channels.
const GROUPED: BinOptions =
    BinOptions { binning: Binning::Fixed, dt_ms: 10, group: 5, max_steps: None };

fn recordings(times: Vec<f32>, units: Vec<u16>, time_format: TimeFormat) -> Recordings {
    let items = vec![Recording { times, units, label: 0, speaker: 0 }];
    let (source, keys) = ("x".into(), vec!["a".into()]);
    Recordings { source, channels: 700, keys, time_format, items, about: About::default() }
}

fn half_seconds(ms: u32) -> f32 {
    f16::from_f64(f64::from(ms) / 1000.0).to_f32()
}

#[test]
fn legacy_frames_are_those_of_the_paper() {
    let file = std::fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/binning.safetensors"),
    );
    let file = file.unwrap();
    let golden = SafeTensors::deserialize(&file).unwrap();
    for case in ["a", "b"] {
        let data = |name: &str| golden.tensor(&format!("{case}.{name}")).unwrap().data();
        let halves = |bytes: &[u8]| -> Vec<u16> {
            bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect()
        };
        let times: Vec<f32> =
            halves(data("times")).iter().map(|&b| f16::from_bits(b).to_f32()).collect();
        let frame_of_event: Vec<u32> = data("frame_of_event")
            .chunks_exact(8)
            .map(|b| i64::from_le_bytes(b.try_into().unwrap()) as u32)
            .collect();
        assert_eq!(steps_of(&times, TimeFormat::F16, Binning::Legacy2023, 10), frame_of_event);

        let frames = golden.tensor(&format!("{case}.frames")).unwrap();
        let read = recordings(times, halves(data("units")), TimeFormat::F16);
        let options = BinOptions { binning: Binning::Legacy2023, ..GROUPED };
        let data = Dataset::from_recordings(&read, &options).unwrap();
        assert_eq!(frames.shape(), [data.samples[0].steps, data.channels]);
        let mut dense = vec![0f32; data.samples[0].steps * data.channels];
        for e in &data.samples[0].entries {
            dense[e.step as usize * data.channels + usize::from(e.channel)] = e.count.into();
        }
        let bytes: Vec<u8> = dense.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(bytes, frames.data());
    }
}

#[test]
fn every_whole_millisecond_is_in_its_own_step() {
    for ms in 0..2000 {
        let half = [half_seconds(ms)];
        assert_eq!(steps_of(&half, TimeFormat::F16, Binning::Fixed, 10), [ms / 10], "{ms} ms, f16");
    }
    for ms in 0..100_000 {
        let single = [(f64::from(ms) / 1000.0) as f32];
        for dt in [1, 7, 10] {
            assert_eq!(
                steps_of(&single, TimeFormat::F32, Binning::Fixed, dt),
                [ms / dt],
                "{ms} ms"
            );
        }
    }
}

#[test]
fn a_time_off_the_grid_is_floored() {
    let times = [0.0299, 0.02999, 0.0301, 0.0399, 0.04001];
    assert_eq!(steps_of(&times, TimeFormat::F32, Binning::Fixed, 10), [2, 2, 3, 3, 4]);
}

#[test]
fn events_of_a_step_and_a_group_are_counted() {
    let units = vec![699, 0, 4, 5, 0];
    let read = recordings([1, 1, 2, 9, 25].map(half_seconds).to_vec(), units, TimeFormat::F16);
    let data = Dataset::from_recordings(&read, &BinOptions::default()).unwrap();
    let entry = |e: &Entry| (e.step, e.channel, e.count);
    let single: Vec<_> = data.samples[0].entries.iter().map(entry).collect();
    assert_eq!(single, [(0, 0, 1), (0, 4, 1), (0, 5, 1), (0, 699, 1), (2, 0, 1)][..]);
    let data = Dataset::from_recordings(&read, &GROUPED).unwrap();
    let sample = &data.samples[0];
    let entries: Vec<_> = sample.entries.iter().map(entry).collect();
    assert_eq!(entries, [(0, 0, 2), (0, 1, 1), (0, 139, 1), (2, 0, 1)]);
    assert_eq!((data.channels, data.dt_ms, sample.steps), (140, 10, 3));
}

#[test]
fn an_entry_takes_eight_bytes_and_a_count_beyond_it_is_named() {
    assert_eq!(size_of::<Entry>(), 8);
    let bin = |spikes, max_steps| {
        let mut times = vec![0.025; spikes];
        times.insert(0, 0.0);
        let read = recordings(times, vec![7; spikes + 1], TimeFormat::F32);
        Dataset::from_recordings(&read, &BinOptions { max_steps, ..Default::default() })
    };
    assert_eq!(bin(65_535, None).unwrap().samples[0].entries[1].count, 65_535);
    let error = bin(65_536, None).unwrap_err().to_string();
    assert!(
        error.ends_with("utterance 0 has more than 65535 spikes in step 2 of channel 7"),
        "{error}"
    );
    bin(65_536, Some(2)).unwrap();
}

#[test]
fn events_at_the_cap_or_after_are_dropped() {
    let read = recordings([5, 19, 20, 31].map(half_seconds).to_vec(), vec![0; 4], TimeFormat::F16);
    let options = BinOptions { max_steps: Some(2), ..Default::default() };
    let data = Dataset::from_recordings(&read, &options).unwrap();
    assert_eq!((data.samples[0].steps, data.samples[0].entries.len()), (2, 2));
}

#[test]
fn an_option_out_of_range_is_named() {
    let read = recordings(vec![0.0], vec![0], TimeFormat::F16);
    let default = BinOptions::default();
    for (options, message) in [
        (
            BinOptions { group: 3, ..default },
            "x: group = 3 does not divide 700 channels; use 2 or 4",
        ),
        (BinOptions { group: 0, ..default }, "x: group = 0 does not divide 700 channels; use 1"),
        (BinOptions { dt_ms: 0, ..default }, "x: dt_ms = 0 is not a step length; use at least 1"),
        (
            BinOptions { max_steps: Some(0), ..default },
            "x: max_steps = 0 leaves no step; use at least 1",
        ),
    ] {
        assert_eq!(Dataset::from_recordings(&read, &options).unwrap_err().to_string(), message);
    }
}

/// Name, T, utterances, classes; entries, events and a checksum of the bins that numpy made of the
/// same files: `rint(1000 t) // 10`, five channels summed.
const BINS: [(&str, usize, usize, usize, usize, f64, u64); 6] = [
    ("fsdd_spikes_train", 80, 1800, 10, 1859055, 5429953.0, 5727007069357),
    ("fsdd_spikes_test", 80, 700, 10, 702873, 2075743.0, 818530692243),
    ("tts_compact_train", 100, 2000, 20, 2234346, 6264504.0, 9365600603369),
    ("tts_compact_test", 100, 500, 20, 620921, 1725291.0, 769855698540),
    ("tts_mini_train", 100, 200, 20, 220936, 624544.0, 95910576050),
    ("tts_mini_test", 100, 60, 20, 78304, 219291.0, 10744397323),
];

#[test]
fn bins_of_recorded_speech_are_those_of_numpy() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    for (name, cap, utterances, classes, entries, events, checksum) in BINS {
        let path = folder.join(format!("{name}.h5.gz"));
        if !path.exists() {
            println!("skipped: no {name}");
            continue;
        }
        let read = shd::read(path, &shd::Options::default()).unwrap();
        let options = BinOptions { max_steps: Some(cap), ..GROUPED };
        let data = Dataset::from_recordings(&read, &options).unwrap();
        data.validate().unwrap();
        assert_eq!((data.samples.len(), data.classes, data.channels), (utterances, classes, 140));
        let all = || {
            data.samples.iter().enumerate().flat_map(|(i, s)| s.entries.iter().map(move |e| (i, e)))
        };
        assert_eq!(all().count(), entries, "{name}");
        assert_eq!(all().map(|(_, e)| f64::from(e.count)).sum::<f64>(), events, "{name}");
        let sum = all().map(|(i, e)| {
            (i as u64 + 1)
                * (u64::from(e.step) + 1)
                * (u64::from(e.channel) + 1)
                * u64::from(e.count)
        });
        assert_eq!(sum.sum::<u64>(), checksum, "{name}");
    }
}

#[test]
fn grouping_keeps_every_event() {
    let small = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/small.h5");
    let read = shd::read(small, &shd::Options::default()).unwrap();
    for group in [1, 5, 7, 700] {
        let data =
            Dataset::from_recordings(&read, &BinOptions { group, ..Default::default() }).unwrap();
        data.validate().unwrap();
        assert_eq!(data.channels, 700 / group);
        let mut events = HashMap::new();
        for (n, sample) in data.samples.iter().enumerate() {
            *events.entry(n).or_insert(0) +=
                sample.entries.iter().map(|e| usize::from(e.count)).sum::<usize>();
        }
        for (n, item) in read.items.iter().enumerate() {
            assert_eq!(events[&n], item.times.len());
        }
    }
}

#[test]
fn a_later_time_is_in_no_earlier_step() {
    let halves: Vec<f32> =
        (0..=f16::from_f32(3600.0).to_bits()).map(|bits| f16::from_bits(bits).to_f32()).collect();
    let around = |ms: u32| {
        let bits = (f64::from(ms) / 1000.0) as f32;
        (bits.to_bits() - 3..=bits.to_bits() + 3).map(f32::from_bits)
    };
    let singles: Vec<f32> = (1..20_000).flat_map(around).collect();
    for dt in [1, 3, 7, 10, 50] {
        assert!(steps_of(&halves, TimeFormat::F16, Binning::Fixed, dt).is_sorted());
        assert!(steps_of(&singles, TimeFormat::F32, Binning::Fixed, dt).is_sorted());
    }
}

/// Enough utterances for several threads.
fn many() -> Recordings {
    let item = |n: u64| {
        let rng = Rng::new(n, 0);
        let mut times: Vec<f32> =
            (0..300).map(|i| f16::from_f32(rng.uniform::<f32>(i)).to_f32()).collect();
        times.sort_by(f32::total_cmp);
        let units = (300..600).map(|i| rng.below(i, 40) as u16).collect();
        Recording { times, units, label: (n % 2) as u16, speaker: 0 }
    };
    Recordings {
        keys: vec!["a".into(), "b".into()],
        items: (0..500).map(item).collect(),
        ..recordings(vec![], vec![], TimeFormat::F16)
    }
}

#[test]
fn bins_of_many_utterances_are_the_counts_of_each() {
    let read = many();
    let data = Dataset::from_recordings(&read, &GROUPED).unwrap();
    assert_eq!(data.samples.len(), read.items.len());
    for (sample, item) in data.samples.iter().zip(&read.items) {
        let mut counts = BTreeMap::new();
        for (&time, unit) in item.times.iter().zip(&item.units) {
            let step = steps_of(&[time], TimeFormat::F16, Binning::Fixed, 10)[0];
            *counts.entry((step, unit / 5)).or_insert(0) += 1;
        }
        assert!(sample.entries.iter().map(|e| ((e.step, e.channel), e.count)).eq(counts));
    }
}

#[test]
fn of_many_utterances_the_first_bad_one_is_named() {
    let mut read = many();
    read.items[300].units[2] = 700;
    read.items[90].times[1] = f32::NAN;
    let error = Dataset::from_recordings(&read, &BinOptions::default()).unwrap_err().to_string();
    assert!(error.contains("spikes/times[90][1]"), "{error}");
    assert_eq!(read.validate().unwrap_err().to_string(), error);
}

#[test]
fn speakers_of_two_files_are_the_same_if_their_names_are() {
    let file = |speakers: [&str; 2]| {
        let mut read = recordings(vec![0.1], vec![3], TimeFormat::F32);
        read.items = vec![read.items[0].clone(); 2];
        read.items[1].speaker = 1;
        read.about.speakers = speakers.map(String::from).to_vec();
        Dataset::from_recordings(&read, &BinOptions::default()).unwrap()
    };
    let mut data = file(["ann", "ben"]);
    data.append(file(["ben", "cy"])).unwrap();
    assert_eq!(data.about.speakers, ["ann", "ben", "cy"]);
    assert_eq!(data.samples.iter().map(|s| s.speaker).collect::<Vec<_>>(), [0, 1, 1, 2]);
    data.append(file(["1", "0"])).unwrap();
    let mut numbers = file(["0", "1"]);
    numbers.about.speakers.clear();
    data.append(numbers).unwrap();
    assert_eq!(data.about.speakers, ["ann", "ben", "cy", "1", "0"]);
    let last: Vec<_> = data.samples[4..].iter().map(|s| s.speaker).collect();
    assert_eq!(last, [3, 4, 4, 3]);
    data.check_samples().unwrap();
}
