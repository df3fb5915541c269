//! Where the delays of a connection sit.
#![cfg(feature = "alloc")]

use polychron_core::backend::HasKernel;
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
    recurrence.connection.synapses.kernel_count = 2;
    let first = layer(5, 7, 1, AnyKernel::Gauss).with_norm(BatchNorm::default());
    let first = first.with_recurrence(recurrence);
    let skip = Connection::new(synapses(5, 6, 1), AnyKernel::Max).from(Source::Input);
    let second = layer(7, 6, 2, AnyKernel::Linear).with_input(skip);
    let output = Readout::new(synapses(6, 2, 2), AnyKernel::Gauss, Li::new(3.0));
    let mut network = Net::chain([first, second], output);
    let places = connections(&mut network).zip(places);
    places.for_each(|(connection, place)| connection.place = place);
    network
}

/// The connections in the order of [`NAMES`].
fn connections(network: &mut Net) -> impl Iterator<Item = &mut Connection<Reference<f64>>> {
    let hidden = network.hidden.iter_mut().flat_map(|layer| {
        let recurrence = layer.recurrence.iter_mut().map(|r| &mut r.connection);
        layer.inputs.iter_mut().chain(recurrence)
    });
    hidden.chain(&mut network.output.inputs)
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
    let x = spikes(5);
    let batch = batch(&x);
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

fn spikes(seed: u64) -> Vec<f64> {
    let rng = Rng::new(seed, 1);
    (0..SHAPE.len()).map(|n| f64::from(rng.uniform_f64(n as u64) < 0.35)).collect()
}

const TARGETS: [f64; 6] = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0];

fn batch(x: &[f64]) -> Batch<'_, f64> {
    Batch { shape: SHAPE, x: Input::Dense(x), targets: Some(&TARGETS), lengths: None }
}

/// The network of five connections, of which some have fixed delays.
fn with_fixed(places: [Place; 5], fixed: [bool; 5]) -> Net {
    let mut network = Net { rounding: Rounding::Split, ..network(places) };
    let fixed = connections(&mut network).zip(fixed);
    fixed.for_each(|(connection, fixed)| connection.fixed_delays = fixed);
    network
}

#[test]
fn fixed_delays_are_whole_and_no_training_changes_them() {
    let x = spikes(5);
    let recipe = Recipe { rounded_epochs: 1, delays: DelayInit::Uniform, ..Recipe::paper(3) };
    for (n, places) in all_places().enumerate() {
        let fixed = [n % 2 == 0, n % 5 == 0, n % 3 == 0, n % 2 == 1, n % 3 != 0];
        let mut trainer = trainer(with_fixed(places, fixed), recipe);
        let start = trainer.state().unwrap();
        for _ in 0..3 {
            trainer.step(&batch(&x)).unwrap();
            trainer.finish_epoch().unwrap();
        }
        let mut end = trainer.state().unwrap();
        for (c, (name, fixed)) in NAMES.into_iter().zip(fixed).enumerate() {
            let name = format!("{name}.delay");
            let before = start.tensors.iter().find(|tensor| tensor.name == name).unwrap();
            let after = find(&mut end.tensors, &name).values.clone();
            assert_eq!(bits(&before.values) == bits(&after), fixed, "{name}, {places:?}");
            assert_eq!(before.values.iter().all(|d| d.fract() == 0.0), fixed, "{c}");
            for order in ["first", "second"] {
                let moments = find(&mut end.tensors, &format!("adam.{order}.{name}"));
                assert_eq!(moments.values.iter().all(|&m| m == 0.0), fixed, "{name}, {order}");
            }
        }
    }
}

/// The kernel of a network without learned delays has one tap; fixed delays compute the same.
#[test]
fn fixed_delays_compute_with_one_tap_in_training_and_in_use() {
    let x = spikes(6);
    let of_one_tap = |mut network: Net| {
        network.rounding = Rounding::Nearest;
        for connection in connections(&mut network) {
            connection.kernel = Reference::kernel(AnyKernel::Discrete);
            connection.fixed_delays = false;
        }
        network
    };
    let recipe = Recipe { delay_rate: None, clip: Some(0.5), ..Recipe::paper(4) };
    let learning = Recipe { rounded_epochs: 2, clip: Some(0.5), ..Recipe::paper(4) };
    for (places, window) in all_places().zip([None, NonZeroUsize::new(8)].into_iter().cycle()) {
        let fixed = Net { window, ..with_fixed(places, [true; 5]) };
        let mut expected = trainer(of_one_tap(fixed.clone()), recipe);
        let mut found = trainer(fixed, learning);
        expected.restore(&found.state().unwrap()).unwrap();
        assert_eq!(found.parameters(), expected.parameters());
        for _ in 0..4 {
            assert_eq!(found.step(&batch(&x)).unwrap(), expected.step(&batch(&x)).unwrap());
            assert_eq!(found.gradients().unwrap(), expected.gradients().unwrap());
            assert_eq!(found.state().unwrap(), expected.state().unwrap());
            for delays in [Delays::Spread, Delays::Rounded] {
                let scores = [&found, &expected].map(|t| t.model().evaluate(&batch(&x), delays));
                let [found, expected] = scores.map(Result::unwrap);
                assert_eq!(bits(&found.0), bits(&expected.0), "{places:?}");
            }
            found.finish_epoch().unwrap();
            expected.finish_epoch().unwrap();
        }
    }
}

#[test]
fn fixed_delays_are_no_parameters() {
    let shared = Place::Shared;
    let places = [Place::Synaptic, Place::Dendritic, Place::Axonal, Place::Synaptic, shared];
    let of = |fixed| trainer(with_fixed(places, fixed), Recipe::paper(4)).parameters();
    let all = of([false; 5]);
    assert_eq!(of([true, true, false, false, true]), all - 5 * 7 - 7 * 2 - 2);
}
