use std::path::Path;

use polychron_core::rng::Rng;

use crate::{Dataset, Error, bytes};

/// The generator's stream of splits: "split" in ASCII.
const STREAM: u64 = 0x73_706c_6974;

/// Three disjoint lists of sample indices of a data set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Samples to train on.
    pub train: Vec<usize>,
    /// Samples to validate on during training; may be empty.
    pub valid: Vec<usize>,
    /// Samples to report results on; may be empty.
    pub test: Vec<usize>,
}

impl Split {
    /// Draws a fraction `valid` and a fraction `test` of `items` samples, rounded to the nearest
    /// number. The rest is to train on.
    ///
    /// # Errors
    /// A fraction is not in `[0, 1)`, or no sample is left to train on.
    pub fn fractions(items: usize, valid: f64, test: f64, seed: u64) -> Result<Self, Error> {
        let mut order: Vec<usize> = (0..items).collect();
        Rng::new(seed, STREAM).shuffle(&mut order);
        let test = part(items, "test", test)?;
        let valid = part(items, "valid", valid)?;
        if test + valid >= items {
            let problem = format!("of {items} samples leaves none to train on");
            return Err(Error::value("split", "valid + test", test + valid, problem));
        }
        let train = order.split_off(valid + test);
        let valid = order.split_off(test);
        Ok(Self { train, valid, test: order })
    }

    /// Keeps one speaker for testing. A fraction `valid` of the other samples is drawn to validate
    /// on.
    ///
    /// # Errors
    /// No sample or every sample is by this speaker, or [`Split::fractions`] fails.
    pub fn leave_speaker_out(
        data: &Dataset,
        speaker: u16,
        valid: f64,
        seed: u64,
    ) -> Result<Self, Error> {
        let (test, others): (Vec<usize>, Vec<usize>) =
            (0..data.samples.len()).partition(|&i| data.samples[i].speaker == speaker);
        if test.is_empty() {
            return Err(Error::value(&data.name, "speaker", speaker, "has no sample"));
        }
        if others.is_empty() {
            return Err(Error::value(
                &data.name,
                "speaker",
                speaker,
                "has every sample, which leaves none to train on",
            ));
        }
        let drawn = Self::fractions(others.len(), valid, 0.0, seed)?;
        let pick = |part: Vec<usize>| part.into_iter().map(|i| others[i]).collect();
        Ok(Self { train: pick(drawn.train), valid: pick(drawn.valid), test })
    }

    /// Reads a split from a JSON object with the index lists `val` and `test`. Samples in neither
    /// are to train on.
    ///
    /// `items` is the number of samples, of which the first `train_items` come from the training
    /// file. Without `test`, the samples after these are the test samples.
    ///
    /// # Errors
    /// The file cannot be read or is no such object, or a list names a sample twice or one that
    /// does not exist.
    pub fn read(path: impl AsRef<Path>, train_items: usize, items: usize) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::from_json(&bytes::read(path)?, &path.display().to_string(), train_items, items)
    }

    /// Reads a split from the text of a file. Error messages name it `name`.
    ///
    /// # Errors
    /// The same as for [`Split::read`], except that no file is opened.
    pub fn from_json(
        json: &[u8],
        name: &str,
        train_items: usize,
        items: usize,
    ) -> Result<Self, Error> {
        let json: serde_json::Value =
            serde_json::from_slice(json).map_err(|e| Error::format(name, e))?;
        let valid = indices(&json, "val", name)?.ok_or_else(|| {
            Error::format(name, "val is missing; it lists the samples to validate on")
        })?;
        let (candidates, test) = match indices(&json, "test", name)? {
            Some(test) => (items, test),
            None => (train_items.min(items), (train_items..items).collect()),
        };
        if let Some(i) = valid.iter().position(|&v| v >= candidates) {
            let problem = format!("is not below {candidates} samples");
            return Err(Error::value(name, format!("val[{i}]"), valid[i], problem));
        }
        let mut split = Self { train: Vec::new(), valid, test };
        let used = split.check(name, items)?;
        split.train = (0..candidates).filter(|&i| !used[i]).collect();
        split.validate(name, items)?;
        Ok(split)
    }

    /// Checks that the lists are disjoint, without repetitions and below `items`, and that there is
    /// a sample to train on.
    ///
    /// # Errors
    /// They are not. The message names the index.
    pub fn validate(&self, name: &str, items: usize) -> Result<(), Error> {
        self.check(name, items)?;
        if self.train.is_empty() {
            return Err(Error::value(
                name,
                "train",
                "[]",
                "is empty; a split needs a sample to train on",
            ));
        }
        Ok(())
    }

    fn check(&self, name: &str, items: usize) -> Result<Vec<bool>, Error> {
        let mut used = vec![false; items];
        for (part, list) in [("train", &self.train), ("val", &self.valid), ("test", &self.test)] {
            for (i, &index) in list.iter().enumerate() {
                let field = || format!("{part}[{i}]");
                match used.get_mut(index) {
                    Some(used) if !*used => *used = true,
                    Some(_) => return Err(Error::value(name, field(), index, "is listed twice")),
                    None => {
                        let problem = format!("is not below {items} samples");
                        return Err(Error::value(name, field(), index, problem));
                    }
                }
            }
        }
        Ok(used)
    }
}

fn part(items: usize, name: &str, fraction: f64) -> Result<usize, Error> {
    if !(0.0..1.0).contains(&fraction) {
        return Err(Error::value("split", name, fraction, "is not a fraction in [0, 1)"));
    }
    Ok((items as f64 * fraction).round() as usize)
}

fn indices(json: &serde_json::Value, key: &str, name: &str) -> Result<Option<Vec<usize>>, Error> {
    let Some(list) = json.get(key) else { return Ok(None) };
    let list =
        list.as_array().ok_or_else(|| Error::format(name, format!("{key} is not a list")))?;
    let index = |(i, v): (usize, &serde_json::Value)| {
        v.as_u64()
            .and_then(|v| usize::try_from(v).ok())
            .ok_or_else(|| Error::value(name, format!("{key}[{i}]"), v, "is not an index"))
    };
    list.iter().enumerate().map(index).collect::<Result<_, _>>().map(Some)
}
