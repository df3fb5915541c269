//! Properties of the surrogate derivatives, and the values of the published packages.

use crate::conformance::models::any_surrogate;
use approx::{assert_relative_eq, relative_eq};
use polychron_core::num::Real;
use polychron_core::surrogate::{
    AnySurrogate, Atan, Erf, Gaussian, PiecewiseExp, Scaled, Sigmoid, Softsign, SpikeRateEscape,
    Surrogate, SurrogateError, step,
};
use proptest::prelude::*;
use safetensors::SafeTensors;

type Parameters = &'static [(&'static str, f64)];

/// Tensor name, surrogate name, parameters.
const GOLDEN: [(&str, &str, Parameters); 13] = [
    ("atan5", "atan", &[("alpha", 5.0)]),
    ("atan2", "atan", &[("alpha", 2.0)]),
    ("sigmoid4", "sigmoid", &[("alpha", 4.0)]),
    ("softsign2", "softsign", &[("alpha", 2.0)]),
    ("softsign10", "softsign", &[("alpha", 10.0)]),
    ("piecewise_quadratic1", "triangle", &[("alpha", 1.0)]),
    ("piecewise_quadratic2", "triangle", &[("alpha", 2.0)]),
    ("piecewise_exp1", "piecewise_exp", &[("alpha", 1.0)]),
    ("erf2", "erf", &[("alpha", 2.0)]),
    ("rect_w0.5", "rect", &[("width", 0.5)]),
    ("leaky_rect_w1_c0.01", "leaky_rect", &[("width", 1.0), ("leak", 0.01)]),
    ("leaky_k_relu", "leaky_k_relu", &[("leak", 0.1), ("slope", 1.0)]),
    ("s2nn", "s2nn", &[("alpha", 4.0), ("beta", 1.0)]),
];

fn named<R: Real>(name: &str, parameters: &[(&str, f64)]) -> AnySurrogate<R> {
    AnySurrogate::from_name(name, parameters).unwrap_or_else(|e| panic!("{e}"))
}

fn defaults<R: Real>() -> impl Iterator<Item = AnySurrogate<R>> {
    AnySurrogate::<R>::NAMES.iter().map(|name| named(name, &[]))
}

fn never_negative() -> impl Strategy<Value = AnySurrogate<f64>> {
    any_surrogate().prop_filter("negative flanks", |s| s.name() != "multi_gaussian")
}

fn matches_the_packages<R: Real>(max_relative: f64) {
    let bytes = include_bytes!("golden/surrogate.safetensors");
    let file = SafeTensors::deserialize(bytes).unwrap();
    let tensor = |name: &str| -> Vec<f64> {
        let bytes = file.tensor(name).unwrap().data();
        bytes.chunks_exact(f64::BYTES).map(f64::read_le).collect()
    };
    let x: Vec<R> = tensor("x").into_iter().map(R::of).collect();
    for (tensor_name, name, parameters) in GOLDEN {
        let surrogate = named::<R>(name, parameters);
        for (&u, want) in x.iter().zip(tensor(tensor_name)) {
            let got = surrogate.derivative(u).as_f64();
            assert!(
                relative_eq!(got, want, epsilon = 0.0, max_relative = max_relative),
                "{tensor_name} at {u}: {got}, not {want}"
            );
        }
    }
    for (&u, want) in x.iter().zip(tensor("heaviside")) {
        assert_eq!(step(u).as_f64(), want, "step at {u}");
    }
}

#[test]
fn derivatives_are_the_packages_in_f64() {
    matches_the_packages::<f64>(1e-10);
}

#[test]
fn derivatives_are_the_packages_in_f32() {
    matches_the_packages::<f32>(1e-5);
}

