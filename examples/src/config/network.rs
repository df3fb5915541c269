use super::layers::{LayerTable, ReadoutTable};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The network: hidden layers and a readout.
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
    /// Settings of single hidden layers, in the order of `hidden`. A layer without a table, or a
    /// field that its table omits, has the setting of the network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerTable>,
    /// Settings of the readout.
    #[serde(skip_serializing_if = "ReadoutTable::is_empty")]
    pub readout: ReadoutTable,
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
            layers: Vec::new(),
            readout: ReadoutTable::default(),
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

fn atan() -> String {
    "atan".into()
}
