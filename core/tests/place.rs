//! Where the delays of a connection sit.
#![cfg(feature = "alloc")]

use polychron_core::delay::{AnyKernel, Place, Rounding};
use polychron_core::init::DelayInit;
use polychron_core::neuron::{Li, Lif};
use polychron_core::norm::BatchNorm;
use polychron_core::reference::Reference;
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::Atan;
use polychron_core::train::{
    Batch, Connection, Delays, Input, Layer, Model, Network, Readout, Recipe, Recurrence, Source,
    State, StateError, Tensor, TrainError, Trainer,
};
use std::num::NonZeroUsize;

type Net = Network<Reference<f64>>;

const SHAPE: Shape = Shape::new(14, 3, 5);
/// The connections of [`network`] by the names of their tensors.
const NAMES: [&str; 5] =
    ["hidden.0", "hidden.0.recurrent", "hidden.1", "hidden.1.inputs.1", "output"];

fn synapses(inputs: usize, outputs: usize, kernel_count: usize) -> Synapses {
    Synapses { kernel_count, ..Synapses::new(inputs, outputs, 6) }
}

/// Two hidden layers, of which the first is recurrent and the second also reads the input.
fn network(places: [Place; 5]) -> Net {
    let layer = |inputs, outputs, count, kernel| {
        let (lif, atan) = (Lif::new(2.0), Atan { alpha: 5.0 });
        Layer::new(synapses(inputs, outputs, count), kernel, lif, atan)
    };
    let mut recurrence = Recurrence::new(7, 4, AnyKernel::Max);
    recurrence.synapses.kernel_count = 2;
    let first = layer(5, 7, 1, AnyKernel::Gauss).with_norm(BatchNorm::default());
    let first = first.with_recurrence(recurrence.at(places[1]));
    let skip = Connection::new(synapses(5, 6, 1), AnyKernel::Max).from(Source::Input);
    let second = layer(7, 6, 2, AnyKernel::Linear).with_input(skip);
    let output = Readout::new(synapses(6, 2, 2), AnyKernel::Gauss, Li::new(3.0));
    let mut network = Net::chain([first, second], output);
    let inputs = network.hidden.iter_mut().flat_map(|layer| &mut layer.inputs);
    let places = [places[0], places[2], places[3], places[4]];
    let inputs = inputs.chain(&mut network.output.inputs).zip(places);
    inputs.for_each(|(connection, place)| connection.place = place);
    network
}

fn edges(network: &Net) -> Vec<Synapses> {
    network.graph().unwrap().connections().map(|edge| edge.synapses).collect()
}

fn trainer(network: Net, recipe: Recipe) -> Trainer<Reference<f64>> {
    Trainer::new(Reference::new(), network, recipe, 3).unwrap()
}

fn find<'a>(tensors: &'a mut [Tensor<f64>], name: &str) -> &'a mut Tensor<f64> {
    tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()
}

/// The state of a network of synaptic delays that computes the same.
fn broadcast(mut state: State<f64>, places: [Place; 5], edges: &[Synapses]) -> State<f64> {
    state.tensors.retain(|tensor| !tensor.name.starts_with("adam."));
    for ((name, place), synapses) in NAMES.into_iter().zip(places).zip(edges) {
        let delay = find(&mut state.tensors, &format!("{name}.delay"));
        let Synapses { inputs, outputs, kernel_count: count, .. } = *synapses;
        let mut full = Vec::new();
        for o in 0..outputs {
            for i in 0..inputs {
                full.extend((0..count).map(|j| delay.values[place.index(synapses, o, i, j)]));
            }
        }
        (delay.values, delay.shape) = (full, vec![outputs, inputs, count]);
    }
    state
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// All connections at one place, and mixed.
fn all_places() -> impl Iterator<Item = [Place; 5]> {
    let each = Place::ALL.map(|(_, place)| place);
    let mixed = (0..4).map(move |n| [0, 1, 2, 3, 2].map(|k| each[(n + k) % 4]));
    each.into_iter().map(|place| [place; 5]).chain(mixed)
}

#[test]
fn delays_that_are_shared_train_as_equal_synaptic_ones() {
    let rng = Rng::new(5, 1);
    let draw = |n: usize| f64::from(rng.uniform_f64(n as u64) < 0.35);
    let x: Vec<f64> = (0..SHAPE.len()).map(draw).collect();
    let targets = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0];
    let batch = Batch { shape: SHAPE, x: Input::Dense(&x), targets: Some(&targets), lengths: None };
    let smooth = Recipe { rounded_epochs: 0, ..Recipe::paper(4) };
    let split = Recipe { rounded_epochs: 4, ..smooth };
    for (n, places) in all_places().enumerate() {
        for (recipe, window) in [(smooth, None), (smooth, NonZeroUsize::new(8)), (split, None)] {
            let make = |places| {
                let network = Net { window, rounding: Rounding::Split, ..network(places) };
                trainer(network, recipe)
            };
            let (mut packed, mut full) = (make(places), make([Place::Synaptic; 5]));
            let edges = edges(packed.model().network());
            for step in 0..3 {
                let state = broadcast(packed.state().unwrap(), places, &edges);
                full.restore(&state).unwrap();
                for delays in [Delays::Spread, Delays::Rounded] {
                    let scores = [&packed, &full]
                        .map(|trainer| trainer.model().evaluate(&batch, delays).unwrap());
                    assert_eq!(bits(&scores[0].0), bits(&scores[1].0), "{places:?}, step {step}");
                    assert_eq!(scores[0].1.to_bits(), scores[1].1.to_bits());
                }
                let reports = [&mut packed, &mut full].map(|t| t.step(&batch).unwrap());
                assert_eq!(reports[0], reports[1]);
                let (found, mut all) = (packed.gradients().unwrap(), full.gradients().unwrap());
                let mut moved = 0.0f64;
                for tensor in &found {
                    let expected = find(&mut all, &tensor.name);
                    let Some(name) = tensor.name.strip_suffix(".delay") else {
                        assert_eq!(bits(&tensor.values), bits(&expected.values), "{n}");
                        continue;
                    };
                    let c = NAMES.into_iter().position(|known| known == name).unwrap();
                    let Synapses { inputs, kernel_count: count, .. } = edges[c];
                    let mut sums = vec![0.0; tensor.values.len()];
                    for (e, d) in expected.values.iter().enumerate() {
                        let (o, i) = (e / count / inputs, e / count % inputs);
                        sums[places[c].index(&edges[c], o, i, e % count)] += d;
                    }
                    for (found, sum) in tensor.values.iter().zip(&sums) {
                        assert!((found - sum).abs() < 1e-13, "{name}, {places:?}");
                        moved = moved.max(found.abs());
                    }
                }
                assert!(moved > 1e-6, "{places:?}");
            }
        }
    }
}

