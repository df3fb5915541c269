//! A delayed projection spike by spike. Vector lanes are consecutive taps of a window.
//!
//! The batch is processed in groups of samples `[sample][time]` that fit the first-level cache.

use super::windows::Windows;
use crate::lanes::{Lanes, Vector};
use crate::scratch::{Block, Scratch};
use crate::sequence::Sequence;
use core::ops::Range;
use ndarray::Axis;
use polychron_core::num::Real;
use polychron_core::shape::{Shape, Synapses};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Bytes of a group of samples: most of the first-level cache.
const GROUP_BYTES: usize = 24 << 10;
/// Independent sums, because each addition waits for the one before it.
const CHAINS: usize = 4;

/// The fraction of a sequence that is not zero.
pub(super) fn density<R: Real>(x: &Sequence<R>) -> f64 {
    let count = |part: &[R]| part.iter().map(|&x| u32::from(x != R::zero())).sum::<u32>();
    let spikes = |n| x.block(n).chunks(1 << 24).map(|part| u64::from(count(part))).sum::<u64>();
    let spikes = (0..x.shape().width).into_par_iter().map(spikes).sum::<u64>();
    spikes as f64 / x.shape().len().max(1) as f64
}

/// The division of a batch into groups of samples.
#[derive(Clone, Copy)]
struct Batches {
    /// Samples per group.
    group: usize,
    /// Steps from one sample to the next.
    row: usize,
    batch: usize,
}

impl Batches {
    /// Groups of `row` steps per sample. A group has at most [`GROUP_BYTES`], or one sample.
    fn new<R: Real>(batch: usize, row: usize) -> Self {
        let groups = batch.div_ceil((GROUP_BYTES / (row * R::BYTES)).max(1));
        let group = batch.div_ceil(groups);
        debug_assert!(u32::try_from(group * row).is_ok(), "guaranteed by `cost::offsets_fit`");
        Self { group, row, batch }
    }

    /// The samples of every group.
    fn groups(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let Self { group, batch, .. } = *self;
        (0..batch).step_by(group).map(move |b| b..batch.min(b + group))
    }
}

/// The spikes of every input and the windows of taps that they pass through.
pub(super) struct Events<'a, R> {
    windows: &'a Windows<R>,
    count: usize,
    batches: Batches,
    inputs: Vec<Input<R>>,
}

/// The spikes of one input, group by group.
struct Input<R> {
    /// Offset in the group and value.
    spikes: Vec<(u32, R)>,
    /// The end of every group in `spikes`.
    ends: Vec<usize>,
}

impl<R: Real> Input<R> {
    fn new(x: &[R], batches: &Batches) -> Self {
        let (mut spikes, mut ends) = (Vec::new(), Vec::new());
        let mut buffer = Vec::new();
        for group in batches.groups() {
            buffer.resize(group.len() * x.len() / batches.batch + 1, (0, R::zero()));
            let mut found = 0;
            for (t, row) in x.chunks_exact(batches.batch).enumerate() {
                for (b, &x) in row[group.clone()].iter().enumerate() {
                    // Every step writes, and zeros are overwritten: no branch.
                    buffer[found] = ((b * batches.row + t) as u32, x);
                    found += usize::from(x != R::zero());
                }
            }
            spikes.extend_from_slice(&buffer[..found]);
            ends.push(spikes.len());
        }
        Self { spikes, ends }
    }

    fn group(&self, group: usize) -> &[(u32, R)] {
        let start = if group == 0 { 0 } else { self.ends[group - 1] };
        &self.spikes[start..self.ends[group]]
    }
}

impl<'a, R: Lanes> Events<'a, R> {
    pub(super) fn new(synapses: &Synapses, windows: &'a Windows<R>, x: &Sequence<R>) -> Self {
        let Shape { steps, batch, width } = x.shape();
        let row = (steps + synapses.padding).max(steps + synapses.taps + windows.stride);
        let batches = Batches::new::<R>(batch, row);
        let inputs =
            (0..width).into_par_iter().map(|n| Input::new(&x.block(n), &batches)).collect();
        Self { windows, count: synapses.kernel_count, batches, inputs }
    }

