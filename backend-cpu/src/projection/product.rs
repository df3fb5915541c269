//! One complex matrix product per bin, as three real ones.

use super::spectrum::Spectrum;
use crate::lanes::{Lanes, Vector};
use crate::raw::prefetch;
use crate::scratch::Scratch;
use pulp::{Simd, WithSimd};
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
    let inner = match over {
        Over::Series => a.spectrum.series(),
        Over::Lanes => a.spectrum.lanes(),
    };
    to.rows_mut().into_par_iter().enumerate().for_each(|(bin, rows)| {
        let near = (NEAR / (3 * inner * R::BYTES)).max(1).next_multiple_of(TALLEST).min(rows.len());
        let mut room = scratch.block((1, 1, 3 * inner * (lanes + near) + near * WIDEST));
        let room = room.values_mut();
        R::multiply(Multiply { over, a, b, bin, inner, lanes, pitch, near, rows, room });
    });
}

/// Columns of the widest panel: two vectors of 16.
const WIDEST: usize = 32;

/// Rows of the tallest tile.
const TALLEST: usize = 12;

/// Bytes of the rows' factors that stay in a second-level cache of 512 KiB while all columns pass.
const NEAR: usize = 384 << 10;

/// The product at one bin. With `p = (a_re + a_im) b_re`, `re = p - a_im (b_re + b_im)` and
/// `im = p + a_re (b_im - b_re)`; at bin 0, which holds two real numbers, p is 0, and `re` and `im` are multiplied alone.
///
/// Rows are taken some at a time, their factors staying in the second-level cache. Of a panel of columns one factor
/// after the other passes all tiles of rows, so that it stays in the first-level cache.
pub struct Multiply<'a, R> {
    over: Over,
    a: Factor<'a, R>,
    b: Factor<'a, R>,
    bin: usize,
    inner: usize,
    lanes: usize,
    pitch: usize,
    /// Rows whose factors are kept near.
    near: usize,
    rows: Vec<&'a mut [R]>,
    /// The factors of all column panels, `[factor][panel][inner][column]`, those of the near rows,
    /// `[factor][tile][inner][row]`, and their common products, `[tile][row][column]`.
    room: &'a mut [R],
}

/// Neighbouring rows or columns that are multiplied together.
#[derive(Clone, Copy)]
struct Group {
    first: usize,
    len: usize,
}

impl Group {
    /// Its part of a factor `[group][inner][row or column]`.
    #[inline(always)]
    fn of<R>(self, inner: usize, factor: &[R]) -> &[R] {
        &factor[inner * self.first..inner * (self.first + self.len)]
    }
}

/// Divides `n` rows or columns; `sizes` descend and the last one divides what is left.
fn groups(n: usize, sizes: &[usize]) -> Vec<Group> {
    let (mut groups, mut first) = (Vec::with_capacity(n), 0);
    while first < n {
        let len = sizes.iter().copied().find(|&len| len <= n - first).unwrap_or(n - first);
        groups.push(Group { first, len });
        first += len;
    }
    groups
}

/// Calls with a constant for the height of a tile: [`heights`].
macro_rules! with_height {
    ($s:ident, $height:expr, $m:ident => $call:expr) => {
        if $s::REGISTER_COUNT >= 32 {
            match $height {
                12 => with_height!(12 as $m => $call),
                4 => with_height!(4 as $m => $call),
                _ => with_height!(1 as $m => $call),
            }
        } else {
            match $height {
                6 => with_height!(6 as $m => $call),
                4 => with_height!(4 as $m => $call),
                _ => with_height!(1 as $m => $call),
            }
        }
    };
    ($n:literal as $m:ident => $call:expr) => {{
        const $m: usize = $n;
        $call
    }};
}

/// Calls with a constant for the width of a panel: one or two vectors.
macro_rules! with_width {
    ($width:expr, $m:ident => $call:expr) => {
        match $width {
            32 => with_height!(32 as $m => $call),
            16 => with_height!(16 as $m => $call),
            8 => with_height!(8 as $m => $call),
            4 => with_height!(4 as $m => $call),
            2 => with_height!(2 as $m => $call),
            _ => with_height!(1 as $m => $call),
        }
    };
}

