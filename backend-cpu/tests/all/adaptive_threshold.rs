//! A neuron with an adaptive threshold trains.

use polychron_core::backend::{HasKernel, HasNeuron, HasSurrogate};
use polychron_core::delay::Gauss;
use polychron_core::neuron::{Alif, Li, Lif, Reset};
use polychron_core::norm::BatchNorm;
use polychron_core::num::logistic;
use polychron_core::reference::Reference;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::Atan;
use polychron_core::train::{Batch, Input, Layer, Network, Readout, Recipe, Trainer};
use polychron_cpu::Cpu;

const SHAPE: Shape = Shape::new(16, 4, 3);
const EPOCHS: usize = 100;

fn trainer<B>(backend: B) -> Trainer<B>
where
    B: HasKernel<Gauss> + HasNeuron<Alif<f64>> + HasSurrogate<Atan<f64>>,
    B: polychron_core::backend::Backend<Real = f64>,
{
    // Neurons begin as LIF neurons, at the lower bound of beta.
    let lif = Lif { threshold: 0.6, reset: Reset::Soft, ..Lif::new(1.0 + f64::exp(1.0)) };
    let alif = Alif::new(lif, 1.0 + f64::exp(2.0), 0.0);
    let surrogate = Atan { alpha: 5.0 };
    let hidden = Layer::new(Synapses::new(3, 8, 9), Gauss, alif, surrogate)
        .with_norm(BatchNorm::default())
        .with_parameters_per_neuron();
    let output = Readout::new(Synapses::new(8, 2, 9), Gauss, Li::new(5.0));
    Trainer::new(backend, Network::chain([hidden], output), Recipe::paper(EPOCHS), 3).unwrap()
}

#[test]
fn an_adaptive_threshold_learns_as_on_the_reference() {
    // Channel 0 spikes before channel 1, or after it; channel 2 spikes at random.
    let mut x = vec![0.0; SHAPE.len()];
    for (t, b, channel) in [(1, 0, 0), (6, 0, 1), (6, 1, 0), (1, 1, 1)] {
        for later in [0, 3] {
            for sample in [b, b + 2] {
                x[SHAPE.at(t + later + sample / 2, sample, channel)] = 1.0;
            }
        }
    }
    for (t, b) in [(0, 0), (5, 0), (3, 1), (8, 2), (9, 2), (2, 3)] {
        x[SHAPE.at(t, b, 2)] = 1.0;
    }
    let targets = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0];
    let batch = Batch { shape: SHAPE, x: Input::Dense(&x), targets: Some(&targets), lengths: None };
    let (mut cpu, mut reference) = (trainer(Cpu::new(2).unwrap()), trainer(Reference::new()));
    let (found, expected) = (cpu.step(&batch).unwrap(), reference.step(&batch).unwrap());
    assert!((found.loss - expected.loss).abs() < 1e-12, "{found:?}, not {expected:?}");
    for (found, expected) in cpu.gradients().unwrap().iter().zip(reference.gradients().unwrap()) {
        let top = expected.values.iter().fold(0.0, |top: f64, d| top.max(d.abs()));
        assert!(top > 0.0, "{expected:?}");
        for (a, b) in found.values.iter().zip(&expected.values) {
            assert!((a - b).abs() <= 1e-11 * top, "{}: {a}, not {b}", expected.name);
        }
    }
    let mut last = found;
    for _ in 1..EPOCHS {
        last = cpu.step(&batch).unwrap();
        cpu.finish_epoch().unwrap();
    }
    assert!(last.correct == 4 && last.loss < 0.5 * found.loss, "{found:?}, then {last:?}");
    let tensors = cpu.model().tensors().unwrap();
    let raw = &tensors.iter().find(|tensor| tensor.name == "hidden.0.neuron").unwrap().values;
    let (rates, betas) = raw.split_at(16);
    assert!(rates.iter().any(|&w| (logistic(w) - logistic(-1.0)).abs() > 1e-3), "{rates:?}");
    assert!(betas.contains(&0.0) && betas.iter().all(|&beta| beta >= 0.0), "{betas:?}");
    assert!(betas.iter().any(|&beta| beta > 0.05), "{betas:?}");
}
