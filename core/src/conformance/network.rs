use super::host::{Draw, Output, Problem, agree};
use super::stage::{self, MARGIN};
use super::tolerance::Stage;
use super::{Conforming, Failure, Report, Verdict};
use crate::backend::{Backend, Event, HasKernel, HasNeuron, HasSurrogate};
use crate::connectivity::{Connectivity, Conv};
use crate::delay::{AnyKernel, Place, Rounding};
use crate::gradcheck::largest;
use crate::loss::{BinaryCrossEntropy, Loss, RatePenalty};
use crate::neuron::{AnyNeuron, Li};
use crate::norm::BatchNorm;
use crate::num::Real;
use crate::reference::Reference;
use crate::shape::{Shape, Synapses};
use crate::surrogate::{AnySurrogate, Surrogate};
use crate::train::{
    Batch, Connection, Group, Input, Layer, Network, Readout, Recipe, Source, State, Tensor,
    Trainer,
};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::num::NonZeroUsize;
use core::sync::atomic::{AtomicU64, Ordering};

/// The first step on each of two batches, by one [`Trainer`]: loss, hits, the gradient of every
/// tensor, and the running statistics. The network has two different layers; the second also reads
/// the input, and the readout also reads the first. Delays sit at every place.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn network_step<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for (n, &plan) in PLANS.iter().enumerate() {
        let case = clear_case::<R>(plan, 1000 * n as u64)?;
        agree(backend, &mut report, &format!("{plan:?}"), &case)?;
    }
    Ok(report)
}

/// What a network and its batches have.
#[derive(Clone, Copy, Debug)]
struct Plan {
    loss: Loss,
    /// Binary cross entropy on the host, instead of the readout's loss.
    objective: bool,
    rounding: Option<Rounding>,
    lengths: bool,
    events: bool,
    penalty: bool,
    /// The steps of a window.
    window: Option<NonZeroUsize>,
    /// Of the four connections.
    places: [Place; 4],
    /// Which of the four connections have fixed delays.
    fixed: [bool; 4],
    /// Whether the first two are convolutions, and the next two sparse.
    packed: bool,
}

const PLAN: Plan = Plan {
    loss: Loss::SoftmaxSum,
    objective: false,
    rounding: None,
    lengths: false,
    events: true,
    penalty: false,
    window: None,
    places: [Place::Synaptic; 4],
    fixed: [false; 4],
    packed: false,
};

const PLANS: [Plan; 10] = [
    PLAN,
    Plan { loss: Loss::Mean, lengths: true, events: false, penalty: true, ..PLAN },
    Plan { objective: true, rounding: Some(Rounding::Split), lengths: true, ..PLAN },
    Plan { lengths: true, penalty: true, window: NonZeroUsize::new(7), ..PLAN },
    Plan { places: [Place::Axonal, Place::Shared, Place::Dendritic, Place::Axonal], ..PLAN },
    Plan {
        rounding: Some(Rounding::Split),
        window: NonZeroUsize::new(8),
        places: [Place::Dendritic, Place::Synaptic, Place::Axonal, Place::Shared],
        ..PLAN
    },
    Plan { fixed: [true, false, false, true], penalty: true, ..PLAN },
    Plan {
        rounding: Some(Rounding::Split),
        lengths: true,
        window: NonZeroUsize::new(7),
        places: [Place::Synaptic, Place::Axonal, Place::Dendritic, Place::Synaptic],
        fixed: [false, true, true, true],
        ..PLAN
    },
    Plan { packed: true, ..PLAN },
    Plan {
        lengths: true,
        window: NonZeroUsize::new(7),
        places: [Place::Synaptic, Place::Dendritic, Place::Axonal, Place::Synaptic],
        packed: true,
        ..PLAN
    },
];

const INPUT: Shape = Shape::new(11, 3, 5);
const WIDTHS: [usize; 3] = [6, 4, 3];

impl Plan {
    fn network<Q, B, S>(self, [first, second]: [S; 2]) -> Network<B>
    where
        Q: Real,
        B: Backend<Real = Q> + HasKernel<AnyKernel> + HasNeuron<AnyNeuron<Q>> + HasSurrogate<S>,
    {
        let neuron = |name| stage::neurons::<Q>()[stage::neuron_index(name)].1;
        let [one, two, classes] = WIDTHS;
        let synapses = Synapses { kernel_count: 2, ..Synapses::new(INPUT.width, one, 5) };
        let lif = neuron("lif, hard, detached");
        let one_layer = Layer::new(synapses, AnyKernel::Gauss, lif, first)
            .with_norm(BatchNorm::default())
            .with_dropout(0.25);
        let skip = Connection::new(Synapses::new(INPUT.width, two, 4), AnyKernel::Linear);
        let synapses = Synapses::new(one, two, 7);
        let two_layer = Layer::new(synapses, AnyKernel::Max, neuron("adlif"), second)
            .with_parameters_per_neuron()
            .with_input(skip.from(Source::Input));
        let mut output =
            Readout::new(Synapses::new(two, classes, 6), AnyKernel::Gauss, Li::new(Q::of(4.0)));
        let skip = Connection::new(Synapses::new(one, classes, 3), AnyKernel::Gauss);
        output.inputs.push(skip.from(Source::Layer(0)));
        let mut network = Network::chain([one_layer, two_layer], output);
        let inputs = network.hidden.iter_mut().flat_map(|layer| &mut layer.inputs);
        let connections = inputs.chain(&mut network.output.inputs).zip(self.places).zip(self.fixed);
        for (((connection, place), fixed), units) in connections.zip(connectivities()) {
            (connection.place, connection.fixed_delays) = (place, fixed);
            connection.connectivity = units.filter(|_| self.packed).map(Arc::new);
        }
        network.loss = self.loss;
        network.window = self.window;
        network.rounding = self.rounding.unwrap_or_default();
        if self.objective {
            network.objective = Some(&BinaryCrossEntropy);
        }
        network
    }

