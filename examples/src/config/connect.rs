use super::network::Network;
use super::require;
use crate::error::{Result, at, fail};
use polychron_core::connectivity::{Connectivity, Conv};
use serde::{Deserialize, Serialize};

/// Which neurons are connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Connect {
    /// Every input with every output.
    #[default]
    Dense,
    /// The inputs near the position of an output, with weights and delays that all positions share.
    Conv(ConvTable),
}

/// A convolution over the channels of an input: neurons lie at positions, with the same number of
/// maps at each. The layer has `maps` neurons at each of
/// `(positions + 2 padding - width) / stride + 1` positions, rounded down; neuron `maps p + m` is
/// map `m` at position `p`. The input has as many maps as its own convolution, else 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConvTable {
    /// Positions of the kernel.
    pub width: usize,
    /// Number of neurons at every position of the layer.
    pub maps: usize,
    /// Positions from one kernel to the next; 1 by default.
    #[serde(default = "one")]
    pub stride: usize,
    /// Positions without spikes that are added on both sides of the input; 0 by default.
    #[serde(default)]
    pub padding: usize,
}

fn one() -> usize {
    1
}

impl Connect {
    pub(super) fn is_dense(&self) -> bool {
        *self == Self::Dense
    }
}

impl Network {
    /// The same network with dense connections.
    pub(crate) fn connected_densely(mut self) -> Self {
        self.connect = Connect::Dense;
        self.readout.connect = None;
        self.readout.inputs.iter_mut().for_each(|input| input.connect = None);
        for layer in &mut self.layers {
            layer.connect = None;
            layer.inputs.iter_mut().for_each(|input| input.connect = None);
        }
        self
    }

    /// Whether a connection is not dense.
    pub(super) fn has_convolutions(&self) -> bool {
        let layers = (0..=self.hidden.len()).filter_map(|l| self.layer(l).ok());
        layers.flat_map(|layer| layer.inputs).any(|input| input.connect != Some(Connect::Dense))
    }

    /// Checks the numbers of a connection, without the sizes of its layers.
    pub(super) fn check_connect(&self, l: usize, c: usize, connect: Connect) -> Result<()> {
        let Connect::Conv(ConvTable { width, maps, stride, padding }) = connect else {
            return Ok(());
        };
        let place = self.place(l, c, "connect");
        for (field, value) in [("width", width), ("maps", maps), ("stride", stride)] {
            let (field, problem) = (format!("{place}.conv.{field}"), "is not from 1 to 16384");
            require((1..=16384).contains(&value), &field, value, problem)?;
        }
        let (field, problem) = (format!("{place}.conv.padding"), "is not below the width");
        require(padding < width, &field, padding, problem)
    }

    /// Which of the synapses of `inputs` neurons to the `outputs` neurons of layer `l` exist, for
    /// its connection `c`; `None` for all.
    pub(crate) fn connectivity(
        &self,
        (l, c): (usize, usize),
        connect: Option<Connect>,
        source: Option<usize>,
        [inputs, outputs]: [usize; 2],
    ) -> Result<Option<Connectivity>> {
        let Some(Connect::Conv(table)) = connect else { return Ok(None) };
        let ConvTable { width, maps, stride, padding } = table;
        let in_maps = match source {
            Some(source) => self.maps(source)?,
            None => 1,
        };
        let positions = inputs / in_maps;
        let conv = Conv { positions, in_maps, out_maps: maps, width, stride, padding };
        let place = self.place(l, c, "connect");
        let fits = conv.out_positions() * maps;
        if fits == 0 {
            let most = positions + 2 * padding;
            fail!("{place}.conv.width = {width} is above {most}, the positions of its input")
        }
        if fits != outputs {
            let made = format!("{} positions of {maps} maps", conv.out_positions());
            if l < self.hidden.len() {
                fail!("network.hidden[{l}] = {outputs}, but {place} makes {made}; use {fits}")
            }
            fail!(
                "{place} makes {made}, {fits} in all, but there are {outputs} classes; set \
                 network.readout.connect = \"dense\""
            )
        }
        Ok(Some(Connectivity::conv(&conv).map_err(at(place))?))
    }

    /// The number of neurons at every position of layer `l`.
    fn maps(&self, l: usize) -> Result<usize> {
        let inputs = self.layer(l)?.inputs;
        let maps = inputs.iter().find_map(|input| match input.connect {
            Some(Connect::Conv(table)) => Some(table.maps),
            _ => None,
        });
        Ok(maps.unwrap_or(1))
    }
}
