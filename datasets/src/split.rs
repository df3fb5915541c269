use std::path::Path;

use polychron_core::rng::Rng;

use crate::{Dataset, Error, bytes};

/// The generator's stream of splits: "split" in ASCII.
const STREAM: u64 = 0x73_706c_6974;

/// Sample indices of a data set, in three disjoint parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// To train on.
    pub train: Vec<usize>,
    /// To watch training by; may be empty.
    pub valid: Vec<usize>,
    /// To report on; may be empty.
    pub test: Vec<usize>,
}

impl Split {
    /// Draws parts of `items` samples, a `valid` and a `test` fraction of them, rounded to the
    /// nearest; the rest is to train on.
    ///
    /// # Errors
    /// A fraction is negative or not finite, or none is left to train on.
    pub fn fractions(items: usize, valid: f64, test: f64, seed: u64) -> Result<Self, Error> {
        let mut order: Vec<usize> = (0..items).collect();
        Rng::new(seed, STREAM).shuffle(&mut order);
        let test = part(items, "test", test)?;
        let valid = part(items, "valid", valid)?;
        if test + valid >= items {
            let problem = format!("of {items} samples leave none to train on");
            return Err(Error::value("split", "valid + test", test + valid, problem));
        }
        let train = order.split_off(valid + test);
        let valid = order.split_off(test);
        Ok(Self { train, valid, test: order })
    }

    /// Tests on one speaker; a fraction `valid` of the others' samples is drawn to validate on.
    ///
    /// # Errors
    /// The speaker is absent or the only one, or as [`Split::fractions`].
    pub fn leave_speaker_out(
        data: &Dataset,
        speaker: u16,
        valid: f64,
        seed: u64,
    ) -> Result<Self, Error> {
        let (test, others): (Vec<usize>, Vec<usize>) =
            (0..data.samples.len()).partition(|&i| data.samples[i].speaker == speaker);
        if test.is_empty() {
            return Err(Error::value(&data.name, "speaker", speaker, "speaks no sample"));
        }
        if others.is_empty() {
            return Err(Error::value(&data.name, "speaker", speaker, "speaks every sample"));
        }
        let drawn = Self::fractions(others.len(), valid, 0.0, seed)?;
        let pick = |part: Vec<usize>| part.into_iter().map(|i| others[i]).collect();
        Ok(Self { train: pick(drawn.train), valid: pick(drawn.valid), test })
    }

    /// Reads a given split: a JSON object with the index lists `val` and, unless the test samples
    /// are those from `train_items` on, `test`. What neither names is to train on.
    ///
    /// `items` is the number of samples; `train_items` of them, the first, come from the training
    /// file (all, where there is but one file).
    ///
    /// # Errors
    /// The file cannot be read, is no such object, or names a sample twice or one that there is not.
    pub fn read(path: impl AsRef<Path>, train_items: usize, items: usize) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::from_json(&bytes::read(path)?, &path.display().to_string(), train_items, items)
    }

    /// [`Split::read`] from the file's text; `name` names it in messages.
    ///
    /// # Errors
    /// As [`Split::read`].
    pub fn from_json(
        json: &[u8],
        name: &str,
        train_items: usize,
        items: usize,
    ) -> Result<Self, Error> {
        let json: serde_json::Value =
            serde_json::from_slice(json).map_err(|e| Error::format(name, e))?;
        let valid = indices(&json, "val", name)?
            .ok_or_else(|| Error::format(name, "has no list named val"))?;
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

    /// Checks that the parts are disjoint, without repeats, below `items` and that there is a sample
    /// to train on.
    ///
    /// # Errors
    /// They are not; the message names the index.
    pub fn validate(&self, name: &str, items: usize) -> Result<(), Error> {
        self.check(name, items)?;
        if self.train.is_empty() {
            return Err(Error::value(name, "train", "[]", "holds no sample"));
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
                    Some(_) => return Err(Error::value(name, field(), index, "is there twice")),
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
