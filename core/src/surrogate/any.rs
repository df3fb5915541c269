//! Every surrogate with its name in configurations.

use super::{Surrogate, kinked::*, smooth::*, up_to_three};
use crate::num::Real;
use core::fmt;

/// The allowed values of a parameter.
#[derive(Clone, Copy)]
enum Domain {
    Positive,
    Finite,
}

macro_rules! surrogates {
    ($($family:ident($type:ty) = $name:literal { $($field:ident: $domain:ident = $default:literal),* })*) => {
        /// A surrogate chosen at run time. Slices are dispatched once.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum AnySurrogate<R> {
            $(
                #[doc = concat!("`", $name, "`", $(" ", stringify!($field), " = ", $default,)* ": see [`", stringify!($family), "`](super::", stringify!($family), ").")]
                $family($type),
            )*
        }

        impl<R: Real> AnySurrogate<R> {
            /// Every name that [`AnySurrogate::from_name`] accepts.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// The surrogate of a name. Parameters that are not given have their defaults.
            ///
            /// # Errors
            /// [`SurrogateError`] if the name or a parameter is unknown, or if a value is not
            /// finite, or not positive where the parameter is a steepness, a width or a standard
            /// deviation.
            pub fn from_name<'a>(
                name: &'a str,
                parameters: &[(&'a str, f64)],
            ) -> Result<Self, SurrogateError<'a>> {
                match name {
                    $($name => {
                        all_known(name, parameters, &[$(stringify!($field)),*])?;
                        Ok(Self::$family($family {
                            $($field: pick(name, parameters, stringify!($field), $default, Domain::$domain)?),*
                        }))
                    })*
                    _ => Err(SurrogateError::UnknownName { name, known: Self::NAMES }),
                }
            }

            /// The name in [`AnySurrogate::NAMES`].
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$family(_) => $name),*
                }
            }

            /// The names and values of the parameters, the arguments of
            /// [`AnySurrogate::from_name`].
            #[must_use]
            pub fn parameters(&self) -> [Option<(&'static str, R)>; 3] {
                match self {
                    $(Self::$family(_s) => up_to_three([$((stringify!($field), _s.$field)),*])),*
                }
            }
        }

        impl<R: Real> Surrogate<R> for AnySurrogate<R> {
            fn derivative(&self, u: R) -> R {
                match self {
                    $(Self::$family(s) => s.derivative(u)),*
                }
            }
            fn primitive(&self, u: R) -> R {
                match self {
                    $(Self::$family(s) => s.primitive(u)),*
                }
            }
            fn derivatives(&self, u: &mut [R]) {
                match self {
                    $(Self::$family(s) => s.derivatives(u)),*
                }
            }
            fn primitives(&self, u: &mut [R]) {
                match self {
                    $(Self::$family(s) => s.primitives(u)),*
                }
            }
            fn kinks(&self) -> [Option<R>; 3] {
                match self {
                    $(Self::$family(s) => s.kinks()),*
                }
            }
        }
    };
}

surrogates! {
    Atan(Atan<R>) = "atan" { alpha: Positive = 2.0 }
    Sigmoid(Sigmoid<R>) = "sigmoid" { alpha: Positive = 4.0 }
    Softsign(Softsign<R>) = "softsign" { alpha: Positive = 2.0 }
    Triangle(Triangle<R>) = "triangle" { alpha: Positive = 1.0 }
    PiecewiseExp(PiecewiseExp<R>) = "piecewise_exp" { alpha: Positive = 1.0 }
    Erf(Erf<R>) = "erf" { alpha: Positive = 2.0 }
    Rect(Rect<R>) = "rect" { width: Positive = 1.0 }
    LeakyRect(LeakyRect<R>) = "leaky_rect" { width: Positive = 1.0, leak: Finite = 0.01 }
    LeakyKRelu(LeakyKRelu<R>) = "leaky_k_relu" { slope: Finite = 1.0, leak: Finite = 0.1 }
    S2nn(S2nn<R>) = "s2nn" { alpha: Positive = 4.0, beta: Finite = 1.0 }
    StraightThrough(StraightThrough) = "straight_through" {}
    Gaussian(Gaussian<R>) = "gaussian" { sigma: Positive = 0.5 }
    MultiGaussian(MultiGaussian<R>) = "multi_gaussian" { sigma: Positive = 0.5, height: Finite = 0.15, scale: Positive = 6.0 }
    SpikeRateEscape(SpikeRateEscape<R>) = "spike_rate_escape" { beta: Positive = 1.0, slope: Finite = 25.0, centre: Finite = 1.0 }
    Circ(Circ<R>) = "circ" { alpha: Positive = 1.0 }
    SparseFastSigmoid(SparseFastSigmoid<R>) = "sparse_fast_sigmoid" { slope: Positive = 25.0, bound: Finite = 1.0 }
}

/// The reason why [`AnySurrogate::from_name`] failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SurrogateError<'a> {
    /// No surrogate has this name.
    UnknownName {
        /// The name given.
        name: &'a str,
        /// The known names.
        known: &'static [&'static str],
    },
    /// The surrogate does not have this parameter.
    UnknownParameter {
        /// The name of the surrogate.
        surrogate: &'a str,
        /// The parameter given.
        parameter: &'a str,
        /// The parameters of the surrogate.
        known: &'static [&'static str],
    },
    /// The value is not finite, or not positive where it must be.
    OutOfDomain {
        /// The name of the surrogate.
        surrogate: &'a str,
        /// The name of the parameter.
        parameter: &'static str,
        /// The value given.
        value: f64,
        /// The requirement: `"positive"` or `"finite"`.
        must_be: &'static str,
    },
}

impl fmt::Display for SurrogateError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UnknownName { name, known } => {
                write!(f, "no surrogate {name:?}; known are {known:?}")
            }
            Self::UnknownParameter { surrogate, parameter, known } => {
                write!(f, "surrogate {surrogate} has no parameter {parameter:?}; it has {known:?}")
            }
            Self::OutOfDomain { surrogate, parameter, value, must_be } => {
                write!(f, "surrogate {surrogate}: {parameter} = {value} must be {must_be}")
            }
        }
    }
}

impl core::error::Error for SurrogateError<'_> {}

fn all_known<'a>(
    surrogate: &'a str,
    parameters: &[(&'a str, f64)],
    known: &'static [&'static str],
) -> Result<(), SurrogateError<'a>> {
    match parameters.iter().find(|(parameter, _)| !known.contains(parameter)) {
        Some(&(parameter, _)) => {
            Err(SurrogateError::UnknownParameter { surrogate, parameter, known })
        }
        None => Ok(()),
    }
}

fn pick<'a, R: Real>(
    surrogate: &'a str,
    parameters: &[(&'a str, f64)],
    parameter: &'static str,
    default: f64,
    domain: Domain,
) -> Result<R, SurrogateError<'a>> {
    let value = parameters.iter().find(|p| p.0 == parameter).map_or(default, |p| p.1);
    let number = R::of(value);
    let (holds, must_be) = match domain {
        Domain::Positive => (number.is_finite() && number > R::zero(), "positive"),
        Domain::Finite => (number.is_finite(), "finite"),
    };
    if holds {
        Ok(number)
    } else {
        Err(SurrogateError::OutOfDomain { surrogate, parameter, value, must_be })
    }
}
