//! The model file: a trained network that firmware reads in place.
//!
//! `FORMAT.md` in this crate's folder specifies the layout. [`ModelFile::parse`] checks the whole
//! file once: sizes, ranges, the target of every synapse, and that no input can overflow an
//! accumulator. An [`Engine`](crate::infer::Engine) that runs the model then neither indexes out of
//! bounds nor overflows.
//!
//! # Words
//!
//! * A *group* is the set of synapses that leave one source with one delay: they are delivered
//!   together. A *block* connects up to 256 sources with up to 256 targets.
//! * The *padding* of a layer is the number of ticks by which it lengthens an utterance. It is the
//!   same number as [`Synapses::padding`](crate::shape::Synapses::padding) in training.
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
pub use layer::RING_MAX;
pub(crate) use layer::{AHEAD, Block, GROUP, WORD};
#[cfg(feature = "alloc")]
pub(crate) use layer::{BLOCK, FIELDS, SUM_MAX, fits};
pub(crate) use read::crc32;
use read::{
    byte, byte_size, count_except, from, half, half_size, is_size, is_zero, part, size, word,
};

/// The first bytes of every model file.
pub const MAGIC: [u8; 4] = *b"PCN\0";
/// The version that this crate reads and writes.
pub const VERSION: u16 = 1;
/// The largest number of layers, including the readout.
pub const MAX_LAYERS: usize = 8;
/// The largest number of neurons or channels in a layer.
pub const MAX_WIDTH: usize = 4096;
/// The largest number of taps: delays are at most 255 ticks.
pub const MAX_TAPS: usize = 256;
/// The length of the longest file in bytes.
pub const MAX_LENGTH: usize = 1 << 24;

pub(crate) const HEADER: usize = 32;
pub(crate) const SECTION: usize = 12;
/// The number of sections per layer: fields, neurons, tables and rows, in this order.
pub(crate) const PARTS: usize = 4;

mod private {
    pub trait Sealed {}
    impl Sealed for i8 {}
    impl Sealed for f32 {}
}

/// The type of the weights: `i8` for the integer engine, which uses no floating-point instruction,
/// or `f32`.
pub trait Weight: private::Sealed + Copy + core::fmt::Debug + 'static {
    /// The code of the type in a file.
    const CODE: u8;
    /// The number of bytes of a synapse in a row.
    const SYNAPSE: usize;
    /// The number of bytes of a neuron.
    const NEURON: usize;

    /// Appends the bytes of the weight.
    fn write(self, to: &mut impl Extend<u8>);
    /// Whether the weight is zero.
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

/// What a channel receives in every tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A spike or none.
    Spikes = 0,
    /// A value from -127 to 127: a count of events, or a graded input.
    Values = 1,
}

/// How the membranes of the readout become one score per class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The sum of the softmax over all ticks.
    SoftmaxSum = 0,
    /// The sum of the membrane over all ticks.
    MembraneSum = 1,
    /// The largest membrane of all ticks.
    Max = 2,
}

/// A checked model file with weights of type `W`, borrowed from its bytes.
///
/// It is `Send` and `Sync`: several engines may run one model.
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
    layers: [Layer<'a>; MAX_LAYERS],
    count: usize,
    sizes: StateSizes,
    weights: PhantomData<W>,
}

