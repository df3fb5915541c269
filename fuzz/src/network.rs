//! Draws networks and inputs from bytes.

use crate::kind::Kind;
use arbitrary::{Result, Unstructured};
use polychron_core::format::{Decision, Input, Scheme};
use polychron_core::quant::{Decay, LayerSpec, ModelSpec, SynapseSpec};

/// The largest number of pairs of neurons in a fully connected layer, and of pairs of a source and
/// a delay.
const PAIRS: usize = 1024;

/// A network of up to eight layers with valid sizes and indices. Its numbers may be out of range.
pub fn draw<W: Kind>(u: &mut Unstructured) -> Result<ModelSpec<W>> {
    let input = *u.choose(&[Input::Spikes, Input::Values])?;
    let decision = *u.choose(&[Decision::SoftmaxSum, Decision::MembraneSum, Decision::Max])?;
    let most = *u.choose(&[2, 3, 8])?;
    let count = u.int_in_range(1..=most)?;
    let channels = width(u)?;
    let (mut inputs, mut layers) = (channels, Vec::new());
    for l in 0..count {
        layers.push(layer(u, inputs, l + 1 == count)?);
        inputs = layers[l].outputs;
    }
    let label = |class| format!("class {class}");
    let labels = if u.arbitrary()? { (0..inputs).map(label).collect() } else { Vec::new() };
    Ok(ModelSpec {
        tick_us: u.int_in_range(1..=u32::MAX)?,
        input,
        channels,
        decision,
        labels,
        layers,
    })
}

fn width(u: &mut Unstructured) -> Result<usize> {
    match u.int_in_range(0..=5)? {
        0 => u.int_in_range(250..=300),
        1 => u.int_in_range(1..=40),
        _ => u.int_in_range(1..=8),
    }
}

fn layer<W: Kind>(u: &mut Unstructured, inputs: usize, last: bool) -> Result<LayerSpec<W>> {
    let outputs = width(u)?;
    let longest = *u.choose(&[1, 4, 30, 256])?;
    let taps = u.int_in_range(1..=longest.min((4 * PAIRS / inputs).max(1)))?;
    let mut synapses = Vec::new();
    if inputs * outputs <= PAIRS && u.arbitrary()? {
        let weights = few(u, W::weight)?;
        let step = u.int_in_range(0..=taps)?;
        for n in 0..inputs * outputs {
            let (source, target) = (n / outputs, n % outputs);
            let (delay, weight) = (n * step % taps, weights[n % weights.len()]);
            synapses.push(SynapseSpec { source, target, delay, weight });
        }
    }
    for _ in 0..u.int_in_range(0..=48)? {
        synapses.push(SynapseSpec {
            source: u.choose_index(inputs)?,
            target: u.choose_index(outputs)?,
            delay: u.choose_index(taps)?,
            weight: W::weight(u)?,
        });
    }
    let neurons = if last { Vec::new() } else { few(u, W::neuron)? };
    Ok(LayerSpec {
        outputs,
        taps,
        padding: u.int_in_range(0..=3)?,
        synapses,
        neurons: neurons.into_iter().cycle().take(outputs).collect(),
        decay: W::decay(u)?,
        soft: !last && u.arbitrary()?,
        gain: if last { (u.int_in_range(0..=65535)?, u.int_in_range(0..=31)?) } else { (0, 0) },
        scheme: scheme(u)?,
    })
}

/// Draws one to eight items.
fn few<'a, T>(
    u: &mut Unstructured<'a>,
    mut draw: impl FnMut(&mut Unstructured<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    (0..u.int_in_range(1..=8)?).map(|_| draw(u)).collect()
}

/// Gives every layer the slowest decay that a file can have.
pub fn tighten(spec: &mut ModelSpec<i8>) {
    for l in 0..spec.layers.len() {
        let Decay::Fixed { shift, bias_shift, .. } = spec.layers[l].decay else { continue };
        let mut most = 0;
        for bit in (0..shift).rev() {
            let factor = most | 1 << bit;
            spec.layers[l].decay = Decay::Fixed { factor, shift, bias_shift };
            most = if spec.to_bytes().is_ok() { factor } else { most };
        }
        spec.layers[l].decay = Decay::Fixed { factor: most, shift, bias_shift };
    }
}

/// Draws a scheme.
pub fn scheme(u: &mut Unstructured) -> Result<Scheme> {
    let most = *u.choose(&[0, 4, 254])?;
    let list = u.int_in_range(0..=most)?;
    Ok(if u.arbitrary()? { Scheme::Ring { list } } else { Scheme::Groups { list } })
}

/// Draws ticks of input: silent, full, dense or sparse.
pub fn inputs(
    input: Input,
    channels: usize,
    ticks: usize,
    u: &mut Unstructured,
) -> Result<Vec<Vec<i8>>> {
    let value = |x: i8| match input {
        Input::Spikes => x & 1,
        Input::Values => x.max(-127),
    };
    let mut tick = || {
        let mut values = vec![0; channels];
        match u.int_in_range(0..=7)? {
            0 | 1 => (),
            2 => values.fill(value(u.arbitrary()?)),
            3 => {
                for x in &mut values {
                    *x = value(u.arbitrary()?);
                }
            }
            some => {
                for _ in 0..some {
                    values[u.choose_index(channels)?] = value(u.arbitrary::<i8>()? | 1);
                }
            }
        }
        Ok(values)
    };
    (0..ticks).map(|_| tick()).collect()
}
