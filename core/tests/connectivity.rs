//! Sparse and convolutional connections.
#![cfg(feature = "alloc")]

use polychron_core::connectivity::{Connectivity, Conv, Sharing};
use polychron_core::delay::{AnyKernel, Place, Rounding};
use polychron_core::format;
use polychron_core::init::DelayInit;
use polychron_core::neuron::{Li, Lif};
use polychron_core::norm::BatchNorm;
use polychron_core::quant::{Metadata, fold};
use polychron_core::reference::Reference;
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::Atan;
use polychron_core::train::{
    Batch, Connection, Delays, Input, Layer, Model, Network, NetworkError, Readout, Recipe,
    Recurrence, Source, State, StateError, Tensor, TrainError, Trainer,
};
use std::num::NonZeroUsize;

type Net = Network<Reference<f64>>;

const SHAPE: Shape = Shape::new(13, 3, 10);
const NAMES: [&str; 4] = ["hidden.0", "hidden.1", "hidden.1.inputs.1", "output"];
/// 5 positions of 2 maps to 3 positions of 3 maps.
const FIRST: Conv = Conv { positions: 5, in_maps: 2, out_maps: 3, width: 3, stride: 2, padding: 1 };

fn connectivities() -> [Option<Connectivity>; 4] {
    let second = Conv { positions: 3, in_maps: 3, out_maps: 2, width: 2, ..Conv::default() };
    let mut pairs: Vec<_> = (0..40).step_by(3).map(|n| (n % 4, n / 4)).collect();
    Rng::new(1, 1).shuffle(&mut pairs);
    [
        Connectivity::conv(&FIRST).ok(),
        Connectivity::conv(&second).ok(),
        Connectivity::sparse(10, 4, &pairs).ok(),
        None,
    ]
}

/// A convolution of the input, one of its spikes with a sparse skip of the input, and a readout.
fn network(places: [Place; 4], packed: bool) -> Net {
    let sizes = |inputs, outputs, kernel_count| Synapses {
        kernel_count,
        ..Synapses::new(inputs, outputs, 6)
    };
    let layer = |synapses, kernel| Layer::new(synapses, kernel, Lif::new(2.0), Atan { alpha: 5.0 });
    let first = layer(sizes(10, 9, 2), AnyKernel::Gauss).with_norm(BatchNorm::default());
    let skip = Connection::new(sizes(10, 4, 1), AnyKernel::Max).from(Source::Input);
    let skip = skip.with_spread(Place::Axonal);
    let mut second = layer(sizes(9, 4, 1), AnyKernel::Gauss).with_input(skip);
    second.inputs[0].spread = Some(Place::Synaptic);
    let output = Readout::new(sizes(4, 2, 1), AnyKernel::Gauss, Li::new(3.0));
    let mut network = Net::chain([first, second], output);
    let inputs = network.hidden.iter_mut().flat_map(|layer| &mut layer.inputs);
    let inputs = inputs.chain(&mut network.output.inputs);
    for ((connection, place), units) in inputs.zip(places).zip(connectivities()) {
        connection.place = place;
        if let Some(units) = units.filter(|_| packed) {
            *connection = connection.clone().with_connectivity(units);
        }
    }
    network
}

fn trainer(network: Net, recipe: Recipe) -> Trainer<Reference<f64>> {
    Trainer::new(Reference::new(), network, recipe, 3).unwrap()
}

fn find<'a>(tensors: &'a mut [Tensor<f64>], name: &str) -> &'a mut Tensor<f64> {
    tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The tensors of a connection and which values the synapses have of them.
fn packed_tensors<'a>(
    c: usize,
    place: Place,
    units: &'a Connectivity,
) -> [(String, Sharing<'a>); 3] {
    let spread = [Place::Synaptic, Place::Axonal][c / 2];
    [("weight", Place::Synaptic), ("delay", place), ("spread", spread)].map(|(tensor, place)| {
        let name = format!("{}.{tensor}", NAMES[c]);
        if place == Place::Synaptic {
            (name, Sharing::Units(units))
        } else {
            (name, Sharing::Place(place))
        }
    })
}

fn each(places: [Place; 4], mut f: impl FnMut(&str, Sharing<'_>, &Synapses)) {
    let graph = network(places, true).graph().unwrap();
    for (c, ((units, place), edge)) in
        connectivities().iter().zip(places).zip(graph.connections()).enumerate()
    {
        let Some(units) = units else { continue };
        for (name, sharing) in packed_tensors(c, place, units) {
            let units = matches!(sharing, Sharing::Units(_));
            if units && (!name.ends_with("spread") || c > 0) {
                f(&name, sharing, &edge.synapses);
            }
        }
    }
}

/// The state of a dense network that computes the same.
fn broadcast(mut state: State<f64>, places: [Place; 4]) -> State<f64> {
    state.tensors.retain(|tensor| !tensor.name.starts_with("adam."));
    each(places, |name, sharing, synapses| {
        let tensor = find(&mut state.tensors, name);
        let mut full = vec![f64::NAN; synapses.weights()];
        sharing.expand(synapses, &tensor.values, &mut full).unwrap();
        (tensor.values, tensor.shape) = (full, Place::Synaptic.shape(synapses));
    });
    state
}

fn batch(x: &[f64]) -> Batch<'_, f64> {
    const TARGETS: [f64; 6] = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0];
    Batch { shape: SHAPE, x: Input::Dense(x), targets: Some(&TARGETS), lengths: None }
}

