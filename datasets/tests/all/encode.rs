//! Encoders of recordings.

use std::collections::HashMap;
use std::f32::consts::TAU;
use std::fs;
use std::path::{Path, PathBuf};

use polychron_core::rng::Rng;
use polychron_datasets::encode::{self, Cochlea, Encoder, Naming, Report};
use polychron_datasets::{About, Recordings, TimeFormat, shd};

use crate::wav::Wav;

const NAMES: [&str; 4] =
    ["a speech/happy.wav", "tones/1000.wav", "tones/300.wav", "tones/3000.wav"];
const ENCODERS: [Encoder; 2] = [Encoder::Cochlea { seed: 0 }, Encoder::Delta];

fn write(path: &Path, samples: &[f32]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(path, spec).unwrap();
    samples.iter().for_each(|s| wav.write_sample((s * 32767.0) as i16).unwrap());
    wav.finalize().unwrap();
}

fn tone(hz: f32, seconds: f32) -> Vec<f32> {
    (0..(16e3 * seconds) as usize).map(|n| 0.2 * (TAU * hz * n as f32 / 16e3).sin()).collect()
}

/// The recordings of a folder whose files can all be used.
fn encode(path: impl AsRef<Path>, encoder: Encoder, threads: usize) -> Recordings {
    let (recordings, report) = encode::folder(path, &Naming::default(), encoder, threads).unwrap();
    assert!(report.skipped.is_empty(), "{report:?}");
    recordings
}

fn lines(report: &Report) -> Vec<String> {
    report.skipped.iter().map(ToString::to_string).collect()
}

/// A folder of two classes, tones and speech.
fn folder(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("encode").join(name);
    let _ = fs::remove_dir_all(&root);
    for class in ["tones", "a speech"] {
        fs::create_dir_all(root.join(class)).unwrap();
    }
    for hz in [300, 1000, 3000] {
        write(&root.join(format!("tones/{hz}.wav")), &tone(hz as f32, 0.3));
    }
    let speech = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/commands/happy.wav");
    fs::copy(speech, root.join("a speech/happy.wav")).unwrap();
    root
}

fn times_of(recordings: &Recordings, item: usize, unit: u16) -> Vec<f32> {
    let item = &recordings.items[item];
    let of = item.times.iter().zip(&item.units).filter(|(_, u)| **u == unit);
    of.map(|(t, _)| *t).collect()
}

#[test]
fn classes_are_the_folders_and_the_number_of_threads_does_not_matter() {
    let root = folder("classes");
    for encoder in ENCODERS {
        let one = encode(&root, encoder, 1);
        assert_eq!(one.keys, ["a speech", "tones"]);
        assert_eq!(one.items.iter().map(|r| r.label).collect::<Vec<_>>(), [0, 1, 1, 1]);
        for threads in [2, 3, 8] {
            assert!(encode(&root, encoder, threads) == one);
        }
    }
    let [one, other] = [0, 4].map(|seed| encode(&root, Encoder::Cochlea { seed }, 1));
    assert!(other.items != one.items);
}

#[test]
fn every_wav_file_counts_and_no_class_is_lost_in_silence() {
    let root = folder("case");
    let plain = encode(&root, Encoder::Delta, 1);
    for (from, to) in [("tones/300.wav", "tones/300.WAV"), ("tones/1000.wav", "tones/1000.Wav")] {
        fs::rename(root.join(from), root.join(to)).unwrap();
    }
    fs::write(root.join("tones/._300.wav"), "of another system").unwrap();
    fs::write(root.join("tones/notes.txt"), "no sound").unwrap();
    for other in ["empty", "hidden", "_other"] {
        fs::create_dir(root.join(other)).unwrap();
    }
    fs::write(root.join("hidden/.DS_Store"), "").unwrap();
    fs::write(root.join("_other/0.mp3"), "no class").unwrap();
    assert!(encode(&root, Encoder::Delta, 1).items == plain.items);

    fs::create_dir(root.join("songs")).unwrap();
    fs::write(root.join("songs/list.txt"), "no sound").unwrap();
    let (encoded, report) = encode::folder(&root, &Naming::default(), Encoder::Delta, 1).unwrap();
    assert!(encoded.items == plain.items);
    let reasons = lines(&report);
    assert!(reasons[0].ends_with("case/songs: holds no sound file; every folder is a class"));
    assert_eq!(reasons.len(), 1, "{reasons:?}");
}

#[test]
fn a_tone_excites_the_channel_of_its_frequency() {
    let cochlea = Cochlea::new(700);
    let erbs = |hz: f64| 21.4 * (1.0 + 4.37e-3 * hz).log10();
    for hz in [200.0, 600.0, 1000.0, 2000.0] {
        let spikes = cochlea.spikes(&tone(hz as f32, 1.0), Rng::new(1, 2));
        let mean =
            spikes.units.iter().map(|&u| f64::from(u)).sum::<f64>() / spikes.units.len() as f64;
        let place = 699.0 * (erbs(hz) - erbs(80.0)) / (erbs(7600.0) - erbs(80.0));
        assert!((mean - place).abs() < 25.0, "{hz} Hz: {mean}, {place}");
    }
}

