//! `recurrent THREADS ROUNDS [SIGMA]` times a recurrent layer, forward and backward: 256 neurons,
//! 128 samples, 250 steps, axonal delays of 1 to 41 steps, 6 % of the inputs spikes. Prints the
//! median in seconds and the rate of the spikes. `.ci/recurrent` times a loop in PyTorch beside it.

use polychron_core::backend::{
    Backend, Firing, HasKernel, HasNeuron, HasSurrogate, NeuronStage, RecurrentGradients,
    RecurrentStage, SynapseGradients, SynapseParams, View, ViewMut,
};
use polychron_core::delay::{Max, Place};
use polychron_core::init;
use polychron_core::neuron::{Lif, Reset};
use polychron_core::norm::ValidSteps;
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::AnySurrogate;
use polychron_cpu::Cpu;
use std::error::Error;
use std::time::Instant;

const SHAPE: Shape = Shape::new(250, 128, 256);
const TAPS: usize = 41;

fn view(buffer: &Vec<f32>) -> View<'_, Vec<f32>> {
    View::new(buffer, 0..buffer.len())
}

fn view_mut(buffer: &mut Vec<f32>) -> ViewMut<'_, Vec<f32>> {
    let all = 0..buffer.len();
    ViewMut::new(buffer, all)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let (threads, rounds, sigma) = match arguments.as_slice() {
        [threads, rounds] => (threads.parse()?, rounds.parse()?, 10.0f32),
        [threads, rounds, sigma] => (threads.parse()?, rounds.parse()?, sigma.parse()?),
        _ => return Err("usage: recurrent THREADS ROUNDS [SIGMA]".into()),
    };
    let (cpu, rng) = (Cpu::<f32>::new(threads)?, Rng::new(0, 0));
    let synapses = Synapses { padding: 0, ..Synapses::new(SHAPE.width, SHAPE.width, TAPS) };
    let mut weights = vec![0.0; synapses.weights()];
    init::orthogonal(&synapses, rng.fork(0), &mut weights);
    let mut delays = vec![0.0; synapses.weights()];
    let packed: Vec<f32> =
        (0..SHAPE.width as u64).map(|n| 40.0 * rng.fork(1).uniform::<f32>(n)).collect();
    Place::Axonal.expand(&synapses, &packed, &mut delays)?;
    let sigma = vec![sigma];
    let kernel = Cpu::kernel(Max);
    let neuron = Cpu::neuron(Lif { reset: Reset::Soft, detach: false, ..Lif::new(2.0) });
    let surrogate = Cpu::<f32>::surrogate(AnySurrogate::from_name("triangle", &[])?);
    let numbers = |stream: u64, low: f32, high: f32| {
        let draw = |n| low + (high - low) * rng.fork(stream).uniform::<f32>(n);
        (0..SHAPE.len() as u64).map(draw).collect::<Vec<f32>>()
    };
    let mut sequences = (0..5).map(|_| cpu.sequence(SHAPE)).collect::<Result<Vec<_>, _>>()?;
    let [x, input, fired, spikes, d] = &mut sequences[..] else { unreachable!("five") };
    cpu.upload_sequence(&numbers(2, -0.5, 0.9), x)?;
    let upstream = numbers(3, -1.0, 1.0);
    let mut by = [weights.clone(), delays.clone(), sigma.clone(), Vec::new()];
    let no_params = Vec::new();
    let stage = NeuronStage {
        neuron: &neuron,
        params: view(&no_params),
        surrogate: &surrogate,
        firing: Firing::Step,
        mask: None,
        valid: ValidSteps::default(),
        start: None,
    };
    let (weights, delays, sigma) = (view(&weights), view(&delays), view(&sigma));
    let params = SynapseParams { weights, delays, sigma, rounding: None };
    let recurrent = RecurrentStage {
        synapses: &synapses,
        place: Place::Axonal,
        kernel: &kernel,
        params,
        spread: None,
        mask: None,
        before: None,
    };
    let mut seconds = Vec::new();
    for round in 0..=rounds {
        cpu.upload_sequence(&upstream, d)?;
        let start = Instant::now();
        cpu.recurrent_forward(&recurrent, &stage, x, [input, fired, spikes], None)?;
        let forward = start.elapsed().as_secs_f64();
        let [by_weight, by_delay, by_sigma, by_neuron] = &mut by;
        let synapses = SynapseGradients {
            weights: view_mut(by_weight),
            delays: view_mut(by_delay),
            sigma: view_mut(by_sigma),
        };
        let gradients = RecurrentGradients { synapses, neuron: view_mut(by_neuron) };
        cpu.recurrent_backward(&recurrent, &stage, [input, fired], d, gradients)?;
        let whole = start.elapsed().as_secs_f64();
        eprintln!("round {round}: forward {forward:.4} s, backward {:.4} s", whole - forward);
        if round > 0 {
            seconds.push(whole);
        }
    }
    seconds.sort_by(f64::total_cmp);
    let mut host = vec![0.0; SHAPE.len()];
    cpu.download_sequence(spikes, &mut host)?;
    let rate = host.iter().sum::<f32>() / host.len() as f32;
    println!("{{\"seconds\": {:.4}, \"rate\": {rate:.3}}}", seconds[seconds.len() / 2]);
    Ok(())
}
