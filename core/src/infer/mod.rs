//! Inference tick by tick, without an allocator: the part of this crate that firmware runs.
//!
//! An [`Engine`] runs a checked [`ModelFile`] in place. It stores the past spikes of a layer, as
//! bitmaps and short lists, for as long as the longest delay, and adds them to the membranes when
//! they are due. A layer with few neurons, such as a readout, adds them at once to the sums of the
//! ticks in which they arrive. There is no window: an utterance may have any length.
//!
//! ```text
//! v[t]  = decay (v[t-1] after its reset) + bias + sum of weight x[t - delay]
//! s[t]  = 1 if v[t] >= threshold, else 0
//! ```
//! The integer engine (`i8` weights) computes `v <- (v decay + bias 2^bias_shift) >> shift` in 32
//! bits. [`ModelFile::parse`] has checked that 32 bits are enough. The engine executes no
//! floating-point instruction. The `f32` engine executes additions and multiplications in a fixed
//! order, and its own e^x. Both give the same bits on every machine.
//!
//! An engine has no locks and no globals: it is [`Send`] and [`Sync`]. One thread or interrupt
//! handler at a time calls [`step`](Engine::step), which takes `&mut self`.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

mod error;
mod float;
mod history;
mod integer;
mod memory;
pub mod recording;

use crate::format::{Block, Decision, GROUP, Input, Layer, MAX_LAYERS, ModelFile, WORD, Weight};
use core::fmt;
pub use error::EngineError;
#[doc(hidden)]
pub use history::TickRecord;
use history::{PastTick, deliver_unlisted, set_bits};
#[cfg(feature = "alloc")]
pub use memory::HeapState;
pub use memory::{EngineState, StateBuffers};

/// The arithmetic of an engine, chosen by its type of weights: `i8` or `f32`.
pub trait Arithmetic: Weight {
    /// The type of a membrane or a score: `i32` for `i8` weights, `f32` for `f32` weights.
    type Number: Copy + PartialOrd + fmt::Debug;
    /// A sum that is still to arrive.
    #[doc(hidden)]
    type Cell: Copy;
    /// The word of the smallest number.
    #[doc(hidden)]
    const LOWEST: i32;

    /// Converts a word of [`Engine::scores`] or [`Engine::membranes`] to a number.
    fn number(word: i32) -> Self::Number;

    /// The sums of a ring.
    #[doc(hidden)]
    fn cells<'a>(
        memory: &'a mut StateBuffers<'_>,
        layer: &Layer<'_>,
    ) -> (&'a mut [i32], &'a mut [Self::Cell]);
    /// Adds the groups of spikes to the membranes.
    #[doc(hidden)]
    fn deliver_spikes(v: &mut [i32; GROUP], pre: &[u8], due: &Due<'_>);
    /// The same, times the values of the sources.
    #[doc(hidden)]
    fn deliver_values(v: &mut [i32; GROUP], pre: &[u8], values: &[u8], due: &Due<'_>);
    /// Adds a row, times a value, to the sums of the ticks in which it arrives.
    #[doc(hidden)]
    fn deliver_ahead(cells: &mut [Self::Cell], taps: usize, now: usize, row: &[u8], value: i8);
    /// Moves the sums that are due to the membranes.
    #[doc(hidden)]
    fn arrive(v: &mut [i32], cells: &mut [Self::Cell], taps: usize, now: usize);
    /// Fires, resets and decays the membranes and adds the bias of the next tick; writes the spikes
    /// to the record, if there is one.
    #[doc(hidden)]
    fn advance(layer: &Layer<'_>, v: &mut [i32], record: Option<&mut TickRecord<'_>>);
    /// Adds the membranes of the readout to the scores and decays them.
    #[doc(hidden)]
    fn read_out(layer: &Layer<'_>, decision: Decision, v: &mut [i32], scores: &mut [i32]);
}

/// The groups of a block that are due after one delay. A group begins at the table's entry for its
/// source and ends at the entry one line later.
#[doc(hidden)]
#[derive(Debug)]
pub struct Due<'a> {
    pub(crate) table: &'a [u8; 2 * GROUP],
    /// The index of the last source in the block.
    pub(crate) last_source: u8,
    pub(crate) rows: &'a [u8],
    /// The number of bytes of a row.
    pub(crate) row: usize,
}

/// Runs a model on one stream of input.
///
/// RAM: the state, of [`ModelFile::ram`] bytes, and about 60 bytes on a 32-bit processor. The stack
/// takes less than 0.5 KiB per call. Nothing allocates or panics.
///
/// ```
/// use polychron_core::format::ModelFile;
/// use polychron_core::infer::{Engine, EngineState};
///
/// const FILE: &[u8] = include_bytes!("../../tests/golden/small.pcn");
/// #[allow(long_running_const_eval)]
/// const MODEL: ModelFile = ModelFile::parse_static(FILE);
///
/// type State = EngineState<
///     { MODEL.state_words() },
///     { MODEL.state_halves() },
///     { MODEL.state_bytes() },
/// >;
/// let mut state = State::new();
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
    memory: StateBuffers<'a>,
    /// The index of this tick in the history or ring of every layer.
    now: [u16; MAX_LAYERS],
    /// The number of inputs of every layer that were not zero in the last tick.
    active: [u16; MAX_LAYERS],
}

