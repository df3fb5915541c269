use std::cmp::Ordering;

use crate::about::check_names;
use crate::{About, Error, parallel};

/// Longest recording in seconds. A later time is a damaged value or has another unit.
pub(crate) const MAX_SECONDS: f32 = 3600.0;
/// Fewest spikes of an utterance that are unlikely to have one time.
const MANY_SPIKES: usize = 3;
/// A longer recording, a shorter one, and one whose first spike comes later, are unusual.
const LONG_SECONDS: f32 = 60.0;
const SHORT_SECONDS: f32 = 0.01;
const LATE_SECONDS: f32 = 1.0;

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

impl Recording {
    /// The times and units sorted by time; `None` if they are. The times are finite, and as many
    /// as the units.
    fn sorted(&self) -> Option<(Vec<f32>, Vec<u16>)> {
        if self.times.is_sorted() {
            return None;
        }
        let mut spikes: Vec<_> =
            self.times.iter().copied().zip(self.units.iter().copied()).collect();
        spikes.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal));
        Some(spikes.into_iter().unzip())
    }
}

/// What is wrong with a time in seconds.
pub(crate) fn time_problem(t: f32) -> Option<String> {
    if (0.0..=MAX_SECONDS).contains(&t) {
        return None;
    }
    Some(if !t.is_finite() {
        "s is not finite".into()
    } else if t < 0.0 {
        "s is negative".into()
    } else {
        format!("s is above {MAX_SECONDS} s; times are in seconds")
    })
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
    /// What else the file says about them.
    pub about: About,
}

impl Recordings {
    /// Checks the recordings. Every reader does so.
    ///
    /// # Errors
    /// There are no utterances; an utterance has numbers of times and units that differ; a time is
    /// not finite, negative, above an hour or before the previous one; a unit or a label is out of
    /// range; a class name holds a control character or belongs to two classes; a list of
    /// [`Recordings::about`] has another length.
    pub fn validate(&self) -> Result<(), Error> {
        self.map(|_| ()).map(drop)
    }

    /// Sorts the spikes of every utterance by time, on all cores. Spikes of the same time keep
    /// their order.
    ///
    /// # Errors
    /// The same as for [`Recordings::validate`], except that times may be in any order. An error
    /// names the place of a value before sorting.
    pub fn sort(&mut self) -> Result<(), Error> {
        let sorted = self.each(|n, item| self.check(n, item).map(|()| item.sorted()))?;
        for (item, sorted) in self.items.iter_mut().zip(sorted) {
            if let Some((times, units)) = sorted {
                (item.times, item.units) = (times, units);
            }
        }
        Ok(())
    }