/// One impulse in input 1 at step 2, through delays of 3.25 (input 1) and 1 (others).
#[test]
fn an_axonal_spike_arrives_at_all_outputs_at_once() {
    let (inputs, outputs, start) = (3, 4, 2);
    let synapses = Synapses::new(inputs, outputs, 7);
    let shape = Shape::new(12, 1, inputs);
    let mut x = vec![0.0; shape.len()];
    x[shape.at(start, 0, 1)] = 1.0;
    let batch = Batch { shape, x: Input::Dense(&x), targets: None, lengths: None };
    let shares = [(Rounding::Nearest, [1.0, 0.0]), (Rounding::Split, [0.75, 0.25])];
    for (rounding, shares) in shares {
        let mut output = Readout::new(synapses, AnyKernel::Gauss, Li::new(2.0));
        output.inputs[0].place = Place::Axonal;
        let network = Net { rounding, ..Net::chain([], output) };
        let mut model =
            Model::new(Reference::<f64>::new(), network, DelayInit::Uniform, 0).unwrap();
        let mut tensors = model.tensors().unwrap();
        let delay = find(&mut tensors, "output.delay");
        assert_eq!(delay.shape, [inputs, 1]);
        delay.values = vec![1.0, 3.25, 1.0];
        let weights = find(&mut tensors, "output.weight").values.clone();
        model.restore(&State { tensors, epoch: 0, step: 0, seed: 0 }).unwrap();
        assert_eq!(model.delays(0, 0).unwrap(), [1.0, 3.25, 1.0].repeat(outputs));
        let y = model.spikes(&batch, Delays::Rounded).unwrap().remove(0);
        for t in 0..y.shape.steps {
            for o in 0..outputs {
                let share = match t.checked_sub(start + 3) {
                    Some(late @ 0..=1) => shares[late],
                    _ => 0.0,
                };
                let expected = share * weights[o * inputs + 1];
                let found = y.values[y.shape.at(t, 0, o)];
                assert!((found - expected).abs() < 1e-6, "{rounding:?}, step {t}, output {o}");
            }
        }
    }
}

#[test]
fn tensors_and_parameters_count_the_delays_of_their_place() {
    let of = |places| trainer(network(places), Recipe::paper(4)).parameters();
    let edges = edges(&network([Place::Synaptic; 5]));
    let weights: usize = edges.iter().map(Synapses::weights).sum();
    let norm = 2 * 7;
    assert_eq!(of([Place::Synaptic; 5]), 2 * weights + norm);
    assert_eq!(of([Place::Axonal; 5]), weights + norm + 5 + 2 * 7 + 2 * 7 + 5 + 2 * 6);
    assert_eq!(of([Place::Dendritic; 5]), weights + norm + 7 + 2 * 7 + 2 * 6 + 6 + 2 * 2);
    assert_eq!(of([Place::Shared; 5]), weights + norm + 1 + 2 + 2 + 1 + 2);
    let mut undelayed = network([Place::Synaptic; 5]);
    undelayed.hidden[0].inputs[0].synapses.taps = 1;
    let delays = 2 * weights - edges[0].weights();
    assert_eq!(trainer(undelayed, Recipe::paper(4)).parameters(), delays + norm);
}

#[test]
fn a_state_of_another_place_is_refused() {
    let state = trainer(network([Place::Synaptic; 5]), Recipe::paper(4)).state().unwrap();
    let mut other = trainer(network([Place::Axonal; 5]), Recipe::paper(4));
    let before = other.state().unwrap();
    let Err(TrainError::State(StateError::Shape { name, expected, found })) = other.restore(&state)
    else {
        panic!("restored")
    };
    assert_eq!(
        (&name[..], expected, found),
        ("adam.first.hidden.0.delay", vec![5, 1], vec![7, 5, 1])
    );
    assert_eq!(other.state().unwrap(), before);
}
