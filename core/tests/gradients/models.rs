//! One surrogate, one kernel element, one neuron for one step.

use super::check::{Errors, bound, hold};
use super::draw::{Draw, KERNELS, all_neurons, all_surrogates};
use polychron_core::delay::{AnyKernel, Gauss, Linear, Max};
use polychron_core::gradcheck::{STEP, charge_error, kernel_error, reset_error, surrogate_error};
use polychron_core::neuron::{
    ChargeAdjoint, Lif, Neuron, NeuronModel, NeuronVisitor, ResetAdjoint,
};
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
                _ => kernel_error(&Linear, element, &upstream, scratch),
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

#[test]
fn a_neuron_with_its_own_parameters_is_unchanged() {
    struct Same;
    impl NeuronVisitor<f64> for Same {
        type Output = f64;
        fn visit<N: Neuron<Real = f64>>(self, neuron: &N) -> f64 {
            let again = neuron.with_params(neuron.params());
            let mut worst = 0.0f64;
            let (mut a, mut b) = (neuron.rest(), again.rest());
            for x in [0.7, -0.4, 1.9, 2.5, 0.1] {
                (a, b) = (neuron.charge(a, x), again.charge(b, x));
                worst = worst.max((neuron.excess(a) - again.excess(b)).abs());
                (a, b) = (neuron.reset(a, 0.3), again.reset(b, 0.3));
                let pairs = a.as_ref().iter().zip(b.as_ref());
                worst = pairs.fold(worst, |worst, (a, b)| worst.max((a - b).abs()));
            }
            worst
        }
    }
    for neuron in all_neurons() {
        let difference = neuron.visit(Same);
        assert!(difference < 1e-14, "{neuron:?} differs by {difference}");
    }
}

/// A LIF with one mistake in its adjoints.
#[derive(Clone, Copy, Debug)]
struct Wrong {
    lif: Lif<f64>,
    mistake: Mistake,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mistake {
    None,
    /// The leak's sign.
    Decay,
    /// The input counts as undecayed.
    Gain,
    /// The membrane after the spike in place of the one before it.
    AfterReset,
    /// The reset's gradient although it is detached.
    Detach,
    /// The threshold taken twice.
    Drive,
}

impl Neuron for Wrong {
    type Real = f64;
    type State = [f64; 1];
    type Params = [f64; 0];

    fn fill_state(x: f64) -> [f64; 1] {
        [x]
    }
    fn fill_params(_x: f64) -> [f64; 0] {
        []
    }
    fn params(&self) -> [f64; 0] {
        []
    }
    fn with_params(&self, _params: [f64; 0]) -> Self {
        *self
    }
    fn rest(&self) -> [f64; 1] {
        self.lif.rest()
    }
    fn charge(&self, state: [f64; 1], x: f64) -> [f64; 1] {
        self.lif.charge(state, x)
    }
    fn charge_adjoint(
        &self,
        state: [f64; 1],
        x: f64,
        d: [f64; 1],
    ) -> ChargeAdjoint<[f64; 1], [f64; 0], f64> {
        let mut adjoint = self.lif.charge_adjoint(state, x, d);
        match self.mistake {
            Mistake::Decay => adjoint.state = [d[0] * (1.0 + self.lif.rate)],
            Mistake::Gain => adjoint.input = d[0],
            _ => {}
        }
        adjoint
    }
    fn excess(&self, charged: [f64; 1]) -> f64 {
        let factor = if self.mistake == Mistake::Drive { 2.0 } else { 1.0 };
        factor * self.lif.excess(charged)
    }
    fn reset(&self, charged: [f64; 1], s: f64) -> [f64; 1] {
        self.lif.reset(charged, s)
    }
    fn reset_adjoint(
        &self,
        charged: [f64; 1],
        s: f64,
        d: [f64; 1],
    ) -> ResetAdjoint<[f64; 1], [f64; 0], f64> {
        match self.mistake {
            Mistake::AfterReset => self.lif.reset_adjoint(self.lif.reset(charged, s), s, d),
            Mistake::Detach => Lif { detach: false, ..self.lif }.reset_adjoint(charged, s, d),
            _ => self.lif.reset_adjoint(charged, s, d),
        }
    }
    fn detached(&self) -> bool {
        self.lif.detach
    }
}

/// Negative control: the checks pass the right neuron and no wrong one.
#[test]
fn wrong_adjoints_are_rejected() {
    for mistake in [
        Mistake::None,
        Mistake::Decay,
        Mistake::Gain,
        Mistake::AfterReset,
        Mistake::Detach,
        Mistake::Drive,
    ] {
        let detach = mistake == Mistake::Detach;
        let lif = Lif { decay_input: true, detach, ..Lif::new(2.5) };
        let neuron = Wrong { lif, mistake };
        let step = |reset| OneStep { numbers: [0.4, 0.0, 0.6, -0.8, 0.0], reset };
        let error = (&step(false)).visit(&neuron).max((&step(true)).visit(&neuron));
        let passes = error <= bound("neuron, charge", "difference");
        assert_eq!(passes, mistake == Mistake::None, "{mistake:?}: {error}");
    }
}
