//! `polychron bench infer`: time of inference of a batch and of single samples.

use super::{INPUT, Net, Setting, counts, cpu_model, peak_rss_mib};
use crate::backend;
use crate::cli::print::say;
use crate::config::{Delays, require};
use crate::error::Result;
use crate::network::{self};
use crate::report::{median, name, neuron_steps};
use polychron_core::rng::Rng;
use polychron_core::shape::Shape;
use polychron_core::train::{self, Batch, Input};
use polychron_cpu::Stream;
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Instant;

/// Largest number of samples that are streamed.
const STREAMED: usize = 16;

/// Options of `bench infer`.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    setting: Setting,
    /// Number of timed passes over the batch and over every streamed sample; the median is reported
    #[arg(long, default_value_t = 7)]
    repeats: usize,
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
    density: f64,
    threads: usize,
    repeats: usize,
    /// Time of a batch, divided by its samples.
    batch_ms_per_sample: f64,
    /// Median and shortest time of a single sample on one thread, its input passed at once.
    stream_ms: f64,
    stream_min_ms: f64,
    /// Median time of a single sample, its input passed step by step.
    steps_ms: f64,
    /// Mean spikes per neuron and step of every hidden layer in the streamed samples.
    firing_rates: Vec<f64>,
    /// Spikes and nonzero inputs, each times the synapses it reaches; mean of the streamed samples.
    events: f64,
    ns_per_event: f64,
    /// Additions and multiplications of all synapses in all steps, per second of streaming.
    stream_gflops: f64,
    peak_rss_mib: Option<f64>,
    cpu: Option<String>,
}

/// Runs `bench infer`.
pub(in crate::cli) fn infer(args: &Args) -> Result<()> {
    let setting = &args.setting;
    require(args.repeats > 0, "--repeats", args.repeats, "is not at least 1")?;
    let mut config = setting.config()?;
    // The norm's statistics are those of rounded delays without dropout.
    config.network.delays = Delays::Fixed;
    config.network.dropout = 0.0;
    let interface = setting.net.interface(&config);
    let shape = Shape::new(config.data.steps, config.data.batch, interface.channels);
    let x = counts(shape, setting.density, Rng::new(config.seed, INPUT))?;
    let targets = vec![1.0 / interface.classes as f32; shape.batch * interface.classes];
    let learned = Batch { shape, x: Input::Dense(&x), targets: Some(&targets), lengths: None };
    let batch = Batch { targets: None, ..learned };
    let mut network = network::network(&config, interface)?;
    for norm in network.hidden.iter_mut().flat_map(|hidden| &mut hidden.norm) {
        norm.momentum = 1.0;
    }
    let recipe = network::recipe(&config);
    let mut trainer = train::Trainer::new(backend::cpu(&config)?, network, recipe, config.seed)?;
    trainer.step(&learned)?;
    let model = trainer.model();
    let evaluate =
        || milliseconds(|| Ok(model.evaluate(&batch, train::Delays::Rounded).map(|_| ())?));
    evaluate()?;
    let whole = (0..args.repeats).map(|_| evaluate()).collect::<Result<Vec<_>>>()?;

    let mut stream = Stream::new(model)?;
    let streamed: Vec<_> = (0..shape.batch.min(STREAMED)).map(|b| sample(&x, shape, b)).collect();
    let mut time = |block: usize| {
        let mut times = Vec::new();
        for n in 0..=args.repeats {
            for x in &streamed {
                let ms = milliseconds(|| {
                    x.chunks(block).try_for_each(|x| stream.feed(x))?;
                    stream.finish();
                    Ok(())
                })?;
                if n > 0 {
                    times.push(ms);
                }
            }
        }
        Ok::<_, crate::error::Error>(times)
    };
    let (at_once, by_steps) = (time(streamed[0].len())?, time(shape.width)?);
    let peak_rss_mib = peak_rss_mib();

    let graph = model.graph();
    let mut spikes = vec![0.0; graph.hidden().len()];
    let mut inputs = 0;
    for x in &streamed {
        stream.feed(x)?;
        stream.finish();
        spikes.iter_mut().zip(stream.spikes()).for_each(|(sum, &n)| *sum += n as f64);
        inputs += x.iter().filter(|&&x| x != 0.0).count();
    }
    let samples = streamed.len() as f64;
    let fan_out = graph.edges().map(|e| (e.synapses.outputs * e.synapses.kernel_count) as f64);
    let sources = [inputs as f64].into_iter().chain(spikes.iter().copied());
    let events = sources.zip(fan_out).map(|(n, fan_out)| n * fan_out).sum::<f64>() / samples;
    let neuron_steps: Vec<_> = neuron_steps(graph, shape.steps).collect();
    let rates = spikes.iter().zip(&neuron_steps).map(|(n, places)| n / places / samples);
    let operations = graph.nodes.iter().flat_map(|node| {
        let steps = shape.steps + node.padding;
        node.edges.iter().map(move |edge| 2.0 * (edge.synapses.weights() * steps) as f64)
    });
    let stream_ms = median(at_once.iter().copied());
    let timing = Timing {
        net: setting.net,
        dt_ms: setting.dt_ms,
        steps: shape.steps,
        batch: shape.batch,
        taps: config.longest_delay().0 + 1,
        density: setting.density,
        threads: config.threads(),
        repeats: args.repeats,
        batch_ms_per_sample: median(whole.into_iter()) / shape.batch as f64,
        stream_ms,
        stream_min_ms: at_once.into_iter().fold(f64::INFINITY, f64::min),
        steps_ms: median(by_steps.into_iter()),
        firing_rates: rates.collect(),
        events,
        ns_per_event: 1e6 * stream_ms / f64::max(events, 1.0),
        stream_gflops: 1e-6 * operations.sum::<f64>() / stream_ms,
        peak_rss_mib,
        cpu: cpu_model(),
    };
    if args.json {
        return say(&format!("{}\n", serde_json::to_string(&timing)?));
    }
    say(&timing.table()?)
}

