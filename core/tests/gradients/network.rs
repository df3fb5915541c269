//! Whole layers and networks: the composition of the stages.

use super::check::{Errors, compare, compare_directions, dot, hold};
use super::draw::{Draw, KERNELS, all_surrogates, neurons};
use super::net::{End, Net, builder};
use super::over_time::Detached;
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
                    let mut b = builder(input);
                    let synapses = draw.synapses(inputs, outputs);
                    b.hidden(&mut draw, synapses, kernel, neuron, surrogate, false);
                    let upstream = draw.block(b.shape.len(), -1.0, 1.0);
                    let net = b.finish(&mut draw, input, End::Sum(upstream));
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

/// Two random hidden layers and a readout. With `per_neuron` every neuron has its own parameters.
fn network(
    draw: &mut Draw,
    input: Shape,
    widths: [usize; 3],
    loss: Loss,
    mode: &str,
    per_neuron: bool,
) -> Net {
    let mut b = builder(input);
    for width in &widths[..2] {
        let mut all = neurons(draw.uniform(1.05, 6.0));
        all.retain(|neuron| spikes(neuron) && allowed(neuron, mode));
        all.retain(|neuron| !per_neuron || neuron.param_count() > 0);
        let synapses = draw.synapses(b.shape.width, *width);
        let (kernel, neuron) = (draw.pick(&KERNELS), draw.pick(&all));
        let surrogate = draw.any_surrogate();
        b.hidden(draw, synapses, kernel, neuron, surrogate, per_neuron);
    }
    let synapses = draw.synapses(b.shape.width, widths[2]);
    let kernel = draw.pick(&KERNELS);
    let projection = b.projection(draw, synapses, kernel);
    let end = End::Readout {
        projection,
        li: Li { decay_input: draw.coin(), ..Li::new(draw.uniform(1.01, 5.0)) },
        loss,
        targets: targets(draw, input.batch, widths[2]),
        padding: b.padding,
    };
    let net = b.finish(draw, input, end);
    recorded(net, draw, mode)
}

/// Random networks, with parameters per layer and per neuron.
fn networks(mode: &str) -> f64 {
    let sizes = (any::<u64>(), 3usize..6, 2usize..4, 1usize..4, 2usize..4, 2usize..4);
    hold(("network", mode), 25, sizes, |(seed, steps, batch, inputs, first, second)| {
        let mut errors = Errors::default();
        for (n, (_, loss)) in Loss::ALL.into_iter().enumerate() {
            for per_neuron in [false, true] {
                let seed = if per_neuron { !seed } else { seed };
                let mut draw = Draw::new(seed.wrapping_add(n as u64));
                let input = Shape::new(steps, batch, inputs);
                let widths = [first, second, 3];
                let net = network(&mut draw, input, widths, loss, mode, per_neuron);
                errors.merge(compare(|at| net.loss(at), &net.point, &net.parts, &net.gradient()));
            }
        }
        errors
    })
}

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
    networks("smooth")
}

pub(crate) fn held_networks() -> f64 {
    networks("held")
}

pub(crate) fn frozen_networks() -> f64 {
    networks("frozen")
}

/// Larger networks, along directions that move every part equally.
pub(crate) fn networks_along_directions() -> f64 {
    hold(("network", "directional"), 24, any::<u64>(), |seed| {
        let mut errors = Errors::default();
        for (n, (_, loss)) in Loss::ALL.into_iter().enumerate() {
            for per_neuron in [false, true] {
                let seed = if per_neuron { !seed } else { seed };
                let mut draw = Draw::new(seed.wrapping_add(n as u64));
                let (input, widths) = (Shape::new(16, 4, 10), [12, 10, 5]);
                let mode = ["smooth", "held"][n % 2];
                let net = network(&mut draw, input, widths, loss, mode, per_neuron);
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
