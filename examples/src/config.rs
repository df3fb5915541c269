//! The configuration of a run, as in `config.toml`.

use crate::error::{Error, Result};
use crate::{network, presets};
use polychron_core::delay::AnyKernel;
use polychron_core::loss::Loss;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;
use toml::{Table, Value};

/// The configuration of a run. The run's folder holds it as `config.toml`; `train --config` with
/// that file repeats the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Preset that supplies the fields that a configuration file omits. `custom`, the default,
    /// stands for the defaults of this structure.
    pub preset: String,
    /// Seed of all random numbers: split, initial parameters, batch order, augmentation and
    /// dropout. At most 2^63 - 1; 0 by default.
    pub seed: u64,
    /// Number of threads, at most 1024. 0, the default, uses one per core. Results do not depend on
    /// it.
    pub threads: usize,
    /// Processor that trains and evaluates; `cpu` by default. Results of different backends agree
    /// within rounding errors.
    pub backend: Backend,
    /// Algorithm of the delayed projections on the CPU; `auto` by default. Results of different
    /// algorithms agree within rounding errors.
    pub algorithm: Algorithm,
    /// When the test items are evaluated and which epoch counts; `clean` by default.
    pub protocol: Protocol,
    /// The data, their split and the batches.
    pub data: Data,
    /// The network.
    pub network: Network,
    /// The training recipe.
    pub train: Train,
}

/// Processor that trains and evaluates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// The CPU's cores.
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
    /// An emulator that runs the GPU's kernels on the CPU. It is slow and meant for tests.
    #[cfg_attr(feature = "cli", value(hide = true))]
    CudaEmulated,
}

/// Algorithm of the delayed projections on the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// The cheapest algorithm for every layer and direction.
    Auto,
    /// One matrix product per tap.
    Dense,
    /// One complex matrix product per frequency.
    Frequency,
    /// Only the taps that are not negligible.
    Taps,
    /// Only the taps that are not negligible, and only at spikes.
    Windows,
}

/// When the test items are evaluated and which epoch counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// The test items are evaluated after every epoch, and the best epoch counts.
    Paper,
    /// The test items are evaluated once, after the model has been selected.
    Clean,
}

/// The data, their split and the batches. `h5` and `gsc` mark fields that only this source reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// or 700 if it states none.
    pub channels: usize,
    /// Number of neighbouring channels that are summed into one (`h5`). It divides the number of
    /// channels; 5 by default.
    pub group: usize,
    /// Length of a step in ms, at least 1; 10 by default. It must be the step of the data, except
    /// for `h5`.
    pub dt_ms: u32,
    /// Rule that assigns events to steps (`h5`); `fixed` by default.
    pub binning: Bins,
    /// Frequency range of the mel bands (`gsc`); `full` by default.
    pub bands: Bands,
    /// Length in steps to which every sample is truncated or padded, at most 65536. 0, the default,
    /// pads to the longest sample of the batch.
    pub steps: usize,
    /// Whether padded steps are excluded from batch norm, loss and spike counts; `true` by default.
    pub mask: bool,
    /// How the items are split into training, validation and test items; `fraction` by default.
    pub split: Division,
    /// Name of a JSON file in the data folder that lists the split. `fraction` uses it, too, if it
    /// is not empty.
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
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The 3000 spoken digits that are part of the program.
    Digits,
    /// The synthetic order task: ten classes that differ only in the order of eight spikes. With a
    /// split file, the samples are read from `order.bin.gz` in the same folder.
    Order,
    /// HDF5 files in the layout of SHD.
    H5,
    /// Google Speech Commands v0.02. The data folder holds the folder `speech_commands_v0.02`, or
    /// is that folder.
    Gsc,
}

/// Frequency range of the mel bands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bands {
    /// Up to half the sampling rate, so that no band is empty.
    Full,
    /// Up to 14 kHz, as in the paper. The upper 53 of the 140 bands are always empty.
    Paper,
}

