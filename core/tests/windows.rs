//! Sequences that are computed window by window: the same scores, and the gradient of truncated
//! backpropagation through time.
#![cfg(feature = "alloc")]

mod direct;

use direct::{Direct, parameters};
use polychron_core::backend::{Backend, Event, HasNeuron};
use polychron_core::delay::AnyKernel;
use polychron_core::loss::{Loss, RatePenalty};
use polychron_core::neuron::{AdLif, AnyNeuron, Li, Lif, Plif};
use polychron_core::norm::{BatchNorm, ValidSteps};
use polychron_core::reference::{Block, Reference};
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::{AnySurrogate, Atan};
use polychron_core::train::{
    Batch, Connection, Delays, Input, Layer, Network, Readout, Recipe, Recurrence, Sigma, Source,
    Trainer,
};
use std::num::NonZeroUsize;

const REFERENCE: Reference<f64> = Reference::new();

type Net = Network<Reference<f64>>;

fn surrogate() -> AnySurrogate<f64> {
    AnySurrogate::Atan(Atan { alpha: 2.0 })
}

/// Two different layers, a skip connection from the input and one to the readout.
fn network(norm: bool, dropout: f64, loss: Loss) -> Net {
    let (lif, plif) = (AnyNeuron::Lif(Lif::new(3.0)), AnyNeuron::Plif(Plif::new(Lif::new(2.0))));
    let kernels = [AnyKernel::Gauss, AnyKernel::Max];
    let layer = |synapses, kernel, neuron| {
        let layer = Layer::new(synapses, kernel, neuron, surrogate()).with_dropout(dropout);
        if norm { layer.with_norm(BatchNorm::default()) } else { layer }
    };
    let first = layer(Synapses::new(3, 5, 9), kernels[0], lif);
    let second = layer(Synapses::new(5, 4, 4), kernels[1], plif);
    let skip = Connection::new(Synapses::new(3, 4, 6), kernels[0]).from(Source::Input);
    let mut output = Readout::new(Synapses::new(4, 2, 5), kernels[0], Li::new(4.0));
    let over = Connection::new(Synapses::new(5, 2, 7), kernels[1]).from(Source::Layer(0));
    output.inputs.push(over);
    Net { loss, ..Net::chain([first, second.with_input(skip)], output) }
}

/// The same network with recurrent layers, of which the first has long delays.
fn recurrent(mut net: Net, dropout: f64) -> Net {
    for (layer, neurons, taps) in [(0, 5, 11), (1, 4, 3)] {
        let recurrence = Recurrence::new(neurons, taps, [AnyKernel::Gauss, AnyKernel::Max][layer]);
        net.hidden[layer].recurrence = Some(recurrence.with_dropout(dropout));
    }
    net
}

/// Random spikes `[steps, batch, 3]` with values up to 2.
fn spikes(shape: Shape, seed: u64) -> Vec<f64> {
    let rng = Rng::new(seed, 0);
    let value = |n: u64| {
        let x = rng.uniform::<f64>(n);
        if x < 0.3 { 1.0 + (10.0 * x).floor() / 2.0 } else { 0.0 }
    };
    (0..shape.len() as u64).map(value).collect()
}

fn events(x: &[f64], shape: Shape) -> Vec<Event<f64>> {
    let mut events = Vec::new();
    for (b, t, n) in (0..shape.batch)
        .flat_map(|b| (0..shape.steps).flat_map(move |t| (0..shape.width).map(move |n| (b, t, n))))
    {
        let value = x[shape.at(t, b, n)];
        if value != 0.0 {
            let (sample, step, channel) = (b as u32, t as u32, n as u32);
            events.push(Event { sample, step, channel, value });
        }
    }
    events
}

fn trainer(network: Net, window: usize) -> Trainer<Reference<f64>> {
    let network = Net { window: NonZeroUsize::new(window), ..network };
    let sigma = Sigma { start: Some(0.8), end: 0.8, epochs: 1 };
    Trainer::new(REFERENCE, network, Recipe { sigma, ..Recipe::paper(20) }, 3).unwrap()
}

const SHAPE: Shape = Shape::new(23, 3, 3);
const TARGETS: [f64; 6] = [1.0, 0.0, 0.25, 0.75, 0.0, 1.0];

