//! Laws that implementations must satisfy, as macros that expand to tests.
//!
//! | macro | implementation of | laws |
//! |---|---|---|
//! | [`conformance!`](crate::conformance!) | [`Backend`] | [`laws`] |
//! | [`neuron_laws!`](crate::neuron_laws!) | [`Neuron`] | [`models::neuron`] |
//! | [`delay_kernel_laws!`](crate::delay_kernel_laws!) | [`DelayKernel`] | [`models::delay_kernel`] |
//! | [`surrogate_laws!`](crate::surrogate_laws!) | [`Surrogate`] | [`models::surrogate`] |
//!
//! # Backends
//!
//! A law is a function from a backend to a [`Report`] or a [`Failure`]. It draws small problems,
//! rounds their inputs to the backend's number type, and compares the backend with the
//! [`Reference`] in `f64` on the same inputs, or tests an identity: adjoint, linearity, causality,
//! the step at which an impulse arrives. Errors are relative to the largest magnitude in the block;
//! [`tolerance::Stage`] is the table of what is allowed. In every problem the outputs are filled
//! with NaN beforehand, views lie inside a larger buffer whose other values must not change, inputs
//! must not change, and a second call must return the same bits.
//!
//! The CPU backend computes the readout with [`reference::readout`], and both the CPU and the
//! reference backend compute optimizer steps with [`optim::Step`]. There the laws `readout`,
//! `readout_without_targets` and `optimizers` compare the oracle with itself; values from PyTorch
//! test these two operations. The same holds for every operation whose default a backend keeps:
//! defaults compute with the oracle on the host.
//!
//! The law `network_step` runs the [`Trainer`] on both sides. It tests the operations of a backend
//! in a row, on blocks that they share and use again; of the trainer it says nothing.
//!
//! # Models
//!
//! A law of a model takes a `proptest` strategy of models and draws models, states and gradients in
//! `f64`. A failure reports a minimal case. The random seed is fixed; the environment variables
//! `PROPTEST_CASES` and `PROPTEST_RNG_SEED` change the number of cases and the seed.
//!
//! [`Backend`]: crate::backend::Backend
//! [`Neuron`]: crate::neuron::Neuron
//! [`DelayKernel`]: crate::delay::DelayKernel
//! [`Surrogate`]: crate::surrogate::Surrogate
//! [`Reference`]: crate::reference::Reference
//! [`Trainer`]: crate::train::Trainer
//! [`reference::readout`]: crate::reference::readout
//! [`optim::Step`]: crate::optim::Step

mod bias;
mod host;
mod layer;
mod memory;
pub mod models;
mod network;
mod neuron;
mod norm;
mod optim;
mod place;
mod projection;
mod readout;
mod recurrent;
mod recurrent_shapes;
mod shapes;
mod stage;
pub mod tolerance;

use crate::backend::{Backend, HasKernel, HasNeuron, HasSurrogate};
use crate::delay::AnyKernel;
use crate::neuron::AnyNeuron;
use crate::surrogate::AnySurrogate;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use tolerance::Stage;

pub use proptest;

/// The table of laws: defines [`laws`] and the macro that lists them for `conformance!`.
macro_rules! laws {
    ($d:tt $($module:ident: $($law:ident),+;)+) => {
        /// The laws of backends, one function each.
        pub mod laws {
            $(pub use super::$module::{$($law),+};)+
        }

        /// Calls `conformance!` with the given tokens, followed by the name of every law.
        #[doc(hidden)]
        #[macro_export]
        macro_rules! __with_every_law {
            ($d($d head:tt)*) => {
                $crate::conformance!($d($d head)* $($($law,)+)+);
            };
        }
    };
}

laws! { $
    memory: memory_starts_at_zero, memory_round_trip, new_values_replace_old,
        what_is_not_finite_is_found, sequences_add_up, events_are_written,
        sequences_are_joined_and_cut;
    projection: projection_forward, projection_backward, projection_adjoint, projection_is_linear,
        projection_is_causal, projection_of_an_impulse;
    place: values_are_expanded, gradients_are_reduced, places_reject_wrong_sizes;
    bias: biases_are_added, gradients_of_biases_are_sums, biases_reject_wrong_sizes;
    norm: norm_forward, norm_backward, norm_apply;
    neuron: neuron_forward, neuron_backward, surrogates, spikes_come_in_the_step_of_their_charge,
        rate_penalty;
    recurrent: recurrent_forward, recurrent_backward, spikes_return_after_their_delay,
        recurrent_parts_continue;
    recurrent_shapes: recurrent_rejects_wrong_sizes;
    layer: layer_forward, layer_backward, spikes_cross_a_layer_at_their_delay;
    network: network_step;
    readout: readout, readout_without_targets, readout_backward;
    optim: optimizers, norms_and_factors, dropout;
    shapes: memory_rejects_wrong_sizes, projection_rejects_wrong_sizes, norm_rejects_wrong_sizes,
        neuron_rejects_wrong_sizes, layer_rejects_wrong_sizes, readout_rejects_wrong_sizes;
}

