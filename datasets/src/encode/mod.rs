//! Encoders of sound as spikes, for folders of your own recordings. Each folder is a class,
//! unless names or lists say otherwise.

mod cochlea;
mod delta;
mod encoder;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::folders::{self, Item, Listing, error};
pub use crate::folders::{Columns, Naming, Pattern};
use crate::sound::{self, Sound};
use crate::{About, Error, Part, Recording, Recordings, TimeFormat, parallel};
pub use cochlea::Cochlea;
pub use encoder::{Encoder, file};

/// An hour.
const MAX_SAMPLES: usize = 3600 * sound::RATE as usize;
/// Offset that is reported, as a fraction of full scale.
const MAX_OFFSET: f64 = 0.01;
/// Level in dB of full scale below which recordings are not amplified further.
const QUIET_DB: f64 = -50.0;
/// Most classes and speakers.
const MAX_NAMES: usize = 1 << 16;
/// Name of the speaker of recordings without one, where others have one.
const UNKNOWN: &str = "unknown";

/// Spikes of one recording, sorted by time and then by channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spikes {
    /// Time of each spike in seconds from the start, ascending.
    pub times: Vec<f32>,
    /// Channel of each spike.
    pub units: Vec<u16>,
}

impl Spikes {
    /// Spikes at whole milliseconds.
    fn on_grid(mut spikes: Vec<(u32, u16)>) -> Self {
        spikes.sort_unstable();
        let times = spikes.iter().map(|&(ms, _)| (f64::from(ms) / 1000.0) as f32).collect();
        Self { times, units: spikes.into_iter().map(|(_, unit)| unit).collect() }
    }
}

/// What [`folder`] did with the recordings, as numbers of recordings.
#[derive(Debug, Default)]
pub struct Report {
    /// Recordings of another sample rate, which were resampled.
    pub resampled: usize,
    /// Recordings of several channels, whose mean was encoded.
    pub mixed: usize,
    /// Recordings with clipped samples.
    pub clipped: usize,
    /// Recordings with an offset above 1 % of full scale. Every offset is removed.
    pub offset: usize,
    /// Recordings below -50 dB of full scale that are not silent.
    pub quiet: usize,
    /// Recordings in which only the last bits change. They are encoded as zeros.
    pub silent: usize,
    /// Recordings without spikes.
    pub without_spikes: usize,
    /// Lowest and highest level of the recordings that are not silent, in dB of full scale (root
    /// mean square).
    pub levels: Option<[f64; 2]>,
    /// Why folders or files were left out: folders first, both sorted by name.
    pub skipped: Vec<Error>,
    /// Recordings that lists name and the folder does not hold.
    pub missing: usize,
    /// Sound files that no list names. They are left out.
    pub unlisted: usize,
    /// What is unusual about the folder, in a sentence each.
    pub notes: Vec<String>,
}

/// An encoded recording, and what the report counts.
struct Encoded {
    spikes: Spikes,
    sound: Sound,
    /// Offset, and level in dB.
    offset: f64,
    level: f64,
}

/// Encodes the sound files in a folder. See [`sound::read`] for the formats.
///
/// Without a [`Naming`], each folder in it is a class, and a folder in a class is a speaker:
/// `class/speaker/file.wav`. If all folders are named after parts ([`Part::of`]) and hold folders
/// of sound, they are parts: `part/class/file.wav`. Names are compared in one Unicode form (NFC).
/// Empty folders, those whose names begin with `_` or `.`, and files whose names are not those of
/// sound are ignored. Sound files that cannot be used, and classes without any other, are left out
/// and [reported](Report::skipped).
///
/// Classes and speakers are numbered in the order of their names. All recordings have speaker 0 if
/// none is known; if some are, the others have a speaker named `unknown`. The encoder's seed and
/// the position of a file in the list sorted by folder and name determine its noise. The work runs
/// on `threads` threads; the result does not depend on their number.
///
/// # Errors
/// A folder or a list cannot be read; there are no sound files, or none of them can be used; some
/// folders are parts and others are not; a list has no column of files, gives a file two classes,
/// speakers or parts, or names two files at once; a class or a speaker has a control character in
/// its name; there are more than 65,536 of either.
pub fn folder(
    path: impl AsRef<Path>,
    naming: &Naming,
    encoder: Encoder,
    threads: usize,
) -> Result<(Recordings, Report), Error> {
    let path = path.as_ref();
    let Listing { items, skipped, notes, missing, unlisted } = folders::list(path, naming)?;
    let encode = encoder.prepare();
    let encoded = parallel::try_map(&items, threads, |n, item| {
        let file = path.join(&item.file.path);
        Ok::<_, Error>(encode_file(&file, |samples| encode(samples, n as u64)))
    })?;
    let mut report = Report { skipped, notes, missing, unlisted, ..Report::default() };
    let (all, count) = (classes(&items), items.len());
    let (mut used, mut spikes) = (Vec::new(), Vec::new());
    for (item, encoded) in items.into_iter().zip(encoded) {
        match encoded {
            Ok(encoded) => {
                report.count(&encoded);
                spikes.push(encoded.spikes);
                used.push(item);
            }
            Err(error) => report.skipped.push(error),
        }
    }
    if used.is_empty() {
        return Err(folders::none(path, count, &report.skipped));
    }
    let keys = classes(&used);
    for class in all.difference(&keys) {
        let reason = format!("no recording of the class {class} can be used");
        report.skipped.push(error(path, reason));
    }
    let (speakers, numbers) = speakers(&used);
    report.notes.extend(notes_on_speakers(path, &used));
    if keys.len().max(speakers.len()) > MAX_NAMES {
        return Err(error(path, format!("holds more than {MAX_NAMES} classes or speakers")));
    }
    if let Some(name) = keys.iter().chain(&speakers).find(|name| name.contains(char::is_control)) {
        return Err(error(path, format!("the name {name:?} holds a control character")));
    }
    let label: BTreeMap<&String, usize> = keys.iter().zip(0..).collect();
    let items = used.iter().zip(spikes).zip(numbers).map(|((item, spikes), speaker)| {
        let Spikes { times, units } = spikes;
        Recording { times, units, label: label[&item.class] as u16, speaker }
    });
    let recordings = Recordings {
        source: path.display().to_string(),
        channels: encoder.channels(),
        time_format: TimeFormat::F32,
        items: items.collect(),
        about: About {
            names: used.iter().map(|item| item.file.name()).collect(),
            parts: used.iter().filter_map(|item| item.part).collect(),
            speakers,
            encoder: encoder.to_string(),
            step_ms: None,
        },
        keys: keys.into_iter().collect(),
    };
    Ok((recordings, report))
}

