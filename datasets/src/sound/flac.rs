use std::io::Cursor;

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::default::codecs::FlacDecoder;
use symphonia::default::formats::FlacReader;

use super::Mixer;
use crate::Error;

/// Decodes a FLAC file. Its checksums and its number of samples must be right.
pub(super) fn decode(bytes: Vec<u8>, name: &str) -> Result<Mixer, Error> {
    let bad = |error: errors::Error| Error::format(name, format!("FLAC: {error}"));
    let size = bytes.len();
    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
    let mut reader = FlacReader::try_new(stream, FormatOptions::default()).map_err(bad)?;
    let track = reader.default_track(TrackType::Audio);
    let codec = track.and_then(|track| track.codec_params.as_ref()?.audio());
    let codec = codec.ok_or_else(|| Error::format(name, "FLAC: has no description"))?;
    let frames = track.and_then(|track| track.num_frames).filter(|&frames| frames > 0);
    let (rate, bits) = (codec.sample_rate.unwrap_or(0), codec.bits_per_sample.unwrap_or(16));
    let channels = codec.channels.as_ref().map_or(0, |channels| channels.count());
    let step = 2f32.powi(1 - bits as i32);
    let options = AudioDecoderOptions::default().verify(true);
    let mut decoder = FlacDecoder::try_new(codec, &options).map_err(bad)?;

    let mut mixer = Mixer::new(name, rate, channels, step)?;
    let mut block = Vec::new();
    while let Some(packet) = reader.next_packet().map_err(bad)? {
        append(&mut mixer, decoder.decode(&packet).map_err(bad)?, &mut block);
        mixer.check_expansion(name, size)?;
    }
    let decoded = mixer.samples.len() as u64;
    if let Some(frames) = frames.filter(|&frames| frames != decoded) {
        return Err(Error::format(
            name,
            format!("holds {decoded} of {frames} samples; copy it again"),
        ));
    }
    if decoder.finalize().verify_ok == Some(false) {
        return Err(Error::format(name, "has a wrong checksum; copy it again"));
    }
    Ok(mixer)
}

/// Appends decoded samples.
pub(super) fn append(mixer: &mut Mixer, decoded: GenericAudioBufferRef<'_>, block: &mut Vec<f32>) {
    decoded.copy_to_vec_interleaved(block);
    block.iter().for_each(|&sample| mixer.push(sample));
}
