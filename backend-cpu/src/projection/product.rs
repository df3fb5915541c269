//! One complex matrix product per bin, as three real ones.

use super::spectrum::Spectrum;
use crate::lanes::{Lanes, Vector};
use crate::scratch::Scratch;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// One side of a product.
#[derive(Clone, Copy)]
pub(super) struct Factor<'a, R> {
    pub(super) spectrum: &'a Spectrum<R>,
    pub(super) conjugate: bool,
}

/// What a product sums over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// `to[i][j] = sum over s of a[s][i] b[s][j]`, i and j being lanes.
    Series,
    /// `to[i][j] = sum over l of a[i][l] b[j][l]`, i and j being series.
    Lanes,
}

/// Multiplies bin by bin; the series of `to` are rows, its lanes columns.
pub(super) fn product<R: Lanes>(
    scratch: &Scratch<R>,
    over: Over,
    a: Factor<'_, R>,
    b: Factor<'_, R>,
    to: &mut Spectrum<R>,
) {
    let (lanes, pitch) = (to.lanes(), to.pitch());
    to.rows_mut().into_par_iter().enumerate().for_each(|(bin, rows)| {
        let inner = match over {
            Over::Series => a.spectrum.series(),
            Over::Lanes => a.spectrum.lanes(),
        };
        let mut room = scratch.block((1, 3, inner * (rows.len() + PANEL)));
        let room = room.values_mut();
        Arch::new().dispatch(Multiply { over, a, b, bin, inner, lanes, pitch, rows, room });
    });
}

/// Columns of the widest panel: two vectors of 16.
const PANEL: usize = 32;

/// The product at one bin. With `p = (a_re + a_im) b_re`, `re = p - a_im (b_re + b_im)` and
/// `im = p + a_re (b_im - b_re)`; at bin 0, which holds two real numbers, `re` and `im` are multiplied alone.
struct Multiply<'a, R> {
    over: Over,
    a: Factor<'a, R>,
    b: Factor<'a, R>,
    bin: usize,
    inner: usize,
    lanes: usize,
    pitch: usize,
    rows: Vec<&'a mut [R]>,
    /// The three factors of every row panel, `[inner][row]`, then those of one column panel, `[inner][column]`.
    room: &'a mut [R],
}

/// Calls with a constant for the height of a row panel.
macro_rules! with_height {
    ($height:expr, $m:ident => $call:expr) => {
        match $height {
            12 => with_height!(12 as $m => $call),
            8 => with_height!(8 as $m => $call),
            6 => with_height!(6 as $m => $call),
            4 => with_height!(4 as $m => $call),
            2 => with_height!(2 as $m => $call),
            _ => with_height!(1 as $m => $call),
        }
    };
    ($n:literal as $m:ident => $call:expr) => {{
        const $m: usize = $n;
        $call
    }};
}

impl<R: Lanes> WithSimd for Multiply<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { over, a, b, bin, inner, lanes, pitch, mut rows, room } = self;
        let heights: &[usize] =
            if S::REGISTER_COUNT >= 32 { &[12, 8, 4, 2, 1] } else { &[6, 4, 2, 1] };
        let height = |left: usize| heights.iter().copied().find(|&h| h <= left).unwrap_or(1);
        let (a_room, b_room) = room.split_at_mut(3 * inner * rows.len());
        let mut first = 0;
        while first < rows.len() {
            let tall = height(rows.len() - first);
            let to = &mut a_room[3 * inner * first..3 * inner * (first + tall)];
            with_height!(tall, M => pack::<R, M>(over, a, bin, first, to, left));
            first += tall;
        }
        let vector = R::lanes::<S>();
        for column in (0..lanes).step_by(2 * vector) {
            let wide = lanes - column >= 2 * vector;
            let b_room = &mut b_room[..3 * inner * if wide { 2 * vector } else { vector }];
            match R::lanes::<S>() * if wide { 2 } else { 1 } {
                32 => pack::<R, 32>(over, b, bin, column, b_room, right),
                16 => pack::<R, 16>(over, b, bin, column, b_room, right),
                8 => pack::<R, 8>(over, b, bin, column, b_room, right),
                4 => pack::<R, 4>(over, b, bin, column, b_room, right),
                2 => pack::<R, 2>(over, b, bin, column, b_room, right),
                _ => pack::<R, 1>(over, b, bin, column, b_room, right),
            }
            let mut first = 0;
            while first < rows.len() {
                let tall = height(rows.len() - first);
                let a = &a_room[3 * inner * first..3 * inner * (first + tall)];
                let rows = &mut rows[first..first + tall];
                with_height!(tall, M => if wide {
                    tile::<R, S, M, 2>(s, bin == 0, a, b_room, rows, column, pitch);
                } else {
                    tile::<R, S, M, 1>(s, bin == 0, a, b_room, rows, column, pitch);
                });
                first += tall;
            }
        }
    }
}

