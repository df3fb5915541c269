//! Inference tick by tick, without an allocator: what firmware runs.
//!
//! An [`Engine`] walks a checked [`ModelFile`] file in place. Past spikes of a layer are remembered, as bitmaps and short lists, for
//! as long as the longest delay behind them, and delivered straight into the membranes when they are due; a narrow layer, a readout
//! say, instead adds them to the sums of the tick in which they arrive. There is no window: utterances may last for ever.
//!
//! ```text
//! v[t]  = leak (v[t-1] after its reset) + bias + sum of weight x[t - delay]       spike where v >= threshold
//! ```
//! The integer engine (`i8` weights) computes `v <- (v leak + bias 2^bias_shift) >> shift` in 32 bits, which the model's check has
//! shown to be enough, and adds weights as they are. It uses no floating-point instruction. The `f32` engine uses additions and
//! multiplications alone, in a fixed order, and the crate's own e^x. Both give the same bits on every machine.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

mod float;
mod history;
mod integer;
mod memory;

use crate::format::{Block, Decision, GROUP, Input, LAYERS, Layer, ModelFile, WORD, Weight};
use core::fmt;
#[doc(hidden)]
pub use history::Slot;
use history::{Past, places};
#[cfg(feature = "alloc")]
pub use memory::HeapState;
pub use memory::{EngineState, Memory};

/// What an engine cannot do. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EngineError {
    /// A part of the state that is too small for the model.
    Memory {
        /// `words`, `halves` or `bytes`.
        part: &'static str,
        /// Numbers that the model needs.
        needed: usize,
        /// Numbers that there are.
        found: usize,
    },
    /// A channel that the model does not have.
    Channel {
        /// The channel.
        found: usize,
        /// The model's channels.
        channels: usize,
    },
    /// An input of another length.
    Length {
        /// The length it should have.
        expected: usize,
        /// The length it has.
        found: usize,
    },
    /// A value that the channel cannot have: a model of spikes takes 0 and 1, one of values -127 to 127.
    Value {
        /// The channel.
        channel: usize,
    },
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Memory { part, needed, found } => {
                write!(f, "the model needs {needed} {part} of state, here are {found}")
            }
            Self::Channel { found, channels } => {
                write!(f, "channel {found} of a model with {channels}")
            }
            Self::Length { expected, found } => write!(f, "an input of {found}, not {expected}"),
            Self::Value { channel } => write!(f, "channel {channel}: a value out of range"),
        }
    }
}

impl core::error::Error for EngineError {}

/// The arithmetic behind a kind of weight.
pub trait Arithmetic: Weight {
    /// A membrane or a score.
    type Number: Copy + PartialOrd + fmt::Debug;
    /// A sum that is yet to arrive.
    #[doc(hidden)]
    type Cell: Copy;
    /// The word of the lowest number.
    #[doc(hidden)]
    const LOWEST: i32;

    /// The number that a word of the state stands for.
    fn number(word: i32) -> Self::Number;

