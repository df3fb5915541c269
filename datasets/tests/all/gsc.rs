//! Google Speech Commands: the front-end and its cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hound::{SampleFormat, WavSpec, WavWriter};
use polychron_datasets::gsc::{self, Bands, FrontEnd};
use polychron_datasets::{Augment, Entry, Error, Pool, SampleBatch, SpikeTrain};
use safetensors::SafeTensors;

/// Modification time of every recording, in s since 1970, so that copies agree.
const CHANGED: Duration = Duration::from_secs(1_700_000_000);
const CACHE: &str = "polychron-full.levels";

fn tests(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
}

fn fixture(word: &str) -> PathBuf {
    tests("fixtures/commands").join(word).with_extension("wav")
}

fn samples(word: &str) -> Vec<f32> {
    let mut wav = hound::WavReader::open(fixture(word)).unwrap();
    wav.samples::<i16>().map(|s| f32::from(s.unwrap()) / 32768.0).collect()
}

/// A data folder with five recordings of two words, one to validate and one to test on.
struct Commands(PathBuf);

impl Commands {
    fn new(name: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gsc").join(name);
        let _ = fs::remove_dir_all(&root);
        for folder in ["happy", "backward", "_background_noise_"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let commands = Self(root);
        for name in ["happy/a_nohash_0.wav", "happy/b_nohash_0.wav", "happy/c_nohash_0.wav"] {
            commands.put(name, &fs::read(fixture("happy")).unwrap());
        }
        for name in ["backward/a_nohash_0.wav", "backward/a_nohash_1.wav"] {
            commands.put(name, &fs::read(fixture("backward")).unwrap());
        }
        commands.put("_background_noise_/hiss.wav", b"no sound");
        commands.put("happy/readme.txt", b"no sound");
        commands.put("validation_list.txt", b"happy/b_nohash_0.wav\n");
        commands.put("testing_list.txt", b"backward/a_nohash_1.wav\r\n\n");
        commands
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.join(name), bytes).unwrap();
        let file = fs::File::options().write(true).open(self.0.join(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + CHANGED).unwrap();
    }

    /// Damages a recording, but keeps its size and modification time.
    fn damage(&self, name: &str) {
        let len = fs::metadata(self.0.join(name)).unwrap().len() as usize;
        self.put(name, &vec![0; len]);
    }

    fn read(&self, bands: Bands) -> Result<gsc::Commands, Error> {
        gsc::read(&self.0, bands, 2)
    }

    fn error(&self) -> String {
        let error = self.read(Bands::Full).map(drop).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    }
}

#[test]
fn spectra_are_those_of_torchaudio() {
    let file = fs::read(tests("golden/gsc.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&file).unwrap();
    for word in ["happy", "backward", "forward"] {
        for (bands, name) in [(Bands::Full, "full"), (Bands::Paper, "paper")] {
            let tensor = golden.tensor(&format!("{word}.{name}")).unwrap();
            assert_eq!(tensor.shape(), [gsc::STEPS, gsc::CHANNELS]);
            let expected = tensor.data().chunks_exact(4);
            let expected = expected.map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            let decibels = FrontEnd::new(bands).decibels(&samples(word));
            assert_eq!(decibels.len(), expected.len());
            let worst = decibels.iter().zip(expected).map(|(a, b)| (a - b).abs());
            let worst = worst.fold(0.0, f32::max);
            assert!(worst < 1e-4, "{word}, {name}: {worst} dB");
        }
    }
}

#[test]
fn the_lists_divide_what_the_folders_hold() {
    let commands = Commands::new("folders");
    let read = commands.read(Bands::Full).unwrap();
    read.data.validate().unwrap();
    assert_eq!((read.train, read.valid, read.test), (3, 1, 1));
    assert_eq!(read.data.class_names, ["backward", "happy"]);
    let labels: Vec<_> = read.data.samples.iter().map(|s| s.label).collect();
    assert_eq!(labels, [0, 1, 1, 1, 0]);
    assert!(read.cache_error.is_none());

    let archive = commands.0.join("data/speech_commands_v0.02");
    fs::create_dir_all(commands.0.join("data")).unwrap();
    let moved = Commands::new("moved").0;
    fs::rename(moved, &archive).unwrap();
    let beside = gsc::read(commands.0.join("data"), Bands::Full, 1).unwrap();
    assert_eq!(beside.data.samples, read.data.samples);
    assert!(archive.join(CACHE).is_file());
}

#[test]
fn a_batch_holds_the_decibels() {
    let read = Commands::new("batch").read(Bands::Full).unwrap();
    let decibels = ["backward", "happy"].map(|w| FrontEnd::new(Bands::Full).decibels(&samples(w)));
    let batch = SampleBatch::assemble(&read.data, &[1, 4], None).unwrap();
    assert_eq!((batch.steps, batch.channels), (gsc::STEPS, gsc::CHANNELS));
    assert_eq!((&batch.labels[..], &batch.lengths[..]), (&[1, 0][..], &[gsc::STEPS; 2][..]));
    for (i, x) in batch.dense().iter().enumerate() {
        let (t, b, n) = (i / 2 / gsc::CHANNELS, i / gsc::CHANNELS % 2, i % gsc::CHANNELS);
        let expected = decibels[1 - b][t * gsc::CHANNELS + n];
        assert!((x - expected).abs() < 1e-3, "{t} {b} {n}: {x}, {expected}");
    }
    let short = SampleBatch::assemble(&read.data, &[1], Some(60)).unwrap();
    let long = SampleBatch::assemble(&read.data, &[1], Some(120)).unwrap();
    assert_eq!(short.dense()[..], long.dense()[..short.dense().len()]);
    assert!(long.dense()[gsc::STEPS * gsc::CHANNELS..].iter().all(|&x| x == 0.0));
}

#[test]
fn silence_is_one_level() {
    let commands = Commands::new("silence");
    let mut silent = fs::read(fixture("happy")).unwrap();
    silent[44..].fill(0);
    commands.put("happy/a_nohash_0.wav", &silent);
    for _ in 0..2 {
        let data = commands.read(Bands::Full).unwrap().data;
        data.validate().unwrap();
        let values = data.samples[1].dense.as_ref().unwrap().values();
        assert!(values.eq([-100.0; gsc::STEPS * gsc::CHANNELS]));
    }
}

#[test]
fn dense_samples_are_checked_and_not_augmented() {
    let whole = Commands::new("dense").read(Bands::Full).unwrap().data;
    let error = |change: &dyn Fn(&mut SpikeTrain)| {
        let mut data = whole.clone();
        change(&mut data.samples[3]);
        data.validate().unwrap_err().to_string()
    };
    let short = error(&|s| s.dense.as_mut().unwrap().levels.truncate(7));
    assert!(
        short.ends_with("samples[3].dense = 7 levels do not fill 101 steps of 140 channels"),
        "{short}"
    );
    let both = error(&|s| s.entries.push(Entry { step: 0, channel: 0, count: 1 }));
    assert!(
        both.ends_with("samples[3].entries = 1 entries in a dense sample, which has none"),
        "{both}"
    );
    let unit = error(&|s| s.dense.as_mut().unwrap().unit = f32::MAX);
    assert!(unit.contains("samples[3].dense.unit"), "{unit}");

    Augment::default().check(&whole).unwrap();
    let drop = Augment { drop: 0.5, ..Augment::default() };
    let error = drop.check(&whole).unwrap_err().to_string();
    assert!(error.starts_with("augment: drop = 0.5 changes spikes, but "), "{error}");
    assert!(error.ends_with("/dense holds real values; use 0"), "{error}");
    assert_eq!(
        drop.samples(&whole, &Pool::default(), &[2], 0, 0),
        [(whole.samples[2].clone(), None)]
    );
}

#[test]
fn cached_spectra_are_those_computed_by_any_number_of_threads() {
    let commands = Commands::new("kept");
    let made = commands.read(Bands::Full).unwrap();
    commands.damage("happy/c_nohash_0.wav");
    assert_eq!(commands.read(Bands::Full).unwrap().data, made.data);
    let others = Commands::new("kept");
    assert_eq!(gsc::read(&others.0, Bands::Full, 1).unwrap().data, made.data);
}

#[test]
fn spectra_are_computed_again_after_any_change() {
    let damaged = "happy/c_nohash_0.wav";
    type Change<'a> = (&'a str, &'a dyn Fn(&Commands));
    let changes: [Change<'_>; 10] = [
        ("flipped", &|c| {
            let mut bytes = fs::read(c.0.join(CACHE)).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(c.0.join(CACHE), bytes).unwrap();
        }),
        ("truncated", &|c| {
            let bytes = fs::read(c.0.join(CACHE)).unwrap();
            fs::write(c.0.join(CACHE), &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("empty", &|c| fs::write(c.0.join(CACHE), "").unwrap()),
        ("absent", &|c| fs::remove_file(c.0.join(CACHE)).unwrap()),
        ("other", &|c| {
            fs::copy(c.0.join(CACHE), c.0.join("polychron-paper.levels")).unwrap();
            fs::remove_file(c.0.join(CACHE)).unwrap();
        }),
        ("added", &|c| c.put("happy/d_nohash_0.wav", &fs::read(fixture("happy")).unwrap())),
        ("renamed", &|c| {
            fs::rename(c.0.join("happy/a_nohash_0.wav"), c.0.join("happy/a_nohash_9.wav")).unwrap();
        }),
        ("touched", &|c| {
            let file = fs::File::options().write(true).open(c.0.join("happy/a_nohash_0.wav"));
            let later = SystemTime::UNIX_EPOCH + CHANGED + Duration::from_nanos(1000);
            file.unwrap().set_modified(later).unwrap();
        }),
        ("longer", &|c| {
            let mut bytes = fs::read(fixture("happy")).unwrap();
            bytes.push(0);
            c.put("happy/a_nohash_0.wav", &bytes);
        }),
        ("divided", &|c| c.put("validation_list.txt", b"happy/a_nohash_0.wav\n")),
    ];
    for (name, change) in changes {
        let commands = Commands::new(name);
        commands.read(Bands::Full).unwrap();
        commands.damage(damaged);
        commands.read(Bands::Full).unwrap();
        change(&commands);
        let bands = if name == "other" { Bands::Paper } else { Bands::Full };
        let error = commands.read(bands).map(drop).unwrap_err().to_string();
        assert!(error.contains(damaged), "{name}: {error}");

        commands.put(damaged, &fs::read(fixture("happy")).unwrap());
        let again = commands.read(bands).unwrap().data;
        let _ = fs::remove_file(commands.0.join(CACHE));
        let _ = fs::remove_file(commands.0.join("polychron-paper.levels"));
        assert_eq!(commands.read(bands).unwrap().data, again, "{name}");
    }
}

#[test]
fn a_failed_write_of_the_cache_is_reported() {
    let commands = Commands::new("unsaved");
    fs::create_dir(commands.0.join(CACHE)).unwrap();
    let read = commands.read(Bands::Full).unwrap();
    let told = read.cache_error.unwrap().to_string();
    assert!(told.contains(CACHE) && !told.contains('\n'), "{told}");
    assert_eq!(read.data.samples.len(), 5);
    let left: Vec<_> = fs::read_dir(&commands.0).unwrap().map(|f| f.unwrap().path()).collect();
    assert!(left.iter().all(|f| f.extension().is_none_or(|e| e != "tmp")), "{left:?}");
}

#[test]
fn abandoned_temporary_files_are_removed_and_those_in_use_are_kept() {
    let commands = Commands::new("others");
    let [held, left, notes] = ["full.levels.1.tmp", "full.levels.2.tmp", "full.notes.tmp"]
        .map(|name| commands.0.join(format!(".polychron-{name}")));
    for file in [&held, &left, &notes] {
        fs::write(file, "half of it").unwrap();
    }
    let at_work = fs::File::open(&held).unwrap();
    at_work.lock().unwrap();
    assert!(commands.read(Bands::Full).unwrap().cache_error.is_none());
    assert_eq!(fs::read(&held).unwrap(), b"half of it");
    assert!(notes.exists() && !left.exists());
}

#[test]
fn invalid_recordings_are_named() {
    let commands = Commands::new("kinds");
    let name = "happy/b_nohash_0.wav";
    let wav = |rate, channels, samples: &[f32]| {
        let mut out = std::io::Cursor::new(Vec::new());
        let spec = WavSpec {
            channels,
            sample_rate: rate,
            bits_per_sample: 32,
            sample_format: SampleFormat::Float,
        };
        let mut writer = WavWriter::new(&mut out, spec).unwrap();
        samples.iter().for_each(|&s| writer.write_sample(s).unwrap());
        writer.finalize().unwrap();
        out.into_inner()
    };
    let whole = fs::read(fixture("happy")).unwrap();
    let cases = [
        (wav(800, 1, &[0.0; 8]), "sample rate = 800 is not from 4000 to 768000 Hz"),
        (wav(16000, 1, &[]), "holds no samples"),
        (wav(16000, 1, &[0.0, f32::NAN]), "samples[1] = NaN is not finite"),
        (whole[..whole.len() - 1000].to_vec(), "not a complete wav file"),
        (whole[..20].to_vec(), "fmt chunk: is too short"),
        (vec![], "is empty"),
        (b"RIFF no sound".to_vec(), "is a RIFF file without sound"),
    ];
    for (bytes, problem) in cases {
        commands.put(name, &bytes);
        let error = commands.error();
        assert!(error.contains(name) && error.contains(problem), "{problem}: {error}");
    }
}

#[test]
fn recordings_of_the_lists_that_are_gone_are_counted() {
    let commands = Commands::new("gone");
    commands.put(
        "validation_list.txt",
        b"happy/b_nohash_0.wav\nstop/a_nohash_0.wav\nhappy/z_nohash_0.wav\n",
    );
    commands.put(
        "testing_list.txt",
        b"stop/a_nohash_0.wav\nstop/b_nohash_0.wav\nbackward/a_nohash_1.wav\n",
    );
    for _ in 0..2 {
        let read = commands.read(Bands::Full).unwrap();
        assert_eq!((read.train, read.valid, read.test, read.missing), (3, 1, 1, 3));
        assert_eq!(read.data.class_names, ["backward", "happy"]);
    }
    // All of a list, and a whole class that it does not name.
    commands.put("validation_list.txt", b"stop/a_nohash_0.wav\n");
    fs::remove_dir_all(commands.0.join("happy")).unwrap();
    let read = commands.read(Bands::Full).unwrap();
    assert_eq!((read.train, read.valid, read.test, read.missing), (1, 0, 1, 2));
}

#[test]
fn lists_of_another_system_name_the_same_recordings() {
    let commands = Commands::new("systems");
    // macOS writes the last letter as two characters.
    fs::rename(commands.0.join("happy"), commands.0.join("cafe\u{301}")).unwrap();
    let list = "\u{feff}caf\u{e9}\\b_nohash_0.wav\r\n";
    commands.put("validation_list.txt", list.as_bytes());
    let read = commands.read(Bands::Full).unwrap();
    assert_eq!((read.train, read.valid, read.test, read.missing), (3, 1, 1, 0));
    assert_eq!(read.data.class_names, ["backward", "caf\u{e9}"]);
    assert_eq!(read.data.about.names[3], "caf\u{e9}/b_nohash_0.wav");
}

#[test]
fn recordings_of_another_rate_are_converted_and_counted() {
    let commands = Commands::new("converted");
    let plain = commands.read(Bands::Full).unwrap();
    let mut stereo = fs::read(fixture("happy")).unwrap();
    let data = stereo.split_off(44);
    stereo.extend(data.chunks(2).flat_map(|sample| [sample, sample].concat()));
    let size = (2 * data.len()) as u32;
    for (at, value) in [(4, size + 36), (28, 64_000), (40, size)] {
        stereo[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    (stereo[22], stereo[32]) = (2, 4);
    commands.put("happy/a_nohash_0.wav", &stereo);
    let read = commands.read(Bands::Full).unwrap();
    assert_eq!((plain.converted, read.converted), (0, 1));
    assert_eq!(read.data.samples, plain.data.samples);
}

#[test]
fn invalid_lists_and_folders_are_named() {
    let commands = Commands::new("lists");
    for (list, named) in [
        (&b"\nbackward/a_nohash_1.wav\n"[..], "line 1 = backward/a_nohash_1.wav is listed twice"),
        (b"happy/\xff\n", "utf-8"),
    ] {
        commands.put("validation_list.txt", list);
        let error = commands.error();
        assert!(error.contains(named) && error.contains("_list.txt"), "{named}: {error}");
    }
    fs::remove_file(commands.0.join("testing_list.txt")).unwrap();
    commands.put("validation_list.txt", b"");
    assert!(commands.error().contains("testing_list.txt"));
    fs::remove_dir_all(commands.0.join("happy")).unwrap();
    fs::remove_dir_all(commands.0.join("backward")).unwrap();
    assert!(commands.error().contains("holds no recordings"));
    assert!(gsc::read(commands.0.join("nowhere"), Bands::Full, 1).is_err());
}
