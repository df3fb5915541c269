//! One surrogate, one kernel element, one neuron for one step.

use super::check::{Errors, hold};
use super::draw::{Draw, KERNELS, all_neurons, all_surrogates};
use polychron_core::delay::{AnyKernel, Gauss, Linear, Max};
use polychron_core::gradcheck::{STEP, charge_error, kernel_error, reset_error, surrogate_error};
use polychron_core::neuron::{Neuron, NeuronModel, NeuronVisitor};
use polychron_core::surrogate::Surrogate;
use proptest::prelude::*;

pub(crate) fn surrogates() -> f64 {
    hold(("surrogate", "difference"), 200, -6.0..6.0f64, |u| {
        let mut errors = Errors::default();
        for s in all_surrogates() {
            if s.kinks().iter().flatten().any(|kink| (u - kink).abs() <= STEP) {
                errors.skipped += 1;
            } else {
                errors.add(surrogate_error(&s, u), || format!("{s:?} at {u}"));
            }
        }
        errors
    })
}

pub(crate) fn kernels() -> f64 {
    hold(("delay kernel", "difference"), 500, (any::<u64>(), 2usize..32), |(seed, taps)| {
        let mut draw = Draw::new(seed);
        let mut errors = Errors::default();
        for kernel in KERNELS {
            let (delay, sigma) = draw.delays_and_sigma(kernel, taps, 1, false);
            let element = [draw.uniform(-2.0, 2.0), delay[0], sigma[0]];
            let upstream = draw.block(taps, -1.0, 1.0);
            let scratch = &mut vec![0.0; 2 * taps];
            let concrete = match kernel {
                AnyKernel::Gauss => kernel_error(&Gauss, element, &upstream, scratch),
                AnyKernel::Max => kernel_error(&Max, element, &upstream, scratch),
                AnyKernel::Linear => kernel_error(&Linear, element, &upstream, scratch),
                _ => 0.0,
            };
            let error = kernel_error(&kernel, element, &upstream, scratch).max(concrete);
            errors.add(error, || format!("{kernel:?} {element:?} {taps} taps"));
        }
        errors
    })
}

/// A random step of a neuron: state, input or spike, upstream gradient.
struct OneStep {
    numbers: [f64; 5],
    reset: bool,
}

impl NeuronVisitor<f64> for &OneStep {
    type Output = f64;
    fn visit<N: Neuron<Real = f64>>(self, neuron: &N) -> f64 {
        let [a, b, input, c, d] = self.numbers;
        let array = |from: [f64; 2]| {
            let mut state = N::fill_state(0.0);
            state.as_mut().iter_mut().zip(from).for_each(|(to, from)| *to = from);
            state
        };
        if self.reset {
            reset_error(neuron, array([a, b]), input, array([c, d]))
        } else {
            charge_error(neuron, array([a, b]), input, array([c, d]))
        }
    }
}

fn one_step(mode: &str, reset: bool) -> f64 {
    let numbers = prop::array::uniform5(-2.0..2.0f64);
    hold((mode, "difference"), 200, numbers, |numbers| {
        let mut errors = Errors::default();
        for neuron in all_neurons() {
            let error = neuron.visit(&OneStep { numbers, reset });
            errors.add(error, || format!("{neuron:?}"));
        }
        errors
    })
}

pub(crate) fn charges() -> f64 {
    one_step("neuron, charge", false)
}

pub(crate) fn resets() -> f64 {
    one_step("neuron, reset", true)
}
