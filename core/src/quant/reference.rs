//! Random models, and the plain loops that define what an engine computes.

use super::{Decay, LayerSpec, ModelSpec, NeuronSpec, SynapseSpec};
use crate::format::{Decision, Input, Scheme};
use crate::rng::Rng;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

/// A sequence of small random numbers.
#[derive(Clone, Debug)]
pub struct Draws {
    rng: Rng,
    n: u64,
}

impl Draws {
    /// The sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed, 77), n: 0 }
    }

    /// A number from 0 to `limit - 1`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.n += 1;
        self.rng.below(self.n, limit as u32) as usize
    }

    /// One of the items.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// `true` in `share` of 1000 cases.
    pub fn happens(&mut self, share: usize) -> bool {
        self.below(1000) < share
    }
}

/// Schemes with and without lists.
pub const SCHEMES: [Scheme; 5] = [
    Scheme::Groups { list: 0 },
    Scheme::Groups { list: 1 },
    Scheme::Groups { list: 31 },
    Scheme::Groups { list: 254 },
    Scheme::Ring { list: 5 },
];

/// A model of one to three layers of up to `widths` neurons, with up to `elements` synapses per
/// pair of neurons.
#[must_use]
pub fn network(seed: u64, widths: usize, elements: usize) -> ModelSpec<i8> {
    let mut draws = Draws::new(seed);
    let input = draws.pick(&[Input::Spikes, Input::Values]);
    let channels = 1 + draws.below(widths);
    let count = 1 + draws.below(3);
    let (mut inputs, mut layers) = (channels, Vec::new());
    for l in 0..count {
        let last = l + 1 == count;
        let outputs = 1 + draws.below(if last { 40 } else { widths });
        let longest = if draws.happens(100) { 256 } else { 30 };
        let taps = 1 + draws.below(longest);
        let share = draws.pick(&[30, 500, 1000]);
        let largest = if input == Input::Values && l == 0 { 2 } else { 127 };
        let mut synapses = Vec::new();
        for (source, target) in (0..inputs).flat_map(|i| (0..outputs).map(move |o| (i, o))) {
            for _ in 0..=draws.below(elements) {
                if draws.happens(share) {
                    let weight = draws.below(2 * largest + 1) as i32 - largest as i32;
                    let delay = draws.below(taps);
                    synapses.push(SynapseSpec { source, target, delay, weight: weight as i8 });
                }
            }
        }
        let neurons = if last { 0 } else { outputs };
        let neuron = |draws: &mut Draws| NeuronSpec {
            threshold: 1.0 + draws.below(200) as f64,
            bias: draws.below(41) as f64 - 20.0,
        };
        let bias_shift = draws.below(8) as u8;
        layers.push(LayerSpec {
            outputs,
            taps,
            padding: draws.below(4),
            synapses,
            neurons: (0..neurons).map(|_| neuron(&mut draws)).collect(),
            decay: Decay::Fixed { factor: draws.below(220) as u16, shift: 8, bias_shift },
            soft: !last && draws.happens(400),
            gain: if last { (1 + draws.below(50) as u32, 4) } else { (0, 0) },
            scheme: Scheme::Groups { list: 31 },
        });
        inputs = outputs;
    }
    let decision = draws.pick(&[Decision::SoftmaxSum, Decision::MembraneSum, Decision::Max]);
    let labels = (0..inputs).map(|class| format!("class {class}")).collect();
    ModelSpec { tick_us: 10_000, input, channels, decision, labels, layers }
}

/// The same model in single precision.
///
/// # Panics
/// If a layer has a floating-point decay.
#[must_use]
pub fn in_floats(spec: &ModelSpec<i8>) -> ModelSpec<f32> {
    let layer = |layer: &LayerSpec<i8>| {
        let Decay::Fixed { factor, shift, bias_shift } = layer.decay else { unreachable!() };
        let one = f64::from(1u32 << shift);
        let neuron = |n: &NeuronSpec| NeuronSpec {
            bias: n.bias * f64::from(1u32 << bias_shift) / one,
            ..*n
        };
        let synapse = |s: &SynapseSpec<i8>| SynapseSpec {
            source: s.source,
            target: s.target,
            delay: s.delay,
            weight: f32::from(s.weight),
        };
        LayerSpec {
            outputs: layer.outputs,
            taps: layer.taps,
            padding: layer.padding,
            synapses: layer.synapses.iter().map(synapse).collect(),
            neurons: layer.neurons.iter().map(neuron).collect(),
            decay: Decay::Float((f64::from(factor) / one) as f32),
            soft: layer.soft,
            gain: (0, 0),
            scheme: layer.scheme,
        }
    };
    ModelSpec {
        tick_us: spec.tick_us,
        input: spec.input,
        channels: spec.channels,
        decision: spec.decision,
        labels: spec.labels.clone(),
        layers: spec.layers.iter().map(layer).collect(),
    }
}

