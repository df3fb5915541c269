use super::spec::{Decay, LayerSpec, ModelSpec, NeuronSpec, SpecError, SynapseSpec};
use crate::format::{Input, RING_MAX, SUM_MAX, Scheme, fits};
use alloc::vec;
use alloc::vec::Vec;

/// The largest weight.
const LARGEST: f64 = 127.0;
/// The largest threshold.
const THRESHOLD: f64 = 65536.0;
/// The largest bias, before its shift.
const BIAS: f64 = 32767.0;
/// The largest threshold or bias in the unit of a neuron.
const MOST: f64 = 16384.0;
/// The largest error of the decay factor, relative to what a membrane loses in a tick.
const TOLERANCE: f64 = 0.05;
const SUMS: &str = "sums do not fit 32 bits";
const SCORES: &str = "scores do not fit 32 bits";
/// A factor of e in 1/32 octaves.
const OCTAVES: f64 = 32.0 * core::f64::consts::LOG2_E;

/// Rounds weights to eight bits. Every neuron has its own unit; its weights, threshold and bias
/// become multiples of it. The units of a layer whose sums do not fit 32 bits are up to 4 times as
/// large.
///
/// A ring whose sums do not fit 16 bits becomes groups.
///
/// # Errors
/// [`SpecError::Layer`] if the membranes of a layer do not fit 32 bits with any decay factor close
/// to the given one: its decay is too slow. Also if a threshold, bias or weight is out of range.
pub fn quantize(spec: &ModelSpec<f32>) -> Result<ModelSpec<i8>, SpecError> {
    spec.check()?;
    let mut layers = Vec::new();
    for (l, layer) in spec.layers.iter().enumerate() {
        let largest = if spec.input == Input::Values && l == 0 { 127 } else { 1 };
        layers.push(quantize_layer(layer, l, largest, l + 1 == spec.layers.len())?);
    }
    Ok(ModelSpec {
        tick_us: spec.tick_us,
        input: spec.input,
        channels: spec.channels,
        decision: spec.decision,
        labels: spec.labels.clone(),
        layers,
    })
}

/// Quantizes a layer, with coarser units if its sums do not fit 32 bits.
fn quantize_layer(
    layer: &LayerSpec<f32>,
    l: usize,
    largest: u32,
    last: bool,
) -> Result<LayerSpec<i8>, SpecError> {
    let with = |coarsening| quantize_with(coarsening, layer, l, largest, last);
    match with(1.0) {
        Err(SpecError::Layer { what: SUMS | SCORES, .. }) => with(2.0).or_else(|_| with(4.0)),
        result => result,
    }
}

