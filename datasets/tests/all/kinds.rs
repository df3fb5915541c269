//! Files of spikes of every kind, through one function.

use std::io::{Cursor, Write as _};

use polychron_datasets::spikes::{self, Options, Origin, TimeUnit};
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

/// The recordings of `small.h5` with times as float32, named `x`.
fn base() -> Recordings {
    let mut base = read(&fixture("float32.h5"));
    base.source = "x".into();
    base
}

fn npz(name: &str) -> Recordings {
    read(&fixture(&format!("{name}.npz")))
}

fn npz_error(name: &str) -> String {
    error(&fixture(&format!("{name}.npz")))
}

#[test]
fn arrays_of_every_type_hold_the_same_values() {
    assert!(npz("small") == base());
    let mut packed = npz("packed");
    // Reversed: spikes of the same time are in reverse, too.
    packed.items[0].units.swap(1, 2);
    packed.items[3].units.swap(2, 3);
    assert!(packed == base());
    assert!(npz("half") == read(&fixture("small.h5")));
}

#[test]
fn fields_of_records_are_arrays() {
    let options = Options {
        time_unit: TimeUnit::Microseconds,
        first_unit: 1,
        first_label: 1,
        ..Options::default()
    };
    let records = spikes::from_bytes(fixture("records.npz"), "x", &options).unwrap();
    for (item, plain) in records.items.iter().zip(&base().items) {
        assert_eq!((&item.times, &item.units), (&plain.times, &plain.units));
        assert_eq!(item.label, plain.label);
    }
    assert_eq!((records.channels, &records.keys[..]), (700, &["1", "2", "3"].map(Into::into)[..]));
    assert_eq!(records.about.names, ["a.wav", "bé.wav", "", "d"]);
    use polychron_datasets::Part::{Test, Train, Valid};
    assert_eq!(records.about.parts, [Train, Valid, Test, Train]);
    let error = spikes::from_bytes(fixture("records.npz"), "x", &Options::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "x: events.t[1] = 30000 s is above 3600 s; times are in seconds unless data.time_unit or \
         --time-unit says ms or us; for a clock that runs on, data.origin or --origin first-spike"
    );
}

#[test]
fn rasters_are_events_at_the_start_of_their_steps() {
    let raster = npz("raster");
    assert_eq!(raster.channels, 6);
    let spikes: Vec<_> =
        raster.items.iter().map(|item| (&item.times[..], &item.units[..])).collect();
    let (three, two) = ([0.03f32; 3], [1u16, 2, 2]);
    assert_eq!(spikes, [(&three[..], &two[..]), (&[0.0], &[5]), (&[], &[]), (&[0.19], &[0])]);
    let options = Options { step_ms: Some(10.0), ..Options::default() };
    let fortran = spikes::from_bytes(fixture("raster_bool.npz"), "x", &options).unwrap();
    assert_eq!(fortran.items[0].units, [1, 2]);
    assert!(fortran.items[1..] == raster.items[1..]);
    let options = Options { origin: Origin::FirstSpike, ..options };
    let first = spikes::from_bytes(fixture("raster.npz"), "x", &options).unwrap();
    assert_eq!((&first.items[0].times[..], &first.items[3].times[..]), (&[0.0; 3][..], &[0.0][..]));
    assert_eq!(
        npz_error("raster_bool"),
        "x: x is a raster of steps without their length; add dt_ms=1.0 (in ms) to np.savez, or \
         use data convert --step-ms"
    );
    assert_eq!(
        npz_error("raster_order"),
        "x: x has shape [20, 4, 6], but there are 4 labels; a raster is [items, steps, channels]: \
         np.moveaxis changes the order"
    );
}

#[test]
fn arrays_that_cannot_be_read_are_named_with_what_to_do() {
    for (name, problem) in [
        (
            "objects",
            "x: time holds objects (pickle), which is not read; concatenate them: one entry per \
             spike, beside an array item",
        ),
        (
            "dates",
            "x: time holds dates, which is not read; save them as numbers: .astype(\"int64\")",
        ),
        ("pixels", "x: has x and y; give every spike one unit, such as y * width + x"),
        (
            "per_spike",
            "x: label has a value for each of 12 spikes; it needs one for each of 4 items",
        ),
        (
            "no_label",
            "x: has no array label; the arrays time, unit, item and label are needed, or a raster \
             [items, steps, channels] and label; it holds t, x, item",
        ),
        ("far_item", "x: item[8] = 4 is not below 4 items; items count from 0"),
    ] {
        assert_eq!(npz_error(name), problem);
    }
    let low = Options { channels: Some(600), ..Options::default() };
    let error = spikes::from_bytes(fixture("small.npz"), "x", &low).unwrap_err().to_string();
    assert_eq!(error, "x: channels = 700 is not 600, the expected number of channels");
}

