//! Models and trainers on the backend of a configuration.
//!
//! Evaluation, figures and observers use [`Classifier`], which is independent of the backend.

use crate::config::{Algorithm, Backend, Config};
#[cfg(not(all(feature = "cuda", feature = "emulator")))]
use crate::error::ErrorKind;
use crate::error::{Error, Result, at};
use crate::network::{Interface, graph, network, packed_name, recipe, source_name};
use polychron_core::backend::{self, HasKernel, HasNeuron, HasSurrogate};
use polychron_core::delay::{AnyKernel, Place};
use polychron_core::neuron::{AnyNeuron, Li};
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::AnySurrogate;
use polychron_core::train::{
    Batch, Delays as ModelDelays, Edge, Graph, Model, Network, Node, Spikes, State, StepReport,
    Tensor, TensorSpec, Trace, TrainError, Trainer,
};
use polychron_cpu::{Cpu, Plan};
use std::path::Path;

/// A model on the CPU.
pub(crate) type CpuModel = Model<Cpu<f32>>;

/// A network with parameters on any backend.
pub trait Classifier {
    /// Returns who is connected to whom.
    fn graph(&self) -> &Graph;

    /// Returns the integrator of the readout.
    fn integrator(&self) -> Li<f32>;

    /// Computes the scores `[B, classes]` and the mean loss of a batch, with running statistics and
    /// without dropout.
    ///
    /// # Errors
    /// If the batch does not fit the network or the backend fails.
    fn scores(&self, batch: &Batch<'_, f32>, delays: ModelDelays) -> Result<(Vec<f32>, f32)>;

    /// Computes the scores of a batch, as [`Classifier::scores`], and the output of every layer:
    /// spikes `[T, B, N]` of the hidden layers, then the projection of the readout.
    ///
    /// # Errors
    /// As [`Classifier::scores`].
    fn trace(&self, batch: &Batch<'_, f32>, delays: ModelDelays) -> Result<Trace<f32>>;

    /// Computes the scores, and calls `look` with the output of every layer, as [`Model::watch`].
    ///
    /// # Errors
    /// As [`Classifier::scores`].
    fn watch(
        &self,
        batch: &Batch<'_, f32>,
        delays: ModelDelays,
        look: &mut dyn FnMut(usize, Spikes<f32>),
    ) -> Result<Vec<f32>>;

    /// Returns what these tensors are, as [`Model::specs`].
    fn specs(&self) -> &[TensorSpec<f32>];

    /// Returns the parameters and the running statistics by name, as [`Model::tensors`].
    ///
    /// # Errors
    /// If the backend fails.
    fn tensors(&self) -> Result<Vec<Tensor<f32>>>;
}

impl<B: TrainingBackend> Classifier for Model<B> {
    fn graph(&self) -> &Graph {
        Self::graph(self)
    }
    fn integrator(&self) -> Li<f32> {
        Self::network(self).output.integrator
    }
    fn scores(&self, batch: &Batch<'_, f32>, delays: ModelDelays) -> Result<(Vec<f32>, f32)> {
        Self::evaluate(self, batch, delays).map_err(Error::wrap)
    }
    fn trace(&self, batch: &Batch<'_, f32>, delays: ModelDelays) -> Result<Trace<f32>> {
        Self::trace(self, batch, delays).map_err(Error::wrap)
    }
    fn watch(
        &self,
        batch: &Batch<'_, f32>,
        delays: ModelDelays,
        look: &mut dyn FnMut(usize, Spikes<f32>),
    ) -> Result<Vec<f32>> {
        Ok(Self::watch(self, batch, delays, look).map_err(Error::wrap)?.0)
    }
    fn specs(&self) -> &[TensorSpec<f32>] {
        Self::specs(self)
    }
    fn tensors(&self) -> Result<Vec<Tensor<f32>>> {
        Self::tensors(self).map_err(Error::wrap)
    }
}

/// A trainer on any backend.
pub(crate) trait Learner {
    fn model(&self) -> &dyn Classifier;
    fn epoch(&self) -> u64;
    fn step_count(&self) -> u64;
    fn parameters(&self) -> usize;
    /// Takes a step; `None` if the loss, a gradient or a parameter is not finite.
    fn step(&mut self, batch: &Batch<'_, f32>) -> Result<Option<StepReport<f32>>>;
    fn finish_epoch(&mut self) -> Result<()>;
    fn state(&self) -> Result<State<f32>>;
    fn restore(&mut self, state: &State<f32>) -> Result<()>;
}

impl<B: TrainingBackend> Learner for Trainer<B> {
    fn model(&self) -> &dyn Classifier {
        Self::model(self)
    }
    fn epoch(&self) -> u64 {
        Self::epoch(self)
    }
    fn step_count(&self) -> u64 {
        Self::step_count(self)
    }
    fn parameters(&self) -> usize {
        Self::parameters(self)
    }
    fn step(&mut self, batch: &Batch<'_, f32>) -> Result<Option<StepReport<f32>>> {
        match Self::step(self, batch) {
            Ok(report) => Ok(Some(report)),
            Err(TrainError::Diverged { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
    fn finish_epoch(&mut self) -> Result<()> {
        Self::finish_epoch(self).map_err(Error::wrap)
    }
    fn state(&self) -> Result<State<f32>> {
        Self::state(self).map_err(Error::wrap)
    }
    fn restore(&mut self, state: &State<f32>) -> Result<()> {
        Ok(Self::restore(self, state)?)
    }
}

/// A backend for every network that a configuration can describe.
pub trait TrainingBackend:
    backend::Backend<Real = f32>
    + HasKernel<AnyKernel>
    + HasNeuron<AnyNeuron<f32>>
    + HasSurrogate<AnySurrogate<f32>>
    + 'static
{
}

impl<B> TrainingBackend for B where
    B: backend::Backend<Real = f32>
        + HasKernel<AnyKernel>
        + HasNeuron<AnyNeuron<f32>>
        + HasSurrogate<AnySurrogate<f32>>
        + 'static
{
}

/// A job that is generic over the backend.
pub(crate) trait Job {
    /// The job's result.
    type Output;

    /// Runs the job. Each call of `backend` makes a new backend.
    fn run<B: TrainingBackend>(self, backend: impl Fn() -> Result<B>) -> Result<Self::Output>;
}

/// Runs a job on the configuration's backend.
pub(crate) fn run_on_backend<J: Job>(config: &Config, job: J) -> Result<J::Output> {
    match config.backend {
        Backend::Cpu => job.run(|| cpu(config)),
        #[cfg(feature = "cuda")]
        Backend::Cuda => job.run(|| Ok(polychron_cuda::Cuda::<f32>::new(0)?)),
        #[cfg(feature = "emulator")]
        Backend::CudaEmulated => {
            job.run(|| Ok(polychron_cuda::Cuda::<f32>::emulated(Default::default())))
        }
        #[cfg(not(all(feature = "cuda", feature = "emulator")))]
        other => {
            let (name, feature) = match other {
                Backend::CudaEmulated => ("cuda-emulated", "emulator"),
                _ => ("cuda", "cuda"),
            };
            let error = Error::new(format!(
                "backend = {name:?} is not built into this program; rebuild it with \
                 --features {feature}"
            ));
            Err(error.with_kind(ErrorKind::Backend))
        }
    }
}

/// Makes the CPU backend with the configuration's threads and algorithm.
pub(crate) fn cpu(config: &Config) -> Result<Cpu<f32>> {
    let algorithm = match config.algorithm {
        Algorithm::Auto => None,
        Algorithm::Dense => Some(polychron_cpu::Algorithm::Dense),
        Algorithm::Frequency => Some(polychron_cpu::Algorithm::Frequency),
        Algorithm::Taps => Some(polychron_cpu::Algorithm::Taps),
        Algorithm::Windows => Some(polychron_cpu::Algorithm::Windows),
    };
    Ok(Cpu::new(config.threads)?.with_algorithm(algorithm))
}

/// The CPU's plan for every connection with the sigma of the first epoch, and the index of its
/// layer. `densities` are the shares of nonzero inputs of the layers; the last one applies to all
/// further layers.
fn plans(
    config: &Config,
    network: &Network<Cpu<f32>>,
    graph: &Graph,
    input: Shape,
    densities: &[f64],
) -> Result<Vec<(usize, Edge, Plan)>> {
    let cpu = cpu(config)?;
    let last = densities.last().copied().unwrap_or(1.0);
    let mut densities = densities.iter().copied().chain(std::iter::repeat(last));
    let mut plans = Vec::new();
    for (l, (node, inputs)) in graph.nodes.iter().zip(network.inputs()).enumerate() {
        let density = densities.next().unwrap_or(last);
        for (edge, connection) in node.edges.iter().zip(inputs) {
            let Edge { from, synapses, .. } = edge;
            let mut shape = from.map_or(input, |from| graph.output(from, input));
            if let Some(window) = network.window.filter(|window| window.get() < shape.steps) {
                shape.steps = window.get() + synapses.taps - 1;
            }
            let (kernel, sigma) = (connection.kernel.kernel(), sigma(config, synapses));
            plans.push((l, edge.clone(), cpu.plan(synapses, kernel, &[sigma], shape, density)));
        }
    }
    Ok(plans)
}

/// The number of multiply-adds and bytes of every connection's projection on the configuration's
/// backend, forward and backward; densities as in [`plans`].
pub(crate) fn work(
    config: &Config,
    interface: Interface,
    input: Shape,
    densities: &[f64],
) -> Result<Vec<[(f64, f64); 2]>> {
    let graph = graph(config, interface)?;
    let directions: Vec<[(f64, f64); 3]> = if config.backend == Backend::Cpu {
        let plans = plans(config, &network(config, interface)?, &graph, input, densities)?;
        let of = |choice: polychron_cpu::Choice| (choice.work.multiply_adds, choice.work.bytes);
        let work = |(.., plan): &(usize, Edge, Plan)| {
            [plan.forward, plan.by_kernel, plan.by_input].map(of)
        };
        plans.iter().map(work).collect()
    } else {
        device_work(&graph, input)
    };
    let connection = |([forward, by_kernel, by_input], edge): ([(f64, f64); 3], &Edge)| {
        let by_input = if edge.from.is_some() { by_input } else { (0.0, 0.0) };
        [forward, (by_kernel.0 + by_input.0, by_kernel.1 + by_input.1)]
    };
    Ok(directions.into_iter().zip(graph.edges()).map(connection).collect())
}

/// The work of every connection's projection on a GPU: forward, by kernel and by input.
#[cfg(feature = "cuda")]
fn device_work(graph: &Graph, input: Shape) -> Vec<[(f64, f64); 3]> {
    let connection = |Edge { from, synapses, .. }: &Edge| {
        let shape = from.map_or(input, |from| graph.output(from, input));
        let work = polychron_cuda::work::<f32>(synapses, shape, None);
        work.map(|work| (work.multiply_adds, work.bytes))
    };
    graph.edges().map(connection).collect()
}

#[cfg(not(feature = "cuda"))]
fn device_work(_: &Graph, _: Shape) -> Vec<[(f64, f64); 3]> {
    Vec::new()
}

/// The CPU's plan as text, for one density. The lines of a network that is not a chain say where
/// each connection comes from.
pub(crate) fn plan(
    config: &Config,
    interface: Interface,
    input: Shape,
    density: f64,
) -> Result<String> {
    let graph = graph(config, interface)?;
    let plans = plans(config, &network(config, interface)?, &graph, input, &[density])?;
    // Three digits say enough.
    let density = format!("{density:.2e}").parse().unwrap_or(density);
    let chain = graph.chain().is_some();
    let sizes = |l: usize, from: String, edge: &Edge| {
        let Synapses { inputs, outputs, taps, .. } = edge.synapses;
        let place = match edge.place {
            Place::Synaptic => String::new(),
            place => format!(" {},", place.name()),
        };
        let packed = packed_name(edge).map_or(String::new(), |name| format!(" {name},"));
        let sigma = sigma(config, &edge.synapses);
        let ms = (taps - 1) as f64 * interface.dt_ms;
        let layer = l + 1;
        format!(
            "layer {layer}{from}: {inputs}-{outputs}, {taps} taps up to {ms} ms,{packed}{place} \
             sigma {sigma}"
        )
    };
    let connection = |(l, edge, plan): (usize, Edge, Plan)| {
        let from = if chain { String::new() } else { format!(" from {}", source_name(&edge)) };
        format!("{}, density {density}: {plan}\n", sizes(l, from, &edge))
    };
    let recurrent = |(l, node): (usize, &Node)| {
        let edge = node.recurrence.as_ref()?;
        Some(format!("{}: step by step\n", sizes(l, " recurrent".into(), edge)))
    };
    let recurrent = graph.nodes.iter().enumerate().filter_map(recurrent);
    Ok(plans.into_iter().map(connection).chain(recurrent).collect())
}

fn sigma(config: &Config, synapses: &Synapses) -> f32 {
    config.train.sigma_start.unwrap_or((synapses.taps / 2) as f64) as f32
}

/// Makes a new trainer on the configuration's backend.
pub(crate) fn learner(config: &Config, interface: Interface) -> Result<Box<dyn Learner>> {
    run_on_backend(config, NewLearner { config, interface })
}

struct NewLearner<'a> {
    config: &'a Config,
    interface: Interface,
}

impl Job for NewLearner<'_> {
    type Output = Box<dyn Learner>;

    fn run<B: TrainingBackend>(self, backend: impl Fn() -> Result<B>) -> Result<Self::Output> {
        Ok(Box::new(trainer(backend()?, self.config, self.interface)?))
    }
}

/// Makes a new trainer.
pub(crate) fn trainer<B: TrainingBackend>(
    backend: B,
    config: &Config,
    interface: Interface,
) -> Result<Trainer<B>> {
    let network = network(config, interface)?;
    Ok(Trainer::new(backend, network, recipe(config), config.seed)?)
}

/// The job that makes a model with the parameters of a state; `path` names the state's file in
/// error messages.
pub(crate) struct Restore<'a> {
    pub(crate) config: &'a Config,
    pub(crate) interface: Interface,
    pub(crate) state: &'a State<f32>,
    pub(crate) path: &'a Path,
}

impl Restore<'_> {
    pub(crate) fn on<B: TrainingBackend>(&self, backend: B) -> Result<Model<B>> {
        let Self { config, interface, state, path } = *self;
        let network = network(config, interface)?;
        let graph = network.graph().map_err(at(path.display()))?;
        state.fits(&graph).map_err(at(path.display()))?;
        let mut model = Model::new(backend, network, recipe(config).delays, config.seed)?;
        model.restore(state).map_err(at(path.display()))?;
        Ok(model)
    }
}

impl Job for Restore<'_> {
    type Output = Box<dyn Classifier>;

    fn run<B: TrainingBackend>(self, backend: impl Fn() -> Result<B>) -> Result<Self::Output> {
        Ok(Box::new(self.on(backend()?)?))
    }
}
