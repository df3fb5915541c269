//! A network run over a recording, compared with the host tick for tick.

use crate::probe::{region_begin, region_end, stack_depth};
use crate::recording::Reader;
use polychron_core::format::ModelFile;
use polychron_core::infer::Engine;
use semihosting::println;

/// FNV-1a, 32 bits: after every tick, and once more in the end, the membranes of each layer, then the number of its spikes where it is hidden, each as
/// four bytes, little-endian.
pub struct Hash(u32);

impl Hash {
    fn new() -> Self {
        Self(0x811c_9dc5)
    }

    fn add_state(&mut self, engine: &Engine) {
        let depth = engine.model().depth();
        for layer in 0..depth {
            for membrane in engine.membranes(layer) {
                self.add(membrane.to_le_bytes());
            }
            if layer + 1 < depth {
                self.add((engine.spikes(layer) as u32).to_le_bytes());
            }
        }
    }

    fn add(&mut self, word: [u8; 4]) {
        for byte in word {
            self.0 = (self.0 ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    }
}

/// Runs every utterance to its end and prints in one line what came of it.
///
/// Instructions and synaptic events are counted where `counted` says so of a tick and the length of its utterance. An event is
/// one spike at one synapse; every layer is taken to be connected all to all.
///
/// # Panics
/// For a recording that ends too early.
pub fn replay(
    name: &str,
    model: &ModelFile,
    engine: &mut Engine,
    file: &[u8],
    counted: fn(u32, u32) -> bool,
) {
    let mut reader = Reader(file);
    let count = reader.count().expect("a recording");
    let mut channels = [0; 256];
    let (mut predicted, mut correct, mut exact, mut ticks) = (0, 0, 0, 0);
    let (mut hidden_events, mut readout_events, mut stack) = (0, 0, 0);
    for _ in 0..count {
        let utterance = reader.utterance().expect("an utterance");
        let mut hash = Hash::new();
        engine.reset();
        for tick in 0..utterance.ticks {
            let input = reader.tick(&mut channels).expect("a tick");
            let is_counted = counted(tick, utterance.ticks);
            let (_, depth) = stack_depth(|| {
                if is_counted {
                    region_begin();
                }
                step(engine, input);
                region_end();
            });
            stack = stack.max(depth);
            if is_counted {
                let mut spikes = input.len();
                for layer in 0..model.depth() {
                    let is_readout = layer + 1 == model.depth();
                    let events = if is_readout { &mut readout_events } else { &mut hidden_events };
                    *events += spikes * engine.membranes(layer).len();
                    spikes = engine.spikes(layer);
                }
                ticks += 1;
            }
            hash.add_state(engine);
        }
        engine.finish();
        hash.add_state(engine);
        let class = engine.decide();
        predicted += u32::from(class == utterance.prediction);
        correct += u32::from(class == utterance.label);
        exact += u32::from(hash.0 == utterance.hash);
    }
    println!(
        "replay {name} utterances {count} predictions {predicted} correct {correct} exact {exact} ticks {ticks} \
         hidden_events {hidden_events} readout_events {readout_events} stack {stack} ram {}",
        model.ram() + size_of_val(engine)
    );
}

#[inline(never)]
fn step(engine: &mut Engine, input: &[u16]) {
    engine.step(input).expect("channels of the model");
}
