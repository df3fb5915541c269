//! A whole small network equals that of the packages: every activation, the loss, every gradient,
//! and the evaluation.

use crate::common::network::{Case, Tensors, cases, compare, run};
use crate::common::{Golden, Stage, Tolerance, tolerance};
use polychron_core::backend::Firing;
use polychron_core::delay::{AnyKernel, dense_kernel};
use polychron_core::neuron::{Li, Lif, Neuron};
use polychron_core::norm::ValidSteps;
use polychron_core::num::Real;
use polychron_core::reference::{NeuronArgs, Reference, neuron_forward};
use polychron_core::shape::Shape;
use polychron_core::surrogate::Atan;

/// Values that a backend does not return: dense kernels and the membranes of all layers.
fn inner<R: Real>(case: &Case<R>, tensors: &Tensors<R>) -> Tensors<R> {
    let mut inner = Tensors::new();
    let last = case.layers.len() - 1;
    for (l, layer) in case.layers.iter().enumerate() {
        let s = &layer.synapses;
        let mut scratch = vec![R::zero(); s.taps];
        let mut dense = vec![R::zero(); s.weights() * s.taps];
        let (w, d) = (&layer.weights, &layer.delays);
        dense_kernel(&case.kernel, s, w, d, &[case.sigma], &mut scratch, &mut dense).unwrap();
        inner.insert(format!("l{l}.kernel"), dense);
        if l < last {
            let v = membrane(&Lif::new(case.tau), &tensors[&format!("l{l}.bn")], case, s.outputs);
            inner.insert(format!("l{l}.v"), v);
        } else {
            let conv = &tensors[&format!("l{l}.conv")];
            inner.insert("out".into(), membrane(&Li::new(case.tau), conv, case, s.outputs));
        }
    }
    inner
}

fn membrane<R: Real, N: Neuron<Real = R>>(
    neuron: &N,
    x: &[R],
    case: &Case<R>,
    width: usize,
) -> Vec<R> {
    let batch = case.shape.batch;
    let args = NeuronArgs {
        neurons: std::slice::from_ref(neuron),
        surrogate: &Atan { alpha: R::of(5.0) },
        firing: Firing::Step,
        mask: None,
        valid: ValidSteps::default(),
        shape: Shape::new(x.len() / (batch * width), batch, width),
        start: None,
    };
    let (mut spikes, mut v) = (vec![R::zero(); x.len()], vec![R::zero(); x.len()]);
    neuron_forward(&args, x, &mut spikes, Some(&mut v), None).unwrap();
    v
}

fn is_the_packages<R: Real>() {
    let golden = Golden::open("network");
    let allowed = tolerance::<R>(Stage::Network);
    for case in cases::<R>(&golden) {
        let tensors = run(&Reference::new(), &case).unwrap();
        compare(&golden, &case.name, &case.layers, &tensors, allowed);
        compare(&golden, &case.name, &case.layers, &inner(&case, &tensors), allowed);
    }
    golden.all_read();
}

#[test]
fn the_network_is_the_packages_in_f64() {
    is_the_packages::<f64>();
}

#[test]
fn the_network_is_the_packages_in_f32() {
    is_the_packages::<f32>();
}

/// Discrete taps of the packages are the weight divided by 1 + 1e-7.
#[test]
fn discrete_delays_evaluate_as_the_packages_narrowest_kernel() {
    let golden = Golden::open("network");
    let rounded = cases::<f64>(&golden).pop().unwrap();
    let learned = cases::<f64>(&golden).swap_remove(0).layers;
    let mut case = Case { kernel: AnyKernel::Discrete, ..rounded };
    for (layer, learned) in case.layers.iter_mut().zip(learned) {
        layer.delays = learned.delays;
    }
    let tensors = run(&Reference::new(), &case).unwrap();
    compare(&golden, &case.name, &case.layers, &tensors, Tolerance { value: 1e-6, gradient: 0.0 });
}
