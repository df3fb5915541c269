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

/// The configuration of a run. `config.toml` in the run's folder holds it, and `train --config`
/// with that file repeats the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Preset whose values hold where the configuration names none; `custom`: the defaults.
    pub preset: String,
    /// Seed of every draw: split, initial parameters, batch order, dropout.
    pub seed: u64,
    /// Threads; 0: one per core. Results do not depend on it.
    pub threads: usize,
    /// What computes. Results agree to rounding.
    pub backend: Backend,
    /// How the CPU computes delayed projections. Results agree to rounding.
    pub algorithm: Algorithm,
    /// How a result is chosen.
    pub protocol: Protocol,
    /// Data, split and batches.
    pub data: Data,
    /// The network.
    pub network: Network,
    /// How it learns.
    pub train: Train,
}

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// The processor's cores.
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
    /// The GPU's kernels on the processor: slow, for tests.
    #[cfg_attr(feature = "cli", value(hide = true))]
    CudaEmulated,
}

/// How delayed projections are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// The cheapest for every layer.
    Auto,
    /// A matrix product for every tap.
    Dense,
    /// A complex matrix product for every frequency.
    Frequency,
    /// Only taps that are not negligible.
    Taps,
    /// Only taps that are not negligible, only at spikes.
    Windows,
}

/// How a result is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// The test items are evaluated after every epoch and the best epoch counts.
    Paper,
    /// The test items are evaluated once, after the model has been chosen.
    Clean,
}

/// Data, split and batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Where the samples come from.
    pub source: Source,
    /// Training file in the data folder (`h5`).
    pub train_file: String,
    /// Validation file (`h5`); empty: the share `valid` of the training items.
    pub valid_file: String,
    /// Test file (`h5`); empty: the share `test` of all items.
    pub test_file: String,
    /// Channels of the files (`h5`); 0: as many as a file says, else 700.
    pub channels: usize,
    /// Neighbouring channels summed into one (`h5`).
    pub group: usize,
    /// Length of a step in ms.
    pub dt_ms: u32,
    /// How events fall into steps (`h5`).
    pub binning: Bins,
    /// Where the mel bands lie (`gsc`).
    pub bands: Bands,
    /// Every sample is cut or padded to this many steps; 0: padded to the longest of its batch.
    pub steps: usize,
    /// Whether padded steps are left out of norm, loss and spikes.
    pub mask: bool,
    /// How items are divided.
    pub split: Division,
    /// JSON file of a given division, in the data folder; where there is one, it is used.
    pub split_file: String,
    /// The speaker to test on (`leave-speaker-out`).
    pub speaker: u16,
    /// Share of the training items set aside for validation.
    pub valid: f64,
    /// Share of all items to test on, where the source has no test items of its own.
    pub test: f64,
    /// Items of a batch. The last batch of an epoch may be smaller; one of a single item is
    /// skipped.
    pub batch: usize,
    /// Random changes of training items.
    pub augment: Augment,
}

/// Where samples come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The embedded 3000 spoken digits.
    Digits,
    /// The made task of ten orders of eight spikes; with a split file, `order.bin.gz` beside that.
    Order,
    /// HDF5 files in the layout of SHD.
    H5,
    /// Google Speech Commands v0.02: the data folder holds `speech_commands_v0.02`, or the word
    /// folders.
    Gsc,
}

/// Where the mel bands lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bands {
    /// Up to half the rate, none empty.
    Full,
    /// As the reference: up to 14 kHz, the upper 53 of 140 always empty.
    Paper,
}

/// How events fall into steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bins {
    /// A grid from time 0.
    #[serde(rename = "fixed")]
    Fixed,
    /// Frames that open at their first event, as the reference's loader of 2023.
    #[serde(rename = "legacy-2023")]
    Legacy2023,
}

/// How items are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Division {
    /// By the shares `valid` and `test`; a test or validation file takes the share's place.
    Fraction,
    /// As `split_file` says.
    File,
    /// Tests on `speaker`, trains on the others; the items of all files.
    LeaveSpeakerOut,
}

