//! What folders, names and lists say about recordings.

use std::fs;
use std::path::{Path, PathBuf};

use polychron_core::rng::Rng;
use polychron_datasets::encode::{self, Encoder, Naming, Report};
use polychron_datasets::{Recordings, shd};

use crate::wav::Wav;

/// A folder of short tones.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[&str]) -> Self {
        let folder = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join("folders").join(name));
        let _ = fs::remove_dir_all(&folder.0);
        fs::create_dir_all(&folder.0).unwrap();
        files.iter().for_each(|file| folder.add(file));
        folder
    }

    fn add(&self, file: &str) {
        let samples: Vec<i16> = (0..1600).map(|n| 9000 * ((n / 8) % 2) - 4500).collect();
        self.write(file, &Wav::of(&samples).bytes());
    }

    fn write(&self, file: &str, bytes: &[u8]) {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn encode(&self, naming: &Naming) -> Result<(Recordings, Report), String> {
        let encoded = encode::folder(&self.0, naming, Encoder::Delta, 1);
        encoded.map_err(|error| error.to_string())
    }

    /// A row of every recording: `name class speaker part`, with - for what is not known. They are
    /// the same after writing and reading.
    fn rows(&self, naming: &Naming) -> (Vec<String>, Report) {
        let (recordings, report) = self.encode(naming).unwrap();
        let bytes = shd::to_bytes(&recordings).unwrap();
        let read = shd::from_bytes(bytes, &recordings.source, &shd::Options::default());
        assert!(read.unwrap() == recordings);
        let Recordings { items, about, keys, .. } = recordings;
        let row = |n: usize| {
            let speaker = about.speakers.get(usize::from(items[n].speaker));
            let part = about.parts.get(n).map_or("-", |part| part.name());
            let (class, speaker) =
                (&keys[usize::from(items[n].label)], speaker.map(String::as_str));
            format!("{} {class} {} {part}", about.names[n], speaker.unwrap_or("-"))
        };
        ((0..items.len()).map(row).collect(), report)
    }

    fn error(&self, naming: &Naming) -> String {
        let error = self.encode(naming).map(drop).unwrap_err();
        assert!(!error.contains('\n'), "{error}");
        error
    }

    fn list(&self, name: &str, text: impl AsRef<[u8]>) -> Naming {
        self.write(name, text.as_ref());
        Naming { lists: vec![self.0.join(name)], ..Naming::default() }
    }
}

fn pattern(text: &str) -> Naming {
    Naming { pattern: Some(text.parse().unwrap()), ..Naming::default() }
}

fn lines(report: &Report) -> Vec<String> {
    report.skipped.iter().map(ToString::to_string).collect()
}

/// Checks that there is one line, and that it contains a text.
#[track_caller]
fn one(lines: &[String], expected: &str) {
    assert!(lines.len() == 1 && lines[0].contains(expected), "{lines:?}");
}

#[test]
fn folders_of_folders_are_parts() {
    let files = ["train/yes/0.wav", "train/no/0.wav", "TEST/yes/0.wav", "dev/yes/0.wav"];
    let folder = Folder::new("parts", &files);
    folder.add("train/_noise_/0.wav");
    folder.write("README.txt", b"no sound");
    folder.write("train/list.txt", b"no sound");
    let (rows, report) = folder.rows(&Naming::default());
    let expected = [
        "TEST/yes/0.wav yes - test",
        "dev/yes/0.wav yes - valid",
        "train/no/0.wav no - train",
        "train/yes/0.wav yes - train",
    ];
    assert_eq!(rows, expected);
    assert!(report.skipped.is_empty() && report.notes.is_empty(), "{report:?}");

    folder.add("train/0.wav");
    folder.write("train/maybe/0.txt", b"no sound");
    let (rows, report) = folder.rows(&Naming::default());
    assert_eq!(rows, expected);
    let reasons = lines(&report);
    assert!(reasons[0].ends_with("parts/train/maybe: holds no sound file"), "{reasons:?}");
    assert!(
        reasons[1].ends_with("train/0.wav: has no class; its folder, --name or --list says it")
    );
    assert_eq!(reasons.len(), 2);
}

