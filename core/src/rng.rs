//! A counter-based random generator. A draw depends only on its index, so a mask or an initial
//! weight is the same on every backend and for every number of threads.

use crate::num::Real;

/// Philox4x32-10 of Salmon et al., *Parallel random numbers: as easy as 1, 2, 3* (SC 2011).
///
/// A generator is a seed and a stream. The draws of different streams are independent.
///
/// ```
/// use polychron_core::rng::Rng;
/// let weights = Rng::new(7, 1);
/// assert_eq!(weights.bits(1000), Rng::new(7, 1).bits(1000));
/// assert_ne!(weights.bits(1000), Rng::new(7, 2).bits(1000));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rng {
    seed: u64,
    stream: u64,
}

impl Rng {
    /// The generator of one stream of a seed.
    #[must_use]
    pub const fn new(seed: u64, stream: u64) -> Self {
        Self { seed, stream }
    }

    /// A generator for one part of the work, such as a layer or an epoch.
    #[must_use]
    pub const fn fork(self, part: u64) -> Self {
        let b = philox(
            [part as u32, (part >> 32) as u32, self.stream as u32, (self.stream >> 32) as u32],
            [!(self.seed as u32), !((self.seed >> 32) as u32)],
        );
        Self { seed: self.seed, stream: b[0] as u64 | (b[1] as u64) << 32 }
    }

    /// Seed and stream, for a backend that draws on its device.
    #[must_use]
    pub const fn key(&self) -> (u64, u64) {
        (self.seed, self.stream)
    }

    /// The 32 random bits at an index.
    #[must_use]
    pub const fn bits(&self, index: u64) -> u32 {
        self.four(index >> 2)[(index & 3) as usize]
    }

    /// The bits at indices `4 n` to `4 n + 3`, for the cost of one.
    const fn four(&self, n: u64) -> [u32; 4] {
        philox(
            [n as u32, (n >> 32) as u32, self.stream as u32, (self.stream >> 32) as u32],
            [self.seed as u32, (self.seed >> 32) as u32],
        )
    }

    /// A number in [0, 1), a multiple of 2^-24, at an index.
    #[must_use]
    pub fn uniform<R: Real>(&self, index: u64) -> R {
        unit(self.bits(index))
    }

    /// [`uniform`](Self::uniform) at indices `4 n` to `4 n + 3`, for the cost of one.
    #[must_use]
    pub fn four_uniform<R: Real>(&self, n: u64) -> [R; 4] {
        self.four(n).map(unit)
    }

    /// A number in [0, 1), a multiple of 2^-53, at an index. It uses the bits at `2 index` and
    /// `2 index + 1`.
    #[must_use]
    pub fn uniform_f64(&self, index: u64) -> f64 {
        let (low, high) = (self.bits(2 * index), self.bits(2 * index + 1));
        ((high as u64) << 21 | low as u64 >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// An integer in `0..n` at an index; 0 for `n = 0`. The bias is at most `n / 2^32`.
    #[must_use]
    pub const fn below(&self, index: u64, n: u32) -> u32 {
        ((self.bits(index) as u64 * n as u64) >> 32) as u32
    }

    /// Shuffles a slice in place (Fisher and Yates) with the draws at indices `0..len`.
    pub fn shuffle<T>(&self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i as u64, i as u32 + 1) as usize;
            items.swap(i, j);
        }
    }
}

/// A number in [0, 1).
fn unit<R: Real>(bits: u32) -> R {
    R::of((bits >> 8) as f64 * (1.0 / (1u32 << 24) as f64))
}

const fn philox(mut c: [u32; 4], mut k: [u32; 2]) -> [u32; 4] {
    let mut round = 0;
    while round < 10 {
        let a = 0xD251_1F53_u64 * c[0] as u64;
        let b = 0xCD9E_8D57_u64 * c[2] as u64;
        c = [(b >> 32) as u32 ^ c[1] ^ k[0], b as u32, (a >> 32) as u32 ^ c[3] ^ k[1], a as u32];
        k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
        round += 1;
    }
    c
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers published with Random123.
    #[test]
    fn philox_gives_the_published_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]
        );
        assert_eq!(
            philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        );
    }

    #[test]
    fn four_draws_equal_single_draws() {
        let rng = Rng::new(11, 2);
        for n in [0, 1, 1 << 40] {
            let places = core::array::from_fn(|k| rng.uniform::<f64>(4 * n + k as u64));
            assert_eq!(rng.four_uniform::<f64>(n), places);
        }
    }

    #[test]
    fn uniform_has_the_right_moments() {
        let rng = Rng::new(3, 9);
        let n = 100_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        for i in 0..n {
            let u: f64 = rng.uniform(i);
            assert!((0.0..1.0).contains(&u));
            sum += u;
            squares += u * u;
        }
        assert!((sum / n as f64 - 0.5).abs() < 5e-3);
        assert!((squares / n as f64 - 1.0 / 3.0).abs() < 5e-3);
    }

    #[test]
    fn shuffle_is_a_permutation() {
        let mut items: [usize; 100] = core::array::from_fn(|i| i);
        Rng::new(1, 0).shuffle(&mut items);
        let mut sorted = items;
        sorted.sort_unstable();
        assert_eq!(sorted, core::array::from_fn(|i| i));
        assert_ne!(items, sorted);
    }
}
