//! What a layer's inputs did in a tick: a bitmap or a value a channel, which are the truth, and short lists of those that
//! were not 0, a group of 256 each.

use crate::format::{GROUP, Layer, WORD};

/// The count of a list that holds not all.
pub(super) const FULL: u8 = 255;

/// A tick that is being written.
#[doc(hidden)]
#[derive(Debug)]
pub struct Slot<'a> {
    truth: &'a mut [u8],
    lists: &'a mut [u8],
    /// Most entries of a list.
    list: usize,
    values: bool,
    /// Inputs that are not 0.
    pub(super) active: u16,
}

impl<'a> Slot<'a> {
    pub(super) fn clear(bytes: &'a mut [u8], layer: &Layer<'_>) -> Option<Self> {
        bytes.fill(0);
        let (truth, lists) = bytes.split_at_mut_checked(layer.truth)?;
        Some(Self { truth, lists, list: layer.list, values: layer.values, active: 0 })
    }

    /// Gives an input that has none yet a value that is not 0; a spike is 1.
    pub(super) fn set(&mut self, input: usize, value: i8) {
        let (at, value) = if self.values {
            (input, value.cast_unsigned())
        } else {
            (input >> 3, 1u8.wrapping_shl(u32::try_from(input & 7).unwrap_or(0)))
        };
        let Some(truth) = self.truth.get_mut(at) else { return };
        if *truth & if self.values { 255 } else { value } == 0 {
            *truth |= value;
            self.push(input);
        }
    }

    /// Writes the spikes of 32 neighbours.
    #[inline(always)]
    pub(super) fn set_word(&mut self, n: usize, word: u32) {
        let truth = self.truth.get_mut(n.wrapping_mul(4)..).and_then(|t| t.first_chunk_mut());
        if let Some(truth) = truth {
            *truth = word.to_le_bytes();
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
            None => *count = FULL,
        }
    }
}

/// One group of sources in a past tick.
pub(super) struct Past<'a> {
    /// A bit or a byte an input.
    pub(super) truth: &'a [u8],
    pub(super) values: bool,
    /// Places in the group that are not 0, where they are known and have not been given.
    listed: Option<&'a [u8]>,
    /// Where the bitmap or the values are read on, and bits of the last word that was read.
    place: usize,
    word: u32,
}

impl<'a> Past<'a> {
    /// The group that begins at a source, a multiple of 256.
    #[inline(never)]
    pub(super) fn new(slot: &'a [u8], layer: &Layer<'_>, source: usize) -> Self {
        let (first, most) = if layer.values { (source, GROUP) } else { (source >> 3, GROUP >> 3) };
        let truth = slot.get(..layer.truth).and_then(|t| t.get(first..)).unwrap_or(&[]);
        let truth = truth.get(..most).unwrap_or(truth);
        let listed = match slot.get(layer.list_of(source)..) {
            Some([count, entries @ ..]) if *count != FULL => entries.get(..usize::from(*count)),
            _ => None,
        };
        let place = if listed.is_some() { truth.len() } else { 0 };
        Self { truth, values: layer.values, listed, place, word: 0 }
    }

    /// The value of a place that is not 0.
    pub(super) fn value(&self, place: u8) -> i8 {
        if !self.values {
            return 1;
        }
        self.truth.get(usize::from(place)).map_or(0, |value| value.cast_signed())
    }

    /// Some more places that are not 0, while there are any.
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
            let rest = self.truth.get(self.place..)?;
            let zeros = rest.iter().position(|&value| value != 0)?;
            let place = self.place.wrapping_add(zeros);
            self.place = place.wrapping_add(1);
            return Some(place);
        }
        while self.word == 0 {
            let word = self.truth.get(self.place..)?.first_chunk()?;
            self.word = u32::from_le_bytes(*word);
            self.place = self.place.wrapping_add(4);
        }
        let bit = usize::try_from(self.word.trailing_zeros()).unwrap_or(0);
        self.word &= self.word.wrapping_sub(1);
        Some(self.place.wrapping_sub(4).wrapping_mul(8).wrapping_add(bit))
    }
}

/// The set bits of a byte.
pub(super) fn places(byte: u8) -> impl Iterator<Item = usize> {
    (0..8usize).filter(move |&bit| byte >> bit & 1 == 1)
}
