use crate::loss::{Loss, cross_entropy, softmax};
use crate::neuron::{Li, Neuron};
use crate::norm::ValidSteps;
use crate::num::Real;
use crate::shape::{Shape, ShapeError, expect};
use alloc::vec;
use alloc::vec::Vec;

/// Integrates `x` `[T, B, C]` in the readout and writes `scores` `[B, C]`. With `targets` `[B, C]`
/// it also returns the mean loss and writes its gradient to `d_x`.
///
/// # Errors
/// [`ShapeError`] if the size of a block does not match.
pub fn readout<R: Real>(
    readout: &Li<R>,
    loss: Loss,
    valid: ValidSteps<'_>,
    (x, shape): (&[R], Shape),
    targets: Option<&[R]>,
    scores: &mut [R],
    mut d_x: Option<&mut [R]>,
) -> Result<R, ShapeError> {
    let classes = shape.width;
    expect("readout's input", shape.len(), x.len())?;
    expect("readout's scores", shape.batch * classes, scores.len())?;
    if let Some(targets) = targets {
        expect("readout's targets", shape.batch * classes, targets.len())?;
    }
    if let Some(d_x) = &mut d_x {
        expect("readout's gradient", shape.len(), d_x.len())?;
    }
    if classes == 0 {
        return Ok(R::zero());
    }
    let mut total = R::zero();
    for b in 0..shape.batch {
        let v = scored(readout, loss, x, shape, b, valid);
        let score = &mut scores[b * classes..(b + 1) * classes];
        score_of(loss, &v, score);
        let Some(targets) = targets else { continue };
        let mut d_score = vec![R::zero(); classes];
        total += cross_entropy(score, &targets[b * classes..(b + 1) * classes], &mut d_score);
        if let Some(d_x) = &mut d_x {
            let scale = R::one() / R::count(shape.batch);
            d_score.iter_mut().for_each(|d| *d *= scale);
            input_adjoint(readout, &score_adjoint(loss, &v, &d_score), shape, b, d_x);
        }
    }
    Ok(if targets.is_some() { total / R::count(shape.batch.max(1)) } else { R::zero() })
}

/// The gradient `d_x` `[T, B, C]` by the input of the readout for a gradient `d_scores` `[B, C]` by
/// the scores.
///
/// # Errors
/// [`ShapeError`] if the size of a block does not match.
pub fn readout_backward<R: Real>(
    readout: &Li<R>,
    loss: Loss,
    valid: ValidSteps<'_>,
    (x, shape): (&[R], Shape),
    d_scores: &[R],
    d_x: &mut [R],
) -> Result<(), ShapeError> {
    expect("readout's input", shape.len(), x.len())?;
    expect("readout's scores", shape.batch * shape.width, d_scores.len())?;
    expect("readout's gradient", shape.len(), d_x.len())?;
    for (b, d_score) in d_scores.chunks_exact(shape.width.max(1)).enumerate() {
        let v = scored(readout, loss, x, shape, b, valid);
        input_adjoint(readout, &score_adjoint(loss, &v, d_score), shape, b, d_x);
    }
    Ok(())
}

/// The membrane `[steps, C]` of one sample; for [`Loss::SoftmaxSum`] the softmax of its rows.
fn scored<R: Real>(
    readout: &Li<R>,
    loss: Loss,
    x: &[R],
    shape: Shape,
    b: usize,
    valid: ValidSteps<'_>,
) -> Vec<R> {
    let mut v = membrane(readout, x, shape, b, valid.steps(b, shape.steps));
    if loss == Loss::SoftmaxSum {
        v.chunks_exact_mut(shape.width).for_each(softmax);
    }
    v
}

/// Writes the gradient by the input of sample `b` for the gradient `d_v` `[steps, C]` by its
/// membrane.
fn input_adjoint<R: Real>(readout: &Li<R>, d_v: &[R], shape: Shape, b: usize, d_x: &mut [R]) {
    let classes = shape.width;
    let mut d_state = vec![R::zero(); classes];
    for t in (0..shape.steps).rev() {
        for c in 0..classes {
            let d_h = d_state[c] + d_v.get(t * classes + c).copied().unwrap_or(R::zero());
            let charge = readout.charge_adjoint([R::zero()], R::zero(), [d_h]);
            d_x[shape.at(t, b, c)] = charge.input;
            d_state[c] = charge.state[0];
        }
    }
}

/// The membrane `[steps, C]` of one sample.
fn membrane<R: Real>(readout: &Li<R>, x: &[R], shape: Shape, b: usize, steps: usize) -> Vec<R> {
    let mut v = Vec::with_capacity(steps * shape.width);
    for t in 0..steps {
        for c in 0..shape.width {
            let before = if t == 0 { readout.rest() } else { [v[(t - 1) * shape.width + c]] };
            v.push(readout.charge(before, x[shape.at(t, b, c)])[0]);
        }
    }
    v
}

/// The scores of the membrane `[steps, C]`. For [`Loss::SoftmaxSum`] the rows are already their
/// softmax.
fn score_of<R: Real>(loss: Loss, v: &[R], score: &mut [R]) {
    let classes = score.len();
    let start = if loss == Loss::Max && !v.is_empty() { R::neg_infinity() } else { R::zero() };
    score.fill(start);
    for row in v.chunks_exact(classes) {
        for (s, &v) in score.iter_mut().zip(row) {
            *s = if loss == Loss::Max { s.max(v) } else { *s + v };
        }
    }
    if loss == Loss::Mean {
        let steps = R::count((v.len() / classes).max(1));
        score.iter_mut().for_each(|s| *s /= steps);
    }
}

/// The gradient by the membrane `[steps, C]`, where `v` is the argument of [`score_of`].
fn score_adjoint<R: Real>(loss: Loss, v: &[R], d_score: &[R]) -> Vec<R> {
    let classes = d_score.len();
    let steps = v.len() / classes;
    let mut d_v = vec![R::zero(); v.len()];
    match loss {
        Loss::SoftmaxSum => {
            for (q, d_row) in v.chunks_exact(classes).zip(d_v.chunks_exact_mut(classes)) {
                let mean: R = q.iter().zip(d_score).map(|(&q, &d)| q * d).sum();
                for ((d_v, &q), &d) in d_row.iter_mut().zip(q).zip(d_score) {
                    *d_v = q * (d - mean);
                }
            }
        }
        Loss::Mean | Loss::MembraneSum => {
            let scale =
                if loss == Loss::Mean { R::one() / R::count(steps.max(1)) } else { R::one() };
            for (at, d) in d_v.iter_mut().enumerate() {
                *d = d_score[at % classes] * scale;
            }
        }
        Loss::Max => {
            for c in 0..classes {
                let mut best = 0;
                for t in 1..steps {
                    if v[t * classes + c] > v[best * classes + c] {
                        best = t;
                    }
                }
                if let Some(d) = d_v.get_mut(best * classes + c) {
                    *d = d_score[c];
                }
            }
        }
    }
    d_v
}