#[test]
fn a_class_may_be_named_like_a_part() {
    let folder = Folder::new("named", &["test/0.wav", "yes/0.wav", "no/0.wav"]);
    let (rows, report) = folder.rows(&Naming::default());
    assert_eq!(rows, ["no/0.wav no - -", "test/0.wav test - -", "yes/0.wav yes - -"]);
    assert!(report.notes.is_empty());

    let folder = Folder::new("speakers", &["test/ann/0.wav", "yes/ann/0.wav", "yes/ben/1.wav"]);
    let (rows, _) = folder.rows(&Naming::default());
    let expected =
        ["test/ann/0.wav test ann -", "yes/ann/0.wav yes ann -", "yes/ben/1.wav yes ben -"];
    assert_eq!(rows, expected);

    let folder = Folder::new("flat parts", &["test/0.wav", "train/0.wav"]);
    let (rows, report) = folder.rows(&Naming::default());
    assert_eq!(rows, ["test/0.wav test - -", "train/0.wav train - -"]);
    one(&report.notes, "flat parts: test, train: each holds sound files itself, so it is a class");
}

#[test]
fn folders_of_which_some_are_parts_are_refused() {
    for (name, file) in [("other", "noise/yes/0.wav"), ("flat", "test/0.wav")] {
        let folder = Folder::new(name, &["train/yes/0.wav", "train/no/0.wav", file]);
        let error = folder.error(&Naming::default());
        let other = file.split('/').next().unwrap();
        let named = format!("has folders of classes in train, but not in {other}; either all");
        assert!(error.contains(&named), "{error}");
    }
    // A vehicle, which the error's own remedy makes a class.
    let folder = Folder::new("vehicles", &["train/ann/0.wav", "car/ben/0.wav"]);
    assert!(folder.error(&Naming::default()).contains("--name \"{class}/{speaker}/{}\""));
    let (rows, _) = folder.rows(&pattern("{class}/{speaker}/{}"));
    assert_eq!(rows, ["car/ben/0.wav car ben -", "train/ann/0.wav train ann -"]);
}

#[test]
fn a_folder_in_a_class_is_a_speaker() {
    let files = ["yes/ann/0.wav", "yes/ben/take 1/0.wav", "no/ann/0.wav"];
    let folder = Folder::new("deep", &files);
    let (rows, report) = folder.rows(&Naming::default());
    let expected =
        ["no/ann/0.wav no ann -", "yes/ann/0.wav yes ann -", "yes/ben/take 1/0.wav yes ben -"];
    assert_eq!(rows, expected);
    assert!(report.notes.is_empty());
    folder.add("no/0.wav");
    let (rows, report) = folder.rows(&Naming::default());
    assert_eq!(rows[0], "no/0.wav no unknown -");
    one(&report.notes, "without a speaker: 1 of 4 recordings; they count as one, unknown");

    let folder = Folder::new("leak", &["train/yes/ann/0.wav", "train/no/ben/0.wav"]);
    folder.add("test/yes/ann/1.wav");
    let (rows, report) = folder.rows(&Naming::default());
    assert_eq!(rows[0], "test/yes/ann/1.wav yes ann test");
    let note = "in more than one part: 1 of 2 speakers, such as ann in train, test";
    one(&report.notes, note);
}

#[test]
fn a_folder_around_the_classes_is_noted() {
    let folder = Folder::new("around", &["kws/yes/0.wav", "kws/no/0.wav"]);
    let (rows, report) = folder.rows(&Naming::default());
    assert_eq!(rows, ["kws/no/0.wav kws no -", "kws/yes/0.wav kws yes -"]);
    one(&report.notes, "around: kws is the only class; if it holds the classes, encode ");
    let folder = Folder::new("one class", &["yes/0.wav"]);
    assert!(folder.rows(&Naming::default()).1.notes.is_empty());
}

#[cfg(unix)]
#[test]
fn a_link_to_a_folder_above_is_not_followed() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new("loop", &["yes/0.wav"]);
    symlink(&folder.0, folder.0.join("yes/loop")).unwrap();
    symlink(folder.0.join("yes"), folder.0.join("link")).unwrap();
    let (rows, _) = folder.rows(&Naming::default());
    assert_eq!(rows, ["link/0.wav link - -", "yes/0.wav yes - -"]);
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_left_out() {
    let folder = Folder::new("socket", &["yes/0.wav"]);
    let _socket = std::os::unix::net::UnixListener::bind(folder.0.join("yes/1.wav")).unwrap();
    let (rows, report) = folder.rows(&Naming::default());
    assert_eq!(rows, ["yes/0.wav yes - -"]);
    one(&lines(&report), "yes/1.wav: is not a file");
}

