use crate::backend::Error;
use crate::lanes::vectorize;
use crate::projection::KeptSpectrum;
use crate::scratch::{Block, Scratch};
use ndarray::{ArrayView3, ArrayViewMut3};
use polychron_core::backend::Event;
use polychron_core::num::Real;
use polychron_core::shape::{Shape, ShapeError, expect};
use rayon::prelude::*;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// A block `[time, batch, width]`, stored as `[neuron][time][batch]`.
///
/// Memory: a number takes 4 or 8 bytes; a spike of [`Firing::Step`] neurons takes one byte.
///
/// [`Firing::Step`]: polychron_core::neuron::Firing::Step
#[derive(Debug)]
pub struct Sequence<R> {
    shape: Shape,
    values: Values<R>,
    /// The transform of the values, kept for the backward pass.
    spectrum: Mutex<Option<KeptSpectrum<R>>>,
    scratch: Scratch<R>,
}

#[derive(Debug)]
enum Values<R> {
    Numbers(Block<R>),
    Spikes(Spikes<R>),
}

/// Spikes and their factors.
#[derive(Debug)]
struct Spikes<R> {
    /// `[neuron][time][batch]`, 0 or 1.
    fired: Vec<u8>,
    /// The factor `[neuron][batch]` of the spikes: the dropout mask.
    gate: Vec<R>,
}

/// Rows and columns of a transposed tile: a cache line of `f32`.
const TILE: usize = 16;
/// Rows per task.
const ROWS: usize = 1024;

impl<R: Real> Sequence<R> {
    /// A sequence of unspecified numbers.
    pub(crate) fn new(shape: Shape, scratch: &Scratch<R>) -> Self {
        Self::of(scratch.block((shape.width, shape.steps, shape.batch)), shape, scratch)
    }

    /// As [`Sequence::new`], but fallible.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the allocation fails.
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