    /// The sums of a ring.
    #[doc(hidden)]
    fn cells<'a>(
        memory: &'a mut Memory<'_>,
        layer: &Layer<'_>,
    ) -> (&'a mut [i32], &'a mut [Self::Cell]);
    /// Adds the groups of spikes to membranes.
    #[doc(hidden)]
    fn deliver_spikes(v: &mut [i32; GROUP], pre: &[u8], due: &Due<'_>);
    /// The same, times the values of the sources.
    #[doc(hidden)]
    fn deliver_values(v: &mut [i32; GROUP], pre: &[u8], values: &[u8], due: &Due<'_>);
    /// Adds a row, times a value, to the sums of its time.
    #[doc(hidden)]
    fn deliver_ahead(cells: &mut [Self::Cell], taps: usize, now: usize, row: &[u8], value: i8);
    /// Moves what is due from the sums to the membranes.
    #[doc(hidden)]
    fn arrive(v: &mut [i32], cells: &mut [Self::Cell], taps: usize, now: usize);
    /// Fires, resets, leaks and adds the bias of the next tick; writes the spikes where they are heard.
    #[doc(hidden)]
    fn advance(layer: &Layer<'_>, v: &mut [i32], slot: Option<&mut Slot<'_>>);
    /// Scores the readout's membrane and leaks it.
    #[doc(hidden)]
    fn read_out(layer: &Layer<'_>, decision: Decision, v: &mut [i32], scores: &mut [i32]);
}

/// What is due after one delay: where groups begin, and as many places later end, and the rows.
#[doc(hidden)]
#[derive(Debug)]
pub struct Due<'a> {
    pub(crate) table: &'a [u8; 2 * GROUP],
    /// Sources of the block, less 1.
    pub(crate) beyond: u8,
    pub(crate) rows: &'a [u8],
    /// Bytes of a row.
    pub(crate) row: usize,
}

/// A network at work.
///
/// ```
/// use polychron_core::format::ModelFile;
/// use polychron_core::infer::{Engine, EngineState};
///
/// #[allow(long_running_const_eval)]
/// const MODEL: ModelFile = ModelFile::parse_static(include_bytes!("../../tests/golden/small.pcn"));
///
/// let mut state = State::<{ MODEL.words() }, { MODEL.halves() }, { MODEL.bytes() }>::new();
/// let mut engine = Engine::new(&MODEL, &mut state)?;
/// for tick in [&[0u16, 3][..], &[], &[2]] {
///     engine.step(tick)?;
/// }
/// assert!(engine.decide() < MODEL.classes());
/// # Ok::<(), polychron_core::infer::EngineError>(())
/// ```
#[derive(Debug)]
pub struct Engine<'a, W = i8> {
    model: &'a ModelFile<'a, W>,
    memory: Memory<'a>,
    /// The place of this tick in every layer's history or ring.
    now: [u16; LAYERS],
    /// Inputs of every layer in the last tick that were not 0.
    active: [u16; LAYERS],
}

impl<'a, W: Arithmetic> Engine<'a, W> {
    /// A network before its first tick; what the state held is forgotten.
    ///
    /// # Errors
    /// [`EngineError::Memory`] for a state that is too small.
    pub fn new(
        model: &'a ModelFile<'a, W>,
        state: impl Into<Memory<'a>>,
    ) -> Result<Self, EngineError> {
        let memory: Memory<'_> = state.into();
        for (part, needed, found) in [
            ("words", model.words(), memory.words.len()),
            ("halves", model.halves(), memory.halves.len()),
            ("bytes", model.bytes(), memory.bytes.len()),
        ] {
            if found < needed {
                return Err(EngineError::Memory { part, needed, found });
            }
        }
        let mut engine = Self { model, memory, now: [0; LAYERS], active: [0; LAYERS] };
        engine.reset();
        Ok(engine)
    }

    /// Forgets everything: the next tick is the first.
    pub fn reset(&mut self) {
        self.memory.words.fill(0);
        self.memory.halves.fill(0);
        self.memory.bytes.fill(0);
        self.now = [0; LAYERS];
        self.active = [0; LAYERS];
        for layer in self.model.layers() {
            if let Some(v) = part(self.memory.words, layer.membranes, layer.outputs) {
                W::advance(layer, v, None);
            }
        }
        self.forget_scores();
    }

    /// Begins the scores anew; spikes on their way and membranes stay.
    pub fn forget_scores(&mut self) {
        let first = if self.model.decision() == Decision::Max { W::LOWEST } else { 0 };
        if let Some((_, scores)) = self.readout_mut() {
            scores.fill(first);
        }
    }

    /// One tick, in which these channels spike. A channel that is named twice spikes once; in a model of values it has
    /// the value 1. In single precision their order is one of additions.
    ///
    /// Cost: the synapses of the spikes that arrive, and every neuron. [`ModelFile`]'s file, printed by `inspect`, says how much.
    ///
    /// # Errors
    /// [`EngineError::Channel`].
    pub fn step(&mut self, channels: &[u16]) -> Result<(), EngineError> {
        let all = self.model.channels();
        if let Some(&found) = channels.iter().find(|&&channel| usize::from(channel) >= all) {
            return Err(EngineError::Channel { found: found.into(), channels: all });
        }
        self.tick(None, |slot| {
            for &channel in channels {
                slot.set(channel.into(), 1);
            }
        });
        Ok(())
    }

