//! Downloads from a local server. A file under its final name is complete and has the right sum,
//! received bytes are not requested again, and every failure ends with an error of one line.

use std::fs::{self, File};
use std::time::Duration;

use crate::folder::{Folder, gzip, md5};
use crate::server::{Answer, Server};
use polychron_datasets::Error;
use polychron_datasets::fetch::{Archive, Outcome, RetryPolicy, Sources, Stage, fetch};

const MIB: usize = 1 << 20;
/// A server that answers is given all the time it needs.
const POLICY: RetryPolicy =
    RetryPolicy { timeout: Duration::from_secs(60), attempts: 3, pause: Duration::from_millis(1) };
/// For a server that does not answer.
const IMPATIENT: RetryPolicy = RetryPolicy { timeout: Duration::from_millis(200), ..POLICY };

/// Bytes without repetition.
fn bytes(len: usize) -> Vec<u8> {
    (0..len.div_ceil(4) as u32)
        .flat_map(|i| i.wrapping_mul(0x9e37_79b9).to_le_bytes())
        .take(len)
        .collect()
}

/// The archive `a.h5.gz` at an address, kept as it is, with a limit of 4 MiB.
fn archive(url: &str, file: &[u8]) -> Archive {
    let text =
        format!("[[set]]\nurl = {url:?}\nmd5 = \"{}\"\nto = \"a.h5.gz\"\nmax_mib = 4", md5(file));
    Sources::from_toml(&text, "test").unwrap().archives("set").unwrap()[0].clone()
}

/// The result of a download into a folder in which an earlier call left `part`.
struct Case {
    folder: Folder,
    asked: Vec<Option<u64>>,
    result: Result<Outcome, Error>,
}

fn run(name: &str, file: &[u8], part: &[u8], answers: &[Answer]) -> Case {
    let folder = Folder::new(name);
    if !part.is_empty() {
        folder.write("a.h5.gz.part", part);
    }
    let server = Server::new(file, answers);
    let archive = archive(&server.url("a.h5.gz"), file);
    let hangs =
        |answer: &Answer| matches!(answer, Answer::Stall(_) | Answer::Silence | Answer::Trickle);
    let policy = if answers.iter().any(hangs) { IMPATIENT } else { POLICY };
    let result = fetch(&archive, &folder.0, &policy, &mut |_| ());
    Case { folder, asked: server.asked(), result }
}

/// Checks that the file is complete after requests that start at these positions.
fn whole(name: &str, file: &[u8], part: &[u8], answers: &[Answer], asked: &[Option<u64>]) {
    let case = run(name, file, part, answers);
    assert_eq!(case.result.unwrap(), Outcome::Fetched, "{name}");
    assert_eq!(case.asked, asked, "{name}");
    assert_eq!(case.folder.list(), ["a.h5.gz"], "{name}");
    assert!(case.folder.read("a.h5.gz") == file, "{name}");
}

/// Checks that the download fails after this many requests, in one line with these words, and
/// leaves these files.
fn fails(name: &str, answers: &[Answer], asked: usize, words: &[&str], left: &[&str]) -> Case {
    let case = run(name, &bytes(3000), &[], answers);
    let line = case.result.as_ref().unwrap_err().to_string();
    assert!(!line.contains('\n') && line.contains("http://127.0.0.1"), "{name}: {line}");
    words.iter().for_each(|word| assert!(line.contains(word), "{name}: {word}: {line}"));
    assert_eq!(case.asked.len(), asked, "{name}: {line}");
    assert_eq!(case.folder.list(), left, "{name}: {line}");
    case
}

#[test]
fn received_bytes_are_not_requested_again() {
    use Answer::{Cut, Elsewhere, Piece, Right, Stall, Status};
    let file = bytes(3000);
    whole("one_go", &file, &[], &[Right], &[None]);
    whole("broken", &file, &[], &[Cut(1000), Cut(500), Right], &[None, Some(1000), Some(1500)]);
    whole("stalled", &file, &[], &[Stall(1000), Right], &[None, Some(1000)]);
    whole("left", &file, &file[..700], &[Right], &[Some(700)]);
    let places = [Some(700), Some(1700), Some(2700)];
    whole("doled_out", &file, &file[..700], &[Piece(1000)], &places);
    whole("all_left", &file, &file, &[Status(500)], &[]);
    whole("redirected", &file, &file[..700], &[Elsewhere, Right], &[Some(700), Some(700)]);
    whole("busy", &file, &file[..700], &[Status(503), Status(429), Right], &[Some(700); 3]);
}