/// Heights of tiles whose sums stay in registers.
fn heights<S: Simd>() -> &'static [usize] {
    if S::REGISTER_COUNT >= 32 { &[12, 4, 1] } else { &[6, 4, 1] }
}

impl<R: Lanes> WithSimd for Multiply<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { over, a, b, bin, inner, lanes, pitch, near, mut rows, room } = self;
        let vector = R::lanes::<S>();
        let panels = groups(lanes, &[2 * vector, vector]);
        let (b_room, room) = room.split_at_mut(3 * inner * lanes);
        let (a_room, common) = room.split_at_mut(3 * inner * near);
        Pack { s, over, factor: b, bin, first: 0, side: Side::Columns }.pack(&panels, b_room);
        let b_planes = thirds(b_room);
        let mut first = 0;
        for rows in rows.chunks_mut(near) {
            let tiles = groups(rows.len(), heights::<S>());
            let a_room = &mut a_room[..3 * inner * rows.len()];
            Pack { s, over, factor: a, bin, first, side: Side::Rows }.pack(&tiles, a_room);
            first += rows.len();
            let a_planes = thirds(a_room);
            for &panel in &panels {
                let columns = b_planes.each_ref().map(|plane| panel.of(inner, plane));
                for &tile in &tiles {
                    let common = &mut common[tile.first * panel.len..][..tile.len * panel.len];
                    let a = tile.of(inner, a_planes[0]);
                    with_height!(S, tile.len, M => if panel.len > vector {
                        begin::<R, S, M, 2>(s, a, columns[0], common);
                    } else {
                        begin::<R, S, M, 1>(s, a, columns[0], common);
                    });
                }
                for (plane, at) in [(1, 0), (2, pitch)] {
                    for &tile in &tiles {
                        let Group { first, len } = tile;
                        let common = &mut common[first * panel.len..][..len * panel.len];
                        let a = tile.of(inner, a_planes[plane]);
                        let to = &mut rows[first..first + len];
                        let (b, at) = (columns[plane], at + panel.first);
                        with_height!(S, tile.len, M => if panel.len > vector {
                            finish::<R, S, M, 2>(s, a, b, common, to, at);
                        } else {
                            finish::<R, S, M, 1>(s, a, b, common, to, at);
                        });
                    }
                }
            }
        }
    }
}

/// What is packed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Rows,
    Columns,
}

/// Series between the one that is packed and the one that is asked for.
const AHEAD: usize = 4;

/// Numbers of a row that are transposed together.
const SOME: usize = 8;

/// Makes the three factors of the rows or columns from `first` on, each `[group][inner][row or column]`.
struct Pack<'a, R, S> {
    s: S,
    over: Over,
    factor: Factor<'a, R>,
    bin: usize,
    first: usize,
    side: Side,
}

