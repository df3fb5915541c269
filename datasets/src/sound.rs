use std::io::Cursor;
use std::path::Path;

use hound::{SampleFormat, WavReader};

use crate::{Error, bytes};

/// Samples a second of every recording taken.
pub(crate) const RATE: u32 = 16_000;

/// A recording of one channel at [`RATE`], full scale 1, in memory of at most eight times the file.
///
/// # Errors
/// The file cannot be read, is no wav or a truncated one, has another rate or more channels, or holds no sample or
/// one that is not finite.
pub(crate) fn read(path: &Path) -> Result<Vec<f32>, Error> {
    let name = path.display().to_string();
    let bad = |error: hound::Error| {
        let reason = match error {
            hound::Error::FormatError(reason) => reason.into(),
            error => error.to_string(),
        };
        Error::format(&name, format!("not a whole wav file: {reason}"))
    };
    let mut wav = WavReader::new(Cursor::new(bytes::read(path)?)).map_err(bad)?;
    let spec = wav.spec();
    if spec.sample_rate != RATE {
        let problem = format!("is not {RATE}; resample the recording");
        return Err(Error::value(&name, "sample rate", spec.sample_rate, problem));
    }
    if spec.channels != 1 {
        return Err(Error::value(&name, "channels", spec.channels, "is not 1; mix them down"));
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
        return Err(Error::format(&name, "holds no sample"));
    }
    if let Some(i) = samples.iter().position(|s| !s.is_finite()) {
        return Err(Error::value(&name, format!("samples[{i}]"), samples[i], "is not finite"));
    }
    Ok(samples)
}