#[test]
fn parts_that_do_not_match_are_downloaded_again() {
    use Answer::{Cut, Late, Right, Whole, WholeCut};
    let (file, others) = (bytes(3000), vec![b'!'; 4000]);
    whole("no_ranges", &file, &file[..700], &[Whole], &[Some(700)]);
    whole("no_ranges_twice", &file, &[], &[WholeCut(1000), Whole], &[None, Some(1000)]);
    whole("no_ranges_other_part", &file, &others[..700], &[Whole], &[Some(700)]);
    whole("other_part", &file, &others[..700], &[Right], &[Some(700), None]);
    whole(
        "other_part_broken",
        &file,
        &others[..700],
        &[Right, Cut(9), Right],
        &[Some(700), None, Some(9)],
    );
    whole("other_part_as_long", &file, &others[..3000], &[Right], &[Some(3000), None]);
    whole("longer_part", &file, &others, &[Right], &[Some(4000), None]);
    whole("another_range", &file, &file[..700], &[Late, Right], &[Some(700), None]);
}

#[test]
fn progress_counts_from_the_last_restart() {
    use Answer::{Cut, Late, Right, WholeCut};
    let (file, others) = (bytes(4 * MIB - 9), vec![b'!'; 7 * MIB / 2]);
    let mib = |n| Some((n * MIB) as u64);
    let asked = [Some(others.len() as u64), None, mib(1), mib(2), mib(3)];
    whole("begun_again", &file, &others, &[Late, Cut(MIB), Cut(MIB), Cut(MIB), Right], &asked);

    // Without ranges, the server sends the same bytes every time.
    let case = run("no_ranges_ever", &file, &others, &[WholeCut(2 * MIB)]);
    assert!(case.result.unwrap_err().to_string().contains("gave up after 3 attempts"));
    assert_eq!(case.asked.len(), 3);
}

#[test]
fn a_content_encoding_changes_no_byte() {
    let packed = gzip(&bytes(3000));
    whole("encoding", &packed, &[], &[Answer::Unsized], &[None]);
}

#[test]
fn attempts_that_make_progress_do_not_count_as_failures() {
    let file = bytes(4 * MIB);
    let places: Vec<_> = (0..4).map(|n| (n > 0).then_some(n * MIB as u64)).collect();
    whole("long", &file, &[], &[Answer::Cut(MIB)], &places);
}

#[test]
fn wrong_bytes_are_refused_and_not_kept() {
    use Answer::{Cut, Wrong};
    let sum = md5(&bytes(3000));
    fails("wrong", &[Wrong], 1, &["MD5", &md5(&[b'?'; 3000]), &sum], &[]);
    fails("wrong_twice", &[Cut(1000), Wrong, Wrong], 3, &["MD5", &sum], &[]);
    fails("wrong_in_pieces", &[Cut(1000), Wrong, Cut(1000), Wrong], 4, &["MD5", &sum], &[]);
}

#[test]
fn permanent_failures_end_at_once_and_transient_ones_after_retries() {
    use Answer::{Cut, Elsewhere, Silence, Stall, Status, Trickle};
    let part = ["a.h5.gz.part"];
    fails("not_found", &[Status(404)], 1, &["404 Not Found"], &[]);
    fails("forbidden", &[Status(403)], 1, &["403"], &[]);
    fails("round", &[Elsewhere], 11, &["redirects"], &[]);
    fails("server_error", &[Status(500)], 3, &["500", "3 attempts"], &[]);
    let case =
        fails("cut", &[Cut(1000), Cut(0)], 3, &["1000 of 3000", "1000 bytes are kept"], &part);
    assert!(case.folder.read(part[0]) == bytes(3000)[..1000]);
    let case =
        fails("stall", &[Stall(1000), Stall(0)], 3, &["200ms", "1000 bytes are kept"], &part);
    assert!(case.folder.read(part[0]) == bytes(3000)[..1000]);
    fails("silence", &[Silence], 3, &["200ms", "3 attempts"], &[]);
    fails("trickle", &[Trickle], 3, &["200ms", "3 attempts"], &part);
}

#[test]
fn an_unreachable_server_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/a.h5.gz", listener.local_addr().unwrap());
    drop(listener);
    let folder = Folder::new("nobody");
    let line =
        fetch(&archive(&url, b"x"), &folder.0, &POLICY, &mut |_| ()).unwrap_err().to_string();
    assert!(line.contains(&url) && line.ends_with("3 attempts"), "{line}");
    assert!(folder.list().is_empty());
}

