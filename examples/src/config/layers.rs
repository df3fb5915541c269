use super::connect::Connect;
use super::network::{DelayPlace, Delays, Network, Neuron, Surrogate};
use super::require;
use crate::error::{Error, Result, fail};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// Longest delay in steps if a configuration gives none.
const MAX_DELAY: usize = 24;

/// Settings of a single hidden layer. Fields that are absent have the setting of the network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct LayerTable {
    /// The inputs; the previous layer by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// Synapses among the neurons of the layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recurrent: Option<Recurrent>,
    /// Longest delay in steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<usize>,
    /// Longest delay in ms instead of `max_delay`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay_ms: Option<f64>,
    /// Whether the delays are learned, fixed or absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delays: Option<Delays>,
    /// Where the delays sit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_place: Option<DelayPlace>,
    /// Which neurons are connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Connect>,
    /// Kernel in training with learned delays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Number of kernel elements per synapse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// Probability that a neuron is silenced for a whole sample in training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Whether the layer has batch norm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<bool>,
    /// Whether each neuron has a bias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bias: Option<bool>,
    /// Fields of `network.neuron` that this layer changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "cli",
        schemars(with = "Option<std::collections::BTreeMap<String, f64>>")
    )]
    pub neuron: Option<Table>,
    /// The surrogate derivative of a spike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surrogate: Option<Surrogate>,
}

/// Settings of the readout. Fields that are absent have the setting of the network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ReadoutTable {
    /// The inputs; the last hidden layer by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// Longest delay in steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<usize>,
    /// Longest delay in ms instead of `max_delay`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay_ms: Option<f64>,
    /// Whether the delays are learned, fixed or absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delays: Option<Delays>,
    /// Where the delays sit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_place: Option<DelayPlace>,
    /// Which neurons are connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Connect>,
    /// Kernel in training with learned delays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Number of kernel elements per synapse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// Whether each class has a bias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bias: Option<bool>,
}

impl ReadoutTable {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An input of a layer. Fields that are absent have the setting of the layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Input {
    /// Where the input comes from; `"previous"` by default.
    #[serde(skip_serializing_if = "From::is_previous")]
    pub from: From,
    /// Longest delay in steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<usize>,
    /// Longest delay in ms instead of `max_delay`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay_ms: Option<f64>,
    /// Whether the delays are learned, fixed or absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delays: Option<Delays>,
    /// Where the delays sit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_place: Option<DelayPlace>,
    /// Which neurons are connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Connect>,
    /// Kernel in training with learned delays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Number of kernel elements per synapse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
}

impl Input {
    /// The field that gives the longest delay.
    fn delay_field(&self) -> &'static str {
        if self.max_delay_ms.is_some() { "max_delay_ms" } else { "max_delay" }
    }
}

/// Synapses among the neurons of a layer. A spike arrives one step later, plus the delay. Fields
/// that are absent have the setting of the layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Recurrent {
    /// Longest delay in steps, without the one step that every spike takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<usize>,
    /// Longest delay in ms instead of `max_delay`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay_ms: Option<f64>,
    /// Whether the delays are learned, fixed or absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delays: Option<Delays>,
    /// Where the delays sit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_place: Option<DelayPlace>,
    /// Kernel in training with learned delays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Number of kernel elements per synapse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// Probability that a neuron hears none of the others for a whole sample in training; 0 by
    /// default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
}

impl Recurrent {
    fn input(self) -> Input {
        let Self { max_delay, max_delay_ms, delays, delay_place, kernel, count, .. } = self;
        let from = From::Name(From::ITSELF.into());
        let connect = Some(Connect::default());
        Input { from, max_delay, max_delay_ms, delays, delay_place, connect, kernel, count }
    }
}

/// Where an input comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "from is not \"previous\", \"input\" or the index of a layer")]
pub enum From {
    /// The hidden layer with this index, counted from 0.
    Layer(usize),
    /// `"previous"`, the previous layer, or `"input"`, the input of the network.
    Name(String),
}

impl Default for From {
    fn default() -> Self {
        Self::Name("previous".into())
    }
}

impl From {
    /// The name of the recurrent input of a layer.
    const ITSELF: &str = "itself";

    /// Whether this is the recurrent input of a layer.
    pub(crate) fn is_itself(&self) -> bool {
        matches!(self, Self::Name(name) if name == Self::ITSELF)
    }

    fn is_previous(&self) -> bool {
        *self == Self::default()
    }
}

