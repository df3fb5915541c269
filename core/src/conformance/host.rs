//! The host side of a problem: draws, transfers, comparisons.

use super::tolerance::Stage;
use super::{Conforming, Failure, Report, Worst};
use crate::backend::{View, ViewMut};
use crate::gradcheck::largest;
use crate::num::Real;
use crate::reference::Reference;
use crate::rng::Rng;
use crate::shape::Shape;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ops::Range;

/// A computation on any backend, with inputs that its number type represents exactly.
pub(super) trait Problem {
    fn run<Q: Real, B: Conforming<Real = Q>>(&self, backend: &B) -> Result<Vec<Output>, Failure>;
}

/// A block that a problem computes.
pub(super) struct Output {
    pub(super) stage: Stage,
    pub(super) what: &'static str,
    pub(super) values: Vec<f64>,
    /// Errors are relative to at least this magnitude.
    pub(super) floor: f64,
}

impl Output {
    pub(super) fn new(stage: Stage, what: &'static str, values: Vec<f64>) -> Self {
        Self { stage, what, values, floor: 0.0 }
    }
}

/// Compares a backend with the reference in `f64`, and with itself on a second call.
pub(super) fn agree<R: Real, B: Conforming<Real = R>>(
    backend: &B,
    report: &mut Report,
    name: &str,
    problem: &impl Problem,
) -> Result<(), Failure> {
    let named = |failure: Failure| Failure(format!("{failure} ({name})"));
    let found = problem.run::<R, B>(backend).map_err(named)?;
    let again = problem.run::<R, B>(backend).map_err(named)?;
    for (a, b) in found.iter().zip(&again) {
        if !same_bits(&a.values, &b.values) {
            return Err(Failure(format!("{}: a second call gives other bits ({name})", a.what)));
        }
    }
    let expected = problem.run::<f64, Reference<f64>>(&Reference::new()).map_err(named)?;
    compare::<R>(report, name, &found, &expected)
}

pub(super) fn compare<R: Real>(
    report: &mut Report,
    name: &str,
    found: &[Output],
    expected: &[Output],
) -> Result<(), Failure> {
    for (found, expected) in found.iter().zip(expected) {
        let (stage, what) = (expected.stage, expected.what);
        let scale = largest(&expected.values).max(expected.floor);
        let error = error(&found.values, &expected.values, scale);
        report.measure(Worst { stage, what, error, tolerance: stage.tolerance::<R>() }, name)?;
    }
    Ok(())
}

/// The largest difference, relative to `scale` unless it is 0; infinite if a value is missing or
/// not finite.
pub(super) fn error(found: &[f64], expected: &[f64], scale: f64) -> f64 {
    if found.len() != expected.len() || found.iter().any(|x| !x.is_finite()) {
        return f64::INFINITY;
    }
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    if scale > 0.0 { worst / scale } else { worst }
}

pub(super) fn same_bits(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// Draws numbers that `R` represents exactly.
pub(super) struct Draw<R> {
    rng: Rng,
    index: u64,
    real: PhantomData<R>,
}

impl<R: Real> Draw<R> {
    pub(super) fn new(problem: u64) -> Self {
        Self { rng: Rng::new(20, problem), index: 0, real: PhantomData }
    }

    pub(super) fn unit(&mut self) -> f64 {
        self.index += 1;
        self.rng.uniform_f64(self.index)
    }

    pub(super) fn uniform(&mut self, len: usize, low: f64, high: f64) -> Vec<f64> {
        (0..len).map(|_| R::of(low + (high - low) * self.unit()).as_f64()).collect()
    }

    /// Zeros and ones, a one with probability `p`.
    pub(super) fn spikes(&mut self, len: usize, p: f64) -> Vec<f64> {
        (0..len).map(|_| if self.unit() < p { 1.0 } else { 0.0 }).collect()
    }

    /// A dropout mask with probability 0.25.
    pub(super) fn mask(&mut self, len: usize) -> Vec<f64> {
        let keep = R::of(1.0 / 0.75).as_f64();
        self.spikes(len, 0.75).iter().map(|x| x * keep).collect()
    }
}

/// A view inside a larger buffer, whose other values are NaN and must not change.
pub(super) struct Part<B> {
    pub(super) buffer: B,
    pub(super) range: Range<usize>,
}

impl<B> Part<B> {
    pub(super) fn view(&self) -> View<'_, B> {
        View::new(&self.buffer, self.range.clone())
    }

    /// The number of values of the whole buffer.
    pub(super) fn len(&self) -> usize {
        self.range.end + AFTER
    }

    pub(super) fn view_mut(&mut self) -> ViewMut<'_, B> {
        ViewMut::new(&mut self.buffer, self.range.clone())
    }
}

