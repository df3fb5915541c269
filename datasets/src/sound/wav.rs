use super::{Mixer, STEP_16};
use crate::Error;

/// The format is in an extension of the `fmt` chunk.
const EXTENSIBLE: u16 = 0xfffe;

/// Larger sizes of the data are written by programs that do not know them: `sox` writes
/// 0x7fff_f000, `ffmpeg` 0xffff_ffff.
const UNKNOWN: u64 = 0x7fff_0000;
/// Chunks that follow one of odd length in files without the byte between them.
const COMMON: [&[u8; 4]; 6] = [b"data", b"fmt ", b"LIST", b"fact", b"bext", b"JUNK"];

/// Decodes a wav file (*Multimedia Programming Interface and Data Specifications 1.0*, 1991; RF64:
/// EBU Tech 3306).
pub(super) fn decode(bytes: &[u8], name: &str) -> Result<Mixer, Error> {
    if bytes.get(8..12) != Some(b"WAVE") {
        return Err(Error::format(name, "is a RIFF file without sound"));
    }
    let (mut format, mut long_size) = (None, None);
    let mut at = 12;
    while let Some(header) = bytes.get(at..).and_then(|rest| rest.get(..8)) {
        let size = number(&header[4..]);
        let body = &bytes[at + 8..];
        let chunk = &body[..body.len().min(usize::try_from(size).unwrap_or(usize::MAX))];
        match &header[..4] {
            b"fmt " => format = Some(Format::read(chunk, name)?),
            b"ds64" => {
                long_size = chunk.get(8..16).map(|size| number(size) | number(&size[4..]) << 32)
            }
            b"data" => {
                let Some(format) = format else {
                    return Err(Error::format(name, "has no fmt chunk before its data"));
                };
                let unknown = size == u64::from(u32::MAX);
                let size = long_size.filter(|_| unknown).unwrap_or(size);
                let samples = samples(bytes, at + 8, size, name)?;
                let behind = next(bytes, at + 8, samples.len() as u64);
                if bytes.get(behind..).is_some_and(|rest| rest.starts_with(b"data")) {
                    return Err(Error::format(
                        name,
                        "has several data chunks; convert it to a file with one",
                    ));
                }
                return format.decode(samples, name);
            }
            _ => {}
        }
        at = next(bytes, at + 8, size);
    }
    let missing = if format.is_some() { "data" } else { "fmt" };
    Err(Error::format(name, format!("is not a complete wav file: it has no {missing} chunk")))
}

/// The chunk behind one that begins at `at`. A chunk of odd length is followed by a byte that does
/// not count, which some programs omit.
fn next(bytes: &[u8], at: usize, size: u64) -> usize {
    let end = usize::try_from(size).map_or(usize::MAX, |size| at.saturating_add(size));
    let padded = size % 2 == 1;
    let omitted = padded
        && bytes.get(end..).is_some_and(|rest| COMMON.iter().any(|tag| rest.starts_with(*tag)));
    end.saturating_add((padded && !omitted).into())
}

/// The bytes of the samples that begin at `at`.
fn samples<'a>(bytes: &'a [u8], at: usize, size: u64, name: &str) -> Result<&'a [u8], Error> {
    let left = &bytes[at..];
    let riff_end = 8 + number(&bytes[4..8]);
    if size > UNKNOWN && size > left.len() as u64 || size == 0 && riff_end <= at as u64 {
        return Ok(left);
    }
    match usize::try_from(size).ok().and_then(|size| left.get(..size)) {
        Some([]) if !left.is_empty() => Err(Error::format(
            name,
            format!("holds no samples: the header counts 0 bytes, {} follow", left.len()),
        )),
        Some(samples) => Ok(samples),
        None => Err(Error::format(
            name,
            format!(
                "is not a complete wav file: it ends at byte {} of {}; copy it again",
                bytes.len(),
                at as u64 + size
            ),
        )),
    }
}

/// A little-endian number of the first four bytes.
fn number(bytes: &[u8]) -> u64 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).into()
}

/// How samples are coded, with the number of bytes of one.
#[derive(Clone, Copy, PartialEq)]
enum Coding {
    /// Offset by 128.
    Unsigned8,
    /// The sample is in the highest bits.
    Int(usize),
    F32,
    F64,
    ALaw,
    MuLaw,
}

struct Format {
    coding: Coding,
    channels: u16,
    rate: u32,
    /// Number of significant bits of integers.
    bits: u16,
}

