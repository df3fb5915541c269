//! Whole layers: delays add up, layers are causal, results do not depend on padding.

use super::{ATAN, STEPS, WEIGHT, impulse, places, spiking};
use polychron_core::backend::{
    Activation, ActivationGradients, Backend, Firing, HasKernel, HasNeuron, HasSurrogate,
    NeuronStage, NormMode, SynapseGradients, SynapseParams, View, ViewMut,
};
use polychron_core::delay::{AnyKernel, DelayKernel};
use polychron_core::loss::Loss;
use polychron_core::neuron::{AnyNeuron, ErasedNeuron, Li};
use polychron_core::norm::{BatchNorm, ValidSteps};
use polychron_core::reference::{Block, Reference};
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, Synapses};
use std::ops::Range;

/// A hidden layer with its parameters.
#[derive(Clone)]
struct HiddenLayer {
    synapses: Synapses,
    kernel: AnyKernel,
    blocks: [Vec<f64>; 3],
    norm: Option<Vec<f64>>,
    neuron: AnyNeuron<f64>,
}

/// The results of a pass through a layer.
struct Pass {
    y: Block<f64>,
    statistics: Vec<f64>,
    spikes: Block<f64>,
    running: Vec<f64>,
}

const REFERENCE: Reference<f64> = Reference::new();

fn all(block: &[f64]) -> Range<usize> {
    0..block.len()
}

impl HiddenLayer {
    fn params(&self) -> SynapseParams<'_, Vec<f64>> {
        let [weights, delays, sigma] = self.blocks.each_ref().map(|b| View::new(b, all(b)));
        SynapseParams { weights, delays, sigma, rounding: None }
    }

    fn with_activation<T>(
        &self,
        valid: ValidSteps<'_>,
        f: impl FnOnce(Activation<'_, Reference<f64>>) -> T,
    ) -> T {
        let mut params = vec![0.0; self.neuron.param_count()];
        self.neuron.write_params(&mut params);
        let norm = BatchNorm::default();
        f(Activation {
            norm: self.norm.as_ref().map(|params| (&norm, View::new(params, all(params)))),
            neurons: NeuronStage {
                neuron: &Reference::neuron(self.neuron),
                params: View::new(&params, all(&params)),
                surrogate: &Reference::surrogate(ATAN),
                firing: Firing::Step,
                mask: None,
                valid,
                start: None,
            },
        })
    }

    /// The norm uses the `running` statistics if they are given, else those of the batch.
    fn forward(&self, valid: ValidSteps<'_>, x: &Block<f64>, running: Option<&Vec<f64>>) -> Pass {
        let shape = self.synapses.output(x.shape);
        let mut tracked = vec![0.0; 2 * shape.width];
        let range = all(&tracked);
        let mode = match running {
            Some(running) => NormMode::Running(View::new(running, range)),
            None => NormMode::Batch { running: ViewMut::new(&mut tracked, range) },
        };
        let mut y = Block { shape, values: vec![0.0; shape.len()] };
        let mut statistics = vec![0.0; 2 * shape.width];
        let mut spikes = Block { shape, values: vec![f64::NAN; shape.len()] };
        let kernel = Reference::kernel(self.kernel);
        REFERENCE.project(&self.synapses, &kernel, self.params(), x, &mut y).unwrap();
        self.with_activation(valid, |layer| {
            REFERENCE.activate(&layer, mode, &y, &mut statistics, &mut spikes, None).unwrap();
        });
        Pass { y, statistics, spikes, running: tracked }
    }

    /// The gradients by weights, delays, sigma, `[gamma | beta]` and neuron in one block, and by
    /// the input.
    fn backward(
        &self,
        valid: ValidSteps<'_>,
        x: &Block<f64>,
        pass: &Pass,
        d: &Block<f64>,
    ) -> (Vec<f64>, Block<f64>) {
        let [mut w, mut p, mut s] = self.blocks.clone();
        let mut norm = self.norm.clone().unwrap_or_default();
        let mut neuron = vec![0.0; self.neuron.param_count()];
        let mut d_x = x.clone();
        let [w_range, p_range, s_range] = [all(&w), all(&p), all(&s)];
        let (norm_range, neuron_range) = (all(&norm), all(&neuron));
        let synapses = SynapseGradients {
            weights: ViewMut::new(&mut w, w_range),
            delays: ViewMut::new(&mut p, p_range),
            sigma: ViewMut::new(&mut s, s_range),
        };
        let gradients = ActivationGradients {
            norm: ViewMut::new(&mut norm, norm_range),
            neuron: ViewMut::new(&mut neuron, neuron_range),
        };
        let mut d = d.clone();
        self.with_activation(valid, |layer| {
            let Pass { y, statistics, .. } = pass;
            REFERENCE.activate_backward(&layer, y, statistics, &mut d, gradients).unwrap();
        });
        let (kernel, params) = (Reference::kernel(self.kernel), self.params());
        let asked = Some(&mut d_x);
        REFERENCE
            .project_backward(&self.synapses, &kernel, params, x, &d, synapses, asked)
            .unwrap();
        ([w, p, s, norm, neuron].concat(), d_x)
    }
}

