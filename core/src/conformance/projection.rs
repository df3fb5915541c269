use super::host::{Draw, Host, Output, Part, Problem, agree, error};
use super::tolerance::Stage;
use super::{Conforming, Failure, Report, Verdict, Worst};
use crate::backend::{SynapseGradients, SynapseParams};
use crate::delay::{AnyKernel, Rounding};
use crate::gradcheck::{dot, largest};
use crate::num::Real;
use crate::shape::{Shape, Synapses};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// The output equals that of the reference, for every kernel, shape, sigma and kind of input.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn projection_forward<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for case in cases::<R>() {
        agree(backend, &mut report, &case.name, &Forward(&case))?;
    }
    Ok(report)
}

/// The gradients of weights, delays, sigma and, if requested, the input equal those of the
/// reference.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn projection_backward<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for (n, case) in cases::<R>().iter().enumerate() {
        agree(backend, &mut report, &case.name, &Backward(case, n % 3 != 0))?;
    }
    Ok(report)
}

/// `<d_y, y> = <d_x, x> = <d_weights, weights>`: the projection is linear in its input and in its
/// weights, and the backward pass is its adjoint.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn projection_adjoint<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for case in cases::<R>() {
        let y = &Forward(&case).run::<R, B>(backend)?[0].values;
        let gradients = Backward(&case, true).run::<R, B>(backend)?;
        let upstream = dot(&case.d_y, y);
        let scale = (dot(&case.d_y, &case.d_y) * dot(y, y)).sqrt();
        let weights = dot(&gradients[0].values, &case.weights);
        let input = dot(&gradients[3].values, &case.x);
        for (what, found) in [("adjoint by weights", weights), ("adjoint by input", input)] {
            let stage = Stage::ProjectionBackward;
            let error = error(&[found], &[upstream], scale);
            let worst = Worst { stage, what, error, tolerance: stage.tolerance::<R>() };
            report.measure(worst, &case.name)?;
        }
    }
    Ok(report)
}

/// A linear combination of two projections is the projection with the combined weights, or of the
/// combined inputs.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn projection_is_linear<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for (mut case, seed) in cases::<R>().into_iter().zip(1000..) {
        let mut draw = Draw::<R>::new(seed);
        let mut grid = |len| -> Vec<f64> {
            (0..len).map(|_| (draw.unit() * 1024.0) as usize as f64 / 512.0 - 1.0).collect()
        };
        let (w, v) = (grid(case.weights.len()), grid(case.weights.len()));
        let (x, u) = (grid(case.x.len()), grid(case.x.len()));
        let mut y = |weights: &[f64], x: &[f64]| -> Result<Vec<f64>, Failure> {
            case.weights = weights.to_vec();
            case.x = x.to_vec();
            Ok(Forward(&case).run::<R, B>(backend)?.remove(0).values)
        };
        let first = y(&w, &x)?;
        let by_weights = (y(&v, &x)?, y(&mixed(&w, &v), &x)?);
        let by_input = (y(&w, &u)?, y(&w, &mixed(&x, &u))?);
        for (what, (second, both)) in
            [("linear in weights", by_weights), ("linear in input", by_input)]
        {
            let stage = Stage::Projection;
            let error =
                error(&both, &mixed(&first, &second), largest(&first).max(largest(&second)));
            let worst = Worst { stage, what, error, tolerance: stage.tolerance::<R>() };
            report.measure(worst, &case.name)?;
        }
    }
    Ok(report)
}

/// A change of the input from step `t` on does not change the output before `t`.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn projection_is_causal<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for mut case in cases::<R>() {
        let y = Forward(&case).run::<R, B>(backend)?.remove(0).values;
        let t = case.steps / 2;
        let row = case.batch * case.synapses.inputs;
        case.x[t * row..].iter_mut().for_each(|x| *x = R::of(1.0 - *x).as_f64());
        let other = Forward(&case).run::<R, B>(backend)?.remove(0).values;
        let before = t * case.batch * case.synapses.outputs;
        let scale = largest(&y).max(largest(&other));
        let (stage, what) = (Stage::Projection, "before a change");
        let error = error(&other[..before], &y[..before], scale);
        report
            .measure(Worst { stage, what, error, tolerance: stage.tolerance::<R>() }, &case.name)?;
    }
    Ok(report)
}

