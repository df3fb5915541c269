use crate::backend::Error;
use crate::raw::advise_large_pages;
use core::fmt;
use ndarray::{ArrayView3, ArrayViewMut3};
use polychron_core::num::Real;
use std::sync::{Arc, Mutex, PoisonError};

/// Memory kept from one operation to the next, because fresh pages cost as much as the work in them.
#[derive(Clone, Default)]
pub(crate) struct Scratch<R> {
    idle: Arc<Mutex<Vec<Vec<R>>>>,
}

/// Bytes from which on large pages, of 2 MiB mostly, are worth asking for.
const LARGE: usize = 8 << 20;

/// Bytes of a cache line, with which a block begins, so that no vector crosses two.
const LINE: usize = 64;

impl<R: Real> Scratch<R> {
    /// A block of unspecified numbers.
    pub(crate) fn block(&self, shape: (usize, usize, usize)) -> Block<R> {
        let room = room::<R>(shape);
        self.around(self.take(room).unwrap_or_else(|| fresh(vec![R::zero(); room])), shape)
    }

    /// As [`Scratch::block`], with an error where memory is missing.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn try_block(&self, shape: (usize, usize, usize)) -> Result<Block<R>, Error> {
        let room = room::<R>(shape);
        let values = match self.take(room) {
            Some(values) => values,
            None => fresh(zeros(room)?),
        };
        Ok(self.around(values, shape))
    }

    fn around(&self, values: Vec<R>, shape: (usize, usize, usize)) -> Block<R> {
        let start = values.as_ptr().align_offset(LINE);
        Block { values, start, shape, scratch: self.clone() }
    }

    /// The smallest idle vector of `len` to `2 len` numbers. Where there is none, a smaller one makes room, so that
    /// growing requests do not pile up.
    fn take(&self, len: usize) -> Option<Vec<R>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |n: &usize, idle: &[Vec<R>]| idle[*n].len();
        let fits =
            (0..idle.len()).filter(|n| (len..=len.saturating_mul(2)).contains(&of(n, &idle)));
        if let Some(n) = fits.min_by_key(|n| of(n, &idle)) {
            return Some(idle.swap_remove(n));
        }
        if let Some(n) = (0..idle.len()).find(|n| (len / 2..len).contains(&of(n, &idle))) {
            idle.swap_remove(n);
        }
        None
    }
}

/// Numbers that a block of that shape takes, with what may lie before a cache line.
fn room<R: Real>(shape: (usize, usize, usize)) -> usize {
    shape.0.saturating_mul(shape.1).saturating_mul(shape.2).saturating_add(LINE / R::BYTES)
}

/// `len` zeros.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn zeros<R: Real>(len: usize) -> Result<Vec<R>, Error> {
    let mut values = Vec::<R>::new();
    let reserved = values.try_reserve_exact(len);
    reserved.map_err(|_| Error::OutOfMemory { bytes: len.saturating_mul(R::BYTES) })?;
    drop(values);
    // Memory that nothing has touched, unlike that of `resize`.
    Ok(vec![R::zero(); len])
}

/// Memory that nothing has touched, on large pages where they are worth it.
fn fresh<R: Real>(mut values: Vec<R>) -> Vec<R> {
    if values.len() * R::BYTES >= LARGE {
        advise_large_pages(&mut values);
    }
    values
}

impl<R> fmt::Debug for Scratch<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scratch")
    }
}

/// A block of numbers that goes back to its scratch memory.
#[derive(Debug)]
pub(crate) struct Block<R> {
    values: Vec<R>,
    /// Where they begin; at least as many follow as the shape has.
    start: usize,
    shape: (usize, usize, usize),
    scratch: Scratch<R>,
}

impl<R> Block<R> {
    pub(crate) fn values(&self) -> &[R] {
        &self.values[self.start..][..self.shape.0 * self.shape.1 * self.shape.2]
    }

    pub(crate) fn values_mut(&mut self) -> &mut [R] {
        &mut self.values[self.start..][..self.shape.0 * self.shape.1 * self.shape.2]
    }

    pub(crate) fn view(&self) -> ArrayView3<'_, R> {
        ArrayView3::from_shape(self.shape, self.values()).expect("as many as the shape has")
    }

    pub(crate) fn view_mut(&mut self) -> ArrayViewMut3<'_, R> {
        ArrayViewMut3::from_shape(self.shape, self.values_mut()).expect("as many as the shape has")
    }
}

impl<R> Drop for Block<R> {
    fn drop(&mut self) {
        let values = core::mem::take(&mut self.values);
        self.scratch.idle.lock().unwrap_or_else(PoisonError::into_inner).push(values);
    }
}
