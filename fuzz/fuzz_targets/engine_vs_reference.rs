#![no_main]
//! The integer engine computes the same as plain loops with every scheme of delivery. So does the
//! `f32` engine if nothing is rounded.

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use polychron_core::format::{Fault, ModelFile, Scheme};
use polychron_core::quant::{Decay, ModelSpec, SpecError};
use polychron_fuzz::network::{draw, inputs, scheme, tighten};
use polychron_fuzz::reference::Reference;

/// The largest number of ticks, and their largest cost.
const TICKS: usize = 40;
const COST: usize = 10_000;
/// The largest cost of a tick of a small network.
const SMALL: usize = 500;

fuzz_target!(|data: &[u8]| -> Corpus {
    match compare(&mut Unstructured::new(data)) {
        Ok(true) => Corpus::Keep,
        _ => Corpus::Reject,
    }
});

/// Returns whether there was a network to compare.
fn compare(u: &mut Unstructured) -> Result<bool> {
    let mut spec: ModelSpec<i8> = draw(u)?;
    let cost: usize = spec.layers.iter().map(|layer| layer.synapses.len() + layer.outputs).sum();
    match u.int_in_range(0..=3)? {
        0 => {
            let whole = Decay::Fixed { factor: 0, shift: 0, bias_shift: 0 };
            spec.layers.iter_mut().for_each(|layer| layer.decay = whole);
        }
        1 if cost < SMALL => tighten(&mut spec),
        _ => (),
    }
    let ticks = TICKS.min(COST / (cost + spec.channels));
    let inputs = inputs(spec.input, spec.channels, ticks, u)?;
    let mut reference = None;
    for n in 0..4 {
        let list = u.int_in_range(1..=8)?;
        for layer in &mut spec.layers {
            layer.scheme = match n {
                0 => Scheme::Groups { list: 0 },
                1 => Scheme::Groups { list },
                2 => Scheme::Ring { list },
                _ => scheme(u)?,
            };
        }
        let file = match spec.to_bytes() {
            Ok(file) => file,
            Err(SpecError::Format(error)) if error.fault != Fault::Overflow => panic!("{error}"),
            _ => continue,
        };
        let reference = reference.get_or_insert_with(|| Reference::new(&spec, inputs.clone()));
        reference.check(&ModelFile::parse(&file).unwrap());
        reference.check_floats(&spec);
    }
    Ok(reference.is_some())
}