/// The names of the classes.
fn classes(items: &[Item]) -> BTreeSet<String> {
    items.iter().map(|item| item.class.clone()).collect()
}

/// The names of the speakers, none if none is known, and the speaker of each item.
fn speakers(items: &[Item]) -> (Vec<String>, Vec<u16>) {
    let name = |item: &Item| item.speaker.clone().unwrap_or_else(|| UNKNOWN.into());
    if items.iter().all(|item| item.speaker.is_none()) {
        return (Vec::new(), vec![0; items.len()]);
    }
    let names: BTreeSet<String> = items.iter().map(name).collect();
    let number: BTreeMap<&String, usize> = names.iter().zip(0..).collect();
    let numbers = items.iter().map(|item| number[&name(item)] as u16).collect();
    (names.into_iter().collect(), numbers)
}

/// Says which recordings have no speaker although others have, and which speakers are in several
/// parts.
fn notes_on_speakers(path: &Path, items: &[Item]) -> Vec<String> {
    let path = path.display();
    let mut parts: BTreeMap<&String, BTreeSet<Part>> = BTreeMap::new();
    for item in items {
        if let Some(speaker) = &item.speaker {
            parts.entry(speaker).or_default().extend(item.part);
        }
    }
    let unknown = items.iter().filter(|item| item.speaker.is_none()).count();
    let (all, speakers) = (items.len(), parts.len());
    let several: Vec<_> = parts.iter().filter(|(_, parts)| parts.len() > 1).collect();
    let mut notes = Vec::new();
    if unknown > 0 && speakers > 0 {
        notes.push(format!(
            "{path}: without a speaker: {unknown} of {all} recordings; they count as one, {UNKNOWN}"
        ));
    }
    if let Some((speaker, parts)) = several.first() {
        let count = several.len();
        let parts: Vec<_> = parts.iter().map(|part| part.name()).collect();
        let parts = parts.join(", ");
        notes.push(format!(
            "{path}: in more than one part: {count} of {speakers} speakers, such as {speaker} in \
             {parts}"
        ));
    }
    notes
}

fn encode_file(file: &Path, encode: impl Fn(&[f32]) -> Spikes) -> Result<Encoded, Error> {
    let mut sound = sound::read(file)?;
    if sound.samples.len() > MAX_SAMPLES {
        return Err(error(file, "is longer than an hour; divide the recording"));
    }
    let offset = sound.offset();
    let silent = sound.silent;
    let centred = |sample: f32| if silent { 0.0 } else { (f64::from(sample) - offset) as f32 };
    sound.samples.iter_mut().for_each(|sample| *sample = centred(*sample));
    let level = 10.0 * power(&sound.samples).log10();
    let spikes = encode(&sound.samples);
    // The samples of all files would not fit into memory.
    sound.samples = Vec::new();
    Ok(Encoded { spikes, sound, offset, level })
}

/// Mean square.
fn power(samples: &[f32]) -> f64 {
    samples.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / samples.len().max(1) as f64
}

impl Report {
    fn count(&mut self, encoded: &Encoded) {
        let Encoded { spikes, sound, offset, level } = encoded;
        for (count, counts) in [
            (&mut self.resampled, sound.rate != sound::RATE),
            (&mut self.mixed, sound.channels > 1),
            (&mut self.clipped, sound.clipped > 0),
            (&mut self.offset, offset.abs() > MAX_OFFSET),
            (&mut self.quiet, !sound.silent && *level < QUIET_DB),
            (&mut self.silent, sound.silent),
            (&mut self.without_spikes, spikes.times.is_empty()),
        ] {
            *count += usize::from(counts);
        }
        if !sound.silent {
            let [low, high] = self.levels.unwrap_or([*level; 2]);
            self.levels = Some([low.min(*level), high.max(*level)]);
        }
    }
}
