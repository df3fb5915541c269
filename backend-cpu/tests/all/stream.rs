//! A stream gives the scores of a batch of one sample, for any division into blocks.

use polychron_core::backend::{
    Backend, HasKernel, HasNeuron, HasSurrogate, NeuronStage, NormMode, SynapseGradients,
    SynapseParams, View, ViewMut,
};
use polychron_core::conformance::Conforming;
use polychron_core::delay::{AnyKernel, Place, Rounding};
use polychron_core::init::DelayInit;
use polychron_core::loss::{Loss, decide};
use polychron_core::neuron::{AnyNeuron, Li, Lif};
use polychron_core::norm::{BatchNorm, ValidSteps};
use polychron_core::num::Real;
use polychron_core::reference::{Block, Reference};
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, ShapeError, Synapses};
use polychron_core::surrogate::AnySurrogate;
use polychron_core::train::{
    Batch, Connection, Delays, InitialState, Input, Layer, Model, Network, Readout, Source, State,
};
use polychron_cpu::{Cpu, Error, Lanes, Stream};
use polychron_datasets::digits;

fn neurons<R: Real>() -> Vec<AnyNeuron<R>> {
    AnyNeuron::examples().map(|(_, neuron)| neuron).collect()
}

/// A random network of up to three hidden layers with random running statistics.
fn model<R: Lanes>(seed: u64, channels: usize) -> Model<Cpu<R>> {
    model_on(Cpu::new(1).unwrap(), seed, channels)
}

fn model_on<R: Real, B: Conforming<Real = R>>(backend: B, seed: u64, channels: usize) -> Model<B> {
    let rng = Rng::new(seed, 0);
    let draw = |place, n| rng.below(place, n) as usize;
    let synapses = |l: usize, inputs, outputs| {
        let taps = 1 + draw(10 + l as u64, 20);
        let tail = [0, (taps - 1) / 2, taps + 1][draw(20 + l as u64, 3)];
        Synapses {
            kernel_count: 1 + draw(30 + l as u64, 2),
            padding: tail,
            ..Synapses::new(inputs, outputs, taps)
        }
    };
    let mut inputs = channels;
    let mut hidden = Vec::new();
    for l in 0..draw(0, 4) {
        let outputs = 1 + draw(40 + l as u64, 60);
        let neurons = neurons::<R>();
        let neuron = neurons[draw(60 + l as u64, neurons.len() as u32)];
        let surrogate = AnySurrogate::from_name("atan", &[]).unwrap();
        let layer = Layer::new(synapses(l, inputs, outputs), AnyKernel::Gauss, neuron, surrogate);
        let norm = (draw(50 + l as u64, 4) > 0).then(BatchNorm::default);
        let per_neuron = draw(70 + l as u64, 3) == 0;
        let bias = norm.is_none() && draw(90 + l as u64, 3) > 0;
        let random = draw(110 + l as u64, 3) == 0;
        let initial_state = if random { InitialState::Random } else { InitialState::Rest };
        hidden.push(Layer { norm, bias, per_neuron, initial_state, ..layer.with_dropout(0.5) });
        inputs = outputs;
    }
    let synapses = synapses(hidden.len(), inputs, 2 + draw(1, 20));
    let mut output = Readout::new(synapses, AnyKernel::Gauss, Li::new(R::of(2.0)));
    output.bias = draw(3, 2) > 0;
    let rounding = Rounding::ALL[draw(10, 2)].1;
    let loss = Loss::ALL[draw(2, 4)].1;
    let inputs = hidden.iter_mut().map(|layer: &mut Layer<_>| &mut layer.inputs[0]);
    for (l, connection) in inputs.chain([&mut output.inputs[0]]).enumerate() {
        connection.place = Place::ALL[draw(80 + l as u64, 4)].1;
    }
    let network = Network { hidden, output, loss, objective: None, rounding, window: None };
    let mut model = Model::new(backend, network, DelayInit::Uniform, seed).ok().unwrap();
    let mut tensors = model.tensors().ok().unwrap();
    for (n, tensor) in tensors.iter_mut().enumerate() {
        let part = tensor.name.rsplit('.').next().unwrap();
        let rng = rng.fork(100 + n as u64);
        if part == "neuron" && tensor.shape.len() == 2 {
            for (e, value) in tensor.values.iter_mut().enumerate() {
                let moved = *value + R::of(0.6 * rng.uniform::<f64>(e as u64) - 0.3);
                let (least, most) = model.specs()[n].bounds_of(e).unwrap_or((moved, moved));
                *value = moved.max(least).min(most);
            }
        }
        let (low, high) = match part {
            "weight" => (-0.3, 0.5),
            "running_mean" | "beta" | "bias" => (-0.2, 0.4),
            "running_var" => (0.3, 1.5),
            "gamma" => (0.5, 1.5),
            _ => continue,
        };
        for (e, value) in tensor.values.iter_mut().enumerate() {
            *value = R::of(low + (high - low) * rng.uniform::<f64>(e as u64));
        }
    }
    model.restore(&State { tensors, epoch: 0, step: 0, seed }).ok().unwrap();
    model
}

