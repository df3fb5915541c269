use super::read::{byte, byte_size, from, half, half_size, is_zero, part, size, wide, word};
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
    /// [`BLOCK`] bytes a block.
    pub(crate) blocks: &'a [u8],
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
    pub(crate) const fn read(bytes: &[u8], n: usize) -> Self {
        let at = n.saturating_mul(BLOCK);
        Self {
            source: half_size(bytes, at),
            sources: half_size(bytes, at.saturating_add(2)),
            target: half_size(bytes, at.saturating_add(4)),
            targets: half_size(bytes, at.saturating_add(6)),
            row: half_size(bytes, at.saturating_add(8)),
            table: size(word(bytes, at.saturating_add(12))),
            rows: size(word(bytes, at.saturating_add(16))),
        }
    }
}

impl<'a> Layer<'a> {
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
    pub(super) const fn read<W: Weight>(
        file: &'a [u8],
        [own, neurons, tables, rows]: [(usize, usize); PARTS],
        width: usize,
        values: bool,
        last: bool,
    ) -> Result<Self, FormatError> {
        let (at, len) = own;
        let fields = attempt!(bytes_at(file, at, len));
        ensure!(len >= FIELDS, at, Length);
        let (inputs, outputs) = (half_size(fields, 0), half_size(fields, 2));
        ensure!(inputs == width, at, Size);
        ensure!(outputs >= 1 && outputs <= WIDTH, at.saturating_add(2), Size);
        let taps = half_size(fields, 4);
        ensure!(taps >= 1 && taps <= TAPS, at.saturating_add(4), Size);
        let (scheme, list, reset) = (byte(fields, 6), byte_size(fields, 7), byte(fields, 8));
        ensure!(scheme <= 1, at.saturating_add(6), Reserved);
        ensure!(list < 255, at.saturating_add(7), Range);
        ensure!(reset <= 1 && !(last && reset == 1), at.saturating_add(8), Reserved);
        let (shift, bias_shift) = (byte(fields, 9), byte(fields, 10));
        ensure!(shift <= 15 && bias_shift <= 15, at.saturating_add(9), Range);
        let (leak, keep) = (half(fields, 12), f32::from_bits(word(fields, 16)));
        let (gain, gain_shift) = (word(fields, 20), byte(fields, 24));
        let float = W::CODE == f32::CODE;
        ensure!(!float || (keep >= 0.0 && keep <= 1.0), at.saturating_add(16), Range);
        let whole = if float { leak == 0 && shift == 0 && bias_shift == 0 } else { keep == 0.0 };
        ensure!(whole, at.saturating_add(12), Reserved);
        ensure!(gain_shift <= 31, at.saturating_add(24), Range);
        ensure!(last || (gain == 0 && gain_shift == 0), at.saturating_add(20), Reserved);
        let unused = byte(fields, 11) == 0 && is_zero(attempt!(bytes_at(fields, 28, 4)));
        let unused = unused && byte(fields, 25) == 0;
        ensure!(unused, at.saturating_add(25), Reserved);
        let ring = scheme == 1;
        let count = half_size(fields, 14);
        ensure!(len == FIELDS.saturating_add(count.saturating_mul(BLOCK)), at, Length);
        let parameters = if last { 0 } else { outputs.saturating_mul(W::NEURON) };
        ensure!(neurons.1 == parameters, neurons.0, Length);
        let slots = if ring { 1 } else { taps };
        let truth = if values { inputs } else { inputs.div_ceil(WORD).saturating_mul(4) };
        let listed = if list > 0 { list.saturating_add(1) } else { 0 };
        let slot = truth.saturating_add(inputs.div_ceil(GROUP).saturating_mul(listed));
        let layer = Self {
            inputs,
            outputs,
            taps,
            ring,
            soft: reset == 1,
            values,
            list,
            leak: i32::from_le_bytes([byte(fields, 12), byte(fields, 13), 0, 0]),
            shift: word(&[shift, 0, 0, 0], 0),
            bias_shift: word(&[bias_shift, 0, 0, 0], 0),
            keep,
            gain,
            gain_shift: word(&[gain_shift, 0, 0, 0], 0),
            grown: half_size(fields, 26),
            blocks: attempt!(bytes_at(fields, FIELDS, len.saturating_sub(FIELDS))),
            neurons: attempt!(bytes_at(file, neurons.0, neurons.1)),
            tables: rest(file, tables.0),
            rows: rest(file, rows.0),
            slots,
            slot,
            truth,
            ..Self::NONE
        };
        if ring {
            ensure!(count == 0, at.saturating_add(14), Reserved);
            layer.check_ring::<W>(neurons.0, tables, rows, last)
        } else {
            layer.check_groups::<W>(file.len(), count, at, neurons.0, tables, rows, last)
        }
    }

