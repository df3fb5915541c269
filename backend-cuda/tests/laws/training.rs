//! Training follows the CPU backend, and failures of the device are errors. The tests run on the
//! emulator and, if there is one, on the GPU.

use polychron_core::backend::Backend;
use polychron_core::conformance::Conforming;
use polychron_core::delay::{AnyKernel, Place};
use polychron_core::loss::{Loss, MeanSquare, RatePenalty};
use polychron_core::neuron::{AnyNeuron, Li, Lif, Plif};
use polychron_core::norm::{BatchNorm, ValidSteps};
use polychron_core::num::Real;
use polychron_core::optim::{Optimizer, Sgd, Step};
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::AnySurrogate;
use polychron_core::train::{
    Batch, Connection, Delays, Input, Layer, Network, Readout, Recipe, Recurrence, Source, State,
    TrainError, Trainer,
};
use polychron_cpu::{Cpu, Lanes};
use polychron_cuda::{Cuda, Emulated, Error, Number};
use polychron_datasets::digits;

const BATCH: usize = 6;
const WIDTH: usize = 12;

/// A small network as in the paper; the second layer learns its leak.
fn network<R: Real, B: Conforming<Real = R>>() -> Network<B> {
    let kernel = AnyKernel::Gauss;
    let lif = Lif::new(R::of(2.0));
    let neurons = [AnyNeuron::Lif(lif), AnyNeuron::Plif(Plif::new(lif))];
    let hidden = neurons.into_iter().zip([48, WIDTH]).map(|(neuron, inputs)| {
        let surrogate = AnySurrogate::from_name("atan", &[("alpha", 5.0)]).unwrap();
        Layer::new(Synapses::new(inputs, WIDTH, 9), kernel, neuron, surrogate)
            .with_norm(BatchNorm::default())
            .with_dropout(0.25)
    });
    let output = Readout::new(Synapses::new(WIDTH, 10, 9), kernel, Li::new(R::of(2.0)));
    Network::chain(hidden, output)
}

/// The same with connections that skip a layer, other kernels, delays of axons and dendrites,
/// a recurrent layer, an adaptive neuron with parameters per neuron, and another loss.
fn graph<R: Real, B: Conforming<Real = R>>() -> Network<B> {
    let mut network = network();
    let input = Connection::new(Synapses::new(48, WIDTH, 5), AnyKernel::Max).from(Source::Input);
    network.hidden[1].inputs.push(input.at(Place::Axonal));
    let adaptive = AnyNeuron::from_name("se-adlif", &[], 1.0).unwrap();
    network.hidden[1].neuron = B::neuron(adaptive);
    network.hidden[1].per_neuron = true;
    let recurrence = Recurrence::new(WIDTH, 4, AnyKernel::Gauss).with_dropout(0.25);
    network.hidden[0].recurrence = Some(recurrence);
    let first = Connection::new(Synapses::new(WIDTH, 10, 7), AnyKernel::Linear);
    network.output.inputs.push(first.from(Source::Layer(0)).at(Place::Dendritic));
    Network { objective: Some(&MeanSquare), ..network }
}

/// More recurrent neurons than a block has threads.
fn wide<R: Real, B: Conforming<Real = R>>() -> Network<B> {
    const WIDE: usize = 520;
    let surrogate = AnySurrogate::from_name("atan", &[]).unwrap();
    let plif = AnyNeuron::Plif(Plif::new(Lif::new(R::of(2.0))));
    let layer = Layer::new(Synapses::new(48, WIDE, 2), AnyKernel::Linear, plif, surrogate)
        .with_norm(BatchNorm::default())
        .with_parameters_per_neuron()
        .with_recurrence(Recurrence::new(WIDE, 3, AnyKernel::Linear).at(Place::Axonal));
    let synapses = Synapses::new(WIDE, 10, 2);
    Network::chain([layer], Readout::new(synapses, AnyKernel::Linear, Li::new(R::of(2.0))))
}

/// A network and how it is trained.
#[derive(Clone, Copy)]
enum Case {
    Paper,
    Graph,
    Wide,
}

impl Case {
    fn build<R: Real, B: Conforming<Real = R>>(self) -> (Network<B>, Recipe) {
        let paper = Recipe { train_neurons: true, ..Recipe::paper(30) };
        let other = Recipe {
            optimizer: Optimizer::Sgd(Sgd { momentum: 0.9 }),
            clip: Some(0.5),
            rate_penalty: Some(RatePenalty { weight: 0.1, low: 0.05, high: 0.1 }),
            ..paper
        };
        match self {
            Self::Paper => (network(), paper),
            Self::Graph => (graph(), other),
            Self::Wide => (wide(), paper),
        }
    }
}