    /// One tick, in which the channels of set bits spike: bit `i % 8` of byte `i / 8`, counted from the lowest, is channel i.
    ///
    /// # Errors
    /// [`EngineError::Length`] where the bytes are not as many as the channels need, [`EngineError::Channel`] for a set bit
    /// without a channel.
    pub fn step_bits(&mut self, bits: &[u8]) -> Result<(), EngineError> {
        let all = self.model.channels();
        let expected = all.div_ceil(8);
        if bits.len() != expected {
            return Err(EngineError::Length { expected, found: bits.len() });
        }
        let beyond = match u32::try_from(all & 7) {
            Ok(used @ 1..) => bits.last().map_or(0, |&last| last.wrapping_shr(used)),
            _ => 0,
        };
        if beyond != 0 {
            let found = all.saturating_add(usize::try_from(beyond.trailing_zeros()).unwrap_or(0));
            return Err(EngineError::Channel { found, channels: all });
        }
        self.tick(None, |slot| {
            for (n, &byte) in bits.iter().enumerate() {
                let mut left = byte;
                while left != 0 {
                    let bit = usize::try_from(left.trailing_zeros()).unwrap_or(0);
                    slot.set(n.wrapping_mul(8).wrapping_add(bit), 1);
                    left &= left.wrapping_sub(1);
                }
            }
        });
        Ok(())
    }

    /// One tick, in which every channel has a value: a count of events, or a graded one. A model of spikes takes 0 and 1.
    ///
    /// # Errors
    /// [`EngineError::Length`] for other than one value a channel, [`EngineError::Value`] for -128 or, in a model of
    /// spikes, other than 0 and 1.
    pub fn step_values(&mut self, values: &[i8]) -> Result<(), EngineError> {
        let expected = self.model.channels();
        if values.len() != expected {
            return Err(EngineError::Length { expected, found: values.len() });
        }
        let spikes = self.model.input() == Input::Spikes;
        let wrong = |&x: &i8| x == i8::MIN || (spikes && x & 1 != x);
        if let Some(channel) = values.iter().position(wrong) {
            return Err(EngineError::Value { channel });
        }
        self.tick(None, |slot| {
            for (channel, &value) in values.iter().enumerate() {
                if value != 0 {
                    slot.set(channel, value);
                }
            }
        });
        Ok(())
    }

    /// Ends an utterance: [`ModelFile::tail`] silent ticks, in which the layers fall silent one after the other, as they do
    /// behind an utterance in training. [`reset`](Self::reset) comes before the next one.
    pub fn finish(&mut self) {
        for past in 0..self.model.tail() {
            self.tick(Some(past), |_| ());
        }
    }

    /// The class with the highest score so far; the first of equals.
    pub fn decide(&self) -> usize {
        let mut best = (0, W::LOWEST);
        for (class, &score) in self.scores().iter().enumerate() {
            if W::number(score) > W::number(best.1) {
                best = (class, score);
            }
        }
        best.0
    }

    /// A score a class, as words that [`Arithmetic::number`] reads. The sums of the integer engine end at the largest and the
    /// smallest `i32`: [begin anew](Self::forget_scores) after 65535 ticks of a softmax, or 2^31 over the largest membrane.
    pub fn scores(&self) -> &[i32] {
        let Some(layer) = self.model.layers().last() else { return &[] };
        let first = layer.membranes.saturating_add(layer.outputs);
        self.memory.words.get(first..first.saturating_add(layer.outputs)).unwrap_or(&[])
    }

