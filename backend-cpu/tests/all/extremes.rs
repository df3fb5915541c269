//! Parameters and input at the limits of their ranges: finite numbers give finite results. If a
//! gradient grows beyond all finite numbers, the training step reports it.

use polychron_core::conformance::Conforming;
use polychron_core::delay::AnyKernel;
use polychron_core::loss::Loss;
use polychron_core::neuron::{AnyNeuron, Li, Neuron, NeuronModel, NeuronVisitor};
use polychron_core::norm::BatchNorm;
use polychron_core::num::Real;
use polychron_core::parameter::Value::{Flag, Number, Word};
use polychron_core::reference::Reference;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::AnySurrogate;
use polychron_core::train::{
    Batch, Delays, Input, Layer, Network, Readout, Recipe, Sigma, State, Tensor, TrainError,
    Trainer,
};
use polychron_cpu::{Algorithm, Cpu, Lanes, Stream};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

#[derive(Clone, Debug)]
struct Extreme {
    widths: [usize; 4],
    taps: usize,
    count: usize,
    steps: usize,
    batch: usize,
    /// Whether samples have 0, 1 and all steps in turn.
    lengths: bool,
    kernel: AnyKernel,
    neuron: Kind,
    surrogate: &'static str,
    loss: Loss,
    norm: bool,
    detach: bool,
    tau: [f32; 2],
    sigma: f64,
    weight: f32,
    /// A fraction of the longest delay.
    delay: f32,
    input: f32,
    algorithm: Option<Algorithm>,
}

fn extremes() -> impl Strategy<Value = Extreme> {
    let sizes = (
        prop::array::uniform4(1usize..6),
        select(vec![1, 2, 25, 70]),
        1usize..3,
        select(vec![0, 1, 1, 2, 40, 40]),
        select(vec![0, 1, 2, 5, 5]),
        any::<bool>(),
    );
    let model = (
        select(AnyKernel::ALL.map(|(_, kernel)| kernel).to_vec()),
        (select(AnyNeuron::<f32>::names().collect::<Vec<_>>()), any::<bool>()),
        select(AnySurrogate::<f32>::NAMES.to_vec()),
        select(Loss::ALL.map(|(_, loss)| loss).to_vec()),
        any::<bool>(),
        any::<bool>(),
    );
    let taus = vec![1.000_001f32, 1.005, 2.0, 1e6, 1e30];
    let algorithms = Algorithm::ALL.map(|(_, algorithm)| Some(algorithm));
    let numbers = (
        [select(taus.clone()), select(taus)],
        select(vec![0.0, 1e-30, 1e-3, 0.23, 12.0, 1e4, 1e30]),
        select(vec![0.0f32, 1e-38, 1e-3, 1.0, 1e4]),
        select(vec![0.0f32, 0.5, 1.0]),
        select(vec![0.0f32, 1.0, 255.0]),
        select([&[None][..], &algorithms].concat()),
    );
    (sizes, model, numbers).prop_map(|(sizes, model, numbers)| {
        let (widths, taps, count, steps, batch, lengths) = sizes;
        let (kernel, neuron, surrogate, loss, norm, detach) = model;
        let (tau, sigma, weight, delay, input, algorithm) = numbers;
        Extreme {
            widths,
            taps,
            count,
            steps,
            batch,
            lengths,
            kernel,
            neuron,
            surrogate,
            loss,
            norm,
            detach,
            tau,
            sigma,
            weight,
            delay,
            input,
            algorithm,
        }
    })
}