/// The settings of one layer: those of its table, else those of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSettings {
    /// The inputs, the recurrent one last, with every field present except that only one of
    /// `max_delay` and `max_delay_ms` is.
    pub inputs: Vec<Input>,
    /// [`Recurrent::dropout`]
    pub recurrent_dropout: f64,
    /// [`Network::dropout`]
    pub dropout: f64,
    /// [`Network::norm`]
    pub norm: bool,
    /// [`Network::bias`]
    pub bias: bool,
    /// [`Network::neuron`]
    pub neuron: Neuron,
    /// [`Network::surrogate`]
    pub surrogate: Surrogate,
}

impl Network {
    /// The settings of layer `l`; those of the readout for the number of hidden layers.
    ///
    /// # Errors
    /// Names a field of `network.layers` whose value is invalid.
    pub fn layer(&self, l: usize) -> Result<LayerSettings> {
        let own = self.readout.clone();
        let ReadoutTable { inputs, max_delay, max_delay_ms, delays, bias, .. } = own;
        let ReadoutTable { delay_place, connect, kernel, count, .. } = own;
        let readout = LayerTable {
            inputs,
            max_delay,
            max_delay_ms,
            delays,
            delay_place,
            connect,
            kernel,
            count,
            bias,
            ..LayerTable::default()
        };
        let own = match self.layers.get(l) {
            _ if l >= self.hidden.len() => readout,
            table => table.cloned().unwrap_or_default(),
        };
        let mut inputs = if own.inputs.is_empty() { vec![Input::default()] } else { own.inputs };
        let recurrent = own.recurrent.or_else(|| self.recurrent.clone());
        let recurrent = recurrent.filter(|_| l < self.hidden.len());
        let recurrent_dropout = recurrent.as_ref().and_then(|own| own.dropout).unwrap_or(0.0);
        inputs.extend(recurrent.map(Recurrent::input));
        let whole = |input: Input| {
            let longest = [
                (input.max_delay, input.max_delay_ms),
                (own.max_delay, own.max_delay_ms),
                (self.max_delay, self.max_delay_ms),
            ];
            let longest = longest.into_iter().find(|given| *given != (None, None));
            let (max_delay, max_delay_ms) = longest.unwrap_or((Some(MAX_DELAY), None));
            Input {
                from: input.from,
                max_delay,
                max_delay_ms,
                delays: input.delays.or(own.delays).or(Some(self.delays)),
                delay_place: input.delay_place.or(own.delay_place).or(Some(self.delay_place)),
                connect: input.connect.or(own.connect).or(Some(self.connect)),
                kernel: input.kernel.or_else(|| own.kernel.clone()).or(Some(self.kernel.clone())),
                count: input.count.or(own.count).or(Some(self.count)),
            }
        };
        let neuron = match &own.neuron {
            Some(changes) => {
                let mut table = Table::try_from(&self.neuron)?;
                table.extend(changes.clone());
                let place = format!("network.layers[{l}].neuron");
                Neuron::deserialize(table).map_err(|e| Error::wrap(e).at(place))?
            }
            None => self.neuron.clone(),
        };
        Ok(LayerSettings {
            inputs: inputs.into_iter().map(whole).collect(),
            recurrent_dropout,
            dropout: own.dropout.unwrap_or(self.dropout),
            norm: own.norm.unwrap_or(self.norm),
            bias: own.bias.unwrap_or(self.bias),
            neuron,
            surrogate: own.surrogate.unwrap_or_else(|| self.surrogate.clone()),
        })
    }

    /// The longest delay of an input in steps, 0 if it is not delayed. `input` is connection `c` of
    /// layer `l`, as [`Network::layer`] returns it.
    ///
    /// # Errors
    /// It is given in steps and in ms, or is not a whole number of steps.
    pub(crate) fn max_delay(&self, l: usize, c: usize, input: &Input, dt_ms: u32) -> Result<usize> {
        if input.delay_place == Some(DelayPlace::None) || input.delays == Some(Delays::Zero) {
            return Ok(0);
        }
        let Some(ms) = input.max_delay_ms else {
            return Ok(input.max_delay.unwrap_or(MAX_DELAY));
        };
        let field = || self.place(l, c, "max_delay_ms");
        if input.max_delay.is_some() {
            let steps = self.place(l, c, "max_delay");
            fail!("{steps} and {} exclude each other; remove one", field())
        }
        if !(ms.is_finite() && ms >= 0.0) {
            fail!("{} = {ms} is not a length of time", field())
        }
        let steps = ms / f64::from(dt_ms);
        if steps.fract() != 0.0 {
            let [below, above] = [steps.floor(), steps.ceil()].map(|n| n * f64::from(dt_ms));
            let problem = format!("is not a multiple of data.dt_ms = {dt_ms}");
            fail!("{} = {ms} {problem}; use {below} or {above}", field())
        }
        Ok(steps as usize)
    }

