//! Writes `seeds/`: the model file that is kept of every version, and small ones of every kind of
//! weights, input and delivery; an archive of every form; lists.

use arbitrary::Unstructured;
use flate2::{Compression, write::GzEncoder};
use polychron_core::format::{Input, Scheme};
use polychron_core::quant::{LayerSpec, ModelSpec};
use polychron_core::rng::Rng;
use polychron_fuzz::kind::Kind;
use polychron_fuzz::network::draw;
use std::io::{Cursor, Result, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Most bytes of a model file.
const SMALL: usize = 2400;
/// Bytes of input behind it.
const INPUT: usize = 64;

fn main() -> Result<()> {
    let golden = std::fs::read("../core/tests/golden/small.pcn")?;
    save("parse_model", "small", &[&golden])?;
    save("parse_then_run", "small", &[&golden, &bytes(0)[..INPUT]])?;
    for input in [Input::Spikes, Input::Values] {
        for ring in [false, true] {
            one::<i8>("i8", input, ring)?;
            one::<f32>("f32", input, ring)?;
        }
    }
    // More than one group of sources, and more targets than a group has synapses.
    let wide = |of: fn(&ModelSpec<i8>) -> usize| {
        find(move |spec: &ModelSpec<i8>, _| of(spec) > 256 && spec.layers[0].synapses.len() > 256)
    };
    save("engine_vs_reference", "many-inputs", &[&wide(|spec| spec.channels).0])?;
    save("engine_vs_reference", "many-outputs", &[&wide(|spec| spec.layers[0].outputs).0])?;
    archives()?;
    let deep = |n| format!("k{n:02}.{}=0\n", vec!["a"; 79].join("."));
    save("read_config", "deep", &[(0..24).map(deep).collect::<String>().as_bytes()])?;
    let mut full = gzip();
    let [n, steps, channels] = [1u16, 65, 64_528].map(u16::to_le_bytes);
    full.write_all(&[b"SPK1", &n[..], &steps, &channels, &[0, 65]].concat())?;
    full.write_all(&vec![255; 65 * 64_528 / 8])?;
    save("read_digits", "full", &[&full.finish()?])?;
    save("read_lists", "sources", &[&std::fs::read("../datasets/data/sources.toml")?])?;
    spikes()?;
    save("read_lists", "split", &[br#"{"val": [3, 7], "test": [60, 61]}"#])
}

/// Files of spikes: the arrays and the text of a few, and those of the tests as they are.
fn spikes() -> Result<()> {
    let array = |descr: &str, shape: &str, data: &[u8]| {
        let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
        let len = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &len[..], header.as_bytes(), data].concat()
    };
    let named =
        |name: u8, file: Vec<u8>| [&[name][..], &(file.len() as u16).to_le_bytes(), &file].concat();
    let times: Vec<u8> = [0.5f32, 0.25, 1.0].iter().flat_map(|t| t.to_le_bytes()).collect();
    let labels = named(3, array("'|b1'", "(2,)", &[0, 1]));
    let more = [
        named(4, array("'<U1'", "(2,)", &[65, 0, 0, 0, 66, 0, 0, 0])),
        named(6, array("'|S5'", "(2,)", b"traintest\0")),
        named(7, array("'|S1'", "(2,)", b"ab")),
        named(8, array("'>i2'", "()", &[0, 9])),
    ];
    let events = [
        named(0, array("'<f4'", "(3,)", &times)),
        named(1, array("'|u1'", "(3,)", &[0, 5, 2])),
        named(2, array("'<i2'", "(3, 1)", &[1, 0, 0, 0, 1, 0])),
    ];
    let arrays = [&events.concat()[..], &labels, &more.concat()].concat();
    let record =
        array("[('t', '|u1'), ('x', '|u1'), ('item', '|u1')]", "(2,)", &[1, 2, 0, 0, 1, 1]);
    let record = [labels.clone(), named(11, record)].concat();
    let cells = array("'|u1'", "(2, 2, 2)", &[0, 1, 0, 0, 2, 0, 0, 1]);
    let raster = [labels, named(10, cells)].concat();
    for (name, arrays) in [("events", arrays), ("record", record), ("raster", raster)] {
        save("read_npz", name, &[&[0x20], &arrays])?;
        save("convert", name, &[&[0xa0], &arrays])?;
    }
    let text = b"time;unit;item;label;speaker;part;name\n0.5;5;b;one;F;train;x\n;;c;two;G;dev;\n";
    save("read_csv", "table", &[&[0x80], text])?;
    save("read_csv", "rows", &[&[0], b"0.5,5,1,0\n\n1e-1,7,0,1\r\n,,2,1\n"])?;
    save("convert", "table", &[&[0], text])?;
    for file in ["small.npz", "packed.npz", "records.npz", "raster_bool.npz"] {
        let bytes = std::fs::read(format!("../datasets/tests/fixtures/{file}"))?;
        save("read_npz", file, &[&[0xa0], &bytes])?;
    }
    let bytes = std::fs::read("../datasets/tests/fixtures/small.h5.zip")?;
    save("convert", "small", &[&[0], &bytes])
}

/// A folder, some notes and the file that is asked for, in every form that `unpack` tells by its
/// first byte.
fn archives() -> Result<()> {
    let (notes, file) = (b"notes".as_slice(), b"spikes".as_slice());
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    zip.add_directory("b/", options)?;
    for (name, contents) in [("b/notes", notes), ("b/a", file)] {
        zip.start_file(name, options)?;
        zip.write_all(contents)?;
    }
    let zip = zip.finish()?.into_inner();
    let mut tar = tar::Builder::new(gzip());
    for (name, contents) in [("b/notes", notes), (&format!("{}/a", "b".repeat(200)), file)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(contents.len() as u64);
        tar.append_data(&mut header, name, contents)?;
    }
    let tar = tar.into_inner()?.finish()?;
    let entry = |kind, name: &[u8], contents: &[u8]| {
        [&[kind, name.len() as u8, contents.len() as u8, 0], name, contents].concat()
    };
    let drawn = [
        entry(b'5', b"./b", b""),
        entry(b'0', b"b/notes", notes),
        entry(b'x', b"", b"13 path=b/a\n"),
        entry(b'0', b"", file),
        entry(b'2', b"../b", b""),
    ];
    let mut packed = gzip();
    packed.write_all(file)?;
    save("unpack", "gz", &[b"\x00", &packed.finish()?])?;
    for (file, folder, name, archive) in [
        (b"\x01", b"\x02", "zip", &zip),
        (b"\x03", b"\x04", "tar", &tar),
        (b"\x80", b"\x81", "drawn", &drawn[..4].concat()),
        (b"\x80", b"\x81", "link", &drawn.concat()),
    ] {
        save("unpack", name, &[file, archive])?;
        save("unpack", &format!("{name}-folder"), &[folder, archive])?;
    }
    Ok(())
}

fn gzip() -> GzEncoder<Vec<u8>> {
    GzEncoder::new(Vec::new(), Compression::default())
}

/// The seeds of a kind.
fn one<W: Kind>(weights: &str, input: Input, ring: bool) -> Result<()> {
    let (drawn, file) = find(|spec: &ModelSpec<W>, file| {
        let is_ring = |layer: &LayerSpec<W>| matches!(layer.scheme, Scheme::Ring { .. });
        file.len() < SMALL
            && spec.input == input
            && spec.layers.len() > 1
            && spec.layers.iter().all(|layer| layer.synapses.len() > 4)
            && spec.layers.iter().any(is_ring) == ring
    });
    let name = format!("{input:?}-{}-{weights}", if ring { "ring" } else { "groups" });
    let name = name.to_lowercase();
    save("parse_model", &name, &[&file])?;
    save("parse_then_run", &name, &[&file, &drawn[..INPUT]])?;
    save("roundtrip", &name, &[&[u8::from(weights == "i8")], &drawn])?;
    if weights == "i8" {
        save("engine_vs_reference", &name, &[&drawn])?;
    }
    Ok(())
}

/// The first network of its kind that can be written: the bytes it is drawn from, and its file.
fn find<W: Kind>(wanted: impl Fn(&ModelSpec<W>, &[u8]) -> bool) -> (Vec<u8>, Vec<u8>) {
    let network = |seed| {
        let bytes = bytes(seed);
        let spec = draw::<W>(&mut Unstructured::new(&bytes)).ok()?;
        let file = spec.to_bytes().ok().filter(|file| wanted(&spec, file))?;
        Some((bytes, file))
    };
    (0..).find_map(network).unwrap()
}

fn bytes(seed: u64) -> Vec<u8> {
    let rng = Rng::new(seed, 78);
    (0..256).flat_map(|n| rng.bits(n).to_le_bytes()).collect()
}

fn save(target: &str, name: &str, parts: &[&[u8]]) -> Result<()> {
    let folder = format!("seeds/{target}");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(format!("{folder}/{name}"), parts.concat())
}
