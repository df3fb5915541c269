//! Transforms of real signals along time, one signal in each lane.
//!
//! A signal of even length N is one complex signal of length N / 2, even steps real and odd ones imaginary; its
//! transform (Stockham's, radices 2 to 5) and its mirror image give the frequencies 0 to N / 2. The two real ones, 0 and
//! N / 2, share bin 0 as its real and imaginary part.

use crate::lanes::{Complex, Lanes, Vector};
use core::f64::consts::TAU;
use pulp::Simd;

/// The transform of one length.
#[derive(Debug)]
pub(super) struct Fft<R> {
    passes: Vec<Pass<R>>,
    /// `exp(-2 pi i k / N)` of every bin k.
    turns: Vec<[R; 2]>,
}

#[derive(Debug)]
struct Pass<R> {
    radix: usize,
    stride: usize,
    /// `exp(-2 pi i k p / (radix groups))`, `[group p][leg k >= 1]`.
    twiddles: Vec<[R; 2]>,
}

/// `exp(-2 pi i n / of)`.
fn turn<R: Lanes>(n: usize, of: usize) -> [R; 2] {
    let (sin, cos) = (TAU * (n % of) as f64 / of as f64).sin_cos();
    [R::of(cos), R::of(-sin)]
}

/// The least even length from `period` on whose half has no prime factor above 5.
pub(super) fn length(period: usize) -> usize {
    let smooth = |n: &usize| {
        let mut n = *n;
        for radix in [2, 3, 5] {
            while n.is_multiple_of(radix) {
                n /= radix;
            }
        }
        n == 1
    };
    2 * (period.div_ceil(2).max(1)..).find(smooth).unwrap_or(1)
}

impl<R: Lanes> Fft<R> {
    /// For a length that [`length`] gives.
    pub(super) fn new(length: usize) -> Self {
        let half = length / 2;
        let (mut rest, mut stride, mut passes) = (half, 1, Vec::new());
        for radix in [4, 2, 3, 5] {
            while rest.is_multiple_of(radix) {
                let groups = rest / radix;
                let twiddle = |n| turn((n % (radix - 1) + 1) * (n / (radix - 1)), rest);
                let twiddles = (0..groups * (radix - 1)).map(twiddle).collect();
                passes.push(Pass { radix, stride, twiddles });
                (rest, stride) = (groups, stride * radix);
            }
        }
        Self { passes, turns: (0..half).map(|k| turn(k, length)).collect() }
    }

    /// Half the length.
    pub(super) fn bins(&self) -> usize {
        self.turns.len()
    }

    /// Room for [`Fft::forward`] and [`Fft::inverse`].
    #[inline(always)]
    pub(super) fn room<S: Simd>(&self, s: S) -> Vec<Complex<R, S>> {
        vec![Complex::splat(s, [R::zero(); 2]); 2 * self.bins()]
    }

    /// Transforms the steps that `load` gives and hands every bin to `store`.
    #[inline(always)]
    pub(super) fn forward<S: Simd>(
        &self,
        room: &mut [Complex<R, S>],
        load: impl Fn(usize) -> Vector<R, S>,
        mut store: impl FnMut(usize, Complex<R, S>),
    ) {
        let (from, to) = room.split_at_mut(self.bins());
        for (m, z) in from.iter_mut().enumerate() {
            *z = Complex { re: load(2 * m), im: load(2 * m + 1) };
        }
        let z = self.transform(from, to);
        store(0, Complex { re: z[0].re + z[0].im, im: z[0].re - z[0].im });
        let half = R::of(0.5);
        for k in 1..z.len().div_ceil(2) {
            let mirror = z.len() - k;
            let even = (z[k] + z[mirror].conj()).scale(half);
            let odd = (z[mirror].conj() - z[k]).quarter_turn();
            let [re, im] = self.turns[k];
            let odd = odd.times([half * re, half * im]);
            store(k, even + odd);
            store(mirror, (even - odd).conj());
        }
        if z.len().is_multiple_of(2) {
            store(z.len() / 2, z[z.len() / 2].conj());
        }
    }

