//! A folded network gives the same scores in an engine as in its backend.
#![cfg(feature = "alloc")]

use polychron_core::delay::{AnyKernel, Place, Rounding};
use polychron_core::format::{Input, ModelFile, Scheme};
use polychron_core::infer::{Arithmetic, Engine, HeapState};
use polychron_core::init::DelayInit;
use polychron_core::loss::{Loss, decide};
use polychron_core::neuron::{
    AnyNeuron, ChargeAdjoint, Li, Lif, Neuron, NeuronModel, NeuronVisitor, Plif, Reset,
    ResetAdjoint,
};
use polychron_core::norm::BatchNorm;
use polychron_core::quant::{FoldError, Metadata, fold, quantize};
use polychron_core::reference::Reference;
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::AnySurrogate;
use polychron_core::train::{self, Batch, Delays, Layer, Network, Readout, State};

type Trained = polychron_core::train::Model<Reference<f32>>;

fn neurons() -> [AnyNeuron<f32>; 6] {
    let lif = Lif::new(1.6);
    let resting = Lif { reset: Reset::Hard(-0.3), threshold: 0.8, ..lif };
    [
        AnyNeuron::Lif(lif),
        AnyNeuron::Lif(resting),
        AnyNeuron::Lif(Lif { reset: Reset::Soft, decay_input: true, ..lif }),
        AnyNeuron::Plif(Plif::new(lif)),
        AnyNeuron::Plif(Plif::new(resting)),
        AnyNeuron::Lif(Lif { threshold: 1.5, ..Lif::new(30.0) }),
    ]
}

/// Two hidden layers with random weights and statistics.
fn trained<N: NeuronModel<Real = f32>>(seed: u64, neuron: N, loss: Loss) -> Trained {
    let rounding = Rounding::ALL[seed as usize / 3 % 2].1;
    let rng = Rng::new(seed, 3);
    let mut inputs = 12;
    let mut synapses = |outputs, count| {
        let synapses = Synapses { kernel_count: count, ..Synapses::new(inputs, outputs, 9) };
        inputs = outputs;
        synapses
    };
    let surrogate = AnySurrogate::from_name("atan", &[]).unwrap();
    let kernel = AnyKernel::Gauss;
    let hidden = [(20, 1, true), (15, 2, false)].map(|(outputs, count, norm)| {
        let layer = Layer::new(synapses(outputs, count), kernel, neuron.clone(), surrogate);
        let (norm, bias) = (norm.then(BatchNorm::default), !norm && !seed.is_multiple_of(4));
        Layer { norm, bias, ..layer.with_dropout(0.3) }
    });
    let readout = Li { decay_input: true, ..Li::new(2.0) };
    let mut hidden: Vec<_> = hidden.into();
    let mut output = Readout::new(synapses(4, 1), kernel, readout);
    let inputs = hidden.iter_mut().map(|layer| &mut layer.inputs[0]);
    for (l, connection) in inputs.chain([&mut output.inputs[0]]).enumerate() {
        connection.place = Place::ALL[rng.below(40 + l as u64, 4) as usize].1;
    }
    let network = Network { hidden, output, loss, objective: None, rounding, window: None };
    let mut model = Trained::new(Reference::new(), network, DelayInit::Uniform, seed).unwrap();
    let mut tensors = model.tensors().unwrap();
    for (n, tensor) in tensors.iter_mut().enumerate() {
        let (low, high) = match tensor.name.rsplit('.').next().unwrap() {
            "weight" => (-0.4, 0.6),
            "running_mean" | "beta" | "bias" => (-0.2, 0.4),
            "running_var" => (0.3, 1.5),
            "gamma" => (-0.5, 1.5),
            _ => continue,
        };
        let rng = rng.fork(n as u64);
        for (e, value) in tensor.values.iter_mut().enumerate() {
            *value = low + (high - low) * rng.uniform::<f32>(e as u64);
        }
    }
    model.restore(&State { tensors, epoch: 0, step: 0, seed }).unwrap();
    model
}

fn metadata(input: Input) -> Metadata {
    Metadata { tick_us: 1000, input, labels: Vec::new() }
}

/// Input `[T, 1, 12]` of small counts.
fn input(seed: u64, steps: usize, most: u32) -> Vec<f32> {
    let rng = Rng::new(seed, 9);
    let draw = |n| if rng.below(n, 5) == 0 { 1 + rng.below(n + (1 << 40), most) } else { 0 };
    (0..12 * steps as u64).map(|n| draw(n) as f32).collect()
}

