//! Runs a network on a recording and compares it with the host, tick by tick.

use crate::probe::{region_begin, region_end, stack_depth};
use polychron_core::format::ModelFile;
use polychron_core::infer::Engine;
use polychron_core::infer::recording::{Reader, StateHash};
use semihosting::println;

/// Runs every utterance to its end and prints the results in one line.
///
/// Instructions and synaptic events are counted in the ticks for which `counted(tick, ticks)` is
/// true, `ticks` being the length of the utterance. An event is one spike at one synapse; every
/// layer counts as fully connected.
///
/// # Panics
/// If the recording ends too early.
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
        let length = u32::from(utterance.ticks);
        let mut hash = StateHash::new();
        engine.reset();
        for tick in 0..length {
            let input = reader.tick(&mut channels).expect("a tick");
            let is_counted = counted(tick, length);
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
            hash.add(engine);
        }
        engine.finish();
        hash.add(engine);
        let class = engine.decide();
        predicted += u32::from(class == utterance.decision);
        correct += u32::from(class == utterance.label);
        exact += u32::from(hash.value() == utterance.hash);
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