/// What of a row is multiplied.
#[inline(always)]
fn left<R: Lanes>(apart: bool, re: R, im: R) -> [R; 3] {
    if apart { [re, im, im] } else { [re + im, -im, re] }
}

/// What of a column is multiplied.
#[inline(always)]
fn right<R: Lanes>(apart: bool, re: R, im: R) -> [R; 3] {
    if apart { [re, im, im] } else { [re, re + im, im - re] }
}

/// The three factors of `M` neighbouring rows or columns, each `[inner][M]`.
#[inline(always)]
fn pack<R: Lanes, const M: usize>(
    over: Over,
    factor: Factor<'_, R>,
    bin: usize,
    first: usize,
    to: &mut [R],
    terms: impl Fn(bool, R, R) -> [R; 3],
) {
    let spectrum = factor.spectrum;
    let sign = if factor.conjugate && bin > 0 { -R::one() } else { R::one() };
    let third = to.len() / 3;
    let (to, rest) = to.split_at_mut(third);
    let (to2, to3) = rest.split_at_mut(third);
    let (to, to2, to3) =
        (to.as_chunks_mut::<M>().0, to2.as_chunks_mut::<M>().0, to3.as_chunks_mut::<M>().0);
    match over {
        Over::Series => {
            let to = to.iter_mut().zip(to2).zip(to3);
            for (n, ((to, to2), to3)) in to.enumerate() {
                let (re, im) = spectrum.row(n, bin);
                let (re, im) = (&re[first..first + M], &im[first..first + M]);
                for j in 0..M {
                    [to[j], to2[j], to3[j]] = terms(bin == 0, re[j], sign * im[j]);
                }
            }
        }
        Over::Lanes => {
            for j in 0..M {
                if first + j >= spectrum.series() {
                    for plane in [&mut *to, &mut *to2, &mut *to3] {
                        plane.iter_mut().for_each(|row| row[j] = R::zero());
                    }
                    continue;
                }
                let (re, im) = spectrum.row(first + j, bin);
                let to = to.iter_mut().zip(to2.iter_mut()).zip(to3.iter_mut());
                for (((to, to2), to3), (&re, &im)) in to.zip(re.iter().zip(im)) {
                    [to[j], to2[j], to3[j]] = terms(bin == 0, re, sign * im);
                }
            }
        }
    }
}

/// `M` rows and `C` vectors of columns of the product.
#[inline(always)]
fn tile<R: Lanes, S: Simd, const M: usize, const C: usize>(
    s: S,
    apart: bool,
    a: &[R],
    b: &[R],
    rows: &mut [&mut [R]],
    column: usize,
    pitch: usize,
) {
    let (a, b) = (thirds(a), thirds(b));
    let none = [[Vector::splat(s, R::zero()); C]; M];
    let common = accumulate::<R, S, M, C>(s, none, a[0], b[0]);
    if apart {
        put(common, rows, column);
        put(accumulate::<R, S, M, C>(s, none, a[1], b[1]), rows, pitch + column);
    } else {
        put(accumulate::<R, S, M, C>(s, common, a[1], b[1]), rows, column);
        put(accumulate::<R, S, M, C>(s, common, a[2], b[2]), rows, pitch + column);
    }
}

#[inline(always)]
fn thirds<R>(values: &[R]) -> [&[R]; 3] {
    let (first, rest) = values.split_at(values.len() / 3);
    let (second, third) = rest.split_at(first.len());
    [first, second, third]
}

#[inline(always)]
fn put<R: Lanes, S: Simd, const M: usize, const C: usize>(
    sums: [[Vector<R, S>; C]; M],
    rows: &mut [&mut [R]],
    column: usize,
) {
    for (row, sums) in rows.iter_mut().zip(sums) {
        let row = &mut row[column..column + C * R::lanes::<S>()];
        for (to, sum) in row.chunks_exact_mut(R::lanes::<S>()).zip(sums) {
            sum.store(to);
        }
    }
}

/// `sums + a b` for `a` of `[inner][M]` and `b` of `[inner][C vectors]`.
#[inline(always)]
fn accumulate<R: Lanes, S: Simd, const M: usize, const C: usize>(
    s: S,
    mut sums: [[Vector<R, S>; C]; M],
    a: &[R],
    b: &[R],
) -> [[Vector<R, S>; C]; M] {
    let (a, b) = (a.as_chunks::<M>().0, b.chunks_exact(C * R::lanes::<S>()));
    for (a, b) in a.iter().zip(b) {
        let mut columns = [Vector::splat(s, R::zero()); C];
        for (column, b) in columns.iter_mut().zip(b.chunks_exact(R::lanes::<S>())) {
            *column = Vector::load(s, b);
        }
        for m in 0..M {
            let a = Vector::splat(s, a[m]);
            for c in 0..C {
                sums[m][c] = a.mul_add(columns[c], sums[m][c]);
            }
        }
    }
    sums
}
