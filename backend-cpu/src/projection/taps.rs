//! A delayed projection tap by tap, at every step: vector lanes are samples.
//!
//! Source neurons are packed some at a time, with zeros before and after their steps, so that a tap is one shift of
//! rows that lie in the nearest cache.

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
/// Target neurons to a task.
const ROWS: usize = 128;
/// Bytes of packed sources: most of the nearest cache.
const ROOM: usize = 24 << 10;
/// Bytes of the sums of their taps, in the next one.
const SUMS: usize = 128 << 10;
/// Fewest sources packed together.
const SOURCES: usize = 8;

/// `y = sum over taps of tap_j x[t - j]`.
pub(super) fn forward<R: Lanes>(
    scratch: &Scratch<R>,
    synapses: &Synapses,
    windows: &Windows<R>,
    x: &Sequence<R>,
    y: &mut Sequence<R>,
) {
    let cut = Cut::new::<R>(synapses.taps);
    let shifts = Shifts::of_inputs(synapses, windows, &cut);
    sum(scratch, cut, &shifts, x, synapses.taps - 1, y);
}

/// The gradient by the input: [`forward`] transposed.
pub(super) fn by_input<R: Lanes>(
    scratch: &Scratch<R>,
    synapses: &Synapses,
    windows: &Windows<R>,
    d_y: &Sequence<R>,
    d_x: &mut Sequence<R>,
) {
    let cut = Cut::new::<R>(synapses.taps);
    let shifts = Shifts::of_outputs(synapses, windows, &cut);
    sum(scratch, cut, &shifts, d_y, 0, d_x);
}

/// The gradient by the windows' taps.
pub(super) fn by_taps<R: Lanes>(
    scratch: &Scratch<R>,
    synapses: &Synapses,
    windows: &Windows<R>,
    x: &Sequence<R>,
    d_y: &Sequence<R>,
    d_taps: &mut Block<R>,
) {
    let cut = Cut::new::<R>(synapses.taps);
    let sums = ROWS * synapses.kernel_count * windows.stride * whole_vectors::<R>(1) * R::BYTES;
    let cut = Cut { sources: (SUMS / sums).clamp(1, cut.sources), ..cut };
    let shifts = &Shifts::of_inputs(synapses, windows, &cut);
    let chunks = cut_up(d_taps.view_mut(), ROWS, cut.sources, Axis(1));
    chunks.into_par_iter().for_each(|(target, source, to)| {
        let (x, d_y, lead) = (x, d_y, synapses.taps - 1);
        R::correlate(Correlate { scratch, cut, shifts, x, lead, d_y, target, source, to });
    });
}

fn sum<R: Lanes>(
    scratch: &Scratch<R>,
    cut: Cut,
    shifts: &Shifts<R>,
    from: &Sequence<R>,
    lead: usize,
    to: &mut Sequence<R>,
) {
    let chunks = cut_up(to.view_mut(), ROWS, cut.steps, Axis(1));
    chunks.into_par_iter().for_each(|(target, start, to)| {
        R::add_up(Sum { scratch, cut, shifts, from, lead, target, start, to });
    });
}

/// Cuts a block along its first and another axis; with each chunk come the places where it begins.
fn cut_up<R>(
    block: ArrayViewMut3<'_, R>,
    rows: usize,
    len: usize,
    axis: Axis,
) -> Vec<(usize, usize, ArrayViewMut3<'_, R>)> {
    let mut chunks = Vec::new();
    let (mut row, mut left) = (0, block);
    while !left.is_empty() {
        let here = rows.min(left.len_of(Axis(0)));
        let (mut some, rest) = left.split_at(Axis(0), here);
        let mut start = 0;
        while !some.is_empty() {
            let here = len.min(some.len_of(axis));
            let (chunk, rest) = some.split_at(axis, here);
            chunks.push((row, start, chunk));
            (start, some) = (start + here, rest);
        }
        (row, left) = (row + here, rest);
    }
    chunks
}

/// How neurons and steps are divided.
#[derive(Clone, Copy)]
struct Cut {
    /// Steps of targets, whole tiles.
    steps: usize,
    /// Steps of sources that they see.
    rows: usize,
    /// Sources packed together.
    sources: usize,
}

impl Cut {
    fn new<R: Lanes>(taps: usize) -> Self {
        let steps = (taps / 4).next_multiple_of(TILE).max(4 * TILE);
        let rows = steps + taps - 1;
        let source = rows * whole_vectors::<R>(1) * R::BYTES;
        Self { steps, rows, sources: (ROOM / source).max(SOURCES) }
    }

    /// Tiles that hold some of the steps.
    fn tiles(&self, steps: usize) -> usize {
        steps.min(self.steps).div_ceil(TILE)
    }
}

/// All taps `[target][source][tap]`: where in a packed block of sources the rows of a tap begin, and its value.
struct Shifts<R> {
    shifts: Vec<(u32, R)>,
    sources: usize,
    each: usize,
}

impl<R: Lanes> Shifts<R> {
    /// Targets are outputs, whose step t is row `t + K - 1 - j` of tap j.
    fn of_inputs(synapses: &Synapses, windows: &Windows<R>, cut: &Cut) -> Self {
        let Synapses { inputs, outputs, taps, .. } = *synapses;
        let place = |target, source| target * inputs + source;
        Self::new(synapses, windows, cut, [outputs, inputs], place, |j| taps - 1 - j)
    }

    /// Targets are inputs, whose step t is row `t + j` of tap j.
    fn of_outputs(synapses: &Synapses, windows: &Windows<R>, cut: &Cut) -> Self {
        let Synapses { inputs, outputs, .. } = *synapses;
        let place = |target, source| source * inputs + target;
        Self::new(synapses, windows, cut, [inputs, outputs], place, |j| j)
    }

