//! Raw parameters of neurons before training.

use polychron_core::delay::Gauss;
use polychron_core::init::DelayInit;
use polychron_core::neuron::{AdLif, Li, Neuron};
use polychron_core::reference::Reference;
use polychron_core::shape::Synapses;
use polychron_core::surrogate::Atan;
use polychron_core::train::{Layer, Model, Network, NetworkError, Readout};

type Net = Network<Reference<f64>>;

fn neurons() -> Vec<AdLif<f64>> {
    (0..3).map(|n| AdLif::new(2.0 + f64::from(n), 20.0, 0.25 * f64::from(n), 0.5)).collect()
}

fn network(layer: impl FnOnce(Layer<Reference<f64>>) -> Layer<Reference<f64>>) -> Net {
    let hidden = Layer::new(Synapses::new(4, 3, 5), Gauss, neurons()[0], Atan { alpha: 5.0 });
    let readout = Readout::new(Synapses::new(3, 2, 5), Gauss, Li::new(2.0));
    Network::chain([layer(hidden)], readout)
}

#[test]
fn every_neuron_starts_with_its_own_parameters() {
    let each = neurons();
    let network = network(|layer| layer.with_parameters_of(&each));
    let model = Model::new(Reference::new(), network, DelayInit::Uniform, 0).unwrap();
    let tensors = model.tensors().unwrap();
    let found = tensors.iter().find(|tensor| tensor.name == "hidden.0.neuron").unwrap();
    assert_eq!(found.shape, [4, 3]);
    for (n, neuron) in each.iter().enumerate() {
        for (p, raw) in neuron.params().into_iter().enumerate() {
            assert_eq!(found.values[p * 3 + n], raw);
        }
    }
}

#[test]
fn initial_parameters_of_another_size_or_out_of_bounds_are_refused() {
    let failed = |initial: Vec<f64>, per_neuron| {
        network(|layer| Layer { initial, per_neuron, ..layer }).check().unwrap_err()
    };
    let wrong = |found| NetworkError::Initial { layer: 0, expected: 12, found };
    assert_eq!(failed(vec![0.5; 11], true), wrong(11));
    assert_eq!(failed(vec![0.5; 4], true), wrong(4));
    let shared = NetworkError::Initial { layer: 0, expected: 4, found: 12 };
    assert_eq!(failed(vec![0.5; 12], false), shared);
    let mut initial = vec![0.5; 12];
    initial[8] = 1.5;
    let (layer, index, found, least, most) = (0, 2, 1.5, 0.0, 1.0);
    let outside = NetworkError::NeuronBounds { layer, index, found, least, most };
    assert_eq!(failed(initial.clone(), true), outside);
    initial[5] = f64::NAN;
    let not_finite = failed(initial, true);
    assert!(matches!(not_finite, NetworkError::Neuron { layer: 0, index: 1, .. }));
    network(|layer| Layer { initial: vec![0.5; 4], ..layer }).check().unwrap();
}