/// Rule that assigns events to steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[serde(rename_all = "kebab-case")]
pub enum Division {
    /// By the shares `valid` and `test`. A validation or test file replaces its share.
    Fraction,
    /// As listed in `split_file`.
    File,
    /// By speaker, over the items of all files: those of `speaker` are the test items.
    LeaveSpeakerOut,
}

/// Random changes of the training items. All fields are 0 by default, which changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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

/// The network: hidden layers of one kind and a readout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Number of neurons in each hidden layer, from 1 to 16384, for at most 64 layers; `[128, 128]`
    /// by default.
    pub hidden: Vec<usize>,
    /// Longest delay in steps, at most 16384 and below the number of steps of a sample; 24 by
    /// default. A kernel has `max_delay + 1` taps.
    pub max_delay: usize,
    /// Kernel in training with learned delays: `gauss` (the default), `max` or `linear`.
    pub kernel: String,
    /// Number of kernel elements per synapse, each with its own weight and delay, from 1 to 256; 1
    /// by default.
    pub count: usize,
    /// Number of inputs of every neuron, drawn with the seed. 0, the default, connects every neuron
    /// to all inputs.
    pub fan_in: usize,
    /// Probability that a hidden neuron is silenced for a whole sample in training, in [0, 1); 0.4
    /// by default.
    pub dropout: f64,
    /// Whether the hidden layers have batch norm; `true` by default.
    pub norm: bool,
    /// Function that turns the readout's membrane into class scores: `softmax_sum` (the default),
    /// `mean`, `max` or `membrane_sum`.
    pub loss: String,
    /// Time constant of the readout in ms, at least one step; 10.05 by default.
    pub readout_tau_ms: f64,
    /// The neurons of the hidden layers.
    pub neuron: Neuron,
    /// The surrogate derivative of a spike; `atan` with `alpha` = 5 by default.
    pub surrogate: Surrogate,
}

/// The neurons of the hidden layers. Fields that a kind does not have are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Neuron {
    /// Neuron model; `lif` by default.
    pub kind: NeuronKind,
    /// Time constant of the membrane in ms; 10.05 by default. For `lif` it is at least one step;
    /// for `plif`, `cuba-lif` and `adlif` it is longer than one step.
    pub tau_ms: f64,
    /// Membrane at which a neuron spikes, above the resting potential; 1 by default.
    pub threshold: f64,
    /// Effect of a spike on the membrane; `hard` by default.
    pub reset: ResetKind,
    /// Membrane after a hard reset and at rest; 0 by default.
    pub v_reset: f64,
    /// Whether the gradient does not pass through the reset; `true` by default.
    pub detach: bool,
    /// Whether the input is multiplied by step / tau (not for `adlif` and `if`); `false` by
    /// default.
    pub decay_input: bool,
    /// Time constant of the synaptic current in ms, longer than one step (`cuba-lif`); 20 by
    /// default.
    pub tau_syn_ms: f64,
    /// Time constant of the adaptation in ms, longer than one step (`adlif`); 100 by default.
    pub tau_w_ms: f64,
    /// Increase of the adaptation per unit of the membrane (`adlif`); 0.1 by default.
    pub a: f64,
    /// Increase of the adaptation per spike (`adlif`); 0.5 by default.
    pub b: f64,
}

/// Neuron model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NeuronKind {
    /// Leaky integrate-and-fire.
    Lif,
    /// Leaky integrate-and-fire with a learned time constant.
    Plif,
    /// Integrate-and-fire without a leak.
    If,
    /// Leaky integrate-and-fire with a synaptic current.
    CubaLif,
    /// Adaptive leaky integrate-and-fire.
    Adlif,
}

/// Effect of a spike on the membrane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResetKind {
    /// Sets the membrane to `v_reset`.
    Hard,
    /// Subtracts the threshold.
    Soft,
}

/// The surrogate derivative of a spike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Surrogate {
    /// Name of the surrogate; `atan` by default.
    #[serde(default = "atan")]
    pub kind: String,
    /// Parameters of the surrogate. Missing ones have the surrogate's defaults.
    #[serde(flatten)]
    pub parameters: BTreeMap<String, f64>,
}

