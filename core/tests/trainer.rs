//! The trainer reproduces the optimizer steps of the reference, and keeps its own laws.
#![cfg(feature = "alloc")]

mod states;

use polychron_core::backend::{Event, HasKernel, HasNeuron};
use polychron_core::delay::{AnyKernel, Rounding};
use polychron_core::init::DelayInit;
use polychron_core::loss::{
    BinaryCrossEntropy, CrossEntropy, Loss, MeanSquare, Objective, RatePenalty, objectives,
};
use polychron_core::neuron::{AdLif, AnyNeuron, CubaLif, ErasedNeuron, Li, Lif, Plif};
use polychron_core::norm::{BatchNorm, ValidSteps};
use polychron_core::optim::{Optimizer, Sgd, Step};
use polychron_core::reference::Reference;
use polychron_core::rng::Rng;
use polychron_core::schedule::Schedule;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::AnySurrogate;
use polychron_core::train::{
    Batch, Delays, Group, Input, Layer, NetworkError, Readout, Recipe, State, Tensor, TrainError,
    Trainer,
};
use safetensors::SafeTensors;

type Net = polychron_core::train::Network<Reference<f64>>;
type Golden = Trainer<Reference<f64>>;

fn network(sizes: &[usize], taps: usize, dropout: f64) -> Net {
    let tau = 1.5000000001;
    let pairs: Vec<_> = sizes.windows(2).map(|w| Synapses::new(w[0], w[1], taps)).collect();
    let (output, hidden) = pairs.split_last().unwrap();
    let layer = |&synapses: &Synapses| {
        let surrogate = AnySurrogate::from_name("atan", &[("alpha", 5.0)]).unwrap();
        let layer = Layer::new(synapses, AnyKernel::Gauss, Lif::new(tau), surrogate);
        layer.with_norm(BatchNorm::default()).with_dropout(dropout)
    };
    let output = Readout::new(*output, AnyKernel::Gauss, Li::new(tau));
    Net::chain(hidden.iter().map(layer), output)
}

struct File(Vec<u8>);

impl File {
    fn open() -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/train_steps.safetensors");
        Self(std::fs::read(folder).unwrap())
    }

    fn read(&self, name: &str) -> (Vec<usize>, Vec<f64>) {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor(name).unwrap_or_else(|_| panic!("{name}"));
        let eight = tensor.data().chunks_exact(8).map(|b| b.try_into().unwrap());
        let values = match tensor.dtype() {
            safetensors::Dtype::I64 => eight.map(|b| i64::from_le_bytes(b) as f64).collect(),
            _ => eight.map(f64::from_le_bytes).collect(),
        };
        (tensor.shape().to_vec(), values)
    }
}

/// Our names of the parameters, and the names in the file. Positions `P` become delays `lim - P`.
fn names() -> Vec<(String, String)> {
    let mut names = Vec::new();
    for l in 0..3 {
        let ours = if l == 2 { "output".to_string() } else { format!("hidden.{l}") };
        for (name, theirs) in
            [("weight", "W"), ("delay", "P"), ("gamma", "gamma"), ("beta", "beta")]
        {
            if l < 2 || name == "weight" || name == "delay" {
                names.push((format!("{ours}.{name}"), format!("l{l}.{theirs}")));
            }
        }
    }
    names
}

fn parameters(file: &File, prefix: &str) -> Vec<Tensor<f64>> {
    let mut tensors = Vec::new();
    for (ours, theirs) in names() {
        let (shape, mut values) = file.read(&format!("{prefix}.{theirs}"));
        if ours.ends_with("delay") {
            values.iter_mut().for_each(|p| *p = 2.0 - *p);
        }
        tensors.push(Tensor { name: ours, shape, values });
    }
    tensors
}

fn worst(found: &[Tensor<f64>], expected: &[Tensor<f64>]) -> f64 {
    let mut worst = 0.0f64;
    for e in expected {
        let f = found.iter().find(|f| f.name == e.name).unwrap_or_else(|| panic!("{}", e.name));
        assert_eq!(f.shape, e.shape, "{}", e.name);
        let scale = e.values.iter().fold(1e-300f64, |m, v| m.max(v.abs()));
        for (a, b) in f.values.iter().zip(&e.values) {
            worst = worst.max((a - b).abs() / scale);
        }
    }
    worst
}

