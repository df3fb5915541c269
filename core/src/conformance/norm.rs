use super::host::{Draw, Host, Output, Part, Problem, agree};
use super::tolerance::Stage;
use super::{Conforming, Failure, Report, Verdict};
use crate::backend::NormMode;
use crate::norm::{BatchNorm, ValidSteps};
use crate::num::Real;
use crate::shape::Shape;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Normalised values, saved statistics and running statistics equal those of the reference, in
/// batch mode and in running mode.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn norm_forward<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for case in cases::<R>() {
        for batch in [true, false] {
            agree(backend, &mut report, &case.name, &Forward { case: &case, batch })?;
        }
    }
    Ok(report)
}

/// The gradients of input, gamma and beta equal those of the reference.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn norm_backward<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for case in cases::<R>() {
        agree(backend, &mut report, &case.name, &Backward(&case))?;
    }
    Ok(report)
}

/// The saved statistics reproduce the values of the forward pass.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn norm_apply<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for case in cases::<R>() {
        for batch in [true, false] {
            let forward = Forward { case: &case, batch }.run::<R, B>(backend)?;
            let apply = Apply { case: &case, batch };
            agree(backend, &mut report, &case.name, &apply)?;
            let again = apply.run::<R, B>(backend)?;
            super::host::compare::<R>(&mut report, &case.name, &again, &forward)?;
        }
    }
    Ok(report)
}

/// A norm whose numbers are exact in `f32`.
pub(super) fn norm<R: Real>() -> BatchNorm<R> {
    BatchNorm { epsilon: R::of(1.0 / 131_072.0), momentum: R::of(0.125) }
}

struct Case {
    name: String,
    shape: Shape,
    lengths: Option<Vec<usize>>,
    padding: usize,
    params: Vec<f64>,
    running: Vec<f64>,
    y: Vec<f64>,
    d_z: Vec<f64>,
}

impl Case {
    fn valid(&self) -> ValidSteps<'_> {
        ValidSteps { lengths: self.lengths.as_deref(), padding: self.padding }
    }
}

fn cases<R: Real>() -> Vec<Case> {
    let sizes: [(Shape, Option<Vec<usize>>, usize); 7] = [
        (Shape::new(9, 3, 5), None, 0),
        (Shape::new(9, 3, 5), Some(vec![9, 4, 0]), 0),
        (Shape::new(9, 3, 5), Some(vec![5, 1, 3]), 2),
        (Shape::new(1, 1, 3), None, 0),
        (Shape::new(6, 1, 1), Some(vec![1]), 0),
        (Shape::new(4, 2, 3), Some(vec![0, 0]), 0),
        (Shape::new(51, 7, 67), Some(vec![51, 40, 13, 51, 2, 30, 44]), 1),
    ];
    let mut cases = Vec::new();
    for ((shape, lengths, padding), seed) in sizes.into_iter().zip(3000..) {
        for silent in [false, true] {
            let mut draw = Draw::<R>::new(seed);
            let mut y = draw.uniform(shape.len(), -0.5, 2.5);
            if silent {
                y.iter_mut().step_by(shape.width).for_each(|y| *y = 0.0);
            }
            let running =
                [draw.uniform(shape.width, -1.0, 1.0), draw.uniform(shape.width, 0.5, 2.0)];
            cases.push(Case {
                name: format!(
                    "{shape:?}, lengths {lengths:?} + {padding}, silent neuron: {silent}"
                ),
                shape,
                lengths: lengths.clone(),
                padding,
                params: draw.uniform(2 * shape.width, -1.0, 1.5),
                running: running.concat(),
                y,
                d_z: draw.uniform(shape.len(), -1.0, 1.0),
            });
        }
    }
    cases
}

struct Forward<'a> {
    case: &'a Case,
    /// Whether the statistics are those of the batch.
    batch: bool,
}

