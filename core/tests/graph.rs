//! Networks that are no chains of identical layers.
#![cfg(feature = "alloc")]

use polychron_core::backend::HasNeuron;
use polychron_core::delay::AnyKernel;
use polychron_core::neuron::{AdLif, Li, Lif};
use polychron_core::norm::BatchNorm;
use polychron_core::reference::Reference;
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::{Atan, StraightThrough};
use polychron_core::train::{
    Batch, Connection, Delays, Input, Layer, Network, NetworkError, Readout, Recipe, Source, State,
    Tensor, Trainer,
};

type Net = Network<Reference<f64>>;

const CHANNELS: usize = 3;
const FIRST: usize = 4;
const SECOND: usize = 5;
const CLASSES: usize = 2;
const TAPS: usize = 5;

fn synapses(inputs: usize, outputs: usize) -> Synapses {
    Synapses::new(inputs, outputs, TAPS)
}

/// Two different layers. The second has three inputs: the first layer, the input of the network,
/// and the first layer again.
fn skipping() -> Net {
    let second = Layer::new(
        synapses(FIRST, SECOND),
        AnyKernel::Gauss,
        AdLif::new(3.0, 5.0, 0.2, 0.3),
        Atan { alpha: 2.0 },
    );
    let input = Connection::new(synapses(CHANNELS, SECOND), AnyKernel::Gauss).from(Source::Input);
    let again = Connection::new(synapses(FIRST, SECOND), AnyKernel::Gauss).from(Source::Layer(0));
    let second = second.with_norm(BatchNorm::default()).with_input(input).with_input(again);
    Net::chain([without_memory(FIRST), second], readout())
}

/// Neurons that forget in one step. The gradient passes each of them unchanged.
fn without_memory(outputs: usize) -> Layer<Reference<f64>> {
    let kernel = AnyKernel::Linear;
    Layer::new(synapses(CHANNELS, outputs), kernel, Lif::new(1.0), StraightThrough)
}

fn readout() -> Readout<Reference<f64>> {
    Readout::new(synapses(SECOND, CLASSES), AnyKernel::Max, Li::new(4.0))
}

/// The function of [`skipping`] as a chain: further neurons of the first layer repeat the input,
/// and a second kernel element stands for the third input.
fn chain() -> Net {
    let merged = Synapses { kernel_count: 2, ..synapses(FIRST + CHANNELS, SECOND) };
    let adlif = AdLif::new(3.0, 5.0, 0.2, 0.3);
    let second = Layer::new(merged, AnyKernel::Gauss, adlif, Atan { alpha: 2.0 });
    let second = second.with_norm(BatchNorm::default());
    Net::chain([without_memory(FIRST + CHANNELS), second], readout())
}

fn trainer(network: Net, seed: u64) -> Trainer<Reference<f64>> {
    Trainer::new(Reference::new(), network, Recipe::paper(8), seed).unwrap()
}

struct Data {
    x: Vec<f64>,
    targets: Vec<f64>,
}

const SHAPE: Shape = Shape::new(9, 3, CHANNELS);
const LENGTHS: [usize; 3] = [9, 6, 2];

impl Data {
    fn new(seed: u64) -> Self {
        let rng = Rng::new(seed, 5);
        let mut x = vec![0.0; SHAPE.len()];
        for (n, x) in x.iter_mut().enumerate() {
            let (t, b) = (n / CHANNELS / SHAPE.batch, n / CHANNELS % SHAPE.batch);
            *x = f64::from(t < LENGTHS[b] && rng.uniform_f64(n as u64) < 0.4);
        }
        Self { x, targets: vec![1.0, 0.0, 0.0, 1.0, 1.0, 0.0] }
    }

    fn batch(&self) -> Batch<'_, f64> {
        Batch {
            shape: SHAPE,
            x: Input::Dense(&self.x),
            targets: Some(&self.targets),
            lengths: Some(&LENGTHS),
        }
    }
}