#[test]
fn the_trainer_follows_the_eight_reference_steps() {
    let file = File::open();
    let recipe = Recipe::paper(12);
    let mut trainer: Golden =
        Trainer::new(Reference::new(), network(&[10, 8, 8, 4], 5, 0.0), recipe, 0).unwrap();
    let mut start = trainer.state().unwrap();
    for tensor in parameters(&file, "init") {
        let at = start.tensors.iter().position(|t| t.name == tensor.name).unwrap();
        start.tensors[at] = tensor;
    }
    trainer.restore(&start).unwrap();
    for n in 0..8 {
        let (shape, x) = file.read(&format!("step{n}.x"));
        let labels = file.read(&format!("step{n}.labels")).1;
        let shape = Shape::new(shape[0], shape[1], shape[2]);
        let mut targets = vec![0.0; shape.batch * 4];
        for (b, &label) in labels.iter().enumerate() {
            targets[b * 4 + label as usize] = 1.0;
        }
        let report = trainer
            .step(&Batch { shape, x: Input::Dense(&x), targets: Some(&targets), lengths: None })
            .unwrap();
        let loss = file.read(&format!("step{n}.loss")).1[0];
        assert!((report.loss - loss).abs() <= 1e-10 * loss.abs(), "{n}: {} {loss}", report.loss);
        let mut gradients = parameters(&file, &format!("step{n}.d"));
        for g in gradients.iter_mut().filter(|g| g.name.ends_with("delay")) {
            g.values.iter_mut().for_each(|v| *v -= 2.0);
        }
        let error = worst(&trainer.gradients().unwrap(), &gradients);
        assert!(error <= 1e-9, "gradients of step {n}: {error:e}");
        let after = parameters(&file, &format!("step{n}.after"));
        let error = worst(&trainer.state().unwrap().tensors, &after);
        assert!(error <= 1e-9, "parameters after step {n}: {error:e}");
        if n % 2 == 1 {
            trainer.finish_epoch().unwrap();
        }
    }
}

fn small(seed: u64) -> Golden {
    Trainer::new(Reference::new(), network(&[6, 7, 3], 5, 0.4), Recipe::paper(8), seed).unwrap()
}

struct Data {
    x: Vec<f64>,
    targets: Vec<f64>,
    lengths: Vec<usize>,
    shape: Shape,
}

impl Data {
    fn new(seed: u64) -> Self {
        let shape = Shape::new(9, 4, 6);
        let rng = Rng::new(seed, 77);
        let x = (0..shape.len() as u64).map(|n| f64::from(rng.below(n, 10) < 3)).collect();
        let mut targets = vec![0.0; 12];
        (0..4).for_each(|b| targets[3 * b + b % 3] = 1.0);
        Self { x, targets, lengths: vec![9, 5, 1, 7], shape }
    }

    fn batch(&self) -> Batch<'_, f64> {
        let lengths = Some(self.lengths.as_slice());
        Batch { shape: self.shape, x: Input::Dense(&self.x), targets: Some(&self.targets), lengths }
    }
}

#[test]
fn a_restored_state_goes_on_bit_for_bit() {
    let data = [Data::new(1), Data::new(2)];
    let mut straight = small(5);
    for _ in 0..2 {
        for d in &data {
            straight.step(&d.batch()).unwrap();
        }
        straight.finish_epoch().unwrap();
    }
    let halfway: State<f64> = straight.state().unwrap();
    let mut resumed = small(99);
    resumed.restore(&halfway).unwrap();
    for trainer in [&mut straight, &mut resumed] {
        for d in &data {
            trainer.step(&d.batch()).unwrap();
        }
        trainer.finish_epoch().unwrap();
    }
    assert_eq!(straight.state().unwrap(), resumed.state().unwrap());
}

/// The trainer of [`small`] with other kernels, in epochs in which delays are rounded.
fn rounded(kernel: AnyKernel, rounding: Rounding, rounded_epochs: usize) -> Golden {
    let mut network = Net { rounding, ..network(&[6, 7, 3], 5, 0.3) };
    for input in [&mut network.hidden[0].inputs[0], &mut network.output.inputs[0]] {
        input.kernel = Reference::kernel(kernel);
    }
    let recipe = Recipe { rounded_epochs, ..Recipe::paper(4) };
    Trainer::new(Reference::new(), network, recipe, 1).unwrap()
}