/// A normalised case: its parameters, running and saved statistics, input, output.
struct Done<B, Q> {
    params: Part<B>,
    running: Part<B>,
    saved: B,
    y: Q,
    z: Q,
}

impl Forward<'_> {
    fn done<Q: Real, B: Conforming<Real = Q>>(
        &self,
        host: &Host<'_, Q, B>,
    ) -> Result<Done<B::Buffer, B::Sequence>, Failure> {
        let case = self.case;
        let mut running = host.part(&case.running)?;
        let params = host.part(&case.params)?;
        let y = host.sequence(case.shape, &case.y)?;
        let mut saved = host.blank(2 * case.shape.width)?;
        let mut z = host.blank_sequence(case.shape)?;
        let mode = if self.batch {
            NormMode::Batch { running: running.view_mut() }
        } else {
            NormMode::Running(running.view())
        };
        let valid = case.valid();
        host.backend.norm_forward(&norm(), params.view(), mode, valid, &y, &mut saved, &mut z)?;
        host.same_part(&params, &case.params)?;
        host.same_sequence(&y, &case.y)?;
        if !self.batch {
            host.same_part(&running, &case.running)?;
        }
        Ok(Done { params, running, saved, y, z })
    }
}

impl Problem for Forward<'_> {
    fn run<Q: Real, B: Conforming<Real = Q>>(&self, backend: &B) -> Result<Vec<Output>, Failure> {
        let host = Host::<Q, B>::new(backend);
        let done = self.done(&host)?;
        let saved = host.read(&done.saved, 2 * self.case.shape.width)?;
        Ok(vec![
            Output::new(Stage::Norm, "z", host.read_sequence(&done.z)?),
            Output::new(Stage::Norm, "saved", saved),
            Output::new(Stage::Norm, "running", host.read_part(&done.running)?),
        ])
    }
}

struct Apply<'a> {
    case: &'a Case,
    batch: bool,
}

impl Problem for Apply<'_> {
    fn run<Q: Real, B: Conforming<Real = Q>>(&self, backend: &B) -> Result<Vec<Output>, Failure> {
        let (case, host) = (self.case, Host::<Q, B>::new(backend));
        let Done { params, saved, y, .. } = Forward { case, batch: self.batch }.done(&host)?;
        let mut z = host.blank_sequence(case.shape)?;
        let before = host.read(&saved, 2 * case.shape.width)?;
        backend.norm_apply(params.view(), &saved, &y, &mut z)?;
        host.same_part(&params, &case.params)?;
        host.same_sequence(&y, &case.y)?;
        host.same_buffer(&saved, &before)?;
        Ok(vec![Output::new(Stage::Norm, "z again", host.read_sequence(&z)?)])
    }
}

struct Backward<'a>(&'a Case);

impl Problem for Backward<'_> {
    fn run<Q: Real, B: Conforming<Real = Q>>(&self, backend: &B) -> Result<Vec<Output>, Failure> {
        let (case, host) = (self.0, Host::<Q, B>::new(backend));
        let Done { params, saved, y, .. } = Forward { case, batch: true }.done(&host)?;
        let d_z = host.sequence(case.shape, &case.d_z)?;
        let mut d_y = host.blank_sequence(case.shape)?;
        let mut d_params = host.blank_part(2 * case.shape.width)?;
        let before = host.read(&saved, 2 * case.shape.width)?;
        let (valid, d) = (case.valid(), d_params.view_mut());
        backend.norm_backward(params.view(), &saved, valid, &y, &d_z, &mut d_y, d)?;
        host.same_part(&params, &case.params)?;
        host.same_sequence(&y, &case.y)?;
        host.same_sequence(&d_z, &case.d_z)?;
        host.same_buffer(&saved, &before)?;
        Ok(vec![
            Output::new(Stage::NormBackward, "d_y", host.read_sequence(&d_y)?),
            Output::new(Stage::NormBackward, "d_params", host.read_part(&d_params)?),
        ])
    }
}
