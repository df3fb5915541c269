//! Data, its division, and batches of it.

use crate::config::{self, Bands, Bins, Config, Data, Delays, Division, Source, require};
use crate::error::{Failure, Result, fail, note};
use crate::machine::{Machine, Model};
use crate::network::Ends;
use polychron_core::loss::decide;
use polychron_core::shape::Shape;
use polychron_core::train;
use polychron_datasets::{
    Augment, BinOptions, Binning, Dataset, MixedLabel, Pool, Split, batches, digits, gsc, shd, synthetic,
};
use std::path::{Path, PathBuf};

/// Training items of the order task; the test items follow them.
const ORDER_TRAIN: usize = 1500;
const ORDER_TEST: usize = 500;
const ORDER_NOISE: f64 = 0.01;
/// Longest sample in steps, as `data.steps` has it.
const LONGEST: usize = 1 << 16;

/// What there is to learn.
pub(crate) struct Task {
    /// All samples: of the training, the validation and the test file.
    pub(crate) data: Dataset,
    /// Their division.
    pub(crate) split: Split,
    options: Data,
    augment: Augment,
    pool: Pool,
    seed: u64,
}

/// A dense batch.
pub(crate) struct Block {
    /// Inputs, lengths and labels.
    pub(crate) batch: polychron_datasets::DenseBatch,
    targets: Vec<f32>,
    mask: bool,
}

/// Decisions about items.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    /// Index of every item.
    pub(crate) items: Vec<usize>,
    /// Class that was decided for.
    pub(crate) classes: Vec<usize>,
}

impl Task {
    /// Reads or makes the data of a configuration, and checks both against each other.
    pub(crate) fn load(config: &Config, folder: Option<&Path>) -> Result<Self> {
        let options = &config.data;
        let (data, parts) = read(options, folder, config.threads())?;
        data.validate()?;
        let dt_ms = data.dt_ms;
        require(
            options.dt_ms == dt_ms,
            "data.dt_ms",
            options.dt_ms,
            &format!("is not {dt_ms}, the step of {}", data.name),
        )?;
        let split = divide(config, folder, &data, &parts)?;
        let augment = augmentation(&options.augment);
        augment.check(&data)?;
        let pool = Pool::new(&data, &split.train);
        let longest = data.samples.iter().map(|s| s.steps).max().unwrap_or(0);
        let steps = if options.steps > 0 { options.steps } else { longest };
        if config.train.delays != Delays::Zero {
            let problem = format!(
                "is not below the {steps} steps of {}: a delay longer than the sequence",
                data.name
            );
            let max_delay = config.network.max_delay;
            require(max_delay < steps, "network.max_delay", max_delay, &problem)?;
        }
        Ok(Self { data, split, options: options.clone(), augment, pool, seed: config.seed })
    }

    pub(crate) fn ends(&self) -> Ends {
        let data = &self.data;
        Ends { channels: data.channels, classes: data.classes, dt_ms: f64::from(data.dt_ms) }
    }

    /// The batches of an epoch of training.
    pub(crate) fn epoch(&self, epoch: u64) -> Result<Vec<Vec<usize>>> {
        let mut all =
            batches(&self.split.train, self.options.batch, self.seed, epoch, true, false)?;
        all.retain(|batch| batch.len() > 1);
        if all.is_empty() {
            fail!("{}: {} training items make no batch", self.data.name, self.split.train.len())
        }
        Ok(all)
    }

    /// A batch to train on.
    pub(crate) fn training_block(&self, indices: &[usize], epoch: u64) -> Result<Block> {
        if self.augment == Augment::default() {
            return self.block(indices);
        }
        let data = &self.data;
        let changed = self.augment.samples(data, &self.pool, indices, self.seed, epoch);
        let (samples, mixed): (Vec<_>, Vec<_>) = changed.into_iter().unzip();
        let (name, class_names) = (data.name.clone(), data.class_names.clone());
        let changed = Dataset { name, class_names, samples, ..*data };
        let mut block = self.assemble(&changed, &(0..indices.len()).collect::<Vec<_>>())?;
        for (target, mixed) in block.targets.chunks_exact_mut(data.classes).zip(mixed) {
            if let Some(MixedLabel { label, share }) = mixed {
                target.iter_mut().for_each(|own| *own *= 1.0 - share);
                target[usize::from(label)] += share;
            }
        }
        Ok(block)
    }

    /// A batch as large as any of at most `batch` items, without augmentation.
    pub(crate) fn largest(&self, batch: usize) -> Result<Block> {
        let Split { train, valid, test } = &self.split;
        let items = [train, valid, test].map(Vec::len).into_iter().max().unwrap_or(0);
        let longest = (0..self.data.samples.len()).max_by_key(|&i| self.data.samples[i].steps);
        self.block(&vec![longest.unwrap_or(0); items.min(batch)])
    }

