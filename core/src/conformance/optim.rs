use super::host::{Draw, Host, Output, Problem, agree, compare};
use super::tolerance::Stage;
use super::{Conforming, Failure, Report, Verdict};
use crate::num::Real;
use crate::optim::{Optimizer, Step};
use crate::rng::Rng;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Parameters and moments after several steps of every optimizer equal those of the reference, for
/// both kinds of weight decay, with and without bounds. Values outside the range do not change, and
/// second moments are not negative.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn optimizers<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for &optimizer in Optimizer::EXAMPLES {
        for decoupled in [false, true] {
            for (l2, bounds) in [(0.0, None), (0.125, None), (0.125, Some((-0.5, 0.75)))] {
                for (len, range) in [(37, 5..29), (1, 0..1), (9, 4..4), (40_000, 3..39_999)] {
                    let name = format!(
                        "{optimizer:?}, decoupled {decoupled}, decay {l2}, bounds {bounds:?}, \
                         {range:?} of {len}"
                    );
                    let mut draw = Draw::<R>::new(4000);
                    let mut gradients: Vec<_> =
                        (0..4).map(|_| draw.uniform(len, -1.0, 1.0)).collect();
                    gradients[1][0] = 0.0;
                    let params = draw.uniform(len, -1.0, 1.0);
                    let case = Case { optimizer, decoupled, l2, bounds, range, gradients, params };
                    agree(backend, &mut report, &name, &case)?;
                }
            }
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
    optimizer: Optimizer,
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
        for (gradient, number) in self.gradients.iter().zip(1..) {
            let step = Step {
                beta1: Q::of(0.875),
                l2: Q::of(self.l2),
                decoupled: self.decoupled,
                bounds: self.bounds.map(|(low, high)| (Q::of(low), Q::of(high))),
                ..Step::new(self.optimizer, Q::of(0.125), number)
            };
            let g = host.buffer(gradient)?;
            let range = self.range.clone();
            backend.optimize(&step, range, &g, &mut params, &mut first, &mut second, len)?;
            host.same_buffer(&g, gradient)?;
        }
        let mut outputs = Vec::new();
        for (what, buffer) in
            [("params", &params), ("first moment", &first), ("second moment", &second)]
        {
            let values = host.read(buffer, len)?;
            let before = |at: usize| if what == "params" { self.params[at] } else { 0.0 };
            for at in (0..len).filter(|at| !self.range.contains(at)) {
                if values[at].to_bits() != before(at).to_bits() {
                    return Err(Failure(format!(
                        "{}, {what}: changed outside its range, at {at}",
                        self.optimizer.name()
                    )));
                }
            }
            if what == "second moment" && values.iter().any(|&v| v < 0.0) {
                return Err(Failure(format!("{}, {what}: negative", self.optimizer.name())));
            }
            outputs.push(Output::new(Stage::Optimizer, what, values));
        }
        Ok(outputs)
    }
}
