//! Unpacking of existing archives. The result is complete, listed with its sums, and inside the
//! folder, whatever the archive contains.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use crate::folder::{Folder, gzip, list, md5};
use polychron_datasets::Error;
use polychron_datasets::fetch::{Outcome, RetryPolicy, Sources, fetch};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

const MIB: usize = 1 << 20;

/// Writes an archive `name` into the folder and unpacks it to `to`, with a limit of 1 MiB. No
/// server is contacted.
fn unpack(folder: &Folder, name: &str, archive: &[u8], to: &str) -> Result<Outcome, Error> {
    folder.write(name, archive);
    again(folder, name, archive, to)
}

fn again(folder: &Folder, name: &str, archive: &[u8], to: &str) -> Result<Outcome, Error> {
    bounded(folder, name, archive, to, 1)
}

fn bounded(
    folder: &Folder,
    name: &str,
    archive: &[u8],
    to: &str,
    max_mib: u32,
) -> Result<Outcome, Error> {
    let sum = md5(archive);
    let text = format!(
        "[[set]]\nurl = \"http://127.0.0.1:1/{name}\"\nmd5 = \"{sum}\"\nto = \"{to}\"\nmax_mib = {max_mib}"
    );
    let sources = Sources::from_toml(&text, "test").unwrap();
    let policy = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
    fetch(&sources.archives("set").unwrap()[0], &folder.0, &policy, &mut |_| ())
}

