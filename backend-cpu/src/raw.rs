//! What the compiler cannot check: calls into a crate of matrix products and into the system.
#![allow(unsafe_code)]

use ndarray::{ArrayView2, ArrayViewMut2};
use polychron_core::num::Real;

/// `to = keep to + scale a b` on the calling thread; the views' strides are arbitrary.
///
/// # Panics
/// When the shapes do not fit or `R` is neither `f32` nor `f64`.
pub(crate) fn gemm<R: Real>(
    mut to: ArrayViewMut2<'_, R>,
    keep: R,
    scale: R,
    a: ArrayView2<'_, R>,
    b: ArrayView2<'_, R>,
) {
    let (rows, columns, inner) = (a.nrows(), b.ncols(), a.ncols());
    assert_eq!((inner, (rows, columns)), (b.nrows(), to.dim()), "product of matrices");
    if to.is_empty() {
        return;
    }
    let read = keep != R::zero();
    let (to_strides, a_strides, b_strides) = (
        [to.strides()[0], to.strides()[1]],
        [a.strides()[0], a.strides()[1]],
        [b.strides()[0], b.strides()[1]],
    );
    // SAFETY: a view's pointer, dimensions and strides address memory that is valid for its lifetime, to read and for
    // `to` to write; the shapes fit together by the assertion. `to` is borrowed mutably, so it overlaps neither operand.
    // The element type is one of the crate's, otherwise it panics.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            to.as_mut_ptr(),
            to_strides[1],
            to_strides[0],
            read,
            a.as_ptr(),
            a_strides[1],
            a_strides[0],
            b.as_ptr(),
            b_strides[1],
            b_strides[0],
            keep,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Asks for the cache lines of numbers that are read soon; a hint that changes nothing else.
#[inline(always)]
pub(crate) fn prefetch<R: Real>(values: &[R]) {
    #[cfg(target_arch = "x86_64")]
    for line in values.chunks(64 / R::BYTES) {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 has the instruction, and it does not access the address that it is given.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

/// Asks the system for large pages where a block is not yet in use: neighbouring rows then lie in few of them. Advice, which
/// it may not follow.
pub(crate) fn advise_large_pages<R: Real>(values: &mut [R]) {
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 4096;
        let bytes = size_of_val(values);
        let before = values.as_ptr().align_offset(PAGE) * R::BYTES;
        if let Some(inside) = bytes.checked_sub(before).filter(|&inside| inside >= PAGE) {
            let start = values.as_mut_ptr().wrapping_byte_add(before).cast();
            // SAFETY: the range begins within `values`, which is mapped; the advice changes no contents, whatever pages it covers,
            // and a start that is no page's is refused.
            unsafe { libc::madvise(start, inside, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = values;
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    fn matrix(rows: usize, columns: usize) -> Array2<f64> {
        Array2::from_shape_fn((rows, columns), |(r, c)| ((r * 7 + c * 3) % 11) as f64 - 5.0)
    }

    #[test]
    fn products_equal_the_sums_for_any_strides_and_sizes() {
        for (rows, columns, inner) in [(1, 1, 1), (3, 5, 2), (17, 9, 33), (4, 4, 0)] {
            let (a, b) = (matrix(inner, rows), matrix(columns, inner));
            let start = matrix(columns, rows);
            let mut to = start.clone();
            gemm(to.view_mut().reversed_axes(), 2.0, -1.0, a.t(), b.t());
            for r in 0..rows {
                for c in 0..columns {
                    let sum: f64 = (0..inner).map(|k| a[(k, r)] * b[(c, k)]).sum();
                    assert_eq!(to[(c, r)], 2.0 * start[(c, r)] - sum);
                }
            }
        }
    }
}