/// The training recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Train {
    /// Number of passes over the training items, from 1 to 2^20; 30 by default.
    pub epochs: usize,
    /// Peak learning rate of weights, batch norms and neurons (one-cycle schedule), above 0; 0.005
    /// by default.
    pub rate: f64,
    /// Learning rate of the delays in the first epoch, above 0; 0.1 by default. It falls to 0 as a
    /// cosine.
    pub delay_rate: f64,
    /// Weight decay of the synaptic weights, at least 0; 1e-5 by default.
    pub l2: f64,
    /// Whether the weight decay is decoupled from the gradient, as in AdamW; `false` by default.
    pub decoupled: bool,
    /// Whether the delays are learned, fixed or absent; `learned` by default.
    pub delays: Delays,
    /// Distribution of the initial delays; `uniform` by default.
    pub delay_init: DelayStart,
    /// Raw sigma of the kernel in the first epoch, in steps and at least 0. If it is absent, each
    /// layer starts at half the length of its kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma_start: Option<f64>,
    /// Raw sigma after it has shrunk, in steps and at least 0; 0.23 by default.
    pub sigma_end: f64,
    /// Number of epochs in which sigma shrinks. If it is absent, a quarter of all epochs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma_epochs: Option<usize>,
    /// How learned delays become whole steps, which is all that a device has; `split` by default.
    /// With `nearest`, they stop learning when they become whole.
    pub rounding: Rounding,
    /// Number of last epochs in which learned delays have one or two taps at whole steps, unless
    /// `rounding` is `after`. If it is absent, a quarter of all epochs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounded_epochs: Option<usize>,
    /// Whether the parameters of the neurons are trained; `true` by default.
    pub train_neurons: bool,
    /// Epoch whose model is tested under protocol `clean`; `last` by default.
    pub select: Select,
}

/// Whether the delays are learned, fixed or absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delays {
    /// The delays are trained.
    Learned,
    /// The initial delays are rounded to whole steps and stay fixed.
    Random,
    /// There are no delays.
    Zero,
}

/// How learned delays become whole steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    /// After training, to the nearest step, as in the paper.
    #[cfg_attr(feature = "cli", value(skip))]
    After,
    /// One tap per delay, at the nearest step.
    Nearest,
    /// Two taps per delay that share its weight, at the steps before and after it. A synapse costs
    /// as much as two on a device.
    Split,
}

/// Distribution of the initial delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DelayStart {
    /// Uniform between 0 and the longest delay.
    Uniform,
    /// As in the paper's code: about one delay in `max_delay + 1` starts at the longest delay.
    Paper,
    /// All delays start at 0.
    Zero,
}

/// Epoch whose model is tested under protocol `clean`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Select {
    /// The last epoch.
    Last,
    /// The first epoch with the best validation accuracy.
    Valid,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            preset: "custom".into(),
            seed: 0,
            threads: 0,
            backend: Backend::Cpu,
            algorithm: Algorithm::Auto,
            protocol: Protocol::Clean,
            data: Data::default(),
            network: Network::default(),
            train: Train::default(),
        }
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
            group: 5,
            dt_ms: 10,
            binning: Bins::Fixed,
            bands: Bands::Full,
            steps: 0,
            mask: true,
            split: Division::Fraction,
            split_file: String::new(),
            speaker: 0,
            valid: 0.1,
            test: 0.2,
            batch: 64,
            augment: Augment::default(),
        }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            hidden: vec![128, 128],
            max_delay: 24,
            kernel: "gauss".into(),
            count: 1,
            fan_in: 0,
            dropout: 0.4,
            norm: true,
            loss: "softmax_sum".into(),
            readout_tau_ms: 10.05,
            neuron: Neuron::default(),
            surrogate: Surrogate { kind: atan(), parameters: [("alpha".into(), 5.0)].into() },
        }
    }
}

