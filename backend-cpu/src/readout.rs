use crate::sequence::Sequence;
use polychron_core::loss::Loss;
use polychron_core::neuron::Li;
use polychron_core::norm::ValidSteps;
use polychron_core::num::Real;
use polychron_core::reference;
use polychron_core::shape::{Shape, ShapeError, expect};
use rayon::prelude::*;

/// Integrates and scores every sample with [`reference::readout`]. Returns the mean loss.
pub(crate) fn readout<R: Real>(
    li: &Li<R>,
    loss: Loss,
    valid: ValidSteps<'_>,
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
        x.shape().expect("readout's gradient", d_x.shape())?;
    }
    let dense = x.to_dense();
    let x = dense.as_ref().unwrap_or(x);
    if x.shape().is_empty() {
        scores.fill(R::zero());
    }
    let groups = scores.par_chunks_mut((GROUP * width).max(1)).enumerate().map(|(g, scores)| {
        let group = Group { li, loss, valid, steps, width, first: g * GROUP };
        let targets = targets.map(|targets| &targets[group.first * width..][..scores.len()]);
        group.run(x, targets, scores, d_x.is_some())
    });
    let groups = groups.collect::<Result<Vec<_>, ShapeError>>()?;
    let scale = R::one() / R::count(batch.max(1));
    if let (Some(d_x), true) = (d_x, targets.is_some()) {
        d_x.blocks_mut().enumerate().for_each(|(c, d_x)| {
            for (t, d_x) in d_x.chunks_exact_mut(batch.max(1)).enumerate() {
                for (d_x, (_, d)) in d_x.chunks_mut(GROUP).zip(&groups) {
                    let d = &d[(c * steps + t) * d_x.len()..];
                    d_x.iter_mut().zip(d).for_each(|(d_x, &d)| *d_x = d * scale);
                }
            }
        });
    }
    let losses = groups.iter().flat_map(|(losses, _)| losses.iter().copied());
    Ok(losses.sum::<R>() / R::count(batch.max(1)))
}

/// Samples per group: a cache line of `f32`.
const GROUP: usize = 16;

/// A group of neighbouring samples.
struct Group<'a, R> {
    li: &'a Li<R>,
    loss: Loss,
    valid: ValidSteps<'a>,
    steps: usize,
    width: usize,
    first: usize,
}

impl<R: Real> Group<'_, R> {
    /// The loss of every sample and, with `backward`, the gradient `[class][time][sample]`.
    fn run(
        &self,
        x: &Sequence<R>,
        targets: Option<&[R]>,
        scores: &mut [R],
        backward: bool,
    ) -> Result<(Vec<R>, Vec<R>), ShapeError> {
        let Self { steps, width, .. } = *self;
        let (samples, batch) = (scores.len() / width, x.shape().batch);
        let len = steps * width;
        let mut time_major = vec![R::zero(); samples * len];
        for c in 0..width {
            for (t, row) in x.block(c).chunks_exact(batch).enumerate() {
                for (b, &x) in row[self.first..self.first + samples].iter().enumerate() {
                    time_major[b * len + t * width + c] = x;
                }
            }
        }
        let mut gradient = vec![R::zero(); if backward { samples * len } else { 0 }];
        let mut d = vec![R::zero(); if backward { len } else { 0 }];
        let mut losses = Vec::with_capacity(samples);
        for (b, score) in scores.chunks_exact_mut(width).enumerate() {
            let lengths = [self.valid.steps(self.first + b, steps)];
            let valid = ValidSteps { lengths: Some(&lengths), padding: 0 };
            let targets = targets.map(|targets| &targets[b * width..(b + 1) * width]);
            let x = (&time_major[b * len..(b + 1) * len], Shape::new(steps, 1, width));
            let into = backward.then_some(&mut d[..]);
            losses.push(reference::readout(self.li, self.loss, valid, x, targets, score, into)?);
            for (t, row) in d.chunks_exact(width).enumerate() {
                for (c, &d) in row.iter().enumerate() {
                    gradient[(c * steps + t) * samples + b] = d;
                }
            }
        }
        Ok((losses, gradient))
    }
}
