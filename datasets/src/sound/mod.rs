//! Sound files: wav, FLAC and Ogg Vorbis.

mod flac;
mod resample;
mod vorbis;
mod vorbis_setup;
mod wav;

use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::{Error, bytes, folders};

/// Sample rate in Hz of every [`Sound`].
pub const RATE: u32 = 16_000;
/// Sample rates in Hz that are resampled.
const RATES: RangeInclusive<u32> = 4_000..=768_000;
/// Samples that a compressed file of any size may hold, and those for every byte of a larger one.
const SMALL: usize = 1 << 24;
const MAX_EXPANSION: usize = 16;
/// Number of samples in sequence at full scale that count as clipped.
const CLIPPED_RUN: u32 = 3;
/// Largest distance from the mean, in steps of the number format, in a silent recording.
const SILENT_STEPS: f64 = 2.0;
/// Step of 16-bit numbers. The scale of floating-point numbers is assumed to be as coarse.
const STEP_16: f32 = 1.0 / 32768.0;

/// A recording, converted to one channel at [`RATE`].
#[derive(Clone, Debug, PartialEq)]
pub struct Sound {
    /// The mean of the channels. Full scale is 1.
    pub samples: Vec<f32>,
    /// Sample rate of the file in Hz.
    pub rate: u32,
    /// Number of channels of the file.
    pub channels: usize,
    /// Number of clipped samples in the file: those at full scale, three or more in sequence.
    pub clipped: usize,
    /// Whether every sample is within two steps of the number format around their mean, so that
    /// only the last bits change.
    pub silent: bool,
}

impl Sound {
    /// The mean of the samples.
    #[must_use]
    pub fn offset(&self) -> f64 {
        mean(&self.samples)
    }
}

/// Whether a file is sound, by its first bytes or by its name. Not every kind can be
/// [read](read()).
///
/// # Errors
/// The file cannot be opened.
pub fn is_file(path: impl AsRef<Path>) -> Result<bool, Error> {
    let path = path.as_ref();
    let start = bytes::start(path, 4);
    let start = start.map_err(|error| Error::Io { file: path.display().to_string(), error })?;
    let known: [&[u8]; 5] = [b"RIFF", b"RF64", b"BW64", b"fLaC", b"OggS"];
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(known.contains(&start.as_slice()) || folders::is_sound(&name))
}

/// The sound files below a folder, sorted by folder and name. Names that begin with `.`, and
/// folders whose names begin with `_`, are ignored.
///
/// # Errors
/// A folder cannot be read.
pub fn files(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>, Error> {
    let folder = folder.as_ref();
    Ok(folders::walk(folder)?.files.iter().map(|file| folder.join(&file.path)).collect())
}

/// Reads a wav, FLAC or Ogg Vorbis file, whatever its name. The content of a wav file is integers
/// of 8 to 32 bits, floating-point numbers of 32 or 64 bits, A-law or mu-law. Where its header does
/// not know the length, because the file was written through a pipe or the program was interrupted,
/// the sound ends with the file.
///
/// Other sample rates (4 to 768 kHz) are resampled with a windowed sinc. Its passband ends at 7.5
/// kHz or at 94 % of half the rate of the file.
///
/// # Errors
/// The file cannot be read, has another format, is damaged or ends early; it holds no samples, one
/// that is not finite, or, if it is compressed, more than 16 samples per byte and more than 2^24.
pub fn read(path: impl AsRef<Path>) -> Result<Sound, Error> {
    let path = path.as_ref();
    from_bytes(bytes::read(path)?, &path.display().to_string())
}

/// Reads the bytes of a sound file. Error messages name it `name`.
///
/// # Errors
/// The same as for [`read`], except that no file is opened.
pub fn from_bytes(bytes: Vec<u8>, name: &str) -> Result<Sound, Error> {
    let decoded = match bytes.get(..4) {
        Some(b"RIFF" | b"RF64" | b"BW64") => {
            let decoded = wav::decode(&bytes, name)?;
            drop(bytes);
            decoded
        }
        Some(b"fLaC") => guarded(name, || flac::decode(bytes, name))?,
        Some(b"OggS") => guarded(name, || vorbis::decode(&bytes, name))?,
        _ => return Err(Error::format(name, unknown(&bytes))),
    };
    decoded.finish(name)
}

/// Turns a panic of a decoder into an error.
fn guarded(name: &str, decode: impl FnOnce() -> Result<Mixer, Error>) -> Result<Mixer, Error> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_| Err(Error::format(name, "is damaged: the decoder failed")))
}

