//! The trainer with recurrent layers.

use polychron_core::delay::{AnyKernel, Place, Rounding};
use polychron_core::init::{self, DelayInit};
use polychron_core::loss::Loss;
use polychron_core::neuron::{Li, Lif};
use polychron_core::norm::BatchNorm;
use polychron_core::num::Real;
use polychron_core::reference::Reference;
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::Atan;
use polychron_core::train::{
    Batch, Delays, Input, Layer, Network, NetworkError, Readout, Recipe, Recurrence, Sigma, State,
    TrainError, Trainer,
};

type Net<R> = Network<Reference<R>>;

const SHAPE: Shape = Shape::new(15, 4, 3);
const NEURONS: usize = 6;
const TAPS: usize = 9;

fn layer<R: Real>(recurrence: Recurrence<Reference<R>>, dropout: f64) -> Layer<Reference<R>> {
    let (lif, atan) = (Lif::new(R::of(2.0)), Atan { alpha: R::of(2.0) });
    let layer = Layer::new(Synapses::new(3, NEURONS, 4), AnyKernel::Gauss, lif, atan);
    layer.with_dropout(dropout).with_recurrence(recurrence)
}

fn recurrence<R: Real>() -> Recurrence<Reference<R>> {
    Recurrence::new(NEURONS, TAPS, AnyKernel::Gauss)
}

fn chain<R: Real>(layer: Layer<Reference<R>>) -> Net<R> {
    let synapses = Synapses::new(layer.inputs[0].synapses.outputs, 2, 3);
    Net::chain([layer], Readout::new(synapses, AnyKernel::Gauss, Li::new(R::of(3.0))))
}

fn trainer<R: Real>(network: Net<R>, recipe: Recipe, seed: u64) -> Trainer<Reference<R>> {
    Trainer::new(Reference::new(), network, recipe, seed).unwrap()
}

fn normed(seed: u64) -> Trainer<Reference<f32>> {
    let layer = layer(recurrence().at(Place::Axonal).with_dropout(0.3), 0.4);
    let network = chain(layer.with_norm(BatchNorm::default()));
    let rounding = Rounding::Split;
    let recipe = Recipe { rounded_epochs: 2, ..Recipe::paper(6) };
    trainer(Net { rounding, ..network }, recipe, seed)
}

fn x<R: Real>() -> Vec<R> {
    let rng = Rng::new(8, 1);
    (0..SHAPE.len() as u64).map(|n| R::of(f64::from(rng.below(n, 10) < 3) * 1.5)).collect()
}

fn batch<'a, R>(x: &'a [R], targets: &'a [R]) -> Batch<'a, R> {
    Batch {
        shape: SHAPE,
        x: Input::Dense(x),
        targets: Some(targets),
        lengths: Some(&[15, 9, 15, 4]),
    }
}

fn targets<R: Real>() -> Vec<R> {
    [1.0, 0.0, 0.0, 1.0, 0.5, 0.5, 0.0, 1.0].map(R::of).to_vec()
}

fn values<R: Clone>(state: &State<R>, name: &str) -> Vec<R> {
    let found = state.tensors.iter().find(|tensor| tensor.name == name);
    found.unwrap_or_else(|| panic!("{name}")).values.clone()
}

#[test]
fn a_recurrent_training_is_that_of_its_seed_and_resumes_bit_for_bit() {
    let (x, targets) = (x(), targets());
    let batch = batch(&x, &targets);
    let epoch = |trainer: &mut Trainer<Reference<f32>>| {
        for _ in 0..2 {
            trainer.step(&batch).unwrap();
        }
        trainer.finish_epoch().unwrap();
    };
    let (mut straight, mut same) = (normed(4), normed(4));
    let mut states = Vec::new();
    for _ in 0..6 {
        epoch(&mut straight);
        epoch(&mut same);
        assert_eq!(straight.state().unwrap(), same.state().unwrap());
        states.push(straight.state().unwrap());
    }
    assert_ne!(
        values(&states[0], "hidden.0.recurrent.delay"),
        values(&states[5], "hidden.0.recurrent.delay")
    );
    for start in [0, 2, 4] {
        let mut resumed = normed(77);
        resumed.restore(&states[start]).unwrap();
        for state in &states[start + 1..] {
            epoch(&mut resumed);
            assert_eq!(resumed.state().unwrap(), *state);
        }
    }
}