#[test]
fn names_say_class_and_speaker() {
    let folder = Folder::new("names", &["7_jackson_32.wav", "0_george_1.WAV"]);
    folder.add("more/7_george_0.wav");
    let (rows, report) = folder.rows(&pattern("{class}_{speaker}_{index}"));
    let expected = [
        "0_george_1.WAV 0 george -",
        "7_jackson_32.wav 7 jackson -",
        "more/7_george_0.wav 7 george -",
    ];
    assert_eq!(rows, expected);
    assert!(report.skipped.is_empty());
    for name in ["left_turn_ann_3.wav", "7_jackson.wav", "7_jackson_a.wav", "_ann_0.wav"] {
        folder.add(name);
        let (rows, report) = folder.rows(&pattern("{class}_{speaker}_{index}"));
        assert_eq!(rows, expected);
        one(&lines(&report), &format!("{name}: does not match {{class}}_{{speaker}}_{{index}}"));
        fs::remove_file(folder.0.join(name)).unwrap();
    }
    fs::remove_dir_all(folder.0.join("more")).unwrap();
    let error = folder.error(&Naming::default());
    let reason = "0_george_1.WAV: has no class; its folder, --name or --list says it";
    assert!(error.contains("none of 2 sound files can be used: "), "{error}");
    assert!(error.ends_with(reason), "{error}");

    // In folders of classes, names say the speaker, as those of Speech Commands do.
    let folder = Folder::new("nohash", &["yes/0a_nohash_0.wav", "no/0a_nohash_1.wav"]);
    let (rows, _) = folder.rows(&pattern("{speaker}_nohash_{}"));
    assert_eq!(rows, ["no/0a_nohash_1.wav no 0a -", "yes/0a_nohash_0.wav yes 0a -"]);
}

#[test]
fn names_and_paths_may_say_the_part() {
    let folder = Folder::new("path", &["ann/train-yes/0.wav", "ben/test-no/0.wav"]);
    let (rows, _) = folder.rows(&pattern("{speaker}/{part}-{class}/{}"));
    let expected = ["ann/train-yes/0.wav yes ann train", "ben/test-no/0.wav no ben test"];
    assert_eq!(rows, expected);
    folder.add("ben/fold-no/0.wav");
    folder.add("0.wav");
    let (rows, report) = folder.rows(&pattern("{speaker}/{part}-{class}/{}"));
    assert_eq!(rows, expected);
    let reasons = lines(&report);
    assert!(reasons[0].ends_with("0.wav: does not match {speaker}/{part}-{class}/{}"));
    assert!(reasons[1].ends_with("the part \"fold\" is not train, valid or test"), "{reasons:?}");

    let folder = Folder::new("flat named", &["train/7_ann_0.wav", "test/7_ben_0.wav"]);
    let (rows, _) = folder.rows(&pattern("{class}_{speaker}_{}"));
    assert_eq!(rows, ["test/7_ben_0.wav 7 ben test", "train/7_ann_0.wav 7 ann train"]);
}

#[test]
fn a_name_that_can_be_read_in_two_ways_is_left_out() {
    let folder = Folder::new("two ways", &["a_yes_0.wav", "a_yes_b_c.wav"]);
    let (rows, report) = folder.rows(&pattern("{}_{class}_{}"));
    assert_eq!(rows, ["a_yes_0.wav yes - -"]);
    one(&lines(&report), "a_yes_b_c.wav: matches {}_{class}_{} in more than one way");
    // A class at the end does not hold what stands before it.
    let (rows, _) = folder.rows(&pattern("{}_{class}"));
    assert_eq!(rows, ["a_yes_0.wav 0 - -", "a_yes_b_c.wav c - -"]);
    for (text, problem) in [
        ("{clas}_{}", "has {clas}; the fields are {class}, {speaker}, {part}, {index} and {}"),
        ("{class}{speaker}", "needs some text before {speaker}, where a field ends"),
        ("{class}_{class}", "has {class} twice"),
        ("{}_{index}", "has neither {class} nor {speaker} nor {part}"),
        ("{class", "has a { without }"),
        ("class}", "has a } without {"),
        ("{class}/", "has an empty name"),
    ] {
        let error = text.parse::<encode::Pattern>().unwrap_err().to_string();
        assert_eq!(error, format!("{text}: {problem}"));
    }
}

