//! LIF, PLIF and the readout over time equal those of the packages, also in backpropagation through
//! time.

use crate::common::{Golden, Stage, check, reals, tolerance};
use polychron_core::backend::Firing;
use polychron_core::neuron::{Li, Lif, Neuron, Plif, Reset};
use polychron_core::norm::ValidSteps;
use polychron_core::num::Real;
use polychron_core::reference::{NeuronArgs, neuron_backward, neuron_forward};
use polychron_core::shape::Shape;
use polychron_core::surrogate::AnySurrogate;
use serde_json::Value;

fn surrogate<R: Real>(golden: &str) -> AnySurrogate<R> {
    let (name, parameters): (&str, &[(&str, f64)]) = match golden {
        "atan5" => ("atan", &[("alpha", 5.0)]),
        "atan2" => ("atan", &[("alpha", 2.0)]),
        "sigmoid4" => ("sigmoid", &[("alpha", 4.0)]),
        "softsign2" => ("softsign", &[("alpha", 2.0)]),
        "softsign10" => ("softsign", &[("alpha", 10.0)]),
        "piecewise_quadratic1" => ("triangle", &[("alpha", 1.0)]),
        "piecewise_quadratic2" => ("triangle", &[("alpha", 2.0)]),
        "piecewise_exp1" => ("piecewise_exp", &[("alpha", 1.0)]),
        "erf2" => ("erf", &[("alpha", 2.0)]),
        "rect_w0.5" => ("rect", &[("width", 0.5)]),
        "leaky_rect_w1_c0.01" => ("leaky_rect", &[("width", 1.0), ("leak", 0.01)]),
        "leaky_k_relu" => ("leaky_k_relu", &[("leak", 0.1), ("slope", 1.0)]),
        "s2nn" => ("s2nn", &[("alpha", 4.0), ("beta", 1.0)]),
        other => panic!("no surrogate {other}"),
    };
    AnySurrogate::from_name(name, parameters).unwrap()
}

fn lif<R: Real>(meta: &Value) -> Lif<R> {
    let number = |name: &str| meta[name].as_f64();
    let flag = |name: &str| meta[name].as_bool().unwrap();
    Lif {
        threshold: R::of(number("v_threshold").unwrap()),
        reset: number("v_reset").map_or(Reset::Soft, |v| Reset::Hard(R::of(v))),
        decay_input: flag("decay_input"),
        detach: flag("detach_reset"),
        ..Lif::new(R::of(number("tau").unwrap()))
    }
}

/// The input. One number is 2^-40 below the threshold of 1; `f32` uses the largest number below 1.
fn input<R: Real>(golden: &Golden) -> Vec<R> {
    let below = 1.0 - R::epsilon().as_f64() / 2.0;
    let x = golden.f64s("x").into_iter();
    reals(&x.map(|x| if x < 1.0 && x > below { below } else { x }).collect::<Vec<_>>())
}

fn compare<R: Real, N: Neuron<Real = R>>(golden: &Golden, case: &str, neuron: &N) {
    let of = |name: &str| format!("{case}.{name}");
    let allowed = tolerance::<R>(Stage::Neuron);
    let (x, shape) = (input::<R>(golden), golden.shape("x"));
    let args = NeuronArgs {
        neurons: std::slice::from_ref(neuron),
        surrogate: &surrogate(golden.meta["cases"][case]["surrogate"].as_str().unwrap()),
        firing: Firing::Step,
        mask: None,
        valid: ValidSteps::default(),
        shape: Shape::new(shape[0], shape[1], shape[2]),
        start: None,
    };
    let n = x.len();
    let (mut spikes, mut v) = (vec![R::zero(); n], vec![R::zero(); n]);
    neuron_forward(&args, &x, &mut spikes, Some(&mut v), None).unwrap();
    assert_eq!(spikes, golden.reals(&of("s")), "{case}.s");
    check(&of("v"), &v, &golden.f64s(&of("v")), allowed.value);
    let mut state = vec![neuron.rest(); shape[1] * shape[2]];
    let mut h = Vec::new();
    for (at, &x) in x.iter().enumerate() {
        let state = &mut state[at % (shape[1] * shape[2])];
        let charged = neuron.charge(*state, x);
        h.push(charged.as_ref()[0]);
        *state = neuron.reset(charged, spikes[at]);
    }
    check(&of("h"), &h, &golden.f64s(&of("h")), allowed.value);

    let (by_spikes, by_membrane) = (golden.reals::<R>("Gs"), golden.reals::<R>("Gv"));
    for (d_v, dx, dw) in [(None, "dx_s", "dw_s"), (Some(&by_membrane[..]), "dx_sv", "dw_sv")] {
        let mut d_params = vec![R::zero(); neuron.params().as_ref().len()];
        let mut d_x = vec![R::zero(); n];
        neuron_backward(&args, &x, &by_spikes, d_v, &mut d_x, &mut d_params).unwrap();
        if neuron.fires() || d_v.is_some() {
            check(&of(dx), &d_x, &golden.f64s(&of(dx)), allowed.gradient);
        } else {
            assert!(d_x.iter().all(|d| *d == R::zero()), "{case}: spikes that never come");
        }
        if !d_params.is_empty() {
            let allowed = tolerance::<R>(Stage::Shared).gradient;
            check(&of(dw), &d_params, &golden.f64s(&of(dw)), allowed);
        }
    }
}

fn is_the_packages<R: Real>() {
    let golden = Golden::open("lif");
    for (case, meta) in golden.meta["cases"].as_object().unwrap() {
        let lif = lif::<R>(meta);
        if meta["node"] == "LIF" {
            compare(&golden, case, &lif);
        } else {
            let (plif, w) = (Plif::new(lif), format!("{case}.w"));
            check(&w, &plif.params(), &golden.f64s(&w), tolerance::<R>(Stage::Shared).value);
            compare(&golden, case, &plif.with_params(plif.params()));
        }
    }
    let tau = golden.meta["cases"]["readout"]["tau"].as_f64().unwrap();
    compare(&golden, "readout", &Li::new(R::of(tau)));
    golden.all_read();
}

#[test]
fn neurons_are_the_packages_in_f64() {
    is_the_packages::<f64>();
}

#[test]
fn neurons_are_the_packages_in_f32() {
    is_the_packages::<f32>();
}
