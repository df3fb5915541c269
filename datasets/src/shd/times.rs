//! Times of spikes in seconds.

use half::slice::HalfFloatSliceExt as _;

use super::Options;
use super::container::Rows;
use super::values::{Kind, Number, two_bytes};
use crate::{Error, TimeFormat};

/// Unit of the times in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeUnit {
    /// Seconds.
    #[default]
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
}

/// Time from which the times of an utterance count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// 0.
    #[default]
    Zero,
    /// Its earliest spike, as for a clock that runs on between utterances.
    FirstSpike,
}

impl TimeUnit {
    /// Units per second.
    pub(crate) fn per_second(self) -> f64 {
        match self {
            Self::Seconds => 1.0,
            Self::Milliseconds => 1e3,
            Self::Microseconds => 1e6,
        }
    }
}

pub(super) struct Times<'a> {
    pub(super) rows: Rows<'a>,
    pub(super) number: Number,
    pub(super) options: Options,
}

impl Times<'_> {
    /// The format to which the times are rounded.
    pub(super) fn format(&self) -> TimeFormat {
        let half = (self.number.kind, self.number.size) == (Kind::Float, 2);
        if half && self.is_plain() { TimeFormat::F16 } else { TimeFormat::F32 }
    }

    /// Whether the file holds seconds from 0.
    fn is_plain(&self) -> bool {
        self.options.time_unit == TimeUnit::Seconds && self.options.origin == Origin::Zero
    }

    /// The times of an utterance in seconds, in the order of the file.
    pub(super) fn row(&self, n: usize) -> Result<Vec<f32>, Error> {
        let bytes = self.rows.bytes(n)?;
        let Number { kind, size, big_endian } = self.number;
        let values = bytes.chunks_exact(size);
        if self.is_plain() && kind == Kind::Float {
            if size == 2 {
                let half = |v: &[u8]| half::f16::from_bits(two_bytes(v, big_endian));
                return Ok(values.map(half).collect::<Vec<_>>().to_f32_vec());
            }
            if size == 4 {
                let single = |v: &[u8]| f32::from_bits(self.number.integer(v) as u32);
                return Ok(values.map(single).collect());
            }
        }
        let times = || values.clone().map(|v| self.number.float(v));
        let first = match self.options.origin {
            Origin::Zero => 0.0,
            Origin::FirstSpike => times().fold(f64::INFINITY, f64::min),
        };
        let per_second = self.options.time_unit.per_second();
        Ok(times().map(|t| ((t - first) / per_second) as f32).collect())
    }
}