#[test]
fn recurrent_weights_start_orthogonal() {
    fn check<R: Real>(weights: &[R], [rows, columns]: [usize; 2], bound: f64) {
        let (count, len) = (rows.min(columns), rows.max(columns));
        let at = |v: usize, k: usize| match rows <= columns {
            true => weights[v * columns + k].as_f64(),
            false => weights[k * columns + v].as_f64(),
        };
        for (a, b) in (0..count).flat_map(|a| (0..count).map(move |b| (a, b))) {
            let dot: f64 = (0..len).map(|k| at(a, k) * at(b, k)).sum();
            assert!((dot - f64::from(a == b)).abs() < bound, "{rows} x {columns}: {a}, {b}: {dot}");
        }
    }
    for count in [1, 2] {
        let mut wide = recurrence::<f64>();
        wide.connection.synapses.kernel_count = count;
        let trainer = trainer(chain(layer(wide, 0.0)), Recipe::paper(4), 2);
        let weights = values(&trainer.state().unwrap(), "hidden.0.recurrent.weight");
        check(&weights, [NEURONS, NEURONS * count], 1e-14);
    }
    for (outputs, inputs) in [(1, 1), (7, 7), (9, 4), (4, 9), (64, 64)] {
        let synapses = Synapses::new(inputs, outputs, 3);
        let (mut double, mut single) = (vec![0.0; inputs * outputs], vec![0f32; inputs * outputs]);
        init::orthogonal(&synapses, Rng::new(1, 1), &mut double);
        init::orthogonal(&synapses, Rng::new(1, 1), &mut single);
        check(&double, [outputs, inputs], 1e-13);
        check(&single, [outputs, inputs], 1e-5);
    }
}

#[test]
fn recurrent_tensors_are_named_and_counted() {
    let learned = NEURONS * NEURONS;
    for (place, delays) in [
        (Place::Synaptic, learned),
        (Place::Axonal, NEURONS),
        (Place::Dendritic, NEURONS),
        (Place::Shared, 1),
    ] {
        let plain = Layer { recurrence: None, ..layer(recurrence::<f64>(), 0.0) };
        let plain = trainer(chain(plain), Recipe::paper(4), 0);
        let placed = layer(recurrence::<f64>().at(place), 0.0);
        let found = trainer(chain(placed), Recipe::paper(4), 0);
        assert_eq!(found.parameters(), plain.parameters() + learned + delays, "{place:?}");
        let state = found.state().unwrap();
        assert_eq!(values(&state, "hidden.0.recurrent.weight").len(), learned);
        assert_eq!(values(&state, "hidden.0.recurrent.delay").len(), delays);
        // The other tensors do not depend on the recurrence.
        for tensor in plain.state().unwrap().tensors {
            assert_eq!(values(&state, &tensor.name), tensor.values, "{}", tensor.name);
        }
    }
}

#[test]
fn invalid_recurrences_are_named() {
    let text = |change: &dyn Fn(&mut Recurrence<Reference<f64>>)| {
        let mut recurrence = recurrence();
        change(&mut recurrence);
        chain(layer(recurrence, 0.0)).check().unwrap_err().to_string()
    };
    let other = "layer 0: the recurrence connects 5 neurons, but the layer has 6";
    assert_eq!(text(&|r| r.connection.synapses.inputs = 5), other);
    assert_eq!(text(&|r| r.connection.synapses.outputs = 5), other);
    assert_eq!(text(&|r| r.connection.synapses.taps = 0), "layer 0: taps is 0");
    assert_eq!(text(&|r| r.connection.synapses.kernel_count = 0), "layer 0: kernel_count is 0");
    assert_eq!(text(&|r| r.dropout = 1.0), "layer 0: dropout 1 is not in [0, 1)");
    assert_eq!(text(&|r| r.dropout = f64::NAN), "layer 0: dropout NaN is not in [0, 1)");
    let mut huge = recurrence::<f64>();
    huge.connection.synapses.taps = usize::MAX;
    let network = chain(layer(huge, 0.0));
    assert_eq!(network.check(), Err(NetworkError::TooLarge { layer: 0 }));
}

#[test]
fn recurrent_delays_stay_within_the_taps_and_leave_the_edges() {
    let (x, targets) = (x::<f64>(), targets());
    let last = (TAPS - 1) as f64;
    let sigma = Sigma { start: Some(2.0), end: 2.0, epochs: 1 };
    let recipe =
        Recipe { delay_rate: Some(2.0), delays: DelayInit::Zero, sigma, ..Recipe::paper(9) };
    let mut trainer = trainer(chain(layer(recurrence(), 0.0)), recipe, 6);
    let mut seen = [false; 3];
    for _ in 0..9 {
        for _ in 0..4 {
            trainer.step(&batch(&x, &targets)).unwrap();
            for delay in values(&trainer.state().unwrap(), "hidden.0.recurrent.delay") {
                assert!((0.0..=last).contains(&delay), "{delay}");
                let part = if delay == 0.0 {
                    0
                } else if delay == last {
                    2
                } else {
                    1
                };
                seen[part] = true;
            }
        }
        trainer.finish_epoch().unwrap();
    }
    assert_eq!(seen, [true; 3]);
}