    /// The membranes of a layer, the readout's last, after their leak: as words that [`Arithmetic::number`] reads.
    pub fn membranes(&self, layer: usize) -> &[i32] {
        let Some(layer) = self.model.layers().get(layer) else { return &[] };
        let end = layer.membranes.saturating_add(layer.outputs);
        self.memory.words.get(layer.membranes..end).unwrap_or(&[])
    }

    /// Spikes of a hidden layer in the last tick.
    pub fn spikes(&self, layer: usize) -> usize {
        self.active.get(layer.saturating_add(1)).map_or(0, |&n| n.into())
    }

    /// The neurons of a hidden layer that spiked in the last tick, in ascending order.
    pub fn spiking(&self, layer: usize) -> impl Iterator<Item = usize> {
        let next = layer.saturating_add(1);
        let history = self.model.layers().get(next).and_then(|layer| {
            let now = self.now.get(next).map_or(0, |&now| usize::from(now));
            let last = if now == 0 { layer.slots } else { now }.wrapping_sub(1);
            let slot = if layer.ring { 0 } else { last };
            let at = layer.history.wrapping_add(slot.wrapping_mul(layer.slot));
            self.memory.bytes.get(at..)?.get(..layer.truth)
        });
        let bytes = history.unwrap_or(&[]).iter().enumerate();
        bytes
            .flat_map(|(n, &byte)| places(byte).map(move |bit| n.wrapping_mul(8).wrapping_add(bit)))
    }

    /// The same as a list; where more spiked than it holds, the first.
    #[cfg(feature = "heapless")]
    pub fn spike_list<const N: usize>(&self, layer: usize) -> heapless::Vec<u16, N> {
        self.spiking(layer).take(N).filter_map(|neuron| u16::try_from(neuron).ok()).collect()
    }

    /// The model.
    pub fn model(&self) -> &'a ModelFile<'a, W> {
        self.model
    }

