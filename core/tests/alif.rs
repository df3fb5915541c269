//! An adaptive threshold fits the trait of neurons.

use crate::common::alif::Alif;
use polychron_core::backend::Firing;
use polychron_core::conformance::proptest::prelude::*;
use polychron_core::norm::ValidSteps;
use polychron_core::reference::{NeuronArgs, neuron_forward};
use polychron_core::rng::Rng;
use polychron_core::shape::Shape;
use polychron_core::surrogate::Atan;

fn alifs() -> impl Strategy<Value = Alif<f64>> {
    let raw = [-2.0..4.0f64, -2.0..6.0f64, 0.0..2.0f64];
    (0.2..2.0f64, raw, any::<bool>()).prop_map(|(threshold, raw, detach)| Alif {
        threshold,
        raw,
        detach,
    })
}

polychron_core::neuron_laws!(alif, alifs());

/// The equations with membrane and threshold apart, as in the paper.
#[test]
fn spikes_are_those_of_a_moving_threshold() {
    let neuron = Alif::<f64>::new(0.5, [1.0, 2.0, 0.7], false);
    let [alpha, rho, beta] = neuron.constants();
    let rng = Rng::new(4, 0);
    let x: Vec<f64> = (0..200).map(|t| rng.uniform_f64(t) - 0.1).collect();
    let [mut v, mut a] = [0.0; 2];
    let mut expected = Vec::new();
    for &x in &x {
        let h = alpha * v + x;
        let s = f64::from(h >= neuron.threshold + beta * a);
        (v, a) = (h - s * neuron.threshold, rho * a + s);
        expected.push(s);
    }
    let mut spikes = vec![0.0; x.len()];
    let args = NeuronArgs {
        neurons: &[neuron],
        surrogate: &Atan { alpha: 5.0 },
        firing: Firing::Step,
        mask: None,
        valid: ValidSteps::default(),
        shape: Shape::new(x.len(), 1, 1),
        start: None,
    };
    neuron_forward(&args, &x, &mut spikes, None, None).unwrap();
    assert_eq!(spikes, expected);
    let rate = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    assert!(rate(&spikes[..5]) > 1.2 * rate(&spikes[100..]), "{spikes:?}");
}
