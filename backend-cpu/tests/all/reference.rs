//! Every algorithm matches the reference; results are the same bytes for any number of threads.

use polychron_core::backend::{
    Activation, ActivationGradients, Backend, Firing, HasKernel, HasNeuron, HasSurrogate,
    NeuronStage, NormMode, SynapseGradients, SynapseParams, View, ViewMut,
};
use polychron_core::delay::{AnyKernel, Gauss, Linear, Place};
use polychron_core::loss::Loss;
use polychron_core::neuron::{AnyNeuron, CubaLif, ErasedNeuron, Li, Lif, NeuronModel};
use polychron_core::norm::{BatchNorm, ValidSteps};
use polychron_core::num::Real;
use polychron_core::parameter::Value::{Flag, Number, Word};
use polychron_core::reference::Reference;
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::Atan;
use polychron_core::train::{
    Batch, Connection, Input, Layer, Network, Readout, Recipe, Source, Trainer,
};
use polychron_cpu::{Algorithm, Cpu};

/// A layer and its readout, with the options of a run.
#[derive(Clone, Debug)]
struct Case {
    seed: u64,
    x: Shape,
    synapses: Synapses,
    kernel: AnyKernel,
    shared_sigma: bool,
    norm: bool,
    lengths: Option<Vec<usize>>,
    mask: bool,
    firing: usize,
    loss: Loss,
}

/// Random numbers, equal for every `R`: all are representable in `f32`.
fn numbers<R: Real>(rng: Rng, len: usize, low: f64, high: f64) -> Vec<R> {
    let number = |i| low + (high - low) * rng.uniform::<f64>(i);
    (0..len as u64).map(|i| R::of(f64::from(number(i) as f32))).collect()
}

impl Case {
    fn of(seed: u64) -> Self {
        let rng = Rng::new(seed, 0);
        let draw = |place, n| rng.below(place, n) as usize;
        let x = Shape::new(1 + draw(0, 12), 1 + draw(1, 9), 1 + draw(2, 21));
        let taps = 1 + draw(3, 15);
        let tail = [0, (taps - 1) / 2, taps + 1][draw(4, 3)];
        let (outputs, count) = (1 + draw(5, 40), 1 + draw(6, 2));
        let lengths =
            (0..x.batch as u64).map(|b| rng.fork(1).below(b, x.steps as u32 + 1) as usize);
        Self {
            seed,
            x,
            synapses: Synapses {
                inputs: x.width,
                outputs,
                kernel_count: count,
                taps,
                padding: tail,
            },
            kernel: AnyKernel::ALL[draw(7, 4)].1,
            shared_sigma: draw(8, 2) == 0,
            norm: draw(9, 3) > 0,
            lengths: (draw(10, 2) == 0).then(|| lengths.collect()),
            mask: draw(11, 2) == 0,
            firing: draw(12, 4),
            loss: Loss::ALL[draw(13, 4)].1,
        }
    }