#[test]
fn rounded_epochs_compute_with_the_kernel_of_the_rounding() {
    for (rounding, kernel) in
        [(Rounding::Split, AnyKernel::Linear), (Rounding::Nearest, AnyKernel::Discrete)]
    {
        let data = Data::new(3);
        let mut found = rounded(AnyKernel::Gauss, rounding, 4);
        let mut expected = rounded(kernel, rounding, 0);
        for _ in 0..3 {
            assert_eq!(found.step(&data.batch()).unwrap(), expected.step(&data.batch()).unwrap());
            assert_eq!(found.gradients().unwrap(), expected.gradients().unwrap());
            assert_eq!(found.state().unwrap(), expected.state().unwrap());
        }
        let model = found.model();
        let scores = model.evaluate(&data.batch(), Delays::Rounded).unwrap();
        assert_eq!(scores, expected.model().evaluate(&data.batch(), Delays::Spread).unwrap());
        assert_ne!(scores, model.evaluate(&data.batch(), Delays::Spread).unwrap());
    }
}

#[test]
fn delays_are_fixed_once_they_are_rounded_to_the_nearest_step() {
    let delays = |trainer: &Golden| -> Vec<_> {
        let tensors = trainer.state().unwrap().tensors;
        tensors.into_iter().filter(|tensor| tensor.name.ends_with(".delay")).collect()
    };
    for (rounding, fixed) in [(Rounding::Nearest, true), (Rounding::Split, false)] {
        let data = Data::new(3);
        let mut trainer = rounded(AnyKernel::Gauss, rounding, 2);
        for epoch in 0..4 {
            let before = delays(&trainer);
            trainer.step(&data.batch()).unwrap();
            assert_eq!(delays(&trainer) == before, fixed && epoch >= 2, "{rounding:?} {epoch}");
            trainer.finish_epoch().unwrap();
        }
    }
}

#[test]
fn training_resumes_bit_for_bit_into_the_rounded_epochs() {
    let data = Data::new(3);
    let mut trainer = rounded(AnyKernel::Gauss, Rounding::Split, 2);
    let mut states = Vec::new();
    for _ in 0..4 {
        trainer.step(&data.batch()).unwrap();
        trainer.finish_epoch().unwrap();
        states.push(trainer.state().unwrap());
    }
    for start in 0..3 {
        let mut trainer = rounded(AnyKernel::Gauss, Rounding::Split, 2);
        trainer.restore(&states[start]).unwrap();
        for state in &states[start + 1..] {
            trainer.step(&data.batch()).unwrap();
            trainer.finish_epoch().unwrap();
            assert_eq!(trainer.state().unwrap(), *state);
        }
    }
}

#[test]
fn training_lowers_the_loss() {
    let data = Data::new(3);
    let mut trainer = small(1);
    let first = trainer.step(&data.batch()).unwrap().loss;
    for _ in 0..30 {
        trainer.step(&data.batch()).unwrap();
    }
    let (_, last) = trainer.evaluate(&data.batch()).unwrap();
    assert!(last < first, "{first} {last}");
}

#[test]
fn an_input_that_is_not_a_number_stops_before_the_step() {
    let mut data = Data::new(3);
    let mut trainer = small(1);
    let before = trainer.state().unwrap();
    data.x[0] = f64::NAN;
    let error = trainer.step(&data.batch()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the training diverged in epoch 0, step 0: \
         a loss, statistic, gradient, parameter or moment is not finite"
    );
    let after = trainer.state().unwrap();
    for (b, a) in before.tensors.iter().zip(&after.tensors) {
        if !b.name.contains("running") {
            assert_eq!(b, a);
        }
    }
}

#[test]
fn a_network_without_norms_stops_too_when_it_diverges() {
    let mut plain = network(&[6, 7, 3], 5, 0.0);
    plain.hidden[0].norm = None;
    let mut data = Data::new(3);
    let recipe = Recipe { rate: 1e300, ..Recipe::paper(8) };
    let mut trainer: Golden = Trainer::new(Reference::new(), plain, recipe, 1).unwrap();
    let stopped = (0..8).find_map(|_| trainer.step(&data.batch()).err());
    assert!(matches!(stopped, Some(TrainError::Diverged { .. })), "{stopped:?}");
    data.x[0] = f64::NAN;
    let mut trainer = small(1);
    assert!(trainer.step(&data.batch()).is_err());
}

