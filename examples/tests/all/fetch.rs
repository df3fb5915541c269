//! The command `data fetch` with a local server.

#[path = "../server/mod.rs"]
mod server;

use md5::{Digest, Md5};
use serde_json::{Value, json};
use server::{Answer, Server};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// An empty folder with a list of sources: a server publishes the same file as both files of SHD.
fn sources(name: &str, server: &Server, file: &[u8]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fetch_{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let md5: String = Md5::digest(file).iter().map(|b| format!("{b:02x}")).collect();
    let entry = |name: &str| {
        let url = server.url(name);
        format!("[[shd]]\nurl = {url:?}\nmd5 = {md5:?}\nto = {name:?}\nmax_mib = 1\n")
    };
    let text = entry("shd_train.h5.gz") + &entry("shd_test.h5.gz");
    fs::write(folder.join("sources.toml"), text).unwrap();
    folder
}

fn fixture() -> Vec<u8> {
    let path = "tests/fixtures/big_endian.h5.gz";
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn polychron(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polychron"));
    command.current_dir(folder).env_remove("POLYCHRON_DATA").args(args).output().unwrap()
}

const FETCH: [&str; 7] = ["data", "fetch", "shd", "--dir", "data", "--sources", "sources.toml"];

#[test]
fn fetched_data_can_be_trained_on() {
    let file = fixture();
    let server = Server::new(&file, &[Answer::Cut(500), Answer::Right]);
    let folder = sources("train", &server, &file);
    let output = polychron(&folder, &FETCH);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines, "data/shd_train.h5.gz: fetched\ndata/shd_test.h5.gz: fetched\n");
    assert_eq!(server.asked(), [None, Some(500), None]);

    let mut train = vec!["train", "--preset", "shd", "--data", "data", "--json"];
    for set in ["train.epochs=1", "network.hidden=[8]", "network.max_delay=6", "data.binning=fixed"]
    {
        train.extend(["--set", set]);
    }
    let output = polychron(&folder, &train);
    assert!(output.status.success(), "{output:?}");
    let report = String::from_utf8(output.stdout).unwrap();
    let report: Value = serde_json::from_str(report.lines().last().unwrap()).unwrap();
    assert_eq!((&report["train_items"], &report["test_items"]), (&json!(4), &json!(4)));

    let output = polychron(&folder, &[&FETCH[..], &["--json"]].concat());
    let again: Value = serde_json::from_slice(&output.stdout).unwrap();
    let there = |file| json!({"file": file, "outcome": "present"});
    let files = [there("shd_train.h5.gz"), there("shd_test.h5.gz")];
    assert_eq!(again, json!({"name": "shd", "dir": "data", "files": files}));
    assert_eq!(server.asked().len(), 3);
}

/// Runs a command that must fail, and returns its error, a single line.
fn fails(folder: &Path, args: &[&str]) -> String {
    let output = polychron(folder, args);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.starts_with("error: ") && line.lines().count() == 1, "{line}");
    line
}

#[test]
fn failures_are_one_line() {
    let file = fixture();
    let server = Server::new(&file, &[Answer::Status(404), Answer::Wrong]);
    let folder = sources("fails", &server, &file);
    let line = fails(&folder, &FETCH);
    assert!(line.contains(&server.url("shd_train.h5.gz")) && line.contains("404"), "{line}");
    assert!(fails(&folder, &FETCH).contains("MD5"));
    assert_eq!(fs::read_dir(folder.join("data")).unwrap().count(), 0);

    let line = fails(&folder, &["data", "fetch", "mnist", "--dir", "data"]);
    assert!(line.contains("mnist") && line.contains("gsc, shd, ssc"), "{line}");
    fs::write(folder.join("sources.toml"), "[[shd]]\nurl = 1").unwrap();
    assert!(fails(&folder, &FETCH).contains("sources.toml:2: "));
}

/// Downloads under a limit of the shell.
#[cfg(target_os = "linux")]
fn limited(folder: &Path, limit: &str) -> Output {
    let script = format!("trap '' XFSZ; ulimit {limit}; exec \"$@\"");
    let mut command = Command::new("sh");
    command.current_dir(folder).args(["-c", &script, "sh", env!("CARGO_BIN_EXE_polychron")]);
    command.args(FETCH).output().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn an_archive_larger_than_memory_can_be_fetched() {
    let file = vec![7; 160 << 20];
    let server = Server::new(&file, &[Answer::Right]);
    let folder = sources("larger", &server, &file);
    let list = fs::read_to_string(folder.join("sources.toml")).unwrap();
    fs::write(folder.join("sources.toml"), list.replace("max_mib = 1", "max_mib = 200")).unwrap();
    let output = limited(&folder, "-v 120000");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::metadata(folder.join("data/shd_test.h5.gz")).unwrap().len(), 160 << 20);
    fs::remove_dir_all(folder).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_write_failure_is_reported_and_can_be_retried() {
    let file = fixture();
    let server = Server::new(&file, &[Answer::Right]);
    let folder = sources("limited", &server, &file);
    let output = limited(&folder, "-f 1");
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.starts_with("error: data/shd_train.h5.gz.part: File too large"), "{line}");
    assert_eq!((output.status.code(), line.lines().count(), server.asked().len()), (Some(1), 1, 1));
    assert!(!folder.join("data/shd_train.h5.gz").exists());
    assert!(polychron(&folder, &FETCH).status.success());
    assert!(fs::read(folder.join("data/shd_train.h5.gz")).unwrap() == file);
}