/// A tar file of entries: name, type (b'0' file, b'5' folder), contents.
fn tar(entries: &[(&[u8], u8, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, kind, contents) in entries {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(tar::EntryType::new(*kind));
        header.set_size(contents.len() as u64);
        header.set_cksum();
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(contents);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// A compressed tar file.
fn packed_tar(entries: &[(&[u8], u8, &[u8])]) -> Vec<u8> {
    gzip(&tar(entries))
}

/// A zip file of entries: name and contents.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, contents) in entries {
        if name.ends_with('/') {
            zip.add_directory(*name, options).unwrap();
        } else {
            zip.start_file(*name, options).unwrap();
            zip.write_all(contents).unwrap();
        }
    }
    zip.finish().unwrap().into_inner()
}

/// A record of a pax header.
fn pax(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let digits = (1..).find(|d| (d + rest.len()).to_string().len() == *d).unwrap();
    format!("{}{rest}", digits + rest.len()).into_bytes()
}

#[test]
fn a_file_is_extracted_from_every_kind_of_archive() {
    let file = b"spikes".as_slice();
    let archives = [
        ("a.h5.gz", gzip(file)),
        ("b.h5.zip", zip(&[("a.h5", file)])),
        ("c.zip", zip(&[("some/", b""), ("some/notes", b"?"), ("some/a.h5", file)])),
        (
            "d.tar.gz",
            packed_tar(&[(b"./", b'5', b""), (b"./notes", b'0', b"?"), (b"./a.h5", b'0', file)]),
        ),
    ];
    for (name, archive) in archives {
        let folder = Folder::new("file");
        assert_eq!(unpack(&folder, name, &archive, "a.h5").unwrap(), Outcome::Unpacked, "{name}");
        assert!(folder.read("a.h5") == file && folder.read(name) == archive, "{name}");
        let sums = format!("# {} {name}\n{}  a.h5\n", md5(&archive), md5(file));
        assert_eq!(String::from_utf8(folder.read("a.h5.md5")).unwrap(), sums);
        assert_eq!(folder.list().len(), 3, "{name}");
        fs::remove_file(folder.0.join(name)).unwrap();
        assert_eq!(again(&folder, name, &archive, "a.h5").unwrap(), Outcome::Present, "{name}");
    }
}

#[test]
fn an_archive_is_unpacked_into_a_folder() {
    let long = format!("yes/{}.wav", "n".repeat(180));
    let (record, mut zeroed) = (pax("path", "./no/µ.wav"), long.clone().into_bytes());
    zeroed.push(0);
    let archives = [
        (
            "words.tar.gz",
            packed_tar(&[
                (b"pax_global_header", b'g', &pax("comment", "none")),
                (b"./", b'5', b""),
                (b"./yes/", b'5', b""),
                (b"./empty/", b'5', b""),
                (b"././@LongLink", b'L', &zeroed),
                (b"yes/n", b'0', b"one"),
                (b"./PaxHeaders/x", b'x', &record),
                (b"./no/x", b'0', b"two"),
            ]),
        ),
        ("words.zip", zip(&[("empty/", b""), (&long, b"one"), ("no/µ.wav", b"two")])),
    ];
    for (name, archive) in archives {
        let folder = Folder::new("words");
        assert_eq!(unpack(&folder, name, &archive, "words/").unwrap(), Outcome::Unpacked, "{name}");
        assert_eq!(folder.list(), ["words", "words.md5", name], "{name}");
        assert_eq!(list(&folder.0.join("words")), ["empty", "no", "yes"], "{name}");
        assert_eq!(folder.read(&format!("words/{long}")), b"one", "{name}");
        assert_eq!(folder.read("words/no/µ.wav"), b"two", "{name}");
        let sums = String::from_utf8(folder.read("words.md5")).unwrap();
        assert!(sums.contains(&format!("{}  words/no/µ.wav\n", md5(b"two"))), "{sums}");

        assert_eq!(again(&folder, name, &archive, "words/").unwrap(), Outcome::Present, "{name}");
        folder.write("words/no/µ.wav", b"too");
        let line = again(&folder, name, &archive, "words/").unwrap_err().to_string();
        assert!(
            line.contains("words/no/µ.wav: MD5 = ") && line.contains("move words away"),
            "{line}"
        );
        fs::remove_file(folder.0.join("words/no/µ.wav")).unwrap();
        let line = again(&folder, name, &archive, "words/").unwrap_err().to_string();
        assert!(line.contains("words/no/µ.wav: ") && line.contains("move words away"), "{line}");
    }
}

#[test]
fn existing_files_are_not_overwritten() {
    let (archive, folder) = (zip(&[("a.h5", b"spikes")]), Folder::new("kept"));
    folder.write("a.h5", b"somebody's own");
    let line = unpack(&folder, "a.zip", &archive, "a.h5").unwrap_err().to_string();
    assert!(line.contains("a.h5: exists") && line.contains("move it away"), "{line}");
    folder.write("a.h5.md5", b"# of another archive\n");
    assert!(again(&folder, "a.zip", &archive, "a.h5").is_err());
    assert_eq!(folder.read("a.h5"), b"somebody's own");
    assert_eq!(folder.list(), ["a.h5", "a.h5.md5", "a.zip"]);

    fs::remove_file(folder.0.join("a.h5")).unwrap();
    let line = again(&folder, "a.zip", &archive, "a.h5").unwrap_err().to_string();
    assert!(line.contains("a.h5.md5: exists") && line.contains("move it away"), "{line}");
    assert_eq!(folder.read("a.h5.md5"), b"# of another archive\n");

    fs::remove_file(folder.0.join("a.h5.md5")).unwrap();
    folder.write("a.zip", b"somebody's own");
    let line = again(&folder, "a.zip", &archive, "a.h5").unwrap_err().to_string();
    assert!(line.contains("a.zip: MD5 = ") && line.contains("move the file away"), "{line}");
    assert_eq!(folder.read("a.zip"), b"somebody's own");
}

#[test]
fn leftovers_of_an_interrupted_unpacking_are_replaced() {
    let (archive, folder) = (zip(&[("b", b"new")]), Folder::new("rests"));
    fs::create_dir_all(folder.0.join(".words.tmp/old")).unwrap();
    folder.write("words.md5", b"# 00112233445566778899aabbccddeeff gone.zip\n");
    unpack(&folder, "words.zip", &archive, "words/").unwrap();
    assert_eq!(folder.list(), ["words", "words.md5", "words.zip"]);
    assert_eq!(list(&folder.0.join("words")), ["b"]);
    assert_eq!(again(&folder, "words.zip", &archive, "words/").unwrap(), Outcome::Present);
}

/// Unpacks an archive to a file and to a folder. Checks that both fail in one line with these
/// words, and that nothing is left inside or outside the folder.
fn refused(name: &str, archive: &[u8], words: &[&str]) {
    let test = std::thread::current().name().unwrap().replace("::", "_");
    let outer = Folder::new(&format!("hostile_{test}"));
    let folder = Folder(outer.0.join("data"));
    fs::create_dir(&folder.0).unwrap();
    outer.write("victim", b"safe");
    for to in ["a.h5", "a/"] {
        let line = unpack(&folder, name, archive, to).unwrap_err().to_string();
        assert!(line.contains(name) && line.lines().count() == 1 && line.len() < 600, "{line}");
        words.iter().for_each(|word| assert!(line.contains(word), "{word}: {line}"));
        assert_eq!(folder.list(), [name], "{line}");
        assert_eq!(outer.list(), ["data", "victim"], "{line}");
        assert_eq!(outer.read("victim"), b"safe", "{line}");
    }
}

#[test]
fn no_entry_leaves_the_folder() {
    let names = [
        "../victim",
        "a/../../victim",
        "./../victim",
        "a/..",
        "/tmp/victim",
        "//victim",
        "..",
        "/",
        "..\\victim",
        "a\\b",
        "new\nline",
        "a\u{1b}[2J",
    ];
    for name in names {
        let shown = name.escape_debug().to_string();
        let bytes = name.as_bytes();
        refused(
            "t.tar.gz",
            &packed_tar(&[(b"a.h5", b'0', b"x"), (bytes, b'0', b"hurt")]),
            &["entry = ", &shown],
        );
        refused("t.tar.gz", &packed_tar(&[(bytes, b'5', b"")]), &["entry = ", &shown]);
        let record = pax("path", name);
        if !name.contains('\n') {
            let long = packed_tar(&[(b"x", b'x', &record), (b"a.h5", b'0', b"hurt")]);
            refused("t.tar.gz", &long, &["entry = ", &shown]);
        }
        let long = packed_tar(&[(b"x", b'L', bytes), (b"a.h5", b'0', b"hurt")]);
        refused("t.tar.gz", &long, &["entry = ", &shown]);
        if !name.ends_with('/') {
            refused("z.zip", &zip(&[("a.h5", b"x"), (name, b"hurt")]), &["entry = "]);
        }
    }
    refused("t.tar.gz", &packed_tar(&[(b"\xff\xfe", b'0', b"x")]), &["entry = ", "UTF-8"]);
}

#[test]
fn entries_are_files_or_folders() {
    for (kind, word) in [
        (b'1', "link"),
        (b'2', "link"),
        (b'K', "link"),
        (b'3', "neither"),
        (b'4', "neither"),
        (b'6', "neither"),
        (b'S', "neither"),
        (b'?', "neither"),
    ] {
        let through: [(&[u8], u8, &[u8]); 2] = [(b"a", kind, b""), (b"a/b", b'0', b"hurt")];
        refused("t.tar.gz", &packed_tar(&through), &["entry = a ", word]);
    }
    let mut links = ZipWriter::new(Cursor::new(Vec::new()));
    links.add_symlink("a", "..", SimpleFileOptions::default()).unwrap();
    links.start_file("a/victim", SimpleFileOptions::default()).unwrap();
    refused("z.zip", &links.finish().unwrap().into_inner(), &["entry = a ", "link"]);
}

#[test]
fn duplicate_entries_are_refused() {
    let twice: [(&[u8], u8, &[u8]); 2] = [(b"a.h5", b'0', b"x"), (b"./a.h5", b'0', b"y")];
    let folder = Folder::new("twice");
    for to in ["a.h5", "a/"] {
        assert!(unpack(&folder, "t.tar.gz", &packed_tar(&twice), to).is_err());
        assert_eq!(folder.list(), ["t.tar.gz"]);
    }
    let line =
        unpack(&folder, "t.tar.gz", &packed_tar(&[(b"b.h5", b'0', b"")]), "a.h5").unwrap_err();
    assert!(line.to_string().contains("holds no file named a.h5"), "{line}");
}

#[test]
fn nothing_unpacks_to_more_than_its_limit() {
    let (zeros, small) = (vec![0; MIB + 1], vec![0; MIB - 4096]);
    let bound = ["max_mib = 1"];
    refused("z.zip", &zip(&[("a.h5", &zeros)]), &bound);
    refused("t.tar.gz", &packed_tar(&[(b"a.h5", b'0', &zeros)]), &bound);
    refused("t.tar.gz", &packed_tar(&[(b"other", b'0', &zeros)]), &bound);
    refused("t.tar.gz", &gzip(&vec![0; 2 * MIB]), &bound);
    refused(
        "t.tar.gz",
        &packed_tar(&vec![(b"d".as_slice(), b'5', b"".as_slice()); MIB / 512]),
        &bound,
    );
    refused(
        "t.tar.gz",
        &packed_tar(&[(b"x", b'L', &vec![b'n'; 1 << 17]), (b"a.h5", b'0', b"")]),
        &["extended header"],
    );
    let folder = Folder::new("bound");
    assert!(
        unpack(&folder, "a.h5.gz", &gzip(&zeros), "a.h5")
            .unwrap_err()
            .to_string()
            .contains(bound[0])
    );
    let halves = zip(&[("a", &zeros[..MIB / 2 + 1]), ("b", &zeros[..MIB / 2])]);
    assert!(unpack(&folder, "z.zip", &halves, "a/").unwrap_err().to_string().contains(bound[0]));
    assert_eq!(folder.list(), ["a.h5.gz", "z.zip"]);
    unpack(&folder, "t.tar.gz", &packed_tar(&[(b"a.h5", b'0', &small)]), "a/").unwrap();
}

#[test]
fn names_take_no_more_memory_than_their_limit() {
    let name = [b'n'; 60 << 10];
    let entry: [(&[u8], u8, &[u8]); 2] = [(b"x", b'L', &name), (b"x", b'0', b"")];
    let folder = Folder::new("names");
    for (entries, words) in [(700, "holds no file named a.h5"), (750, "holds too many files")] {
        let archive = packed_tar(&entry.repeat(entries));
        folder.write("t.tar.gz", &archive);
        let line = bounded(&folder, "t.tar.gz", &archive, "a.h5", 100).unwrap_err().to_string();
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn headers_that_change_other_entries_are_refused() {
    for key in ["size", "GNU.sparse.map"] {
        let record = pax(key, "1");
        refused(
            "t.tar.gz",
            &packed_tar(&[(b"x", b'x', &record), (b"a.h5", b'0', b"spikes")]),
            &[key],
        );
    }
}

#[test]
fn damaged_archives_give_an_error_and_leave_nothing() {
    let contents: Vec<u8> = (0..2000u32).flat_map(|i| (i * i).to_le_bytes()).collect();
    let archives = [
        ("a.h5.gz", gzip(&contents)),
        ("z.zip", zip(&[("a.h5", &contents), ("b", b"x")])),
        ("t.tar.gz", packed_tar(&[(b"a.h5", b'0', &contents)])),
        ("t.tar.gz", tar(&[(b"a.h5", b'0', &contents)])),
    ];
    let folder = Folder::new("damaged");
    let mut seen = [0, 0];
    for (name, archive) in &archives {
        for n in 0..200 {
            let mut damaged = archive.clone();
            let at = n * 7919 % damaged.len();
            if n % 4 == 0 {
                damaged.truncate(at)
            } else {
                damaged[at] ^= 1 << (n % 8)
            }
            let result = unpack(&folder, name, &damaged, "a.h5");
            let left = folder.list();
            match &result {
                Ok(_) => assert_eq!(left, ["a.h5", "a.h5.md5", name], "{name} {n}"),
                Err(error) => {
                    assert_eq!(left, [*name], "{name} {n}: {error}");
                    assert_eq!(error.to_string().lines().count(), 1, "{error}");
                }
            }
            seen[usize::from(result.is_ok())] += 1;
            if result.is_ok() {
                // The checksum of the format has caught what the MD5 sum could not.
                assert!(folder.read("a.h5") == contents, "{name} {n}");
                fs::remove_file(folder.0.join("a.h5")).unwrap();
                fs::remove_file(folder.0.join("a.h5.md5")).unwrap();
            }
        }
        fs::remove_file(folder.0.join(name)).unwrap();
    }
    assert!(seen[0] > 300, "{seen:?}");
}

#[test]
fn control_characters_in_an_archive_are_escaped_in_errors() {
    let mut archive = tar(&[(b"\x1b[2Ja\nb", b'0', b"")]);
    archive[148..156].copy_from_slice(b"?\x07\r\n    ");
    refused("lines.tar.gz", &gzip(&archive), &["lines.tar.gz: ", "\\u{1b}[2Ja\\nb", "\\r\\n"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported_and_leaves_no_partial_file() {
    let Some(disk) = crate::folder::Disk::new("full_unpack", 1) else {
        eprintln!("skipped: a file system of 1 MiB cannot be mounted here");
        return;
    };
    let zeros = vec![0; MIB];
    let folder = Folder(disk.0.clone());
    for (archive, to) in [(zip(&[("a.h5", &zeros)]), "a.h5"), (zip(&[("d/a.h5", &zeros)]), "a/")] {
        let line = unpack(&folder, "z.zip", &archive, to).unwrap_err().to_string();
        assert!(line.contains("a.h5: No space left on device"), "{line}");
        assert!(Path::new(&folder.0).join("z.zip").exists());
        assert_eq!(folder.list(), ["z.zip"]);
    }
    let small = zip(&[("a.h5", &zeros[..MIB / 2])]);
    unpack(&folder, "z.zip", &small, "a.h5").unwrap();
}
