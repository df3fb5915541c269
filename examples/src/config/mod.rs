//! The configuration of a run, as in `config.toml`.

mod connect;
mod data;
mod layers;
mod network;
mod train;

pub use connect::{Connect, ConvTable};
pub use data::{Augment, Bands, Bins, Data, Division, Origin, Source, TimeUnit};
pub use layers::{From, Input, LayerSettings, LayerTable, ReadoutTable, Recurrent};
pub use network::{
    DelayPlace, Delays, InitialState, Network, Neuron, Range, Scale, Setting, Surrogate,
};
pub use train::{DelayStart, RatePenalty, Rounding, Select, Train};

use crate::error::{Error, Result, at};
use crate::task::Task;
use crate::{network as conversion, presets};
use polychron_core::delay::AnyKernel;
use polychron_core::loss::Loss;
use polychron_core::schedule::Schedule;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;
use toml::{Table, Value};

/// The configuration of a run. The run's folder holds it as `config.toml`; `train --config` with
/// that file repeats the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "cli", derive(clap::ValueEnum, schemars::JsonSchema))]
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
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "cli", derive(clap::ValueEnum, schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// The test items are evaluated after every epoch, and the best epoch counts.
    Paper,
    /// The test items are evaluated once, after the model has been selected.
    Clean,
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

    /// Parses a configuration in TOML, as [`Config::read`] does; `name` stands for the file in
    /// error messages.
    ///
    /// # Errors
    /// Names the line or the field that is invalid.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        presets::parse(text, name)
    }

    /// Sets a field by its path: `train.epochs=3`. A value that is not TOML is taken as a string.
    /// A new `network.surrogate.kind` removes the parameters of the old one, and `train.epochs`
    /// removes `train.steps`.
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
        *self = presets::set(self, &[assignment])?;
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
        for (field, value) in [("data.valid", data.valid), ("data.test", data.test)] {
            require((0.0..1.0).contains(&value), field, value, "is not in [0, 1)")?;
        }
        require(i64::try_from(self.seed).is_ok(), "seed", self.seed, "is above 2^63 - 1")?;
        let widest = network.hidden.iter().copied().max().unwrap_or(0);
        for (field, value, most) in [
            ("threads", self.threads, 1024),
            ("data.batch", data.batch, 1 << 16),
            ("data.steps", data.steps, 1 << 20),
            ("network.hidden", widest, 1 << 14),
            ("layers of network.hidden", network.hidden.len(), 64),
            ("train.epochs", train.epochs, 1 << 20),
        ] {
            require(value <= most, field, value, &format!("is above {most}"))?;
        }
        require(data.dt_ms > 0, "data.dt_ms", data.dt_ms, "is not at least 1")?;
        require(data.batch > 1, "data.batch", data.batch, "is not at least 2")?;
        require(
            !network.hidden.contains(&0),
            "network.hidden",
            &network.hidden,
            "contains 0; a layer needs at least one neuron",
        )?;
        network.check_layers(data.dt_ms)?;
        let holds = network.fan_in == 0 || !network.has_convolutions();
        let problem = "does not go with network.connect; leave one of them out";
        require(holds, "network.fan_in", network.fan_in, problem)?;
        let holds = network.density > 0.0 && network.density <= 1.0;
        require(holds, "network.density", network.density, "is not above 0 and at most 1")?;
        if let Some(file) = &network.delay_file {
            let problem = "needs network.delays = \"given\", also of a layer or an input";
            require(network.has_delays(Delays::Given), "network.delay_file", file, problem)?;
        }
        require(train.epochs > 0, "train.epochs", train.epochs, "is not at least 1")?;
        for (field, value) in [("train.rate", train.rate), ("train.delay_rate", train.delay_rate)] {
            require(to_single(field, value)? > 0.0, field, value, "is not positive")?;
        }
        for (field, name) in
            [("schedule", &train.schedule), ("delay_schedule", &train.delay_schedule)]
        {
            let problem = format!("is not one of {:?}", Schedule::NAMES);
            let holds = Schedule::NAMES.contains(&name.as_str());
            require(holds, &format!("train.{field}"), name, &problem)?;
        }
        train.optimizer()?;
        let factor = train.step_factor;
        let holds = factor > 0.0 && factor <= 1.0;
        require(holds, "train.step_factor", factor, "is not in (0, 1]")?;
        require(train.step_epochs > 0, "train.step_epochs", 0, "is not at least 1")?;
        let holds = !train.class_weights || network.objective == "cross_entropy";
        let problem = "needs network.objective = \"cross_entropy\"";
        require(holds, "train.class_weights", train.class_weights, problem)?;
        let holds = train.window_steps != Some(0);
        require(holds, "train.window_steps", 0, "is not at least 1")?;
        let holds = train.steps != Some(0);
        require(holds, "train.steps", 0, "is not at least 1")?;
        // With `steps`, the number of epochs is not known before the data.
        let epochs = if train.steps.is_some() { 1 << 20 } else { train.epochs };
        let warmup = train.warmup_epochs;
        let holds = warmup < epochs;
        require(holds, "train.warmup_epochs", warmup, "is not below train.epochs")?;
        if let Some(clip) = train.clip_norm {
            let holds = network.fan_in == 0 && network.density == 1.0;
            let problem = "counts absent synapses of network.fan_in or network.density; leave one \
                           of them out";
            require(holds, "train.clip_norm", clip, problem)?;
            require(
                to_single("train.clip_norm", clip)? > 0.0,
                "train.clip_norm",
                clip,
                "is not positive",
            )?;
        }
        if let Some(rate) = train.neuron_rate {
            let field = "train.neuron_rate";
            require(to_single(field, rate)? > 0.0, field, rate, "is not positive")?;
        }
        if let Some(RatePenalty { weight, low, high }) = train.rate_penalty {
            let field = "train.rate_penalty.weight";
            require(to_single(field, weight)? >= 0.0, field, weight, "is negative")?;
            require(low >= 0.0, "train.rate_penalty.low", low, "is not at least 0")?;
            require(high >= low, "train.rate_penalty.high", high, "is not at least low")?;
        }
        if let Some(rounded) = train.rounded_epochs {
            let field = "train.rounded_epochs";
            let holds = (1..=epochs).contains(&rounded);
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
        if let Some(patience) = train.patience {
            let field = "train.patience";
            require(patience > 0, field, patience, "is not at least 1")?;
            let problem = "needs train.select = \"valid\" and protocol = \"clean\"";
            require(chosen, field, patience, problem)?;
        }
        conversion::check(self)
    }

    /// The same configuration with the number of epochs that takes `train.steps` steps on the data.
    ///
    /// # Errors
    /// If there are fewer than two training items, or if a field does not fit the number of epochs.
    pub(crate) fn with_epochs(&self, task: &Task) -> Result<Self> {
        let Some(steps) = self.train.steps else { return Ok(self.clone()) };
        let mut config = self.clone();
        config.train.epochs = steps.div_ceil(task.epoch(0)?.len());
        config.train.steps = None;
        config.check().map_err(at(format!("train.steps = {steps}")))?;
        config.train.steps = Some(steps);
        Ok(config)
    }

    /// Returns the number of threads, with 0 replaced by the number of cores.
    #[must_use]
    pub fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }

    /// The longest delay of all layers in steps, and the path of its field.
    pub(crate) fn longest_delay(&self) -> (usize, String) {
        self.network.longest_delay(self.data.dt_ms)
    }

    /// Returns the configuration as TOML, with all fields that its neurons and its optimizer have.
    ///
    /// # Errors
    /// If TOML cannot represent a number.
    pub fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string(&self.complete()?)?)
    }

    /// The first field that differs, as `field = value` of `self` and of `other`. The number of
    /// threads is not compared, because results do not depend on it, nor is a number of epochs that
    /// follows from the steps.
    pub(crate) fn difference(&self, other: &Self) -> Result<Option<(String, String)>> {
        Ok(self.differences(other)?.into_iter().next())
    }

    /// All fields that differ, in the form of [`difference`](Self::difference).
    pub(crate) fn differences(&self, other: &Self) -> Result<Vec<(String, String)>> {
        let (mut here, mut there) = (self.fields()?, other.fields()?);
        if self.train.steps.is_some() && other.train.steps.is_some() {
            here.remove("train.epochs");
            there.remove("train.epochs");
        }
        let keys: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
        let differing = keys.into_iter().filter(|&key| here.get(key) != there.get(key));
        let pair = differing.map(|key| {
            let shown = |fields: &BTreeMap<String, Value>| match fields.get(key) {
                Some(value) => format!("{key} = {value}"),
                None => format!("no {key}"),
            };
            (shown(&here), shown(&there))
        });
        Ok(pair.collect())
    }

    /// The fields that differ from those of the preset, as `field = value`.
    pub(crate) fn changes(&self) -> Result<Vec<String>> {
        let differences = self.differences(&Self::preset(&self.preset).unwrap_or_default())?;
        let follows =
            |own: &String| self.train.steps.is_some() && own.starts_with("train.epochs = ");
        Ok(differences
            .into_iter()
            .map(|(own, _)| own)
            .filter(|own| !follows(own) && own.contains('='))
            .collect())
    }

    /// The same configuration with all fields that its neurons and its optimizer have.
    fn complete(&self) -> Result<Self> {
        let (network, train) = (self.network.complete()?, self.train.clone().complete());
        Ok(Self { network, train, ..self.clone() })
    }

    /// All fields except the threads and a group that is not read, by path, with all fields of its
    /// neurons and its optimizer. A kernel or loss with several names has its first.
    pub(crate) fn fields(&self) -> Result<BTreeMap<String, Value>> {
        let mut config = self.clone();
        if let Some(kernel) = AnyKernel::from_name(&config.network.kernel) {
            config.network.kernel = kernel.name().into();
        }
        if let Some(loss) = Loss::from_name(&config.network.loss) {
            config.network.loss = loss.name().into();
        }
        let mut fields = BTreeMap::new();
        flatten("", &Table::try_from(config.complete()?)?, &mut fields);
        if self.data.source != Source::H5 {
            fields.remove("data.group");
        }
        fields.remove("threads");
        Ok(fields)
    }
}

fn flatten(path: &str, table: &Table, fields: &mut BTreeMap<String, Value>) {
    for (key, value) in table {
        match value {
            Value::Table(inner) => flatten(&format!("{path}{key}."), inner, fields),
            value => {
                fields.insert(format!("{path}{key}"), value.clone());
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
