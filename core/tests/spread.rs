//! Learned spreads of delay kernels.

use polychron_core::delay::{AnyKernel, Place, Rounding};
use polychron_core::neuron::{Li, Lif};
use polychron_core::reference::Reference;
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::Atan;
use polychron_core::train::{
    Batch, Delays, Input, Layer, Network, Readout, Recipe, Sigma, State, Trainer,
};
use std::num::NonZeroUsize;

type Net = Network<Reference<f64>>;

const SHAPE: Shape = Shape::new(14, 3, 5);
const TARGETS: [f64; 6] = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0];
const STEP: f64 = 1e-5;

/// Layers of 5, 4 and 2 neurons, or of 5 and 2 without a hidden one.
fn network(spread: Option<Place>, kernel: AnyKernel, hidden: bool) -> Net {
    let synapses =
        |inputs, outputs| Synapses { kernel_count: 2, ..Synapses::new(inputs, outputs, 6) };
    let layer = Layer::new(synapses(5, 4), kernel, Lif::new(2.0), Atan { alpha: 5.0 });
    let last = if hidden { 4 } else { 5 };
    let readout = Readout::new(synapses(last, 2), kernel, Li::new(3.0));
    let mut network = Net::chain(hidden.then_some(layer), readout);
    let hidden = network.hidden.iter_mut().flat_map(|layer| &mut layer.inputs);
    hidden.chain(&mut network.output.inputs).for_each(|connection| connection.spread = spread);
    network
}

fn trainer(network: Net) -> Trainer<Reference<f64>> {
    let sigma = Sigma { start: Some(1.25), end: 0.5, epochs: 3 };
    let recipe = Recipe { sigma, rounded_epochs: 1, ..Recipe::paper(4) };
    Trainer::new(Reference::new(), network, recipe, 3).unwrap()
}

fn input() -> Vec<f64> {
    let rng = Rng::new(5, 1);
    (0..SHAPE.len() as u64).map(|n| f64::from(rng.uniform_f64(n) < 0.35)).collect()
}

fn batch(x: &[f64]) -> Batch<'_, f64> {
    Batch { shape: SHAPE, x: Input::Dense(x), targets: Some(&TARGETS), lengths: None }
}

/// Draws the spreads of a state.
fn draw(state: &mut State<f64>) {
    let rng = Rng::new(9, 2);
    for (n, tensor) in state.tensors.iter_mut().enumerate() {
        if tensor.name.ends_with(".spread") && !tensor.name.starts_with("adam") {
            let own = rng.fork(n as u64);
            let draw = |i: usize| 3.0 * own.uniform_f64(i as u64) - 1.5;
            tensor.values.iter_mut().enumerate().for_each(|(i, p)| *p = draw(i));
        }
    }
}

#[test]
fn spreads_of_zero_leave_the_sigma_of_the_schedule() {
    let x = input();
    for (_, place) in Place::ALL {
        let [mut plain, mut own] =
            [None, Some(place)].map(|spread| trainer(network(spread, AnyKernel::Gauss, true)));
        for _ in 0..2 {
            let scores = [&plain, &own]
                .map(|trainer| trainer.model().evaluate(&batch(&x), Delays::Spread).unwrap());
            assert_eq!(scores[0], scores[1], "{place:?}");
            // The schedule goes on.
            plain.finish_epoch().unwrap();
            own.finish_epoch().unwrap();
        }
        let [losses, expected] = [&mut own, &mut plain].map(|t| t.step(&batch(&x)).unwrap().loss);
        assert_eq!(losses, expected);
        assert_eq!(own.parameters() - plain.parameters(), spreads(place), "{place:?}");
    }
}

/// The number of spreads of the network with a hidden layer.
fn spreads(place: Place) -> usize {
    [(5, 4), (4, 2)]
        .map(|(i, o)| place.len(&Synapses { kernel_count: 2, ..Synapses::new(i, o, 6) }))
        .iter()
        .sum()
}

