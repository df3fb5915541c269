//! Which synapses of a connection exist, and which share their weights and delays.
//!
//! ```
//! use polychron_core::connectivity::{Connectivity, Conv};
//! // 5 positions of one input map, 2 output maps, a kernel of 3 positions that moves by 2.
//! let conv = Conv { positions: 5, width: 3, stride: 2, out_maps: 2, ..Conv::default() };
//! let connectivity = Connectivity::conv(&conv)?;
//! assert_eq!((connectivity.inputs(), connectivity.outputs()), (5, 4));
//! assert_eq!(connectivity.shape(), [2, 1, 3]);
//! // Output 3 is map 1 at the second position, whose kernel begins at input 2.
//! assert_eq!([2, 3, 4].map(|i| connectivity.unit(3, i)), [Some(3), Some(4), Some(5)]);
//! assert_eq!(connectivity.unit(3, 0), None);
//! # Ok::<(), polychron_core::connectivity::ConnectivityError>(())
//! ```

use crate::delay::Place;
use crate::num::Real;
use crate::shape::{ShapeError, Synapses, expect};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// The index of a synapse that does not exist.
const ABSENT: u32 = u32::MAX;

/// Which synapses of a connection exist, and which share their weights and delays.
///
/// Each synapse has a unit of the connection, or none if it does not exist. The weights are packed,
/// `[units, count]`, and those of all synapses are
///
/// ```text
/// w[o, i, j] = packed[unit(o, i), j]      0 if there is no unit
/// ```
///
/// so are synaptic delays and spreads. A delay or spread at another [`Place`] is that of its input
/// or output, as in a dense connection; positions of a convolution do not share it.
///
/// Projections are those of the dense block `[out, in, count]`: their cost is not less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connectivity {
    inputs: usize,
    outputs: usize,
    shape: Vec<usize>,
    /// `[out, in]`
    units: Vec<u32>,
}

/// A convolution over channels: kernel weights and delays are shared over positions.
///
/// ```text
/// y[q, n] = sum over m, k of w[n, m, k] x[q stride + k - padding, m]
/// ```
///
/// for input maps m, output maps n and positions k of the kernel. Positions outside the input are
/// 0. Neuron `q maps + m` is map m at position q.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Positions of the input.
    pub positions: usize,
    /// Neurons at every position of the input.
    pub in_maps: usize,
    /// Neurons at every position of the output.
    pub out_maps: usize,
    /// Positions of the kernel.
    pub width: usize,
    /// Positions by which the kernel moves.
    pub stride: usize,
    /// Positions that are added on both sides of the input.
    pub padding: usize,
}

impl Default for Conv {
    fn default() -> Self {
        Self { positions: 1, in_maps: 1, out_maps: 1, width: 1, stride: 1, padding: 0 }
    }
}

impl Conv {
    /// Positions of the output, `floor((positions + 2 padding - width) / stride) + 1`; 0 if the
    /// kernel does not fit or does not move.
    #[must_use]
    pub const fn out_positions(&self) -> usize {
        let all = self.positions.saturating_add(self.padding.saturating_mul(2));
        match all.checked_sub(self.width) {
            Some(ways) if self.stride > 0 => ways / self.stride + 1,
            _ => 0,
        }
    }
}

impl Connectivity {
    /// The synapses of a list of pairs (output, input), each with weights and delays of its own,
    /// `[pairs, count]` in the order of the list.
    ///
    /// # Errors
    /// If a pair is beyond the sizes or occurs twice, or there are no pairs, or there are as many
    /// possible pairs as `u32::MAX`.
    pub fn sparse(
        inputs: usize,
        outputs: usize,
        pairs: &[(usize, usize)],
    ) -> Result<Self, ConnectivityError> {
        let mut found = Self::absent(inputs, outputs, vec![pairs.len()])?;
        if pairs.is_empty() {
            return Err(ConnectivityError::Empty);
        }
        for (unit, &(output, input)) in pairs.iter().enumerate() {
            let inside = output < outputs && input < inputs;
            let pair = found.units.get_mut(output.saturating_mul(inputs).saturating_add(input));
            match pair.filter(|unit| inside && **unit == ABSENT) {
                Some(pair) => *pair = unit as u32,
                None => return Err(ConnectivityError::Pair { output, input }),
            }
        }
        Ok(found)
    }

