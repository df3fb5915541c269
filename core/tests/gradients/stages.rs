//! Projection, norm, readout: one stage at a time.

use super::check::{Errors, Value, compare, compare_directions, digest, dot, hold};
use super::draw::{Draw, KERNELS};
use polychron_core::backend::Firing;
use polychron_core::delay::{AnyKernel, dense_kernel};
use polychron_core::loss::Loss;
use polychron_core::neuron::Li;
use polychron_core::norm::{BatchNorm, ValidSteps};
use polychron_core::reference::{
    NeuronArgs, neuron_forward, norm_apply, norm_backward, norm_statistics, project,
    project_backward, project_input, readout,
};
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::Atan;
use proptest::prelude::*;

/// A projection as a function of one vector: weights, delays, sigma, input.
struct Projection {
    synapses: Synapses,
    kernel: AnyKernel,
    shape: Shape,
    point: Vec<f64>,
    sigmas: usize,
}

impl Projection {
    fn draw(draw: &mut Draw, kernel: AnyKernel, shape: Shape, synapses: Synapses) -> Self {
        let n = synapses.weights();
        let shared = draw.coin();
        let (delays, sigma) = draw.delays_and_sigma(kernel, synapses.taps, n, shared);
        let sigmas = sigma.len();
        let mut point = draw.block(n, -1.0, 1.0);
        point.extend(delays.into_iter().chain(sigma));
        point.extend(draw.block(shape.len(), -1.0, 1.0));
        Self { synapses, kernel, shape, point, sigmas }
    }

    fn split<'a>(&self, at: &'a [f64]) -> [&'a [f64]; 4] {
        let (weights, rest) = at.split_at(self.synapses.weights());
        let (delays, rest) = rest.split_at(self.synapses.weights());
        let (sigma, x) = rest.split_at(self.sigmas);
        [weights, delays, sigma, x]
    }

    fn dense(&self, at: &[f64]) -> Vec<f64> {
        let [weights, delays, sigma, _] = self.split(at);
        let s = &self.synapses;
        let mut dense = vec![0.0; s.inputs * s.outputs * s.taps];
        let scratch = &mut vec![0.0; s.taps];
        dense_kernel(&self.kernel, s, weights, delays, sigma, scratch, &mut dense).unwrap();
        dense
    }

    fn output(&self, at: &[f64]) -> Vec<f64> {
        let mut y = vec![0.0; self.synapses.output(self.shape).len()];
        let x = self.split(at)[3];
        project(&self.synapses, &self.dense(at), x, self.shape, &mut y).unwrap();
        y
    }

    fn gradient(&self, upstream: &[f64]) -> Vec<f64> {
        let [weights, delays, sigma, x] = self.split(&self.point);
        let blocks = [weights, delays, sigma];
        let [mut d_weights, mut d_delays, mut d_sigma] = blocks.map(|b| vec![f64::NAN; b.len()]);
        let mut d_x = vec![f64::NAN; x.len()];
        let gradients = [&mut d_weights[..], &mut d_delays[..], &mut d_sigma[..]];
        let (s, shape) = (&self.synapses, self.shape);
        project_backward(s, &self.kernel, blocks, x, shape, upstream, gradients).unwrap();
        project_input(s, &self.dense(&self.point), upstream, shape, &mut d_x).unwrap();
        [d_weights, d_delays, d_sigma, d_x].concat()
    }

    fn parts(&self) -> [super::check::Part; 4] {
        let n = self.synapses.weights();
        [
            ("weights", 0..n),
            ("delays", n..2 * n),
            ("sigma", 2 * n..2 * n + self.sigmas),
            ("input", 2 * n + self.sigmas..self.point.len()),
        ]
    }
}

fn shapes() -> impl Strategy<Value = (u64, Shape, usize)> {
    (any::<u64>(), 1usize..9, 1usize..4, 1usize..4, 1usize..4).prop_map(
        |(seed, steps, batch, inputs, outputs)| (seed, Shape::new(steps, batch, inputs), outputs),
    )
}

