//! One complex matrix product per bin, computed as three real ones.

use super::spectrum::Spectrum;
use crate::lanes::{Lanes, Vector};
use crate::raw::prefetch;
use crate::scratch::Scratch;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// One factor of a product.
#[derive(Clone, Copy)]
pub(super) struct Factor<'a, R> {
    pub(super) spectrum: &'a Spectrum<R>,
    pub(super) conjugate: bool,
}

/// The index that a product contracts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Contract {
    /// `to[i][j] = sum over s of a[s][i] b[s][j]`; i and j are lanes.
    Series,
    /// `to[i][j] = sum over l of a[i][l] b[j][l]`; i and j are series.
    Lanes,
}

/// Multiplies bin by bin. Rows of the product are series of `to`, columns are its lanes.
pub(super) fn product<R: Lanes>(
    scratch: &Scratch<R>,
    contract: Contract,
    a: Factor<'_, R>,
    b: Factor<'_, R>,
    to: &mut Spectrum<R>,
) {
    let (lanes, pitch) = (to.lanes(), to.pitch());
    let inner = match contract {
        Contract::Series => a.spectrum.series(),
        Contract::Lanes => a.spectrum.lanes(),
    };
    to.rows_mut().into_par_iter().enumerate().for_each(|(bin, rows)| {
        let group =
            (GROUP_BYTES / (3 * inner * R::BYTES)).max(1).next_multiple_of(TALLEST).min(rows.len());
        let mut buffer = scratch.block((1, 1, 3 * inner * (lanes + group) + group * WIDEST));
        let buffer = buffer.values_mut();
        R::multiply(Multiply { contract, a, b, bin, inner, lanes, pitch, group, rows, buffer });
    });
}

/// Columns of the widest panel: two vectors of 16.
const WIDEST: usize = 32;

/// Rows of the tallest tile.
const TALLEST: usize = 12;

/// Bytes of packed rows that stay in a second-level cache of 512 KiB.
const GROUP_BYTES: usize = 384 << 10;

/// The product at one bin. With `p = (a_re + a_im) b_re`, `re = p - a_im (b_re + b_im)` and
/// `im = p + a_re (b_im - b_re)`. Bin 0 holds two real spectra: there p is 0, `re = a_re b_re` and
/// `im = a_im b_im`.
///
/// Rows are processed in groups whose factors stay in the second-level cache. One factor of a panel
/// of columns at a time meets all tiles of rows, so that it stays in the first-level cache.
pub struct Multiply<'a, R> {
    contract: Contract,
    a: Factor<'a, R>,
    b: Factor<'a, R>,
    bin: usize,
    inner: usize,
    lanes: usize,
    pitch: usize,
    /// Rows of a group.
    group: usize,
    rows: Vec<&'a mut [R]>,
    /// The factors of all column panels `[factor][panel][inner][column]`, those of a group of rows
    /// `[factor][tile][inner][row]`, and the products p, `[tile][row][column]`.
    buffer: &'a mut [R],
}

/// Adjacent rows or columns that are multiplied together.
#[derive(Clone, Copy)]
struct Tile {
    first: usize,
    len: usize,
}

impl Tile {
    /// The part of this tile in a factor `[tile][inner][row or column]`.
    #[inline(always)]
    fn slice<R>(self, inner: usize, factor: &[R]) -> &[R] {
        &factor[inner * self.first..inner * (self.first + self.len)]
    }
}

/// Divides `n` rows or columns into tiles of descending `sizes`. The remainder is one tile.
fn divide(n: usize, sizes: &[usize]) -> Vec<Tile> {
    let (mut tiles, mut first) = (Vec::with_capacity(n), 0);
    while first < n {
        let len = sizes.iter().copied().find(|&len| len <= n - first).unwrap_or(n - first);
        tiles.push(Tile { first, len });
        first += len;
    }
    tiles
}

/// Evaluates an expression with the height of a tile as a constant, one of [`heights`].
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

/// Evaluates an expression with the width of a panel, one or two vectors, as a constant.
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

/// Heights of tiles whose sums fit into the registers.
fn heights<S: Simd>() -> &'static [usize] {
    if S::REGISTER_COUNT >= 32 { &[12, 4, 1] } else { &[6, 4, 1] }
}

