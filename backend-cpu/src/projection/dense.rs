//! A delayed projection as one matrix product per tap. Its columns are shifted by the tap's delay.

use crate::lanes::Lanes;
use crate::raw::gemm;
use crate::scratch::Block;
use crate::sequence::Sequence;
use ndarray::{ArrayView2, ArrayViewMut2, Axis, s};
use polychron_core::shape::Synapses;
use rayon::prelude::*;

/// Steps per task.
const STEPS: usize = 8;
/// Output neurons per task.
const ROWS: usize = 32;

/// `y[t] = sum over j of taps_j x[t - j]`.
pub(super) fn forward<R: Lanes>(
    synapses: &Synapses,
    taps: &Block<R>,
    x: &Sequence<R>,
    y: &mut Sequence<R>,
) {
    let (from, to) = (x.shape(), y.shape());
    let batch = from.batch;
    let (taps, x) = (taps.view(), flat(x));
    let mut y = flat_mut(y);
    y.axis_chunks_iter_mut(Axis(1), STEPS * batch).into_par_iter().enumerate().for_each(
        |(n, mut y)| {
            let (start, end) = (n * STEPS, ((n + 1) * STEPS).min(to.steps));
            y.fill(R::zero());
            for j in 0..synapses.taps {
                let (first, last) = (start.max(j), end.min(from.steps + j));
                if first < last {
                    let part = y.slice_mut(s![.., (first - start) * batch..(last - start) * batch]);
                    let shifted = x.slice(s![.., (first - j) * batch..(last - j) * batch]);
                    gemm(part, R::one(), R::one(), taps.index_axis(Axis(2), j), shifted);
                }
            }
        },
    );
}

/// The gradient with respect to the input: the transpose of [`forward`].
pub(super) fn by_input<R: Lanes>(
    synapses: &Synapses,
    taps: &Block<R>,
    d_y: &Sequence<R>,
    d_x: &mut Sequence<R>,
) {
    let (from, to) = (d_x.shape(), d_y.shape());
    let batch = from.batch;
    let (taps, d_y) = (taps.view(), flat(d_y));
    let mut d_x = flat_mut(d_x);
    d_x.axis_chunks_iter_mut(Axis(1), STEPS * batch).into_par_iter().enumerate().for_each(
        |(n, mut d_x)| {
            let (start, end) = (n * STEPS, ((n + 1) * STEPS).min(from.steps));
            d_x.fill(R::zero());
            for j in 0..synapses.taps {
                let last = end.min(to.steps.saturating_sub(j));
                if start < last {
                    let part = d_x.slice_mut(s![.., ..(last - start) * batch]);
                    let shifted = d_y.slice(s![.., (start + j) * batch..(last + j) * batch]);
                    gemm(
                        part,
                        R::one(),
                        R::one(),
                        taps.index_axis(Axis(2), j).reversed_axes(),
                        shifted,
                    );
                }
            }
        },
    );
}

/// The gradient with respect to the taps.
pub(super) fn by_taps<R: Lanes>(x: &Sequence<R>, d_y: &Sequence<R>, d_taps: &mut Block<R>) {
    let (from, to) = (x.shape(), d_y.shape());
    let batch = from.batch;
    let (x, d_y) = (flat(x), flat(d_y));
    d_taps.view_mut().axis_chunks_iter_mut(Axis(0), ROWS).into_par_iter().enumerate().for_each(
        |(n, mut d_taps)| {
            let outputs = d_taps.len_of(Axis(0));
            let d_y = d_y.slice(s![n * ROWS..n * ROWS + outputs, ..]);
            for (j, d_tap) in d_taps.axis_iter_mut(Axis(2)).enumerate() {
                let steps = from.steps.min(to.steps.saturating_sub(j));
                let start = j.min(to.steps);
                let upstream = d_y.slice(s![.., start * batch..(start + steps) * batch]);
                let x = x.slice(s![.., ..steps * batch]);
                gemm(d_tap, R::zero(), R::one(), upstream, x.reversed_axes());
            }
        },
    );
}

/// The view `[neuron][time and batch]`.
fn flat<R: Lanes>(x: &Sequence<R>) -> ArrayView2<'_, R> {
    let shape = (x.shape().width, x.shape().steps * x.shape().batch);
    x.view().into_shape_with_order(shape).expect("contiguous")
}

fn flat_mut<R: Lanes>(x: &mut Sequence<R>) -> ArrayViewMut2<'_, R> {
    let shape = (x.shape().width, x.shape().steps * x.shape().batch);
    x.view_mut().into_shape_with_order(shape).expect("contiguous")
}
