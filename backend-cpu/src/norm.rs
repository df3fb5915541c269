use crate::sequence::Sequence;
use polychron_core::backend::{NormMode, View};
use polychron_core::norm::{BatchNorm, ValidSteps};
use polychron_core::num::Real;
use polychron_core::shape::{Shape, ShapeError, expect};

/// The number of valid steps of every sample. Stored as `R`, so that a comparison with the time
/// step uses whole vectors.
pub(crate) struct StepCounts<R> {
    pub(crate) counts: Vec<R>,
    /// The number of valid (time, sample) pairs, at least 1.
    total: R,
}

impl<R: Real> StepCounts<R> {
    pub(crate) fn new(valid: ValidSteps<'_>, shape: Shape) -> Self {
        Self {
            counts: (0..shape.batch).map(|b| R::count(valid.steps(b, shape.steps))).collect(),
            total: R::count(valid.count(shape.steps, shape.batch).max(1)),
        }
    }
}

/// The normalisation of one neuron: `z = gamma (y - mean) scale + beta`.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct NeuronNorm<R> {
    pub(crate) mean: R,
    /// 1 / deviation.
    pub(crate) scale: R,
    /// The biased variance of the batch; unspecified for saved statistics.
    pub(crate) var: R,
    gamma: R,
    beta: R,
}

impl<R: Real> NeuronNorm<R> {
    #[inline(always)]
    pub(crate) fn apply(&self, y: R) -> R {
        self.gamma * self.deviation(y) + self.beta
    }

    #[inline(always)]
    pub(crate) fn deviation(&self, y: R) -> R {
        (y - self.mean) * self.scale
    }

    /// Turns the gradient by z into the gradient by y, in place. Returns the gradients by gamma and
    /// beta.
    #[inline(always)]
    pub(crate) fn backward(&self, step_counts: &StepCounts<R>, y: &[R], d: &mut [R]) -> (R, R) {
        let batch = step_counts.counts.len();
        let steps = &step_counts.counts[..batch];
        let mut sums = vec![R::zero(); 2 * batch];
        let (d_gamma, d_beta) = sums.split_at_mut(batch);
        let d_beta = &mut d_beta[..batch];
        for (t, (y, d)) in rows(y, batch).zip(rows(d, batch)).enumerate() {
            let t = R::count(t);
            let (y, d) = (&y[..batch], &d[..batch]);
            for b in 0..batch {
                let d = if t < steps[b] { d[b] } else { R::zero() };
                d_gamma[b] += d * self.deviation(y[b]);
                d_beta[b] += d;
            }
        }
        let sums = (d_gamma.iter().copied().sum(), d_beta.iter().copied().sum());
        self.backward_from(sums, step_counts, y, d);
        sums
    }

    /// As [`backward`](Self::backward), for known gradients by gamma and beta.
    #[inline(always)]
    pub(crate) fn backward_from(
        &self,
        (d_gamma, d_beta): (R, R),
        step_counts: &StepCounts<R>,
        y: &[R],
        d: &mut [R],
    ) {
        let batch = step_counts.counts.len();
        let steps = &step_counts.counts[..batch];
        let (by_gamma, by_beta) = (d_gamma / step_counts.total, d_beta / step_counts.total);
        let factor = self.gamma * self.scale;
        for (t, (y, d)) in rows(y, batch).zip(rows_mut(d, batch)).enumerate() {
            let t = R::count(t);
            let (y, d) = (&y[..batch], &mut d[..batch]);
            for b in 0..batch {
                let d_y = factor * (d[b] - by_beta - self.deviation(y[b]) * by_gamma);
                d[b] = if t < steps[b] { d_y } else { R::zero() };
            }
        }
    }
}

/// The source of the normalisation. `params` is `[gamma | beta]`, `saved` is
/// `[mean | 1 / deviation]`.
#[derive(Clone, Copy)]
pub(crate) enum Norm<'a, R> {
    /// No normalisation.
    Identity,
    /// The statistics of the block itself.
    Batch { norm: &'a BatchNorm<R>, params: &'a [R] },
    /// Saved statistics.
    Saved { params: &'a [R], saved: &'a [R] },
}

