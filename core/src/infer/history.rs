//! The inputs of a layer in one tick: a complete bitmap, or one byte per value, and short lists of
//! the inputs that are not zero, one list per 256 inputs.

use super::{Arithmetic, Due};
use crate::format::{GROUP, Layer, WORD};

/// The count of a list that is too short for its spikes.
pub(super) const INCOMPLETE: u8 = 255;

/// The record of one tick, while it is written.
#[doc(hidden)]
#[derive(Debug)]
pub struct TickRecord<'a> {
    /// A bit per spike, or a byte per value.
    bitmap: &'a mut [u8],
    lists: &'a mut [u8],
    /// The number of entries in a list.
    list: usize,
    values: bool,
    /// The number of inputs that are not zero.
    pub(super) active: u16,
}

impl<'a> TickRecord<'a> {
    pub(super) fn clear(bytes: &'a mut [u8], layer: &Layer<'_>) -> Option<Self> {
        bytes.fill(0);
        let (bitmap, lists) = bytes.split_at_mut_checked(layer.bitmap_len)?;
        Some(Self { bitmap, lists, list: layer.list, values: layer.values, active: 0 })
    }

    /// Sets an input that is zero to a value that is not; a spike is 1.
    pub(super) fn set(&mut self, input: usize, value: i8) {
        let (at, value) = if self.values {
            (input, value.cast_unsigned())
        } else {
            (input >> 3, 1u8.wrapping_shl(u32::try_from(input & 7).unwrap_or(0)))
        };
        let Some(byte) = self.bitmap.get_mut(at) else { return };
        if *byte & if self.values { 255 } else { value } == 0 {
            *byte |= value;
            self.push(input);
        }
    }

    /// Writes the spikes of 32 adjacent inputs.
    #[inline(always)]
    pub(super) fn set_word(&mut self, n: usize, word: u32) {
        let bytes = self.bitmap.get_mut(n.wrapping_mul(4)..).and_then(|b| b.first_chunk_mut());
        if let Some(bytes) = bytes {
            *bytes = word.to_le_bytes();
        }
        let mut left = word;
        while left != 0 {
            let bit = usize::try_from(left.trailing_zeros()).unwrap_or(0);
            self.push(n.wrapping_mul(WORD).wrapping_add(bit));
            left &= left.wrapping_sub(1);
        }
    }

    fn push(&mut self, input: usize) {
        self.active = self.active.wrapping_add(1);
        if self.list == 0 {
            return;
        }
        let at = (input / GROUP).wrapping_mul(self.list.wrapping_add(1));
        let Some([count, entries @ ..]) = self.lists.get_mut(at..) else { return };
        let used = usize::from(*count);
        match entries.get_mut(used).filter(|_| used < self.list) {
            Some(entry) => {
                [*entry, ..] = input.to_le_bytes();
                *count = count.wrapping_add(1);
            }
            None => *count = INCOMPLETE,
        }
    }
}

/// Up to 256 sources in a past tick.
pub(super) struct PastTick<'a> {
    /// A bit per spike, or a byte per value.
    pub(super) bitmap: &'a [u8],
    pub(super) values: bool,
    /// The sources that are not zero, if they are listed and `next` has not returned them.
    listed: Option<&'a [u8]>,
    /// The next byte of the bitmap to read, and the remaining bits of the last word.
    place: usize,
    word: u32,
}

impl<'a> PastTick<'a> {
    /// The sources that begin at `source`, a multiple of 256.
    #[inline(never)]
    pub(super) fn new(record: &'a [u8], layer: &Layer<'_>, source: usize) -> Self {
        let (first, most) = if layer.values { (source, GROUP) } else { (source >> 3, GROUP >> 3) };
        let bitmap = record.get(..layer.bitmap_len).and_then(|b| b.get(first..)).unwrap_or(&[]);
        let bitmap = bitmap.get(..most).unwrap_or(bitmap);
        let listed = match record.get(layer.list_of(source)..) {
            Some([count, entries @ ..]) if *count != INCOMPLETE => {
                entries.get(..usize::from(*count))
            }
            _ => None,
        };
        let place = if listed.is_some() { bitmap.len() } else { 0 };
        Self { bitmap, values: layer.values, listed, place, word: 0 }
    }

    /// The value of a source.
    pub(super) fn value(&self, place: u8) -> i8 {
        if !self.values {
            return 1;
        }
        self.bitmap.get(usize::from(place)).map_or(0, |value| value.cast_signed())
    }

    /// The next sources that are not zero; `None` after the last.
    #[inline(never)]
    pub(super) fn next<'b>(&mut self, room: &'b mut [u8; WORD]) -> Option<&'b [u8]>
    where
        'a: 'b,
    {
        if let Some(listed) = self.listed.take() {
            return Some(listed);
        }
        let mut len = 0usize;
        for to in room.iter_mut() {
            let Some(place) = self.next_place() else { break };
            [*to, ..] = place.to_le_bytes();
            len = len.wrapping_add(1);
        }
        room.get(..len).filter(|places| !places.is_empty())
    }

    #[inline(always)]
    fn next_place(&mut self) -> Option<usize> {
        if self.values {
            let rest = self.bitmap.get(self.place..)?;
            let zeros = rest.iter().position(|&value| value != 0)?;
            let place = self.place.wrapping_add(zeros);
            self.place = place.wrapping_add(1);
            return Some(place);
        }
        while self.word == 0 {
            let word = self.bitmap.get(self.place..)?.first_chunk()?;
            self.word = u32::from_le_bytes(*word);
            self.place = self.place.wrapping_add(4);
        }
        let bit = usize::try_from(self.word.trailing_zeros()).unwrap_or(0);
        self.word &= self.word.wrapping_sub(1);
        Some(self.place.wrapping_sub(4).wrapping_mul(8).wrapping_add(bit))
    }
}

/// The positions of the set bits of a byte.
pub(super) fn set_bits(byte: u8) -> impl Iterator<Item = usize> {
    (0..8usize).filter(move |&bit| byte >> bit & 1 == 1)
}

/// Delivers a past tick whose inputs are values, or too many for the list.
#[inline(never)]
pub(super) fn deliver_unlisted<W: Arithmetic>(
    v: &mut [i32; GROUP],
    record: &[u8],
    layer: &Layer<'_>,
    source: usize,
    due: &Due<'_>,
) {
    let mut past = PastTick::new(record, layer, source);
    let mut room = [0; WORD];
    while let Some(pre) = past.next(&mut room) {
        if past.values {
            W::deliver_values(v, pre, past.bitmap, due);
        } else {
            W::deliver_spikes(v, pre, due);
        }
    }
}
