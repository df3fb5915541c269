use super::state::{State, StateError, Tensor};
use crate::num::Real;
use alloc::vec::Vec;

const MAGIC: [u8; 8] = *b"pcstate1";

impl<R: Real> State<R> {
    /// The state as bytes, the same for the same state on every machine. Words are little-endian `u64`, numbers
    /// little-endian `R`:
    ///
    /// ```text
    /// "pcstate1", bytes of a number, epoch, step, seed, count of tensors
    /// each tensor:  length and UTF-8 of the name, length and words of the shape, length and numbers of the values
    /// FNV-1a of all bytes before
    /// ```
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let count = |n: usize| n as u64;
        let head = [count(R::BYTES), self.epoch, self.step, self.seed, count(self.tensors.len())];
        out.extend(head.iter().flat_map(|word| word.to_le_bytes()));
        for Tensor { name, shape, values } in &self.tensors {
            out.extend(count(name.len()).to_le_bytes());
            out.extend(name.bytes());
            let dimensions = shape.iter().map(|&n| count(n));
            let words =
                [count(shape.len())].into_iter().chain(dimensions).chain([count(values.len())]);
            out.extend(words.flat_map(u64::to_le_bytes));
            for &value in values {
                let end = out.len();
                out.resize(end + R::BYTES, 0);
                value.write_le(&mut out[end..]);
            }
        }
        let sum = fnv1a(&out);
        out.extend(sum.to_le_bytes());
        out
    }

    /// The state that [`State::to_bytes`] wrote. Memory stays in proportion to `bytes`, whatever lengths they claim.
    ///
    /// # Errors
    /// [`StateError::Bytes`] for any other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let mut from = Reader { bytes, offset: 0 };
        if from.take(MAGIC.len())? != MAGIC {
            return Err(StateError::Bytes { offset: 0, what: "not a state" });
        }
        if from.word()? != R::BYTES as u64 {
            return Err(from.error("numbers of another size"));
        }
        let end = bytes.len().saturating_sub(8).max(from.offset);
        let sum = Reader { bytes, offset: end }.word()?;
        if sum != fnv1a(&bytes[..end]) {
            return Err(StateError::Bytes { offset: end, what: "checksum does not match" });
        }
        from.bytes = &bytes[..end];
        let [epoch, step, seed, count] = [from.word()?, from.word()?, from.word()?, from.word()?];
        let mut tensors = Vec::new();
        for _ in 0..count {
            let name = from.block(1)?;
            let name = core::str::from_utf8(name).map_err(|_| from.error("name is not UTF-8"))?;
            let shape = from.block(8)?.chunks_exact(8).map(little_endian);
            let shape: Result<_, _> = shape.map(usize::try_from).collect();
            let shape = shape.map_err(|_| from.error("dimension is too large"))?;
            let values = from.block(R::BYTES)?.chunks_exact(R::BYTES).map(R::read_le).collect();
            tensors.push(Tensor { name: name.into(), shape, values });
        }
        if from.offset < end {
            return Err(from.error("bytes after the last tensor"));
        }
        Ok(Self { tensors, epoch, step, seed })
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, what: &'static str) -> StateError {
        StateError::Bytes { offset: self.offset, what }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], StateError> {
        let end = self.offset.checked_add(len);
        let taken = end.and_then(|end| self.bytes.get(self.offset..end));
        let taken = taken.ok_or_else(|| self.error("ends too early"))?;
        self.offset += len;
        Ok(taken)
    }

    fn word(&mut self) -> Result<u64, StateError> {
        self.take(8).map(little_endian)
    }

    /// A length and as many items of `size` bytes.
    fn block(&mut self, size: usize) -> Result<&'a [u8], StateError> {
        let len = usize::try_from(self.word()?).ok().and_then(|len| len.checked_mul(size));
        self.take(len.unwrap_or(usize::MAX))
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

fn fnv1a(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}
