//! Spikes in lists with one entry per spike.

use super::Options;
use crate::recording::time_problem;
use crate::shd::values::{Numbering, small};
use crate::shd::{self, Origin};
use crate::{Error, Part, Recording, Recordings, TimeFormat};

/// The spikes of several items, in lists with one entry per spike. The spikes may be in any order;
/// those of an item that have the same time keep their order.
///
/// ```
/// use polychron_datasets::Recordings;
/// use polychron_datasets::spikes::{Events, Options};
///
/// let events = Events {
///     times: &[0.002, 0.03, 0.001],
///     units: &[7, 350, 12],
///     items: &[0, 0, 2],
///     labels: &[1, 0, 1], // item 1 is silent
/// };
/// let options = Options { channels: Some(700), ..Options::default() };
/// let mut recordings = Recordings::from_events("made", &events, &options)?;
/// recordings.keys = vec!["no".into(), "yes".into()];
/// assert_eq!(recordings.items[0].times, [0.002, 0.03]);
/// # Ok::<(), polychron_datasets::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Events<'a> {
    /// Time of each spike, in the unit of [`Options::time_unit`].
    pub times: &'a [f64],
    /// Channel of each spike, from [`Options::first_unit`].
    pub units: &'a [u16],
    /// Item of each spike, an index of `labels`.
    pub items: &'a [usize],
    /// Class of each item, from [`Options::first_label`].
    pub labels: &'a [u16],
}

impl Recordings {
    /// Makes recordings from events. Error messages name them `source`. Without
    /// [`Options::channels`], the number of channels is the largest unit plus 1. The names of the
    /// classes are their numbers.
    ///
    /// # Errors
    /// The lists of spikes differ in length, there is no item, or a value is out of range.
    pub fn from_events(
        source: &str,
        events: &Events<'_>,
        options: &Options,
    ) -> Result<Self, Error> {
        gather(source, events, options, &|list, n| format!("{list}[{n}]"))
    }
}

/// [`Recordings::from_events`], with the place of an entry in a list for errors.
pub(super) fn gather(
    source: &str,
    events: &Events<'_>,
    options: &Options,
    place: &dyn Fn(&str, usize) -> String,
) -> Result<Recordings, Error> {
    options.check(source)?;
    let Events { times, items, labels, .. } = *events;
    for (list, len) in [("units", events.units.len()), ("items", items.len())] {
        if len != times.len() {
            let problem = format!("entries do not match the {} of times", times.len());
            return Err(Error::value(source, list, len, problem));
        }
    }
    let units = from_first(source, "units", events.units, options.first_unit, place)?;
    let labels = from_first(source, "labels", labels, options.first_label, place)?;
    let mut counts = vec![0; labels.len()];
    let mut origins = match options.origin {
        Origin::Zero => Vec::new(),
        Origin::FirstSpike => vec![f64::INFINITY; labels.len()],
    };
    for (k, (&item, &time)) in items.iter().zip(times).enumerate() {
        let Some(count) = counts.get_mut(item) else {
            let problem = format!("is not below {} items; items count from 0", labels.len());
            return Err(Error::value(source, place("items", k), item, problem));
        };
        *count += 1;
        if let Some(first) = origins.get_mut(item) {
            *first = time.min(*first);
        }
    }
    let largest = || units.iter().max().map_or(1, |&unit| usize::from(unit) + 1);
    let channels = options.channels.unwrap_or_else(largest);
    let advise = |problem: String| {
        let advice = shd::advice(&problem, units.iter(), channels, true);
        problem + advice
    };
    let recording = |(&count, &label): (&usize, &u16)| {
        let (times, units) = (Vec::with_capacity(count), Vec::with_capacity(count));
        Recording { times, units, label, speaker: 0 }
    };
    let mut recordings: Vec<_> = counts.iter().zip(&labels).map(recording).collect();
    let per_second = options.time_unit.per_second();
    for (k, ((&item, &time), &unit)) in items.iter().zip(times).zip(&units).enumerate() {
        let first = origins.get(item).copied().unwrap_or(0.0);
        let time = ((time - first) / per_second) as f32;
        if let Some(problem) = time_problem(time) {
            return Err(Error::value(source, place("times", k), time, advise(problem)));
        }
        if usize::from(unit) >= channels {
            let problem = advise(format!("is not below {channels} channels"));
            return Err(Error::value(source, place("units", k), unit, problem));
        }
        recordings[item].times.push(time);
        recordings[item].units.push(unit);
    }
    let keys = shd::numbers(&labels, options.first_label);
    let (source, items, time_format) = (source.into(), recordings, TimeFormat::F32);
    let about = crate::About::default();
    let mut read = Recordings { source, channels, keys, time_format, items, about };
    read.sort()?;
    Ok(read)
}

/// Numbers counted from `first`.
fn from_first(
    source: &str,
    list: &str,
    numbers: &[u16],
    first: u16,
    place: &dyn Fn(&str, usize) -> String,
) -> Result<Vec<u16>, Error> {
    let number = |(k, &x): (usize, &u16)| {
        x.checked_sub(first).ok_or_else(|| {
            Error::value(source, place(list, k), x, format!("is below {first}, the first"))
        })
    };
    numbers.iter().enumerate().map(number).collect()
}

