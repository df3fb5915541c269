//! Biases of layers and of the readout.
#![cfg(feature = "alloc")]

use core::num::NonZeroUsize;
use polychron_core::delay::AnyKernel;
use polychron_core::gradcheck::{STEP, extrapolated};
use polychron_core::loss::Loss;
use polychron_core::neuron::{Li, Lif, Reset};
use polychron_core::norm::BatchNorm;
use polychron_core::reference::Reference;
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::Atan;
use polychron_core::train::{
    Batch, Connection, Delays, Input, Layer, Network, NetworkError, Readout, Recipe, Recurrence,
    Source, State, Trainer,
};

type Cpu = Reference<f64>;
type Net = Network<Cpu>;

/// The last channel is 1 at every step.
const SHAPE: Shape = Shape::new(20, 3, 5);
const NEURONS: usize = 4;
const CLASSES: usize = 2;
/// With the padding of three layers, samples end before the constant channel does.
const LENGTHS: [usize; 3] = [14, 7, 13];
const TARGETS: [f64; 6] = [1.0, 0.0, 0.0, 1.0, 0.5, 0.5];

/// Two hidden layers, the second recurrent, and a readout: with biases, or with connections from
/// the constant channel in their place.
fn network(biased: bool, window: Option<NonZeroUsize>) -> Net {
    let synapses = |inputs, outputs| Synapses { padding: 2, ..Synapses::new(inputs, outputs, 6) };
    let constant = |outputs| {
        let synapses = Synapses { padding: 0, ..Synapses::new(SHAPE.width, outputs, 1) };
        Connection::new(synapses, AnyKernel::Discrete).from(Source::Input).with_fixed_delays()
    };
    let lif = Lif { reset: Reset::Soft, ..Lif::new(2.0) };
    let layer = |inputs| {
        let synapses = synapses(inputs, NEURONS);
        Layer { bias: biased, ..Layer::new(synapses, AnyKernel::Gauss, lif, Atan { alpha: 2.0 }) }
    };
    let recurrence = Recurrence::new(NEURONS, 3, AnyKernel::Gauss);
    let output = synapses(NEURONS, CLASSES);
    let mut hidden = vec![layer(SHAPE.width), layer(NEURONS).with_recurrence(recurrence)];
    let mut output = Readout::new(output, AnyKernel::Gauss, Li::new(3.0));
    output.bias = biased;
    if !biased {
        hidden.iter_mut().for_each(|layer| layer.inputs.push(constant(NEURONS)));
        output.inputs.push(constant(CLASSES));
    }
    Net { window, ..Net::chain(hidden, output) }
}

fn trainer(network: Net) -> Trainer<Cpu> {
    Trainer::new(Cpu::new(), network, Recipe::paper(4), 3).unwrap()
}

/// Spikes, and 1 in the last channel.
fn input() -> Vec<f64> {
    let (rng, last) = (Rng::new(5, 1), SHAPE.width - 1);
    let spike = |n: usize| n % SHAPE.width == last || rng.uniform_f64(n as u64) < 0.3;
    (0..SHAPE.len()).map(|n| f64::from(spike(n))).collect()
}

fn batch(x: &[f64]) -> Batch<'_, f64> {
    let (x, targets) = (Input::Dense(x), Some(&TARGETS[..]));
    Batch { shape: SHAPE, x, targets, lengths: Some(&LENGTHS) }
}

fn values(tensors: &[polychron_core::train::Tensor<f64>], name: &str) -> Vec<f64> {
    let found = tensors.iter().find(|tensor| tensor.name == name);
    found.unwrap_or_else(|| panic!("{name}")).values.clone()
}

fn near(found: &[f64], expected: &[f64]) -> bool {
    found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12)
}

const LAYERS: [&str; 3] = ["hidden.0", "hidden.1", "output"];