    pub(super) fn forward(&self, scratch: &Scratch<R>, y: &mut Sequence<R>) {
        let Batches { group, row, batch } = self.batches;
        y.blocks_mut().enumerate().for_each(|(output, y)| {
            let mut buffer = scratch.block((1, group, row));
            let sums = buffer.values_mut();
            for (n, samples) in self.batches.groups().enumerate() {
                sums.fill(R::zero());
                let sums = &mut *sums;
                R::scatter(Scatter { events: self, output, group: n, sums });
                for (t, y) in y.chunks_exact_mut(batch).enumerate() {
                    for (y, sums) in y[samples.clone()].iter_mut().zip(sums.chunks_exact(row)) {
                        *y = sums[t];
                    }
                }
            }
        });
    }

    /// The gradient with respect to the taps of the windows.
    pub(super) fn by_taps(&self, scratch: &Scratch<R>, d_y: &Sequence<R>, d_taps: &mut Block<R>) {
        let Batches { group, row, batch } = self.batches;
        let each = d_taps.view().len_of(Axis(1)) * d_taps.view().len_of(Axis(2));
        d_taps.values_mut().par_chunks_mut(each).enumerate().for_each(|(output, d_taps)| {
            d_taps.fill(R::zero());
            let mut buffer = scratch.block((1, group, row));
            let upstream = buffer.values_mut();
            for (n, samples) in self.batches.groups().enumerate() {
                upstream.fill(R::zero());
                for (t, d_y) in d_y.block(output).chunks_exact(batch).enumerate() {
                    let rows = upstream.chunks_exact_mut(row);
                    for (upstream, &d_y) in rows.zip(&d_y[samples.clone()]) {
                        upstream[t] = d_y;
                    }
                }
                let (upstream, d_taps) = (&*upstream, &mut *d_taps);
                R::gather(Gather { events: self, output, group: n, upstream, d_taps });
            }
        });
    }

    /// The spikes and the first tap of every kernel element of an output.
    fn elements(
        &self,
        output: usize,
        group: usize,
    ) -> impl Iterator<Item = (&[(u32, R)], usize)> + '_ {
        let row = self.inputs.len() * self.count;
        let first = &self.windows.first[output * row..(output + 1) * row];
        let spikes = move |n: usize| self.inputs[n / self.count].group(group);
        first.iter().enumerate().map(move |(n, &first)| (spikes(n), first))
    }
}

/// Adds the windows of all spikes of a group to the sums of one output.
pub struct Scatter<'a, R> {
    events: &'a Events<'a, R>,
    output: usize,
    group: usize,
    /// `[sample][time]`.
    sums: &'a mut [R],
}

impl<R: Lanes> WithSimd for Scatter<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { events, output, group, sums } = self;
        let (stride, pair) = (events.windows.stride, 2 * R::lanes::<S>());
        let taps = events.windows.taps.values().chunks_exact(stride);
        let taps = taps.skip(output * events.inputs.len() * events.count);
        for ((spikes, first), taps) in events.elements(output, group).zip(taps) {
            for (n, taps) in taps.chunks(pair).enumerate() {
                let sums = &mut sums[first + n * pair..];
                if taps.len() == pair {
                    scatter::<R, S, 2>(s, spikes, taps, sums);
                } else {
                    scatter::<R, S, 1>(s, spikes, taps, sums);
                }
            }
        }
    }
}

