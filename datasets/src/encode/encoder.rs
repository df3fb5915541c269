use std::fmt;
use std::path::Path;
use std::str::FromStr;

use polychron_core::rng::Rng;

use super::{Cochlea, Spikes, delta};
use crate::{Error, shd};

/// The generator's stream for the noise of the fibres: "fibres" in ASCII.
const STREAM: u64 = 0x6669_6272_6573;

/// Encoder of sound as spikes. Its text, `cochlea seed 0` or `delta`, gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// [`Cochlea`] with 700 channels.
    Cochlea {
        /// Seed of the noise of its fibres.
        seed: u64,
    },
    /// Delta modulation with 48 channels. Channel `b` spikes where the envelope of band `b` of 24
    /// mel bands has risen by 9 dB since its last spike, channel `24 + b` where it has fallen by 9
    /// dB; each channel spikes at most once per millisecond. The envelope is the power in 32 ms of
    /// sound, with a floor 55 dB below the loudest in the recording, or below a sine at -40 dB of
    /// full scale if that is louder. It starts at the floor.
    Delta,
}

impl Encoder {
    /// Number of channels of its spikes.
    #[must_use]
    pub fn channels(self) -> usize {
        match self {
            Self::Cochlea { .. } => shd::CHANNELS,
            Self::Delta => delta::CHANNELS,
        }
    }

    /// A function from the samples and the number of a recording to its spikes.
    pub(super) fn prepare(self) -> impl Fn(&[f32], u64) -> Spikes + Sync {
        let cochlea = match self {
            Self::Cochlea { seed } => {
                Some((Cochlea::new(shd::CHANNELS as u16), Rng::new(seed, STREAM)))
            }
            Self::Delta => None,
        };
        move |samples, n| match &cochlea {
            Some((cochlea, rng)) => cochlea.spikes(samples, rng.fork(n)),
            None => delta::spikes(samples),
        }
    }
}

impl fmt::Display for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cochlea { seed } => write!(f, "cochlea seed {seed}"),
            Self::Delta => f.write_str("delta"),
        }
    }
}

impl FromStr for Encoder {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let seed = text.strip_prefix("cochlea seed ").and_then(|seed| seed.parse().ok());
        match (text, seed) {
            ("delta", _) => Ok(Self::Delta),
            (_, Some(seed)) => Ok(Self::Cochlea { seed }),
            _ => Err(Error::format(
                text,
                "is no encoder of this version; use \"delta\" or \"cochlea seed 0\"",
            )),
        }
    }
}

/// Encodes one sound file. See [`sound::read`](crate::sound::read) for the formats. The noise is
/// that of the first recording of a [`folder`](super::folder).
///
/// # Errors
/// The file cannot be read, or is longer than an hour.
pub fn file(path: impl AsRef<Path>, encoder: Encoder) -> Result<Spikes, Error> {
    let encode = encoder.prepare();
    let encoded = super::encode_file(path.as_ref(), |samples| encode(samples, 0))?;
    Ok(encoded.spikes)
}
