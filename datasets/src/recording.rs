use crate::{Error, parallel};

/// Longest recording taken, in seconds; a later time is a damaged value or another unit.
const MAX_SECONDS: f32 = 3600.0;

/// The spikes of one utterance, as events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// Time of each spike in seconds from the start, ascending.
    pub times: Vec<f32>,
    /// Channel of each spike.
    pub units: Vec<u16>,
    /// Class.
    pub label: u16,
    /// Speaker; 0 throughout where the file names none.
    pub speaker: u16,
}

/// How a file stores its times, which says what a time may have been before it was rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// IEEE half precision, as in the published SHD and SSC files.
    F16,
    /// IEEE single precision.
    F32,
}

impl TimeFormat {
    /// A number rounded to this format.
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
    /// Name of the file, for messages.
    pub source: String,
    /// Number of channels; every unit is below it.
    pub channels: usize,
    /// The word of each class; their number is the number of classes.
    pub keys: Vec<String>,
    /// How the file stored its times.
    pub time_format: TimeFormat,
    /// The utterances, in the order of the file.
    pub items: Vec<Recording>,
}

impl Recordings {
    /// Checks what every reader promises.
    ///
    /// # Errors
    /// There are no utterances; an utterance has no spikes, or as many times as units it has not;
    /// a time is not finite, negative, beyond an hour or before the one that precedes it; a unit or
    /// a label is out of range; a key holds a control character.
    pub fn validate(&self) -> Result<(), Error> {
        self.map(|_| ()).map(drop)
    }

    /// `f` of every utterance, once it is checked, by all cores.
    ///
    /// # Errors
    /// As [`Recordings::validate`].
    pub(crate) fn map<R: Send>(&self, f: impl Fn(&Recording) -> R + Sync) -> Result<Vec<R>, Error> {
        if self.items.is_empty() {
            return Err(self.value("labels", "[]", "holds no utterance"));
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
            let problem = format!("spikes, but spikes/times[{n}] has {spikes}");
            return Err(self.value(format!("spikes/units[{n}]"), item.units.len(), problem));
        }
        if spikes == 0 {
            return Err(self.value(
                format!("spikes/times[{n}]"),
                "[]",
                "is an utterance without spikes",
            ));
        }
        let mut before = 0.0;
        for (i, &t) in item.times.iter().enumerate() {
            let problem = if !t.is_finite() {
                "s is not finite".into()
            } else if t < 0.0 {
                "s is negative".into()
            } else if t > MAX_SECONDS {
                format!("s is beyond {MAX_SECONDS} s")
            } else if t < before {
                format!("s comes after {before} s")
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