#[test]
fn no_archive_exceeds_its_bound() {
    let big = bytes(4 * MIB + 1);
    for (name, answer) in [("too_large", Answer::Right), ("unsized", Answer::Unsized)] {
        let case = run(name, &big, &[], &[answer]);
        let line = case.result.unwrap_err().to_string();
        assert!(line.contains("max_mib = 4"), "{line}");
        assert_eq!(case.asked.len(), 1);
        assert!(case.folder.list().is_empty(), "{name}");
    }
    let case = run("too_large_part", &big, &big[..700], &[Answer::Right]);
    assert!(case.result.unwrap_err().to_string().contains("max_mib = 4"));
    assert!(
        case.folder.read("a.h5.gz.part") == big[..700],
        "an announced size is no reason to delete the part"
    );
    whole("as_large", &big[..4 * MIB], &[], &[Answer::Unsized], &[None]);
}

#[test]
fn complete_files_are_not_downloaded_again() {
    let (file, folder) = (bytes(3000), Folder::new("present"));
    folder.write("a.h5.gz", &file);
    let server = Server::new(&file, &[Answer::Right]);
    let archive = archive(&server.url("a.h5.gz"), &file);
    let fetched = || fetch(&archive, &folder.0, &POLICY, &mut |_| ());
    assert_eq!(fetched().unwrap(), Outcome::Present);

    folder.write("a.h5.gz", b"somebody's own");
    let line = fetched().unwrap_err().to_string();
    assert!(line.contains("a.h5.gz: MD5 = ") && line.contains("move the file away"), "{line}");
    assert_eq!(folder.read("a.h5.gz"), b"somebody's own");
    assert_eq!(folder.list(), ["a.h5.gz"]);
    assert!(server.asked().is_empty());
}

#[test]
fn two_processes_do_not_write_one_file() {
    let (file, folder) = (bytes(3000), Folder::new("locked"));
    folder.write("a.h5.gz.part", &file[..700]);
    let held = File::open(folder.0.join("a.h5.gz.part")).unwrap();
    held.lock().unwrap();
    let server = Server::new(&file, &[Answer::Right]);
    let archive = archive(&server.url("a.h5.gz"), &file);
    let fetched = || fetch(&archive, &folder.0, &POLICY, &mut |_| ());
    let line = fetched().unwrap_err().to_string();
    assert!(line.contains("a.h5.gz.part") && line.contains("another process"), "{line}");
    assert!(server.asked().is_empty() && folder.read("a.h5.gz.part") == file[..700]);
    drop(held);
    assert_eq!(fetched().unwrap(), Outcome::Fetched);

    let (packed, folder) = (gzip(&file), Folder::new("locked_archive"));
    folder.write("b.h5.gz", &packed);
    let held = File::open(folder.0.join("b.h5.gz")).unwrap();
    held.lock().unwrap();
    let url = server.url("b.h5.gz");
    let sum = md5(&packed);
    let text = format!("[[set]]\nurl = {url:?}\nmd5 = \"{sum}\"\nto = \"b.h5\"\nmax_mib = 4");
    let sources = Sources::from_toml(&text, "test").unwrap();
    let archive = &sources.archives("set").unwrap()[0];
    let unpacked = || fetch(archive, &folder.0, &POLICY, &mut |_| ());
    let line = unpacked().unwrap_err().to_string();
    assert!(line.contains("b.h5.gz: ") && line.contains("another process"), "{line}");
    assert_eq!(folder.list(), ["b.h5.gz"]);
    drop(held);
    assert_eq!(unpacked().unwrap(), Outcome::Unpacked);
    assert!(folder.read("b.h5") == file);
}