fn on_projections(
    row: (&str, &str),
    cases: u32,
    check: impl Fn(&mut Draw, &Projection) -> Errors,
) -> f64 {
    hold(row, cases, shapes(), |(seed, shape, outputs)| {
        let mut errors = Errors::default();
        for kernel in KERNELS {
            let mut draw = Draw::new(seed);
            let synapses = draw.synapses(shape.width, outputs);
            let projection = Projection::draw(&mut draw, kernel, shape, synapses);
            errors.merge(check(&mut draw, &projection));
        }
        errors
    })
}

pub(crate) fn projection() -> f64 {
    on_projections(("projection", "difference"), 200, |draw, p| {
        let upstream = draw.block(p.synapses.output(p.shape).len(), -1.0, 1.0);
        let value = |at: &[f64]| Value::from(dot(&upstream, &p.output(at)));
        compare(value, &p.point, &p.parts(), &p.gradient(&upstream))
    })
}

pub(crate) fn projection_along_directions() -> f64 {
    hold(("projection", "directional"), 4, any::<u64>(), |seed| {
        let mut errors = Errors::default();
        for kernel in KERNELS {
            let mut draw = Draw::new(seed);
            let shape = Shape::new(30, 4, 20);
            let synapses = Synapses { kernel_count: 2, ..Synapses::new(20, 15, 25) };
            let p = Projection::draw(&mut draw, kernel, shape, synapses);
            let upstream = draw.block(p.synapses.output(p.shape).len(), -1.0, 1.0);
            let mut direction = draw.block(p.point.len(), -1.0, 1.0);
            // The width of a kernel has a kink at sigma 0.
            let pairs = direction.iter_mut().zip(&p.point);
            pairs.filter(|(_, x)| **x == 0.0).for_each(|(v, _)| *v = 0.0);
            let value = |at: &[f64]| Value::from(dot(&upstream, &p.output(at)));
            errors.merge(compare_directions(value, &p.point, &p.gradient(&upstream), &[direction]));
        }
        errors
    })
}

/// `<y, J x> = <J' y, x>` for the linear map from one part of the point to the output.
fn adjoint_error(draw: &mut Draw, p: &Projection, part: usize) -> Errors {
    let (name, range) = p.parts()[part].clone();
    let mut at = p.point.clone();
    at[range.clone()].copy_from_slice(&draw.block(range.len(), -1.0, 1.0));
    let image = p.output(&at);
    let y = draw.block(image.len(), -1.0, 1.0);
    let (left, right) = (dot(&y, &image), dot(&p.gradient(&y)[range.clone()], &at[range]));
    let scale = dot(&y, &y).sqrt() * dot(&image, &image).sqrt();
    let mut errors = Errors::default();
    errors.add(polychron_core::gradcheck::relative_error(left, right, scale), || {
        format!("{name}: {left}, not {right}")
    });
    errors
}

pub(crate) fn adjoint_by_weights() -> f64 {
    on_projections(("projection by weights", "adjoint"), 200, |draw, p| adjoint_error(draw, p, 0))
}

pub(crate) fn adjoint_by_input() -> f64 {
    on_projections(("projection by input", "adjoint"), 200, |draw, p| adjoint_error(draw, p, 3))
}

fn norm_errors(draw: &mut Draw, shape: Shape, whole: bool) -> Errors {
    let norm = BatchNorm::<f64>::default();
    let (n, width) = (shape.len(), shape.width);
    let lengths = draw.lengths(shape);
    let valid = ValidSteps { lengths: lengths.as_deref(), padding: 0 };
    let mut point = draw.block(n, -1.0, 2.0);
    point.extend(draw.block(2 * width, 0.5, 1.5));
    let mut upstream = draw.block(n, -1.0, 1.0);
    for at in 0..n {
        let (t, b) = (at / width / shape.batch, at / width % shape.batch);
        if t >= valid.steps(b, shape.steps) {
            upstream[at] = 0.0;
        }
    }
    let statistics = |y: &[f64]| {
        let (mut mean, mut var) = (vec![0.0; width], vec![0.0; width]);
        norm_statistics(valid, y, shape, &mut mean, &mut var).unwrap();
        mean.extend(var.into_iter().map(|var| norm.inverse_deviation(var)));
        mean
    };
    let value = |at: &[f64]| {
        let (y, params) = at.split_at(n);
        let mut z = vec![0.0; n];
        norm_apply(params, &statistics(y), y, shape, &mut z).unwrap();
        Value::from(dot(&upstream, &z))
    };
    let mut gradient = vec![f64::NAN; n + 2 * width];
    let ((y, params), (d_y, d_params)) = (point.split_at(n), gradient.split_at_mut(n));
    norm_backward(params, &statistics(y), valid, y, &upstream, shape, d_y, d_params).unwrap();
    if whole {
        let parts = [("input", 0..n), ("gamma", n..n + width), ("beta", n + width..n + 2 * width)];
        compare(value, &point, &parts, &gradient)
    } else {
        let direction = draw.block(point.len(), -1.0, 1.0);
        compare_directions(value, &point, &gradient, &[direction])
    }
}

