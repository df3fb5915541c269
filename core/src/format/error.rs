use core::fmt;

/// Why a file is not a valid model, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FormatError {
    /// The offset of the invalid header field, or of the section with the invalid contents.
    pub offset: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// The ways in which a file can be invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Fault {
    /// The file does not begin with the bytes of a model file.
    Magic,
    /// This crate cannot read the version of the file.
    Version,
    /// The weights have another type than the caller asked for.
    Weights,
    /// The file, or a section, is shorter or longer than it states.
    Length,
    /// The checksum does not match: the file is damaged.
    Checksum,
    /// A section, or a block of synapses, is not where it has to be.
    Section,
    /// A size is zero, beyond its limit, or different from that of the previous layer.
    Size,
    /// A code has no meaning, or a reserved byte is not zero.
    Reserved,
    /// A number is out of range.
    Range,
    /// A synapse refers to a neuron or a delay that does not exist.
    Target,
    /// Some input could overflow an accumulator.
    Overflow,
    /// The number of labels is not the number of classes.
    Labels,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            Fault::Magic => "this is not a model file",
            Fault::Version => "the file has a version that this program cannot read",
            Fault::Weights => "the weights have another type than expected",
            Fault::Length => "the length does not match; the file may be incomplete",
            Fault::Checksum => "the checksum does not match; the file is damaged",
            Fault::Section => "a section is not where it has to be",
            Fault::Size => "a size is out of range",
            Fault::Reserved => "a code is unknown, or a reserved byte is not zero",
            Fault::Range => "a number is out of range",
            Fault::Target => "a synapse refers to a neuron or a delay that does not exist",
            Fault::Overflow => "some input could overflow an accumulator",
            Fault::Labels => "the number of labels is not the number of classes",
        };
        write!(f, "byte {}: {what}", self.offset)
    }
}

impl core::error::Error for FormatError {}