    fn trainer<Q, B, S>(self, backend: B, surrogates: [S; 2]) -> Result<Trainer<B>, Failure>
    where
        Q: Real,
        B: Backend<Real = Q> + HasKernel<AnyKernel> + HasNeuron<AnyNeuron<Q>> + HasSurrogate<S>,
    {
        let paper = Recipe::paper(4);
        let penalty = RatePenalty { weight: 0.5, low: 0.25, high: 0.3 };
        let recipe = Recipe {
            rate_penalty: self.penalty.then_some(penalty),
            rounded_epochs: if self.rounding.is_some() { paper.epochs } else { 0 },
            ..paper
        };
        Ok(Trainer::new(backend, self.network(surrogates), recipe, 0)?)
    }
}

/// For the four connections of a network.
fn connectivities() -> [Option<Connectivity>; 4] {
    let [_, two, classes] = WIDTHS;
    let first =
        Conv { positions: INPUT.width, width: 3, stride: 2, out_maps: 3, ..Conv::default() };
    let second = Conv { positions: 2, in_maps: 3, out_maps: 2, ..Conv::default() };
    let pairs = |inputs: usize, outputs: usize| {
        let pairs: Vec<_> = (0..inputs * outputs).step_by(3).rev().collect();
        let pairs: Vec<_> = pairs.into_iter().map(|n| (n / inputs, n % inputs)).collect();
        Connectivity::sparse(inputs, outputs, &pairs).ok()
    };
    let [first, second] = [first, second].map(|conv| Connectivity::conv(&conv).ok());
    [first, second, pairs(INPUT.width, two), pairs(two, classes)]
}

struct Case {
    plan: Plan,
    state: State<f64>,
    batches: [Data; 2],
}

struct Data {
    x: Vec<f64>,
    targets: Vec<f64>,
}

fn surrogates<R: Real>() -> Result<[AnySurrogate<R>; 2], Failure> {
    let named = |name, alpha| AnySurrogate::from_name(name, &[("alpha", alpha)]);
    Ok([named("atan", 5.0)?, named("sigmoid", 4.0)?])
}

impl Case {
    fn draw<R: Real>(plan: Plan, seed: u64) -> Result<Self, Failure> {
        let mut draw = Draw::<R>::new(30_000 + seed);
        let trainer = plan.trainer(Reference::<f64>::new(), surrogates()?)?;
        let mut state = trainer.state()?;
        for (tensor, spec) in state.tensors.iter_mut().zip(trainer.model().specs()) {
            let (last, len) =
                (spec.bounds_of(0).map_or(0.0, |(_, last)| last), tensor.values.len());
            let spread = draw.uniform(len, -0.3, 0.3);
            let values = &mut tensor.values;
            match spec.group {
                Group::Weights => *values = draw.uniform(len, -1.0, 1.5),
                Group::Delays => *values = draw.uniform(len, 0.0, last),
                Group::Sigma => *values = draw.uniform(len, 0.25, 1.0),
                Group::Norms | Group::Neurons => {
                    for (n, (value, d)) in values.iter_mut().zip(spread).enumerate() {
                        let (least, most) = spec.bounds_of(n).unwrap_or((f64::MIN, f64::MAX));
                        *value = R::of((*value + d).clamp(least, most)).as_f64();
                    }
                }
                Group::Statistics => {}
            }
        }
        let batches = [(); 2].map(|()| Data {
            x: draw.spikes(INPUT.len(), 0.3),
            targets: (0..INPUT.batch).flat_map(|b| one_hot(draw.unit(), b)).collect(),
        });
        Ok(Self { plan, state, batches })
    }

