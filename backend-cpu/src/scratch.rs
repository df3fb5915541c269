use crate::backend::Error;
use crate::raw::{advise_large_pages, try_zeros};
use core::fmt;
use ndarray::{ArrayView3, ArrayViewMut3};
use polychron_core::num::Real;
use std::sync::{Arc, Mutex, PoisonError};

/// Memory that operations reuse, because mapping fresh pages takes as long as the work in them.
#[derive(Clone, Default)]
pub(crate) struct Scratch<R> {
    idle: Arc<Mutex<Vec<Vec<R>>>>,
}

/// Bytes from which large pages, usually of 2 MiB, pay off.
const LARGE: usize = 8 << 20;

/// Bytes of a cache line. A block starts on one, so that no vector crosses two.
const LINE: usize = 64;

impl<R: Real> Scratch<R> {
    /// A block of unspecified values.
    pub(crate) fn block(&self, shape: (usize, usize, usize)) -> Block<R> {
        let len = padded_len::<R>(shape);
        let values = self.take(len);
        let values = values.unwrap_or_else(|| use_large_pages(vec![R::zero(); len]));
        self.align(values, shape)
    }

    /// [`Scratch::block`] for a size that the caller does not trust.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn try_block(&self, shape: (usize, usize, usize)) -> Result<Block<R>, Error> {
        let len = padded_len::<R>(shape);
        let values = match self.take(len) {
            Some(values) => values,
            None => use_large_pages(zeros(len)?),
        };
        Ok(self.align(values, shape))
    }

    fn align(&self, values: Vec<R>, shape: (usize, usize, usize)) -> Block<R> {
        let start = values.as_ptr().align_offset(LINE);
        Block { values, start, shape, scratch: self.clone() }
    }

    /// The shortest idle vector of `len` to `2 len` values. If there is none, one of at least half
    /// the length is freed, so that growing requests do not accumulate memory.
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

/// The number of values in a block of this shape and the padding in front of it; saturates.
fn padded_len<R: Real>(shape: (usize, usize, usize)) -> usize {
    shape.0.saturating_mul(shape.1).saturating_mul(shape.2).saturating_add(LINE / R::BYTES)
}

/// `len` zeros.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn zeros<R: Real>(len: usize) -> Result<Vec<R>, Error> {
    try_zeros(len).ok_or(Error::OutOfMemory { bytes: len.saturating_mul(R::BYTES) })
}

/// Places a vector on large pages if it is long enough. The advice takes effect where no page has
/// been touched yet.
fn use_large_pages<R: Real>(mut values: Vec<R>) -> Vec<R> {
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

/// An array that returns its memory to a [`Scratch`] when dropped.
#[derive(Debug)]
pub(crate) struct Block<R> {
    values: Vec<R>,
    /// The index of the first value of the array.
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
        ArrayView3::from_shape(self.shape, self.values()).expect("the length matches the shape")
    }

    pub(crate) fn view_mut(&mut self) -> ArrayViewMut3<'_, R> {
        ArrayViewMut3::from_shape(self.shape, self.values_mut())
            .expect("the length matches the shape")
    }
}

impl<R> Drop for Block<R> {
    fn drop(&mut self) {
        let values = core::mem::take(&mut self.values);
        self.scratch.idle.lock().unwrap_or_else(PoisonError::into_inner).push(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absurd_size_is_out_of_memory() {
        let scratch = Scratch::<f32>::default();
        let max = usize::MAX;
        // 2^52 bytes exceed the address space, the others `isize` and `usize`.
        for shape in [(1 << 20, 1 << 20, 1 << 10), (1 << 20, 1 << 20, 1 << 22), (max, max, max)] {
            let error = scratch.try_block(shape).unwrap_err();
            assert!(matches!(error, Error::OutOfMemory { bytes } if bytes >= 1 << 52), "{error}");
            let len = shape.0.saturating_mul(shape.1).saturating_mul(shape.2);
            assert!(matches!(zeros::<f64>(len), Err(Error::OutOfMemory { .. })));
        }
        assert_eq!(scratch.try_block((3, 5, 7)).unwrap().values(), [0.0; 105]);
        assert_eq!(zeros::<f64>(3).unwrap(), [0.0; 3]);
        assert_eq!(zeros::<f64>(0).unwrap(), []);
    }

    #[test]
    fn a_dropped_block_is_used_again() {
        let scratch = Scratch::<f64>::default();
        scratch.block((2, 3, 5)).values_mut().fill(1.0);
        assert_eq!(scratch.try_block((5, 3, 2)).unwrap().values(), [1.0; 30]);
    }
}
