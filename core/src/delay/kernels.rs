use super::{DelayKernel, LANES, SynapseGradient, Tap, distance, round_delay};
use crate::num::Real;

/// A Gaussian of standard deviation `s = |sigma| + 0.27` steps: the paper's training kernel
/// (`gauss` of the DCLS packages).
///
/// `g = exp(-u^2 / 2 s^2)`. Values below 1e-30 become 0: their products would be subnormal, which
/// processors compute a hundred times slower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauss;

/// A triangle of half width `s = |sigma| + 1` steps (`max` of the DCLS packages).
///
/// `g = max(0, s - |u|)`. With sigma 0 and a whole delay the kernel is a single tap, and the
/// gradient by the delay is 0. The width of sigmas above 2^60, whose taps are all equal, is 2^60.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Max;

/// Linear interpolation between two taps (DCLS version 1). Sigma is not used.
///
/// `g = max(0, 1 - |u|)`. The gradient by a whole delay is 0, so a delay that is clamped to an end
/// stays there. It is the kernel of [`Rounding::Split`](super::Rounding).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Linear;

/// One tap of exactly the weight at the rounded delay: the kernel of
/// [`Rounding::Nearest`](super::Rounding). The gradient by the delay is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discrete;

/// -ln(1e-30).
const NEGLIGIBLE: f64 = 69.07755278982137;

/// A sigma of [`Max`] at which the triangle is flat even in `f64`, and sums of heights times
/// gradients are far from overflow in `f32`.
const FLAT: f64 = (1u64 << 60) as f64;

/// Taps below this fraction of the rounding of the largest are negligible, also in derivatives,
/// whose weights grow with the distance.
const MARGIN: f64 = 1.0 / 256.0;

#[inline]
fn sign<R: Real>(x: R) -> R {
    if x > R::zero() {
        R::one()
    } else if x < R::zero() {
        -R::one()
    } else {
        R::zero()
    }
}

impl<R: Real> DelayKernel<R> for Gauss {
    #[inline]
    fn width(&self, sigma: R) -> (R, R) {
        (sigma.abs() + R::of(0.27), sign(sigma))
    }

    #[inline]
    fn tap(&self, j: usize, delay: R, width: R) -> Tap<R> {
        let z = distance(j, delay) / width;
        let exponent = z * z * R::of(0.5);
        let bump = (-exponent).exp();
        let value = if exponent > R::of(NEGLIGIBLE) { R::zero() } else { bump };
        let slope = value * z / width;
        Tap { value, d_delay: slope, d_width: slope * z }
    }

    /// The distance at which the bump falls below the rounding of 1, with a margin for derivatives
    /// and for delays between two taps.
    fn reach(&self, width: R) -> R {
        width * (R::of(-2.0) * (R::epsilon() * R::of(MARGIN)).ln()).sqrt()
    }
}

#[inline]
fn tent<R: Real>(j: usize, delay: R, width: R) -> Tap<R> {
    let u = distance(j, delay);
    let height = width - u.abs();
    if height > R::zero() {
        Tap { value: height, d_delay: sign(u), d_width: R::one() }
    } else {
        Tap { value: R::zero(), d_delay: R::zero(), d_width: R::zero() }
    }
}

impl<R: Real> DelayKernel<R> for Max {
    #[inline]
    fn width(&self, sigma: R) -> (R, R) {
        let (size, flat) = (sigma.abs(), R::of(FLAT));
        if size > flat { (flat, R::zero()) } else { (size + R::one(), sign(sigma)) }
    }

    #[inline]
    fn tap(&self, j: usize, delay: R, width: R) -> Tap<R> {
        tent(j, delay, width)
    }

    fn reach(&self, width: R) -> R {
        width
    }
}

impl<R: Real> DelayKernel<R> for Linear {
    #[inline]
    fn width(&self, _sigma: R) -> (R, R) {
        (R::one(), R::zero())
    }

    #[inline]
    fn tap(&self, j: usize, delay: R, width: R) -> Tap<R> {
        tent(j, delay, width)
    }

    fn reach(&self, width: R) -> R {
        width
    }
}

impl<R: Real> DelayKernel<R> for Discrete {
    #[inline]
    fn width(&self, _sigma: R) -> (R, R) {
        (R::zero(), R::zero())
    }

    #[inline]
    fn tap(&self, j: usize, delay: R, _width: R) -> Tap<R> {
        let value = if delay.round_even() == R::count(j) { R::one() } else { R::zero() };
        Tap { value, d_delay: R::zero(), d_width: R::zero() }
    }

