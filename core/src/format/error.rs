use core::fmt;

/// Bytes that are no model, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FormatError {
    /// Where the field of the header, or the section, begins that is at fault.
    pub offset: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What can be wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Fault {
    /// It does not begin as a model does.
    Magic,
    /// A version that this crate does not read.
    Version,
    /// Weights of another kind than asked for.
    Weights,
    /// The file ends too early or too late.
    Length,
    /// The bytes are not those that were written.
    Checksum,
    /// A section that is not where, or not as long as, it has to be.
    Section,
    /// A size of 0, beyond its limit, or unlike the layer before.
    Size,
    /// A code without a meaning, or a byte that has to be 0 and is not.
    Reserved,
    /// A number out of its range.
    Range,
    /// A synapse onto a target that is not there.
    Target,
    /// Inputs could drive an accumulator out of its range.
    Overflow,
    /// Names that are not one a class.
    Labels,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            Fault::Magic => "not a model file",
            Fault::Version => "a version that is not known",
            Fault::Weights => "weights of another kind",
            Fault::Length => "the file is not as long as it says",
            Fault::Checksum => "the checksum does not fit",
            Fault::Section => "a section is not where it has to be",
            Fault::Size => "a size is out of its limits",
            Fault::Reserved => "an unknown code or a byte that is not 0",
            Fault::Range => "a number is out of its range",
            Fault::Target => "a synapse without a target",
            Fault::Overflow => "an accumulator could overflow",
            Fault::Labels => "labels are not one a class",
        };
        write!(f, "byte {}: {what}", self.offset)
    }
}

impl core::error::Error for FormatError {}
