//! Wav files.

use std::io::Cursor;
use std::path::Path;

use hound::{SampleFormat, WavReader};

use crate::{Error, bytes};

/// Sample rate in Hz that every recording must have.
pub const RATE: u32 = 16_000;

/// Reads a recording of one channel at [`RATE`]. Full scale is 1. The samples take at most eight
/// times the size of the file.
///
/// # Errors
/// The file cannot be read, is not a complete wav file, has another sample rate or more than one
/// channel, or holds no samples or one that is not finite.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<f32>, Error> {
    let path = path.as_ref();
    from_bytes(bytes::read(path)?, &path.display().to_string())
}

/// Reads the bytes of a wav file. Error messages name it `name`.
///
/// # Errors
/// The same as for [`read`], except that no file is opened.
pub fn from_bytes(bytes: Vec<u8>, name: &str) -> Result<Vec<f32>, Error> {
    let bad = |error: hound::Error| {
        let reason = match error {
            hound::Error::FormatError(reason) => reason.into(),
            error => error.to_string(),
        };
        Error::format(name, format!("not a complete wav file: {reason}"))
    };
    let mut wav = WavReader::new(Cursor::new(bytes)).map_err(bad)?;
    let spec = wav.spec();
    if spec.sample_rate != RATE {
        let problem = format!("is not {RATE}; resample the recording");
        return Err(Error::value(name, "sample rate", spec.sample_rate, problem));
    }
    if spec.channels != 1 {
        return Err(Error::value(
            name,
            "channels",
            spec.channels,
            "is not 1; mix the channels down to one",
        ));
    }
    let samples: Vec<f32> = match spec.sample_format {
        SampleFormat::Float => wav.samples().collect::<Result<_, _>>().map_err(bad)?,
        SampleFormat::Int => {
            let scale = 2f64.powi(1 - i32::from(spec.bits_per_sample));
            let samples = wav.samples::<i32>().map(|s| s.map(|s| (f64::from(s) * scale) as f32));
            samples.collect::<Result<_, _>>().map_err(bad)?
        }
    };
    if samples.is_empty() {
        return Err(Error::format(name, "holds no samples"));
    }
    if let Some(i) = samples.iter().position(|s| !s.is_finite()) {
        return Err(Error::value(name, format!("samples[{i}]"), samples[i], "is not finite"));
    }
    Ok(samples)
}
