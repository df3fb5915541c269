//! `reproduce`: its table, continuation after a kill, refused settings, and protection of existing
//! files.

use crate::common::{empty_folder, polychron, text};
use polychron_datasets::{About, Recording, Recordings, TimeFormat, shd};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A task and a network that are small enough for many runs.
const SMALL: [&str; 11] = [
    "reproduce",
    "order",
    "--json",
    "--set",
    "train.epochs=2",
    "--set",
    "network.hidden=[8]",
    "--set",
    "network.max_delay=6",
    "--set",
    "data.valid=0.6",
];

/// The folder of a test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        Self(empty_folder(&format!("reproduce-{name}")))
    }

    fn command(&self, more: &[&str]) -> Command {
        polychron(&self.0, &[&SMALL, more].concat())
    }

    fn run(&self, more: &[&str]) -> Output {
        self.command(more).output().unwrap()
    }

    /// Runs a reproduction that must succeed, and returns its table.
    fn table(&self, more: &[&str]) -> Value {
        let output = self.run(more);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap()
    }

    /// Runs a command that must fail, and returns the last line of its errors.
    fn fail(&self, more: &[&str]) -> String {
        let output = self.run(more);
        assert_eq!(output.status.code(), Some(1), "{more:?}: {}", text(&output.stderr));
        text(&output.stderr).lines().last().unwrap().into()
    }

    fn bytes(&self, path: &str) -> Vec<u8> {
        fs::read(self.0.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.bytes(path)).unwrap()
    }

    /// All files under a folder and their contents.
    fn all(&self, path: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut folders = vec![self.0.join(path)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push((path.clone(), fs::read(&path).unwrap()));
                }
            }
        }
        files.sort();
        files
    }
}

fn close(value: &Value, expected: f64) {
    let value = value.as_f64().unwrap();
    assert!((value - expected).abs() < 1e-7, "{value} is not {expected}");
}