/// Random counts `[steps, channels]`, most of them 0.
fn input<R: Real>(rng: Rng, steps: usize, channels: usize) -> Vec<R> {
    let count = |n| R::count((rng.uniform::<f64>(n) * 8.0) as usize).max(R::of(5.0)) - R::of(5.0);
    (0..(steps * channels) as u64).map(count).collect()
}

/// The scores of one sample in a padded batch.
fn evaluate<R: Lanes>(model: &Model<Cpu<R>>, x: &[R], padding: usize) -> Vec<R> {
    let channels = model.graph().channels();
    let steps = x.len() / channels;
    let mut padded = x.to_vec();
    padded.resize((steps + padding) * channels, R::zero());
    let lengths = [steps];
    let batch = Batch {
        shape: Shape::new(steps + padding, 1, channels),
        x: Input::Dense(&padded),
        targets: None,
        lengths: (padding > 0).then_some(&lengths),
    };
    model.evaluate(&batch, Delays::Rounded).unwrap().0
}

/// Asserts equal scores. Returns whether every hidden layer spikes.
fn agrees<R: Lanes>(seed: u64, tolerance: f64) -> bool {
    let rng = Rng::new(seed, 1);
    let (channels, steps) = (1 + rng.below(0, 50) as usize, 1 + rng.below(1, 300) as usize);
    let model = model::<R>(seed, channels);
    let x = input(rng.fork(0), steps, channels);
    let expected = evaluate(&model, &x, rng.below(2, 2) as usize * 7);
    let mut stream = Stream::new(&model).unwrap();
    stream.feed(&x).unwrap();
    let found = stream.finish();
    assert!(near(found, &expected, tolerance), "seed {seed}: {found:?} {expected:?}");
    stream.spikes().iter().all(|&n| n > 0)
}

/// Whether all numbers are within `tolerance`, relative to the largest magnitude and to 1.
fn near<R: Real>(found: &[R], expected: &[R], tolerance: f64) -> bool {
    let largest = expected.iter().fold(1.0f64, |m, s| m.max(s.as_f64().abs()));
    let mut pairs = found.iter().zip(expected);
    found.len() == expected.len()
        && pairs.all(|(a, b)| (a.as_f64() - b.as_f64()).abs() <= tolerance * largest)
}

#[test]
fn scores_equal_those_of_the_batch() {
    let alive = (0..60).filter(|&seed| agrees::<f64>(seed, 1e-10) & agrees::<f32>(seed, 1e-4));
    assert!(alive.count() > 30);
}

#[test]
fn scores_do_not_depend_on_the_blocks() {
    for seed in 0..30 {
        let (steps, channels) = (140, 9);
        let model = model::<f64>(seed, channels);
        let x = input(Rng::new(seed, 1), steps, channels);
        let mut stream = Stream::new(&model).unwrap();
        stream.feed(&x).unwrap();
        let (spikes, whole) = (stream.spikes().to_vec(), stream.scores().to_vec());
        let finished = stream.finish().to_vec();
        assert_eq!(stream.finish(), finished);
        // Mixes blocks that are processed spike by spike with longer ones.
        for blocks in [&[1][..], &[3], &[50, 1, 2], &[1, 70, 5, 1], &[33]] {
            let (mut rest, mut n) = (&x[..], 0);
            while !rest.is_empty() {
                let len = (blocks[n % blocks.len()] * channels).min(rest.len());
                stream.feed(&rest[..len]).unwrap();
                (rest, n) = (&rest[len..], n + 1);
            }
            assert_eq!((stream.spikes(), stream.steps()), (&spikes[..], steps));
            assert!(near(stream.scores(), &whole, 1e-12), "seed {seed}, blocks {blocks:?}");
            assert!(near(stream.finish(), &finished, 1e-12), "seed {seed}, blocks {blocks:?}");
        }
    }
}

