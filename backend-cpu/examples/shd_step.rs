//! Times one training step of the paper's SHD network (140-256-256-20, 25 taps, batch 256, 100 steps), stage by stage.

use clap::Parser;
use polychron_core::backend::{
    Backend, Firing, Layer, LayerGradients, LayerOps, LayerTape, NeuronStage, NormMode,
    SynapseGradients, SynapseOps, SynapseParams, View, ViewMut,
};
use polychron_core::delay::Gauss;
use polychron_core::loss::Loss;
use polychron_core::neuron::{Li, Lif};
use polychron_core::norm::{BatchNorm, Valid};
use polychron_core::optim::Adam;
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::Atan;
use polychron_cpu::{Cpu, Error, Sequence};
use std::collections::BTreeMap;
use std::time::Instant;

/// Command line.
#[derive(Parser)]
struct Args {
    /// Threads; 0 is one per core.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Samples in the batch.
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// Steps of the input.
    #[arg(long, default_value_t = 100)]
    steps: usize,
    /// Length of the delay kernel.
    #[arg(long, default_value_t = 25)]
    taps: usize,
    /// Timed steps, after one to warm up.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
}

/// One projection's parameters, gradients and moments, with those of its norm.
struct Parameters {
    synapses: Synapses,
    /// weights, delays, sigma, norm
    values: [Vec<f32>; 4],
    gradients: [Vec<f32>; 4],
    moments: [[Vec<f32>; 4]; 2],
    running: Vec<f32>,
}

impl Parameters {
    fn new(rng: Rng, inputs: usize, outputs: usize, taps: usize) -> Self {
        let synapses = Synapses::new(inputs, outputs, taps);
        let numbers = |part: u64, low: f32, high: f32| {
            let rng = rng.fork(part);
            (0..synapses.weights() as u64)
                .map(|n| low + (high - low) * rng.uniform::<f32>(n))
                .collect()
        };
        let bound = (6.0 / inputs as f32).sqrt();
        let mut norm = vec![1.0; 2 * outputs];
        norm[outputs..].fill(0.0);
        let values =
            [numbers(0, -bound, bound), numbers(1, 0.0, (taps - 1) as f32), vec![6.0], norm];
        let zeros = || values.each_ref().map(|v: &Vec<f32>| vec![0.0; v.len()]);
        let (gradients, moments) = (zeros(), [zeros(), zeros()]);
        Self { synapses, values, gradients, moments, running: vec![1.0; 2 * outputs] }
    }

    fn projection(&self) -> SynapseParams<'_, Vec<f32>> {
        let [weights, delays, sigma, _] = self.values.each_ref().map(|v| View::new(v, 0..v.len()));
        SynapseParams { weights, delays, sigma }
    }
}

fn whole(buffer: &mut Vec<f32>) -> ViewMut<'_, Vec<f32>> {
    let range = 0..buffer.len();
    ViewMut::new(buffer, range)
}

/// Milliseconds by stage.
type Times = BTreeMap<&'static str, f64>;

fn timed<T>(times: &mut Times, stage: &'static str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *times.entry(stage).or_default() += start.elapsed().as_secs_f64() * 1e3;
    result
}

fn layer<'a>(
    values: &'a [Vec<f32>; 4],
    synapses: &'a Synapses,
    norm: &'a BatchNorm<f32>,
    (neuron, surrogate, none): (&'a Lif<f32>, &'a Atan<f32>, &'a Vec<f32>),
    mask: &'a Vec<f32>,
) -> Layer<'a, f32, Gauss, Lif<f32>, Atan<f32>, Vec<f32>, Sequence<f32>> {
    let [weights, delays, sigma, affine] = values.each_ref().map(|v| View::new(v, 0..v.len()));
    let firing = Firing::Step;
    let params = View::new(none, 0..0);
    let stage = NeuronStage {
        neuron,
        params,
        surrogate,
        firing,
        mask: Some(mask),
        valid: Valid::default(),
    };
    Layer { synapses, kernel: &Gauss, weights, delays, sigma, norm: Some((norm, affine)), stage }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let cpu = Cpu::new(args.threads)?;
    let mut network = [(140, 256), (256, 256), (256, 20)].map(|(inputs, outputs)| {
        Parameters::new(Rng::new(1, inputs as u64), inputs, outputs, args.taps)
    });
    let shape = Shape::new(args.steps, args.batch, 140);
    let rng = Rng::new(2, 0);
    let spikes: Vec<f32> =
        (0..shape.len() as u64).map(|n| f32::from(rng.uniform::<f32>(n) < 0.06)).collect();
    let mut targets = vec![0.0; args.batch * 20];
    targets.iter_mut().skip(7).step_by(20).for_each(|t| *t = 1.0);
    let mut runs = Vec::new();
    for repeat in 0..=args.repeats {
        let mut times = Times::new();
        let start = Instant::now();
        step(&cpu, &mut network, shape, &spikes, &targets, repeat as u64 + 1, &mut times)?;
        times.insert("total", start.elapsed().as_secs_f64() * 1e3);
        runs.push(times);
    }
    runs.remove(0);
    for stage in runs[0].keys() {
        let mut all: Vec<f64> = runs.iter().map(|times| times[stage]).collect();
        all.sort_by(f64::total_cmp);
        println!("{stage:20} {:8.1} ms", all[all.len() / 2]);
    }
    Ok(())
}

