//! All unsafe code of the crate: matrix products, memory and a hint to the processor.
#![allow(unsafe_code)]

use crate::vectors::Width;
use gemm_common::Parallelism;
use gemm_common::gemm::gemm_basic_generic;
use gemm_common::simd::{self, MixedSimd};
use ndarray::{ArrayView2, ArrayViewMut2};
use polychron_core::num::Real;
use std::alloc::{Layout, alloc_zeroed};

/// Numbers with matrix products.
#[doc(hidden)]
pub trait Gemm: Real {
    fn gemm(product: Product<'_, Self>);
}

/// The operands of `to = keep to + scale a b`.
#[doc(hidden)]
pub struct Product<'a, R> {
    to: ArrayViewMut2<'a, R>,
    keep: R,
    scale: R,
    a: ArrayView2<'a, R>,
    b: ArrayView2<'a, R>,
}

/// `to = keep to + scale a b` on the calling thread, with the instructions of [`Width::current`].
///
/// # Panics
/// If the shapes do not match or a stride is negative.
pub(crate) fn gemm<R: Gemm>(
    to: ArrayViewMut2<'_, R>,
    keep: R,
    scale: R,
    a: ArrayView2<'_, R>,
    b: ArrayView2<'_, R>,
) {
    let (rows, columns) = (a.nrows(), b.ncols());
    assert_eq!((a.ncols(), (rows, columns)), (b.nrows(), to.dim()), "matrix product: shapes");
    let strides = [to.strides(), a.strides(), b.strides()];
    assert!(strides.iter().all(|both| both.iter().all(|&n| n >= 0)), "matrix product: strides");
    if to.is_empty() {
        return;
    }
    // The kernels are faster for column-major results.
    R::gemm(if to.strides()[1] < to.strides()[0] {
        let (a, b) = (b.reversed_axes(), a.reversed_axes());
        Product { to: to.reversed_axes(), keep, scale, a, b }
    } else {
        Product { to, keep, scale, a, b }
    });
}

/// Calls `$multiply` with the arguments `$before`, those of the product, and `$after`.
macro_rules! call {
    ($product:ident, $multiply:expr, [$($before:expr),*], [$($after:expr),*]) => {
        $multiply(
            $($before,)*
            $product.a.nrows(),
            $product.b.ncols(),
            $product.a.ncols(),
            $product.to.as_mut_ptr(),
            $product.to.strides()[1],
            $product.to.strides()[0],
            $product.keep != 0.0,
            $product.a.as_ptr(),
            $product.a.strides()[1],
            $product.a.strides()[0],
            $product.b.as_ptr(),
            $product.b.strides()[1],
            $product.b.strides()[0],
            $product.keep,
            $product.scale,
            false,
            false,
            false,
            $($after),*
        )
    };
}

/// Multiplies with the kernels of `$module`, whose vectors hold `$lanes` numbers.
macro_rules! limited {
    ($product:ident, $t:ident, $package:ident, $module:ident, $simd:expr, $lanes:literal) => {{
        use $package::microkernel::$module::$t::{H_M, H_N, H_UKR, MR_DIV_N, NR, UKR};
        const MR: usize = $lanes * MR_DIV_N;
        let multiply = gemm_basic_generic::<_, $t, $lanes, MR, NR, MR_DIV_N, H_M, H_N>;
        let add = |a, b, c| a * b + c;
        call!($product, multiply, [$simd], [add, &UKR, &H_UKR, false, Parallelism::None])
    }};
}

