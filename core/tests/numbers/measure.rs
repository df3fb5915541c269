//! Draws that both precisions represent exactly, and the errors of their results.

use polychron_core::gradcheck::{FLOOR, relative_error};
use polychron_core::num::Real;
use polychron_core::rng::Rng;
use std::fmt;

/// Smaller numbers count as 0: kernels drop such taps, and e^x of an `f32` ends at 2.4e-38.
const NOTHING: f64 = 1e-30;

/// A single-precision number in either precision.
pub(crate) fn of<R: Real>(x: f32) -> R {
    R::of(f64::from(x))
}

/// Single-precision numbers in either precision.
pub(crate) fn all<R: Real>(x: &[f32]) -> Vec<R> {
    x.iter().map(|&x| of(x)).collect()
}

pub(crate) fn largest<R: Real>(x: &[R]) -> f64 {
    x.iter().fold(0.0, |top, x| top.max(x.as_f64().abs()))
}

/// A sequence of draws.
pub(crate) struct Draw {
    rng: Rng,
    index: u64,
}

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed, 0), index: 0 }
    }

    pub(crate) fn uniform(&mut self, low: f32, high: f32) -> f32 {
        self.index += 1;
        low + (high - low) * self.rng.uniform::<f32>(self.index)
    }

    /// `10^x` for a uniform `x`.
    pub(crate) fn magnitude(&mut self, low: f32, high: f32) -> f32 {
        10f32.powf(self.uniform(low, high))
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.uniform(0.0, n as f32) as usize).min(n - 1)
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(crate) fn block(&mut self, len: usize, low: f32, high: f32) -> Vec<f32> {
        (0..len).map(|_| self.uniform(low, high)).collect()
    }

    /// A multiple of 1/1024, so that both precisions lie on the same side of every kink.
    pub(crate) fn on_grid(&mut self, low: f32, high: f32) -> f32 {
        (self.uniform(low, high) * 1024.0).round() / 1024.0
    }
}

/// Results of an operation, with the scale of their errors.
pub(crate) struct Part<R> {
    values: Vec<R>,
    scale: f64,
    ulps: bool,
}

impl<R: Real> Part<R> {
    /// Errors relative to each number, also in units in the last place.
    pub(crate) fn each(values: Vec<R>) -> Self {
        Self { values, scale: 0.0, ulps: true }
    }

    /// Errors relative to a scale of the operation.
    pub(crate) fn against(values: Vec<R>, scale: f64) -> Self {
        Self { values, scale, ulps: false }
    }

    /// Errors relative to the largest number.
    pub(crate) fn against_largest(values: Vec<R>) -> Self {
        let scale = largest(&values);
        Self::against(values, scale)
    }
}

/// An operation and its input.
pub(crate) trait Case {
    fn run<R: Real>(&self) -> Vec<Part<R>>;
}

/// The worst error.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Worst {
    relative: f64,
    ulps: f64,
}

impl Worst {
    pub(crate) fn add(&mut self, found: f32, exact: f64, scale: f64) {
        let size = exact.abs().max(NOTHING) as f32;
        let unit = f64::from(size.next_up()) - f64::from(size);
        let found = f64::from(found);
        let ulps = (found - exact).abs() / unit;
        self.relative =
            worse(self.relative, relative_error(found, exact, scale.max(NOTHING / FLOOR)));
        self.ulps = worse(self.ulps, ulps);
    }
}

/// The larger error; infinite if one is NaN.
fn worse(a: f64, b: f64) -> f64 {
    if b.is_nan() { f64::INFINITY } else { a.max(b) }
}

/// A row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) operation: String,
    pub(crate) result: &'static str,
    pub(crate) worst: Worst,
    pub(crate) ulps: bool,
}

/// The worst errors of cases whose parts have the given names.
pub(crate) fn measure<C: Case>(
    operation: &str,
    results: &[&'static str],
    cases: impl IntoIterator<Item = C>,
) -> Vec<Row> {
    let row =
        |&result| Row { operation: operation.into(), result, worst: Worst::default(), ulps: false };
    let mut rows: Vec<_> = results.iter().map(row).collect();
    for case in cases {
        let (found, exact) = (case.run::<f32>(), case.run::<f64>());
        assert_eq!(rows.len(), exact.len(), "{operation}");
        for ((row, found), exact) in rows.iter_mut().zip(found).zip(exact) {
            row.ulps = exact.ulps;
            assert_eq!(found.values.len(), exact.values.len(), "{operation}");
            for (&found, &number) in found.values.iter().zip(&exact.values) {
                row.worst.add(found, number, exact.scale);
            }
        }
    }
    rows
}

/// One digit, rounded up after adding a fifth, so that small changes do not change a row.
fn stated(worst: f64) -> f64 {
    let with_room = 1.2 * worst;
    let unit = 10f64.powf(with_room.log10().floor());
    let up = format!("{:.0e}", (with_room / unit).ceil() * unit).parse();
    if worst == 0.0 { 0.0 } else { up.unwrap_or(f64::INFINITY) }
}

impl Row {
    fn start(&self) -> String {
        format!("| {} | {} | ", self.operation, self.result)
    }

    /// Whether a line states this row, with errors that are not smaller.
    pub(crate) fn is_within(&self, line: &str) -> bool {
        let figures = line.strip_prefix(&self.start()).and_then(|rest| rest.strip_suffix(" |"));
        let Some((relative, ulps)) = figures.and_then(|figures| figures.split_once(" | ")) else {
            return false;
        };
        let holds = |claim: &str, found: f64| claim.parse().is_ok_and(|claim: f64| found <= claim);
        let units = if self.ulps { holds(ulps, self.worst.ulps) } else { ulps == "-" };
        units && holds(relative, self.worst.relative)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.start())?;
        match stated(self.worst.relative) {
            0.0 => f.write_str("0 | ")?,
            relative => write!(f, "{relative:e} | ")?,
        }
        if self.ulps { write!(f, "{} |", stated(self.worst.ulps)) } else { f.write_str("- |") }
    }
}
