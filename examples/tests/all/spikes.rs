//! Spikes from elsewhere through the command line: their notes, suffixes and settings.

use crate::cli::Folder;
use crate::common::text;
use std::fs;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new("../datasets/tests/fixtures").canonicalize().unwrap().join(name)
}

/// A folder that holds a test file under another name.
fn folder(name: &str, file: &str, to: &str) -> Folder {
    let folder = Folder::new(&format!("spikes-{name}"));
    fs::copy(fixture(file), folder.0.join(to)).unwrap();
    folder
}

/// The lines on standard error without the one on empty steps: the files hold few spikes.
fn lines(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines = text(&output.stderr);
    lines.lines().filter(|line| !line.contains(" of all steps of 10 ms have no spike")).collect()
}

/// Statistics of a file, and its notes.
fn stats(folder: &Folder, args: &[&str]) -> (serde_json::Value, String) {
    let output = folder.run(&[&["data", "stats", "--json"], args].concat());
    let lines = lines(&output);
    (serde_json::from_slice(&output.stdout).unwrap(), lines)
}

/// What training says before its first epoch.
fn notes(folder: &Folder, set: &[&str]) -> String {
    let set = set.iter().flat_map(|set| ["--set", set]);
    let train = ["train", "--preset", "recordings", "--data", ".", "--plan"];
    let small = ["network.hidden=[4]", "network.max_delay=4", "data.valid=0", "data.test=0"];
    let small = small.iter().flat_map(|set| ["--set", set]);
    let output = folder.run(&train.into_iter().chain(small).chain(set).collect::<Vec<_>>());
    lines(&output)
}

#[test]
fn another_unit_of_time_is_noted_and_can_be_set() {
    let folder = folder("unit", "milliseconds.h5.gz", "recordings.h5.gz");
    let (_, wrong) = stats(&folder, &["recordings.h5.gz"]);
    let note = "recordings.h5.gz: the longest recording lasts 1250 s with 3 spikes; times count \
                as seconds: are these milliseconds? data.time_unit or --time-unit sets their unit";
    assert!(wrong.contains(note), "{wrong}");
    let (right, none) = stats(&folder, &["recordings.h5.gz", "--time-unit", "ms"]);
    assert_eq!((&right["steps"][2], none.as_str()), (&126.0.into(), ""));
    assert!(notes(&folder, &[]).contains(note));
    assert_eq!(notes(&folder, &["data.time_unit=ms"]), "");
}

#[test]
fn items_without_spikes_and_classes_without_items_are_noted() {
    let silent = folder("silent", "silent.h5.gz", "recordings.h5.gz");
    let (stats, note) = stats(&silent, &["recordings.h5.gz"]);
    assert_eq!((&stats["samples"], &stats["steps"][0]), (&4.into(), &1.0.into()));
    assert!(note.contains("recordings.h5.gz: 1 of 4 items has no spikes"), "{note}");
    let all = stats["notes"].as_array().unwrap();
    assert!(all.len() == 2 && all[1].as_str().unwrap().contains(": 95.1 % of all steps of 10 ms"));
    let train = ["train", "--preset", "recordings", "--data", ".", "--epochs", "2", "--out", "r"];
    let small = ["network.hidden=[4]", "network.max_delay=4", "data.valid=0", "data.test=0"];
    let small = small.iter().flat_map(|set| ["--set", set]);
    let output = silent.run(&train.into_iter().chain(small).collect::<Vec<_>>());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report = fs::read_to_string(silent.0.join("r/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert!(report["curves"][1]["loss"].as_f64().unwrap().is_finite(), "{report}");
    let out = silent.run(&["data", "show", "recordings.h5.gz", "--index", "3", "--json"]);
    assert!(text(&out.stdout).contains("\"spikes\":0"), "{}", text(&out.stderr));

    let from_one = folder("from-one", "from_one.h5.gz", "recordings.h5.gz");
    assert!(notes(&from_one, &[]).contains("class 0 has no item; do labels begin at 1?"));
}

#[test]
fn a_clock_that_runs_on_begins_at_the_first_spike() {
    let folder = folder("clock", "clock.h5.gz", "recordings.h5.gz");
    assert_eq!(notes(&folder, &["data.origin=first-spike"]), "");
    let (stats, _) = stats(&folder, &["recordings.h5.gz", "--origin", "first-spike"]);
    assert_eq!(stats["steps"][2], 126.0);
    let line = folder.fail(&["train", "--preset", "recordings", "--set", "data.time_unit=min"]);
    assert!(line.contains("`s`, `ms`, `us`"), "{line}");
}

#[test]
fn files_are_known_by_their_contents() {
    let hdf5 = folder("suffix", "small.h5", "recordings.hdf5");
    assert_eq!(stats(&hdf5, &["recordings.hdf5"]).0["samples"], 4);
    assert_eq!(notes(&hdf5, &[]), "");
    fs::copy(hdf5.0.join("recordings.hdf5"), hdf5.0.join("spikes")).unwrap();
    assert_eq!(stats(&hdf5, &["spikes"]).0["samples"], 4);

    let zip = folder("zip", "small.h5.zip", "recordings.h5.zip");
    assert_eq!(stats(&zip, &["recordings.h5.zip"]).0["samples"], 4);
    assert_eq!(notes(&zip, &[]), "");
    let line = zip.fail(&["data", "stats", "none.h5"]);
    assert!(line.starts_with("error: none.h5: "), "{line}");
}

#[test]
fn channels_and_groups_that_do_not_fit_name_their_settings() {
    let folder = folder("channels", "pixels.h5.gz", "recordings.h5.gz");
    let file = "recordings.h5.gz";
    let line = folder.fail(&["data", "stats", file]);
    assert!(line.ends_with("set their number with data.channels or --channels"), "{line}");
    let line = folder.fail(&["data", "stats", file, "--channels", "2312", "--group", "5"]);
    assert!(line.ends_with("group = 5 does not divide 2312 channels; use 4 or 8"), "{line}");
    let (stats, _) = stats(&folder, &[file, "--channels", "2312", "--group", "8"]);
    assert_eq!(stats["channels"], 289);
    let (stats, _) = self::stats(&folder, &[file, "--channels", "2312"]);
    assert_eq!(stats["channels"], 2312);
    assert_eq!(notes(&folder, &["data.channels=2312", "data.group=8"]), "");
}

#[test]
fn files_of_every_kind_are_converted_and_trained_on() {
    let npz = folder("npz", "raster_bool.npz", "recordings.npz");
    let line = npz.fail(&["data", "convert", "recordings.npz", "new.h5"]);
    assert!(line.ends_with("use data convert --step-ms"), "{line}");
    let out = npz.run(&["data", "convert", "recordings.npz", "new.h5", "--step-ms", "10"]);
    assert_eq!(
        text(&out.stdout),
        "new.h5: 4 recordings, 3 classes, 6 channels, 1.0 spikes per recording\n  the last spike is \
         at 0.19 s; 1 without spikes\n"
    );
    let (raster, _) = stats(&npz, &["recordings.npz", "--step-ms", "10", "--group", "1"]);
    let (new, _) = stats(&npz, &["new.h5", "--group", "1"]);
    assert_eq!((&new["steps"], &new["classes"]), (&raster["steps"], &raster["classes"]));
    let line = npz.fail(&["data", "convert", "recordings.npz", "new.h5"]);
    assert!(line.ends_with("new.h5: exists; name another file"), "{line}");
    let line = npz.fail(&["data", "convert", "recordings.npz", "new.csv"]);
    assert!(line.ends_with("the file is written as HDF5; name it new.h5"), "{line}");

    let csv = Folder::new("spikes-csv");
    let rows = (0..20).map(|n| format!("0.{n:02},{},take {n},{}\n", 1 + n % 5, n % 2));
    let table = "time,unit,item,label\n".to_owned() + &rows.collect::<String>();
    fs::write(csv.0.join("recordings.csv"), table).unwrap();
    assert_eq!(notes(&csv, &["data.channels=10"]), "");
    let from_one = ["data", "convert", "recordings.csv", "one.h5", "--first-unit", "1", "--json"];
    let out = csv.run(&from_one);
    let found: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&found["channels"], &found["items"]), (&5.into(), &20.into()));
}

