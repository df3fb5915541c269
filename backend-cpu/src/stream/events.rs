use super::LANES;
use polychron_core::num::Real;

/// A projection that processes one input value at a time: every synapse adds to the sum of the step
/// at which the value arrives.
#[derive(Debug)]
pub(super) struct Events<R> {
    outputs: usize,
    /// Synapses per input.
    fan_out: usize,
    /// `[input][synapse]`: `delay * outputs + output`, in ascending order for each input.
    targets: Vec<u32>,
    weights: Vec<R>,
    /// `[step][output]`: the steps of the block and then those of the longest delay.
    sums: Vec<R>,
    /// The longest delay in steps.
    reach: usize,
    /// Whether the sums include the values before the block.
    current: bool,
}

impl<R: Real> Events<R> {
    /// `synapses` yields the `fan_out` targets and weights of each input. The sums have `block +
    /// reach` steps.
    pub(super) fn new(
        outputs: usize,
        fan_out: usize,
        [reach, block]: [usize; 2],
        synapses: impl Iterator<Item = Vec<(u32, R)>>,
    ) -> Self {
        let (mut targets, mut weights) = (Vec::new(), Vec::new());
        for mut input in synapses {
            input.sort_by_key(|(target, _)| *target);
            targets.extend(input.iter().map(|(target, _)| target));
            weights.extend(input.iter().map(|(_, weight)| weight));
        }
        let sums = vec![R::zero(); (reach + block) * outputs];
        Self { outputs, fan_out, targets, weights, sums, reach, current: true }
    }

    pub(super) fn current(&self) -> bool {
        self.current
    }

    /// Drops the sums. The next [`send`](Self::send) computes them again from the past of the
    /// inputs.
    pub(super) fn forget(&mut self) {
        self.current = false;
    }

    /// Clears all sums.
    pub(super) fn reset(&mut self) {
        self.sums.fill(R::zero());
        self.current = true;
    }

    /// Adds the first `n` steps of the window of every input `[past | window]`.
    pub(super) fn send(&mut self, inputs: &[R], stride: usize, past: usize, n: usize) {
        if !self.current {
            self.reset();
            for (i, row) in inputs.chunks_exact(stride).enumerate() {
                for (ago, &x) in (1..=past).rev().zip(row) {
                    self.deliver(i, x, 0, ago);
                }
            }
        }
        for (i, row) in inputs.chunks_exact(stride).enumerate() {
            for (t, &x) in row[past..past + n].iter().enumerate() {
                self.deliver(i, x, t, 0);
            }
        }
    }

    /// Adds the value `x` of input `i` at step `t - ago` of the block; `t` or `ago` is 0.
    #[inline(always)]
    fn deliver(&mut self, i: usize, x: R, t: usize, ago: usize) {
        if x == R::zero() {
            return;
        }
        let own = i * self.fan_out..(i + 1) * self.fan_out;
        let sums = &mut self.sums[t * self.outputs..];
        let before = ago * self.outputs;
        for (&target, &weight) in self.targets[own.clone()].iter().zip(&self.weights[own]) {
            // A target before the block wraps around to an index outside of `sums`.
            if let Some(sum) = sums.get_mut((target as usize).wrapping_sub(before)) {
                *sum += weight * x;
            }
        }
    }

    /// The sums `[n][LANES]` of the outputs from `first` on.
    pub(super) fn read(&self, first: usize, rows: &mut [[R; LANES]]) {
        let width = LANES.min(self.outputs - first);
        for (row, sums) in rows.iter_mut().zip(self.sums.chunks_exact(self.outputs)) {
            row[..width].copy_from_slice(&sums[first..first + width]);
        }
    }

    /// Advances by `n` steps.
    pub(super) fn shift(&mut self, n: usize) {
        if self.current {
            let (moved, reach) = (n * self.outputs, self.reach * self.outputs);
            self.sums.copy_within(moved..moved + reach, 0);
            self.sums[reach..reach + moved].fill(R::zero());
        }
    }
}
