use super::host::{Draw, Host, Output, Problem, agree, compare};
use super::tolerance::Stage;
use super::{Conforming, Failure, Report, Verdict};
use crate::num::Real;
use crate::optim::{Adam, Sgd};
use crate::rng::Rng;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Parameters and moments after several steps equal those of the reference, for both kinds of
/// weight decay, with and without bounds. Values outside the range do not change.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn adam<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for decoupled in [false, true] {
        for (l2, bounds) in [(0.0, None), (0.125, None), (0.125, Some((-0.5, 0.75)))] {
            for (len, range) in [(37, 5..29), (1, 0..1), (9, 4..4), (1500, 3..1499)] {
                let name = format!(
                    "decoupled {decoupled}, decay {l2}, bounds {bounds:?}, {range:?} of {len}"
                );
                let mut draw = Draw::<R>::new(4000);
                let mut gradients: Vec<_> = (0..4).map(|_| draw.uniform(len, -1.0, 1.0)).collect();
                gradients[1][0] = 0.0;
                let params = draw.uniform(len, -1.0, 1.0);
                let case = Case { decoupled, l2, bounds, range, gradients, params };
                agree(backend, &mut report, &name, &case)?;
            }
        }
    }
    Ok(report)
}

/// Parameters and moment after several steps of gradient descent equal those of the reference.
/// Values outside the range do not change.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn sgd<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for (decoupled, bounds) in [(false, None), (true, Some((-0.5, 0.75)))] {
        for (len, range) in [(37, 5..29), (1, 0..1), (9, 4..4), (40_000, 3..39_999)] {
            let name = format!("decoupled {decoupled}, bounds {bounds:?}, {range:?} of {len}");
            let mut draw = Draw::<R>::new(4100);
            let gradients = (0..3).map(|_| draw.uniform(len, -1.0, 1.0)).collect();
            let params = draw.uniform(len, -1.0, 1.0);
            let case = Case { decoupled, l2: 0.125, bounds, range, gradients, params };
            agree(backend, &mut report, &name, &Descent(case))?;
        }
    }
    Ok(report)
}

/// The sum of squares is that of the values, with the same bits on every call; scaling multiplies
/// each of them, and buffers add up.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn norms_and_factors<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    let mut report = Report::default();
    for len in [0, 1, 37, 40_000] {
        let values = Draw::<R>::new(4200).uniform(len, -1.0, 1.0);
        let mut buffer = host.buffer(&values)?;
        let found = backend.square_sum(&buffer, len)?;
        if backend.square_sum(&buffer, len)?.to_bits() != found.to_bits() {
            return Err(Failure("square_sum: a second call gives other bits".into()));
        }
        let sum = Output::new(Stage::Optimizer, "square sum", vec![found]);
        let expected = values.iter().map(|v| v * v).sum();
        let expected = Output::new(Stage::Optimizer, "square sum", vec![expected]);
        compare::<R>(&mut report, &format!("{len} values"), &[sum], &[expected])?;
        backend.scale(R::of(0.75), &mut buffer, len)?;
        let scaled: Vec<f64> = values.iter().map(|&v| (R::of(v) * R::of(0.75)).as_f64()).collect();
        host.same_buffer(&buffer, &scaled).map_err(|_| Failure("scale: other values".into()))?;
        let x = host.buffer(&values)?;
        backend.add_buffer(&x, &mut buffer, len)?;
        let sums = scaled.iter().zip(&values).map(|(&a, &b)| (R::of(a) + R::of(b)).as_f64());
        let named = |_| Failure("add_buffer: other values".into());
        host.same_buffer(&buffer, &sums.collect::<Vec<_>>()).map_err(named)?;
        host.same_buffer(&x, &values)?;
    }
    Ok(report)
}