#[test]
fn an_infinite_square_stops_the_training() {
    let mut steep = Data::new(3);
    steep.targets.iter_mut().for_each(|y| *y *= 1e200);
    let mut loud = Data::new(3);
    loud.x.iter_mut().for_each(|x| *x *= 1e200);
    for (data, part) in [(steep, "adam.second.output.weight"), (loud, "hidden.0.running_var")] {
        let mut trainer = small(1);
        let stopped = trainer.step(&data.batch());
        assert!(matches!(stopped, Err(TrainError::Diverged { .. })), "{part}: {stopped:?}");
        let state = trainer.state().unwrap();
        let tensor = state.tensors.iter().find(|tensor| tensor.name == part).unwrap();
        assert!(tensor.values.contains(&f64::INFINITY), "{part}");
    }
}

#[test]
fn networks_that_are_too_large_are_refused() {
    let huge = network(&[6, usize::MAX / 2, 3], 5, 0.0);
    assert_eq!(huge.check(), Err(NetworkError::TooLarge { layer: 0 }));
    let wide = network(&[1 << 15, 1 << 15, 3], 5, 0.0);
    assert_eq!(wide.check(), Err(NetworkError::TooLarge { layer: 0 }));
}

#[test]
fn masked_padding_changes_nothing() {
    let data = Data::new(4);
    let mut long = Data::new(4);
    long.shape.steps += 6;
    long.x.resize(long.shape.len(), 0.0);
    let (mut a, mut b) = (small(2), small(2));
    let (first, second) = (a.step(&data.batch()).unwrap(), b.step(&long.batch()).unwrap());
    assert!((first.loss - second.loss).abs() < 1e-12, "{first:?} {second:?}");
    assert!(worst(&a.gradients().unwrap(), &b.gradients().unwrap()) < 1e-10);
}

#[test]
fn invalid_networks_are_named() {
    let mut broken = network(&[6, 7, 3], 5, 0.0);
    broken.output.inputs[0].synapses.inputs = 9;
    assert_eq!(broken.check(), Err(NetworkError::Width { layer: 1, expected: 7, found: 9 }));
    let dropped = network(&[6, 7, 3], 5, 1.0);
    assert_eq!(dropped.check().unwrap_err().to_string(), "layer 0: dropout 1 is not in [0, 1)");
    let empty = network(&[6, 0, 3], 5, 0.0);
    assert_eq!(empty.check().unwrap_err().to_string(), "layer 0: outputs is 0");
}

#[test]
fn invalid_neuron_parameters_are_named() {
    let (lif, edge) = (Lif::new(2.0), Lif::new(1.0));
    for (neuron, found) in [
        (AnyNeuron::Plif(Plif::new(edge)), Some("0 is inf")),
        (AnyNeuron::Plif(Plif::new(Lif::new(0.5))), Some("0 is NaN")),
        (AnyNeuron::Plif(Plif::new(Lif::integrate_and_fire())), Some("0 is -inf")),
        (AnyNeuron::CubaLif(CubaLif::new(lif, 1.0)), Some("0 is inf")),
        (AnyNeuron::CubaLif(CubaLif::new(edge, 3.0)), Some("1 is inf")),
        (AnyNeuron::AdLif(AdLif::new(2.0, 1.0, 0.1, 0.1)), Some("1 is inf")),
        (AnyNeuron::AdLif(AdLif::new(2.0, 3.0, 0.1, 0.1)), None),
        (AnyNeuron::Lif(edge), None),
    ] {
        let mut network = network(&[6, 7, 3], 5, 0.0);
        network.hidden[0].neuron = Reference::neuron(neuron);
        let error = network.check().err().map(|e| e.to_string());
        let expected = found.map(|found| {
            format!(
                "layer 0: raw neuron parameter {found}; a learned time constant is above 1 step"
            )
        });
        assert_eq!(error, expected, "{neuron:?}");
    }
}

#[test]
fn initial_delays_are_within_the_kernel() {
    for init in [DelayInit::Uniform, DelayInit::Paper, DelayInit::Zero] {
        let recipe = Recipe { delays: init, ..Recipe::paper(4) };
        let trainer: Golden =
            Trainer::new(Reference::new(), network(&[40, 30, 3], 5, 0.0), recipe, 3).unwrap();
        let tensors = trainer.model().tensors().unwrap();
        let delays = &tensors.iter().find(|t| t.name == "hidden.0.delay").unwrap().values;
        assert!(delays.iter().all(|d| (0.0..=4.0).contains(d)));
        let longest = delays.iter().filter(|&&d| d == 4.0).count() as f64 / delays.len() as f64;
        let expected = if init == DelayInit::Paper { 0.2 } else { 0.0 };
        assert!((longest - expected).abs() < 0.04, "{init:?}: {longest}");
    }
}

