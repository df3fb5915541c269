//! The model file: a trained network as firmware reads it, in place.
//!
//! The layout is specified in `core/FORMAT.md`. [`ModelFile::parse`] checks a file once and whole: sizes, ranges, every synapse's
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
    ($condition:expr, $fault:ident) => {
        if !$condition {
            return Err(Fault::$fault);
        }
    };
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
pub use layer::RING;
pub(crate) use layer::{AHEAD, Block, GROUP, WORD};
#[cfg(feature = "alloc")]
pub(crate) use layer::{BLOCK, FIELDS, ROOM, fits};
pub(crate) use read::crc32;
use read::{byte, byte_size, from, half, half_size, is_size, is_zero, others, part, size, word};

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
    SoftmaxSum,
    /// The sum over ticks.
    MembraneSum,
    /// The largest.
    Max,
}

/// A checked model file.
///
/// ```
/// use polychron_core::format::{Fault, ModelFile};
/// assert_eq!(<ModelFile>::parse(b"PCN").unwrap_err().fault, Fault::Length);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ModelFile<'a, W = i8> {
    file: &'a [u8],
    input: Input,
    decision: Decision,
    layers: [Layer<'a>; LAYERS],
    count: usize,
    memory: Memory,
    weights: PhantomData<W>,
}

