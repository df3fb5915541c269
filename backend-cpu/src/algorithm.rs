use core::fmt;

/// How a delayed projection is computed. Results agree to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// One matrix product per tap: fast for few taps.
    Dense,
    /// One complex matrix product per frequency: the cost hardly grows with the taps.
    Frequency,
}

/// How a delayed projection of one size is computed, and what each way costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// What is used.
    pub algorithm: Algorithm,
    /// Steps of a transform in the frequency domain.
    pub length: usize,
    /// Blocks of the sequence, each transformed alone.
    pub blocks: usize,
    /// Cost of a forward pass by taps, in multiply-adds.
    pub dense: f64,
    /// The same by frequencies, moving the weights' spectrum included.
    pub frequency: f64,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { algorithm, length, blocks, dense, frequency } = *self;
        let (dense, frequency) = (1e-9 * dense, 1e-9 * frequency);
        match algorithm {
            Algorithm::Dense => write!(f, "dense")?,
            Algorithm::Frequency => write!(f, "frequency, {blocks} x {length} steps")?,
        }
        write!(
            f,
            "; a pass costs {dense:.2} G multiply-adds by taps, {frequency:.2} by frequencies"
        )
    }
}