/// In a batch of one, a dropped current has no gradient by its weights, and a dropped output none
/// by those of the readout.
#[test]
fn the_current_has_a_dropout_mask_of_its_own() {
    let (x, targets) = (x::<f64>(), [1.0, 0.0]);
    let shape = Shape { batch: 1, ..SHAPE };
    let x: Vec<f64> = x[..shape.len()].iter().map(|x| x + 0.5).collect();
    let batch = Batch { shape, x: Input::Dense(&x), targets: Some(&targets), lengths: None };
    let mut patterns = Vec::new();
    for seed in 0..12 {
        let network = chain(layer(recurrence().with_dropout(0.5), 0.5));
        let mut trainer = trainer(network, Recipe::paper(4), seed);
        trainer.step(&batch).unwrap();
        let gradients = trainer.gradients().unwrap();
        let of = |name: &str| &gradients.iter().find(|t| t.name == name).unwrap().values;
        let (current, output) = (of("hidden.0.recurrent.weight"), of("output.weight"));
        let dropped = |n: usize| {
            let row = &current[n * NEURONS..(n + 1) * NEURONS];
            [row.iter().all(|d| *d == 0.0), output[n] == 0.0 && output[NEURONS + n] == 0.0]
        };
        patterns.extend((0..NEURONS).map(dropped));
    }
    for pattern in [[false, false], [false, true], [true, false]] {
        let count = patterns.iter().filter(|found| **found == pattern).count();
        assert!(count > 5, "{pattern:?}: {count} of {}", patterns.len());
    }
}

#[test]
fn a_recurrent_training_that_is_not_finite_stops() {
    let (clean, targets) = (x::<f64>(), targets());
    for wrong in [f64::NAN, f64::INFINITY] {
        let mut x = clean.clone();
        x[1] = wrong;
        let mut fresh = trainer(chain(layer(recurrence(), 0.0)), Recipe::paper(4), 6);
        let stopped = fresh.step(&batch(&x, &targets));
        assert!(matches!(stopped, Err(TrainError::Diverged { .. })), "input {wrong}: {stopped:?}");
        let name = "hidden.0.recurrent.weight";
        let with = |weight: f64| {
            let mut state = fresh.state().unwrap();
            let tensor = state.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap();
            tensor.values.fill(weight);
            state
        };
        let [refused, large] = [wrong, f64::MAX].map(with);
        let text = fresh.restore(&refused).unwrap_err().to_string();
        assert!(text.contains(name) && text.contains("is not finite"), "{text}");
        fresh.restore(&large).unwrap();
        let stopped = fresh.step(&batch(&clean, &targets));
        assert!(matches!(stopped, Err(TrainError::Diverged { .. })), "large weights: {stopped:?}");
    }
}

/// Two pulses ten steps apart, each in one of two channels: were they in the same one? Neurons
/// without memory and a mean over time see the sum of both, which does not tell.
#[test]
fn recurrent_delays_remember_what_a_feed_forward_layer_cannot() {
    let (shape, gap, width) = (Shape::new(14, 4, 2), 10, 16);
    let mut x = vec![0f32; shape.len()];
    let mut targets = vec![0f32; 8];
    for b in 0..4 {
        let [first, second] = [b % 2, b / 2];
        x[shape.at(1, b, first)] = 1.5;
        x[shape.at(1 + gap, b, second)] = 1.5;
        targets[2 * b + usize::from(first == second)] = 1.0;
    }
    let batch = Batch { shape, x: Input::Dense(&x), targets: Some(&targets), lengths: None };
    let train = |recurrent: bool| {
        let (lif, atan) = (Lif::new(1.0f32), Atan { alpha: 2.0 });
        let layer = Layer::new(Synapses::new(2, width, 1), AnyKernel::Gauss, lif, atan);
        let recurrence = recurrent.then(|| Recurrence::new(width, 13, AnyKernel::Gauss));
        let output = Readout::new(Synapses::new(width, 2, 1), AnyKernel::Gauss, Li::new(1.0));
        let network = Net::chain([Layer { recurrence, ..layer }], output);
        let sigma = Sigma { start: Some(1.0), end: 0.23, epochs: 20 };
        let recipe = Recipe { rate: 0.03, sigma, delays: DelayInit::Uniform, ..Recipe::paper(40) };
        let mut trainer = trainer(Net { loss: Loss::Mean, ..network }, recipe, 3);
        for _ in 0..40 {
            for _ in 0..5 {
                trainer.step(&batch).unwrap();
            }
            trainer.finish_epoch().unwrap();
        }
        trainer.model().evaluate(&batch, Delays::Spread).unwrap()
    };
    let ((scores, learned), (_, not_learned)) = (train(true), train(false));
    let correct = scores.chunks(2).zip(targets.chunks(2));
    let correct = correct.filter(|(s, y)| (s[1] > s[0]) == (y[1] > y[0])).count();
    assert!(correct == 4 && learned < 0.3, "{correct} correct, loss {learned}");
    assert!(not_learned > 0.65, "loss without recurrence {not_learned}");
}
