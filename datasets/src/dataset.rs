use crate::about::check_names;
use crate::binning::{BinOptions, CountOverflow};
use crate::folders::nfc;
use crate::{About, Error, Recordings};

/// The spikes of one channel in one step. An entry takes eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Step, from 0.
    pub step: u32,
    /// Channel.
    pub channel: u16,
    /// Number of spikes, at least 1.
    pub count: u16,
}

/// Real values for every step and channel, in 16 bits each. Level `q` stands for `low + q unit`.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels {
    /// Value of level 0.
    pub low: f32,
    /// Difference between two neighbouring levels.
    pub unit: f32,
    /// The levels, `[steps, channels]` in row-major order.
    pub levels: Vec<u16>,
}

impl Levels {
    /// The values, `[steps, channels]` in row-major order.
    pub fn values(&self) -> impl Iterator<Item = f32> {
        self.levels.iter().map(|&q| self.low + self.unit * f32::from(q))
    }
}

/// One sample: a `[steps, channels]` matrix and its label. The matrix is sparse for spike trains,
/// and dense for real values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpikeTrain {
    /// Length in steps.
    pub steps: usize,
    /// The nonzero entries, sorted by step and then by channel; empty if the sample is dense.
    pub entries: Vec<Entry>,
    /// The values of a dense sample.
    pub dense: Option<Levels>,
    /// Class, from 0.
    pub label: u16,
    /// Speaker; 0 if unknown.
    pub speaker: u16,
}

impl SpikeTrain {
    /// A hash of the spikes, the same on every machine; of a dense sample, only of their absence.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.entries.iter().fold(self.entries.len() as u64, |hash, e| {
            let entry = u64::from(e.step) << 32 | u64::from(e.channel) << 16 | u64::from(e.count);
            mix(hash, entry)
        })
    }
}

