//! One impulse, one synapse, one known arrival step. These tests find errors of one step or one
//! index, which a tolerance would hide.

mod layers;

use polychron_core::backend::{Backend, Firing};
use polychron_core::delay::{AnyKernel, DelayKernel, Discrete, LANES, dense_kernel, round_delay};
use polychron_core::loss::Loss;
use polychron_core::neuron::{
    AdLif, AnyNeuron, CubaLif, Li, Lif, Neuron, NeuronModel, NeuronVisitor, Plif, Reset,
};
use polychron_core::norm::ValidSteps;
use polychron_core::reference::{
    Block, NeuronArgs, Reference, neuron_backward, neuron_forward, project, project_backward,
    project_input,
};
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::Atan;

const STEPS: usize = 6;
const WEIGHT: f64 = 2.0;
const ATAN: Atan<f64> = Atan { alpha: 2.0 };

/// The synapse with a weight: its input, its output, and the sample with the impulse.
const INPUT: usize = 1;
const OUTPUT: usize = 1;
const SAMPLE: usize = 1;

/// Every kernel, every whole delay, every padding.
fn each_delay(mut f: impl FnMut(&Synapses, AnyKernel, usize)) {
    for (_, kernel) in AnyKernel::ALL {
        for taps in [1, 2, 5, 8] {
            for tail in [0, (taps - 1) / 2, taps - 1] {
                for delay in 0..taps {
                    f(&Synapses { padding: tail, ..Synapses::new(3, 2, taps) }, kernel, delay);
                }
            }
        }
    }
}

fn input_shape() -> Shape {
    Shape::new(STEPS, 2, 3)
}

fn impulse(shape: Shape, t: usize, b: usize, n: usize) -> Vec<f64> {
    let mut block = vec![0.0; shape.len()];
    block[shape.at(t, b, n)] = 1.0;
    block
}

/// Weights, delays and sigma of a projection with one synapse.
fn one_synapse(synapses: &Synapses, delay: usize) -> [Vec<f64>; 3] {
    let at = OUTPUT * synapses.inputs + INPUT;
    let mut weights = vec![0.0; synapses.weights()];
    weights[at] = WEIGHT;
    // The other synapses have other delays, at which nothing may arrive.
    let mut delays: Vec<_> = (0..weights.len()).map(|n| (n % synapses.taps) as f64).collect();
    delays[at] = delay as f64;
    [weights, delays, vec![0.0]]
}

fn dense(
    synapses: &Synapses,
    kernel: AnyKernel,
    [weights, delays, sigma]: &[Vec<f64>; 3],
) -> Vec<f64> {
    let mut dense = vec![0.0; synapses.inputs * synapses.outputs * synapses.taps];
    let scratch = &mut vec![0.0; synapses.taps];
    dense_kernel(&kernel, synapses, weights, delays, sigma, scratch, &mut dense).unwrap();
    dense
}

/// The output `lag` steps after a unit impulse: all of it at the delay, except that a Gaussian has
/// flanks.
fn arrival(synapses: &Synapses, kernel: AnyKernel, delay: usize, lag: Option<usize>) -> f64 {
    let Some(lag) = lag.filter(|&lag| lag < synapses.taps) else { return 0.0 };
    let mut taps = vec![0.0; synapses.taps];
    kernel.taps(delay as f64, 0.0, &mut taps);
    // A bump below 1e-30 becomes 0.
    let bump = |j: usize| (-((j as f64 - delay as f64) / 0.27).powi(2) / 2.0).exp();
    let bump = |j: usize| if bump(j) < 1e-30 { 0.0 } else { bump(j) };
    match kernel {
        AnyKernel::Gauss => WEIGHT * bump(lag) / ((0..synapses.taps).map(bump).sum::<f64>() + 1e-7),
        AnyKernel::Max | AnyKernel::Linear | AnyKernel::Discrete if lag != delay => 0.0,
        AnyKernel::Discrete => WEIGHT,
        AnyKernel::Max | AnyKernel::Linear => WEIGHT / (1.0 + 1e-7),
        // The laws of kernels say what the taps of others are.
        #[allow(unreachable_patterns)]
        _ => WEIGHT * taps[lag],
    }
}

fn assert_close(found: f64, expected: f64, what: impl FnOnce() -> String) {
    let close = if expected == 0.0 { found == 0.0 } else { (found / expected - 1.0).abs() < 1e-12 };
    assert!(close, "{}: {found}, not {expected}", what());
}

