use crate::backend::Error;
use crate::lanes::vectorize;
use crate::projection::KeptSpectrum;
use crate::scratch::{Block, Scratch};
use ndarray::{ArrayView3, ArrayViewMut3};
use polychron_core::num::Real;
use polychron_core::shape::{Shape, ShapeError, expect};
use rayon::prelude::*;
use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

/// A block `[time, batch, width]`, kept as `[neuron][time][batch]`: a number takes the bytes of an `f32` or `f64`, a spike
/// of a neuron one.
#[derive(Debug)]
pub struct Sequence<R> {
    shape: Shape,
    values: Values<R>,
    /// Its transform, from a forward pass to the backward one.
    spectrum: Mutex<Option<KeptSpectrum<R>>>,
    scratch: Scratch<R>,
}

#[derive(Debug)]
enum Values<R> {
    Numbers(Block<R>),
    Spikes(Spikes<R>),
}

/// Spikes, and what they are multiplied by.
#[derive(Debug)]
struct Spikes<R> {
    /// `[neuron][time][batch]`, 0 or 1.
    fired: Vec<u8>,
    /// `[neuron][batch]`.
    pass: Vec<R>,
}

/// Rows and columns transposed together: a cache line of `f32`.
const TILE: usize = 16;
/// Rows to a task.
const ROWS: usize = 1024;

impl<R: Real> Sequence<R> {
    /// A sequence of unspecified numbers.
    pub(crate) fn new(shape: Shape, scratch: &Scratch<R>) -> Self {
        Self::of(scratch.block((shape.width, shape.steps, shape.batch)), shape, scratch)
    }

