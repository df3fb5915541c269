use super::network::{Network, Neuron, Surrogate};
use super::require;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// Settings of a single hidden layer. Fields that are absent have the setting of the network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct LayerTable {
    /// The inputs; the previous layer by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// Longest delay in steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<usize>,
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
    /// Kernel in training with learned delays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Number of kernel elements per synapse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
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
    /// Kernel in training with learned delays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Number of kernel elements per synapse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
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
    fn is_previous(&self) -> bool {
        *self == Self::default()
    }
}

/// The settings of one layer: those of its table, else those of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSettings {
    /// The inputs, with every field present.
    pub inputs: Vec<Input>,
    /// [`Network::dropout`]
    pub dropout: f64,
    /// [`Network::norm`]
    pub norm: bool,
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
        let ReadoutTable { inputs, max_delay, kernel, count } = self.readout.clone();
        let readout = LayerTable { inputs, max_delay, kernel, count, ..LayerTable::default() };
        let own = match self.layers.get(l) {
            _ if l >= self.hidden.len() => readout,
            table => table.cloned().unwrap_or_default(),
        };
        let inputs = if own.inputs.is_empty() { vec![Input::default()] } else { own.inputs };
        let whole = |input: Input| Input {
            from: input.from,
            max_delay: input.max_delay.or(own.max_delay).or(Some(self.max_delay)),
            kernel: input.kernel.or_else(|| own.kernel.clone()).or(Some(self.kernel.clone())),
            count: input.count.or(own.count).or(Some(self.count)),
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
            dropout: own.dropout.unwrap_or(self.dropout),
            norm: own.norm.unwrap_or(self.norm),
            neuron,
            surrogate: own.surrogate.unwrap_or_else(|| self.surrogate.clone()),
        })
    }

    /// The same network with all fields of its neurons, in every layer that changes one.
    pub(crate) fn complete(&self) -> Result<Self> {
        let mut network = self.clone();
        for (l, own) in network.layers.iter_mut().enumerate() {
            if let Some(table) = &mut own.neuron {
                *table = Table::try_from(self.layer(l)?.neuron.complete())?;
            }
        }
        network.neuron = network.neuron.complete();
        Ok(network)
    }

    /// Checks the sizes of all layers.
    pub(super) fn check_layers(&self) -> Result<()> {
        let (tables, layers) = (self.layers.len(), self.hidden.len());
        let problem = format!("is above {layers}, the number of layers of network.hidden");
        require(tables <= layers, "tables of network.layers", tables, &problem)?;
        for l in 0..=layers {
            let LayerSettings { inputs, dropout, .. } = self.layer(l)?;
            let holds = (0.0..1.0).contains(&dropout);
            require(holds, &self.place(l, 0, "dropout"), dropout, "is not in [0, 1)")?;
            for (c, Input { max_delay, count, .. }) in inputs.into_iter().enumerate() {
                let (max_delay, count) = (max_delay.unwrap_or(0), count.unwrap_or(0));
                let (field, value, problem) = match (max_delay, count) {
                    (0..=16384, 1..=256) => continue,
                    (0..=16384, 0) => ("count", count, "is not at least 1"),
                    (0..=16384, _) => ("count", count, "is above 256"),
                    _ => ("max_delay", max_delay, "is above 16384"),
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
        if table.get("inputs").and_then(|inputs| inputs.get(c)).is_some_and(has) {
            format!("network.{name}.inputs[{c}].{field}")
        } else if has(&table) {
            format!("network.{name}.{field}")
        } else {
            format!("network.{field}")
        }
    }

    /// The longest delay of all layers in steps, and the path of its field.
    pub(crate) fn longest_delay(&self) -> (usize, String) {
        let mut longest = None;
        for (l, layer) in (0..=self.hidden.len()).filter_map(|l| Some((l, self.layer(l).ok()?))) {
            for (c, input) in layer.inputs.iter().enumerate() {
                longest = longest.max(input.max_delay.map(|delay| (delay, l, c)));
            }
        }
        let (delay, l, c) = longest.unwrap_or((self.max_delay, 0, 0));
        (delay, self.place(l, c, "max_delay"))
    }
}
