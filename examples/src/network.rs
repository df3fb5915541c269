//! From configuration to network, recipe and trainer.

use crate::config::{
    Algorithm, Backend, Config, DelayStart, Delays, NeuronKind, ResetKind, require, single,
};
#[cfg(not(all(feature = "cuda", feature = "emulator")))]
use crate::error::fail;
use crate::error::{Failure, Result, at};
use polychron_core::backend::LayerOps;
use polychron_core::delay::{AnyKernel, Discrete, round_delay};
use polychron_core::init::DelayInit;
use polychron_core::loss::Loss;
use polychron_core::neuron::{AdLif, AnyNeuron, CubaLif, Li, Lif, Plif, Reset};
use polychron_core::norm::BatchNorm;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::AnySurrogate;
use polychron_core::train::{self, Hidden, Network, Output, Recipe, Sigma};
use polychron_cpu::{Cpu, Plan};

pub(crate) type Net = Network<f32, AnyKernel, AnyNeuron<f32>, AnySurrogate<f32>>;
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

/// What a network has to fit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    /// Input channels.
    pub(crate) channels: usize,
    /// Classes.
    pub(crate) classes: usize,
    /// Length of a step in ms.
    pub(crate) dt_ms: f64,
}

/// Checks the parts of a network, whatever its ends.
pub(crate) fn check(config: &Config) -> Result<()> {
    let ends = Ends { channels: 1, classes: 1, dt_ms: config.data.dt_ms.into() };
    network(config, ends)?.check().map_err(at("network"))
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

/// A model with the initial parameters of a run.
pub(crate) fn model<B: Machine>(backend: B, config: &Config, ends: Ends) -> Result<Model<B>> {
    let delays = recipe(config).delays;
    Ok(Model::new(backend, network(config, ends)?, delays, config.seed)?)
}

pub(crate) fn network(config: &Config, ends: Ends) -> Result<Net> {
    let from = &config.network;
    let kernel = match config.train.delays {
        Delays::Learned => choice("network.kernel", &from.kernel, &AnyKernel::ALL)?,
        Delays::Random | Delays::Zero => AnyKernel::Discrete,
    };
    let max_delay = if config.train.delays == Delays::Zero { 0 } else { from.max_delay };
    let synapses = |inputs, outputs| Synapses {
        count: from.count,
        ..Synapses::new(inputs, outputs, max_delay + 1)
    };
    let neuron = neuron(config, ends.dt_ms)?;
    let surrogate = surrogate(config)?;
    let mut inputs = ends.channels;
    let mut hidden = Vec::new();
    for &outputs in &from.hidden {
        hidden.push(Hidden {
            synapses: synapses(inputs, outputs),
            kernel,
            norm: from.norm.then(BatchNorm::default),
            neuron,
            surrogate,
            dropout: from.dropout,
        });
        inputs = outputs;
    }
    let tau = steps("network.readout_tau_ms", from.readout_tau_ms, ends.dt_ms, false)?;
    let output = Output { synapses: synapses(inputs, ends.classes), kernel, readout: Li::new(tau) };
    Ok(Network { hidden, output, loss: choice("network.loss", &from.loss, &Loss::ALL)? })
}

fn neuron(config: &Config, dt_ms: f64) -> Result<AnyNeuron<f32>> {
    let from = &config.network.neuron;
    let threshold = single("network.neuron.threshold", from.threshold)?;
    let (reset, rest) = match from.reset {
        ResetKind::Hard => {
            let v_reset = single("network.neuron.v_reset", from.v_reset)?;
            (Reset::Hard(v_reset), v_reset)
        }
        ResetKind::Soft => (Reset::Soft, 0.0),
    };
    require(
        threshold > rest,
        "network.neuron.threshold",
        from.threshold,
        "is not above the resting membrane",
    )?;
    let (detach, decay_input) = (from.detach, from.decay_input);
    let tau = |above| steps("network.neuron.tau_ms", from.tau_ms, dt_ms, above);
    let leaky = |above| {
        Ok::<_, Failure>(Lif { threshold, reset, detach, decay_input, ..Lif::new(tau(above)?) })
    };
    Ok(match from.kind {
        NeuronKind::If => {
            AnyNeuron::Lif(Lif { threshold, reset, detach, ..Lif::integrate_and_fire() })
        }
        NeuronKind::Lif => AnyNeuron::Lif(leaky(false)?),
        NeuronKind::Plif => AnyNeuron::Plif(Plif::new(leaky(true)?)),
        NeuronKind::CubaLif => {
            let tau_syn = steps("network.neuron.tau_syn_ms", from.tau_syn_ms, dt_ms, true)?;
            AnyNeuron::CubaLif(CubaLif::new(leaky(true)?, tau_syn))
        }
        NeuronKind::Adlif => {
            let tau_w = steps("network.neuron.tau_w_ms", from.tau_w_ms, dt_ms, true)?;
            let a = single("network.neuron.a", from.a)?;
            let b = single("network.neuron.b", from.b)?;
            let neuron = AdLif::new(tau(true)?, tau_w, a, b);
            AnyNeuron::AdLif(neuron.with_reset(threshold, reset, detach))
        }
    })
}

fn surrogate(config: &Config) -> Result<AnySurrogate<f32>> {
    let from = &config.network.surrogate;
    let parameters: Vec<_> = from.parameters.iter().map(|(k, &v)| (k.as_str(), v)).collect();
    AnySurrogate::from_name(&from.kind, &parameters).map_err(at("network.surrogate"))
}

pub(crate) fn recipe(config: &Config) -> Recipe {
    let from = &config.train;
    let delays = match (from.delays, from.delay_init) {
        (Delays::Zero, _) | (_, DelayStart::Zero) => DelayInit::Zero,
        (_, DelayStart::Uniform) => DelayInit::Uniform,
        (_, DelayStart::Paper) => DelayInit::Paper,
    };
    Recipe {
        epochs: from.epochs,
        rate: from.rate,
        delay_rate: (from.delays == Delays::Learned).then_some(from.delay_rate),
        l2: from.l2,
        decoupled: from.decoupled,
        train_neurons: from.train_neurons,
        sigma: Sigma {
            start: from.sigma_start,
            end: from.sigma_end,
            epochs: from.sigma_epochs.unwrap_or((from.epochs / 4).max(1)),
        },
        delays,
    }
}

/// A time constant in steps: at least one, more where its logistic parameter has to be finite.
fn steps(field: &str, tau_ms: f64, dt_ms: f64, above: bool) -> Result<f32> {
    single(field, tau_ms)?;
    let tau = (tau_ms / dt_ms) as f32;
    let holds = tau > 1.0 || !above && tau == 1.0;
    let bound = if above { "above" } else { "at least" };
    require(holds, field, tau_ms, &format!("is not {bound} one step of {dt_ms} ms"))?;
    Ok(tau)
}

fn choice<T: Copy>(field: &str, name: &str, all: &[(&'static str, T)]) -> Result<T> {
    let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
    let found = all.iter().find(|(known, _)| *known == name);
    found
        .map(|(_, choice)| *choice)
        .ok_or_else(|| Failure(format!("{field} = {name:?} is not one of {names:?}")))
}