fn quantize_with(
    coarsening: f64,
    layer: &LayerSpec<f32>,
    l: usize,
    largest: u32,
    last: bool,
) -> Result<LayerSpec<i8>, SpecError> {
    let mut units = vec![0.0f64; layer.outputs];
    for s in &layer.synapses {
        units[s.target] = units[s.target].max(f64::from(s.weight.abs()) / LARGEST);
    }
    let error = |what, found| SpecError::Layer { layer: l, what, found };
    for (unit, neuron) in units.iter_mut().zip(&layer.neurons) {
        let NeuronSpec { threshold, bias } = *neuron;
        for (what, found, fits) in
            [("threshold", threshold, threshold > 0.0), ("bias", bias, bias.is_finite())]
        {
            if !(fits && found.is_finite()) {
                return Err(error(what, found));
            }
        }
        let largest = threshold.max(bias.abs());
        *unit = if *unit > 0.0 { unit.max(largest / MOST) } else { largest / LARGEST };
    }
    units.iter_mut().for_each(|unit| *unit *= coarsening);
    if let Some(s) = layer.synapses.iter().find(|s| !s.weight.is_finite()) {
        return Err(error("weight", s.weight.into()));
    }
    if last {
        let most = units.iter().copied().fold(0.0, f64::max);
        units.fill(if most > 0.0 { most } else { 1.0 });
    }
    let mut arriving = vec![0u32; layer.outputs];
    let synapse = |s: &SynapseSpec<f32>| {
        let weight = libm::rint(f64::from(s.weight) / units[s.target]) as i8;
        let size = u32::from(weight.unsigned_abs()) * largest;
        arriving[s.target] = arriving[s.target].saturating_add(size);
        SynapseSpec { source: s.source, target: s.target, delay: s.delay, weight }
    };
    let synapses = layer.synapses.iter().map(synapse).collect();
    let Decay::Float(decay) = layer.decay else {
        return Err(error("the decay is quantized already", 0.0));
    };
    let decay = f64::from(decay);
    let biases: Vec<_> = layer.neurons.iter().zip(&units).map(|(n, unit)| n.bias / unit).collect();
    let most_bias = biases.iter().fold(0.0f64, |most, bias| most.max(bias.abs())) + 0.5;
    let fixed = |shift: u8| {
        let one = f64::from(1u32 << shift);
        let factor = libm::rint(decay * one) as u16;
        let near = (f64::from(factor) / one - decay).abs() <= TOLERANCE * (1.0 - decay);
        let exact = |bias_shift: u8| most_bias * f64::from(1u32 << (shift - bias_shift)) <= BIAS;
        let bias_shift = (0..=shift).find(|&bias_shift| exact(bias_shift))?;
        let bias = (libm::ceil(most_bias) as u32 + 1) << shift;
        let fit = |&sum: &u32| sum <= SUM_MAX && fits(sum, bias, factor.into(), shift.into(), 0);
        (near && arriving.iter().all(fit)).then_some((factor, shift, bias_shift))
    };
    let Some((factor, shift, bias_shift)) = (0..=15).rev().find_map(fixed) else {
        let most = arriving.iter().copied().max().unwrap_or(0).into();
        return Err(error(SUMS, most));
    };
    let fraction = f64::from(1u32 << (shift - bias_shift));
    // The shift of the engine rounds down; half a unit more makes it round to nearest.
    let half = if fraction > 1.0 { 0.5 } else { 0.0 };
    let neurons =
        layer.neurons.iter().zip(&units).zip(&biases).map(|((n, unit), bias)| NeuronSpec {
            threshold: libm::rint(n.threshold / unit).clamp(1.0, THRESHOLD),
            bias: libm::rint((bias + half) * fraction).clamp(-BIAS, BIAS),
        });
    let scheme = match layer.scheme {
        Scheme::Ring { list } if arriving.iter().any(|&sum| sum > RING_MAX) => {
            Scheme::Groups { list }
        }
        scheme => scheme,
    };
    let gain = if last { gain(&arriving, units[0], factor, shift) } else { Some((0, 0)) };
    let gain = gain.ok_or_else(|| error(SCORES, units[0]))?;
    Ok(LayerSpec {
        outputs: layer.outputs,
        taps: layer.taps,
        padding: layer.padding,
        synapses,
        neurons: neurons.collect(),
        decay: Decay::Fixed { factor, shift, bias_shift },
        soft: layer.soft,
        gain,
        scheme,
    })
}

/// The most precise factor from membranes to 1/32 octaves of the softmax.
fn gain(arriving: &[u32], unit: f64, factor: u16, shift: u8) -> Option<(u32, u8)> {
    let exact = |gain_shift: u8| libm::rint(OCTAVES * unit * f64::from(1u32 << gain_shift));
    let fit = |&gain_shift: &u8| {
        let gain = exact(gain_shift);
        let fit =
            |&sum: &u32| sum <= SUM_MAX && fits(sum, 0, factor.into(), shift.into(), gain as u32);
        gain <= 65535.0 && arriving.iter().all(fit)
    };
    let gain_shift = (0..32).rev().find(fit)?;
    Some((exact(gain_shift) as u32, gain_shift))
}
