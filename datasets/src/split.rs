use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use polychron_core::rng::Rng;

use crate::{Dataset, Error, bytes};

/// The generator's stream of splits: "split" in ASCII.
const STREAM: u64 = 0x73_706c_6974;
/// Number of draws of whole speakers, of which the best is taken.
const DRAWS: u64 = 64;

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
        let [test, valid] = sizes(items, valid, test)?;
        let train = order.split_off(valid + test);
        let valid = order.split_off(test);
        Ok(Self { train, valid, test: order })
    }

    /// Draws fractions of some samples as [`Split::fractions`] does, but evenly: every class has
    /// its share of each part, and every speaker has one of what is drawn from a class. Shares are
    /// rounded by largest remainders. Every class keeps a sample to train on; the parts are smaller
    /// if that leaves too few.
    ///
    /// # Errors
    /// The same as for [`Split::fractions`]; or a sample does not exist.
    pub fn stratified(
        data: &Dataset,
        samples: &[usize],
        valid: f64,
        test: f64,
        seed: u64,
    ) -> Result<Self, Error> {
        let [test, valid] = sizes_of(data, samples, valid, test)?;
        let mut order = samples.to_vec();
        Rng::new(seed, STREAM).shuffle(&mut order);
        // Classes, their speakers and the samples of these, in the order in which they were drawn.
        let (mut classes, mut class_at) = (Vec::<Vec<Vec<usize>>>::new(), HashMap::new());
        let mut speaker_at = HashMap::new();
        for i in order {
            let (label, speaker) = (data.samples[i].label, data.samples[i].speaker);
            let class = *class_at.entry(label).or_insert(classes.len());
            if class == classes.len() {
                classes.push(Vec::new());
            }
            let speakers = &mut classes[class];
            let speaker = *speaker_at.entry((label, speaker)).or_insert(speakers.len());
            if speaker == speakers.len() {
                speakers.push(Vec::new());
            }
            speakers[speaker].push(i);
        }
        let mut draw = |wanted: usize| {
            let len = |class: &Vec<Vec<usize>>| class.iter().map(Vec::len).sum();
            let of_classes = shares(&classes.iter().map(len).collect::<Vec<_>>(), wanted, 1);
            let mut drawn = Vec::new();
            for (class, wanted) in classes.iter_mut().zip(of_classes) {
                let sizes: Vec<_> = class.iter().map(Vec::len).collect();
                for (speaker, share) in class.iter_mut().zip(shares(&sizes, wanted, 0)) {
                    drawn.extend(speaker.drain(speaker.len() - share..));
                }
            }
            drawn.sort_unstable();
            drawn
        };
        let (test, valid) = (draw(test), draw(valid));
        let mut train: Vec<_> = classes.into_iter().flatten().flatten().collect();
        train.sort_unstable();
        Ok(Self { train, valid, test })
    }

    /// Draws whole speakers of some samples to validate and to test on, so that no speaker is in
    /// two parts. Of 64 draws, it takes the one whose test samples lack the fewest classes and,
    /// among these, whose parts are the closest to the fractions. Every class keeps a sample to
    /// train on.
    ///
    /// # Errors
    /// A fraction is not in `[0, 1)`, no sample is left to train on, a sample does not exist, or
    /// there are too few speakers for all parts.
    pub fn speakers(
        data: &Dataset,
        samples: &[usize],
        valid: f64,
        test: f64,
        seed: u64,
    ) -> Result<Self, Error> {
        let wanted = sizes_of(data, samples, valid, test)?;
        let mut speakers = BTreeMap::<u16, Vec<usize>>::new();
        let mut classes = BTreeMap::<u16, usize>::new();
        for &i in samples {
            speakers.entry(data.samples[i].speaker).or_default().push(i);
            *classes.entry(data.samples[i].label).or_default() += 1;
        }
        let speakers: Vec<Vec<usize>> = speakers.into_values().collect();
        let histogram = |items: &Vec<usize>| {
            let mut counts = BTreeMap::<u16, usize>::new();
            items.iter().for_each(|&i| *counts.entry(data.samples[i].label).or_default() += 1);
            counts
        };
        let histograms: Vec<_> = speakers.iter().map(histogram).collect();
        let mut best = None;
        for draw in 0..DRAWS {
            let mut order: Vec<usize> = (0..speakers.len()).collect();
            Rng::new(seed, STREAM).fork(draw).shuffle(&mut order);
            let (mut left, mut parts) = (classes.clone(), [Vec::new(), Vec::new()]);
            for (part, &wanted) in parts.iter_mut().zip(&wanted) {
                let mut size = 0usize;
                order.retain(|&speaker| {
                    let (own, after) = (&histograms[speaker], size + speakers[speaker].len());
                    let closer = size == 0 || after.abs_diff(wanted) < size.abs_diff(wanted);
                    let keeps = own.iter().all(|(class, n)| left[class] > *n);
                    if wanted == 0 || !closer || !keeps {
                        return true;
                    }
                    own.iter().for_each(|(class, n)| *left.entry(*class).or_default() -= n);
                    part.push(speaker);
                    size = after;
                    false
                });
            }
            let size = |part: &[usize]| part.iter().map(|&s| speakers[s].len()).sum::<usize>();
            let sizes = [size(&parts[0]), size(&parts[1])];
            if order.is_empty() || (0..2).any(|p| wanted[p] > 0 && sizes[p] == 0) {
                continue;
            }
            let tested = |class| parts[0].iter().any(|&s| histograms[s].contains_key(class));
            let lacking = classes.keys().filter(|class| !tested(class)).count();
            let distance = wanted[0].abs_diff(sizes[0]) + wanted[1].abs_diff(sizes[1]);
            let found = (lacking, distance, draw, parts, order);
            if best.as_ref().is_none_or(|best| found < *best) {
                best = Some(found);
            }
        }
        let Some((.., [test, valid], train)) = best else {
            let problem = "cannot be divided so that every part has a speaker and every class a \
                           sample to train on";
            return Err(Error::value(&data.name, "speakers", speakers.len(), problem));
        };
        let items = |part: Vec<usize>| {
            let mut items: Vec<_> = part.into_iter().flat_map(|s| speakers[s].clone()).collect();
            items.sort_unstable();
            items
        };
        Ok(Self { train: items(train), valid: items(valid), test: items(test) })
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

/// The number of samples to test and to validate on.
fn sizes(items: usize, valid: f64, test: f64) -> Result<[usize; 2], Error> {
    let test = part(items, "test", test)?;
    let valid = part(items, "valid", valid)?;
    if test + valid >= items {
        let problem = format!("of {items} samples leaves none to train on");
        return Err(Error::value("split", "valid + test", test + valid, problem));
    }
    Ok([test, valid])
}

/// The same for some samples of a data set.
fn sizes_of(data: &Dataset, samples: &[usize], valid: f64, test: f64) -> Result<[usize; 2], Error> {
    let count = data.samples.len();
    if let Some(n) = samples.iter().position(|&i| i >= count) {
        let problem = format!("is not below {count} samples");
        return Err(Error::value(&data.name, format!("samples[{n}]"), samples[n], problem));
    }
    sizes(samples.len(), valid, test)
}

/// Shares in proportion to `sizes` that sum to `wanted`, by largest remainders. Each is at least
/// `keep` below its size, and the sum is smaller if that leaves too little.
fn shares(sizes: &[usize], wanted: usize, keep: usize) -> Vec<usize> {
    let all = sizes.iter().sum::<usize>().max(1) as u128;
    let exact = |n: usize| sizes[n] as u128 * wanted as u128;
    let most = |n: usize| sizes[n].saturating_sub(keep);
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    let mut shares: Vec<_> =
        order.iter().map(|&n| most(n).min((exact(n) / all) as usize)).collect();
    let mut left = wanted.saturating_sub(shares.iter().sum());
    order.sort_by_key(|&n| Reverse(exact(n) % all));
    while left > 0 && !order.is_empty() {
        order.retain(|&n| {
            let more = shares[n] < most(n);
            if more && left > 0 {
                (shares[n], left) = (shares[n] + 1, left - 1);
            }
            more
        });
    }
    shares
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
