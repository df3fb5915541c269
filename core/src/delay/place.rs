use crate::num::Real;
use crate::shape::{ShapeError, Synapses, expect, product};

/// Where the delays of a connection sit: which of its synapses share one.
///
/// Every synapse has `count` kernel elements, and every element a weight of its own.
///
/// | place | one delay for each | delays |
/// |---|---|---|
/// | synaptic | synapse | `[out, in, count]` |
/// | axonal | input | `[in, count]` |
/// | dendritic | output | `[out, count]` |
/// | shared | connection | `[count]` |
///
/// ```
/// use polychron_core::delay::Place;
/// use polychron_core::shape::Synapses;
/// let synapses = Synapses::new(2, 3, 25);
/// let mut delays = [0.0; 6];
/// Place::Axonal.expand(&synapses, &[4.0, 7.0], &mut delays)?;
/// assert_eq!(delays, [4.0, 7.0, 4.0, 7.0, 4.0, 7.0]);
/// # Ok::<(), polychron_core::shape::ShapeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Place {
    /// One delay for each synapse.
    #[default]
    Synaptic,
    /// One delay for each input: a spike reaches all outputs at once.
    Axonal,
    /// One delay for each output: it hears all inputs as late.
    Dendritic,
    /// One delay for the whole connection.
    Shared,
}

impl Place {
    /// Every place with its name in configurations.
    pub const ALL: [(&'static str, Self); 4] = [
        ("synaptic", Self::Synaptic),
        ("axonal", Self::Axonal),
        ("dendritic", Self::Dendritic),
        ("shared", Self::Shared),
    ];

    /// The name in [`Place::ALL`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }

    /// The number of delays; `usize::MAX` if the product overflows.
    #[must_use]
    pub const fn len(self, synapses: &Synapses) -> usize {
        product(self.sizes(synapses))
    }

    /// The index of the delay of element `j` of the synapse from input `i` to output `o`.
    #[must_use]
    pub const fn index(self, synapses: &Synapses, o: usize, i: usize, j: usize) -> usize {
        let unit = match self {
            Self::Synaptic => o * synapses.inputs + i,
            Self::Axonal => i,
            Self::Dendritic => o,
            Self::Shared => 0,
        };
        unit * synapses.kernel_count + j
    }

    /// The dimensions of the delays.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn shape(self, synapses: &Synapses) -> alloc::vec::Vec<usize> {
        let [outputs, inputs, count] = self.sizes(synapses);
        match self {
            Self::Synaptic => alloc::vec![outputs, inputs, count],
            Self::Axonal => alloc::vec![inputs, count],
            Self::Dendritic => alloc::vec![outputs, count],
            Self::Shared => alloc::vec![count],
        }
    }

    /// Outputs, inputs and elements with delays of their own.
    const fn sizes(self, synapses: &Synapses) -> [usize; 3] {
        let Synapses { inputs, outputs, kernel_count, .. } = *synapses;
        match self {
            Self::Synaptic => [outputs, inputs, kernel_count],
            Self::Axonal => [1, inputs, kernel_count],
            Self::Dendritic => [outputs, 1, kernel_count],
            Self::Shared => [1, 1, kernel_count],
        }
    }

    /// Writes the delay of every element of every synapse:
    /// `full[o, i, j] = packed[index(o, i, j)]`.
    ///
    /// # Errors
    /// [`ShapeError`] if the size of a block does not match.
    pub fn expand<R: Copy>(
        self,
        synapses: &Synapses,
        packed: &[R],
        full: &mut [R],
    ) -> Result<(), ShapeError> {
        self.check(synapses, packed.len(), full.len())?;
        let count = synapses.kernel_count;
        let row = synapses.inputs.saturating_mul(count).max(1);
        for (o, full) in full.chunks_exact_mut(row).enumerate() {
            let own = match self {
                Self::Synaptic => &packed[o * row..(o + 1) * row],
                Self::Dendritic => &packed[o * count..(o + 1) * count],
                Self::Axonal | Self::Shared => packed,
            };
            for part in full.chunks_exact_mut(own.len()) {
                part.copy_from_slice(own);
            }
        }
        Ok(())
    }

    /// The transpose of [`expand`](Self::expand), which turns the gradient by the delay of every
    /// element into the gradient by the delays: `packed[n]` is the sum of the `full[o, i, j]` with
    /// `index(o, i, j) = n`.
    ///
    /// # Errors
    /// [`ShapeError`] if the size of a block does not match.
    pub fn reduce<R: Real>(
        self,
        synapses: &Synapses,
        full: &[R],
        packed: &mut [R],
    ) -> Result<(), ShapeError> {
        self.check(synapses, packed.len(), full.len())?;
        if self == Self::Synaptic {
            packed.copy_from_slice(full);
            return Ok(());
        }
        packed.fill(R::zero());
        let count = synapses.kernel_count;
        let row = synapses.inputs.saturating_mul(count).max(1);
        for (o, full) in full.chunks_exact(row).enumerate() {
            if self == Self::Axonal {
                packed.iter_mut().zip(full).for_each(|(sum, &d)| *sum += d);
                continue;
            }
            for j in 0..count {
                let mut sum = R::zero();
                full.iter().skip(j).step_by(count).for_each(|&d| sum += d);
                packed[self.index(synapses, o, 0, j)] += sum;
            }
        }
        Ok(())
    }

    fn check(self, synapses: &Synapses, packed: usize, full: usize) -> Result<(), ShapeError> {
        expect("delays of the synapses", synapses.weights(), full)?;
        expect("delays of the connection", self.len(synapses), packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_their_names() {
        for (name, place) in Place::ALL {
            assert_eq!(place.name(), name);
        }
    }

    #[test]
    fn overflowing_places_and_wrong_blocks_are_rejected() {
        let large = Synapses::new(usize::MAX, 2, 3);
        assert_eq!(Place::Synaptic.len(&large), usize::MAX);
        assert_eq!(Place::Dendritic.len(&large), 2);
        let synapses = Synapses { kernel_count: 2, ..Synapses::new(3, 4, 5) };
        for (name, place) in Place::ALL {
            let (packed, full) = (place.len(&synapses), synapses.weights());
            for (packed, full) in [(packed + 1, full), (packed - 1, full), (packed, full - 1)] {
                let (mut few, mut all) = ([0.0; 25], [0.0; 25]);
                let (few, all) = (&mut few[..packed], &mut all[..full]);
                assert!(place.expand(&synapses, few, all).is_err(), "{name}");
                assert!(place.reduce(&synapses, all, few).is_err(), "{name}");
            }
        }
    }
}