#[test]
fn gradient_descent_follows_pytorch() {
    // torch.optim.SGD([p], lr=0.1, momentum=0.9, weight_decay=0.01)
    let sgd = Optimizer::Sgd(Sgd { momentum: 0.9 });
    let step = Step { l2: 0.01, ..Step::new(sgd, 0.1, 1) };
    let (mut p, mut moment) = ([0.5f64, -1.25, 2.0], [0.0; 3]);
    for (gradient, expected) in [
        ([1.0, -0.5, 0.25], [0.3995, -1.19875, 1.973]),
        ([0.3, 0.7, -2.0], [0.2786505, -1.22142625, 2.146727]),
        ([-1.0, 0.1, 0.0], [0.2696072995, -1.25061344875, 2.300934573]),
    ] {
        step.update(&gradient, &mut p, &mut moment, &mut [0.0; 3]);
        for (found, expected) in p.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-15, "{found} for {expected}");
        }
    }
}

fn trainer_of(recipe: Recipe) -> Golden {
    Trainer::new(Reference::new(), network(&[6, 7, 3], 5, 0.0), recipe, 1).unwrap()
}

#[test]
fn gradient_descent_learns_and_resumes_bit_for_bit() {
    let data = Data::new(3);
    let recipe = Recipe {
        optimizer: Optimizer::Sgd(Sgd { momentum: 0.9 }),
        schedule: Schedule::Cosine,
        rate: 0.05,
        delay_rate: Some(0.5),
        ..Recipe::paper(30)
    };
    let mut straight = trainer_of(recipe);
    let first = straight.step(&data.batch()).unwrap().loss;
    let mut resumed = trainer_of(recipe);
    resumed.restore(&straight.state().unwrap()).unwrap();
    for _ in 0..20 {
        for trainer in [&mut straight, &mut resumed] {
            trainer.step(&data.batch()).unwrap();
            trainer.finish_epoch().unwrap();
        }
    }
    assert_eq!(straight.state().unwrap(), resumed.state().unwrap());
    let tensors = straight.model().tensors().unwrap();
    for tensor in tensors.iter().filter(|t| t.name.ends_with(".delay")) {
        assert!(tensor.values.iter().all(|d| (0.0..=4.0).contains(d)));
    }
    assert!(straight.step(&data.batch()).unwrap().loss < 0.8 * first);
}

#[test]
fn clipped_gradients_keep_their_direction() {
    let data = Data::new(3);
    let gradients = |clip| {
        let mut trainer = trainer_of(Recipe { clip, ..Recipe::paper(8) });
        trainer.step(&data.batch()).unwrap();
        let mut gradients = trainer.gradients().unwrap();
        gradients.retain(|tensor| !tensor.name.ends_with(".sigma"));
        gradients.into_iter().flat_map(|tensor| tensor.values).collect::<Vec<_>>()
    };
    let norm = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
    let (whole, short) = (gradients(None), gradients(Some(0.01)));
    let factor = 0.01 / (norm(&whole) + 1e-6);
    assert!(factor < 0.5, "{factor}");
    for (found, expected) in short.iter().zip(&whole) {
        assert!((found - factor * expected).abs() <= 1e-15, "{found} {expected}");
    }
    assert_eq!(gradients(Some(1e3)), whole);
}

#[test]
fn the_rate_penalty_equals_its_difference_quotients() {
    let (shape, penalty) = (Shape::new(4, 2, 3), RatePenalty { weight: 0.7, low: 0.3, high: 0.6 });
    let rng = Rng::new(1, 2);
    let mut spikes: Vec<f64> = (0..shape.len() as u64).map(|n| rng.uniform_f64(n)).collect();
    for t in 0..4 {
        for b in 0..2 {
            spikes[shape.at(t, b, 1)] = 0.1;
            spikes[shape.at(t, b, 2)] += 0.5;
        }
    }
    for lengths in [None, Some(&[3, 1][..])] {
        let valid = ValidSteps { lengths, padding: 1 };
        let value = |spikes: &[f64]| {
            penalty.add_gradient(valid, shape, spikes, &mut vec![0.0; shape.len()])
        };
        let mut gradient = vec![0.5; shape.len()];
        penalty.add_gradient(valid, shape, &spikes, &mut gradient);
        assert!(value(&spikes) > 0.01);
        for n in 0..shape.len() {
            let step = 1e-6;
            let mut at = [spikes.clone(), spikes.clone()];
            at[0][n] += step;
            at[1][n] -= step;
            let quotient = (value(&at[0]) - value(&at[1])) / (2.0 * step);
            let found = gradient[n] - 0.5;
            assert!((quotient - found).abs() < 1e-8, "{n}: {quotient} {found}");
        }
    }
}