/// A kind of neurons, and whether its reset is soft.
type Kind = (&'static str, bool);

/// Every kind of decaying neurons with both resets.
fn kinds() -> impl Iterator<Item = Kind> {
    let names = AnyNeuron::<f32>::KINDS.iter().map(|kind| kind.names[0]);
    names.flat_map(|name| [(name, false), (name, true)])
}

impl Extreme {
    fn neuron<R: Real>(&self) -> AnyNeuron<R> {
        let [tau, slow] = self.tau.map(|tau| Number(tau.into()));
        let (kind, soft) = self.neuron;
        let given = [
            ("tau_ms", tau),
            ("tau_syn_ms", slow),
            ("tau_w_ms", slow),
            ("bounds", Word("none")),
            ("q", Number(1.0)),
            ("a", Number(0.5)),
            ("b", Number(0.5)),
            ("reset", Word(if soft { "soft" } else { "hard" })),
            ("decay_input", Flag(soft)),
            ("detach", Flag(self.detach)),
        ];
        AnyNeuron::from_name(kind, &given, 1.0).unwrap()
    }

    fn network<R: Real, B: Conforming<Real = R>>(&self) -> Network<B> {
        let synapses = |n: usize| Synapses {
            kernel_count: self.count,
            ..Synapses::new(self.widths[n], self.widths[n + 1], self.taps)
        };
        let hidden = (0..2).map(|n| {
            let surrogate = AnySurrogate::<R>::from_name(self.surrogate, &[]).unwrap();
            let layer = Layer::new(synapses(n), self.kernel, self.neuron::<R>(), surrogate);
            Layer { norm: self.norm.then(BatchNorm::default), ..layer.with_dropout(0.25) }
        });
        let integrator = Li::new(R::of(f64::from(self.tau[0])));
        let output = Readout::new(synapses(2), self.kernel, integrator);
        Network { loss: self.loss, ..Network::chain(hidden, output) }
    }

    fn trainer<R: Real, B: Conforming<Real = R>>(&self, backend: B) -> Trainer<B> {
        let sigma = Sigma { start: Some(self.sigma), end: self.sigma, epochs: 1 };
        let recipe = Recipe { sigma, ..Recipe::paper(3) };
        let mut trainer = Trainer::new(backend, self.network(), recipe, 0).ok().unwrap();
        let mut state = trainer.state().ok().unwrap();
        let parameters = trainer.model().specs().len();
        for tensor in &mut state.tensors[..parameters] {
            if tensor.name.ends_with(".weight") {
                let weight = R::of(f64::from(self.weight));
                let signed =
                    |(n, w): (usize, &mut R)| *w = if n % 3 == 2 { -weight } else { weight };
                tensor.values.iter_mut().enumerate().for_each(signed);
            } else if tensor.name.ends_with(".delay") {
                tensor.values.fill(R::of(f64::from(self.delay)) * R::count(self.taps - 1));
            }
        }
        trainer.restore(&state).ok().unwrap();
        trainer
    }

    fn cpu<R: Lanes>(&self) -> Cpu<R> {
        Cpu::new(1).unwrap().with_algorithm(self.algorithm)
    }

    /// Steps of the last hidden layer, including the padding of both layers.
    fn spike_steps(&self) -> usize {
        self.steps + 2 * Synapses::new(1, 1, self.taps).padding
    }

    /// Runs two evaluations and two steps. A step that diverges reports it and keeps the
    /// parameters, unless its update made one of them infinite or NaN.
    fn holds<R: Real, B: Conforming<Real = R>>(
        &self,
        backend: B,
    ) -> Result<Outcome, TestCaseError> {
        let mut trainer = self.trainer(backend);
        let shape = Shape::new(self.steps, self.batch, self.widths[0]);
        let x = vec![R::of(f64::from(self.input)); shape.len()];
        let classes = self.widths[3];
        let mut targets = vec![R::zero(); self.batch * classes];
        targets.chunks_exact_mut(classes).for_each(|row| row[0] = R::one());
        let lengths: Vec<_> = (0..self.batch).map(|b| [0, 1, self.steps][b % 3]).collect();
        let lengths = self.lengths.then_some(&lengths[..]);
        let batch = Batch { shape, x: Input::Dense(&x), targets: Some(&targets), lengths };
        for kernel in [Delays::Spread, Delays::Rounded] {
            let (scores, loss) = trainer.model().evaluate(&batch, kernel).ok().unwrap();
            prop_assert!(loss.is_finite(), "loss {loss}");
            prop_assert!(scores.iter().all(|score| score.is_finite()), "{scores:?}");
            for layer in trainer.model().spikes(&batch, kernel).ok().unwrap() {
                prop_assert!(layer.values.iter().all(|x| x.is_finite()), "{kernel:?}");
            }
        }
        let mut steepest = 0.0f64;
        for _ in 0..2 {
            let before = trainer.state().ok().unwrap();
            let step = trainer.step(&batch);
            let after = trainer.state().ok().unwrap();
            steepest = steepest.max(largest(&trainer.gradients().ok().unwrap()));
            match step {
                Ok(report) => {
                    prop_assert!(
                        report.loss.is_finite() && all_finite(&after),
                        "divergence not reported"
                    );
                }
                Err(TrainError::Diverged { .. }) => {
                    prop_assert!(!all_finite(&after) || parameters(&before) == parameters(&after));
                    return Ok(Outcome { diverged: true, steepest });
                }
                Err(_) => prop_assert!(false, "the step fails with another error"),
            }
        }
        Ok(Outcome { diverged: false, steepest })
    }
}

/// The result of a run.
struct Outcome {
    diverged: bool,
    /// The largest magnitude of a gradient.
    steepest: f64,
}

fn largest<R: Real>(tensors: &[Tensor<R>]) -> f64 {
    let sizes = tensors.iter().flat_map(|tensor| &tensor.values).map(|x| x.as_f64().abs());
    sizes.fold(0.0, |top, x| if x.is_nan() { f64::INFINITY } else { x.max(top) })
}

fn all_finite<R: Real>(state: &State<R>) -> bool {
    state.tensors.iter().flat_map(|tensor| &tensor.values).all(|x| x.is_finite())
}

/// All tensors except the running statistics.
fn parameters<R: Real>(state: &State<R>) -> Vec<(&str, &[R])> {
    let tensors = state.tensors.iter().map(|tensor| (&tensor.name[..], &tensor.values[..]));
    tensors.filter(|(name, _)| !name.contains("running")).collect()
}

/// The square of a larger gradient, which Adam averages, overflows single precision.
const STEEP: f64 = 1.8e19;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 800,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Training may diverge if gradients pass through resets: each multiplies them by
    /// `1 - s + (v_reset - h) f(u)` or `1 - threshold f(u)`. Single precision may also diverge if a
    /// gradient in double precision exceeds `STEEP`.
    #[test]
    fn finite_input_gives_finite_results(extreme in extremes()) {
        let grows = !extreme.detach && extreme.spike_steps() > 1;
        let double = extreme.holds(extreme.cpu::<f64>())?;
        prop_assert!(grows || !double.diverged, "diverged at {:e}", double.steepest);
        let reference = extreme.holds(Reference::<f32>::new())?;
        for single in [extreme.holds(extreme.cpu::<f32>())?, reference] {
            let steep = double.diverged || double.steepest > STEEP;
            prop_assert!(grows || steep || !single.diverged, "diverged at {:e}", double.steepest);
        }
    }
}