/// Odd, so that a part is not aligned.
const BEFORE: usize = 3;
const AFTER: usize = 2;

/// A backend with transfers in `f64`.
pub(super) struct Host<'a, Q, B> {
    pub(super) backend: &'a B,
    real: PhantomData<Q>,
}

impl<'a, Q: Real, B: Conforming<Real = Q>> Host<'a, Q, B> {
    pub(super) fn new(backend: &'a B) -> Self {
        Self { backend, real: PhantomData }
    }

    pub(super) fn buffer(&self, values: &[f64]) -> Result<B::Buffer, Failure> {
        let mut buffer = self.backend.buffer(values.len())?;
        self.backend.upload(&round(values), &mut buffer)?;
        Ok(buffer)
    }

    pub(super) fn sequence(&self, shape: Shape, values: &[f64]) -> Result<B::Sequence, Failure> {
        let mut sequence = self.backend.sequence(shape)?;
        self.fill_sequence(&mut sequence, values)?;
        Ok(sequence)
    }

    pub(super) fn fill_sequence(
        &self,
        sequence: &mut B::Sequence,
        values: &[f64],
    ) -> Result<(), Failure> {
        Ok(self.backend.upload_sequence(&round(values), sequence)?)
    }

    pub(super) fn part(&self, values: &[f64]) -> Result<Part<B::Buffer>, Failure> {
        let buffer = self.backend.buffer(BEFORE + values.len() + AFTER)?;
        let mut part = Part { buffer, range: BEFORE..BEFORE + values.len() };
        self.fill(&mut part, values)?;
        Ok(part)
    }

    pub(super) fn fill(&self, part: &mut Part<B::Buffer>, values: &[f64]) -> Result<(), Failure> {
        let mut padded = vec![f64::NAN; part.range.end + AFTER];
        padded[part.range.clone()].copy_from_slice(values);
        Ok(self.backend.upload(&round(&padded), &mut part.buffer)?)
    }

    /// A buffer of NaN for an output.
    pub(super) fn blank(&self, len: usize) -> Result<B::Buffer, Failure> {
        self.buffer(&vec![f64::NAN; len])
    }

    /// A sequence of NaN for an output.
    pub(super) fn blank_sequence(&self, shape: Shape) -> Result<B::Sequence, Failure> {
        self.sequence(shape, &vec![f64::NAN; shape.len()])
    }

    /// A part of NaN for an output.
    pub(super) fn blank_part(&self, len: usize) -> Result<Part<B::Buffer>, Failure> {
        self.part(&vec![f64::NAN; len])
    }

    pub(super) fn read(&self, buffer: &B::Buffer, len: usize) -> Result<Vec<f64>, Failure> {
        let mut values = vec![Q::zero(); len];
        self.backend.download(buffer, &mut values)?;
        Ok(values.into_iter().map(Real::as_f64).collect())
    }

    pub(super) fn read_sequence(&self, sequence: &B::Sequence) -> Result<Vec<f64>, Failure> {
        let mut values = vec![Q::zero(); self.backend.shape(sequence).len()];
        self.backend.download_sequence(sequence, &mut values)?;
        Ok(values.into_iter().map(Real::as_f64).collect())
    }

    /// The values of the view, after a check that the rest of the buffer has not changed.
    pub(super) fn read_part(&self, part: &Part<B::Buffer>) -> Result<Vec<f64>, Failure> {
        let mut values = self.read(&part.buffer, part.range.end + AFTER)?;
        let after = values.split_off(part.range.end);
        let inside = values.split_off(part.range.start);
        if values.iter().chain(&after).all(|x| x.is_nan()) {
            Ok(inside)
        } else {
            Err(Failure(format!("wrote outside {:?} of a buffer", part.range)))
        }
    }

    pub(super) fn same_part(&self, part: &Part<B::Buffer>, values: &[f64]) -> Result<(), Failure> {
        same(&self.read_part(part)?, values)
    }

    pub(super) fn same_buffer(&self, buffer: &B::Buffer, values: &[f64]) -> Result<(), Failure> {
        same(&self.read(buffer, values.len())?, values)
    }

    pub(super) fn same_sequence(
        &self,
        sequence: &B::Sequence,
        values: &[f64],
    ) -> Result<(), Failure> {
        same(&self.read_sequence(sequence)?, values)
    }
}

fn round<Q: Real>(values: &[f64]) -> Vec<Q> {
    values.iter().map(|&x| Q::of(x)).collect()
}

fn same(found: &[f64], values: &[f64]) -> Result<(), Failure> {
    if same_bits(found, values) { Ok(()) } else { Err(Failure("an input has changed".into())) }
}