#[test]
fn a_rate_penalty_moves_the_rates_into_its_range() {
    let data = Data::new(3);
    let rate = |trainer: &Golden| {
        let layer = &trainer.spikes(&data.batch()).unwrap()[0];
        layer.values.iter().sum::<f64>() / layer.values.len() as f64
    };
    let recipe = Recipe { rate: 0.02, ..Recipe::paper(40) };
    let rate_penalty = Some(RatePenalty { weight: 10.0, low: 0.0, high: 0.02 });
    let mut trainer = trainer_of(Recipe { rate_penalty, ..recipe });
    let mut plain = trainer_of(recipe);
    let (with, without) =
        (trainer.step(&data.batch()).unwrap().loss, plain.step(&data.batch()).unwrap().loss);
    assert!(with > without, "{with} {without}");
    for _ in 0..40 {
        for trainer in [&mut trainer, &mut plain] {
            trainer.step(&data.batch()).unwrap();
            trainer.finish_epoch().unwrap();
        }
    }
    assert!(rate(&trainer) < 0.6 * rate(&plain), "{} {}", rate(&trainer), rate(&plain));
}

#[test]
fn rates_follow_their_schedules() {
    let recipe = Recipe {
        rate: 1.0,
        schedule: Schedule::Step { epochs: 3, factor: 0.5 },
        delay_rate: Some(2.0),
        delay_schedule: Schedule::Constant,
        neuron_rate: Some(4.0),
        warmup: 3,
        ..Recipe::paper(9)
    };
    let rate = |group, epoch| recipe.learning(group, epoch).unwrap().rate;
    let rates: Vec<_> = (0..9).map(|epoch| rate(Group::Weights, epoch)).collect();
    assert_eq!(rates, [0.25, 0.5, 0.75, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]);
    let delays: Vec<_> = (0..5).map(|epoch| rate(Group::Delays, epoch)).collect();
    assert_eq!(delays, [0.5, 1.0, 1.5, 2.0, 2.0]);
    let neurons: Vec<_> = (0..5).map(|epoch| rate(Group::Neurons, epoch)).collect();
    assert_eq!(neurons, [1.0, 2.0, 3.0, 2.0, 2.0]);
    let plain = Recipe { neuron_rate: None, ..recipe };
    assert_eq!(plain.learning(Group::Neurons, 1), recipe.learning(Group::Norms, 1));
    let known = |name: &&str| Schedule::from_name(name, 3, 0.5).is_some();
    assert!(Schedule::NAMES.iter().all(known) && Schedule::from_name("none", 3, 0.5).is_none());
    let paper = Recipe::paper(9);
    let learning = |group| paper.learning(group, 0);
    assert!((learning(Group::Weights).unwrap().rate - 5e-3 / 25.0).abs() < 1e-15);
    let decays = [Group::Weights, Group::Delays, Group::Norms, Group::Neurons];
    assert_eq!(decays.map(|group| learning(group).unwrap().l2), [1e-5, 0.0, 0.0, 0.0]);
    assert_eq!([Group::Sigma, Group::Statistics].map(learning), [None; 2]);
    assert_eq!(Recipe { delay_rate: None, ..paper }.learning(Group::Delays, 0), None);
    assert_eq!(Recipe { train_neurons: false, ..paper }.learning(Group::Neurons, 0), None);
}