fn values<'a>(tensors: &'a [Tensor<f64>], name: &str) -> &'a [f64] {
    &tensors.iter().find(|tensor| tensor.name == name).unwrap_or_else(|| panic!("{name}")).values
}

/// The block `[SECOND, FIRST + CHANNELS, 2]` of the chain for the three inputs of the layer.
fn merge(from: &[Tensor<f64>], name: &str) -> Vec<f64> {
    let part = |input: &str| values(from, &format!("hidden.1.{input}{name}"));
    let parts = ["", "inputs.1.", "inputs.2."].map(part);
    let mut merged = Vec::new();
    for o in 0..SECOND {
        for i in 0..FIRST {
            merged.extend([parts[0][o * FIRST + i], parts[2][o * FIRST + i]]);
        }
        for i in 0..CHANNELS {
            merged.extend([parts[1][o * CHANNELS + i], 0.0]);
        }
    }
    merged
}

/// The state of the chain that computes the same function.
fn equivalent(of: &[Tensor<f64>], mut state: State<f64>) -> State<f64> {
    for tensor in &mut state.tensors {
        tensor.values = match tensor.name.as_str() {
            "hidden.0.weight" | "hidden.0.delay" => {
                let identity = tensor.name.ends_with("weight");
                let mut all = values(of, &tensor.name).to_vec();
                for n in 0..CHANNELS * CHANNELS {
                    // The taps of a kernel sum to slightly less than 1.
                    all.push(if identity && n % (CHANNELS + 1) == 0 { 1.5 } else { 0.0 });
                }
                all
            }
            "hidden.1.weight" => merge(of, "weight"),
            "hidden.1.delay" => merge(of, "delay"),
            name if name.starts_with("adam") => continue,
            name => values(of, name).to_vec(),
        };
    }
    state
}

#[track_caller]
fn close(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1e-300f64, |m, v| m.max(v.abs()));
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= 1e-12 * scale, "{what}: {a} for {b}");
    }
}

#[test]
fn inputs_of_a_layer_add_up_in_both_directions() {
    for seed in 0..4 {
        let (mut found, mut expected) = (trainer(skipping(), seed), trainer(chain(), seed));
        let state = found.state().unwrap().tensors;
        expected.restore(&equivalent(&state, expected.state().unwrap())).unwrap();
        let data = Data::new(seed);
        let (one, other) =
            (found.step(&data.batch()).unwrap(), expected.step(&data.batch()).unwrap());
        close("loss", &[one.loss], &[other.loss]);
        let (one, other) = (found.gradients().unwrap(), expected.gradients().unwrap());
        for name in ["hidden.1.neuron", "hidden.1.gamma", "output.weight", "output.delay"] {
            close(name, values(&one, name), values(&other, name));
        }
        for name in ["hidden.0.weight", "hidden.0.delay"] {
            let found = values(&one, name);
            assert!(found.iter().any(|d| *d != 0.0), "{name}");
            close(name, found, &values(&other, name)[..found.len()]);
        }
        let weights = merge(&one, "weight");
        for (e, (found, expected)) in
            weights.iter().zip(values(&other, "hidden.1.weight")).enumerate()
        {
            let unused = e / 2 % (FIRST + CHANNELS) >= FIRST && e % 2 == 1;
            close("hidden.1.weight", &[*found], &[if unused { 0.0 } else { *expected }]);
        }
        close("hidden.1.delay", &merge(&one, "delay"), values(&other, "hidden.1.delay"));
    }
}

#[test]
fn an_evaluation_reads_every_source() {
    let data = Data::new(7);
    for delays in [Delays::Spread, Delays::Rounded] {
        let (found, mut expected) = (trainer(skipping(), 1), trainer(chain(), 1));
        let state = found.state().unwrap().tensors;
        expected.restore(&equivalent(&state, expected.state().unwrap())).unwrap();
        let (scores, loss) = found.model().evaluate(&data.batch(), delays).unwrap();
        let (other_scores, other_loss) = expected.model().evaluate(&data.batch(), delays).unwrap();
        close("scores", &scores, &other_scores);
        close("loss", &[loss], &[other_loss]);
        let no_targets = Batch { targets: None, ..data.batch() };
        let (without, none) = found.model().evaluate(&no_targets, delays).unwrap();
        assert_eq!((without, none), (scores, 0.0));
    }
}