const CSV: &str = "time,unit,item,label,speaker,part,note
0.5,5,b,one,F1,train,
0.002,0,a,zero,F0,test,?
0,5,b,one,F1,train,
,,c,zero,F0,train,
1.25,5.0,b,one,F1,train,\"x, y\"
";

#[test]
fn rows_of_text_are_spikes() {
    let plain = read(CSV.as_bytes());
    assert_eq!(plain.about.names, ["b", "a", "c"]);
    assert_eq!(plain.about.speakers, ["F0", "F1"]);
    assert_eq!((&plain.keys[..], plain.channels), (&["one".into(), "zero".into()][..], 6));
    assert_eq!((&plain.items[0].times[..], plain.items[0].label), (&[0.0, 0.5, 1.25][..], 0));
    assert_eq!((plain.items[2].times.len(), plain.items[2].label), (0, 1));
    let windows = format!("\u{feff}{}", CSV.replace('\n', "\r\n"));
    assert!(read(windows.as_bytes()) == plain);
    for separator in [";", "\t"] {
        let text = CSV.replace("\"x, y\"", "x").replace(',', separator);
        assert!(read(text.as_bytes()) == plain, "{separator:?}");
    }
    // As np.savetxt writes it.
    let numbers = b"# t,x,index,label\n1.000e-02,3.000e+00,0.000e+00,1.000e+00\n";
    let numbers = read(numbers);
    assert_eq!((numbers.items[0].units[0], numbers.items[0].label, numbers.keys.len()), (3, 1, 2));
    assert!(read(&gzip(CSV.as_bytes())) == plain);
}

#[test]
fn rows_that_cannot_be_read_are_named_with_what_to_do() {
    let expected = "the first line names the columns time, unit, item and label, and optionally \
                    speaker, name and part";
    let head = "time,unit,item,label\n";
    for (text, problem) in [
        ("0.1,5,0,1\n", format!("line 1 holds numbers, not names of columns; {expected}")),
        (
            "time,unit,label\n",
            format!("line 1 has no column item; {expected}; it has time, unit, label"),
        ),
        ("t,time,unit,item,label\n", "line 1 has both t and time for one thing; keep one".into()),
        (
            "t,x,y,item,label\n",
            "line 1 has x and y; give every spike one unit, such as y * width + x".into(),
        ),
        (
            "time;unit;item;label\n0,5;1;0;0\n",
            "line 2: time = 0,5 has a decimal comma; write 0.5, not 0,5".into(),
        ),
        (
            &format!("{head}0,5,1,0,0\n"),
            "line 2 has 5 fields, not 4; are there decimal commas? Write 0.5, not 0,5".into(),
        ),
        (
            &format!("{head}0.5,1,0,0\n-1,2,0,0\n"),
            "line 3: time = -1 s is negative; data.origin or --origin first-spike counts from the \
             earliest spike"
                .into(),
        ),
        (&format!("{head}0.5,1.5,0,0\n"), "line 2: unit = 1.5 is not a whole number".into()),
        (&format!("{head}0.5,-1,0,0\n"), "line 2: unit = -1 is not between 0 and 65535".into()),
        (
            &format!("{head}0.5,1,0,0\n\n0.6,1,0,1\n"),
            "line 4: label = 1 contradicts 0, of item 0 before".into(),
        ),
        (
            &format!("{head}0.5,1,,0\n"),
            "line 2: item = \"\" is empty; it names the item of the spike".into(),
        ),
        (
            &format!("{head},1,0,0\n"),
            "line 2: time = \"\" is empty; an item without spikes has an empty unit, too".into(),
        ),
        (
            &format!("{head}0.1,1,0,0\n0.1,1,1,99999\n"),
            "line 3: label = 99999 is not between 0 and 65535".into(),
        ),
        (head, "labels = [] is empty; a file needs at least one utterance".into()),
    ] {
        assert_eq!(error(text.as_bytes()), format!("x: {problem}"));
    }
    assert_eq!(error(b"\xff\xfet\0"), "x: is text in UTF-16; save it as UTF-8");
    assert_eq!(error(b"\0\x01\x02"), "x: is no file of spikes that is read: HDF5, .npz or CSV");
}

