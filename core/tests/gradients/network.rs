//! Whole layers and networks: the composition of the stages.

use super::check::{Errors, bound, compare, compare_directions, dot, hold};
use super::draw::{Draw, KERNELS, all_surrogates, neurons};
use super::net::{Builder, End, Fault, Link, Net};
use super::over_time::Detached;
use super::recurrent::kernels as recurrent_kernels;
use super::stages::targets;
use polychron_core::loss::Loss;
use polychron_core::neuron::{AnyNeuron, ErasedNeuron, Li, NeuronModel};
use polychron_core::shape::Shape;
use proptest::prelude::*;

/// Every spiking neuron with every reset, gain and detachment, every surrogate and every kernel.
fn layers(mode: &str) -> f64 {
    let shapes = (any::<u64>(), 3usize..6, 1usize..3, 1usize..3, 1usize..3);
    hold(("layer", mode), 3, shapes, |(seed, steps, batch, inputs, outputs)| {
        let mut draw = Draw::new(seed);
        let mut errors = Errors::default();
        for surrogate in all_surrogates() {
            for kernel in KERNELS {
                let all = neurons(draw.uniform(1.05, 6.0)).into_iter();
                for neuron in all.filter(|neuron| spikes(neuron) && allowed(neuron, mode)) {
                    let input = Shape::new(steps, batch, inputs);
                    let mut b = Builder::new(input);
                    let (synapses, place) = (draw.synapses(inputs, outputs), draw.place());
                    let connectivity = draw.connectivity(inputs, outputs);
                    let link = Link { from: 0, synapses, kernel, place, connectivity };
                    b.hidden(&mut draw, &[link], neuron, surrogate, false);
                    let upstream = draw.block(b.source(1).0.len(), -1.0, 1.0);
                    let net = b.finish(&mut draw, End::Sum(upstream));
                    let net = recorded(net, &mut draw, mode);
                    let mut found =
                        compare(|at| net.loss(at), &net.point, &net.parts, &net.gradient());
                    found.worst_at =
                        format!("{neuron:?} {surrogate:?} {kernel:?} {}", found.worst_at);
                    errors.merge(found);
                }
            }
        }
        errors
    })
}

fn spikes(neuron: &AnyNeuron<f64>) -> bool {
    !matches!(neuron, AnyNeuron::Li(_))
}

/// Difference quotients of smooth spikes pass through a detached reset.
fn allowed(neuron: &AnyNeuron<f64>, mode: &str) -> bool {
    mode != "smooth" || !neuron.visit(Detached)
}

fn recorded(mut net: Net, draw: &mut Draw, mode: &str) -> Net {
    match mode {
        "held" => net.record(),
        "frozen" => net.freeze(draw),
        _ => {}
    }
    net
}

/// What a random network has.
#[derive(Clone, Copy)]
struct Plan {
    loss: Loss,
    mode: &'static str,
    /// Whether every neuron has its own parameters.
    per_neuron: bool,
    /// Whether layer 1 also reads the input of the network, and the readout also reads layer 0.
    skips: bool,
    /// Whether both layers are recurrent.
    recurrent: bool,
}

/// Two random hidden layers and a readout; with skips, of different neurons.
fn network(draw: &mut Draw, input: Shape, widths: [usize; 3], plan: Plan) -> Net {
    let Plan { loss, mode, per_neuron, skips, recurrent } = plan;
    let mut b = Builder::new(input);
    let mut kinds = Vec::new();
    for (l, &width) in widths[..2].iter().enumerate() {
        let mut all = neurons(draw.uniform(1.05, 6.0));
        all.retain(|neuron| spikes(neuron) && allowed(neuron, mode));
        all.retain(|neuron| !per_neuron || neuron.param_count() > 0);
        all.retain(|neuron| !skips || !kinds.contains(&std::mem::discriminant(neuron)));
        let mut links = vec![link(draw, &b, l, width)];
        let neuron = draw.pick(&all);
        let surrogate = draw.any_surrogate();
        if skips && l == 1 {
            links.push(link(draw, &b, 0, width));
        }
        b.hidden(draw, &links, neuron, surrogate, per_neuron);
        if recurrent {
            let kernel = draw.pick(&recurrent_kernels().collect::<Vec<_>>());
            let place = draw.place();
            b.recurrence(draw, kernel, place);
        }
        kinds.push(std::mem::discriminant(&neuron));
    }
    let mut links = vec![link(draw, &b, 2, widths[2])];
    if skips {
        links.push(link(draw, &b, 1, widths[2]));
    }
    let end = End::Readout {
        inputs: b.inputs(draw, &links),
        li: Li { decay_input: draw.coin(), ..Li::new(draw.uniform(1.01, 5.0)) },
        loss,
        targets: targets(draw, input.batch, widths[2]),
    };
    recorded(b.finish(draw, end), draw, mode)
}

fn link(draw: &mut Draw, b: &Builder, from: usize, width: usize) -> Link {
    let inputs = b.source(from).0.width;
    let (synapses, connectivity) = (draw.synapses(inputs, width), draw.connectivity(inputs, width));
    Link { from, synapses, kernel: draw.pick(&KERNELS), place: draw.place(), connectivity }
}