/// Adds `N` vectors of taps for every spike.
#[inline(always)]
fn scatter<R: Lanes, S: Simd, const N: usize>(
    s: S,
    spikes: &[(u32, R)],
    taps: &[R],
    sums: &mut [R],
) {
    let taps = vectors::<R, S, N>(s, taps);
    for &(at, x) in spikes {
        let sums = &mut sums[at as usize..][..N * R::lanes::<S>()];
        let x = Vector::splat(s, x);
        for n in 0..N {
            let sum = &mut sums[n * R::lanes::<S>()..(n + 1) * R::lanes::<S>()];
            x.mul_add(taps[n], Vector::load(s, sum)).store(sum);
        }
    }
}

/// Adds the gradient with respect to one output to those of its taps, for all spikes of a group.
pub struct Gather<'a, R> {
    events: &'a Events<'a, R>,
    output: usize,
    group: usize,
    /// `[sample][time]`.
    upstream: &'a [R],
    d_taps: &'a mut [R],
}

impl<R: Lanes> WithSimd for Gather<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { events, output, group, upstream, d_taps } = self;
        let (stride, pair) = (events.windows.stride, 2 * R::lanes::<S>());
        let d_taps = d_taps.chunks_exact_mut(stride);
        for ((spikes, first), d_taps) in events.elements(output, group).zip(d_taps) {
            for (n, d_taps) in d_taps.chunks_mut(pair).enumerate() {
                let upstream = &upstream[first + n * pair..];
                if d_taps.len() == pair {
                    gather::<R, S, 2>(s, spikes, upstream, d_taps);
                } else {
                    gather::<R, S, 1>(s, spikes, upstream, d_taps);
                }
            }
        }
    }
}

/// Adds `N` vectors of the upstream gradient for every spike.
#[inline(always)]
fn gather<R: Lanes, S: Simd, const N: usize>(
    s: S,
    spikes: &[(u32, R)],
    upstream: &[R],
    d_taps: &mut [R],
) {
    let mut sums = [[Vector::splat(s, R::zero()); N]; CHAINS];
    let (chunks, rest) = spikes.as_chunks::<CHAINS>();
    for spikes in chunks {
        for (sums, &spike) in sums.iter_mut().zip(spikes) {
            *sums = gather_one(s, *sums, spike, upstream);
        }
    }
    for &spike in rest {
        sums[0] = gather_one(s, sums[0], spike, upstream);
    }
    for (n, to) in d_taps.chunks_exact_mut(R::lanes::<S>()).enumerate() {
        let sum = (sums[0][n] + sums[1][n]) + (sums[2][n] + sums[3][n]);
        (Vector::load(s, to) + sum).store(to);
    }
}

#[inline(always)]
fn gather_one<R: Lanes, S: Simd, const N: usize>(
    s: S,
    mut sums: [Vector<R, S>; N],
    (at, x): (u32, R),
    upstream: &[R],
) -> [Vector<R, S>; N] {
    let upstream = vectors::<R, S, N>(s, &upstream[at as usize..][..N * R::lanes::<S>()]);
    let x = Vector::splat(s, x);
    for n in 0..N {
        sums[n] = x.mul_add(upstream[n], sums[n]);
    }
    sums
}

#[inline(always)]
fn vectors<R: Lanes, S: Simd, const N: usize>(s: S, values: &[R]) -> [Vector<R, S>; N] {
    let mut vectors = [Vector::splat(s, R::zero()); N];
    for (to, values) in vectors.iter_mut().zip(values.chunks_exact(R::lanes::<S>())) {
        *to = Vector::load(s, values);
    }
    vectors
}

#[cfg(test)]
mod tests {
    use super::super::cost::{MAX_STEPS, MAX_TAPS};
    use super::*;

    #[test]
    fn offsets_of_the_longest_sequence_fit() {
        let row = MAX_STEPS + 2 * MAX_TAPS + 16;
        for (batch, row) in [(1, row), (7, row), (1 << 20, 1), (33, 5000)] {
            let Batches { group, row, .. } = Batches::new::<f32>(batch, row);
            assert!(u32::try_from(group * row).is_ok());
        }
    }
}