    fn reach(&self, _width: R) -> R {
        R::zero()
    }

    fn taps(&self, delay: R, _sigma: R, out: &mut [R]) {
        out.fill(R::zero());
        if let Some(x) = out.get_mut(round_delay(delay, out.len())) {
            *x = R::one();
        }
    }

    fn backward(&self, _weight: R, delay: R, _sigma: R, upstream: &[R]) -> SynapseGradient<R> {
        let weight = upstream.get(round_delay(delay, upstream.len())).copied().unwrap_or(R::zero());
        SynapseGradient { weight, delay: R::zero(), sigma: R::zero() }
    }

    fn taps_lanes(&self, delays: &[R; LANES], _sigmas: &[R; LANES], out: &mut [[R; LANES]]) {
        out.fill([R::zero(); LANES]);
        let taps = out.len();
        for (l, &delay) in delays.iter().enumerate() {
            if let Some(row) = out.get_mut(round_delay(delay, taps)) {
                row[l] = R::one();
            }
        }
    }

    fn backward_lanes(
        &self,
        _weights: &[R; LANES],
        delays: &[R; LANES],
        _sigmas: &[R; LANES],
        upstream: &[[R; LANES]],
    ) -> SynapseGradient<[R; LANES]> {
        let zero = [R::zero(); LANES];
        let mut weight = zero;
        for (l, &delay) in delays.iter().enumerate() {
            weight[l] =
                upstream.get(round_delay(delay, upstream.len())).map_or(R::zero(), |row| row[l]);
        }
        SynapseGradient { weight, delay: zero, sigma: zero }
    }
}

macro_rules! kernels {
    ($($kernel:ident = $name:literal $(or $alias:literal)*;)*) => {
        /// A delay kernel chosen at run time.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum AnyKernel {
            $(
                #[doc = concat!("`", $name, "`: see [`", stringify!($kernel), "`](super::", stringify!($kernel), ").")]
                $kernel,
            )*
        }

        impl AnyKernel {
            /// Every kernel with its name in configurations.
            pub const ALL: [(&'static str, Self); [$($name),*].len()] =
                [$(($name, Self::$kernel)),*];

            /// The kernel of a name or an alias; `None` if the name is unknown.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name $(| $alias)* => Some(Self::$kernel),)*
                    _ => None,
                }
            }

            /// The name in [`AnyKernel::ALL`].
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$kernel => $name),*
                }
            }
        }

        impl<R: Real> DelayKernel<R> for AnyKernel {
            #[inline]
            fn width(&self, sigma: R) -> (R, R) {
                match self {
                    $(Self::$kernel => $kernel.width(sigma)),*
                }
            }

            #[inline]
            fn tap(&self, j: usize, delay: R, width: R) -> Tap<R> {
                match self {
                    $(Self::$kernel => $kernel.tap(j, delay, width)),*
                }
            }

            fn reach(&self, width: R) -> R {
                match self {
                    $(Self::$kernel => $kernel.reach(width)),*
                }
            }

            fn taps(&self, delay: R, sigma: R, out: &mut [R]) {
                match self {
                    $(Self::$kernel => $kernel.taps(delay, sigma, out)),*
                }
            }

            fn backward(
                &self,
                weight: R,
                delay: R,
                sigma: R,
                upstream: &[R],
            ) -> SynapseGradient<R> {
                match self {
                    $(Self::$kernel => $kernel.backward(weight, delay, sigma, upstream)),*
                }
            }

            #[inline(always)]
            fn taps_lanes(&self, delays: &[R; LANES], sigmas: &[R; LANES], out: &mut [[R; LANES]]) {
                match self {
                    $(Self::$kernel => $kernel.taps_lanes(delays, sigmas, out)),*
                }
            }

            #[inline(always)]
            fn backward_lanes(
                &self,
                weights: &[R; LANES],
                delays: &[R; LANES],
                sigmas: &[R; LANES],
                upstream: &[[R; LANES]],
            ) -> SynapseGradient<[R; LANES]> {
                match self {
                    $(Self::$kernel => $kernel.backward_lanes(weights, delays, sigmas, upstream)),*
                }
            }
        }
    };
}

kernels! {
    Gauss = "gauss";
    Max = "max";
    Linear = "linear" or "triangle";
    Discrete = "discrete";
}