/// With one-tap kernels, an impulse arrives after exactly the delay of each synapse, and a gradient
/// takes the same way back.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn projection_of_an_impulse<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for kernel in [AnyKernel::Max, AnyKernel::Discrete, AnyKernel::Linear] {
        for (taps, steps, from, t_y) in [(7, 12, 3, 8), (8, 4, 1, 6), (1, 5, 2, 2)] {
            let synapses = Synapses::new(3, 4, taps);
            let mut draw = Draw::<R>::new(2000);
            let delay = |e: usize| (e * 5 + 2) % taps;
            let (x_shape, batch, b, i, o) = (Shape::new(steps, 2, 3), 2, 1, 2, 1);
            let y_shape = synapses.output(x_shape);
            let (mut x, mut d_y) = (vec![0.0; x_shape.len()], vec![0.0; y_shape.len()]);
            x[x_shape.at(from, b, i)] = 1.0;
            d_y[y_shape.at(t_y, b, o)] = 1.0;
            let case = Case {
                name: format!("{}, {taps} taps, impulse at {from}", kernel.name()),
                synapses,
                kernel,
                rounding: None,
                steps,
                batch,
                weights: draw.uniform(synapses.weights(), 0.5, 1.0),
                delays: (0..synapses.weights()).map(|e| delay(e) as f64).collect(),
                sigma: vec![0.0],
                x,
                d_y,
            };
            let (mut y, mut d_x) = (vec![0.0; y_shape.len()], vec![0.0; x_shape.len()]);
            for o in 0..4 {
                let t = from + delay(o * 3 + i);
                if t < y_shape.steps {
                    y[y_shape.at(t, b, o)] = case.weights[o * 3 + i];
                }
            }
            for i in 0..3 {
                if let Some(t) = t_y.checked_sub(delay(o * 3 + i)).filter(|&t| t < steps) {
                    d_x[x_shape.at(t, b, i)] = case.weights[o * 3 + i];
                }
            }
            let found = Forward(&case).run::<R, B>(backend)?.remove(0);
            let back = Backward(&case, true).run::<R, B>(backend)?.remove(3);
            for (found, expected) in [(found, y), (back, d_x)] {
                let stage = found.stage;
                // The taps sum to 1 / (1 + 1e-7).
                let tolerance = stage.tolerance::<R>().max(2e-7);
                let error = error(&found.values, &expected, 1.0);
                report
                    .measure(Worst { stage, what: "an impulse", error, tolerance }, &case.name)?;
            }
        }
    }
    Ok(report)
}

/// The inputs of a projection; parameters and blocks have the layout of the boundary.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) synapses: Synapses,
    pub(super) kernel: AnyKernel,
    pub(super) rounding: Option<Rounding>,
    pub(super) steps: usize,
    pub(super) batch: usize,
    pub(super) weights: Vec<f64>,
    pub(super) delays: Vec<f64>,
    pub(super) sigma: Vec<f64>,
    pub(super) x: Vec<f64>,
    pub(super) d_y: Vec<f64>,
}