impl<'a, W: Weight> ModelFile<'a, W> {
    /// Checks a file: a `const` of it turns a bad one into a compile error.
    ///
    /// The check of a few hundred kilobytes takes the compiler some seconds, which it is told to accept:
    /// ```
    /// # use polychron_core::format::ModelFile;
    /// # const FILE: &[u8] = include_bytes!("../../tests/golden/small.pcn");
    /// #[allow(long_running_const_eval)]
    /// const MODEL: ModelFile = ModelFile::parse_static(FILE);
    /// const RAM: usize = MODEL.ram();
    /// # assert!(RAM > 0);
    /// ```
    ///
    /// # Panics
    /// For bytes that are no model.
    #[expect(clippy::panic, reason = "a compile error where it is used as it should be")]
    pub const fn parse_static(file: &'static [u8]) -> ModelFile<'static, W> {
        match ModelFile::parse(file) {
            Ok(model) => model,
            Err(_) => panic!("not a model file; ModelFile::parse says where and why"),
        }
    }

    /// Checks a file. Time is linear in its length; the stack needs up to 4 KiB, whatever the file.
    ///
    /// # Errors
    /// [`FormatError`] with the field, or the section, of the first fault.
    #[inline(never)]
    pub const fn parse(file: &'a [u8]) -> Result<Self, FormatError> {
        let mut model = Self {
            file,
            input: Input::Spikes,
            decision: Decision::SoftmaxSum,
            layers: [Layer::NONE; LAYERS],
            count: 0,
            memory: Memory::NONE,
            weights: PhantomData,
        };
        match model.read() {
            Ok(()) => Ok(model),
            Err(error) => Err(error),
        }
    }

    /// Reads and checks the file.
    const fn read(&mut self) -> Result<(), FormatError> {
        let file = self.file;
        let Some((header, entries)) = file.split_first_chunk::<HEADER>() else {
            return Err(FormatError { offset: file.len(), fault: Fault::Length });
        };
        let [a, b, c, d] = MAGIC;
        ensure!(word(header, 0) == u32::from_le_bytes([a, b, c, d]), 0, Magic);
        ensure!(half(header, 4) == VERSION, 4, Version);
        ensure!(byte(header, 6) == W::CODE, 6, Weights);
        ensure!(size(word(header, 8)) == file.len() && file.len() <= LENGTH, 8, Length);
        ensure!(crc32(from(file, 16)) == word(header, 12), 12, Checksum);
        self.input = match byte(header, 7) {
            0 => Input::Spikes,
            1 => Input::Values,
            _ => return Err(FormatError { offset: 7, fault: Fault::Reserved }),
        };
        self.decision = match byte(header, 27) {
            0 => Decision::SoftmaxSum,
            1 => Decision::MembraneSum,
            2 => Decision::Max,
            _ => return Err(FormatError { offset: 27, fault: Fault::Reserved }),
        };
        let mut width = half_size(header, 20);
        ensure!(word(header, 16) > 0 && is_size(width, WIDTH), 16, Size);
        self.count = byte_size(header, 26);
        let count = self.count.wrapping_mul(PARTS).wrapping_add(2);
        let Some((mut layers, _)) = self.layers.split_at_mut_checked(self.count) else {
            return Err(FormatError { offset: 26, fault: Fault::Size });
        };
        ensure!(size(word(header, 28)) == count && !layers.is_empty(), 26, Size);
        let rest = from(entries, count.wrapping_mul(SECTION));
        let mut sections = Sections { entries, rest, len: file.len(), at: 0 };
        let (mut code, mut padding) = (0u32, 0usize);
        while let [layer, others @ ..] = layers {
            layer.values = code == 0 && matches!(self.input, Input::Values);
            if let Err(fault) = layer.read::<W>(&mut sections, code, width, others.is_empty()) {
                return Err(FormatError { offset: sections.at, fault });
            }
            self.memory.place::<W>(layer, others.is_empty());
            padding = padding.wrapping_add(layer.padding);
            layer.padding = padding;
            width = layer.outputs;
            layers = others;
            code = code.wrapping_add(1 << 8);
        }
        ensure!(half_size(header, 22) == width && half_size(header, 24) == padding, 22, Size);
        match sections.end(width) {
            Ok(()) => Ok(()),
            Err(fault) => Err(FormatError { offset: sections.at, fault }),
        }
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
    const fn place<W: Weight>(&mut self, layer: &mut Layer<'_>, last: bool) {
        let Self { words, halves, bytes, .. } = *self;
        layer.membranes = words;
        layer.history = bytes;
        let scores = if last { layer.outputs } else { 0 };
        self.words = words.wrapping_add(layer.outputs).wrapping_add(scores);
        self.bytes = bytes.wrapping_add(layer.slots.wrapping_mul(layer.slot));
        if layer.ring {
            let cells = layer.outputs.wrapping_mul(layer.taps);
            let narrow = W::CODE == i8::CODE;
            layer.arriving = if narrow { halves } else { self.words };
            let room = if narrow { &mut self.halves } else { &mut self.words };
            *room = room.wrapping_add(cells);
        } else {
            let reach = words.wrapping_add(layer.reach);
            if reach > self.reach {
                self.reach = reach;
            }
        }
    }
}

/// Where a section lies and how long it is.
const fn section(file: &[u8], n: usize) -> (usize, usize) {
    let at = HEADER.saturating_add(n.saturating_mul(SECTION));
    (size(word(file, at.saturating_add(4))), size(word(file, at.saturating_add(8))))
}

/// The sections that are not read yet: their entries, and the file from the next one on.
pub(crate) struct Sections<'a> {
    entries: &'a [u8],
    rest: &'a [u8],
    /// Bytes of the file.
    len: usize,
    /// Where the last one that was asked for begins.
    at: usize,
}

impl<'a> Sections<'a> {
    /// The next section, if it has this kind and layer and begins where the one before ends.
    #[inline(never)]
    const fn next(&mut self, code: u32) -> Option<&'a [u8]> {
        self.at = self.len.wrapping_sub(self.rest.len());
        let Some((entry, entries)) = self.entries.split_first_chunk::<SECTION>() else {
            return None;
        };
        let len = word(entry, 8);
        if word(entry, 0) != code || size(word(entry, 4)) != self.at || len & 3 != 0 {
            return None;
        }
        let Some((section, rest)) = self.rest.split_at_checked(size(len)) else { return None };
        (self.entries, self.rest) = (entries, rest);
        Some(section)
    }

    /// The labels and the zeros, which end the file.
    const fn end(&mut self, classes: usize) -> Result<(), Fault> {
        let Some(labels) = self.next(4) else { return Err(Fault::Section) };
        let lines = labels.len().wrapping_sub(others(labels, b'\n'));
        let ends = matches!(
            labels,
            [.., b'\n'] | [.., b'\n', 0] | [.., b'\n', 0, 0] | [.., b'\n', 0, 0, 0]
        );
        ensure!(labels.is_empty() || (ends && lines == classes), Labels);
        let Some(zeros) = self.next(5) else { return Err(Fault::Section) };
        ensure!(is_zero(zeros), Reserved);
        ensure!(self.rest.is_empty(), Length);
        Ok(())
    }
}
