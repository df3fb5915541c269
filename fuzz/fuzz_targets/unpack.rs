#![no_main]
//! Unpacking any bytes leaves the right files with their sums and within the size limit, or an
//! error of one line and no files. Nothing is written outside the folder.

use std::fs;
use std::io::Write;
use std::path::Path;

use arbitrary::{Result, Unstructured};
use flate2::{Compression, write::GzEncoder};
use libfuzzer_sys::fuzz_target;
use md5::{Digest, Md5};
use polychron_datasets::fetch::{Outcome, RetryPolicy, Sources, fetch};
use polychron_fuzz::memory::within;

const MIB: u64 = 1 << 20;
/// Memory in bytes for an archive of a few KiB: blocks, threads and windows of a fixed size.
const MEMORY: usize = 4 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((&form, bytes)) = data.split_first() else { return };
    let forms =
        [("a.gz", "a"), ("a.zip", "a"), ("a.zip", "a/"), ("a.tar.gz", "a"), ("a.tar.gz", "a/")];
    let (name, to) = forms[usize::from(form) % forms.len()];
    let drawn = name == "a.tar.gz" && form >= 128;
    let bytes = if drawn { &packed(&tar(bytes))[..] } else { bytes };

    let outside = std::env::temp_dir().join(format!("polychron-unpack-{}", std::process::id()));
    let folder = outside.join("folder");
    let _ = fs::remove_dir_all(&outside);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
    let sum: String = Md5::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    let text = format!(
        "[[set]]\nurl = \"http://127.0.0.1:1/{name}\"\nmd5 = \"{sum}\"\nto = \"{to}\"\nmax_mib = 1"
    );
    let sources = Sources::from_toml(&text, "fuzz").unwrap();
    let archive = &sources.archives("set").unwrap()[0];
    let policy = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
    let get = || fetch(archive, &folder, &policy, &mut |_| ());

    let mut left = vec![name];
    match within(MEMORY, &get) {
        Ok(outcome) => {
            assert_eq!(outcome, Outcome::Unpacked);
            assert_eq!(get().unwrap(), Outcome::Present);
            assert!(size(&folder.join("a")) <= MIB);
            left.extend(["a", "a.md5"]);
            left.sort_unstable();
        }
        Err(failure) => assert!(!failure.to_string().contains(char::is_control), "{failure}"),
    }
    assert_eq!(list(&folder), left);
    assert_eq!(list(&outside), ["folder"]);
    fs::remove_dir_all(&outside).unwrap();
});

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// A tar file whose headers have the right checksums.
fn tar(bytes: &[u8]) -> Vec<u8> {
    let (mut bytes, mut out) = (Unstructured::new(bytes), Vec::new());
    while !bytes.is_empty() && entry(&mut bytes, &mut out).is_ok() {}
    out
}

fn entry(bytes: &mut Unstructured, out: &mut Vec<u8>) -> Result<()> {
    let [kind, name, contents, more]: [u8; 4] = bytes.arbitrary()?;
    let (name, contents) = (bytes.bytes(usize::from(name) % 101)?, bytes.bytes(contents.into())?);
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_size(contents.len() as u64 + u64::from(more / 128));
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(contents);
    out.resize(out.len().next_multiple_of(512), 0);
    Ok(())
}

fn size(path: &Path) -> u64 {
    let about = fs::symlink_metadata(path).unwrap();
    assert!(about.is_file() || about.is_dir());
    if about.is_file() {
        about.len()
    } else {
        list(path).iter().map(|name| size(&path.join(name))).sum()
    }
}

fn list(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        names.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}
