use super::connect::Connect;
use super::layers::{LayerTable, ReadoutTable, Recurrent};
use crate::models;
use polychron_core::delay::Place;
use polychron_core::parameter::{Parameter, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use toml::Table;

/// The network: hidden layers and a readout.
///
/// Networks are equal if all their fields are, with defaults in place of missing parameters.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Number of neurons in each hidden layer, from 1 to 16384, for at most 64 layers; `[128, 128]`
    /// by default.
    pub hidden: Vec<usize>,
    /// Longest delay in steps, at most 16384 and below the number of steps of a sample; 24 by
    /// default. A kernel has `max_delay + 1` taps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<usize>,
    /// Longest delay in ms instead of `max_delay`; a multiple of `data.dt_ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay_ms: Option<f64>,
    /// Whether the delays are learned, fixed or absent; `learned` by default.
    pub delays: Delays,
    /// File of the delays that are `given`, as Safetensors: a tensor for every connection, named
    /// and shaped as in the files of a run, with delays in steps (`hidden.0.delay`) or in ms
    /// (`hidden.0.delay_ms`). A run's `model.safetensors` is such a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_file: Option<String>,
    /// Where the delays sit, which says what has a delay of its own; `synaptic` by default.
    #[serde(skip_serializing_if = "DelayPlace::is_synaptic")]
    pub delay_place: DelayPlace,
    /// Which neurons are connected: `dense`, the default, or near ones only, as in
    /// `{ conv = { width = 5, stride = 2, maps = 8 } }`.
    #[serde(skip_serializing_if = "Connect::is_dense")]
    pub connect: Connect,
    /// Where learned spreads sit: factors, between 0 and 2, of the sigma of the kernel, which learn
    /// as delays do; `none` by default.
    #[serde(skip_serializing_if = "DelayPlace::is_none")]
    pub spread_place: DelayPlace,
    /// Kernel in training with learned delays: `gauss` (the default), `max`, `linear`, or one that
    /// the program has registered with
    /// [`models::register_kernel`](crate::models::register_kernel).
    pub kernel: String,
    /// Number of kernel elements per synapse, each with its own weight and delay, from 1 to 256; 1
    /// by default.
    pub count: usize,
    /// Synapses among the neurons of every hidden layer; none by default. `{}` has the delays of
    /// the other synapses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recurrent: Option<Recurrent>,
    /// Number of neurons of each input that a neuron is connected to, drawn with the seed. 0, the
    /// default, connects every neuron to all of them.
    pub fan_in: usize,
    /// Share of the synapses of every connection that are kept, above 0 and at most 1: those with
    /// the largest weights at the start of a run, where `train --from` has the weights of a trained
    /// model. The others are absent: their weights are and stay 0, and a model file is without
    /// them. 1 by default.
    pub density: f64,
    /// Probability that a hidden neuron is silenced for a whole sample in training, in [0, 1); 0.4
    /// by default.
    pub dropout: f64,
    /// Whether the hidden layers have batch norm; `true` by default.
    pub norm: bool,
    /// Whether each neuron, and each class of the readout, has a bias: a number that is added to
    /// its input at every step. Biases start uniform in plus and minus 1 / sqrt(number of weights
    /// of the neuron), and learn with the rate and the `l2` of the weights. A hidden layer with a
    /// norm has none; `false` by default.
    pub bias: bool,
    /// Function that turns the readout's membrane into class scores: `softmax_sum` (the default),
    /// `mean`, `max` or `membrane_sum`.
    pub loss: String,
    /// Loss of the class scores, for targets of 1 at the class of an item and 0 elsewhere:
    /// `cross_entropy` of the softmax of the scores (the default), `mean_square`, or
    /// `binary_cross_entropy` of the logistic function of each score.
    pub objective: String,
    /// Time constant of the readout in ms, at least one step; 10.05 by default.
    pub readout_tau_ms: f64,
    /// The neurons of the hidden layers.
    pub neuron: Neuron,
    /// The surrogate derivative of a spike; `atan` with `alpha` = 5 by default.
    pub surrogate: Surrogate,
    /// Settings of single hidden layers, in the order of `hidden`. A layer without a table, or a
    /// field that its table omits, has the setting of the network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerTable>,
    /// Settings of the readout.
    #[serde(skip_serializing_if = "ReadoutTable::is_empty")]
    pub readout: ReadoutTable,
}