    /// Runs a layer forward and backward, then the readout. Returns all results.
    fn run<R, B, N>(&self, backend: &B, neuron: &N) -> Results<R>
    where
        R: Real,
        N: NeuronModel<Real = R>,
        B: Backend<Real = R, Buffer = Vec<R>>,
        B: HasKernel<AnyKernel> + HasNeuron<N> + HasSurrogate<Atan<R>>,
    {
        let rng = Rng::new(self.seed, 1);
        let Synapses { outputs: width, taps, .. } = self.synapses;
        let (shape, elements) = (self.synapses.output(self.x), self.synapses.weights());
        let sequence = |shape: Shape, values: &[R]| {
            let mut sequence = backend.sequence(shape).unwrap();
            backend.upload_sequence(values, &mut sequence).unwrap();
            sequence
        };
        let weights = numbers(rng.fork(0), elements, -1.0, 1.0);
        let delays = numbers(rng.fork(1), elements, 0.0, taps.saturating_sub(1) as f64);
        let sigma = numbers(rng.fork(2), if self.shared_sigma { 1 } else { elements }, 0.2, 2.0);
        let params = numbers(rng.fork(3), 2 * width, 0.5, 1.5);
        let mut raw = vec![R::zero(); neuron.param_count()];
        neuron.write_params(&mut raw);
        let all = |buffer: &'_ Vec<R>| 0..buffer.len();
        let mask = backend.dropout(rng.fork(4), 0.4, shape.batch * width).unwrap();
        let x = sequence(self.x, &numbers(rng.fork(5), self.x.len(), -1.0, 2.0));
        let held: Vec<R> = numbers(rng.fork(6), shape.len(), 0.0, 2.0);
        let held = sequence(shape, &held.iter().map(|x| x.floor()).collect::<Vec<R>>());
        let d_spikes = sequence(shape, &numbers(rng.fork(7), shape.len(), -1.0, 1.0));
        let input = ValidSteps { lengths: self.lengths.as_deref(), padding: 0 };
        // A large epsilon, because rounding errors grow with the inverse of the deviation.
        let norm = BatchNorm { epsilon: R::of(0.1), ..BatchNorm::default() };
        let kernel = B::kernel(self.kernel);
        let synapse_params = || SynapseParams {
            weights: View::new(&weights, all(&weights)),
            delays: View::new(&delays, all(&delays)),
            sigma: View::new(&sigma, all(&sigma)),
            rounding: None,
        };
        let layer = Activation {
            norm: self.norm.then(|| (&norm, View::new(&params, all(&params)))),
            neurons: NeuronStage {
                neuron: &B::neuron(neuron.clone()),
                params: View::new(&raw, all(&raw)),
                surrogate: &B::surrogate(Atan { alpha: R::of(2.0) }),
                firing: [
                    Firing::Step,
                    Firing::Smooth,
                    Firing::SmoothHeld(&held),
                    Firing::Frozen(&held),
                ][self.firing],
                mask: self.mask.then_some(&mask),
                valid: input.extended(self.synapses.padding),
                start: None,
            },
        };
        let mut running: Vec<R> = numbers(rng.fork(8), 2 * width, 0.5, 1.5);
        let mut y = backend.sequence(shape).unwrap();
        backend.project(&self.synapses, &kernel, synapse_params(), &x, &mut y).unwrap();
        let mut statistics = backend.buffer(2 * width).unwrap();
        let (mut spikes, mut evaluated) =
            (backend.sequence(shape).unwrap(), backend.sequence(shape).unwrap());
        let mode = NormMode::Running(View::new(&running, all(&running)));
        backend.activate(&layer, mode, &y, &mut statistics, &mut evaluated, None).unwrap();
        let range = all(&running);
        let mode = NormMode::Batch { running: ViewMut::new(&mut running, range) };
        backend.activate(&layer, mode, &y, &mut statistics, &mut spikes, None).unwrap();

        let mut gradients =
            [&weights, &delays, &sigma, &params, &raw].map(|p| vec![R::one(); p.len()]);
        let [d_weights, d_delays, d_sigma, d_norm, d_raw] = &mut gradients;
        let whole = |buffer| {
            let buffer: &mut Vec<R> = buffer;
            let range = 0..buffer.len();
            ViewMut { buffer, range }
        };
        let written = ActivationGradients { norm: whole(d_norm), neuron: whole(d_raw) };
        let into = SynapseGradients {
            weights: whole(d_weights),
            delays: whole(d_delays),
            sigma: whole(d_sigma),
        };
        let mut d_x = backend.sequence(self.x).unwrap();
        let mut d_y = sequence(shape, &numbers(rng.fork(7), shape.len(), -1.0, 1.0));
        backend.activate_backward(&layer, &y, &statistics, &mut d_y, written).unwrap();
        let (params, asked) = (synapse_params(), Some(&mut d_x));
        backend.project_backward(&self.synapses, &kernel, params, &x, &d_y, into, asked).unwrap();

        let targets = numbers(rng.fork(9), shape.batch * width, 0.0, 1.0);
        let mut scores = vec![R::zero(); shape.batch * width];
        let mut d_v = backend.sequence(shape).unwrap();
        // Random input: in the projected block, rounding may break ties of zeros.
        let (li, v, d) = (Li::new(R::of(3.0)), &d_spikes, Some(&mut d_v));
        let valid = layer.neurons.valid;
        let loss =
            backend.readout(&li, self.loss, valid, v, Some(&targets), &mut scores, d).unwrap();

        let host = |sequence: &B::Sequence| {
            let mut values = vec![R::zero(); backend.shape(sequence).len()];
            backend.download_sequence(sequence, &mut values).unwrap();
            values
        };
        let [d_weights, d_delays, d_sigma, d_norm, d_raw] = gradients;
        vec![
            ("projected", host(&y)),
            ("statistics", statistics),
            ("running", running),
            ("evaluated", host(&evaluated)),
            ("spikes", host(&spikes)),
            // One block: with one tap, the gradients by delay and sigma cancel to rounding errors.
            ("synapses", [d_weights, d_delays, d_sigma].concat()),
            // Sums of terms of order 1 that cancel.
            ("norm and neuron", [d_norm, d_raw].concat()),
            ("input", host(&d_x)),
            ("mask", mask),
            ("scores", scores),
            ("loss", vec![loss]),
            ("readout's input", host(&d_v)),
        ]
    }
}