    /// A row of (delay, weight) for every input, a pair for every output.
    const fn check_ring<W: Weight>(
        self,
        neurons: usize,
        tables: (usize, usize),
        rows: (usize, usize),
        last: bool,
    ) -> Result<Self, FormatError> {
        let len = self.inputs.saturating_mul(self.outputs).saturating_mul(W::SYNAPSE);
        ensure!(tables.1 == 0, tables.0, Length);
        ensure!(rows.1 == len.next_multiple_of(4), rows.0, Length);
        let mut first = 0;
        while first < self.outputs {
            let (mut sums, mut input) = ([0; GROUP], 0);
            let here = min(GROUP, self.outputs.saturating_sub(first));
            while input < self.inputs {
                let place = input.saturating_mul(self.outputs).saturating_add(first);
                let at = place.saturating_mul(W::SYNAPSE);
                let row = attempt!(bytes_at(self.rows, at, here.saturating_mul(W::SYNAPSE)));
                if let Err((n, fault)) = add_row::<W>(row, self.taps, true, &mut sums) {
                    let at = at.saturating_add(n.saturating_mul(W::SYNAPSE));
                    return Err(FormatError { offset: rows.0.saturating_add(at), fault });
                }
                input = input.wrapping_add(1);
            }
            attempt!(self.check_sums::<W>(&sums, first, here, neurons, last));
            first = first.saturating_add(GROUP);
        }
        ensure!(is_zero(padding(self.rows, len)), rows.0.saturating_add(len), Reserved);
        Ok(self)
    }

    /// Blocks divide sources by 256 and targets at will, sources running fastest; tables and rows follow one another.
    const fn check_groups<W: Weight>(
        mut self,
        file: usize,
        count: usize,
        own: usize,
        neurons: usize,
        tables: (usize, usize),
        rows: (usize, usize),
        last: bool,
    ) -> Result<Self, FormatError> {
        let (mut source, mut target, mut targets) = (0, 0usize, 0);
        let (mut table, mut row) = (0usize, 0usize);
        let (mut sums, mut n) = ([0; GROUP], 0);
        while n < count {
            let at = own.saturating_add(FIELDS).saturating_add(n.saturating_mul(BLOCK));
            let block = Block::read(self.blocks, n);
            if source == 0 {
                targets = block.targets;
                sums = [0; GROUP];
            }
            let whole = targets >= 1 && targets <= GROUP && block.targets == targets;
            ensure!(whole && block.row >= 1 && block.row <= GROUP, at, Size);
            ensure!(target.saturating_add(targets) <= self.outputs, at, Size);
            let sources = min(GROUP, self.inputs.saturating_sub(source));
            let there = block.source == source && block.sources == sources;
            ensure!(there && block.target == target, at, Section);
            ensure!(block.table == table && block.rows == row, at, Section);
            ensure!(
                half(self.blocks, n.saturating_mul(BLOCK).saturating_add(10)) == 0,
                at,
                Reserved
            );
            table = table.saturating_add(self.taps.saturating_add(1).saturating_mul(block.sources));
            row = row.saturating_add(sources.saturating_mul(block.row).saturating_mul(W::SYNAPSE));
            ensure!(table <= tables.1, tables.0, Length);
            ensure!(row <= rows.1, rows.0, Length);
            let ahead = tables.0.saturating_add(table).saturating_add(GROUP);
            ensure!(ahead <= file, file, Length);
            let ahead = rows.0.saturating_add(row).saturating_add(AHEAD);
            ensure!(W::CODE == f32::CODE || ahead <= file, file, Length);
            attempt!(self.check_block::<W>(&block, &mut sums, tables.0, rows.0));
            source = source.saturating_add(sources);
            if source == self.inputs {
                attempt!(self.check_sums::<W>(&sums, target, targets, neurons, last));
                self.reach = target.saturating_add(GROUP);
                (source, target) = (0, target.saturating_add(targets));
            }
            n = n.wrapping_add(1);
        }
        ensure!(source == 0 && target == self.outputs, own.saturating_add(14), Size);
        ensure!(tables.1 == table.next_multiple_of(4), tables.0, Length);
        ensure!(is_zero(padding(self.tables, table)), tables.0.saturating_add(table), Reserved);
        ensure!(rows.1 == row.next_multiple_of(4), rows.0, Length);
        ensure!(is_zero(padding(self.rows, row)), rows.0.saturating_add(row), Reserved);
        Ok(self)
    }