impl Case {
    pub(super) fn draw<R: Real>(
        draw: &mut Draw<R>,
        kernel: AnyKernel,
        synapses: Synapses,
        (steps, batch): (usize, usize),
        sigma: Option<f64>,
        kind: usize,
    ) -> Self {
        let n = synapses.weights();
        let x_shape = Shape::new(steps, batch, synapses.inputs);
        let y_shape = synapses.output(x_shape);
        let x = match kind {
            0 => draw.spikes(x_shape.len(), 0.3),
            1 => draw.uniform(x_shape.len(), -1.0, 1.0),
            _ => (0..x_shape.len())
                .map(|_| (draw.unit() * 3.9 - 1.0).max(0.0) as usize as f64)
                .collect(),
        };
        let mixed = [0.23, -1.0, 0.0, 12.0, 1e-3];
        let sigma = match sigma {
            Some(sigma) => vec![R::of(sigma).as_f64()],
            None => (0..n).map(|e| R::of(mixed[e % 5]).as_f64()).collect(),
        };
        let Synapses { inputs, outputs, kernel_count: count, taps, padding } = synapses;
        let name = format!(
            "{}, {inputs} to {outputs}, count {count}, {taps} taps, padding {padding}, {steps} steps, batch {batch}, sigma {:?}, input kind {kind}",
            kernel.name(),
            &sigma[..1]
        );
        Self {
            name,
            synapses,
            kernel,
            rounding: None,
            steps,
            batch,
            weights: draw.uniform(n, -1.0, 1.0),
            delays: delays(draw, n, taps),
            sigma,
            x,
            d_y: draw.uniform(y_shape.len(), -1.0, 1.0),
        }
    }

    pub(super) fn x_shape(&self) -> Shape {
        Shape::new(self.steps, self.batch, self.synapses.inputs)
    }

    pub(super) fn y_shape(&self) -> Shape {
        self.synapses.output(self.x_shape())
    }

    pub(super) fn upload<Q: Real, B: Conforming<Real = Q>>(
        &self,
        host: &Host<'_, Q, B>,
    ) -> Result<[Part<B::Buffer>; 3], Failure> {
        Ok([host.part(&self.weights)?, host.part(&self.delays)?, host.part(&self.sigma)?])
    }

    /// The parameters as arguments of a projection.
    pub(super) fn params<'a, B>(&self, parts: &'a [Part<B>; 3]) -> SynapseParams<'a, B> {
        SynapseParams { rounding: self.rounding, ..params(parts) }
    }

    pub(super) fn unchanged<Q: Real, B: Conforming<Real = Q>>(
        &self,
        host: &Host<'_, Q, B>,
        [weights, delays, sigma]: &[Part<B::Buffer>; 3],
        x: &B::Sequence,
    ) -> Result<(), Failure> {
        host.same_part(weights, &self.weights)?;
        host.same_part(delays, &self.delays)?;
        host.same_part(sigma, &self.sigma)?;
        host.same_sequence(x, &self.x)
    }

    /// The gradients of the parameters. The error of a gradient that nearly cancels, as in a kernel
    /// of one tap, is relative to a hundredth of the terms that cancel.
    pub(super) fn outputs(
        &self,
        stage: Stage,
        [weights, delays, sigma]: [Vec<f64>; 3],
    ) -> Vec<Output> {
        let floor = 0.01 * largest(&self.weights) * largest(&weights);
        let summed = (self.weights.len() / self.sigma.len()) as f64;
        vec![
            Output::new(stage, "d_weights", weights),
            Output { floor, ..Output::new(stage, "d_delays", delays) },
            Output { floor: floor * summed.sqrt(), ..Output::new(stage, "d_sigma", sigma) },
        ]
    }
}

pub(super) fn params<B>([weights, delays, sigma]: &[Part<B>; 3]) -> SynapseParams<'_, B> {
    SynapseParams {
        weights: weights.view(),
        delays: delays.view(),
        sigma: sigma.view(),
        rounding: None,
    }
}

pub(super) fn gradients<B>([weights, delays, sigma]: &mut [Part<B>; 3]) -> SynapseGradients<'_, B> {
    SynapseGradients {
        weights: weights.view_mut(),
        delays: delays.view_mut(),
        sigma: sigma.view_mut(),
    }
}

pub(super) struct Forward<'a>(pub(super) &'a Case);

impl Problem for Forward<'_> {
    fn run<Q: Real, B: Conforming<Real = Q>>(&self, backend: &B) -> Result<Vec<Output>, Failure> {
        let (case, host) = (self.0, Host::<Q, B>::new(backend));
        let parts = case.upload(&host)?;
        let x = host.sequence(case.x_shape(), &case.x)?;
        let mut y = host.blank_sequence(case.y_shape())?;
        let params = case.params(&parts);
        backend.project(&case.synapses, &B::kernel(case.kernel), params, &x, &mut y)?;
        case.unchanged(&host, &parts, &x)?;
        Ok(vec![Output::new(Stage::Projection, "y", host.read_sequence(&y)?)])
    }
}