impl<R: Real> Norm<'_, R> {
    /// The normalisation of neuron `n` of `y`.
    #[inline(always)]
    pub(crate) fn of(
        &self,
        n: usize,
        step_counts: &StepCounts<R>,
        y: &Sequence<R>,
    ) -> NeuronNorm<R> {
        let width = y.shape().width;
        let (zero, one) = (R::zero(), R::one());
        match *self {
            Self::Identity => {
                NeuronNorm { mean: zero, scale: one, var: one, gamma: one, beta: zero }
            }
            Self::Batch { norm, params } => {
                let (mean, var) = statistics(step_counts, &y.block(n));
                let scale = norm.inverse_deviation(var);
                NeuronNorm { mean, scale, var, gamma: params[n], beta: params[width + n] }
            }
            Self::Saved { params, saved } => {
                let (mean, scale) = (saved[n], saved[width + n]);
                NeuronNorm { mean, scale, var: zero, gamma: params[n], beta: params[width + n] }
            }
        }
    }
}

/// The checked `[gamma | beta]` of a layer.
pub(crate) fn norm_params<'a, R>(
    params: &View<'a, Vec<R>>,
    width: usize,
) -> Result<&'a [R], ShapeError> {
    let params = params.slice()?;
    expect("norm's parameters", 2 * width, params.len())?;
    Ok(params)
}

/// Returns the running statistics to update in batch mode; otherwise writes
/// `[mean | 1 / deviation]` of them to `saved`.
pub(crate) fn begin_norm<'a, R: Real>(
    norm: &BatchNorm<R>,
    mode: NormMode<'a, Vec<R>>,
    width: usize,
    saved: &mut [R],
) -> Result<Option<&'a mut [R]>, ShapeError> {
    expect("norm's statistics", 2 * width, saved.len())?;
    match mode {
        NormMode::Batch { running } => {
            let running = running.slice()?;
            expect("norm's running statistics", 2 * width, running.len())?;
            Ok(Some(running))
        }
        NormMode::Running(running) => {
            let running = running.slice()?;
            expect("norm's running statistics", 2 * width, running.len())?;
            saved[..width].copy_from_slice(&running[..width]);
            for (scale, &var) in saved[width..].iter_mut().zip(&running[width..]) {
                *scale = norm.inverse_deviation(var);
            }
            Ok(None)
        }
    }
}

/// Writes the statistics of a batch of `n` values to `saved` and updates the running statistics.
pub(crate) fn finish_norm<R: Real>(
    norm: &BatchNorm<R>,
    norms: &[NeuronNorm<R>],
    n: usize,
    running: &mut [R],
    saved: &mut [R],
) {
    let width = norms.len();
    let (means, vars) = running.split_at_mut(width);
    for (o, neuron_norm) in norms.iter().enumerate() {
        (saved[o], saved[width + o]) = (neuron_norm.mean, neuron_norm.scale);
        norm.track(&mut means[o], &mut vars[o], neuron_norm.mean, neuron_norm.var, n);
    }
}

/// Writes the gradients by gamma and beta of every neuron as `[gamma | beta]`.
pub(crate) fn write_norm_gradient<R: Real>(gradients: impl Iterator<Item = (R, R)>, to: &mut [R]) {
    let (gamma, beta) = to.split_at_mut(to.len() / 2);
    for (gradient, (gamma, beta)) in gradients.zip(gamma.iter_mut().zip(beta)) {
        (*gamma, *beta) = gradient;
    }
}

/// The mean and the biased variance of the valid values of `[time][batch]`.
#[inline(always)]
fn statistics<R: Real>(step_counts: &StepCounts<R>, y: &[R]) -> (R, R) {
    let mean = mean_of(step_counts, y, |y| y);
    (mean, mean_of(step_counts, y, |y| (y - mean) * (y - mean)))
}

#[inline(always)]
fn mean_of<R: Real>(step_counts: &StepCounts<R>, y: &[R], f: impl Fn(R) -> R) -> R {
    let batch = step_counts.counts.len();
    let mut lanes = vec![R::zero(); batch];
    for (t, y) in rows(y, batch).enumerate() {
        let t = R::count(t);
        for ((lane, &y), &steps) in lanes.iter_mut().zip(y).zip(&step_counts.counts) {
            *lane += if t < steps { f(y) } else { R::zero() };
        }
    }
    lanes.into_iter().sum::<R>() / step_counts.total
}

/// The rows of `[time][batch]`, one per step.
pub(crate) fn rows<R>(block: &[R], batch: usize) -> core::slice::ChunksExact<'_, R> {
    block.chunks_exact(batch.max(1))
}

pub(crate) fn rows_mut<R>(block: &mut [R], batch: usize) -> core::slice::ChunksExactMut<'_, R> {
    block.chunks_exact_mut(batch.max(1))
}