    /// N times the signal of the bins that `load` gives, handed to `store` step by step.
    #[inline(always)]
    pub(super) fn inverse<S: Simd>(
        &self,
        room: &mut [Complex<R, S>],
        load: impl Fn(usize) -> Complex<R, S>,
        mut store: impl FnMut(usize, Vector<R, S>),
    ) {
        // With real and imaginary parts exchanged the transform is its own inverse.
        let (from, to) = room.split_at_mut(self.bins());
        let n = from.len();
        let ends = load(0);
        from[0] = Complex { re: ends.re - ends.im, im: ends.re + ends.im };
        for k in 1..n.div_ceil(2) {
            let (a, b) = (load(k), load(n - k).conj());
            let [re, im] = self.turns[k];
            let (even, odd) = (a + b, (a - b).times([re, -im]).quarter_turn());
            from[k] = (even + odd).swap();
            from[n - k] = (even - odd).conj().swap();
        }
        if n.is_multiple_of(2) {
            from[n / 2] = load(n / 2).conj().scale(R::of(2.0)).swap();
        }
        for (m, z) in self.transform(from, to).iter().enumerate() {
            store(2 * m, z.im);
            store(2 * m + 1, z.re);
        }
    }

    /// The complex transform; returns the one of the two blocks that has it.
    #[inline(always)]
    fn transform<'a, S: Simd>(
        &self,
        mut from: &'a mut [Complex<R, S>],
        mut to: &'a mut [Complex<R, S>],
    ) -> &'a [Complex<R, S>] {
        for pass in &self.passes {
            match pass.radix {
                2 => pass.run(
                    from,
                    to,
                    #[inline(always)]
                    |a| two(a),
                ),
                3 => pass.run(
                    from,
                    to,
                    #[inline(always)]
                    |a| three(a),
                ),
                4 => pass.run(
                    from,
                    to,
                    #[inline(always)]
                    |a| four(a),
                ),
                _ => pass.run(
                    from,
                    to,
                    #[inline(always)]
                    |a| five(a),
                ),
            }
            (from, to) = (to, from);
        }
        from
    }
}

impl<R: Lanes> Pass<R> {
    #[inline(always)]
    fn run<S: Simd, const RADIX: usize>(
        &self,
        from: &[Complex<R, S>],
        to: &mut [Complex<R, S>],
        butterfly: impl Fn([Complex<R, S>; RADIX]) -> [Complex<R, S>; RADIX],
    ) {
        let (stride, apart) = (self.stride, from.len() / RADIX);
        for (p, to) in to.chunks_exact_mut(RADIX * stride).enumerate() {
            let twiddles = &self.twiddles[p * (RADIX - 1)..(p + 1) * (RADIX - 1)];
            for q in 0..stride {
                let mut legs = [from[q + stride * p]; RADIX];
                for j in 1..RADIX {
                    legs[j] = from[q + stride * p + j * apart];
                }
                let legs = butterfly(legs);
                to[q] = legs[0];
                for k in 1..RADIX {
                    to[q + stride * k] =
                        if p == 0 { legs[k] } else { legs[k].times(twiddles[k - 1]) };
                }
            }
        }
    }
}

#[inline(always)]
fn two<R: Lanes, S: Simd>([a, b]: [Complex<R, S>; 2]) -> [Complex<R, S>; 2] {
    [a + b, a - b]
}

#[inline(always)]
fn three<R: Lanes, S: Simd>([a, b, c]: [Complex<R, S>; 3]) -> [Complex<R, S>; 3] {
    let (sum, difference) = (b + c, (b - c).scale(R::of((TAU / 3.0).sin())).quarter_turn());
    let middle = a - sum.scale(R::of(0.5));
    [a + sum, middle - difference, middle + difference]
}

#[inline(always)]
fn four<R: Lanes, S: Simd>([a, b, c, d]: [Complex<R, S>; 4]) -> [Complex<R, S>; 4] {
    let (even, odd) = (two([a, c]), two([b, d]));
    let turned = odd[1].quarter_turn();
    [even[0] + odd[0], even[1] - turned, even[0] - odd[0], even[1] + turned]
}

#[inline(always)]
fn five<R: Lanes, S: Simd>([a, b, c, d, e]: [Complex<R, S>; 5]) -> [Complex<R, S>; 5] {
    let (cos, cos2) = (R::of((TAU / 5.0).cos()), R::of((TAU / 2.5).cos()));
    let (sin, sin2) = (R::of((TAU / 5.0).sin()), R::of((TAU / 2.5).sin()));
    let (outer, inner) = (two([b, e]), two([c, d]));
    let near = a + outer[0].scale(cos) + inner[0].scale(cos2);
    let far = a + outer[0].scale(cos2) + inner[0].scale(cos);
    let near_turned = (outer[1].scale(sin) + inner[1].scale(sin2)).quarter_turn();
    let far_turned = (outer[1].scale(sin2) - inner[1].scale(sin)).quarter_turn();
    [
        a + outer[0] + inner[0],
        near - near_turned,
        far - far_turned,
        far + far_turned,
        near + near_turned,
    ]
}
