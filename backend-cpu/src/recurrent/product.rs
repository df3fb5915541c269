use super::LANES;
use crate::lanes::Lanes;
use polychron_core::num::Real;
use pulp::{Simd, WithSimd};

/// Rows of a packed matrix that lie together.
const ROWS: usize = 8;

/// A matrix `[rows, columns]`, packed for products with vectors of [`LANES`] samples.
pub(super) struct Matrix<R> {
    rows: usize,
    columns: usize,
    /// `[row / ROWS][column][row % ROWS]`.
    packed: Vec<R>,
}

impl<R: Real> Matrix<R> {
    /// The matrix with these elements by row and column.
    pub(super) fn new(rows: usize, columns: usize, at: impl Fn(usize, usize) -> R) -> Self {
        let mut packed = vec![R::zero(); rows.div_ceil(ROWS) * columns * ROWS];
        for (n, value) in packed.iter_mut().enumerate() {
            let row = n / ROWS / columns * ROWS + n % ROWS;
            if row < rows {
                *value = at(row, n / ROWS % columns);
            }
        }
        Self { rows, columns, packed }
    }
}

impl<R: Lanes> Matrix<R> {
    /// `y = matrix x`, where `x` `[columns][LANES]` has the columns `active` that are not zero, in
    /// ascending order. `y` is `[rows][LANES]`.
    pub(super) fn multiply(&self, active: &[u32], x: &[R], y: &mut [R]) {
        let Self { rows, columns, packed } = self;
        let (x, y) = (&x[..columns * LANES], &mut y[..rows * LANES]);
        R::multiply_active(MultiplyActive { columns: *columns, packed, active, x, y });
    }
}

/// A product of a packed matrix with the active rows of `x`.
pub struct MultiplyActive<'a, R> {
    columns: usize,
    packed: &'a [R],
    active: &'a [u32],
    x: &'a [R],
    y: &'a mut [R],
}

impl<R: Lanes> WithSimd for MultiplyActive<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        // All sums of a group of rows fit into registers.
        match LANES / R::lanes::<S>() {
            1 => self.run::<S, 1, 8>(s),
            2 => self.run::<S, 2, 4>(s),
            4 => self.run::<S, 4, 2>(s),
            8 => self.run::<S, 8, 1>(s),
            _ => self.run::<S, 16, 1>(s),
        }
    }
}

impl<R: Lanes> MultiplyActive<'_, R> {
    #[inline(always)]
    fn run<S: Simd, const V: usize, const G: usize>(self, s: S) {
        let blocks = self.packed.chunks_exact(self.columns * ROWS);
        for (block, y) in blocks.zip(self.y.chunks_mut(ROWS * LANES)) {
            for (group, y) in y.chunks_mut(G * LANES).enumerate() {
                let mut sums = [[R::splat(s, R::zero()); V]; G];
                for &column in self.active {
                    let column = column as usize;
                    let x = R::vectors::<S>(&self.x[column * LANES..][..LANES]);
                    let weights = &block[column * ROWS + group * G..][..G];
                    for g in 0..G {
                        let weight = R::splat(s, weights[g]);
                        for v in 0..V {
                            sums[g][v] = R::mul_add(s, x[v], weight, sums[g][v]);
                        }
                    }
                }
                for (y, sums) in y.chunks_exact_mut(LANES).zip(&sums) {
                    R::vectors_mut::<S>(y)[..V].copy_from_slice(sums);
                }
            }
        }
    }
}

/// The rows `[LANES]` of a block that are not zero.
#[inline(always)]
pub(super) fn active<R: Real>(values: &[R], rows: &mut Vec<u32>) {
    rows.clear();
    for (n, row) in (0..).zip(values.chunks_exact(LANES)) {
        if row.iter().any(|x| *x != R::zero()) {
            rows.push(n);
        }
    }
}