impl Format {
    /// Reads the `fmt` chunk: 14 bytes for all formats, 2 with the bits of a sample, and an
    /// optional extension.
    fn read(chunk: &[u8], name: &str) -> Result<Self, Error> {
        let bad = |problem: String| Error::format(name, format!("fmt chunk: {problem}"));
        let short = |at: usize| {
            let bytes = chunk.get(at..at + 2).ok_or_else(|| bad("is too short".into()))?;
            Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
        };
        let (mut tag, channels, block, bits) = (short(0)?, short(2)?, short(12)?, short(14)?);
        let (rate, bytes_per_second) = (number(&chunk[4..]) as u32, number(&chunk[8..]));
        let mut valid = bits;
        if tag == EXTENSIBLE {
            // A GUID that begins with the tag.
            tag = short(24)?;
            valid = if (1..bits).contains(&short(18)?) { short(18)? } else { bits };
        }
        let bytes = usize::from(bits.div_ceil(8));
        let frame = bytes * usize::from(channels);
        let wide = usize::from(block) == 4 * usize::from(channels);
        let consistent = block == 0
            || usize::from(block) == frame
            || bytes_per_second == u64::from(rate) * frame as u64;
        let coding = match (tag, bits) {
            (1, 17..=24) if wide => Coding::Int(4),
            (1 | 3 | 6 | 7, _) if !consistent => {
                return Err(bad(format!(
                    "blocks of {block} bytes contradict {channels} channels of {bits} bits"
                )));
            }
            (1, 1..=8) => Coding::Unsigned8,
            (1, 9..=32) => Coding::Int(bytes),
            (3, 32) => Coding::F32,
            (3, 64) => Coding::F64,
            (6, 8) => Coding::ALaw,
            (7, 8) => Coding::MuLaw,
            (1 | 3 | 6 | 7, _) => return Err(bad(format!("samples of {bits} bits"))),
            _ => {
                return Err(bad(format!(
                    "format {tag:#06x} is compressed; convert it, for example with ffmpeg -i \
                     IN.wav -ar 16000 -ac 1 OUT.wav"
                )));
            }
        };
        Ok(Self { coding, channels, rate, bits: valid })
    }

    fn decode(&self, data: &[u8], name: &str) -> Result<Mixer, Error> {
        let bits = i32::from(self.bits);
        let (bytes, step) = match self.coding {
            Coding::Unsigned8 => (1, 2f32.powi(1 - bits)),
            Coding::Int(bytes) => (bytes, 2f32.powi(1 - bits)),
            Coding::F32 => (4, f32::EPSILON),
            Coding::F64 => (8, f32::EPSILON),
            Coding::ALaw => (1, 16.0 * STEP_16),
            Coding::MuLaw => (1, 8.0 * STEP_16),
        };
        let mut mixer = Mixer::new(name, self.rate, self.channels.into(), step)?;
        if matches!(self.coding, Coding::ALaw | Coding::MuLaw) {
            // The largest samples are 32256 and 32124.
            mixer.full = 32124.0 * STEP_16;
        }
        mixer.samples.reserve_exact(data.len() / (bytes * usize::from(self.channels)));
        for sample in data.chunks_exact(bytes) {
            mixer.push(match self.coding {
                Coding::Unsigned8 => (f32::from(sample[0]) - 128.0) / 128.0,
                Coding::Int(_) => highest(sample),
                Coding::F32 => f32::from_bits(number(sample) as u32),
                Coding::F64 => f64::from_bits(number(sample) | number(&sample[4..]) << 32) as f32,
                Coding::ALaw => f32::from(a_law(sample[0])) * STEP_16,
                Coding::MuLaw => f32::from(mu_law(sample[0])) * STEP_16,
            });
        }
        Ok(mixer)
    }
}

/// A little-endian integer as a fraction of full scale.
fn highest(bytes: &[u8]) -> f32 {
    let mut wide = [0; 4];
    wide[4 - bytes.len()..].copy_from_slice(bytes);
    (f64::from(i32::from_le_bytes(wide)) / f64::from(1u32 << 31)) as f32
}

/// ITU-T G.711, table 1a, with 13 bits in the highest of 16.
fn a_law(code: u8) -> i16 {
    let code = code ^ 0x55;
    let (segment, step) = (code >> 4 & 7, i16::from(code & 15) << 4);
    let size = if segment == 0 { step + 8 } else { (step + 0x108) << (segment - 1) };
    if code & 0x80 != 0 { size } else { -size }
}

/// ITU-T G.711, table 2a, with 14 bits in the highest of 16.
fn mu_law(code: u8) -> i16 {
    let code = !code;
    let size = (((i16::from(code & 15) << 3) + 0x84) << (code >> 4 & 7)) - 0x84;
    if code & 0x80 != 0 { -size } else { size }
}