/// Whether the delays are learned, fixed or absent. Fixed and given delays are whole steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Delays {
    /// The delays are trained.
    Learned,
    /// The delays are drawn with the seed, rounded to whole steps, and stay fixed.
    #[serde(alias = "random")]
    Fixed,
    /// The delays are those of `network.delay_file`, or of the run that `train --from` names,
    /// rounded to whole steps, and stay fixed.
    Given,
    /// There are no delays.
    Zero,
}

/// Where the delays of a connection sit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DelayPlace {
    /// Every synapse has a delay, and every kernel element of a synapse.
    #[default]
    Synaptic,
    /// Every input has a delay: its spikes reach all outputs at once.
    Axonal,
    /// Every output has a delay, which is that of all its inputs.
    Dendritic,
    /// The connection has one delay.
    Shared,
    /// Nothing is delayed; `max_delay` does not apply.
    None,
}

impl DelayPlace {
    fn is_synaptic(&self) -> bool {
        *self == Self::Synaptic
    }

    fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// The place in the network, which has no place without delays.
    pub(crate) fn place(self) -> Place {
        match self {
            Self::Synaptic | Self::None => Place::Synaptic,
            Self::Axonal => Place::Axonal,
            Self::Dendritic => Place::Dendritic,
            Self::Shared => Place::Shared,
        }
    }
}

/// The neurons of the hidden layers.
///
/// Fields that a kind does not have, but another kind has, are ignored. Missing parameters have the
/// neuron's defaults:
///
/// * `tau_ms`: time constant of the membrane in ms, at least one step for `lif`, longer than one
///   step for all others; 10.05, or 24 for `se-adlif`, by default;
/// * `threshold`: membrane at which a neuron spikes, above the resting potential; 1 by default. A
///   comparison that excludes equality, as in some sources, has other results only where a membrane
///   equals the threshold in every bit;
/// * `reset`: effect of a spike on the membrane. `hard`, the default, sets it to `v_reset`; `soft`
///   subtracts the threshold;
/// * `v_reset`: membrane after a hard reset and at rest; 0 by default;
/// * `detach`: whether the gradient does not pass through the reset; `true` by default;
/// * `decay_input`: whether the input is multiplied by step / tau (`lif`, `plif`, `cuba-lif`,
///   `alif`); `false` by default;
/// * `tau_syn_ms`: time constant of the synaptic current in ms, longer than one step (`cuba-lif`);
///   20 by default;
/// * `tau_w_ms`: time constant of the adaptation in ms, longer than one step (`adlif`, `alif`,
///   `se-adlif`, `silif`); 100, or 250 for `se-adlif`, by default;
/// * `a`, `b`: increase of the adaptation per unit of the membrane and per spike (`adlif`,
///   `se-adlif`, `silif`); 0.1 and 0.5, or 0.5 and 1 for `se-adlif` and `silif`, by default;
/// * `bounds`: within what these parameters learn, unless it is `none`. The default of `adlif` is
///   `stable`: `a` is between 0 and 1, where the neuron is stable with all time constants. Its
///   bounds `adlif` (Bittar and Garner, with `a` from 0 in place of -1) and `cadlif` (Deckers et
///   al.) also keep `b` between 0 and 2, the time constant of the membrane between 5.52 and 25.5
///   steps (`cadlif`: 1.5625 and 25), and that of the adaptation between 30.5 and 120.5 steps
///   (25 and 100). The default of `silif` has the same `a` and `b`; that of `se-adlif` too, and
///   time constants of 5.52 to 25.5 and 60.5 to 300.5 steps;
/// * `a_min`, `a_max`, `b_min`, `b_max`: smallest and largest values of `a` and `b`, in place of
///   those of `bounds`;
/// * `q`: factor of `a` and `b` (`se-adlif`); 120 by default;
/// * `beta`: increase of the threshold per spike, at least 0 (`alif`); 0.25 by default;
/// * `period_ms`: period of the oscillation in ms, at least one step (`c-silif`); 100 by default;
/// * `gain`: factor of the input (`c-silif`); 1 by default.
///
/// With `per_neuron`, a parameter that learns may be a range: `tau_ms = { from = 20, to = 100 }`.
/// Every neuron then starts with a number of its own from the range, drawn with the seed. The draws
/// are uniform in the number; with `uniform_in = "rate"`, in the inverse of a time constant, and so
/// in the decay `1 - step / tau`; with `uniform_in = "raw"`, in the raw parameter that the neuron
/// learns, which for `silif` is the logarithm of a rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Neuron {
    /// Neuron model: `lif` (the default), `plif`, `if`, `cuba-lif`, `adlif`, `alif`, `se-adlif`,
    /// `silif`, `c-silif`, or one that the program has registered with
    /// [`models::register_neuron`](crate::models::register_neuron).
    #[serde(default = "lif")]
    pub kind: String,
    /// Whether every neuron learns its own parameters, or one set serves the whole layer; `false`
    /// by default.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub per_neuron: bool,
    /// The states of the neurons before the first step of a sample; `rest` by default.
    #[serde(default, skip_serializing_if = "InitialState::is_rest")]
    pub initial_state: InitialState,
    /// Parameters of the neuron.
    #[serde(flatten)]
    pub parameters: BTreeMap<String, Setting>,
}