/// One value of every item.
pub(super) enum Column {
    Numbers(Vec<i128>),
    Texts(Vec<String>),
}

impl Column {
    /// The classes of items without labels.
    pub(super) fn unknown(items: usize) -> Self {
        Self::Texts(vec![shd::UNKNOWN.into(); items])
    }

    /// Numbers, if every text is one.
    pub(super) fn of(texts: Vec<String>) -> Self {
        match texts.iter().map(|text| whole(text).ok()).collect() {
            Some(numbers) => Self::Numbers(numbers),
            None => Self::Texts(texts),
        }
    }

    pub(super) fn into_texts(self) -> Vec<String> {
        match self {
            Self::Numbers(numbers) => numbers.iter().map(i128::to_string).collect(),
            Self::Texts(texts) => texts,
        }
    }
}

/// The whole number that a text is; else the text.
pub(super) fn whole(text: &str) -> Result<i128, String> {
    let fraction = || text.parse().ok().filter(|x: &f64| x.fract() == 0.0 && x.abs() < 1e30);
    let number = text.parse().ok().or_else(|| fraction().map(|x| x as i128));
    number.ok_or_else(|| text.into())
}

/// What a file of events holds. Units count from 0.
pub(super) struct Table {
    pub(super) times: Vec<f64>,
    pub(super) units: Vec<u16>,
    pub(super) items: Vec<usize>,
    pub(super) labels: Column,
    pub(super) speakers: Option<Column>,
    pub(super) names: Option<Column>,
    pub(super) parts: Option<Column>,
    /// Names of the classes.
    pub(super) keys: Option<Vec<String>>,
}

impl Table {
    /// Recordings of the table. `place` names a list's entry: one of `times`, `units`, `items`,
    /// `labels`, `speakers` or `parts`.
    pub(super) fn recordings(
        self,
        source: &str,
        options: &Options,
        place: &dyn Fn(&str, usize) -> String,
    ) -> Result<Recordings, Error> {
        let too_many = |list: &str| {
            Error::format(
                source,
                format!("{} has more than 65536 different values", place(list, 0)),
            )
        };
        let (labels, keys) = match self.labels {
            Column::Numbers(numbers) => {
                let class = |(n, &x): (usize, &i128)| {
                    small(Ok(x), options.first_label).map_err(|(value, problem)| {
                        Error::value(source, place("labels", n), value, problem)
                    })
                };
                let labels: Vec<_> =
                    numbers.iter().enumerate().map(class).collect::<Result<_, _>>()?;
                let keys = self.keys.unwrap_or_else(|| shd::numbers(&labels, options.first_label));
                (labels, keys)
            }
            Column::Texts(texts) => match self.keys {
                Some(keys) => {
                    let class = |(n, text): (usize, &String)| {
                        let class = keys.iter().position(|key| key == text);
                        class.and_then(|class| u16::try_from(class).ok()).ok_or_else(|| {
                            let problem = "is not one of the names in keys";
                            Error::value(source, place("labels", n), text, problem)
                        })
                    };
                    let labels = texts.iter().enumerate().map(class).collect::<Result<_, _>>()?;
                    (labels, keys)
                }
                None => numbered(&texts).ok_or_else(|| too_many("labels"))?,
            },
        };
        let Self { times, units, items, .. } = self;
        let events = Events { times: &times, units: &units, items: &items, labels: &labels };
        let counted = Options { first_unit: 0, first_label: 0, ..*options };
        let mut read = gather(source, &events, &counted, place)?;
        read.keys = keys;
        if let Some(speakers) = self.speakers {
            let small = match &speakers {
                Column::Numbers(numbers) => {
                    numbers.iter().map(|&x| u16::try_from(x).ok()).collect::<Option<Vec<_>>>()
                }
                Column::Texts(_) => None,
            };
            let (numbers, names) = match (small, speakers) {
                (Some(small), _) => (small, Vec::new()),
                (None, speakers) => {
                    numbered(&speakers.into_texts()).ok_or_else(|| too_many("speakers"))?
                }
            };
            read.items.iter_mut().zip(numbers).for_each(|(item, n)| item.speaker = n);
            read.about.speakers = names;
        }
        read.about.names = self.names.map_or(Vec::new(), Column::into_texts);
        let part = |(n, name): (usize, &String)| {
            Part::of(name).ok_or_else(|| {
                Error::value(source, place("parts", n), name, "is not train, valid or test")
            })
        };
        let parts = self.parts.map_or(Vec::new(), Column::into_texts);
        read.about.parts = parts.iter().enumerate().map(part).collect::<Result<_, _>>()?;
        read.validate()?;
        Ok(read)
    }
}

/// Values numbered in their order; `None` if there are more than 65,536.
fn numbered(values: &[String]) -> Option<(Vec<u16>, Vec<String>)> {
    let mut numbering = Numbering::default();
    let codes =
        values.iter().map(|value| numbering.code(value.as_str())).collect::<Option<Vec<_>>>()?;
    Some(numbering.finish(codes))
}
