/// How a delayed projection is computed. Results agree to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// One matrix product per tap: fast for few taps.
    Dense,
    /// One complex matrix product per frequency: the cost hardly grows with the taps.
    Frequency,
}
