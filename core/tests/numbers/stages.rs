//! Projections, norm, readout and losses, optimizer, schedules.

use super::measure::{Case, Draw, Part, Row, all, largest, measure, of};
use polychron_core::delay::{AnyKernel, dense_kernel};
use polychron_core::loss::{Loss, cross_entropy, softmax};
use polychron_core::neuron::Li;
use polychron_core::norm::{BatchNorm, ValidSteps};
use polychron_core::num::Real;
use polychron_core::optim::{self, Adam, Optimizer};
use polychron_core::reference;
use polychron_core::schedule::{Cosine, OneCycle, SigmaSchedule};
use polychron_core::shape::{Shape, Synapses};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = projections();
    rows.extend(norms());
    rows.extend(Loss::ALL.iter().flat_map(|&(name, loss)| readouts(name, loss)));
    rows.extend(logits());
    rows.extend(optimizer());
    rows.extend(schedules());
    rows
}

struct Projection {
    synapses: Synapses,
    kernel: AnyKernel,
    parameters: [Vec<f32>; 3],
    shape: Shape,
    x: Vec<f32>,
    d_y: Vec<f32>,
}

impl Case for Projection {
    fn run<R: Real>(&self) -> Vec<Part<R>> {
        let Self { synapses, kernel, shape, .. } = self;
        let [weights, delays, sigma] = self.parameters.each_ref().map(|p| all::<R>(p));
        let (x, d_y) = (all::<R>(&self.x), all::<R>(&self.d_y));
        let pairs = synapses.inputs * synapses.outputs;
        let mut scratch = vec![R::zero(); synapses.taps];
        let mut dense = vec![R::zero(); pairs * synapses.taps];
        let (values, into) = (&mut scratch, &mut dense);
        dense_kernel(kernel, synapses, &weights, &delays, &sigma, values, into).unwrap();
        let mut y = vec![R::zero(); d_y.len()];
        reference::project(synapses, &dense, &x, *shape, &mut y).unwrap();
        let mut d_x = vec![R::zero(); x.len()];
        reference::project_input(synapses, &dense, &d_y, *shape, &mut d_x).unwrap();
        let values = [&weights[..], &delays, &sigma];
        let mut gradients = values.map(|p| vec![R::zero(); p.len()]);
        let into = gradients.each_mut().map(|g| g.as_mut_slice());
        reference::project_backward(synapses, kernel, values, &x, *shape, &d_y, into).unwrap();
        let [by_weight, by_delay, by_sigma] = gradients;
        let size = largest(&by_weight) * largest(&weights);
        vec![
            Part::against_largest(y),
            Part::against_largest(d_x),
            Part::against_largest(by_weight),
            Part::against(by_delay, size),
            Part::against(by_sigma, size),
        ]
    }
}

fn projections() -> Vec<Row> {
    let mut draw = Draw::new(11);
    let cases = (0..400).map(|_| {
        let (taps, count) = (draw.pick(&[1, 2, 8, 25]), 1 + draw.below(2));
        let (inputs, outputs) = (1 + draw.below(12), 1 + draw.below(6));
        let tail = draw.pick(&[0, (taps - 1) / 2]);
        let synapses =
            Synapses { kernel_count: count, padding: tail, ..Synapses::new(inputs, outputs, taps) };
        let shape = Shape::new(draw.pick(&[1, 2, 40]), 1 + draw.below(3), inputs);
        let (n, last) = (synapses.weights(), (taps - 1) as f32);
        let weight = draw.pick(&[1e-3, 1.0, 1e4]);
        let sigma = draw.pick(&[0.0, 0.25, 0.5, 12.0]);
        let counts = (0..shape.len()).map(|_| draw.pick(&[0.0, 0.0, 0.0, 1.0, 1.0, 5.0]));
        let x: Vec<f32> = counts.collect();
        Projection {
            synapses,
            kernel: AnyKernel::ALL[draw.below(4)].1,
            parameters: [
                draw.block(n, -weight, weight),
                (0..n).map(|_| draw.on_grid(0.0, last)).collect(),
                vec![sigma],
            ],
            shape,
            x,
            d_y: draw.block(synapses.output(shape).len(), -1.0, 1.0),
        }
    });
    measure("projection", &["forward", "by input", "by weight", "by delay", "by sigma"], cases)
}

