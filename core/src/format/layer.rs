use super::read::{from, half, is_zero, part, size, wide, word};
use super::{Fault, FormatError, PARTS, TAPS, WIDTH, Weight, bytes_at, pick};

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
    pub(crate) grown: usize,
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
        let [a, b, c, d, e, f, g, h, i, j, _, _, k, l, m, n, o, p, q, r] = *bytes;
        Self {
            source: pair(a, b),
            sources: pair(c, d),
            target: pair(e, f),
            targets: pair(g, h),
            row: pair(i, j),
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
        grown: 0,
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

    /// Reads and checks a layer of four sections; `width` is what the layer before puts out.
    #[inline(never)]
    pub(super) const fn read<W: Weight>(
        file: &'a [u8],
        [own, neurons, tables, rows]: [(usize, usize); PARTS],
        width: usize,
        values: bool,
        last: bool,
    ) -> Result<Self, FormatError> {
        let (at, len) = own;
        let bytes = attempt!(bytes_at(file, at, len));
        let Some((fields, blocks)) = bytes.split_first_chunk::<FIELDS>() else {
            return Err(FormatError { offset: at, fault: Fault::Length });
        };
        let [i, i2, o, o2, t, t2, scheme, list, reset, shift, bias_shift, zero, rest @ ..] =
            *fields;
        let [l, l2, b, b2, k, k2, k3, k4, g, g2, g3, g4, gain_shift, zero2, tail, tail2, rest @ ..] =
            rest;
        let (inputs, outputs, taps) = (pair(i, i2), pair(o, o2), pair(t, t2));
        ensure!(inputs == width, at, Size);
        ensure!(outputs >= 1 && outputs <= WIDTH, at.wrapping_add(2), Size);
        ensure!(taps >= 1 && taps <= TAPS, at.wrapping_add(4), Size);
        ensure!(scheme <= 1 && reset <= 1 && !(last && reset == 1), at.wrapping_add(6), Reserved);
        let ranges = list < 255 && shift <= 15 && bias_shift <= 15 && gain_shift <= 31;
        ensure!(ranges, at.wrapping_add(7), Range);
        let (leak, keep) = (pair(l, l2), f32::from_bits(u32::from_le_bytes([k, k2, k3, k4])));
        let gain = u32::from_le_bytes([g, g2, g3, g4]);
        let unused = zero | zero2 == 0 && is_zero(&rest) && (last || gain == 0 && gain_shift == 0);
        ensure!(unused, at.wrapping_add(20), Reserved);
        let leaks = if W::CODE == f32::CODE {
            keep >= 0.0 && keep <= 1.0 && leak == 0 && shift | bias_shift == 0
        } else {
            u32::from_le_bytes([k, k2, k3, k4]) == 0 && gain <= 65535
        };
        ensure!(leaks, at.wrapping_add(12), Range);
        let ring = scheme == 1;
        let (blocks, odd) = blocks.as_chunks::<BLOCK>();
        let counted = odd.is_empty() && blocks.len() == pair(b, b2);
        ensure!(counted, at.wrapping_add(14), Length);
        let parameters = if last { 0 } else { outputs.wrapping_mul(W::NEURON) };
        ensure!(neurons.1 == parameters, neurons.0, Length);
        let list = pair(list, 0);
        let truth = if values { inputs } else { inputs.div_ceil(WORD).wrapping_mul(4) };
        let listed = if list > 0 { list.wrapping_add(1) } else { 0 };
        let mut layer = Self {
            inputs,
            outputs,
            taps,
            ring,
            soft: reset == 1,
            values,
            list,
            leak: i32::from_le_bytes([l, l2, 0, 0]),
            shift: u32::from_le_bytes([shift, 0, 0, 0]),
            bias_shift: u32::from_le_bytes([bias_shift, 0, 0, 0]),
            keep,
            gain,
            gain_shift: u32::from_le_bytes([gain_shift, 0, 0, 0]),
            grown: pair(tail, tail2),
            blocks,
            neurons: attempt!(bytes_at(file, neurons.0, neurons.1)),
            tables: rest_of(file, tables.0),
            rows: rest_of(file, rows.0),
            slots: if ring { 1 } else { taps },
            slot: truth.wrapping_add(inputs.div_ceil(GROUP).wrapping_mul(listed)),
            truth,
            ..Self::NONE
        };
        attempt!(if ring {
            ensure!(layer.blocks.is_empty(), at.wrapping_add(14), Reserved);
            layer.check_ring::<W>(neurons.0, tables, rows, last)
        } else {
            layer.check_groups::<W>(file.len(), at, neurons.0, tables, rows, last)
        });
        Ok(layer)
    }

    /// A row of (delay, weight) for every input, a pair for every output.
    #[inline(never)]
    const fn check_ring<W: Weight>(
        &self,
        neurons: usize,
        tables: (usize, usize),
        rows: (usize, usize),
        last: bool,
    ) -> Result<(), FormatError> {
        let len = self.inputs.wrapping_mul(self.outputs).wrapping_mul(W::SYNAPSE);
        ensure!(tables.1 == 0, tables.0, Length);
        ensure!(rows.1 == len.next_multiple_of(4), rows.0, Length);
        let mut first = 0;
        while first < self.outputs {
            let (mut sums, mut input) = ([0; GROUP], 0);
            let here = min(GROUP, self.outputs.wrapping_sub(first));
            while input < self.inputs {
                let place = input.wrapping_mul(self.outputs).wrapping_add(first);
                let at = place.wrapping_mul(W::SYNAPSE);
                let row = attempt!(bytes_at(self.rows, at, here.wrapping_mul(W::SYNAPSE)));
                if let Err((n, fault)) = add_row::<W>(row, self.taps, true, &mut sums) {
                    let at = at.wrapping_add(n.wrapping_mul(W::SYNAPSE));
                    return Err(FormatError { offset: rows.0.wrapping_add(at), fault });
                }
                input = input.wrapping_add(1);
            }
            attempt!(self.check_sums::<W>(&sums, first, here, neurons, last));
            first = first.wrapping_add(GROUP);
        }
        ensure!(is_zero(padding(self.rows, len)), rows.0.wrapping_add(len), Reserved);
        Ok(())
    }

    /// Blocks divide sources by 256 and targets at will, sources running fastest; tables and rows follow one another.
    #[inline(never)]
    const fn check_groups<W: Weight>(
        &mut self,
        file: usize,
        own: usize,
        neurons: usize,
        tables: (usize, usize),
        rows: (usize, usize),
        last: bool,
    ) -> Result<(), FormatError> {
        let (mut source, mut target, mut targets) = (0, 0usize, 0);
        let (mut table, mut row) = (0usize, 0usize);
        let (mut sums, mut at) = ([0; GROUP], own.wrapping_add(FIELDS));
        let mut blocks = self.blocks;
        while let [bytes, others @ ..] = blocks {
            blocks = others;
            let block = Block::read(bytes);
            if source == 0 {
                targets = block.targets;
                sums = [0; GROUP];
            }
            let whole = targets >= 1 && targets <= GROUP && block.targets == targets;
            ensure!(whole && block.row >= 1 && block.row <= GROUP, at, Size);
            ensure!(target.wrapping_add(targets) <= self.outputs, at, Size);
            let sources = min(GROUP, self.inputs.wrapping_sub(source));
            let there = block.source == source && block.sources == sources;
            ensure!(there && block.target == target, at, Section);
            ensure!(block.table == table && block.rows == row, at, Section);
            let [.., z, z2, _, _, _, _, _, _, _, _] = bytes;
            ensure!(*z | *z2 == 0, at, Reserved);
            table = table.wrapping_add(self.taps.wrapping_add(1).wrapping_mul(block.sources));
            row = row.wrapping_add(sources.wrapping_mul(block.row).wrapping_mul(W::SYNAPSE));
            ensure!(table <= tables.1, tables.0, Length);
            ensure!(row <= rows.1, rows.0, Length);
            let ahead = tables.0.wrapping_add(table).wrapping_add(2 * GROUP);
            ensure!(ahead <= file, file, Length);
            let ahead = rows.0.wrapping_add(row).wrapping_add(AHEAD);
            ensure!(W::CODE == f32::CODE || ahead <= file, file, Length);
            attempt!(self.check_block::<W>(&block, &mut sums, tables.0, rows.0));
            source = source.wrapping_add(sources);
            if source == self.inputs {
                attempt!(self.check_sums::<W>(&sums, target, targets, neurons, last));
                self.reach = target.wrapping_add(GROUP);
                (source, target) = (0, target.wrapping_add(targets));
            }
            at = at.wrapping_add(BLOCK);
        }
        ensure!(source == 0 && target == self.outputs, own.wrapping_add(14), Size);
        ensure!(tables.1 == table.next_multiple_of(4), tables.0, Length);
        ensure!(is_zero(padding(self.tables, table)), tables.0.wrapping_add(table), Reserved);
        ensure!(rows.1 == row.next_multiple_of(4), rows.0, Length);
        ensure!(is_zero(padding(self.rows, row)), rows.0.wrapping_add(row), Reserved);
        Ok(())
    }

    /// Groups of a row add up to its synapses; what follows them is 0.
    #[inline(never)]
    const fn check_block<W: Weight>(
        &self,
        block: &Block,
        sums: &mut [u32; GROUP],
        tables: usize,
        rows: usize,
    ) -> Result<(), FormatError> {
        let (mut used, mut line) = ([0u32; GROUP], 0);
        let mut before: &[u8] = &[0; GROUP];
        while line <= self.taps {
            let at = block.table.wrapping_add(line.wrapping_mul(block.sources));
            let starts = attempt!(bytes_at(self.tables, at, block.sources));
            ensure!(line > 0 || is_zero(starts), tables.wrapping_add(at), Range);
            add_groups(&mut used, before, starts);
            before = starts;
            line = line.wrapping_add(1);
        }
        let (len, mut source) = (block.row.wrapping_mul(W::SYNAPSE), 0);
        while source < block.sources {
            let used = size(pick(&used, source, 0));
            let offset = tables.wrapping_add(block.table).wrapping_add(source);
            ensure!(used <= block.row, offset, Size);
            let used = used.wrapping_mul(W::SYNAPSE);
            let at = block.rows.wrapping_add(source.wrapping_mul(len));
            let row = attempt!(bytes_at(self.rows, at, used));
            let end = at.wrapping_add(used);
            let unused = attempt!(bytes_at(self.rows, end, len.wrapping_sub(used)));
            ensure!(is_zero(unused), rows.wrapping_add(end), Reserved);
            if let Err((n, fault)) = add_row::<W>(row, block.targets, false, sums) {
                let at = at.wrapping_add(n.wrapping_mul(W::SYNAPSE));
                return Err(FormatError { offset: rows.wrapping_add(at), fault });
            }
            source = source.wrapping_add(1);
        }
        Ok(())
    }

    /// No input drives a membrane or what arrives at it out of range, and neurons have thresholds that can be.
    #[inline(never)]
    const fn check_sums<W: Weight>(
        &self,
        sums: &[u32; GROUP],
        first: usize,
        count: usize,
        neurons: usize,
        last: bool,
    ) -> Result<(), FormatError> {
        let largest = if self.values { 127 } else { 1 };
        let mut n = 0;
        while n < count {
            let place = first.wrapping_add(n).wrapping_mul(W::NEURON);
            let offset = if last { neurons } else { neurons.wrapping_add(place) };
            if W::CODE == f32::CODE {
                let threshold = f32::from_bits(word(self.neurons, place));
                let bias = f32::from_bits(word(self.neurons, place.wrapping_add(4)));
                ensure!(last || (is_in_range(bias) && is_in_range(threshold)), offset, Range);
            } else {
                let arriving = wide(size(pick(sums, n, 0))).wrapping_mul(largest);
                ensure!(!self.ring || arriving <= RING, offset, Overflow);
                let bias = half(self.neurons, place.wrapping_add(2)).cast_signed();
                let bias = if last { 0 } else { bias.unsigned_abs() };
                let bias = wide(size(half_word(bias))).wrapping_shl(self.bias_shift);
                let leak = wide(size(self.leak.unsigned_abs()));
                let fits = fits(arriving, bias, leak, self.shift, wide(size(self.gain)));
                ensure!(fits, offset, Overflow);
            }
            n = n.wrapping_add(1);
        }
        Ok(())
    }
}

