//! Reading of samples and their division into training, validation and test items.

use crate::config::{Bins, Config, Data, Division, Source};
use crate::error::{Error, Result, fail};
use polychron_datasets::{
    BinOptions, Binning, Dataset, Part, Split, digits, gsc, spikes, synthetic,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Number of training items of the order task; the test items follow them.
const ORDER_TRAIN: usize = 1500;
const ORDER_TEST: usize = 500;
const ORDER_NOISE: f64 = 0.01;
/// Largest number of steps of a sample, as for `data.steps`.
const MAX_STEPS: usize = 1 << 20;

/// The number of items in the training, validation and test file.
pub(super) struct Parts {
    train: usize,
    valid: usize,
    test: usize,
}

pub(super) fn read(
    options: &Data,
    folder: Option<&Path>,
    threads: usize,
    warnings: &mut Vec<String>,
) -> Result<(Dataset, Parts)> {
    match options.source {
        Source::Digits => {
            let data = digits::embedded();
            let train = data.samples.len();
            Ok((data, Parts { train, valid: 0, test: 0 }))
        }
        Source::Order => {
            let data = if options.split_file.is_empty() {
                order()?
            } else {
                let sibling = Path::new(&options.split_file).with_file_name("order.bin.gz");
                digits::read(find(folder, &sibling.to_string_lossy())?)?
            };
            let train = ORDER_TRAIN.min(data.samples.len());
            let test = data.samples.len() - train;
            Ok((data, Parts { train, valid: 0, test }))
        }
        Source::H5 => read_h5(options, folder, warnings),
        Source::Gsc => read_gsc(options, folder, threads, warnings),
    }
}

/// Makes the items of the order task: the training items, then the test items.
pub(crate) fn order() -> Result<Dataset> {
    let mut data = synthetic::burst_order(ORDER_TRAIN, ORDER_NOISE, 1);
    data.append(synthetic::burst_order(ORDER_TEST, ORDER_NOISE, 2))?;
    Ok(data)
}

/// How events become steps.
pub(crate) fn bin_options(options: &Data) -> BinOptions {
    BinOptions {
        binning: match options.binning {
            Bins::Fixed => Binning::Fixed,
            Bins::Legacy2023 => Binning::Legacy2023,
        },
        dt_ms: options.dt_ms,
        group: options.group,
        max_steps: Some(options.steps).filter(|&steps| steps > 0),
    }
}

fn read_h5(
    options: &Data,
    folder: Option<&Path>,
    warnings: &mut Vec<String>,
) -> Result<(Dataset, Parts)> {
    if options.train_file.is_empty() {
        fail!("data.train_file = \"\" is empty; data.source = \"h5\" needs a training file")
    }
    let (binning, layout) = (bin_options(options), options.layout());
    let mut open = |name: &str, channels: Option<usize>| -> Result<Dataset> {
        let layout = spikes::Options { channels: layout.channels.or(channels), ..layout };
        let recordings = spikes::read(find(folder, name)?, &layout)?;
        warnings.extend(recordings.notes());
        let data = Dataset::from_recordings(&recordings, &binning)?;
        data.check_samples()?;
        let mut lengths = data.samples.iter().map(|sample| sample.steps).enumerate();
        if let Some((n, steps)) = lengths.find(|(_, steps)| *steps > MAX_STEPS) {
            fail!(
                "{}: samples[{n}].steps = {steps} is above {MAX_STEPS}; set data.steps to \
                 truncate it, or data.time_unit if times are not in seconds",
                data.name
            )
        }
        Ok(data)
    };
    let mut data = open(&options.train_file, None)?;
    let mut parts = Parts { train: data.samples.len(), valid: 0, test: 0 };
    for (name, count) in
        [(&options.valid_file, &mut parts.valid), (&options.test_file, &mut parts.test)]
    {
        if !name.is_empty() {
            let mut more = open(name, Some(data.channels * options.group))?;
            more.use_classes(&data.class_names)?;
            // The file is a part, whatever it states; the parts of the training file stay known.
            more.about.parts = vec![Part::Train; more.samples.len()];
            *count = more.samples.len();
            data.append(more)?;
        }
    }
    Ok((data, parts))
}

fn read_gsc(
    options: &Data,
    folder: Option<&Path>,
    threads: usize,
    warnings: &mut Vec<String>,
) -> Result<(Dataset, Parts)> {
    let Some(folder) = folder else {
        fail!(
            "data.source = \"gsc\": pass the folder that holds speech_commands_v0.02 with --data \
             DIR or POLYCHRON_DATA"
        )
    };
    let gsc::Commands { data, train, valid, test, missing, converted, cache_error } =
        gsc::read(folder, options.bands(), threads)?;
    if missing > 0 {
        warnings.push(format!("{}: {missing} recordings of the lists are not there", data.name));
    }
    if converted > 0 {
        warnings.push(format!(
            "{}: {converted} recordings were resampled to 16 kHz or mixed to one channel",
            data.name
        ));
    }
    if let Some(error) = cache_error {
        warnings.push(format!("the spectra could not be cached: {error}"));
    }
    Ok((data, Parts { train, valid, test }))
}

/// Suffixes of files of spikes, and of what packs them.
const KINDS: [&str; 5] = [".h5", ".hdf5", ".npz", ".csv", ".tsv"];
const PACKED: [&str; 3] = ["", ".gz", ".zip"];

/// Finds a file in the data folder. Files of spikes may be of another kind than their name says,
/// and packed.
fn find(folder: Option<&Path>, name: &str) -> Result<PathBuf> {
    let Some(folder) = folder else {
        fail!("{name}: pass the folder that holds it with --data DIR or POLYCHRON_DATA")
    };
    let path = folder.join(name);
    let unpacked = PACKED[1..].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    let stem = KINDS.iter().find_map(|suffix| unpacked.strip_suffix(suffix));
    let others = stem.map_or(Vec::new(), |stem| {
        let packed = |kind| PACKED.map(|packed| format!("{stem}{kind}{packed}"));
        KINDS.into_iter().flat_map(packed).chain([format!("{stem}.zip")]).collect()
    });
    let names = [name.into(), format!("{name}.gz")].into_iter().chain(others);
    names.map(|name| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        let shown = path.display();
        Error::new(format!(
            "{shown}: no such file; pass the folder that holds it with --data DIR or \
             POLYCHRON_DATA"
        ))
    })
}

