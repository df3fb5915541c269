//! Recurrent layers: known arrivals, delay lines, edges and extremes, on the reference and on the
//! default that projections and neuron stages make.
#![cfg(feature = "alloc")]

mod training;

use super::conformance::wrong::{Fault, Wrong};
use polychron_core::backend::{
    Firing, NeuronStage, RecurrentGradients, RecurrentStage, SynapseGradients, SynapseParams, View,
    ViewMut,
};
use polychron_core::conformance::Conforming;
use polychron_core::delay::{AnyKernel, DelayKernel, Place, Rounding, round_delay};
use polychron_core::neuron::{AnyNeuron, Lif, Neuron, Reset};
use polychron_core::norm::ValidSteps;
use polychron_core::reference::{Block, NeuronArgs, Reference, neuron_backward};
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, ShapeError, Synapses};
use polychron_core::surrogate::{AnySurrogate, Atan, Surrogate, step};

const ATAN: Atan<f64> = Atan { alpha: 2.0 };

/// A backend in host memory.
trait Host:
    Conforming<Real = f64, Buffer = Vec<f64>, Sequence = Block<f64>, Error = ShapeError>
{
}

impl<B> Host for B where
    B: Conforming<Real = f64, Buffer = Vec<f64>, Sequence = Block<f64>, Error = ShapeError>
{
}

/// A recurrent layer of LIFs with a delay for each synapse.
#[derive(Clone)]
struct Layer {
    shape: Shape,
    synapses: Synapses,
    kernel: AnyKernel,
    rounding: Option<Rounding>,
    weights: Vec<f64>,
    delays: Vec<f64>,
    sigma: f64,
    mask: Option<Vec<f64>>,
    before: Option<Block<f64>>,
    neuron: Lif<f64>,
    smooth: bool,
}

/// What a layer computes.
struct Run {
    input: Vec<f64>,
    fired: Vec<f64>,
    spikes: Vec<f64>,
    d_x: Vec<f64>,
    d_weights: Vec<f64>,
}

impl Layer {
    /// Neurons whose membrane is their input, without synapses.
    fn new(shape: Shape, taps: usize, kernel: AnyKernel) -> Self {
        let synapses = Synapses { padding: 0, ..Synapses::new(shape.width, shape.width, taps) };
        let none = vec![0.0; synapses.weights()];
        Self {
            shape,
            synapses,
            kernel,
            rounding: None,
            weights: none.clone(),
            delays: none,
            sigma: 0.0,
            mask: None,
            before: None,
            neuron: Lif::new(1.0),
            smooth: false,
        }
    }

    /// Connects neuron `i` to neuron `o`.
    fn connect(&mut self, i: usize, o: usize, weight: f64, delay: f64) {
        let at = o * self.shape.width + i;
        (self.weights[at], self.delays[at]) = (weight, delay);
    }

    fn run(&self, backend: &impl Host, x: &[f64], d_spikes: &[f64]) -> Result<Run, ShapeError> {
        self.run_on(backend, x, d_spikes)
    }

    fn run_on<B: Host>(&self, backend: &B, x: &[f64], d: &[f64]) -> Result<Run, ShapeError> {
        let block = |values: Vec<f64>| Block { shape: self.shape, values };
        let (none, sigma) = (Vec::new(), vec![self.sigma]);
        let stage = NeuronStage {
            neuron: &B::neuron(AnyNeuron::Lif(self.neuron)),
            params: View::new(&none, 0..0),
            surrogate: &B::surrogate(AnySurrogate::Atan(ATAN)),
            firing: if self.smooth { Firing::Smooth } else { Firing::Step },
            mask: None,
            valid: ValidSteps::default(),
            start: None,
        };
        let recurrent = RecurrentStage {
            synapses: &self.synapses,
            place: Place::Synaptic,
            kernel: &B::kernel(self.kernel),
            params: SynapseParams {
                weights: View::new(&self.weights, 0..self.weights.len()),
                delays: View::new(&self.delays, 0..self.delays.len()),
                sigma: View::new(&sigma, 0..1),
                rounding: self.rounding,
            },
            spread: None,
            mask: self.mask.as_ref(),
            before: self.before.as_ref(),
        };
        let blank = || block(vec![f64::NAN; self.shape.len()]);
        let [mut input, mut fired, mut spikes] = [blank(), blank(), blank()];
        let outputs = [&mut input, &mut fired, &mut spikes];
        backend.recurrent_forward(&recurrent, &stage, &block(x.to_vec()), outputs, None)?;
        let mut d_x = block(d.to_vec());
        let n = self.weights.len();
        let mut gradients = [vec![f64::NAN; n], vec![f64::NAN; n], vec![f64::NAN; 1], Vec::new()];
        let [weights, delays, sigma, neuron] = gradients.each_mut().map(|block| {
            let all = 0..block.len();
            ViewMut::new(block, all)
        });
        let synapses = SynapseGradients { weights, delays, sigma };
        let into = RecurrentGradients { synapses, neuron };
        backend.recurrent_backward(&recurrent, &stage, [&input, &fired], &mut d_x, into)?;
        let [d_weights, ..] = gradients;
        let [input, fired, spikes, d_x] = [input, fired, spikes, d_x].map(|block| block.values);
        Ok(Run { input, fired, spikes, d_x, d_weights })
    }