    fn new(
        synapses: &Synapses,
        windows: &Windows<R>,
        cut: &Cut,
        [targets, sources]: [usize; 2],
        place: impl Fn(usize, usize) -> usize + Sync,
        row: impl Fn(usize) -> usize + Sync,
    ) -> Self {
        let each = synapses.kernel_count * windows.stride;
        let vector = whole_vectors::<R>(1);
        let mut shifts = vec![(0, R::zero()); targets * sources * each];
        shifts.par_chunks_mut(sources * each).enumerate().for_each(|(target, shifts)| {
            for (source, shifts) in shifts.chunks_exact_mut(each).enumerate() {
                let place = place(target, source);
                let firsts = &windows.first[place * synapses.kernel_count..];
                let taps = &windows.taps.values()[place * each..];
                for (n, (shift, &tap)) in shifts.iter_mut().zip(taps).enumerate() {
                    let j = firsts[n / windows.stride] + n % windows.stride;
                    let at = (source % cut.sources * cut.rows + row(j)) * vector;
                    *shift = (at as u32, tap);
                }
            }
        });
        Self { shifts, sources, each }
    }

    fn of(&self, target: usize, sources: Range<usize>) -> &[(u32, R)] {
        let first = target * self.sources;
        &self.shifts[(first + sources.start) * self.each..(first + sources.end) * self.each]
    }
}

/// `[neuron][row][lane]` of the samples from `b` on; row 0 is step `start - lead`, and there are zeros outside of the
/// sequence.
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

/// Some steps of some targets.
pub struct Sum<'a, R> {
    scratch: &'a Scratch<R>,
    cut: Cut,
    shifts: &'a Shifts<R>,
    from: &'a Sequence<R>,
    lead: usize,
    target: usize,
    start: usize,
    /// `[target][time][batch]`.
    to: ArrayViewMut3<'a, R>,
}

impl<R: Lanes> WithSimd for Sum<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { scratch, cut, shifts, from, lead, target, start, mut to } = self;
        let vector = R::lanes::<S>();
        let (targets, steps, batch) = to.dim();
        let mut room = scratch.block((1, vector, cut.sources * cut.rows + targets * cut.steps));
        let (packed, sums) = room.values_mut().split_at_mut(cut.sources * cut.rows * vector);
        for b in (0..batch).step_by(vector) {
            sums.fill(R::zero());
            for first in (0..shifts.sources).step_by(cut.sources) {
                let sources = first..shifts.sources.min(first + cut.sources);
                pack(s, from, sources.clone(), start, lead, cut.rows, b, packed);
                for (n, sums) in sums.chunks_exact_mut(cut.steps * vector).enumerate() {
                    let shifts = shifts.of(target + n, sources.clone());
                    let sums = sums.chunks_exact_mut(TILE * vector).take(cut.tiles(steps));
                    for (tile, sums) in sums.enumerate() {
                        add_up(s, &packed[tile * TILE * vector..], shifts, sums);
                    }
                }
            }
            let present = vector.min(batch - b);
            let rows = to.axis_iter_mut(Axis(0)).zip(sums.chunks_exact(cut.steps * vector));
            for (mut to, sums) in rows {
                let to = to.as_slice_mut().expect("contiguous");
                for (to, sum) in to.chunks_exact_mut(batch).zip(sums.chunks_exact(vector)) {
                    Vector::load(s, sum).store(&mut to[b..b + present]);
                }
            }
        }
    }
}

/// Adds all taps to the sums of a tile.
#[inline(always)]
fn add_up<R: Lanes, S: Simd>(s: S, packed: &[R], shifts: &[(u32, R)], to: &mut [R]) {
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

/// The gradient by the taps from some inputs to some outputs.
pub struct Correlate<'a, R> {
    scratch: &'a Scratch<R>,
    cut: Cut,
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
        let Self { scratch, cut, shifts, x, lead, d_y, target, source, mut to } = self;
        let (vector, (targets, sources, each)) = (R::lanes::<S>(), to.dim());
        let (outputs, inputs) = (target..target + targets, source..source + sources);
        let rows = sources * cut.rows + targets * cut.steps + targets * sources * each;
        let mut room = scratch.block((1, vector, rows));
        let (packed, rest) = room.values_mut().split_at_mut(sources * cut.rows * vector);
        let (upstream, sums) = rest.split_at_mut(targets * cut.steps * vector);
        sums.fill(R::zero());
        let shape = d_y.shape();
        for start in (0..shape.steps).step_by(cut.steps) {
            let tiles = cut.tiles(shape.steps - start);
            for b in (0..shape.batch).step_by(vector) {
                pack(s, x, inputs.clone(), start, lead, cut.rows, b, packed);
                pack(s, d_y, outputs.clone(), start, 0, cut.steps, b, upstream);
                let upstream = upstream.chunks_exact(cut.steps * vector);
                let sums = sums.chunks_exact_mut(sources * each * vector);
                for ((n, sums), upstream) in outputs.clone().zip(sums).zip(upstream) {
                    let shifts = shifts.of(n, inputs.clone());
                    let upstream = upstream.chunks_exact(TILE * vector).take(tiles);
                    for (tile, d_y) in upstream.enumerate() {
                        multiply(s, &packed[tile * TILE * vector..], shifts, d_y, sums);
                    }
                }
            }
        }
        for (to, sum) in to.iter_mut().zip(sums.chunks_exact(vector)) {
            *to = sum.iter().copied().sum();
        }
    }
}

/// Adds what a tile of the gradient by an output gives every tap.
#[inline(always)]
fn multiply<R: Lanes, S: Simd>(s: S, packed: &[R], shifts: &[(u32, R)], d_y: &[R], sums: &mut [R]) {
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
