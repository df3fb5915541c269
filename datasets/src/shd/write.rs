use hdf5_writer::{DatasetBuilder, Hdf5Builder, WriteOptions};

use super::{MAX_CHANNELS, MAX_KEYS};
use crate::{About, Error, Recording, Recordings};

/// Largest length of a name in bytes.
const MAX_NAME: usize = 1024;

/// Encodes recordings as a file of this layout, with times as float32.
/// [`from_bytes`](super::from_bytes) reads it again. The memory needed is a few times the size of
/// the file.
///
/// # Errors
/// The recordings fail [`Recordings::validate`], have more than 65,536 channels or classes, or a
/// name is longer than 1,024 bytes.
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
    let About { names, speakers, encoder, .. } = &recordings.about;
    // Every row takes the length of the longest.
    for (field, rows) in [("names", names), ("keys", &recordings.keys), ("speakers", speakers)] {
        if let Some(n) = rows.iter().position(|row| row.len() > MAX_NAME) {
            let (field, len) = (format!("{field}[{n}]"), rows[n].len());
            let problem = format!("bytes long; names have at most {MAX_NAME}");
            return Err(Error::value(&recordings.source, field, len, problem));
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
        let channels = recordings.channels as u32;
        let builder = Hdf5Builder::new()
            .dataset(DatasetBuilder::vlen_sequence_data("spikes/times", times, n, all_times)?)
            .dataset(DatasetBuilder::vlen_sequence_data("spikes/units", units, n, all_units)?)
            .dataset(DatasetBuilder::typed_data("labels", n, &labels)?)
            .dataset(dataset_of_speakers(recordings)?)
            .dataset(DatasetBuilder::typed_data("extra/channels", [1], &[channels])?)
            .dataset(text("extra/keys", &recordings.keys)?);
        let About { parts, step_ms, .. } = &recordings.about;
        let parts: Vec<_> = parts.iter().map(|part| part.name()).collect();
        let mut optional = Vec::new();
        if !names.is_empty() {
            optional.push(text("extra/name", names)?);
        }
        if !parts.is_empty() {
            optional.push(text("extra/part", &parts)?);
        }
        if !encoder.is_empty() {
            optional.push(text("extra/encoder", std::slice::from_ref(encoder))?);
        }
        if let Some(step) = step_ms {
            optional.push(DatasetBuilder::typed_data("extra/step_ms", [1], &[*step])?);
        }
        optional
            .into_iter()
            .fold(builder, Hdf5Builder::dataset)
            .into_plan()?
            .encode(WriteOptions::default())
    };
    encoded().map_err(|e: hdf5_writer::Error| Error::format(&recordings.source, e))
}

fn text(path: &str, rows: &[impl AsRef<str>]) -> Result<DatasetBuilder, hdf5_writer::Error> {
    DatasetBuilder::fixed_string_data(path, [rows.len() as u64], rows)
}

/// The speakers by name, if they have names, else by number.
fn dataset_of_speakers(recordings: &Recordings) -> Result<DatasetBuilder, hdf5_writer::Error> {
    let (path, items) = ("extra/speaker", &recordings.items);
    let names = &recordings.about.speakers;
    if names.is_empty() {
        let numbers: Vec<u16> = items.iter().map(|r| r.speaker).collect();
        return DatasetBuilder::typed_data(path, [items.len() as u64], &numbers);
    }
    let names: Vec<_> = items.iter().filter_map(|r| names.get(usize::from(r.speaker))).collect();
    text(path, &names)
}