#[test]
fn windows_give_the_scores_of_the_whole_sequence() {
    let x = spikes(SHAPE, 1);
    let events = events(&x, SHAPE);
    let plain = Loss::ALL.iter().flat_map(|(_, l)| [(*l, false), (*l, true)]);
    let plain = plain.map(|(loss, norm)| network(norm, 0.0, loss));
    let looped = [false, true].map(|norm| recurrent(network(norm, 0.0, Loss::SoftmaxSum), 0.0));
    for net in plain.chain(looped) {
        for lengths in [None, Some([23, 0, 11])] {
            let whole = trainer(net.clone(), 0);
            let lengths = lengths.as_ref().map(|l| &l[..]);
            let dense = Input::Dense(&x);
            let batch = Batch { shape: SHAPE, x: dense, targets: Some(&TARGETS), lengths };
            for delays in [Delays::Spread, Delays::Rounded] {
                let (scores, value) = whole.model().evaluate(&batch, delays).unwrap();
                assert!(scores.iter().any(|s| *s != 0.0));
                for window in [1, 2, 5, 8, 24, 40] {
                    let cut = trainer(net.clone(), window);
                    for x in [dense, Input::Events(&events)] {
                        let batch = Batch { x, ..batch };
                        let (found, cut) = cut.model().evaluate(&batch, delays).unwrap();
                        let errors = found.iter().zip(&scores).map(|(a, b)| (a - b).abs());
                        let worst = errors.fold((value - cut).abs(), f64::max);
                        assert!(worst < 1e-12, "{net:?}, {window}: {worst}");
                    }
                }
            }
        }
    }
}

#[test]
fn gradients_do_not_pass_the_edges_of_windows() {
    let x = spikes(SHAPE, 2);
    let lengths = [23, 9, 17];
    let input = Input::Dense(&x);
    let batch = Batch { shape: SHAPE, x: input, targets: Some(&TARGETS), lengths: Some(&lengths) };
    let mut net = network(false, 0.0, Loss::Mean);
    net.hidden[1].neuron = Reference::neuron(Lif::new(2.0));
    let (mut seen, looped) = (Vec::new(), recurrent(net.clone(), 0.0));
    for (net, window) in [1, 4, 7, 12, 60].into_iter().flat_map(|w| [(&net, w), (&looped, w)]) {
        let mut cut = trainer(net.clone(), window);
        let tensors = cut.model().tensors().unwrap();
        cut.step(&batch).unwrap();
        let found = cut.gradients().unwrap();
        let x = Block { shape: SHAPE, values: x.clone() };
        let direct = Direct { net: net.clone(), tensors, x, lengths };
        for (name, expected) in direct.gradients(window) {
            let found = found.iter().find(|t| t.name == name).unwrap();
            let scale = expected.iter().fold(1e-9, |m: f64, v| m.max(v.abs()));
            for (a, b) in found.values.iter().zip(&expected) {
                assert!((a - b).abs() < 1e-10 * scale, "{window}, {name}: {a}, not {b}");
            }
            if name == "hidden.0.weight" || name == "hidden.0.recurrent.weight" {
                seen.push(found.values.clone());
            }
        }
    }
    assert_eq!(seen.len(), 15);
    for (n, values) in seen.iter().enumerate() {
        assert!(!seen[..n].contains(values), "windows make no difference");
    }
}

#[test]
fn dropout_holds_over_all_windows_and_the_penalty_is_that_of_each() {
    let x = spikes(SHAPE, 4);
    let input = Input::Dense(&x);
    let batch = Batch { shape: SHAPE, x: input, targets: Some(&TARGETS), lengths: None };
    let loss = |net: &Net, window| trainer(net.clone(), window).step(&batch).unwrap().loss;
    let plain = |dropout| network(false, dropout, Loss::SoftmaxSum);
    for (net, without) in [
        (plain(0.5), plain(0.0)),
        (recurrent(plain(0.0), 0.5), recurrent(plain(0.0), 0.0)),
        (recurrent(plain(0.5), 0.5), recurrent(plain(0.5), 0.0)),
    ] {
        let (whole, without) = (loss(&net, 0), loss(&without, 0));
        assert!((whole - without).abs() > 1e-3, "the masks make no difference");
        for window in [3, 10] {
            let cut = loss(&net, window);
            assert!((cut - whole).abs() < 1e-12, "{window}: {cut}, not {whole}");
        }
    }

    let penalty = RatePenalty { weight: 0.5, low: 0.1, high: 0.15 };
    let net = network(false, 0.0, Loss::SoftmaxSum);
    let recipe = Recipe { rate_penalty: Some(penalty), ..Recipe::paper(20) };
    let network = Net { window: NonZeroUsize::new(10), ..net };
    let mut cut = Trainer::new(REFERENCE, network, recipe, 3).unwrap();
    let traced = cut.model().trace(&batch, Delays::Spread).unwrap();
    let plain = cut.model().evaluate(&batch, Delays::Spread).unwrap().1;
    let found = cut.step(&batch).unwrap().loss - plain;
    let steps = traced.layers[2].shape.steps;
    let window = steps.div_ceil(steps.div_ceil(10));
    let mut expected = 0.0;
    for spikes in &traced.layers[..2] {
        let row = spikes.shape.batch * spikes.shape.width;
        for part in spikes.values.chunks(window * row) {
            let shape = Shape { steps: part.len() / row, ..spikes.shape };
            let share = shape.steps as f64 / spikes.shape.steps as f64;
            let penalty = RatePenalty { weight: penalty.weight * share, ..penalty };
            let valid = ValidSteps::default();
            expected += penalty.add_gradient(valid, shape, part, &mut vec![0.0; part.len()]);
        }
    }
    assert!(expected > 1e-3);
    assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
}

