//! Files of spikes of every kind, through one function.

use std::io::{Cursor, Write as _};

use polychron_datasets::spikes::{self, Options};
use polychron_datasets::{Recordings, shd};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fn fixture(name: &str) -> Vec<u8> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read(folder.join(name)).unwrap()
}

fn read(bytes: &[u8]) -> Recordings {
    spikes::from_bytes(bytes.to_vec(), "x", &Options::default()).unwrap()
}

fn error(bytes: &[u8]) -> String {
    let error = spikes::from_bytes(bytes.to_vec(), "x", &Options::default()).unwrap_err();
    let error = error.to_string();
    assert!(!error.contains(char::is_control), "{error}");
    error
}

fn zip(files: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, contents) in files {
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file(*name, options).unwrap();
        zip.write_all(contents).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

#[test]
fn packed_files_hold_what_is_inside() {
    let small = fixture("small.h5");
    let plain = shd::from_bytes(small.clone(), "x", &Options::default()).unwrap();
    let (deflated, stored) = (CompressionMethod::Deflated, CompressionMethod::Stored);
    for method in [deflated, stored] {
        let added = [("__MACOSX/._small.h5", &b"?"[..]), ("a/.DS_Store", b"?"), ("a/x", &small)];
        assert!(read(&zip(&added, method)) == plain);
    }
    assert!(read(&small) == plain && read(&gzip(&small)) == plain);
    assert!(read(&zip(&[("x.gz", &gzip(&small))], deflated)) == plain);
    assert!(read(&gzip(&zip(&[("x.h5", &small)], deflated))) == plain);
    let behind = [&[b'#'; 512][..], &small].concat();
    assert!(read(&zip(&[("x.h5", &behind)], deflated)) == plain);
}

#[test]
fn archives_that_cannot_be_read_say_why() {
    let stored = CompressionMethod::Stored;
    let three = [("a.h5", &b""[..]), ("b.h5", b""), ("c.txt", b"")];
    assert_eq!(
        error(&zip(&three, stored)),
        "x: is a zip archive of 3 files; unzip it: a.h5, b.h5, c.txt"
    );
    assert_eq!(error(&zip(&[], stored)), "x: is a zip archive without a file");
    let large = zip(&[("a", &vec![0; 2 << 20])], CompressionMethod::Deflated);
    assert_eq!(error(&large), "x: zip archive holds more than 1048576 bytes; unzip it");
    let cut = &large[..large.len() / 2];
    assert!(error(cut).ends_with("; unzip it, or download or copy it again"), "{}", error(cut));
    let deep = (0..6).fold(fixture("small.h5"), |bytes, _| gzip(&bytes));
    assert_eq!(error(&deep), "x: is packed too many times; unpack it");
}