#[test]
fn the_table_has_mean_deviation_and_interval_over_the_seeds() {
    let folder = Folder::new("table");
    let three = ["--out", "all", "--seeds", "3"];
    let trained = folder.table(&three);
    assert_eq!(trained["seeds"].as_array().unwrap().len(), 3);
    for (seed, row) in trained["seeds"].as_array().unwrap().iter().enumerate() {
        let report = folder.json(&format!("all/seed{seed}/report.json"));
        assert_eq!(
            (&row["seed"], row["runs"][0]["seed"].as_u64()),
            (&json!(seed), Some(seed as u64))
        );
        assert_eq!(row["test_accuracy"], report["figures"]["test_accuracy"]);
        assert_eq!(row["runs"][0]["parameters"], trained["parameters"]);
    }
    assert_eq!(trained["protocol"], "clean: the last epoch");
    assert_eq!(trained["versions"], json!([env!("CARGO_PKG_VERSION")]));
    let set = json!([
        "data.valid = 0.6",
        "network.hidden = [8]",
        "network.max_delay = 6",
        "train.epochs = 2"
    ]);
    assert_eq!(trained["set"], set);
    assert_eq!(folder.json("all/table.json"), trained);
    let output = polychron(&folder.0, &["compare", "all", "--json"]).output().unwrap();
    let compared: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(compared["differing"], json!(["seed"]));
    for (seed, run) in compared["runs"].as_array().unwrap().iter().enumerate() {
        assert_eq!(run["run"], format!("all/seed{seed}"));
        assert_eq!(run["test_accuracy"], trained["seeds"][seed]["test_accuracy"]);
    }
    assert_eq!(compared["runs"].as_array().unwrap().len(), 3);

    for (seed, accuracy, seconds) in [(0, 0.93, 10.0), (1, 0.95, 20.0), (2, 0.97, 12.5)] {
        let path = format!("all/seed{seed}/report.json");
        let mut report = folder.json(&path);
        report["figures"]["test_accuracy"] = accuracy.into();
        report["figures"]["seconds"] = seconds.into();
        fs::write(folder.0.join(path), report.to_string()).unwrap();
    }
    let before = folder.all("all/seed0");
    let table = folder.table(&three);
    assert_eq!(folder.all("all/seed0"), before);
    close(&table["mean"], 0.95);
    close(&table["deviation"], 0.02);
    // 4.302653 * 0.02 / sqrt(3), the quantile of Student's t with two degrees of freedom.
    close(&table["interval"][0], 0.95 - 0.049_682_76);
    close(&table["interval"][1], 0.95 + 0.049_682_76);
    close(&table["seconds"], 42.5);
    let shown = text(&folder.bytes("all/table.md"));
    for part in [
        "# order, 3 seeds\n",
        "| 1 | 95.00 | ",
        "| 2 of 2 | 500 | 12.5 |",
        "| **mean** | **95.00 ± 2.00** | | | | 42.5 |",
        "95 % confidence interval of the mean: 90.03 to 99.97 (Student's t, limited",
        "* protocol: clean: the last epoch\n",
        "preset order, with data.valid = 0.6, network.hidden = [8], network.max_delay = 6, train.epochs = 2\n",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn a_killed_reproduction_ends_in_the_same_results() {
    let folder = Folder::new("killed");
    let two =
        |out| ["--seeds", "2", "--out", out, "--protocol", "paper", "--set", "train.epochs=8"];
    let whole = folder.table(&two("whole"));
    let mut child = folder.command(&two("cut")).stderr(Stdio::null()).spawn().unwrap();
    while !folder.0.join("cut/seed1/report.json").exists() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(folder.json("cut/table.json")["seeds"].as_array().unwrap().len(), 1);
    let shown = text(&folder.bytes("cut/table.md"));
    assert!(shown.starts_with("# order, 1 of 2 seeds\n"), "{shown}");
    let seed0 = folder.all("cut/seed0");

    let resumed = folder.table(&two("cut"));
    assert_eq!(folder.all("cut/seed0"), seed0);
    for seed in 0..2 {
        for file in ["checkpoint.safetensors", "model.safetensors", "config.toml"] {
            let [a, b] =
                ["whole", "cut"].map(|out| folder.bytes(&format!("{out}/seed{seed}/{file}")));
            assert_eq!(a, b, "seed{seed}/{file}");
        }
    }
    for key in ["mean", "deviation", "interval", "protocol", "parameters"] {
        assert_eq!(whole[key], resumed[key], "{key}");
    }

    let begun = folder.0.join("cut/seed1");
    fs::remove_file(begun.join("report.json")).unwrap();
    fs::remove_file(begun.join("checkpoint.safetensors")).unwrap();
    let line = folder.fail(&two("cut"));
    assert!(line.contains("cut/seed1: has config.toml but no checkpoint"), "{line}");

    // Killed before the first checkpoint.
    fs::remove_dir_all(&begun).unwrap();
    let unfinished = folder.0.join("cut/.seed1.tmp");
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join("config.toml"), "whole").unwrap();
    fs::write(unfinished.join(".checkpoint.safetensors.tmp"), "half").unwrap();
    fs::write(unfinished.join("notes"), "mine").unwrap();
    let line = folder.fail(&two("cut"));
    assert!(line.contains("cut/.seed1.tmp: holds notes"), "{line}");
    fs::remove_file(unfinished.join("notes")).unwrap();
    assert_eq!(folder.table(&two("cut"))["mean"], whole["mean"]);
    let [a, b] =
        ["whole", "cut"].map(|out| folder.bytes(&format!("{out}/seed1/model.safetensors")));
    assert_eq!(a, b);
    assert!(!unfinished.exists());
}

#[cfg(unix)]
#[test]
fn an_interrupted_reproduction_says_how_to_continue() {
    let folder = Folder::new("interrupted");
    let two = ["--seeds", "2", "--out", "cut", "--set", "train.epochs=40"];
    let mut child = folder.command(&two).stderr(Stdio::piped()).spawn().unwrap();
    while !folder.0.join("cut/seed0/report.json").exists() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{errors}");
    assert!(errors.contains("cut/seed0: interrupted in epoch "), "{errors}");
    assert!(errors.ends_with("cut: interrupted; continue with the same command\n"), "{errors}");
    assert!(!folder.0.join("cut/seed1").exists());
}

#[test]
fn errors_name_the_setting_that_differs() {
    let folder = Folder::new("settings");
    let one = ["--seeds", "1", "--out", "all"];
    folder.table(&one);
    let before = folder.all("all");
    for (more, named) in [
        (
            ["--set", "train.epochs=3"],
            "has train.epochs = 2, but the command line says train.epochs = 3",
        ),
        (
            ["--variant", "no-delays"],
            "has network.delays = \"learned\", but the command line says network.delays = \"zero\"",
        ),
        (
            ["--protocol", "paper"],
            "has protocol = \"clean\", but the command line says protocol = \"paper\"",
        ),
    ] {
        let line = folder.fail(&[&one[..], &more].concat());
        assert!(line.contains("all/reproduce.toml: ") && line.contains(named), "{line}");
    }
    let line = folder.fail(&[&one[..], &["--set", "seed=2"]].concat());
    assert!(line.contains("seed = 2: --seeds N"), "{line}");
    let line = folder.fail(&[&one[..], &["--speakers", "1"]].concat());
    assert!(line.contains("--speakers 1: needs --protocol leave-speaker-out"), "{line}");
    assert_eq!(folder.all("all"), before);
    folder.table(&[&one[..], &["--threads", "1"]].concat());

    // A finished run with other settings takes the place of a seed.
    let other = ["--out", "other", "--seeds", "1", "--set", "train.l2=0.5"];
    folder.table(&other);
    fs::remove_dir_all(folder.0.join("all/seed0")).unwrap();
    fs::rename(folder.0.join("other/seed0"), folder.0.join("all/seed0")).unwrap();
    let line = folder.fail(&one);
    assert!(
        line.contains("all/seed0/model.safetensors: has train.l2 = 0.5, but the command line says"),
        "{line}"
    );
    // An interrupted run does.
    fs::remove_file(folder.0.join("all/seed0/report.json")).unwrap();
    let line = folder.fail(&one);
    assert!(line.contains("all/seed0/config.toml: has train.l2 = 0.5, but"), "{line}");
}

#[test]
fn existing_files_are_not_overwritten() {
    let folder = Folder::new("overwritten");
    fs::create_dir(folder.0.join("mine")).unwrap();
    fs::write(folder.0.join("mine/table.md"), "mine").unwrap();
    let line = folder.fail(&["--out", "mine", "--seeds", "1"]);
    assert!(
        line.contains("mine: has table.md but no reproduce.toml; choose another folder"),
        "{line}"
    );
    assert_eq!(folder.all("mine").len(), 1);
    for (more, named) in [
        (["--set", "data.test=0.0"], "no items to test on"),
        (["--set", "network.max_delay=60"], "network.max_delay = 60"),
        (["--protocol", "leave-speaker-out"], "needs two speakers or more"),
    ] {
        let line =
            folder.fail(&[&["--set", "data.source=digits", "--out", "new"], &more[..]].concat());
        assert!(line.contains(named), "{line}");
        assert!(!folder.0.join("new").exists());
    }

    let more = |seeds| folder.table(&["--variant", "random-delays", "--seeds", seeds]);
    let (out, count) =
        ("runs/reproduce-order-random-delays", |t: &Value| t["seeds"].as_array().unwrap().len());
    assert_eq!(count(&more("1")), 1);
    let one = folder.json(&format!("{out}/table.json"));
    assert!(one["deviation"].is_null() && one["interval"].is_null(), "{one}");
    let seed0 = folder.all(&format!("{out}/seed0"));
    assert_eq!(count(&more("2")), 2);
    assert_eq!(folder.all(&format!("{out}/seed0")), seed0);
    let both = folder.all(out);
    assert_eq!(count(&more("1")), 2, "a finished seed is left out of the table");
    let kept = |files: Vec<(PathBuf, Vec<u8>)>| -> Vec<_> {
        files.into_iter().filter(|(path, _)| !path.to_string_lossy().contains("/table.")).collect()
    };
    assert_eq!(kept(folder.all(out)), kept(both));
}

#[cfg(target_os = "linux")]
#[test]
fn two_reproductions_do_not_share_a_folder() {
    let folder = Folder::new("shared");
    let long = ["--seeds", "1", "--out", "all", "--set", "train.epochs=1000"];
    let mut child = folder.command(&long).stderr(Stdio::null()).spawn().unwrap();
    while !folder.0.join("all/seed0/report.json").exists() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    let line = folder.fail(&long);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains("all/reproduce.toml: locked by another process"), "{line}");
}

