//! The laws of [`Surrogate`].

use super::{hold, near, tolerance};
use crate::conformance::Failure;
use crate::gradcheck::{STEP, extrapolated};
use crate::surrogate::Surrogate;
use alloc::vec::Vec;
use proptest::prelude::*;

/// [`Surrogate::derivative`] is the slope of [`Surrogate::primitive`], except near its
/// [kinks](Surrogate::kinks).
///
/// # Errors
/// [`Failure`] with a minimal case that violates the law.
pub fn derivative_is_the_slope_of_the_primitive<S: Surrogate<f64>>(
    surrogates: impl Strategy<Value = S>,
) -> Result<(), Failure> {
    hold(&(surrogates, -6.0..6.0f64), |(surrogate, u)| {
        prop_assume!(surrogate.kinks().iter().flatten().all(|kink| (u - kink).abs() > STEP));
        let slope = extrapolated(|step| surrogate.primitive(u + step), STEP);
        let scale = surrogate.primitive(u).abs().max(1.0);
        near("derivative", [surrogate.derivative(u), slope], scale, tolerance("surrogate"))
    })
}

/// [`Surrogate::derivatives`] and [`Surrogate::primitives`] return the bits of the scalar methods.
///
/// # Errors
/// [`Failure`] with a minimal case that violates the law.
pub fn slices_equal_scalars<S: Surrogate<f64>>(
    surrogates: impl Strategy<Value = S>,
) -> Result<(), Failure> {
    let slices = prop::collection::vec(-8.0..8.0f64, 0..70);
    hold(&(surrogates, slices), |(surrogate, u)| {
        let bits = |values: &[f64]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let mut found = u.clone();
        surrogate.derivatives(&mut found);
        let scalars: Vec<f64> = u.iter().map(|&u| surrogate.derivative(u)).collect();
        prop_assert_eq!(bits(&found), bits(&scalars), "derivatives");
        let mut found = u.clone();
        surrogate.primitives(&mut found);
        let scalars: Vec<f64> = u.iter().map(|&u| surrogate.primitive(u)).collect();
        prop_assert_eq!(bits(&found), bits(&scalars), "primitives");
        Ok(())
    })
}

/// Derivative and primitive are finite for |u| up to 1e9.
///
/// # Errors
/// [`Failure`] with a minimal case that violates the law.
pub fn values_are_finite<S: Surrogate<f64>>(
    surrogates: impl Strategy<Value = S>,
) -> Result<(), Failure> {
    let sizes = prop_oneof![Just(0.0), Just(f64::MIN_POSITIVE), 0.0..1.0f64, 1.0..1e3, 1e3..=1e9];
    hold(&(surrogates, sizes, any::<bool>()), |(surrogate, size, minus)| {
        let u = if minus { -size } else { size };
        let (slope, value) = (surrogate.derivative(u), surrogate.primitive(u));
        prop_assert!(slope.is_finite() && value.is_finite(), "f({u}) = {slope}, F({u}) = {value}");
        Ok(())
    })
}
