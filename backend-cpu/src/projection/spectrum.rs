use crate::lanes::{Lanes, whole_vectors};
use crate::scratch::{Block, Scratch};

/// Values between two rows. Without them the rows of all bins would map to the same cache lines.
const PADDING: usize = 16;

/// Spectra `[series][bin][re, im][lane]`. The lanes are whole vectors; rows are [`Spectrum::pitch`]
/// values apart.
#[derive(Debug)]
pub(super) struct Spectrum<R> {
    values: Block<R>,
    bins: usize,
    lanes: usize,
}

impl<R: Lanes> Spectrum<R> {
    /// Spectra of unspecified values.
    pub(super) fn new(scratch: &Scratch<R>, series: usize, bins: usize, lanes: usize) -> Self {
        let lanes = whole_vectors::<R>(lanes);
        Self { values: scratch.block((series, 2 * bins, lanes + PADDING)), bins, lanes }
    }

    pub(super) fn series(&self) -> usize {
        self.values.view().dim().0
    }

    pub(super) fn lanes(&self) -> usize {
        self.lanes
    }

    /// Values from one row to the next.
    pub(super) fn pitch(&self) -> usize {
        self.lanes + PADDING
    }

    /// Values of a series.
    pub(super) fn stride(&self) -> usize {
        2 * self.bins * self.pitch()
    }

    /// `[bin][re, im][lane]` of one series.
    pub(super) fn one_series(&self, series: usize) -> &[R] {
        &self.values.values()[series * self.stride()..][..self.stride()]
    }

    /// Real and imaginary parts of a series at a bin, with the padding.
    #[inline(always)]
    pub(super) fn padded_row(&self, series: usize, bin: usize) -> (&[R], &[R]) {
        let at = series * self.stride() + 2 * bin * self.pitch();
        self.values.values()[at..at + 2 * self.pitch()].split_at(self.pitch())
    }

    /// Real and imaginary parts of a series at a bin; empty if the series does not exist.
    #[inline(always)]
    pub(super) fn row_or_empty(&self, series: usize, bin: usize) -> (&[R], &[R]) {
        if series < self.series() {
            let (re, im) = self.padded_row(series, bin);
            (&re[..self.lanes], &im[..self.lanes])
        } else {
            (&[], &[])
        }
    }

    /// All values, [`Spectrum::stride`] per series.
    pub(super) fn values_mut(&mut self) -> &mut [R] {
        self.values.values_mut()
    }

    /// `[re, im][lane]` of every series, bin by bin.
    pub(super) fn rows_mut(&mut self) -> Vec<Vec<&mut [R]>> {
        let (bins, pitch, stride, series) = (self.bins, self.pitch(), self.stride(), self.series());
        let mut rows: Vec<Vec<_>> = (0..bins).map(|_| Vec::with_capacity(series)).collect();
        for series in self.values.values_mut().chunks_exact_mut(stride) {
            for (rows, row) in rows.iter_mut().zip(series.chunks_exact_mut(2 * pitch)) {
                rows.push(row);
            }
        }
        rows
    }
}