impl<R: Lanes> WithSimd for Multiply<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { contract, a, b, bin, inner, lanes, pitch, group, mut rows, buffer } = self;
        let vector = R::lanes::<S>();
        let panels = divide(lanes, &[2 * vector, vector]);
        let (b_packed, buffer) = buffer.split_at_mut(3 * inner * lanes);
        let (a_packed, common) = buffer.split_at_mut(3 * inner * group);
        Pack { s, contract, factor: b, bin, first: 0, operand: Operand::Columns }
            .pack(&panels, b_packed);
        let b_planes = thirds(b_packed);
        let mut first = 0;
        for rows in rows.chunks_mut(group) {
            let tiles = divide(rows.len(), heights::<S>());
            let a_packed = &mut a_packed[..3 * inner * rows.len()];
            Pack { s, contract, factor: a, bin, first, operand: Operand::Rows }
                .pack(&tiles, a_packed);
            first += rows.len();
            let a_planes = thirds(a_packed);
            for &panel in &panels {
                let columns = b_planes.each_ref().map(|plane| panel.slice(inner, plane));
                for &tile in &tiles {
                    let common = &mut common[tile.first * panel.len..][..tile.len * panel.len];
                    let a = tile.slice(inner, a_planes[0]);
                    with_height!(S, tile.len, M => if panel.len > vector {
                        begin::<R, S, M, 2>(s, a, columns[0], common);
                    } else {
                        begin::<R, S, M, 1>(s, a, columns[0], common);
                    });
                }
                for (plane, at) in [(1, 0), (2, pitch)] {
                    for &tile in &tiles {
                        let Tile { first, len } = tile;
                        let common = &mut common[first * panel.len..][..len * panel.len];
                        let a = tile.slice(inner, a_planes[plane]);
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

/// The operand that is packed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operand {
    Rows,
    Columns,
}

/// Distance in series from the packed one to the prefetched one.
const AHEAD: usize = 4;

/// Values of a row that are transposed together.
const TRANSPOSE: usize = 8;

/// Packs the three factors of the rows or columns from `first` on, each
/// `[tile][inner][row or column]`.
struct Pack<'a, R, S> {
    s: S,
    contract: Contract,
    factor: Factor<'a, R>,
    bin: usize,
    first: usize,
    operand: Operand,
}

impl<R: Lanes, S: Simd> Pack<'_, R, S> {
    #[inline(always)]
    fn pack(&self, tiles: &[Tile], to: &mut [R]) {
        let mut to = thirds_mut(to);
        match self.contract {
            Contract::Series => {
                for run in tiles.chunk_by(|a, b| a.len == b.len) {
                    self.pack_lanes(run, &mut to);
                }
            }
            Contract::Lanes => {
                for &Tile { first, len } in tiles {
                    match self.operand {
                        Operand::Rows => {
                            with_height!(S, len, M => self.pack_series::<M>(first, &mut to));
                        }
                        Operand::Columns => {
                            with_width!(len, M => self.pack_series::<M>(first, &mut to));
                        }
                    }
                }
            }
        }
    }

    /// Rows or columns are lanes.
    #[inline(always)]
    fn pack_lanes(&self, run: &[Tile], to: &mut [&mut [R]; 3]) {
        let Self { factor: Factor { spectrum, .. }, bin, first, .. } = *self;
        let (inner, vector, len) = (spectrum.series(), R::lanes::<S>(), run[0].len);
        for n in 0..inner {
            if n + AHEAD < inner {
                let (re, im) = spectrum.padded_row(n + AHEAD, bin);
                prefetch(re);
                prefetch(im);
            }
            let (re, im) = spectrum.padded_row(n, bin);
            // A vector may extend beyond its row: the next row of the tile overwrites the excess.
            let room = (inner - n) * len;
            for tile in run {
                let at = inner * tile.first + n * len;
                for j in (0..len).step_by(vector) {
                    let from = first + tile.first + j;
                    let (re, im) = (&re[from..from + vector], &im[from..from + vector]);
                    if j + vector <= room {
                        self.store(re, im, to, at + j, vector);
                    } else {
                        self.store(re, im, to, at + j, room - j);
                    }
                }
            }
        }
    }

    /// Rows or columns are series.
    #[inline(always)]
    fn pack_series<const M: usize>(&self, begin: usize, to: &mut [&mut [R]; 3]) {
        let Self { factor: Factor { spectrum, .. }, bin, first, .. } = *self;
        let (inner, vector) = (spectrum.lanes(), R::lanes::<S>());
        let mut rows: [(&[R], &[R]); M] = [(&[], &[]); M];
        for (j, row) in rows.iter_mut().enumerate() {
            *row = spectrum.row_or_empty(first + begin + j, bin);
        }
        for n in (0..inner).step_by(TRANSPOSE) {
            let len = TRANSPOSE.min(inner - n);
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
            for j in (0..len * M).step_by(vector) {
                let end = (len * M).min(j + vector);
                self.store(&re[j..end], &im[j..end], to, at + j, end - j);
            }
        }
    }

    /// Stores the three factors of a vector.
    #[inline(always)]
    fn store(&self, re: &[R], im: &[R], to: &mut [&mut [R]; 3], at: usize, len: usize) {
        let Self { s, factor, bin, operand, .. } = *self;
        let (re, mut im) = (Vector::load(s, re), Vector::load(s, im));
        let none = Vector::splat(s, R::zero());
        if factor.conjugate && bin > 0 {
            im = none - im;
        }
        let factors = match operand {
            _ if bin == 0 => [none, re, im],
            Operand::Rows => [re + im, none - im, re],
            Operand::Columns => [re, re + im, im - re],
        };
        for (factor, to) in factors.into_iter().zip(to) {
            factor.store(&mut to[at..at + len]);
        }
    }
}

/// The values of `M` rows from `n` on as `[TRANSPOSE][M]`, zero beyond the end of a row. `part`
/// chooses the real or the imaginary part.
#[inline(always)]
fn transposed<'a, R: Lanes, const M: usize>(
    rows: &[(&'a [R], &'a [R]); M],
    n: usize,
    part: impl Fn((&'a [R], &'a [R])) -> &'a [R],
) -> [[R; M]; TRANSPOSE] {
    let mut from = [[R::zero(); TRANSPOSE]; M];
    for (from, &row) in from.iter_mut().zip(rows) {
        let row = part(row);
        match row.get(n..n + TRANSPOSE) {
            Some(values) => from.copy_from_slice(values),
            None => from.iter_mut().zip(row.iter().skip(n)).for_each(|(from, &x)| *from = x),
        }
    }
    let mut to = [[R::zero(); M]; TRANSPOSE];
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

/// The product p of `M` rows and `C` vectors of columns, `[row][column]`.
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
        store(sums, row);
    }
}

