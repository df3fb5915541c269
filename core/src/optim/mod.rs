//! Optimizers with weight decay and bounds.
//!
//! An optimizer is a [`Rule`] in its own file and a name in the list at the end of this file.
//! Configurations, the trainer, backends and laws read the list.

mod adam;
mod sgd;

pub use adam::Adam;
pub use sgd::Sgd;

use crate::num::Real;
use crate::parameter::{Parameter, ParameterError, Problem, Settings, Value};
use core::fmt::Debug;

/// The rule by which an optimizer changes a parameter. It has at most two moments.
pub trait Rule: Copy + Debug + PartialEq {
    /// The name in configurations.
    const NAME: &'static str;
    /// The parameters in configurations.
    const PARAMETERS: &'static [Parameter];
    /// An example for proofs. The numbers are exact in `f32`.
    const EXAMPLE: Self;
    /// The moments that training checks after a step, the first and the second. If they are finite,
    /// the others are finite, too.
    const CHECKED: [bool; 2];

    /// The optimizer of a configuration.
    ///
    /// # Errors
    /// Names the parameter whose value is invalid.
    fn from_settings<'a>(settings: &Settings<'a>) -> Result<Self, ParameterError<'a>>;

    /// A function of a gradient that updates the first and the second moment of a parameter and
    /// returns the number to subtract from the parameter. Moments start at 0; the second is never
    /// negative.
    fn change<R: Real>(&self, step: &Step<R>) -> impl Fn(R, &mut R, &mut R) -> R;
}

/// One step of an optimizer over a flat block.
///
/// ```text
/// g <- g + l2 p                 coupled
/// p <- p - rate l2 p            decoupled
/// p <- p - change(g, m, v)      the rule of the optimizer
/// ```
/// Then `p` is limited to the bounds; the moments are not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step<R> {
    /// The optimizer.
    pub optimizer: Optimizer,
    /// The number of this step, counted from 1.
    pub number: u64,
    /// Learning rate.
    pub rate: R,
    /// Decay of the first moment of [`Adam`], which a schedule may change.
    pub beta1: R,
    /// Weight decay.
    pub l2: R,
    /// Whether weight decay acts on the parameter instead of its gradient.
    pub decoupled: bool,
    /// Lowest and highest value after the step.
    pub bounds: Option<(R, R)>,
}

impl<R: Real> Step<R> {
    /// beta1 0.9, no weight decay, no bounds.
    #[must_use]
    pub fn new(optimizer: Optimizer, rate: R, number: u64) -> Self {
        let (beta1, l2) = (R::of(0.9), R::zero());
        Self { optimizer, number, rate, beta1, l2, decoupled: false, bounds: None }
    }

    fn follow(
        &self,
        change: impl Fn(R, &mut R, &mut R) -> R,
        gradient: &[R],
        params: &mut [R],
        first: &mut [R],
        second: &mut [R],
    ) {
        let moments = first.iter_mut().zip(second);
        for ((p, &g), (m, v)) in params.iter_mut().zip(gradient).zip(moments) {
            let mut g = g;
            if self.decoupled {
                *p -= self.rate * self.l2 * *p;
            } else {
                g += self.l2 * *p;
            }
            *p -= change(g, m, v);
            match self.bounds {
                Some((low, _)) if *p < low => *p = low,
                Some((_, high)) if *p > high => *p = high,
                _ => {}
            }
        }
    }
}

macro_rules! optimizers {
    ($($optimizer:ident)*) => {
        /// An optimizer chosen at run time. Blocks are dispatched once.
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Optimizer {
            $(
                #[doc = concat!("[`", stringify!($optimizer), "`]")]
                $optimizer($optimizer),
            )*
        }

        impl Optimizer {
            /// The name and the parameters of every optimizer in configurations.
            pub const KINDS: &'static [(&'static str, &'static [Parameter])] =
                &[$(($optimizer::NAME, $optimizer::PARAMETERS)),*];
            /// [`Rule::EXAMPLE`] of every optimizer.
            pub const EXAMPLES: &'static [Self] = &[$(Self::$optimizer($optimizer::EXAMPLE)),*];
            const NAMES: &'static [&'static str] = &[$($optimizer::NAME),*];

            /// The optimizer of a name. Parameters that are not given have their defaults. Those of
            /// other optimizers are ignored.
            ///
            /// # Errors
            /// [`ParameterError`] if no optimizer has this name, or if a value is invalid.
            pub fn from_name<'a>(
                name: &'a str,
                given: &'a [(&'a str, Value<'a>)],
            ) -> Result<Self, ParameterError<'a>> {
                $(if name == $optimizer::NAME {
                    let settings = Settings::new(name, $optimizer::PARAMETERS, given, 1.0)?;
                    return Ok(Self::$optimizer($optimizer::from_settings(&settings)?));
                })*
                let (value, problem) = (Value::Word(name), Problem::NotOneOf(Self::NAMES));
                Err(ParameterError { parameter: "optimizer", value, problem })
            }

            /// The name in configurations.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$optimizer(_) => $optimizer::NAME),*
                }
            }

            /// [`Rule::CHECKED`]
            #[must_use]
            pub fn checked(&self) -> [bool; 2] {
                match self {
                    $(Self::$optimizer(_) => $optimizer::CHECKED),*
                }
            }
        }

        impl<R: Real> Step<R> {
            /// Updates `params` and both moments, up to the length of the shortest block.
            pub fn update(
                &self,
                gradient: &[R],
                params: &mut [R],
                first: &mut [R],
                second: &mut [R],
            ) {
                match &self.optimizer {
                    $(Optimizer::$optimizer(rule) => {
                        self.follow(rule.change(self), gradient, params, first, second);
                    })*
                }
            }
        }
    };
}

optimizers! { Adam Sgd }

impl Default for Optimizer {
    fn default() -> Self {
        Self::Adam(Adam::default())
    }
}
