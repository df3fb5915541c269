//! Sequences that are computed window by window: the same scores, and the gradient of truncated
//! backpropagation through time.
#![cfg(feature = "alloc")]

use polychron_core::backend::{
    Backend, Event, Firing, HasNeuron, NeuronStage, SynapseGradients, SynapseParams, View, ViewMut,
};
use polychron_core::delay::AnyKernel;
use polychron_core::loss::{Loss, RatePenalty, cross_entropy};
use polychron_core::neuron::{AdLif, AnyNeuron, Li, Lif, Neuron, Plif};
use polychron_core::norm::{BatchNorm, ValidSteps};
use polychron_core::reference::{Block, Reference};
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::{AnySurrogate, Atan};
use polychron_core::train::{
    Batch, Connection, Delays, Input, Layer, Network, Readout, Recipe, Sigma, Source, Tensor,
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
    for (loss, norm) in Loss::ALL.iter().flat_map(|(_, l)| [(*l, false), (*l, true)]) {
        for lengths in [None, Some([23, 0, 11])] {
            let whole = trainer(network(norm, 0.0, loss), 0);
            let lengths = lengths.as_ref().map(|l| &l[..]);
            let dense = Input::Dense(&x);
            let batch = Batch { shape: SHAPE, x: dense, targets: Some(&TARGETS), lengths };
            for delays in [Delays::Spread, Delays::Rounded] {
                let (scores, value) = whole.model().evaluate(&batch, delays).unwrap();
                assert!(scores.iter().any(|s| *s != 0.0));
                for window in [1, 2, 5, 8, 24, 40] {
                    let cut = trainer(network(norm, 0.0, loss), window);
                    for x in [dense, Input::Events(&events)] {
                        let batch = Batch { x, ..batch };
                        let (found, cut) = cut.model().evaluate(&batch, delays).unwrap();
                        let errors = found.iter().zip(&scores).map(|(a, b)| (a - b).abs());
                        let worst = errors.fold((value - cut).abs(), f64::max);
                        assert!(worst < 1e-12, "{loss:?}, norm {norm}, {window}: {worst}");
                    }
                }
            }
        }
    }
}

/// The gradients of a network without norms whose layers have no learned neuron parameters, window
/// by window over whole sequences: in each window, gradients before its first step are dropped.
struct Direct {
    net: Net,
    tensors: Vec<Tensor<f64>>,
    x: Block<f64>,
    lengths: [usize; 3],
}

impl Direct {
    fn values(&self, name: &str) -> &Vec<f64> {
        &self.tensors.iter().find(|t| t.name == name).unwrap().values
    }

    fn names(&self, l: usize, c: usize) -> [String; 3] {
        let layer = if l == 2 { "output".into() } else { format!("hidden.{l}") };
        let name = if c == 0 { layer } else { format!("{layer}.inputs.{c}") };
        ["weight", "delay", "sigma"].map(|tensor| format!("{name}.{tensor}"))
    }

    fn stage<'a>(&'a self, l: usize, none: &'a Vec<f64>) -> NeuronStage<'a, Reference<f64>> {
        let padding = self.net.graph().unwrap().nodes[l].padding;
        NeuronStage {
            neuron: &self.net.hidden[l].neuron,
            params: View::new(none, 0..0),
            surrogate: &self.net.hidden[l].surrogate,
            firing: Firing::Step,
            mask: None,
            valid: ValidSteps { lengths: Some(&self.lengths), padding },
            start: None,
        }
    }

