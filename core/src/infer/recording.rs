//! Recordings: utterances of spikes with what the integer engine made of them, to be replayed on a
//! device and compared bit for bit.
//!
//! The layout, little-endian:
//!
//! ```text
//! u16 number of utterances
//! each utterance:  u16 number of ticks, u8 label, u8 decision, u32 hash of the state (StateHash)
//!                  each tick:  u8 number of spikes, u8 channel of each spike
//! ```

use super::Engine;
#[cfg(feature = "alloc")]
use super::EngineError;
#[cfg(feature = "alloc")]
use alloc::vec::Vec;
#[cfg(feature = "alloc")]
use core::fmt;

/// The head of an utterance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utterance {
    /// The number of ticks.
    pub ticks: u16,
    /// The true class.
    pub label: usize,
    /// The class on which the engine decided.
    pub decision: usize,
    /// The [`StateHash`] of all ticks and of the end of the utterance.
    pub hash: u32,
}

/// Reads a recording from its bytes. Every method returns `None` if the recording ends too early.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(
    /// The bytes that are still to be read.
    pub &'a [u8],
);

impl<'a> Reader<'a> {
    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*chunk)
    }

    /// The number of utterances, with which a recording begins.
    pub fn count(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.chunk()?))
    }

    /// The head of the next utterance. Its ticks follow.
    pub fn utterance(&mut self) -> Option<Utterance> {
        Some(Utterance {
            ticks: u16::from_le_bytes(self.chunk()?),
            label: u8::from_le_bytes(self.chunk()?).into(),
            decision: u8::from_le_bytes(self.chunk()?).into(),
            hash: u32::from_le_bytes(self.chunk()?),
        })
    }

    /// The channels that spike in the next tick, in a buffer of the caller.
    pub fn tick<'b>(&mut self, channels: &'b mut [u16; 256]) -> Option<&'b [u16]> {
        let [count] = self.chunk()?;
        let (spikes, rest) = self.0.split_at_checked(count.into())?;
        self.0 = rest;
        let channels = channels.get_mut(..spikes.len())?;
        for (channel, &spike) in channels.iter_mut().zip(spikes) {
            *channel = spike.into();
        }
        Some(channels)
    }
}

/// A hash of the state of an engine: 32-bit FNV-1a over the membranes of each layer and, if it is
/// hidden, the number of its spikes, as little-endian words of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateHash(u32);

impl StateHash {
    /// The hash of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(0x811c_9dc5)
    }

    /// Adds the state after a tick.
    pub fn add(&mut self, engine: &Engine<'_>) {
        let depth = engine.model().depth();
        for layer in 0..depth {
            for membrane in engine.membranes(layer) {
                self.add_word(membrane.to_le_bytes());
            }
            if layer.saturating_add(1) < depth {
                self.add_word(u32::try_from(engine.spikes(layer)).unwrap_or(0).to_le_bytes());
            }
        }
    }

    fn add_word(&mut self, word: [u8; 4]) {
        for byte in word {
            self.0 = (self.0 ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    }

    /// The hash.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }
}

impl Default for StateHash {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a recording cannot be written.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordingError {
    /// A number is too large for its field.
    TooLarge {
        /// The number.
        what: &'static str,
        /// Its value.
        found: usize,
    },
    /// The engine refused the input.
    Engine(EngineError),
}

#[cfg(feature = "alloc")]
impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { what, found } => {
                write!(f, "a recording cannot hold {found} as its {what}")
            }
            Self::Engine(error) => error.fmt(f),
        }
    }
}

#[cfg(feature = "alloc")]
impl core::error::Error for RecordingError {}

#[cfg(feature = "alloc")]
impl From<EngineError> for RecordingError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// Writes a recording, one utterance after the other.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug, Default)]
pub struct Writer {
    count: u16,
    utterances: Vec<u8>,
}

#[cfg(feature = "alloc")]
impl Writer {
    /// A recording without utterances.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs the engine on an utterance, from its reset to its end, and records it: the channels
    /// that spike in every tick, and the true class.
    ///
    /// # Errors
    /// [`RecordingError`] if a channel, class or length does not fit its field, or if the engine
    /// refuses a channel. The recording has not changed.
    pub fn record(
        &mut self,
        engine: &mut Engine<'_>,
        ticks: &[Vec<u16>],
        label: usize,
    ) -> Result<(), RecordingError> {
        let mut hash = StateHash::new();
        engine.reset();
        for tick in ticks {
            engine.step(tick)?;
            hash.add(engine);
        }
        engine.finish();
        hash.add(engine);
        let count = fit("number of utterances", usize::from(self.count).saturating_add(1))?;
        let mut bytes = fit::<u16>("number of ticks", ticks.len())?.to_le_bytes().to_vec();
        bytes.extend([fit::<u8>("label", label)?, fit("decision", engine.decide())?]);
        bytes.extend(hash.value().to_le_bytes());
        for tick in ticks {
            bytes.push(fit("number of spikes in a tick", tick.len())?);
            for &channel in tick {
                bytes.push(fit("channel", channel.into())?);
            }
        }
        self.count = count;
        self.utterances.extend(bytes);
        Ok(())
    }

    /// The bytes of the recording.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.count.to_le_bytes().to_vec();
        bytes.extend(&self.utterances);
        bytes
    }
}

#[cfg(feature = "alloc")]
fn fit<T: TryFrom<usize>>(what: &'static str, found: usize) -> Result<T, RecordingError> {
    found.try_into().map_err(|_| RecordingError::TooLarge { what, found })
}