impl Neuron {
    /// The ranges of parameters that the kind has.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (&str, Range)> {
        let own = models::neuron_parameters(&self.kind).unwrap_or_default();
        self.parameters.iter().filter_map(|(name, value)| match value {
            Setting::Range(range) if own.iter().any(|p| p.name == name) => {
                Some((name.as_str(), *range))
            }
            _ => None,
        })
    }

    /// The parameters as values of `polychron_core`.
    pub(crate) fn given(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        values(&self.parameters)
    }

    /// The same neurons with all fields that the kind has, and no others; unchanged if the kind is
    /// unknown.
    pub(crate) fn complete(mut self) -> Self {
        if let Some(own) = models::neuron_parameters(&self.kind) {
            self.parameters = complete(self.parameters, own);
        }
        self
    }
}

/// The states of the neurons of a layer before the first step of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum InitialState {
    /// Neurons start at rest.
    #[default]
    Rest,
    /// Every component of every state is drawn from [0, 1): in training anew for every sample, with
    /// the seed; in evaluation once for all samples, with a seed of its own. There is no model file
    /// of such a network.
    Random,
}

impl InitialState {
    fn is_rest(&self) -> bool {
        *self == Self::Rest
    }
}

/// Settings as values of `polychron_core`.
pub(super) fn values(
    settings: &BTreeMap<String, Setting>,
) -> impl Iterator<Item = (&str, Value<'_>)> {
    settings.iter().map(|(name, value)| {
        let value = match value {
            Setting::Flag(flag) => Value::Flag(*flag),
            Setting::Number(number) => Value::Number(*number),
            Setting::Word(word) => Value::Word(word),
            Setting::Range(range) => Value::Number(range.at(0.5)),
        };
        (name.as_str(), value)
    })
}

