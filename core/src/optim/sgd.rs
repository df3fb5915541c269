use super::{Rule, Step};
use crate::num::Real;
use crate::parameter::{Domain, Parameter, ParameterError, Settings};

/// Stochastic gradient descent with momentum, as in PyTorch. The second moment is not used.
///
/// ```text
/// m <- momentum m + g
/// change = rate m
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Share of the previous moment that stays, in [0, 1).
    pub momentum: f64,
}

impl Rule for Sgd {
    const NAME: &'static str = "sgd";
    const PARAMETERS: &'static [Parameter] = &[Parameter::new("momentum", Domain::Number(0.9))];
    const EXAMPLE: Self = Self { momentum: 0.875 };
    const CHECKED: [bool; 2] = [true, false];

    fn from_settings<'a>(settings: &Settings<'a>) -> Result<Self, ParameterError<'a>> {
        let momentum = settings.number("momentum")?;
        settings.require((0.0..1.0).contains(&momentum), "momentum", "is not in [0, 1)")?;
        Ok(Self { momentum })
    }

    #[inline]
    fn change<R: Real>(&self, step: &Step<R>) -> impl Fn(R, &mut R, &mut R) -> R {
        let (rate, momentum) = (step.rate, R::of(self.momentum));
        move |g, m, _| {
            *m = momentum * *m + g;
            rate * *m
        }
    }
}
