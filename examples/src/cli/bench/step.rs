//! `polychron bench step`: time of a training step on generated input, stage by stage.

use super::stopwatch::{Laps, Mode, Stopwatch};
use super::{INPUT, Net, Setting, counts, cpu_model, peak_rss_mib};
use crate::backend::{self, Job, TrainingBackend};
use crate::cli::print::say;
use crate::config::{Backend, Config, require};
use crate::error::{Error, Result};
use crate::network::{self, Interface};
use crate::report::{median, name};
use polychron_core::backend::Backend as _;
use polychron_core::rng::Rng;
use polychron_core::shape::Shape;
use polychron_core::train::{Batch, Edge, Graph, Input, Trainer};
use serde::{Serialize, Serializer};
use std::fmt::Write as _;
use std::time::Instant;

/// Options of `bench step`.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    setting: Setting,
    /// Raw sigma of the delay kernels [default: half their length]
    #[arg(long, allow_negative_numbers = true)]
    sigma: Option<f64>,
    /// Number of timed steps; the median is reported
    #[arg(long, default_value_t = 7)]
    repeats: usize,
    /// Number of untimed steps before them; firing rates are those of the first
    #[arg(long, default_value_t = 2)]
    warmup: usize,
    /// Backend to train on
    #[arg(long, value_enum, default_value = "cpu")]
    backend: Backend,
    /// Print the algorithm chosen for every layer and the costs compared, without timing
    #[arg(long)]
    plan: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Timing {
    net: Net,
    dt_ms: u32,
    steps: usize,
    batch: usize,
    taps: usize,
    sigma: f64,
    density: f64,
    threads: usize,
    repeats: usize,
    total_ms: f64,
    /// Time of a step whose input is already on the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    resident_ms: Option<f64>,
    /// Time of every stage in ms, in order; `other` is the trainer's own work.
    #[serde(serialize_with = "as_map")]
    stages: Vec<(String, f64)>,
    /// Rates of the projections of every layer, over the time of their stages.
    #[serde(serialize_with = "as_map")]
    rates: Vec<(String, Rate)>,
    /// Mean spikes per neuron and step of every hidden layer, at the initial weights.
    firing_rates: Vec<f64>,
    /// Rate of products of large matrices on the same threads.
    gemm_peak_gflops: Option<f64>,
    /// Operations of the step if every input and tap is computed.
    dense_gflop: f64,
    peak_rss_mib: Option<f64>,
    /// Device memory in use at the end, scratch included.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_mib: Option<f64>,
    cpu: Option<String>,
    device: &'static str,
}

#[derive(Serialize)]
struct Rate {
    gflops: f64,
    gbytes_per_s: f64,
}

/// Runs `bench step`.
pub(in crate::cli) fn step(args: &Args) -> Result<()> {
    let config = config(args)?;
    let interface = args.setting.net.interface(&config);
    let shape = Shape::new(config.data.steps, config.data.batch, interface.channels);
    if args.plan {
        return say(&backend::plan(&config, interface, shape, args.setting.density)?);
    }
    let dense_gflop = 1e-9 * dense_operations(&network::graph(&config, interface)?, shape);
    let x = counts(shape, args.setting.density, Rng::new(config.seed, INPUT))?;
    let mut targets = vec![0.0; shape.batch * interface.classes];
    for (b, target) in targets.chunks_exact_mut(interface.classes).enumerate() {
        target[b % interface.classes] = 1.0;
    }
    let batch = Batch { shape, x: Input::Dense(&x), targets: Some(&targets), lengths: None };
    backend::run_on_backend(&config, Step { args, config: &config, interface, batch, dense_gflop })
}

/// The step to time.
struct Step<'a> {
    args: &'a Args,
    config: &'a Config,
    interface: Interface,
    batch: Batch<'a, f32>,
    dense_gflop: f64,
}