#[test]
fn utterances_are_independent() {
    for seed in 0..12 {
        let model = model::<f32>(seed, 9);
        let x = input(Rng::new(seed, 1), 140, 9);
        let mut stream = Stream::new(&model).unwrap();
        stream.feed(&x).unwrap();
        let finished = stream.finish().to_vec();
        stream.feed(&x).unwrap();
        assert_eq!(stream.finish(), finished, "after a finished utterance");
        stream.feed(&x[..90]).unwrap();
        stream.reset();
        assert!(stream.scores().iter().all(|&s| s == 0.0) && stream.steps() == 0);
        assert_eq!(stream.spikes().iter().sum::<u64>(), 0);
        for row in x.chunks(9) {
            stream.feed(row).unwrap();
        }
        let by_steps = stream.finish().to_vec();
        for row in x.chunks(9) {
            let inputs = row.iter().copied().enumerate().filter(|(_, x)| *x != 0.0);
            stream.step(&inputs.collect::<Vec<_>>()).unwrap();
        }
        assert_eq!(stream.finish(), by_steps, "step by step");
        stream.feed(&x).unwrap();
        assert_eq!(stream.finish(), finished, "after an utterance step by step");
    }
}

#[test]
fn spike_counts_include_the_padding() {
    for seed in 0..12 {
        let channels = 5;
        let model = model::<f64>(seed, channels);
        let x = input(Rng::new(seed, 1), 40, channels);
        let mut stream = Stream::new(&model).unwrap();
        stream.feed(&x).unwrap();
        stream.finish();
        let shape = Shape::new(40, 1, channels);
        let batch = Batch { shape, x: Input::Dense(&x), targets: None, lengths: None };
        let layers = model.spikes(&batch, Delays::Rounded).unwrap();
        let counts = layers.iter().map(|layer| layer.values.iter().sum::<f64>() as u64);
        let counts: Vec<_> = counts.take(layers.len() - 1).collect();
        assert_eq!(stream.spikes(), counts, "seed {seed}");
    }
}

#[test]
fn invalid_input_changes_nothing() {
    let model = model::<f32>(3, 4);
    let mut stream = Stream::new(&model).unwrap();
    stream.step(&[(1, 2.0)]).unwrap();
    let before = stream.scores().to_vec();
    assert_eq!(stream.step(&[(0, 1.0), (4, 1.0)]).unwrap_err().found, 4);
    assert_eq!(stream.feed(&[1.0; 7]).unwrap_err().found, 7);
    stream.feed(&[]).unwrap();
    assert_eq!((stream.scores(), stream.steps()), (&before[..], 1));
}

#[test]
fn digits_are_classified_as_in_the_batch() {
    let data = digits::embedded();
    let model = model::<f32>(7, data.channels);
    let mut stream = Stream::new(&model).unwrap();
    for i in 0..50 {
        let batch = polychron_datasets::SampleBatch::assemble(&data, &[i * 60], None).unwrap();
        stream.feed(&batch.dense()).unwrap();
        let expected = evaluate(&model, &batch.dense(), 0);
        assert_eq!(decide(stream.finish()), decide(&expected), "item {i}");
    }
}

#[test]
fn other_connections_are_an_error() {
    let layer = |inputs| {
        let (neuron, surrogate) = (Lif::new(1.5f32), AnySurrogate::from_name("atan", &[]).unwrap());
        Layer::new(Synapses::new(inputs, 4, 5), AnyKernel::Gauss, neuron, surrogate)
    };
    let skip = Connection::new(Synapses::new(3, 4, 5), AnyKernel::Gauss).from(Source::Input);
    let output = Readout::new(Synapses::new(4, 2, 5), AnyKernel::Gauss, Li::new(2.0));
    let network = Network::chain([layer(3), layer(4).with_input(skip)], output);
    let model = Model::new(Cpu::new(1).unwrap(), network, DelayInit::Uniform, 0).unwrap();
    assert!(matches!(Stream::new(&model), Err(Error::NotAChain)));
}