/// The state after a tick.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tick {
    /// The membranes of every layer after their decay.
    pub membranes: Vec<Vec<i64>>,
    /// The neurons that spiked, for every hidden layer.
    pub spikes: Vec<Vec<usize>>,
    /// The scores.
    pub scores: Vec<i64>,
}

/// Runs a model by its definition: every synapse looks up the past of its source.
///
/// # Panics
/// If the model is invalid.
#[must_use]
pub fn simulate(spec: &ModelSpec<i8>, inputs: &[Vec<i8>]) -> Vec<Tick> {
    let mut past: Vec<Vec<Vec<i64>>> = vec![Vec::new(); spec.layers.len() + 1];
    let mut membranes: Vec<Vec<i64>> = spec.layers.iter().map(|l| vec![0; l.outputs]).collect();
    for (v, layer) in membranes.iter_mut().zip(&spec.layers) {
        for (v, neuron) in v.iter_mut().zip(&layer.neurons) {
            *v = decay(layer, 0, neuron.bias as i64);
        }
    }
    let classes = spec.layers.last().unwrap().outputs;
    let start = if spec.decision == Decision::Max { i64::from(i32::MIN) } else { 0 };
    let mut scores = vec![start; classes];
    let mut ticks = Vec::new();
    for (t, x) in inputs.iter().enumerate() {
        past[0].push(x.iter().map(|&x| x.into()).collect());
        let mut spikes = Vec::new();
        for (l, layer) in spec.layers.iter().enumerate() {
            let v = &mut membranes[l];
            for s in layer.synapses.iter().filter(|s| s.delay <= t) {
                v[s.target] += i64::from(s.weight) * past[l][t - s.delay][s.source];
            }
            if l + 1 == spec.layers.len() {
                score(spec, layer, v, &mut scores);
                let half = match layer.decay {
                    Decay::Fixed { shift, .. } => (1 << shift) >> 1,
                    Decay::Float(_) => unreachable!(),
                };
                v.iter_mut().for_each(|v| *v = decay_of(layer, *v, half));
                continue;
            }
            let mut fired = Vec::new();
            for (v, neuron) in v.iter_mut().zip(&layer.neurons) {
                let threshold = neuron.threshold as i64;
                let fires = *v >= threshold;
                fired.push(i64::from(fires));
                let left = match (fires, layer.soft) {
                    (false, _) => *v,
                    (true, true) => *v - threshold,
                    (true, false) => 0,
                };
                *v = decay(layer, left, neuron.bias as i64);
            }
            spikes.push((0..fired.len()).filter(|&n| fired[n] == 1).collect());
            past[l + 1].push(fired);
        }
        ticks.push(Tick { membranes: membranes.clone(), spikes, scores: scores.clone() });
    }
    ticks
}

fn decay(layer: &LayerSpec<i8>, v: i64, bias: i64) -> i64 {
    let Decay::Fixed { bias_shift, .. } = layer.decay else { unreachable!() };
    decay_of(layer, v, bias << bias_shift)
}

fn decay_of(layer: &LayerSpec<i8>, v: i64, plus: i64) -> i64 {
    let Decay::Fixed { factor, shift, .. } = layer.decay else { unreachable!() };
    (v * i64::from(factor) + plus) >> shift
}

fn score(spec: &ModelSpec<i8>, layer: &LayerSpec<i8>, v: &[i64], scores: &mut [i64]) {
    let top = *v.iter().max().unwrap();
    let power = |v: i64| {
        let octaves = ((top - v) as u64 * u64::from(layer.gain.0)) >> layer.gain.1;
        let exact = libm::round(libm::exp2(15.0 - (octaves % 32) as f64 / 32.0)) as u64;
        exact.checked_shr((octaves / 32) as u32).unwrap_or(0)
    };
    let sum: u64 = v.iter().map(|&v| power(v)).sum();
    for (score, &v) in scores.iter_mut().zip(v) {
        *score = match spec.decision {
            Decision::SoftmaxSum => *score + ((power(v) * ((1 << 31) / sum)) >> 16) as i64,
            Decision::MembraneSum => *score + v,
            Decision::Max => v.max(*score),
        };
    }
}

/// Random input: `share` in 1000 values are not zero.
#[must_use]
pub fn inputs(spec: &ModelSpec<i8>, seed: u64, ticks: usize, share: usize) -> Vec<Vec<i8>> {
    let mut draws = Draws::new(seed ^ 0xabcd);
    let mut value = || match (draws.happens(share), spec.input) {
        (false, _) => 0,
        (true, Input::Spikes) => 1,
        (true, Input::Values) => (draws.below(255) as i32 - 127) as i8,
    };
    (0..ticks).map(|_| (0..spec.channels).map(|_| value()).collect()).collect()
}