/// A batch of spoken digits.
struct Digits<R> {
    batch: polychron_datasets::SampleBatch,
    x: Vec<R>,
    targets: Vec<R>,
}

impl<R: Real> Digits<R> {
    fn new(first: usize) -> Self {
        let data = digits::embedded();
        let items: Vec<_> = (first..first + BATCH).collect();
        let batch = polychron_datasets::SampleBatch::assemble(&data, &items, Some(40)).unwrap();
        let mut targets = vec![R::zero(); BATCH * 10];
        for (b, &label) in batch.labels.iter().enumerate() {
            targets[b * 10 + label] = R::one();
        }
        let x = batch.dense().iter().map(|&x| R::of(x.into())).collect();
        Self { batch, x, targets }
    }

    fn view(&self) -> Batch<'_, R> {
        let shape = Shape::new(self.batch.steps, BATCH, self.batch.channels);
        let lengths = Some(self.batch.lengths.as_slice());
        Batch { shape, x: Input::Dense(&self.x), targets: Some(&self.targets), lengths }
    }
}

/// The losses and the final state of a run, and its scores with rounded delays.
struct Run<R> {
    losses: Vec<f64>,
    state: State<R>,
    scores: Vec<f64>,
}

fn run<R: Real, B: Conforming<Real = R>>(backend: B, steps: usize, case: Case) -> Run<R> {
    let (network, recipe) = case.build();
    let mut trainer = Trainer::new(backend, network, recipe, 3).unwrap();
    let step = |n: usize| trainer.step(&Digits::new(n * BATCH).view()).unwrap().loss.as_f64();
    let losses = (0..steps).map(step).collect();
    let state = trainer.state().unwrap();
    let (scores, _) = trainer.model().evaluate(&Digits::new(0).view(), Delays::Rounded).unwrap();
    Run { losses, state, scores: scores.into_iter().map(Real::as_f64).collect() }
}

/// The largest difference, relative to the largest expected value.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    let largest = b.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs() / largest).fold(0.0, f64::max)
}

fn follows_the_cpu<R: Number + Lanes>(cuda: impl Fn() -> Cuda<R>, steps: usize, tolerance: f64) {
    for case in [Case::Paper, Case::Graph] {
        follows(&cuda, steps, tolerance, case);
    }
}

fn follows<R: Number + Lanes>(
    cuda: &impl Fn() -> Cuda<R>,
    steps: usize,
    tolerance: f64,
    case: Case,
) {
    let (found, expected) = (run(cuda(), steps, case), run(Cpu::<R>::new(2).unwrap(), steps, case));
    println!("losses differ by {:.1e}", difference(&found.losses, &expected.losses));
    assert!(difference(&found.losses, &expected.losses) < tolerance);
    assert!(difference(&found.scores, &expected.scores) < 100.0 * tolerance);
    assert!(expected.losses.windows(2).any(|pair| pair[0] != pair[1]));
    for (ours, theirs) in found.state.tensors.iter().zip(&expected.state.tensors) {
        assert_eq!(ours.name, theirs.name);
        let values = |values: &[R]| values.iter().map(|x| x.as_f64()).collect::<Vec<_>>();
        let error = difference(&values(&ours.values), &values(&theirs.values));
        assert!(error < 1000.0 * tolerance, "{}: {error:.1e}", ours.name);
    }
    let again = run(cuda(), steps, case);
    assert!(again.state == found.state, "a second run differs");
}

/// The GPU if there is one. With `REQUIRE_DEVICE=1` its absence is a failure.
fn device() -> Option<Cuda<f32>> {
    match Cuda::new(0) {
        Ok(cuda) => Some(cuda),
        Err(error) => {
            assert!(std::env::var_os("REQUIRE_DEVICE").is_none_or(|v| v != "1"), "{error}");
            println!("skipped: {error}");
            None
        }
    }
}

#[test]
fn training_follows_the_cpu_in_double_precision() {
    follows_the_cpu::<f64>(|| Cuda::emulated(Emulated::default()), 6, 1e-12);
}

#[test]
fn training_follows_the_cpu_in_single_precision() {
    follows_the_cpu::<f32>(|| Cuda::emulated(Emulated::default()), 3, 1e-5);
}

#[test]
fn more_neurons_than_threads_follow_the_cpu() {
    follows::<f64>(&|| Cuda::emulated(Emulated::default()), 2, 1e-12, Case::Wide);
}

