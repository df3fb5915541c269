//! Gradients against differences, coordinate by coordinate, away from kinks.

pub(crate) use polychron_core::gradcheck::dot;
use polychron_core::gradcheck::{STEP, TOLERANCES, directional, partial, relative_error};
use polychron_core::surrogate::{AnySurrogate, Scaled, Surrogate};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRng, TestRunner};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// A surrogate that records on which side of its kinks each excess was.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) surrogate: Scaled<f64, AnySurrogate<f64>>,
    sides: AtomicU64,
}

impl Watched {
    pub(crate) fn new(surrogate: Scaled<f64, AnySurrogate<f64>>) -> Self {
        Self { surrogate, sides: AtomicU64::new(0) }
    }

    /// A digest of the sides since the last call.
    pub(crate) fn take_sides(&self) -> u64 {
        self.sides.swap(0, Ordering::Relaxed)
    }
}

impl Surrogate<f64> for Watched {
    fn derivative(&self, u: f64) -> f64 {
        self.surrogate.derivative(u)
    }
    fn primitive(&self, u: f64) -> f64 {
        let above = self.kinks().iter().flatten().filter(|&&kink| u > kink).count();
        let before = self.sides.load(Ordering::Relaxed);
        self.sides.store(digest(before, above as u64), Ordering::Relaxed);
        self.surrogate.primitive(u)
    }
    fn kinks(&self) -> [Option<f64>; 3] {
        self.surrogate.kinks()
    }
}

/// Mixes a number into a digest (FNV-1a on words).
pub(crate) fn digest(before: u64, with: u64) -> u64 {
    (before ^ with).wrapping_mul(0x0000_0100_0000_01b3).wrapping_add(0xcbf2_9ce4_8422_2325)
}

/// The value of a function, and a digest of the smooth piece that contains its argument.
#[derive(Clone, Copy)]
pub(crate) struct Value {
    pub(crate) value: f64,
    pub(crate) piece: u64,
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self { value, piece: 0 }
    }
}

/// The results of comparisons.
#[derive(Clone, Debug, Default)]
pub(crate) struct Errors {
    pub(crate) worst: f64,
    pub(crate) worst_at: String,
    pub(crate) compared: usize,
    /// Coordinates with a kink within the smallest step.
    pub(crate) skipped: usize,
}

impl Errors {
    pub(crate) fn add(&mut self, error: f64, at: impl FnOnce() -> String) {
        self.compared += 1;
        if error > self.worst {
            (self.worst, self.worst_at) = (error, at());
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        if other.worst > self.worst {
            (self.worst, self.worst_at) = (other.worst, other.worst_at);
        }
        self.compared += other.compared;
        self.skipped += other.skipped;
    }
}

/// The least scale of a comparison: a loss is a sum of terms of size 1, which may cancel.
const LEAST: f64 = 0.1;

/// The error below which a quotient needs no second one.
const CLOSE: f64 = 1e-9;

/// A named range of a parameter vector.
pub(crate) type Part = (&'static str, Range<usize>);

/// Compares a gradient with [`partial`] in every coordinate.
pub(crate) fn compare(
    f: impl Fn(&[f64]) -> Value,
    x: &[f64],
    parts: &[Part],
    gradient: &[f64],
) -> Errors {
    assert_eq!(x.len(), gradient.len());
    let mut errors = Errors::default();
    let mut at = x.to_vec();
    let scale = gradient.iter().fold(f(x).value.abs().max(LEAST), |top, g| top.max(g.abs()));
    for (name, range) in parts {
        for i in range.clone() {
            let quotient = |f: &mut dyn FnMut(&[f64]) -> f64, h| partial(f, &mut at, i, h);
            let error = |slope| relative_error(gradient[i], slope, scale);
            match closest(&f, x, quotient, error) {
                None => errors.skipped += 1,
                Some((error, slope)) => errors.add(error, || {
                    format!("{name}[{}]: {}, not {slope}", i - range.start, gradient[i])
                }),
            }
        }
    }
    errors
}

/// Compares `<gradient, v>` with the slope along random directions v.
pub(crate) fn compare_directions(
    f: impl Fn(&[f64]) -> Value,
    x: &[f64],
    gradient: &[f64],
    directions: &[Vec<f64>],
) -> Errors {
    let mut errors = Errors::default();
    let mut at = x.to_vec();
    for v in directions {
        let quotient = |f: &mut dyn FnMut(&[f64]) -> f64, h| directional(f, x, v, &mut at, h);
        let products = gradient.iter().zip(v).map(|(g, v)| g * v);
        let size = products.clone().map(|p| p * p).sum::<f64>().sqrt();
        let scale = size.max(f(x).value.abs()).max(LEAST);
        let along: f64 = products.sum();
        match closest(&f, x, quotient, |slope| relative_error(along, slope, scale)) {
            None => errors.skipped += 1,
            Some((error, slope)) => errors.add(error, || format!("{along}, not {slope}")),
        }
    }
    errors
}

/// The error of the quotient of the first step, and the quotient. Where the step leaves the smooth
/// piece of `x`, or is too long for the curvature there, those of a shorter step.
fn closest(
    f: &impl Fn(&[f64]) -> Value,
    x: &[f64],
    mut quotient: impl FnMut(&mut dyn FnMut(&[f64]) -> f64, f64) -> f64,
    error: impl Fn(f64) -> f64,
) -> Option<(f64, f64)> {
    let home = f(x).piece;
    let mut best: Option<(f64, f64)> = None;
    for h in [STEP, STEP / 16.0] {
        let mut left = false;
        let slope = quotient(
            &mut |x| {
                let Value { value, piece } = f(x);
                left |= piece != home;
                value
            },
            h,
        );
        let found = error(slope);
        if !left && best.is_none_or(|(least, _)| found < least) {
            best = Some((found, slope));
        }
        if best.is_some_and(|(least, _)| least < CLOSE) {
            break;
        }
    }
    best
}

/// Runs `check` on cases of a strategy, from a fixed seed, and returns the worst error. Fails if an
/// error exceeds the bound of (stage, mode), or if kinks hide more than one coordinate in twenty.
pub(crate) fn hold<S: Strategy>(
    (stage, mode): (&str, &str),
    cases: u32,
    strategy: S,
    check: impl Fn(S::Value) -> Errors,
) -> f64 {
    let bound = bound(stage, mode);
    let config = ProptestConfig { cases, failure_persistence: None, ..Default::default() };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let all = RefCell::new(Errors::default());
    let outcome = TestRunner::new_with_rng(config, rng).run(&strategy, |case| {
        let errors = check(case);
        let failed = errors.worst > bound;
        let message =
            format!("{stage}, {mode}: {} is above {bound}: {}", errors.worst, errors.worst_at);
        all.borrow_mut().merge(errors);
        if failed { Err(TestCaseError::fail(message)) } else { Ok(()) }
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let all = all.into_inner();
    assert!(all.compared > 0 && all.skipped * 20 <= all.compared, "{stage}, {mode}: {all:?}");
    all.worst
}

pub(crate) fn bound(stage: &str, mode: &str) -> f64 {
    let row = TOLERANCES.iter().find(|row| (row.stage, row.mode) == (stage, mode));
    row.unwrap_or_else(|| panic!("no tolerance for {stage}, {mode}")).bound
}