/// The equations of snnTorch and Norse for k = 3, and the factor that the documentation states.
#[test]
fn scaled_families_are_the_other_libraries_equations() {
    let k = 3.0f64;
    for u in [-1.5, -0.25, 0.0, 0.1, 0.75, 2.0] {
        let fast_sigmoid = Scaled { factor: 2.0 / k, surrogate: Softsign { alpha: k } };
        assert_relative_eq!(fast_sigmoid.derivative(u), (1.0 + k * u.abs()).powi(-2));
        let heavi_tanh = Scaled { factor: 2.0 / k, surrogate: Sigmoid { alpha: 2.0 * k } };
        let want = 1.0 - (k * u).tanh().powi(2);
        assert_relative_eq!(heavi_tanh.derivative(u), want, epsilon = 1e-14);
        let heavi_erfc = Scaled { factor: 2.0 / k, surrogate: Erf { alpha: k } };
        let want = 2.0 * (-(k * u).powi(2)).exp() / std::f64::consts::PI.sqrt();
        assert_relative_eq!(heavi_erfc.derivative(u), want, max_relative = 1e-13);
        let circ = Scaled { factor: 2.0 * k, surrogate: named::<f64>("circ", &[("alpha", k)]) };
        let square = k * k + u * u;
        let want = (0.5 / square.sqrt() - 0.5 * u * u / square.powf(1.5)) * 2.0 * k;
        assert_relative_eq!(circ.derivative(u), want, epsilon = 1e-14);
        let escape = SpikeRateEscape { beta: k, slope: 7.0, centre: 1.0 };
        assert_relative_eq!(escape.derivative(u), 7.0 * (-k * (u - 1.0).abs()).exp());
        let exponential = Scaled { factor: 14.0 / k, surrogate: PiecewiseExp { alpha: k } };
        assert_relative_eq!(exponential.derivative(u - 1.0), escape.derivative(u));
        let gaussian = Gaussian { sigma: 0.5f64.sqrt() / k };
        assert_relative_eq!(gaussian.derivative(u), Erf { alpha: k }.derivative(u));
    }
}

#[test]
fn multi_gaussian_is_the_papers_equation() {
    let normal = |u: f64, mean: f64, sigma: f64| {
        (-0.5 * ((u - mean) / sigma).powi(2)).exp() / (sigma * std::f64::consts::TAU.sqrt())
    };
    let surrogate = named::<f64>("multi_gaussian", &[]);
    for u in [-4.0, -1.5, -0.5, 0.0, 0.2, 1.0, 6.0] {
        let flanks = normal(u, 0.5, 3.0) + normal(u, -0.5, 3.0);
        let want = 1.15 * normal(u, 0.0, 0.5) - 0.15 * flanks;
        assert_relative_eq!(surrogate.derivative(u), want, max_relative = 1e-12);
    }
    assert!(surrogate.derivative(2.0) < 0.0, "the flanks are negative");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_primitive_never_falls(s in never_negative(), u in -8.0..8.0f64, gap in 0.0..2.0f64) {
        prop_assert!(s.derivative(u) >= 0.0);
        let (low, high) = (s.primitive(u), s.primitive(u + gap));
        prop_assert!(high >= low - 4.0 * f64::EPSILON * low.abs().max(1.0), "{s:?} at {u}");
    }

    #[test]
    fn name_and_parameters_round_trip(s in any_surrogate()) {
        let parameters: Vec<_> = s.parameters().into_iter().flatten().collect();
        prop_assert_eq!(AnySurrogate::from_name(s.name(), &parameters), Ok(s));
    }

    #[test]
    fn single_precision_follows_double(s in any_surrogate(), u in -6.0..6.0f32) {
        let parameters: Vec<_> = s.parameters().into_iter().flatten().collect();
        let single = named::<f32>(s.name(), &parameters);
        let at = f64::from(u);
        prop_assume!(s.kinks().into_iter().flatten().all(|kink| (at - kink).abs() > 1e-5));
        for (got, want) in [
            (single.derivative(u), s.derivative(at)),
            (single.primitive(u), s.primitive(at)),
        ] {
            prop_assert!(
                relative_eq!(f64::from(got), want, epsilon = 1e-5, max_relative = 1e-5),
                "{s:?} at {u}: {got}, not {want}"
            );
        }
    }
}

