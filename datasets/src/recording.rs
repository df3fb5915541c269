use crate::{Error, parallel};

/// Longest recording in seconds. A later time is a damaged value or has another unit.
const MAX_SECONDS: f32 = 3600.0;

/// The spikes of one utterance, as events in continuous time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// Time of each spike in seconds from the start, ascending.
    pub times: Vec<f32>,
    /// Channel of each spike.
    pub units: Vec<u16>,
    /// Class, from 0.
    pub label: u16,
    /// Speaker; 0 if the file does not name speakers.
    pub speaker: u16,
}

/// Number format of the times in a file. It determines how times were rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// IEEE half precision, as in the published SHD and SSC files.
    F16,
    /// IEEE single precision.
    F32,
}

impl TimeFormat {
    /// Rounds a number to this format.
    pub(crate) fn round(self, x: f64) -> f32 {
        match self {
            Self::F16 => half::f16::from_f64(x).to_f32(),
            Self::F32 => x as f32,
        }
    }
}

/// The utterances of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct Recordings {
    /// Name of the file, used in error messages.
    pub source: String,
    /// Number of channels. Every unit is below it.
    pub channels: usize,
    /// Name of each class. Their number is the number of classes.
    pub keys: Vec<String>,
    /// Number format of the times in the file.
    pub time_format: TimeFormat,
    /// The utterances, in the order of the file.
    pub items: Vec<Recording>,
}

impl Recordings {
    /// Checks the recordings. Every reader does so.
    ///
    /// # Errors
    /// There are no utterances; an utterance has no spikes, or numbers of times and units that
    /// differ; a time is not finite, negative, above an hour or before the previous one; a unit or
    /// a label is out of range; a class name holds a control character.
    pub fn validate(&self) -> Result<(), Error> {
        self.map(|_| ()).map(drop)
    }

    /// Checks every utterance and applies `f` to it, on all cores.
    ///
    /// # Errors
    /// [`Recordings::validate`] fails.
    pub(crate) fn map<R: Send>(&self, f: impl Fn(&Recording) -> R + Sync) -> Result<Vec<R>, Error> {
        if self.items.is_empty() {
            return Err(self.value(
                "labels",
                "[]",
                "is empty; a file needs at least one utterance",
            ));
        }
        if let Some(i) = self.keys.iter().position(|key| key.contains(char::is_control)) {
            let problem = "holds a control character";
            return Err(self.value(format!("extra/keys[{i}]"), &self.keys[i], problem));
        }
        let checked = |n, item: &Recording| self.check(n, item).map(|()| f(item));
        parallel::try_map(&self.items, parallel::threads(self.items.len()), checked)
    }

    fn check(&self, n: usize, item: &Recording) -> Result<(), Error> {
        let spikes = item.times.len();
        if item.units.len() != spikes {
            let problem = format!("spikes do not match the {spikes} of spikes/times[{n}]");
            return Err(self.value(format!("spikes/units[{n}]"), item.units.len(), problem));
        }
        if spikes == 0 {
            return Err(self.value(
                format!("spikes/times[{n}]"),
                "[]",
                "is empty; an utterance needs at least one spike",
            ));
        }
        let mut before = 0.0;
        for (i, &t) in item.times.iter().enumerate() {
            let problem = if !t.is_finite() {
                "s is not finite".into()
            } else if t < 0.0 {
                "s is negative".into()
            } else if t > MAX_SECONDS {
                format!("s is above {MAX_SECONDS} s; times are in seconds")
            } else if t < before {
                format!("s comes after {before} s; times must ascend")
            } else {
                before = t;
                continue;
            };
            return Err(self.value(format!("spikes/times[{n}][{i}]"), t, problem));
        }
        if let Some(i) = item.units.iter().position(|&u| usize::from(u) >= self.channels) {
            let problem = format!("is not below {} channels", self.channels);
            return Err(self.value(format!("spikes/units[{n}][{i}]"), item.units[i], problem));
        }
        if usize::from(item.label) >= self.keys.len() {
            let problem = format!("is not below {} classes", self.keys.len());
            return Err(self.value(format!("labels[{n}]"), item.label, problem));
        }
        Ok(())
    }

    fn value(&self, field: impl ToString, value: impl ToString, problem: impl ToString) -> Error {
        Error::value(&self.source, field, value, problem)
    }
}