    fn steps<Q, B, S>(&self, backend: B, surrogates: [S; 2]) -> Result<Vec<Output>, Failure>
    where
        Q: Real,
        B: Backend<Real = Q> + HasKernel<AnyKernel> + HasNeuron<AnyNeuron<Q>> + HasSurrogate<S>,
    {
        let mut trainer = self.plan.trainer(backend, surrogates)?;
        let tensor = |t: &Tensor<f64>| {
            let (name, shape, values) = (t.name.clone(), t.shape.clone(), round(&t.values));
            Tensor { name, shape, values }
        };
        let State { epoch, step, seed, ref tensors } = self.state;
        let state = State { tensors: tensors.iter().map(tensor).collect(), epoch, step, seed };
        let lengths = [INPUT.steps, INPUT.steps - 4, 2];
        let mut outputs = Vec::new();
        for Data { x, targets } in &self.batches {
            trainer.restore(&state)?;
            let (events, x, targets) = (events(x), round(x), round(targets));
            let report = trainer.step(&Batch {
                shape: INPUT,
                x: if self.plan.events { Input::Events(&events) } else { Input::Dense(&x) },
                targets: Some(&targets),
                lengths: self.plan.lengths.then_some(&lengths[..]),
            })?;
            let numbers = [("loss", report.loss.as_f64()), ("hits", report.correct as f64)];
            let number = |(what, x)| Output::new(Stage::Network, what, vec![x]);
            outputs.extend(numbers.map(number));
            self.read(&trainer, &mut outputs)?;
        }
        Ok(outputs)
    }

    /// The gradients and the running statistics.
    fn read<B: Backend>(
        &self,
        trainer: &Trainer<B>,
        outputs: &mut Vec<Output>,
    ) -> Result<(), Failure> {
        let (gradients, after) = (trainer.gradients()?, trainer.model().tensors()?);
        let mut floors = [0.0; 2];
        for (spec, before) in trainer.model().specs().iter().zip(&self.state.tensors) {
            let source = if spec.group == Group::Statistics { &after } else { &gradients };
            let found = source.iter().find(|tensor| tensor.name == spec.name);
            let values = found.map_or(&[][..], |tensor| &tensor.values);
            let values: Vec<_> = values.iter().map(|x| x.as_f64()).collect();
            if spec.group == Group::Weights {
                let top = largest(&values);
                // As in the laws of the stages: gradients that nearly cancel.
                floors = [0.01 * largest(&before.values) * top, top];
            }
            let back = Stage::NetworkBackward;
            let summed = Real::sqrt(before.values.len() as f64);
            let (stage, what, floor) = match spec.group {
                Group::Weights => (back, "d_weights", 0.0),
                Group::Delays => (back, "d_delays", floors[0]),
                Group::Sigma => (back, "d_sigma", summed * floors[0]),
                Group::Norms => (back, "d_norm", floors[1]),
                Group::Neurons => (back, "d_neuron", floors[1]),
                Group::Statistics => (Stage::Network, "running", 0.0),
            };
            outputs.push(Output { floor, ..Output::new(stage, what, values) });
        }
        Ok(())
    }
}

impl Problem for Case {
    fn run<Q: Real, B: Conforming<Real = Q>>(&self, backend: &B) -> Result<Vec<Output>, Failure> {
        self.steps(backend, surrogates()?)
    }
}

fn round<Q: Real>(values: &[f64]) -> Vec<Q> {
    values.iter().map(|&x| Q::of(x)).collect()
}

fn one_hot(unit: f64, b: usize) -> [f64; 3] {
    let hot = ((3.0 * unit) as usize + b) % 3;
    core::array::from_fn(|class| if class == hot { 1.0 } else { 0.0 })
}

fn events<Q: Real>(x: &[f64]) -> Vec<Event<Q>> {
    let mut events = Vec::new();
    for sample in 0..INPUT.batch {
        for step in 0..INPUT.steps {
            for channel in 0..INPUT.width {
                let value = x[INPUT.at(step, sample, channel)];
                if value != 0.0 {
                    let [sample, step, channel] = [sample, step, channel].map(|n| n as u32);
                    events.push(Event { sample, step, channel, value: Q::of(value) });
                }
            }
        }
    }
    events
}

/// A surrogate that records the least distance of an excess from 0.
#[derive(Clone, Debug)]
struct Watched {
    surrogate: AnySurrogate<f64>,
    /// The bits of a number that is not negative.
    nearest: Arc<AtomicU64>,
}

impl Surrogate<f64> for Watched {
    fn derivative(&self, u: f64) -> f64 {
        self.nearest.fetch_min(u.abs().to_bits(), Ordering::Relaxed);
        self.surrogate.derivative(u)
    }
    fn primitive(&self, u: f64) -> f64 {
        self.surrogate.primitive(u)
    }
}

/// A case in which no spike depends on rounding errors, and every weight matters.
fn clear_case<R: Real>(plan: Plan, seed: u64) -> Result<Case, Failure> {
    for seed in seed..seed + 500 {
        let case = Case::draw::<R>(plan, seed)?;
        let nearest = Arc::new(AtomicU64::new(f64::INFINITY.to_bits()));
        let watched = |surrogate| Watched { surrogate, nearest: nearest.clone() };
        let outputs = case.steps(Reference::<f64>::new(), surrogates()?.map(watched))?;
        let clear = f64::from_bits(nearest.load(Ordering::Relaxed)) >= MARGIN;
        let mut gradients = outputs.iter().filter(|output| output.what == "d_weights");
        if clear && gradients.all(|output| largest(&output.values) > 0.0) {
            return Ok(case);
        }
    }
    Err(Failure(String::from("no network found with a margin")))
}