    /// `[time][batch]` of one neuron, with spikes converted to numbers.
    #[inline]
    pub(crate) fn block(&self, neuron: usize) -> Cow<'_, [R]> {
        let (len, batch) = (self.shape.steps * self.shape.batch, self.shape.batch);
        match &self.values {
            Values::Numbers(numbers) => {
                Cow::Borrowed(&numbers.values()[neuron * len..(neuron + 1) * len])
            }
            Values::Spikes(Spikes { fired, gate }) => {
                let mut block = vec![R::zero(); len];
                let fired = &fired[neuron * len..(neuron + 1) * len];
                write_out(fired, &gate[neuron * batch..(neuron + 1) * batch], &mut block);
                Cow::Owned(block)
            }
        }
    }

    /// Calls `f` with every step and the values of some samples of one neuron.
    pub(crate) fn samples(
        &self,
        neuron: usize,
        samples: Range<usize>,
        mut f: impl FnMut(usize, &[R]),
    ) {
        let Shape { steps, batch, .. } = self.shape;
        let mut row = vec![R::zero(); samples.len()];
        for t in 0..steps {
            let at = (neuron * steps + t) * batch;
            match &self.values {
                Values::Numbers(numbers) => {
                    f(t, &numbers.values()[at + samples.start..at + samples.end]);
                }
                Values::Spikes(Spikes { fired, gate }) => {
                    let gate = &gate[neuron * batch..(neuron + 1) * batch];
                    for (x, b) in row.iter_mut().zip(samples.clone()) {
                        *x = if fired[at + b] != 0 { gate[b] } else { R::zero() };
                    }
                    f(t, &row);
                }
            }
        }
    }

    /// The spikes as a sequence of numbers; `None` if this already is one.
    pub(crate) fn to_dense(&self) -> Option<Self> {
        let Values::Spikes(Spikes { fired, gate }) = &self.values else { return None };
        let (len, batch) = (self.shape.steps * self.shape.batch, self.shape.batch);
        let mut out = Self::new(self.shape, &self.scratch);
        let spikes = fired.par_chunks(len.max(1)).zip(gate.par_chunks(batch.max(1)));
        out.blocks_mut()
            .zip(spikes)
            .for_each(|(block, (fired, gate))| write_out(fired, gate, block));
        Some(out)
    }

    /// `[neuron][time][batch]` of a sequence of numbers. Panics on spikes: call
    /// [`to_dense`](Self::to_dense) first.
    pub(crate) fn view(&self) -> ArrayView3<'_, R> {
        match &self.values {
            Values::Numbers(numbers) => numbers.view(),
            Values::Spikes(_) => unreachable!("the caller writes spikes out first"),
        }
    }

    /// `[neuron][time][batch]`. Unspecified numbers replace spikes.
    pub(crate) fn view_mut(&mut self) -> ArrayViewMut3<'_, R> {
        self.numbers_mut().view_mut()
    }

    /// `[time][batch]` of every neuron. Unspecified numbers replace spikes.
    pub(crate) fn blocks_mut(&mut self) -> impl IndexedParallelIterator<Item = &mut [R]> {
        let len = self.shape.steps * self.shape.batch;
        self.numbers_mut().values_mut().par_chunks_mut(len.max(1))
    }

    /// Makes this a sequence of spikes.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn make_spikes(&mut self) -> Result<(), Error> {
        if let Values::Numbers(_) = self.values {
            let Shape { batch, width, .. } = self.shape;
            let (len, mut fired) = (self.shape.len(), Vec::new());
            let failed = |_| Error::OutOfMemory { bytes: len };
            fired.try_reserve_exact(len).map_err(failed)?;
            fired.resize(len, 0);
            self.forget();
            let gate = vec![R::zero(); width * batch];
            self.values = Values::Spikes(Spikes { fired, gate });
        }
        Ok(())
    }

    /// Yields, for every neuron of a sequence of spikes, the spikes `[time][batch]`, 0 or
    /// 1, and their factors `[batch]`.
    pub(crate) fn spikes_mut(
        &mut self,
    ) -> impl IndexedParallelIterator<Item = (&mut [u8], &mut [R])> {
        self.forget();
        let Shape { steps, batch, .. } = self.shape;
        let (fired, gate) = match &mut self.values {
            Values::Spikes(Spikes { fired, gate }) => (&mut fired[..], &mut gate[..]),
            Values::Numbers(_) => Default::default(),
        };
        fired.par_chunks_mut((steps * batch).max(1)).zip(gate.par_chunks_mut(batch.max(1)))
    }

    /// Keeps the transform of the values.
    pub(crate) fn keep(&self, spectrum: KeptSpectrum<R>) {
        *self.spectrum.lock().unwrap_or_else(PoisonError::into_inner) = Some(spectrum);
    }

    /// Takes the kept transform.
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
            Values::Spikes(_) => unreachable!("converted to numbers above"),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.numbers_mut()
            .values_mut()
            .par_chunks_mut(1 << 16)
            .for_each(|part| part.fill(R::zero()));
    }

    /// Copies a sequence of the same shape.
    pub(crate) fn copy(&mut self, from: &Self) {
        let blocks = self.blocks_mut().enumerate();
        blocks.for_each(|(n, to)| to.copy_from_slice(&from.block(n)));
    }

    /// Adds a sequence.
    pub(crate) fn add(&mut self, x: &Self) -> Result<(), ShapeError> {
        self.shape.expect("sum of sequences", x.shape)?;
        if let Some(numbers) = self.to_dense() {
            *self = numbers;
        }
        self.blocks_mut().enumerate().for_each(|(n, sum)| {
            let x = x.block(n);
            vectorize(
                #[inline(always)]
                || sum.iter_mut().zip(&*x).for_each(|(sum, &x)| *sum += x),
            );
        });
        Ok(())
    }

    /// Adds a number to all values of each neuron.
    pub(crate) fn add_to_each(&mut self, numbers: &[R]) {
        if let Some(numbers) = self.to_dense() {
            *self = numbers;
        }
        self.blocks_mut().zip(numbers).for_each(|(block, &number)| {
            vectorize(
                #[inline(always)]
                || block.iter_mut().for_each(|y| *y += number),
            );
        });
    }

    /// The sum of all values of each neuron.
    pub(crate) fn sum_each(&self, sums: &mut [R]) {
        sums.par_iter_mut().enumerate().for_each(|(n, to)| {
            let block = self.block(n);
            let mut sums = [0.0; TILE];
            vectorize(
                #[inline(always)]
                || {
                    for part in block.chunks(TILE) {
                        sums.iter_mut().zip(part).for_each(|(sum, x)| *sum += x.as_f64());
                    }
                },
            );
            *to = R::of(sums.iter().sum());
        });
    }

    /// Writes the steps of one sequence, then those of another.
    pub(crate) fn join(&mut self, first: &Self, second: &Self) -> Result<(), Error> {
        let (before, after) = (first.shape, second.shape);
        let steps = before.steps.saturating_add(after.steps);
        Shape { steps, ..before }.expect("joined sequence", self.shape)?;
        Shape { steps, ..after }.expect("joined sequence", self.shape)?;
        let batch = before.batch;
        let (before, after) = (before.steps * batch, after.steps * batch);
        if let Some(gates) = first.common_gates(second) {
            self.make_spikes()?;
            self.spikes_mut().enumerate().for_each(|(n, (fired, gate))| {
                gate.copy_from_slice(&gates[n * batch..(n + 1) * batch]);
                let (to_first, to_second) = fired.split_at_mut(before);
                first.write_fired(n * before, to_first);
                second.write_fired(n * after, to_second);
            });
            return Ok(());
        }
        self.blocks_mut().enumerate().for_each(|(n, joined)| {
            let (to_first, to_second) = joined.split_at_mut(before);
            to_first.copy_from_slice(&first.block(n));
            to_second.copy_from_slice(&second.block(n));
        });
        Ok(())
    }

    /// The factors `[neuron][batch]` of the spikes of both; `None` if they are not spikes with the
    /// same factors. Zeros are spikes with any factors.
    fn common_gates<'a>(&'a self, other: &'a Self) -> Option<&'a [R]> {
        match (&self.values, &other.values) {
            (Values::Spikes(_), Values::Spikes(b)) if self.shape.steps == 0 => Some(&b.gate),
            (Values::Spikes(a), Values::Spikes(b)) => (a.gate == b.gate).then_some(&a.gate),
            (Values::Spikes(spikes), Values::Numbers(zeros))
            | (Values::Numbers(zeros), Values::Spikes(spikes)) => {
                let zero = zeros.values().par_iter().all(|x| *x == R::zero());
                zero.then_some(&spikes.gate)
            }
            (Values::Numbers(_), Values::Numbers(_)) => None,
        }
    }

    /// Copies spikes from the given place on; for numbers, which are zeros, none.
    fn write_fired(&self, at: usize, to: &mut [u8]) {
        match &self.values {
            Values::Spikes(Spikes { fired, .. }) => to.copy_from_slice(&fired[at..at + to.len()]),
            Values::Numbers(_) => to.fill(0),
        }
    }

    /// Copies the last steps of a sequence.
    pub(crate) fn copy_last(&mut self, from: &Self) -> Result<(), Error> {
        let (all, Shape { steps, batch, .. }) = (from.shape, self.shape);
        Shape { steps: all.steps.min(steps), ..all }.expect("last steps", self.shape)?;
        let (len, all) = (steps * batch, all.steps * batch);
        if let Values::Spikes(Spikes { gate: gates, .. }) = &from.values {
            self.make_spikes()?;
            self.spikes_mut().enumerate().for_each(|(n, (fired, gate))| {
                gate.copy_from_slice(&gates[n * batch..(n + 1) * batch]);
                from.write_fired((n + 1) * all - len, fired);
            });
            return Ok(());
        }
        self.blocks_mut()
            .enumerate()
            .for_each(|(n, to)| to.copy_from_slice(&from.block(n)[all - len..]));
        Ok(())
    }

    /// Copies from a time-major host block.
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

    /// Writes events, which are in order, and zeros elsewhere.
    pub(crate) fn write_events(&mut self, events: &[Event<R>]) -> Result<(), ShapeError> {
        Event::check(events, self.shape)?;
        self.clear();
        let Shape { steps, batch, .. } = self.shape;
        let values = self.numbers_mut().values_mut();
        for &Event { sample, step, channel, value } in events {
            values[(channel as usize * steps + step as usize) * batch + sample as usize] = value;
        }
        Ok(())
    }

    /// Copies to a time-major host block.
    pub(crate) fn read(&self, to: &mut [R]) -> Result<(), ShapeError> {
        expect("download", self.shape.len(), to.len())?;
        if let Some(numbers) = self.to_dense() {
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

/// Writes spikes `[time][batch]` as numbers.
fn write_out<R: Real>(fired: &[u8], gate: &[R], to: &mut [R]) {
    let batch = gate.len().max(1);
    vectorize(
        #[inline(always)]
        || {
            for (fired, to) in fired.chunks_exact(batch).zip(to.chunks_exact_mut(batch)) {
                for ((to, &fired), &gate) in to.iter_mut().zip(fired).zip(gate) {
                    *to = if fired != 0 { gate } else { R::zero() };
                }
            }
        },
    );
}