#[test]
fn objectives_equal_their_difference_quotients() {
    let rng = Rng::new(4, 2);
    for (n, (_, objective)) in objectives::<f64>().into_iter().enumerate() {
        let draw = |k: u64| (0..5).map(move |i| rng.fork(k).uniform_f64(i) * 4.0 - 2.0);
        let scores: Vec<f64> = draw(n as u64).collect();
        let target: Vec<f64> = draw(9).map(|y| (y + 2.0) / 4.0).collect();
        let mut gradient = vec![0.0; 5];
        objective.loss(&scores, &target, &mut gradient);
        for i in 0..5 {
            let at = |step: f64| {
                let mut moved = scores.clone();
                moved[i] += step;
                objective.loss(&moved, &target, &mut [0.0; 5])
            };
            let quotient = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((quotient - gradient[i]).abs() < 1e-8, "{objective:?}: {quotient}");
        }
    }
    let loud = [800.0, -800.0];
    let loss = BinaryCrossEntropy.loss(&loud, &[1.0, 0.0], &mut [0.0; 2]);
    assert!((0.0..1e-12).contains(&loss), "{loss}");
}

#[test]
fn the_objective_of_the_paper_trains_as_the_default() {
    let data = Data::new(3);
    let states = [None, Some(&CrossEntropy as &'static dyn Objective<f64>)].map(|objective| {
        let network = Net { objective, ..network(&[6, 7, 3], 5, 0.3) };
        let mut trainer: Golden =
            Trainer::new(Reference::new(), network, Recipe::paper(8), 1).unwrap();
        for _ in 0..3 {
            trainer.step(&data.batch()).unwrap();
        }
        (trainer.evaluate(&data.batch()).unwrap().0, trainer.state().unwrap())
    });
    assert_eq!(states[0], states[1]);
}

#[test]
fn a_network_learns_numbers() {
    let mut data = Data::new(3);
    data.targets.iter_mut().enumerate().for_each(|(n, y)| *y = n as f64 / 4.0 - 1.0);
    let network =
        Net { objective: Some(&MeanSquare), loss: Loss::Mean, ..network(&[6, 7, 3], 5, 0.0) };
    let recipe = Recipe { rate: 0.05, ..Recipe::paper(60) };
    let mut trainer: Golden = Trainer::new(Reference::new(), network, recipe, 1).unwrap();
    let first = trainer.step(&data.batch()).unwrap().loss;
    for _ in 0..60 {
        trainer.step(&data.batch()).unwrap();
        trainer.finish_epoch().unwrap();
    }
    let (scores, loss) = trainer.evaluate(&data.batch()).unwrap();
    let error: f64 = scores.iter().zip(&data.targets).map(|(s, y)| (s - y).powi(2)).sum();
    assert!((error / scores.len() as f64 - loss).abs() < 1e-12);
    assert!(loss < 0.2 * first, "{first} {loss}");
}

#[test]
fn events_train_as_the_dense_input() {
    let mut data = Data::new(3);
    data.x.iter_mut().for_each(|x| *x = if *x > 0.6 { *x } else { 0.0 });
    let mut events = Vec::new();
    for sample in 0..data.shape.batch as u32 {
        for step in 0..data.shape.steps as u32 {
            for channel in 0..data.shape.width as u32 {
                let mut event = Event { sample, step, channel, value: 0.0 };
                event.value = data.x[event.at(data.shape)];
                events.extend((event.value != 0.0).then_some(event));
            }
        }
    }
    let (mut dense, mut sparse) = (small(1), small(1));
    let batch = Batch { x: Input::Events(&events), ..data.batch() };
    assert_eq!(dense.step(&data.batch()).unwrap(), sparse.step(&batch).unwrap());
    assert_eq!(dense.state().unwrap(), sparse.state().unwrap());
    events.swap(0, 1);
    let error = sparse.step(&Batch { x: Input::Events(&events), ..data.batch() }).unwrap_err();
    assert!(error.to_string().contains("event that is out of range or order"), "{error}");
}

fn bounded() -> AdLif<f64> {
    AdLif::new(3.0, 5.0, 0.2, 0.3).with_coupling_bounds((0.19, 0.21), (0.0, 0.9))
}

/// Neurons with parameters, and the number of these.
fn learning() -> [(AnyNeuron<f64>, usize); 3] {
    [
        (AnyNeuron::Plif(Plif::new(Lif::new(2.0))), 1),
        (AnyNeuron::CubaLif(CubaLif::new(Lif::new(2.0), 3.0)), 2),
        (AnyNeuron::AdLif(bounded()), 4),
    ]
}

/// A trainer whose neurons share their parameters or have their own.
fn with_neurons(neuron: AnyNeuron<f64>, per_neuron: bool, recipe: Recipe) -> Golden {
    let mut network = network(&[6, 7, 3], 5, 0.0);
    let hidden = &mut network.hidden[0];
    (hidden.neuron, hidden.per_neuron) = (Reference::neuron(neuron), per_neuron);
    Trainer::new(Reference::new(), network, recipe, 1).unwrap()
}