#[test]
fn a_bias_is_the_weight_of_an_input_that_is_always_1() {
    let x = input();
    for window in [None, NonZeroUsize::new(6)] {
        let mut own = trainer(network(true, window));
        let mut constant = trainer(network(false, window));
        let (own_state, mut state) = (own.state().unwrap(), constant.state().unwrap());
        for tensor in &mut state.tensors {
            match tensor.name.strip_suffix(".inputs.1.weight") {
                Some(layer) if !tensor.name.starts_with("adam") => {
                    let biases = values(&own_state.tensors, &format!("{layer}.bias"));
                    assert!(biases.iter().all(|bias| bias.abs() > 1e-3), "{biases:?}");
                    for (row, bias) in tensor.values.chunks_mut(SHAPE.width).zip(biases) {
                        row.fill(0.0);
                        row[SHAPE.width - 1] = bias;
                    }
                }
                _ => {}
            }
        }
        constant.restore(&state).unwrap();
        let scores = [&own, &constant]
            .map(|trainer| trainer.model().evaluate(&batch(&x), Delays::Spread).unwrap());
        assert!(near(&scores[0].0, &scores[1].0), "{scores:?}");
        let losses = [&mut own, &mut constant].map(|t| t.step(&batch(&x)).unwrap().loss);
        assert!(near(&losses[..1], &losses[1..]), "{losses:?}");
        let [own, constant] = [&own, &constant].map(|t| t.gradients().unwrap());
        for layer in LAYERS {
            let found = values(&own, &format!("{layer}.bias"));
            let all = values(&constant, &format!("{layer}.inputs.1.weight"));
            let expected: Vec<_> = all.chunks(SHAPE.width).map(|row| row[row.len() - 1]).collect();
            assert!(near(&found, &expected), "{layer}: {found:?} {expected:?}");
            assert!(found.iter().any(|d| d.abs() > 1e-4), "{layer}: {found:?}");
            let name = format!("{layer}.weight");
            assert!(near(&values(&own, &name), &values(&constant, &name)), "{name}");
        }
    }
}

#[test]
fn gradients_by_biases_equal_difference_quotients() {
    let x = input();
    for (name, loss) in Loss::ALL {
        let Net { output, .. } = network(true, None);
        let inputs = vec![Connection::new(Synapses::new(5, CLASSES, 6), AnyKernel::Gauss)];
        let net = Net::chain([], Readout { inputs, ..output });
        let mut trainer = trainer(Net { loss, ..net });
        let state = trainer.state().unwrap();
        trainer.step(&batch(&x)).unwrap();
        let gradient = values(&trainer.gradients().unwrap(), "output.bias");
        let at = state.tensors.iter().position(|t| t.name == "output.bias").unwrap();
        for (n, found) in gradient.into_iter().enumerate() {
            let value = |by: f64| {
                let mut moved = state.clone();
                moved.tensors[at].values[n] += by;
                trainer.restore(&moved).unwrap();
                trainer.model().evaluate(&batch(&x), Delays::Spread).unwrap().1
            };
            let quotient = extrapolated(value, STEP);
            assert!((quotient - found).abs() < 1e-8, "{name}: {quotient} {found}");
            assert!(found.abs() > 1e-4, "{name}: {found}");
        }
    }
}

#[test]
fn biases_start_in_their_range_learn_and_resume() {
    let x = input();
    let mut trainer = trainer(network(true, None));
    let before = trainer.state().unwrap();
    for (layer, [len, fan_in]) in LAYERS.into_iter().zip([[4, 5], [4, 4], [2, 4]]) {
        let (found, bound) = (values(&before.tensors, &format!("{layer}.bias")), fan_in as f64);
        assert_eq!(found.len(), len, "{layer}");
        assert!(found.iter().all(|bias| bias.abs() <= 1.0 / bound.sqrt()), "{layer}: {found:?}");
    }
    let plain = self::trainer(without_biases()).parameters();
    assert_eq!(trainer.parameters() - plain, 2 * NEURONS + CLASSES);
    let mut resumed = self::trainer(network(true, None));
    let states: Vec<State<f64>> = (0..3)
        .map(|_| {
            trainer.step(&batch(&x)).unwrap();
            trainer.state().unwrap()
        })
        .collect();
    resumed.restore(&states[0]).unwrap();
    for state in &states[1..] {
        resumed.step(&batch(&x)).unwrap();
        assert_eq!(resumed.state().unwrap(), *state);
    }
    for layer in LAYERS {
        let name = format!("{layer}.bias");
        assert_ne!(values(&before.tensors, &name), values(&states[0].tensors, &name));
    }
}

fn without_biases() -> Net {
    let mut net = network(true, None);
    net.hidden.iter_mut().for_each(|layer| layer.bias = false);
    net.output.bias = false;
    net
}

#[test]
fn a_norm_and_biases_exclude_each_other() {
    let mut net = network(true, None);
    net.hidden[1].norm = Some(BatchNorm::default());
    let error = net.check().unwrap_err();
    assert_eq!(error, NetworkError::Bias { layer: 1 });
    let text = "layer 1: bias and norm exclude each other; the norm has a bias";
    assert_eq!(error.to_string(), text);
}
