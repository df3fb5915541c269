//! Shapes, checked once at the door of every operation.

use core::fmt;

/// The shape `[time, batch, width]` of a sequence. Host memory is time-major, width innermost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Time steps.
    pub steps: usize,
    /// Samples.
    pub batch: usize,
    /// Channels or neurons.
    pub width: usize,
}

impl Shape {
    /// The shape `[steps, batch, width]`.
    pub const fn new(steps: usize, batch: usize, width: usize) -> Self {
        Self { steps, batch, width }
    }

    /// Numbers in a block of this shape.
    pub const fn len(&self) -> usize {
        self.steps * self.batch * self.width
    }

    /// Whether a block of this shape holds nothing.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The place of (time `t`, sample `b`, neuron `n`) in host memory.
    pub const fn at(&self, t: usize, b: usize, n: usize) -> usize {
        (t * self.batch + b) * self.width + n
    }
}

/// A delayed projection's dimensions: `inputs` neurons onto `outputs` neurons, with `kernel_count` kernel
/// elements per synapse, each delaying by 0 to `taps - 1` steps.
///
/// Weights, delays and (where it is one per synapse) sigma are blocks `[outputs, inputs, kernel_count]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Synapses {
    /// Presynaptic neurons.
    pub inputs: usize,
    /// Postsynaptic neurons.
    pub outputs: usize,
    /// Kernel elements per synapse (`kernel_count` of the DCLS packages); 1 in the paper.
    pub kernel_count: usize,
    /// Length K of the dense kernel: one more than the longest delay in steps.
    pub taps: usize,
    /// Steps by which the output is longer than the input; `(taps - 1) / 2` in the paper.
    pub padding: usize,
}

impl Synapses {
    /// One kernel element per synapse and the paper's tail of `(taps - 1) / 2` steps.
    pub const fn new(inputs: usize, outputs: usize, taps: usize) -> Self {
        Self { inputs, outputs, kernel_count: 1, taps, padding: taps.saturating_sub(1) / 2 }
    }

    /// Numbers in the weight block.
    pub const fn weights(&self) -> usize {
        self.inputs * self.outputs * self.kernel_count
    }

    /// The shape of the output for an input of shape `x`.
    pub const fn output(&self, x: Shape) -> Shape {
        Shape::new(x.steps + self.padding, x.batch, self.outputs)
    }

    /// Checks the input's and the output's shapes.
    ///
    /// # Errors
    /// [`ShapeError`] when a width or the number of steps or samples does not fit.
    pub fn check(&self, x: Shape, y: Shape) -> Result<(), ShapeError> {
        expect("projection's input width", self.inputs, x.width)?;
        expect("projection's output width", self.outputs, y.width)?;
        expect("projection's output steps", x.steps + self.padding, y.steps)?;
        expect("projection's batch", x.batch, y.batch)
    }
}

/// A block that is not of the size its operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeError {
    /// The operation and the block.
    pub what: &'static str,
    /// The size it should have.
    pub expected: usize,
    /// The size it has.
    pub found: usize,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.what, self.expected, self.found)
    }
}

impl core::error::Error for ShapeError {}

/// Checks one size.
///
/// # Errors
/// [`ShapeError`] with `what` when `found` is not `expected`.
pub fn expect(what: &'static str, expected: usize, found: usize) -> Result<(), ShapeError> {
    if expected == found { Ok(()) } else { Err(ShapeError { what, expected, found }) }
}