/// Recordings of two words by three speakers, who repeat them three, four and five times.
fn speakers() -> Vec<u8> {
    let mut items = Vec::new();
    for speaker in 0..3_u16 {
        for n in 0..3 + speaker {
            for label in 0..2_u16 {
                let unit = |k: u16| 10 * k + 5 * label + n % 3;
                let times = (0..12).map(|k| 0.02 * k as f32).collect();
                items.push(Recording { times, units: (0..12).map(unit).collect(), label, speaker });
            }
        }
    }
    let keys = ["no", "yes"].map(String::from).to_vec();
    let (source, time_format) = ("speakers.h5".into(), TimeFormat::F32);
    let about = About::default();
    shd::to_bytes(&Recordings { source, channels: 700, keys, time_format, items, about }).unwrap()
}

#[test]
fn every_speaker_is_left_out_once_per_seed() {
    let folder = Folder::new("speakers");
    fs::write(folder.0.join("speakers.h5"), speakers()).unwrap();
    let source = ["--data", ".", "--set", "data.source=h5", "--set", "data.train_file=speakers.h5"];
    let small = ["--set", "data.batch=4", "--seeds", "2", "--protocol", "leave-speaker-out"];
    let args = [&source[..], &small, &["--out", "all"]].concat();
    let table = folder.table(&args);
    assert_eq!(
        table["protocol"],
        "clean: the last epoch; leave-speaker-out: 3 runs per seed, each tested on the speaker left out"
    );
    for (seed, row) in table["seeds"].as_array().unwrap().iter().enumerate() {
        let runs = row["runs"].as_array().unwrap();
        let of = |key: &str| runs.iter().map(|run| run[key].as_u64().unwrap()).collect::<Vec<_>>();
        assert_eq!((of("speaker"), of("test_items")), (vec![0, 1, 2], vec![6, 8, 10]));
        assert!(runs.iter().all(|run| run["test_seen_accuracy"].is_null()), "{row}");
        let share = |run: &Value, key: &str| run[key].as_f64().unwrap();
        let right = |run| share(run, "test_accuracy") * share(run, "test_items");
        close(&row["test_accuracy"], runs.iter().map(right).sum::<f64>() / 24.0);
        for speaker in 0..3 {
            assert!(
                folder
                    .0
                    .join(format!("all/seed{seed}-speaker{speaker}/model.safetensors"))
                    .exists()
            );
        }
    }
    let shown = text(&folder.bytes("all/table.md"));
    assert!(shown.contains("| 1, without speaker 2 | ") && shown.contains("| **1** | "), "{shown}");

    let some = [&source[..], &small, &["--speakers", "2,0,2", "--out", "some"]].concat();
    let runs = folder.table(&some)["seeds"][0]["runs"].clone();
    let left: Vec<_> = runs.as_array().unwrap().iter().map(|run| run["speaker"].clone()).collect();
    assert_eq!(left, [0, 2]);
    let line = folder.fail(&[&source[..], &small, &["--speakers", "7", "--out", "none"]].concat());
    assert!(line.contains("speaker = 7"), "{line}");
    assert!(!folder.0.join("none").exists());
}

