use super::layer::{Block, Layer};
use super::read::{byte_size, size};
use super::{MAX_LAYERS, ModelFile, PARTS, Weight, section};

/// How the spikes of a layer's inputs are delivered. Every scheme gives the same results, in the
/// integer engine bit for bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Past spikes are stored, and delivered when they are due. Every tick has a bitmap and, for
    /// every 256 inputs, a list of up to `list` spikes. Lists take more memory and are faster.
    Groups {
        /// Entries of a list: 0 to 254; 0 stores bitmaps only.
        list: u8,
    },
    /// A spike is added at once to the sums of the ticks in which it arrives. This suits few
    /// targets.
    Ring {
        /// Entries of a list, as above, for the one tick that is stored.
        list: u8,
    },
}

/// The sizes of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerInfo {
    /// The number of neurons of the previous layer, or of channels.
    pub inputs: usize,
    /// The number of neurons, or of classes.
    pub outputs: usize,
    /// One more than the longest delay.
    pub taps: usize,
    /// How the spikes of its inputs are delivered.
    pub scheme: Scheme,
    /// The number of synapses; in a ring, of all pairs of an input and an output.
    pub synapses: usize,
    /// The number of groups: pairs of a source and a delay that have synapses. In a ring, the
    /// number of sources.
    pub groups: usize,
    /// The number of blocks of up to 256 sources and 256 targets; a ring has none.
    pub blocks: usize,
    /// The size in the file in bytes.
    pub flash: usize,
    /// The sizes in memory in bytes: membranes, sums that are still to arrive, and the history of
    /// the inputs.
    pub ram: [usize; 3],
}

impl<W: Weight> ModelFile<'_, W> {
    /// The sizes of layer `l`; `None` if there is no such layer. Cost: reads every group.
    #[must_use]
    pub fn layer(&self, l: usize) -> Option<LayerInfo> {
        let layer = self.layers().get(l)?;
        let last = l.saturating_add(1) == self.layers().len();
        let first = l.saturating_mul(PARTS);
        let sections = first..first.saturating_add(PARTS);
        let flash = sections.map(|n| section(self.file, n).1).fold(0, usize::saturating_add);
        let (synapses, groups) = if layer.ring {
            (layer.inputs.saturating_mul(layer.outputs), layer.inputs)
        } else {
            layer.count_groups()
        };
        let cell = if W::CODE == f32::CODE { 4 } else { 2 };
        let cells = if layer.ring { layer.outputs.saturating_mul(layer.taps) } else { 0 };
        let words = layer.outputs.saturating_mul(if last { 8 } else { 4 });
        let [list, ..] = layer.list.to_le_bytes();
        Some(LayerInfo {
            inputs: layer.inputs,
            outputs: layer.outputs,
            taps: layer.taps,
            scheme: if layer.ring { Scheme::Ring { list } } else { Scheme::Groups { list } },
            synapses,
            groups,
            blocks: layer.blocks.len(),
            flash,
            ram: [
                words,
                cells.saturating_mul(cell),
                layer.records.saturating_mul(layer.record_len),
            ],
        })
    }

    /// The size of the file in bytes.
    #[must_use]
    pub const fn flash(&self) -> usize {
        self.file.len()
    }

    /// The number of layers including the readout: 1 to [`MAX_LAYERS`].
    #[must_use]
    pub fn depth(&self) -> usize {
        self.layers().len().min(MAX_LAYERS)
    }
}

impl Layer<'_> {
    /// The number of synapses, and of groups that have any.
    fn count_groups(&self) -> (usize, usize) {
        let (mut synapses, mut groups) = (0usize, 0usize);
        for block in self.blocks.iter().map(Block::read) {
            let table = self.tables.get(block.table..).unwrap_or(&[]);
            let rows = table.chunks_exact(block.sources.max(1));
            for (start, end) in rows.clone().zip(rows.skip(1)).take(self.taps) {
                for (&start, &end) in start.iter().zip(end).take(block.sources) {
                    let here = byte_size(&[end.wrapping_sub(start)], 0);
                    synapses = synapses.saturating_add(here);
                    groups = groups.saturating_add(size(u32::from(here > 0)));
                }
            }
        }
        (synapses, groups)
    }
}
