//! Encoders of recordings.

use std::collections::HashMap;
use std::f32::consts::TAU;
use std::fs;
use std::path::{Path, PathBuf};

use polychron_core::rng::Rng;
use polychron_datasets::encode::{self, Cochlea, Encoder};
use polychron_datasets::{Recordings, TimeFormat, shd};

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
    for encoder in [Encoder::Cochlea, Encoder::Delta] {
        let one = encode::folder(&root, encoder, 3, 1).unwrap();
        assert_eq!(one.keys, ["a speech", "tones"]);
        assert_eq!(one.items.iter().map(|r| r.label).collect::<Vec<_>>(), [0, 1, 1, 1]);
        for threads in [2, 3, 8] {
            assert!(encode::folder(&root, encoder, 3, threads).unwrap() == one);
        }
        let other = encode::folder(&root, encoder, 4, 1).unwrap();
        assert_eq!(other.items == one.items, encoder == Encoder::Delta);
    }
}

#[test]
fn every_wav_file_counts_and_no_class_is_lost_in_silence() {
    let root = folder("case");
    let plain = encode::folder(&root, Encoder::Delta, 0, 1).unwrap();
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
    assert!(encode::folder(&root, Encoder::Delta, 0, 1).unwrap() == plain);

    fs::create_dir(root.join("songs")).unwrap();
    fs::write(root.join("songs/0.mp3"), "no wav").unwrap();
    let encoded = encode::folder(&root, Encoder::Delta, 0, 1);
    let error = encoded.map(drop).unwrap_err().to_string();
    assert!(error.ends_with("case/songs: holds no wav file; every folder is a class"), "{error}");
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
    let speech = encode::folder(folder("bushy"), Encoder::Cochlea, 0, 1).unwrap();
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
    let read = encode::folder(&root, Encoder::Delta, 0, 1).unwrap();
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
    for encoder in [Encoder::Cochlea, Encoder::Delta] {
        let encoded = encode::folder(&root, encoder, 0, 2).unwrap();
        assert_eq!(encoded.time_format, TimeFormat::F32);
        let bytes = shd::to_bytes(&encoded).unwrap();
        let read = shd::from_bytes(bytes, &encoded.source, &shd::Options::default()).unwrap();
        assert!(read == encoded);
    }
    let none = Recordings {
        source: "x".into(),
        channels: 1,
        keys: vec![],
        time_format: TimeFormat::F32,
        items: vec![],
    };
    assert!(shd::to_bytes(&none).is_err());
}

#[test]
fn recordings_that_cannot_be_encoded_are_named() {
    let root = folder("errors");
    write(&root.join("tones/none.wav"), &[0.0; 400]);
    let error = encode::folder(&root, Encoder::Cochlea, 0, 2).unwrap_err().to_string();
    assert!(error.contains("tones/none.wav: is silent"), "{error}");
    fs::write(root.join("a speech/happy.wav"), "RIFF").unwrap();
    let error = encode::folder(&root, Encoder::Cochlea, 0, 2).unwrap_err().to_string();
    assert!(error.contains("a speech/happy.wav") && !error.contains('\n'), "{error}");
    fs::create_dir(root.join("empty")).unwrap();
    let error = encode::folder(root.join("empty"), Encoder::Delta, 0, 1).unwrap_err().to_string();
    assert!(error.contains("empty: holds no folders"), "{error}");
}
