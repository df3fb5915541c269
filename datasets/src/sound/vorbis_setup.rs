//! A check of the headers of a Vorbis stream (*Vorbis I specification*, 2020, section 4.2), so that
//! the decoder neither fails nor allocates more than they justify.

/// Largest memory of the codebooks, in numbers.
const MAX_BOOKS: u64 = 1 << 22;

type Checked<T> = Result<T, &'static str>;

/// Checks the identification and the setup header.
pub(super) fn check(ident: &[u8], setup: &[u8]) -> Checked<()> {
    if ident.len() != 30 || !ident.starts_with(b"\x01vorbis") {
        return Err("is no Vorbis stream");
    }
    if !(1..=8).contains(&ident[11]) {
        return Err("has more than 8 channels");
    }
    let setup = setup.strip_prefix(b"\x05vorbis").ok_or("has no setup header")?;
    let mut bits = Bits { bytes: setup, at: 0 };
    let books = bits.read(8)? + 1;
    let mut size = 0;
    for _ in 0..books {
        size += codebook(&mut bits)?;
        if size > MAX_BOOKS {
            return Err("has codebooks that are too large");
        }
    }
    for _ in 0..bits.read(6)? + 1 {
        bits.read(16)?;
    }
    for _ in 0..bits.read(6)? + 1 {
        floor(&mut bits)?;
    }
    for _ in 0..bits.read(6)? + 1 {
        residue(&mut bits)?;
    }
    for _ in 0..bits.read(6)? + 1 {
        mapping(&mut bits, ident[11].into())?;
    }
    Ok(())
}

/// Checks a codebook (section 3.2.1). Returns its size in memory, in numbers.
fn codebook(bits: &mut Bits) -> Checked<u64> {
    if bits.read(24)? != 0x56_4342 {
        return Err("has a codebook without its pattern");
    }
    let (dimensions, entries) = (bits.read(16)?, bits.read(24)?);
    if dimensions == 0 || entries == 0 {
        return Err("has an empty codebook");
    }
    let size = u64::from(entries) * (u64::from(dimensions) + 8);
    if size > MAX_BOOKS {
        return Err("has codebooks that are too large");
    }
    if bits.read(1)? == 1 {
        let (mut length, mut entry) = (bits.read(5)? + 1, 0);
        while entry < entries {
            if length > 32 {
                return Err("has a code of more than 32 bits");
            }
            entry += bits.read(width(entries - entry))?;
            length += 1;
        }
    } else {
        let sparse = bits.read(1)? == 1;
        for _ in 0..entries {
            if !sparse || bits.read(1)? == 1 {
                bits.read(5)?;
            }
        }
    }
    let lookup = bits.read(4)?;
    if lookup == 0 {
        return Ok(size);
    }
    bits.read(32)?;
    bits.read(32)?;
    let value = bits.read(4)? + 1;
    bits.read(1)?;
    let values = match lookup {
        1 => lookup_values(entries, dimensions)?,
        2 => u64::from(entries) * u64::from(dimensions),
        _ => return Err("has a codebook of an unknown type"),
    };
    bits.skip(values * u64::from(value))?;
    Ok(size)
}

/// The largest number whose power is at most `entries`. The decoder computes it in single
/// precision, which may be wrong.
fn lookup_values(entries: u32, dimensions: u32) -> Checked<u64> {
    let power = |n: u64| n.checked_pow(dimensions).is_some_and(|power| power <= entries.into());
    let rounded = f64::from(entries).powf(1.0 / f64::from(dimensions)).round() as u64;
    let values = (1..=rounded + 1).rev().find(|&n| power(n)).unwrap_or(1);
    let single = (entries as f32).powf(1.0 / dimensions as f32).floor() as u64;
    if single == values { Ok(values) } else { Err("has a codebook of a size that is not read") }
}

/// Checks the parameters of a floor (sections 6.2.1 and 7.2.2).
fn floor(bits: &mut Bits) -> Checked<()> {
    match bits.read(16)? {
        0 => {
            bits.skip(8 + 16 + 16 + 6 + 8)?;
            let books = bits.read(4)? + 1;
            bits.skip(u64::from(books) * 8)
        }
        1 => {
            let partitions = bits.read(5)?;
            let classes: Vec<u32> =
                (0..partitions).map(|_| bits.read(4)).collect::<Checked<_>>()?;
            let mut dimensions = [0; 16];
            let count = classes.iter().max().map_or(0, |&class| class as usize + 1);
            for class in &mut dimensions[..count] {
                *class = bits.read(3)? + 1;
                let subclasses = bits.read(2)?;
                if subclasses > 0 {
                    bits.read(8)?;
                }
                bits.skip(8 << subclasses)?;
            }
            bits.read(2)?;
            let range = bits.read(4)?;
            let points: u32 = classes.iter().map(|&class| dimensions[class as usize]).sum();
            let mut seen = vec![0];
            for _ in 0..points {
                let point = bits.read(range)?;
                if seen.contains(&point) {
                    return Err("has a floor with a point that is repeated");
                }
                seen.push(point);
            }
            Ok(())
        }
        _ => Err("has a floor of an unknown type"),
    }
}

/// Checks the parameters of a residue (section 8.6.1).
fn residue(bits: &mut Bits) -> Checked<()> {
    bits.skip(16 + 3 * 24)?;
    let classes = bits.read(6)? + 1;
    bits.read(8)?;
    let mut books = 0;
    for _ in 0..classes {
        let low = bits.read(3)?;
        let high = if bits.read(1)? == 1 { bits.read(5)? } else { 0 };
        books += low.count_ones() + high.count_ones();
    }
    bits.skip(u64::from(books) * 8)
}

/// Checks a mapping (section 4.2.4). Every part of it must have a channel.
fn mapping(bits: &mut Bits, channels: u32) -> Checked<()> {
    bits.read(16)?;
    let parts = if bits.read(1)? == 1 { bits.read(4)? + 1 } else { 1 };
    if bits.read(1)? == 1 {
        let steps = bits.read(8)? + 1;
        bits.skip(u64::from(steps * 2 * width(channels - 1)))?;
    }
    bits.read(2)?;
    if parts > 1 {
        let mut used = 0u32;
        for _ in 0..channels {
            used |= 1 << bits.read(4)?;
        }
        if used != (1 << parts) - 1 {
            return Err("has a mapping without channels");
        }
    }
    bits.skip(u64::from(parts) * 24)
}

/// Number of bits of a number.
fn width(n: u32) -> u32 {
    32 - n.leading_zeros()
}

/// Bits from the lowest to the highest of every byte.
struct Bits<'a> {
    bytes: &'a [u8],
    at: u64,
}

impl Bits<'_> {
    fn read(&mut self, count: u32) -> Checked<u32> {
        let mut value = 0;
        for n in 0..count {
            let byte = self.bytes.get((self.at / 8) as usize).ok_or("ends in its setup header")?;
            value |= u32::from(byte >> (self.at % 8) & 1) << n;
            self.at += 1;
        }
        Ok(value)
    }

    fn skip(&mut self, count: u64) -> Checked<()> {
        self.at += count;
        if self.at > 8 * self.bytes.len() as u64 {
            return Err("ends in its setup header");
        }
        Ok(())
    }
}
