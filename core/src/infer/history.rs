//! What a layer's inputs did in a tick: a bitmap or a value a channel, which are the truth, and short lists of those that
//! were not 0, a group of 256 each.

use crate::format::{GROUP, Layer, WORD};

/// The count of a list that holds not all.
const OVERFULL: u8 = 255;

/// A tick that is being written.
pub(super) struct Slot<'a> {
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
            None => *count = OVERFULL,
        }
    }
}

/// One group of sources in a past tick.
pub(super) struct Past<'a> {
    /// A bit or a byte an input.
    pub(super) truth: &'a [u8],
    /// Places in the group that are not 0, where they are known.
    pub(super) listed: Option<&'a [u8]>,
    pub(super) values: bool,
}

impl<'a> Past<'a> {
    /// The group that begins at a source, a multiple of 256.
    #[inline(always)]
    pub(super) fn new(slot: &'a [u8], layer: &Layer<'_>, source: usize) -> Self {
        let (truth, lists) = slot.split_at_checked(layer.truth).unwrap_or((&[], &[]));
        let (first, most) = if layer.values { (source, GROUP) } else { (source >> 3, GROUP / 8) };
        let truth = truth.get(first..).unwrap_or(&[]);
        let at = (source / GROUP).wrapping_mul(layer.list.wrapping_add(1));
        let listed = match lists.get(at..) {
            Some([count, entries @ ..]) if *count < OVERFULL => entries.get(..usize::from(*count)),
            _ => None,
        };
        Self { truth: truth.get(..most).unwrap_or(truth), listed, values: layer.values }
    }

    /// Calls for every input that is not 0, with its place and value.
    #[inline(always)]
    pub(super) fn each(&self, mut work: impl FnMut(usize, i8)) {
        let mut one = |pre: u8| {
            let value =
                if self.values { self.truth.get(usize::from(pre)).copied() } else { Some(1) };
            work(pre.into(), value.unwrap_or(0).cast_signed());
        };
        if let Some(listed) = self.listed {
            listed.iter().for_each(|&pre| one(pre));
        } else if self.values {
            for (n, values) in self.truth.chunks(WORD).enumerate() {
                let (pre, len) = present(n.wrapping_mul(WORD), values);
                pre.iter().take(len).for_each(|&pre| one(pre));
            }
        } else {
            for (n, word) in words(self.truth).enumerate() {
                let (pre, len) = places(n.wrapping_mul(WORD), word);
                pre.iter().take(len).for_each(|&pre| one(pre));
            }
        }
    }
}

/// The words of a bitmap.
#[inline(always)]
pub(super) fn words(bitmap: &[u8]) -> impl Iterator<Item = u32> {
    bitmap.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word))
}

/// The places of a word's spikes, and how many there are.
#[inline(always)]
pub(super) fn places(first: usize, word: u32) -> ([u8; WORD], usize) {
    let (mut places, mut len, mut left) = ([0; WORD], 0, word);
    for place in &mut places {
        if left == 0 {
            break;
        }
        let bit = usize::try_from(left.trailing_zeros()).unwrap_or(0);
        [*place, ..] = first.wrapping_add(bit).to_le_bytes();
        left &= left.wrapping_sub(1);
        len = usize::wrapping_add(len, 1);
    }
    (places, len)
}

/// The places of up to 32 values that are not 0, and how many there are.
#[inline(always)]
pub(super) fn present(first: usize, values: &[u8]) -> ([u8; WORD], usize) {
    let (mut places, mut len) = ([0; WORD], 0usize);
    for (n, &value) in values.iter().enumerate() {
        if let Some(place) = places.get_mut(len).filter(|_| value != 0) {
            [*place, ..] = first.wrapping_add(n).to_le_bytes();
            len = len.wrapping_add(1);
        }
    }
    (places, len)
}