    /// Runs the layer on the reference and on the default.
    fn on_both(&self, x: &[f64], d_spikes: &[f64], check: impl Fn(&str, &Run)) {
        check("reference", &self.run(&Reference::new(), x, d_spikes).unwrap());
        check("default", &self.run(&Wrong::new(Fault::None), x, d_spikes).unwrap());
    }

    /// A block that is `value` at one place.
    fn one(&self, t: usize, n: usize, value: f64) -> Vec<f64> {
        let mut block = vec![0.0; self.shape.len()];
        block[self.shape.at(t, 0, n)] = value;
        block
    }
}

#[test]
fn a_spike_delivers_the_whole_weight_within_the_taps_and_nothing_wraps() {
    let (steps, weight) = (14, 0.25);
    for ((_, kernel), taps) in
        AnyKernel::ALL.into_iter().flat_map(|kernel| [1, 2, 5].map(|taps| (kernel, taps)))
    {
        let mut layer = Layer::new(Shape::new(steps, 1, 2), taps, kernel);
        for (half, sigma) in (0..2 * taps - 1).flat_map(|half| [0.0, 0.7, 4.0].map(|s| (half, s))) {
            layer.sigma = sigma;
            layer.connect(0, 1, weight, half as f64 / 2.0);
            for start in [0, 3, steps - 2, steps - 1] {
                let x = layer.one(start, 0, 3.0);
                layer.on_both(&x, &vec![0.0; x.len()], |name, run| {
                    let text = || format!("{name}, {kernel:?}, {taps}, {half}, {sigma}, {start}");
                    let arrived: Vec<_> = run.input.iter().skip(1).step_by(2).copied().collect();
                    let own = run.input.iter().step_by(2).zip(x.iter().step_by(2));
                    assert!(own.clone().all(|(found, x)| found == x), "{}", text());
                    let within = start + 1..(start + 1 + taps).min(steps);
                    let outside = (0..steps).filter(|t| !within.contains(t));
                    assert!(outside.map(|t| arrived[t]).all(|x| x == 0.0), "{}", text());
                    if start + taps < steps {
                        let sum: f64 = arrived.iter().sum();
                        assert!((sum / weight - 1.0).abs() < 1e-6, "{}: {sum}", text());
                    }
                });
            }
        }
    }
}

#[test]
fn a_spike_goes_around_a_loop_and_its_gradient_comes_back() {
    let (steps, weight, start) = (40, 2.0, 1);
    for (a, b) in (0..5).flat_map(|a| (0..5).map(move |b| (a, b))) {
        for kernel in [AnyKernel::Discrete, AnyKernel::Max, AnyKernel::Linear] {
            let mut layer = Layer::new(Shape::new(steps, 1, 2), 5, kernel);
            layer.connect(0, 1, weight, a as f64);
            layer.connect(1, 0, weight, b as f64);
            let delays = [1 + a, 1 + b];
            let mut times = vec![(start, 0)];
            while let Some(&(t, n)) = times.last().filter(|(t, n)| t + delays[*n] < steps) {
                times.push((t + delays[n], 1 - n));
            }
            let (last, end) = *times.last().unwrap();
            let (x, d) = (layer.one(start, 0, 3.0), layer.one(last, end, 1.0));
            let mut fired = vec![0.0; x.len()];
            times.iter().for_each(|&(t, n)| fired[layer.shape.at(t, 0, n)] = 1.0);
            let mut share = [0.0; 5];
            kernel.taps(0.0, 0.0, &mut share);
            layer.on_both(&x, &d, |name, run| {
                let text = || format!("{name}, {kernel:?}, {a}, {b}");
                assert_eq!(run.fired, fired, "{}", text());
                assert_eq!(run.spikes, fired, "{}", text());
                let mut expected = vec![0.0; x.len()];
                let (mut at, mut d) = (Some((last, end)), 1.0);
                while let Some((t, n)) = at {
                    let place = layer.shape.at(t, 0, n);
                    d *= ATAN.derivative(run.input[place] - 1.0);
                    expected[place] = d;
                    d *= weight * share[0];
                    at = t.checked_sub(delays[1 - n]).map(|t| (t, 1 - n));
                }
                for (found, expected) in run.d_x.iter().zip(&expected) {
                    assert!((found - expected).abs() <= 1e-12 * expected.abs(), "{}", text());
                }
            });
        }
    }
}