/// The neuron of a seed: every kind in turn, with a hard and with a soft reset.
fn neuron_of<R: Real>(seed: u64) -> AnyNeuron<R> {
    let kinds: Vec<_> = AnyNeuron::<R>::names().collect();
    let soft = seed as usize / kinds.len() % 2 == 1;
    let given = [
        ("tau_ms", Number(3.0)),
        ("tau_syn_ms", Number(4.0)),
        ("tau_w_ms", Number(8.0)),
        ("bounds", Word("none")),
        ("q", Number(2.0)),
        ("a", Number(0.2)),
        ("b", Number(0.3)),
        ("reset", Word(if soft { "soft" } else { "hard" })),
        ("decay_input", Flag(soft)),
        ("detach", Flag(!soft)),
    ];
    AnyNeuron::from_name(kinds[seed as usize % kinds.len()], &given, 1.0).unwrap()
}

type Results<R> = Vec<(&'static str, Vec<R>)>;

/// The largest difference of two blocks, relative to the largest magnitude of the second.
fn distance<A: Real, B: Real>(found: &[A], expected: &[B]) -> f64 {
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().all(|x| x.is_finite()));
    let largest = expected.iter().fold(0.0f64, |m, x| m.max(x.as_f64().abs()));
    let pairs = found.iter().zip(expected);
    let error = pairs.fold(0.0f64, |m, (a, b)| m.max((a.as_f64() - b.as_f64()).abs()));
    if error > 0.0 { error / largest } else { 0.0 }
}

fn algorithms<R: Real>() -> impl Iterator<Item = Cpu<R>> {
    let forced = Algorithm::ALL.iter().map(|(_, algorithm)| Some(*algorithm));
    forced.chain([None]).map(|a| Cpu::new(2).unwrap().with_algorithm(a))
}

#[test]
fn all_algorithms_agree_with_the_reference() {
    for seed in 0..120 {
        let case = Case::of(seed);
        let neuron = neuron_of::<f64>(seed);
        let expected: Results<f64> = case.run(&Reference::new(), &neuron);
        for cpu in algorithms() {
            for ((name, found), (_, expected)) in case.run(&cpu, &neuron).iter().zip(&expected) {
                let error = distance(found, expected);
                assert!(error <= 1e-10, "{name}: error {error}: {case:?}");
            }
        }
    }
}

/// The error of each block is at most 16 times that of the reference in single precision, or 16
/// epsilon of its largest magnitude: cancellation leaves few digits in any order. Spikes are
/// recorded, because rounding decides whether a membrane at the threshold spikes.
#[test]
fn single_precision_is_as_accurate_as_the_reference() {
    for seed in 0..120 {
        let case = Case { firing: 2, ..Case::of(seed) };
        let neuron = neuron_of::<f32>(seed);
        let exact: Results<f64> = case.run(&Reference::new(), &neuron_of(seed));
        let rounded: Results<f32> = case.run(&Reference::new(), &neuron);
        for cpu in algorithms() {
            for (n, (name, found)) in case.run(&cpu, &neuron).iter().enumerate() {
                let error = distance(found, &exact[n].1);
                let own = distance(&rounded[n].1, &exact[n].1);
                let bound = 16.0 * own.max(f64::from(f32::EPSILON));
                assert!(error <= bound, "{name}: error {error}, the reference's {own}: {case:?}");
            }
        }
    }
}

#[test]
fn results_are_the_same_bytes_for_any_number_of_threads() {
    for seed in 0..12 {
        let mut case = Case::of(seed);
        // Wide enough for more than one chunk.
        case.synapses.inputs = 50;
        case.x.width = 50;
        let neuron = neuron_of::<f32>(seed);
        for (_, algorithm) in Algorithm::ALL {
            let run = |threads| {
                case.run(&Cpu::new(threads).unwrap().with_algorithm(Some(algorithm)), &neuron)
            };
            let one = run(1);
            assert_eq!(one, run(2), "{case:?}");
            assert_eq!(one, run(5), "{case:?}");
        }
    }
}

