//! Writes the models for which `examples/firmware/run.sh` counts instructions: networks
//! 140-256-256-20 with random weights and given firing rates, each with a recording of its input.
//!
//! ```sh
//! cargo run --release -p polychron-core --features alloc --example firmware_models -- FOLDER
//! ```

use polychron_core::format::{Decision, Input, ModelFile, Scheme};
use polychron_core::infer::recording::Writer;
use polychron_core::infer::{Engine, HeapState};
use polychron_core::quant::{Decay, LayerSpec, ModelSpec, NeuronSpec, SynapseSpec};
use polychron_core::rng::Rng;
use std::error::Error;
use std::path::PathBuf;

const WIDTHS: [usize; 4] = [140, 256, 256, 20];
const TICKS: usize = 264;
/// The number of ticks before instructions are counted. By then, spikes of every delay arrive.
const WARM_UP: usize = 64;
/// The share of channels that spike in a tick.
const DENSITY: f64 = 0.05;
/// The number of entries of a list in the fast scheme.
const LIST_LENGTH: u8 = 31;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: firmware_models FOLDER")?);
    std::fs::create_dir_all(&folder)?;
    let input = input(DENSITY);
    for (name, rate, taps, list) in [
        ("1", 0.01, 25, LIST_LENGTH),
        ("5", 0.05, 25, LIST_LENGTH),
        ("15", 0.15, 25, LIST_LENGTH),
        ("5-small", 0.05, 25, 0),
        ("5-64", 0.05, 64, LIST_LENGTH),
    ] {
        let mut spec = network(taps, list);
        for layer in 0..2 {
            set_rate(&mut spec, layer, rate, &input)?;
        }
        save(&folder, name, &spec, &input)?;
    }
    let mut worst = network(25, LIST_LENGTH);
    for layer in &mut worst.layers[..2] {
        // The bias exceeds the threshold and the sum of all weights.
        layer.decay = Decay::Fixed { factor: 0, shift: 0, bias_shift: 0 };
        layer.neurons.fill(NeuronSpec { threshold: 1.0, bias: 32767.0 });
    }
    save(&folder, "worst", &worst, &self::input(1.0))
}

fn network(taps: usize, list: u8) -> ModelSpec<i8> {
    let layer = |l: usize| {
        let (inputs, outputs) = (WIDTHS[l], WIDTHS[l + 1]);
        let rng = Rng::new(5, l as u64);
        let synapse = |n: usize| SynapseSpec {
            source: n / outputs,
            target: n % outputs,
            delay: rng.below(2 * n as u64, taps as u32) as usize,
            weight: weight(rng.below(2 * n as u64 + 1, 254)),
        };
        let last = l + 2 == WIDTHS.len();
        LayerSpec {
            outputs,
            taps,
            padding: (taps - 1) / 2,
            synapses: (0..inputs * outputs).map(synapse).collect(),
            neurons: vec![NeuronSpec { threshold: 1.0, bias: 0.0 }; if last { 0 } else { outputs }],
            decay: Decay::Fixed { factor: 1024, shift: 12, bias_shift: 0 },
            soft: false,
            gain: if last { (1, 3) } else { (0, 0) },
            scheme: if last { Scheme::Ring { list } } else { Scheme::Groups { list } },
        }
    };
    ModelSpec {
        tick_us: 10_000,
        input: Input::Spikes,
        channels: WIDTHS[0],
        decision: Decision::SoftmaxSum,
        labels: Vec::new(),
        layers: (0..WIDTHS.len() - 1).map(layer).collect(),
    }
}

/// A weight from -127 to 127 except 0.
fn weight(draw: u32) -> i8 {
    (if draw < 127 { draw as i32 - 127 } else { draw as i32 - 126 }) as i8
}

fn input(share: f64) -> Vec<Vec<u16>> {
    let rng = Rng::new(6, 0);
    let spikes = |n: &usize| rng.uniform::<f64>(*n as u64) < share;
    let tick = |t: usize| {
        let channels = 0..WIDTHS[0];
        channels.filter(|i| spikes(&(t * WIDTHS[0] + i))).map(|i| i as u16).collect()
    };
    (0..TICKS).map(tick).collect()
}

/// Sets the threshold at which the neurons of a layer fire at a rate.
fn set_rate(
    spec: &mut ModelSpec<i8>,
    layer: usize,
    rate: f64,
    input: &[Vec<u16>],
) -> Result<(), Box<dyn Error>> {
    let (mut low, mut high) = (1.0, 32768.0);
    while high - low > 1.0 {
        let threshold = f64::floor((low + high) / 2.0);
        spec.layers[layer].neurons.fill(NeuronSpec { threshold, bias: 0.0 });
        let file = spec.to_bytes()?;
        let model = ModelFile::parse(&file)?;
        let mut state = HeapState::new(&model);
        let mut engine = Engine::<i8>::new(&model, &mut state)?;
        let mut spikes = 0;
        for (t, tick) in input.iter().enumerate() {
            engine.step(tick)?;
            spikes += if t < WARM_UP { 0 } else { engine.spikes(layer) };
        }
        let found = spikes as f64 / ((TICKS - WARM_UP) * WIDTHS[layer + 1]) as f64;
        if found > rate { low = threshold } else { high = threshold }
    }
    Ok(())
}

fn save(
    folder: &std::path::Path,
    name: &str,
    spec: &ModelSpec<i8>,
    input: &[Vec<u16>],
) -> Result<(), Box<dyn Error>> {
    let file = spec.to_bytes()?;
    let model = ModelFile::parse(&file)?;
    let mut state = HeapState::new(&model);
    let mut engine = Engine::new(&model, &mut state)?;
    let mut recording = Writer::new();
    recording.record(&mut engine, input, 0)?;
    std::fs::write(folder.join(name).with_extension("pcn"), &file)?;
    std::fs::write(folder.join(name).with_extension("bin"), recording.to_bytes())?;
    println!("{name}: {} bytes, {} bytes of RAM", file.len(), model.ram());
    Ok(())
}
