//! Fourier transforms of real signals along time, one signal in each lane.
//!
//! A signal of even length N is treated as a complex signal of length N / 2: even steps are real,
//! odd steps imaginary. Its transform (Stockham's, radices 2, 3, 4, 5 and 8) and the mirror image
//! give the frequencies 0 to N / 2. Frequencies 0 and N / 2 are real and share bin 0 as its real
//! and imaginary part.

use crate::lanes::{Complex, Lanes, Vector};
use core::f64::consts::TAU;
use pulp::Simd;

/// The transform of one length.
#[derive(Debug)]
pub(super) struct Fft<R> {
    passes: Vec<Pass<R>>,
    /// `exp(-2 pi i k / N)` of every bin k.
    turns: Vec<Turn<R>>,
}

#[derive(Debug)]
struct Pass<R> {
    radix: usize,
    stride: usize,
    /// `exp(-2 pi i k p / (radix groups))`, `[group p][leg k >= 1]`.
    twiddles: Vec<Turn<R>>,
}

/// A complex factor: real part, imaginary part and negated imaginary part.
type Turn<R> = [R; 3];

/// `exp(-2 pi i n / of)`.
fn turn<R: Lanes>(n: usize, of: usize) -> Turn<R> {
    let (sin, cos) = (TAU * (n % of) as f64 / of as f64).sin_cos();
    [R::of(cos), R::of(-sin), R::of(sin)]
}