pub(super) fn divide(
    config: &Config,
    folder: Option<&Path>,
    data: &Dataset,
    parts: &Parts,
) -> Result<Split> {
    let options = &config.data;
    let (items, seed) = (data.samples.len(), config.seed);
    if options.split == Division::LeaveSpeakerOut {
        return Ok(Split::leave_speaker_out(data, options.speaker, options.valid, seed)?);
    }
    if !options.split_file.is_empty() {
        if parts.valid > 0 {
            fail!(
                "data.split_file = {:?} and data.valid_file exclude each other; remove one",
                options.split_file
            )
        }
        let path = find(folder, &options.split_file)?;
        return Ok(Split::read(path, parts.train, items)?);
    }
    if options.split == Division::File {
        fail!("data.split_file = \"\" is empty; data.split = \"file\" needs a file")
    }
    let part = |i: usize| match i {
        _ if i >= parts.train + parts.valid => Part::Test,
        _ if i >= parts.train => Part::Valid,
        _ => data.about.parts.get(i).copied().unwrap_or(Part::Train),
    };
    let given = |wanted: Part| (0..items).filter(move |&i| part(i) == wanted);
    let train: Vec<usize> = given(Part::Train).collect();
    if train.is_empty() {
        fail!("{}: extra/part marks no item to train on; remove it, or mark some train", data.name)
    }
    let test = if given(Part::Test).count() > 0 { 0.0 } else { options.test };
    let valid = if given(Part::Valid).count() > 0 { 0.0 } else { options.valid * (1.0 - test) };
    let mut split = match options.split {
        Division::Speakers => Split::speakers(data, &train, valid, test, seed)?,
        Division::Stratified => Split::stratified(data, &train, valid, test, seed)?,
        Division::Auto => match whole_speakers(data, &train, valid, test, seed) {
            Some(split) => split,
            None => Split::stratified(data, &train, valid, test, seed)?,
        },
        _ => {
            let drawn = Split::fractions(train.len(), valid, test, seed)?;
            let pick = |part: Vec<usize>| part.into_iter().map(|i| train[i]).collect();
            let Split { train, valid, test } = drawn;
            Split { train: pick(train), valid: pick(valid), test: pick(test) }
        }
    };
    split.valid.extend(given(Part::Valid));
    split.test.extend(given(Part::Test));
    Ok(split)
}

/// A division by whole speakers if there are enough: both parts have half to twice their share, and
/// every class has a test item.
fn whole_speakers(
    data: &Dataset,
    items: &[usize],
    valid: f64,
    test: f64,
    seed: u64,
) -> Option<Split> {
    let split = Split::speakers(data, items, valid, test, seed).ok()?;
    let near = |share: f64, found: usize| {
        let wanted = (share * items.len() as f64).round() as usize;
        (wanted..=4 * wanted).contains(&(2 * found))
    };
    let classes = |items: &[usize]| {
        items.iter().map(|&i| data.samples[i].label).collect::<BTreeSet<_>>().len()
    };
    let tested = split.test.is_empty() || classes(&split.test) == classes(items);
    (near(valid, split.valid.len()) && near(test, split.test.len()) && tested).then_some(split)
}

/// Says whether speakers are in one part, unless the configuration names the rule.
pub(super) fn note_on_speakers(
    options: &Data,
    data: &Dataset,
    split: &Split,
    seed: u64,
) -> Option<String> {
    let Split { train, valid, test } = split;
    let speakers = data.speakers().len();
    let drawn = !valid.is_empty() || !test.is_empty();
    if options.split != Division::Auto || !options.split_file.is_empty() || !drawn || speakers < 2 {
        return None;
    }
    let mut parts = BTreeMap::<u16, BTreeSet<usize>>::new();
    for (part, items) in [train, valid, test].into_iter().enumerate() {
        for &i in items {
            parts.entry(data.samples[i].speaker).or_default().insert(part);
        }
    }
    let shared = parts.values().filter(|parts| parts.len() > 1).count();
    let name = &data.name;
    Some(match shared {
        0 => format!(
            "{name}: every part has speakers of its own, of {speakers} in all; data.split = \
             \"stratified\" draws from all speakers"
        ),
        _ => {
            let files = [&options.valid_file, &options.test_file];
            let given = !data.about.parts.is_empty() || files.iter().any(|file| !file.is_empty());
            let all: Vec<usize> = [train, valid, test].into_iter().flatten().copied().collect();
            let valid = options.valid * (1.0 - options.test);
            let possible = Split::speakers(data, &all, valid, options.test, seed).is_ok();
            let advice = match given || !possible {
                true => "",
                false => "; data.split = \"speakers\" keeps each in one part",
            };
            format!(
                "{name}: {shared} of {speakers} speakers are in two parts; accuracies for new \
                 speakers may be lower{advice}"
            )
        }
    })
}
