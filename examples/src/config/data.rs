use polychron_datasets::{gsc, shd, spikes};
use serde::{Deserialize, Serialize};

/// The data, their split and the batches. `h5` and `gsc` mark fields that only this source reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Source of the samples; `digits` by default.
    pub source: Source,
    /// Name of the training file in the data folder (`h5`).
    pub train_file: String,
    /// Name of the validation file in the data folder (`h5`). If it is empty, the share `valid` of
    /// the training items is used.
    pub valid_file: String,
    /// Name of the test file in the data folder (`h5`). If it is empty, the share `test` of all
    /// items is used.
    pub test_file: String,
    /// Number of channels in the files (`h5`). 0, the default, takes the number that a file states,
    /// else 700 in HDF5, and the largest unit plus 1 in other files.
    pub channels: usize,
    /// Unit of the times in the files (`h5`); `s` by default.
    pub time_unit: TimeUnit,
    /// Time from which the times of an item count (`h5`); `zero` by default.
    pub origin: Origin,
    /// Number of neighbouring channels that are summed into one (`h5`). It divides the number of
    /// channels; 1 by default, which leaves every channel as it is.
    pub group: usize,
    /// Length of a step in ms, at least 1; 10 by default. It must be the step of the data, except
    /// for `h5`.
    pub dt_ms: u32,
    /// Rule that assigns events to steps (`h5`); `fixed` by default.
    pub binning: Bins,
    /// Frequency range of the mel bands (`gsc`); `full` by default.
    pub bands: Bands,
    /// Length in steps to which every sample is truncated or padded, at most 2^20. 0, the default,
    /// pads to the longest sample of the batch.
    pub steps: usize,
    /// Whether padded steps are excluded from batch norm, loss and spike counts; `true` by default.
    pub mask: bool,
    /// How the items are split into training, validation and test items; `auto` by default.
    pub split: Division,
    /// Name of a JSON file in the data folder that lists the split. If it is not empty, every other
    /// rule but `leave-speaker-out` uses it, too.
    pub split_file: String,
    /// Number of the speaker whose items are the test items (`leave-speaker-out`); 0 by default.
    pub speaker: u16,
    /// Share of the training items that is used for validation, in [0, 1); 0.1 by default.
    pub valid: f64,
    /// Share of all items that is used for testing if the source has no test items of its own, in
    /// [0, 1); 0.2 by default.
    pub test: f64,
    /// Number of items in a batch, from 2 to 65536; 64 by default. The last batch of an epoch may
    /// be smaller; a batch of one item is skipped.
    pub batch: usize,
    /// Random changes of the training items; none by default.
    pub augment: Augment,
}

/// Source of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The 3000 spoken digits that are part of the program.
    Digits,
    /// The synthetic order task: ten classes that differ only in the order of eight spikes. With a
    /// split file, the samples are read from `order.bin.gz` in the same folder.
    Order,
    /// Files of spikes: HDF5 in the layout of SHD, `.npz` or CSV.
    H5,
    /// Google Speech Commands v0.02. The data folder holds the folder `speech_commands_v0.02`, or
    /// is that folder.
    Gsc,
}

/// Unit of the times in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum, schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum TimeUnit {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
}

/// Time from which the times of an item count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum, schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// 0.
    Zero,
    /// The item's earliest spike, as for a clock that runs on between items.
    FirstSpike,
}

impl From<TimeUnit> for shd::TimeUnit {
    fn from(unit: TimeUnit) -> Self {
        match unit {
            TimeUnit::S => Self::Seconds,
            TimeUnit::Ms => Self::Milliseconds,
            TimeUnit::Us => Self::Microseconds,
        }
    }
}

impl From<Origin> for shd::Origin {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Zero => Self::Zero,
            Origin::FirstSpike => Self::FirstSpike,
        }
    }
}