struct Norm {
    shape: Shape,
    y: Vec<f32>,
    d_z: Vec<f32>,
    params: Vec<f32>,
}

impl Case for Norm {
    fn run<R: Real>(&self) -> Vec<Part<R>> {
        let (shape, valid) = (self.shape, ValidSteps::default());
        let [y, d_z, params] = [&self.y, &self.d_z, &self.params].map(|x| all::<R>(x));
        let mut saved = vec![R::zero(); 2 * shape.width];
        let (mean, var) = saved.split_at_mut(shape.width);
        reference::norm_statistics(valid, &y, shape, mean, var).unwrap();
        let norm = BatchNorm::<R> { epsilon: of(1e-5), ..BatchNorm::default() };
        var.iter_mut().for_each(|var| *var = norm.inverse_deviation(*var));
        let (mut z, mut d_y) = (vec![R::zero(); y.len()], vec![R::zero(); y.len()]);
        let mut d_params = vec![R::zero(); params.len()];
        reference::norm_apply(&params, &saved, &y, shape, &mut z).unwrap();
        let (into, by) = (&mut d_y, &mut d_params);
        reference::norm_backward(&params, &saved, valid, &y, &d_z, shape, into, by).unwrap();
        let slope = largest(&d_z) * largest(&saved[shape.width..]);
        let all = largest(&d_z) * (shape.steps * shape.batch) as f64;
        vec![Part::against_largest(z), Part::against(d_y, slope), Part::against(d_params, all)]
    }
}

fn norms() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, constant) in [("norm", false), ("norm of a constant", true)] {
        let mut draw = Draw::new(12);
        let cases = (0..200).map(|_| {
            let shape = Shape::new(draw.pick(&[1, 2, 50]), 1 + draw.below(8), 1 + draw.below(4));
            let size = draw.pick(&[1e-2, 1.0, 10.0]);
            let level = draw.uniform(-size, size);
            let y = if constant {
                vec![level; shape.len()]
            } else {
                // A mean of up to 17 deviations.
                draw.block(shape.len(), 10.0 * level - size, 10.0 * level + size)
            };
            let params = draw.block(2 * shape.width, 0.5, 1.5);
            Norm { shape, y, d_z: draw.block(shape.len(), -1.0, 1.0), params }
        });
        rows.extend(measure(name, &["forward", "backward", "by gamma, beta"], cases));
    }
    rows
}

struct Readout {
    loss: Loss,
    rate: f32,
    shape: Shape,
    x: Vec<f32>,
    targets: Vec<f32>,
}

impl Case for Readout {
    fn run<R: Real>(&self) -> Vec<Part<R>> {
        let shape = self.shape;
        let li = Li { rate: of(self.rate), decay_input: false };
        let (x, targets) = (all::<R>(&self.x), all::<R>(&self.targets));
        let mut scores = vec![R::zero(); targets.len()];
        let mut d_x = vec![R::zero(); x.len()];
        let (valid, given) = (ValidSteps::default(), Some(&targets[..]));
        let into = Some(&mut d_x[..]);
        let found =
            reference::readout(&li, self.loss, valid, (&x, shape), given, &mut scores, into);
        let size = largest(&scores).max(1.0);
        let slope = largest(&d_x).max(1.0 / shape.batch as f64);
        vec![
            Part::against_largest(scores),
            Part::against(vec![found.unwrap()], size),
            Part::against(d_x, slope),
        ]
    }
}

fn readouts(name: &str, loss: Loss) -> Vec<Row> {
    let mut draw = Draw::new(13);
    let cases = (0..200).map(|_| {
        let shape = Shape::new(draw.pick(&[1, 2, 60]), 1 + draw.below(4), 1 + draw.below(20));
        let size = draw.pick(&[0.1, 1.0, 3.0]);
        let mut targets = vec![0.0; shape.batch * shape.width];
        targets.chunks_exact_mut(shape.width).for_each(|row| row[draw.below(shape.width)] = 1.0);
        Readout {
            loss,
            rate: draw.pick(&[0.999_999, 0.5, 1e-30]),
            shape,
            x: draw.block(shape.len(), -size, size),
            targets,
        }
    });
    measure(&format!("readout, loss {name}"), &["scores", "loss", "gradient"], cases)
}

