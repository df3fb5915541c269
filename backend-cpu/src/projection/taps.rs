//! A delayed projection tap by tap. Vector lanes are samples.
//!
//! Source neurons are packed in groups, with zeros before and after their steps. A tap then shifts
//! rows that stay in the first-level cache.

use super::windows::Windows;
use crate::lanes::{Lanes, Vector, whole_vectors};
use crate::scratch::{Block, Scratch};
use crate::sequence::Sequence;
use core::ops::Range;
use ndarray::{ArrayViewMut3, Axis};
use polychron_core::shape::Synapses;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Steps whose sums stay in registers.
const TILE: usize = 8;
/// Target neurons per task.
const ROWS: usize = 128;
/// Bytes of packed sources: most of the first-level cache.
const PACKED_BYTES: usize = 24 << 10;
/// Bytes of the sums over their taps, which stay in the second-level cache.
const SUM_BYTES: usize = 128 << 10;
/// Least number of sources packed together.
const SOURCES: usize = 8;

/// `y[t] = sum over j of tap_j x[t - j]`.
pub(super) fn forward<R: Lanes>(
    scratch: &Scratch<R>,
    synapses: &Synapses,
    windows: &Windows<R>,
    x: &Sequence<R>,
    y: &mut Sequence<R>,
) {
    let tiling = Tiling::new::<R>(synapses.taps);
    let shifts = Shifts::of_inputs(synapses, windows, &tiling);
    sum(scratch, tiling, &shifts, x, synapses.taps - 1, y);
}

/// The gradient with respect to the input: the transpose of [`forward`].
pub(super) fn by_input<R: Lanes>(
    scratch: &Scratch<R>,
    synapses: &Synapses,
    windows: &Windows<R>,
    d_y: &Sequence<R>,
    d_x: &mut Sequence<R>,
) {
    let tiling = Tiling::new::<R>(synapses.taps);
    let shifts = Shifts::of_outputs(synapses, windows, &tiling);
    sum(scratch, tiling, &shifts, d_y, 0, d_x);
}

/// The gradient with respect to the taps of the windows.
pub(super) fn by_taps<R: Lanes>(
    scratch: &Scratch<R>,
    synapses: &Synapses,
    windows: &Windows<R>,
    x: &Sequence<R>,
    d_y: &Sequence<R>,
    d_taps: &mut Block<R>,
) {
    let tiling = Tiling::new::<R>(synapses.taps);
    let sums = ROWS * synapses.kernel_count * windows.stride * whole_vectors::<R>(1) * R::BYTES;
    let tiling = Tiling { sources: (SUM_BYTES / sums).clamp(1, tiling.sources), ..tiling };
    let shifts = &Shifts::of_inputs(synapses, windows, &tiling);
    let chunks = split(d_taps.view_mut(), ROWS, tiling.sources, Axis(1));
    chunks.into_par_iter().for_each(|(target, source, to)| {
        let (x, d_y, lead) = (x, d_y, synapses.taps - 1);
        R::correlate(Correlate { scratch, tiling, shifts, x, lead, d_y, target, source, to });
    });
}

fn sum<R: Lanes>(
    scratch: &Scratch<R>,
    tiling: Tiling,
    shifts: &Shifts<R>,
    from: &Sequence<R>,
    lead: usize,
    to: &mut Sequence<R>,
) {
    let chunks = split(to.view_mut(), ROWS, tiling.steps, Axis(1));
    chunks.into_par_iter().for_each(|(target, start, to)| {
        R::sum_taps(SumTaps { scratch, tiling, shifts, from, lead, target, start, to });
    });
}

