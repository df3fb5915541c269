use crate::scratch::{Block, Scratch};
use ndarray::{ArrayView3, ArrayViewMut3};
use polychron_core::num::Real;
use polychron_core::shape::{Shape, ShapeError, expect};
use rayon::prelude::*;

/// A block `[time, batch, width]`, kept as `[neuron][time][batch]`.
#[derive(Debug)]
pub struct Sequence<R> {
    shape: Shape,
    values: Block<R>,
}

/// Rows and columns transposed together: a cache line of `f32`.
const TILE: usize = 16;
/// Rows to a task.
const ROWS: usize = 1024;

impl<R: Real> Sequence<R> {
    /// A sequence of unspecified numbers.
    pub(crate) fn new(shape: Shape, scratch: &Scratch<R>) -> Self {
        Self { shape, values: scratch.block((shape.width, shape.steps, shape.batch)) }
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// `[time][batch]` of one neuron.
    pub(crate) fn block(&self, neuron: usize) -> &[R] {
        let len = self.shape.steps * self.shape.batch;
        &self.values.values()[neuron * len..(neuron + 1) * len]
    }

    /// `[neuron][time][batch]`.
    pub(crate) fn view(&self) -> ArrayView3<'_, R> {
        self.values.view()
    }

    /// `[neuron][time][batch]`.
    pub(crate) fn view_mut(&mut self) -> ArrayViewMut3<'_, R> {
        self.values.view_mut()
    }

    /// `[time][batch]` of every neuron.
    pub(crate) fn blocks_mut(&mut self) -> impl IndexedParallelIterator<Item = &mut [R]> {
        let len = self.shape.steps * self.shape.batch;
        self.values.values_mut().par_chunks_mut(len.max(1))
    }

    pub(crate) fn clear(&mut self) {
        self.values.values_mut().par_chunks_mut(1 << 16).for_each(|part| part.fill(R::zero()));
    }

    /// Copies a time-major host block.
    pub(crate) fn write(&mut self, from: &[R]) -> Result<(), ShapeError> {
        expect("upload", self.shape.len(), from.len())?;
        let (width, rows) = (self.shape.width, self.shape.steps * self.shape.batch);
        self.values.values_mut().par_chunks_mut((TILE * rows).max(1)).enumerate().for_each(
            |(n, blocks)| {
                let first = n * TILE;
                let mut tile = [[R::zero(); TILE]; TILE];
                for (k, some) in from.chunks(TILE * width).enumerate() {
                    for (r, row) in some.chunks_exact(width).enumerate() {
                        for (column, &x) in tile.iter_mut().zip(&row[first..]) {
                            column[r] = x;
                        }
                    }
                    let present = some.len() / width;
                    for (block, column) in blocks.chunks_exact_mut(rows).zip(&tile) {
                        block[k * TILE..k * TILE + present].copy_from_slice(&column[..present]);
                    }
                }
            },
        );
        Ok(())
    }

    /// Copies to a time-major host block.
    pub(crate) fn read(&self, to: &mut [R]) -> Result<(), ShapeError> {
        expect("download", self.shape.len(), to.len())?;
        let (width, rows) = (self.shape.width, self.shape.steps * self.shape.batch);
        to.par_chunks_mut((ROWS * width).max(1)).enumerate().for_each(|(n, part)| {
            for (r, row) in part.chunks_exact_mut(width).enumerate() {
                for (x, block) in row.iter_mut().zip(self.values.values().chunks_exact(rows)) {
                    *x = block[n * ROWS + r];
                }
            }
        });
        Ok(())
    }
}

/// Checks that two blocks have one shape.
pub(crate) fn same(what: &'static str, expected: Shape, found: Shape) -> Result<(), ShapeError> {
    expect(what, expected.steps, found.steps)?;
    expect(what, expected.batch, found.batch)?;
    expect(what, expected.width, found.width)
}
