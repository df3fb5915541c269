use super::layer::{Block, Layer};
use super::read::{byte_size, size};
use super::{LAYERS, ModelFile, PARTS, Weight, section};

/// How spikes are delivered. The results are the same, in the integer engine to the bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Past spikes are remembered and delivered when they are due; a list of up to `list` of them beside every tick's bitmap
    /// is faster and takes more memory.
    Groups {
        /// 0 for bitmaps alone, at most 254.
        list: u8,
    },
    /// Spikes are added at once to the sums of the ticks in which they arrive: for few targets.
    Ring {
        /// As above, for the one tick that is remembered.
        list: u8,
    },
}

/// What a layer consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerInfo {
    /// Neurons or channels in front of it.
    pub inputs: usize,
    /// Its neurons, or classes.
    pub outputs: usize,
    /// One more than its longest delay.
    pub taps: usize,
    /// How its spikes are delivered.
    pub scheme: Scheme,
    /// Its synapses; a ring's count all pairs.
    pub synapses: usize,
    /// Pairs of a source and a delay that have synapses: what is delivered at once. A ring's are its sources.
    pub groups: usize,
    /// Blocks of up to 256 sources and 256 targets; a ring has none.
    pub blocks: usize,
    /// Bytes in the file.
    pub flash: usize,
    /// Bytes of membranes, of sums yet to arrive and of its inputs' history.
    pub ram: [usize; 3],
}

impl<W: Weight> ModelFile<'_, W> {
    /// What a layer consists of. Cost: looks at every group.
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
            ram: [words, cells.saturating_mul(cell), layer.slots.saturating_mul(layer.slot)],
        })
    }

    /// Bytes of the file.
    pub const fn flash(&self) -> usize {
        self.file.len()
    }

    /// How many layers there are, the readout included; at most [`LAYERS`].
    pub fn depth(&self) -> usize {
        self.layers().len().min(LAYERS)
    }
}

impl Layer<'_> {
    /// Synapses, and groups that are not empty.
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