/// The settings of these parameters, with defaults in place of missing ones. An infinite default,
/// which is a bound that is absent, is left out: JSON has no infinity.
pub(super) fn complete(
    mut given: BTreeMap<String, Setting>,
    parameters: &[Parameter],
) -> BTreeMap<String, Setting> {
    let mut setting = |p: &Parameter| {
        let absent = matches!(p.default(), Value::Number(bound) if bound.is_infinite());
        let default = (!absent).then(|| p.default().into());
        given.remove(p.name).filter(|value| *value != p.default().into()).or(default)
    };
    parameters.iter().filter_map(|p| Some((p.name.into(), setting(p)?))).collect()
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(
    untagged,
    expecting = "expected a number, a boolean, a string, or a range { from = .., to = .. }"
)]
pub enum Setting {
    /// A boolean.
    Flag(bool),
    /// A number.
    Number(f64),
    /// A word.
    Word(String),
    /// Numbers of which every neuron draws one before training.
    Range(Range),
}

/// Numbers of which every neuron of a layer draws one before training, with the seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The smallest number.
    pub from: f64,
    /// The largest number.
    pub to: f64,
    /// The quantity in which the draws are uniform; `value` by default.
    #[serde(default, skip_serializing_if = "Scale::is_value")]
    pub uniform_in: Scale,
}

/// The quantity in which draws are uniform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// The number itself.
    #[default]
    Value,
    /// The inverse of a time constant, and so the decay `1 - step / tau`.
    Rate,
    /// The raw parameter that the neuron learns.
    Raw,
}

impl From<Value<'_>> for Setting {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Flag(flag) => Self::Flag(flag),
            Value::Number(number) => Self::Number(number),
            Value::Word(word) => Self::Word(word.into()),
        }
    }
}

impl Range {
    /// The number below which a share of the draws lies, unless these are uniform in the raw
    /// parameter.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let Self { from, to, uniform_in } = *self;
        let between = |from: f64, to: f64| from + share * (to - from);
        let number = match uniform_in {
            Scale::Rate => 1.0 / between(1.0 / from, 1.0 / to),
            Scale::Value | Scale::Raw => between(from, to),
        };
        // Rounding must not lead outside, where a neuron may not exist.
        number.max(from).min(to)
    }
}

impl Scale {
    fn is_value(&self) -> bool {
        *self == Self::Value
    }
}

/// The surrogate derivative of a spike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Surrogate {
    /// Name of the surrogate; `atan` by default.
    #[serde(default = "atan")]
    pub kind: String,
    /// Parameters of the surrogate. Missing ones have the surrogate's defaults.
    #[serde(flatten)]
    pub parameters: BTreeMap<String, f64>,
}

impl PartialEq for Network {
    fn eq(&self, other: &Self) -> bool {
        let fields = |network: &Self| Table::try_from(network.complete().ok()?).ok();
        fields(self).is_some_and(|own| Some(own) == fields(other))
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            hidden: vec![128, 128],
            max_delay: None,
            max_delay_ms: None,
            delays: Delays::Learned,
            delay_file: None,
            delay_place: DelayPlace::Synaptic,
            connect: Connect::Dense,
            spread_place: DelayPlace::None,
            kernel: "gauss".into(),
            count: 1,
            recurrent: None,
            fan_in: 0,
            density: 1.0,
            dropout: 0.4,
            norm: true,
            bias: false,
            loss: "softmax_sum".into(),
            objective: "cross_entropy".into(),
            readout_tau_ms: 10.05,
            neuron: Neuron::default(),
            surrogate: Surrogate { kind: atan(), parameters: [("alpha".into(), 5.0)].into() },
            layers: Vec::new(),
            readout: ReadoutTable::default(),
        }
    }
}

impl Default for Neuron {
    fn default() -> Self {
        Self {
            kind: lif(),
            per_neuron: false,
            initial_state: InitialState::Rest,
            parameters: BTreeMap::new(),
        }
    }
}

fn lif() -> String {
    "lif".into()
}

fn atan() -> String {
    "atan".into()
}
