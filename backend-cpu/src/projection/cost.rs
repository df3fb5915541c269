use super::events::density;
use super::frequency::BlockPlan;
use super::windows::window_len;
use crate::algorithm::{Algorithm, Choice, Plan, Work};
use crate::backend::Cpu;
use crate::lanes::{Lanes, whole_vectors};
use crate::sequence::Sequence;
use polychron_core::delay::DelayKernel;
use polychron_core::shape::{Shape, Synapses};

/// Multiply-adds of a large matrix product that take as long as one tap at one step, in the forward
/// pass and for the gradient with respect to the input (measured, like all costs here).
const TAP: f64 = 1.2;
/// As [`TAP`], for the gradient with respect to the kernel.
const TAP_GRADIENT: f64 = 1.6;
/// As [`TAP`], for one lane of a window at one spike, in the forward pass.
const SPIKE: f64 = 7.0;
/// As [`SPIKE`], for the gradient with respect to the kernel.
const SPIKE_GRADIENT: f64 = 2.0;
/// As [`TAP`], for one value of the input or the output that is rearranged.
const MOVE: f64 = 80.0;

/// The density of spikes that a plan assumes before it counts them.
const SPARSE: f64 = 0.005;

/// The longest kernel and the longest output for which offsets fit into 32 bits: [`offsets_fit`].
pub(super) const MAX_TAPS: usize = 1 << 24;
pub(super) const MAX_STEPS: usize = 1 << 31;

/// Whether [`Algorithm::Taps`] and [`Algorithm::Windows`] can store offsets as `u32`.
///
/// The former packs at most 8 sources of 1.25 K + 40 rows of 16 values, or 24 KiB. The latter packs
/// one sample of at most `steps + 2 K + 16` values, or 24 KiB.
fn offsets_fit(synapses: &Synapses, input: Shape) -> bool {
    synapses.taps <= MAX_TAPS && synapses.output(input).steps <= MAX_STEPS
}

impl<R: Lanes> Cpu<R> {
    /// Chooses the cheapest algorithm for each direction of a projection, or the one of
    /// [`Cpu::with_algorithm`].
    ///
    /// `sigma` is one value or one per kernel element, and `density` the fraction of the input that
    /// is not zero. For kernels of more than 2^24 taps and outputs of more than 2^31 steps the
    /// choice is between [`Algorithm::Dense`] and [`Algorithm::Frequency`].
    pub fn plan(
        &self,
        synapses: &Synapses,
        kernel: &dyn DelayKernel<R>,
        sigma: &[R],
        input: Shape,
        density: f64,
    ) -> Plan {
        self.width().scope(|| self.plan_here(synapses, kernel, sigma, input, density))
    }

    fn plan_here(
        &self,
        synapses: &Synapses,
        kernel: &dyn DelayKernel<R>,
        sigma: &[R],
        input: Shape,
        density: f64,
    ) -> Plan {
        let window = window_len(kernel, sigma, synapses.taps);
        let blocks = BlockPlan::cheapest::<R>(synapses.taps.max(1), input);
        let pairs = synapses.inputs as f64 * synapses.outputs as f64;
        let (elements, batch) = (pairs * synapses.kernel_count as f64, input.batch as f64);
        let dense = pairs * (synapses.taps as f64 * input.steps as f64) * batch;
        let frequency = pairs * blocks.cost::<R>(input.batch) as f64;
        let samples = input.steps as f64 * batch;
        let moved = MOVE * samples * (synapses.inputs + synapses.outputs) as f64;
        let lanes = window * whole_vectors::<R>(input.batch);
        let taps = elements * (input.steps as f64 * lanes as f64);
        let windows = elements * samples * density * whole_vectors::<R>(window) as f64;
        let fit = offsets_fit(synapses, input);
        let costs = |tap: f64, windows| {
            let sparse = [tap * taps + moved, windows];
            let [taps, windows] = if fit { sparse } else { [f64::INFINITY; 2] };
            [dense, frequency, taps, windows]
        };
        let ends = (input.len() + synapses.output(input).len()) as f64;
        let transformed = blocks.length as f64
            * (pairs
                + (blocks.lanes::<R>(input.batch) * (synapses.inputs + synapses.outputs)) as f64);
        let work = [
            (dense, pairs * synapses.taps as f64),
            (pairs * blocks.multiply_adds::<R>(input.batch) as f64, transformed),
            (taps, elements * window as f64),
            (windows, elements * window as f64),
        ]
        .map(|(multiply_adds, kept)| Work {
            multiply_adds,
            bytes: (ends + 2.0 * kept) * R::BYTES as f64,
        });
        let given = self.forced().map(|a| match a {
            Algorithm::Taps | Algorithm::Windows if !fit => Algorithm::Dense,
            _ => a,
        });
        let by_input = given.map(|a| if a == Algorithm::Windows { Algorithm::Taps } else { a });
        Plan {
            window,
            length: blocks.length,
            blocks: blocks.blocks,
            forward: Choice::new(given, costs(TAP, SPIKE * windows + moved), work),
            by_input: Choice::new(by_input, costs(TAP, f64::INFINITY), work),
            by_kernel: Choice::new(
                given,
                costs(TAP_GRADIENT, SPIKE_GRADIENT * windows + moved),
                work,
            ),
        }
    }

    /// The plan for an input. Counts its spikes only if few of them would change the plan.
    pub(super) fn plan_for(
        &self,
        synapses: &Synapses,
        kernel: &dyn DelayKernel<R>,
        sigma: &[R],
        x: &Sequence<R>,
    ) -> Plan {
        let of = |density| self.plan_here(synapses, kernel, sigma, x.shape(), density);
        let plan = of(SPARSE);
        let choices = [plan.forward, plan.by_kernel];
        let sparse = choices.iter().any(|choice| choice.algorithm == Algorithm::Windows);
        if sparse && self.forced().is_none() { of(density(x)) } else { plan }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polychron_core::delay::Gauss;

    #[test]
    fn offsets_that_need_more_than_32_bits_are_never_used() {
        for (_, algorithm) in Algorithm::ALL {
            let cpu = Cpu::<f32>::new(1).unwrap().with_algorithm(Some(algorithm));
            for (taps, steps) in [(MAX_TAPS + 1, 10), (3, MAX_STEPS)] {
                let (synapses, input) = (Synapses::new(1, 1, taps), Shape::new(steps, 1, 1));
                for cpu in [&cpu, &Cpu::new(1).unwrap()] {
                    let plan = cpu.plan(&synapses, &Gauss, &[0.5], input, 0.0);
                    for choice in [plan.forward, plan.by_input, plan.by_kernel] {
                        let dense = [Algorithm::Dense, Algorithm::Frequency];
                        assert!(dense.contains(&choice.algorithm), "{taps} {steps} {choice}");
                        assert!(choice.costs[2..].iter().all(|cost| cost.is_infinite()));
                    }
                }
            }
        }
    }
}
