//! Neurons that start from random states.
#![cfg(feature = "alloc")]

use core::num::NonZeroUsize;
use polychron_core::delay::AnyKernel;
use polychron_core::format;
use polychron_core::loss::Loss;
use polychron_core::neuron::{AnyNeuron, Li, Lif};
use polychron_core::num::Real;
use polychron_core::quant::{FoldError, Metadata, fold};
use polychron_core::reference::Reference;
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::Atan;
use polychron_core::train::{
    Batch, Connection, Delays, InitialState, Input, Layer, Model, Network, Readout, Recipe, Source,
    Trainer,
};

type Net<R> = Network<Reference<R>>;

const CHANNELS: usize = 3;
const NEURONS: usize = 5;
const STEPS: usize = 12;
const BATCH: usize = 3;
const TARGETS: [f64; 2 * BATCH] = [1.0, 0.0, 0.0, 1.0, 0.5, 0.5];

fn network<R: Real>(neuron: AnyNeuron<R>, initial_state: InitialState) -> Net<R> {
    let synapses = Synapses { padding: 0, ..Synapses::new(CHANNELS, NEURONS, 4) };
    let layer = Layer::new(synapses, AnyKernel::Gauss, neuron, Atan { alpha: R::of(2.0) });
    let synapses = Synapses { padding: 0, ..Synapses::new(NEURONS, 2, 3) };
    let output = Readout::new(synapses, AnyKernel::Gauss, Li::new(R::of(3.0)));
    Net { loss: Loss::MembraneSum, ..Net::chain([Layer { initial_state, ..layer }], output) }
}

fn lif() -> AnyNeuron<f64> {
    AnyNeuron::Lif(Lif::new(2.0))
}

fn trainer(network: Net<f64>, seed: u64) -> Trainer<Reference<f64>> {
    Trainer::new(Reference::new(), network, Recipe::paper(4), seed).unwrap()
}

/// `[STEPS, BATCH, CHANNELS]`; all samples are equal with `same`.
fn input(same: bool) -> Vec<f64> {
    let rng = Rng::new(5, 1);
    let at = |n: usize| if same { n / CHANNELS / BATCH * CHANNELS + n % CHANNELS } else { n };
    let spike = |n| if rng.uniform_f64(at(n) as u64) < 0.4 { 4.0 } else { 0.0 };
    (0..STEPS * BATCH * CHANNELS).map(spike).collect()
}

fn batch<'a>(x: &'a [f64], lengths: Option<&'a [usize]>) -> Batch<'a, f64> {
    let shape = Shape::new(STEPS, BATCH, CHANNELS);
    Batch { shape, x: Input::Dense(x), targets: Some(&TARGETS), lengths }
}

#[test]
fn a_membrane_decays_from_its_first_state() {
    let lif = Lif { threshold: 0.3, ..Lif::new(2.0) };
    let trainer = trainer(network(AnyNeuron::Lif(lif), InitialState::Random), 1);
    let (model, x) = (trainer.model(), vec![0.0; STEPS * BATCH * CHANNELS]);
    let states = model.initial_states(0).unwrap().unwrap();
    assert_eq!(states.len(), NEURONS);
    assert!(states.iter().all(|u| (0.0..1.0).contains(u)));
    let spikes = &model.spikes(&batch(&x, None), Delays::Rounded).unwrap()[0].values;
    let first: Vec<_> = states.iter().map(|u| f64::from(0.5 * u >= 0.3)).collect();
    for sample in spikes[..BATCH * NEURONS].chunks(NEURONS) {
        assert_eq!(sample, first);
    }
    assert!(first.contains(&1.0) && first.contains(&0.0), "{first:?}");
    assert!(spikes[BATCH * NEURONS..].iter().all(|s| *s == 0.0));
}

#[test]
fn an_evaluation_depends_neither_on_the_batch_nor_on_windows() {
    for (name, neuron) in AnyNeuron::examples() {
        let net = network(neuron, InitialState::Random);
        let make = |window| {
            let net = Net { window: NonZeroUsize::new(window), ..net.clone() };
            Model::new(Reference::new(), net, Recipe::paper(4).delays, 2).unwrap()
        };
        let (x, model) = (input(true), make(STEPS));
        let (scores, _) = model.evaluate(&batch(&x, None), Delays::Rounded).unwrap();
        let one: Vec<_> = x.chunks(CHANNELS).step_by(BATCH).flatten().copied().collect();
        let shape = Shape::new(STEPS, 1, CHANNELS);
        let alone = Batch { shape, x: Input::Dense(&one), targets: None, lengths: None };
        let (alone, _) = model.evaluate(&alone, Delays::Rounded).unwrap();
        let (parts, _) = make(5).evaluate(&batch(&x, None), Delays::Rounded).unwrap();
        for (sample, part) in scores.chunks(2).zip(parts.chunks(2)) {
            assert_eq!(sample, alone, "{name}");
            assert!(sample.iter().zip(part).all(|(a, b)| (a - b).abs() < 1e-12), "{name}");
        }
    }
}