/// A kink bends f by h and a jump by 1, where a smooth f bends by h^2 only.
#[test]
fn every_kink_and_jump_is_listed() {
    let h = 1e-3;
    for s in defaults::<f64>() {
        for u in (-3000..=3000).map(|n| f64::from(n) * h) {
            let near_a_kink =
                s.kinks().into_iter().flatten().any(|kink| (u - kink).abs() < 1.5 * h);
            let bend = s.derivative(u - h) - 2.0 * s.derivative(u) + s.derivative(u + h);
            assert!(near_a_kink || bend.abs() < 0.2 * h, "{s:?} bends by {bend} at {u}");
        }
    }
}

fn is_finite_at_extremes<R: Real>() {
    for s in defaults::<R>() {
        for magnitude in [0.0, R::min_positive_value().as_f64(), 1e-9, 1.0, 89.0, 710.0, 1e4, 1e9] {
            for u in [R::of(magnitude), R::of(-magnitude)] {
                let (f, area) = (s.derivative(u), s.primitive(u));
                assert!(f.is_finite() && area.is_finite(), "{s:?} at {u}: f = {f}, F = {area}");
            }
        }
    }
}

#[test]
fn values_are_finite_up_to_1e9() {
    is_finite_at_extremes::<f32>();
    is_finite_at_extremes::<f64>();
}

#[test]
fn primitives_start_at_zero_and_end_at_their_area() {
    let unbounded = ["leaky_rect", "leaky_k_relu", "s2nn", "straight_through"];
    for s in defaults::<f64>() {
        let area = match s.name() {
            "rect" => 2.0,
            "spike_rate_escape" => 50.0,
            "multi_gaussian" => 0.85,
            "sparse_fast_sigmoid" => 1.0 / 25.0 - 1.0 / 26.0,
            _ => 1.0,
        };
        if !unbounded.contains(&s.name()) {
            assert_relative_eq!(s.primitive(-1e9), 0.0, epsilon = 1e-8);
            assert_relative_eq!(s.primitive(1e9), area, epsilon = 1e-8);
        }
    }
    assert_relative_eq!(named::<f64>("s2nn", &[]).primitive(-1e9), 0.0);
}

#[test]
fn names_are_distinct_and_known() {
    let names = AnySurrogate::<f32>::NAMES;
    for (i, name) in names.iter().enumerate() {
        assert!(!names[..i].contains(name), "{name} twice");
        assert_eq!(named::<f32>(name, &[]).name(), *name);
    }
    assert_eq!(named::<f64>("atan", &[("alpha", 5.0)]), AnySurrogate::Atan(Atan { alpha: 5.0 }));
}

#[test]
fn bad_names_and_parameters_are_rejected() {
    let refused = |name, parameters: &[(&'static str, f64)]| {
        AnySurrogate::<f32>::from_name(name, parameters).unwrap_err()
    };
    let unknown = refused("arctan", &[]);
    assert!(matches!(unknown, SurrogateError::UnknownName { name: "arctan", .. }));
    assert!(unknown.to_string().contains("\"arctan\""));
    let error = refused("atan", &[("alpha", 2.0), ("beta", 1.0)]).to_string();
    assert_eq!(error, r#"surrogate atan has no parameter "beta"; it has ["alpha"]"#);
    for (value, shown) in [(0.0, "0"), (-1.0, "-1"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        let error = refused("atan", &[("alpha", value)]).to_string();
        assert_eq!(error, format!("surrogate atan: alpha = {shown} must be positive"));
    }
    let error = refused("leaky_rect", &[("leak", f64::NAN)]).to_string();
    assert_eq!(error, "surrogate leaky_rect: leak = NaN must be finite");
}

#[test]
fn surrogates_serve_as_objects() {
    let objects: [&dyn Surrogate<f32>; 2] = [&Atan { alpha: 2.0 }, &named::<f32>("atan", &[])];
    let [plain, any] = objects.map(|s| s.derivative(0.25));
    assert_eq!(plain, any);
}