    /// `past` counts the ticks since the end of an utterance, where it has ended.
    fn tick(&mut self, past: Option<usize>, input: impl FnOnce(&mut Slot<'_>)) {
        self.write(0, input);
        let (layers, decision) = (self.model.layers(), self.model.decision());
        for (l, layer) in layers.iter().enumerate() {
            let now = self.now.get(l).map_or(0, |&now| now.into());
            if layer.ring {
                self.deliver_ring(layer, now);
            } else {
                self.deliver_groups(layer, now);
            }
            let next: usize =
                if now.wrapping_add(1) == layer.taps { 0 } else { now.wrapping_add(1) };
            if let Some(now) = self.now.get_mut(l) {
                *now = u16::try_from(next).unwrap_or(0);
            }
            if l.wrapping_add(1) < layers.len() {
                let heard = past.is_none_or(|past| past < layer.padding);
                self.fire(layer, l.wrapping_add(1), heard);
            } else if let Some((v, scores)) = self.readout_mut() {
                W::read_out(layer, decision, v, scores);
            }
        }
    }

    /// Writes this tick's inputs of a layer.
    fn write(&mut self, l: usize, input: impl FnOnce(&mut Slot<'_>)) {
        let Some(layer) = self.model.layers().get(l) else { return };
        let now = if layer.ring { 0 } else { self.now.get(l).map_or(0, |&now| usize::from(now)) };
        let at = layer.history.wrapping_add(now.wrapping_mul(layer.slot));
        let Some(bytes) = part(self.memory.bytes, at, layer.slot) else { return };
        let Some(mut slot) = Slot::clear(bytes, layer) else { return };
        input(&mut slot);
        if let Some(active) = self.active.get_mut(l) {
            *active = slot.active;
        }
    }

    /// Advances a layer's neurons and writes their spikes to the history of the next one.
    fn fire(&mut self, layer: &Layer<'_>, next: usize, heard: bool) {
        let words: &mut [i32] = core::mem::take(&mut self.memory.words);
        if let Some(v) = part(words, layer.membranes, layer.outputs) {
            self.write(next, |slot| {
                W::advance(layer, v, if heard { Some(slot) } else { None });
            });
        }
        self.memory.words = words;
    }

    fn readout_mut(&mut self) -> Option<(&mut [i32], &mut [i32])> {
        let layer = self.model.layers().last()?;
        let both = layer.outputs.wrapping_mul(2);
        part(self.memory.words, layer.membranes, both)?.split_at_mut_checked(layer.outputs)
    }

    #[inline(never)]
    fn deliver_groups(&mut self, layer: &Layer<'_>, now: usize) {
        let Memory { words, bytes, .. } = &mut self.memory;
        let history = bytes.get(layer.history..).unwrap_or(&[]);
        let len = layer.taps.wrapping_mul(layer.slot);
        let history = history.get(..len).unwrap_or(&[]);
        let current = now.wrapping_add(1).wrapping_mul(layer.slot);
        let (recent, older) = history.split_at_checked(current).unwrap_or((&[], &[]));
        for block in layer.blocks {
            let block = Block::read(block);
            let list = if layer.values { usize::MAX } else { layer.list_of(block.source) };
            let first = layer.membranes.wrapping_add(block.target);
            let v = words.get_mut(first..).and_then(|v| v.first_chunk_mut());
            let (Some(v), Some(rows)) = (v, layer.rows.get(block.rows..)) else { continue };
            let row = block.row.wrapping_mul(W::SYNAPSE);
            let [beyond, ..] = block.sources.wrapping_sub(1).to_le_bytes();
            let mut due = Due { table: &[0; 2 * GROUP], beyond, rows, row };
            let mut at = block.table;
            for slots in [recent, older] {
                for slot in slots.rchunks_exact(layer.slot.max(1)) {
                    let here = at;
                    at = at.wrapping_add(block.sources);
                    let listed = match slot.get(list..) {
                        Some([0, ..]) => continue,
                        Some([count, entries @ ..]) if *count != history::FULL => {
                            entries.get(..usize::from(*count))
                        }
                        _ => None,
                    };
                    let table = layer.tables.get(here..).and_then(|table| table.first_chunk());
                    let Some(table) = table else { continue };
                    due.table = table;
                    match listed {
                        Some(pre) => W::deliver_spikes(v, pre, &due),
                        None => deliver_others::<W>(v, slot, layer, block.source, &due),
                    }
                }
            }
        }
    }

    #[inline(never)]
    fn deliver_ring(&mut self, layer: &Layer<'_>, now: usize) {
        let end = layer.history.wrapping_add(layer.slot);
        let bytes: &mut [u8] = core::mem::take(&mut self.memory.bytes);
        let (v, cells) = W::cells(&mut self.memory, layer);
        if let Some(slot) = bytes.get(layer.history..end) {
            let len = layer.outputs.wrapping_mul(W::SYNAPSE);
            for source in (0..layer.inputs).step_by(GROUP) {
                let mut past = Past::new(slot, layer, source);
                let mut room = [0; WORD];
                while let Some(pre) = past.next(&mut room) {
                    for &pre in pre {
                        let at = source.wrapping_add(pre.into()).wrapping_mul(len);
                        let row = layer.rows.get(at..).and_then(|rows| rows.get(..len));
                        let value = past.value(pre);
                        W::deliver_ahead(cells, layer.taps, now, row.unwrap_or(&[]), value);
                    }
                }
            }
        }
        W::arrive(v, cells, layer.taps, now);
        self.memory.bytes = bytes;
    }
}

/// Delivers a past tick whose inputs are values, or more than are listed.
#[inline(never)]
fn deliver_others<W: Arithmetic>(
    v: &mut [i32; GROUP],
    slot: &[u8],
    layer: &Layer<'_>,
    source: usize,
    due: &Due<'_>,
) {
    let mut past = Past::new(slot, layer, source);
    let mut room = [0; WORD];
    while let Some(pre) = past.next(&mut room) {
        if past.values {
            W::deliver_values(v, pre, past.truth, due);
        } else {
            W::deliver_spikes(v, pre, due);
        }
    }
}

fn part<T>(all: &mut [T], at: usize, len: usize) -> Option<&mut [T]> {
    all.get_mut(at..)?.get_mut(..len)
}