/// Value `n` of the mask is 0 if `rng.uniform(n) < p`, else `1 / (1 - p)`, bit for bit.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn dropout<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    let rng = Rng::new(11, 3);
    for p in [0.0, 0.1, 0.4, 0.5, 0.9] {
        for len in [1, 7, 1000] {
            let keep = R::of(1.0 / (1.0 - p)).as_f64();
            let draw = |place| if rng.uniform::<f64>(place) < p { 0.0 } else { keep };
            let mask: Vec<f64> = (0..len).map(draw).collect();
            let found = backend.dropout(rng, p, mask.len())?;
            let named = |_| Failure(format!("dropout: not the mask of p = {p}, {len} values"));
            host.same_buffer(&found, &mask).map_err(named)?;
        }
    }
    Ok(Report::default())
}

struct Case {
    decoupled: bool,
    l2: f64,
    bounds: Option<(f64, f64)>,
    range: Range<usize>,
    /// One block per step.
    gradients: Vec<Vec<f64>>,
    params: Vec<f64>,
}

impl Problem for Case {
    fn run<Q: Real, B: Conforming<Real = Q>>(&self, backend: &B) -> Result<Vec<Output>, Failure> {
        let host = Host::<Q, B>::new(backend);
        let len = self.params.len();
        let mut params = host.buffer(&self.params)?;
        let (mut first, mut second) =
            (host.buffer(&vec![0.0; len])?, host.buffer(&vec![0.0; len])?);
        for (gradient, step) in self.gradients.iter().zip(1..) {
            let adam = Adam {
                beta1: Q::of(0.875),
                beta2: Q::of(1.0 - 1.0 / 1024.0),
                epsilon: Q::of(1.0 / 67_108_864.0),
                l2: Q::of(self.l2),
                decoupled: self.decoupled,
                bounds: self.bounds.map(|(low, high)| (Q::of(low), Q::of(high))),
                ..Adam::new(Q::of(0.125), step)
            };
            let g = host.buffer(gradient)?;
            backend.adam(&adam, self.range.clone(), &g, &mut params, &mut first, &mut second)?;
            host.same_buffer(&g, gradient)?;
        }
        let blocks = [("params", &params), ("first moment", &first), ("second moment", &second)];
        self.outputs(&host, "adam", &blocks)
    }
}

impl Case {
    /// The blocks, after a check that values outside the range have not changed.
    fn outputs<Q: Real, B: Conforming<Real = Q>>(
        &self,
        host: &Host<'_, Q, B>,
        optimizer: &str,
        blocks: &[(&'static str, &B::Buffer)],
    ) -> Result<Vec<Output>, Failure> {
        let mut outputs = Vec::new();
        for &(what, buffer) in blocks {
            let values = host.read(buffer, self.params.len())?;
            let before = |at: usize| if what == "params" { self.params[at] } else { 0.0 };
            for at in (0..values.len()).filter(|at| !self.range.contains(at)) {
                if values[at].to_bits() != before(at).to_bits() {
                    return Err(Failure(format!(
                        "{optimizer}, {what}: changed outside its range, at {at}"
                    )));
                }
            }
            outputs.push(Output::new(Stage::Optimizer, what, values));
        }
        Ok(outputs)
    }
}

struct Descent(Case);

impl Problem for Descent {
    fn run<Q: Real, B: Conforming<Real = Q>>(&self, backend: &B) -> Result<Vec<Output>, Failure> {
        let (case, host) = (&self.0, Host::<Q, B>::new(backend));
        let len = case.params.len();
        let (mut params, mut moment) = (host.buffer(&case.params)?, host.buffer(&vec![0.0; len])?);
        let sgd = Sgd {
            l2: Q::of(case.l2),
            decoupled: case.decoupled,
            bounds: case.bounds.map(|(low, high)| (Q::of(low), Q::of(high))),
            ..Sgd::new(Q::of(0.125), Q::of(0.875))
        };
        for gradient in &case.gradients {
            let g = host.buffer(gradient)?;
            backend.sgd(&sgd, case.range.clone(), &g, &mut params, &mut moment, len)?;
            host.same_buffer(&g, gradient)?;
        }
        case.outputs(&host, "sgd", &[("params", &params), ("moment", &moment)])
    }
}