/// Random changes of training items; all 0: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Largest shift along the channels.
    pub shift_channels: u32,
    /// Channels of a block that shifts as one; 0: all.
    pub block: usize,
    /// Largest shift in time, in steps.
    pub shift_steps: u32,
    /// Largest change of tempo, a share.
    pub warp: f64,
    /// Probability that a spike is dropped.
    pub drop: f64,
    /// Probability of one more spike in each step of each channel.
    pub noise: f64,
    /// Blocks of steps that are silenced.
    pub time_masks: u32,
    /// Most steps of such a block.
    pub time_mask: u32,
    /// Blocks of channels that are silenced.
    pub channel_masks: u32,
    /// Most channels of such a block.
    pub channel_mask: u32,
    /// Probability that an item is blended with another of its class, half the spikes of each.
    pub blend: f64,
    /// Probability that a stretch of time comes from another item, and a share of the target with
    /// it.
    pub cutmix: f64,
}

/// The network: hidden layers of one kind, and a readout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Neurons of each hidden layer.
    pub hidden: Vec<usize>,
    /// Longest delay in steps; kernels have one tap more.
    pub max_delay: usize,
    /// Kernel used in training where delays are learned: gauss, max or linear.
    pub kernel: String,
    /// Kernel elements a synapse.
    pub count: usize,
    /// Neurons or channels that every neuron hears, drawn from the seed; 0: all.
    pub fan_in: usize,
    /// Probability that a hidden neuron is silenced for a whole sample.
    pub dropout: f64,
    /// Whether hidden layers have batch norm.
    pub norm: bool,
    /// Scores of the loss: softmax_sum, mean, max or membrane_sum.
    pub loss: String,
    /// Time constant of the readout in ms.
    pub readout_tau_ms: f64,
    /// Hidden neurons.
    pub neuron: Neuron,
    /// Surrogate derivative.
    pub surrogate: Surrogate,
}

/// Hidden neurons. Fields that a kind has not are not read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Neuron {
    /// The model.
    pub kind: NeuronKind,
    /// Time constant of the membrane in ms.
    pub tau_ms: f64,
    /// Threshold.
    pub threshold: f64,
    /// What a spike does.
    pub reset: ResetKind,
    /// Membrane after a hard reset, and at rest.
    pub v_reset: f64,
    /// Whether the gradient ends at the reset.
    pub detach: bool,
    /// Whether the input is multiplied by step / tau.
    pub decay_input: bool,
    /// Time constant of the synaptic current in ms (`cuba-lif`).
    pub tau_syn_ms: f64,
    /// Time constant of the adaptation in ms (`adlif`).
    pub tau_w_ms: f64,
    /// Coupling of the membrane to the adaptation (`adlif`).
    pub a: f64,
    /// Coupling of the spikes to the adaptation (`adlif`).
    pub b: f64,
}

/// Neuron models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NeuronKind {
    /// Leaky integrate-and-fire.
    Lif,
    /// The same with a learned leak.
    Plif,
    /// Integrate-and-fire, no leak.
    If,
    /// With a synaptic current.
    CubaLif,
    /// Adaptive.
    Adlif,
}

/// What a spike does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResetKind {
    /// Sets the membrane to `v_reset`.
    Hard,
    /// Subtracts the threshold.
    Soft,
}

/// Surrogate derivative: a name and the parameters of that surrogate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Surrogate {
    /// Its name.
    #[serde(default = "atan")]
    pub kind: String,
    /// Its parameters; the surrogate's defaults where not named.
    #[serde(flatten)]
    pub parameters: BTreeMap<String, f64>,
}

/// How the network learns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Train {
    /// Passes over the training items.
    pub epochs: usize,
    /// Peak learning rate of weights, norms and neurons.
    pub rate: f64,
    /// Learning rate of the delays in the first epoch.
    pub delay_rate: f64,
    /// Weight decay of the weights.
    pub l2: f64,
    /// Whether the decay is decoupled from the gradient.
    pub decoupled: bool,
    /// What becomes of the delays.
    pub delays: Delays,
    /// How initial delays are drawn.
    pub delay_init: DelayStart,
    /// Raw sigma of the first epoch; absent: half the kernel's length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma_start: Option<f64>,
    /// Raw sigma after the shrinking.
    pub sigma_end: f64,
    /// Epochs of shrinking; absent: a quarter of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma_epochs: Option<usize>,
    /// Whether the neurons' own parameters are trained.
    pub train_neurons: bool,
    /// The model that is tested under protocol clean.
    pub select: Select,
}

