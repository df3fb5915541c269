//! Defaults of operations on the host.

use super::{Backend, View, ViewMut};
use crate::num::Real;
use crate::shape::{Shape, expect};
use alloc::vec;
use num_traits::Zero;

/// [`Backend::join`]
pub(super) fn join<B: Backend>(
    backend: &B,
    first: &B::Sequence,
    second: &B::Sequence,
    joined: &mut B::Sequence,
) -> Result<(), B::Error> {
    let [before, after] = [first, second].map(|part| backend.shape(part));
    let steps = before.steps.saturating_add(after.steps);
    Shape { steps, ..before }.expect("joined sequence", backend.shape(joined))?;
    Shape { steps, ..after }.expect("joined sequence", backend.shape(joined))?;
    let mut host = vec![B::Real::zero(); backend.shape(joined).len()];
    let (to_first, to_second) = host.split_at_mut(before.len());
    backend.download_sequence(first, to_first)?;
    backend.download_sequence(second, to_second)?;
    backend.upload_sequence(&host, joined)
}

/// [`Backend::copy_last`]
pub(super) fn copy_last<B: Backend>(
    backend: &B,
    x: &B::Sequence,
    last: &mut B::Sequence,
) -> Result<(), B::Error> {
    let (all, some) = (backend.shape(x), backend.shape(last));
    Shape { steps: all.steps.min(some.steps), ..all }.expect("last steps", some)?;
    let mut host = vec![B::Real::zero(); all.len()];
    backend.download_sequence(x, &mut host)?;
    backend.upload_sequence(&host[all.len() - some.len()..], last)
}

/// [`Backend::add_bias`]
pub(super) fn add_bias<B: Backend>(
    backend: &B,
    bias: View<'_, B::Buffer>,
    len: usize,
    y: &mut B::Sequence,
) -> Result<(), B::Error> {
    let shape = backend.shape(y);
    let [mut all, mut values] = [len, shape.len()].map(|len| vec![B::Real::zero(); len]);
    backend.download(bias.buffer, &mut all)?;
    let bias = View::new(&all, bias.range).slice()?;
    expect("biases", shape.width, bias.len())?;
    backend.download_sequence(y, &mut values)?;
    for row in values.chunks_exact_mut(shape.width.max(1)) {
        row.iter_mut().zip(bias).for_each(|(y, &bias)| *y += bias);
    }
    backend.upload_sequence(&values, y)
}

/// [`Backend::bias_backward`]
pub(super) fn bias_backward<B: Backend>(
    backend: &B,
    d_y: &B::Sequence,
    d_bias: ViewMut<'_, B::Buffer>,
    len: usize,
) -> Result<(), B::Error> {
    let shape = backend.shape(d_y);
    let [mut all, mut values] = [len, shape.len()].map(|len| vec![B::Real::zero(); len]);
    backend.download(d_bias.buffer, &mut all)?;
    let into = ViewMut::new(&mut all, d_bias.range).slice()?;
    expect("biases' gradient", shape.width, into.len())?;
    backend.download_sequence(d_y, &mut values)?;
    let mut sums = vec![0.0; shape.width];
    for row in values.chunks_exact(shape.width.max(1)) {
        sums.iter_mut().zip(row).for_each(|(sum, d)| *sum += d.as_f64());
    }
    into.iter_mut().zip(sums).for_each(|(into, sum)| *into = B::Real::of(sum));
    backend.upload(&all, d_bias.buffer)
}