/// Writes `common + a b` to the columns from `at` on of `M` rows.
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
        *sums = load(s, common);
    }
    let sums = accumulate::<R, S, M, C>(s, sums, a, b);
    for (row, sums) in rows.iter_mut().zip(sums) {
        store(sums, &mut row[at..at + columns]);
    }
}

#[inline(always)]
fn load<R: Lanes, S: Simd, const C: usize>(s: S, from: &[R]) -> [Vector<R, S>; C] {
    let mut vectors = [Vector::splat(s, R::zero()); C];
    for (to, from) in vectors.iter_mut().zip(from.chunks_exact(R::lanes::<S>())) {
        *to = Vector::load(s, from);
    }
    vectors
}

#[inline(always)]
fn store<R: Lanes, S: Simd, const C: usize>(sums: [Vector<R, S>; C], to: &mut [R]) {
    for (to, sum) in to.chunks_exact_mut(R::lanes::<S>()).zip(sums) {
        sum.store(to);
    }
}

/// `sums + a b` for `a` `[inner][M]` and `b` `[inner][C vectors]`.
#[inline(always)]
fn accumulate<R: Lanes, S: Simd, const M: usize, const C: usize>(
    s: S,
    mut sums: [[Vector<R, S>; C]; M],
    a: &[R],
    b: &[R],
) -> [[Vector<R, S>; C]; M] {
    let (a, b) = (a.as_chunks::<M>().0, b.chunks_exact(C * R::lanes::<S>()));
    for (a, b) in a.iter().zip(b) {
        let columns: [_; C] = load(s, b);
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
    fn products_equal_sums_for_several_groups_of_rows() {
        let scratch = Scratch::default();
        let (rows, inner, lanes) = (83_usize, 256, 16);
        for (contract, conjugate) in [(Contract::Series, true), (Contract::Lanes, false)] {
            let [a, b] = match contract {
                Contract::Series => [(inner, rows.next_multiple_of(16), 1), (inner, lanes, 2)],
                Contract::Lanes => [(rows, inner, 1), (lanes, inner, 2)],
            }
            .map(|(series, lanes, stream)| spectrum(&scratch, series, lanes, stream));
            let mut to = spectrum(&scratch, rows, lanes, 3);
            let factor = |spectrum, conjugate| Factor { spectrum, conjugate };
            product(&scratch, contract, factor(&a, conjugate), factor(&b, false), &mut to);
            for (r, c) in (0..rows).flat_map(|r| (0..lanes).map(move |c| (r, c))) {
                let at = |of: &Spectrum<f64>, outer: usize, k: usize, bin| {
                    let (series, lane) =
                        if contract == Contract::Series { (k, outer) } else { (outer, k) };
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
