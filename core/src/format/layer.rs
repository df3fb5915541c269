use super::read::{byte, byte_size, half, half_size, is_size, is_zero, size, split, word};
use super::{Fault, MAX_TAPS, MAX_WIDTH, Sections, Weight};

/// The largest number of neurons that share a list, a bitmap or a block.
pub(crate) const GROUP: usize = 256;
/// The number of neurons in a word of a bitmap.
pub(crate) const WORD: usize = 32;
/// The number of readable bytes from the start of a row of `i8` weights on: a group begins up to
/// 255 synapses behind it, has up to 255 synapses, and a synapse takes 2 bytes.
pub(crate) const AHEAD: usize = 1020;
/// The number of bytes of a layer's fields.
pub(crate) const FIELDS: usize = 32;
/// The number of bytes of a block's fields.
pub(crate) const BLOCK: usize = 20;

/// A checked layer: synapses and the neurons behind them.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// One more than the longest delay.
    pub(crate) taps: usize,
    /// Whether spikes are added at once to the sums of their ticks of arrival; otherwise past
    /// spikes are stored, and delivered when they are due.
    pub(crate) ring: bool,
    /// Whether a spike subtracts the threshold; otherwise it sets the membrane to 0.
    pub(crate) soft: bool,
    /// Whether the inputs are values.
    pub(crate) values: bool,
    /// The number of entries in a list of spikes.
    pub(crate) list: usize,
    /// The factor by which a membrane decays in a tick, times 2^shift.
    pub(crate) decay: i32,
    pub(crate) shift: u32,
    /// The bias of a neuron times 2^bias_shift is in units of 2^-shift.
    pub(crate) bias_shift: u32,
    /// The decay factor of an f32 model.
    pub(crate) decay_f32: f32,
    /// The factor from membranes to 1/32 octaves of the softmax, times 2^gain_shift.
    pub(crate) gain: u32,
    pub(crate) gain_shift: u32,
    /// The number of ticks after an utterance in which its spikes still count: its padding plus
    /// that of all layers before it.
    pub(crate) padding: usize,
    pub(crate) blocks: &'a [[u8; BLOCK]],
    pub(crate) neurons: &'a [u8],
    /// The bytes from the first table, and from the first row, to the end of the file.
    pub(crate) tables: &'a [u8],
    pub(crate) rows: &'a [u8],
    /// The offset of its membranes in the words of the state.
    pub(crate) membranes: usize,
    /// The offset of the history of its inputs in the bytes of the state.
    pub(crate) history: usize,
    /// The offset of the sums that are still to arrive.
    pub(crate) cells: usize,
    /// The end of the words that a delivery can touch, counted from its membranes.
    pub(crate) reach: usize,
    /// The number of ticks that the history stores.
    pub(crate) records: usize,
    /// The number of bytes of a tick: its bitmap or values, then its lists.
    pub(crate) record_len: usize,
    /// The number of bytes of its bitmap or values.
    pub(crate) bitmap_len: usize,
}

/// The synapses from up to 256 adjacent sources to up to 256 adjacent targets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) source: usize,
    pub(crate) sources: usize,
    pub(crate) target: usize,
    pub(crate) targets: usize,
    /// The number of synapses in a row.
    pub(crate) row: usize,
    /// The offsets of its table and its rows in their sections.
    pub(crate) table: usize,
    pub(crate) rows: usize,
}

impl Block {
    #[inline(never)]
    pub(crate) const fn read(bytes: &[u8; BLOCK]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, zero, zero2, k, l, m, n, o, p, q, r] = *bytes;
        Self {
            source: pair(a, b),
            sources: pair(c, d),
            target: pair(e, f),
            targets: pair(g, h),
            row: size(u32::from_le_bytes([i, j, zero, zero2])),
            table: size(u32::from_le_bytes([k, l, m, n])),
            rows: size(u32::from_le_bytes([o, p, q, r])),
        }
    }
}

impl<'a> Layer<'a> {
    /// The offset of a list in the record of a tick, for the 256 sources from `source` on; beyond
    /// every record if there are no lists.
    pub(crate) const fn list_of(&self, source: usize) -> usize {
        if self.list == 0 {
            return usize::MAX;
        }
        let before = source.wrapping_div(GROUP).wrapping_mul(self.list.wrapping_add(1));
        self.bitmap_len.wrapping_add(before)
    }