impl Default for Neuron {
    fn default() -> Self {
        Self {
            kind: NeuronKind::Lif,
            tau_ms: 10.05,
            threshold: 1.0,
            reset: ResetKind::Hard,
            v_reset: 0.0,
            detach: true,
            decay_input: false,
            tau_syn_ms: 20.0,
            tau_w_ms: 100.0,
            a: 0.1,
            b: 0.5,
        }
    }
}

impl Default for Train {
    fn default() -> Self {
        Self {
            epochs: 30,
            rate: 5e-3,
            delay_rate: 0.1,
            l2: 1e-5,
            decoupled: false,
            delays: Delays::Learned,
            delay_init: DelayStart::Uniform,
            sigma_start: None,
            sigma_end: 0.23,
            sigma_epochs: None,
            rounding: Rounding::Split,
            rounded_epochs: None,
            train_neurons: true,
            select: Select::Last,
        }
    }
}

fn atan() -> String {
    "atan".into()
}

impl Config {
    /// Returns the configuration of a preset; [`Config::presets`] lists the names.
    ///
    /// # Errors
    /// If no preset has this name.
    pub fn preset(name: &str) -> Result<Self> {
        presets::load(Some(name), None, &[])
    }

    /// Reads a configuration from a TOML file. Missing fields have the values of the file's
    /// `preset`, or the defaults.
    ///
    /// # Errors
    /// Names the line or the field that is invalid.
    pub fn read(path: &Path) -> Result<Self> {
        presets::load(None, Some(path), &[])
    }