#[test]
fn empty_blocks_match_the_reference() {
    let base = Case { firing: 0, lengths: None, mask: true, norm: true, ..Case::of(0) };
    let neuron = Lif::new(1.5);
    for empty in 0..64 {
        let of = |bit: usize| if empty >> bit & 1 == 1 { 0 } else { 2 };
        let x = Shape::new(of(0), of(1), of(2));
        let synapses = Synapses {
            inputs: of(2),
            outputs: of(3),
            kernel_count: of(4),
            taps: of(5),
            padding: 1,
        };
        let case = Case { x, synapses, shared_sigma: empty % 3 == 0, ..base.clone() };
        let expected: Results<f64> = case.run(&Reference::new(), &neuron);
        for cpu in algorithms() {
            for ((name, found), (_, expected)) in case.run(&cpu, &neuron).iter().zip(&expected) {
                assert!(distance(found, expected) <= 1e-10, "{name}: {case:?}");
            }
        }
    }
}

/// The losses and tensors of a few steps. The second layer and the readout also read the input and
/// the first layer, with delays at `place`.
fn train<B>(backend: B, per_neuron: bool, place: Place) -> Results<f64>
where
    B: Backend<Real = f64> + HasKernel<Gauss> + HasKernel<Linear>,
    B: HasNeuron<Lif<f64>> + HasNeuron<CubaLif<f64>> + HasSurrogate<Atan<f64>>,
{
    let (norm, surrogate) = (BatchNorm::default(), Atan { alpha: 5.0 });
    let first = Layer::new(Synapses::new(6, 9, 7), Gauss, Lif::new(1.5), surrogate);
    let neuron = CubaLif::new(Lif::new(2.0), 3.0);
    let second = Layer::new(Synapses::new(9, 8, 5), Linear, neuron, surrogate)
        .with_input(Connection::new(Synapses::new(6, 8, 9), Gauss).from(Source::Input).at(place));
    let second = Layer { per_neuron, ..second.with_norm(norm) };
    let hidden = [first.with_norm(norm).with_dropout(0.2), second];
    let mut output = Readout::new(Synapses::new(8, 3, 7), Gauss, Li::new(2.0));
    let skip = Connection::new(Synapses::new(9, 3, 3), Linear).from(Source::Layer(0));
    output.inputs.push(skip.at(place));
    let network = Network::chain(hidden, output);
    let recipe = Recipe { train_neurons: true, ..Recipe::paper(4) };
    let mut trainer = Trainer::new(backend, network, recipe, 0).ok().unwrap();

    let shape = Shape::new(20, 5, 6);
    let x: Vec<f64> = numbers(Rng::new(0, 0), shape.len(), 0.0, 1.3);
    let x: Vec<f64> = x.into_iter().map(f64::floor).collect();
    let targets: Vec<f64> = (0..15).map(|n| if n % 4 == 0 { 1.0 } else { 0.0 }).collect();
    let lengths = Some(&[20, 20, 7, 13, 1][..]);
    let batch = Batch { shape, x: Input::Dense(&x), targets: Some(&targets), lengths };
    let mut losses = Vec::new();
    for _ in 0..4 {
        losses.push(trainer.step(&batch).ok().unwrap().loss);
        losses.push(trainer.step(&batch).ok().unwrap().loss);
        trainer.finish_epoch().ok().unwrap();
    }
    let tensors = trainer.model().tensors().ok().unwrap();
    let tensors = tensors.into_iter().map(|tensor| ("tensor", tensor.values));
    [("losses", losses)].into_iter().chain(tensors).collect()
}

#[test]
fn networks_with_skip_connections_train_as_with_the_reference() {
    for (per_neuron, place) in [(false, Place::Synaptic), (true, Place::Axonal)] {
        let expected = train(Reference::new(), per_neuron, place);
        assert!(expected[0].1[7] < expected[0].1[0], "{:?}", expected[0]);
        for cpu in algorithms() {
            for ((name, found), (_, expected)) in
                train(cpu, per_neuron, place).iter().zip(&expected)
            {
                let error = distance(found, expected);
                assert!(error <= 1e-9, "{name}: error {error}");
            }
        }
        for (_, algorithm) in Algorithm::ALL {
            let bits = |threads| {
                let cpu = Cpu::new(threads).unwrap().with_algorithm(Some(algorithm));
                let values =
                    train(cpu, per_neuron, place).into_iter().flat_map(|(_, values)| values);
                values.map(f64::to_bits).collect::<Vec<_>>()
            };
            assert_eq!(bits(1), bits(3), "{algorithm:?}");
        }
    }
}
