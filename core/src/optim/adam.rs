use super::{Rule, Step};
use crate::num::Real;
use crate::parameter::{Parameter, ParameterError, Settings};

/// Adam (Kingma and Ba, 2015); with decoupled weight decay, AdamW.
///
/// ```text
/// m <- b1 m + (1 - b1) g;   v <- b2 v + (1 - b2) g^2
/// change = rate (m / (1 - b1^n)) / (sqrt(v / (1 - b2^n)) + epsilon)
/// ```
/// `b1` is [`Step::beta1`], n is [`Step::number`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub epsilon: f64,
}

impl Default for Adam {
    /// beta2 0.999, epsilon 1e-8.
    fn default() -> Self {
        Self { beta2: 0.999, epsilon: 1e-8 }
    }
}

impl Adam {
    /// `rate / (1 - b1^n)` and `1 / (1 - b2^n)`.
    #[must_use]
    pub fn corrections<R: Real>(&self, step: &Step<R>) -> (R, R) {
        let (one, n) = (R::one(), R::of(step.number as f64));
        (step.rate / (one - step.beta1.powf(n)), one / (one - R::of(self.beta2).powf(n)))
    }
}

impl Rule for Adam {
    const NAME: &'static str = "adam";
    const PARAMETERS: &'static [Parameter] = &[];
    const EXAMPLE: Self = Self { beta2: 1.0 - 1.0 / 1024.0, epsilon: 1.0 / 67_108_864.0 };
    /// First moments are finite if the second ones are.
    const CHECKED: [bool; 2] = [false, true];

    fn from_settings<'a>(_: &Settings<'a>) -> Result<Self, ParameterError<'a>> {
        Ok(Self::default())
    }

    #[inline]
    fn change<R: Real>(&self, step: &Step<R>) -> impl Fn(R, &mut R, &mut R) -> R {
        let one = R::one();
        let (scale, root) = self.corrections(step);
        let (beta1, beta2, epsilon) = (step.beta1, R::of(self.beta2), R::of(self.epsilon));
        move |g, m, v| {
            *m = beta1 * *m + (one - beta1) * g;
            *v = beta2 * *v + (one - beta2) * g * g;
            scale * *m / ((*v * root).sqrt() + epsilon)
        }
    }
}