/// The least even length of at least `period` whose half has no prime factor above 5.
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
    /// A transform of a length that [`length`] returns.
    pub(super) fn new(length: usize) -> Self {
        let half = length / 2;
        let (mut rest, mut stride, mut passes) = (half, 1, Vec::new());
        for radix in [8, 4, 2, 3, 5] {
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

    /// The buffer of [`Fft::forward`] and [`Fft::inverse`].
    #[inline(always)]
    pub(super) fn buffer<S: Simd>(&self, s: S) -> Vec<Complex<R, S>> {
        vec![Complex::splat(s, [R::zero(); 2]); 2 * self.bins()]
    }

    /// Transforms the steps that `load` returns and passes every bin times 2 to `store`.
    #[inline(always)]
    pub(super) fn forward<S: Simd>(
        &self,
        buffer: &mut [Complex<R, S>],
        load: impl Fn(usize) -> Vector<R, S>,
        mut store: impl FnMut(usize, Complex<R, S>),
    ) {
        let (from, to) = buffer.split_at_mut(self.bins());
        for (m, z) in from.iter_mut().enumerate() {
            *z = Complex { re: load(2 * m), im: load(2 * m + 1) };
        }
        let z = self.transform(from, to);
        store(0, Complex { re: z[0].re + z[0].im, im: z[0].re - z[0].im }.twice());
        for k in 1..z.len().div_ceil(2) {
            let mirror = z.len() - k;
            let (a, b) = (z[k], z[mirror]);
            let even = Complex { re: a.re + b.re, im: a.im - b.im };
            let odd = Complex { re: a.im + b.im, im: b.re - a.re }.times(&self.turns[k]);
            store(k, even + odd);
            store(mirror, Complex { re: even.re - odd.re, im: odd.im - even.im });
        }
        if z.len().is_multiple_of(2) {
            store(z.len() / 2, z[z.len() / 2].conj().twice());
        }
    }

    /// Transforms the bins that `load` returns back and passes every step times N to `store`.
    #[inline(always)]
    pub(super) fn inverse<S: Simd>(
        &self,
        buffer: &mut [Complex<R, S>],
        load: impl Fn(usize) -> Complex<R, S>,
        mut store: impl FnMut(usize, Vector<R, S>),
    ) {
        // With real and imaginary parts exchanged, the transform is its own inverse.
        let (from, to) = buffer.split_at_mut(self.bins());
        let n = from.len();
        let ends = load(0);
        from[0] = Complex { re: ends.re - ends.im, im: ends.re + ends.im };
        for k in 1..n.div_ceil(2) {
            let (a, b) = (load(k), load(n - k));
            let even = Complex { re: a.re + b.re, im: a.im - b.im };
            let odd = Complex { re: a.re - b.re, im: a.im + b.im }.times_conj(&self.turns[k]);
            from[k] = Complex { re: even.im + odd.re, im: even.re - odd.im };
            from[n - k] = Complex { re: odd.re - even.im, im: even.re + odd.im };
        }
        if n.is_multiple_of(2) {
            from[n / 2] = load(n / 2).conj().twice().swap();
        }
        for (m, z) in self.transform(from, to).iter().enumerate() {
            store(2 * m, z.im);
            store(2 * m + 1, z.re);
        }
    }

    /// The complex transform. Returns whichever of the two blocks holds it.
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
                5 => pass.run(
                    from,
                    to,
                    #[inline(always)]
                    |a| five(a),
                ),
                _ => pass.run(
                    from,
                    to,
                    #[inline(always)]
                    |a| eight(a),
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
        let mut twiddles = self.twiddles.chunks_exact(RADIX - 1);
        for (p, to) in to.chunks_exact_mut(RADIX * stride).enumerate() {
            let mut legs_of = [&from[..stride]; RADIX];
            for (j, legs) in legs_of.iter_mut().enumerate() {
                *legs = &from[p * stride + j * apart..][..stride];
            }
            let twiddles = twiddles.next().unwrap_or_default();
            for q in 0..stride {
                let mut legs = [legs_of[0][q]; RADIX];
                for j in 1..RADIX {
                    legs[j] = legs_of[j][q];
                }
                let legs = butterfly(legs);
                to[q] = legs[0];
                for k in 1..RADIX {
                    to[q + stride * k] =
                        if p == 0 { legs[k] } else { legs[k].times(&twiddles[k - 1]) };
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
    let (sum, turned) = (b + c, (b - c).scale(R::of((TAU / 3.0).sin())));
    let middle = a.plus(sum, R::of(-0.5));
    [a + sum, middle.minus_i(turned), middle.plus_i(turned)]
}

#[inline(always)]
fn four<R: Lanes, S: Simd>([a, b, c, d]: [Complex<R, S>; 4]) -> [Complex<R, S>; 4] {
    let (even, odd) = (two([a, c]), two([b, d]));
    [even[0] + odd[0], even[1].minus_i(odd[1]), even[0] - odd[0], even[1].plus_i(odd[1])]
}

#[inline(always)]
fn five<R: Lanes, S: Simd>([a, b, c, d, e]: [Complex<R, S>; 5]) -> [Complex<R, S>; 5] {
    let (cos, cos2) = (R::of((TAU / 5.0).cos()), R::of((TAU / 2.5).cos()));
    let (sin, sin2) = (R::of((TAU / 5.0).sin()), R::of((TAU / 2.5).sin()));
    let (outer, inner) = (two([b, e]), two([c, d]));
    let near = a.plus(outer[0], cos).plus(inner[0], cos2);
    let far = a.plus(outer[0], cos2).plus(inner[0], cos);
    let near_turned = outer[1].scale(sin).plus(inner[1], sin2);
    let far_turned = outer[1].scale(sin2).plus(inner[1], -sin);
    [
        a + outer[0] + inner[0],
        near.minus_i(near_turned),
        far.minus_i(far_turned),
        far.plus_i(far_turned),
        near.plus_i(near_turned),
    ]
}

#[inline(always)]
fn eight<R: Lanes, S: Simd>([a, b, c, d, e, f, g, h]: [Complex<R, S>; 8]) -> [Complex<R, S>; 8] {
    let (even, odd) = (four([a, c, e, g]), four([b, d, f, h]));
    let half = R::of(core::f64::consts::FRAC_1_SQRT_2);
    let one = Complex { re: odd[1].re + odd[1].im, im: odd[1].im - odd[1].re };
    let three = Complex { re: odd[3].im - odd[3].re, im: odd[3].re + odd[3].im };
    let three = Complex { im: three.zero() - three.im, ..three };
    [
        even[0] + odd[0],
        even[1].plus(one, half),
        even[2].minus_i(odd[2]),
        even[3].plus(three, half),
        even[0] - odd[0],
        even[1].plus(one, -half),
        even[2].plus_i(odd[2]),
        even[3].plus(three, -half),
    ]
}
