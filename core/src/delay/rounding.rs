use super::{AnyKernel, FLOOR, round_delay};
use crate::num::Real;

/// How delays become whole steps.
///
/// A network that runs step by step, as on a microcontroller, has taps at whole steps only. After
/// the bump of training has become narrow, the kernel of one of these replaces it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// One tap per delay, at the nearest step: [`Discrete`](super::Discrete). Delays do not learn.
    #[default]
    Nearest,
    /// Two taps per delay, at the steps before and after it: [`Linear`](super::Linear). They share
    /// the weight, `(1 - f) w` and `f w` for a delay of `n + f` steps. Delays learn, except those
    /// exactly on a step, whose gradient is 0. On a device, a synapse costs as much as two.
    Split,
}

impl Rounding {
    /// Every rounding with its name in configurations.
    pub const ALL: [(&'static str, Self); 2] = [("nearest", Self::Nearest), ("split", Self::Split)];

    /// The name in [`Rounding::ALL`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Split => "split",
        }
    }

    /// The kernel of one or two taps.
    #[must_use]
    pub fn kernel(self) -> AnyKernel {
        match self {
            Self::Nearest => AnyKernel::Discrete,
            Self::Split => AnyKernel::Linear,
        }
    }

    /// The taps of a delay in a kernel of `taps` taps, with their shares of the weight. The second
    /// share is 0 if one tap holds all of it. The two shares of [`Split`](Self::Split) sum to
    /// 1 / (1 + 1e-7), as the taps of its kernel. A delay beyond the kernel has the first or last
    /// tap.
    ///
    /// ```
    /// use polychron_core::delay::Rounding;
    /// assert_eq!(Rounding::Nearest.taps(3.25f32, 25), [(3, 1.0), (3, 0.0)]);
    /// let [(first, share), (second, rest)] = Rounding::Split.taps(3.25f64, 25);
    /// assert_eq!((first, second), (3, 4));
    /// assert!((share - 0.75).abs() < 1e-6 && (rest - 0.25).abs() < 1e-6);
    /// ```
    #[must_use]
    pub fn taps<R: Real>(self, delay: R, taps: usize) -> [(usize, R); 2] {
        let nearest = round_delay(delay, taps);
        if self == Self::Nearest {
            return [(nearest, R::one()), (nearest, R::zero())];
        }
        let whole = R::one() / (R::one() + R::of(FLOOR));
        let excess = delay - R::count(nearest);
        let next = if excess > R::zero() { nearest + 1 } else { nearest.wrapping_sub(1) };
        if excess == R::zero() || next >= taps {
            return [(nearest, whole), (nearest, R::zero())];
        }
        let far = (next, whole * excess.abs());
        let near = (nearest, whole * (R::one() - excess.abs()));
        if nearest < next { [near, far] } else { [far, near] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delay::DelayKernel;
    use approx::assert_abs_diff_eq;

    #[test]
    fn the_taps_are_those_of_the_kernel() {
        for (_, rounding) in Rounding::ALL {
            for delay in [0.0, 0.25, 0.5, 1.5, 2.75, 3.0, 3.999, 4.0] {
                let mut kernel = [0.0; 5];
                rounding.kernel().taps(delay, 0.23, &mut kernel);
                for (tap, share) in rounding.taps(delay, 5) {
                    kernel[tap] -= share;
                }
                assert_abs_diff_eq!(kernel[..], [0.0; 5][..], epsilon = 1e-15);
            }
        }
    }

    #[test]
    fn a_delay_outside_the_kernel_has_one_tap() {
        for (delay, tap) in [(-3.5, 0), (f64::NAN, 0), (7.5, 4), (f64::INFINITY, 4)] {
            let [(first, share), (_, rest)] = Rounding::Split.taps(delay, 5);
            assert_eq!((first, rest), (tap, 0.0), "{delay}");
            assert_abs_diff_eq!(share, 1.0, epsilon = 1.1e-7);
        }
    }
}