#[test]
fn a_bushy_cell_is_refractory_for_three_milliseconds() {
    let speech = encode(folder("bushy"), Encoder::Cochlea { seed: 0 }, 1);
    let item = &speech.items[0];
    assert!((300..13_000).contains(&item.times.len()), "{} spikes", item.times.len());
    let mut last = HashMap::new();
    for (&time, &unit) in item.times.iter().zip(&item.units) {
        let ms = (time * 1000.0).round() as i64;
        assert!((time - ms as f32 / 1000.0).abs() < 1e-6, "{time}");
        let before = last.insert(unit, ms);
        assert!(before.is_none_or(|before| ms - before >= 3), "{unit}: {before:?}, {ms}");
    }
}

#[test]
fn any_number_of_channels_encodes() {
    for (channels, spiking) in [(0, false), (17, true), (700, true), (u16::MAX, true)] {
        let spikes = Cochlea::new(channels).spikes(&tone(1000.0, 0.05), Rng::new(1, 2));
        assert!(spikes.units.iter().all(|&u| u < channels), "{channels}");
        assert_eq!(!spikes.units.is_empty(), spiking, "{channels}");
    }
}

#[test]
fn silence_gives_almost_no_spikes() {
    let spikes = Cochlea::new(700).spikes(&vec![0.0; 16_000], Rng::new(1, 2));
    assert!(spikes.times.len() < 10, "{}", spikes.times.len());
}

#[test]
fn a_burst_rises_and_falls() {
    let root = folder("burst");
    let mut burst = vec![0.0; 16_000];
    burst[4000..8000].copy_from_slice(&tone(1000.0, 0.25));
    write(&root.join("tones/burst.wav"), &burst);
    let read = encode(&root, Encoder::Delta, 1);
    assert_eq!(read.channels, 48);
    // 1000 Hz is 1000 mel; the bands are (2840 - 78) / 25 mel apart, starting at 78 mel.
    let band = ((1000.0 - 78.0) / (2840.0 - 78.0) * 25.0f64).round() as u16 - 1;
    let item = read.items.len() - 1;
    let (rises, falls) = (times_of(&read, item, band), times_of(&read, item, 24 + band));
    // 55 dB are six steps of 9 dB.
    assert_eq!((rises.len(), falls.len()), (6, 6));
    assert!(rises.iter().all(|t| (0.23..0.27).contains(t)), "{rises:?}");
    assert!(falls.iter().all(|t| (0.48..0.52).contains(t)), "{falls:?}");
}

#[test]
fn the_file_holds_what_was_encoded() {
    let root = folder("file");
    for encoder in ENCODERS {
        let encoded = encode(&root, encoder, 2);
        assert_eq!(encoded.time_format, TimeFormat::F32);
        let bytes = shd::to_bytes(&encoded).unwrap();
        let read = shd::from_bytes(bytes, &encoded.source, &shd::Options::default()).unwrap();
        assert!(read == encoded);
        assert_eq!(encoded.about.names, NAMES);
        assert_eq!(encoded.about.encoder.parse::<Encoder>().unwrap(), encoder);
        let first = encode::file(root.join(NAMES[0]), encoder).unwrap();
        assert_eq!(
            (first.times, first.units),
            (read.items[0].times.clone(), read.items[0].units.clone())
        );
    }
    for text in ["", "cochlea", "cochlea seed -1", "delta seed 0"] {
        let error = text.parse::<Encoder>().unwrap_err().to_string();
        assert!(error.contains("is no encoder of this version; use"), "{error}");
    }
    let none = Recordings {
        source: "x".into(),
        channels: 1,
        keys: vec![],
        time_format: TimeFormat::F32,
        about: About::default(),
        items: vec![],
    };
    assert!(shd::to_bytes(&none).is_err());
}