    /// The synapses of a convolution, with weights and delays `[out maps, in maps, width, count]`.
    ///
    /// # Errors
    /// If the convolution has no output, no maps or a kernel without positions, or there are as
    /// many pairs of an input and an output as `u32::MAX`.
    pub fn conv(conv: &Conv) -> Result<Self, ConnectivityError> {
        let &Conv { positions, in_maps, out_maps, width, stride, padding } = conv;
        let out_positions = conv.out_positions();
        if [out_positions, positions, in_maps, out_maps, width].contains(&0) {
            return Err(ConnectivityError::Empty);
        }
        let inputs = positions.checked_mul(in_maps).ok_or(ConnectivityError::TooLarge)?;
        let outputs = out_positions.checked_mul(out_maps).ok_or(ConnectivityError::TooLarge)?;
        let mut found = Self::absent(inputs, outputs, vec![out_maps, in_maps, width])?;
        for (o, row) in found.units.chunks_exact_mut(inputs).enumerate() {
            let (start, n) = (o / out_maps * stride, o % out_maps);
            for (i, unit) in row.iter_mut().enumerate() {
                let (position, m) = (i / in_maps, i % in_maps);
                let k = position.saturating_add(padding).checked_sub(start).filter(|k| *k < width);
                *unit = k.map_or(ABSENT, |k| ((n * in_maps + m) * width + k) as u32);
            }
        }
        Ok(found)
    }

    fn absent(inputs: usize, outputs: usize, shape: Vec<usize>) -> Result<Self, ConnectivityError> {
        let pairs = inputs.checked_mul(outputs).filter(|pairs| *pairs < ABSENT as usize);
        let units = shape.iter().try_fold(1usize, |n, &m| n.checked_mul(m));
        let units = units.filter(|units| *units < ABSENT as usize);
        let (Some(pairs), Some(_)) = (pairs, units) else {
            return Err(ConnectivityError::TooLarge);
        };
        Ok(Self { inputs, outputs, shape, units: vec![ABSENT; pairs] })
    }

    /// Presynaptic neurons.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Postsynaptic neurons.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The dimensions of the units.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of units.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no units, which no constructor allows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The unit of the synapse from input `i` to output `o`; `None` if it does not exist.
    #[must_use]
    pub fn unit(&self, o: usize, i: usize) -> Option<usize> {
        let inside = o < self.outputs && i < self.inputs;
        let unit = self.units.get(o.saturating_mul(self.inputs).saturating_add(i));
        unit.filter(|unit| inside && **unit != ABSENT).map(|&unit| unit as usize)
    }

    /// The largest number of synapses that an output has.
    #[must_use]
    pub fn fan_in(&self) -> usize {
        let rows = self.units.chunks(self.inputs.max(1));
        rows.map(|row| row.iter().filter(|unit| **unit != ABSENT).count()).max().unwrap_or(0)
    }

    fn fits(&self, synapses: &Synapses) -> Result<(), ShapeError> {
        expect("inputs of the connectivity", synapses.inputs, self.inputs)?;
        expect("outputs of the connectivity", synapses.outputs, self.outputs)
    }

    /// For every synapse, its elements in the full block, and in the packed one if it exists.
    fn blocks(&self, count: usize) -> impl Iterator<Item = Option<core::ops::Range<usize>>> {
        self.units.iter().map(move |&unit| {
            (unit != ABSENT).then(|| unit as usize * count..(unit as usize + 1) * count)
        })
    }
}

/// Which values of a connection its synapses have: a [`Place`] says it by a rule, a
/// [`Connectivity`] by a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing<'a> {
    /// All synapses exist.
    Place(Place),
    /// Those that exist have the values of their units.
    Units(&'a Connectivity),
}

impl Sharing<'_> {
    /// The number of packed values; `usize::MAX` if the product overflows.
    #[must_use]
    pub fn len(self, synapses: &Synapses) -> usize {
        match self {
            Self::Place(place) => place.len(synapses),
            Self::Units(units) => units.len().saturating_mul(synapses.kernel_count),
        }
    }

    /// The dimensions of the packed values.
    #[must_use]
    pub fn shape(self, synapses: &Synapses) -> Vec<usize> {
        match self {
            Self::Place(place) => place.shape(synapses),
            Self::Units(units) => [units.shape(), &[synapses.kernel_count]].concat(),
        }
    }

    /// The packed index of element `j` of the synapse from input `i` to output `o`.
    #[must_use]
    pub fn index(self, synapses: &Synapses, o: usize, i: usize, j: usize) -> Option<usize> {
        match self {
            Self::Place(place) => Some(place.index(synapses, o, i, j)),
            Self::Units(units) => Some(units.unit(o, i)? * synapses.kernel_count + j),
        }
    }

    /// Writes the value of every element of every synapse, 0 for those that do not exist:
    /// `full[o, i, j] = packed[index(o, i, j)]`.
    ///
    /// # Errors
    /// [`ShapeError`] if the size of a block does not match.
    pub fn expand<R: Real>(
        self,
        synapses: &Synapses,
        packed: &[R],
        full: &mut [R],
    ) -> Result<(), ShapeError> {
        let units = match self {
            Self::Place(place) => return place.expand(synapses, packed, full),
            Self::Units(units) => units,
        };
        self.check(synapses, packed.len(), full.len())?;
        let count = synapses.kernel_count.max(1);
        for (full, block) in full.chunks_exact_mut(count).zip(units.blocks(count)) {
            match block {
                Some(block) => full.copy_from_slice(&packed[block]),
                None => full.fill(R::zero()),
            }
        }
        Ok(())
    }

    /// The transpose of [`expand`](Self::expand): `packed[n]` is the sum of the `full[o, i, j]`
    /// with `index(o, i, j) = n`. Gradients of synapses that do not exist are dropped.
    ///
    /// # Errors
    /// [`ShapeError`] if the size of a block does not match.
    pub fn reduce<R: Real>(
        self,
        synapses: &Synapses,
        full: &[R],
        packed: &mut [R],
    ) -> Result<(), ShapeError> {
        let units = match self {
            Self::Place(place) => return place.reduce(synapses, full, packed),
            Self::Units(units) => units,
        };
        self.check(synapses, packed.len(), full.len())?;
        packed.fill(R::zero());
        let count = synapses.kernel_count.max(1);
        for (full, block) in full.chunks_exact(count).zip(units.blocks(count)) {
            let Some(block) = block else { continue };
            packed[block].iter_mut().zip(full).for_each(|(sum, &d)| *sum += d);
        }
        Ok(())
    }

    fn check(self, synapses: &Synapses, packed: usize, full: usize) -> Result<(), ShapeError> {
        if let Self::Units(units) = self {
            units.fits(synapses)?;
        }
        expect("values of the synapses", synapses.weights(), full)?;
        expect("values of the connection", self.len(synapses), packed)
    }
}

