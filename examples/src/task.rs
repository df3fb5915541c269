//! The data of a configuration: samples, split and batches.

mod predictions;
mod read;

#[cfg(feature = "cli")]
pub(crate) use read::order;

use crate::backend::Classifier;
use crate::batch::LabeledBatch;
use crate::config::{self, Config, Data, require};
use crate::data_card::DataCard;
use crate::error::{Result, fail};
use crate::network::Interface;
use crate::report;
use polychron_core::train;
use polychron_datasets::{
    About, Augment, Dataset, MixedLabel, Part, Pool, SampleBatch, Split, batches,
};
pub use predictions::Predictions;
pub(crate) use read::bin_options;
use read::{divide, note_on_speakers, read};
use std::path::{Path, PathBuf};

/// The samples of a configuration and their split.
pub struct Task {
    /// All samples: those of the training, the validation and the test file.
    pub data: Dataset,
    /// Indices of the training, validation and test items.
    pub split: Split,
    /// Problems that did not prevent loading, for example a cache that could not be written.
    pub warnings: Vec<String>,
    /// Folder of the data files, if some were read.
    pub(crate) folder: Option<PathBuf>,
    options: Data,
    augment: Augment,
    pool: Pool,
    seed: u64,
    /// The weight of every class in the loss; `None` if all weigh the same.
    weights: Option<Vec<f32>>,
}

impl Task {
    /// Loads the data of a configuration. `folder` holds the data files if the source has any.
    ///
    /// # Errors
    /// If a file is missing or malformed, a field of the configuration is invalid or does not fit
    /// the data, or a folder is given from which nothing would be read.
    pub fn load(config: &Config, folder: Option<&Path>) -> Result<Self> {
        config.check()?;
        let options = &config.data;
        if let Some(folder) = folder.filter(|_| !options.reads_files()) {
            let (source, shown) = (report::name(&options.source)?, folder.display());
            fail!(
                "--data {shown}: data.source = {source:?} reads no files; leave --data out, or \
                 train on the folder, for example with --preset recordings"
            )
        }
        let mut warnings = Vec::new();
        let (data, parts) = read(options, folder, config.threads(), &mut warnings)?;
        data.validate()?;
        warnings.extend(delay_note(config));
        let dt_ms = data.dt_ms;
        require(
            options.dt_ms == dt_ms,
            "data.dt_ms",
            options.dt_ms,
            &format!("is not {dt_ms}, the step of {}", data.name),
        )?;
        let split = divide(config, folder, &data, &parts)?;
        warnings.extend(split.notes(&data));
        warnings.extend(note_on_speakers(options, &data, &split, config.seed));
        warnings.extend(padding_note(config, &data));
        let augment = augmentation(&options.augment);
        augment.check(&data)?;
        let pool = Pool::new(&data, &split.train);
        let longest = data.samples.iter().map(|s| s.steps).max().unwrap_or(0);
        let steps = if options.steps > 0 { options.steps } else { longest };
        let (max_delay, field) = config.longest_delay();
        if max_delay > 0 {
            let (unit, length) = match field.ends_with("_ms") {
                true => (dt_ms as usize, format!("{} ms, ", steps * dt_ms as usize)),
                false => (1, String::new()),
            };
            let problem = format!(
                "is not below {length}the {steps} steps of {}; a delay must be shorter than the \
                 sequence: set {field} to {} or less",
                data.name,
                steps.saturating_sub(1) * unit
            );
            require(max_delay < steps, &field, max_delay * unit, &problem)?;
        }
        let weights = config.train.class_weights.then(|| class_weights(&data, &split.train));
        let (options, seed) = (options.clone(), config.seed);
        let folder = folder.map(Path::to_path_buf);
        Ok(Self { data, split, warnings, folder, options, augment, pool, seed, weights })
    }

    /// Takes data that were not there when a configuration's model was trained. All items are to
    /// test on.
    pub(crate) fn fresh(config: &Config, data: Dataset) -> Result<Self> {
        data.check_samples()?;
        let split = Split { test: (0..data.samples.len()).collect(), ..Split::default() };
        let (pool, augment) = (Pool::new(&data, &[]), Augment::default());
        let (options, seed) = (config.data.clone(), config.seed);
        Ok(Self {
            data,
            split,
            warnings: Vec::new(),
            folder: None,
            options,
            augment,
            pool,
            seed,
            weights: None,
        })
    }