#[test]
fn files_that_cannot_be_used_are_left_out_with_their_reason() {
    let root = folder("errors");
    let plain = encode(&root, Encoder::Delta, 1);
    fs::write(root.join("tones/a.wav"), "RIFF").unwrap();
    fs::write(root.join("tones/b.mp3"), "ID3").unwrap();
    fs::create_dir_all(root.join("b songs")).unwrap();
    fs::write(root.join("b songs/c.m4a"), b"\0\0\0\x20ftypM4A ").unwrap();
    for threads in [1, 2] {
        let (encoded, report) =
            encode::folder(&root, &Naming::default(), Encoder::Delta, threads).unwrap();
        assert_eq!((&encoded.keys, &encoded.items), (&plain.keys, &plain.items));
        let expected = [
            "errors/b songs/c.m4a: is an MP4 file",
            "errors/tones/a.wav: is a RIFF file without sound",
            "errors/tones/b.mp3: is an MP3 file",
            "errors: no recording of the class b songs can be used",
        ];
        let reasons = lines(&report);
        assert_eq!(reasons.len(), expected.len(), "{reasons:?}");
        for (reason, expected) in reasons.iter().zip(expected) {
            assert!(reason.contains(expected) && !reason.contains('\n'), "{reason}");
        }
    }
    let none = root.join("none");
    fs::create_dir_all(none.join("tones")).unwrap();
    let error = |path: &Path| {
        encode::folder(path, &Naming::default(), Encoder::Delta, 1)
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    let empty = error(&none);
    assert!(empty.contains("none: holds no folders of sound files"), "{empty}");
    fs::write(none.join("tones/a.wav"), "RIFF").unwrap();
    fs::write(none.join("tones/b.wav"), "RIFF").unwrap();
    let unusable = error(&none);
    assert!(unusable.contains("none of 2 sound files can be used: ") && !unusable.contains('\n'));
    assert!(unusable.contains("tones/a.wav: is a RIFF file without sound"), "{unusable}");
}

#[test]
fn silence_is_a_class_with_fewer_spikes_than_speech() {
    let root = folder("silence");
    let silence = root.join("silence");
    fs::create_dir(&silence).unwrap();
    let random = Rng::new(1, 2);
    let noise = |n: u64| random.uniform::<f64>(n) - 0.5;
    let flicker = |n: u64| (random.uniform::<f64>(n) * 3.0) as i16 - 1;
    let of_8_bits = (0..8000).map(|n| (128 + flicker(n)) as u8).collect();
    let of_24_bits = (0..8000).flat_map(|n| {
        // A deviation of 1e-4, -80 dB.
        let sample = (noise(n) * 12f64.sqrt() * 1e-4 * 8_388_608.0) as i32;
        sample.to_le_bytes()[..3].to_vec()
    });
    let files = [
        Wav::of(&[0; 8000]),
        Wav::of(&(0..8000).map(|n| 700 + flicker(n)).collect::<Vec<_>>()),
        Wav::new(1, 8, 1, of_8_bits),
        Wav::new(1, 24, 3, of_24_bits.collect()),
    ];
    for (n, file) in files.iter().enumerate() {
        fs::write(silence.join(format!("{n}.wav")), file.bytes()).unwrap();
    }
    for encoder in ENCODERS {
        let (encoded, report) = encode::folder(&root, &Naming::default(), encoder, 2).unwrap();
        assert_eq!(encoded.keys, ["a speech", "silence", "tones"]);
        let spikes: Vec<usize> = encoded.items.iter().map(|item| item.times.len()).collect();
        assert!(spikes[1..5].iter().all(|&n| 10 * n <= spikes[0]), "{spikes:?}");
        let without = spikes.iter().filter(|&&n| n == 0).count();
        assert_eq!((report.silent, report.quiet, report.without_spikes), (3, 1, without));
        assert_eq!((report.offset, report.skipped.len()), (1, 0));
        let [low, high] = report.levels.unwrap();
        assert!((-80.5..-79.5).contains(&low) && (-25.0..-10.0).contains(&high), "{low} {high}");
    }
}

#[test]
fn recordings_of_any_rate_give_about_the_same_spikes() {
    let root = folder("rates");
    for class in ["a speech", "tones"] {
        fs::remove_dir_all(root.join(class)).unwrap();
    }
    fs::create_dir(root.join("vowel")).unwrap();
    // A vowel of harmonics of 150 Hz, up to 3 kHz.
    let vowel = |rate: u32| {
        let at = |n: u32, k: u32| TAU * 150.0 * (n * k) as f32 / rate as f32;
        let sum = |n| (1..20).map(|k| at(n, k).sin() / k as f32).sum::<f32>();
        (0..rate / 2).map(|n| (4000.0 * sum(n)) as i16).collect::<Vec<_>>()
    };
    let stereo: Vec<i16> = vowel(44_100).into_iter().flat_map(|s| [s, s / 2]).collect();
    let wide = vowel(48_000).iter().flat_map(|s| [&[0][..], &s.to_le_bytes()].concat()).collect();
    let files = [
        Wav::of(&vowel(16_000)),
        Wav { rate: 8_000, ..Wav::of(&vowel(8_000)) },
        Wav { rate: 44_100, channels: 2, ..Wav::of(&stereo) },
        Wav { rate: 48_000, ..Wav::new(1, 24, 3, wide) },
    ];
    for (n, file) in files.iter().enumerate() {
        fs::write(root.join(format!("vowel/{n}.wav")), file.bytes()).unwrap();
    }
    for encoder in ENCODERS {
        let (encoded, report) = encode::folder(&root, &Naming::default(), encoder, 1).unwrap();
        assert_eq!((report.resampled, report.mixed, report.skipped.len()), (3, 1, 0));
        let spikes: Vec<usize> = encoded.items.iter().map(|item| item.times.len()).collect();
        let first = spikes[0] as f64;
        assert!(spikes.iter().all(|&n| (n as f64 / first - 1.0).abs() < 0.2), "{spikes:?}");
    }
}