    /// Groups of a row add up to its synapses; what follows them is 0.
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
            let at = block.table.saturating_add(line.saturating_mul(block.sources));
            let starts = attempt!(bytes_at(self.tables, at, block.sources));
            ensure!(line > 0 || is_zero(starts), tables.saturating_add(at), Range);
            add_groups(&mut used, before, starts);
            before = starts;
            line = line.wrapping_add(1);
        }
        let (len, mut source) = (block.row.saturating_mul(W::SYNAPSE), 0);
        while source < block.sources {
            let used = size(pick(&used, source, 0));
            let offset = tables.saturating_add(block.table).saturating_add(source);
            ensure!(used <= block.row, offset, Size);
            let used = used.saturating_mul(W::SYNAPSE);
            let at = block.rows.saturating_add(source.saturating_mul(len));
            let row = attempt!(bytes_at(self.rows, at, used));
            let end = at.saturating_add(used);
            let unused = attempt!(bytes_at(self.rows, end, len.saturating_sub(used)));
            ensure!(is_zero(unused), rows.saturating_add(end), Reserved);
            if let Err((n, fault)) = add_row::<W>(row, block.targets, false, sums) {
                let at = at.saturating_add(n.saturating_mul(W::SYNAPSE));
                return Err(FormatError { offset: rows.saturating_add(at), fault });
            }
            source = source.wrapping_add(1);
        }
        Ok(())
    }

    /// No input drives a membrane or what arrives at it out of range, and neurons have thresholds that can be.
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
            let place = first.saturating_add(n).saturating_mul(W::NEURON);
            let offset = if last { neurons } else { neurons.saturating_add(place) };
            if W::CODE == f32::CODE {
                let threshold = f32::from_bits(word(self.neurons, place));
                let bias = f32::from_bits(word(self.neurons, place.saturating_add(4)));
                ensure!(last || (is_in_range(bias) && is_in_range(threshold)), offset, Range);
            } else {
                let arriving = wide(size(pick(sums, n, 0))).saturating_mul(largest);
                ensure!(!self.ring || arriving <= RING, offset, Overflow);
                let bias = half(self.neurons, place.saturating_add(2)).cast_signed();
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
    let input = arriving.saturating_add(bias.wrapping_shr(shift)).saturating_add(2);
    let most = match input.saturating_mul(one).checked_div(one.saturating_sub(leak)) {
        Some(most) => most.saturating_add(1),
        None => return false,
    };
    let product = most.saturating_mul(leak).saturating_add(bias).saturating_add(one);
    let octaves = most.saturating_mul(2).saturating_mul(gain);
    product < 1 << 31 && most < 1 << 30 && octaves < 1 << 32
}

/// The bytes that fill a section up to a multiple of 4.
const fn padding(section: &[u8], len: usize) -> &[u8] {
    match part(section, len, len.next_multiple_of(4).saturating_sub(len)) {
        Some(bytes) => bytes,
        None => &[],
    }
}

const fn rest(file: &[u8], at: usize) -> &[u8] {
    match from(file, at) {
        Some(bytes) => bytes,
        None => &[],
    }
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
