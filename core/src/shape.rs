//! Shapes of blocks, checked once at the start of every operation.

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
    #[must_use]
    pub const fn new(steps: usize, batch: usize, width: usize) -> Self {
        Self { steps, batch, width }
    }

    /// The number of values in a block of this shape; `usize::MAX` if the product overflows.
    ///
    /// No slice of numbers is that long, so [`expect`] rejects an overflowing shape. Code that
    /// allocates calls [`try_len`](Self::try_len).
    #[must_use]
    pub const fn len(&self) -> usize {
        product([self.steps, self.batch, self.width])
    }

    /// The number of values in a block of this shape.
    ///
    /// # Errors
    /// [`ShapeError`] if the product overflows.
    pub const fn try_len(&self) -> Result<usize, ShapeError> {
        try_size("sequence", self.len())
    }

    /// Checks that another block has this shape.
    ///
    /// # Errors
    /// [`ShapeError`] with `what` and the first side that differs.
    pub fn expect(self, what: &'static str, found: Self) -> Result<(), ShapeError> {
        expect(what, self.steps, found.steps)?;
        expect(what, self.batch, found.batch)?;
        expect(what, self.width, found.width)
    }

    /// Whether a block of this shape has no values.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.steps == 0 || self.batch == 0 || self.width == 0
    }

    /// The index of (time `t`, sample `b`, neuron `n`) in host memory. Saturates, so that an
    /// overflowing index lies outside every slice.
    #[must_use]
    pub const fn at(&self, t: usize, b: usize, n: usize) -> usize {
        t.saturating_mul(self.batch).saturating_add(b).saturating_mul(self.width).saturating_add(n)
    }
}

/// The dimensions of a delayed projection from `inputs` neurons to `outputs` neurons.
///
/// Every pair of neurons has `kernel_count` kernel elements, each with a weight and a delay of 0 to
/// `taps - 1` steps. Weights, delays and, if it is not shared, sigma are blocks `[outputs, inputs,
/// kernel_count]`; [`Place`](crate::delay::Place) says which delays are the same.
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
    /// One kernel element per synapse and the paper's padding of `(taps - 1) / 2` steps.
    #[must_use]
    pub const fn new(inputs: usize, outputs: usize, taps: usize) -> Self {
        Self { inputs, outputs, kernel_count: 1, taps, padding: taps.saturating_sub(1) / 2 }
    }

    /// The number of weights; `usize::MAX` if the product overflows.
    #[must_use]
    pub const fn weights(&self) -> usize {
        product([self.inputs, self.outputs, self.kernel_count])
    }

    /// The number of values in the dense kernel `[outputs, inputs, taps]`; `usize::MAX` if the
    /// product overflows.
    #[must_use]
    pub const fn dense_len(&self) -> usize {
        product([self.inputs, self.outputs, self.taps])
    }

    /// The shape of the output for an input of shape `x`. The number of steps saturates.
    #[must_use]
    pub const fn output(&self, x: Shape) -> Shape {
        Shape::new(x.steps.saturating_add(self.padding), x.batch, self.outputs)
    }

    /// Checks the shapes of input and output, and that no block of the projection overflows.
    ///
    /// # Errors
    /// [`ShapeError`] if a width, the number of steps or the number of samples does not match, or
    /// if the size of a block exceeds `usize`.
    pub fn check(&self, x: Shape, y: Shape) -> Result<(), ShapeError> {
        expect("projection's input width", self.inputs, x.width)?;
        expect("projection's output width", self.outputs, y.width)?;
        let steps = try_size("projection's output steps", self.output(x).steps)?;
        expect("projection's output steps", steps, y.steps)?;
        expect("projection's batch", x.batch, y.batch)?;
        try_size("projection's weights", self.weights())?;
        try_size("dense kernel", self.dense_len())?;
        try_size("projection's input", x.len())?;
        try_size("projection's output", y.len())?;
        Ok(())
    }
}

