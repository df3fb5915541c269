use core::fmt;

/// How one direction of a delayed projection is computed. Results agree to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// One matrix product per tap: fast for few taps.
    Dense,
    /// One complex matrix product per frequency: the cost hardly grows with the taps.
    Frequency,
    /// Only taps that are not negligible, at every step: fast for narrow bumps.
    Taps,
    /// Only taps that are not negligible, only at steps with spikes: fast for narrow bumps and few spikes. The gradient by
    /// the input, where nothing is sparse, is that of [`Algorithm::Taps`].
    Windows,
}

impl Algorithm {
    /// Every algorithm with the name that configurations use.
    pub const ALL: [(&'static str, Self); 4] = [
        ("dense", Self::Dense),
        ("frequency", Self::Frequency),
        ("taps", Self::Taps),
        ("windows", Self::Windows),
    ];

    /// The name of a configuration.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}

/// How a delayed projection of one size is computed, direction by direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Taps that are not negligible.
    pub window: usize,
    /// Steps of a transform in the frequency domain.
    pub length: usize,
    /// Blocks of the sequence, each transformed alone.
    pub blocks: usize,
    /// From the input to the output.
    pub forward: Choice,
    /// The gradient by the input.
    pub by_input: Choice,
    /// The gradients by weights, delays and sigma.
    pub by_kernel: Choice,
}

/// How one direction is computed, and what each way costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// What is used.
    pub algorithm: Algorithm,
    /// The cost of every algorithm, in the order of [`Algorithm::ALL`]: multiply-adds of a large matrix product that take as
    /// long. Infinite where there is no such way.
    pub costs: [f64; 4],
    /// What is done.
    pub work: Work,
}

/// The work of one direction of a delayed projection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// Multiply-adds of synapses, those of transforms left out.
    pub multiply_adds: f64,
    /// Bytes of input and output, each moved once, and of kernels and transforms, each written and read once.
    pub bytes: f64,
}

impl Choice {
    /// The cheapest way, unless one was given; costs and work are in the order of [`Algorithm::ALL`].
    pub(crate) fn new(given: Option<Algorithm>, costs: [f64; 4], work: [Work; 4]) -> Self {
        let cost = |(_, algorithm): &(&str, Algorithm)| costs[*algorithm as usize];
        let cheapest = Algorithm::ALL.iter().min_by(|a, b| cost(a).total_cmp(&cost(b)));
        let cheapest = cheapest.map_or(Algorithm::Dense, |&(_, algorithm)| algorithm);
        let algorithm = given.unwrap_or(cheapest);
        Self { algorithm, costs, work: work[algorithm as usize] }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<9} of", self.algorithm.name())?;
        let costs = Algorithm::ALL.iter().zip(self.costs).filter(|(_, cost)| cost.is_finite());
        for (n, ((name, _), cost)) in costs.enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma} {name} {:.2}", 1e-9 * cost)?;
        }
        f.write_str(" G multiply-adds")
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { window, length, blocks, forward, by_input, by_kernel } = self;
        writeln!(f, "{window} taps not negligible, transforms of {blocks} x {length} steps")?;
        writeln!(f, "  forward    {forward}")?;
        writeln!(f, "  by input   {by_input}")?;
        write!(f, "  by kernel  {by_kernel}")
    }
}
