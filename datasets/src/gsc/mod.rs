//! Google Speech Commands v0.02 as mel spectra (Warden, *Speech Commands: A Dataset for
//! Limited-Vocabulary Speech Recognition*, 2018).
//!
//! The published archive has a folder of one-second recordings for every word, and two lists that
//! name the recordings to validate and to test on.

mod cache;
mod folder;
mod front_end;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::folders::{self, Listing, Naming};
use crate::{About, Dataset, Error, Levels, SpikeTrain, parallel, sound};
use folder::{Folder, Item};
pub use front_end::{Bands, FrontEnd};

/// Number of mel bands.
pub const CHANNELS: usize = 140;
/// Number of steps of 10 ms in a second, including both ends.
pub const STEPS: usize = 101;

/// The recordings as samples, and their split.
#[derive(Debug)]
pub struct Commands {
    /// The samples: first those to train on, then those to validate on, then those to test on.
    pub data: Dataset,
    /// Number of samples to train on, which are in neither list.
    pub train: usize,
    /// Number of samples in `validation_list.txt`.
    pub valid: usize,
    /// Number of samples in `testing_list.txt`.
    pub test: usize,
    /// Number of recordings that the lists name and the folder does not hold.
    pub missing: usize,
    /// Number of recordings that were resampled or mixed to one channel; 0 if the spectra were
    /// stored before.
    pub converted: usize,
    /// The error if the spectra could not be stored for the next time.
    pub cache_error: Option<Error>,
}

/// Reads the folder `speech_commands_v0.02`, or a folder that contains it, on `threads` threads.
///
/// The classes are the word folders, sorted by name, without those whose names begin with `_`. A
/// sample holds [`STEPS`] x [`CHANNELS`] decibels, quantized to 65,536 levels from its lowest to
/// its highest value. The error is at most 1e-3 dB if these are at most 131 dB apart (for example
/// from the floor at -100 dB to 31 dB), and 1.1e-3 dB at full scale. A sample takes 28,288 bytes,
/// the whole set 3.0 GB.
///
/// The spectra are cached in a file of that size in the folder that holds the word folders,
/// `polychron-full.levels` or `polychron-paper.levels`. They are computed again if the file is
/// damaged, or if the names, sizes or modification times of the recordings, their split or the
/// front-end have changed.
///
/// Recordings that the lists name and the folder does not hold are counted.
///
/// # Errors
/// There are no recordings or no lists; a list names a recording twice; a recording cannot be read
/// (see [`sound::read`]); a word folder holds files but no sound file.
pub fn read(folder: impl AsRef<Path>, bands: Bands, threads: usize) -> Result<Commands, Error> {
    let folder = Folder::list(folder.as_ref())?;
    let [train, valid, test] = [0, 1, 2].map(|part: usize| folder.parts[part].len());
    let items: Vec<&Item> = folder.items().collect();
    let name = match bands {
        Bands::Full => "polychron-full.levels",
        Bands::Paper => "polychron-paper.levels",
    };
    let path = folder.path.join(name);
    let key = key(&folder, bands)?;
    let (mut cache_error, converted) = (None, AtomicUsize::new(0));
    let levels = match cache::load(&path, &key, items.len(), STEPS * CHANNELS) {
        Some(levels) => levels,
        None => {
            let front_end = FrontEnd::new(bands);
            let levels = parallel::try_map(&items, threads, |_, item| {
                let sound = sound::read(folder.path.join(&item.path))?;
                if sound.rate != sound::RATE || sound.channels != 1 {
                    converted.fetch_add(1, Ordering::Relaxed);
                }
                Ok(quantized(&front_end.decibels(&sound.samples)))
            })?;
            cache_error = cache::store(&path, &key, &levels)
                .err()
                .map(|error| Error::Io { file: path.display().to_string(), error });
            levels
        }
    };
    let samples = items.iter().zip(levels).map(|(item, levels)| SpikeTrain {
        steps: STEPS,
        dense: Some(levels),
        label: item.class,
        ..SpikeTrain::default()
    });
    let names = items.iter().map(|item| item.name.clone()).collect();
    let data = Dataset {
        name: folder.path.display().to_string(),
        channels: CHANNELS,
        classes: folder.words.len(),
        samples: samples.collect(),
        dt_ms: 10,
        about: About { names, ..About::default() },
        class_names: folder.words,
    };
    let (missing, converted) = (folder.missing, converted.into_inner());
    Ok(Commands { data, train, valid, test, missing, converted, cache_error })
}

/// Reads one sound file as a sample with label 0. See [`read()`] for its levels.
///
/// # Errors
/// The file cannot be read (see [`sound::read`]).
pub fn file(path: impl AsRef<Path>, bands: Bands) -> Result<SpikeTrain, Error> {
    let decibels = FrontEnd::new(bands).decibels(&sound::read(path)?.samples);
    Ok(SpikeTrain { steps: STEPS, dense: Some(quantized(&decibels)), ..SpikeTrain::default() })
}

/// Reads the sound files of a folder without lists, on `threads` threads. Folders are classes, as
/// for [`encode::folder`](crate::encode::folder). Returns why files were left out, too.
///
/// # Errors
/// A folder cannot be read, or no file can be used.
pub fn folder(
    path: impl AsRef<Path>,
    bands: Bands,
    threads: usize,
) -> Result<(Dataset, Vec<Error>), Error> {
    let path = path.as_ref();
    let Listing { items, mut skipped, .. } = folders::list(path, &Naming::default())?;
    let classes: BTreeSet<String> = items.iter().map(|item| item.class.clone()).collect();
    let class_names: Vec<String> = classes.into_iter().collect();
    let read = |_, item: &folders::Item| Ok::<_, Error>(file(path.join(&item.file.path), bands));
    let (mut samples, mut names) = (Vec::new(), Vec::new());
    for (item, sample) in items.iter().zip(parallel::try_map(&items, threads, read)?) {
        let class = class_names.binary_search(&item.class).unwrap_or_default();
        let label = u16::try_from(class)
            .map_err(|_| folders::error(path, "has more than 65536 classes"))?;
        match sample {
            Ok(sample) => samples.push(SpikeTrain { label, ..sample }),
            Err(error) => {
                skipped.push(error);
                continue;
            }
        }
        names.push(item.file.name());
    }
    if samples.is_empty() {
        return Err(folders::none(path, items.len(), &skipped));
    }
    let (name, about) = (path.display().to_string(), About { names, ..About::default() });
    let (channels, classes, dt_ms) = (CHANNELS, class_names.len(), 10);
    Ok((Dataset { name, channels, classes, class_names, samples, dt_ms, about }, skipped))
}

/// What the levels depend on. The first number is the version of the front-end's arithmetic.
fn key(folder: &Folder, bands: Bands) -> Result<String, Error> {
    let parts = folder.parts.each_ref().map(Vec::len);
    let manifest = folder.manifest()?;
    Ok(format!("3 {bands:?} {STEPS} {CHANNELS} {parts:?}\n{manifest}"))
}

fn quantized(decibels: &[f32]) -> Levels {
    let low = decibels.iter().copied().fold(f32::INFINITY, f32::min);
    let high = decibels.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let unit = (high - low) / f32::from(u16::MAX);
    // If all values are equal, 0 / 0 becomes level 0.
    let levels = decibels.iter().map(|x| ((x - low) / unit).round() as u16).collect();
    Levels { low, unit, levels }
}