#[test]
fn two_layers_add_their_delays() {
    let taps = 4;
    // One tap has almost all of the weight of these kernels, so that one spike causes the next.
    let sharp = |kernel: &AnyKernel| {
        let mut taps = [0.0; 3];
        kernel.taps(1.0, 0.0, &mut taps);
        taps[1] > 0.99
    };
    for (name, neuron) in spiking() {
        for kernel in AnyKernel::ALL.map(|(_, kernel)| kernel).into_iter().filter(sharp) {
            for (first, second, t0) in places(Shape::new(taps, taps, STEPS)).collect::<Vec<_>>() {
                let layer = |delay: usize| HiddenLayer {
                    synapses: Synapses { padding: 1, ..Synapses::new(1, 1, taps) },
                    kernel,
                    blocks: [vec![WEIGHT], vec![delay as f64], vec![0.0]],
                    norm: None,
                    neuron,
                };
                let (one, two) = (layer(first), layer(second));
                let shape = Shape::new(STEPS, 1, 1);
                let x = Block { shape, values: impulse(shape, t0, 0, 0) };
                let valid = ValidSteps::default();
                let middle = one.forward(valid, &x, None);
                let last = two.forward(valid, &middle.spikes, None);
                let spiked = |block: &Block<f64>| -> Vec<usize> {
                    (0..block.shape.steps).filter(|&t| block.values[t] == 1.0).collect()
                };
                let expected = |t: usize, steps: usize| if t < steps { vec![t] } else { vec![] };
                let case = || format!("{name} {kernel:?} {first} + {second} from {t0}");
                assert_eq!(spiked(&middle.spikes), expected(t0 + first, STEPS + 1), "{}", case());
                if spiked(&middle.spikes).is_empty() {
                    assert!(last.spikes.values.iter().all(|&s| s == 0.0), "{}", case());
                    continue;
                }
                let arrives = t0 + first + second;
                assert_eq!(spiked(&last.spikes), expected(arrives, STEPS + 2), "{}", case());
                let narrow = kernel.reach(kernel.width(0.0).0) <= 1.0;
                if name == "without memory" && narrow && arrives < STEPS + 2 {
                    let d = Block {
                        shape: last.spikes.shape,
                        values: impulse(last.spikes.shape, arrives, 0, 0),
                    };
                    let (_, d_middle) = two.backward(valid, &middle.spikes, &last, &d);
                    let (_, d_x) = one.backward(valid, &x, &middle, &d_middle);
                    let hit: Vec<_> = (0..STEPS).filter(|&t| d_x.values[t] != 0.0).collect();
                    assert_eq!(hit, vec![t0], "{}", case());
                }
            }
        }
    }
}

fn random(rng: Rng, len: usize, low: f64, high: f64) -> Vec<f64> {
    (0..len).map(|n| low + (high - low) * rng.uniform_f64(n as u64)).collect()
}

