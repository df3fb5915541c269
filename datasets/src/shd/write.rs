use hdf5_writer::{DatasetBuilder, Hdf5Builder, WriteOptions};

use super::{MAX_CHANNELS, MAX_KEYS};
use crate::{Error, Recording, Recordings};

/// Encodes recordings as a file of this layout, with times as float32.
/// [`from_bytes`](super::from_bytes) reads it again. The memory needed is a few times the size of
/// the file.
///
/// # Errors
/// The recordings fail [`Recordings::validate`], have more than 65,536 channels or classes, or a
/// class name is longer than HDF5 allows.
pub fn to_bytes(recordings: &Recordings) -> Result<Vec<u8>, Error> {
    recordings.validate()?;
    for (field, value, most) in
        [("channels", recordings.channels, MAX_CHANNELS), ("keys", recordings.keys.len(), MAX_KEYS)]
    {
        if value > most {
            let problem = format!("is above {most}, the most that this layout can hold");
            return Err(Error::value(&recordings.source, field, value, problem));
        }
    }
    let items = &recordings.items;
    let little = hdf5_writer::ByteOrder::LittleEndian;
    let times = hdf5_writer::Datatype::FloatingPoint { size: 4, byte_order: little };
    let units = hdf5_writer::Datatype::FixedPoint { size: 2, signed: false, byte_order: little };
    let bytes_of_times = |r: &Recording| r.times.iter().flat_map(|t| t.to_le_bytes()).collect();
    let bytes_of_units = |r: &Recording| r.units.iter().flat_map(|u| u.to_le_bytes()).collect();
    let n = [items.len() as u64];
    let encoded = || {
        let all_times = items.iter().map(bytes_of_times).collect();
        let all_units = items.iter().map(bytes_of_units).collect();
        let labels: Vec<u16> = items.iter().map(|r| r.label).collect();
        let speakers: Vec<u16> = items.iter().map(|r| r.speaker).collect();
        let (keys, channels) = (&recordings.keys, recordings.channels as u32);
        Hdf5Builder::new()
            .dataset(DatasetBuilder::vlen_sequence_data("spikes/times", times, n, all_times)?)
            .dataset(DatasetBuilder::vlen_sequence_data("spikes/units", units, n, all_units)?)
            .dataset(DatasetBuilder::typed_data("labels", n, &labels)?)
            .dataset(DatasetBuilder::typed_data("extra/speaker", n, &speakers)?)
            .dataset(DatasetBuilder::typed_data("extra/channels", [1], &[channels])?)
            .dataset(DatasetBuilder::fixed_string_data(
                "extra/keys",
                [keys.len() as u64],
                keys.as_slice(),
            )?)
            .into_plan()?
            .encode(WriteOptions::default())
    };
    encoded().map_err(|e: hdf5_writer::Error| Error::format(&recordings.source, e))
}
