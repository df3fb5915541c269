//! What is unusual about a data set and its parts, in a sentence each.

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::convert::Infallible;

use crate::{Dataset, SpikeTrain, Split, parallel};

/// Most names in a note.
const NAMES: usize = 5;

impl Dataset {
    /// Says in a sentence each what is unusual: samples without spikes, steps without spikes in
    /// more than 95 of 100 places, a raster of other steps, classes without samples, a class with
    /// more than 80 % of the samples, class names that differ in case or blanks only, and samples
    /// that equal an earlier one.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        notes(self, None)
    }
}

impl Split {
    /// The notes of [`Dataset::notes`], together with what is unusual about the parts: classes
    /// without a sample to train on, and equal samples in two parts.
    #[must_use]
    pub fn notes(&self, data: &Dataset) -> Vec<String> {
        notes(data, Some(self))
    }
}

/// What one sample adds to the notes.
#[derive(Clone, Copy)]
struct Look {
    hash: u64,
    steps_with_spikes: usize,
}

impl Look {
    fn new(sample: &SpikeTrain) -> Self {
        let steps_with_spikes = sample.entries.chunk_by(|a, b| a.step == b.step).count();
        Self { hash: sample.hash(), steps_with_spikes }
    }
}

fn notes(data: &Dataset, split: Option<&Split>) -> Vec<String> {
    let threads = parallel::threads(data.samples.len());
    let look = |_, sample: &SpikeTrain| Ok::<_, Infallible>(Look::new(sample));
    let looks = match parallel::try_map(&data.samples, threads, look) {
        Ok(looks) => looks,
        Err(never) => match never {},
    };
    let notes = [
        silent(data),
        other_step(data),
        empty_steps(data, &looks),
        without_item(data),
        largest_class(data),
        alike(data),
        repeated(data, &looks, split),
        split.and_then(|split| without_training_item(data, split)),
    ];
    notes.into_iter().flatten().map(|note| format!("{}: {note}", data.name)).collect()
}

fn silent(data: &Dataset) -> Option<String> {
    let silent = |sample: &&SpikeTrain| sample.dense.is_none() && sample.entries.is_empty();
    let silent = data.samples.iter().filter(silent).count();
    let have = if silent == 1 { "has" } else { "have" };
    let samples = data.samples.len();
    (silent > 0).then(|| format!("{silent} of {samples} items {have} no spikes"))
}

fn other_step(data: &Dataset) -> Option<String> {
    let (raster, dt_ms) = (data.about.step_ms?, data.dt_ms);
    ((raster - f64::from(dt_ms)).abs() > 1e-6).then(|| {
        format!(
            "the raster has steps of {raster} ms, but samples have steps of {dt_ms} ms; data.dt_ms \
             or --dt-ms sets their length"
        )
    })
}

fn empty_steps(data: &Dataset, looks: &[Look]) -> Option<String> {
    let sparse = data.samples.iter().filter(|sample| sample.dense.is_none());
    let all: usize = sparse.map(|sample| sample.steps).sum();
    let used: usize = looks.iter().map(|look| look.steps_with_spikes).sum();
    let (dt_ms, percent) = (data.dt_ms, 100.0 - 100.0 * used as f64 / all.max(1) as f64);
    (used > 0 && percent > 95.0).then(|| {
        format!(
            "{percent:.1} % of all steps of {dt_ms} ms have no spike; data.dt_ms or --dt-ms sets \
             longer ones"
        )
    })
}

/// The number of samples of every class.
fn counts<'a>(data: &Dataset, samples: impl Iterator<Item = &'a SpikeTrain>) -> Vec<usize> {
    let mut counts = vec![0; data.classes];
    for sample in samples {
        if let Some(count) = counts.get_mut(usize::from(sample.label)) {
            *count += 1;
        }
    }
    counts
}

fn without_item(data: &Dataset) -> Option<String> {
    let counts = counts(data, data.samples.iter());
    let mut empty = counts.iter().zip(&data.class_names).filter(|(count, _)| **count == 0);
    let (_, first) = empty.next()?;
    let shown = match empty.count() {
        0 => format!("class {first} has no item"),
        more => format!("{} classes have no item, the first is {first}", more + 1),
    };
    let advice = match (counts[0], counts.last()) {
        (0, _) if first == "0" => "; do labels begin at 1? They count from 0",
        (_, Some(1..)) if data.classes == 256 => "; does the label 255 mean none?",
        _ => "",
    };
    Some(format!("{shown}{advice}"))
}

fn largest_class(data: &Dataset) -> Option<String> {
    let counts = counts(data, data.samples.iter());
    let (count, name) = counts.iter().zip(&data.class_names).max_by_key(|(count, _)| **count)?;
    let percent = 100.0 * *count as f64 / data.samples.len().max(1) as f64;
    (percent > 80.0).then(|| {
        format!(
            "class {name} has {percent:.1} % of the items; train.class_weights = true lets every \
             class count the same"
        )
    })
}

/// Names of classes that users would not tell apart.
fn alike(data: &Dataset) -> Option<String> {
    let mut seen = HashMap::new();
    data.class_names.iter().find_map(|name| {
        let plain = name.trim().to_lowercase();
        if plain.is_empty() {
            return Some(format!("{name:?} is the name of a class; does it mean none?"));
        }
        let other = seen.insert(plain, name)?;
        Some(format!("classes {other:?} and {name:?} differ only in case or blanks"))
    })
}

fn repeated(data: &Dataset, looks: &[Look], split: Option<&Split>) -> Option<String> {
    let mut parts = vec![0; data.samples.len()];
    if let Some(Split { train, valid, test }) = split {
        for (part, items) in [(1, train), (2, valid), (3, test)] {
            for &i in items {
                if let Some(own) = parts.get_mut(i) {
                    *own = part;
                }
            }
        }
    }
    let mut earlier = HashMap::new();
    let (mut count, mut across, mut example) = (0, 0, None);
    for (n, (sample, look)) in data.samples.iter().zip(looks).enumerate() {
        match earlier.entry(look.hash) {
            _ if sample.entries.is_empty() => {}
            Vacant(place) => {
                place.insert(n);
            }
            Occupied(place) => {
                let first: usize = *place.get();
                if data.samples[first].entries == sample.entries {
                    count += 1;
                    across += usize::from(parts[first] != parts[n]);
                    example.get_or_insert((first, n));
                }
            }
        }
    }
    let (first, second) = example?;
    let equal = match count {
        1 => format!("item {second} has the same spikes as item {first}"),
        _ => format!(
            "{count} items have the same spikes as an earlier one, for example items {first} and \
             {second}"
        ),
    };
    Some(match across {
        0 => equal,
        _ => format!("{equal}; {across} of {count} in another part, so figures are too good"),
    })
}

fn without_training_item(data: &Dataset, split: &Split) -> Option<String> {
    let all = counts(data, data.samples.iter());
    let trained = counts(data, split.train.iter().filter_map(|&i| data.samples.get(i)));
    let missing = all.iter().zip(&trained).zip(&data.class_names);
    let missing = missing.filter(|((all, trained), _)| **all > 0 && **trained == 0);
    let names: Vec<&str> = missing.map(|(_, name)| name.as_str()).collect();
    let shown = names[..names.len().min(NAMES)].join(", ");
    match names.len() {
        // Nothing can be trained then, which is an error of its own.
        _ if split.train.len() < 2 => None,
        0 => None,
        1 => Some(format!("class {shown} has no item to train on")),
        n if n <= NAMES => Some(format!("classes {shown} have no item to train on")),
        n => Some(format!("{n} classes have no item to train on, the first are {shown}")),
    }
}