/// Splits a block along its first and another axis. Returns the two start indices of every chunk.
fn split<R>(
    block: ArrayViewMut3<'_, R>,
    rows: usize,
    len: usize,
    axis: Axis,
) -> Vec<(usize, usize, ArrayViewMut3<'_, R>)> {
    let mut chunks = Vec::new();
    let (mut row, mut left) = (0, block);
    while !left.is_empty() {
        let here = rows.min(left.len_of(Axis(0)));
        let (mut band, rest) = left.split_at(Axis(0), here);
        let mut start = 0;
        while !band.is_empty() {
            let here = len.min(band.len_of(axis));
            let (chunk, rest) = band.split_at(axis, here);
            chunks.push((row, start, chunk));
            (start, band) = (start + here, rest);
        }
        (row, left) = (row + here, rest);
    }
    chunks
}

/// The division of neurons and steps into parts that fit the caches.
#[derive(Clone, Copy)]
struct Tiling {
    /// Steps of the targets: a multiple of [`TILE`].
    steps: usize,
    /// Steps of the sources that these depend on.
    rows: usize,
    /// Sources packed together.
    sources: usize,
}

impl Tiling {
    fn new<R: Lanes>(taps: usize) -> Self {
        let steps = (taps / 4).next_multiple_of(TILE).max(4 * TILE);
        let rows = steps + taps - 1;
        let source = rows * whole_vectors::<R>(1);
        let sources = (PACKED_BYTES / (source * R::BYTES)).max(SOURCES);
        debug_assert!(u32::try_from(sources * source).is_ok(), "guaranteed by `cost::offsets_fit`");
        Self { steps, rows, sources }
    }

    /// The number of tiles that hold `steps` steps.
    fn tiles(&self, steps: usize) -> usize {
        steps.min(self.steps).div_ceil(TILE)
    }
}

/// All taps `[target][source][tap]`.
struct Shifts<R> {
    /// The offset of a tap's first row in the packed sources, and its value.
    shifts: Vec<(u32, R)>,
    sources: usize,
    /// Taps of a pair of neurons.
    pair: usize,
}

impl<R: Lanes> Shifts<R> {
    /// Targets are outputs. Tap j reads row `t + K - 1 - j` for step t.
    fn of_inputs(synapses: &Synapses, windows: &Windows<R>, tiling: &Tiling) -> Self {
        let Synapses { inputs, outputs, taps, .. } = *synapses;
        let place = |target, source| target * inputs + source;
        Self::new(synapses, windows, tiling, [outputs, inputs], place, |j| taps - 1 - j)
    }

    /// Targets are inputs. Tap j reads row `t + j` for step t.
    fn of_outputs(synapses: &Synapses, windows: &Windows<R>, tiling: &Tiling) -> Self {
        let Synapses { inputs, outputs, .. } = *synapses;
        let place = |target, source| source * inputs + target;
        Self::new(synapses, windows, tiling, [inputs, outputs], place, |j| j)
    }

    fn new(
        synapses: &Synapses,
        windows: &Windows<R>,
        tiling: &Tiling,
        [targets, sources]: [usize; 2],
        place: impl Fn(usize, usize) -> usize + Sync,
        row: impl Fn(usize) -> usize + Sync,
    ) -> Self {
        let pair = synapses.kernel_count * windows.stride;
        let vector = whole_vectors::<R>(1);
        let mut shifts = vec![(0, R::zero()); targets * sources * pair];
        shifts.par_chunks_mut(sources * pair).enumerate().for_each(|(target, shifts)| {
            for (source, shifts) in shifts.chunks_exact_mut(pair).enumerate() {
                let place = place(target, source);
                let firsts = &windows.first[place * synapses.kernel_count..];
                let taps = &windows.taps.values()[place * pair..];
                for (n, (shift, &tap)) in shifts.iter_mut().zip(taps).enumerate() {
                    let j = firsts[n / windows.stride] + n % windows.stride;
                    let at = (source % tiling.sources * tiling.rows + row(j)) * vector;
                    *shift = (at as u32, tap);
                }
            }
        });
        Self { shifts, sources, pair }
    }

    fn of(&self, target: usize, sources: Range<usize>) -> &[(u32, R)] {
        let first = target * self.sources;
        &self.shifts[(first + sources.start) * self.pair..(first + sources.end) * self.pair]
    }
}