fn spikes(seed: u64) -> Vec<f64> {
    let rng = Rng::new(seed, 1);
    (0..SHAPE.len()).map(|n| f64::from(rng.uniform_f64(n as u64) < 0.35)).collect()
}

#[test]
fn packed_connections_train_as_equal_dense_ones() {
    let x = spikes(5);
    let batch = batch(&x);
    let smooth = Recipe { rounded_epochs: 0, ..Recipe::paper(4) };
    let split = Recipe { rounded_epochs: 4, ..smooth };
    let mixed = [Place::Dendritic, Place::Axonal, Place::Shared, Place::Axonal];
    for places in [[Place::Synaptic; 4], mixed] {
        for (recipe, window) in [(smooth, None), (smooth, NonZeroUsize::new(8)), (split, None)] {
            let [mut packed, mut dense] = [true, false].map(|packed| {
                let network = network(places, packed);
                trainer(Net { window, rounding: Rounding::Split, ..network }, recipe)
            });
            for step in 0..3 {
                dense.restore(&broadcast(packed.state().unwrap(), places)).unwrap();
                for delays in [Delays::Spread, Delays::Rounded] {
                    let scores =
                        [&packed, &dense].map(|t| t.model().evaluate(&batch, delays).unwrap());
                    assert_eq!(bits(&scores[0].0), bits(&scores[1].0), "{places:?}, step {step}");
                }
                let reports = [&mut packed, &mut dense].map(|t| t.step(&batch).unwrap());
                assert_eq!(reports[0], reports[1]);
                let (found, mut all) = (packed.gradients().unwrap(), dense.gradients().unwrap());
                each(places, |name, sharing, synapses| {
                    let full = find(&mut all, name);
                    let mut sums = vec![0.0; sharing.len(synapses)];
                    sharing.reduce(synapses, &full.values, &mut sums).unwrap();
                    (full.values, full.shape) = (sums, sharing.shape(synapses));
                });
                for (found, expected) in found.iter().zip(&all) {
                    assert_eq!((&found.name, &found.shape), (&expected.name, &expected.shape));
                    for (found, expected) in found.values.iter().zip(&expected.values) {
                        assert!((found - expected).abs() < 1e-13, "{places:?}");
                    }
                    let moves = found.values.iter().any(|d| *d != 0.0);
                    let fixed = found.name.ends_with("sigma") || found.name.ends_with("neuron");
                    let rounded = recipe.rounded_epochs > 0;
                    assert!(moves || fixed || rounded, "{}, {places:?}", found.name);
                }
            }
        }
    }
}

#[test]
fn one_spike_of_a_convolution_arrives_where_and_when_its_kernel_says() {
    let conv = Conv { positions: 7, in_maps: 2, out_maps: 2, width: 3, stride: 2, padding: 1 };
    let units = Connectivity::conv(&conv).unwrap();
    let synapses = Synapses::new(14, 8, 7);
    let readout = Readout::new(synapses, AnyKernel::Gauss, Li::new(2.0));
    let mut network = Net::chain([], readout);
    network.output.inputs[0] = network.output.inputs[0].clone().with_connectivity(units);
    let mut model = Model::new(Reference::<f64>::new(), network, DelayInit::Uniform, 0).unwrap();
    let mut tensors = model.tensors().unwrap();
    for (name, scale) in [("output.weight", 1.0), ("output.delay", 0.5)] {
        let tensor = find(&mut tensors, name);
        assert_eq!(tensor.shape, [2, 2, 3, 1]);
        tensor.values = (1..=12).map(|n| scale * f64::from(n)).collect();
    }
    model.restore(&State { tensors, epoch: 0, step: 0, seed: 0 }).unwrap();
    let shape = Shape::new(14, 1, 14);
    for (position, m, start) in [(0, 0, 1), (3, 1, 2), (4, 0, 0), (6, 1, 3)] {
        let mut x = vec![0.0; shape.len()];
        x[shape.at(start, 0, position * 2 + m)] = 1.0;
        let batch = Batch { shape, x: Input::Dense(&x), targets: None, lengths: None };
        let y = model.spikes(&batch, Delays::Rounded).unwrap().remove(0);
        let mut expected = vec![0.0; y.shape.len()];
        for (q, n, k) in (0..4).flat_map(|q| (0..6).map(move |nk| (q, nk / 3, nk % 3))) {
            if q * 2 + k == position + 1 {
                let weight = ((n * 2 + m) * 3 + k + 1) as f64;
                let arrival = start + (weight * 0.5).round_ties_even() as usize;
                expected[y.shape.at(arrival, 0, q * 2 + n)] = weight;
            }
        }
        for (found, expected) in y.values.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-5, "position {position}, map {m}");
        }
    }
}