pub(crate) fn norm() -> f64 {
    let shapes = (any::<u64>(), 3usize..9, 1usize..4, 1usize..4);
    hold(("norm", "difference"), 300, shapes, |(seed, steps, batch, width)| {
        norm_errors(&mut Draw::new(seed), Shape::new(steps, batch, width), true)
    })
}

pub(crate) fn norm_along_directions() -> f64 {
    hold(("norm", "directional"), 20, any::<u64>(), |seed| {
        norm_errors(&mut Draw::new(seed), Shape::new(40, 6, 30), false)
    })
}

/// A digest of the steps with the highest membrane of each readout neuron, which `Loss::Max` uses.
pub(crate) fn highest_steps(li: &Li<f64>, valid: ValidSteps<'_>, x: &[f64], shape: Shape) -> u64 {
    let mut membrane = vec![0.0; shape.len()];
    let args = NeuronArgs {
        neurons: std::slice::from_ref(li),
        surrogate: &Atan { alpha: 2.0 },
        firing: Firing::Step,
        mask: None,
        valid,
        shape,
        start: None,
    };
    neuron_forward(&args, x, &mut vec![0.0; shape.len()], Some(&mut membrane), None).unwrap();
    let mut piece = 0;
    for b in 0..shape.batch {
        for c in 0..shape.width {
            let at = |t: &usize| membrane[shape.at(*t, b, c)];
            let highest = (0..valid.steps(b, shape.steps)).max_by(|s, t| at(s).total_cmp(&at(t)));
            piece = digest(piece, highest.unwrap_or(0) as u64);
        }
    }
    piece
}

/// Targets `[batch, classes]`: distributions, some of them one-hot.
pub(crate) fn targets(draw: &mut Draw, batch: usize, classes: usize) -> Vec<f64> {
    let mut targets = Vec::new();
    for _ in 0..batch {
        let hot = draw.below(classes);
        let mut row = draw.block(classes, 0.1, 1.0);
        if draw.coin() {
            row = (0..classes).map(|c| f64::from(u8::from(c == hot))).collect();
        }
        let mass: f64 = row.iter().sum();
        targets.extend(row.into_iter().map(|y| y / mass));
    }
    targets
}

pub(crate) fn readouts() -> f64 {
    let shapes = (any::<u64>(), 1usize..9, 1usize..4, 2usize..5);
    hold(("readout and loss", "difference"), 100, shapes, |(seed, steps, batch, classes)| {
        let shape = Shape::new(steps, batch, classes);
        let mut errors = Errors::default();
        for (name, loss) in Loss::ALL {
            let mut draw = Draw::new(seed);
            let li = Li { decay_input: draw.coin(), ..Li::new(draw.uniform(1.01, 8.0)) };
            let lengths = draw.lengths(shape);
            let valid = ValidSteps { lengths: lengths.as_deref(), padding: 0 };
            let targets = targets(&mut draw, batch, classes);
            let x = draw.block(shape.len(), -1.0, 1.0);
            let run = |x: &[f64], d_x: Option<&mut [f64]>| {
                let scores = &mut vec![0.0; batch * classes];
                readout(&li, loss, valid, (x, shape), Some(&targets), scores, d_x).unwrap()
            };
            let value = |x: &[f64]| {
                let piece = if loss == Loss::Max { highest_steps(&li, valid, x, shape) } else { 0 };
                Value { value: run(x, None), piece }
            };
            let mut gradient = vec![f64::NAN; x.len()];
            run(&x, Some(&mut gradient));
            errors.merge(compare(value, &x, &[(name, 0..x.len())], &gradient));
        }
        errors
    })
}
