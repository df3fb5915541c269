//! Recordings of one's own as spikes: folders of wav files, a folder a class.

mod cochlea;
mod delta;

use std::path::Path;

use polychron_core::rng::Rng;

use crate::folders::{self, error};
use crate::{Error, Recording, Recordings, TimeFormat, parallel, shd, sound};
pub use cochlea::Cochlea;

/// The generator's stream of the fibres' noise: "fibres" in ASCII.
const STREAM: u64 = 0x6669_6272_6573;
/// Longest recording, in samples: an hour.
const LONGEST: usize = 3600 * sound::RATE as usize;

/// How sound becomes spikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// [`Cochlea`], 700 channels.
    Cochlea,
    /// Delta modulation: channel `b` spikes where the envelope of band `b` of 24 mel bands rose by 9 dB since its last
    /// spike, channel `24 + b` where it fell by 9 dB, at most once a millisecond each. An envelope is the power in 32 ms of
    /// sound, cut off 55 dB below the recording's loudest; it starts from silence.
    Delta,
}

/// Spikes of one recording, by time and then channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spikes {
    /// Time of each in seconds from the start, ascending.
    pub times: Vec<f32>,
    /// Channel of each.
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

/// Encodes the wav files of a folder's folders, 16 kHz and one channel, by so many threads, which change nothing. Classes
/// are the folders, sorted; those that begin with `_` or `.` and empty ones do not count. Nothing is known of speakers.
/// Noise is drawn by `seed` and the place of a recording in the sorted list.
///
/// # Errors
/// A folder or a file cannot be read; a file is no whole wav file, has another rate or more channels, is longer than an
/// hour, holds no sound or makes no spike; a folder holds files but none of these; there is none.
pub fn folder(
    path: impl AsRef<Path>,
    encoder: Encoder,
    seed: u64,
    threads: usize,
) -> Result<Recordings, Error> {
    let path = path.as_ref();
    let (keys, items) = folders::list(path)?;
    if items.is_empty() {
        return Err(error(path, "holds no folders of wav files; a folder is a class"));
    }
    let cochlea = Cochlea::new(shd::CHANNELS as u16);
    let rng = Rng::new(seed, STREAM);
    let encode = |i, item: &folders::Item| {
        let file = path.join(&item.name);
        let samples = sound::read(&file)?;
        if samples.len() > LONGEST {
            return Err(error(&file, "is longer than an hour"));
        }
        if samples.iter().all(|&sample| sample == 0.0) {
            return Err(error(&file, "holds no sound"));
        }
        let Spikes { times, units } = match encoder {
            Encoder::Cochlea => cochlea.spikes(&samples, rng.fork(i as u64)),
            Encoder::Delta => delta::spikes(&samples),
        };
        if times.is_empty() {
            return Err(error(&file, "makes no spike"));
        }
        Ok(Recording { times, units, label: item.class, speaker: 0 })
    };
    let recordings = Recordings {
        source: path.display().to_string(),
        channels: match encoder {
            Encoder::Cochlea => cochlea.channels(),
            Encoder::Delta => delta::CHANNELS,
        },
        keys,
        time_format: TimeFormat::F32,
        items: parallel::try_map(&items, threads, encode)?,
    };
    recordings.validate()?;
    Ok(recordings)
}