    /// Gradients by name, for windows of `window` steps.
    fn gradients(&self, window: usize) -> Vec<(String, Vec<f64>)> {
        let (graph, none) = (self.net.graph().unwrap(), Vec::new());
        let inputs: Vec<_> = self.net.inputs().collect();
        let mut outputs = vec![self.x.clone()];
        let mut sums = Vec::new();
        for (l, node) in graph.nodes.iter().enumerate() {
            let mut y = REFERENCE.sequence(graph.output(l, self.x.shape)).unwrap();
            for (c, edge) in node.edges.iter().enumerate() {
                let mut part = REFERENCE.sequence(y.shape).unwrap();
                let names = self.names(l, c);
                let [w, d, s] = [0, 1, 2].map(|n| self.values(&names[n]));
                let params = parameters(w, d, s);
                let x = &outputs[edge.from.map_or(0, |from| from + 1)];
                let kernel = &inputs[l][c].kernel;
                REFERENCE.project(&edge.synapses, kernel, params, x, &mut part).unwrap();
                REFERENCE.add(&part, &mut y).unwrap();
            }
            if l < 2 {
                let mut spikes = REFERENCE.sequence(y.shape).unwrap();
                REFERENCE.neuron_forward(&self.stage(l, &none), &y, &mut spikes, None).unwrap();
                outputs.push(spikes);
            }
            sums.push(y);
        }
        let padding = graph.nodes[2].padding;
        let steps = self.lengths.iter().max().unwrap() + padding;
        let count = steps.div_ceil(window);
        let window = steps.div_ceil(count);
        let mut total: Vec<(String, Vec<f64>)> = Vec::new();
        for start in (0..count).map(|k| k * window) {
            let inside = start..start + window;
            let mut d = vec![self.readout_gradient(&sums[2], &inside)];
            for l in [1, 0] {
                d.insert(0, REFERENCE.sequence(sums[l].shape).unwrap());
            }
            for l in [2, 1, 0] {
                let mut d_y = d[l].clone();
                if l < 2 {
                    let into = &mut Vec::new();
                    let (stage, into) = (self.stage(l, &none), ViewMut::new(into, 0..0));
                    REFERENCE.neuron_backward(&stage, &sums[l], &d[l], &mut d_y, into).unwrap();
                    keep(&mut d_y, &inside);
                }
                for (c, edge) in graph.nodes[l].edges.iter().enumerate() {
                    let names = self.names(l, c);
                    let [w, dl, s] = [0, 1, 2].map(|n| self.values(&names[n]));
                    let mut into = [w.clone(), dl.clone(), s.clone()];
                    let [d_w, d_d, d_s] = into.each_mut();
                    let gradients =
                        SynapseGradients { weights: all(d_w), delays: all(d_d), sigma: all(d_s) };
                    let x = &outputs[edge.from.map_or(0, |from| from + 1)];
                    let mut d_x = REFERENCE.sequence(x.shape).unwrap();
                    let (kernel, params) = (&inputs[l][c].kernel, parameters(w, dl, s));
                    let to = Some(&mut d_x);
                    let synapses = &edge.synapses;
                    REFERENCE
                        .project_backward(synapses, kernel, params, x, &d_y, gradients, to)
                        .unwrap();
                    keep(&mut d_x, &inside);
                    if let Some(from) = edge.from {
                        REFERENCE.add(&d_x, &mut d[from]).unwrap();
                    }
                    for (name, values) in names.into_iter().zip(into) {
                        match total.iter_mut().find(|(known, _)| *known == name) {
                            Some((_, sum)) => sum.iter_mut().zip(values).for_each(|(s, v)| *s += v),
                            None => total.push((name, values)),
                        }
                    }
                }
            }
        }
        total
    }

    /// The gradient by the input of the readout within a window, for the loss of the mean membrane.
    fn readout_gradient(&self, y: &Block<f64>, inside: &std::ops::Range<usize>) -> Block<f64> {
        let li = &self.net.output.integrator;
        let padding = self.net.graph().unwrap().nodes[2].padding;
        let mut d_y = REFERENCE.sequence(y.shape).unwrap();
        for b in 0..y.shape.batch {
            let steps = self.lengths[b] + padding;
            let mut score = [0.0; 2];
            for (c, score) in score.iter_mut().enumerate() {
                let mut v = li.rest();
                for t in 0..steps {
                    v = li.charge(v, y.values[y.shape.at(t, b, c)]);
                    *score += v[0] / steps as f64;
                }
            }
            let mut d_score = [0.0; 2];
            cross_entropy(&score, &TARGETS[2 * b..2 * b + 2], &mut d_score);
            for (c, d_score) in d_score.into_iter().enumerate() {
                let mut d_v = 0.0;
                for t in (inside.start..inside.end.min(steps)).rev() {
                    d_v += d_score / (3 * steps) as f64;
                    let charge = li.charge_adjoint(li.rest(), 0.0, [d_v]);
                    d_y.values[y.shape.at(t, b, c)] = charge.input;
                    d_v = charge.state[0];
                }
            }
        }
        d_y
    }
}

fn all(values: &mut Vec<f64>) -> ViewMut<'_, Vec<f64>> {
    let len = values.len();
    ViewMut::new(values, 0..len)
}

fn parameters<'a>(
    weights: &'a Vec<f64>,
    delays: &'a Vec<f64>,
    sigma: &'a Vec<f64>,
) -> SynapseParams<'a, Vec<f64>> {
    let [weights, delays, sigma] = [weights, delays, sigma].map(|v| View::new(v, 0..v.len()));
    SynapseParams { weights, delays, sigma, rounding: None }
}

/// Sets the values outside a window to 0.
fn keep(block: &mut Block<f64>, inside: &std::ops::Range<usize>) {
    let row = block.shape.batch * block.shape.width;
    for (t, row) in block.values.chunks_exact_mut(row).enumerate() {
        if !inside.contains(&t) {
            row.fill(0.0);
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
    let mut seen = Vec::new();
    for window in [1, 4, 7, 12, 60] {
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
            if name == "hidden.0.weight" {
                seen.push(found.values.clone());
            }
        }
    }
    assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "windows make no difference");
}

#[test]
fn dropout_holds_over_all_windows_and_the_penalty_is_that_of_each() {
    let x = spikes(SHAPE, 4);
    let input = Input::Dense(&x);
    let batch = Batch { shape: SHAPE, x: input, targets: Some(&TARGETS), lengths: None };
    let net = network(false, 0.5, Loss::SoftmaxSum);
    let loss = trainer(net.clone(), 0).step(&batch).unwrap().loss;
    let without = trainer(network(false, 0.0, Loss::SoftmaxSum), 0).step(&batch).unwrap().loss;
    assert!((loss - without).abs() > 1e-3, "the masks make no difference");
    for window in [3, 10] {
        let cut = trainer(net.clone(), window).step(&batch).unwrap().loss;
        assert!((cut - loss).abs() < 1e-12, "{window}: {cut}, not {loss}");
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