/// A layer of random weights, which are multiples of 1/8, whole delays, dropout and earlier spikes.
fn line(seed: u64, taps: usize, kernel: AnyKernel) -> (Layer, Vec<f64>) {
    let rng = Rng::new(seed, 3);
    let draw = |n: usize, below: u32| f64::from(rng.below(n as u64, below));
    let mut layer = Layer::new(Shape::new(17, 2, 4), taps, kernel);
    let past = Shape { steps: taps, ..layer.shape };
    layer.neuron = Lif { reset: Reset::Soft, ..Lif::new(2.0) };
    layer.weights = (0..16).map(|n| (draw(n, 17) - 8.0) / 8.0).collect();
    layer.delays = (16..32).map(|n| draw(n, taps as u32)).collect();
    layer.mask = Some((32..40).map(|n| [0.0, 1.25, 1.25][draw(n, 3) as usize]).collect());
    let values = (40..40 + past.len()).map(|n| f64::from(draw(n, 3) < 1.0)).collect();
    layer.before = Some(Block { shape: past, values });
    let x = (500..500 + layer.shape.len()).map(|n| draw(n, 9) / 4.0 - 0.5).collect();
    (layer, x)
}

/// Inputs and spikes of a layer whose spikes arrive `1 + delay` steps later with a share of the
/// weight.
fn delayed(layer: &Layer, x: &[f64], share: f64) -> [Vec<f64>; 2] {
    let Shape { steps, batch, width } = layer.shape;
    let (mut input, mut fired) = (x.to_vec(), vec![0.0; x.len()]);
    let before = layer.before.as_ref().unwrap();
    for b in 0..batch {
        let mut states = vec![layer.neuron.rest(); width];
        for (t, o) in (0..steps).flat_map(|t| (0..width).map(move |o| (t, o))) {
            let mut sum = 0.0;
            for i in 0..width {
                let n = o * width + i;
                let lag = 1 + round_delay(layer.delays[n], layer.synapses.taps);
                let spike = match t.checked_sub(lag) {
                    Some(t) => fired[layer.shape.at(t, b, i)],
                    None => before.values[layer.shape.at(layer.synapses.taps + t - lag, b, i)],
                };
                sum += layer.weights[n] * share * spike;
            }
            let at = layer.shape.at(t, b, o);
            input[at] += layer.mask.as_ref().unwrap()[b * width + o] * sum;
            let charged = layer.neuron.charge(states[o], input[at]);
            fired[at] = step(layer.neuron.excess(charged));
            states[o] = layer.neuron.reset(charged, fired[at]);
        }
    }
    [input, fired]
}

#[test]
fn whole_delays_without_a_spread_are_a_delay_line() {
    let mut spikes = 0.0;
    for (seed, taps) in [1, 4, 9, 25].into_iter().enumerate() {
        let (layer, x) = line(seed as u64, taps, AnyKernel::Discrete);
        let between = layer.delays.iter().map(|delay| (delay - 0.375).max(0.0)).collect();
        let (delays, rounding) = (between, Some(Rounding::Nearest));
        let rounded =
            Layer { kernel: AnyKernel::Gauss, sigma: 3.0, delays, rounding, ..layer.clone() };
        for exact in [&layer, &rounded] {
            let [input, fired] = delayed(exact, &x, 1.0);
            exact.on_both(&x, &x, |name, run| {
                assert_eq!((&run.input, &run.fired), (&input, &fired), "{name}, {taps}");
            });
            spikes += fired.iter().sum::<f64>();
        }
        for kernel in [AnyKernel::Max, AnyKernel::Linear] {
            let layer = Layer { kernel, ..layer.clone() };
            let mut share = vec![0.0; taps];
            kernel.taps(0.0, 0.0, &mut share);
            let [input, fired] = delayed(&layer, &x, share[0]);
            layer.on_both(&x, &x, |name, run| {
                assert_eq!(run.fired, fired, "{name}, {kernel:?}, {taps}");
                let worst = run.input.iter().zip(&input).map(|(a, b)| (a - b).abs());
                assert!(worst.fold(0.0, f64::max) < 1e-13, "{name}, {kernel:?}, {taps}");
            });
        }
    }
    assert!(spikes > 100.0);
}