/// The second field says whether the gradient of the input is requested.
struct Backward<'a>(&'a Case, bool);

impl Problem for Backward<'_> {
    fn run<Q: Real, B: Conforming<Real = Q>>(&self, backend: &B) -> Result<Vec<Output>, Failure> {
        let (case, host) = (self.0, Host::<Q, B>::new(backend));
        let parts = case.upload(&host)?;
        let x = host.sequence(case.x_shape(), &case.x)?;
        let d_y = host.sequence(case.y_shape(), &case.d_y)?;
        let mut d_x = host.blank_sequence(case.x_shape())?;
        let n = case.weights.len();
        let mut d_parts =
            [host.blank_part(n)?, host.blank_part(n)?, host.blank_part(case.sigma.len())?];
        let asked = self.1.then_some(&mut d_x);
        let d_params = gradients(&mut d_parts);
        backend.project_backward(
            &case.synapses,
            &B::kernel(case.kernel),
            case.params(&parts),
            &x,
            &d_y,
            d_params,
            asked,
        )?;
        case.unchanged(&host, &parts, &x)?;
        host.same_sequence(&d_y, &case.d_y)?;
        let [weights, delays, sigma] = &d_parts;
        let read = [host.read_part(weights)?, host.read_part(delays)?, host.read_part(sigma)?];
        let mut outputs = case.outputs(Stage::ProjectionBackward, read);
        if self.1 {
            outputs.push(Output::new(Stage::ProjectionBackward, "d_x", host.read_sequence(&d_x)?));
        }
        Ok(outputs)
    }
}

/// Every kernel and sigma in small shapes, and one shape that exceeds the tiles of fast backends.
pub(super) fn cases<R: Real>() -> Vec<Case> {
    let paper = Synapses::new;
    let small = [
        (Synapses { padding: 0, ..paper(3, 4, 1) }, (7, 2)),
        (paper(5, 3, 8), (9, 3)),
        (paper(4, 3, 25), (6, 1)),
        (Synapses { padding: 0, ..paper(2, 3, 5) }, (1, 1)),
        (Synapses { kernel_count: 2, ..paper(7, 5, 9) }, (13, 3)),
        (Synapses { kernel_count: 2, padding: 0, ..paper(3, 6, 6) }, (11, 2)),
        (paper(17, 9, 31), (40, 4)),
        (paper(1, 1, 3), (5, 1)),
    ];
    let mut cases = Vec::new();
    for (synapses, size) in small {
        for (_, kernel) in AnyKernel::ALL {
            for sigma in [Some(1e-3), Some(0.23), Some(12.0), None] {
                let mut draw = Draw::<R>::new(cases.len() as u64);
                let kind = (cases.len() + cases.len() / 4) % 3;
                cases.push(Case::draw(&mut draw, kernel, synapses, size, sigma, kind));
            }
        }
    }
    let large = (paper(70, 33, 25), (101, 2));
    for (synapses, size) in [small[1], small[4], large] {
        for rounding in [None, Some(Rounding::Nearest), Some(Rounding::Split)] {
            let mut draw = Draw::<R>::new(cases.len() as u64);
            let case = Case::draw(&mut draw, AnyKernel::Gauss, synapses, size, Some(0.23), 0);
            let name = format!("{}, rounding {rounding:?}", case.name);
            cases.push(Case { name, rounding, ..case });
        }
    }
    cases
}

/// Delays at both ends, at whole and at half steps first, then uniform ones.
fn delays<R: Real>(draw: &mut Draw<R>, n: usize, taps: usize) -> Vec<f64> {
    let last = (taps - 1) as f64;
    let mut delays = draw.uniform(n, 0.0, last);
    for (delay, special) in delays.iter_mut().zip([0.0, last, 1.0, 0.5, 2.5]) {
        *delay = special.min(last);
    }
    delays
}

fn mixed(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| 0.5 * a - 0.25 * b).collect()
}