/// Sample `b` `[T, N]` of a block `[T, B, N]`.
fn sample(x: &[f32], shape: Shape, b: usize) -> Vec<f32> {
    let rows = x.chunks_exact(shape.width).skip(b).step_by(shape.batch);
    rows.flatten().copied().collect()
}

fn milliseconds(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

impl Timing {
    fn table(&self) -> Result<String> {
        let Self { dt_ms, steps, batch, taps, density, threads, repeats, .. } = self;
        let mut text = format!(
            "{}, {steps} steps of {dt_ms} ms, {taps} taps, density {density}\n",
            name(&self.net)?
        );
        let cpu = self.cpu.as_deref().unwrap_or("unknown processor");
        let _ = writeln!(text, "{cpu}, median of {repeats} passes, ms per sample\n");
        for (what, ms) in [
            (format!("batch of {batch}, {threads} threads"), self.batch_ms_per_sample),
            ("one sample, 1 thread".into(), self.stream_ms),
            ("  shortest".into(), self.stream_min_ms),
            ("  step by step".into(), self.steps_ms),
        ] {
            let _ = writeln!(text, "  {what:<26} {ms:>9.3}");
        }
        text.push('\n');
        for (n, rate) in self.firing_rates.iter().enumerate() {
            let _ = writeln!(text, "hidden layer {}  {rate:.3} spikes per neuron and step", n + 1);
        }
        let _ = writeln!(
            text,
            "{:.0} events per sample, {:.2} ns each; {:.1} GFLOP/s if dense",
            self.events, self.ns_per_event, self.stream_gflops
        );
        if let Some(mib) = self.peak_rss_mib {
            let _ = writeln!(text, "peak memory {mib:.0} MiB");
        }
        Ok(text)
    }
}