    /// Fails if the data were loaded for another seed or with other options.
    pub(crate) fn check(&self, config: &Config) -> Result<()> {
        if self.seed != config.seed || self.options != config.data {
            fail!("{}: was loaded for another seed or another [data]", self.data.name)
        }
        if self.weights.is_some() != config.train.class_weights {
            fail!("{}: was loaded for another train.class_weights", self.data.name)
        }
        Ok(())
    }

    /// Returns the properties of the data that determine the shape of a network.
    #[must_use]
    pub fn interface(&self) -> Interface {
        let data = &self.data;
        Interface { channels: data.channels, classes: data.classes, dt_ms: f64::from(data.dt_ms) }
    }

    /// Describes the data for the files of a run.
    #[must_use]
    pub fn card(&self) -> DataCard {
        DataCard::new(&self.data, &self.split, &self.options)
    }

    /// Returns the items of a part as indices into the samples.
    #[must_use]
    pub fn part(&self, part: Part) -> &[usize] {
        match part {
            Part::Test => &self.split.test,
            Part::Valid => &self.split.valid,
            Part::Train => &self.split.train,
        }
    }

    /// Returns the items of every batch of a training epoch, in random order.
    ///
    /// # Errors
    /// If there are fewer than two training items.
    pub fn epoch(&self, epoch: u64) -> Result<Vec<Vec<usize>>> {
        let mut all =
            batches(&self.split.train, self.options.batch, self.seed, epoch, true, false)?;
        all.retain(|batch| batch.len() > 1);
        if all.is_empty() {
            let (name, items) = (&self.data.name, self.split.train.len());
            fail!("{name}: training items = {items}; a batch needs at least 2")
        }
        Ok(all)
    }

    /// Assembles a batch for training, with the configuration's augmentation and class weights.
    ///
    /// # Errors
    /// If the batch does not fit into memory.
    pub fn training_batch(&self, indices: &[usize], epoch: u64) -> Result<LabeledBatch> {
        let mut batch = self.augmented(indices, epoch)?;
        if let Some(weights) = &self.weights {
            for targets in batch.targets.chunks_exact_mut(weights.len()) {
                targets.iter_mut().zip(weights).for_each(|(target, weight)| *target *= weight);
            }
        }
        Ok(batch)
    }

    fn augmented(&self, indices: &[usize], epoch: u64) -> Result<LabeledBatch> {
        if self.augment == Augment::default() {
            return self.batch(indices);
        }
        let data = &self.data;
        let changed = self.augment.samples(data, &self.pool, indices, self.seed, epoch);
        let (samples, mixed): (Vec<_>, Vec<_>) = changed.into_iter().unzip();
        let (name, class_names) = (data.name.clone(), data.class_names.clone());
        let about = About::default();
        let changed = Dataset { name, class_names, samples, about, ..*data };
        let mut batch = self.assemble(&changed, &(0..indices.len()).collect::<Vec<_>>())?;
        for (target, mixed) in batch.targets.chunks_exact_mut(data.classes).zip(mixed) {
            if let Some(MixedLabel { label, share }) = mixed {
                target.iter_mut().for_each(|own| *own *= 1.0 - share);
                target[usize::from(label)] += share;
            }
        }
        Ok(batch)
    }

    /// Assembles a batch of at most `batch` items that is as large as any such batch, without
    /// augmentation.
    pub(crate) fn largest_batch(&self, batch: usize) -> Result<LabeledBatch> {
        let Split { train, valid, test } = &self.split;
        let items = [train, valid, test].map(Vec::len).into_iter().max().unwrap_or(0);
        let longest = (0..self.data.samples.len()).max_by_key(|&i| self.data.samples[i].steps);
        self.batch(&vec![longest.unwrap_or(0); items.min(batch)])
    }

    /// Assembles a batch without augmentation.
    ///
    /// # Errors
    /// If an index is out of range or the batch does not fit into memory.
    pub fn batch(&self, indices: &[usize]) -> Result<LabeledBatch> {
        self.assemble(&self.data, indices)
    }