/// Random networks, with parameters per layer and per neuron.
fn networks(stage: &str, mode: &'static str) -> f64 {
    let sizes = (any::<u64>(), 3usize..6, 2usize..4, 1usize..4, 2usize..4, 2usize..4);
    let cases = if stage == "network" { 25 } else { 12 };
    let recurrent = stage == RECURRENT;
    hold((stage, mode), cases, sizes, |(seed, steps, batch, inputs, first, second)| {
        let mut errors = Errors::default();
        for (n, (_, loss)) in Loss::ALL.into_iter().enumerate() {
            for per_neuron in [false, true] {
                let seed = if per_neuron { !seed } else { seed };
                let mut draw = Draw::new(seed.wrapping_add(n as u64));
                let input = Shape::new(steps, batch, inputs);
                let plan = Plan { loss, mode, per_neuron, skips: stage == SKIPS, recurrent };
                let net = network(&mut draw, input, [first, second, 3], plan);
                errors.merge(compare(|at| net.loss(at), &net.point, &net.parts, &net.gradient()));
            }
        }
        errors
    })
}

/// The stage of networks in which a layer has several inputs, and an output several readers.
const SKIPS: &str = "network with skips";
const RECURRENT: &str = "recurrent network";

pub(crate) fn smooth_layers() -> f64 {
    layers("smooth")
}

pub(crate) fn held_layers() -> f64 {
    layers("held")
}

pub(crate) fn frozen_layers() -> f64 {
    layers("frozen")
}

pub(crate) fn smooth_networks() -> f64 {
    networks("network", "smooth")
}

pub(crate) fn held_networks() -> f64 {
    networks("network", "held")
}

pub(crate) fn frozen_networks() -> f64 {
    networks("network", "frozen")
}

pub(crate) fn smooth_skips() -> f64 {
    networks(SKIPS, "smooth")
}

pub(crate) fn held_skips() -> f64 {
    networks(SKIPS, "held")
}

pub(crate) fn frozen_skips() -> f64 {
    networks(SKIPS, "frozen")
}

pub(crate) fn smooth_recurrent() -> f64 {
    networks(RECURRENT, "smooth")
}

pub(crate) fn held_recurrent() -> f64 {
    networks(RECURRENT, "held")
}

pub(crate) fn recurrent_along_directions() -> f64 {
    along_directions(RECURRENT)
}

pub(crate) fn networks_along_directions() -> f64 {
    along_directions("network")
}

pub(crate) fn skips_along_directions() -> f64 {
    along_directions(SKIPS)
}

/// Larger networks, along directions that move every part equally.
fn along_directions(stage: &str) -> f64 {
    let recurrent = stage == RECURRENT;
    let cases = if recurrent { 8 } else { 24 };
    hold((stage, "directional"), cases, any::<u64>(), |seed| {
        let mut errors = Errors::default();
        for (n, (_, loss)) in Loss::ALL.into_iter().enumerate() {
            for per_neuron in [false, true] {
                let seed = if per_neuron { !seed } else { seed };
                let mut draw = Draw::new(seed.wrapping_add(n as u64));
                let (input, widths) = (Shape::new(16, 4, 10), [12, 10, 5]);
                let mode = ["smooth", "held"][n % 2];
                let plan = Plan { loss, mode, per_neuron, skips: stage == SKIPS, recurrent };
                let net = network(&mut draw, input, widths, plan);
                if !net.is_bounded() {
                    errors.skipped += 1;
                    continue;
                }
                let mut direction = draw.block(net.point.len(), -1.0, 1.0);
                for (_, range) in &net.parts {
                    let part = &mut direction[range.clone()];
                    let size = dot(part, part).sqrt();
                    part.iter_mut().for_each(|v| *v /= size);
                }
                // The width of a kernel has a kink at sigma 0.
                let pairs = direction.iter_mut().zip(&net.point);
                pairs.filter(|(_, x)| **x == 0.0).for_each(|(v, _)| *v = 0.0);
                let loss = |at: &[f64]| net.loss(at);
                errors.merge(compare_directions(loss, &net.point, &net.gradient(), &[direction]));
            }
        }
        errors
    })
}

/// A wrong gradient of a connection is found wherever there is one to be wrong.
#[test]
fn faults_of_connections_are_found() {
    for mode in ["smooth", "held", "frozen"] {
        for seed in 0..4 {
            let mut draw = Draw::new(seed);
            let loss = Loss::ALL[seed as usize % Loss::ALL.len()].1;
            let (per_neuron, recurrent) = (seed % 2 == 0, false);
            let plan = Plan { loss, mode, per_neuron, skips: true, recurrent };
            let mut net = network(&mut draw, Shape::new(5, 2, 2), [3, 2, 3], plan);
            for fault in [
                Fault::None,
                Fault::ReadersNotSummed,
                Fault::FirstConnection,
                Fault::FurtherParameters,
            ] {
                net.fault = fault;
                let errors = compare(|at| net.loss(at), &net.point, &net.parts, &net.gradient());
                let found = errors.worst > bound(SKIPS, mode);
                assert_eq!(found, fault != Fault::None, "{mode}, {seed}, {fault:?}: {errors:?}");
            }
        }
    }
}
