//! The real numbers of the library: `f32` for speed, `f64` for proofs.

use core::fmt::{Debug, Display};
use core::iter::Sum;
use num_traits::float::FloatCore;
use num_traits::{FromPrimitive, NumAssign};

mod sealed {
    pub trait Sealed {}
}

/// A floating-point number: `f32` or `f64`. The trait is sealed.
///
/// Transcendental functions come from `libm` in every build, so results do not depend on whether
/// another crate enables `std`. The exponential of an `f32` is our own, because loops over it
/// vectorise.
pub trait Real:
    sealed::Sealed
    + FloatCore
    + NumAssign
    + FromPrimitive
    + Sum
    + Default
    + Debug
    + Display
    + Send
    + Sync
    + 'static
{
    /// `"f32"` or `"f64"`, the name in configurations and checkpoints.
    const NAME: &'static str;
    /// Size of a number in bytes.
    const BYTES: usize;

    /// The representable number nearest to `x`.
    #[must_use]
    fn of(x: f64) -> Self;
    /// This number as `f64`, exactly.
    fn as_f64(self) -> f64;
    /// e^x.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Cosine of an angle in radians.
    fn cos(self) -> Self;
    /// Sine of an angle in radians.
    fn sin(self) -> Self;
    /// Arc tangent in radians.
    fn atan(self) -> Self;
    /// The error function 2/sqrt(pi) * integral of exp(-t^2) from 0 to x.
    fn erf(self) -> Self;
    /// The nearest integer, halves to even.
    fn round_even(self) -> Self;
    /// x^y.
    fn powf(self, y: Self) -> Self;
    /// Writes the number to `out` in little-endian order, [`Real::BYTES`] bytes at most.
    fn write_le(self, out: &mut [u8]);
    /// Reads a number that [`Real::write_le`] wrote; zero if `bytes` is too short.
    fn read_le(bytes: &[u8]) -> Self;

    /// Converts a count.
    fn count(n: usize) -> Self {
        Self::of(n as f64)
    }
}

macro_rules! real {
    ($t:ident, $bytes:literal, $exp:path, $ln:ident, $sqrt:ident, $cos:ident, $sin:ident,
     $atan:ident, $erf:ident, $rint:ident, $pow:ident) => {
        impl sealed::Sealed for $t {}

        impl Real for $t {
            const NAME: &'static str = stringify!($t);
            const BYTES: usize = $bytes;

            #[inline]
            fn of(x: f64) -> Self {
                x as $t
            }
            #[inline]
            fn as_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline]
            fn exp(self) -> Self {
                $exp(self)
            }
            #[inline]
            fn ln(self) -> Self {
                libm::$ln(self)
            }
            #[inline]
            fn sqrt(self) -> Self {
                libm::$sqrt(self)
            }
            #[inline]
            fn cos(self) -> Self {
                libm::$cos(self)
            }
            #[inline]
            fn sin(self) -> Self {
                libm::$sin(self)
            }
            #[inline]
            fn atan(self) -> Self {
                libm::$atan(self)
            }
            #[inline]
            fn erf(self) -> Self {
                libm::$erf(self)
            }
            #[inline]
            fn round_even(self) -> Self {
                libm::$rint(self)
            }
            #[inline]
            fn powf(self, y: Self) -> Self {
                libm::$pow(self, y)
            }
            fn write_le(self, out: &mut [u8]) {
                for (to, from) in out.iter_mut().zip(self.to_le_bytes()) {
                    *to = from;
                }
            }
            fn read_le(bytes: &[u8]) -> Self {
                bytes.first_chunk::<$bytes>().map_or(0.0, |b| $t::from_le_bytes(*b))
            }
        }
    };
}

real!(f32, 4, exp, logf, sqrtf, cosf, sinf, atanf, erff, rintf, powf);
real!(f64, 8, libm::exp, log, sqrt, cos, sin, atan, erf, rint, pow);

/// Computes e^x to 2 units in the last place, without branches; results below 2.4e-38 are 0.
///
/// The polynomial is that of `expf` in Cephes (S. Moshier).
#[inline]
fn exp(x: f32) -> f32 {
    /// 1.5 * 2^23: adding it leaves the nearest integer in the low bits.
    const SHIFTER: f32 = 12_582_912.0;
    let shifted = x * core::f32::consts::LOG2_E + SHIFTER;
    let n = shifted - SHIFTER;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + c;
    }
    // 2^(n - 1): 2^n of the largest results overflows.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(126 << 23));
    let y = (p * r * r + r + 1.0) * power * 2.0;
    if x > 88.722_83 {
        f32::INFINITY
    } else if x < -86.6 {
        0.0
    } else {
        y
    }
}

/// The logistic function 1 / (1 + e^-x), without overflow on either side.
#[inline]
pub fn logistic<R: Real>(x: R) -> R {
    if x >= R::zero() {
        R::one() / (R::one() + (-x).exp())
    } else {
        let e = x.exp();
        e / (R::one() + e)
    }
}

/// The argument at which the logistic function has a value, `-ln(1 / value - 1)`.
pub(crate) fn logit<R: Real>(value: R) -> R {
    -(R::one() / value - R::one()).ln()
}

/// The slope of the logistic function where it has a value.
#[inline]
pub(crate) fn logistic_slope<R: Real>(value: R) -> R {
    value * (R::one() - value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_round_to_even() {
        assert_eq!([0.5, 1.5, 2.5, -0.5, -1.5].map(Real::round_even), [0.0, 2.0, 2.0, 0.0, -2.0]);
    }

    #[test]
    fn exponentials_are_within_two_units_in_the_last_place() {
        for n in -86_500..=88_722 {
            let x = n as f32 * 1e-3;
            let (found, exact) = (Real::exp(x), libm::exp(f64::from(x)));
            let unit = f64::from(f32::from_bits(found.to_bits() + 1)) - f64::from(found);
            assert!((f64::from(found) - exact).abs() <= 2.0 * unit, "{x}: {found} {exact}");
        }
        let ends = [0.0, -0.0, 88.9, -87.0, f32::INFINITY, f32::NEG_INFINITY].map(Real::exp);
        assert_eq!(ends, [1.0, 1.0, f32::INFINITY, 0.0, f32::INFINITY, 0.0]);
        assert!(Real::exp(f32::NAN).is_nan());
    }

    #[test]
    fn logistic_is_finite_and_symmetric() {
        for x in [0.0, 1.0, 30.0, 800.0] {
            assert!((logistic(x) + logistic(-x) - 1.0f64).abs() < 1e-15);
        }
    }
}
