#![no_main]
//! Reading any bytes as a sound file gives finite samples, or an error of one line. The
//! checksums of Ogg pages are corrected first.

use libfuzzer_sys::fuzz_target;
use polychron_datasets::sound;
use polychron_fuzz::memory::within;

fuzz_target!(|data: &[u8]| {
    let data = if data.starts_with(b"OggS") { corrected(data) } else { data.to_vec() };
    let compressed = !(data.starts_with(b"RIFF") || data.starts_with(b"RF64"));
    let memory =
        if compressed { 200 * data.len() + (256 << 20) } else { 24 * data.len() + (8 << 20) };
    match within(memory, || sound::from_bytes(data, "fuzz")) {
        Ok(sound) => {
            assert!(!sound.samples.is_empty() && sound.samples.iter().all(|x| x.is_finite()));
        }
        Err(failure) => assert!(!failure.to_string().contains(char::is_control), "{failure}"),
    }
});

/// An Ogg file with the right checksums in its pages.
fn corrected(data: &[u8]) -> Vec<u8> {
    let (mut bytes, mut at) = (data.to_vec(), 0);
    while let Some(count) = bytes.get(at + 26).copied() {
        let Some(lengths) = bytes.get(at + 27..at + 27 + usize::from(count)) else { break };
        let length = lengths.iter().map(|&n| usize::from(n)).sum::<usize>();
        let end = at + 27 + usize::from(count) + length;
        let Some(page) = bytes.get_mut(at..end) else { break };
        page[22..26].fill(0);
        let crc = page.iter().fold(0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
                let shifted = crc << 1;
                if crc >> 31 == 1 { shifted ^ 0x04c1_1db7 } else { shifted }
            })
        });
        page[22..26].copy_from_slice(&crc.to_le_bytes());
        at = end;
    }
    bytes
}