    /// Parses a configuration in TOML, as [`Config::read`] does; `name` stands for the file in error
    /// messages.
    ///
    /// # Errors
    /// Names the line or the field that is invalid.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        presets::parse(text, name)
    }

    /// Sets a field by its path: `train.epochs=3`. A value that is not TOML is taken as a string. A
    /// new `network.surrogate.kind` removes the parameters of the old one.
    ///
    /// ```
    /// let mut config = polychron::Config::preset("order")?;
    /// config.set("network.hidden=[32, 32]")?;
    /// assert_eq!(config.network.hidden, [32, 32]);
    /// # Ok::<(), polychron::Error>(())
    /// ```
    ///
    /// # Errors
    /// Names the field that does not exist or whose value is invalid. The configuration is then
    /// unchanged.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        *self = presets::set(self, assignment)?;
        Ok(())
    }

    /// Returns the names of the presets.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        presets::names()
    }

    /// Checks all fields as far as they do not depend on the data.
    ///
    /// # Errors
    /// Names the field that is invalid.
    pub fn check(&self) -> Result<()> {
        let (data, network, train) = (&self.data, &self.network, &self.train);
        for (field, value) in [
            ("data.valid", data.valid),
            ("data.test", data.test),
            ("network.dropout", network.dropout),
        ] {
            require((0.0..1.0).contains(&value), field, value, "is not in [0, 1)")?;
        }
        require(i64::try_from(self.seed).is_ok(), "seed", self.seed, "is above 2^63 - 1")?;
        let widest = network.hidden.iter().copied().max().unwrap_or(0);
        for (field, value, most) in [
            ("threads", self.threads, 1024),
            ("data.batch", data.batch, 1 << 16),
            ("data.steps", data.steps, 1 << 16),
            ("network.hidden", widest, 1 << 14),
            ("layers of network.hidden", network.hidden.len(), 64),
            ("network.max_delay", network.max_delay, 1 << 14),
            ("network.count", network.count, 256),
            ("train.epochs", train.epochs, 1 << 20),
        ] {
            require(value <= most, field, value, &format!("is above {most}"))?;
        }
        require(data.dt_ms > 0, "data.dt_ms", data.dt_ms, "is not at least 1")?;
        require(data.batch > 1, "data.batch", data.batch, "is not at least 2")?;
        require(network.count > 0, "network.count", network.count, "is not at least 1")?;
        require(
            !network.hidden.contains(&0),
            "network.hidden",
            &network.hidden,
            "contains 0; a layer needs at least one neuron",
        )?;
        require(train.epochs > 0, "train.epochs", train.epochs, "is not at least 1")?;
        for (field, value) in [("train.rate", train.rate), ("train.delay_rate", train.delay_rate)] {
            require(to_single(field, value)? > 0.0, field, value, "is not positive")?;
        }
        if let Some(rounded) = train.rounded_epochs {
            let field = "train.rounded_epochs";
            let holds = (1..=train.epochs).contains(&rounded);
            require(holds, field, rounded, "is not between 1 and train.epochs")?;
            let holds = train.rounding != Rounding::After;
            require(holds, field, rounded, "needs train.rounding = \"split\" or \"nearest\"")?;
        }
        let sigma_start = train.sigma_start.unwrap_or(1.0);
        for (field, value) in [
            ("train.sigma_start", sigma_start),
            ("train.sigma_end", train.sigma_end),
            ("train.l2", train.l2),
        ] {
            require(to_single(field, value)? >= 0.0, field, value, "is negative")?;
        }
        let chosen = train.select == Select::Valid && self.protocol == Protocol::Clean;
        let validates = data.valid > 0.0
            || !data.valid_file.is_empty()
            || !data.split_file.is_empty()
            || data.source == Source::Gsc;
        require(
            !chosen || validates,
            "train.select",
            "valid",
            "needs validation items, but data.valid = 0",
        )?;
        network::check(self)
    }

    /// Returns the number of threads, with 0 replaced by the number of cores.
    #[must_use]
    pub fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }

    /// Returns the configuration as TOML.
    ///
    /// # Errors
    /// If TOML cannot represent a number.
    pub fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string(self)?)
    }

    /// The first field that differs, as `field = value` of `self` and of `other`. The number of
    /// threads is not compared, because results do not depend on it.
    pub(crate) fn difference(&self, other: &Self) -> Result<Option<(String, String)>> {
        Ok(self.differences(other)?.into_iter().next())
    }

    /// All fields that differ, in the form of [`difference`](Self::difference).
    pub(crate) fn differences(&self, other: &Self) -> Result<Vec<(String, String)>> {
        let (here, there) = (self.fields()?, other.fields()?);
        let keys: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
        let differing = keys.into_iter().filter(|&key| here.get(key) != there.get(key));
        let pair = differing.map(|key| {
            let shown = |fields: &BTreeMap<String, String>| match fields.get(key) {
                Some(value) => format!("{key} = {value}"),
                None => format!("no {key}"),
            };
            (shown(&here), shown(&there))
        });
        Ok(pair.collect())
    }

    /// All fields except the threads, by path. A kernel or loss with several names has its first.
    fn fields(&self) -> Result<BTreeMap<String, String>> {
        let mut config = self.clone();
        if let Some(kernel) = AnyKernel::from_name(&config.network.kernel) {
            config.network.kernel = kernel.name().into();
        }
        if let Some(loss) = Loss::from_name(&config.network.loss) {
            config.network.loss = loss.name().into();
        }
        let mut fields = BTreeMap::new();
        flatten("", &Table::try_from(config)?, &mut fields);
        fields.remove("threads");
        Ok(fields)
    }
}

fn flatten(path: &str, table: &Table, fields: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        match value {
            Value::Table(inner) => flatten(&format!("{path}{key}."), inner, fields),
            value => {
                fields.insert(format!("{path}{key}"), value.to_string());
            }
        }
    }
}

/// Fails with `field = value problem` unless the condition holds.
pub(crate) fn require(holds: bool, field: &str, value: impl Debug, problem: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::new(format!("{field} = {value:?} {problem}"))) }
}

/// Converts a value to the precision of training; fails if the result is not finite.
pub(crate) fn to_single(field: &str, value: f64) -> Result<f32> {
    let single = value as f32;
    require(single.is_finite(), field, value, "is not finite in single precision")?;
    Ok(single)
}