#[cfg(unix)]
#[test]
fn a_device_is_not_read_as_a_file() {
    let folder = Folder::new("spikes-device");
    let line = folder.fail(&["data", "stats", "/dev/zero"]);
    assert!(line.contains("/dev/zero: is a pipe or a device; write its bytes to a file"), "{line}");
}

#[test]
fn equalised_recordings_have_equal_counts_and_the_same_names() {
    let folder = Folder::new("spikes-equalise");
    let mut table = String::from("time,unit,item,label,speaker,name,part\n");
    for item in 0..6u16 {
        for k in 0..12 + 3 * item {
            let (time, unit) = (f32::from(7 * k % 50) / 50.0, (k + item) % 3);
            let part = if item < 4 { "train" } else { "test" };
            let row = format!("{time},{unit},{item},{},s{},r{item},{part}\n", item % 2, item % 3);
            table += &row;
        }
    }
    fs::write(folder.0.join("in.csv"), table).unwrap();
    let args = ["data", "equalise", "in.csv", "out.h5", "--json"];
    let output = folder.run(&args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report = crate::cli::last_line(&output);
    assert_eq!(report["counts"], serde_json::json!([4, 4, 4]));
    assert_eq!((&report["spikes_before"], &report["spikes_after"]), (&117.into(), &72.into()));
    assert_eq!((&report["removed"], &report["added"]), (&45.into(), &0.into()));
    let (before, _) = stats(&folder, &["in.csv"]);
    let (after, _) = stats(&folder, &["out.h5"]);
    for (field, index) in [("classes", 0), ("classes", 1), ("speakers", 0), ("speakers", 1)] {
        let column = |of: &serde_json::Value| -> Vec<_> {
            of[field].as_array().unwrap().iter().map(|row| row[index].clone()).collect()
        };
        assert_eq!(column(&before), column(&after), "{field}");
        assert!(after[field].as_array().unwrap().iter().all(|row| row[2] == 12.0), "{after}");
    }
    let again = folder.fail(&args);
    assert!(again.contains("out.h5: exists"), "{again}");
    let filled = ["data", "equalize", "in.csv", "six.h5", "--spikes", "6"];
    let line = text(&folder.run(&filled).stdout);
    assert!(line.contains("12 to 27 before, 18 after; ") && line.contains(" added"), "{line}");
    let help = text(&folder.run(&["data", "equalise", "--help"]).stdout);
    assert!(help.contains("none is moved or added"), "{help}");
}