impl Job for Step<'_> {
    type Output = ();

    fn run<B: TrainingBackend>(self, backend: impl Fn() -> Result<B>) -> Result<()> {
        let Self { args, config, interface, batch, dense_gflop } = self;
        let (shape, density) = (batch.shape, args.setting.density);
        let recipe = network::recipe(config);
        let watch = Stopwatch::new(backend()?);
        let network = network::network(config, interface)?;
        let mut trainer = Trainer::new(watch, network, recipe, config.seed)?;
        let mut run_step = |mode, counting| {
            let watch = trainer.model().backend();
            watch.set_mode(mode);
            watch.restart(counting);
            let start = Instant::now();
            trainer.step(&batch)?;
            let watch = trainer.model().backend();
            watch.synchronize().map_err(Error::wrap)?;
            Ok::<_, Error>((start.elapsed().as_secs_f64() * 1e3, watch.restart(false)))
        };
        let (_, Laps { rates: firing_rates, .. }) = run_step(Mode::Stages, true)?;
        for _ in 1..args.warmup {
            run_step(Mode::Stages, false)?;
        }
        let mut times =
            |mode| (0..args.repeats).map(|_| run_step(mode, false)).collect::<Result<Vec<_>>>();
        let total = |runs: &[(f64, Laps)]| median(runs.iter().map(|(total, _)| *total));
        let runs = times(Mode::Stages)?;
        let stages = stages(&runs);
        let cpu = config.backend == Backend::Cpu;
        let (total_ms, resident_ms) = if cpu {
            (total(&runs), None)
        } else {
            (total(&times(Mode::Steps)?), Some(total(&times(Mode::ResidentSteps)?)))
        };
        let peak_rss_mib = peak_rss_mib();
        let watch = trainer.model().backend();
        let taps = config.longest_delay().0 + 1;
        let densities: Vec<_> = [density].into_iter().chain(firing_rates.clone()).collect();
        let work = backend::work(config, interface, shape, &densities)?;
        let cpu_rate = || Ok::<_, Error>(1e-9 * backend::cpu(config)?.gemm_rate());
        let gemm_peak_gflops = cpu.then(cpu_rate).transpose()?;
        let timing = Timing {
            net: args.setting.net,
            dt_ms: args.setting.dt_ms,
            steps: shape.steps,
            batch: shape.batch,
            taps,
            sigma: config.train.sigma_start.unwrap_or((taps / 2) as f64),
            density,
            threads: config.threads(),
            repeats: args.repeats,
            total_ms,
            resident_ms,
            rates: rates(&work, &stages),
            stages,
            firing_rates,
            gemm_peak_gflops,
            dense_gflop,
            peak_rss_mib,
            device_mib: watch.device_bytes().map(|bytes| bytes as f64 / 1_048_576.0),
            cpu: cpu_model(),
            device: watch.name(),
        };
        if args.json {
            return say(&format!("{}\n", serde_json::to_string(&timing)?));
        }
        say(&timing.table()?)
    }
}

/// The configuration with the options of this command.
fn config(args: &Args) -> Result<Config> {
    for (option, value) in [("--repeats", args.repeats), ("--warmup", args.warmup)] {
        require(value > 0, option, value, "is not at least 1")?;
    }
    let mut config = args.setting.config()?;
    config.train.sigma_start = args.sigma;
    config.backend = args.backend;
    config.check()?;
    Ok(config)
}

/// Additions and multiplications of all projections over all taps: forward, for the gradient of the
/// kernel and, except in the first layer, for that of the input.
fn dense_operations(graph: &Graph, input: Shape) -> f64 {
    let layers = graph.nodes.iter().enumerate().flat_map(|(l, node)| {
        let output = graph.output(l, input);
        node.edges.iter().map(move |Edge { from, synapses, .. }| {
            let passes = if from.is_some() { 3.0 } else { 2.0 };
            2.0 * passes * output.len() as f64 * (synapses.inputs * synapses.taps) as f64
        })
    });
    layers.sum()
}