#[test]
fn progress_ends_at_the_size_of_the_file() {
    let file = bytes(3 * MIB);
    let server = Server::new(&file, &[Answer::Cut(MIB), Answer::Right]);
    let (archive, folder) = (archive(&server.url("a.h5.gz"), &file), Folder::new("progress"));
    let mut seen = Vec::new();
    fetch(&archive, &folder.0, &POLICY, &mut |p| seen.push(p)).unwrap();
    let last = seen.last().unwrap();
    let all = file.len() as u64;
    assert_eq!((last.stage, last.done, last.total), (Stage::Download, all, Some(all)));
    assert!(seen.iter().any(|p| (p.stage, p.done) == (Stage::Wait, MIB as u64)));
    let bytes: Vec<_> =
        seen.iter().filter(|p| p.stage == Stage::Download).map(|p| p.done).collect();
    assert!(bytes.is_sorted());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported_and_leaves_no_partial_file() {
    let Some(disk) = crate::folder::Disk::new("full_disk", 1) else {
        eprintln!("skipped: a file system of 1 MiB cannot be mounted here");
        return;
    };
    let file = bytes(2 * MIB);
    let server = Server::new(&file, &[Answer::Right]);
    let archive = archive(&server.url("a.h5.gz"), &file);
    let error = fetch(&archive, &disk.0, &POLICY, &mut |_| ()).unwrap_err();
    let line = error.to_string();
    assert!(
        line.contains("a.h5.gz.part: No space left on device") && !line.contains('\n'),
        "{line}"
    );
    assert_eq!(server.asked().len(), 1);
    let names: Vec<_> = fs::read_dir(&disk.0).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(names, ["a.h5.gz.part"]);
}

#[test]
fn embedded_sources_are_read() {
    let sources = Sources::embedded().unwrap();
    let left = |set| -> Vec<_> {
        sources.archives(set).unwrap().iter().map(|a| a.to().to_string()).collect()
    };
    assert_eq!(left("shd"), ["shd_train.h5.gz", "shd_test.h5.gz"]);
    assert_eq!(left("ssc"), ["ssc_train.h5", "ssc_valid.h5", "ssc_test.h5"]);
    assert_eq!(left("gsc"), ["speech_commands_v0.02"]);
    let line = sources.archives("mnist").unwrap_err().to_string();
    assert!(line.contains("mnist is not one of gsc, shd, ssc"), "{line}");
}

#[test]
fn invalid_sources_are_named() {
    let entry = |field: &str, value: &str| {
        let mut fields = [
            ("url", "\"http://h/a.zip\""),
            ("md5", "\"00112233445566778899aabbccddeeff\""),
            ("to", "\"a.h5\""),
            ("max_mib", "1"),
        ];
        fields.iter_mut().filter(|(name, _)| *name == field).for_each(|(_, old)| *old = value);
        fields.iter().fold("[[set]]\n".to_string(), |text, (name, value)| {
            format!("{text}{name} = {value}\n")
        })
    };
    let read = |text: &str| Sources::from_toml(text, "s.toml");
    read(&entry("", "")).unwrap();
    let bad = [
        (
            "url",
            vec![
                "\"ftp://h/a.zip\"",
                "\"http://h/\"",
                "\"http://h\"",
                "\"http://h/..\"",
                "\"http://h/?a.zip\"",
                "\"a.zip\"",
            ],
        ),
        ("md5", vec!["\"0011\"", "\"zz112233445566778899aabbccddeeff\""]),
        (
            "to",
            vec![
                "\"\"",
                "\"/\"",
                "\"..\"",
                "\"../a\"",
                "\"/a\"",
                "\"b/a\"",
                "\".a\"",
                "\"a\\\\b\"",
                "\"c:a\"",
            ],
        ),
        ("max_mib", vec!["0", "1048577"]),
    ];
    for (field, values) in bad {
        for value in values {
            let line = read(&entry(field, value)).unwrap_err().to_string();
            assert!(line.contains(&format!("s.toml: set[0].{field} = ")), "{line}");
        }
    }
    let twice = entry("", "").repeat(2);
    let bad = [
        (entry("max_mib", "-1"), "s.toml:5: "),
        (entry("url", "1"), "s.toml:2: "),
        (entry("", "") + "more = 1", "more"),
        ("[[set]]\nurl = \"http://h/a.zip\"".into(), "md5"),
        (twice.clone(), "set[1].url = a.zip"),
        (twice.replacen("a.zip", "b.zip", 1), "set[1].to = a.h5"),
        (
            entry("url", "\"http://h/a.h5.md5\"").replace("\"a.h5", "\"a.h5.md5") + &entry("", ""),
            "set[1].to = a.h5.md5",
        ),
        (entry("to", "\"a.zip.part\""), "set[0].to = a.zip.part"),
        (" ".repeat(1 << 17), "s.toml: bytes = 131072 is above 65536, the limit of a list"),
        (entry("url", "\"http://h/a.gz\"").replace("a.h5", "a/"), "set[0].to = a/"),
        (entry("url", "\"http://h/a.rar\""), "set[0].to = a.h5"),
    ];
    for (text, words) in bad {
        let line = read(&text).unwrap_err().to_string();
        assert!(line.starts_with("s.toml:") && line.contains(words), "{words}: {line}");
        assert!(!line.contains('\n'), "{line}");
    }
}