#[test]
fn a_spike_arrives_after_its_delay_and_nowhere_else() {
    each_delay(|synapses, kernel, delay| {
        let kernel_block = dense(synapses, kernel, &one_synapse(synapses, delay));
        let shape = synapses.output(input_shape());
        assert_eq!(shape.steps, STEPS + synapses.padding);
        for t0 in 0..STEPS {
            let x = impulse(input_shape(), t0, SAMPLE, INPUT);
            let mut y = vec![f64::NAN; shape.len()];
            project(synapses, &kernel_block, &x, input_shape(), &mut y).unwrap();
            for (t, b, o) in places(shape) {
                let here = (b, o) == (SAMPLE, OUTPUT);
                let lag = t.checked_sub(t0).filter(|_| here);
                let expected = arrival(synapses, kernel, delay, lag);
                assert_close(y[shape.at(t, b, o)], expected, || {
                    format!("{kernel:?} {synapses:?} delay {delay} from {t0} at {t}, {b}, {o}")
                });
            }
        }
    });
}

#[test]
fn a_discrete_delay_between_steps_has_one_tap() {
    let just_below = 0.5f64.next_down();
    for taps in [1, 2, 5, 8] {
        let halves = (0..2 * taps - 1).map(|n| n as f64 / 2.0);
        for delay in halves.chain([just_below]).filter(|&delay| delay <= (taps - 1) as f64) {
            let mut expected = vec![0.0; taps];
            expected[round_delay(delay, taps)] = 1.0;
            let mut found = vec![f64::NAN; taps];
            Discrete.taps(delay, 0.0, &mut found);
            assert_eq!(found, expected, "{delay}");
            for kernel in [&Discrete as &dyn DelayKernel<f64>, &AnyKernel::Discrete] {
                let bump: Vec<_> = (0..taps).map(|j| kernel.tap(j, delay, 0.0).value).collect();
                assert_eq!(bump, expected, "{kernel:?} {delay}");
            }
        }
    }
}

#[test]
fn delays_outside_the_kernel_round_to_its_ends() {
    for (delay, expected) in [
        (24.4, 24),
        (24.6, 24),
        (1e30, 24),
        (f32::MAX, 24),
        (f32::INFINITY, 24),
        (-0.6, 0),
        (-1e30, 0),
        (f32::NEG_INFINITY, 0),
        (f32::NAN, 0),
    ] {
        assert_eq!(round_delay(delay, 25), expected, "{delay}");
        assert_eq!(round_delay(delay, 0), 0, "{delay}");
    }
}

#[test]
fn lanes_equal_scalars_in_f32() {
    let rng = Rng::new(3, 0);
    for (_, kernel) in AnyKernel::ALL {
        for taps in [1, 6, 70] {
            let draw = |part: u64, low: f32, high: f32| -> [f32; LANES] {
                let rng = rng.fork(part);
                std::array::from_fn(|l| low + (high - low) * rng.uniform::<f32>(l as u64))
            };
            let (weights, delays) = (draw(0, -1.0, 1.0), draw(1, -1.0, taps as f32));
            let sigmas = draw(2, -3.0, 3.0);
            let upstream: Vec<_> = (0..taps).map(|j| draw(3 + j as u64, -1.0, 1.0)).collect();
            let mut lanes = vec![[f32::NAN; LANES]; taps];
            kernel.taps_lanes(&delays, &sigmas, &mut lanes);
            let gradients = kernel.backward_lanes(&weights, &delays, &sigmas, &upstream);
            for l in 0..LANES {
                let mut alone = vec![f32::NAN; taps];
                kernel.taps(delays[l], sigmas[l], &mut alone);
                assert_eq!(lanes.iter().map(|row| row[l]).collect::<Vec<_>>(), alone);
                let of_one: Vec<_> = upstream.iter().map(|row| row[l]).collect();
                let one = kernel.backward(weights[l], delays[l], sigmas[l], &of_one);
                let found = [gradients.weight[l], gradients.delay[l], gradients.sigma[l]];
                assert_eq!(found, [one.weight, one.delay, one.sigma], "{kernel:?} {taps}");
            }
        }
    }
}

#[test]
fn taps_of_any_sigma_sum_to_one_and_have_finite_gradients() {
    for (_, kernel) in AnyKernel::ALL {
        for taps in [1, 25, 120] {
            for sigma in [0.0, 1e-30, 0.23, 1e4, 1e20, 1e30, f32::MAX] {
                let last = (taps - 1) as f32;
                for delay in [0.0, 0.5 * last, last] {
                    let mut x = vec![f32::NAN; taps];
                    kernel.taps(delay, sigma, &mut x);
                    let sum: f32 = x.iter().sum();
                    assert!((sum - 1.0).abs() < 1e-5, "{kernel:?} {sigma} {delay}: {sum}");
                    let g = kernel.backward(1e4, delay, sigma, &vec![1e15; taps]);
                    let finite = [g.weight, g.delay, g.sigma].iter().all(|g| g.is_finite());
                    assert!(finite, "{kernel:?} {sigma} {delay}: {g:?}");
                }
            }
        }
    }
}