/// Says what a file of another format is.
fn unknown(bytes: &[u8]) -> String {
    let found = match bytes {
        [] => return "is empty".into(),
        [b'I', b'D', b'3', ..] => "an MP3 file",
        [0xff, 0xe0..=0xff, ..] => "an MP3 or AAC file",
        [b'R', b'I', b'F', b'X', ..] => "a big-endian wav file",
        [b'F', b'O', b'R', b'M', ..] => "an AIFF file",
        [b'N', b'I', b'S', b'T', ..] => "a NIST SPHERE file",
        [b'r', b'i', b'f', b'f', ..] => "a Wave64 file",
        [b'#', b'!', b'A', b'M', b'R', ..] => "an AMR file",
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => "an MP4 file",
        [0x1a, 0x45, 0xdf, 0xa3, ..] => "a Matroska or WebM file",
        [b'v', b'e', b'r', b's', b'i', b'o', b'n', b' ', ..] => {
            return "is a Git LFS pointer; run git lfs pull".into();
        }
        [b'<', ..] => return "is a web page; download the recording again".into(),
        _ => return "is no wav, FLAC or Ogg Vorbis file".into(),
    };
    format!("is {found}; convert it, for example with ffmpeg -i IN -ar 16000 -ac 1 OUT.wav")
}

/// Mixes the channels of decoded samples and counts clipped ones.
struct Mixer {
    rate: u32,
    /// Step of the number format, and the magnitude of a sample at full scale.
    step: f32,
    full: f32,
    /// Length of the sequence of samples at full scale that each channel is in.
    runs: Vec<u32>,
    channel: usize,
    sum: f64,
    samples: Vec<f32>,
    clipped: usize,
}

impl Mixer {
    /// A mixer for samples of a number format with the given step.
    fn new(name: &str, rate: u32, channels: usize, step: f32) -> Result<Self, Error> {
        if !RATES.contains(&rate) {
            let problem = format!("is not from {} to {} Hz", RATES.start(), RATES.end());
            return Err(Error::value(name, "sample rate", rate, problem));
        }
        if channels == 0 {
            return Err(Error::value(name, "channels", channels, "is not at least 1"));
        }
        Ok(Self {
            rate,
            step,
            full: 1.0 - step.max(STEP_16),
            runs: vec![0; channels],
            channel: 0,
            sum: 0.0,
            samples: Vec::new(),
            clipped: 0,
        })
    }

    /// Adds the next sample of the interleaved channels.
    fn push(&mut self, sample: f32) {
        let run = &mut self.runs[self.channel];
        *run = if sample.abs() >= self.full { run.saturating_add(1) } else { 0 };
        if *run >= CLIPPED_RUN {
            self.clipped += if *run == CLIPPED_RUN { CLIPPED_RUN as usize } else { 1 };
        }
        self.sum += f64::from(sample);
        self.channel += 1;
        if self.channel == self.runs.len() {
            self.samples.push((self.sum / self.channel as f64) as f32);
            (self.channel, self.sum) = (0, 0.0);
        }
    }

    /// Fails if a compressed file of `bytes` bytes holds more samples than it may.
    fn check_expansion(&self, name: &str, bytes: usize) -> Result<(), Error> {
        let limit = bytes.saturating_mul(MAX_EXPANSION).max(SMALL);
        let resampled = self.samples.len() as u64 * u64::from(RATE) / u64::from(self.rate);
        if self.samples.len() > limit || resampled > limit as u64 {
            return Err(Error::format(name, format!("holds more than {limit} samples")));
        }
        Ok(())
    }

    fn finish(self, name: &str) -> Result<Sound, Error> {
        let Self { rate, step, runs, samples, clipped, .. } = self;
        if samples.is_empty() {
            return Err(Error::format(name, "holds no samples"));
        }
        if let Some(i) = samples.iter().position(|s| !s.is_finite()) {
            return Err(Error::value(name, format!("samples[{i}]"), samples[i], "is not finite"));
        }
        let mean = mean(&samples);
        let reach = SILENT_STEPS * f64::from(step) * (1.0 + 1e-6);
        let silent = samples.iter().all(|&s| (f64::from(s) - mean).abs() <= reach);
        let samples =
            if rate == RATE { samples } else { resample::resample(samples, rate, mean as f32) };
        Ok(Sound { samples, rate, channels: runs.len(), clipped, silent })
    }
}

fn mean(samples: &[f32]) -> f64 {
    samples.iter().map(|&s| f64::from(s)).sum::<f64>() / samples.len().max(1) as f64
}