#[test]
fn models_of_other_backends_give_the_same_scores() {
    for seed in 0..12 {
        let x = input(Rng::new(seed, 1), 40, 9);
        let mut expected = Stream::new(&model::<f32>(seed, 9)).unwrap();
        let mut found = Stream::new(&model_on(Other, seed, 9)).unwrap();
        expected.feed(&x).unwrap();
        found.feed(&x).unwrap();
        assert_eq!(found.finish(), expected.finish());
    }
}

/// A backend that holds models of the built-in types, and computes nothing.
pub(crate) struct Other;

type Done<T = ()> = Result<T, ShapeError>;
type Buffer = Vec<f32>;
type Part<'a> = View<'a, Buffer>;
type PartMut<'a> = ViewMut<'a, Buffer>;
type Sequence = Block<f32>;

macro_rules! missing {
    ($(fn $name:ident($($type:ty),*) -> $out:ty;)*) => {
        $(
            fn $name(&self, $(_: $type),*) -> $out {
                unreachable!("a stream computes on its own")
            }
        )*
    };
}

impl Backend for Other {
    type Real = f32;
    type Buffer = Buffer;
    type Sequence = Sequence;
    type Kernel = AnyKernel;
    type Neuron = AnyNeuron<f32>;
    type Surrogate = AnySurrogate<f32>;
    type Error = ShapeError;

    fn buffer(&self, len: usize) -> Done<Buffer> {
        Reference::new().buffer(len)
    }

    fn upload(&self, from: &[f32], to: &mut Buffer) -> Done {
        Reference::new().upload(from, to)
    }

    fn download(&self, from: &Buffer, to: &mut [f32]) -> Done {
        Reference::new().download(from, to)
    }

    missing! {
        fn name() -> &'static str;
        fn sequence(Shape) -> Done<Sequence>;
        fn shape(&Sequence) -> Shape;
        fn upload_sequence(&[f32], &mut Sequence) -> Done;
        fn download_sequence(&Sequence, &mut [f32]) -> Done;
        fn synchronize() -> Done;
        fn project(
            &Synapses, &AnyKernel, SynapseParams<'_, Buffer>, &Sequence, &mut Sequence
        ) -> Done;
        fn project_backward(
            &Synapses, &AnyKernel, SynapseParams<'_, Buffer>, &Sequence, &Sequence,
            SynapseGradients<'_, Buffer>, Option<&mut Sequence>
        ) -> Done;
        fn norm_forward(
            &BatchNorm<f32>, Part<'_>, NormMode<'_, Buffer>, ValidSteps<'_>, &Sequence, &mut Buffer,
            &mut Sequence
        ) -> Done;
        fn norm_apply(Part<'_>, &Buffer, &Sequence, &mut Sequence) -> Done;
        fn norm_backward(
            Part<'_>, &Buffer, ValidSteps<'_>, &Sequence, &Sequence, &mut Sequence, PartMut<'_>
        ) -> Done;
        fn neuron_forward(
            &NeuronStage<'_, Self>, &Sequence, &mut Sequence, Option<&mut Buffer>
        ) -> Done;
        fn neuron_backward(
            &NeuronStage<'_, Self>, &Sequence, &Sequence, &mut Sequence, PartMut<'_>
        ) -> Done;
        fn readout(
            &Li<f32>, Loss, ValidSteps<'_>, &Sequence, Option<&Buffer>, &mut Buffer,
            Option<&mut Sequence>
        ) -> Done<f32>;
    }
}

impl HasKernel<AnyKernel> for Other {
    fn kernel(kernel: AnyKernel) -> AnyKernel {
        kernel
    }
}

impl HasNeuron<AnyNeuron<f32>> for Other {
    fn neuron(neuron: AnyNeuron<f32>) -> AnyNeuron<f32> {
        neuron
    }
}

impl HasSurrogate<AnySurrogate<f32>> for Other {
    fn surrogate(surrogate: AnySurrogate<f32>) -> AnySurrogate<f32> {
        surrogate
    }
}