/// Packs the samples from `b` on as `[neuron][row][lane]`. Row 0 is step `start - lead`; rows
/// outside the sequence are zero.
#[inline(always)]
fn pack<R: Lanes, S: Simd>(
    s: S,
    from: &Sequence<R>,
    neurons: Range<usize>,
    start: usize,
    lead: usize,
    rows: usize,
    b: usize,
    to: &mut [R],
) {
    let (steps, batch) = (from.shape().steps, from.shape().batch);
    let present = R::lanes::<S>().min(batch - b);
    for (n, to) in neurons.zip(to.chunks_exact_mut(rows * R::lanes::<S>())) {
        let block = from.block(n);
        for (r, to) in to.chunks_exact_mut(R::lanes::<S>()).enumerate() {
            let row = match (start + r).checked_sub(lead) {
                Some(t) if t < steps => Vector::load(s, &block[t * batch + b..][..present]),
                _ => Vector::splat(s, R::zero()),
            };
            row.store(to);
        }
    }
}

/// Sums all taps for a range of steps and targets.
pub struct SumTaps<'a, R> {
    scratch: &'a Scratch<R>,
    tiling: Tiling,
    shifts: &'a Shifts<R>,
    from: &'a Sequence<R>,
    lead: usize,
    target: usize,
    start: usize,
    /// `[target][time][batch]`.
    to: ArrayViewMut3<'a, R>,
}

impl<R: Lanes> WithSimd for SumTaps<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { scratch, tiling, shifts, from, lead, target, start, mut to } = self;
        let vector = R::lanes::<S>();
        let (targets, steps, batch) = to.dim();
        let mut buffer =
            scratch.block((1, vector, tiling.sources * tiling.rows + targets * tiling.steps));
        let (packed, sums) =
            buffer.values_mut().split_at_mut(tiling.sources * tiling.rows * vector);
        for b in (0..batch).step_by(vector) {
            sums.fill(R::zero());
            for first in (0..shifts.sources).step_by(tiling.sources) {
                let sources = first..shifts.sources.min(first + tiling.sources);
                pack(s, from, sources.clone(), start, lead, tiling.rows, b, packed);
                for (n, sums) in sums.chunks_exact_mut(tiling.steps * vector).enumerate() {
                    let shifts = shifts.of(target + n, sources.clone());
                    let sums = sums.chunks_exact_mut(TILE * vector).take(tiling.tiles(steps));
                    for (tile, sums) in sums.enumerate() {
                        sum_tile(s, &packed[tile * TILE * vector..], shifts, sums);
                    }
                }
            }
            let present = vector.min(batch - b);
            let rows = to.axis_iter_mut(Axis(0)).zip(sums.chunks_exact(tiling.steps * vector));
            for (mut to, sums) in rows {
                let to = to.as_slice_mut().expect("contiguous");
                for (to, sum) in to.chunks_exact_mut(batch).zip(sums.chunks_exact(vector)) {
                    Vector::load(s, sum).store(&mut to[b..b + present]);
                }
            }
        }
    }
}

/// Adds all taps to the sums of one tile.
#[inline(always)]
fn sum_tile<R: Lanes, S: Simd>(s: S, packed: &[R], shifts: &[(u32, R)], to: &mut [R]) {
    let mut sums = tile(s, to);
    for &(at, tap) in shifts {
        let x = &packed[at as usize..][..TILE * R::lanes::<S>()];
        let tap = Vector::splat(s, tap);
        for j in 0..TILE {
            let x = Vector::load(s, &x[j * R::lanes::<S>()..(j + 1) * R::lanes::<S>()]);
            sums[j] = tap.mul_add(x, sums[j]);
        }
    }
    for (to, sum) in to.chunks_exact_mut(R::lanes::<S>()).zip(sums) {
        sum.store(to);
    }
}