#[test]
fn training_on_the_device_follows_the_cpu() {
    if device().is_some() {
        follows_the_cpu::<f64>(|| Cuda::new(0).unwrap(), 20, 1e-11);
        follows_the_cpu::<f32>(|| Cuda::new(0).unwrap(), 3, 1e-5);
        follows::<f64>(&|| Cuda::new(0).unwrap(), 2, 1e-12, Case::Wide);
    }
}

#[test]
fn an_absent_device_is_unavailable() {
    if let Err(error) = Cuda::<f32>::new(u32::MAX) {
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        assert!(error.to_string().starts_with("no CUDA: "), "{error}");
    } else {
        panic!("there is no GPU with this number");
    }
}

#[test]
fn full_memory_names_the_block_and_its_size() {
    let limits = Emulated { memory: Some(100_000), ..Emulated::default() };
    let cuda = Cuda::<f32>::emulated(limits);
    let kept = cuda.sequence(Shape::new(10, 20, 30)).unwrap();
    let error = cuda.sequence(Shape::new(100, 200, 300)).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(
            "24000000 bytes for a sequence of 100 steps x 200 samples x 300 neurons of f32"
        ),
        "{text}"
    );
    assert!(text.contains("24000 bytes are in use, 76000 free"), "{text}");
    drop(kept);
    let huge = Cuda::<f64>::emulated(limits).buffer(usize::MAX / 4).unwrap_err();
    assert!(matches!(huge, Error::OutOfMemory { .. }), "{huge}");
    let side = cuda.sequence(Shape::new(1, 1 << 40, 1)).unwrap_err();
    assert!(matches!(side, Error::Shape(_)), "{side}");
}

#[test]
fn a_block_of_another_device_is_refused() {
    let [one, other] = [0, 1].map(|_| Cuda::<f32>::emulated(Emulated::default()));
    let [mut p, mut m, mut v] = [0, 1, 2].map(|_| one.buffer(8).unwrap());
    let theirs = other.buffer(8).unwrap();
    let step = Step::new(Optimizer::default(), 0.1, 1);
    let error = one.optimize(&step, 0..8, &theirs, &mut p, &mut m, &mut v, 8).unwrap_err();
    assert!(error.to_string().contains("adam: a block belongs to another device"), "{error}");
    let own = one.buffer(8).unwrap();
    one.optimize(&step, 0..8, &own, &mut p, &mut m, &mut v, 8).unwrap();
}

#[test]
fn a_launch_beyond_the_shared_memory_is_refused() {
    let cuda = Cuda::<f32>::emulated(Emulated::default());
    let x = cuda.sequence(Shape::new(1, 1, 20_000)).unwrap();
    let (targets, mut scores) = (cuda.buffer(20_000).unwrap(), cuda.buffer(20_000).unwrap());
    let (li, valid) = (Li::new(2.0), ValidSteps::default());
    let result = cuda.readout(&li, Loss::SoftmaxSum, valid, &x, Some(&targets), &mut scores, None);
    assert!(
        result
            .unwrap_err()
            .to_string()
            .contains("readout: the launch needs more blocks or shared memory")
    );
}

/// Released blocks of other sizes are freed when memory runs short.
#[test]
fn released_memory_is_reused() {
    let cuda = Cuda::<f32>::emulated(Emulated { memory: Some(100_000), ..Emulated::default() });
    for len in [20_000, 10_000, 5_000, 24_000, 20_000] {
        let buffer = cuda.buffer(len).unwrap();
        assert_eq!(buffer.len(), len);
    }
    assert!(cuda.device_bytes().is_some_and(|bytes| bytes <= 100_000));
}

/// Losing the device during a step is an error of that step. The state read before it is complete.
#[test]
fn a_lost_device_is_an_error() {
    let digits = Digits::<f32>::new(0);
    let train = |launches| {
        let cuda = Cuda::emulated(Emulated { launches, ..Emulated::default() });
        let mut trainer = Trainer::new(cuda, network(), Recipe::paper(30), 3).unwrap();
        trainer.step(&digits.view()).map(|_| trainer.state().unwrap())
    };
    let whole = train(None).unwrap();
    assert!(whole.tensors.iter().flat_map(|t| &t.values).all(|x| x.is_finite()));
    for launches in [0, 1, 20, 50] {
        match train(Some(launches)) {
            Err(TrainError::Backend(Error::Driver { reason, .. })) => {
                assert!(reason.contains("lost"))
            }
            other => panic!("{launches}: {:?}", other.map(|_| ())),
        }
    }
}
