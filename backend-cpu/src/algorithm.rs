use core::fmt;

/// The algorithm for one direction of a delayed projection. All algorithms agree to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// A matrix product per tap: fast for few taps.
    Dense,
    /// A complex matrix product per frequency: the cost hardly grows with the number of taps.
    Frequency,
    /// The taps inside the window of each bump, at every step: fast for narrow bumps.
    Taps,
    /// The taps inside the window of each bump, at steps with spikes: fast for narrow bumps and few
    /// spikes. The dense gradient by the input is computed with [`Algorithm::Taps`].
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

    /// The name that configurations use.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}

/// The choice of algorithm for each direction of a delayed projection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// The number of taps of a bump that are not negligible.
    pub window: usize,
    /// The length of a Fourier transform in steps.
    pub length: usize,
    /// The number of blocks of the sequence that are transformed separately.
    pub blocks: usize,
    /// The output.
    pub forward: Choice,
    /// The gradient by the input.
    pub by_input: Choice,
    /// The gradients by weights, delays and sigma.
    pub by_kernel: Choice,
}

/// The algorithm of one direction, with the estimated cost of every algorithm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The chosen algorithm.
    pub algorithm: Algorithm,
    /// The cost of every algorithm, in the order of [`Algorithm::ALL`], as the number of
    /// multiply-adds of a large matrix product that take the same time. Infinite if the algorithm
    /// does not exist for this direction.
    pub costs: [f64; 4],
    /// The work of the chosen algorithm.
    pub work: Work,
}

/// The work of one direction of a delayed projection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// Multiply-adds of the synapses, without those of the transforms.
    pub multiply_adds: f64,
    /// Bytes moved: the input and the output once, kernels and transforms twice (written and read).
    pub bytes: f64,
}

impl Choice {
    /// The `given` algorithm, by default the cheapest. Costs and work are in the order of
    /// [`Algorithm::ALL`].
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