/// A backend with every kernel, neuron and surrogate that has a name in configurations.
pub trait Conforming:
    Backend
    + HasKernel<AnyKernel>
    + HasNeuron<AnyNeuron<<Self as Backend>::Real>>
    + HasSurrogate<AnySurrogate<<Self as Backend>::Real>>
{
}

impl<B> Conforming for B where
    B: Backend
        + HasKernel<AnyKernel>
        + HasNeuron<AnyNeuron<<B as Backend>::Real>>
        + HasSurrogate<AnySurrogate<<B as Backend>::Real>>
{
}

/// The result of a law.
pub type Verdict = Result<Report, Failure>;

/// A violated law: the block, the problem and the error; or the error that the backend returned.
pub struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: core::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(format!("the backend's error: {error}"))
    }
}

/// The worst error of one block over the problems of a law.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worst {
    /// The operation.
    pub stage: Stage,
    /// The block.
    pub what: &'static str,
    /// The error, relative to the largest magnitude in the reference's block.
    pub error: f64,
    /// The largest error allowed.
    pub tolerance: f64,
}

/// The worst errors that a law found; displays as a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    rows: Vec<Worst>,
}

impl Report {
    /// One row per compared block.
    #[must_use]
    pub fn rows(&self) -> &[Worst] {
        &self.rows
    }

    /// Keeps the worst error. Fails if it exceeds the tolerance or is NaN.
    fn measure(&mut self, worst: Worst, problem: &str) -> Result<(), Failure> {
        let Worst { stage, what, error, tolerance } = worst;
        if error.is_nan() || error > tolerance {
            let text =
                format!("{}, {what}: error {error:.1e}, allowed {tolerance:.1e}", stage.name());
            return Err(Failure(format!("{text} ({problem})")));
        }
        match self.rows.iter_mut().find(|row| row.stage == stage && row.what == what) {
            Some(row) => row.error = row.error.max(error),
            None => self.rows.push(worst),
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Worst { stage, what, error, tolerance } in &self.rows {
            writeln!(f, "  {:20} {what:20} {error:8.1e}  allowed {tolerance:.0e}", stage.name())?;
        }
        Ok(())
    }
}

/// An optional backend: the argument of [`conformance!`](crate::conformance!) after `try`.
pub trait Attempt {
    /// The backend.
    type Backend;
    /// Returns the backend.
    ///
    /// # Errors
    /// The reason why there is none.
    fn attempt(self) -> Result<Self::Backend, String>;
}

impl<B> Attempt for Option<B> {
    type Backend = B;
    fn attempt(self) -> Result<B, String> {
        self.ok_or_else(|| "no device".to_string())
    }
}

impl<B, E: fmt::Display> Attempt for Result<B, E> {
    type Backend = B;
    fn attempt(self) -> Result<B, String> {
        self.map_err(|error| error.to_string())
    }
}

/// Defines a module of tests, `conformance_f32` or `conformance_f64`: every law of
/// [`laws`](crate::conformance::laws) for one backend. Each test evaluates the expression once.
///
/// `conformance!(f32, try expression)` takes an `Option` or a `Result`. Without a backend the tests
/// are skipped, or fail if the environment has `REQUIRE_DEVICE=1`. `cargo test -- --nocapture`
/// prints the worst errors.
///
/// ```
/// mod mine {
///     polychron_core::conformance!(f64, polychron_core::reference::Reference::new());
/// }
/// ```
#[macro_export]
macro_rules! conformance {
    (f32, try $backend:expr) => {
        $crate::conformance!(@suite conformance_f32, f32, $backend);
    };
    (f64, try $backend:expr) => {
        $crate::conformance!(@suite conformance_f64, f64, $backend);
    };
    (f32, $backend:expr) => {
        $crate::conformance!(@suite conformance_f32, f32, Some($backend));
    };
    (f64, $backend:expr) => {
        $crate::conformance!(@suite conformance_f64, f64, Some($backend));
    };
    (@suite $module:ident, $real:ty, $backend:expr) => {
        #[cfg(test)]
        mod $module {
            #[allow(unused_imports)]
            use super::*;
            $crate::__with_every_law!(@tests $real, ($backend),);
        }
    };
    (@tests $real:ty, ($backend:expr), $($law:ident,)*) => {
        $(#[test]
        fn $law() {
            match $crate::conformance::Attempt::attempt($backend) {
                Ok(backend) => match $crate::conformance::laws::$law::<$real, _>(&backend) {
                    Ok(report) => {
                        let name = $crate::backend::Backend::name(&backend);
                        ::std::print!("{} {name} {}\n{report}", stringify!($law), stringify!($real));
                    }
                    Err(failure) => panic!("{failure}"),
                },
                Err(reason) => {
                    let required = ::std::env::var_os("REQUIRE_DEVICE").is_some_and(|v| v == "1");
                    assert!(!required, "REQUIRE_DEVICE=1, but: {reason}");
                    ::std::println!("skipped: {reason}");
                }
            }
        })*
    };
}