/// A value of a sequence that is not zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event<R> {
    /// The sample of the batch.
    pub sample: u32,
    /// The step.
    pub step: u32,
    /// The channel.
    pub channel: u32,
    /// The value.
    pub value: R,
}

impl<R: Copy> Event<R> {
    /// The index of the value in a time-major block of the given shape.
    #[must_use]
    pub fn at(&self, shape: Shape) -> usize {
        shape.at(self.step as usize, self.sample as usize, self.channel as usize)
    }

    /// Checks that events lie inside a shape and are sorted by sample, step and channel, each place
    /// at most once.
    ///
    /// # Errors
    /// [`ShapeError`] with the index of the first event that is out of range or order.
    pub fn check(events: &[Self], shape: Shape) -> Result<(), ShapeError> {
        let mut before = None;
        for (found, event) in events.iter().enumerate() {
            let Self { sample, step, channel, .. } = *event;
            let inside = (sample as usize) < shape.batch
                && (step as usize) < shape.steps
                && (channel as usize) < shape.width;
            let place = Some((sample, step, channel));
            if !inside || place <= before {
                let what = "event that is out of range or order";
                return Err(ShapeError { what, expected: events.len(), found });
            }
            before = place;
        }
        Ok(())
    }
}

/// A block whose size does not match its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeError {
    /// The operation and the block.
    pub what: &'static str,
    /// The required size.
    pub expected: usize,
    /// The actual size; `usize::MAX` if it overflows.
    pub found: usize,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.expected == usize::MAX || self.found == usize::MAX {
            return write!(f, "{}: the size exceeds the address space", self.what);
        }
        write!(f, "{}: expected {}, found {}", self.what, self.expected, self.found)
    }
}

impl core::error::Error for ShapeError {}

/// Checks one size.
///
/// # Errors
/// [`ShapeError`] with `what` if `found` differs from `expected`.
pub fn expect(what: &'static str, expected: usize, found: usize) -> Result<(), ShapeError> {
    if expected == found { Ok(()) } else { Err(ShapeError { what, expected, found }) }
}

/// The product, or `usize::MAX` if it overflows. A product with a factor 0 is 0.
pub(crate) const fn product([a, b, c]: [usize; 3]) -> usize {
    if a == 0 || b == 0 || c == 0 { 0 } else { a.saturating_mul(b).saturating_mul(c) }
}

/// Rejects a saturated size.
pub(crate) const fn try_size(what: &'static str, size: usize) -> Result<usize, ShapeError> {
    if size == usize::MAX {
        return Err(ShapeError { what, expected: usize::MAX, found: size });
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_saturate() {
        let large = Shape::new(usize::MAX, 3, 2);
        assert_eq!(large.len(), usize::MAX);
        assert!(large.try_len().is_err());
        assert_eq!(large.at(usize::MAX, 0, 1), usize::MAX);
        assert_eq!(Shape::new(usize::MAX, usize::MAX, 0).try_len(), Ok(0));
        assert_eq!(Shape::new(4, 3, 2).at(1, 2, 1), 11);
        assert_eq!(Synapses::new(usize::MAX, 2, 1).weights(), usize::MAX);
        assert_eq!(Synapses::new(2, 2, usize::MAX).dense_len(), usize::MAX);
    }

    #[test]
    fn overflowing_projections_are_rejected() {
        let x = Shape::new(6, 2, 4);
        let synapses = Synapses { padding: 0, ..Synapses::new(4, 4, 3) };
        assert_eq!(synapses.check(x, x), Ok(()));
        for wrong in [
            Synapses { taps: usize::MAX, ..synapses },
            Synapses { kernel_count: usize::MAX, ..synapses },
            Synapses { padding: usize::MAX, ..synapses },
        ] {
            let y = wrong.output(x);
            let error = wrong.check(x, y).unwrap_err();
            assert!(error.found == usize::MAX, "{error}");
        }
    }
}