    /// Assembles the first steps of an item, at most `most`.
    pub(crate) fn excerpt(&self, item: usize, most: usize) -> Result<LabeledBatch> {
        let whole = Some(self.options.steps).filter(|&steps| steps > 0);
        let whole = whole.or_else(|| self.data.samples.get(item).map(|sample| sample.steps));
        self.assemble_steps(&self.data, &[item], whole.map(|steps| steps.min(most)))
    }

    fn assemble(&self, data: &Dataset, indices: &[usize]) -> Result<LabeledBatch> {
        let steps = Some(self.options.steps).filter(|&steps| steps > 0);
        self.assemble_steps(data, indices, steps)
    }

    fn assemble_steps(
        &self,
        data: &Dataset,
        indices: &[usize],
        steps: Option<usize>,
    ) -> Result<LabeledBatch> {
        let batch = SampleBatch::assemble(data, indices, steps)?;
        Ok(LabeledBatch { mask: self.options.mask, ..LabeledBatch::new(batch, data.classes) })
    }

    /// Divides items into batches for evaluation.
    pub(crate) fn chunks<'a>(&self, items: &'a [usize]) -> impl Iterator<Item = &'a [usize]> {
        items.chunks(self.options.batch)
    }

    /// Predicts the classes of items with a model.
    ///
    /// # Errors
    /// If the model does not fit the data, a batch does not fit into memory or the backend fails.
    pub fn predict(
        &self,
        model: &dyn Classifier,
        delays: train::Delays,
        items: &[usize],
    ) -> Result<Predictions> {
        Ok(self.predict_with_loss(model, delays, items)?.0)
    }

    /// As [`Task::predict`], with the mean loss of the items; `None` without items.
    pub(crate) fn predict_with_loss(
        &self,
        model: &dyn Classifier,
        delays: train::Delays,
        items: &[usize],
    ) -> Result<(Predictions, Option<f64>)> {
        let mut predictions = Predictions::of(items);
        let mut sum = 0.0;
        for indices in self.chunks(items) {
            let (scores, loss) = model.scores(&self.batch(indices)?.view(), delays)?;
            predictions.extend(&scores, self.data.classes);
            sum += f64::from(loss) * indices.len() as f64;
        }
        Ok((predictions, (!items.is_empty()).then(|| sum / items.len() as f64)))
    }

    /// Returns the share of items that a model classifies correctly; `None` if there are no items.
    ///
    /// # Errors
    /// As [`Task::predict`].
    pub fn accuracy(
        &self,
        model: &dyn Classifier,
        delays: train::Delays,
        items: &[usize],
    ) -> Result<Option<f64>> {
        let predictions = self.predict(model, delays, items)?;
        Ok(predictions.accuracy(&self.data, |_| true))
    }

    /// Accuracies for the speakers of the training and validation items, and for all other
    /// speakers; `None` unless the data have several speakers.
    pub(crate) fn accuracy_by_speaker(&self, predictions: &Predictions) -> [Option<f64>; 2] {
        let seen = self.seen_speakers();
        [true, false].map(|known| {
            let seen = seen.as_ref()?;
            let speaker = |i: usize| self.data.samples[i].speaker;
            predictions.accuracy(&self.data, |i| seen.contains(&speaker(i)) == known)
        })
    }

    /// Speakers of the training and validation items; `None` without such items, or unless the data
    /// have several speakers.
    pub(crate) fn seen_speakers(&self) -> Option<Vec<u16>> {
        let seen = self.split.train.iter().chain(&self.split.valid);
        let mut seen: Vec<u16> = seen.map(|&i| self.data.samples[i].speaker).collect();
        seen.sort_unstable();
        seen.dedup();
        (self.data.speakers().len() > 1 && !seen.is_empty()).then_some(seen)
    }
}

/// A note if the step is not that of the preset, while the longest delay has as many steps.
fn delay_note(config: &Config) -> Option<String> {
    let preset = Config::preset(&config.preset).ok()?;
    let (steps, field) = config.longest_delay();
    let (own, usual) = (config.data.dt_ms as usize, preset.data.dt_ms as usize);
    let same = preset.longest_delay().0 == steps && !field.ends_with("_ms");
    if own == usual || steps == 0 || !same {
        return None;
    }
    Some(format!(
        "{field} = {steps}: with data.dt_ms = {own}, delays reach {} ms; with the {usual} ms of \
         preset {} they reach {} ms, which are {} steps of {own} ms",
        steps * own,
        config.preset,
        steps * usual,
        (steps * usual).div_ceil(own)
    ))
}