    /// As [`Sequence::new`], where there is memory for it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn try_new(shape: Shape, scratch: &Scratch<R>) -> Result<Self, Error> {
        let block = scratch.try_block((shape.width, shape.steps, shape.batch))?;
        Ok(Self::of(block, shape, scratch))
    }

    fn of(block: Block<R>, shape: Shape, scratch: &Scratch<R>) -> Self {
        let (values, spectrum) = (Values::Numbers(block), Mutex::default());
        Self { shape, values, spectrum, scratch: scratch.clone() }
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// `[time][batch]` of one neuron; spikes are written out.
    #[inline]
    pub(crate) fn block(&self, neuron: usize) -> Cow<'_, [R]> {
        let (len, batch) = (self.shape.steps * self.shape.batch, self.shape.batch);
        match &self.values {
            Values::Numbers(numbers) => {
                Cow::Borrowed(&numbers.values()[neuron * len..(neuron + 1) * len])
            }
            Values::Spikes(Spikes { fired, pass }) => {
                let mut block = vec![R::zero(); len];
                let fired = &fired[neuron * len..(neuron + 1) * len];
                write_out(fired, &pass[neuron * batch..(neuron + 1) * batch], &mut block);
                Cow::Owned(block)
            }
        }
    }

    /// Spikes written out, where the sequence is one of spikes.
    pub(crate) fn written_out(&self) -> Option<Self> {
        let Values::Spikes(Spikes { fired, pass }) = &self.values else { return None };
        let (len, batch) = (self.shape.steps * self.shape.batch, self.shape.batch);
        let mut out = Self::new(self.shape, &self.scratch);
        let spikes = fired.par_chunks(len.max(1)).zip(pass.par_chunks(batch.max(1)));
        out.blocks_mut()
            .zip(spikes)
            .for_each(|(block, (fired, pass))| write_out(fired, pass, block));
        Some(out)
    }

    /// `[neuron][time][batch]` of a sequence of numbers.
    pub(crate) fn view(&self) -> ArrayView3<'_, R> {
        match &self.values {
            Values::Numbers(numbers) => numbers.view(),
            Values::Spikes(_) => unreachable!("spikes are written out first"),
        }
    }

    /// `[neuron][time][batch]`, of unspecified numbers where there were spikes.
    pub(crate) fn view_mut(&mut self) -> ArrayViewMut3<'_, R> {
        self.numbers_mut().view_mut()
    }

    /// `[time][batch]` of every neuron, of unspecified numbers where there were spikes.
    pub(crate) fn blocks_mut(&mut self) -> impl IndexedParallelIterator<Item = &mut [R]> {
        let len = self.shape.steps * self.shape.batch;
        self.numbers_mut().values_mut().par_chunks_mut(len.max(1))
    }

    /// For every neuron room for its spikes `[time][batch]`, 0 or 1, and for what those of a sample are multiplied by.
    pub(crate) fn spikes_mut(
        &mut self,
    ) -> impl IndexedParallelIterator<Item = (&mut [u8], &mut [R])> {
        self.forget();
        let Shape { steps, batch, width } = self.shape;
        if let Values::Numbers(_) = self.values {
            let (fired, pass) = (vec![0; self.shape.len()], vec![R::zero(); width * batch]);
            self.values = Values::Spikes(Spikes { fired, pass });
        }
        let (fired, pass) = match &mut self.values {
            Values::Spikes(Spikes { fired, pass }) => (&mut fired[..], &mut pass[..]),
            Values::Numbers(_) => Default::default(),
        };
        fired.par_chunks_mut((steps * batch).max(1)).zip(pass.par_chunks_mut(batch.max(1)))
    }

    /// Keeps the transform of what the sequence holds.
    pub(crate) fn keep(&self, spectrum: KeptSpectrum<R>) {
        *self.spectrum.lock().unwrap_or_else(PoisonError::into_inner) = Some(spectrum);
    }

    /// The transform that was kept.
    pub(crate) fn take(&self) -> Option<KeptSpectrum<R>> {
        self.spectrum.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn forget(&mut self) {
        drop(self.take());
    }

    fn numbers_mut(&mut self) -> &mut Block<R> {
        self.forget();
        if let Values::Spikes(_) = self.values {
            self.values = Self::new(self.shape, &self.scratch).values;
        }
        match &mut self.values {
            Values::Numbers(numbers) => numbers,
            Values::Spikes(_) => unreachable!("just made numbers"),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.numbers_mut()
            .values_mut()
            .par_chunks_mut(1 << 16)
            .for_each(|part| part.fill(R::zero()));
    }

    /// Copies a time-major host block.
    pub(crate) fn write(&mut self, from: &[R]) -> Result<(), ShapeError> {
        expect("upload", self.shape.len(), from.len())?;
        let (width, rows) = (self.shape.width, self.shape.steps * self.shape.batch);
        self.numbers_mut().values_mut().par_chunks_mut((TILE * rows).max(1)).enumerate().for_each(
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
        if let Some(numbers) = self.written_out() {
            return numbers.read(to);
        }
        let (width, rows) = (self.shape.width, self.shape.steps * self.shape.batch);
        let values = self.view();
        let values = values.as_slice().unwrap_or_default();
        to.par_chunks_mut((ROWS * width).max(1)).enumerate().for_each(|(n, part)| {
            for (r, row) in part.chunks_exact_mut(width).enumerate() {
                for (x, block) in row.iter_mut().zip(values.chunks_exact(rows)) {
                    *x = block[n * ROWS + r];
                }
            }
        });
        Ok(())
    }
}

/// Spikes `[time][batch]` as numbers.
fn write_out<R: Real>(fired: &[u8], pass: &[R], to: &mut [R]) {
    let batch = pass.len().max(1);
    vectorize(
        #[inline(always)]
        || {
            for (fired, to) in fired.chunks_exact(batch).zip(to.chunks_exact_mut(batch)) {
                for ((to, &fired), &pass) in to.iter_mut().zip(fired).zip(pass) {
                    *to = if fired != 0 { pass } else { R::zero() };
                }
            }
        },
    );
}

/// Checks that two blocks have one shape.
pub(crate) fn same(what: &'static str, expected: Shape, found: Shape) -> Result<(), ShapeError> {
    expect(what, expected.steps, found.steps)?;
    expect(what, expected.batch, found.batch)?;
    expect(what, expected.width, found.width)
}
