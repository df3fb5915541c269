use crate::norm::{BatchNorm, ValidSteps};
use crate::num::Real;
use crate::shape::{Shape, ShapeError, expect};

/// The mean and the biased variance of every neuron over the valid values of `y` `[T, B, N]`.
///
/// # Errors
/// [`ShapeError`] if the size of a block does not match.
pub fn norm_statistics<R: Real>(
    valid: ValidSteps<'_>,
    y: &[R],
    shape: Shape,
    mean: &mut [R],
    var: &mut [R],
) -> Result<(), ShapeError> {
    expect("norm's input", shape.len(), y.len())?;
    expect("norm's mean", shape.width, mean.len())?;
    expect("norm's variance", shape.width, var.len())?;
    let n = R::count(valid.count(shape.steps, shape.batch).max(1));
    for o in 0..shape.width {
        let mut sum = R::zero();
        for_each_valid(valid, shape, o, |at| sum += y[at]);
        mean[o] = sum / n;
        let mut squares = R::zero();
        for_each_valid(valid, shape, o, |at| squares += (y[at] - mean[o]) * (y[at] - mean[o]));
        var[o] = squares / n;
    }
    Ok(())
}

/// `z = gamma (y - mean) inverse_deviation + beta`, with `params = [gamma | beta]` and
/// `saved = [mean | inverse_deviation]`.
///
/// # Errors
/// [`ShapeError`] if the size of a block does not match.
pub fn norm_apply<R: Real>(
    params: &[R],
    saved: &[R],
    y: &[R],
    shape: Shape,
    z: &mut [R],
) -> Result<(), ShapeError> {
    expect("norm's parameters", 2 * shape.width, params.len())?;
    expect("norm's statistics", 2 * shape.width, saved.len())?;
    expect("norm's input", shape.len(), y.len())?;
    expect("norm's output", shape.len(), z.len())?;
    for (at, z) in z.iter_mut().enumerate() {
        let o = at % shape.width;
        let normal = (y[at] - saved[o]) * saved[shape.width + o];
        *z = params[o] * normal + params[shape.width + o];
    }
    Ok(())
}

/// The backward pass of [`norm_statistics`] and [`norm_apply`]. `d_params` is `[gamma | beta]`.
///
/// `d_y = gamma / deviation (d_z - mean(d_z) - normal mean(d_z normal))` over the valid values, and
/// 0 elsewhere.
///
/// # Errors
/// [`ShapeError`] if the size of a block does not match.
pub fn norm_backward<R: Real>(
    params: &[R],
    saved: &[R],
    valid: ValidSteps<'_>,
    y: &[R],
    d_z: &[R],
    shape: Shape,
    d_y: &mut [R],
    d_params: &mut [R],
) -> Result<(), ShapeError> {
    expect("norm's parameters", 2 * shape.width, params.len())?;
    expect("norm's gradient", 2 * shape.width, d_params.len())?;
    expect("norm's statistics", 2 * shape.width, saved.len())?;
    for block in [y, d_z, d_y] {
        expect("norm's block", shape.len(), block.len())?;
    }
    let n = R::count(valid.count(shape.steps, shape.batch).max(1));
    d_y.fill(R::zero());
    for o in 0..shape.width {
        let (mean, scale) = (saved[o], saved[shape.width + o]);
        let (mut d_gamma, mut d_beta) = (R::zero(), R::zero());
        for_each_valid(valid, shape, o, |at| {
            d_gamma += d_z[at] * (y[at] - mean) * scale;
            d_beta += d_z[at];
        });
        d_params[o] = d_gamma;
        d_params[shape.width + o] = d_beta;
        for_each_valid(valid, shape, o, |at| {
            let normal = (y[at] - mean) * scale;
            d_y[at] = params[o] * scale * (d_z[at] - d_beta / n - normal * d_gamma / n);
        });
    }
    Ok(())
}

impl<R: Real> BatchNorm<R> {
    /// Updates `running = [mean | var]` of a layer with the statistics of `n` values, and replaces
    /// `var` by the inverse deviation.
    pub(super) fn finish(&self, running: &mut [R], mean: &[R], var: &mut [R], n: usize) {
        let (running_mean, running_var) = running.split_at_mut(mean.len());
        for o in 0..mean.len() {
            self.track(&mut running_mean[o], &mut running_var[o], mean[o], var[o], n);
            var[o] = self.inverse_deviation(var[o]);
        }
    }
}

fn for_each_valid(valid: ValidSteps<'_>, shape: Shape, o: usize, mut f: impl FnMut(usize)) {
    for t in 0..shape.steps {
        for b in 0..shape.batch {
            if t < valid.steps(b, shape.steps) {
                f(shape.at(t, b, o));
            }
        }
    }
}