macro_rules! gemm {
    ($t:ident, $package:ident, $avx2_lanes:literal) => {
        impl Gemm for $t {
            fn gemm(product: Product<'_, Self>) {
                let (mut product, width) = (product, Width::current());
                // SAFETY: a view's pointer, dimensions and strides address memory that is valid
                // for its lifetime, to read and for `to` to write. `gemm` above has checked that
                // the shapes match, that `to` is not empty and that no stride is negative. `to` is
                // borrowed mutably, so it overlaps neither operand. The kernels are for this type
                // of number, and the machine has their instructions.
                unsafe {
                    match width.arch {
                        _ if width.native => {
                            let multiply = $package::gemm::$t::get_gemm_fn();
                            call!(product, multiply, [], [Parallelism::None]);
                        }
                        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
                        pulp::Arch::V3(_) => {
                            let simd = <simd::V3 as MixedSimd<$t, $t, $t, $t>>::try_new();
                            let simd = simd.expect("V3 was detected");
                            limited!(product, $t, $package, fma, simd, $avx2_lanes);
                        }
                        _ => limited!(product, $t, $package, scalar, simd::Scalar, 1),
                    }
                }
            }
        }
    };
}

gemm!(f32, gemm_f32, 8);
gemm!(f64, gemm_f64, 4);

/// Loads the cache lines of values that are read soon. Only a hint.
#[inline(always)]
pub(crate) fn prefetch<R: Real>(values: &[R]) {
    #[cfg(target_arch = "x86_64")]
    for line in values.chunks(64 / R::BYTES) {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 has the instruction, and it faults on no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

/// `len` zeros in memory that the system maps on first use; `None` if it has none.
pub(crate) fn try_zeros<R: Real>(len: usize) -> Option<Vec<R>> {
    let layout = Layout::array::<R>(len).ok()?;
    if layout.size() == 0 {
        return Some(Vec::new());
    }
    // SAFETY: the size of `layout` is not zero. A pointer that is not null is a block of the global
    // allocator with the layout of `[R; len]`, which a `Vec` of capacity `len` frees. `Real` is
    // sealed: `R` is `f32` or `f64`, and zero bytes are the number 0 in both.
    unsafe {
        let values = alloc_zeroed(layout).cast::<R>();
        (!values.is_null()).then(|| Vec::from_raw_parts(values, len, len))
    }
}

/// Advises the system to back memory with large pages. They must not have been touched yet.
pub(crate) fn advise_large_pages<R: Real>(values: &mut [R]) {
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 4096;
        let bytes = size_of_val(values);
        let before = values.as_ptr().align_offset(PAGE) * R::BYTES;
        if let Some(inside) = bytes.checked_sub(before).filter(|&inside| inside >= PAGE) {
            let start = values.as_mut_ptr().wrapping_byte_add(before).cast();
            // SAFETY: the range lies within `values`, which is mapped. The advice changes no
            // contents, even where it extends to the end of a shared page, and the system rejects
            // a start that is not on a page.
            unsafe { libc::madvise(start, inside, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = values;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::Vectors;
    use ndarray::Array2;

    fn matrix(rows: usize, columns: usize) -> Array2<f64> {
        Array2::from_shape_fn((rows, columns), |(r, c)| ((r * 7 + c * 3) % 11) as f64 - 5.0)
    }

    #[test]
    fn products_equal_sums_for_all_strides_and_sizes() {
        let sizes = [(1, 1, 1), (3, 5, 2), (17, 9, 33), (4, 4, 0)];
        let widths = Vectors::ALL.iter().filter_map(|&(_, vectors)| Width::new(vectors));
        for (width, (rows, columns, inner)) in widths.flat_map(|w| sizes.map(|size| (w, size))) {
            let (a, b) = (matrix(inner, rows), matrix(columns, inner));
            let start = matrix(columns, rows);
            let mut to = start.clone();
            width.scope(|| gemm(to.view_mut().reversed_axes(), 2.0, -1.0, a.t(), b.t()));
            for r in 0..rows {
                for c in 0..columns {
                    let sum: f64 = (0..inner).map(|k| a[(k, r)] * b[(c, k)]).sum();
                    assert_eq!(to[(c, r)], 2.0 * start[(c, r)] - sum);
                }
            }
        }
    }
}