/// Adds what lies between two lines of a table to the synapses that every source has.
const fn add_groups(used: &mut [u32; GROUP], mut before: &[u8], mut starts: &[u8]) {
    let mut used: &mut [u32] = used;
    while let ([here, used_left @ ..], [a, before_left @ ..], [b, starts_left @ ..]) =
        (used, before, starts)
    {
        *here = here.wrapping_add(u32::from_le_bytes([b.wrapping_sub(*a), 0, 0, 0]));
        (used, before, starts) = (used_left, before_left, starts_left);
    }
}

/// Adds the sizes of a row's weights to its targets' sums; floats only have to be in range. The first byte of a synapse is
/// below `limit`; it is the target, or the row has one synapse a target. On failure, which synapse it is.
#[expect(clippy::indexing_slicing, clippy::as_conversions, reason = "a byte is below 256")]
#[inline(never)]
const fn add_row<W: Weight>(
    mut row: &[u8],
    limit: usize,
    in_order: bool,
    sums: &mut [u32; GROUP],
) -> Result<(), (usize, Fault)> {
    let (float, mut n) = (W::CODE == f32::CODE, 0u8);
    let wrong = if in_order { Fault::Range } else { Fault::Target };
    loop {
        let first = if float {
            let [first, a, b, c, d, rest @ ..] = row else { return Ok(()) };
            if !is_in_range(f32::from_le_bytes([*a, *b, *c, *d])) {
                return Err((n as usize, Fault::Range));
            }
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
        if first >= limit {
            return Err((n as usize, wrong));
        }
        n = n.wrapping_add(1);
    }
}

/// The largest sum that a ring holds.
pub(crate) const RING: u64 = 32_767;

/// Whether a membrane and its products stay in 32 bits, and its distance to another times `gain`, too.
///
/// Where `arriving` and a bias of `bias / 2^shift` come in at most, a membrane stays below their sum times
/// `2^shift / (2^shift - leak)`.
pub(crate) const fn fits(arriving: u64, bias: u64, leak: u64, shift: u32, gain: u64) -> bool {
    let one = 1u64.wrapping_shl(shift);
    let Some(rest) = one.checked_sub(leak) else { return false };
    if rest == 0 || arriving >= 1 << 31 || bias >= 1 << 31 {
        return false;
    }
    // The largest membrane times `rest`.
    let most = arriving.wrapping_add(bias.wrapping_shr(shift)).wrapping_add(3).wrapping_mul(one);
    let product = most.wrapping_mul(leak).wrapping_add(bias.wrapping_add(one).wrapping_mul(rest));
    let bounds = product < rest.wrapping_shl(31) && most < rest.wrapping_shl(30);
    bounds && most.wrapping_mul(2).wrapping_mul(gain) < rest.wrapping_shl(32)
}

/// The bytes that fill a section up to a multiple of 4.
const fn padding(section: &[u8], len: usize) -> &[u8] {
    match part(section, len, len.next_multiple_of(4).wrapping_sub(len)) {
        Some(bytes) => bytes,
        None => &[],
    }
}

const fn rest_of(file: &[u8], at: usize) -> &[u8] {
    match from(file, at) {
        Some(bytes) => bytes,
        None => &[],
    }
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
