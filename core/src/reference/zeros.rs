use crate::num::Real;
use crate::shape::ShapeError;
use alloc::vec::Vec;

/// A block of `len` zeros.
///
/// # Errors
/// [`ShapeError`] if memory cannot hold the block.
pub(super) fn zeros<R: Real>(what: &'static str, len: usize) -> Result<Vec<R>, ShapeError> {
    let mut block = Vec::new();
    let out_of_memory = ShapeError { what, expected: len, found: usize::MAX };
    block.try_reserve_exact(len).map_err(|_| out_of_memory)?;
    block.resize(len, R::zero());
    Ok(block)
}
