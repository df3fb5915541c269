//! The laws of models: for every model of the crate, and violated by models that are wrong on
//! purpose.

use super::wrong_models::{WrongKernel, WrongNeuron, WrongSurrogate};
use polychron_core::conformance::Failure;
use polychron_core::conformance::models::{delay_kernel, neuron, surrogate};
use polychron_core::conformance::proptest::prelude::*;
use polychron_core::delay::{AnyKernel, Discrete, Gauss, Linear, Max};
use polychron_core::neuron::{AdLif, AnyNeuron, CubaLif, Li, Lif, Plif, Reset};
use polychron_core::parameter::{Domain, Value};
use polychron_core::surrogate::{AnySurrogate, Scaled};

fn resets() -> impl Strategy<Value = Reset<f64>> {
    prop_oneof![Just(Reset::Hard(0.0)), (-1.0..1.0f64).prop_map(Reset::Hard), Just(Reset::Soft)]
}

fn lifs() -> impl Strategy<Value = Lif<f64>> {
    let flags = (any::<bool>(), any::<bool>());
    (1.01..40.0f64, 0.2..2.0f64, resets(), flags).prop_map(
        |(tau, threshold, reset, (decay_input, detach))| Lif {
            threshold,
            reset,
            decay_input,
            detach,
            ..Lif::new(tau)
        },
    )
}

fn integrators() -> impl Strategy<Value = Li<f64>> {
    let flags = any::<bool>();
    (1.01..40.0f64, flags).prop_map(|(tau, decay_input)| Li { decay_input, ..Li::new(tau) })
}

fn adaptive() -> impl Strategy<Value = AdLif<f64>> {
    let taus = (1.01..40.0f64, 1.01..40.0f64);
    let couplings = (-1.0..1.0f64, -1.0..1.0f64);
    (taus, couplings, 0.2..2.0f64, resets(), any::<bool>()).prop_map(
        |((tau, tau_w), (a, b), threshold, reset, detach)| {
            AdLif::new(tau, tau_w, a, b).with_reset(threshold, reset, detach)
        },
    )
}

fn current_based() -> impl Strategy<Value = CubaLif<f64>> {
    (lifs(), 1.01..40.0f64).prop_map(|(lif, tau_syn)| CubaLif::new(lif, tau_syn))
}

/// A valid value of a parameter, or one that is invalid together with others.
fn value(domain: Domain) -> BoxedStrategy<Value<'static>> {
    match domain {
        Domain::Time(_) | Domain::LongTime(_) => (1.01..40.0f64).prop_map(Value::Number).boxed(),
        Domain::Number(x) => (x - 1.0..x + 1.0).prop_map(Value::Number).boxed(),
        Domain::Bound(x) => (1.0..4.0f64).prop_map(move |y| Value::Number(y * x.signum())).boxed(),
        Domain::Flag(_) => any::<bool>().prop_map(Value::Flag).boxed(),
        Domain::Word(words) => prop::sample::select(words).prop_map(Value::Word).boxed(),
    }
}

/// Every neuron of every name, with all its parameters drawn.
fn any_neuron() -> impl Strategy<Value = AnyNeuron<f64>> {
    let kinds = AnyNeuron::<f64>::KINDS.iter();
    let named = kinds.flat_map(|kind| kind.names.iter().map(|name| (*name, kind.parameters)));
    let drawn = named.map(|(name, parameters)| {
        let values: Vec<_> = parameters.iter().map(|p| (Just(p.name), value(p.domain))).collect();
        let neuron = |values: Vec<_>| AnyNeuron::from_name(name, &values, 1.0).ok();
        values.prop_filter_map("the threshold is above the rest", neuron).boxed()
    });
    prop::strategy::Union::new(drawn)
}

