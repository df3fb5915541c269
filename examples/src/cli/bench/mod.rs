//! `polychron bench`: benchmarks of the paper's networks and data.

mod data;
mod infer;
mod step;
mod stopwatch;

use crate::config::{Config, require};
use crate::error::{Result, fail};
use crate::network::Interface;
use crate::presets;
use crate::report::name;
use polychron_core::rng::Rng;
use polychron_core::shape::Shape;
use serde::Serialize;
use std::fs;

/// Benchmarks.
#[derive(clap::Subcommand)]
pub(in crate::cli) enum Command {
    /// Time one training step, stage by stage
    Step(step::Args),
    /// Time inference of a batch and of single samples
    Infer(infer::Args),
    /// Time the reading of a training set and the encoding of sound
    Data(data::Args),
}

/// Runs `bench`.
pub(in crate::cli) fn bench(command: &Command) -> Result<()> {
    match command {
        Command::Step(args) => step::step(args),
        Command::Infer(args) => infer::infer(args),
        Command::Data(args) => data::data(args),
    }
}

/// Stream of the input's draws.
const INPUT: u64 = 4;

/// The network and the input of a benchmark.
#[derive(clap::Args)]
struct Setting {
    /// Network of the paper
    #[arg(long, value_enum, default_value = "shd")]
    net: Net,
    /// Length of a step in ms: 10 or 1
    #[arg(long, default_value_t = 10)]
    dt_ms: u32,
    /// Longest delay in steps; kernels have one tap more [default: as in the paper; 64 at 1 ms]
    #[arg(long)]
    max_delay: Option<usize>,
    /// Samples in the batch [default: as in the paper; 16 at 1 ms]
    #[arg(long)]
    batch: Option<usize>,
    /// Steps of the input [default: one second]
    #[arg(long)]
    steps: Option<usize>,
    /// Share of nonzero inputs
    #[arg(long, default_value_t = 0.06, allow_negative_numbers = true)]
    density: f64,
    /// Number of threads; 0 uses one per core
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

impl Setting {
    /// The configuration of the preset with the options of the command line.
    fn config(&self) -> Result<Config> {
        let dt_ms = self.dt_ms;
        require(dt_ms == 10 || dt_ms == 1, "--dt-ms", dt_ms, "is neither 10 nor 1")?;
        let steps = self.steps.unwrap_or(1000 / dt_ms as usize);
        require(steps > 0, "--steps", steps, "is not at least 1")?;
        let density = self.density;
        require((0.0..=1.0).contains(&density), "--density", density, "is not in [0, 1]")?;
        let mut config = self.net.config(dt_ms)?;
        let (max_delay, batch) = match dt_ms {
            10 => (config.longest_delay().0, config.data.batch),
            _ => (64, 16),
        };
        config.network.max_delay = Some(self.max_delay.unwrap_or(max_delay));
        config.data.batch = self.batch.unwrap_or(batch);
        config.data.steps = steps;
        config.threads = self.threads;
        config.check()?;
        Ok(config)
    }
}

/// The paper's networks with one kernel element per synapse.
#[derive(Clone, Copy, Debug, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Net {
    /// 140-256-256-20
    Shd,
    /// 140-512-512-512-35
    Ssc,
}

impl Net {
    /// The configuration of the preset of this name, with steps of `dt_ms`.
    fn config(self, dt_ms: u32) -> Result<Config> {
        let mut config = presets::load(Some(&name(&self)?), None, &[])?;
        config.data.dt_ms = dt_ms;
        config.network.count = 1;
        Ok(config)
    }

    fn interface(self, config: &Config) -> Interface {
        let classes = match self {
            Self::Shd => 20,
            Self::Ssc => 35,
        };
        let channels = config.data.channels / config.data.group;
        Interface { channels, classes, dt_ms: config.data.dt_ms.into() }
    }
}

/// Spike counts `[T, B, N]`. A share of `density` is nonzero: 4 in 5 of them are 1, the others 2 to
/// 4, as in recordings whose neighbouring channels are summed.
fn counts(shape: Shape, density: f64, rng: Rng) -> Result<Vec<f32>> {
    let mut counts = Vec::new();
    if counts.try_reserve_exact(shape.len()).is_err() {
        let Shape { steps, batch, width } = shape;
        fail!("{steps} steps of {batch} x {width} do not fit into memory")
    }
    counts.extend((0..shape.len() as u64).map(|n| {
        let u = rng.uniform::<f64>(n);
        [1.0, 0.2, 0.06, 0.02].iter().filter(|&share| u < share * density).count() as f32
    }));
    Ok(counts)
}

/// The processor's name, if the system reports it.
fn cpu_model() -> Option<String> {
    field("/proc/cpuinfo", "model name")
}

/// The peak memory of this process, if the system reports it.
fn peak_rss_mib() -> Option<f64> {
    let kib = field("/proc/self/status", "VmHWM")?;
    Some(kib.strip_suffix(" kB")?.parse::<f64>().ok()? / 1024.0)
}

/// The value of the first `name: value` line of a file.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let of =
        |line: &str| Some(line.strip_prefix(name)?.trim_start().strip_prefix(':')?.trim().into());
    text.lines().find_map(of)
}
