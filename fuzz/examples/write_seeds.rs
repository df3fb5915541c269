//! Writes `seeds/`: the model file that is kept of every version, and small ones of every kind of weights, input and delivery.

use arbitrary::Unstructured;
use polychron_core::format::{Input, Scheme};
use polychron_core::quant::{LayerSpec, Spec, write};
use polychron_core::rng::Rng;
use polychron_fuzz::kind::Kind;
use polychron_fuzz::network::draw;
use std::io::Result;

/// Most bytes of a model file.
const SMALL: usize = 2400;
/// Bytes of input behind it.
const INPUT: usize = 64;

fn main() -> Result<()> {
    let golden = std::fs::read("../core/tests/golden/small.pcn")?;
    save("parse_model", "small", &[&golden])?;
    save("parse_then_run", "small", &[&golden, &bytes(0)[..INPUT]])?;
    for input in [Input::Spikes, Input::Values] {
        for ring in [false, true] {
            one::<i8>("i8", input, ring)?;
            one::<f32>("f32", input, ring)?;
        }
    }
    // More than one group of sources, and more targets than a group has synapses.
    let wide = |of: fn(&Spec<i8>) -> usize| {
        find(move |spec: &Spec<i8>, _| of(spec) > 256 && spec.layers[0].synapses.len() > 256)
    };
    save("engine_vs_reference", "many-inputs", &[&wide(|spec| spec.channels).0])?;
    save("engine_vs_reference", "many-outputs", &[&wide(|spec| spec.layers[0].outputs).0])
}

/// The seeds of a kind.
fn one<W: Kind>(weights: &str, input: Input, ring: bool) -> Result<()> {
    let (drawn, file) = find(|spec: &Spec<W>, file| {
        let is_ring = |layer: &LayerSpec<W>| matches!(layer.scheme, Scheme::Ring { .. });
        file.len() < SMALL
            && spec.input == input
            && spec.layers.len() > 1
            && spec.layers.iter().all(|layer| layer.synapses.len() > 4)
            && spec.layers.iter().any(is_ring) == ring
    });
    let name = format!("{input:?}-{}-{weights}", if ring { "ring" } else { "groups" });
    let name = name.to_lowercase();
    save("parse_model", &name, &[&file])?;
    save("parse_then_run", &name, &[&file, &drawn[..INPUT]])?;
    save("roundtrip", &name, &[&[u8::from(weights == "i8")], &drawn])?;
    if weights == "i8" {
        save("engine_vs_reference", &name, &[&drawn])?;
    }
    Ok(())
}

/// The first network of its kind that can be written: the bytes it is drawn from, and its file.
fn find<W: Kind>(wanted: impl Fn(&Spec<W>, &[u8]) -> bool) -> (Vec<u8>, Vec<u8>) {
    let network = |seed| {
        let bytes = bytes(seed);
        let spec = draw::<W>(&mut Unstructured::new(&bytes)).ok()?;
        let file = write(&spec).ok().filter(|file| wanted(&spec, file))?;
        Some((bytes, file))
    };
    (0..).find_map(network).unwrap()
}

fn bytes(seed: u64) -> Vec<u8> {
    let rng = Rng::new(seed, 78);
    (0..256).flat_map(|n| rng.bits(n).to_le_bytes()).collect()
}

fn save(target: &str, name: &str, parts: &[&[u8]]) -> Result<()> {
    let folder = format!("seeds/{target}");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(format!("{folder}/{name}"), parts.concat())
}