fn neuron_values(tensors: &[Tensor<f64>]) -> (&[usize], &[f64]) {
    let tensor = tensors.iter().find(|tensor| tensor.name == "hidden.0.neuron").unwrap();
    (&tensor.shape, &tensor.values)
}

#[test]
fn gradients_per_neuron_sum_to_those_of_the_layer() {
    let data = Data::new(3);
    for (neuron, params) in learning() {
        let [one, each] = [false, true].map(|per_neuron| {
            let mut trainer = with_neurons(neuron, per_neuron, Recipe::paper(8));
            let loss = trainer.step(&data.batch()).unwrap().loss;
            (loss, trainer.gradients().unwrap())
        });
        assert_eq!(one.0, each.0);
        let ((_, one), (shape, each)) = (neuron_values(&one.1), neuron_values(&each.1));
        assert_eq!(shape, [params, 7]);
        let sums: Vec<f64> = each.chunks(7).map(|row| row.iter().sum()).collect();
        for (sum, one) in sums.iter().zip(one) {
            assert!(*one != 0.0 && (sum - one).abs() < 1e-12 * one.abs().max(1.0), "{sum} {one}");
        }
        assert_eq!(sums.len(), one.len());
    }
}

#[test]
fn parameters_per_neuron_learn_within_bounds_and_resume_bit_for_bit() {
    let data = Data::new(3);
    let adam = Recipe { neuron_rate: Some(0.05), ..Recipe::paper(8) };
    let sgd = Recipe { optimizer: Optimizer::Sgd(Sgd { momentum: 0.9 }), ..adam };
    for (recipe, (neuron, params)) in
        [adam, sgd].into_iter().flat_map(|recipe| learning().map(|found| (recipe, found)))
    {
        let mut straight = with_neurons(neuron, true, recipe);
        let start = straight.state().unwrap();
        let (shape, values) = neuron_values(&start.tensors);
        assert_eq!(shape, [params, 7]);
        assert!(values.chunks(7).all(|row| row.iter().all(|raw| *raw == row[0])));
        let advance = |trainer: &mut Golden| {
            for _ in 0..3 {
                trainer.step(&data.batch()).unwrap();
                trainer.finish_epoch().unwrap();
            }
        };
        advance(&mut straight);
        let mut resumed = with_neurons(neuron, true, recipe);
        resumed.restore(&straight.state().unwrap()).unwrap();
        advance(&mut straight);
        advance(&mut resumed);
        let state = straight.state().unwrap();
        assert_eq!(state, resumed.state().unwrap());
        let (_, values) = neuron_values(&state.tensors);
        for (p, row) in values.chunks(7).enumerate() {
            assert!(row.iter().any(|raw| *raw != row[0]), "{neuron:?}, parameter {p}: {row:?}");
            if let Some((least, most)) = neuron.param_bounds(p) {
                assert!(row.iter().all(|raw| (least..=most).contains(raw)), "{row:?}");
                let at_edge = row.iter().any(|&raw| raw == least || raw == most);
                assert!(at_edge || p == 3 || recipe != adam, "{row:?}");
            }
        }
    }
}

#[test]
fn neuron_parameters_out_of_bounds_are_named() {
    let recipe = Recipe::paper(4);
    let mut trainer = with_neurons(AnyNeuron::AdLif(bounded()), true, recipe);
    let mut state = trainer.state().unwrap();
    let tensor = state.tensors.iter_mut().find(|t| t.name == "hidden.0.neuron").unwrap();
    tensor.values[0] = 7.0;
    tensor.values[3 * 7 + 2] = 7.0;
    assert_eq!(
        trainer.restore(&state).unwrap_err().to_string(),
        "tensor hidden.0.neuron[23] is 7, not between 0 and 0.9"
    );
    let mut network = network(&[6, 7, 3], 5, 0.0);
    let neuron = bounded().with_coupling_bounds((0.3, 0.5), (0.0, 1.0));
    network.hidden[0].neuron = Reference::neuron(neuron);
    assert_eq!(
        network.check().unwrap_err().to_string(),
        "layer 0: raw neuron parameter 2 is 0.2, not between 0.3 and 0.5"
    );
}
