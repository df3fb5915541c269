//! The laws that every backend has to keep, as one macro: [`conformance!`](crate::conformance!).
//!
//! Each law draws small problems, rounds their inputs to the backend's numbers, and holds the backend against
//! the [`Reference`] in `f64` on the same inputs, or against an identity: adjoint, linearity, causality, the step at
//! which an impulse arrives. Errors are relative to the largest magnitude in the block; [`tolerance::Stage`] is the table
//! of what is allowed. In every problem the outputs are full of NaN beforehand, views lie inside a larger buffer whose
//! rest must stay as it was, inputs must not change, and a second call must give the same bits.
//!
//! A law is a function of [`laws`] from a backend to a [`Report`] or a [`Failure`].
//!
//! [`Reference`]: crate::reference::Reference

mod host;
mod layer;
mod memory;
mod neuron;
mod norm;
mod optim;
mod projection;
mod readout;
mod shapes;
mod stage;
pub mod tolerance;

use crate::backend::LayerOps;
use crate::delay::AnyKernel;
use crate::neuron::AnyNeuron;
use crate::num::Real;
use crate::surrogate::AnySurrogate;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use tolerance::Stage;

/// The laws, one function each.
pub mod laws {
    pub use super::layer::{layer_backward, layer_forward, spikes_cross_a_layer_at_their_delay};
    pub use super::memory::{
        memory_round_trip, memory_starts_at_zero, new_values_replace_old,
        what_is_not_finite_is_found,
    };
    pub use super::neuron::{
        neuron_backward, neuron_forward, spikes_come_in_the_step_of_their_charge, surrogates,
    };
    pub use super::norm::{norm_apply, norm_backward, norm_forward};
    pub use super::optim::{adam, dropout};
    pub use super::projection::{
        projection_adjoint, projection_backward, projection_forward, projection_is_causal,
        projection_is_linear, projection_of_an_impulse,
    };
    pub use super::readout::{readout, readout_without_targets};
    pub use super::shapes::{
        layer_rejects_wrong_sizes, memory_rejects_wrong_sizes, neuron_rejects_wrong_sizes,
        norm_rejects_wrong_sizes, projection_rejects_wrong_sizes, readout_rejects_wrong_sizes,
    };
}

/// A backend with every kernel, neuron and surrogate that configurations can name.
pub trait Conforming<R: Real>: LayerOps<R, AnyKernel, AnyNeuron<R>, AnySurrogate<R>> {}

impl<R: Real, B: LayerOps<R, AnyKernel, AnyNeuron<R>, AnySurrogate<R>>> Conforming<R> for B {}

/// What a law says of a backend.
pub type Verdict = Result<Report, Failure>;

/// A broken law: what was compared, on which problem, and how far it is off; or the backend's own error.
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

/// The worst error of one block over a law's problems.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worst {
    /// What was compared.
    pub stage: Stage,
    /// The block.
    pub what: &'static str,
    /// The error, relative to the largest magnitude in the reference's block.
    pub error: f64,
    /// What is allowed.
    pub tolerance: f64,
}

/// The worst errors that a law found; its text is a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    rows: Vec<Worst>,
}

impl Report {
    /// One row for each block that was compared.
    pub fn rows(&self) -> &[Worst] {
        &self.rows
    }

    /// Keeps the worst error, and fails where it is beyond the tolerance or no number.
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

/// A backend that may be absent, as [`conformance!`](crate::conformance!) takes after `try`.
pub trait Attempt {
    /// The backend.
    type Backend;
    /// The backend, or why there is none.
    ///
    /// # Errors
    /// The reason, for people.
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

/// A module of tests, `conformance_f32` or `conformance_f64`, that hold a backend to every law of
/// [`laws`](crate::conformance::laws). The expression is evaluated once a test.
///
/// `conformance!(f32, try expression)` takes an `Option` or a `Result` and skips where there is no backend; with
/// `REQUIRE_DEVICE=1` in the environment that is a failure. `cargo test -- --nocapture` prints the worst errors.
///
/// ```
/// mod mine {
///     polychron_core::conformance!(f64, polychron_core::reference::Reference);
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
            $crate::conformance!(@tests $real, $backend,
                memory_starts_at_zero, memory_round_trip, new_values_replace_old, what_is_not_finite_is_found,
                projection_forward, projection_backward, projection_adjoint, projection_is_linear,
                projection_is_causal, projection_of_an_impulse,
                norm_forward, norm_backward, norm_apply,
                neuron_forward, neuron_backward, surrogates, spikes_come_in_the_step_of_their_charge,
                layer_forward, layer_backward, spikes_cross_a_layer_at_their_delay,
                readout, readout_without_targets, adam, dropout,
                memory_rejects_wrong_sizes, projection_rejects_wrong_sizes, norm_rejects_wrong_sizes,
                neuron_rejects_wrong_sizes, layer_rejects_wrong_sizes, readout_rejects_wrong_sizes);
        }
    };
    (@tests $real:ty, $backend:expr, $($law:ident),*) => {
        $(#[test]
        fn $law() {
            match $crate::conformance::Attempt::attempt($backend) {
                Ok(backend) => match $crate::conformance::laws::$law::<$real, _>(&backend) {
                    Ok(report) => {
                        let name = $crate::backend::Backend::<$real>::name(&backend);
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