fn scores<W: Arithmetic<Number: Into<f64>>>(file: &[u8], x: &[f32]) -> Vec<f64> {
    let model = ModelFile::<W>::parse(file).unwrap();
    let mut state = HeapState::new(&model);
    let mut engine = Engine::new(&model, &mut state).unwrap();
    for tick in x.chunks(12) {
        let values: Vec<i8> = tick.iter().map(|&x| x as i8).collect();
        engine.step_values(&values).unwrap();
    }
    engine.finish();
    engine.scores().iter().map(|&word| W::number(word).into()).collect()
}

#[test]
fn an_engine_gives_the_scores_of_the_network() {
    let (mut right, mut all) = (0, 0);
    for seed in 0..48 {
        let loss = Loss::ALL[seed as usize % 4].1;
        let model = trained(seed, neurons()[seed as usize % 6], loss);
        let (kind, most) = if seed % 2 == 0 { (Input::Spikes, 1) } else { (Input::Values, 3) };
        let steps = 50;
        let x = input(seed, steps, most);
        let batch = Batch {
            shape: Shape::new(steps, 1, 12),
            x: train::Input::Dense(&x),
            targets: None,
            lengths: None,
        };
        let (expected, _) = model.evaluate(&batch, Delays::Rounded).unwrap();
        let mut spec = fold(&model, metadata(kind)).unwrap();
        // A ring holds one synapse per pair of neurons.
        let one = model.network().rounding == Rounding::Nearest;
        let groups = Scheme::Groups { list: 3 };
        for scheme in [groups, if one { Scheme::Ring { list: 3 } } else { groups }] {
            spec.layers[0].scheme = scheme;
            spec.layers[2].scheme = scheme;
            let found = scores::<f32>(&spec.to_bytes().unwrap(), &x);
            for (found, &expected) in found.iter().zip(&expected) {
                let steps = if loss == Loss::Mean { (steps + 12) as f32 } else { 1.0 };
                let error = (found - f64::from(expected * steps)).abs();
                assert!(error < 1e-3 * (1.0 + found.abs()), "{seed}: {found} for {expected}");
            }
        }
        let whole = scores::<i8>(&quantize(&spec).unwrap().to_bytes().unwrap(), &x);
        let best = (0..4).max_by(|&a, &b| whole[a].total_cmp(&whole[b])).unwrap();
        right += usize::from(best == decide(&expected));
        all += 1;
    }
    assert!(10 * right >= 8 * all, "{right} of {all} decisions stay in eight bits");
}

#[test]
fn neurons_that_are_no_linear_membrane_are_refused() {
    let linear = |neuron: &AnyNeuron<f32>| neuron.visit(Linear);
    let others: Vec<_> = AnyNeuron::examples().filter(|(_, n)| !linear(n)).collect();
    assert!(others.iter().any(|(_, neuron)| matches!(neuron, AnyNeuron::AdLif(_))));
    for (_, neuron) in others {
        let error =
            fold(&trained(1, neuron, Loss::SoftmaxSum), metadata(Input::Spikes)).unwrap_err();
        assert_eq!(error, FoldError::Neuron { layer: 0 });
    }
}

/// Whether a neuron says that it is a linear membrane.
struct Linear;

impl NeuronVisitor<f32> for Linear {
    type Output = bool;

    fn visit<N: Neuron<Real = f32>>(self, neuron: &N) -> bool {
        neuron.linear_membrane().is_some()
    }
}

/// A LIF whose membrane stays above a floor: linear near its rest, but not everywhere.
#[derive(Clone, Copy, Debug)]
struct Floored(Lif<f32>);

const FLOOR: f32 = -5.0;

impl Neuron for Floored {
    type Real = f32;
    type State = [f32; 1];
    type Params = [f32; 0];

    fn fill_state(x: f32) -> [f32; 1] {
        [x]
    }
    fn fill_params(_: f32) -> [f32; 0] {
        []
    }
    fn params(&self) -> [f32; 0] {
        []
    }
    fn with_params(&self, _: [f32; 0]) -> Self {
        *self
    }
    fn rest(&self) -> [f32; 1] {
        self.0.rest()
    }
    fn charge(&self, v: [f32; 1], x: f32) -> [f32; 1] {
        self.0.charge(v, x).map(|v| v.max(FLOOR))
    }
    fn charge_adjoint(
        &self,
        v: [f32; 1],
        x: f32,
        d: [f32; 1],
    ) -> ChargeAdjoint<[f32; 1], [f32; 0], f32> {
        let open = if self.0.charge(v, x)[0] > FLOOR { 1.0 } else { 0.0 };
        self.0.charge_adjoint(v, x, d.map(|d| d * open))
    }
    fn excess(&self, charged: [f32; 1]) -> f32 {
        self.0.excess(charged)
    }
    fn reset(&self, charged: [f32; 1], s: f32) -> [f32; 1] {
        self.0.reset(charged, s)
    }
    fn reset_adjoint(
        &self,
        charged: [f32; 1],
        s: f32,
        d: [f32; 1],
    ) -> ResetAdjoint<[f32; 1], [f32; 0], f32> {
        self.0.reset_adjoint(charged, s, d)
    }
    fn detached(&self) -> bool {
        self.0.detached()
    }
}

