//! Initial weights, biases and delays.

use crate::num::Real;
use crate::rng::Rng;
use crate::shape::Synapses;

/// The distribution of initial delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DelayInit {
    /// Uniform over `[0, K - 1]`.
    Uniform,
    /// As in the reference implementation: positions uniform in `[-(K+1)/2, (K-1)/2]`, then
    /// clamped. About one delay in K is the longest, and none is 0.
    Paper,
    /// All zero.
    Zero,
}

/// Fills a weight block with uniform numbers in `+-sqrt(6 / (inputs kernel_count))` (Kaiming, for
/// ReLU).
pub fn weights<R: Real>(synapses: &Synapses, rng: Rng, out: &mut [R]) {
    let fan_in = synapses.inputs.saturating_mul(synapses.kernel_count).max(1);
    let bound = Real::sqrt(6.0 / fan_in as f64);
    for (n, w) in out.iter_mut().enumerate() {
        *w = R::of((2.0 * rng.uniform_f64(n as u64) - 1.0) * bound);
    }
}

/// Fills a bias block with uniform numbers in `+-1 / sqrt(fan_in)`, as PyTorch's `Linear` does.
/// `fan_in` is the number of weights of a neuron.
pub fn biases<R: Real>(fan_in: usize, rng: Rng, out: &mut [R]) {
    let bound = 1.0 / Real::sqrt(fan_in.max(1) as f64);
    for (n, bias) in out.iter_mut().enumerate() {
        *bias = R::of((2.0 * rng.uniform_f64(n as u64) - 1.0) * bound);
    }
}

/// Fills a weight block `[out, in, count]` with rows that are orthogonal and of length 1; if there
/// are more rows than columns, the columns are. The matrix is random: uniform numbers in +-1 whose
/// vectors are made orthogonal one after the other (Gram-Schmidt, twice for each).
///
/// Cost: `2 m^2 n` multiply-adds for `m` vectors of `n` numbers.
pub fn orthogonal<R: Real>(synapses: &Synapses, rng: Rng, out: &mut [R]) {
    let rows = synapses.outputs;
    let columns = synapses.inputs.saturating_mul(synapses.kernel_count);
    let (count, len) = (rows.min(columns), rows.max(columns));
    // Component `k` of vector `v`.
    let at = |v: usize, k: usize| if rows <= columns { v * columns + k } else { k * columns + v };
    for v in 0..count {
        for k in 0..len {
            out[at(v, k)] = R::of(2.0 * rng.uniform_f64((v * len + k) as u64) - 1.0);
        }
        for _ in 0..2 {
            for earlier in 0..v {
                let mut dot = R::zero();
                (0..len).for_each(|k| dot += out[at(v, k)] * out[at(earlier, k)]);
                (0..len).for_each(|k| out[at(v, k)] -= dot * out[at(earlier, k)]);
            }
        }
        let mut square = R::zero();
        (0..len).for_each(|k| square += out[at(v, k)] * out[at(v, k)]);
        let scale = if square > R::zero() { R::one() / square.sqrt() } else { R::zero() };
        (0..len).for_each(|k| out[at(v, k)] *= scale);
    }
}

/// Fills a delay block, in steps.
pub fn delays<R: Real>(synapses: &Synapses, init: DelayInit, rng: Rng, out: &mut [R]) {
    let last = synapses.taps.saturating_sub(1) as f64;
    for (n, d) in out.iter_mut().enumerate() {
        let u = rng.uniform_f64(n as u64);
        *d = R::of(match init {
            DelayInit::Uniform => u * last,
            DelayInit::Paper => (u * (last + 1.0)).min(last),
            DelayInit::Zero => 0.0,
        });
    }
}