    /// Whether a connection has such delays.
    pub(crate) fn has_delays(&self, delays: Delays) -> bool {
        let layers = (0..=self.hidden.len()).filter_map(|l| self.layer(l).ok());
        layers.flat_map(|layer| layer.inputs).any(|input| input.delays == Some(delays))
    }

    /// The same network with all fields of its neurons, in every layer that changes one, and a
    /// longest delay.
    pub(crate) fn complete(&self) -> Result<Self> {
        let mut network = self.clone();
        for (l, own) in network.layers.iter_mut().enumerate() {
            if let Some(table) = &mut own.neuron {
                *table = Table::try_from(self.layer(l)?.neuron.complete())?;
            }
        }
        network.neuron = network.neuron.complete();
        if (network.max_delay, network.max_delay_ms) == (None, None) {
            network.max_delay = Some(MAX_DELAY);
        }
        Ok(network)
    }

    /// Checks the sizes of all layers. `dt_ms` is the length of a step.
    pub(super) fn check_layers(&self, dt_ms: u32) -> Result<()> {
        let (tables, layers) = (self.layers.len(), self.hidden.len());
        let problem = format!("is above {layers}, the number of layers of network.hidden");
        require(tables <= layers, "tables of network.layers", tables, &problem)?;
        for l in 0..=layers {
            let LayerSettings { inputs, recurrent_dropout, dropout, norm, bias, .. } =
                self.layer(l)?;
            for (c, dropout) in [(0, dropout), (inputs.len(), recurrent_dropout)] {
                let holds = (0.0..1.0).contains(&dropout);
                let last = c.min(inputs.len() - 1);
                require(holds, &self.place(l, last, "dropout"), dropout, "is not in [0, 1)")?;
            }
            let both = bias && norm && l < layers;
            let problem = "needs norm = false: a norm has a bias";
            require(!both, &self.place(l, 0, "bias"), bias, problem)?;
            for (c, input) in inputs.iter().enumerate() {
                self.check_connect(l, c, input.connect.unwrap_or_default())?;
                let max_delay = self.max_delay(l, c, input, dt_ms)?;
                let unit = if input.max_delay_ms.is_some() { dt_ms as usize } else { 1 };
                let (field, value, problem) = match (max_delay, input.count.unwrap_or(0)) {
                    (0..=16384, 1..=256) => continue,
                    (0..=16384, 0) => ("count", 0, "is not at least 1"),
                    (0..=16384, count) => ("count", count, "is above 256"),
                    _ => (
                        input.delay_field(),
                        max_delay.saturating_mul(unit),
                        "is above 16384 steps",
                    ),
                };
                require(false, &self.place(l, c, field), value, problem)?;
            }
        }
        Ok(())
    }

    /// The path of a field of connection `c` of layer `l` as it was written: of the connection, the
    /// layer or the network. `field` may be that of a table: `neuron.tau_ms`.
    pub(crate) fn place(&self, l: usize, c: usize, field: &str) -> String {
        let (name, table) = match self.layers.get(l) {
            _ if l >= self.hidden.len() => ("readout".into(), Table::try_from(&self.readout)),
            table => (format!("layers[{l}]"), table.map_or(Ok(Table::new()), Table::try_from)),
        };
        let table = Value::Table(table.unwrap_or_default());
        let has =
            |value: &Value| field.split('.').try_fold(value, |value, key| value.get(key)).is_some();
        let inputs = table.get("inputs").and_then(Value::as_array).map_or(1, Vec::len).max(1);
        let recurrent = self.recurrent.as_ref().and_then(|own| Value::try_from(own).ok());
        if c == inputs && table.get("recurrent").is_some_and(has) {
            format!("network.{name}.recurrent.{field}")
        } else if c == inputs
            && table.get("recurrent").is_none()
            && recurrent.is_some_and(|r| has(&r))
        {
            format!("network.recurrent.{field}")
        } else if table.get("inputs").and_then(|inputs| inputs.get(c)).is_some_and(has) {
            format!("network.{name}.inputs[{c}].{field}")
        } else if has(&table) {
            format!("network.{name}.{field}")
        } else {
            format!("network.{field}")
        }
    }

    /// The longest delay of all layers in steps of `dt_ms`, and the path of its field.
    pub(crate) fn longest_delay(&self, dt_ms: u32) -> (usize, String) {
        let mut longest = None;
        for (l, layer) in (0..=self.hidden.len()).filter_map(|l| Some((l, self.layer(l).ok()?))) {
            for (c, input) in layer.inputs.iter().enumerate() {
                let delay = self.max_delay(l, c, input, dt_ms).ok();
                longest = longest.max(delay.map(|delay| (delay, l, c, input.delay_field())));
            }
        }
        let (delay, l, c, field) = longest.unwrap_or((0, 0, 0, "max_delay"));
        (delay, self.place(l, c, field))
    }
}