impl<'a, W: Arithmetic> Engine<'a, W> {
    /// An engine before its first tick. The previous contents of the state are erased.
    ///
    /// # Errors
    /// [`EngineError::Memory`] if a buffer of the state is too small.
    pub fn new(
        model: &'a ModelFile<'a, W>,
        state: impl Into<StateBuffers<'a>>,
    ) -> Result<Self, EngineError> {
        let memory: StateBuffers<'_> = state.into();
        for (part, needed, found) in [
            ("words", model.state_words(), memory.words.len()),
            ("halves", model.state_halves(), memory.halves.len()),
            ("bytes", model.state_bytes(), memory.bytes.len()),
        ] {
            if found < needed {
                return Err(EngineError::Memory { part, needed, found });
            }
        }
        let mut engine = Self { model, memory, now: [0; MAX_LAYERS], active: [0; MAX_LAYERS] };
        engine.reset();
        Ok(engine)
    }

    /// Returns to the state before the first tick.
    pub fn reset(&mut self) {
        self.memory.words.fill(0);
        self.memory.halves.fill(0);
        self.memory.bytes.fill(0);
        self.now = [0; MAX_LAYERS];
        self.active = [0; MAX_LAYERS];
        for layer in self.model.layers() {
            if let Some(v) = part(self.memory.words, layer.membranes, layer.outputs) {
                W::advance(layer, v, None);
            }
        }
        self.forget_scores();
    }

    /// Restarts the scores. Membranes and spikes that are still to arrive stay as they are.
    ///
    /// In an endless stream, call this at least every 65,535 ticks: see [`scores`](Self::scores).
    pub fn forget_scores(&mut self) {
        let first = if self.model.decision() == Decision::Max { W::LOWEST } else { 0 };
        if let Some((_, scores)) = self.readout_mut() {
            scores.fill(first);
        }
    }

    /// Runs one tick in which these channels spike.
    ///
    /// The order does not matter, except to the rounding of the `f32` engine. A channel that occurs
    /// twice spikes once. In a model of values a spike is the value 1.
    ///
    /// Cost: the synapses of the spikes that arrive in this tick, and every neuron. `polychron
    /// inspect` estimates the instructions of a model.
    ///
    /// # Errors
    /// [`EngineError::Channel`] if a channel does not exist.
    pub fn step(&mut self, channels: &[u16]) -> Result<(), EngineError> {
        let all = self.model.channels();
        if let Some(&found) = channels.iter().find(|&&channel| usize::from(channel) >= all) {
            return Err(EngineError::Channel { found: found.into(), channels: all });
        }
        self.tick(None, |record| {
            for &channel in channels {
                record.set(channel.into(), 1);
            }
        });
        Ok(())
    }

    /// Runs one tick in which the channels of the set bits spike. Channel `i` is bit `i % 8`,
    /// counted from the least significant, of byte `i / 8`.
    ///
    /// # Errors
    /// [`EngineError::Length`] if there are not exactly as many bytes as the channels need;
    /// [`EngineError::Channel`] if a set bit has no channel.
    pub fn step_bits(&mut self, bits: &[u8]) -> Result<(), EngineError> {
        let all = self.model.channels();
        let expected = all.div_ceil(8);
        if bits.len() != expected {
            return Err(EngineError::Length { expected, found: bits.len() });
        }
        let excess = match u32::try_from(all & 7) {
            Ok(used @ 1..) => bits.last().map_or(0, |&last| last.wrapping_shr(used)),
            _ => 0,
        };
        if excess != 0 {
            let found = all.saturating_add(usize::try_from(excess.trailing_zeros()).unwrap_or(0));
            return Err(EngineError::Channel { found, channels: all });
        }
        self.tick(None, |record| {
            for (n, &byte) in bits.iter().enumerate() {
                let mut left = byte;
                while left != 0 {
                    let bit = usize::try_from(left.trailing_zeros()).unwrap_or(0);
                    record.set(n.wrapping_mul(8).wrapping_add(bit), 1);
                    left &= left.wrapping_sub(1);
                }
            }
        });
        Ok(())
    }

