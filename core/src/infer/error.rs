use core::fmt;

/// Why an engine refuses a call. The engine has not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EngineError {
    /// A buffer of the state is too small for the model.
    Memory {
        /// `words`, `halves` or `bytes`.
        part: &'static str,
        /// The length that the model needs.
        needed: usize,
        /// The length of the buffer.
        found: usize,
    },
    /// The model does not have this channel.
    Channel {
        /// The channel.
        found: usize,
        /// The number of channels of the model.
        channels: usize,
    },
    /// The input has the wrong length.
    Length {
        /// The length that the model needs.
        expected: usize,
        /// The length of the input.
        found: usize,
    },
    /// A value is out of range: a model of spikes takes 0 and 1, a model of values takes -127 to
    /// 127.
    Value {
        /// The channel.
        channel: usize,
    },
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Memory { part, needed, found } => {
                write!(f, "the model needs a state of {needed} {part}, but there are {found}")
            }
            Self::Channel { found, channels } => {
                write!(f, "channel {found} does not exist: the model has {channels} channels")
            }
            Self::Length { expected, found } => {
                write!(f, "the input has length {found}; the model needs {expected}")
            }
            Self::Value { channel } => write!(f, "the value of channel {channel} is out of range"),
        }
    }
}

impl core::error::Error for EngineError {}