impl From<Place> for Sharing<'_> {
    fn from(place: Place) -> Self {
        Self::Place(place)
    }
}

/// Why a connectivity is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectivityError {
    /// There are no synapses: no pairs, no maps, or a kernel that is wider than its input.
    Empty,
    /// There are more pairs of an input and an output than 32 bits can count.
    TooLarge,
    /// A pair is beyond the sizes, or occurs twice.
    Pair {
        /// The output.
        output: usize,
        /// The input.
        input: usize,
    },
}

impl fmt::Display for ConnectivityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there are no synapses"),
            Self::TooLarge => f.write_str("there are too many synapses"),
            Self::Pair { output, input } => {
                write!(
                    f,
                    "the pair of output {output} and input {input} is beyond the sizes or twice"
                )
            }
        }
    }
}

impl core::error::Error for ConnectivityError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_convolution_is_its_definition() {
        for (positions, in_maps, out_maps, width, stride, padding) in
            [(7, 1, 3, 3, 2, 0), (5, 2, 2, 4, 1, 3), (6, 3, 1, 2, 4, 1), (1, 1, 1, 3, 1, 1)]
        {
            let conv = Conv { positions, in_maps, out_maps, width, stride, padding };
            let found = Connectivity::conv(&conv).unwrap();
            let weights: Vec<f64> = (1..=found.len()).map(|n| n as f64).collect();
            let x: Vec<f64> = (0..found.inputs()).map(|n| (n * n % 13) as f64).collect();
            for q in 0..conv.out_positions() {
                for n in 0..out_maps {
                    let (mut expected, o) = (0.0, q * out_maps + n);
                    for (m, k) in (0..in_maps).flat_map(|m| (0..width).map(move |k| (m, k))) {
                        let Some(p) = (q * stride + k).checked_sub(padding) else { continue };
                        let x = x.get(p * in_maps + m).unwrap_or(&0.0);
                        expected += weights[(n * in_maps + m) * width + k] * x;
                    }
                    let terms = x
                        .iter()
                        .enumerate()
                        .filter_map(|(i, x)| Some(weights[found.unit(o, i)?] * x));
                    assert_eq!(terms.sum::<f64>(), expected, "{conv:?}, position {q}, map {n}");
                }
            }
            assert!(found.fan_in() <= width * in_maps);
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let conv = Conv { positions: 4, width: 5, ..Conv::default() };
        assert_eq!(Connectivity::conv(&conv), Err(ConnectivityError::Empty));
        assert!(Connectivity::conv(&Conv { padding: 1, ..conv }).is_ok());
        for conv in [
            Conv { width: 0, ..conv },
            Conv { width: 2, stride: 0, ..conv },
            Conv { width: 2, out_maps: 0, ..conv },
            Conv { positions: 0, padding: 9, ..conv },
        ] {
            assert_eq!(Connectivity::conv(&conv), Err(ConnectivityError::Empty), "{conv:?}");
        }
        let large = Conv { positions: usize::MAX, in_maps: 2, width: 1, ..conv };
        assert_eq!(Connectivity::conv(&large), Err(ConnectivityError::TooLarge));
        let sparse = |pairs: &[_]| Connectivity::sparse(3, 2, pairs);
        assert_eq!(sparse(&[]), Err(ConnectivityError::Empty));
        for (output, input) in [(0, 3), (2, 0), (1, 2), (0, usize::MAX), (usize::MAX, 1)] {
            let error = ConnectivityError::Pair { output, input };
            assert_eq!(sparse(&[(1, 2), (output, input)]), Err(error));
        }
        let large = Connectivity::sparse(1 << 20, 1 << 20, &[(0, 0)]);
        assert_eq!(large, Err(ConnectivityError::TooLarge));
    }
}
