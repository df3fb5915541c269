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
    d_x: Option<&mut [R]>,
) -> Result<R, ShapeError> {
    let (batch, classes) = (shape.batch, shape.width);
    expect("readout's input", shape.len(), x.len())?;
    expect("readout's scores", batch * classes, scores.len())?;
    if let Some(targets) = targets {
        expect("readout's targets", batch * classes, targets.len())?;
    }
    if let Some(d_x) = &d_x {
        expect("readout's gradient", shape.len(), d_x.len())?;
    }
    let start = Integration::new(readout, loss, batch, classes);
    let mut end = start.clone();
    end.advance(valid, (x, shape))?;
    scores.copy_from_slice(&end.scores());
    let Some(targets) = targets.filter(|_| classes > 0) else { return Ok(R::zero()) };
    let mut d_scores = vec![R::zero(); scores.len()];
    let rows = scores.chunks_exact(classes).zip(targets.chunks_exact(classes));
    let losses = rows.zip(d_scores.chunks_exact_mut(classes));
    let total: R = losses.map(|((s, y), d)| cross_entropy(s, y, d)).sum();
    if let Some(d_x) = d_x {
        let scale = R::one() / R::count(batch);
        d_scores.iter_mut().for_each(|d| *d *= scale);
        start.backward(&end, valid, (x, shape), &d_scores, d_x)?;
    }
    Ok(total / R::count(batch.max(1)))
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
    let start = Integration::new(readout, loss, shape.batch, shape.width);
    let mut end = start.clone();
    end.advance(valid, (x, shape))?;
    start.backward(&end, valid, (x, shape), d_scores, d_x)
}

/// The readout of a sequence that is integrated part by part.
#[derive(Clone, Debug)]
pub struct Integration<R> {
    readout: Li<R>,
    loss: Loss,
    classes: usize,
    /// The membranes `[B, C]` after the last valid step.
    membrane: Vec<R>,
    /// The sums or maxima `[B, C]` over the valid steps.
    totals: Vec<R>,
    /// The steps `[B, C]` of the maxima.
    best: Vec<usize>,
    /// The number of valid steps of every sample.
    steps: Vec<usize>,
}

impl<R: Real> Integration<R> {
    /// The readout before the first step.
    #[must_use]
    pub fn new(readout: &Li<R>, loss: Loss, batch: usize, classes: usize) -> Self {
        let [rest] = readout.rest();
        let start = if loss == Loss::Max { R::neg_infinity() } else { R::zero() };
        Self {
            readout: *readout,
            loss,
            classes,
            membrane: vec![rest; batch * classes],
            totals: vec![start; batch * classes],
            best: vec![0; batch * classes],
            steps: vec![0; batch],
        }
    }

    /// Integrates the next part `x` `[T, B, C]`, whose valid steps are given.
    ///
    /// # Errors
    /// [`ShapeError`] if the size of the block does not match.
    pub fn advance(
        &mut self,
        valid: ValidSteps<'_>,
        (x, shape): (&[R], Shape),
    ) -> Result<(), ShapeError> {
        self.check(x, shape)?;
        if self.classes == 0 {
            return Ok(());
        }
        for b in 0..shape.batch {
            let v = self.rows(b, valid, x, shape);
            let at = b * self.classes..(b + 1) * self.classes;
            let rows = self.scored(&v);
            let (totals, best) = (&mut self.totals[at.clone()], &mut self.best[at.clone()]);
            for row in rows.chunks_exact(self.classes) {
                for ((total, best), &v) in totals.iter_mut().zip(&mut *best).zip(row) {
                    if self.loss != Loss::Max {
                        *total += v;
                    } else if v > *total {
                        (*total, *best) = (v, self.steps[b]);
                    }
                }
                self.steps[b] += 1;
            }
            if let Some(last) = v.chunks_exact(self.classes).last() {
                self.membrane[at].copy_from_slice(last);
            }
        }
        Ok(())
    }

    /// The scores `[B, C]` of the steps so far.
    #[must_use]
    pub fn scores(&self) -> Vec<R> {
        let samples = self.totals.chunks_exact(self.classes.max(1)).zip(&self.steps);
        let score = |(totals, &steps): (&[R], &usize)| {
            let steps = match self.loss {
                Loss::Max if steps == 0 => return vec![R::zero(); totals.len()],
                Loss::Mean => R::count(steps.max(1)),
                _ => R::one(),
            };
            totals.iter().map(|&total| total / steps).collect()
        };
        samples.flat_map(score).collect()
    }

