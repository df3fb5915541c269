use super::read::{byte, byte_size, half, half_size, is_size, is_zero, size, split, word};
use super::{Fault, Sections, TAPS, WIDTH, Weight};

/// Neurons to a list, a bitmap and a block at most.
pub(crate) const GROUP: usize = 256;
/// Neurons to a word of a bitmap.
pub(crate) const WORD: usize = 32;
/// Readable bytes from the start of a row of eight-bit weights on: twice where a group can begin, and twice its length.
pub(crate) const AHEAD: usize = 1020;
/// Bytes of a layer's own fields.
pub(crate) const FIELDS: usize = 32;
/// Bytes of a block's.
pub(crate) const BLOCK: usize = 20;

/// A projection and the neurons behind it, read and checked.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// One more than the longest delay.
    pub(crate) taps: usize,
    /// Whether spikes are written ahead to their time of arrival; otherwise past spikes are remembered and delivered when due.
    pub(crate) ring: bool,
    /// Whether a spike subtracts the threshold; otherwise the membrane becomes 0.
    pub(crate) soft: bool,
    /// Whether the input is one of values.
    pub(crate) values: bool,
    /// Most spikes of a tick and group that are listed.
    pub(crate) list: usize,
    /// What a membrane keeps of itself from one tick to the next, times 2^shift.
    pub(crate) leak: i32,
    pub(crate) shift: u32,
    /// A neuron's bias times 2^bias_shift is in units of 2^-shift.
    pub(crate) bias_shift: u32,
    /// The leak of an f32 model.
    pub(crate) keep: f32,
    /// Membrane to octaves of the softmax.
    pub(crate) gain: u32,
    pub(crate) gain_shift: u32,
    /// Ticks in which it is still heard after an utterance, the layers before it included.
    pub(crate) padding: usize,
    pub(crate) blocks: &'a [[u8; BLOCK]],
    pub(crate) neurons: &'a [u8],
    /// From the first table and the first row to the end of the file.
    pub(crate) tables: &'a [u8],
    pub(crate) rows: &'a [u8],
    /// Where its membranes begin among the words.
    pub(crate) membranes: usize,
    /// Where its inputs' history begins among the bytes.
    pub(crate) history: usize,
    /// Where the sums yet to arrive begin.
    pub(crate) arriving: usize,
    /// The first word behind what a delivery can reach, counted from its membranes.
    pub(crate) reach: usize,
    /// Ticks that are remembered.
    pub(crate) slots: usize,
    /// Bytes of one of them, and of its bitmap or values.
    pub(crate) slot: usize,
    pub(crate) truth: usize,
}

