use std::collections::{HashMap, HashSet};

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

    /// Appends what is known about the items of another data set. `items` and `highest` are the
    /// numbers of items and the highest numbers of a speaker, here and there. Names and parts stay
    /// known only if they are for both. Returns the new number of each speaker of the other data
    /// set; `None` if numbers stay, because none has a name.
    ///
    /// # Errors
    /// There are more than 65,536 speakers together.
    pub(crate) fn append(
        &mut self,
        other: Self,
        items: [usize; 2],
        highest: [u16; 2],
        source: &str,
    ) -> Result<Option<Vec<u16>>, Error> {
        let named = [&self.speakers, &other.speakers].iter().any(|names| !names.is_empty());
        let all = |speakers: Vec<String>, highest: u16| match speakers.is_empty() {
            true => (0..=highest).map(|n| n.to_string()).collect(),
            false => speakers,
        };
        let mut numbers = None;
        if named {
            self.speakers = all(std::mem::take(&mut self.speakers), highest[0]);
            let mut known: HashMap<String, usize> =
                self.speakers.iter().cloned().zip(0..).collect();
            let number = |name: String| {
                let next = known.len();
                let number = *known.entry(name.clone()).or_insert(next);
                if number == next {
                    self.speakers.push(name);
                }
                u16::try_from(number).map_err(|_| {
                    Error::format(source, "has more than 65536 speakers, together with the others")
                })
            };
            let theirs = all(other.speakers, highest[1]).into_iter().map(number);
            numbers = Some(theirs.collect::<Result<_, _>>()?);
        }
        extend(&mut self.names, items[0], other.names, items[1]);
        extend(&mut self.parts, items[0], other.parts, items[1]);
        if self.encoder != other.encoder {
            self.encoder.clear();
        }
        if self.step_ms != other.step_ms {
            self.step_ms = None;
        }
        Ok(numbers)
    }
}

/// Checks that names of classes are different and hold no control characters.
pub(crate) fn check_names(source: &str, field: &str, names: &[String]) -> Result<(), Error> {
    let mut known = HashSet::new();
    for (n, name) in names.iter().enumerate() {
        let problem = match () {
            () if name.contains(char::is_control) => "holds a control character",
            () if !known.insert(name) => "is the name of two classes",
            () => continue,
        };
        return Err(Error::value(source, format!("{field}[{n}]"), name, problem));
    }
    Ok(())
}

fn extend<T>(own: &mut Vec<T>, items: usize, other: Vec<T>, others: usize) {
    if own.len() == items && other.len() == others {
        own.extend(other);
    } else {
        own.clear();
    }
}
