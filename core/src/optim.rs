//! Optimizers with weight decay and bounds: Adam, and SGD with momentum.

use crate::num::Real;

/// One step of Adam (Kingma and Ba, 2015) over a flat block.
///
/// ```text
/// g <- g + l2 p                                           coupled
/// m <- b1 m + (1 - b1) g;   v <- b2 v + (1 - b2) g^2
/// p <- p - rate (m / (1 - b1^n)) / (sqrt(v / (1 - b2^n)) + epsilon)
/// ```
/// Decoupled (AdamW): `p <- p - rate l2 p` before the last line instead of the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam<R> {
    /// Learning rate.
    pub rate: R,
    /// Decay of the first moment, also the base of `b1^n`.
    pub beta1: R,
    /// Decay of the second moment.
    pub beta2: R,
    /// Added to the denominator.
    pub epsilon: R,
    /// Weight decay.
    pub l2: R,
    /// Whether weight decay acts on the parameter instead of its gradient.
    pub decoupled: bool,
    /// The number n of this step, counted from 1.
    pub step: u64,
    /// Lowest and highest value after the step. The moments are not changed.
    pub bounds: Option<(R, R)>,
}

impl<R: Real> Adam<R> {
    /// beta1 0.9, beta2 0.999, epsilon 1e-8, no weight decay, no bounds.
    #[must_use]
    pub fn new(rate: R, step: u64) -> Self {
        Self {
            rate,
            beta1: R::of(0.9),
            beta2: R::of(0.999),
            epsilon: R::of(1e-8),
            l2: R::zero(),
            decoupled: false,
            step,
            bounds: None,
        }
    }

    /// `rate / (1 - b1^n)` and `1 / (1 - b2^n)`.
    #[must_use]
    pub fn corrections(&self) -> (R, R) {
        let (one, n) = (R::one(), R::of(self.step as f64));
        (self.rate / (one - self.beta1.powf(n)), one / (one - self.beta2.powf(n)))
    }

    /// Updates `params` and both moments, up to the length of the shortest block.
    pub fn update(&self, gradient: &[R], params: &mut [R], first: &mut [R], second: &mut [R]) {
        let one = R::one();
        let (scale, root) = self.corrections();
        let moments = first.iter_mut().zip(second);
        for ((p, &g), (m, v)) in params.iter_mut().zip(gradient).zip(moments) {
            let mut g = g;
            if self.decoupled {
                *p -= self.rate * self.l2 * *p;
            } else {
                g += self.l2 * *p;
            }
            *m = self.beta1 * *m + (one - self.beta1) * g;
            *v = self.beta2 * *v + (one - self.beta2) * g * g;
            *p -= scale * *m / ((*v * root).sqrt() + self.epsilon);
            *p = within(self.bounds, *p);
        }
    }
}

/// One step of stochastic gradient descent with momentum over a flat block, as in PyTorch.
///
/// ```text
/// g <- g + l2 p                                           coupled
/// m <- momentum m + g
/// p <- p - rate m
/// ```
/// Decoupled: `p <- p - rate l2 p` before the last line instead of the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd<R> {
    /// Learning rate.
    pub rate: R,
    /// Share of the previous moment that stays.
    pub momentum: R,
    /// Weight decay.
    pub l2: R,
    /// Whether weight decay acts on the parameter instead of its gradient.
    pub decoupled: bool,
    /// Lowest and highest value after the step. The moment is not changed.
    pub bounds: Option<(R, R)>,
}

impl<R: Real> Sgd<R> {
    /// No weight decay, no bounds.
    #[must_use]
    pub fn new(rate: R, momentum: R) -> Self {
        Self { rate, momentum, l2: R::zero(), decoupled: false, bounds: None }
    }

    /// Updates `params` and the moment, up to the length of the shortest block.
    pub fn update(&self, gradient: &[R], params: &mut [R], moment: &mut [R]) {
        for ((p, &g), m) in params.iter_mut().zip(gradient).zip(moment) {
            let mut g = g;
            if self.decoupled {
                *p -= self.rate * self.l2 * *p;
            } else {
                g += self.l2 * *p;
            }
            *m = self.momentum * *m + g;
            *p = within(self.bounds, *p - self.rate * *m);
        }
    }
}

fn within<R: Real>(bounds: Option<(R, R)>, p: R) -> R {
    match bounds {
        Some((low, _)) if p < low => low,
        Some((_, high)) if p > high => high,
        _ => p,
    }
}