    /// A batch as it is.
    pub(crate) fn block(&self, indices: &[usize]) -> Result<Block> {
        self.assemble(&self.data, indices)
    }

    fn assemble(&self, data: &Dataset, indices: &[usize]) -> Result<Block> {
        let steps = Some(self.options.steps).filter(|&steps| steps > 0);
        let batch = polychron_datasets::DenseBatch::assemble(data, indices, steps)?;
        let mut targets = vec![0.0; batch.batch * data.classes];
        for (row, &label) in targets.chunks_exact_mut(data.classes).zip(&batch.labels) {
            row[label] = 1.0;
        }
        Ok(Block { batch, targets, mask: self.options.mask })
    }

    /// Decides on items with that kernel; `look` sees every block before.
    pub(crate) fn decide<B: Machine>(
        &self,
        model: &Model<B>,
        delays: train::Delays,
        items: &[usize],
        mut look: impl FnMut(&Block) -> Result<()>,
    ) -> Result<Decisions> {
        let mut decisions = Decisions { items: items.to_vec(), classes: Vec::new() };
        for indices in items.chunks(self.options.batch) {
            let block = self.block(indices)?;
            look(&block)?;
            let (scores, _) = model.evaluate(&block.view(), delays)?;
            decisions.classes.extend(scores.chunks_exact(self.data.classes).map(decide));
        }
        Ok(decisions)
    }

    /// The share of items that are decided rightly; `None` for none.
    pub(crate) fn accuracy<B: Machine>(
        &self,
        model: &Model<B>,
        items: &[usize],
    ) -> Result<Option<f64>> {
        let decisions = self.decide(model, train::Delays::Rounded, items, |_| Ok(()))?;
        Ok(decisions.accuracy(&self.data, |_| true))
    }

    /// Speakers whose items are trained or validated on; `None` where there is one speaker or none is known.
    pub(crate) fn seen_speakers(&self) -> Option<Vec<u16>> {
        let seen = self.split.train.iter().chain(&self.split.valid);
        let mut seen: Vec<u16> = seen.map(|&i| self.data.samples[i].speaker).collect();
        seen.sort_unstable();
        seen.dedup();
        (self.data.speakers().len() > 1).then_some(seen)
    }
}

impl Decisions {
    /// The share of right decisions about the items that `of` picks; `None` for none.
    pub(crate) fn accuracy(&self, data: &Dataset, of: impl Fn(usize) -> bool) -> Option<f64> {
        let picked = self.items.iter().zip(&self.classes).filter(|(i, _)| of(**i));
        let right = picked.map(|(&i, &class)| usize::from(data.samples[i].label) == class);
        let (mut hits, mut all) = (0, 0);
        right.for_each(|right| (hits, all) = (hits + usize::from(right), all + 1));
        (all > 0).then(|| hits as f64 / all as f64)
    }
}

impl Block {
    /// The batch as trainer and model take it.
    pub(crate) fn view(&self) -> train::Batch<'_, f32> {
        let batch = &self.batch;
        train::Batch {
            shape: Shape::new(batch.steps, batch.batch, batch.channels),
            x: &batch.x,
            targets: &self.targets,
            lengths: self.mask.then_some(batch.lengths.as_slice()),
        }
    }
}

fn augmentation(options: &config::Augment) -> Augment {
    Augment {
        shift_channels: options.shift_channels,
        block: options.block,
        shift_steps: options.shift_steps,
        warp: options.warp,
        drop: options.drop,
        noise: options.noise,
        time_masks: options.time_masks,
        time_mask: options.time_mask,
        channel_masks: options.channel_masks,
        channel_mask: options.channel_mask,
        blend: options.blend,
        cutmix: options.cutmix,
    }
}

/// Items of the training, validation and test file, in that order.
struct Parts {
    train: usize,
    valid: usize,
    test: usize,
}

fn read(options: &Data, folder: Option<&Path>, threads: usize) -> Result<(Dataset, Parts)> {
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
                let beside = Path::new(&options.split_file).with_file_name("order.bin.gz");
                digits::read(find(folder, &beside.to_string_lossy())?)?
            };
            let train = ORDER_TRAIN.min(data.samples.len());
            let test = data.samples.len() - train;
            Ok((data, Parts { train, valid: 0, test }))
        }
        Source::H5 => read_h5(options, folder),
        Source::Gsc => read_gsc(options, folder, threads),
    }
}

/// The order task's own items, those to train on first.
pub(crate) fn order() -> Result<Dataset> {
    let mut data = synthetic::burst_order(ORDER_TRAIN, ORDER_NOISE, 1);
    data.append(synthetic::burst_order(ORDER_TEST, ORDER_NOISE, 2))?;
    Ok(data)
}

