use std::io::Cursor;

use ogg::{OggReadError, PacketReader};
use symphonia::core::codecs::audio::well_known::CODEC_ID_VORBIS;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors;
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration, Timestamp};
use symphonia::default::codecs::VorbisDecoder;

use super::{Mixer, STEP_16, flac, vorbis_setup};
use crate::Error;

/// Decodes an Ogg file with one Vorbis stream.
pub(super) fn decode(bytes: &[u8], name: &str) -> Result<Mixer, Error> {
    let format = |reason: String| Error::format(name, format!("Ogg Vorbis: {reason}"));
    let bad = |error: errors::Error| format(error.to_string());
    let mut reader = PacketReader::new(Cursor::new(bytes));
    let mut next = || reader.read_packet().map_err(|error: OggReadError| format(error.to_string()));

    let [ident, _, setup] = {
        let mut header = || next()?.ok_or_else(|| format("ends in its header".into()));
        let ident = header()?;
        if ident.data.starts_with(b"OpusHead") {
            return Err(Error::format(
                name,
                "is an Opus file; convert it, for example with ffmpeg -i IN -ar 16000 -ac 1 \
                 OUT.wav",
            ));
        }
        [ident, header()?, header()?]
    };
    vorbis_setup::check(&ident.data, &setup.data).map_err(|reason| format(reason.into()))?;
    let mut codec = AudioCodecParameters::new();
    codec.for_codec(CODEC_ID_VORBIS).with_extra_data(laced(&ident.data, &setup.data));
    let mut decoder =
        VorbisDecoder::try_new(&codec, &AudioDecoderOptions::default()).map_err(bad)?;
    let channels = usize::from(ident.data[11]);
    let rate = u32::from_le_bytes([12, 13, 14, 15].map(|at| ident.data[at]));

    let mut mixer = Mixer::new(name, rate, channels, STEP_16)?;
    let mut block = Vec::new();
    let mut length = None;
    while let Some(packet) = next()? {
        if packet.stream_serial() != ident.stream_serial() || packet.first_in_stream() {
            return Err(format("holds several streams".into()));
        }
        let reference = PacketRef::new(0, Timestamp::ZERO, Duration::ZERO, &packet.data);
        flac::append(&mut mixer, decoder.decode_ref(&reference).map_err(bad)?, &mut block);
        mixer.check_expansion(name, bytes.len())?;
        length = packet.last_in_stream().then(|| packet.absgp_page());
    }
    // The last block is longer than what is left of the sound.
    if let Some(length) = length.and_then(|length| usize::try_from(length).ok()) {
        mixer.samples.truncate(length);
    }
    Ok(mixer)
}

/// The headers in the form that the decoder reads, with an empty comment between them.
fn laced(ident: &[u8], setup: &[u8]) -> Box<[u8]> {
    // The first header has 30 bytes.
    [&[2, ident.len() as u8, 0], ident, setup].concat().into()
}