/// Any surrogate, each parameter between a third and three times its default.
pub(crate) fn any_surrogate() -> impl Strategy<Value = AnySurrogate<f64>> {
    let names = AnySurrogate::<f64>::NAMES;
    (0..names.len(), prop::array::uniform3(0.33..3.0f64)).prop_map(|(index, factors)| {
        let named = |parameters: &[(&'static str, f64)]| {
            AnySurrogate::<f64>::from_name(names[index], parameters).unwrap()
        };
        let defaults = named(&[]).parameters();
        let parameters: Vec<_> = (defaults.into_iter().flatten().zip(factors))
            .map(|((name, value), factor)| (name, value * factor))
            .collect();
        named(&parameters)
    })
}

polychron_core::neuron_laws!(lif, lifs());
polychron_core::neuron_laws!(integrate_and_fire, lifs().prop_map(|l| Lif { rate: 0.0, ..l }));
polychron_core::neuron_laws!(plif, lifs().prop_map(Plif::new));
polychron_core::neuron_laws!(cuba_lif, current_based());
polychron_core::neuron_laws!(leaky_integrator, integrators());
polychron_core::neuron_laws!(adlif, adaptive());
polychron_core::neuron_laws!(every_neuron, any_neuron());
polychron_core::delay_kernel_laws!(gauss, Just(Gauss));
polychron_core::delay_kernel_laws!(max, Just(Max));
polychron_core::delay_kernel_laws!(linear, Just(Linear));
polychron_core::delay_kernel_laws!(discrete, Just(Discrete));
polychron_core::delay_kernel_laws!(
    every_kernel,
    (0..AnyKernel::ALL.len()).prop_map(|n| AnyKernel::ALL[n].1)
);
polychron_core::surrogate_laws!(every_surrogate, any_surrogate());
polychron_core::surrogate_laws!(
    scaled,
    (0.1..4.0f64, any_surrogate()).prop_map(|(factor, surrogate)| Scaled { factor, surrogate })
);

#[track_caller]
fn violated(fault: &dyn std::fmt::Debug, outcome: Result<(), Failure>, word: &str) {
    let text = outcome.expect_err(&format!("{fault:?} is not caught")).to_string();
    assert!(text.contains(word) && text.contains("minimal failing input"), "{fault:?}: {text}");
}

#[test]
fn wrong_neurons_are_rejected() {
    use WrongNeuron::*;
    let wrong = |fault: WrongNeuron| Just(fault.neuron());
    for fault in [StateSign, InputGain, ParameterMissing] {
        let charge = neuron::charge_adjoint_matches_differences(wrong(fault));
        violated(&fault, charge, "charge_adjoint");
        let identity = neuron::charge_adjoint_satisfies_the_adjoint_identity(wrong(fault));
        violated(&fault, identity, "<J' u, v>");
    }
    for fault in [AfterReset, NotDetached] {
        let reset = neuron::reset_adjoint_matches_differences(wrong(fault));
        violated(&fault, reset, "reset_adjoint");
    }
    let identity = neuron::reset_adjoint_satisfies_the_adjoint_identity(wrong(AfterReset));
    violated(&AfterReset, identity, "<J' u, v>");
    violated(&Clipped, neuron::adjoints_are_linear(wrong(Clipped)), "adjoint of a sum");
    for fault in [OtherThreshold, OtherParameters] {
        violated(&fault, neuron::own_parameters_change_nothing(wrong(fault)), "");
    }
    let excess = neuron::excess_has_slope_one_by_the_membrane(wrong(SteepExcess));
    violated(&SteepExcess, excess, "slope of excess");
}

#[test]
fn wrong_kernels_are_rejected() {
    use WrongKernel::*;
    violated(&NotNormalised, delay_kernel::taps_sum_to_one(Just(NotNormalised)), "sum");
    for fault in [TapOneLate, DelaySign, SigmaSign] {
        let gradient = delay_kernel::backward_is_the_gradient_of_taps(Just(fault));
        violated(&fault, gradient, "backward");
    }
    for fault in [LanesReversed, LaneGradient] {
        violated(&fault, delay_kernel::lanes_equal_scalars(Just(fault)), "lane");
    }
    let reach = delay_kernel::taps_beyond_reach_are_negligible(Just(ShortReach));
    violated(&ShortReach, reach, "reach");
}

#[test]
fn wrong_surrogates_are_rejected() {
    use WrongSurrogate::*;
    let slope = surrogate::derivative_is_the_slope_of_the_primitive;
    violated(&Factor, slope(Just(Factor)), "derivative");
    violated(&Jump, slope(Just(Jump)), "derivative");
    violated(&Slices, surrogate::slices_equal_scalars(Just(Slices)), "primitives");
    violated(&Infinite, surrogate::values_are_finite(Just(Infinite)), "F(");
}

/// The models that the faults modify satisfy the laws that the faults violate.
mod without_a_fault {
    use super::*;

    polychron_core::neuron_laws!(neurons, Just(WrongNeuron::None.neuron()));
    polychron_core::delay_kernel_laws!(kernels, Just(WrongKernel::None));
    polychron_core::surrogate_laws!(surrogates, Just(WrongSurrogate::None));
}