#[test]
fn a_graph_resumes_bit_for_bit() {
    let data = Data::new(3);
    let (mut straight, mut resumed) = (trainer(skipping(), 2), trainer(skipping(), 9));
    straight.step(&data.batch()).unwrap();
    straight.finish_epoch().unwrap();
    resumed.restore(&straight.state().unwrap()).unwrap();
    for trainer in [&mut straight, &mut resumed] {
        trainer.step(&data.batch()).unwrap();
    }
    assert_eq!(straight.state().unwrap(), resumed.state().unwrap());
}

#[test]
fn tensors_are_what_their_list_says() {
    let trainer = trainer(skipping(), 2);
    let tensors = trainer.model().tensors().unwrap();
    let specs = trainer.model().specs();
    assert_eq!(tensors.len(), specs.len());
    for (tensor, spec) in tensors.iter().zip(specs) {
        assert_eq!((&tensor.name, &tensor.shape), (&spec.name, &spec.shape));
        for (n, v) in tensor.values.iter().enumerate() {
            let (low, high) = spec.bounds_of(n).unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
            assert!((low..=high).contains(v), "{}", tensor.name);
        }
    }
    let names: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!(
        names[3..9].join(" "),
        "hidden.1.weight hidden.1.delay hidden.1.sigma \
        hidden.1.inputs.1.weight hidden.1.inputs.1.delay hidden.1.inputs.1.sigma"
    );
}

#[test]
fn connections_of_a_layer_end_together() {
    let mut network = skipping();
    network.hidden[1].inputs[0].synapses.padding = 1;
    network.hidden[1].inputs[1].synapses.padding = 7;
    let graph = network.graph().unwrap();
    assert_eq!(graph.chain(), None);
    assert_eq!((graph.channels(), graph.classes()), (CHANNELS, CLASSES));
    let paddings: Vec<_> = graph.nodes.iter().map(|node| node.padding).collect();
    assert_eq!(paddings, [2, 7, 9]);
    let edges: Vec<_> = graph.edges().map(|edge| (edge.from, edge.synapses.padding)).collect();
    assert_eq!(edges, [(None, 2), (Some(0), 5), (None, 7), (Some(0), 5), (Some(1), 2)]);
}

#[test]
fn invalid_graphs_are_named() {
    let from = |layer: usize, from: Source| {
        let mut network = skipping();
        network.hidden[layer].inputs[0].from = from;
        network.check().unwrap_err().to_string()
    };
    assert_eq!(
        from(1, Source::Layer(1)),
        "layer 1: a connection comes from the layer itself; use its recurrence"
    );
    assert_eq!(
        from(0, Source::Layer(1)),
        "layer 0: a connection comes from layer 1; it must come from an earlier layer"
    );
    let mut unused = skipping();
    unused.hidden[1].inputs.remove(2);
    unused.hidden[1].inputs.remove(0);
    assert_eq!(unused.check(), Err(NetworkError::Unused { layer: 0 }));
    unused.hidden[1].inputs.clear();
    assert_eq!(unused.check().unwrap_err().to_string(), "layer 1: inputs is 0");
    let mut wide = skipping();
    wide.hidden[1].inputs[1].synapses.outputs = 6;
    assert_eq!(wide.check(), Err(NetworkError::Outputs { layer: 1, expected: 5, found: 6 }));
    let mut channels = skipping();
    channels.hidden[1].inputs[1].synapses.inputs = 4;
    assert_eq!(channels.check(), Err(NetworkError::Width { layer: 1, expected: 3, found: 4 }));
    let mut neuron = skipping();
    neuron.hidden[1].neuron = Reference::neuron(AdLif::new(1.0, 5.0, 0.0, 0.0));
    assert!(matches!(neuron.check(), Err(NetworkError::Neuron { layer: 1, index: 0, .. })));
}
