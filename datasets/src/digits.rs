//! Binary spike trains in steps of 10 ms, and the 3000 spoken digits that come with this crate.
//!
//! A file, compressed by gzip or not, holds in this order, with little-endian numbers: `SPK1`; the
//! numbers of samples, steps and channels (u16 each); the label of each sample (u8); the length of
//! each sample in steps (u8); `samples x steps x channels` bits, the most significant bit of a byte
//! first.

use std::path::Path;

use crate::{About, Dataset, Entry, Error, SpikeTrain, bytes};

const DT_MS: u32 = 10;
const SIGNATURE: &[u8] = b"SPK1";
const HEADER: usize = 10;
const WORDS: [&str; 10] =
    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

/// The embedded digits: 3000 utterances of 10 classes, in 48 channels and up to 64 steps of 10 ms.
/// Channels 0 to 23 spike where a band of the spectrum rises by 9 dB, channels 24 to 47 where it
/// falls by 9 dB. There are six speakers, without labels.
///
/// The data derive from the Free Spoken Digit Dataset (Z. Jackson and contributors), CC BY-SA 4.0;
/// `data/LICENSE-digits.md` in this crate has the attribution.
#[must_use]
pub fn embedded() -> Dataset {
    let bytes = include_bytes!("../data/digits_delta.bin.gz");
    let mut digits = from_bytes(bytes.to_vec(), "digits").expect("a test reads the embedded bytes");
    digits.class_names = WORDS.map(String::from).to_vec();
    digits
}

/// Reads a file of this layout, compressed by gzip or not.
///
/// # Errors
/// The file cannot be read or has another layout.
pub fn read(path: impl AsRef<Path>) -> Result<Dataset, Error> {
    let path = path.as_ref();
    from_bytes(bytes::read(path)?, &path.display().to_string())
}

/// Whether a file, compressed by gzip or not, begins as this layout does.
///
/// # Errors
/// The file cannot be opened.
pub fn is_file(path: impl AsRef<Path>) -> Result<bool, Error> {
    let path = path.as_ref();
    let start = bytes::start(path, SIGNATURE.len());
    let start = start.map_err(|error| Error::Io { file: path.display().to_string(), error })?;
    Ok(start == SIGNATURE)
}

/// Reads the bytes of a file. Error messages name it `name`. The classes are 0 to the largest
/// label.
///
/// # Errors
/// The bytes have another layout, or a sample has a spike after its end.
pub fn from_bytes(bytes: Vec<u8>, name: &str) -> Result<Dataset, Error> {
    let bytes = bytes::unpack(bytes, name)?;
    if !bytes.starts_with(SIGNATURE) || bytes.len() < HEADER {
        return Err(Error::format(name, "does not begin with an SPK1 header"));
    }
    let word = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let (n, steps, channels) = (word(4), word(6), word(8));
    let expected =
        HEADER as u64 + 2 * n as u64 + (n as u64 * steps as u64 * channels as u64).div_ceil(8);
    if bytes.len() as u64 != expected {
        let problem =
            format!("is not {expected}, the size of {n} samples of {steps} x {channels} bits");
        return Err(Error::value(name, "bytes", bytes.len(), problem));
    }
    if n == 0 {
        return Err(Error::value(
            name,
            "samples",
            0,
            "is not a number of samples; a file holds at least one",
        ));
    }
    let (labels, rest) = bytes[HEADER..].split_at(n);
    let (lengths, bits) = rest.split_at(n);
    let samples = (0..n).map(|i| {
        let length = usize::from(lengths[i]);
        if length == 0 || length > steps {
            let problem = format!("is not between 1 and {steps} steps");
            return Err(Error::value(name, format!("lengths[{i}]"), length, problem));
        }
        let entries = entries(bits, i * steps * channels, steps, channels);
        if let Some(late) = entries.iter().find(|e| e.step as usize >= length) {
            let problem = format!("is not below its length, {length} steps");
            return Err(Error::value(name, format!("spikes[{i}].step"), late.step, problem));
        }
        Ok(SpikeTrain { steps: length, entries, label: labels[i].into(), ..Default::default() })
    });
    let samples = samples.collect::<Result<_, _>>()?;
    let classes = labels.iter().max().map_or(0, |&l| usize::from(l) + 1);
    Ok(Dataset {
        name: name.into(),
        channels,
        classes,
        class_names: (0..classes).map(|c| c.to_string()).collect(),
        samples,
        dt_ms: DT_MS,
        about: About::default(),
    })
}

fn entries(bits: &[u8], start: usize, steps: usize, channels: usize) -> Vec<Entry> {
    let set = |at: usize| bits[at / 8] >> (7 - at % 8) & 1 == 1;
    let entry = |k| Entry { step: (k / channels) as u32, channel: (k % channels) as u16, count: 1 };
    let spikes = || (0..steps * channels).filter(|k| set(start + k));
    let mut entries = Vec::with_capacity(spikes().count());
    entries.extend(spikes().map(entry));
    entries
}
