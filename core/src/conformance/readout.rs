use super::host::{Draw, Host, Output, Problem, agree};
use super::tolerance::Stage;
use super::{Conforming, Failure, Report, Verdict};
use crate::loss::Loss;
use crate::neuron::Li;
use crate::norm::ValidSteps;
use crate::num::Real;
use crate::shape::Shape;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Scores, loss and gradient equal those of the reference, for every loss, with and without
/// lengths. Of several equal maxima the first one receives the gradient.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn readout<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for case in cases::<R>() {
        agree(
            backend,
            &mut report,
            &case.name,
            &Readout { case: &case, targets: true, asked: true },
        )?;
        agree(
            backend,
            &mut report,
            &case.name,
            &Readout { case: &case, targets: true, asked: false },
        )?;
    }
    Ok(report)
}

/// Without targets the scores are the same, the loss is 0 and the gradient does not change.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn readout_without_targets<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for case in cases::<R>() {
        for asked in [false, true] {
            agree(
                backend,
                &mut report,
                &case.name,
                &Readout { case: &case, targets: false, asked },
            )?;
        }
    }
    Ok(report)
}

/// A gradient by the scores becomes the same gradient by the input as in the reference.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn readout_backward<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for case in cases::<R>() {
        agree(backend, &mut report, &case.name, &Backward(&case))?;
    }
    Ok(report)
}

struct Case {
    name: String,
    loss: Loss,
    rate: f64,
    decay_input: bool,
    shape: Shape,
    lengths: Option<Vec<usize>>,
    x: Vec<f64>,
    targets: Vec<f64>,
}

fn cases<R: Real>() -> Vec<Case> {
    let sizes: [(Shape, Option<Vec<usize>>); 6] = [
        (Shape::new(9, 3, 4), None),
        (Shape::new(9, 3, 4), Some(vec![9, 0, 3])),
        (Shape::new(7, 1, 5), None),
        (Shape::new(7, 1, 5), Some(vec![4])),
        (Shape::new(1, 2, 3), None),
        (Shape::new(45, 5, 35), Some(vec![45, 7, 30, 44, 1])),
    ];
    let mut cases = Vec::new();
    for (_, loss) in Loss::ALL {
        for (shape, lengths) in &sizes {
            for (rate, decay_input) in [(0.25, false), (0.25, true), (1.0, false)] {
                let mut draw = Draw::<R>::new(5000 + cases.len() as u64);
                let mut x = draw.uniform(shape.len(), -1.0, 1.0);
                if rate == 1.0 {
                    // The membrane is the input. A grid makes maxima tie exactly.
                    x.iter_mut().for_each(|x| *x = R::of(*x * 2.0).round_even().as_f64() / 2.0);
                }
                let mut targets = draw.uniform(shape.batch * shape.width, 0.0, 1.0);
                for (row, b) in targets.chunks_exact_mut(shape.width).zip(0..) {
                    distribution::<R>(row, b);
                }
                cases.push(Case {
                    name: format!("{}, rate {rate}, decaying input {decay_input}, {shape:?}, lengths {lengths:?}", loss.name()),
                    loss,
                    rate,
                    decay_input,
                    shape: *shape,
                    lengths: lengths.clone(),
                    x,
                    targets,
                });
            }
        }
    }
    cases
}

/// One class for even samples, a distribution over all classes for odd ones.
fn distribution<R: Real>(row: &mut [f64], b: usize) {
    let (sum, classes) = (row.iter().sum::<f64>(), row.len());
    for (c, y) in row.iter_mut().enumerate() {
        let one = if c == b % classes { 1.0 } else { 0.0 };
        *y = if b.is_multiple_of(2) { one } else { R::of(*y / sum).as_f64() };
    }
}

struct Readout<'a> {
    case: &'a Case,
    targets: bool,
    /// Whether the gradient is requested.
    asked: bool,
}

impl Problem for Readout<'_> {
    fn run<Q: Real, B: Conforming<Real = Q>>(&self, backend: &B) -> Result<Vec<Output>, Failure> {
        let (case, host) = (self.case, Host::<Q, B>::new(backend));
        let li = Li { rate: Q::of(case.rate), decay_input: case.decay_input };
        let valid = ValidSteps { lengths: case.lengths.as_deref(), padding: 0 };
        let x = host.sequence(case.shape, &case.x)?;
        let targets = host.buffer(&case.targets)?;
        let mut scores = host.blank(case.targets.len())?;
        let mut d_x = host.blank_sequence(case.shape)?;
        let given = self.targets.then_some(&targets);
        let asked = self.asked.then_some(&mut d_x);
        let loss = backend.readout(&li, case.loss, valid, &x, given, &mut scores, asked)?;
        host.same_sequence(&x, &case.x)?;
        host.same_buffer(&targets, &case.targets)?;
        let d_x = host.read_sequence(&d_x)?;
        let scores = Output::new(Stage::Readout, "scores", host.read(&scores, case.targets.len())?);
        let loss = Output::new(Stage::Readout, "loss", vec![loss.as_f64()]);
        let mut outputs = vec![scores, Output { floor: 1.0, ..loss }];
        if self.targets && self.asked {
            outputs.push(Output::new(Stage::ReadoutBackward, "d_x", d_x));
        } else if !d_x.iter().all(|d| d.is_nan()) {
            return Err(Failure("readout: touched a gradient without targets or a request".into()));
        }
        Ok(outputs)
    }
}

struct Backward<'a>(&'a Case);

impl Problem for Backward<'_> {
    fn run<Q: Real, B: Conforming<Real = Q>>(&self, backend: &B) -> Result<Vec<Output>, Failure> {
        let (case, host) = (self.0, Host::<Q, B>::new(backend));
        let li = Li { rate: Q::of(case.rate), decay_input: case.decay_input };
        let valid = ValidSteps { lengths: case.lengths.as_deref(), padding: 0 };
        let x = host.sequence(case.shape, &case.x)?;
        let mut d_x = host.blank_sequence(case.shape)?;
        let d_scores: Vec<Q> = case.targets.iter().map(|&y| Q::of(y - 0.5)).collect();
        backend.readout_backward(&li, case.loss, valid, &x, &d_scores, &mut d_x)?;
        host.same_sequence(&x, &case.x)?;
        Ok(vec![Output::new(Stage::ReadoutBackward, "d_x", host.read_sequence(&d_x)?)])
    }
}
