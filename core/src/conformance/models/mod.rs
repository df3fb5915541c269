//! The laws of neurons, delay kernels and surrogates, for any type.

pub mod delay_kernel;
pub mod neuron;
pub mod surrogate;

use super::Failure;
use crate::gradcheck::{TOLERANCES, relative_error};
use alloc::format;
use alloc::string::ToString;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError, TestRunner};

type Checked = Result<(), TestCaseError>;

/// Tests a law on cases of a strategy and shrinks a case that fails.
fn hold<S: Strategy>(strategy: &S, law: impl Fn(S::Value) -> Checked) -> Result<(), Failure> {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(0);
    }
    TestRunner::new(config).run(strategy, law).map_err(|error| Failure(error.to_string()))
}

/// Fails with `what` if the relative error of `a` against `b` exceeds `bound`.
fn near(what: &str, [a, b]: [f64; 2], scale: f64, bound: f64) -> Checked {
    let error = relative_error(a, b, scale);
    below(what, error, bound).map_err(|_| {
        TestCaseError::fail(format!("{what}: {a}, not {b} (error {error:.1e} above {bound:.0e})"))
    })
}

/// Fails with `what` if `error` exceeds `bound`.
fn below(what: &str, error: f64, bound: f64) -> Checked {
    prop_assert!(error <= bound, "{what}: error {error:.1e} above {bound:.0e}");
    Ok(())
}

/// The bound of a stage against difference quotients, from [`TOLERANCES`].
fn tolerance(stage: &str) -> f64 {
    let row = TOLERANCES.iter().find(|row| row.stage == stage && row.mode == "difference");
    row.map_or(0.0, |row| row.bound)
}

/// Allowed error of identities that hold up to rounding.
const ROUNDING: f64 = 1e-12;

/// The table of laws: defines one macro per trait, which expands to a test for each law.
macro_rules! model_laws {
    ($d:tt $($(#[$doc:meta])* $name:ident: $module:ident { $($law:ident),+ $(,)? })+) => {
        $(
            $(#[$doc])*
            #[macro_export]
            macro_rules! $name {
                ($d name:ident, $d strategy:expr) => {
                    #[cfg(test)]
                    mod $d name {
                        #[allow(unused_imports)]
                        use super::*;
                        $(
                            #[test]
                            fn $law() {
                                if let Err(failure) =
                                    $crate::conformance::models::$module::$law($d strategy)
                                {
                                    panic!("{failure}");
                                }
                            }
                        )+
                    }
                };
            }
        )+
    };
}

model_laws! { $
    /// Defines a module of tests: the laws of [`Neuron`](crate::neuron::Neuron) for the neurons of
    /// a `proptest` strategy. The strategy is evaluated once per test; `Just(neuron)` tests one
    /// neuron.
    ///
    /// The neurons compute in `f64`, and charge and reset are differentiable at states and inputs
    /// from -2 to 2.
    ///
    /// ```
    /// use polychron_core::conformance::proptest::prelude::*;
    /// use polychron_core::neuron::Lif;
    ///
    /// polychron_core::neuron_laws!(any_lif, (1.1..20.0).prop_map(Lif::<f64>::new));
    /// polychron_core::neuron_laws!(slow_lif, Just(Lif::new(100.0)));
    /// ```
    neuron_laws: neuron {
        charge_adjoint_matches_differences,
        charge_adjoint_satisfies_the_adjoint_identity,
        reset_adjoint_matches_differences,
        reset_adjoint_satisfies_the_adjoint_identity,
        adjoints_are_linear,
        own_parameters_change_nothing,
        excess_has_slope_one_by_the_membrane,
    }
    /// Defines a module of tests: the laws of [`DelayKernel`](crate::delay::DelayKernel) for the
    /// kernels of a `proptest` strategy. The strategy is evaluated once per test.
    ///
    /// ```
    /// use polychron_core::conformance::proptest::prelude::*;
    /// use polychron_core::delay::Gauss;
    ///
    /// polychron_core::delay_kernel_laws!(gauss, Just(Gauss));
    /// ```
    delay_kernel_laws: delay_kernel {
        taps_sum_to_one,
        backward_is_the_gradient_of_taps,
        lanes_equal_scalars,
        taps_beyond_reach_are_negligible,
    }
    /// Defines a module of tests: the laws of [`Surrogate`](crate::surrogate::Surrogate) for the
    /// surrogates of a `proptest` strategy. The strategy is evaluated once per test.
    ///
    /// ```
    /// use polychron_core::conformance::proptest::prelude::*;
    /// use polychron_core::surrogate::Atan;
    ///
    /// polychron_core::surrogate_laws!(atan, (0.5..10.0).prop_map(|alpha| Atan { alpha }));
    /// ```
    surrogate_laws: surrogate {
        derivative_is_the_slope_of_the_primitive,
        slices_equal_scalars,
        values_are_finite,
    }
}
