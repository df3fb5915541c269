use super::LANES;
use polychron_core::num::Real;

/// Delivery of one input at a time: every synapse adds to the sum of the step in which it arrives.
#[derive(Debug)]
pub(super) struct Events<R> {
    outputs: usize,
    /// Synapses of an input.
    fan_out: usize,
    /// `[input][synapse]`, by arrival: `delay * outputs + output`.
    targets: Vec<u32>,
    weights: Vec<R>,
    /// `[step][output]`, from the first step of the block to the longest delay behind its last.
    sums: Vec<R>,
    /// The longest delay.
    reach: usize,
    /// Whether the sums hold what has been sent before the block.
    current: bool,
}

impl<R: Real> Events<R> {
    /// `synapses` are arrival and weight, `fan_out` to an input; sums reach as far as the longest delay behind a block.
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

    /// What was sent before the next block is in the input's past alone.
    pub(super) fn forget(&mut self) {
        self.current = false;
    }

    /// Nothing has been sent.
    pub(super) fn reset(&mut self) {
        self.sums.fill(R::zero());
        self.current = true;
    }

    /// Sends the first `n` steps of the window of every input `[past | window]`.
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

    /// Sends `x` from step `t` of the block, or from `ago` steps before it.
    #[inline(always)]
    fn deliver(&mut self, i: usize, x: R, t: usize, ago: usize) {
        if x == R::zero() {
            return;
        }
        let own = i * self.fan_out..(i + 1) * self.fan_out;
        let sums = &mut self.sums[t * self.outputs..];
        let before = ago * self.outputs;
        for (&target, &weight) in self.targets[own.clone()].iter().zip(&self.weights[own]) {
            // What has arrived already is out of range.
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

    /// Moves on by `n` steps.
    pub(super) fn shift(&mut self, n: usize) {
        if self.current {
            let (moved, reach) = (n * self.outputs, self.reach * self.outputs);
            self.sums.copy_within(moved..moved + reach, 0);
            self.sums[reach..reach + moved].fill(R::zero());
        }
    }
}
