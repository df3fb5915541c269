//! Backends at work: which one a configuration names, what it plans, and trainers and models on it.

use crate::config::{Algorithm, Backend, Config, Delays};
#[cfg(not(all(feature = "cuda", feature = "emulator")))]
use crate::error::fail;
use crate::error::{Result, at};
use crate::network::{Ends, Net, network, recipe};
use polychron_core::backend::LayerOps;
use polychron_core::delay::{AnyKernel, Discrete, round_delay};
use polychron_core::neuron::AnyNeuron;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::AnySurrogate;
use polychron_core::train::{self, State};
use polychron_cpu::{Cpu, Plan};
use std::path::Path;

pub(crate) type Trainer<B> = train::Trainer<f32, B, AnyKernel, AnyNeuron<f32>, AnySurrogate<f32>>;
pub(crate) type Model<B> = train::Model<f32, B, AnyKernel, AnyNeuron<f32>, AnySurrogate<f32>>;

/// A backend for whatever a configuration can name.
pub(crate) trait Machine:
    LayerOps<f32, AnyKernel, AnyNeuron<f32>, AnySurrogate<f32>>
    + LayerOps<f32, Discrete, AnyNeuron<f32>, AnySurrogate<f32>>
{
}

impl<B> Machine for B where
    B: LayerOps<f32, AnyKernel, AnyNeuron<f32>, AnySurrogate<f32>>
        + LayerOps<f32, Discrete, AnyNeuron<f32>, AnySurrogate<f32>>
{
}

/// Work to be done on the backend that a configuration names.
pub(crate) trait Work {
    /// What comes of it.
    type Output;

    /// Does it; `backend` makes one, each time anew.
    fn on<B: Machine>(self, backend: impl Fn() -> Result<B>) -> Result<Self::Output>;
}

/// Does the work on the configuration's backend.
pub(crate) fn on_backend<W: Work>(config: &Config, work: W) -> Result<W::Output> {
    match config.backend {
        Backend::Cpu => work.on(|| cpu(config)),
        #[cfg(feature = "cuda")]
        Backend::Cuda => work.on(|| Ok(polychron_cuda::Cuda::new(0)?)),
        #[cfg(feature = "emulator")]
        Backend::CudaEmulated => work.on(|| Ok(polychron_cuda::Cuda::emulated(Default::default()))),
        #[cfg(not(all(feature = "cuda", feature = "emulator")))]
        other => {
            let (name, feature) = match other {
                Backend::CudaEmulated => ("cuda-emulated", "emulator"),
                _ => ("cuda", "cuda"),
            };
            fail!(
                "backend = {name:?}: this program was built without it; cargo run --release --features {feature} builds it in"
            )
        }
    }
}

/// The CPU as a configuration asks for it.
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

/// What the backend picks for every layer and direction with the sigma of the first epoch, where that share of a layer's
/// input is not 0, the last share holding for the layers after it too.
pub(crate) fn plans(
    config: &Config,
    network: &Net,
    input: Shape,
    densities: &[f64],
) -> Result<Vec<Plan>> {
    let cpu = cpu(config)?;
    let last = densities.last().copied().unwrap_or(1.0);
    let mut densities = densities.iter().copied().chain(std::iter::repeat(last));
    let output = (&network.output.synapses, &network.output.kernel);
    let layers = network.hidden.iter().map(|h| (&h.synapses, &h.kernel)).chain([output]);
    let mut shape = input;
    let plan = |(synapses, kernel): (&Synapses, &AnyKernel)| {
        let density = densities.next().unwrap_or(last);
        let plan = cpu.plan(synapses, kernel, &[sigma(config, synapses)], shape, density);
        shape = synapses.output(shape);
        plan
    };
    Ok(layers.map(plan).collect())
}

/// Multiply-adds and bytes of every layer's projection on the configuration's backend, forward and backward; densities as in [`plans`].
pub(crate) fn work(
    config: &Config,
    network: &Net,
    input: Shape,
    densities: &[f64],
) -> Result<Vec<[(f64, f64); 2]>> {
    let directions: Vec<[(f64, f64); 3]> = if config.backend == Backend::Cpu {
        let plans = plans(config, network, input, densities)?;
        let of = |choice: polychron_cpu::Choice| (choice.work.multiply_adds, choice.work.bytes);
        plans.iter().map(|plan| [plan.forward, plan.by_kernel, plan.by_input].map(of)).collect()
    } else {
        device_work(network, input)
    };
    let layer = |(n, [forward, by_kernel, by_input]): (usize, [(f64, f64); 3])| {
        let by_input = if n > 0 { by_input } else { (0.0, 0.0) };
        [forward, (by_kernel.0 + by_input.0, by_kernel.1 + by_input.1)]
    };
    Ok(directions.into_iter().enumerate().map(layer).collect())
}

/// Forward, by kernel and by input of every layer's projection on a GPU.
#[cfg(feature = "cuda")]
fn device_work(network: &Net, mut shape: Shape) -> Vec<[(f64, f64); 3]> {
    let layer = |synapses: &Synapses| {
        let work = polychron_cuda::work::<f32>(synapses, shape, None);
        shape = synapses.output(shape);
        work.map(|work| (work.multiply_adds, work.bytes))
    };
    network.synapses().map(layer).collect()
}

#[cfg(not(feature = "cuda"))]
fn device_work(_: &Net, _: Shape) -> Vec<[(f64, f64); 3]> {
    Vec::new()
}

/// What the CPU picks in words, for one density.
pub(crate) fn plan(config: &Config, network: &Net, input: Shape, density: f64) -> Result<String> {
    let plans = plans(config, network, input, &[density])?;
    let layer = |(n, (synapses, plan)): (usize, (&Synapses, Plan))| {
        let (Synapses { inputs, outputs, taps, .. }, sigma) = (synapses, sigma(config, synapses));
        format!(
            "layer {}: {inputs}-{outputs}, {taps} taps, sigma {sigma}, density {density}: {plan}\n",
            n + 1
        )
    };
    Ok(network.synapses().zip(plans).enumerate().map(layer).collect())
}

fn sigma(config: &Config, synapses: &Synapses) -> f32 {
    config.train.sigma_start.unwrap_or((synapses.taps / 2) as f64) as f32
}

/// A trainer at the start of a run.
pub(crate) fn trainer<B: Machine>(backend: B, config: &Config, ends: Ends) -> Result<Trainer<B>> {
    let mut trainer = Trainer::new(backend, network(config, ends)?, recipe(config), config.seed)?;
    if config.train.delays == Delays::Random {
        let mut state = trainer.state()?;
        for tensor in state.tensors.iter_mut().filter(|t| t.name.ends_with(".delay")) {
            let taps = config.network.max_delay + 1;
            tensor.values.iter_mut().for_each(|d| *d = round_delay(*d, taps) as f32);
        }
        trainer.restore(&state)?;
    }
    Ok(trainer)
}

/// A run's model in a state; `path` names the state's file.
pub(crate) fn restored<B: Machine>(
    backend: B,
    config: &Config,
    ends: Ends,
    state: &State<f32>,
    path: &Path,
) -> Result<Model<B>> {
    let network = network(config, ends)?;
    state.fits(&network).map_err(at(path.display()))?;
    let mut model = Model::new(backend, network, recipe(config).delays, config.seed)?;
    model.restore(state).map_err(at(path.display()))?;
    Ok(model)
}