impl<R: Lanes, S: Simd> Pack<'_, R, S> {
    #[inline(always)]
    fn pack(&self, groups: &[Group], to: &mut [R]) {
        let mut to = thirds_mut(to);
        match self.over {
            Over::Series => {
                for run in groups.chunk_by(|a, b| a.len == b.len) {
                    self.series(run, &mut to);
                }
            }
            Over::Lanes => {
                for group in groups {
                    match self.side {
                        Side::Rows => {
                            with_height!(S, group.len, M => self.lanes::<M>(group.first, &mut to));
                        }
                        Side::Columns => {
                            with_width!(group.len, M => self.lanes::<M>(group.first, &mut to));
                        }
                    }
                }
            }
        }
    }

    /// Rows or columns are lanes.
    #[inline(always)]
    fn series(&self, run: &[Group], to: &mut [&mut [R]; 3]) {
        let Self { factor: Factor { spectrum, .. }, bin, first, .. } = *self;
        let (inner, vector, len) = (spectrum.series(), R::lanes::<S>(), run[0].len);
        for n in 0..inner {
            if n + AHEAD < inner {
                let (re, im) = spectrum.padded_row(n + AHEAD, bin);
                prefetch(re);
                prefetch(im);
            }
            let (re, im) = spectrum.padded_row(n, bin);
            // What is written beyond a row of a group is overwritten by its next row.
            let room = (inner - n) * len;
            for group in run {
                let at = inner * group.first + n * len;
                for j in (0..len).step_by(vector) {
                    let from = first + group.first + j;
                    let (re, im) = (&re[from..from + vector], &im[from..from + vector]);
                    if j + vector <= room {
                        self.put(re, im, to, at + j, vector);
                    } else {
                        self.put(re, im, to, at + j, room - j);
                    }
                }
            }
        }
    }

    /// Rows or columns are series.
    #[inline(always)]
    fn lanes<const M: usize>(&self, begin: usize, to: &mut [&mut [R]; 3]) {
        let Self { factor: Factor { spectrum, .. }, bin, first, .. } = *self;
        let (inner, vector) = (spectrum.lanes(), R::lanes::<S>());
        let mut rows: [(&[R], &[R]); M] = [(&[], &[]); M];
        for (j, row) in rows.iter_mut().enumerate() {
            *row = spectrum.row_or_none(first + begin + j, bin);
        }
        for n in (0..inner).step_by(SOME) {
            let some = SOME.min(inner - n);
            let re = transposed(
                &rows,
                n,
                #[inline(always)]
                |(re, _)| re,
            );
            let im = transposed(
                &rows,
                n,
                #[inline(always)]
                |(_, im)| im,
            );
            let (re, im) = (re.as_flattened(), im.as_flattened());
            let at = inner * begin + n * M;
            for j in (0..some * M).step_by(vector) {
                let end = (some * M).min(j + vector);
                self.put(&re[j..end], &im[j..end], to, at + j, end - j);
            }
        }
    }

    /// The factors of neighbours.
    #[inline(always)]
    fn put(&self, re: &[R], im: &[R], to: &mut [&mut [R]; 3], at: usize, len: usize) {
        let Self { s, factor, bin, side, .. } = *self;
        let (re, mut im) = (Vector::load(s, re), Vector::load(s, im));
        let none = Vector::splat(s, R::zero());
        if factor.conjugate && bin > 0 {
            im = none - im;
        }
        let factors = match side {
            _ if bin == 0 => [none, re, im],
            Side::Rows => [re + im, none - im, re],
            Side::Columns => [re, re + im, im - re],
        };
        for (factor, to) in factors.into_iter().zip(to) {
            factor.store(&mut to[at..at + len]);
        }
    }
}

/// `[SOME][M]` of the numbers from `n` on of a part of rows, 0 where a row has none.
#[inline(always)]
fn transposed<'a, R: Lanes, const M: usize>(
    rows: &[(&'a [R], &'a [R]); M],
    n: usize,
    part: impl Fn((&'a [R], &'a [R])) -> &'a [R],
) -> [[R; M]; SOME] {
    let mut from = [[R::zero(); SOME]; M];
    for (from, &row) in from.iter_mut().zip(rows) {
        let row = part(row);
        match row.get(n..n + SOME) {
            Some(some) => from.copy_from_slice(some),
            None => from.iter_mut().zip(row.iter().skip(n)).for_each(|(from, &x)| *from = x),
        }
    }
    let mut to = [[R::zero(); M]; SOME];
    for (k, to) in to.iter_mut().enumerate() {
        for (to, from) in to.iter_mut().zip(&from) {
            *to = from[k];
        }
    }
    to
}

#[inline(always)]
fn thirds<R>(values: &[R]) -> [&[R]; 3] {
    let (first, rest) = values.split_at(values.len() / 3);
    let (second, third) = rest.split_at(first.len());
    [first, second, third]
}

#[inline(always)]
fn thirds_mut<R>(values: &mut [R]) -> [&mut [R]; 3] {
    let (first, rest) = values.split_at_mut(values.len() / 3);
    let (second, third) = rest.split_at_mut(first.len());
    [first, second, third]
}

/// The common products of `M` rows and `C` vectors of columns, `[row][column]`.
#[inline(always)]
fn begin<R: Lanes, S: Simd, const M: usize, const C: usize>(
    s: S,
    a: &[R],
    b: &[R],
    common: &mut [R],
) {
    let none = [[Vector::splat(s, R::zero()); C]; M];
    let sums = accumulate::<R, S, M, C>(s, none, a, b);
    for (row, sums) in common.chunks_exact_mut(C * R::lanes::<S>()).zip(sums) {
        put(sums, row);
    }
}

