#![no_main]
//! A network that can be written is read back equal and written again with the same bytes. Its file
//! is refused if a byte under the checksum changes.

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use polychron_core::format::ModelFile;
use polychron_core::quant::{Decay, LayerSpec, ModelSpec, SynapseSpec, quantize};
use polychron_fuzz::file::decode;
use polychron_fuzz::kind::Kind;
use polychron_fuzz::network::draw;

/// The offset of the length. A change of any byte from here on is detected.
const LENGTH: usize = 8;

fuzz_target!(|data: &[u8]| -> Corpus {
    let u = &mut Unstructured::new(data);
    let written = match u.arbitrary() {
        Ok(true) => draw::<i8>(u).and_then(|spec| round(spec, u)),
        _ => draw::<f32>(u).and_then(|spec| floats(spec, u)),
    };
    if written == Ok(true) { Corpus::Keep } else { Corpus::Reject }
});

/// A network that can be written and quantized can be written again.
fn floats(spec: ModelSpec<f32>, u: &mut Unstructured) -> Result<bool> {
    if u.ratio(1, 4)?
        && spec.to_bytes().is_ok()
        && let Ok(quantized) = quantize(&spec)
    {
        quantized.to_bytes().unwrap();
    }
    round(spec, u)
}

/// Returns whether the network could be written.
fn round<W: Kind>(mut spec: ModelSpec<W>, u: &mut Unstructured) -> Result<bool> {
    if u.arbitrary()? {
        spoil(&mut spec, u)?;
    }
    let Ok(mut file) = spec.to_bytes() else { return Ok(false) };
    assert_eq!(spec.to_bytes().as_ref(), Ok(&file));
    let model = ModelFile::<W>::parse(&file).unwrap();
    assert_eq!((model.channels(), model.depth()), (spec.channels, spec.layers.len()));
    for (class, label) in spec.labels.iter().enumerate() {
        assert_eq!(model.label(class), Some(&label[..]));
    }
    let mut read = decode::<W>(&file);
    assert_eq!(read.to_bytes().as_ref(), Ok(&file));
    for (l, layer) in read.layers.iter().enumerate() {
        let info = model.layer(l).unwrap();
        let found = (info.outputs, info.taps, info.scheme, info.synapses);
        assert_eq!(found, (layer.outputs, layer.taps, layer.scheme, layer.synapses.len()));
    }
    spec.layers.iter_mut().chain(&mut read.layers).for_each(sort);
    assert_eq!(read, spec);
    let at = u.int_in_range(LENGTH..=file.len() - 1)?;
    file[at] ^= u.int_in_range(1..=255)?;
    assert!(ModelFile::<W>::parse(&file).is_err(), "byte {at}");
    Ok(true)
}

/// Removes synapses of weight 0 and sorts the others.
fn sort<W: Kind>(layer: &mut LayerSpec<W>) {
    layer.synapses.retain(|s| !s.weight.is_zero());
    let key = |s: &SynapseSpec<W>| (s.source, s.target, s.delay);
    let order = |a: &_, b: &_| key(a).cmp(&key(b)).then(a.weight.partial_cmp(&b.weight).unwrap());
    layer.synapses.sort_by(order);
}

/// Sets one number of a network to any value.
fn spoil<W: Kind>(spec: &mut ModelSpec<W>, u: &mut Unstructured) -> Result<()> {
    let size = match u.int_in_range(0..=3)? {
        0 => u.int_in_range(0..=5000)?,
        1 => u.int_in_range(0xff00..=0x1_0100)?,
        2 => usize::from(u.arbitrary::<u8>()?),
        _ => u.arbitrary()?,
    };
    let layers = spec.layers.len();
    let layer = &mut spec.layers[u.choose_index(layers)?];
    let synapse = layer.synapses.first_mut();
    let neuron = layer.neurons.first_mut();
    match (u.int_in_range(0..=15)?, synapse, neuron) {
        (0, ..) => spec.channels = size,
        (1, ..) => spec.tick_us = u.arbitrary()?,
        (2, ..) => spec.labels = vec![u.choose(&["", "\n", "two\nlines", "\0", "ß"])?.to_string()],
        (3, ..) => layer.outputs = size,
        (4, ..) => layer.taps = size,
        (5, ..) => layer.padding = size,
        (6, ..) => layer.gain = (u.arbitrary()?, u.arbitrary()?),
        (7, ..) => layer.soft ^= true,
        (8, ..) => layer.neurons.truncate(size),
        (9, ..) => spec.layers.truncate(size),
        (10, ..) => layer.decay = spoilt(layer.decay, u)?,
        (11, Some(synapse), _) => synapse.source = size,
        (12, Some(synapse), _) => synapse.target = size,
        (13, Some(synapse), _) => synapse.delay = size,
        (14, _, Some(neuron)) => neuron.threshold = u.arbitrary::<f32>()?.into(),
        (15, _, Some(neuron)) => neuron.bias = u.arbitrary::<f32>()?.into(),
        _ => (),
    }
    Ok(())
}

fn spoilt(decay: Decay, u: &mut Unstructured) -> Result<Decay> {
    Ok(match decay {
        Decay::Float(_) => Decay::Float(u.arbitrary()?),
        Decay::Fixed { .. } => {
            let (factor, shift, bias_shift) = u.arbitrary()?;
            Decay::Fixed { factor, shift, bias_shift }
        }
    })
}
