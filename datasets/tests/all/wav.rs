//! Wav files with any header.

/// A wav file in parts, so that each can be wrong.
#[derive(Clone)]
pub(crate) struct Wav {
    pub(crate) tag: u16,
    pub(crate) channels: u16,
    pub(crate) rate: u32,
    pub(crate) bits: u16,
    /// Bytes of a sample.
    pub(crate) width: u16,
    /// Extension of the `fmt` chunk.
    pub(crate) extension: Vec<u8>,
    /// Bytes between the `fmt` chunk and the data.
    pub(crate) between: Vec<u8>,
    /// Sizes in the header, if they are not the right ones.
    pub(crate) sizes: Option<(u32, u32)>,
    pub(crate) data: Vec<u8>,
}

impl Wav {
    /// 16 kHz, one channel.
    pub(crate) fn new(tag: u16, bits: u16, width: u16, data: Vec<u8>) -> Self {
        let (extension, between) = (vec![], vec![]);
        Self { tag, channels: 1, rate: 16_000, bits, width, extension, between, sizes: None, data }
    }

    /// Samples of 16 bits.
    pub(crate) fn of(samples: &[i16]) -> Self {
        Self::new(1, 16, 2, samples.iter().flat_map(|s| s.to_le_bytes()).collect())
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let block = self.width * self.channels;
        let fmt = 16 + self.extension.len();
        let riff = 4 + 8 + fmt + self.between.len() + 8 + self.data.len();
        let (riff, data) = self.sizes.unwrap_or((riff as u32, self.data.len() as u32));
        let mut bytes = b"RIFF".to_vec();
        bytes.extend(riff.to_le_bytes());
        bytes.extend(b"WAVEfmt ");
        bytes.extend((fmt as u32).to_le_bytes());
        bytes.extend(self.tag.to_le_bytes());
        bytes.extend(self.channels.to_le_bytes());
        bytes.extend(self.rate.to_le_bytes());
        bytes.extend((self.rate * u32::from(block)).to_le_bytes());
        bytes.extend(block.to_le_bytes());
        bytes.extend(self.bits.to_le_bytes());
        bytes.extend(&self.extension);
        bytes.extend(&self.between);
        bytes.extend(b"data");
        bytes.extend(data.to_le_bytes());
        bytes.extend(&self.data);
        bytes
    }
}

/// The extension of a `fmt` chunk with the number of valid bits and a format.
pub(crate) fn extensible(valid: u16, tag: u16) -> Vec<u8> {
    let mut extension = vec![22, 0];
    extension.extend(valid.to_le_bytes());
    extension.extend([4, 0, 0, 0]);
    extension.extend(tag.to_le_bytes());
    extension.extend([0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]);
    extension
}

/// A chunk without the byte that follows one of odd length.
pub(crate) fn chunk(tag: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [tag, &(body.len() as u32).to_le_bytes()[..], body].concat()
}
