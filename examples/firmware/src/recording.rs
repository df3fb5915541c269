//! Spike trains with the results that the host computed from them.
//!
//! Little-endian: u16 utterances; for each one u16 ticks, u8 label, u8 predicted class, u32 hash; for each of its ticks u8 n
//! and n bytes, the channels that spike.

/// One input and what has to come of it.
pub struct Utterance {
    pub ticks: u32,
    pub label: usize,
    pub prediction: usize,
    /// [`Hash`](crate::replay::Hash) of the hidden state of all ticks.
    pub hash: u32,
}

/// The rest of a file.
#[derive(Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*chunk)
    }

    /// How many utterances follow.
    pub fn count(&mut self) -> Option<u32> {
        Some(u16::from_le_bytes(self.chunk()?).into())
    }

    /// The head of an utterance; its ticks follow.
    pub fn utterance(&mut self) -> Option<Utterance> {
        Some(Utterance {
            ticks: u16::from_le_bytes(self.chunk()?).into(),
            label: u8::from_le_bytes(self.chunk()?).into(),
            prediction: u8::from_le_bytes(self.chunk()?).into(),
            hash: u32::from_le_bytes(self.chunk()?),
        })
    }

    /// The channels that spike in the next tick.
    pub fn tick<'b>(&mut self, channels: &'b mut [u16; 256]) -> Option<&'b [u16]> {
        let [n] = self.chunk()?;
        let (spikes, rest) = self.0.split_at_checked(n.into())?;
        self.0 = rest;
        let channels = &mut channels[..spikes.len()];
        for (channel, &spike) in channels.iter_mut().zip(spikes) {
            *channel = spike.into();
        }
        Some(channels)
    }
}