#[test]
fn gradients_by_spreads_equal_difference_quotients() {
    let x = input();
    for kernel in [AnyKernel::Gauss, AnyKernel::Max] {
        for (_, place) in Place::ALL {
            let network = network(Some(place), kernel, false);
            let mut trainer = trainer(network);
            let mut state = trainer.state().unwrap();
            draw(&mut state);
            trainer.restore(&state).unwrap();
            trainer.step(&batch(&x)).unwrap();
            let gradients = trainer.gradients().unwrap();
            let gradient = gradients.iter().find(|tensor| tensor.name == "output.spread").unwrap();
            let at = state.tensors.iter().position(|t| t.name == "output.spread").unwrap();
            let mut largest = 0.0f64;
            for (n, &found) in gradient.values.iter().enumerate() {
                let mut loss = |by: f64| {
                    let mut moved = state.clone();
                    moved.tensors[at].values[n] += by;
                    trainer.restore(&moved).unwrap();
                    trainer.model().evaluate(&batch(&x), Delays::Spread).unwrap().1
                };
                let quotient = (loss(STEP) - loss(-STEP)) / (2.0 * STEP);
                assert!(
                    (quotient - found).abs() < 1e-8,
                    "{kernel:?} {place:?}: {quotient} {found}"
                );
                largest = largest.max(found.abs());
            }
            assert!(largest > 1e-4, "{kernel:?} {place:?}");
        }
    }
}

/// In a network with spikes and in windows, the gradient of a shared spread is the sum of those of
/// the synapses that share it.
#[test]
fn shared_spreads_learn_as_the_sum_of_their_synapses() {
    let x = input();
    for (_, place) in Place::ALL {
        for window in [None, NonZeroUsize::new(8)] {
            let [mut packed, mut full] = [place, Place::Synaptic].map(|place| {
                trainer(Net { window, ..network(Some(place), AnyKernel::Gauss, true) })
            });
            let mut state = packed.state().unwrap();
            draw(&mut state);
            packed.restore(&state).unwrap();
            let edges: Vec<_> = packed.model().graph().edges().map(|edge| edge.synapses).collect();
            let names = ["hidden.0.spread", "output.spread"];
            state.tensors.retain(|tensor| !tensor.name.starts_with("adam."));
            for (name, synapses) in names.into_iter().zip(&edges) {
                let tensor = state.tensors.iter_mut().find(|t| t.name == name).unwrap();
                let mut all = vec![0.0; synapses.weights()];
                place.expand(synapses, &tensor.values, &mut all).unwrap();
                tensor.values = all;
                tensor.shape = Place::Synaptic.shape(synapses);
            }
            full.restore(&state).unwrap();
            let reports = [&mut packed, &mut full].map(|t| t.step(&batch(&x)).unwrap());
            assert_eq!(reports[0], reports[1]);
            let [found, all] = [&packed, &full].map(|t| t.gradients().unwrap());
            for (name, synapses) in names.into_iter().zip(&edges) {
                let [found, all] =
                    [&found, &all].map(|of| &of.iter().find(|t| t.name == name).unwrap().values);
                let mut sum = vec![0.0; found.len()];
                place.reduce(synapses, all, &mut sum).unwrap();
                let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12;
                assert!(found.iter().zip(&sum).all(near), "{name} {place:?}: {found:?} {sum:?}");
                assert!(found.iter().any(|d| d.abs() > 1e-5), "{name} {place:?}");
            }
        }
    }
}

#[test]
fn spreads_learn_until_delays_are_rounded_and_resume() {
    let x = input();
    let make = || {
        let net = network(Some(Place::Axonal), AnyKernel::Max, true);
        trainer(Net { rounding: Rounding::Nearest, ..net })
    };
    let spreads = |trainer: &Trainer<_>| {
        let tensors = trainer.model().tensors().unwrap();
        tensors.into_iter().filter(|t| t.name.ends_with(".spread")).collect::<Vec<_>>()
    };
    let (mut trainer, mut moved) = (make(), Vec::new());
    for _ in 0..4 {
        let before = spreads(&trainer);
        trainer.step(&batch(&x)).unwrap();
        let mut resumed = make();
        resumed.restore(&trainer.state().unwrap()).unwrap();
        let both =
            [&trainer, &resumed].map(|t| t.model().evaluate(&batch(&x), Delays::Spread).unwrap());
        assert_eq!(both[0], both[1]);
        moved.push(spreads(&trainer) != before);
        trainer.finish_epoch().unwrap();
    }
    assert_eq!(moved, [true, true, true, false]);
}
