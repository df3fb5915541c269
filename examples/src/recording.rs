//! Spike trains with what an engine made of them, to be replayed on a device: the layout is told in
//! `examples/firmware/src/recording.rs`.

use polychron_core::infer::{Engine, EngineError};

/// Bytes of the head of a recording of that many utterances.
pub(crate) fn head(utterances: usize) -> Vec<u8> {
    (utterances as u16).to_le_bytes().to_vec()
}

/// An utterance of up to 65535 ticks on up to 256 channels, as an engine hears it from its reset to its end.
pub(crate) fn utterance(
    engine: &mut Engine<'_>,
    ticks: &[Vec<u16>],
    label: u8,
) -> Result<Vec<u8>, EngineError> {
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
    let mut spikes = Vec::new();
    engine.reset();
    for tick in ticks {
        engine.step(tick)?;
        add_state(engine);
    }
    engine.finish();
    add_state(engine);
    for tick in ticks {
        spikes.push(tick.len() as u8);
        spikes.extend(tick.iter().map(|&channel| channel as u8));
    }
    let mut bytes = (ticks.len() as u16).to_le_bytes().to_vec();
    bytes.extend([label, engine.decide() as u8]);
    bytes.extend(hash.to_le_bytes());
    bytes.extend(spikes);
    Ok(bytes)
}