/// A layer of random synapses.
fn busy(
    rng: Rng,
    inputs: usize,
    outputs: usize,
    kernel: AnyKernel,
    neuron: AnyNeuron<f64>,
) -> HiddenLayer {
    let synapses = Synapses { kernel_count: 2, ..Synapses::new(inputs, outputs, 5) };
    let n = synapses.weights();
    let mut norm = vec![1.0; outputs];
    norm.extend(vec![0.4; outputs]);
    HiddenLayer {
        synapses,
        kernel,
        blocks: [
            random(rng.fork(1), n, -1.0, 2.0),
            random(rng.fork(2), n, 0.0, 4.0),
            random(rng.fork(3), n, 0.0, 2.0),
        ],
        norm: Some(norm),
        neuron,
    }
}

/// Running statistics with which about half of the steps have a spike.
fn running(width: usize) -> Vec<f64> {
    let mut running = vec![1.0; width];
    running.extend(vec![1.5; width]);
    running
}

#[test]
fn a_change_of_the_input_changes_nothing_before() {
    let shape = Shape::new(12, 2, 3);
    for (name, neuron) in spiking() {
        for (_, kernel) in AnyKernel::ALL {
            let rng = Rng::new(3, 0);
            let layers = [busy(rng, 3, 4, kernel, neuron), busy(rng.fork(9), 4, 2, kernel, neuron)];
            let run = |x: Vec<f64>| {
                layers.iter().fold(Block { shape, values: x }, |x, layer| {
                    let running = running(layer.synapses.outputs);
                    layer.forward(ValidSteps::default(), &x, Some(&running)).spikes
                })
            };
            let x = random(rng.fork(4), shape.len(), 0.0, 1.0);
            let base = run(x.clone());
            let mut changes = 0;
            for t in 0..shape.steps {
                let mut other = x.clone();
                other[shape.at(t, 0, 0)..shape.at(t, 1, 0)].fill(4.0);
                let changed = run(other);
                let first = base.values.iter().zip(&changed.values).position(|(a, b)| a != b);
                changes += usize::from(first.is_some());
                let early = first.is_some_and(|n| n < base.shape.at(t, 0, 0));
                assert!(!early, "{name} {kernel:?}: a change at {t} is seen before");
                for (s, b, o) in places(base.shape).filter(|&(_, b, _)| b == 1) {
                    let at = base.shape.at(s, b, o);
                    assert_eq!(base.values[at], changed.values[at], "{name}: another sample");
                }
            }
            assert!(changes > 3, "{name} {kernel:?}: {changes} changes seen");
        }
    }
}

/// All results of two layers and a readout in batch mode, for samples of the given lengths, padded
/// to `steps`.
fn train(
    layers: &[HiddenLayer; 2],
    samples: &[Vec<f64>],
    width: usize,
    steps: usize,
    loss: Loss,
) -> Vec<f64> {
    let shape = Shape::new(steps, samples.len(), width);
    let lengths: Vec<_> = samples.iter().map(|x| x.len() / width).collect();
    let mut x = Block { shape, values: vec![0.0; shape.len()] };
    for (b, sample) in samples.iter().enumerate() {
        for (n, &value) in sample.iter().enumerate() {
            x.values[shape.at(n / width, b, n % width)] = value;
        }
    }
    let [one, two] = layers;
    let at = |padding| ValidSteps { lengths: Some(&lengths), padding };
    let (padding, all) = (one.synapses.padding, one.synapses.padding + two.synapses.padding);
    let first = one.forward(at(padding), &x, None);
    let second = two.forward(at(all), &first.spikes, None);
    for (pass, padding) in [(&first, padding), (&second, all)] {
        for (t, b, o) in places(pass.spikes.shape).filter(|&(t, b, _)| t >= lengths[b] + padding) {
            let spike = pass.spikes.values[pass.spikes.shape.at(t, b, o)];
            assert_eq!(spike, 0.0, "a masked step spikes at {t}, {b}, {o}");
        }
    }
    let classes = second.spikes.shape.width;
    let (mut scores, mut d) = (vec![0.0; samples.len() * classes], second.spikes.clone());
    let targets = impulse(Shape::new(1, 1, scores.len()), 0, 0, 0);
    let li = Li::new(2.0);
    let value = REFERENCE
        .readout(&li, loss, at(all), &second.spikes, Some(&targets), &mut scores, Some(&mut d))
        .unwrap();
    let (gradient, d_first) = two.backward(at(all), &first.spikes, &second, &d);
    let (first_gradient, _) = one.backward(at(padding), &x, &first, &d_first);
    [scores, vec![value], first.running, second.running, gradient, first_gradient].concat()
}