#[test]
fn lists_say_class_speaker_and_part() {
    let folder = Folder::new("lists", &["wavs/0.wav", "wavs/1.wav", "wavs/2.wav"]);
    let expected = ["wavs/0.wav yes, ja ann train", "wavs/1.wav no ben test"];
    for (name, text) in [
        (
            "comma.csv",
            "file,class,speaker,part\nwavs/0.wav,\"yes, ja\",ann,train\n\
            wavs/1.wav,no,ben,test\nwavs/9.wav,no,ben,test\n",
        ),
        (
            "semicolon.csv",
            "\u{feff}Speaker;File;Part;Class\r\nann;wavs\\0.wav;train;yes, ja\r\n\
            ben;wavs\\1.wav;TEST;no\r\nben;wavs\\9.wav;test;no\r\n",
        ),
        (
            "tab.tsv",
            "file\tclass\tspeaker\tpart\ttext\n0\t\"yes, ja\"\tann\ttrain\t\"\n\
            1.mp3\tno\tben\teval\t\"one\n9\tno\tben\ttest\t\n",
        ),
    ] {
        let (rows, report) = folder.rows(&folder.list(name, text));
        assert_eq!(rows, expected, "{name}");
        assert_eq!((report.missing, report.unlisted, report.skipped.len()), (1, 1, 0));
        let notes = &report.notes;
        assert!(notes[0].contains(": 1 of 3 recordings, such as "), "{notes:?}");
        let left_out = "not listed and left out: 1 of 3 sound files in ";
        assert!(notes[1].contains(left_out) && notes[1].ends_with("such as wavs/2.wav"));
        assert_eq!(notes.len(), 2);
    }
    let wide: Vec<u16> = "\u{feff}file\tclass\r\n0.wav\tja\r\n".encode_utf16().collect();
    let wide: Vec<u8> = wide.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let (rows, _) = folder.rows(&folder.list("wide.txt", wide));
    assert_eq!(rows, ["wavs/0.wav ja - -"]);
    let (rows, _) = folder.rows(&folder.list("one.csv", "file\n0.wav\n"));
    assert_eq!(rows, ["wavs/0.wav wavs - -"]);
}

