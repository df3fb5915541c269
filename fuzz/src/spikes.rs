//! Files of spikes.

use crate::memory::{unpacked, within};
use polychron_datasets::spikes::{self, Options, Origin, TimeUnit};
use polychron_datasets::{Error, Recordings};
use std::io::{Cursor, Write};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const NAMES: [&str; 12] = [
    "time", "unit", "item", "label", "speaker", "name", "part", "keys", "channels", "dt_ms",
    "raster", "events",
];

/// Reads a file with the options that a byte chooses, and checks the recordings. Reading takes at
/// most `times` the unpacked size of the file and `mib` more.
pub fn read(choice: u8, file: Vec<u8>, times: usize, mib: usize) -> Result<Recordings, Error> {
    let bit = |n: u8| choice >> n & 1 == 1;
    let options = Options {
        channels: bit(0).then_some(700),
        time_unit: if bit(1) { TimeUnit::Milliseconds } else { TimeUnit::Seconds },
        origin: if bit(2) { Origin::FirstSpike } else { Origin::Zero },
        first_unit: bit(3).into(),
        first_label: bit(4).into(),
        step_ms: bit(5).then_some(0.5),
        unlabelled: bit(6),
    };
    let memory = times * unpacked(&file) + (mib << 20);
    let read = within(memory, || spikes::from_bytes(file, "fuzz", &options));
    match &read {
        Ok(recordings) => {
            recordings.validate().unwrap();
            assert!(recordings.notes().len() <= 2);
        }
        Err(failure) => assert!(!failure.to_string().contains(char::is_control), "{failure}"),
    }
    read
}

/// An archive of arrays. Each is a byte for its name, two for its length, and its file.
pub fn archive(mut bytes: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    while let [name, low, high, rest @ ..] = bytes {
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let name = NAMES[usize::from(*name) % NAMES.len()];
        // The same name twice is an error of the writer.
        if zip.start_file(format!("{name}.npy"), options).is_ok() {
            zip.write_all(&rest[..len]).unwrap();
        }
        bytes = &rest[len..];
    }
    zip.finish().unwrap().into_inner()
}