#[test]
fn tensors_and_parameters_are_packed_and_states_return() {
    let of = |places, packed| trainer(network(places, packed), Recipe::paper(4));
    let dense = of([Place::Synaptic; 4], false);
    let packed = of([Place::Synaptic; 4], true);
    // Weights and delays, spreads, norm.
    let [first, second, third, last] = [3 * 2 * 3 * 2, 2 * 3 * 2, 14, 8];
    let count = 2 * (first + second + third + last) + (second + 10) + 2 * 9;
    assert_eq!(packed.parameters(), count);
    let shared = of([Place::Dendritic; 4], true);
    let delays = 9 * 2 + 4 + 4 + 2;
    let weights = first + second + third + last;
    assert_eq!(shared.parameters(), weights + delays + (second + 10) + 2 * 9);
    assert!(dense.parameters() > 2 * packed.parameters());
    let mut state = packed.state().unwrap();
    assert_eq!(find(&mut state.tensors, "hidden.0.weight").shape, [3, 2, 3, 2]);
    assert_eq!(find(&mut state.tensors, "hidden.1.inputs.1.delay").shape, [14, 1]);
    let bound = (6.0f64 / (2.0 * 3.0 * 2.0)).sqrt();
    let weights = &find(&mut state.tensors, "hidden.0.weight").values;
    assert!(weights.iter().all(|w| w.abs() <= bound));
    assert!(weights.iter().any(|w| w.abs() > 0.8 * bound));
    state.fits(packed.model().graph()).unwrap();
    let wrong = state.fits(dense.model().graph());
    assert!(matches!(wrong, Err(StateError::Shape { name, .. }) if name == "hidden.0.weight"));
    // One step, then the same again from the state.
    let x = spikes(2);
    let run = |trainer: &mut Trainer<_>| {
        for _ in 0..2 {
            trainer.step(&batch(&x)).unwrap();
        }
        trainer.state().unwrap()
    };
    let mut again = of([Place::Synaptic; 4], true);
    again.step(&batch(&x)).unwrap();
    again.restore(&state).unwrap();
    let ends = [&mut of([Place::Synaptic; 4], true), &mut again].map(run);
    assert_eq!(ends[0], ends[1]);
    assert_ne!(ends[0].tensors, state.tensors);
}

#[test]
fn absent_synapses_have_no_weight_and_are_not_in_files() {
    let conv = Conv { positions: 6, width: 3, stride: 3, out_maps: 2, ..Conv::default() };
    let units = Connectivity::conv(&conv).unwrap();
    let synapses = Synapses::new(6, 4, 5);
    let mut readout = Readout::new(synapses, AnyKernel::Gauss, Li::new(2.0));
    readout.inputs[0] = readout.inputs[0].clone().with_connectivity(units.clone());
    let network = Network::<Reference<f32>>::chain([], readout);
    let model = Model::new(Reference::new(), network, DelayInit::Uniform, 0).unwrap();
    let weights = model.weights(0, 0).unwrap();
    for (n, w) in weights.iter().enumerate() {
        assert_eq!(*w != 0.0, units.unit(n / 6, n % 6).is_some(), "{n}");
    }
    assert_eq!(weights[..3], weights[2 * 6 + 3..3 * 6]);
    let labels = Vec::new();
    let metadata = Metadata { tick_us: 1000, input: format::Input::Spikes, labels };
    let file = fold(&model, metadata).unwrap();
    assert_eq!(file.layers[0].synapses.len(), 4 * 3);
}

#[test]
fn connectivities_that_do_not_fit_are_refused() {
    let units = Connectivity::conv(&FIRST).unwrap();
    let mut wrong = network([Place::Synaptic; 4], true);
    wrong.hidden[0].inputs[0].synapses.inputs = 11;
    wrong.hidden[1].inputs[1].synapses.inputs = 11;
    let (layer, expected, found) = (0, [11, 9], [10, 9]);
    assert_eq!(wrong.check(), Err(NetworkError::Connectivity { layer, expected, found }));
    let mut recurrent = network([Place::Synaptic; 4], false);
    let mut recurrence = Recurrence::new(9, 3, AnyKernel::Max);
    recurrence.connection = recurrence.connection.with_connectivity(units);
    recurrent.hidden[0].recurrence = Some(recurrence);
    let error = NetworkError::RecurrentConnectivity { layer: 0 };
    assert_eq!(recurrent.check(), Err(error.clone()));
    let all = Trainer::new(Reference::new(), recurrent, Recipe::paper(1), 0);
    assert!(matches!(all, Err(TrainError::Network(found)) if found == error));
}
