use super::events::density;
use super::frequency::Cut;
use super::windows::longest;
use crate::algorithm::{Algorithm, Choice, Plan, Work};
use crate::backend::Cpu;
use crate::lanes::{Lanes, whole_vectors};
use crate::sequence::Sequence;
use polychron_core::delay::DelayKernel;
use polychron_core::shape::{Shape, Synapses};

/// Multiply-adds of a large matrix product that take as long as one tap at one step, forward and by input (measured, as are
/// the others).
const TAP: f64 = 1.2;
/// The same by kernel.
const TAP_GRADIENT: f64 = 1.6;
/// The same for one lane of a window at one spike, forward.
const SPIKE: f64 = 7.0;
/// The same by kernel.
const SPIKE_GRADIENT: f64 = 2.0;
/// The same for one number of the input or the output that is brought into another order.
const MOVE: f64 = 80.0;

/// Below this density a sequence's spikes are not worth counting.
const SPARSE: f64 = 0.005;

impl<R: Lanes> Cpu<R> {
    /// How a projection of an input of that shape is computed for these sigmas and that share of the input that is not 0: in
    /// every direction the cheapest way, unless one was given.
    pub fn plan<K: DelayKernel<R>>(
        &self,
        synapses: &Synapses,
        kernel: &K,
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
        let window = longest(kernel, sigma, synapses.taps);
        let cut = Cut::new::<R>(synapses.taps.max(1), input);
        let pairs = synapses.inputs as f64 * synapses.outputs as f64;
        let (elements, batch) = (pairs * synapses.kernel_count as f64, input.batch as f64);
        let dense = pairs * (synapses.taps * input.steps) as f64 * batch;
        let frequency = pairs * cut.cost::<R>(input.batch) as f64;
        let samples = input.steps as f64 * batch;
        let moved = MOVE * samples * (synapses.inputs + synapses.outputs) as f64;
        let lanes = window * whole_vectors::<R>(input.batch);
        let taps = elements * (input.steps * lanes) as f64;
        let windows = elements * samples * density * whole_vectors::<R>(window) as f64;
        let costs = |tap: f64, windows| [dense, frequency, tap * taps + moved, windows];
        let ends = (input.len() + synapses.output(input).len()) as f64;
        let transformed = cut.length as f64
            * (pairs + (cut.lanes::<R>(input.batch) * (synapses.inputs + synapses.outputs)) as f64);
        let work = [
            (dense, pairs * synapses.taps as f64),
            (pairs * cut.multiply_adds::<R>(input.batch) as f64, transformed),
            (taps, elements * window as f64),
            (windows, elements * window as f64),
        ]
        .map(|(multiply_adds, kept)| Work {
            multiply_adds,
            bytes: (ends + 2.0 * kept) * R::BYTES as f64,
        });
        let given = self.forced();
        let by_input = given.map(|a| if a == Algorithm::Windows { Algorithm::Taps } else { a });
        Plan {
            window,
            length: cut.length,
            blocks: cut.blocks,
            forward: Choice::new(given, costs(TAP, SPIKE * windows + moved), work),
            by_input: Choice::new(by_input, costs(TAP, f64::INFINITY), work),
            by_kernel: Choice::new(
                given,
                costs(TAP_GRADIENT, SPIKE_GRADIENT * windows + moved),
                work,
            ),
        }
    }

    /// The plan for an input, whose spikes are counted where few of them would change it.
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