    pub(super) const NONE: Self = Self {
        inputs: 0,
        outputs: 0,
        taps: 0,
        ring: false,
        soft: false,
        values: false,
        list: 0,
        decay: 0,
        shift: 0,
        bias_shift: 0,
        decay_f32: 0.0,
        gain: 0,
        gain_shift: 0,
        padding: 0,
        blocks: &[],
        neurons: &[],
        tables: &[],
        rows: &[],
        membranes: 0,
        history: 0,
        cells: 0,
        reach: 0,
        records: 0,
        record_len: 0,
        bitmap_len: 0,
    };

    /// Reads and checks the four sections of the next layer; `inputs` is the width of the previous
    /// one.
    pub(super) const fn read<W: Weight>(
        &mut self,
        sections: &mut Sections<'a>,
        code: u32,
        inputs: usize,
        last: bool,
    ) -> Result<(), Fault> {
        let Some(own) = sections.next(code) else { return Err(Fault::Section) };
        let Some((fields, blocks)) = own.split_first_chunk::<FIELDS>() else {
            return Err(Fault::Length);
        };
        self.inputs = half_size(fields, 0);
        self.outputs = half_size(fields, 2);
        self.taps = half_size(fields, 4);
        let fit = self.inputs == inputs && is_size(self.outputs, MAX_WIDTH);
        ensure!(fit && is_size(self.taps, MAX_TAPS), Size);
        let (scheme, reset) = (byte(fields, 6), byte(fields, 8));
        let zero = byte(fields, 11) | byte(fields, 25) == 0 && word(fields, 28) == 0;
        ensure!(zero && scheme | reset <= 1, Reserved);
        self.ring = scheme & 1 == 1;
        self.soft = reset & 1 == 1;
        self.list = byte_size(fields, 7);
        let shifts = byte(fields, 9) | byte(fields, 10);
        self.shift = u32::from_le_bytes([byte(fields, 9), 0, 0, 0]);
        self.bias_shift = u32::from_le_bytes([byte(fields, 10), 0, 0, 0]);
        self.decay = i32::from_le_bytes([byte(fields, 12), byte(fields, 13), 0, 0]);
        self.decay_f32 = f32::from_bits(word(fields, 16));
        self.gain = word(fields, 20);
        self.gain_shift = u32::from_le_bytes([byte(fields, 24), 0, 0, 0]);
        self.padding = half_size(fields, 26);
        let unused = if last { reset == 0 } else { self.gain | self.gain_shift == 0 };
        let decays = if W::CODE == f32::CODE {
            self.decay_f32 >= 0.0 && self.decay_f32 <= 1.0 && self.decay == 0 && shifts == 0
        } else {
            word(fields, 16) == 0 && self.gain <= 65535
        };
        ensure!(
            unused && decays && self.list < 255 && shifts <= 15 && self.gain_shift <= 31,
            Range
        );
        ensure!(blocks.len() == half_size(fields, 14).wrapping_mul(BLOCK), Length);
        (self.blocks, _) = blocks.as_chunks();
        self.records = if self.ring { 1 } else { self.taps };
        let words = inputs.wrapping_add(WORD - 1).wrapping_div(WORD);
        let groups = inputs.wrapping_add(GROUP - 1).wrapping_div(GROUP);
        self.bitmap_len = if self.values { inputs } else { words.wrapping_mul(4) };
        let listed = if self.list > 0 { self.list.wrapping_add(1) } else { 0 };
        self.record_len = self.bitmap_len.wrapping_add(groups.wrapping_mul(listed));
        let Some(neurons) = sections.next(code | 1) else { return Err(Fault::Section) };
        self.neurons = neurons;
        let parameters = if last { 0 } else { self.outputs.wrapping_mul(W::NEURON) };
        ensure!(neurons.len() == parameters, Length);
        self.tables = sections.rest;
        let Some(tables) = sections.next(code | 2) else { return Err(Fault::Section) };
        self.rows = sections.rest;
        let Some(rows) = sections.next(code | 3) else { return Err(Fault::Section) };
        self.check::<W>(tables, rows)
    }