fn places(shape: Shape) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..shape.len()).map(move |n| {
        (n / shape.width / shape.batch, n / shape.width % shape.batch, n % shape.width)
    })
}

#[test]
fn an_outputs_gradient_goes_back_by_the_delay_and_nowhere_else() {
    each_delay(|synapses, kernel, delay| {
        let kernel_block = dense(synapses, kernel, &one_synapse(synapses, delay));
        let shape = synapses.output(input_shape());
        for t in 0..shape.steps {
            let d_y = impulse(shape, t, SAMPLE, OUTPUT);
            let mut d_x = vec![f64::NAN; input_shape().len()];
            project_input(synapses, &kernel_block, &d_y, input_shape(), &mut d_x).unwrap();
            for (t0, b, i) in places(input_shape()) {
                let here = (b, i) == (SAMPLE, INPUT);
                let lag = t.checked_sub(t0).filter(|_| here);
                let expected = arrival(synapses, kernel, delay, lag);
                assert_close(d_x[input_shape().at(t0, b, i)], expected, || {
                    format!("{kernel:?} {synapses:?} delay {delay} from {t} at {t0}, {b}, {i}")
                });
            }
        }
    });
}

#[test]
fn a_weights_gradient_pairs_the_input_with_the_output_one_delay_later() {
    each_delay(|synapses, kernel, delay| {
        let [weights, delays, sigma] = one_synapse(synapses, delay);
        let shape = synapses.output(input_shape());
        for (t0, t) in (0..STEPS).flat_map(|t0| (0..shape.steps).map(move |t| (t0, t))) {
            let x = impulse(input_shape(), t0, SAMPLE, INPUT);
            let d_y = impulse(shape, t, SAMPLE, OUTPUT);
            let mut d = [weights.clone(), delays.clone(), sigma.clone()];
            let gradients = d.each_mut().map(|d| d.as_mut_slice());
            let values = [&weights[..], &delays[..], &sigma[..]];
            let from = (&x[..], input_shape());
            project_backward(synapses, &kernel, values, from.0, from.1, &d_y, gradients).unwrap();
            for (e, &d_weight) in d[0].iter().enumerate() {
                let here = e == OUTPUT * synapses.inputs + INPUT;
                let lag = t.checked_sub(t0).filter(|_| here);
                let expected = arrival(synapses, kernel, delay, lag) / WEIGHT;
                assert_close(d_weight, expected, || {
                    format!("{kernel:?} {synapses:?} delay {delay}: {t0} to {t}, weight {e}")
                });
            }
        }
    });
}

/// Neurons that answer an input of 2 with one spike, and their names: chosen ones, and all examples
/// that do.
fn spiking() -> Vec<(&'static str, AnyNeuron<f64>)> {
    let lif = Lif::new(2.0);
    let soft = Lif { reset: Reset::Soft, detach: false, ..Lif::new(1.5) };
    let chosen = [
        ("lif", AnyNeuron::Lif(lif)),
        ("soft lif", AnyNeuron::Lif(soft)),
        ("without memory", AnyNeuron::Lif(Lif::new(1.0))),
        ("integrate and fire", AnyNeuron::Lif(Lif::integrate_and_fire())),
        ("plif", AnyNeuron::Plif(Plif::new(lif))),
        ("cuba lif", AnyNeuron::CubaLif(CubaLif::new(lif, 1.001))),
        ("adlif", AnyNeuron::AdLif(AdLif::new(1.5, 3.0, 0.0, 0.0))),
    ];
    let answers = |neuron: &AnyNeuron<f64>| {
        let [spikes, membrane, ..] = over_time(neuron, &[0.0, WEIGHT, 0.0, 0.0, 0.0, 0.0], 0);
        spikes == [0.0, 1.0, 0.0, 0.0, 0.0, 0.0] && membrane[0] == 0.0
    };
    chosen.into_iter().chain(AnyNeuron::examples().filter(|(_, n)| answers(n))).collect()
}

