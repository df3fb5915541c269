//! The state of a neuron with an adaptive threshold stands for the equations of the paper.

use polychron_core::backend::Firing;
use polychron_core::neuron::{Alif, Lif, Reset};
use polychron_core::norm::ValidSteps;
use polychron_core::reference::{NeuronArgs, neuron_forward};
use polychron_core::rng::Rng;
use polychron_core::shape::Shape;
use polychron_core::surrogate::Atan;

/// The equations with membrane and threshold apart, as in the paper.
#[test]
fn spikes_are_those_of_a_moving_threshold() {
    let (threshold, alpha, rho, beta) = (0.5, 0.75, 0.875, 0.7);
    let lif = Lif { threshold, reset: Reset::Soft, ..Lif::new(4.0) };
    let neuron = Alif::<f64>::new(lif, 8.0, beta);
    let rng = Rng::new(4, 0);
    let x: Vec<f64> = (0..200).map(|t| rng.uniform_f64(t) - 0.1).collect();
    let [mut v, mut a] = [0.0; 2];
    let mut expected = Vec::new();
    for &x in &x {
        let h = alpha * v + x;
        let s = f64::from(h >= threshold + beta * a);
        (v, a) = (h - s * threshold, rho * a + s);
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
