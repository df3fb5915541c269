//! Google Speech Commands v0.02 (Warden, *Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition*, 2018)
//! as mel spectra: the folder of the published archive, a folder of one-second recordings for every word and two lists
//! that divide them.

mod cache;
mod folder;
mod front_end;

use std::path::Path;

use crate::folders::Item;
use crate::{Dataset, Error, Levels, SpikeTrain, parallel, sound};
use folder::Folder;
pub use front_end::{Bands, FrontEnd};

/// Mel bands.
pub const CHANNELS: usize = 140;
/// Steps of 10 ms, both ends of the second included.
pub const STEPS: usize = 101;

/// The recordings as samples, and their division.
#[derive(Debug)]
pub struct Commands {
    /// The samples: those to train on, then those to validate and to test on.
    pub data: Dataset,
    /// Samples to train on: those that no list names.
    pub train: usize,
    /// Samples of `validation_list.txt`.
    pub valid: usize,
    /// Samples of `testing_list.txt`.
    pub test: usize,
    /// Why the spectra could not be stored to be found the next time.
    pub unsaved: Option<Error>,
}

/// Reads `speech_commands_v0.02` in a folder, or the folder itself, by so many threads.
///
/// Classes are the word folders, sorted; folders that begin with `_` are none. A sample holds [`STEPS`] x [`CHANNELS`]
/// decibels, in 65,535 steps from its least to its greatest: to 1e-3 dB where these are at most 131 dB apart, from the
/// floor at -100 dB to 31 dB say, and to 1.1e-3 dB at full scale. It takes 28,288 bytes, the whole set 3.0 GB. The spectra
/// are kept in a file of that size in the folder that holds the word folders, `polychron-full.levels` or
/// `polychron-paper.levels`, and made anew when names, sizes or times of change of the recordings, their division or the
/// front-end are others or the file is damaged.
///
/// # Errors
/// There are no recordings or no lists; a list names a recording twice or one that there is not; a recording cannot be
/// read, is no whole wav file or has another rate than 16 kHz or more than one channel; a word folder holds other files
/// only.
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
    let mut unsaved = None;
    let levels = match cache::load(&path, &key, items.len(), STEPS * CHANNELS) {
        Some(levels) => levels,
        None => {
            let front_end = FrontEnd::new(bands);
            let levels = parallel::try_map(&items, threads, |_, item| {
                let samples = sound::read(folder.path.join(&item.name))?;
                Ok(quantized(&front_end.decibels(&samples)))
            })?;
            unsaved = cache::store(&path, &key, &levels)
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
    let data = Dataset {
        name: folder.path.display().to_string(),
        channels: CHANNELS,
        classes: folder.words.len(),
        samples: samples.collect(),
        dt_ms: 10,
        class_names: folder.words,
    };
    Ok(Commands { data, train, valid, test, unsaved })
}

/// What the levels depend on. The number is that of the front-end: another arithmetic is another number.
fn key(folder: &Folder, bands: Bands) -> Result<String, Error> {
    let parts = folder.parts.each_ref().map(Vec::len);
    let manifest = folder.manifest()?;
    Ok(format!("3 {bands:?} {STEPS} {CHANNELS} {parts:?}\n{manifest}"))
}

fn quantized(decibels: &[f32]) -> Levels {
    let low = decibels.iter().copied().fold(f32::INFINITY, f32::min);
    let high = decibels.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let unit = (high - low) / f32::from(u16::MAX);
    // Where all are equal, 0 / 0 becomes level 0.
    let levels = decibels.iter().map(|x| ((x - low) / unit).round() as u16).collect();
    Levels { low, unit, levels }
}