/// Spikes and membrane of the scalar stage, and the gradients by the input of one spike and of one
/// membrane value.
fn over_time(neuron: &AnyNeuron<f64>, x: &[f64], t: usize) -> [Vec<f64>; 4] {
    struct Run<'a>(&'a [f64], usize);
    impl NeuronVisitor<f64> for Run<'_> {
        type Output = [Vec<f64>; 4];
        fn visit<N: Neuron<Real = f64>>(self, neuron: &N) -> Self::Output {
            let Self(x, t) = self;
            let shape = Shape::new(x.len(), 1, 1);
            let (surrogate, valid) = (&ATAN, ValidSteps::default());
            let args = NeuronArgs {
                neurons: &[*neuron],
                surrogate,
                firing: Firing::Step,
                mask: None,
                valid,
                shape,
                start: None,
            };
            let [mut spikes, mut membrane, mut by_spike, mut by_membrane] =
                [0; 4].map(|_| vec![f64::NAN; x.len()]);
            neuron_forward(&args, x, &mut spikes, Some(&mut membrane), None).unwrap();
            let (one, none) = (impulse(shape, t, 0, 0), vec![0.0; x.len()]);
            let params = &mut vec![0.0; neuron.params().as_ref().len()];
            neuron_backward(&args, x, &one, None, &mut by_spike, params).unwrap();
            neuron_backward(&args, x, &none, Some(&one), &mut by_membrane, params).unwrap();
            [spikes, membrane, by_spike, by_membrane]
        }
    }
    neuron.visit(Run(x, t))
}

#[test]
fn a_neuron_spikes_in_the_step_of_its_input() {
    for (name, neuron) in spiking() {
        for t0 in 0..STEPS {
            let mut x = vec![0.0; STEPS];
            x[t0] = WEIGHT;
            let [spikes, membrane, ..] = over_time(&neuron, &x, 0);
            let expected: Vec<_> = (0..STEPS).map(|t| f64::from(u8::from(t == t0))).collect();
            assert_eq!(spikes, expected, "{name}");
            assert!(membrane[..t0].iter().all(|&v| v == 0.0), "{name}: {membrane:?}");
        }
    }
}

#[test]
fn a_spikes_gradient_reaches_its_own_step_and_none_after() {
    for (name, neuron) in spiking() {
        for t in 0..STEPS {
            let [_, _, by_spike, _] = over_time(&neuron, &[0.1; STEPS], t);
            assert!(by_spike[t] != 0.0, "{name}: {by_spike:?}");
            assert!(by_spike[t + 1..].iter().all(|&d| d == 0.0), "{name}: {by_spike:?}");
            let before = by_spike[..t].iter().all(|&d| d == 0.0);
            assert_eq!(before, name == "without memory" || t == 0, "{name}: {by_spike:?}");
        }
    }
}

/// The response of the leaky integrator to an impulse is a power of its decay, forward and
/// backward.
#[test]
fn the_readout_decays_from_the_step_of_its_input() {
    for decay_input in [false, true] {
        let li = Li { rate: 0.25, decay_input };
        let gain = if decay_input { 0.25 } else { 1.0 };
        let answer = |lag: Option<usize>| lag.map_or(0.0, |lag| gain * 0.75f64.powi(lag as i32));
        for at in 0..STEPS {
            let mut x = vec![0.0; STEPS];
            x[at] = 1.0;
            let [_, membrane, _, by_membrane] = over_time(&AnyNeuron::Li(li), &x, at);
            for t in 0..STEPS {
                assert_close(membrane[t], answer(t.checked_sub(at)), || format!("v at {t}"));
                assert_close(by_membrane[t], answer(at.checked_sub(t)), || format!("d_x at {t}"));
            }
        }
    }
}

/// Scores and their gradient use the membrane of the readout at the same steps.
#[test]
fn the_loss_sees_the_step_of_the_arrival() {
    let shape = Shape::new(STEPS, 1, 2);
    let li = Li { rate: 1.0, decay_input: false };
    for t0 in 0..STEPS {
        for (name, loss) in Loss::ALL {
            let x = Block { shape, values: impulse(shape, t0, 0, 1) };
            let (mut scores, mut d_x) =
                (vec![f64::NAN; 2], Block { shape, values: vec![f64::NAN; shape.len()] });
            let (valid, targets) = (ValidSteps::default(), vec![0.0, 1.0]);
            Reference::new()
                .readout(&li, loss, valid, &x, Some(&targets), &mut scores, Some(&mut d_x))
                .unwrap();
            let steps = STEPS as f64;
            let high = 1.0 / (1.0 + (-1f64).exp());
            let expected = match loss {
                Loss::SoftmaxSum => high + (steps - 1.0) / 2.0,
                Loss::Mean => 1.0 / steps,
                Loss::Max | Loss::MembraneSum => 1.0,
            };
            assert_close(scores[1], expected, || name.into());
            for t in 0..STEPS {
                let d = d_x.values[shape.at(t, 0, 1)];
                let hit = loss != Loss::Max || t == t0;
                assert_eq!(d != 0.0, hit, "{name} from {t0}: {d} at {t}");
            }
        }
    }
}
