//! Sound files.

use std::f64::consts::TAU;
use std::fs;
use std::path::{Path, PathBuf};

use polychron_datasets::sound::{self, Sound};

use crate::wav::{Wav, chunk, extensible};

fn read(bytes: Vec<u8>) -> Sound {
    sound::from_bytes(bytes, "x").unwrap_or_else(|e| panic!("{e}"))
}

fn error(bytes: Vec<u8>) -> String {
    let error = sound::from_bytes(bytes, "x").map(drop).unwrap_err().to_string();
    assert!(error.starts_with("x: ") && !error.contains('\n'), "{error}");
    error
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sound").join(name)
}

/// A tone at full scale `amplitude`, in steps of 1/32768.
fn tone(hz: f64, rate: u32, seconds: f64, amplitude: f64) -> Vec<i16> {
    let at = |n| TAU * hz * f64::from(n) / f64::from(rate);
    let count = (seconds * f64::from(rate)) as u32;
    (0..count).map(|n| (amplitude * at(n).sin() * 32768.0).round() as i16).collect()
}

fn wav() -> Wav {
    Wav::of(&tone(440.0, 16_000, 0.01, 0.5))
}

#[test]
fn chunks_around_the_data_are_skipped() {
    let plain = read(wav().bytes()).samples;
    let between = [
        // A note of 30 and XML of 35 bytes, with the byte after it.
        [chunk(b"LIST", &[0; 30]), chunk(b"axml", &[b'<'; 35]), vec![0]].concat(),
        [chunk(b"id3 ", &[7]), vec![b' ']].concat(),
        // Written without the byte.
        chunk(b"axml", b"odd"),
        [chunk(b"cue ", &[1; 5]), vec![0], chunk(b"JUNK", &[0; 28])].concat(),
    ];
    for between in between {
        assert_eq!(read(Wav { between, ..wav() }.bytes()).samples, plain);
    }
    let mut tail = wav().bytes();
    tail.extend(chunk(b"LIST", &[1; 9]));
    assert_eq!(read(tail).samples, plain);
    let twice = [wav().bytes(), chunk(b"data", &[0; 8])].concat();
    assert!(error(twice).ends_with("has several data chunks; convert it to a file with one"));
}

#[test]
fn sound_whose_length_was_not_known_ends_with_the_file() {
    let plain = read(wav().bytes()).samples;
    let sizes = [
        (u32::MAX, u32::MAX),       // ffmpeg
        (0x7fff_f024, 0x7fff_f000), // sox
        (0x8000_0024, 0x8000_0000), // arecord
        (36, 0),                    // an interrupted program
        (0, 0),
    ];
    for sizes in sizes {
        let mut streamed = Wav { sizes: Some(sizes), ..wav() };
        assert_eq!(read(streamed.bytes()).samples, plain, "{sizes:x?}");
        streamed.data.push(1);
        assert_eq!(read(streamed.bytes()).samples, plain, "{sizes:x?}");
    }
    let data = wav().data.len() as u32;
    let mut long = wav().bytes();
    let ds64 = [0u64, u64::from(data), 0].map(u64::to_le_bytes).concat();
    long.splice(12..12, chunk(b"ds64", &ds64));
    long[..8].copy_from_slice(b"RF64\xff\xff\xff\xff");
    let at = long.len() - data as usize - 4;
    long[at..at + 4].fill(0xff);
    long.extend(chunk(b"LIST", &[1; 8]));
    assert_eq!(read(long).samples, plain);
}

#[test]
fn a_length_that_is_wrong_is_not_trusted() {
    let right = wav().bytes().len() as u32 - 8;
    let none = error(Wav { sizes: Some((right, 0)), ..wav() }.bytes());
    assert!(none.ends_with("holds no samples: the header counts 0 bytes, 320 follow"), "{none}");
    let cut = error(wav().bytes()[..200].to_vec());
    assert!(cut.ends_with("it ends at byte 200 of 364; copy it again"), "{cut}");
    let empty = error(Wav::of(&[]).bytes());
    assert!(empty.ends_with("holds no samples"), "{empty}");
    let headless = error(wav().bytes()[..40].to_vec());
    assert!(headless.ends_with("it has no data chunk"), "{headless}");
}

