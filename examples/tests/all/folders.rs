//! Folders of recordings through the command line: what is understood is said.

use crate::cli::{Folder, last_line};
use crate::common::text;
use polychron_datasets::shd;
use std::fs;

/// A folder `wavs` of the same spoken word under several names.
fn folder(name: &str, files: &[&str]) -> Folder {
    let folder = Folder::new(&format!("folders-{name}"));
    for file in files {
        let path = folder.0.join("wavs").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy("tests/fixtures/commands/happy.wav", path).unwrap();
    }
    folder
}

/// Encodes `wavs`. Returns what is said and noted.
fn encode(folder: &Folder, args: &[&str]) -> [String; 2] {
    let encode = ["data", "encode", "wavs", "--encoder", "delta", "--out"];
    let output = folder.run(&[&encode[..], args].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    [text(&output.stdout), text(&output.stderr)]
}

#[test]
fn what_was_understood_is_said_and_written() {
    let files = ["train/yes/ann/0.wav", "train/no/ann/0.wav", "test/yes/ben/0.wav"];
    let folder = folder("parts", &files);
    let [said, notes] = encode(&folder, &["a.h5"]);
    let counts = "  no       1\n  yes      2\n  parts: train 2, test 1\n  2 speakers with 1 to 2 \
                  recordings\n";
    assert!(said.contains(counts), "{said}");
    assert_eq!(notes, "");
    let read = shd::read(folder.0.join("a.h5"), &shd::Options::default()).unwrap();
    assert_eq!(read.about.names[0], "test/yes/ben/0.wav");
    assert_eq!((read.about.speakers.len(), read.about.encoder.as_str()), (2, "delta"));

    fs::copy(folder.0.join("wavs").join(files[0]), folder.0.join("wavs/test/0.wav")).unwrap();
    fs::rename(folder.0.join("wavs/test/yes/ben"), folder.0.join("wavs/test/yes/ann")).unwrap();
    let [_, notes] = encode(&folder, &["b.h5"]);
    let lines: Vec<_> = notes.lines().collect();
    let speakers = "wavs: in more than one part: 1 of 1 speakers, such as ann in train, test";
    assert_eq!(lines[0], speakers);
    assert!(lines[1].starts_with("left out: wavs/test/0.wav: has no class"), "{notes}");
    let output = folder.run(&["data", "encode", "wavs", "--out", "c.h5", "--json"]);
    let report = last_line(&output);
    assert_eq!(report["counts"]["classes"], serde_json::json!({"no": 1, "yes": 2}));
    assert_eq!(report["counts"]["parts"], serde_json::json!({"train": 2, "test": 1}));
    assert_eq!(report["counts"]["speakers"], serde_json::json!({"ann": 3}));
    assert_eq!(report["notes"], serde_json::json!([speakers]));
    let line = folder.fail(&["data", "encode", "wavs", "--out", "d.h5", "--strict"]);
    assert!(line.ends_with("1 is left out without --strict"), "{line}");
}

#[test]
fn of_many_classes_some_are_shown() {
    let files: Vec<_> = (0..14).map(|n| format!("{n:02}/0.wav")).collect();
    let folder = folder("many", &files.iter().map(String::as_str).collect::<Vec<_>>());
    let [said, _] = encode(&folder, &["a.h5"]);
    let shown = said.lines().filter(|line| line.ends_with("      1")).count();
    assert_eq!(shown, 11, "{said}");
    assert!(said.contains("\n  10      1\n  3 further classes with 3\n"), "{said}");
}

#[test]
fn names_and_lists_are_options() {
    let folder = folder("names", &["yes_ann_0.wav", "no_ben_0.wav", "x.wav"]);
    let [said, notes] = encode(&folder, &["a.h5", "--name", "{class}_{speaker}_{index}"]);
    assert!(said.contains("2 recordings, 2 classes"), "{said}");
    assert!(said.contains("  2 speakers with 1 to 1 recordings\n"), "{said}");
    let reason = "left out: wavs/x.wav: does not match {class}_{speaker}_{index}\n";
    assert_eq!(notes, reason);
    let wrong = ["data", "encode", "wavs", "--out", "b.h5", "--name", "{word}"];
    let output = folder.run(&wrong);
    assert_eq!(output.status.code(), Some(2));
    let problem = "{word}: has {word}; the fields are {class}, {speaker}, {part}, {index} and {}";
    assert!(text(&output.stderr).contains(problem), "{}", text(&output.stderr));
    let list = "path,word\nx.wav,no\nyes_ann_0.wav,yes\ngone.wav,yes\n";
    fs::write(folder.0.join("list.csv"), list).unwrap();
    let args = ["b.h5", "--list", "list.csv", "--columns", "file=path,class=word"];
    let [said, notes] = encode(&folder, &args);
    assert!(said.contains("  no       1\n  yes      1\n"), "{said}");
    let lines: Vec<_> = notes.lines().collect();
    assert_eq!(lines[0], "list.csv: not in wavs: 1 of 3 recordings, such as gone.wav");
    let left_out = "list.csv: not listed and left out: 1 of 3 sound files in wavs, such as \
                    no_ben_0.wav";
    assert_eq!((lines[1], lines.len()), (left_out, 2));
    let strict = ["data", "encode", "wavs", "--strict", "--out"];
    let line = folder.fail(&[&strict[..], &["c.h5"], &args[1..]].concat());
    assert!(
        line.ends_with("wavs: missing recordings of the lists: 1; leave out --strict"),
        "{line}"
    );
    assert!(!folder.0.join("c.h5").exists());
    let line = folder.fail(&["data", "encode", "wavs", "--out", "c.h5", "--list", "list.csv"]);
    assert!(line.contains("has no column file, but path, word; --columns file=NAME"), "{line}");
}