#[test]
fn results_do_not_depend_on_padding() {
    let rng = Rng::new(11, 0);
    let samples = [9, 4, 0, 7].map(|steps| random(rng.fork(steps as u64), 3 * steps, 0.0, 1.0));
    for (name, neuron) in spiking() {
        for (_, kernel) in AnyKernel::ALL {
            for (_, loss) in Loss::ALL {
                let layers =
                    [busy(rng, 3, 4, kernel, neuron), busy(rng.fork(9), 4, 2, kernel, neuron)];
                let short = train(&layers, &samples, 3, 9, loss);
                assert!(short.iter().all(|x| x.is_finite()) && short.iter().any(|&x| x != 0.0));
                assert_eq!(short, train(&layers, &samples, 3, 15, loss), "{name} {kernel:?}");
            }
        }
    }
}

/// The valid steps of a sample are its length plus the padding of the layers: an input that arrives
/// at the last of them causes a spike; one step later it does not.
#[test]
fn a_sample_ends_with_its_padding() {
    let (lengths, shape) = ([STEPS, 3], Shape::new(STEPS, 2, 1));
    for (name, neuron) in spiking() {
        for (tail, delay) in [(0, 0), (0, 1), (2, 2), (2, 3)] {
            let synapses = Synapses { padding: tail, ..Synapses::new(1, 1, 4) };
            let blocks = [vec![WEIGHT], vec![delay as f64], vec![0.0]];
            let kernel = AnyKernel::Discrete;
            let layer = HiddenLayer { synapses, kernel, blocks, norm: None, neuron };
            let x = Block { shape, values: impulse(shape, lengths[1] - 1, 1, 0) };
            let valid = ValidSteps { lengths: Some(&lengths), padding: tail };
            let spikes = layer.forward(valid, &x, None).spikes;
            let mut expected = vec![0.0; spikes.shape.len()];
            if delay <= tail {
                expected[spikes.shape.at(lengths[1] - 1 + delay, 1, 0)] = 1.0;
            }
            assert_eq!(spikes.values, expected, "{name}: delay {delay}, tail {tail}");
        }
    }
}

/// With running statistics the scores of a sample do not depend on its batch.
#[test]
fn a_sample_alone_scores_as_in_its_batch() {
    let rng = Rng::new(12, 0);
    let samples = [9, 4, 7].map(|steps| random(rng.fork(steps as u64), 3 * steps, 0.0, 1.0));
    for (name, neuron) in spiking() {
        for (_, loss) in Loss::ALL {
            let layer = busy(rng, 3, 4, AnyKernel::Gauss, neuron);
            let running = running(4);
            let score = |samples: &[&Vec<f64>], steps: usize| {
                let shape = Shape::new(steps, samples.len(), 3);
                let lengths: Vec<_> = samples.iter().map(|x| x.len() / 3).collect();
                let mut x = Block { shape, values: vec![0.0; shape.len()] };
                for (b, sample) in samples.iter().enumerate() {
                    for (n, &value) in sample.iter().enumerate() {
                        x.values[shape.at(n / 3, b, n % 3)] = value;
                    }
                }
                let valid = ValidSteps { lengths: Some(&lengths), padding: layer.synapses.padding };
                let spikes = layer.forward(valid, &x, Some(&running)).spikes;
                let mut scores = vec![0.0; 4 * samples.len()];
                let li = Li::new(2.0);
                REFERENCE.readout(&li, loss, valid, &spikes, None, &mut scores, None).unwrap();
                scores
            };
            let batch = score(&samples.each_ref(), 9);
            for (b, sample) in samples.iter().enumerate() {
                let alone = score(&[sample], sample.len() / 3);
                assert_eq!(alone, batch[4 * b..4 * b + 4], "{name} {loss:?}");
            }
        }
    }
}