#[test]
fn a_sweep_has_a_row_for_each_setting_and_continues() {
    let folder = Folder::new("sweep");
    let one = ["--out", "one", "--seeds", "2", "--set", "train.rate=0.02"];
    let plain = folder.table(&one);
    let sweep = [
        "--seeds",
        "2",
        "--out",
        "all",
        "--sweep",
        "train.rate=2e-2",
        "--sweep",
        "network.hidden=[8]",
        "--sweep",
        "train.rate=0.01",
        "--sweep",
        "network.hidden=[4, 4]",
    ];
    let mut child = folder.command(&sweep).stderr(Stdio::null()).spawn().unwrap();
    let cut = folder.0.join("all/rate-0.01_hidden-8_seed0/report.json");
    while !cut.exists() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let first = folder.all("all/rate-2e-2_hidden-8_seed0");
    let all = folder.table(&sweep);
    assert_eq!(folder.all("all/rate-2e-2_hidden-8_seed0"), first);
    assert_eq!(folder.json("all/table.json"), all);

    let settings = all["settings"].as_array().unwrap();
    let values: Vec<_> = settings.iter().map(|table| table["setting"].clone()).collect();
    let value = |rate: f64, hidden: &[u8]| json!({"network.hidden": hidden, "train.rate": rate});
    assert_eq!(
        values,
        [value(0.02, &[8]), value(0.02, &[4, 4]), value(0.01, &[8]), value(0.01, &[4, 4])]
    );
    for key in ["mean", "deviation", "parameters", "protocol"] {
        assert_eq!(settings[0][key], plain[key], "{key}");
    }
    assert_eq!(
        settings[0]["set"],
        json!(["data.valid = 0.6", "network.max_delay = 6", "train.epochs = 2"])
    );
    for seed in 0..2 {
        let swept = folder.bytes(&format!("all/rate-2e-2_hidden-8_seed{seed}/model.safetensors"));
        assert!(swept == folder.bytes(&format!("one/seed{seed}/model.safetensors")));
    }
    let shown = text(&folder.bytes("all/table.md"));
    let percent = |value: &Value| format!("{:.2}", 100.0 * value.as_f64().unwrap());
    let [mean, deviation] = ["mean", "deviation"].map(|key| percent(&settings[3][key]));
    for part in [
        "# order, sweep of network.hidden, train.rate\n\n| network.hidden | train.rate | test, % |",
        &format!("\n| [4, 4] | 0.01 | {mean} ± {deviation} | "),
        "* protocol: clean: the last epoch\n* settings: preset order, with data.valid = 0.6, ",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let output = polychron(&folder.0, &["compare", "all", "--json"]).output().unwrap();
    let compared: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(compared["differing"], json!(["network.hidden", "seed", "train.rate"]));
    assert_eq!(compared["runs"].as_array().unwrap().len(), 8);
}

#[test]
fn a_wrong_sweep_trains_nothing() {
    let folder = Folder::new("sweep-errors");
    for (sweep, named) in [
        (
            ["train.rate=0.01", "train.rate=0"],
            "--sweep train.rate=0: train.rate = 0.0 is not positive",
        ),
        (["train.rate=0.01", "train.rte=0"], "unknown field `rte`"),
        (["network.max_delay=3", "network.max_delay=600"], "network.max_delay = 600"),
        (["data.speaker=1", "data.speaker=1"], "the same setting as --sweep data.speaker=1"),
    ] {
        let args = ["--out", "new", "--sweep", sweep[0], "--sweep", sweep[1]];
        let output = folder.run(&args);
        let lines = text(&output.stderr);
        assert!(lines.lines().count() == 1 && lines.contains(named), "{lines}");
        assert!(output.status.code() == Some(1) && !folder.0.join("new").exists(), "{lines}");
    }
}
