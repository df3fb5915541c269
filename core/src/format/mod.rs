//! The model file: a trained network as firmware reads it, in place.
//!
//! The layout is specified in `core/FORMAT.md`. [`Model::parse`] checks a file once and whole: sizes, ranges, every synapse's
//! target, and that no input can drive an accumulator out of its range. An [`Engine`](crate::infer::Engine) made of the
//! model then neither indexes out of bounds nor overflows.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

macro_rules! ensure {
    ($condition:expr, $offset:expr, $fault:ident) => {
        if !$condition {
            return Err(FormatError { offset: $offset, fault: Fault::$fault });
        }
    };
}

macro_rules! attempt {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => return Err(error),
        }
    };
}

mod error;
mod info;
mod layer;
mod read;

use core::marker::PhantomData;
pub use error::{Fault, FormatError};
pub use info::{LayerInfo, Scheme};
#[doc(hidden)]
pub use layer::Layer;
pub(crate) use layer::{AHEAD, Block, GROUP, WORD};
#[cfg(feature = "alloc")]
pub(crate) use layer::{BLOCK, FIELDS, RING, fits};
pub(crate) use read::crc32;
use read::{byte, byte_size, half, half_size, is_zero, part, size, word};

/// What a file begins with.
pub const MAGIC: [u8; 4] = *b"PCN\0";
/// The version that this crate writes and reads.
pub const VERSION: u16 = 1;
/// Most projections of a model, the readout's included.
pub const LAYERS: usize = 8;
/// Most neurons or channels of a layer.
pub const WIDTH: usize = 4096;
/// Most taps: delays are 0 to 255 ticks.
pub const TAPS: usize = 256;
/// Bytes of the longest file.
pub const LENGTH: usize = 1 << 24;

pub(crate) const HEADER: usize = 32;
pub(crate) const SECTION: usize = 12;
/// Sections of a layer, in their order: its own fields, neurons, tables, rows.
pub(crate) const PARTS: usize = 4;

mod private {
    pub trait Sealed {}
    impl Sealed for i8 {}
    impl Sealed for f32 {}
}

/// The kinds of weights: `i8` for the integer engine, which uses no floating-point instruction, and `f32`.
pub trait Weight: private::Sealed + Copy + core::fmt::Debug + 'static {
    /// The kind's code in a file.
    const CODE: u8;
    /// Bytes of a synapse in a row of groups.
    const SYNAPSE: usize;
    /// Bytes of a neuron.
    const NEURON: usize;

    /// The weight's bytes, as many as it has.
    fn write(self, to: &mut impl Extend<u8>);
    /// Whether it is 0.
    fn is_zero(self) -> bool;
}

impl Weight for i8 {
    const CODE: u8 = 0;
    const SYNAPSE: usize = 2;
    const NEURON: usize = 4;

    fn write(self, to: &mut impl Extend<u8>) {
        to.extend(self.to_le_bytes());
    }
    fn is_zero(self) -> bool {
        self == 0
    }
}

impl Weight for f32 {
    const CODE: u8 = 1;
    const SYNAPSE: usize = 5;
    const NEURON: usize = 8;

    fn write(self, to: &mut impl Extend<u8>) {
        to.extend(self.to_le_bytes());
    }
    fn is_zero(self) -> bool {
        self == 0.0
    }
}

/// What a network takes in every tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A channel spikes or does not.
    Spikes,
    /// A channel has a value of -127 to 127: a count of events, or a graded one.
    Values,
}

/// How the readout's membrane becomes a score a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The sum over ticks of the softmax.
    Softmax,
    /// The sum over ticks.
    Sum,
    /// The largest.
    Max,
}

/// A checked model file.
///
/// ```
/// use polychron_core::format::{Fault, Model};
/// assert_eq!(<Model>::parse(b"PCN").unwrap_err().fault, Fault::Length);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Model<'a, W = i8> {
    file: &'a [u8],
    input: Input,
    decision: Decision,
    layers: [Layer<'a>; LAYERS],
    count: usize,
    memory: Memory,
    weights: PhantomData<W>,
}