/// Two classes that differ in the order of two spikes, which long samples repeat.
#[test]
fn a_long_sequence_is_learned_window_by_window() {
    let (shape, lengths) = (Shape::new(2000, 2, 2), [2000, 1200]);
    let mut events = Vec::new();
    for sample in 0..2u32 {
        for start in (0..lengths[sample as usize] as u32 - 10).step_by(50) {
            let spike = |step, channel| Event { sample, step, channel, value: 1.0 };
            let order = if sample == 0 { [0, 1] } else { [1, 0] };
            events.extend([spike(start + 2, order[0]), spike(start + 6, order[1])]);
        }
    }
    let adaptive = AdLif::new(2.0, 8.0, 0.1, 0.2);
    let layer = |from, neuron| {
        let layer = Layer::new(Synapses::new(from, 6, 9), AnyKernel::Gauss, neuron, surrogate());
        layer.with_norm(BatchNorm::default())
    };
    let hidden = [layer(2, AnyNeuron::Lif(Lif::new(2.0))), layer(6, AnyNeuron::AdLif(adaptive))];
    let output = Readout::new(Synapses::new(6, 2, 9), AnyKernel::Gauss, Li::new(4.0));
    let net = Net { loss: Loss::Mean, ..Net::chain(hidden, output) };
    let window = NonZeroUsize::new(150);
    let recipe = Recipe { rate: 0.1, ..Recipe::paper(16) };
    let mut trainer = Trainer::new(REFERENCE, Net { window, ..net }, recipe, 0).unwrap();
    let targets = [1.0, 0.0, 0.0, 1.0];
    let x = Input::Events(&events);
    let batch = Batch { shape, x, targets: Some(&targets), lengths: Some(&lengths) };
    let first = trainer.step(&batch).unwrap();
    for _ in 0..40 {
        trainer.step(&batch).unwrap();
    }
    let last = trainer.step(&batch).unwrap();
    assert!(last.correct == 2 && last.loss < 0.5 * first.loss, "{first:?} {last:?}");
}

#[test]
fn running_statistics_average_over_the_windows_by_their_steps() {
    let x = spikes(SHAPE, 5);
    let lengths = [23, 6, 9];
    let input = Input::Dense(&x);
    let batch = Batch { shape: SHAPE, x: input, targets: Some(&TARGETS), lengths: Some(&lengths) };
    // The last window of the first layer has no valid steps.
    let net = network(true, 0.0, Loss::Mean);
    let graph = net.graph().unwrap();
    let (node, last) = (&graph.nodes[0], graph.nodes[2].padding);
    let steps = 23 + last;
    for longest in [1, 3, steps - 1] {
        let count = steps.div_ceil(longest);
        let window = steps.div_ceil(count);
        let mut cut = trainer(net.clone(), longest);
        let tensors = cut.model().tensors().unwrap();
        let of = |name: &str| &tensors.iter().find(|t| t.name == name).unwrap().values;
        let names = ["hidden.0.weight", "hidden.0.delay", "hidden.0.sigma"];
        let [w, d, s] = names.map(of);
        let mut y = REFERENCE.sequence(graph.output(0, SHAPE)).unwrap();
        let x = Block { shape: SHAPE, values: x.clone() };
        let (edge, kernel) = (&node.edges[0], &net.hidden[0].inputs[0].kernel);
        REFERENCE.project(&edge.synapses, kernel, parameters(w, d, s), &x, &mut y).unwrap();
        let valid: Vec<_> = lengths.iter().map(|l| l + node.padding).collect();
        let all: usize = valid.iter().sum();
        let mut mean = vec![0.0; node.width];
        for start in (0..count).map(|k| k * window) {
            let places =
                (0..3).flat_map(|b| (start..valid[b].min(start + window)).map(move |t| (t, b)));
            let places: Vec<_> = places.collect();
            let keep = 0.9f64.powf(places.len() as f64 / all as f64);
            for (o, mean) in mean.iter_mut().enumerate() {
                let sum: f64 = places.iter().map(|&(t, b)| y.values[y.shape.at(t, b, o)]).sum();
                let here = sum / places.len().max(1) as f64;
                *mean = keep * *mean + (1.0 - keep) * here;
            }
        }
        cut.step(&batch).unwrap();
        let tensors = cut.model().tensors().unwrap();
        let found = &tensors.iter().find(|t| t.name == "hidden.0.running_mean").unwrap().values;
        for (a, b) in found.iter().zip(&mean) {
            assert!((a - b).abs() < 1e-12, "{longest}: {found:?}, not {mean:?}");
        }
    }
}
