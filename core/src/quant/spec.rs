use crate::format::{
    Decision, FormatError, Input, MAX_LAYERS, MAX_LENGTH, MAX_TAPS, MAX_WIDTH, Scheme,
};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A network with the contents of a model file.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec<W> {
    /// The length of a tick in microseconds.
    pub tick_us: u32,
    /// What a channel receives in every tick.
    pub input: Input,
    /// The number of channels.
    pub channels: usize,
    /// How the membranes of the readout become scores.
    pub decision: Decision,
    /// One name per class, or none at all.
    pub labels: Vec<String>,
    /// The layers, the readout last.
    pub layers: Vec<LayerSpec<W>>,
}

/// A layer: synapses and the neurons behind them.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSpec<W> {
    /// The number of neurons, or of classes in the readout.
    pub outputs: usize,
    /// One more than the longest delay.
    pub taps: usize,
    /// The number of ticks by which this layer lengthens an utterance.
    pub padding: usize,
    /// The synapses, in any order. Groups leave out those of weight 0.
    pub synapses: Vec<SynapseSpec<W>>,
    /// One neuron per output; none in the readout.
    pub neurons: Vec<NeuronSpec>,
    /// How a membrane decays in a tick.
    pub decay: Decay,
    /// Whether a spike subtracts the threshold; otherwise it sets the membrane to 0.
    pub soft: bool,
    /// For the softmax of the integer readout: a membrane times `gain / 2^gain_shift` is in units
    /// of 1/32 octave. `(gain, gain_shift)`.
    pub gain: (u32, u8),
    /// How the spikes of the inputs are delivered.
    pub scheme: Scheme,
}

/// A synapse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SynapseSpec<W> {
    /// The presynaptic neuron or channel.
    pub source: usize,
    /// The postsynaptic neuron.
    pub target: usize,
    /// The delay in ticks.
    pub delay: usize,
    /// What a spike adds to the membrane.
    pub weight: W,
}

/// A neuron. The integer engine needs whole numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NeuronSpec {
    /// The membrane at which the neuron spikes.
    pub threshold: f64,
    /// What every tick adds; in the integer engine before a shift by `bias_shift`.
    pub bias: f64,
}

/// How a membrane decays in a tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decay {
    /// In the integer engine: `v <- (v factor + bias 2^bias_shift) >> shift`.
    Fixed {
        /// The decay factor times `2^shift`; below `2^shift`.
        factor: u16,
        /// At most 15.
        shift: u8,
        /// At most 15.
        bias_shift: u8,
    },
    /// In the `f32` engine: `v <- v decay + bias`.
    Float(f32),
}

/// Why a network cannot become a model file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SpecError {
    /// The number of channels, layers or labels is out of range, or a label is invalid.
    Field {
        /// The field, with its limit.
        what: &'static str,
        /// Its value; the index of an invalid label.
        found: usize,
    },
    /// A size, an index or a number of a layer is out of range.
    Layer {
        /// The layer.
        layer: usize,
        /// The field, with its limit.
        what: &'static str,
        /// Its value.
        found: f64,
    },
    /// The file would be longer than [`MAX_LENGTH`].
    Length {
        /// The layer that does not fit; the number of layers for the labels.
        layer: usize,
    },
    /// The file would be refused.
    Format(FormatError),
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field { what, found } => write!(f, "{what}: {found}"),
            Self::Layer { layer, what, found } => write!(f, "layer {layer}: {what}: {found}"),
            Self::Length { layer } => {
                write!(f, "layer {layer}: the model file would be longer than {MAX_LENGTH} bytes")
            }
            Self::Format(error) => write!(f, "the model file would be invalid: {error}"),
        }
    }
}

impl core::error::Error for SpecError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Format(error) => Some(error),
            _ => None,
        }
    }
}

impl<W> ModelSpec<W> {
    /// Checks sizes, indices and labels. Numbers are checked where they are written.
    pub(super) fn check(&self) -> Result<(), SpecError> {
        let classes = self.layers.last().map_or(0, |layer| layer.outputs);
        let names = self.labels.len();
        let broken = self.labels.iter().position(|label| label.contains('\n'));
        for (what, fits, found) in [
            ("channels", (1..=MAX_WIDTH).contains(&self.channels), self.channels),
            ("layers", (1..=MAX_LAYERS).contains(&self.layers.len()), self.layers.len()),
            ("labels", names == 0 || names == classes, names),
            ("label with a line feed", broken.is_none(), broken.unwrap_or(0)),
        ] {
            if !fits {
                return Err(SpecError::Field { what, found });
            }
        }
        let mut inputs = self.channels;
        for (l, layer) in self.layers.iter().enumerate() {
            let error =
                |what, found: usize| SpecError::Layer { layer: l, what, found: found as f64 };
            layer.check(inputs, l + 1 == self.layers.len(), error)?;
            inputs = layer.outputs;
        }
        Ok(())
    }
}

impl<W> LayerSpec<W> {
    fn check(
        &self,
        inputs: usize,
        last: bool,
        error: impl Fn(&'static str, usize) -> SpecError,
    ) -> Result<(), SpecError> {
        let neurons = if last { 0 } else { self.outputs };
        let (Scheme::Groups { list } | Scheme::Ring { list }) = self.scheme;
        for (what, fits, found) in [
            ("outputs", (1..=MAX_WIDTH).contains(&self.outputs), self.outputs),
            ("taps", (1..=MAX_TAPS).contains(&self.taps), self.taps),
            ("padding", self.padding < MAX_TAPS, self.padding),
            ("neurons", self.neurons.len() == neurons, self.neurons.len()),
            ("entries of a list", list < 255, list.into()),
        ] {
            if !fits {
                return Err(error(what, found));
            }
        }
        for s in &self.synapses {
            for (what, limit, found) in [
                ("source of a synapse", inputs, s.source),
                ("target of a synapse", self.outputs, s.target),
                ("delay of a synapse", self.taps, s.delay),
            ] {
                if found >= limit {
                    return Err(error(what, found));
                }
            }
        }
        Ok(())
    }
}