/// The median times of all stages, and of the rest of the step as `other`.
fn stages(runs: &[(f64, Laps)]) -> Vec<(String, f64)> {
    let names = runs[0].1.stages.iter().map(|(name, _)| name);
    let of = |laps: &Laps, name: &str| {
        laps.stages.iter().find(|(n, _)| n == name).map_or(0.0, |&(_, ms)| ms)
    };
    let stage = |name: &String| (name.clone(), median(runs.iter().map(|(_, laps)| of(laps, name))));
    let rest =
        |(total, laps): &(f64, Laps)| total - laps.stages.iter().map(|(_, ms)| ms).sum::<f64>();
    names.map(stage).chain([("other".into(), median(runs.iter().map(rest)))]).collect()
}

/// The rates of the projections of every layer, forward and backward, over the time of their
/// stages. `work` holds multiply-adds and bytes.
fn rates(work: &[[(f64, f64); 2]], stages: &[(String, f64)]) -> Vec<(String, Rate)> {
    let layer = |(n, work): (usize, &[(f64, f64); 2])| {
        ["forward", "backward"].into_iter().zip(*work).map(move |(way, (multiply_adds, bytes))| {
            let name = format!("{way}_{}", n + 1);
            let ms = stages.iter().find(|(stage, _)| *stage == name).map_or(f64::NAN, |s| s.1);
            let (gflops, gbytes_per_s) = (2e-6 * multiply_adds / ms, 1e-6 * bytes / ms);
            (name, Rate { gflops, gbytes_per_s })
        })
    };
    work.iter().enumerate().flat_map(layer).collect()
}

fn as_map<T: Serialize, S: Serializer>(
    stages: &[(String, T)],
    to: S,
) -> std::result::Result<S::Ok, S::Error> {
    to.collect_map(stages.iter().map(|(name, value)| (name, value)))
}

impl Timing {
    fn table(&self) -> Result<String> {
        let Self { dt_ms, steps, batch, taps, sigma, density, threads, repeats, .. } = self;
        let mut text = format!(
            "{}, {steps} steps of {dt_ms} ms, batch {batch}, {taps} taps, sigma {sigma}, \
             density {density}\n",
            name(&self.net)?
        );
        let cpu = self.cpu.as_deref().unwrap_or("unknown processor");
        let _ = writeln!(
            text,
            "{} on {cpu}, {threads} threads, median of {repeats} steps\n",
            self.device
        );
        for (stage, ms) in &self.stages {
            let _ = write!(text, "  {stage:<12} {ms:>9.2} ms");
            if let Some((_, rate)) = self.rates.iter().find(|(name, _)| name == stage) {
                let Rate { gflops, gbytes_per_s } = rate;
                let _ = write!(text, "  {gflops:>5.0} GFLOP/s  {gbytes_per_s:>5.1} GB/s");
            }
            text.push('\n');
        }
        let _ = writeln!(text, "  {:<12} {:>9.2} ms", "total", self.total_ms);
        if let Some(ms) = self.resident_ms {
            let _ = writeln!(text, "  {:<12} {ms:>9.2} ms", "resident");
        }
        text.push('\n');
        for (n, rate) in self.firing_rates.iter().enumerate() {
            let _ = writeln!(text, "hidden layer {}  {rate:.3} spikes per neuron and step", n + 1);
        }
        let rate = self.dense_gflop / self.total_ms * 1e3;
        let _ = write!(text, "{:.1} GFLOP if dense, {rate:.0} GFLOP/s", self.dense_gflop);
        if let Some(peak) = self.gemm_peak_gflops {
            let _ = write!(text, "; large matrix products {peak:.0} GFLOP/s");
        }
        text.push('\n');
        if let Some(mib) = self.peak_rss_mib {
            let _ = writeln!(text, "peak memory {mib:.0} MiB");
        }
        if let Some(mib) = self.device_mib {
            let _ = writeln!(text, "device memory {mib:.0} MiB");
        }
        Ok(text)
    }
}