#[test]
fn lists_of_other_corpora_name_their_columns() {
    let folder = Folder::new("voice", &["clips/a.wav", "clips/b.wav", "clips/c.wav"]);
    let header = "client_id\tpath\tsentence\tup_votes\n";
    let rows = ["s1\ta.mp3\tyes\t2\n", "s1\tb.mp3\tno\t2\n", "s2\tc.mp3\tyes\t2\n"];
    let mut naming = Naming {
        columns: "file=path,speaker=client_id, class = sentence".parse().unwrap(),
        ..Naming::default()
    };
    for (name, rows) in [("train.tsv", &rows[..2]), ("test.tsv", &rows[2..])] {
        folder.write(name, format!("{header}{}", rows.concat()).as_bytes());
        naming.lists.push(folder.0.join(name));
    }
    let (rows, _) = folder.rows(&naming);
    let expected =
        ["clips/a.wav yes s1 train", "clips/b.wav no s1 train", "clips/c.wav yes s2 test"];
    assert_eq!(rows, expected);
    for (text, problem) in [
        ("file", "column = file is not file=NAME, class=NAME"),
        ("path=file", "column = path=file is not file=NAME"),
        ("file=", "column = file= is not file=NAME"),
    ] {
        let error = text.parse::<encode::Columns>().unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn absolute_paths_in_lists_are_found() {
    let folder = Folder::new("absolute", &["yes/0.wav", "no/0.wav"]);
    let root = folder.0.display();
    let text = format!("file,speaker\n{root}/yes/0.wav,ann\nC:\\data\\no\\0.wav,ben\n");
    let (rows, report) = folder.rows(&folder.list("list.csv", text));
    assert_eq!(rows, ["no/0.wav no ben -", "yes/0.wav yes ann -"]);
    assert!(report.notes.is_empty());
    let text = "file,speaker\nabsolute/yes/0.wav,ann\n./no/0.wav,ben\nother/yes/0.wav,cy\n";
    let (rows, report) = folder.rows(&folder.list("list.csv", text));
    assert_eq!((rows.len(), report.missing), (2, 1));
}

#[test]
fn lists_that_cannot_be_used_are_named() {
    let folder = Folder::new("wrong", &["yes/0.wav", "no/0.wav", "no/1.wav"]);
    for (text, problem) in [
        ("path,class\n0.wav,yes\n", "has no column file, but path, class; --columns file=NAME"),
        ("file,class,Class\n0.wav,yes,no\n", "has two columns class; rename one"),
        ("file,part\nno/1.wav,fold1\n", "line 2: the part \"fold1\" is not train, valid or test"),
        ("file,part\nno/1.wav\n", "line 2: the part \"\" is not train, valid or test"),
        ("file,class\n0.wav,yes\n", "line 2 = 0.wav names no/0.wav and yes/0.wav; list them with"),
        (
            "file,class\r\n1.wav,a\r\n\r\n1.wav,b\r\n",
            "line 4 = 1.wav is listed before with another class",
        ),
        ("file,class\n,yes\n", "line 2 names no file"),
        ("file,speaker\n1.wav,\"a\nb\"\n", "the name \"a\\nb\" holds a control character"),
        ("file,class\nyes/7.wav,yes\n", "wrong: 1 of 1 recordings, such as yes/7.wav"),
        ("file,class\n1.wav,\n", "none of 3 sound files can be used: "),
    ] {
        let error = folder.error(&folder.list("list.csv", text));
        assert!(error.contains(problem), "{error}");
    }
    let error = folder.error(&folder.list("list.csv", b"file,class\n1.wav,\xe9t\xe9\n"));
    assert!(error.ends_with("list.csv: is not UTF-8; save it as text in UTF-8"), "{error}");
    let mut both = folder.list("train.csv", "file,part\n1.wav,train\n");
    both.lists.extend(folder.list("b.csv", "file\nno/0.wav\n").lists);
    assert!(folder.error(&both).contains("either all lists have a column of parts or none has"));
    // The same row twice is no contradiction.
    let (rows, _) = folder.rows(&folder.list("list.csv", "file,class\n1.wav,a\nno/1.wav,a\n"));
    assert_eq!(rows, ["no/1.wav a - -"]);
}

#[test]
fn any_list_gives_recordings_or_one_line() {
    let folder = Folder::new("bytes", &["yes/0.wav", "no/0.wav"]);
    let list = "\u{feff}file;class;part\r\n\"yes/0.wav\";caf\u{e9};train\r\n\r\nno\\0.wav;b;test\n";
    let rng = Rng::new(1, 2);
    let mut read = 0;
    for round in 0..500u64 {
        let mut bytes = list.as_bytes().to_vec();
        for change in 0..1 + round % 4 {
            let draw = |n| rng.fork(round).uniform::<f64>(3 * change + n);
            let at = (draw(0) * bytes.len() as f64) as usize;
            let byte = (draw(1) * 256.0) as u8;
            let byte = if draw(2) < 0.5 { b"\"\r\n;\t,/"[usize::from(byte) % 7] } else { byte };
            bytes[at] = byte;
        }
        match folder.encode(&folder.list("list.csv", bytes)) {
            Ok(_) => read += 1,
            Err(line) => assert!(!line.contains(char::is_control), "{line:?}"),
        }
    }
    assert!((50..450).contains(&read), "{read}");
}

#[test]
fn names_are_compared_in_one_unicode_form() {
    // As macOS writes the name, with two characters for the last letter, and with one.
    let (decomposed, composed) = ("cafe\u{301}", "caf\u{e9}");
    let folder = Folder::new("form", &[]);
    folder.add(&format!("{decomposed}/0.wav"));
    folder.add("tea/0.wav");
    let text = format!("file,speaker\n{composed}/0.wav,Jose\u{301}\ntea/0.wav,Jos\u{e9}\n");
    let (rows, report) = folder.rows(&folder.list("list.csv", text));
    let expected =
        [format!("{composed}/0.wav {composed} Jos\u{e9} -"), "tea/0.wav tea Jos\u{e9} -".into()];
    assert_eq!(rows, expected);
    assert!(report.notes.is_empty());
    let (recordings, _) = folder.encode(&Naming::default()).unwrap();
    assert_eq!(recordings.keys, [composed, "tea"]);

    folder.add(&format!("{composed}/1.wav"));
    let (rows, report) = folder.rows(&Naming::default());
    assert_eq!(rows[..2], ["café/0.wav café - -", "café/1.wav café - -"]);
    let form = "2 folders named café differ only in their Unicode form; they count as one";
    one(&report.notes, form);
}