/// A number of a row of them.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

#[test]
fn damaged_files_are_refused_or_valid_and_can_be_converted() {
    let names = ["small.npz", "records.npz", "raster.npz", "half.npz"];
    let files = names.map(fixture).into_iter().chain([CSV.as_bytes().to_vec()]);
    let options = Options { step_ms: Some(10.0), ..Options::default() };
    let (mut state, mut valid) = (1, 0);
    for file in files {
        for _ in 0..1500 {
            let mut damaged = arrays_of(&file);
            for _ in 0..1 + next(&mut state) % 3 {
                let n = next(&mut state) % damaged.len();
                let (_, bytes) = &mut damaged[n];
                let at = next(&mut state) % bytes.len();
                let values = [0, 255, b',', b'9', b'f', next(&mut state) as u8];
                bytes[at] = values[next(&mut state) % values.len()];
            }
            let again: Vec<_> = damaged.iter().map(|(name, b)| (&**name, &b[..])).collect();
            let bytes = match &again[..] {
                [("", text)] => text.to_vec(),
                arrays => zip(arrays, CompressionMethod::Stored),
            };
            match spikes::from_bytes(bytes, "x", &options) {
                Ok(read) => {
                    read.validate().unwrap();
                    valid += 1;
                    let Ok(written) = shd::to_bytes(&read) else { continue };
                    let again = spikes::from_bytes(written, "x", &Options::default()).unwrap();
                    let format = polychron_datasets::TimeFormat::F32;
                    let read = Recordings { time_format: format, ..read };
                    assert_eq!((&again.about, &again.keys), (&read.about, &read.keys));
                    assert!(again == read);
                }
                Err(e) => assert!(!e.to_string().contains(char::is_control), "{e}"),
            }
        }
    }
    assert!((500..7000).contains(&valid), "{valid}");
}

/// The arrays of an archive by name; another file is one without a name.
fn arrays_of(file: &[u8]) -> Vec<(String, Vec<u8>)> {
    let Ok(mut archive) = zip::ZipArchive::new(Cursor::new(file)) else {
        return vec![(String::new(), file.to_vec())];
    };
    let count = archive.len();
    let entry = |n| {
        let mut entry = archive.by_index(n).unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        (entry.name().unwrap().into_owned(), bytes)
    };
    (0..count).map(entry).collect()
}

#[test]
fn labels_may_be_absent_where_none_are_asked_for() {
    let options = Options { unlabelled: true, step_ms: Some(10.0), ..Options::default() };
    let unknown = |bytes: Vec<u8>, expected: &Recordings| {
        let error = spikes::from_bytes(bytes.clone(), "x", &Options::default()).unwrap_err();
        assert!(error.to_string().contains("label"), "{error}");
        let read = spikes::from_bytes(bytes, "x", &options).unwrap();
        assert_eq!(read.keys, ["unknown"]);
        assert_eq!(read.items.len(), expected.items.len());
        for (read, item) in read.items.iter().zip(&expected.items) {
            assert_eq!((&read.times, &read.units, read.label), (&item.times, &item.units, 0));
        }
    };
    for name in ["small", "raster"] {
        let mut arrays = arrays_of(&fixture(&format!("{name}.npz")));
        arrays.retain(|(name, _)| !name.starts_with("label"));
        let arrays: Vec<_> = arrays.iter().map(|(name, bytes)| (&**name, &bytes[..])).collect();
        unknown(zip(&arrays, CompressionMethod::Stored), &npz(name));
    }
    let text = "time,unit,item\n0.5,3,a\n,,b\n";
    unknown(text.into(), &read(b"time,unit,item,label\n0.5,3,a,1\n,,b,0\n"));
    // Labels that are there are read.
    let read = spikes::from_bytes(fixture("small.npz"), "x", &options).unwrap();
    assert!(read == npz("small"));
}