#[test]
fn every_number_format_gives_the_same_samples() {
    let samples = tone(440.0, 16_000, 0.01, 0.9);
    let int = |bytes: usize, lowest: u32| -> Vec<u8> {
        let wide = samples.iter().map(|&s| (i32::from(s) << 16) >> lowest << lowest);
        wide.flat_map(|s| s.to_le_bytes()[4 - bytes..].to_vec()).collect()
    };
    let unsigned = samples.iter().map(|&s| ((s >> 8) + 128) as u8).collect();
    let fraction = |s: i16| f32::from(s) / 32768.0;
    let single: Vec<u8> = samples.iter().flat_map(|&s| fraction(s).to_le_bytes()).collect();
    let double = samples.iter().flat_map(|&s| f64::from(fraction(s)).to_le_bytes()).collect();
    let extended = |wav: Wav, extension| Wav { tag: 0xfffe, extension, ..wav };
    let formats = [
        (Wav::new(1, 8, 1, unsigned), 8),
        (Wav::new(1, 12, 2, int(2, 20)), 12),
        (Wav::new(1, 16, 2, int(2, 0)), 16),
        (Wav::new(1, 24, 3, int(3, 0)), 16),
        (Wav::new(1, 24, 4, int(4, 0)), 16),
        (Wav::new(1, 32, 4, int(4, 0)), 16),
        (Wav { extension: vec![0; 2], ..Wav::new(1, 16, 2, int(2, 0)) }, 16),
        (Wav::new(3, 32, 4, single.clone()), 16),
        (Wav { extension: vec![0; 2], ..Wav::new(3, 32, 4, single.clone()) }, 16),
        (Wav { extension: vec![0; 24], ..Wav::new(3, 32, 4, single.clone()) }, 16),
        (Wav::new(3, 64, 8, double), 16),
        (extended(Wav::new(1, 16, 2, int(2, 0)), extensible(16, 1)), 16),
        (extended(Wav::new(1, 24, 3, int(3, 12)), extensible(20, 1)), 16),
        (extended(Wav::new(1, 32, 4, int(4, 8)), extensible(24, 1)), 16),
        (extended(Wav::new(3, 32, 4, single), extensible(32, 3)), 16),
    ];
    for (wav, bits) in formats {
        let read = read(wav.bytes());
        let step = 2f32.powi(1 - bits);
        for (x, &s) in read.samples.iter().zip(&samples) {
            assert!((x - fraction(s)).abs() < if bits == 16 { 1e-9 } else { step }, "{bits}");
        }
        assert_eq!(read.samples.len(), samples.len());
    }
}

