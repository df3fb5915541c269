use super::Synaptic;
use super::wiring::{Lines, lines};
use crate::backend::{Cpu, Error};
use crate::lanes::{Lanes, vectorize};
use crate::projection::project_backward;
use crate::raw::gemm;
use crate::sequence::Sequence;
use ndarray::{ArrayView2, ArrayViewMut2, Axis, s};
use polychron_core::backend::{RecurrentStage, SynapseGradients};
use polychron_core::delay::{Place, Rounding};
use polychron_core::shape::Shape;
use rayon::prelude::*;

/// Steps of samples that a product takes at once.
const COLUMNS: usize = 2048;

/// Writes the gradients by weights, delays and sigma for the gradient `d_input` by the input of the
/// neurons.
pub(super) fn write<R: Lanes>(
    cpu: &Cpu<R>,
    synaptic: &Synaptic<'_, R>,
    fired: &Sequence<R>,
    d_input: &Sequence<R>,
    gradients: SynapseGradients<'_, Vec<R>>,
) -> Result<(), Error> {
    let Synaptic { stage, kernel, params, shape, .. } = synaptic;
    let synapses = stage.synapses;
    if shape.is_empty() {
        let SynapseGradients { weights, delays, sigma } = gradients;
        for gradient in [weights, delays, sigma] {
            gradient.slice()?.fill(R::zero());
        }
        return Ok(());
    }
    let steps = synapses.taps + shape.steps - 1;
    let past = past(cpu, synaptic, fired, Shape { steps, ..*shape })?;
    if let Some(lines) = lines(cpu.scratch(), synaptic.places(), *kernel, params) {
        let d = current_gradient(cpu, synaptic, d_input, shape.steps)?;
        return Shared { cpu, synaptic, lines, past, d }.write(gradients);
    }
    let d = current_gradient(cpu, synaptic, d_input, steps)?;
    project_backward(
        cpu,
        synapses,
        &**stage.kernel,
        stage.params.clone(),
        &past,
        &d,
        gradients,
        None,
    )
}

/// The spikes of the K steps before the first, and of all steps but the last.
fn past<R: Lanes>(
    cpu: &Cpu<R>,
    synaptic: &Synaptic<'_, R>,
    fired: &Sequence<R>,
    all: Shape,
) -> Result<Sequence<R>, Error> {
    let mut past = Sequence::try_new(all, cpu.scratch())?;
    let before = synaptic.stage.synapses.taps * all.batch;
    past.blocks_mut().enumerate().for_each(|(n, to)| {
        let (earlier, now) = to.split_at_mut(before.min(to.len()));
        match synaptic.stage.before {
            Some(spikes) => earlier.copy_from_slice(&spikes.block(n)[..earlier.len()]),
            None => earlier.fill(R::zero()),
        }
        now.copy_from_slice(&fired.block(n)[..now.len()]);
    });
    Ok(past)
}

/// The gradient by the current of every neuron in the last steps, 0 in `steps` less those.
fn current_gradient<R: Lanes>(
    cpu: &Cpu<R>,
    synaptic: &Synaptic<'_, R>,
    d_input: &Sequence<R>,
    steps: usize,
) -> Result<Sequence<R>, Error> {
    let mut d = Sequence::try_new(Shape { steps, ..synaptic.shape }, cpu.scratch())?;
    d.blocks_mut().enumerate().for_each(|(n, to)| {
        let from = d_input.block(n);
        let (before, now) = to.split_at_mut(to.len() - from.len());
        before.fill(R::zero());
        now.copy_from_slice(&from);
        mask(synaptic, n, now);
    });
    Ok(d)
}

/// Multiplies `[time][batch]` of neuron `n` by the dropout mask of the current.
fn mask<R: Lanes>(synaptic: &Synaptic<'_, R>, n: usize, values: &mut [R]) {
    let Some(mask) = synaptic.mask else { return };
    let Shape { batch, width, .. } = synaptic.shape;
    for row in values.chunks_exact_mut(batch) {
        for (b, x) in row.iter_mut().enumerate() {
            *x *= mask[b * width + n];
        }
    }
}

/// Synapses with one delay line for each neuron.
struct Shared<'a, R: Lanes> {
    cpu: &'a Cpu<R>,
    synaptic: &'a Synaptic<'a, R>,
    lines: Lines<R>,
    /// The spikes `[neuron][K + T - 1][batch]`.
    past: Sequence<R>,
    /// The gradient `[neuron][T][batch]` by the current.
    d: Sequence<R>,
}