struct Logits {
    scores: Vec<f32>,
    class: usize,
}

impl Case for Logits {
    fn run<R: Real>(&self) -> Vec<Part<R>> {
        let scores = all::<R>(&self.scores);
        let mut targets = vec![R::zero(); scores.len()];
        targets[self.class] = R::one();
        let mut gradient = vec![R::zero(); scores.len()];
        let loss = cross_entropy(&scores, &targets, &mut gradient);
        let mut shares = scores.clone();
        softmax(&mut shares);
        vec![
            Part::each(shares),
            Part::against(vec![loss], largest(&scores).max(1.0)),
            Part::against(gradient, 1.0),
        ]
    }
}

fn logits() -> Vec<Row> {
    let mut draw = Draw::new(14);
    let cases = (0..2000).map(|_| {
        let size = draw.pick(&[0.0, 1.0, 20.0, 88.0, 1e4]);
        let classes = 1 + draw.below(35);
        let scores = draw.block(classes, -size, size);
        Logits { class: draw.below(classes), scores }
    });
    measure("logits", &["softmax", "cross entropy", "gradient"], cases)
}

struct Step {
    rate: f32,
    decays: [f32; 2],
    l2: f32,
    decoupled: bool,
    step: u64,
    gradient: f32,
    values: [f32; 3],
}

impl Case for Step {
    fn run<R: Real>(&self) -> Vec<Part<R>> {
        let [beta1, beta2] = self.decays;
        let adam = Adam { beta2: beta2.into(), epsilon: 1e-8f32.into() };
        let step = optim::Step {
            beta1: of(beta1),
            l2: of(self.l2),
            decoupled: self.decoupled,
            ..optim::Step::new(Optimizer::Adam(adam), of(self.rate), self.step)
        };
        let update = |p: f32| {
            let [_, m, v] = self.values;
            let (mut p, mut m, mut v) = ([of(p)], [of(m)], [of(v)]);
            step.update(&[of(self.gradient)], &mut p, &mut m, &mut v);
            (p.to_vec(), m.to_vec(), v.to_vec())
        };
        let (change, ..) = update(0.0);
        let (p, m, v) = update(self.values[0]);
        let size = f64::from(self.gradient.abs().max(self.values[1].abs()));
        vec![
            Part::against(change, f64::from(self.rate)),
            Part::against(p, f64::from(self.values[0].abs())),
            Part::against(m, size),
            Part::each(v),
        ]
    }
}

fn optimizer() -> Vec<Row> {
    let mut draw = Draw::new(15);
    let cases = (0..20_000).map(|_| {
        let size = draw.pick(&[0.0, 1e-12, 1e-3, 1.0, 1e10]);
        let (gradient, m) = (draw.uniform(-size, size), draw.uniform(-size, size));
        Step {
            rate: draw.pick(&[2e-8, 1e-3, 5e-3, 0.1]),
            decays: [draw.pick(&[0.85, 0.9, 0.95]), 0.999],
            l2: draw.pick(&[0.0, 1e-5]),
            decoupled: draw.pick(&[false, true]),
            step: draw.pick(&[1, 2, 10, 1000, 1_000_000]),
            gradient,
            values: [draw.uniform(-2.0, 2.0), m, size * size * draw.uniform(0.0, 1.0)],
        }
    });
    measure("adam", &["change from 0", "parameter", "first moment", "second moment"], cases)
}

struct Epochs(usize);

impl Case for Epochs {
    fn run<R: Real>(&self) -> Vec<Part<R>> {
        let epochs = self.0;
        let each = |f: &dyn Fn(usize) -> f64| {
            Part::each((0..=epochs + 1).map(|epoch| R::of(f(epoch))).collect())
        };
        let cycle = OneCycle { peak: 5e-3, epochs };
        vec![
            each(&|epoch| SigmaSchedule::paper(25, epochs).at(epoch)),
            each(&|epoch| cycle.at(epoch).0),
            each(&|epoch| cycle.at(epoch).1),
            each(&|epoch| Cosine { base: 0.1, epochs }.at(epoch)),
        ]
    }
}

fn schedules() -> Vec<Row> {
    let results = ["sigma", "one-cycle rate", "one-cycle beta1", "cosine"];
    measure("schedule", &results, [1, 2, 10, 150, 1000].map(Epochs))
}