fn read_h5(options: &Data, folder: Option<&Path>) -> Result<(Dataset, Parts)> {
    if options.train_file.is_empty() {
        fail!("data.train_file = \"\" names no file, which data.source = \"h5\" needs")
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
    let channels = Some(options.channels).filter(|&channels| channels > 0);
    let open = |name: &str| -> Result<Dataset> {
        let recordings = shd::read(find(folder, name)?, channels)?;
        let data = Dataset::from_recordings(&recordings, &binning)?;
        data.check_samples()?;
        let mut lengths = data.samples.iter().map(|sample| sample.steps).enumerate();
        if let Some((n, steps)) = lengths.find(|(_, steps)| *steps > LONGEST) {
            fail!(
                "{}: samples[{n}].steps = {steps} is above {LONGEST}; data.steps cuts it",
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

fn read_gsc(options: &Data, folder: Option<&Path>, threads: usize) -> Result<(Dataset, Parts)> {
    let Some(folder) = folder else {
        fail!(
            "data.source = \"gsc\": pass the folder that holds speech_commands_v0.02 with --data DIR or POLYCHRON_DATA"
        )
    };
    let bands = match options.bands {
        Bands::Full => gsc::Bands::Full,
        Bands::Paper => gsc::Bands::Paper,
    };
    let gsc::Commands { data, train, valid, test, cache_error } = gsc::read(folder, bands, threads)?;
    if let Some(error) = cache_error {
        note(&format!("the spectra could not be kept for the next run: {error}"));
    }
    Ok((data, Parts { train, valid, test }))
}

/// A file of the data folder, or its packed form.
fn find(folder: Option<&Path>, name: &str) -> Result<PathBuf> {
    let Some(folder) = folder else {
        fail!("{name}: pass the folder that holds it with --data DIR or POLYCHRON_DATA")
    };
    let path = folder.join(name);
    let packed = folder.join(format!("{name}.gz"));
    [&path, &packed].into_iter().find(|path| path.is_file()).cloned().ok_or_else(|| {
        let shown = path.display();
        Failure(format!(
            "{shown}: no such file; pass the folder that holds it with --data DIR or POLYCHRON_DATA"
        ))
    })
}

fn divide(config: &Config, folder: Option<&Path>, data: &Dataset, parts: &Parts) -> Result<Split> {
    let options = &config.data;
    let (items, seed) = (data.samples.len(), config.seed);
    if options.split == Division::LeaveSpeakerOut {
        return Ok(Split::leave_speaker_out(data, options.speaker, options.valid, seed)?);
    }
    if !options.split_file.is_empty() {
        if parts.valid > 0 {
            fail!(
                "data.split_file = {:?} divides what data.valid_file has divided",
                options.split_file
            )
        }
        let path = find(folder, &options.split_file)?;
        return Ok(Split::read(path, parts.train, items)?);
    }
    if options.split == Division::File {
        fail!("data.split_file = \"\" names no file, which data.split = \"file\" needs")
    }
    let test = if parts.test > 0 { 0.0 } else { options.test };
    let valid = if parts.valid > 0 { 0.0 } else { options.valid * (1.0 - test) };
    let mut split = Split::fractions(parts.train, valid, test, seed)?;
    let own = parts.train + parts.valid;
    split.valid.extend(parts.train..own);
    split.test.extend(own..items);
    Ok(split)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presets;

    fn load(set: &[&str]) -> Task {
        let set: Vec<String> = set.iter().map(|s| s.to_string()).collect();
        Task::load(&presets::load(Some("digits"), None, &set).unwrap(), None).unwrap()
    }

    #[test]
    fn targets_are_distributions_that_stretches_share() {
        let task = load(&["data.augment.cutmix=0.5", "data.augment.noise=0.01"]);
        let classes = task.data.classes;
        let mut mixed = 0;
        for indices in &task.epoch(3).unwrap() {
            let block = task.training_block(indices, 3).unwrap();
            for (target, &i) in block.targets.chunks_exact(classes).zip(indices) {
                assert!((target.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{target:?}");
                assert!(target.iter().all(|share| (0.0..=1.0).contains(share)), "{target:?}");
                let own = target[usize::from(task.data.samples[i].label)];
                mixed += usize::from(own < 1.0);
            }
        }
        // Half of them, but for one in ten that meets its own class.
        let share = mixed as f64 / task.split.train.len() as f64;
        assert!((0.40..0.50).contains(&share), "{share}");
    }

    #[test]
    fn without_strengths_a_training_block_is_the_block_as_it_is() {
        let (task, mixes) = (load(&[]), load(&["data.augment.blend=1.0"]));
        let indices = &task.epoch(0).unwrap()[0];
        let plain = task.block(indices).unwrap();
        let block = task.training_block(indices, 0).unwrap();
        assert!(block.batch == plain.batch && block.targets == plain.targets);
        let blended = mixes.training_block(indices, 0).unwrap();
        assert!(blended.batch != plain.batch && blended.targets == plain.targets);
        assert!(mixes.block(indices).unwrap().batch == plain.batch);
    }
}
