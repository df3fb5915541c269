use crate::Error;

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The items to train on.
    Train,
    /// The items to validate on during training.
    Valid,
    /// The items to report results on.
    Test,
}

impl Part {
    /// The part that a name stands for, in any case: `train`, `training`; `valid`, `validation`,
    /// `val`, `dev`; `test`, `testing`, `eval`.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        match name.to_lowercase().as_str() {
            "train" | "training" => Some(Self::Train),
            "valid" | "validation" | "val" | "dev" => Some(Self::Valid),
            "test" | "testing" | "eval" => Some(Self::Test),
            _ => None,
        }
    }

    /// The name of the part: `train`, `valid` or `test`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Valid => "valid",
            Self::Test => "test",
        }
    }
}

/// What is known about items beside their spikes. A list is empty if nothing is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// Name of each item, such as the path of its sound file.
    pub names: Vec<String>,
    /// The part to which each item belongs.
    pub parts: Vec<Part>,
    /// Name of each speaker, by number.
    pub speakers: Vec<String>,
    /// How sound became spikes, for example `delta`; empty if unknown.
    pub encoder: String,
    /// Length in ms of the steps of a raster, which became times.
    pub step_ms: Option<f64>,
}

impl About {
    /// Checks the lengths of the lists for a number of items and the largest number of a speaker.
    pub(crate) fn check(&self, source: &str, items: usize, speaker: u16) -> Result<(), Error> {
        for (field, len) in [("names", self.names.len()), ("parts", self.parts.len())] {
            if len != 0 && len != items {
                let problem = format!("entries do not match {items} items");
                return Err(Error::value(source, field, len, problem));
            }
        }
        let speakers = self.speakers.len();
        if speakers != 0 && usize::from(speaker) >= speakers {
            let problem = format!("is not below {speakers} names of speakers");
            return Err(Error::value(source, "speaker", speaker, problem));
        }
        Ok(())
    }

    /// Appends what is known about the items of another data set. Here are `items` items, there are
    /// `others`. Names and parts stay known only if they are for both. Returns the new number of
    /// each speaker of the other data set; `None` if numbers stay, because none has a name.
    pub(crate) fn append(
        &mut self,
        items: usize,
        highest: u16,
        other: Self,
        others: usize,
        other_highest: u16,
    ) -> Option<Vec<u16>> {
        extend(&mut self.names, items, other.names, others);
        extend(&mut self.parts, items, other.parts, others);
        if self.encoder != other.encoder {
            self.encoder.clear();
        }
        if self.step_ms != other.step_ms {
            self.step_ms = None;
        }
        if self.speakers.is_empty() && other.speakers.is_empty() {
            return None;
        }
        let numbers = |most: u16| (0..=most).map(|n| n.to_string()).collect();
        if self.speakers.is_empty() {
            self.speakers = numbers(highest);
        }
        let theirs =
            if other.speakers.is_empty() { numbers(other_highest) } else { other.speakers };
        let number = |name: String| {
            let known = self.speakers.iter().position(|own| *own == name);
            let number = known.unwrap_or_else(|| {
                self.speakers.push(name);
                self.speakers.len() - 1
            });
            u16::try_from(number).unwrap_or(u16::MAX)
        };
        Some(theirs.into_iter().map(number).collect())
    }
}

fn extend<T>(own: &mut Vec<T>, items: usize, other: Vec<T>, others: usize) {
    if own.len() == items && other.len() == others {
        own.extend(other);
    } else {
        own.clear();
    }
}