    /// Checks the blocks: each takes the next 256 sources and any number of targets up to 256;
    /// sources run fastest; tables and rows follow one another. The rows of a ring are read once
    /// for every 256 of its targets.
    const fn check<W: Weight>(&mut self, tables: &[u8], rows: &[u8]) -> Result<(), Fault> {
        let (mut blocks, mut tables_left, mut rows_left) = (self.blocks, tables, rows);
        let (mut source, mut target, mut targets) = (0, 0usize, 0);
        let mut sums = [0; GROUP];
        while target < self.outputs {
            let (block, lines);
            if self.ring {
                rows_left = rows;
                let (sources, row) = (self.inputs, self.outputs);
                targets = min(GROUP, self.outputs.wrapping_sub(target));
                block = Block { source, sources, target, targets, row, table: 0, rows: 0 };
                lines = 0;
            } else {
                let [bytes, others @ ..] = blocks else { return Err(Fault::Size) };
                blocks = others;
                block = Block::read(bytes);
                let there = block.source == source
                    && block.sources == min(GROUP, self.inputs.wrapping_sub(source))
                    && block.target == target
                    && block.table == tables.len().wrapping_sub(tables_left.len())
                    && block.rows == rows.len().wrapping_sub(rows_left.len());
                ensure!(there, Section);
                if source == 0 {
                    targets = block.targets;
                }
                let sizes = is_size(block.targets, GROUP) && is_size(block.row, GROUP);
                ensure!(sizes && block.targets == targets, Size);
                lines = self.taps.wrapping_add(1);
            }
            let end = target.wrapping_add(targets);
            ensure!(end <= self.outputs, Size);
            let (table, here);
            (table, tables_left) = attempt!(split(tables_left, lines.wrapping_mul(block.sources)));
            let len = block.row.wrapping_mul(block.sources).wrapping_mul(W::SYNAPSE);
            (here, rows_left) = attempt!(split(rows_left, len));
            attempt!(self.check_block::<W>(&block, table, here, &mut sums));
            source = source.wrapping_add(block.sources);
            if source == self.inputs {
                let mut left: &mut [u32] = &mut sums;
                while target < end
                    && let [sum, others @ ..] = left
                {
                    attempt!(self.check_neuron::<W>(target, *sum));
                    *sum = 0;
                    left = others;
                    target = target.wrapping_add(1);
                }
                self.reach = target.wrapping_sub(targets).wrapping_add(GROUP);
                source = 0;
            }
        }
        let whole = blocks.is_empty() && tables_left.len() < 4 && rows_left.len() < 4;
        ensure!(whole, Length);
        ensure!(is_zero(tables_left) && is_zero(rows_left), Reserved);
        let (rest, section, left, ahead) = if W::CODE == f32::CODE {
            (self.tables, tables, tables_left, 2 * GROUP)
        } else {
            // Rows follow tables, so rows are the ones close to the end of the file.
            (self.rows, rows, rows_left, AHEAD)
        };
        let behind = rest.len().wrapping_sub(section.len()).wrapping_add(left.len());
        ensure!(self.ring || behind >= ahead, Length);
        Ok(())
    }

    /// Checks the rows of a block: the groups of a row are its synapses; zeros follow them.
    const fn check_block<W: Weight>(
        &self,
        block: &Block,
        table: &[u8],
        mut rows: &[u8],
        sums: &mut [u32; GROUP],
    ) -> Result<(), Fault> {
        let (limit, skipped) =
            if self.ring { (self.taps, block.target) } else { (block.targets, 0) };
        let mut n = 0;
        while n < block.sources {
            let mut used = block.targets;
            if !self.ring {
                used = attempt!(count(table, n, block.sources));
            }
            let (mut row, unused);
            (row, rows) = attempt!(split(rows, block.row.wrapping_mul(W::SYNAPSE)));
            (_, row) = attempt!(split(row, skipped.wrapping_mul(W::SYNAPSE)));
            (row, unused) = attempt!(split(row, used.wrapping_mul(W::SYNAPSE)));
            ensure!(self.ring || is_zero(unused), Reserved);
            attempt!(add_row::<W>(row, limit, self.ring, sums));
            n = n.wrapping_add(1);
        }
        Ok(())
    }

    /// Checks that no input drives a membrane, or a sum that arrives at it, out of range, and that
    /// the threshold is positive.
    #[inline(never)]
    const fn check_neuron<W: Weight>(&self, n: usize, sum: u32) -> Result<(), Fault> {
        let place = n.wrapping_mul(W::NEURON);
        if W::CODE == f32::CODE {
            let threshold = f32::from_bits(word(self.neurons, place));
            let bias = f32::from_bits(word(self.neurons, place.wrapping_add(4)));
            let fires = threshold > 0.0 || self.neurons.is_empty();
            ensure!(fires && is_in_range(bias) && is_in_range(threshold), Range);
            return Ok(());
        }
        let largest = if self.values { 127 } else { 1 };
        let most = product(if self.ring { RING_MAX } else { SUM_MAX }, 1);
        ensure!(product(sum, largest) <= most, Overflow);
        let bias =
            half_word(half(self.neurons, place.wrapping_add(2)).cast_signed().unsigned_abs());
        let (bias, decay) = (bias.wrapping_shl(self.bias_shift), self.decay.cast_unsigned());
        let arriving = sum.wrapping_mul(largest);
        ensure!(fits(arriving, bias, decay, self.shift, self.gain), Overflow);
        Ok(())
    }
}