/// What becomes of the delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delays {
    /// They are trained.
    Learned,
    /// The initial ones, rounded and fixed.
    Random,
    /// There are none.
    Zero,
}

/// How initial delays are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DelayStart {
    /// Uniform from 0 to the longest.
    Uniform,
    /// As the reference: one in K starts at the longest.
    Paper,
    /// All 0.
    Zero,
}

/// The model that is tested under protocol clean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Select {
    /// That of the last epoch.
    Last,
    /// That of the epoch with the best validation accuracy, the first of equals.
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
            train_neurons: true,
            select: Select::Last,
        }
    }
}

fn atan() -> String {
    "atan".into()
}

impl Config {
    /// The configuration of a preset; [`Config::presets`] lists the names.
    ///
    /// # Errors
    /// If there is no such preset.
    pub fn preset(name: &str) -> Result<Self> {
        presets::load(Some(name), None, &[])
    }

    /// The configuration in a TOML file. Fields that are missing are those of its `preset`, or the
    /// defaults.
    ///
    /// # Errors
    /// Names the line or the field that is invalid.
    pub fn read(path: &Path) -> Result<Self> {
        presets::load(None, Some(path), &[])
    }

    /// A configuration in TOML, on top of the defaults; `name` stands for the file in error
    /// messages.
    ///
    /// # Errors
    /// Names the line or the field that is invalid.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        presets::parse(text, name)
    }

    /// Sets a field by its path: `train.epochs=3`. A value that is not TOML is a string. A new
    /// `network.surrogate.kind` drops the parameters of the old one.
    ///
    /// ```
    /// let mut config = polychron::Config::preset("order")?;
    /// config.set("network.hidden=[32, 32]")?;
    /// assert_eq!(config.network.hidden, [32, 32]);
    /// # Ok::<(), polychron::Error>(())
    /// ```
    ///
    /// # Errors
    /// Names the field that does not exist or whose value is invalid; then nothing has changed.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        *self = presets::set(self, assignment)?;
        Ok(())
    }

    /// Names of the presets.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        presets::names()
    }

    /// Checks what does not depend on the data.
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
            "has an empty layer",
        )?;
        require(train.epochs > 0, "train.epochs", train.epochs, "is not at least 1")?;
        for (field, value) in [("train.rate", train.rate), ("train.delay_rate", train.delay_rate)] {
            require(single(field, value)? > 0.0, field, value, "is not positive")?;
        }
        let sigma_start = train.sigma_start.unwrap_or(1.0);
        for (field, value) in [
            ("train.sigma_start", sigma_start),
            ("train.sigma_end", train.sigma_end),
            ("train.l2", train.l2),
        ] {
            require(single(field, value)? >= 0.0, field, value, "is negative")?;
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

    /// The number of threads, with 0 resolved to the number of cores.
    #[must_use]
    pub fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }

    /// The configuration as TOML.
    ///
    /// # Errors
    /// If a number does not fit into TOML.
    pub fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string(self)?)
    }

    /// The first field that differs, as each of the two has it. Threads do not change results and
    /// are not compared.
    pub(crate) fn difference(&self, other: &Self) -> Result<Option<(String, String)>> {
        Ok(self.differences(other)?.into_iter().next())
    }

    /// Every field that differs, as [`difference`](Self::difference) shows it.
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

    /// Every field but the threads, by its path. Of the names of a kernel or a loss, the first.
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

/// The value in the precision of training.
pub(crate) fn single(field: &str, value: f64) -> Result<f32> {
    let single = value as f32;
    require(single.is_finite(), field, value, "is not finite in single precision")?;
    Ok(single)
}