#[test]
fn a_neuron_that_is_linear_near_its_rest_only_is_refused() {
    let model = trained(1, Floored(Lif::new(1.6)), Loss::SoftmaxSum);
    let error = fold(&model, metadata(Input::Spikes)).unwrap_err();
    assert_eq!(error, FoldError::Neuron { layer: 0 });
    assert_eq!(
        error.to_string(),
        "layer 0: a model file holds leaky integrate-and-fire neurons, these are others"
    );
}

#[test]
fn neurons_with_different_time_constants_are_refused() {
    let shared = trained(1, neurons()[3], Loss::SoftmaxSum);
    let mut network = shared.network().clone();
    network.hidden[0].per_neuron = true;
    let mut model = Trained::new(Reference::new(), network, DelayInit::Uniform, 1).unwrap();
    let mut state = State { tensors: shared.tensors().unwrap(), epoch: 0, step: 0, seed: 1 };
    let at = state.tensors.iter().position(|t| t.name == "hidden.0.neuron").unwrap();
    let raw = state.tensors[at].values[0];
    (state.tensors[at].shape, state.tensors[at].values) = (vec![1, 20], vec![raw; 20]);
    model.restore(&state).unwrap();
    let file =
        |model: &Trained| fold(model, metadata(Input::Spikes)).map(|spec| spec.to_bytes().unwrap());
    assert_eq!(file(&model).unwrap(), file(&shared).unwrap());
    state.tensors[at].values[7] += 0.1;
    model.restore(&state).unwrap();
    let error = file(&model).unwrap_err();
    assert_eq!(error, FoldError::Decays { layer: 0 });
    assert_eq!(
        error.to_string(),
        "layer 0: the neurons have different time constants; a model file holds one time constant \
         a layer"
    );
}

struct LinearLaw;

impl NeuronVisitor<f32> for LinearLaw {
    type Output = ();

    /// A linear membrane says exactly what `charge`, `excess` and `reset` do.
    fn visit<N: Neuron<Real = f32>>(self, neuron: &N) {
        let linear = neuron.linear_membrane().unwrap();
        let state = |v: f32| N::fill_state(neuron.rest().as_ref()[0] + v);
        let counted = |state: N::State| state.as_ref()[0] - neuron.rest().as_ref()[0];
        let near = |a: f32, b: f32| assert!((a - b).abs() < 1e-5 * (1.0 + a.abs()), "{a} {b}");
        let rng = Rng::new(8, 0);
        for n in 0..200 {
            let [v, x] = [2 * n, 2 * n + 1].map(|n| 20.0 * rng.uniform::<f32>(n) - 10.0);
            let charged = neuron.charge(state(v), x);
            let h = linear.decay * v + linear.input_gain * x;
            near(counted(charged), h);
            near(neuron.excess(charged), h - linear.threshold);
            let after = if linear.reset == Reset::Soft { h - linear.threshold } else { 0.0 };
            near(counted(neuron.reset(charged, 1.0)), after);
        }
    }
}

#[test]
fn a_linear_membrane_is_what_the_neuron_does() {
    let examples = AnyNeuron::examples().map(|(_, neuron)| neuron);
    for neuron in neurons().into_iter().chain(examples.filter(|neuron| neuron.visit(Linear))) {
        neuron.visit(LinearLaw);
    }
}

#[test]
fn neurons_without_decay_fit_single_precision_only() {
    let model = trained(1, AnyNeuron::Lif(Lif::integrate_and_fire()), Loss::SoftmaxSum);
    let spec = fold(&model, metadata(Input::Spikes)).unwrap();
    spec.to_bytes().unwrap();
    let error = quantize(&spec).unwrap_err().to_string();
    assert!(error.starts_with("layer 0: sums do not fit 32 bits"), "{error}");
}

#[test]
fn weights_that_are_too_large_are_named() {
    let mut spec =
        fold(&trained(1, neurons()[0], Loss::SoftmaxSum), metadata(Input::Spikes)).unwrap();
    spec.layers[2].synapses.iter_mut().for_each(|s| s.weight *= 1e9);
    let error = quantize(&spec).unwrap_err().to_string();
    assert!(error.starts_with("layer 2: scores do not fit 32 bits"), "{error}");
    spec.layers[2].synapses[0].weight = f32::NAN;
    let error = quantize(&spec).unwrap_err().to_string();
    assert!(error.starts_with("layer 2: weight: NaN"), "{error}");
}