fn step(
    cpu: &Cpu<f32>,
    network: &mut [Parameters; 3],
    shape: Shape,
    host: &[f32],
    targets: &Vec<f32>,
    number: u64,
    times: &mut Times,
) -> Result<(), Error> {
    let (norm, lif, atan, none) =
        (BatchNorm::default(), Lif::new(1.005), Atan { alpha: 5.0 }, Vec::new());
    let neuron = (&lif, &atan, &none);
    let mut sequence: Vec<Sequence<f32>> = vec![cpu.sequence(shape)?];
    timed(times, "upload", || cpu.upload_sequence(host, &mut sequence[0]))?;
    let mut tapes: Vec<LayerTape<Vec<f32>, Sequence<f32>>> = Vec::new();
    let mut masks: Vec<Vec<f32>> = Vec::new();
    let [hidden @ .., output] = network;
    for (n, parameters) in hidden.iter_mut().enumerate() {
        let to = parameters.synapses.output(cpu.shape(&sequence[n]));
        let rng = Rng::new(number, n as u64);
        let mask = timed(times, "dropout", || cpu.dropout(rng, 0.4, to.batch * to.width))?;
        let mut tape = LayerOps::<f32, Gauss, Lif<f32>, Atan<f32>>::tape(cpu, to)?;
        let mut spikes = cpu.sequence(to)?;
        let Parameters { synapses, values, running, .. } = parameters;
        let mode = NormMode::Batch { running: whole(running) };
        let layer = layer(values, synapses, &norm, neuron, &mask);
        timed(times, ["forward 1", "forward 2"][n], || {
            cpu.layer_forward(&layer, mode, &sequence[n], &mut tape, &mut spikes)
        })?;
        sequence.push(spikes);
        tapes.push(tape);
        masks.push(mask);
    }
    let to = output.synapses.output(cpu.shape(&sequence[2]));
    let (mut y, mut d_y) = (cpu.sequence(to)?, cpu.sequence(to)?);
    let params = output.projection();
    timed(times, "forward 3", || {
        cpu.project(&output.synapses, &Gauss, params, &sequence[2], &mut y)
    })?;
    let mut scores = vec![0.0; to.batch * to.width];
    let li = Li::new(1.005);
    timed(times, "readout", || {
        let d = Some(&mut d_y);
        cpu.readout(&li, Loss::Sum, Valid::default(), &y, Some(targets), &mut scores, d)
    })?;
    let mut d_spikes = cpu.sequence(cpu.shape(&sequence[2]))?;
    let Parameters { synapses, values, gradients, .. } = output;
    let [weights, delays, sigma, _] = values.each_ref().map(|v| View::new(v, 0..v.len()));
    let params = SynapseParams { weights, delays, sigma };
    let [weights, delays, sigma, _] = gradients.each_mut().map(whole);
    let written = SynapseGradients { weights, delays, sigma };
    timed(times, "backward 3", || {
        let d = Some(&mut d_spikes);
        cpu.project_backward(synapses, &Gauss, params, &sequence[2], &d_y, written, d)
    })?;
    for (n, parameters) in hidden.iter_mut().enumerate().rev() {
        let Parameters { synapses, values, gradients, .. } = parameters;
        let layer = layer(values, synapses, &norm, neuron, &masks[n]);
        let [weights, delays, sigma, affine] = gradients.each_mut().map(whole);
        let synapses = SynapseGradients { weights, delays, sigma };
        let mut nothing = Vec::new();
        let written =
            LayerGradients { synapses, norm: affine, neuron: ViewMut::new(&mut nothing, 0..0) };
        let mut d_x = if n > 0 { Some(cpu.sequence(cpu.shape(&sequence[n]))?) } else { None };
        timed(times, ["backward 1", "backward 2"][n], || {
            cpu.layer_backward(&layer, &sequence[n], &tapes[n], &d_spikes, written, d_x.as_mut())
        })?;
        d_spikes = d_x.unwrap_or(d_spikes);
    }
    timed(times, "adam", || {
        for Parameters { values, gradients, moments: [first, second], .. } in network {
            let moments = first.iter_mut().zip(second);
            for ((p, g), (m, v)) in values.iter_mut().zip(gradients.iter()).zip(moments) {
                cpu.adam(&Adam::new(1e-3, number), 0..p.len(), g, p, m, v)?;
            }
        }
        Ok(())
    })
}