impl<'a, W: Weight> ModelFile<'a, W> {
    /// Checks a file in a constant expression: an invalid file becomes a compile error.
    ///
    /// The compiler needs some seconds for a few hundred kilobytes, so allow its lint for long
    /// evaluations:
    /// ```
    /// use polychron_core::format::ModelFile;
    ///
    /// const FILE: &[u8] = include_bytes!("../../tests/golden/small.pcn");
    /// #[allow(long_running_const_eval)]
    /// const MODEL: ModelFile = ModelFile::parse_static(FILE);
    /// const RAM: usize = MODEL.ram();
    /// assert!(RAM < 2048);
    /// ```
    ///
    /// # Panics
    /// If the file is invalid. Use [`parse`](Self::parse) at run time.
    #[expect(clippy::panic, reason = "a compile error where it is used as it should be")]
    pub const fn parse_static(file: &'static [u8]) -> ModelFile<'static, W> {
        match ModelFile::parse(file) {
            Ok(model) => model,
            Err(_) => {
                panic!("invalid model file; ModelFile::parse returns the place and the reason")
            }
        }
    }

    /// Checks a file.
    ///
    /// Cost: time is linear in the length of the file. The stack takes up to 4 KiB for any file
    /// (3,032 bytes on a Cortex-M4F); a model in a `const` or `static` takes none at run time.
    /// To load a file from a buffer with unused bytes behind it, pass the bytes up to the length in
    /// the header, a little-endian `u32` at offset 8.
    ///
    /// # Errors
    /// [`FormatError`] with the offset of the first invalid field or section. A model with the
    /// other type of weights is [`Fault::Weights`].
    #[inline(never)]
    pub const fn parse(file: &'a [u8]) -> Result<Self, FormatError> {
        let mut model = Self {
            file,
            input: Input::Spikes,
            decision: Decision::SoftmaxSum,
            layers: [Layer::NONE; MAX_LAYERS],
            count: 0,
            sizes: StateSizes::NONE,
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
        ensure!(size(word(header, 8)) == file.len() && file.len() <= MAX_LENGTH, 8, Length);
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
        ensure!(word(header, 16) > 0 && is_size(width, MAX_WIDTH), 16, Size);
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
            self.sizes.place::<W>(layer, others.is_empty());
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

    /// The number of 32-bit words in the state of an engine.
    #[must_use]
    pub const fn state_words(&self) -> usize {
        let StateSizes { words, reach, .. } = self.sizes;
        if words > reach { words } else { reach }
    }

    /// The number of 16-bit numbers in the state of an engine.
    #[must_use]
    pub const fn state_halves(&self) -> usize {
        self.sizes.halves
    }

    /// The number of single bytes in the state of an engine.
    #[must_use]
    pub const fn state_bytes(&self) -> usize {
        self.sizes.bytes
    }

    /// The size of the state of an engine in bytes: its words, 16-bit numbers and single bytes.
    #[must_use]
    pub const fn ram(&self) -> usize {
        let words = self.state_words().saturating_mul(4);
        words.saturating_add(self.sizes.halves.saturating_mul(2)).saturating_add(self.sizes.bytes)
    }

    /// The number of input channels.
    #[must_use]
    pub const fn channels(&self) -> usize {
        half_size(self.file, 20)
    }

    /// The number of classes.
    #[must_use]
    pub const fn classes(&self) -> usize {
        half_size(self.file, 22)
    }

    /// The length of a tick in microseconds.
    #[must_use]
    pub const fn tick_us(&self) -> u32 {
        word(self.file, 16)
    }

    /// The number of silent ticks after an utterance in which its last spikes still arrive: the sum
    /// of the layers' paddings. [`Engine::finish`](crate::infer::Engine::finish) runs them.
    #[must_use]
    pub const fn padding(&self) -> usize {
        half_size(self.file, 24)
    }

    /// What a channel receives in every tick.
    #[must_use]
    pub const fn input(&self) -> Input {
        self.input
    }

    /// How the membranes of the readout become scores.
    #[must_use]
    pub const fn decision(&self) -> Decision {
        self.decision
    }

    /// The name of a class; `None` if it has none or if the name is not UTF-8.
    #[must_use]
    pub fn label(&self, class: usize) -> Option<&'a str> {
        let (at, len) = section(self.file, self.count.saturating_mul(PARTS));
        let mut lines = part(self.file, at, len)?.split_inclusive(|&byte| byte == b'\n');
        core::str::from_utf8(lines.nth(class)?.strip_suffix(b"\n")?).ok()
    }

    /// The layers, the readout last.
    pub(crate) fn layers(&self) -> &[Layer<'a>] {
        self.layers.get(..self.count).unwrap_or(&[])
    }
}

/// The sizes of the state's buffers.
#[derive(Clone, Copy, Debug)]
struct StateSizes {
    words: usize,
    /// The end of the words that a delivery can touch.
    reach: usize,
    halves: usize,
    bytes: usize,
}

impl StateSizes {
    const NONE: Self = Self { words: 0, reach: 0, halves: 0, bytes: 0 };

    /// Assigns a layer its part of every buffer. A delivery can touch 256 membranes from the first
    /// one of a block on, whether they belong to the layer or not.
    const fn place<W: Weight>(&mut self, layer: &mut Layer<'_>, last: bool) {
        let Self { words, halves, bytes, .. } = *self;
        layer.membranes = words;
        layer.history = bytes;
        let scores = if last { layer.outputs } else { 0 };
        self.words = words.wrapping_add(layer.outputs).wrapping_add(scores);
        self.bytes = bytes.wrapping_add(layer.records.wrapping_mul(layer.record_len));
        if layer.ring {
            let cells = layer.outputs.wrapping_mul(layer.taps);
            let narrow = W::CODE == i8::CODE;
            layer.cells = if narrow { halves } else { self.words };
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

/// The offset and the length of a section.
const fn section(file: &[u8], n: usize) -> (usize, usize) {
    let at = HEADER.saturating_add(n.saturating_mul(SECTION));
    (size(word(file, at.saturating_add(4))), size(word(file, at.saturating_add(8))))
}

/// The sections that are still to be read: their entries, and the file from the next one on.
pub(crate) struct Sections<'a> {
    entries: &'a [u8],
    rest: &'a [u8],
    /// The length of the file.
    len: usize,
    /// The offset of the section that was requested last.
    at: usize,
}

impl<'a> Sections<'a> {
    /// The next section, if it has this kind and layer and begins where the previous one ends.
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

    /// Checks the labels and the zeros, which end the file.
    const fn end(&mut self, classes: usize) -> Result<(), Fault> {
        let Some(labels) = self.next(4) else { return Err(Fault::Section) };
        let lines = labels.len().wrapping_sub(count_except(labels, b'\n'));
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