/// Synapses from up to 256 neighbours to up to 256.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) source: usize,
    pub(crate) sources: usize,
    pub(crate) target: usize,
    pub(crate) targets: usize,
    /// Synapses of a row.
    pub(crate) row: usize,
    /// Where its table and its rows begin.
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
    /// Where the list of a group of sources begins in a slot; behind all slots where there is none.
    pub(crate) const fn list_of(&self, source: usize) -> usize {
        if self.list == 0 {
            return usize::MAX;
        }
        let before = source.wrapping_div(GROUP).wrapping_mul(self.list.wrapping_add(1));
        self.truth.wrapping_add(before)
    }

    pub(super) const NONE: Self = Self {
        inputs: 0,
        outputs: 0,
        taps: 0,
        ring: false,
        soft: false,
        values: false,
        list: 0,
        leak: 0,
        shift: 0,
        bias_shift: 0,
        keep: 0.0,
        gain: 0,
        gain_shift: 0,
        padding: 0,
        blocks: &[],
        neurons: &[],
        tables: &[],
        rows: &[],
        membranes: 0,
        history: 0,
        arriving: 0,
        reach: 0,
        slots: 0,
        slot: 0,
        truth: 0,
    };

    /// Reads and checks the next layer's four sections; `inputs` is what the layer before puts out.
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
        let fit = self.inputs == inputs && is_size(self.outputs, WIDTH);
        ensure!(fit && is_size(self.taps, TAPS), Size);
        let (scheme, reset) = (byte(fields, 6), byte(fields, 8));
        let zero = byte(fields, 11) | byte(fields, 25) == 0 && word(fields, 28) == 0;
        ensure!(zero && scheme | reset <= 1, Reserved);
        self.ring = scheme & 1 == 1;
        self.soft = reset & 1 == 1;
        self.list = byte_size(fields, 7);
        let shifts = byte(fields, 9) | byte(fields, 10);
        self.shift = u32::from_le_bytes([byte(fields, 9), 0, 0, 0]);
        self.bias_shift = u32::from_le_bytes([byte(fields, 10), 0, 0, 0]);
        self.leak = i32::from_le_bytes([byte(fields, 12), byte(fields, 13), 0, 0]);
        self.keep = f32::from_bits(word(fields, 16));
        self.gain = word(fields, 20);
        self.gain_shift = u32::from_le_bytes([byte(fields, 24), 0, 0, 0]);
        self.padding = half_size(fields, 26);
        let unused = if last { reset == 0 } else { self.gain | self.gain_shift == 0 };
        let leaks = if W::CODE == f32::CODE {
            self.keep >= 0.0 && self.keep <= 1.0 && self.leak == 0 && shifts == 0
        } else {
            word(fields, 16) == 0 && self.gain <= 65535
        };
        ensure!(unused && leaks && self.list < 255 && shifts <= 15 && self.gain_shift <= 31, Range);
        ensure!(blocks.len() == half_size(fields, 14).wrapping_mul(BLOCK), Length);
        (self.blocks, _) = blocks.as_chunks();
        self.slots = if self.ring { 1 } else { self.taps };
        let words = inputs.wrapping_add(WORD - 1).wrapping_div(WORD);
        let groups = inputs.wrapping_add(GROUP - 1).wrapping_div(GROUP);
        self.truth = if self.values { inputs } else { words.wrapping_mul(4) };
        let listed = if self.list > 0 { self.list.wrapping_add(1) } else { 0 };
        self.slot = self.truth.wrapping_add(groups.wrapping_mul(listed));
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

    /// Blocks divide sources by 256 and targets at will, sources running fastest; tables and rows follow one another.
    /// A ring's rows are read again for every 256 of its targets.
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
            // Rows follow tables: theirs are further.
            (self.rows, rows, rows_left, AHEAD)
        };
        let behind = rest.len().wrapping_sub(section.len()).wrapping_add(left.len());
        ensure!(self.ring || behind >= ahead, Length);
        Ok(())
    }

    /// Groups of a row add up to its synapses; what follows them is 0.
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

    /// No input drives a membrane or what arrives at it out of range, and the neuron has a threshold that can be.
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
        let most = product(if self.ring { RING } else { ROOM }, 1);
        ensure!(product(sum, largest) <= most, Overflow);
        let bias =
            half_word(half(self.neurons, place.wrapping_add(2)).cast_signed().unsigned_abs());
        let (bias, leak) = (bias.wrapping_shl(self.bias_shift), self.leak.cast_unsigned());
        let arriving = sum.wrapping_mul(largest);
        ensure!(fits(arriving, bias, leak, self.shift, self.gain), Overflow);
        Ok(())
    }
}

/// Synapses of a block's source: what lies between the lines of its column, the first of which is 0.
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

/// Adds the sizes of a row's weights to its targets' sums; floats only have to be in range. The first byte of a synapse is
/// below `limit`; it is the target, or the row has one synapse a target.
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

/// The largest sum that a ring of the integer engine holds.
pub const RING: u32 = 32_767;

/// The largest sum of weights that can arrive anywhere.
pub(crate) const ROOM: u32 = (1 << 30) - 1;

/// Whether a membrane and its products stay in 32 bits, and its distance to another times `gain`, too.
///
/// Where `arriving` and a bias of `bias / 2^shift`, both up to 2^30, come in at most, a membrane stays below their sum times
/// `2^shift / (2^shift - leak)`. `shift` is up to 15.
pub(crate) const fn fits(arriving: u32, bias: u32, leak: u32, shift: u32, gain: u32) -> bool {
    let shift = shift & 15;
    let one = 1u32.wrapping_shl(shift);
    let rest = one.wrapping_sub(leak);
    // The largest membrane times `rest / 2^shift`.
    let most = arriving.wrapping_add(bias.wrapping_shr(shift)).wrapping_add(3);
    let limit = rest.wrapping_shl(30u32.wrapping_sub(shift));
    let above = (1u32 << 31).wrapping_sub(one).wrapping_sub(bias);
    leak < one
        && most < limit
        && product(most, leak.wrapping_shl(shift)) < product(rest, above)
        && product(most, gain) < product(limit, 2)
}

/// A product in 64 bits.
#[expect(clippy::as_conversions, reason = "lossless")]
const fn product(a: u32, b: u32) -> u64 {
    (a as u64).wrapping_mul(b as u64)
}

/// A `u16` of two bytes as a size.
const fn pair(a: u8, b: u8) -> usize {
    size(u32::from_le_bytes([a, b, 0, 0]))
}

const fn half_word(x: u16) -> u32 {
    let [a, b] = x.to_le_bytes();
    u32::from_le_bytes([a, b, 0, 0])
}

/// Whether sums of such numbers stay finite.
const fn is_in_range(x: f32) -> bool {
    x >= -1e6 && x <= 1e6
}

const fn min(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}