#[inline(always)]
fn tile<R: Lanes, S: Simd>(s: S, rows: &[R]) -> [Vector<R, S>; TILE] {
    let mut tile = [Vector::splat(s, R::zero()); TILE];
    for (to, row) in tile.iter_mut().zip(rows.chunks_exact(R::lanes::<S>())) {
        *to = Vector::load(s, row);
    }
    tile
}

/// The gradient with respect to the taps from a range of inputs to a range of outputs.
pub struct Correlate<'a, R> {
    scratch: &'a Scratch<R>,
    tiling: Tiling,
    shifts: &'a Shifts<R>,
    x: &'a Sequence<R>,
    lead: usize,
    d_y: &'a Sequence<R>,
    target: usize,
    source: usize,
    /// `[target][source][tap]`.
    to: ArrayViewMut3<'a, R>,
}

impl<R: Lanes> WithSimd for Correlate<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { scratch, tiling, shifts, x, lead, d_y, target, source, mut to } = self;
        let (vector, (targets, sources, pair)) = (R::lanes::<S>(), to.dim());
        let (outputs, inputs) = (target..target + targets, source..source + sources);
        let rows = sources * tiling.rows + targets * tiling.steps + targets * sources * pair;
        let mut buffer = scratch.block((1, vector, rows));
        let (packed, rest) = buffer.values_mut().split_at_mut(sources * tiling.rows * vector);
        let (upstream, sums) = rest.split_at_mut(targets * tiling.steps * vector);
        sums.fill(R::zero());
        let shape = d_y.shape();
        for start in (0..shape.steps).step_by(tiling.steps) {
            let tiles = tiling.tiles(shape.steps - start);
            for b in (0..shape.batch).step_by(vector) {
                pack(s, x, inputs.clone(), start, lead, tiling.rows, b, packed);
                pack(s, d_y, outputs.clone(), start, 0, tiling.steps, b, upstream);
                let upstream = upstream.chunks_exact(tiling.steps * vector);
                let sums = sums.chunks_exact_mut(sources * pair * vector);
                for ((n, sums), upstream) in outputs.clone().zip(sums).zip(upstream) {
                    let shifts = shifts.of(n, inputs.clone());
                    let upstream = upstream.chunks_exact(TILE * vector).take(tiles);
                    for (tile, d_y) in upstream.enumerate() {
                        correlate_tile(s, &packed[tile * TILE * vector..], shifts, d_y, sums);
                    }
                }
            }
        }
        for (to, sum) in to.iter_mut().zip(sums.chunks_exact(vector)) {
            *to = sum.iter().copied().sum();
        }
    }
}

/// Adds the contribution of one tile of `d_y` to the gradient of every tap.
#[inline(always)]
fn correlate_tile<R: Lanes, S: Simd>(
    s: S,
    packed: &[R],
    shifts: &[(u32, R)],
    d_y: &[R],
    sums: &mut [R],
) {
    let d_y = tile(s, d_y);
    for (&(at, _), to) in shifts.iter().zip(sums.chunks_exact_mut(R::lanes::<S>())) {
        let x = &packed[at as usize..][..TILE * R::lanes::<S>()];
        let mut sum = Vector::load(s, to);
        for j in 0..TILE {
            let x = Vector::load(s, &x[j * R::lanes::<S>()..(j + 1) * R::lanes::<S>()]);
            sum = d_y[j].mul_add(x, sum);
        }
        sum.store(to);
    }
}

#[cfg(test)]
mod tests {
    use super::super::cost::MAX_TAPS;
    use super::*;

    #[test]
    fn offsets_of_the_longest_kernel_fit() {
        for taps in [1, 2, 25, 1000, MAX_TAPS] {
            // Vectors hold at most 64 bytes.
            let Tiling { rows, sources, .. } = Tiling::new::<f32>(taps);
            assert!(u32::try_from(sources * rows * 16).is_ok());
        }
    }
}
