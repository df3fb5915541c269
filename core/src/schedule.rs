//! Schedules: one value per epoch, counted from 0.

use crate::num::Real;
use num_traits::float::FloatCore;

const PI: f64 = core::f64::consts::PI;

/// Half a cosine from `a` at `q = 0` to `b` at `q = 1`.
fn half_cosine(a: f64, b: f64, q: f64) -> f64 {
    b + (a - b) / 2.0 * (1.0 + Real::cos(PI * q))
}

/// The one-cycle schedule of learning rate and beta1: the rate rises to its peak in three tenths of
/// the epochs, then falls.
///
/// Source: Smith and Topin, *Super-convergence* (2018), with the defaults of PyTorch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneCycle {
    /// Highest learning rate.
    pub peak: f64,
    /// Epochs of the whole cycle.
    pub epochs: usize,
}

impl OneCycle {
    /// The learning rate and Adam's beta1 in `epoch`. A single epoch has the peak.
    #[must_use]
    pub fn at(&self, epoch: usize) -> (f64, f64) {
        if self.epochs <= 1 {
            return (self.peak, 0.85);
        }
        let (start, end) = (self.peak / 25.0, self.peak / 25.0 / 1e4);
        let (up, last) = (0.3 * self.epochs as f64 - 1.0, self.epochs as f64 - 1.0);
        let e = FloatCore::min(epoch as f64, FloatCore::max(last, 0.0));
        if e <= up {
            let q = if up > 0.0 { e / up } else { 1.0 };
            (half_cosine(start, self.peak, q), half_cosine(0.95, 0.85, q))
        } else {
            let q = if last > up { (e - up) / (last - up) } else { 1.0 };
            (half_cosine(self.peak, end, q), half_cosine(0.85, 0.95, q))
        }
    }
}

/// Half a cosine from the base rate to zero, then zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosine {
    /// Learning rate of the first epoch.
    pub base: f64,
    /// Epochs until the rate is zero.
    pub epochs: usize,
}

impl Cosine {
    /// The learning rate in `epoch`.
    #[must_use]
    pub fn at(&self, epoch: usize) -> f64 {
        let last = self.epochs.max(1);
        half_cosine(self.base, 0.0, epoch.min(last) as f64 / last as f64)
    }
}

/// How a learning rate changes from epoch to epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Schedule {
    /// [`OneCycle`]; Adam's beta1 follows it.
    #[default]
    OneCycle,
    /// [`Cosine`]
    Cosine,
    /// Always the base rate.
    Constant,
    /// Multiplied by `factor` after every `epochs` epochs.
    Step {
        /// The number of epochs between two changes; 0 counts as 1.
        epochs: usize,
        /// The factor.
        factor: f64,
    },
}

impl Schedule {
    /// The names in configurations. `step` has the parameters of [`Schedule::Step`].
    pub const NAMES: [&'static str; 4] = ["one-cycle", "cosine", "constant", "step"];

    /// The schedule of a name; `None` if the name is unknown.
    #[must_use]
    pub fn from_name(name: &str, step_epochs: usize, step_factor: f64) -> Option<Self> {
        Some(match name {
            "one-cycle" => Self::OneCycle,
            "cosine" => Self::Cosine,
            "constant" => Self::Constant,
            "step" => Self::Step { epochs: step_epochs, factor: step_factor },
            _ => return None,
        })
    }

    /// The learning rate in `epoch` of a training of `epochs` epochs with the base rate `rate`, and
    /// Adam's beta1.
    #[must_use]
    pub fn at(&self, rate: f64, epoch: usize, epochs: usize) -> (f64, f64) {
        match *self {
            Self::OneCycle => OneCycle { peak: rate, epochs }.at(epoch),
            Self::Cosine => (Cosine { base: rate, epochs }.at(epoch), 0.9),
            Self::Constant => (rate, 0.9),
            Self::Step { epochs, factor } => {
                (rate * factor.powf((epoch / epochs.max(1)) as f64), 0.9)
            }
        }
    }
}

/// The raw sigma, which shrinks by a constant factor per epoch, from `start` to `end` over the
/// first `epochs` epochs. It is constant if `start` is not above `end`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SigmaSchedule {
    /// Sigma in the first epoch; half the kernel length in the paper.
    pub start: f64,
    /// Sigma from epoch `epochs` on; 0.23 in the paper, a Gaussian of width 0.5 steps.
    pub end: f64,
    /// Epochs until sigma is `end`; a quarter of the training in the paper.
    pub epochs: usize,
}

impl SigmaSchedule {
    /// The schedule of the paper for kernels of `taps` taps and a training of `epochs` epochs.
    #[must_use]
    pub fn paper(taps: usize, epochs: usize) -> Self {
        Self { start: (taps / 2) as f64, end: 0.23, epochs: (epochs / 4).max(1) }
    }

    /// Sigma in `epoch`.
    #[must_use]
    pub fn at(&self, epoch: usize) -> f64 {
        if self.start <= self.end || self.epochs == 0 {
            return if self.epochs == 0 { self.end } else { self.start };
        }
        let q = epoch.min(self.epochs) as f64 / self.epochs as f64;
        self.start * (self.end / self.start).powf(q)
    }
}