#[test]
fn training_draws_are_those_of_seed_step_and_sample() {
    let x = input(true);
    let steps = |seed, window| {
        let net = Net { window, ..network(lif(), InitialState::Random) };
        let (mut trainer, recipe) =
            (trainer(net, seed), trainer(network(lif(), InitialState::Rest), 1));
        let mut state = recipe.state().unwrap();
        state.seed = seed;
        let mut step = |number| {
            state.step = number;
            trainer.restore(&state).unwrap();
            trainer.step(&batch(&x, None)).unwrap();
            trainer.gradients().unwrap()
        };
        [step(0), step(1), step(0)]
    };
    let [first, second, again] = steps(7, None);
    assert_eq!(first, again);
    assert_ne!(first, second);
    assert_ne!(first, steps(8, None)[0]);
    let whole = NonZeroUsize::new(STEPS - 1);
    assert_eq!(steps(7, whole)[0], steps(7, whole)[2]);
}

/// A membrane that starts at `u < 1` is one that was at rest a step earlier and got the input `u`,
/// at which it does not spike.
#[test]
fn a_first_state_is_an_earlier_input() {
    const ALL: usize = CHANNELS + NEURONS;
    let (x, lengths, seed) = (input(false), [STEPS, 5, 9], 7);
    let mut random = trainer(network(lif(), InitialState::Random), seed);
    let mut rest = network(lif(), InitialState::Rest);
    rest.hidden[0].inputs[0].synapses.inputs = ALL;
    let single = Synapses { padding: 0, ..Synapses::new(ALL, NEURONS, 1) };
    let single = Connection::new(single, AnyKernel::Discrete).from(Source::Input);
    rest.hidden[0].inputs.push(single.with_fixed_delays());
    let mut rest = trainer(rest, seed);
    let own = random.state().unwrap();
    let of = |name: &str| own.tensors.iter().find(|t| t.name == name).unwrap().values.clone();
    let mut state = rest.state().unwrap();
    for tensor in &mut state.tensors {
        let rows = tensor.values.chunks_mut(ALL).enumerate();
        match tensor.name.as_str() {
            "hidden.0.weight" | "hidden.0.delay" => {
                let own = of(&tensor.name);
                rows.zip(own.chunks(CHANNELS)).for_each(|((_, row), own)| {
                    row.fill(0.0);
                    row[..CHANNELS].copy_from_slice(own);
                });
            }
            "hidden.0.inputs.1.weight" => rows.for_each(|(o, row)| {
                row.fill(0.0);
                row[CHANNELS + o] = 1.0;
            }),
            "output.weight" | "output.delay" => tensor.values = of(&tensor.name),
            _ => {}
        }
    }
    rest.restore(&state).unwrap();
    let draws = Rng::new(seed, 3).fork(0).fork(0).fork(1);
    let mut longer = Vec::new();
    for b in 0..BATCH {
        longer.extend([0.0; CHANNELS]);
        longer.extend((0..NEURONS).map(|o| draws.uniform::<f64>((b * NEURONS + o) as u64)));
    }
    for sample in x.chunks(CHANNELS) {
        longer.extend(sample);
        longer.extend([0.0; NEURONS]);
    }
    let later = lengths.map(|length| length + 1);
    let longer = Batch {
        shape: Shape::new(STEPS + 1, BATCH, ALL),
        x: Input::Dense(&longer),
        targets: Some(&TARGETS),
        lengths: Some(&later),
    };
    let losses =
        [random.step(&batch(&x, Some(&lengths))).unwrap().loss, rest.step(&longer).unwrap().loss];
    assert!((losses[0] - losses[1]).abs() < 1e-12, "{losses:?}");
    let [found, expected] = [&random, &rest].map(|t| t.gradients().unwrap());
    for (name, width) in [("hidden.0.weight", CHANNELS), ("output.weight", NEURONS)] {
        let of = |all: &[polychron_core::train::Tensor<f64>]| {
            all.iter().find(|t| t.name == name).unwrap().clone()
        };
        let (found, expected) = (of(&found), of(&expected));
        let all = expected.shape[1];
        for (a, b) in found.values.chunks(width).zip(expected.values.chunks(all)) {
            let near = a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
            assert!(near, "{name}: {a:?} {b:?}");
        }
        assert!(found.values.iter().any(|d| d.abs() > 1e-4), "{name}");
    }
}

#[test]
fn a_model_file_refuses_random_states() {
    let net = network(AnyNeuron::Lif(Lif::<f32>::new(2.0)), InitialState::Random);
    let model = Model::new(Reference::new(), net, Recipe::paper(4).delays, 2).unwrap();
    let input = format::Input::Spikes;
    let error = fold(&model, Metadata { tick_us: 1000, input, labels: Vec::new() }).unwrap_err();
    assert_eq!(error, FoldError::InitialState { layer: 0 });
    let text = "layer 0: a model file starts neurons at rest, these start from random states";
    assert_eq!(error.to_string(), text);
}