impl<'a, W: Weight> Model<'a, W> {
    /// Checks a file: a `const` of it turns a bad one into a compile error.
    ///
    /// The check of a few hundred kilobytes takes the compiler some seconds, which it is told to accept:
    /// ```
    /// # use polychron_core::format::Model;
    /// # const FILE: &[u8] = include_bytes!("../../tests/golden/small.pcn");
    /// #[allow(long_running_const_eval)]
    /// const MODEL: Model = Model::parse_static(FILE);
    /// const RAM: usize = MODEL.ram();
    /// # assert!(RAM > 0);
    /// ```
    ///
    /// # Panics
    /// For bytes that are no model.
    #[expect(clippy::panic, reason = "a compile error where it is used as it should be")]
    pub const fn parse_static(file: &'static [u8]) -> Model<'static, W> {
        match Model::parse(file) {
            Ok(model) => model,
            Err(_) => panic!("not a model file; Model::parse says where and why"),
        }
    }

    /// Checks a file. Time is linear in its length; the stack needs up to 6 KiB, whatever the file.
    ///
    /// # Errors
    /// [`FormatError`] with the place of the first fault.
    pub const fn parse(file: &'a [u8]) -> Result<Self, FormatError> {
        ensure!(file.len() >= HEADER && file.len() <= LENGTH, file.len(), Length);
        let [a, b, c, d] = MAGIC;
        ensure!(word(file, 0) == u32::from_le_bytes([a, b, c, d]), 0, Magic);
        ensure!(half(file, 4) == VERSION, 4, Version);
        ensure!(byte(file, 6) == W::CODE, 6, Weights);
        ensure!(size(word(file, 8)) == file.len(), 8, Length);
        let rest = attempt!(bytes_at(file, 16, file.len().saturating_sub(16)));
        ensure!(crc32(rest) == word(file, 12), 12, Checksum);
        let input = match byte(file, 7) {
            0 => Input::Spikes,
            1 => Input::Values,
            _ => return Err(FormatError { offset: 7, fault: Fault::Reserved }),
        };
        let decision = match byte(file, 27) {
            0 => Decision::Softmax,
            1 => Decision::Sum,
            2 => Decision::Max,
            _ => return Err(FormatError { offset: 27, fault: Fault::Reserved }),
        };
        let count = byte_size(file, 26);
        ensure!(count >= 1 && count <= LAYERS, 26, Size);
        ensure!(half_size(file, 28) == count.saturating_mul(PARTS).saturating_add(2), 28, Section);
        ensure!(half(file, 30) == 0, 30, Reserved);
        attempt!(check_sections(file, count));
        ensure!(word(file, 16) > 0, 16, Size);
        let (mut layers, mut memory) = ([Layer::NONE; LAYERS], Memory::NONE);
        let mut width = half_size(file, 20);
        ensure!(width >= 1 && width <= WIDTH, 20, Size);
        let (mut l, mut grown) = (0, 0usize);
        while l < count {
            let values = matches!(input, Input::Values) && l == 0;
            let last = l.saturating_add(1) == count;
            let places = layer_sections(file, l);
            let layer = attempt!(Layer::read::<W>(file, places, width, values, last));
            let mut layer = memory.place::<W>(layer, last);
            grown = grown.saturating_add(layer.grown);
            layer.grown = grown;
            width = layer.outputs;
            put(&mut layers, l, layer);
            l = l.wrapping_add(1);
        }
        ensure!(half_size(file, 22) == width, 22, Size);
        ensure!(half_size(file, 24) == grown, 24, Range);
        let (labels, len) = section(file, count.saturating_mul(PARTS));
        attempt!(check_labels(file, labels, len, width));
        let (behind, len) = section(file, count.saturating_mul(PARTS).saturating_add(1));
        ensure!(is_zero(attempt!(bytes_at(file, behind, len))), behind, Reserved);
        Ok(Self { file, input, decision, layers, count, memory, weights: PhantomData })
    }

    /// Numbers of 32 bits in the state.
    pub const fn words(&self) -> usize {
        let Memory { words, reach, .. } = self.memory;
        if words > reach { words } else { reach }
    }

    /// Numbers of 16 bits in the state.
    pub const fn halves(&self) -> usize {
        self.memory.halves
    }

    /// Bytes in the state beside them.
    pub const fn bytes(&self) -> usize {
        self.memory.bytes
    }

    /// Bytes of the whole state.
    pub const fn ram(&self) -> usize {
        let words = self.words().saturating_mul(4);
        words.saturating_add(self.memory.halves.saturating_mul(2)).saturating_add(self.memory.bytes)
    }

    /// Channels of the input.
    pub const fn channels(&self) -> usize {
        half_size(self.file, 20)
    }

    /// Classes of the readout.
    pub const fn classes(&self) -> usize {
        half_size(self.file, 22)
    }

    /// Length of a tick in microseconds.
    pub const fn tick_us(&self) -> u32 {
        word(self.file, 16)
    }

    /// Silent ticks behind an utterance in which its last spikes still arrive:
    /// [`Engine::finish`](crate::infer::Engine::finish) runs them.
    pub const fn tail(&self) -> usize {
        half_size(self.file, 24)
    }

    /// What the network takes in.
    pub const fn input(&self) -> Input {
        self.input
    }

    /// How scores come about.
    pub const fn decision(&self) -> Decision {
        self.decision
    }

    /// The name of a class; `None` where it has none, or none in UTF-8.
    pub fn label(&self, class: usize) -> Option<&'a str> {
        let (at, len) = section(self.file, self.count.saturating_mul(PARTS));
        let mut lines = part(self.file, at, len)?.split_inclusive(|&byte| byte == b'\n');
        core::str::from_utf8(lines.nth(class)?.strip_suffix(b"\n")?).ok()
    }