/// With one tap, the gradient is that of the classic recurrence: `d s[t] += W' d I[t + 1]` and
/// `d W = sum over t of d I[t + 1] s[t]'`.
#[test]
fn one_tap_is_a_vanilla_recurrent_layer() {
    for (_, kernel) in AnyKernel::ALL {
        let (layer, x) = line(7, 1, kernel);
        let neuron = Lif { detach: false, ..layer.neuron };
        let layer = Layer { neuron, smooth: true, ..layer };
        let Shape { steps, batch, width } = layer.shape;
        let d_spikes: Vec<_> = x.iter().map(|x| x - 0.4).collect();
        let mut share = [0.0];
        kernel.taps(0.0, 0.0, &mut share);
        let mask = layer.mask.as_ref().unwrap();
        layer.on_both(&x, &d_spikes, |name, run| {
            let close = |what: &str, found: &[f64], expected: &[f64]| {
                for (a, b) in found.iter().zip(expected) {
                    let error = (a - b).abs() / b.abs().max(1.0);
                    assert!(error < 1e-12, "{name}, {kernel:?}, {what}: {a}, not {b}");
                }
            };
            let (mut input, mut d_fired) = (x.clone(), d_spikes.clone());
            let mut d_weights = vec![0.0; width * width];
            for (t, b) in (0..steps).flat_map(|t| (0..batch).map(move |b| (t, b))) {
                for (o, i) in (0..width).flat_map(|o| (0..width).map(move |i| (o, i))) {
                    let weight = layer.weights[o * width + i] * share[0] * mask[b * width + o];
                    let (at, from) = (layer.shape.at(t, b, o), layer.shape.at(t, b, i));
                    let row = batch * width;
                    let spike = match from.checked_sub(row) {
                        Some(before) => run.fired[before],
                        None => layer.before.as_ref().unwrap().values[from],
                    };
                    input[at] += weight * spike;
                    d_weights[o * width + i] +=
                        run.d_x[at] * share[0] * mask[b * width + o] * spike;
                    if t > 0 {
                        d_fired[from - row] += weight * run.d_x[at];
                    }
                }
            }
            close("inputs", &run.input, &input);
            close("weights", &run.d_weights, &d_weights);
            let args = NeuronArgs {
                neurons: &[layer.neuron],
                surrogate: &ATAN,
                firing: Firing::Smooth,
                mask: None,
                valid: ValidSteps::default(),
                shape: layer.shape,
                start: None,
            };
            let mut d_x = vec![0.0; x.len()];
            neuron_backward(&args, &input, &d_fired, None, &mut d_x, &mut []).unwrap();
            close("gradient", &run.d_x, &d_x);
        });
    }
}

#[test]
fn extreme_sizes_and_numbers_do_not_panic() {
    for (steps, batch, width, taps) in [
        (0, 2, 3, 4),
        (0, 0, 0, 1),
        (5, 0, 3, 4),
        (5, 2, 0, 4),
        (1, 1, 1, 1),
        (1, 1, 1, 50),
        (6, 2, 1, 50),
        (6, 1, 2, 3),
    ] {
        for ((_, kernel), extreme) in AnyKernel::ALL
            .into_iter()
            .flat_map(|kernel| [0.0, f64::NAN, f64::INFINITY, -1e300].map(|x| (kernel, x)))
        {
            let layer = Layer::new(Shape::new(steps, batch, width), taps, kernel);
            let plain = vec![2.0; layer.shape.len()];
            let mut wild = plain.clone();
            wild.iter_mut().step_by(3).for_each(|x| *x = extreme);
            let weights = vec![extreme; layer.weights.len()];
            let delays = vec![extreme; layer.delays.len()];
            let mut smooth = Layer { weights: weights.clone(), smooth: true, ..layer.clone() };
            smooth.before = Some(Block {
                shape: Shape { steps: taps, ..layer.shape },
                values: vec![extreme; taps * batch * width],
            });
            for (layer, x) in [
                (Layer { sigma: extreme, ..layer.clone() }, &wild),
                (Layer { weights, ..layer.clone() }, &plain),
                (Layer { delays, ..layer.clone() }, &plain),
                (smooth, &wild),
            ] {
                layer.on_both(x, x, |name, run| {
                    assert_eq!(run.d_x.len(), x.len(), "{name}");
                    let times = run.fired.iter().zip(&run.spikes);
                    assert!(layer.smooth || times.clone().all(|(a, b)| a == b), "{name}");
                });
            }
        }
    }
}
