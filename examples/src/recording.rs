//! Recordings: spike trains with the results of the integer engine, to be replayed on a device.
//! `examples/firmware/src/recording.rs` documents the layout.

use polychron_core::infer::Engine;
use std::error::Error;

/// A number in as few bytes as the layout has for it.
fn small<T: TryFrom<usize>>(what: &str, n: usize) -> Result<T, String> {
    n.try_into().map_err(|_| format!("a recording has no room for {what} {n}"))
}

/// Bytes of the head of a recording of that many utterances.
pub(crate) fn head(utterances: usize) -> Result<Vec<u8>, String> {
    Ok(small::<u16>("a number of utterances of", utterances)?.to_le_bytes().to_vec())
}

/// An utterance as an engine hears it from its reset to its end.
pub(crate) fn utterance(
    engine: &mut Engine<'_>,
    ticks: &[Vec<u16>],
    label: usize,
) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut hash = 0x811c_9dc5u32;
    let mut add_state = |engine: &Engine<'_>| {
        let depth = engine.model().depth();
        for layer in 0..depth {
            let count = engine.spikes(layer) as i32;
            let counted = (layer + 1 < depth).then_some(&count);
            for byte in engine.membranes(layer).iter().chain(counted).flat_map(|x| x.to_le_bytes())
            {
                hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
            }
        }
    };
    let mut spikes: Vec<u8> = Vec::new();
    engine.reset();
    for tick in ticks {
        engine.step(tick)?;
        add_state(engine);
    }
    engine.finish();
    add_state(engine);
    for tick in ticks {
        spikes.push(small("a number of spikes of", tick.len())?);
        for &channel in tick {
            spikes.push(small("channel", channel.into())?);
        }
    }
    let mut bytes = small::<u16>("a number of ticks of", ticks.len())?.to_le_bytes().to_vec();
    bytes.extend([small::<u8>("class", label)?, small("class", engine.decide())?]);
    bytes.extend(hash.to_le_bytes());
    bytes.extend(spikes);
    Ok(bytes)
}