    /// Runs one tick with one value per channel, such as a count of events.
    ///
    /// # Errors
    /// [`EngineError::Length`] if there is not exactly one value per channel;
    /// [`EngineError::Value`] if a value is -128 or, in a model of spikes, neither 0 nor 1.
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
        self.tick(None, |record| {
            for (channel, &value) in values.iter().enumerate() {
                if value != 0 {
                    record.set(channel, value);
                }
            }
        });
        Ok(())
    }

    /// Ends an utterance: runs [`ModelFile::padding`] silent ticks, in which the last spikes
    /// arrive. As in training, the layers fall silent one after the other. Call
    /// [`reset`](Self::reset) before the next utterance.
    pub fn finish(&mut self) {
        for past in 0..self.model.padding() {
            self.tick(Some(past), |_| ());
        }
    }

    /// The class with the highest score so far; of equal scores the first.
    #[must_use]
    pub fn decide(&self) -> usize {
        let mut best = (0, W::LOWEST);
        for (class, &score) in self.scores().iter().enumerate() {
            if W::number(score) > W::number(best.1) {
                best = (class, score);
            }
        }
        best.0
    }

    /// One score per class, as words that [`Arithmetic::number`] converts; for `i8` weights a word
    /// is the score itself.
    ///
    /// Units of the integer engine: with [`Decision::SoftmaxSum`], every tick adds 32768 in all,
    /// divided among the classes, so that `score / (32768 ticks)` is the mean share of a class.
    /// Otherwise the unit is that of the membrane, which is chosen when a model is quantized. The
    /// `f32` engine adds shares of 1.
    ///
    /// The sums of the integer engine saturate at the largest and the smallest `i32`.
    /// [Restart](Self::forget_scores) them after at most 65,535 ticks of a softmax, or after `2^31`
    /// divided by the largest membrane.
    #[must_use]
    pub fn scores(&self) -> &[i32] {
        let Some(layer) = self.model.layers().last() else { return &[] };
        let first = layer.membranes.saturating_add(layer.outputs);
        self.memory.words.get(first..first.saturating_add(layer.outputs)).unwrap_or(&[])
    }

    /// The membranes of a layer after their decay, as words that [`Arithmetic::number`] converts.
    /// Layers count from 0; the readout is the last.
    #[must_use]
    pub fn membranes(&self, layer: usize) -> &[i32] {
        let Some(layer) = self.model.layers().get(layer) else { return &[] };
        let end = layer.membranes.saturating_add(layer.outputs);
        self.memory.words.get(layer.membranes..end).unwrap_or(&[])
    }

    /// The number of neurons of a hidden layer that spiked in the last tick.
    #[must_use]
    pub fn spikes(&self, layer: usize) -> usize {
        self.active.get(layer.saturating_add(1)).map_or(0, |&n| n.into())
    }

    /// The neurons of a hidden layer that spiked in the last tick, in ascending order.
    pub fn spiking(&self, layer: usize) -> impl Iterator<Item = usize> {
        let next = layer.saturating_add(1);
        let history = self.model.layers().get(next).and_then(|layer| {
            let now = self.now.get(next).map_or(0, |&now| usize::from(now));
            let last = if now == 0 { layer.records } else { now }.wrapping_sub(1);
            let index = if layer.ring { 0 } else { last };
            let at = layer.history.wrapping_add(index.wrapping_mul(layer.record_len));
            self.memory.bytes.get(at..)?.get(..layer.bitmap_len)
        });
        let bytes = history.unwrap_or(&[]).iter().enumerate();
        bytes.flat_map(|(n, &byte)| {
            set_bits(byte).map(move |bit| n.wrapping_mul(8).wrapping_add(bit))
        })
    }

    /// The neurons of a hidden layer that spiked in the last tick, in ascending order; the first
    /// `N` if there are more. The list is one of `heapless` 0.9.
    ///
    /// A [`heapless::Vec`] also collects the spikes of a tick without an allocator:
    /// ```
    /// # use polychron_core::{format::ModelFile, infer::{Engine, EngineState}};
    /// # let file = include_bytes!("../../tests/golden/small.pcn");
    /// # let model = <ModelFile>::parse(file).unwrap();
    /// # let mut state = EngineState::<300, 16, 64>::new();
    /// # let mut engine = Engine::new(&model, &mut state).unwrap();
    /// let mut spikes = heapless::Vec::<u16, 4>::new();
    /// spikes.push(3).unwrap(); // in the interrupt of a sensor
    /// engine.step(&spikes).unwrap();
    /// let hidden: heapless::Vec<u16, 8> = engine.spike_list(0);
    /// assert_eq!(hidden.len(), engine.spikes(0));
    /// ```
    #[cfg(feature = "heapless")]
    pub fn spike_list<const N: usize>(&self, layer: usize) -> heapless::Vec<u16, N> {
        self.spiking(layer).take(N).filter_map(|neuron| u16::try_from(neuron).ok()).collect()
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &'a ModelFile<'a, W> {
        self.model
    }

    /// Runs a tick. `past` is the number of ticks since the end of the utterance, if it has ended.
    fn tick(&mut self, past: Option<usize>, input: impl FnOnce(&mut TickRecord<'_>)) {
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
                let audible = past.is_none_or(|past| past < layer.padding);
                self.fire(layer, l.wrapping_add(1), audible);
            } else if let Some((v, scores)) = self.readout_mut() {
                W::read_out(layer, decision, v, scores);
            }
        }
    }

    /// Records the inputs of a layer in this tick.
    fn write(&mut self, l: usize, input: impl FnOnce(&mut TickRecord<'_>)) {
        let Some(layer) = self.model.layers().get(l) else { return };
        let now = if layer.ring { 0 } else { self.now.get(l).map_or(0, |&now| usize::from(now)) };
        let at = layer.history.wrapping_add(now.wrapping_mul(layer.record_len));
        let Some(bytes) = part(self.memory.bytes, at, layer.record_len) else { return };
        let Some(mut record) = TickRecord::clear(bytes, layer) else { return };
        input(&mut record);
        if let Some(active) = self.active.get_mut(l) {
            *active = record.active;
        }
    }

    /// Advances the neurons of a layer and records their spikes, if audible, as inputs of the next
    /// one.
    fn fire(&mut self, layer: &Layer<'_>, next: usize, audible: bool) {
        let words: &mut [i32] = core::mem::take(&mut self.memory.words);
        if let Some(v) = part(words, layer.membranes, layer.outputs) {
            self.write(next, |record| {
                W::advance(layer, v, if audible { Some(record) } else { None });
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
        let StateBuffers { words, bytes, .. } = &mut self.memory;
        let history = bytes.get(layer.history..).unwrap_or(&[]);
        let len = layer.taps.wrapping_mul(layer.record_len);
        let history = history.get(..len).unwrap_or(&[]);
        let current = now.wrapping_add(1).wrapping_mul(layer.record_len);
        let (recent, older) = history.split_at_checked(current).unwrap_or((&[], &[]));
        for block in layer.blocks {
            let block = Block::read(block);
            let list = if layer.values { usize::MAX } else { layer.list_of(block.source) };
            let first = layer.membranes.wrapping_add(block.target);
            let v = words.get_mut(first..).and_then(|v| v.first_chunk_mut());
            let (Some(v), Some(rows)) = (v, layer.rows.get(block.rows..)) else { continue };
            let row = block.row.wrapping_mul(W::SYNAPSE);
            let [last_source, ..] = block.sources.wrapping_sub(1).to_le_bytes();
            let mut due = Due { table: &[0; 2 * GROUP], last_source, rows, row };
            let mut at = block.table;
            for records in [recent, older] {
                for record in records.rchunks_exact(layer.record_len.max(1)) {
                    let here = at;
                    at = at.wrapping_add(block.sources);
                    let listed = match record.get(list..) {
                        Some([0, ..]) => continue,
                        Some([count, entries @ ..]) if *count != history::INCOMPLETE => {
                            entries.get(..usize::from(*count))
                        }
                        _ => None,
                    };
                    let table = layer.tables.get(here..).and_then(|table| table.first_chunk());
                    let Some(table) = table else { continue };
                    due.table = table;
                    match listed {
                        Some(pre) => W::deliver_spikes(v, pre, &due),
                        None => deliver_unlisted::<W>(v, record, layer, block.source, &due),
                    }
                }
            }
        }
    }

    #[inline(never)]
    fn deliver_ring(&mut self, layer: &Layer<'_>, now: usize) {
        let end = layer.history.wrapping_add(layer.record_len);
        let bytes: &mut [u8] = core::mem::take(&mut self.memory.bytes);
        let (v, cells) = W::cells(&mut self.memory, layer);
        if let Some(record) = bytes.get(layer.history..end) {
            let len = layer.outputs.wrapping_mul(W::SYNAPSE);
            for source in (0..layer.inputs).step_by(GROUP) {
                let mut past = PastTick::new(record, layer, source);
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

fn part<T>(all: &mut [T], at: usize, len: usize) -> Option<&mut [T]> {
    all.get_mut(at..)?.get_mut(..len)
}
