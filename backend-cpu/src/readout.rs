use crate::sequence::{Sequence, same};
use ndarray::Axis;
use polychron_core::loss::Loss;
use polychron_core::neuron::Li;
use polychron_core::norm::Valid;
use polychron_core::num::Real;
use polychron_core::reference;
use polychron_core::shape::{Shape, ShapeError, expect};
use rayon::prelude::*;

/// Integrates and scores every sample by itself, with the equations of [`reference::readout`].
pub(crate) fn readout<R: Real>(
    li: &Li<R>,
    loss: Loss,
    valid: Valid<'_>,
    x: &Sequence<R>,
    targets: Option<&[R]>,
    scores: &mut [R],
    d_x: Option<&mut Sequence<R>>,
) -> Result<R, ShapeError> {
    let Shape { steps, batch, width } = x.shape();
    expect("readout's scores", batch * width, scores.len())?;
    if let Some(targets) = targets {
        expect("readout's targets", batch * width, targets.len())?;
    }
    if let Some(d_x) = &d_x {
        same("readout's gradient", x.shape(), d_x.shape())?;
    }
    let values = x.view();
    let run = |(b, score): (usize, &mut [R])| {
        let time_major: Vec<R> = values.index_axis(Axis(2), b).t().iter().copied().collect();
        let lengths = [valid.steps(b, steps)];
        let valid = Valid { lengths: Some(&lengths), grown: 0 };
        let targets = targets.map(|targets| &targets[b * width..(b + 1) * width]);
        let mut d = d_x.is_some().then(|| vec![R::zero(); time_major.len()]);
        let x = (time_major.as_slice(), Shape::new(steps, 1, width));
        let loss = reference::readout(li, loss, valid, x, targets, score, d.as_deref_mut())?;
        Ok((loss, d.unwrap_or_default()))
    };
    let samples = scores.par_chunks_mut(width.max(1)).enumerate().map(run);
    let samples = samples.collect::<Result<Vec<_>, ShapeError>>()?;
    let scale = R::one() / R::count(batch.max(1));
    if let (Some(d_x), true) = (d_x, targets.is_some()) {
        d_x.view_mut().axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(
            |(c, mut d_x)| {
                for (mut d_x, (_, d)) in d_x.axis_iter_mut(Axis(1)).zip(&samples) {
                    for (d_x, d) in d_x.iter_mut().zip(d.chunks_exact(width)) {
                        *d_x = d[c] * scale;
                    }
                }
            },
        );
    }
    Ok(samples.iter().map(|&(loss, _)| loss).sum::<R>() / R::count(batch.max(1)))
}