/// The number of synapses of a source of a block: the sum of the differences of its column, whose
/// first entry has to be 0.
#[expect(clippy::indexing_slicing, clippy::as_conversions, reason = "checked; a byte is below 256")]
const fn count(table: &[u8], mut at: usize, sources: usize) -> Result<usize, Fault> {
    ensure!(byte(table, at) == 0, Range);
    let (mut used, mut before) = (0usize, 0u8);
    while at < table.len() {
        used = used.wrapping_add(table[at].wrapping_sub(before) as usize);
        before = table[at];
        at = at.wrapping_add(sources);
    }
    Ok(used)
}

/// Adds the magnitudes of a row's weights to the sums of their targets; `f32` weights only have to
/// be in range. The first byte of a synapse is below `limit`. It is the target, except `in_order`,
/// where the row has one synapse per target.
#[expect(clippy::indexing_slicing, clippy::as_conversions, reason = "a byte is below 256")]
const fn add_row<W: Weight>(
    mut row: &[u8],
    limit: usize,
    in_order: bool,
    sums: &mut [u32; GROUP],
) -> Result<(), Fault> {
    let (float, mut n) = (W::CODE == f32::CODE, 0u8);
    loop {
        let first = if float {
            let [first, a, b, c, d, rest @ ..] = row else { return Ok(()) };
            ensure!(is_in_range(f32::from_le_bytes([*a, *b, *c, *d])), Range);
            row = rest;
            *first as usize
        } else {
            let [first, weight, rest @ ..] = row else { return Ok(()) };
            row = rest;
            let target = if in_order { n } else { *first };
            let size = if *weight < 128 { *weight } else { 0u8.wrapping_sub(*weight) };
            sums[target as usize] = sums[target as usize].wrapping_add(size as u32);
            *first as usize
        };
        ensure!(first < limit, Target);
        n = n.wrapping_add(1);
    }
}

/// The largest sum of weights that a [ring](super::Scheme::Ring) of the integer engine holds.
pub const RING_MAX: u32 = 32_767;

/// The largest sum of weights that may arrive at a neuron.
pub(crate) const SUM_MAX: u32 = (1 << 30) - 1;

/// Whether a membrane, its products, and its distance to another membrane times `gain` fit 32 bits.
///
/// If at most `arriving` and a bias of `bias / 2^shift`, both up to 2^30, are added in a tick, a
/// membrane stays below their sum times `2^shift / (2^shift - decay)`. `shift` is up to 15.
pub(crate) const fn fits(arriving: u32, bias: u32, decay: u32, shift: u32, gain: u32) -> bool {
    let shift = shift & 15;
    let one = 1u32.wrapping_shl(shift);
    let rest = one.wrapping_sub(decay);
    // The largest membrane times `rest / 2^shift`.
    let most = arriving.wrapping_add(bias.wrapping_shr(shift)).wrapping_add(3);
    let limit = rest.wrapping_shl(30u32.wrapping_sub(shift));
    let above = (1u32 << 31).wrapping_sub(one).wrapping_sub(bias);
    decay < one
        && most < limit
        && product(most, decay.wrapping_shl(shift)) < product(rest, above)
        && product(most, gain) < product(limit, 2)
}

/// A product in 64 bits.
#[expect(clippy::as_conversions, reason = "lossless")]
const fn product(a: u32, b: u32) -> u64 {
    (a as u64).wrapping_mul(b as u64)
}

/// Two little-endian bytes as a size.
const fn pair(a: u8, b: u8) -> usize {
    size(u32::from_le_bytes([a, b, 0, 0]))
}

const fn half_word(x: u16) -> u32 {
    let [a, b] = x.to_le_bytes();
    u32::from_le_bytes([a, b, 0, 0])
}

/// Whether sums of numbers of this size stay finite.
const fn is_in_range(x: f32) -> bool {
    x >= -1e6 && x <= 1e6
}

const fn min(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}
