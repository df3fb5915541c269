//! Encoders of sound as spikes, for folders of your own recordings. Each folder is a class.

mod cochlea;
mod delta;
mod encoder;

use std::path::Path;

use crate::folders::{self, Listing, error};
use crate::sound::{self, Sound};
use crate::{About, Error, Recording, Recordings, TimeFormat, parallel};
pub use cochlea::Cochlea;
pub use encoder::{Encoder, file};

/// An hour.
const MAX_SAMPLES: usize = 3600 * sound::RATE as usize;
/// Offset that is reported, as a fraction of full scale.
const MAX_OFFSET: f64 = 0.01;
/// Level in dB of full scale below which recordings are not amplified further.
const QUIET_DB: f64 = -50.0;

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
}

/// An encoded recording, and what the report counts.
struct Encoded {
    spikes: Spikes,
    sound: Sound,
    /// Offset, and level in dB.
    offset: f64,
    level: f64,
}

/// Encodes the sound files in the subfolders of a folder. See [`sound::read`] for the formats.
///
/// The classes are the subfolders, sorted by name. Empty ones, those whose names begin with `_` or
/// `.`, and files whose names are not those of sound are ignored. Sound files that cannot be used,
/// and classes without any other, are left out and [reported](Report::skipped). All recordings have
/// speaker 0. The encoder's seed and the position of a file in the sorted list determine its noise.
/// The work runs on `threads` threads; the result does not depend on their number.
///
/// # Errors
/// A folder cannot be read, there are no sound files, or none of them can be used.
pub fn folder(
    path: impl AsRef<Path>,
    encoder: Encoder,
    threads: usize,
) -> Result<(Recordings, Report), Error> {
    let path = path.as_ref();
    let Listing { classes, items, skipped } = folders::list(path)?;
    if items.is_empty() {
        return Err(error(path, "holds no folders of sound files; every folder is a class"));
    }
    let encode = encoder.prepare();
    let encoded = parallel::try_map(&items, threads, |n, item| {
        let file = path.join(&item.name);
        Ok::<_, Error>(encode_file(&file, |samples| encode(samples, n as u64)))
    })?;
    let mut report = Report { skipped, ..Report::default() };
    let mut recordings = Recordings {
        source: path.display().to_string(),
        channels: encoder.channels(),
        keys: classes,
        time_format: TimeFormat::F32,
        about: About { encoder: encoder.to_string(), ..About::default() },
        items: Vec::new(),
    };
    for (item, encoded) in items.iter().zip(encoded) {
        match encoded {
            Ok(encoded) => {
                report.count(&encoded);
                let Spikes { times, units } = encoded.spikes;
                recordings.items.push(Recording { times, units, label: item.class, speaker: 0 });
                recordings.about.names.push(item.name.clone());
            }
            Err(error) => report.skipped.push(error),
        }
    }
    if recordings.items.is_empty() {
        let first = report.skipped.first().map(ToString::to_string).unwrap_or_default();
        let files = items.len();
        return Err(error(path, format!("none of {files} sound files can be used: {first}")));
    }
    remove_empty_classes(path, &mut recordings, &mut report);
    Ok((recordings, report))
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

/// Removes the classes whose recordings were all left out.
fn remove_empty_classes(path: &Path, recordings: &mut Recordings, report: &mut Report) {
    let Recordings { keys, items, .. } = recordings;
    let mut labels = vec![None; keys.len()];
    items.iter().for_each(|item| labels[usize::from(item.label)] = Some(0));
    let mut names = Vec::new();
    for (label, name) in labels.iter_mut().zip(std::mem::take(keys)) {
        match label {
            Some(label) => {
                *label = names.len() as u16;
                names.push(name);
            }
            None => report.skipped.push(error(&path.join(name), "no recording can be used")),
        }
    }
    *keys = names;
    for item in items {
        item.label = labels[usize::from(item.label)].unwrap_or_default();
    }
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