    /// The projections, the readout's last.
    pub(crate) fn layers(&self) -> &[Layer<'a>] {
        self.layers.get(..self.count).unwrap_or(&[])
    }
}

/// How the state is divided.
#[derive(Clone, Copy, Debug)]
struct Memory {
    words: usize,
    /// The first word behind what a delivery can reach.
    reach: usize,
    halves: usize,
    bytes: usize,
}

impl Memory {
    const NONE: Self = Self { words: 0, reach: 0, halves: 0, bytes: 0 };

    /// Gives a layer its room. Deliveries reach up to 256 membranes from a block's first on, whether they are its own or not.
    const fn place<'a, W: Weight>(&mut self, mut layer: Layer<'a>, last: bool) -> Layer<'a> {
        let Self { words, halves, bytes, .. } = *self;
        layer.membranes = words;
        layer.history = bytes;
        let scores = if last { layer.outputs } else { 0 };
        self.words = words.saturating_add(layer.outputs).saturating_add(scores);
        self.bytes = bytes.saturating_add(layer.slots.saturating_mul(layer.slot));
        if layer.ring {
            let cells = layer.outputs.saturating_mul(layer.taps);
            let narrow = W::CODE == i8::CODE;
            layer.arriving = if narrow { halves } else { self.words };
            let room = if narrow { &mut self.halves } else { &mut self.words };
            *room = room.saturating_add(cells);
        } else {
            let reach = words.saturating_add(layer.reach);
            if reach > self.reach {
                self.reach = reach;
            }
        }
        layer
    }
}

/// Where a section lies and how long it is.
const fn section(file: &[u8], n: usize) -> (usize, usize) {
    let at = HEADER.saturating_add(n.saturating_mul(SECTION));
    (size(word(file, at.saturating_add(4))), size(word(file, at.saturating_add(8))))
}

const fn layer_sections(file: &[u8], l: usize) -> [(usize, usize); PARTS] {
    let first = l.saturating_mul(PARTS);
    [
        section(file, first),
        section(file, first.saturating_add(1)),
        section(file, first.saturating_add(2)),
        section(file, first.saturating_add(3)),
    ]
}

/// Sections follow one another without holes.
#[inline(never)]
const fn check_sections(file: &[u8], layers: usize) -> Result<(), FormatError> {
    let of_layers = layers.saturating_mul(PARTS);
    let sections = of_layers.saturating_add(2);
    let mut end = HEADER.saturating_add(sections.saturating_mul(SECTION));
    ensure!(end <= file.len(), 26, Length);
    let mut n = 0;
    while n < sections {
        let at = HEADER.saturating_add(n.saturating_mul(SECTION));
        let (kind, layer) = if n < of_layers {
            (n.wrapping_rem(PARTS), n.wrapping_div(PARTS))
        } else {
            (PARTS.saturating_add(n.saturating_sub(of_layers)), 0)
        };
        let codes = byte_size(file, at) == kind && byte_size(file, at.saturating_add(1)) == layer;
        ensure!(codes && half(file, at.saturating_add(2)) == 0, at, Section);
        let (offset, len) = section(file, n);
        ensure!(offset == end && len & 3 == 0, at, Section);
        end = end.saturating_add(len);
        n = n.wrapping_add(1);
    }
    ensure!(end == file.len(), 8, Length);
    Ok(())
}

/// One name a class, a line each, filled up with zeros.
const fn check_labels(
    file: &[u8],
    at: usize,
    len: usize,
    classes: usize,
) -> Result<(), FormatError> {
    let bytes = attempt!(bytes_at(file, at, len));
    let (mut rest, mut lines) = (bytes, 0usize);
    while let [x, others @ ..] = rest {
        if *x == b'\n' {
            lines = lines.wrapping_add(1);
        }
        rest = others;
    }
    ensure!(len == 0 || lines == classes, at, Labels);
    Ok(())
}

#[inline(never)]
const fn bytes_at(file: &[u8], at: usize, len: usize) -> Result<&[u8], FormatError> {
    match part(file, at, len) {
        Some(bytes) => Ok(bytes),
        None => Err(FormatError { offset: at, fault: Fault::Length }),
    }
}

/// Stores an element that is there.
#[expect(clippy::indexing_slicing, reason = "checked")]
const fn put<T: Copy, const N: usize>(array: &mut [T; N], at: usize, x: T) {
    if at < N {
        array[at] = x;
    }
}

/// An element, or another where it is not there.
#[expect(clippy::indexing_slicing, reason = "checked")]
const fn pick<T: Copy, const N: usize>(array: &[T; N], at: usize, other: T) -> T {
    if at < N { array[at] } else { other }
}