    /// Says in a sentence each what is unusual: times that look like another unit or another
    /// origin or are all the same, and channels without spikes if the upper half or more than half
    /// have none.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let notes = [self.note_on_times(), self.note_on_channels()];
        notes.into_iter().flatten().map(|note| format!("{}: {note}", self.source)).collect()
    }

    fn note_on_times(&self) -> Option<String> {
        let ends = || self.items.iter().filter_map(|item| Some((item, *item.times.last()?)));
        let (longest, end) = ends().max_by(|a, b| a.1.total_cmp(&b.1))?;
        let spikes = longest.times.len();
        let unit = "data.time_unit or --time-unit sets their unit";
        let at_once = |(item, end): &(&Recording, f32)| {
            item.times.len() >= MANY_SPIKES && item.times[0] == *end
        };
        let at_once = ends().filter(at_once).count();
        if 2 * at_once > self.items.len() {
            let items = self.items.len();
            return Some(format!(
                "{at_once} of {items} recordings have all their spikes at one time; times of a \
                 clock that runs on need float64, not float32"
            ));
        }
        let whole = || ends().all(|(item, _)| item.times.iter().all(|t| t.fract() == 0.0));
        if end > LONG_SECONDS {
            return Some(format!(
                "the longest recording lasts {end:.0} s with {spikes} spikes; times count as \
                 seconds: are these milliseconds? {unit}"
            ));
        }
        if end >= 2.0 && whole() {
            return Some(format!(
                "all times are whole numbers of seconds, up to {end}; are these milliseconds? \
                 {unit}"
            ));
        }
        if end < SHORT_SECONDS && end > 0.0 {
            let ms = 1e3 * end;
            return Some(format!(
                "the longest recording lasts {ms:.3} ms with {spikes} spikes; is the unit of its \
                 times right? {unit}"
            ));
        }
        let late = ends().filter(|(item, _)| item.times[0] > LATE_SECONDS).count();
        (2 * late > self.items.len()).then(|| {
            let items = self.items.len();
            format!(
                "{late} of {items} recordings have no spike in their first {LATE_SECONDS} s; \
                 data.origin or --origin first-spike lets each begin at its first spike"
            )
        })
    }

    fn note_on_channels(&self) -> Option<String> {
        let mut used = vec![false; self.channels];
        let mut spikes = 0;
        for item in &self.items {
            spikes += item.units.len();
            for &unit in &item.units {
                if let Some(used) = used.get_mut(usize::from(unit)) {
                    *used = true;
                }
            }
        }
        let (first, channels) = (used.iter().rposition(|used| *used)? + 1, self.channels);
        let silent = used.iter().filter(|used| !**used).count();
        let place = if first < channels / 2 {
            format!("no spike is in channels {first} to {}", channels - 1)
        } else if spikes >= channels && 2 * silent > channels {
            format!("{silent} of {channels} channels have no spike")
        } else if silent == 1 && !used[0] && channels > 2 && spikes >= 10 * channels {
            return Some(
                "only channel 0 has no spike; do units begin at 1? They count from 0: data convert \
                 --first-unit 1"
                    .into(),
            );
        } else {
            return None;
        };
        Some(format!("{place}; data.channels or --channels sets their number"))
    }

    /// Checks every utterance and applies `f` to it, on all cores.
    ///
    /// # Errors
    /// [`Recordings::validate`] fails.
    pub(crate) fn map<R: Send>(&self, f: impl Fn(&Recording) -> R + Sync) -> Result<Vec<R>, Error> {
        self.each(|n, item| {
            self.check(n, item)?;
            let after = |pair: &[f32]| pair[1] < pair[0];
            if let Some(i) = item.times.windows(2).position(after) {
                let problem = format!("s comes after {} s; times must ascend", item.times[i]);
                let (i, t) = (i + 1, item.times[i + 1]);
                return Err(self.value(format!("spikes/times[{n}][{i}]"), t, problem));
            }
            Ok(f(item))
        })
    }

    fn each<R: Send>(
        &self,
        f: impl Fn(usize, &Recording) -> Result<R, Error> + Sync,
    ) -> Result<Vec<R>, Error> {
        if self.items.is_empty() {
            return Err(self.value(
                "labels",
                "[]",
                "is empty; a file needs at least one utterance",
            ));
        }
        check_names(&self.source, "extra/keys", &self.keys)?;
        let highest = self.items.iter().map(|item| item.speaker).max().unwrap_or(0);
        self.about.check(&self.source, self.items.len(), highest)?;
        parallel::try_map(&self.items, parallel::threads(self.items.len()), f)
    }

    /// Checks everything but the order of times.
    fn check(&self, n: usize, item: &Recording) -> Result<(), Error> {
        let spikes = item.times.len();
        if item.units.len() != spikes {
            let problem = format!("spikes do not match the {spikes} of spikes/times[{n}]");
            return Err(self.value(format!("spikes/units[{n}]"), item.units.len(), problem));
        }
        let mut problems = item.times.iter().map(|&t| time_problem(t)).enumerate();
        if let Some((i, problem)) = problems.find_map(|(i, problem)| Some((i, problem?))) {
            return Err(self.value(format!("spikes/times[{n}][{i}]"), item.times[i], problem));
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