/// Frequency range of the mel bands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Bands {
    /// Up to half the sampling rate, so that no band is empty.
    Full,
    /// Up to 14 kHz, as in the paper. The upper 53 of the 140 bands are always empty.
    Paper,
}

/// Rule that assigns events to steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub enum Bins {
    /// A grid that starts at time 0.
    #[serde(rename = "fixed")]
    Fixed,
    /// Frames that start at their first event, as in the paper's data loader of 2023.
    #[serde(rename = "legacy-2023")]
    Legacy2023,
}

/// How the items are split into training, validation and test items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Division {
    /// As `speakers` where the speakers are known and enough, else as `stratified`. A note says
    /// which.
    Auto,
    /// By the shares `valid` and `test`, drawn from all items alike. A validation or test file
    /// replaces its share, and so do the parts that a file states for its items.
    Fraction,
    /// As `fraction`, but every class has its share of each part, and so has every speaker of a
    /// class. Every class has a training item.
    Stratified,
    /// As `fraction`, but of whole speakers, so that no speaker is in two parts.
    Speakers,
    /// As listed in `split_file`.
    File,
    /// By speaker, over the items of all files: those of `speaker` are the test items.
    LeaveSpeakerOut,
}

/// Random changes of the training items. All fields are 0 by default, which changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Largest shift along the channels, in channels and in both directions.
    pub shift_channels: u32,
    /// Number of channels in a block that shifts as one; it divides the number of channels. With 0,
    /// all channels are one block.
    pub block: usize,
    /// Largest shift in time, in steps and in both directions.
    pub shift_steps: u32,
    /// Largest relative change of tempo, in [0, 1): times are multiplied by a factor in
    /// `[1 - warp, 1 + warp]`.
    pub warp: f64,
    /// Probability that a spike is dropped, in [0, 1).
    pub drop: f64,
    /// Probability of an additional spike in each step of each channel, in [0, 1).
    pub noise: f64,
    /// Number of blocks of steps that are silenced.
    pub time_masks: u32,
    /// Largest length of such a block in steps.
    pub time_mask: u32,
    /// Number of blocks of channels that are silenced.
    pub channel_masks: u32,
    /// Largest width of such a block in channels.
    pub channel_mask: u32,
    /// Probability that an item is blended with another one of its class, in [0, 1]. Half the
    /// spikes of each are kept.
    pub blend: f64,
    /// Probability that a stretch of time is replaced by that of another item, in [0, 1]. The other
    /// item's class then has that share in the target.
    pub cutmix: f64,
}

impl Data {
    /// What the files of spikes do not say about themselves (`h5`).
    #[must_use]
    pub fn layout(&self) -> spikes::Options {
        spikes::Options {
            channels: Some(self.channels).filter(|&channels| channels > 0),
            time_unit: self.time_unit.into(),
            origin: self.origin.into(),
            ..spikes::Options::default()
        }
    }

    /// The frequency range for the reader of `gsc`.
    pub(crate) fn bands(&self) -> gsc::Bands {
        match self.bands {
            Bands::Full => gsc::Bands::Full,
            Bands::Paper => gsc::Bands::Paper,
        }
    }

    /// Whether files of a data folder are read.
    #[must_use]
    pub fn reads_files(&self) -> bool {
        matches!(self.source, Source::H5 | Source::Gsc) || !self.split_file.is_empty()
    }
}

impl Default for Data {
    fn default() -> Self {
        Self {
            source: Source::Digits,
            train_file: String::new(),
            valid_file: String::new(),
            test_file: String::new(),
            channels: 0,
            time_unit: TimeUnit::S,
            origin: Origin::Zero,
            group: 1,
            dt_ms: 10,
            binning: Bins::Fixed,
            bands: Bands::Full,
            steps: 0,
            mask: true,
            split: Division::Auto,
            split_file: String::new(),
            speaker: 0,
            valid: 0.1,
            test: 0.2,
            batch: 64,
            augment: Augment::default(),
        }
    }
}
