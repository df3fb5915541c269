//! Encoders of sound as spikes, for folders of your own wav files. Each folder is a class.

mod cochlea;
mod delta;

use std::path::Path;

use polychron_core::rng::Rng;

use crate::folders::{self, error};
use crate::{Error, Recording, Recordings, TimeFormat, parallel, shd, sound};
pub use cochlea::Cochlea;

/// The generator's stream for the noise of the fibres: "fibres" in ASCII.
const STREAM: u64 = 0x6669_6272_6573;
/// An hour.
const MAX_SAMPLES: usize = 3600 * sound::RATE as usize;

/// Encoder of sound as spikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// [`Cochlea`] with 700 channels.
    Cochlea,
    /// Delta modulation with 48 channels. Channel `b` spikes where the envelope of band `b` of 24
    /// mel bands has risen by 9 dB since its last spike, channel `24 + b` where it has fallen by 9
    /// dB; each channel spikes at most once per millisecond. The envelope is the power in 32 ms of
    /// sound, with a floor 55 dB below the loudest in the recording. It starts at the floor.
    Delta,
}

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

/// Encodes the wav files in the subfolders of a folder. The files have one channel at 16 kHz.
///
/// The classes are the subfolders, sorted by name. Empty ones and those whose names begin with `_`
/// or `.` are skipped. All recordings have speaker 0. `seed` and the position of a recording in the
/// sorted list determine its noise. The work runs on `threads` threads; the result does not depend
/// on their number.
///
/// # Errors
/// A folder or a file cannot be read; a file is not a complete wav file, has another sample rate or
/// more than one channel, is longer than an hour, is silent or gives no spikes; a subfolder holds
/// files but no wav file; there are no recordings.
pub fn folder(
    path: impl AsRef<Path>,
    encoder: Encoder,
    seed: u64,
    threads: usize,
) -> Result<Recordings, Error> {
    let path = path.as_ref();
    let (keys, items) = folders::list(path)?;
    if items.is_empty() {
        return Err(error(path, "holds no folders of wav files; every folder is a class"));
    }
    let cochlea = Cochlea::new(shd::CHANNELS as u16);
    let rng = Rng::new(seed, STREAM);
    let encode = |i, item: &folders::Item| {
        let file = path.join(&item.name);
        let samples = sound::read(&file)?;
        if samples.len() > MAX_SAMPLES {
            return Err(error(&file, "is longer than an hour; divide the recording"));
        }
        if samples.iter().all(|&sample| sample == 0.0) {
            return Err(error(&file, "is silent"));
        }
        let Spikes { times, units } = match encoder {
            Encoder::Cochlea => cochlea.spikes(&samples, rng.fork(i as u64)),
            Encoder::Delta => delta::spikes(&samples),
        };
        if times.is_empty() {
            return Err(error(&file, "gives no spikes"));
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