#[test]
fn telephone_codes_are_those_of_g711() {
    let cases = [
        (7, [0xff, 0x7f, 0x80, 0x00, 0xbf, 0x9c], [0, 0, 32124, -32124, 1980, 9852]),
        (6, [0xd5, 0x55, 0xaa, 0x2a, 0xe5, 0x9c], [8, -8, 32256, -32256, 1056, 3264]),
    ];
    for (tag, codes, values) in cases {
        let read = read(Wav { rate: 16_000, ..Wav::new(tag, 8, 1, codes.to_vec()) }.bytes());
        assert_eq!(read.samples, values.map(|v| v as f32 / 32768.0), "{tag}");
    }
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    let wrong = [
        (Wav::new(1, 16, 3, vec![0; 12]), "blocks of 3 bytes contradict 1 channels of 16 bits"),
        (Wav::new(1, 33, 5, vec![0; 10]), "samples of 33 bits"),
        (Wav::new(3, 16, 2, vec![0; 10]), "samples of 16 bits"),
        (Wav::new(0x11, 4, 1, vec![0; 10]), "format 0x0011 is compressed; convert it"),
        (Wav { tag: 0xfffe, ..Wav::new(1, 16, 2, vec![0; 8]) }, "fmt chunk: is too short"),
        (Wav { channels: 0, ..wav() }, "channels = 0 is not at least 1"),
        (Wav { rate: 1, ..wav() }, "sample rate = 1 is not from 4000 to 768000 Hz"),
        (Wav::new(3, 32, 4, f32::NAN.to_le_bytes().into()), "samples[0] = NaN is not finite"),
    ];
    for (wav, expected) in wrong {
        let error = error(wav.bytes());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn other_sample_rates_are_resampled() {
    for rate in [8_000, 11_025, 16_000, 22_050, 32_000, 44_056, 44_100, 48_000, 96_000, 192_000] {
        let hz = 1000.0;
        let wav = Wav { rate, ..Wav::of(&tone(hz, rate, 0.25, 0.5)) };
        let read = read(wav.bytes());
        let count = (wav.data.len() as u64 / 2 * 16_000).div_ceil(rate.into());
        assert_eq!((read.samples.len() as u64, read.rate), (count, rate));
        for n in 500..3500 {
            let expected = 0.5 * (TAU * hz * n as f64 / 16e3).sin();
            let difference = f64::from(read.samples[n]) - expected;
            assert!(difference.abs() < 1e-4, "{rate} Hz, {n}: {difference}");
        }
    }
    // 10 kHz does not fold back to 6 kHz.
    let high = Wav { rate: 48_000, ..Wav::of(&tone(10e3, 48_000, 0.25, 0.5)) };
    let samples = read(high.bytes()).samples;
    assert!(samples[500..3500].iter().all(|x| x.abs() < 1e-4));
    // A constant offset has no edges.
    let offset = Wav { rate: 44_100, ..Wav::of(&[8192; 4410]) };
    assert!(read(offset.bytes()).samples.iter().all(|x| (x - 0.25).abs() < 1e-5));
}

#[test]
fn channels_are_averaged() {
    let left = tone(440.0, 16_000, 0.01, 0.5);
    let stereo: Vec<i16> = left.iter().flat_map(|&s| [s, s / 2]).collect();
    let read = read(Wav { channels: 2, ..Wav::of(&stereo) }.bytes());
    assert_eq!((read.samples.len(), read.channels), (left.len(), 2));
    for (x, s) in read.samples.iter().zip(left) {
        assert_eq!(*x, (f32::from(s) + f32::from(s / 2)) / 65536.0);
    }
}

#[test]
fn clipping_and_silence_are_recognised() {
    let clipped = |samples: &[i16]| read(Wav::of(samples).bytes()).clipped;
    assert_eq!(clipped(&[0, 32767, 32767, 0, -32768, 0]), 0);
    assert_eq!(clipped(&[0, 32767, 32767, 32767, 32767, 0, -32768, -32767, -32768]), 7);
    let silent = |samples: &[i16]| read(Wav::of(samples).bytes()).silent;
    assert!(silent(&[0; 99]) && silent(&[500, 501, 499, 500]) && !silent(&[0, 0, 0, 9]));
    let flicker = Wav::new(1, 8, 1, vec![128, 127, 128, 129]);
    assert!(read(flicker.bytes()).silent);
    let stereo = read(Wav { channels: 2, ..Wav::of(&[32767, 0, 32767, 0, 32767, 0]) }.bytes());
    assert_eq!(stereo.clipped, 3);
}

#[test]
fn flac_and_vorbis_are_decoded() {
    for (name, tolerance) in [("tone.flac", 1e-4), ("tone.ogg", 0.08)] {
        let read = sound::read(fixture(name)).unwrap();
        assert_eq!((read.samples.len(), read.rate, read.channels), (4800, 22_050, 2));
        for n in 400..4400 {
            let expected = 0.375 * (TAU * 1000.0 * n as f64 / 16e3).sin();
            let difference = f64::from(read.samples[n]) - expected;
            assert!(difference.abs() < tolerance, "{name}, {n}: {difference}");
        }
    }
}

#[test]
fn damaged_flac_and_vorbis_are_refused() {
    for name in ["tone.flac", "tone.ogg"] {
        let whole = fs::read(fixture(name)).unwrap();
        for part in [3, 10, 50, 95] {
            error(whole[..whole.len() * part / 100].to_vec());
        }
        let mut flipped = whole.clone();
        let middle = whole.len() - 500;
        flipped[middle] ^= 8;
        error(flipped);
    }
}

#[test]
fn headers_of_vorbis_on_which_the_decoder_would_fail_are_refused() {
    // A changed byte of the setup header, and the checksum of its page.
    let cases = [
        ((201, 0), [62, 144, 82, 127], "has an empty codebook"),
        ((202, 255), [108, 109, 12, 237], "has codebooks that are too large"),
        ((206, 255), [85, 120, 95, 162], "has a code of more than 32 bits"),
        ((3538, 64), [87, 213, 155, 245], "has a floor with a point that is repeated"),
    ];
    for ((at, byte), checksum, expected) in cases {
        let mut bytes = fs::read(fixture("tone.ogg")).unwrap();
        bytes[at] = byte;
        bytes[80..84].copy_from_slice(&checksum);
        let error = error(bytes);
        assert!(error.ends_with(expected), "{error}");
    }
}

#[test]
fn any_bytes_are_a_sound_or_an_error() {
    let mut files = vec![wav().bytes(), Wav { channels: 3, ..wav() }.bytes()];
    files.extend(["tone.flac", "tone.ogg"].map(|name| fs::read(fixture(name)).unwrap()));
    for file in files {
        for n in 0..400 {
            let mut bytes = file.clone();
            let at = n * 7919 % file.len().min(4000);
            bytes[at] ^= 1 << (n % 8);
            let _ = sound::from_bytes(bytes, "x");
            let _ = sound::from_bytes(file[..file.len() * n / 400].to_vec(), "x");
        }
    }
}

#[test]
fn a_small_file_does_not_hold_hours() {
    // Blocks of 65536 zeros in 14 bytes.
    let mut flac = b"fLaC\x80\0\0\x22\xff\xff\xff\xff\0\0\0\0\0\0".to_vec();
    // 16 kHz, one channel, 16 bits, an unknown number of samples and no checksum.
    flac.extend([0x03, 0xe8, 0x00, 0xf0, 0, 0, 0, 0]);
    flac.extend([0; 16]);
    for n in 0..300u32 {
        let start = flac.len();
        flac.extend([0xff, 0xf8, 0x75, 0x08]);
        flac.extend(char::from_u32(n).unwrap().to_string().bytes());
        flac.extend([0xff, 0xfe]);
        flac.push(crc(&flac[start..], 0x07, 8) as u8);
        flac.extend([0, 0, 0]);
        flac.extend((crc(&flac[start..], 0x8005, 16) as u16).to_be_bytes());
    }
    let error = error(flac.clone());
    assert!(error.ends_with("holds more than 16777216 samples"), "{error}");
    let few: Vec<u8> = flac[..flac.len() - 100 * 14].to_vec();
    assert!(read(few).silent);
}

/// A checksum of FLAC.
fn crc(bytes: &[u8], polynomial: u32, width: u32) -> u32 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << (width - 8), |crc, _| {
            let shifted = crc << 1;
            (if crc >> (width - 1) & 1 == 1 { shifted ^ polynomial } else { shifted })
                & ((1 << width) - 1)
        })
    })
}

#[test]
fn other_files_are_named() {
    let cases: [(&[u8], &str); 8] = [
        (b"", "x: is empty"),
        (b"ID3\x03rest", "is an MP3 file; convert it, for example with ffmpeg -i IN"),
        (b"\xff\xfb\x90rest", "is an MP3 or AAC file"),
        (b"FORM....AIFF", "is an AIFF file"),
        (b"\0\0\0\x20ftypM4A ", "is an MP4 file"),
        (b"<!DOCTYPE html>", "is a web page; download the recording again"),
        (b"version https://git-lfs", "is a Git LFS pointer; run git lfs pull"),
        (b"no sound", "is no wav, FLAC or Ogg Vorbis file"),
    ];
    for (bytes, expected) in cases {
        let error = error(bytes.to_vec());
        assert!(error.contains(expected), "{error}");
    }
}