    /// The gradient `d_x` by the input of the part that [`advance`](Self::advance) integrates next,
    /// for a gradient `d_scores` `[B, C]` by the scores of the whole sequence, whose integration is
    /// `whole`. What reaches the scores through the membrane after the part is left out.
    ///
    /// # Errors
    /// [`ShapeError`] if the size of a block does not match.
    pub fn backward(
        &self,
        whole: &Self,
        valid: ValidSteps<'_>,
        (x, shape): (&[R], Shape),
        d_scores: &[R],
        d_x: &mut [R],
    ) -> Result<(), ShapeError> {
        self.check(x, shape)?;
        expect("readout's samples", self.steps.len(), whole.steps.len())?;
        expect("readout's classes", self.classes, whole.classes)?;
        expect("readout's scores", self.totals.len(), d_scores.len())?;
        expect("readout's gradient", shape.len(), d_x.len())?;
        let classes = self.classes;
        for (b, d_score) in d_scores.chunks_exact(classes.max(1)).enumerate() {
            let v = self.rows(b, valid, x, shape);
            let mut d_v = vec![R::zero(); v.len()];
            let rows = self.scored(&v);
            let rows = rows.chunks_exact(classes).zip(d_v.chunks_exact_mut(classes));
            for (step, (row, d_row)) in (self.steps[b]..).zip(rows) {
                whole.score_adjoint(b, step, row, d_score, d_row);
            }
            self.input_adjoint(b, &d_v, shape, d_x);
        }
        Ok(())
    }

    fn check(&self, x: &[R], shape: Shape) -> Result<(), ShapeError> {
        expect("readout's classes", self.classes, shape.width)?;
        expect("readout's samples", self.steps.len(), shape.batch)?;
        expect("readout's input", shape.len(), x.len())
    }

    /// The membranes `[valid steps, C]` of a sample in the next part.
    fn rows(&self, b: usize, valid: ValidSteps<'_>, x: &[R], shape: Shape) -> Vec<R> {
        let steps = valid.steps(b, shape.steps);
        let mut rows = Vec::with_capacity(steps * self.classes);
        let mut v = self.membrane[b * self.classes..(b + 1) * self.classes].to_vec();
        for t in 0..steps {
            for (c, v) in v.iter_mut().enumerate() {
                [*v] = self.readout.charge([*v], x[shape.at(t, b, c)]);
            }
            rows.extend_from_slice(&v);
        }
        rows
    }

    /// What is added to the scores for membranes `[steps, C]`: for [`Loss::SoftmaxSum`] the softmax
    /// of their rows.
    fn scored(&self, v: &[R]) -> Vec<R> {
        let mut rows = v.to_vec();
        if self.loss == Loss::SoftmaxSum {
            rows.chunks_exact_mut(self.classes).for_each(softmax);
        }
        rows
    }

    /// The gradient by the membrane of sample `b` in a step with the row `q` of
    /// [`scored`](Self::scored).
    fn score_adjoint(&self, b: usize, step: usize, q: &[R], d_score: &[R], d_v: &mut [R]) {
        let mean: R = q.iter().zip(d_score).map(|(&q, &d)| q * d).sum();
        for (c, (d_v, &d)) in d_v.iter_mut().zip(d_score).enumerate() {
            *d_v = match self.loss {
                Loss::SoftmaxSum => q[c] * (d - mean),
                Loss::Mean => d * (R::one() / R::count(self.steps[b].max(1))),
                Loss::MembraneSum => d,
                Loss::Max if self.best[b * self.classes + c] == step => d,
                Loss::Max => R::zero(),
            };
        }
    }

    /// Writes the gradient by the input of sample `b` for the gradient `d_v` `[steps, C]` by its
    /// membrane.
    fn input_adjoint(&self, b: usize, d_v: &[R], shape: Shape, d_x: &mut [R]) {
        let classes = self.classes;
        let mut d_state = vec![R::zero(); classes];
        for t in (0..shape.steps).rev() {
            for c in 0..classes {
                let d_h = d_state[c] + d_v.get(t * classes + c).copied().unwrap_or(R::zero());
                let charge = self.readout.charge_adjoint([R::zero()], R::zero(), [d_h]);
                d_x[shape.at(t, b, c)] = charge.input;
                d_state[c] = charge.state[0];
            }
        }
    }
}