/// A note if padding counts as silence, while items differ in length and the preset leaves it out.
fn padding_note(config: &Config, data: &Dataset) -> Option<String> {
    if config.data.mask || Config::preset(&config.preset).is_ok_and(|preset| !preset.data.mask) {
        return None;
    }
    let most = if config.data.steps > 0 { config.data.steps } else { usize::MAX };
    let lengths = || data.samples.iter().map(|sample| sample.steps.min(most));
    let (shortest, longest) = (lengths().min()?, lengths().max()?);
    (shortest < longest).then(|| {
        format!(
            "data.mask = false: items of {shortest} to {longest} steps are padded with silence, \
             which decides with them; with data.mask = true it does not"
        )
    })
}

/// Weights with which all classes count the same: the mean number of items of a class, divided by
/// that of the class.
fn class_weights(data: &Dataset, items: &[usize]) -> Vec<f32> {
    let mut counts = vec![0usize; data.classes];
    items.iter().for_each(|&i| counts[usize::from(data.samples[i].label)] += 1);
    let present = counts.iter().filter(|&&count| count > 0).count().max(1);
    let mean = items.len() as f32 / present as f32;
    counts.into_iter().map(|count| mean / count.max(1) as f32).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presets;

    fn load(set: &[&str]) -> Task {
        let set: Vec<String> = set.iter().map(|s| s.to_string()).collect();
        Task::load(&presets::load(Some("digits"), None, &set).unwrap(), None).unwrap()
    }

    #[test]
    fn targets_of_mixed_items_are_distributions() {
        let task = load(&["data.augment.cutmix=0.5", "data.augment.noise=0.01"]);
        let classes = task.data.classes;
        let mut mixed = 0;
        for indices in &task.epoch(3).unwrap() {
            let block = task.training_batch(indices, 3).unwrap();
            for (target, &i) in block.targets.chunks_exact(classes).zip(indices) {
                assert!((target.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{target:?}");
                assert!(target.iter().all(|share| (0.0..=1.0).contains(share)), "{target:?}");
                let own = target[usize::from(task.data.samples[i].label)];
                mixed += usize::from(own < 1.0);
            }
        }
        // Half of the items are mixed. One in ten of these meets its own class; its target stays.
        let share = mixed as f64 / task.split.train.len() as f64;
        assert!((0.40..0.50).contains(&share), "{share}");
    }

    #[test]
    fn nothing_is_unusual_about_the_own_data_of_the_program() {
        for preset in ["digits", "digits-reference", "order", "order-reference"] {
            let task = Task::load(&presets::load(Some(preset), None, &[]).unwrap(), None).unwrap();
            assert_eq!(task.warnings, [""; 0], "{preset}");
            if preset == "digits" {
                let published = Split::fractions(3000, 0.1 * 0.8, 0.2, 0).unwrap();
                assert_eq!(task.split, published);
            }
        }
    }

    #[test]
    fn padding_that_decides_is_noted() {
        let task = load(&["data.mask=false", "data.steps=0"]);
        let note = "data.mask = false: items of ";
        assert!(task.warnings.len() == 1 && task.warnings[0].starts_with(note));
        assert_eq!(
            load(&["data.mask=false", "data.steps=9", "network.max_delay=4"]).warnings,
            [""; 0]
        );
    }

    #[test]
    fn without_augmentation_a_training_batch_is_the_plain_batch() {
        let (task, mixes) = (load(&[]), load(&["data.augment.blend=1.0"]));
        let indices = &task.epoch(0).unwrap()[0];
        let plain = task.batch(indices).unwrap();
        let block = task.training_batch(indices, 0).unwrap();
        assert!(block == plain);
        let blended = mixes.training_batch(indices, 0).unwrap();
        assert!(blended.batch != plain.batch && blended.targets == plain.targets);
        assert!(mixes.batch(indices).unwrap().batch == plain.batch);
    }
}
