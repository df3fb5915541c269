use super::zeros::zeros;
use crate::delay::{DelayKernel, check_parameters};
use crate::num::Real;
use crate::shape::{Shape, ShapeError, Synapses, expect};

/// `y[t, b, o] = sum over i, j of kernel[o, i, j] x[t - j, b, i]`; the input is 0 at other times.
///
/// `dense` is `[out, in, K]`, `x` is `[T, B, in]`, `y` is `[T + padding, B, out]`. Cost: T B out in
/// K multiply-adds.
///
/// # Errors
/// [`ShapeError`] if the size of a block does not match.
pub fn project<R: Real>(
    synapses: &Synapses,
    dense: &[R],
    x: &[R],
    x_shape: Shape,
    y: &mut [R],
) -> Result<(), ShapeError> {
    let y_shape = synapses.output(x_shape);
    check(synapses, dense, x, x_shape, y)?;
    for t in 0..y_shape.steps {
        for b in 0..y_shape.batch {
            for o in 0..synapses.outputs {
                let mut sum = R::zero();
                for_each_tap(synapses, x_shape.steps, t, o, |i, tap, from| {
                    sum += dense[tap] * x[x_shape.at(from, b, i)];
                });
                y[y_shape.at(t, b, o)] = sum;
            }
        }
    }
    Ok(())
}

/// The adjoint of [`project`] by its input: writes `d_x` for the upstream gradient `d_y`.
///
/// # Errors
/// [`ShapeError`] if the size of a block does not match.
pub fn project_input<R: Real>(
    synapses: &Synapses,
    dense: &[R],
    d_y: &[R],
    x_shape: Shape,
    d_x: &mut [R],
) -> Result<(), ShapeError> {
    let y_shape = synapses.output(x_shape);
    check(synapses, dense, d_x, x_shape, d_y)?;
    d_x.fill(R::zero());
    for t in 0..y_shape.steps {
        for b in 0..y_shape.batch {
            for o in 0..synapses.outputs {
                let upstream = d_y[y_shape.at(t, b, o)];
                for_each_tap(synapses, x_shape.steps, t, o, |i, tap, from| {
                    d_x[x_shape.at(from, b, i)] += dense[tap] * upstream;
                });
            }
        }
    }
    Ok(())
}

/// The gradients of weights, delays and sigma, through the dense kernel's gradient.
///
/// `gradients` are `[weights, delays, sigma]`, each of the size of its parameter block. A shared
/// sigma receives the sum.
///
/// # Errors
/// [`ShapeError`] if the size of a block does not match.
pub fn project_backward<R: Real>(
    synapses: &Synapses,
    kernel: &dyn DelayKernel<R>,
    [weights, delays, sigma]: [&[R]; 3],
    x: &[R],
    x_shape: Shape,
    d_y: &[R],
    gradients: [&mut [R]; 3],
) -> Result<(), ShapeError> {
    check_parameters(synapses, weights, delays, sigma)?;
    let [d_weights, d_delays, d_sigma] = gradients;
    check_parameters(synapses, d_weights, d_delays, d_sigma)?;
    expect("projection's sigma gradient", sigma.len(), d_sigma.len())?;
    let y_shape = synapses.output(x_shape);
    let mut d_dense = zeros("dense kernel", synapses.dense_len())?;
    check(synapses, &d_dense, x, x_shape, d_y)?;
    for t in 0..y_shape.steps {
        for b in 0..y_shape.batch {
            for o in 0..synapses.outputs {
                let upstream = d_y[y_shape.at(t, b, o)];
                for_each_tap(synapses, x_shape.steps, t, o, |i, tap, from| {
                    d_dense[tap] += upstream * x[x_shape.at(from, b, i)];
                });
            }
        }
    }
    d_sigma.fill(R::zero());
    for e in 0..synapses.weights() {
        let synapse = e / synapses.kernel_count;
        let upstream = &d_dense[synapse * synapses.taps..(synapse + 1) * synapses.taps];
        let g = kernel.backward(weights[e], delays[e], sigma[e % sigma.len()], upstream);
        d_weights[e] = g.weight;
        d_delays[e] = g.delay;
        d_sigma[e % sigma.len()] += g.sigma;
    }
    Ok(())
}

fn check<R>(
    synapses: &Synapses,
    dense: &[R],
    x: &[R],
    x_shape: Shape,
    y: &[R],
) -> Result<(), ShapeError> {
    synapses.check(x_shape, synapses.output(x_shape))?;
    expect("dense kernel", synapses.dense_len(), dense.len())?;
    expect("projection's input", x_shape.len(), x.len())?;
    expect("projection's output", synapses.output(x_shape).len(), y.len())
}

/// Calls `f(input, index into the dense kernel, time of the input)` for every tap that contributes
/// to output `o` at time `t`.
fn for_each_tap(
    synapses: &Synapses,
    steps: usize,
    t: usize,
    o: usize,
    mut f: impl FnMut(usize, usize, usize),
) {
    for i in 0..synapses.inputs {
        for j in 0..synapses.taps.min(t + 1) {
            if t - j < steps {
                f(i, (o * synapses.inputs + i) * synapses.taps + j, t - j);
            }
        }
    }
}