/// `common + a b` to the columns of `M` rows that begin at `at`.
#[inline(always)]
fn finish<R: Lanes, S: Simd, const M: usize, const C: usize>(
    s: S,
    a: &[R],
    b: &[R],
    common: &[R],
    rows: &mut [&mut [R]],
    at: usize,
) {
    let columns = C * R::lanes::<S>();
    let mut sums = [[Vector::splat(s, R::zero()); C]; M];
    for (sums, common) in sums.iter_mut().zip(common.chunks_exact(columns)) {
        *sums = take(s, common);
    }
    let sums = accumulate::<R, S, M, C>(s, sums, a, b);
    for (row, sums) in rows.iter_mut().zip(sums) {
        put(sums, &mut row[at..at + columns]);
    }
}

#[inline(always)]
fn take<R: Lanes, S: Simd, const C: usize>(s: S, from: &[R]) -> [Vector<R, S>; C] {
    let mut taken = [Vector::splat(s, R::zero()); C];
    for (taken, from) in taken.iter_mut().zip(from.chunks_exact(R::lanes::<S>())) {
        *taken = Vector::load(s, from);
    }
    taken
}

#[inline(always)]
fn put<R: Lanes, S: Simd, const C: usize>(sums: [Vector<R, S>; C], to: &mut [R]) {
    for (to, sum) in to.chunks_exact_mut(R::lanes::<S>()).zip(sums) {
        sum.store(to);
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
        let columns: [_; C] = take(s, b);
        for m in 0..M {
            let a = Vector::splat(s, a[m]);
            for c in 0..C {
                sums[m][c] = a.mul_add(columns[c], sums[m][c]);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use polychron_core::rng::Rng;

    fn spectrum(scratch: &Scratch<f64>, series: usize, lanes: usize, stream: u64) -> Spectrum<f64> {
        let mut spectrum = Spectrum::new(scratch, series, 2, lanes);
        let rng = Rng::new(5, stream);
        for (n, x) in spectrum.values_mut().iter_mut().enumerate() {
            *x = rng.uniform::<f64>(n as u64) - 0.5;
        }
        spectrum
    }

    #[test]
    fn products_equal_the_sums_where_rows_are_taken_some_at_a_time() {
        let scratch = Scratch::default();
        let (rows, inner, lanes) = (83_usize, 256, 16);
        for (over, conjugate) in [(Over::Series, true), (Over::Lanes, false)] {
            let [a, b] = match over {
                Over::Series => [(inner, rows.next_multiple_of(16), 1), (inner, lanes, 2)],
                Over::Lanes => [(rows, inner, 1), (lanes, inner, 2)],
            }
            .map(|(series, lanes, stream)| spectrum(&scratch, series, lanes, stream));
            let mut to = spectrum(&scratch, rows, lanes, 3);
            let factor = |spectrum, conjugate| Factor { spectrum, conjugate };
            product(&scratch, over, factor(&a, conjugate), factor(&b, false), &mut to);
            for (r, c) in (0..rows).flat_map(|r| (0..lanes).map(move |c| (r, c))) {
                let at = |of: &Spectrum<f64>, outer: usize, k: usize, bin| {
                    let (series, lane) = if over == Over::Series { (k, outer) } else { (outer, k) };
                    let (re, im) = of.padded_row(series, bin);
                    (re[lane], im[lane])
                };
                let (mut apart, mut sum) = ((0.0, 0.0), (0.0, 0.0));
                for k in 0..inner {
                    let (a, b) = (at(&a, r, k, 0), at(&b, c, k, 0));
                    apart = (apart.0 + a.0 * b.0, apart.1 + a.1 * b.1);
                }
                for k in 0..inner {
                    let (a, b) = (at(&a, r, k, 1), at(&b, c, k, 1));
                    let im = if conjugate { -a.1 } else { a.1 };
                    sum = (sum.0 + a.0 * b.0 - im * b.1, sum.1 + a.0 * b.1 + im * b.0);
                }
                for (bin, expected) in [apart, sum].into_iter().enumerate() {
                    let (re, im) = to.padded_row(r, bin);
                    assert!((re[c] - expected.0).abs() + (im[c] - expected.1).abs() < 1e-12);
                }
            }
        }
    }
}