const LONG: usize = 100_000;

/// Two hidden layers with weights of 1e4. The scores are sums of the membrane of the readout.
fn streaming(neuron: Kind, tau: f32, norm: bool) -> Extreme {
    Extreme {
        widths: [3, 4, 4, 2],
        taps: 25,
        count: 1,
        steps: 1,
        batch: 1,
        lengths: false,
        kernel: AnyKernel::Gauss,
        neuron,
        surrogate: "atan",
        loss: Loss::MembraneSum,
        norm,
        detach: true,
        tau: [tau; 2],
        sigma: 0.23,
        weight: 1e4,
        delay: 1.0,
        input: 1.0,
        algorithm: None,
    }
}

fn feed(stream: &mut Stream<f32>, value: f32, steps: usize) {
    for _ in 0..steps / 1000 {
        stream.feed(&[value; 3000]).unwrap();
        assert!(stream.scores().iter().all(|score| score.is_finite()));
    }
}

#[test]
fn long_streams_stay_finite() {
    for neuron in kinds() {
        for (tau, norm) in [(1.000_001, true), (1e6, false), (1e30, true)] {
            let trainer = streaming(neuron, tau, norm).trainer(Cpu::new(1).unwrap());
            let mut stream = Stream::new(trainer.model()).unwrap();
            feed(&mut stream, 1.0, LONG);
            feed(&mut stream, 0.0, 1000);
            assert!(stream.finish().iter().all(|score| score.is_finite()));
        }
    }
}

/// After a long silence, no spikes and no membrane of the past are left. The network has no norm,
/// because the shift of a norm may drive neurons.
#[test]
fn silent_streams_come_to_rest() {
    for neuron in kinds() {
        for tau in [1.000_001, 20.0] {
            let trainer = streaming(neuron, tau, false).trainer(Cpu::new(1).unwrap());
            let mut stream = Stream::new(trainer.model()).unwrap();
            feed(&mut stream, 1.0, 2000);
            feed(&mut stream, 0.0, 10_000);
            let (spikes, scores) = (stream.spikes().to_vec(), stream.scores().to_vec());
            assert_eq!(spikes[0] > 0, neuron.0 != "li");
            feed(&mut stream, 0.0, LONG);
            assert_eq!((stream.spikes(), stream.scores()), (&spikes[..], &scores[..]));
        }
    }
}

/// Drives a neuron with strong input, then with none. Returns whether its state decays to 0.
struct Rest;

impl<R: Real> NeuronVisitor<R> for Rest {
    type Output = bool;

    fn visit<N: Neuron<Real = R>>(self, neuron: &N) -> bool {
        let mut state = neuron.rest();
        let drives =
            std::iter::repeat_n(R::of(1e4), LONG).chain(std::iter::repeat_n(R::zero(), LONG));
        for x in drives {
            let charged = neuron.charge(state, x);
            let fires = neuron.fires() && neuron.excess(charged) >= R::zero();
            state = neuron.reset(charged, if fires { R::one() } else { R::zero() });
            if !state.as_ref().iter().all(|x| x.is_finite()) {
                return false;
            }
        }
        // A subnormal number may decay by less than the smallest one.
        state.as_ref().iter().all(|x| x.as_f64().abs() < f64::from(f32::MIN_POSITIVE))
    }
}

#[test]
fn neurons_come_to_rest() {
    for neuron in kinds() {
        for tau in [1.000_001, 1.005, 2.0, 500.0] {
            let extreme = streaming(neuron, tau, false);
            assert!(extreme.neuron::<f32>().visit(Rest), "{:?}", extreme.neuron::<f32>());
            assert!(extreme.neuron::<f64>().visit(Rest), "{:?}", extreme.neuron::<f64>());
        }
    }
}