impl<R: Lanes> Shared<'_, R> {
    fn write(self, gradients: SynapseGradients<'_, Vec<R>>) -> Result<(), Error> {
        let Self { cpu, synaptic, lines, past, d } = &self;
        let RecurrentStage { synapses, place, ref params, .. } = *synaptic.stage;
        let (longest, Shape { batch, width, .. }) = (synapses.taps, synaptic.shape);
        let SynapseGradients { weights: by_weight, delays: by_delay, sigma: by_sigma } = gradients;
        let (by_weight, by_delay) = (by_weight.slice()?, by_delay.slice()?);
        let by_sigma = by_sigma.slice()?;
        by_delay.fill(R::zero());
        by_sigma.fill(R::zero());
        // A line lies before the matrix (current = W u) or behind it (the line of v = W s).
        let behind = place == Place::Dendritic;
        let mut through = match behind {
            true => Sequence::try_new(past.shape(), cpu.scratch())?,
            false => Sequence::try_new(d.shape(), cpu.scratch())?,
        };
        through.blocks_mut().enumerate().for_each(|(n, to)| {
            let (past, d) = (past.block(n), d.block(n));
            vectorize(
                #[inline(always)]
                || match behind {
                    true => lines.filter_back(n, longest, batch, &d, to),
                    false => lines.filter(n, longest, batch, &past, to),
                },
            );
        });
        match behind {
            true => outer(&through, past, by_weight),
            false => outer(d, &through, by_weight),
        }
        if params.rounding == Some(Rounding::Nearest) {
            return Ok(());
        }
        let weights = synaptic.params.weights;
        let weights = ArrayView2::from_shape((width, width), weights).expect("checked size");
        let (weights, x) = if behind { (weights, past) } else { (weights.reversed_axes(), d) };
        let mut product = Sequence::try_new(x.shape(), cpu.scratch())?;
        multiply(weights, x, &mut product);
        let stride = if behind { width } else { 1 };
        let gradient = |n: usize| {
            let (product, mut upstream) = (product.block(n), vec![R::zero(); longest]);
            let (past, d) = (past.block(n), d.block(n));
            let (x, d_y) = if behind { (&product, &d) } else { (&past, &product) };
            vectorize(
                #[inline(always)]
                || lines.by_taps(n, longest, batch, x, d_y, &mut upstream),
            );
            let (delay, sigma) =
                (synaptic.params.delays[n * stride], synaptic.params.sigma(n * stride));
            synaptic.kernel.kernel().backward(R::one(), delay, sigma, &upstream)
        };
        let gradients: Vec<_> = (0..width).into_par_iter().map(gradient).collect();
        for (n, gradient) in gradients.iter().enumerate() {
            by_delay[n * stride] = gradient.delay;
            by_sigma[if by_sigma.len() == 1 { 0 } else { n * stride }] += gradient.sigma;
        }
        Ok(())
    }
}

/// A sequence as a matrix `[neuron][time and batch]`.
fn matrix<R: Lanes>(sequence: &Sequence<R>) -> ArrayView2<'_, R> {
    let view = sequence.view();
    let (rows, steps, batch) = view.dim();
    view.into_shape_with_order((rows, steps * batch)).expect("blocks are contiguous")
}

/// `to [a, b]`: the products of all rows of two sequences. Adds the products of [`COLUMNS`] columns
/// in their order.
fn outer<R: Lanes>(a: &Sequence<R>, b: &Sequence<R>, to: &mut [R]) {
    let (a, b) = (matrix(a), matrix(b));
    let (rows, columns) = (a.nrows(), b.nrows());
    let product = |n: usize| {
        let part = n * COLUMNS..a.ncols().min((n + 1) * COLUMNS);
        let mut product = vec![R::zero(); rows * columns];
        let to = ArrayViewMut2::from_shape((rows, columns), &mut product).expect("its size");
        let (a, b) = (a.slice(s![.., part.clone()]), b.slice(s![.., part]));
        gemm(to, R::zero(), R::one(), a, b.t());
        product
    };
    let products: Vec<_> = (0..a.ncols().div_ceil(COLUMNS)).into_par_iter().map(product).collect();
    to.fill(R::zero());
    for product in &products {
        to.iter_mut().zip(product).for_each(|(sum, &x)| *sum += x);
    }
}

/// `to = weights x`.
fn multiply<R: Lanes>(weights: ArrayView2<'_, R>, x: &Sequence<R>, to: &mut Sequence<R>) {
    let x = matrix(x);
    let mut to = to.view_mut().into_shape_with_order(x.raw_dim()).expect("blocks are contiguous");
    let parts = to.axis_chunks_iter_mut(Axis(1), COLUMNS).into_par_iter();
    parts.zip(x.axis_chunks_iter(Axis(1), COLUMNS)).for_each(|(to, x)| {
        gemm(to, R::zero(), R::one(), weights, x);
    });
}
