//! Reading of samples and their division into training, validation and test items.

use crate::config::{Bands, Bins, Config, Data, Division, Source};
use crate::error::{Error, Result, fail};
use polychron_datasets::{BinOptions, Binning, Dataset, Split, digits, gsc, spikes, synthetic};
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

fn read_h5(
    options: &Data,
    folder: Option<&Path>,
    warnings: &mut Vec<String>,
) -> Result<(Dataset, Parts)> {
    if options.train_file.is_empty() {
        fail!("data.train_file = \"\" is empty; data.source = \"h5\" needs a training file")
    }
    let binning = BinOptions {
        binning: match options.binning {
            Bins::Fixed => Binning::Fixed,
            Bins::Legacy2023 => Binning::Legacy2023,
        },
        dt_ms: options.dt_ms,
        group: options.group,
        max_steps: Some(options.steps).filter(|&steps| steps > 0),
    };
    let layout = options.layout();
    let mut open = |name: &str| -> Result<Dataset> {
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
    let mut data = open(&options.train_file)?;
    let mut parts = Parts { train: data.samples.len(), valid: 0, test: 0 };
    for (name, count) in
        [(&options.valid_file, &mut parts.valid), (&options.test_file, &mut parts.test)]
    {
        if !name.is_empty() {
            let more = open(name)?;
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
    let bands = match options.bands {
        Bands::Full => gsc::Bands::Full,
        Bands::Paper => gsc::Bands::Paper,
    };
    let gsc::Commands { data, train, valid, test, missing, converted, cache_error } =
        gsc::read(folder, bands, threads)?;
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
    let test = if parts.test > 0 { 0.0 } else { options.test };
    let valid = if parts.valid > 0 { 0.0 } else { options.valid * (1.0 - test) };
    let mut split = Split::fractions(parts.train, valid, test, seed)?;
    let own = parts.train + parts.valid;
    split.valid.extend(parts.train..own);
    split.test.extend(own..items);
    Ok(split)
}