fn mix(hash: u64, value: u64) -> u64 {
    (hash.rotate_left(29) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The samples of one task.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Name, used in error messages and reports.
    pub name: String,
    /// Number of channels of every sample.
    pub channels: usize,
    /// Number of classes.
    pub classes: usize,
    /// Name of each class.
    pub class_names: Vec<String>,
    /// The samples.
    pub samples: Vec<SpikeTrain>,
    /// Length of a step in milliseconds.
    pub dt_ms: u32,
    /// What else is known about the samples.
    pub about: About,
}

impl Dataset {
    /// Sorts the spikes of recordings into steps, on all cores. The result does not depend on their
    /// number.
    ///
    /// # Errors
    /// The recordings fail [`Recordings::validate`], an option is 0, the group size does not divide
    /// the number of channels, or a channel has more than 65,535 spikes in a step.
    pub fn from_recordings(recordings: &Recordings, options: &BinOptions) -> Result<Self, Error> {
        options.check(recordings)?;
        let binned = recordings.map(|item| options.bin(item, recordings.time_format))?;
        let sample = |(n, sample): (usize, Result<_, CountOverflow>)| {
            sample.map_err(|CountOverflow { step, channel }| {
                let place = format!("step {step} of channel {channel}");
                let most = u16::MAX;
                let reason = format!("utterance {n} has more than {most} spikes in {place}");
                Error::format(&recordings.source, reason)
            })
        };
        let samples = binned.into_iter().enumerate().map(sample).collect::<Result<_, _>>()?;
        Ok(Self {
            name: recordings.source.clone(),
            channels: recordings.channels / options.group,
            classes: recordings.keys.len(),
            class_names: recordings.keys.clone(),
            samples,
            dt_ms: options.dt_ms,
            about: recordings.about.clone(),
        })
    }

    /// Appends the samples of another data set of the same task, for example a test file to its
    /// training file. Speakers with the same name become the same speaker.
    ///
    /// # Errors
    /// The channels, the class names or the step lengths differ, or there are more than 65,536
    /// speakers.
    pub fn append(&mut self, other: Self) -> Result<(), Error> {
        let differs = |field: &str, here: &dyn std::fmt::Debug, there: &dyn std::fmt::Debug| {
            let problem = format!("is not {here:?}, as in {}", self.name);
            Err(Error::value(&other.name, field, format!("{there:?}"), problem))
        };
        if self.channels != other.channels {
            return differs("channels", &self.channels, &other.channels);
        }
        if self.class_names != other.class_names {
            return differs("class_names", &self.class_names, &other.class_names);
        }
        if self.dt_ms != other.dt_ms {
            return differs("dt_ms", &self.dt_ms, &other.dt_ms);
        }
        let highest = |samples: &[SpikeTrain]| samples.iter().map(|s| s.speaker).max().unwrap_or(0);
        let highest = [&self.samples, &other.samples].map(|samples| highest(samples));
        let items = [&self.samples, &other.samples].map(Vec::len);
        let speakers = self.about.append(other.about, items, highest, &other.name)?;
        self.samples.extend(other.samples.into_iter().map(|sample| {
            let speaker = speakers.as_ref().and_then(|new| new.get(usize::from(sample.speaker)));
            SpikeTrain { speaker: speaker.copied().unwrap_or(sample.speaker), ..sample }
        }));
        Ok(())
    }

    /// Gives the samples the classes `names`: a class becomes the one of the same name, in whatever
    /// Unicode form.
    ///
    /// # Errors
    /// A sample has a class that is not among them. Nothing has changed then.
    pub fn use_classes(&mut self, names: &[String]) -> Result<(), Error> {
        let class = |own: &String| names.iter().position(|name| nfc(name) == nfc(own));
        let classes: Vec<_> = self.class_names.iter().map(class).collect();
        let class_of = |sample: &SpikeTrain| {
            classes
                .get(usize::from(sample.label))
                .copied()
                .flatten()
                .and_then(|n| n.try_into().ok())
        };
        let labels: Option<Vec<u16>> = self.samples.iter().map(class_of).collect();
        let Some(labels) = labels else {
            let unknown = self.samples.iter().find(|sample| class_of(sample).is_none());
            let label = unknown.map_or(0, |sample| sample.label);
            let own = self.class_names.get(usize::from(label)).cloned();
            let shown = names.iter().take(20).map(String::as_str).collect::<Vec<_>>().join(", ");
            let problem = format!("is not one of the {} classes {shown}", names.len());
            return Err(self.value("class".into(), own.unwrap_or(label.to_string()), problem));
        };
        self.samples.iter_mut().zip(labels).for_each(|(sample, label)| sample.label = label);
        (self.class_names, self.classes) = (names.to_vec(), names.len());
        Ok(())
    }

    /// The speakers in ascending order.
    #[must_use]
    pub fn speakers(&self) -> Vec<u16> {
        let mut speakers: Vec<u16> = self.samples.iter().map(|s| s.speaker).collect();
        speakers.sort_unstable();
        speakers.dedup();
        speakers
    }

    /// A hash of lists of samples, by which changed data are known: of their indices, spikes,
    /// lengths, classes and speakers, and of the names of the classes. It is the same on every
    /// machine. Indices that are out of range count as such.
    #[must_use]
    pub fn hash<'a>(&self, lists: impl IntoIterator<Item = &'a [usize]>) -> u32 {
        let names = self.class_names.iter().flat_map(|name| name.bytes().chain([0]));
        let mut hash = names.map(u64::from).fold(self.channels as u64, mix);
        for list in lists {
            hash = mix(hash, list.len() as u64);
            for &index in list {
                hash = mix(hash, index as u64);
                if let Some(sample) = self.samples.get(index) {
                    let of = u64::from(sample.label) << 16 | u64::from(sample.speaker);
                    hash = [sample.steps as u64, of, sample.hash()].into_iter().fold(hash, mix);
                }
            }
        }
        (hash >> 32) as u32
    }

    /// The name of a speaker, or the number if there is none.
    #[must_use]
    pub fn speaker_name(&self, speaker: u16) -> String {
        let name = self.about.speakers.get(usize::from(speaker));
        name.cloned().unwrap_or_else(|| speaker.to_string())
    }

    /// The name of a sample, or its index if there is none.
    #[must_use]
    pub fn item_name(&self, index: usize) -> String {
        self.about.names.get(index).cloned().unwrap_or_else(|| index.to_string())
    }

    /// Checks what training requires: valid samples of at least two classes.
    ///
    /// # Errors
    /// [`Dataset::check_samples`] fails, or all samples have the same class.
    pub fn validate(&self) -> Result<(), Error> {
        self.check_samples()?;
        let first = self.samples.first().map_or(0, |s| s.label);
        if self.samples.iter().all(|s| s.label == first) {
            return Err(self.value("label".into(), first, "is the only class in the data"));
        }
        Ok(())
    }

    /// Checks every sample.
    ///
    /// # Errors
    /// There are no samples; a sample has no steps; a dense sample has another size; a
    /// label, a step or a channel is out of range; entries are out of order or have a count of 0; a
    /// real value is not finite; a class has no name, that of another class or one with a control
    /// character; a list of [`Dataset::about`] has another length.
    pub fn check_samples(&self) -> Result<(), Error> {
        if self.class_names.len() != self.classes {
            let problem = format!("names do not match {} classes", self.classes);
            return Err(self.value("class_names".into(), self.class_names.len(), problem));
        }
        check_names(&self.name, "class_names", &self.class_names)?;
        if self.samples.is_empty() {
            return Err(self.value("samples".into(), "[]", "is empty; a data set needs samples"));
        }
        let highest = self.samples.iter().map(|sample| sample.speaker).max().unwrap_or(0);
        self.about.check(&self.name, self.samples.len(), highest)?;
        self.samples.iter().enumerate().try_for_each(|(n, sample)| self.check(n, sample))
    }

    fn check(&self, n: usize, sample: &SpikeTrain) -> Result<(), Error> {
        if usize::from(sample.label) >= self.classes {
            let problem = format!("is not below {} classes", self.classes);
            return Err(self.value(format!("samples[{n}].label"), sample.label, problem));
        }
        if let Some(dense) = &sample.dense {
            return self.check_dense(n, sample, dense);
        }
        if sample.steps == 0 {
            let problem = "is not a length; a sample needs at least one step";
            return Err(self.value(format!("samples[{n}].steps"), 0, problem));
        }
        let mut before = None;
        for (i, e) in sample.entries.iter().enumerate() {
            let place = |field| format!("samples[{n}].entries[{i}].{field}");
            if e.step as usize >= sample.steps {
                let problem = format!("is not below {} steps", sample.steps);
                return Err(self.value(place("step"), e.step, problem));
            }
            if usize::from(e.channel) >= self.channels {
                let problem = format!("is not below {} channels", self.channels);
                return Err(self.value(place("channel"), e.channel, problem));
            }
            if e.count == 0 {
                return Err(self.value(place("count"), 0, "is not a number of spikes"));
            }
            if before >= Some((e.step, e.channel)) {
                return Err(self.value(place("step"), e.step, "is out of order"));
            }
            before = Some((e.step, e.channel));
        }
        Ok(())
    }

    fn check_dense(&self, n: usize, sample: &SpikeTrain, dense: &Levels) -> Result<(), Error> {
        let place = |field| format!("samples[{n}].{field}");
        let places = sample.steps.saturating_mul(self.channels);
        if places == 0 || dense.levels.len() != places {
            let problem =
                format!("levels do not fill {} steps of {} channels", sample.steps, self.channels);
            return Err(self.value(place("dense"), dense.levels.len(), problem));
        }
        if !(dense.low + dense.unit * f32::from(u16::MAX)).is_finite() {
            return Err(self.value(
                place("dense.unit"),
                dense.unit,
                "makes values infinite or NaN",
            ));
        }
        if !sample.entries.is_empty() {
            let problem = "entries in a dense sample, which has none";
            return Err(self.value(place("entries"), sample.entries.len(), problem));
        }
        Ok(())
    }

    fn value(&self, field: String, value: impl ToString, problem: impl ToString) -> Error {
        Error::value(&self.name, field, value, problem)
    }
}
