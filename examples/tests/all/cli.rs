//! The command line: its output files, bit-for-bit repetition and resumption, and its errors.

use crate::common::{empty_folder, polychron, text};
use polychron_datasets::shd;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A task and a network that are small enough for many runs.
pub(crate) const SMALL: [&str; 10] = [
    "--preset",
    "order",
    "--set",
    "data.valid=0.6",
    "--set",
    "train.epochs=2",
    "--set",
    "network.hidden=[8]",
    "--set",
    "network.max_delay=6",
];
const FILES: [&str; 8] = [
    "checkpoint.safetensors",
    "config.toml",
    "curves.jsonl",
    "curves.svg",
    "delays.svg",
    "model.safetensors",
    "raster.svg",
    "report.json",
];

/// The folder of a test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        Self(empty_folder(name))
    }

    fn command(&self, args: &[&str]) -> Command {
        polychron(&self.0, args)
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub(crate) fn train(&self, out: &str, more: &[&str]) -> Output {
        let output = self.run(&[&["train", "--out", out], &SMALL[..], more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        output
    }

    /// Trains into the folder `whole`, and checks that two threads and a resumed run write the same
    /// bytes.
    pub(crate) fn train_alike(&self, more: &[&str]) {
        self.train("whole", &[more, &["--threads", "1"]].concat());
        self.train("two", &[more, &["--threads", "2"]].concat());
        self.train("cut", &[more, &["--stop-after", "1"]].concat());
        let output = self.run(&["train", "--resume", "--out", "cut"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        for file in ["checkpoint.safetensors", "model.safetensors", "delays.svg"] {
            let whole = self.bytes(&format!("whole/{file}"));
            assert!(whole == self.bytes(&format!("cut/{file}")), "{file}");
            assert!(whole == self.bytes(&format!("two/{file}")), "{file}");
        }
    }

    /// Runs a command that must fail, and returns its error, a single line.
    pub(crate) fn fail(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", text(&output.stderr));
        let errors = text(&output.stderr);
        let progress = |l: &&str| l.starts_with("epoch ") || l.ends_with(" steps an epoch");
        let lines: Vec<_> = errors.lines().filter(|l| !progress(l)).collect();
        assert!(lines.len() == 1 && lines[0].starts_with("error: "), "{errors}");
        lines[0].into()
    }

    /// Checks that training fails before it writes anything.
    pub(crate) fn refuse(&self, more: &[&str], named: &[&str]) {
        let args = [&["train", "--out", "refused"], &SMALL[..], more].concat();
        let line = self.fail(&args);
        named.iter().for_each(|part| assert!(line.contains(part), "{part}: {line}"));
        assert!(!self.0.join("refused").exists(), "{line}");
    }

    /// Runs a command that must fail under a limit of file size (like a full disk) or memory.
    #[cfg(target_os = "linux")]
    fn limited(&self, limit: &str, args: &[&str]) -> String {
        let script = format!("trap '' XFSZ; ulimit {limit}; exec \"$@\"");
        let mut command = Command::new("sh");
        command.current_dir(&self.0).args(["-c", &script, "sh", env!("CARGO_BIN_EXE_polychron")]);
        let output = command.args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        text(&output.stderr)
    }

    /// Edits the header and the values of a checkpoint.
    fn edit(&self, path: &str, change: impl FnOnce(&mut Value, &mut [u8])) {
        let bytes = self.bytes(path);
        let (len, rest) = bytes.split_at(8);
        let (header, data) = rest.split_at(u64::from_le_bytes(len.try_into().unwrap()) as usize);
        let mut header: Value = serde_json::from_slice(header).unwrap();
        let mut data = data.to_vec();
        change(&mut header, &mut data);
        let header = header.to_string();
        let len = (header.len() as u64).to_le_bytes();
        fs::write(self.0.join(path), [&len, header.as_bytes(), &data].concat()).unwrap();
    }

    pub(crate) fn replace(&self, path: &str, old: &str, new: &str) {
        let before = text(&self.bytes(path));
        assert!(before.contains(old), "{old}: {before}");
        fs::write(self.0.join(path), before.replace(old, new)).unwrap();
    }

    pub(crate) fn bytes(&self, path: &str) -> Vec<u8> {
        fs::read(self.0.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub(crate) fn list(&self, path: &str) -> Vec<String> {
        let files = fs::read_dir(self.0.join(path)).unwrap();
        let mut names: Vec<_> =
            files.map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

pub(crate) fn last_line(output: &Output) -> Value {
    serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap()
}

#[test]
fn training_writes_a_folder_and_prints_one_json_object() {
    let folder = Folder::new("writes");
    let figures = last_line(&folder.train("run", &["--json", "--seed", "3"]));
    assert_eq!(folder.list("run"), FILES);
    for key in [
        "preset",
        "protocol",
        "seed",
        "epochs",
        "train_accuracy",
        "valid_accuracy",
        "test_accuracy",
        "parameters",
        "seconds",
        "seconds_per_epoch",
        "threads",
        "delays",
        "hidden",
    ] {
        assert!(!figures[key].is_null(), "{key}: {figures}");
    }
    assert_eq!((&figures["seed"], &figures["protocol"]), (&3.into(), &"clean".into()));
    assert!(figures.get("best_test_accuracy").is_none());
    let report: Value = serde_json::from_slice(&folder.bytes("run/report.json")).unwrap();
    assert_eq!(report["curves"].as_array().unwrap().len(), 2);
    assert_eq!(report["figures"], figures);

    let evaluation = last_line(&folder.run(&["eval", "run", "--json"]));
    assert_eq!(evaluation["accuracy"], figures["test_accuracy"]);
    let inspection = last_line(&folder.run(&["inspect", "run", "--json"]));
    assert_eq!(inspection["parameters"], figures["parameters"]);
    assert_eq!(inspection["layers"][1]["shape"], serde_json::json!([10, 8, 1]));
}

#[test]
fn the_default_folder_is_named_after_preset_delays_and_seed() {
    let folder = Folder::new("default");
    let args = [&["train", "--seed", "4", "--set", "train.delays=random"], &SMALL[..]].concat();
    assert!(folder.run(&args).status.success());
    assert_eq!(folder.list("runs"), ["order-fixed-seed4"]);
}

#[test]
fn config_toml_reproduces_the_run() {
    let folder = Folder::new("repeats");
    folder.train("first", &["--seed", "5", "--threads", "1"]);
    let output = folder.run(&["train", "--config", "first/config.toml", "--out", "again"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for file in ["config.toml", "checkpoint.safetensors", "model.safetensors"] {
        assert_eq!(folder.bytes(&format!("first/{file}")), folder.bytes(&format!("again/{file}")));
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let folder = Folder::new("threads");
    folder.train("one", &["--threads", "1"]);
    folder.train("two", &["--threads", "2"]);
    let file = "checkpoint.safetensors";
    assert_eq!(folder.bytes(&format!("one/{file}")), folder.bytes(&format!("two/{file}")));
}

#[test]
fn training_on_the_digits_is_deterministic() {
    let folder = Folder::new("twice");
    for (out, threads) in [("once", "1"), ("again", "1"), ("two", "2")] {
        let few = ["--set", "data.test=0.8"];
        let args = ["train", "--epochs", "2", "--set", "network.hidden=[32]", few[0], few[1]];
        let output = folder.run(&[&args[..], &["--threads", threads, "--out", out]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        for file in ["checkpoint.safetensors", "model.safetensors"] {
            let (first, found) = (format!("once/{file}"), format!("{out}/{file}"));
            assert!(folder.bytes(&first) == folder.bytes(&found), "{found}");
        }
    }
}

#[test]
fn a_resumed_run_ends_in_the_same_bytes() {
    let folder = Folder::new("resume");
    let choose = ["--epochs", "3", "--set", "train.select=valid"];
    folder.train("whole", &choose);
    folder.train("cut", &[&choose[..], &["--stop-after", "1"]].concat());
    assert!(!folder.0.join("cut/model.safetensors").exists());
    // The unfinished file of a killed run is ignored.
    fs::write(folder.0.join("cut/.checkpoint.safetensors.tmp"), "half").unwrap();
    let output = folder.run(&["train", "--resume", "--out", "cut"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for file in ["checkpoint.safetensors", "model.safetensors", "delays.svg", "raster.svg"] {
        assert_eq!(folder.bytes(&format!("whole/{file}")), folder.bytes(&format!("cut/{file}")));
    }
    assert_eq!(folder.list("whole"), FILES);
    assert_eq!(folder.list("cut"), FILES);

    let killed = [&["train", "--out", "killed"], &SMALL[..], &choose].concat();
    let mut child = folder.command(&killed).stderr(Stdio::null()).spawn().unwrap();
    while !folder.0.join("killed/report.json").exists() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(folder.run(&["train", "--resume", "--out", "killed"]).status.success());
    for file in ["checkpoint.safetensors", "model.safetensors"] {
        assert_eq!(folder.bytes(&format!("whole/{file}")), folder.bytes(&format!("killed/{file}")));
    }

    let before = folder.bytes("cut/report.json");
    let output = folder.run(&["train", "--resume", "--out", "cut", "--json"]);
    assert!(output.status.success() && text(&output.stderr).contains("all 3 epochs are finished"));
    assert_eq!(last_line(&output)["epochs"], 3);
    assert_eq!(folder.bytes("cut/report.json"), before);
    let mut report: Value = serde_json::from_slice(&before).unwrap();
    report["curves"].as_array_mut().unwrap().pop();
    fs::write(folder.0.join("cut/report.json"), report.to_string()).unwrap();
    let output = folder.run(&["train", "--resume", "--out", "cut"]);
    let note = "cut: stopped early and finished after 2 of 3 epochs";
    assert!(output.status.success() && text(&output.stderr).contains(note));
}

#[test]
fn protocol_paper_selects_the_best_epoch_on_the_test_items() {
    let folder = Folder::new("paper");
    let output = folder.train("run", &["--epochs", "3", "--protocol", "paper", "--json"]);
    let report: Value = serde_json::from_slice(&folder.bytes("run/report.json")).unwrap();
    let curves = report["curves"].as_array().unwrap().iter();
    let best = curves.map(|e| e["test_accuracy"].as_f64().unwrap()).fold(0.0, f64::max);
    let figures = last_line(&output);
    assert_eq!(figures["best_test_accuracy"].as_f64(), Some(best));
    assert_eq!(figures["test_accuracy"].as_f64(), Some(best));
    let evaluation = last_line(&folder.run(&["eval", "run", "--json"]));
    assert_eq!(evaluation["accuracy"].as_f64(), Some(best));
}

#[test]
fn invalid_fields_are_named_before_anything_is_written() {
    let folder = Folder::new("bad");
    fs::write(folder.0.join("bad.toml"), "seed = 1\n\n[network]\nhiden = [8]\n").unwrap();
    let line = folder.fail(&["train", "--config", "bad.toml", "--out", "refused"]);
    assert!(line.contains("bad.toml:4") && line.contains("hiden"), "{line}");
    assert!(!folder.0.join("refused").exists());

    folder.refuse(&["--set", "network.hiden=3"], &["hiden", "network"]);
    folder.refuse(&["--set", "network.neuron.tau_ms=-5"], &["network.neuron.tau_ms = -5"]);
    folder.refuse(
        &["--set", "network.neuron.kind=plif", "--set", "network.neuron.tau_ms=10"],
        &["tau_ms = 10"],
    );
    folder.refuse(
        &["--set", "network.max_delay=60"],
        &["network.max_delay = 60", "60 steps", "burst order"],
    );
    folder.refuse(&["--set", "network.kernel=box"], &["network.kernel", "box", "gauss"]);
    folder.refuse(&["--set", "network.surrogate.beta=1"], &["network.surrogate", "beta"]);
    folder.refuse(&["--set", "network.dropout=1.0"], &["network.dropout = 1"]);
    folder.refuse(&["--set", "data.batch=1"], &["data.batch = 1"]);
    folder.refuse(&["--set", "data.dt_ms=5"], &["data.dt_ms = 5"]);
    folder.refuse(&["--set", "data.augment.cutmix=2"], &["augment", "cutmix = 2"]);
    folder.refuse(&["--set", "train.rate=0"], &["train.rate = 0"]);
    folder.refuse(&["--set", "train.rate=fast"], &["fast", "train.rate"]);
    for (field, value) in [
        ("train.rate", "1e300"),
        ("train.rate", "1e-300"),
        ("train.delay_rate", "1e300"),
        ("train.l2", "1e300"),
        ("train.sigma_start", "1e300"),
        ("train.sigma_end", "1e300"),
        ("network.readout_tau_ms", "1e300"),
        ("network.neuron.tau_ms", "1e300"),
        ("network.neuron.threshold", "1e300"),
        ("network.neuron.v_reset", "-1e300"),
        ("network.neuron.a", "1e300"),
        ("network.neuron.b", "1e300"),
    ] {
        let kind = if field.starts_with("network.neuron.t") { "lif" } else { "adlif" };
        let kind = format!("network.neuron.kind={kind}");
        let tau = "network.neuron.tau_ms=20";
        let set = ["--set", tau, "--set", &kind, "--set", &format!("{field}={value}")];
        folder.refuse(&set, &[&format!("{field} = {value}")]);
    }
    let unknown = folder.fail(&["train", "--preset", "shdd"]);
    assert!(unknown.contains("shdd") && unknown.contains("digits"), "{unknown}");
    let usage = folder.run(&["train", "--no-such-option"]);
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn errors_name_the_invalid_configuration_file() {
    let folder = Folder::new("file");
    let fail = |text: &str, set: &[&str]| {
        fs::write(folder.0.join("own.toml"), text).unwrap();
        let args = [&["train", "--config", "own.toml", "--out", "refused"], set].concat();
        let line = folder.fail(&args);
        assert!(!folder.0.join("refused").exists());
        line
    };
    let line = fail("[train]\nrate = -1\n", &[]);
    assert!(line.contains("own.toml: train.rate = -1"), "{line}");
    let line = fail("[network.neuron]\ntau_ms = 3\n", &["--seed", "1"]);
    assert!(line.contains("own.toml: network.neuron.tau_ms = 3"), "{line}");
    let line = fail("[network]\nkernel = \"box\"\n", &[]);
    assert!(line.contains("own.toml: network.kernel = \"box\""), "{line}");
    let line = fail("preset = \"shdd\"\n", &[]);
    assert!(line.contains("own.toml: preset = \"shdd\""), "{line}");
    let line = fail("[train]\nrate = 1\n", &["--set", "train.rate=-1"]);
    assert!(line.contains("error: train.rate = -1"), "{line}");
}

#[test]
fn fields_of_other_neuron_kinds_are_ignored() {
    let folder = Folder::new("unread");
    for (out, set) in [
        ("if", ["network.neuron.kind=if", "network.neuron.tau_ms=-1"]),
        ("lif", ["network.neuron.a=1e300", "network.neuron.tau_w_ms=-1"]),
        ("soft", ["network.neuron.reset=soft", "network.neuron.v_reset=1e300"]),
    ] {
        folder.train(out, &["--stop-after", "0", "--set", set[0], "--set", set[1]]);
    }
}

#[test]
fn runs_that_cannot_be_trained_write_nothing() {
    let folder = Folder::new("large");
    let line = "burst order: training items = 1; a batch needs at least 2";
    folder.refuse(&["--set", "data.valid=0.9995"], &[line]);

    #[cfg(target_os = "linux")]
    {
        let large = ["--threads", "1", "--set", "data.steps=65536", "--set", "data.batch=65536"];
        let args = [&["train", "--out", "refused"], &SMALL[..], &large].concat();
        let errors = folder.limited("-v 1000000", &args);
        assert!(errors.contains("steps = 65536") && errors.contains("memory"), "{errors}");
        assert!(folder.list(".").is_empty());

        let args = ["train", "--out", "refused", "--threads", "2", "--set", "data.batch=1024"];
        for limit in ["-v 150000", "-v 300000", "-v 500000"] {
            let errors = folder.limited(limit, &args);
            assert!(errors.contains("memory") && errors.lines().count() == 1, "{limit}: {errors}");
            assert!(folder.list(".").is_empty());
        }
        folder.train("run", &["--threads", "2"]);
        folder.replace("run/config.toml", "steps = 60", "steps = 20000");
        edit_metadata(&folder, "run/model.safetensors", |parts| {
            let config = parts["config"].as_str().unwrap();
            parts["config"] = config.replace("steps = 60", "steps = 20000").into();
        });
        let before = folder.list("run");
        let errors = folder.limited("-v 225000", &["eval", "run"]);
        assert!(errors.contains("memory") && errors.lines().count() == 1, "{errors}");
        assert_eq!(folder.list("run"), before);
    }
}

#[test]
fn google_speech_commands_are_trained_from_the_unpacked_archive() {
    let folder = Folder::new("commands");
    let wavs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/commands");
    const ARCHIVE: &str = "data/speech_commands_v0.02";
    let archive = folder.0.join(ARCHIVE);
    for word in ["backward", "happy"] {
        fs::create_dir_all(archive.join(word)).unwrap();
        for n in 0..6 {
            let copy = archive.join(format!("{word}/a_nohash_{n}.wav"));
            fs::copy(wavs.join(format!("{word}.wav")), copy).unwrap();
        }
    }
    let lists = [("validation_list.txt", 4), ("testing_list.txt", 5)];
    let write_lists = |words: &[&str]| {
        for (list, n) in lists {
            let lines: String = words.iter().map(|w| format!("{w}/a_nohash_{n}.wav\n")).collect();
            fs::write(archive.join(list), lines).unwrap();
        }
    };
    write_lists(&["backward", "happy", "stop"]);
    let small = ["--set", "network.hidden=[16]", "--set", "network.max_delay=6"];
    let train = ["train", "--preset", "gsc", "--data", "data", "--epochs", "3", "--json"];
    let batch = ["--set", "data.batch=4", "--set", "network.dropout=0.0"];
    for (out, bands) in
        [("a", "data.bands=full"), ("b", "data.bands=paper"), ("c", "data.bands=full")]
    {
        let run = [&train[..], &small, &batch, &["--set", bands, "--out", out]].concat();
        let output = folder.run(&run);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(folder.list(out), FILES);
        let notes = text(&output.stderr);
        let missing = "speech_commands_v0.02: 2 recordings of the lists are not there";
        assert!(notes.contains(missing), "{notes}");
        let report = last_line(&output);
        let items = ["train_items", "valid_items", "test_items"].map(|part| &report[part]);
        assert_eq!(items, [8, 2, 2], "{report}");
    }
    assert_eq!(folder.bytes("a/model.safetensors"), folder.bytes("c/model.safetensors"));
    assert_ne!(folder.bytes("a/model.safetensors"), folder.bytes("b/model.safetensors"));
    write_lists(&["backward", "happy"]);
    let line = folder.fail(&["export", "a", "--data", "data", "-o", "a.pcn"]);
    assert!(line.contains("real values"), "{line}");
    let heard = last_line(&folder.run(&["eval", "a", "--wav", ARCHIVE, "--json"]));
    assert!(heard["items"] == 12 && heard["classes"][0]["class"] == "backward", "{heard}");
    let rows = text(&folder.run(&["predict", "a", ARCHIVE]).stdout);
    let word = |row: &str| row.split("  ").nth(1).map(String::from);
    let decided = rows.lines().filter(|row| word(row).as_deref() == Some("happy")).count();
    assert_eq!((rows.lines().count(), decided as u64), (12, predicted(&heard, "happy")));
    let line = folder.fail(&["predict", "a", "a/config.toml"]);
    assert!(line.contains("was trained on mel bands of sound; name sound files"), "{line}");
}

/// The number of items that an evaluation takes for a class.
fn predicted(evaluation: &serde_json::Value, class: &str) -> u64 {
    let mut classes = evaluation["classes"].as_array().unwrap().iter();
    classes.find(|c| c["class"] == class).map_or(0, |c| c["predicted"].as_u64().unwrap())
}

#[test]
fn encoded_recordings_can_be_trained_on() {
    let folder = Folder::new("encode");
    let wavs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/commands");
    for word in ["backward", "happy"] {
        fs::create_dir_all(folder.0.join("wavs").join(word)).unwrap();
        for n in 0..8 {
            let copy = folder.0.join(format!("wavs/{word}/{n}.wav"));
            fs::copy(wavs.join(format!("{word}.wav")), copy).unwrap();
        }
    }
    for (encoder, channels) in [("cochlea", 700), ("delta", 48)] {
        let out = format!("{encoder}.h5");
        let again = format!("{encoder}-again.h5");
        for (out, threads) in [(&out, "1"), (&again, "2")] {
            let encode = ["data", "encode", "wavs", "--out", out, "--encoder", encoder];
            let output = folder.run(&[&encode[..], &["--threads", threads]].concat());
            assert!(output.status.success(), "{}", text(&output.stderr));
            assert!(text(&output.stdout).contains("16 recordings, 2 classes"));
        }
        assert_eq!(folder.bytes(&out), folder.bytes(&again));
        let stats = ["data", "stats", &out, "--group", "4", "--json"];
        let stats = last_line(&folder.run(&stats));
        assert_eq!((&stats["samples"], &stats["channels"]), (&16.into(), &(channels / 4).into()));
    }
    let line = folder.fail(&["data", "stats", "delta.h5", "--group", "5"]);
    assert!(line.contains("delta.h5: group = 5 does not divide 48 channels; use 4 or 6"), "{line}");
    let line = folder.fail(&["data", "stats", "delta.h5", "--channels", "700"]);
    assert!(line.contains("extra/channels = 48 is not 700"), "{line}");
    let before = folder.list(".");
    let line = folder.fail(&["data", "encode", "wavs", "--out", "delta.h5"]);
    assert!(line.contains("delta.h5: exists"), "{line}");
    fs::write(folder.0.join("wavs/happy/9.wav"), "no sound").unwrap();
    let strict = ["data", "encode", "wavs", "--out", "new.h5", "--strict"];
    let line = folder.fail(&strict);
    assert!(line.contains("happy/9.wav: is no wav, FLAC or Ogg Vorbis file"), "{line}");
    assert!(line.ends_with("1 is left out without --strict"), "{line}");
    assert_eq!(folder.list("."), before);
    let output = folder.run(&["data", "encode", "wavs", "--out", "new/folder/new.h5"]);
    assert!(output.status.success() && folder.list("new/folder") == ["new.h5"]);

    let tone = wavs.join("../sound/tone.flac");
    fs::copy(tone, folder.0.join("wavs/happy/tone.FLAC")).unwrap();
    let encode = ["data", "encode", "wavs", "--encoder", "delta", "--out"];
    let output = folder.run(&[&encode[..], &["some.h5"]].concat());
    assert!(output.status.success());
    let said = text(&output.stdout);
    assert!(said.starts_with("some.h5: 17 recordings, 2 classes, 48 channels"), "{said}");
    let counts = "  1 resampled to 16 kHz; 1 mixed to one channel; 1 left out\n";
    assert!(said.contains(counts), "{said}");
    let line = text(&output.stderr);
    assert!(line.contains("left out: wavs/happy/9.wav: is no wav"), "{line}");
    assert_eq!(line.lines().count(), 1);
    let report = last_line(&folder.run(&[&encode[..], &["more.h5", "--json"]].concat()));
    let numbers = ["resampled", "mixed", "silent", "without_spikes"].map(|field| &report[field]);
    assert_eq!(numbers, [1, 1, 0, 0], "{report}");
    assert_eq!(report["skipped"].as_array().map(Vec::len), Some(1), "{report}");

    fs::rename(folder.0.join("cochlea.h5"), folder.0.join("recordings.h5")).unwrap();
    let train = ["train", "--preset", "recordings", "--data", ".", "--epochs", "1"];
    let small = ["--out", "run", "--set", "network.hidden=[8]", "--set", "data.batch=4"];
    let output = folder.run(&[&train[..], &small].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn an_item_is_drawn_and_figures_are_overwritten_only_with_force() {
    let folder = Folder::new("show");
    let show = ["data", "show", "digits", "--index", "7"];
    let output = folder.run(&[&show[..], &["--json"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = last_line(&output);
    assert_eq!((&said["file"], &said["channels"]), (&"digits-7.svg".into(), &48.into()));
    let picture = String::from_utf8(folder.bytes("digits-7.svg")).unwrap();
    let word = said["class"].as_str().unwrap();
    for shown in [&format!("Item 7: {word}"), "time, ms", "channel", "<path"] {
        assert!(picture.contains(shown), "{shown}");
    }
    // A dash is as long as its number of spikes, because no two spikes of the digits coincide.
    let path = picture.split("d=\"M").nth(1).unwrap().split('"').next().unwrap();
    let lengths = path.split('M').map(|dash| dash.split_once('h').unwrap().1);
    let drawn: f64 = lengths.map(|length| length.parse::<f64>().unwrap()).sum();
    assert_eq!(said["spikes"], drawn);

    fs::write(folder.0.join("x.svg"), "mine").unwrap();
    let line = folder.fail(&[&show[..], &["--out", "x.svg"]].concat());
    assert!(line.contains("x.svg: exists") && line.contains("--force"), "{line}");
    assert_eq!(folder.bytes("x.svg"), b"mine");
    let forced = folder.run(&[&show[..], &["--out", "x.svg", "--force"]].concat());
    assert!(forced.status.success());
    assert_eq!(folder.bytes("x.svg"), folder.bytes("digits-7.svg"));
    let line = folder.fail(&["data", "show", "digits", "--index", "3000", "--out", "y.svg"]);
    assert!(line.contains("--index 3000 is out of range of 3000 items"), "{line}");
    assert_eq!(folder.list("."), ["digits-7.svg", "x.svg"]);
}

#[test]
fn errors_name_missing_and_damaged_data() {
    let folder = Folder::new("data");
    let line = folder.fail(&["train", "--preset", "shd"]);
    assert!(line.contains("shd_train.h5") && line.contains("--data"), "{line}");
    let line = folder.fail(&["train", "--preset", "shd", "--data", "nowhere"]);
    assert!(line.contains("nowhere/shd_train.h5") && line.contains("--data"), "{line}");
    let line = folder.fail(&["train", "--preset", "gsc"]);
    assert!(line.contains("speech_commands_v0.02") && line.contains("--data"), "{line}");
    let line = folder.fail(&["train", "--preset", "gsc", "--data", "."]);
    assert!(line.contains("speech_commands_v0.02"), "{line}");

    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let (nan, data) = (fixtures.join("nan.h5.gz"), fixtures.to_str().unwrap());
    let line = folder.fail(&["data", "stats", nan.to_str().unwrap()]);
    assert!(line.contains("nan.h5.gz") && line.contains("NaN"), "{line}");
    let line = folder.fail(&[
        "train",
        "--preset",
        "shd",
        "--data",
        data,
        "--set",
        "data.train_file=nan.h5.gz",
    ]);
    assert!(line.contains("nan.h5.gz") && line.contains("NaN"), "{line}");
    assert!(folder.list(".").is_empty());

    fs::copy(fixtures.join("small.h5"), folder.0.join("test.h5")).unwrap();
    let mut early = shd::read(fixtures.join("small.h5"), &shd::Options::default()).unwrap();
    early.items.iter_mut().for_each(|item| item.times[0] = 0.0);
    fs::write(folder.0.join("train.h5"), shd::to_bytes(&early).unwrap()).unwrap();
    let files = ["data.source=h5", "data.train_file=train.h5", "data.test_file=test.h5"];
    let train = |more: [_; 2]| {
        let set = files.into_iter().chain(more).flat_map(|set| ["--set", set]);
        folder.fail(&["train", "--data", "."].into_iter().chain(set).collect::<Vec<_>>())
    };
    early.items[1].times[2] = 1100.0;
    fs::write(folder.0.join("test.h5"), shd::to_bytes(&early).unwrap()).unwrap();
    let line = train(["data.steps=0", "data.dt_ms=1"]);
    let named = "test.h5: samples[1].steps = 1100001 is above 1048576; set data.steps to truncate \
         it, or data.time_unit if times are not in seconds";
    assert!(line.contains(named), "{line}");
    let one_class = fixtures.join("one_class.h5.gz");
    let stats = last_line(&folder.run(&["data", "stats", one_class.to_str().unwrap(), "--json"]));
    assert_eq!(stats["samples"], 4);

    fs::write(folder.0.join("note.bin.gz"), "no spikes here").unwrap();
    assert!(folder.fail(&["data", "stats", "note.bin.gz"]).contains("note.bin.gz"));
    fs::create_dir(folder.0.join("not.h5")).unwrap();
    fs::rename(folder.0.join("note.bin.gz"), folder.0.join("not.h5/note.bin.gz")).unwrap();
    let line = folder.fail(&["data", "stats", "not.h5/note.bin.gz"]);
    assert!(line.contains("not.h5/note.bin.gz: line 1 has no column time"), "{line}");
    let digits = last_line(&folder.run(&["data", "stats", "digits", "--json"]));
    assert_eq!(digits["samples"], 3000);
    let line = folder.fail(&["data", "stats", data]);
    assert!(line.contains("fixtures: is a folder"), "{line}");
}

#[test]
fn bench_step_reports_the_setting_and_the_stages() {
    let folder = Folder::new("bench");
    let small = ["bench", "step", "--batch", "2", "--steps", "6", "--max-delay", "3"];
    let timing = |threads| {
        let more = ["--warmup", "1", "--repeats", "2", "--json", "--threads", threads];
        let output = folder.run(&[&small[..], &more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        last_line(&output)
    };
    let (one, two) = (timing("1"), timing("2"));
    for (key, value) in [
        ("net", "shd".into()),
        ("dt_ms", 10.into()),
        ("steps", 6.into()),
        ("batch", 2.into()),
        ("taps", 4.into()),
        ("sigma", 2.0.into()),
        ("density", 0.06.into()),
        ("threads", 1.into()),
        ("repeats", 2.into()),
        ("device", Value::from("cpu")),
    ] {
        assert_eq!(one[key], value, "{key}");
    }
    let stages = one["stages"].as_object().unwrap();
    for stage in ["upload", "dropout", "readout", "download", "finite", "adam", "other"] {
        assert!(stages[stage].is_f64(), "{stage}: {stages:?}");
    }
    for layer in 1..=3 {
        let passes = ["forward", "backward"].map(|pass| &stages[&format!("{pass}_{layer}")]);
        assert!(passes.iter().all(|ms| ms.as_f64() > Some(0.0)), "{stages:?}");
    }
    assert_eq!(stages.len(), 13, "{stages:?}");
    let rates = one["firing_rates"].as_array().unwrap();
    assert!(rates.len() == 2 && rates.iter().all(|r| (0.0..=1.0).contains(&r.as_f64().unwrap())));
    assert_eq!(one["firing_rates"], two["firing_rates"]);
    let macs = 7 * 140 * 256 * 2 + 8 * 256 * 256 * 3 + 9 * 256 * 20 * 3;
    assert_eq!(one["dense_gflop"].as_f64().map(|g| (g * 1e9).round()), Some((16 * macs).into()));
    assert!(one["total_ms"].as_f64() > Some(0.0) && one["gemm_peak_gflops"].as_f64() > Some(0.0));
    for key in ["peak_rss_mib", "cpu"] {
        assert!(one.get(key).is_some(), "{key}");
    }
    #[cfg(target_os = "linux")]
    assert!(one["peak_rss_mib"].as_f64() > Some(1.0));

    for (wrong, named) in [
        (["--dt-ms", "5"], "--dt-ms = 5"),
        (["--density", "-1"], "--density = -1"),
        (["--batch", "1"], "batch = 1"),
        (["--repeats", "0"], "--repeats = 0"),
        (["--sigma", "-1"], "sigma_start = -1"),
    ] {
        let line = folder.fail(&[&["bench", "step"], &wrong[..]].concat());
        assert!(line.contains(named), "{line}");
    }
    assert!(folder.list(".").is_empty());
}

#[test]
fn bench_infer_reports_the_setting_and_the_times() {
    let folder = Folder::new("infer");
    let small = ["bench", "infer", "--batch", "2", "--steps", "6", "--max-delay", "3"];
    let timing = |threads| {
        let more = ["--repeats", "2", "--json", "--threads", threads];
        let output = folder.run(&[&small[..], &more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        last_line(&output)
    };
    let (one, two) = (timing("1"), timing("2"));
    for (key, value) in [
        ("net", Value::from("shd")),
        ("dt_ms", 10.into()),
        ("steps", 6.into()),
        ("batch", 2.into()),
        ("taps", 4.into()),
        ("density", 0.06.into()),
        ("threads", 1.into()),
        ("repeats", 2.into()),
    ] {
        assert_eq!(one[key], value, "{key}");
    }
    for key in ["batch_ms_per_sample", "stream_ms", "stream_min_ms", "steps_ms", "events"] {
        assert!(one[key].as_f64() > Some(0.0), "{key}: {one}");
    }
    let rates = one["firing_rates"].as_array().unwrap();
    assert!(rates.len() == 2 && rates.iter().all(|r| (0.0..=1.0).contains(&r.as_f64().unwrap())));
    for key in ["firing_rates", "events"] {
        assert_eq!(one[key], two[key], "{key}");
    }
    let ns = one["stream_ms"].as_f64().unwrap() * 1e6 / one["events"].as_f64().unwrap();
    assert!((one["ns_per_event"].as_f64().unwrap() / ns - 1.0).abs() < 1e-9);
    for (wrong, named) in [("--dt-ms=5", "--dt-ms = 5"), ("--repeats=0", "--repeats = 0")] {
        let line = folder.fail(&["bench", "infer", wrong]);
        assert!(line.contains(named), "{line}");
    }
    assert!(folder.list(".").is_empty());
}

#[test]
fn bench_data_reports_the_setting_and_the_times() {
    let folder = Folder::new("bench-data");
    let args = ["bench", "data", "--recordings", "20", "--spikes", "50", "--sound", "1", "--json"];
    let timing = last_line(&folder.run(&args));
    assert_eq!((&timing["recordings"], &timing["spikes"]), (&20.into(), &50.into()));
    let entries = timing["entries"].as_u64().unwrap();
    assert!((900..=1000).contains(&entries), "{timing}");
    for key in ["read_s", "cochlea_times_real_time"] {
        assert!(timing[key].as_f64().unwrap() > 0.0, "{timing}");
    }
    let line = folder.fail(&["bench", "data", "--spikes", "0"]);
    assert!(line.contains("--spikes = 0 is not at least 1"), "{line}");
}

#[test]
fn streamed_items_are_classified_as_in_batches() {
    let folder = Folder::new("stream");
    folder.train("run", &["--seed", "3"]);
    let mut batches = last_line(&folder.run(&["eval", "run", "--json"]));
    let mut stream = last_line(&folder.run(&["eval", "run", "--json", "--stream"]));
    assert!(stream["ms_per_item"].as_f64() > Some(0.0) && batches.get("ms_per_item").is_none());
    stream.as_object_mut().unwrap().remove("ms_per_item");
    // A membrane at the threshold may be rounded differently.
    let share = |value: &Value| value.as_f64().unwrap();
    for key in ["accuracy", "rates"] {
        let (found, expected) = (stream[key].take(), batches[key].take());
        let close = |a: &Value, b: &Value| (share(a) - share(b)).abs() < 5e-3;
        let both = found.as_array().zip(expected.as_array());
        let same = both.map_or_else(
            || close(&found, &expected),
            |(a, b)| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| close(a, b)),
        );
        assert!(same, "{key}: {found} {expected}");
    }
    for evaluation in [&mut stream, &mut batches] {
        evaluation.as_object_mut().unwrap().remove("confusions");
    }
    assert_eq!(stream, batches);
    let table = text(&folder.run(&["eval", "run", "--stream"]).stdout);
    assert!(table.contains(" ms per item"), "{table}");
}

#[test]
fn an_exported_model_file_can_be_inspected() {
    let folder = Folder::new("export");
    folder.train("run", &[]);
    let whole = last_line(&folder.run(&["eval", "run", "--json"]));
    for (weights, recording) in [("i8", true), ("f32", false)] {
        let file = format!("{weights}.pcn");
        let mut args = vec!["export", "run", "-o", &file, "--weights", weights, "--json"];
        if recording {
            args.extend(["--recording", "spikes.bin", "--recorded", "7"]);
        }
        let export = last_line(&folder.run(&args));
        assert_eq!(export["rounded_accuracy"], whole["accuracy"]);
        assert!(export["agreement"].as_f64().unwrap() > 0.9, "{export}");
        assert_eq!(export["flash"], folder.bytes(&file).len());
        let inspection = last_line(&folder.run(&["inspect", &file, "--json"]));
        for field in ["channels", "classes", "ram", "flash", "layers"] {
            assert_eq!(export[field], inspection[field]);
        }
        let line = folder.fail(&["export", "run", "-o", &file]);
        assert!(line.contains(&format!("{file}: exists; --force overwrites it")), "{line}");
    }
    assert_eq!(folder.bytes("spikes.bin")[..2], [7, 0]);
    let table = text(&folder.run(&["inspect", "i8.pcn"]).stdout);
    for part in ["flash", "RAM", "8-8", "8-10", "100 % active"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let small = last_line(&folder.run(&[
        "export",
        "run",
        "-o",
        "small.pcn",
        "--scheme",
        "small",
        "--json",
    ]));
    let fast = last_line(&folder.run(&["inspect", "i8.pcn", "--json"]));
    assert!(small["ram"].as_u64() < fast["ram"].as_u64());
    let mut damaged = folder.bytes("i8.pcn");
    damaged[100] ^= 1;
    fs::write(folder.0.join("damaged.pcn"), damaged).unwrap();
    let line = folder.fail(&["inspect", "damaged.pcn"]);
    assert!(line.contains("damaged.pcn: byte 12: the checksum does not match"), "{line}");
    let mut damaged = folder.bytes("f32.pcn");
    damaged[100] ^= 1;
    fs::write(folder.0.join("damaged.pcn"), damaged).unwrap();
    let line = folder.fail(&["inspect", "damaged.pcn"]);
    assert!(line.contains("damaged.pcn: byte 12: the checksum does not match"), "{line}");
    let line = folder.fail(&["inspect", "nosuch.pcn"]);
    assert_eq!(line, "error: nosuch.pcn: neither the folder of a run nor a model file");
    let args = ["export", "run", "-o", "new.pcn", "--weights", "f32", "--recording", "new.bin"];
    assert!(folder.fail(&args).contains("--recording"));
    assert!(!folder.0.join("new.pcn").exists());
}

#[test]
fn export_names_a_network_that_model_files_cannot_hold() {
    let folder = Folder::new("export-others");
    folder.train("run", &["--set", "network.neuron.kind=adlif", "--set", "train.epochs=1"]);
    let line = folder.fail(&["export", "run", "-o", "model.pcn"]);
    assert!(
        line.contains("layer 0: a model file holds leaky integrate-and-fire neurons"),
        "{line}"
    );
    assert!(!folder.0.join("model.pcn").exists());
}

/// The algorithm of every direction in a plan. It must have the lowest printed cost.
fn cheapest(plan: &str) -> Vec<&str> {
    plan.lines()
        .filter(|line| line.starts_with("  "))
        .map(|line| {
            let (before, costs) = line.split_once(" of ").unwrap();
            let algorithm = before.split_whitespace().last().unwrap();
            let costs = costs.strip_suffix(" G multiply-adds").unwrap().split(", ");
            let costs = costs.map(|cost| cost.split_once(' ').unwrap());
            let costs: Vec<(&str, f64)> = costs.map(|(n, c)| (n, c.parse().unwrap())).collect();
            let least = costs.iter().map(|(_, cost)| *cost).fold(f64::INFINITY, f64::min);
            assert!(costs.contains(&(algorithm, least)), "{line}");
            algorithm
        })
        .collect()
}

#[test]
fn a_plan_selects_the_cheapest_algorithm_for_every_layer_and_direction() {
    let folder = Folder::new("plan");
    let plan = |args: &[&str]| text(&folder.run(args).stdout);
    let wide = plan(&["bench", "step", "--plan", "--dt-ms", "1"]);
    assert!(
        wide.contains("layer 2: 256-256, 65 taps up to 64 ms, sigma 32, density 0.06: 65 "),
        "{wide}"
    );
    assert_eq!(wide.lines().count(), 12, "{wide}");
    assert_eq!(cheapest(&wide).len(), 9);
    let narrow = ["--dt-ms", "1", "--sigma", "0.23", "--density", "0.02"];
    let narrow = plan(&[&["bench", "step", "--plan"], &narrow[..]].concat());
    assert_eq!(cheapest(&narrow).len(), 9);
    for (name, directions) in [("dense", 9), ("taps", 9), ("windows", 6)] {
        let asked = plan(&["train", "--plan", "--set", &format!("algorithm={name}")]);
        assert_eq!(asked.matches(&format!(" {name:<9} of dense")).count(), directions, "{asked}");
    }
    assert!(folder.list(".").is_empty());
}

#[test]
fn a_diverging_run_keeps_its_last_good_checkpoint() {
    let folder = Folder::new("diverges");
    let args = [&["train", "--out", "run", "--set", "train.rate=1e38"], &SMALL[..]].concat();
    let line = folder.fail(&args);
    assert!(line.contains("epoch 1, batch ") && line.contains("train.rate = 1e38"), "{line}");
    assert!(line.contains("run/checkpoint.safetensors"), "{line}");
    let inspection = last_line(&folder.run(&["inspect", "run", "--json"]));
    assert_eq!(inspection["epoch"], 0);
}

#[test]
fn existing_runs_are_not_overwritten() {
    let folder = Folder::new("exists");
    folder.train("run", &["--stop-after", "1"]);
    let before = folder.bytes("run/checkpoint.safetensors");
    let args = [&["train", "--out", "run"], &SMALL[..]].concat();
    let line = folder.fail(&args);
    assert!(line.contains("run: exists") && line.contains("--resume"), "{line}");
    let args = [&["train", "--out", "run", "--resume", "--seed", "9"], &SMALL[..]].concat();
    let line = folder.fail(&args);
    assert!(line.contains("run/config.toml") && line.contains("seed = 9"), "{line}");
    assert_eq!(folder.bytes("run/checkpoint.safetensors"), before);
}

#[test]
fn a_resumed_run_accepts_only_its_own_settings() {
    let folder = Folder::new("assigned");
    folder.train("run", &["--stop-after", "1"]);
    for (set, named) in [
        (["--seed", "9"], "has seed = 0, but the command line says seed = 9"),
        (["--epochs", "3"], "has train.epochs = 2, but the command line says train.epochs = 3"),
        (["--set", "train.sigma_epochs=1"], "has no train.sigma_epochs, but"),
    ] {
        let line = folder.fail(&[&["train", "--resume", "--out", "run"], &set[..]].concat());
        assert!(line.contains("run/config.toml") && line.contains(named), "{line}");
    }
    let same = ["--epochs", "2", "--seed", "0", "--set", "network.hidden=[8]"];
    let output = folder.run(&[&["train", "--resume", "--out", "run"], &same[..]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(folder.list("run"), FILES);
}

#[test]
fn a_model_is_read_with_the_configuration_it_contains() {
    let folder = Folder::new("edited");
    folder.train("run", &[]);
    let read = |note: &str| {
        ["eval", "inspect"].map(|command| {
            let output = folder.run(&[command, "run", "--json"]);
            let errors = text(&output.stderr);
            assert!(output.status.success() && errors.contains(note), "{errors}");
            assert_eq!(errors.lines().count(), usize::from(!note.is_empty()), "{errors}");
            last_line(&output)
        })
    };
    let before = read("");
    folder.replace("run/config.toml", "threads = 0", "threads = 1");
    assert_eq!(read(""), before);
    folder.replace("run/config.toml", "threshold = 1.0", "threshold = 0.1");
    folder.replace("run/config.toml", "train_neurons = true", "train_neurons = false");
    folder.replace("run/config.toml", "delays = \"learned\"", "delays = \"zero\"");
    let note = "run/config.toml: has network.delays = \"zero\", but run/model.safetensors was made \
                with network.delays = \"learned\", which is used";
    assert_eq!(read(note), before);
    fs::remove_file(folder.0.join("run/config.toml")).unwrap();
    assert_eq!(read("run/config.toml: "), before);
}

#[test]
fn a_damaged_model_is_refused() {
    let folder = Folder::new("damaged");
    folder.train("run", &[]);
    let whole = folder.bytes("run/model.safetensors");
    let refuse = |named: &str, change: &dyn Fn(&mut Value, &mut [u8])| {
        fs::write(folder.0.join("run/model.safetensors"), &whole).unwrap();
        folder.edit("run/model.safetensors", change);
        for command in ["eval", "inspect"] {
            let line = folder.fail(&[command, "run"]);
            assert!(line.contains(&format!("run/model.safetensors: {named}")), "{line}");
        }
    };
    refuse("tensor hidden.0.weight[1] = NaN is not finite", &|header, data| {
        let at = header["hidden.0.weight"]["data_offsets"][0].as_u64().unwrap() as usize;
        data[at + 4..at + 8].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    refuse("tensor hidden.0.delay has shape [8, 1, 8]", &|header, _| {
        header["hidden.0.delay"]["shape"] = serde_json::json!([8, 1, 8]);
    });
    refuse("tensor output.weight has shape [80]", &|header, _| {
        header["output.weight"]["shape"] = serde_json::json!([80]);
    });
}

#[test]
fn the_cost_of_rounding_is_shown_and_split_delays_have_none() {
    let folder = Folder::new("rounding");
    let train = |out: &str, set: &[&str]| {
        let order = ["train", "--preset", "order", "--epochs", "10", "--out", out];
        let fast = ["--set", "network.hidden=[24]", "--set", "train.rate=0.02"];
        let output = folder.run(&[&order[..], &fast, &["--json"], set].concat());
        let lines = text(&output.stderr);
        let figures = last_line(&output);
        let of = |name: &str| figures[name].as_f64().unwrap();
        ([of("test_as_trained"), of("test_accuracy")], lines.contains("rounding the delays costs"))
    };
    let ([as_trained, after], noted) = train("after", &["--set", "train.rounding=after"]);
    assert!(as_trained > after + 0.1 && noted, "{as_trained} {after}");
    let ([as_trained, split], noted) = train("split", &[]);
    assert!(as_trained == split && split > after + 0.1 && !noted, "{as_trained} {split} {after}");

    let export = |run: &str, rounding: &[&str]| {
        let output = folder.run(
            &[
                &["export", run, "--force", "--json", "--weights", "f32", "-o", "model.pcn"],
                rounding,
            ]
            .concat(),
        );
        assert!(output.status.success(), "{}", text(&output.stderr));
        let summary = last_line(&output);
        let of = |name: &str| summary[name].as_f64().unwrap();
        assert_eq!(of("engine_accuracy"), of("rounded_accuracy"));
        let noted = text(&output.stderr).contains("rounding the delays costs");
        (summary["rounding"].as_str().unwrap().to_string(), of("rounded_accuracy"), noted)
    };
    assert_eq!(export("split", &[]), ("split".into(), split, false));
    let (rounding, accuracy, noted) = export("split", &["--rounding", "nearest"]);
    assert!(rounding == "nearest" && accuracy < split - 0.1 && noted, "{accuracy}");
    assert_eq!(export("after", &[]), ("nearest".into(), after, true));
    folder.train("random", &["--set", "network.delays=fixed"]);
    let line = folder.fail(&["export", "random", "-o", "random.pcn", "--rounding", "split"]);
    assert!(line.contains("are whole already"), "{line}");
    for (run, cost) in [("after", true), ("split", false)] {
        let evaluation = last_line(&folder.run(&["eval", run, "--json"]));
        let of = |name: &str| evaluation[name].as_f64().unwrap();
        assert_eq!(of("accuracy_as_trained") > of("accuracy") + 0.1, cost, "{run}");
        let streamed = last_line(&folder.run(&["eval", run, "--json", "--stream"]));
        assert_eq!(evaluation["accuracy"], streamed["accuracy"]);
    }
    folder.refuse(&["--set", "train.rounded_epochs=0"], &["train.rounded_epochs = 0"]);
    let after = ["--set", "train.rounding=after", "--set", "train.rounded_epochs=1"];
    folder.refuse(&after, &["train.rounded_epochs = 1", "train.rounding"]);
}

#[test]
fn figures_come_from_the_selected_epoch() {
    let folder = Folder::new("chosen");
    // Nothing is learned, so all epochs are equal. The first one with narrow kernels is selected.
    let set = ["train.select=valid", "train.rate=1e-30", "train.delay_rate=1e-30"];
    let still = ["network.norm=false", "network.neuron.threshold=0.1", "train.epochs=3"];
    let set: Vec<_> = [set, still].concat().into_iter().flat_map(|set| ["--set", set]).collect();
    let figures = last_line(&folder.train("run", &[&set[..], &["--json"]].concat()));
    let report: Value = serde_json::from_slice(&folder.bytes("run/report.json")).unwrap();
    assert_eq!((&figures["choice_from"], &figures["chosen_epoch"]), (&2.into(), &2.into()));
    assert!(last_line(&folder.train("last", &["--json"])).get("choice_from").is_none());
    for key in ["train_accuracy", "valid_accuracy"] {
        assert_eq!(figures[key], report["curves"][1][key], "{key}");
    }
}

#[test]
fn checkpoints_that_do_not_fit_are_refused() {
    let folder = Folder::new("checkpoints");
    folder.train("run", &["--stop-after", "1"]);
    folder.train("wide", &["--stop-after", "1", "--set", "network.hidden=[9]"]);
    let checkpoint = folder.0.join("run/checkpoint.safetensors");
    fs::copy(folder.0.join("wide/checkpoint.safetensors"), &checkpoint).unwrap();
    let line = folder.fail(&["train", "--resume", "--out", "run"]);
    assert!(
        line.contains("run/checkpoint.safetensors") && line.contains("has network.hidden = [9]"),
        "{line}"
    );
    folder.train("valid", &["--stop-after", "1", "--set", "train.select=valid"]);
    for (change, named) in [
        ("", "has train.select = \"last\", but config.toml says train.select = \"valid\""),
        ("select = \"valid\"\nmore = 1\n", "more"),
    ] {
        let path = "valid/checkpoint.safetensors";
        edit_metadata(&folder, path, |parts| {
            let config = parts["config"].as_str().unwrap().replace("select = \"valid\"\n", "");
            parts["config"] = (config + change).into();
        });
        let line = folder.fail(&["train", "--resume", "--out", "valid"]);
        assert!(line.contains(path) && line.contains(named), "{line}");
    }
    fs::write(&checkpoint, "not a checkpoint").unwrap();
    let line = folder.fail(&["train", "--resume", "--out", "run"]);
    assert!(line.contains("run/checkpoint.safetensors: not a checkpoint"), "{line}");
    fs::remove_file(&checkpoint).unwrap();
    let line = folder.fail(&["train", "--resume", "--out", "run"]);
    assert!(line.contains("run/checkpoint.safetensors"), "{line}");
    let line = folder.fail(&["eval", "run"]);
    assert!(line.contains("run/model.safetensors"), "{line}");
    let line = folder.fail(&["train", "--resume", "--out", "nowhere"]);
    assert_eq!(line, "error: nowhere: no such run; `train` creates it");
}

#[test]
fn a_folder_without_a_run_is_an_error_that_says_so() {
    let folder = Folder::new("no-run");
    fs::create_dir(folder.0.join("empty")).unwrap();
    let train = ["train", "--preset", "order", "--resume", "--out"];
    for (run, problem) in [
        ("missing", "no such run; `train` creates it"),
        ("empty", "not the folder of a run; it has no checkpoint.safetensors"),
    ] {
        let expected = format!("error: {run}: {problem}");
        assert_eq!(folder.fail(&[&train[..], &[run]].concat()), expected);
        assert_eq!(folder.fail(&["train", "--resume", "--out", run]), expected);
        assert_eq!(folder.fail(&["eval", run]), expected);
        assert_eq!(folder.fail(&["export", run, "-o", "model.pcn"]), expected);
    }
    let line = folder.fail(&["inspect", "empty"]);
    assert!(line.starts_with("error: empty: not the folder of a run"), "{line}");
    let line = folder.fail(&["inspect", "missing"]);
    assert_eq!(line, "error: missing: neither the folder of a run nor a model file");
}

/// Edits the metadata of a checkpoint: its configuration and counters.
pub(crate) fn edit_metadata(folder: &Folder, path: &str, change: impl Fn(&mut Value)) {
    folder.edit(path, |header, _| {
        let metadata = &mut header["__metadata__"]["polychron"];
        let mut parts: Value = serde_json::from_str(metadata.as_str().unwrap()).unwrap();
        change(&mut parts);
        *metadata = parts.to_string().into();
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_claimed_network_size_is_checked_before_memory_is_allocated() {
    let folder = Folder::new("claims");
    folder.train("begun", &["--stop-after", "1"]);
    folder.train("done", &[]);
    for path in ["begun/checkpoint.safetensors", "done/model.safetensors"] {
        edit_metadata(&folder, path, |parts| {
            let config = parts["config"].as_str().unwrap();
            parts["config"] = config.replace("hidden = [8]", "hidden = [16000, 8000]").into();
        });
        let run = path.split('/').next().unwrap();
        folder.replace(&format!("{run}/config.toml"), "hidden = [8]", "hidden = [16000, 8000]");
    }
    for (args, named) in [
        (&["train", "--resume", "--out", "begun"][..], "begun/checkpoint.safetensors: tensor "),
        (&["eval", "done"], "done/model.safetensors: tensor "),
        (&["inspect", "done"], "done/model.safetensors: tensor "),
        (&["export", "done", "-o", "model.pcn"], "done/model.safetensors: tensor "),
    ] {
        let errors = folder.limited("-v 2000000", args);
        assert!(errors.contains(named) && errors.lines().count() == 1, "{args:?}: {errors}");
    }
}

#[test]
fn inconsistent_counters_are_refused() {
    let folder = Folder::new("steps");
    folder.train("run", &["--stop-after", "1"]);
    let path = "run/checkpoint.safetensors";
    let whole = folder.bytes(path);
    for (key, value, named) in [
        ("step", 1_000_000_u64, "step 1000000 does not belong to epoch 2"),
        ("step", 0, "step 0 does not belong to epoch 2"),
        ("epoch", u64::MAX, "does not belong to epoch"),
        ("correct", 1, "does not fit 0 items"),
    ] {
        fs::write(folder.0.join(path), &whole).unwrap();
        edit_metadata(&folder, path, |parts| parts[key] = value.into());
        let line = folder.fail(&["train", "--resume", "--out", "run"]);
        assert!(line.contains(path) && line.contains(named), "{key}: {line}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported_and_leaves_no_partial_file() {
    let folder = Folder::new("full");
    let args = [&["train", "--out", "run"], &SMALL[..]].concat();
    let errors = folder.limited("-f 3", &args);
    assert!(errors.contains("error: .run.tmp/checkpoint.safetensors: "), "{errors}");
    assert!(!folder.0.join("run").exists());

    folder.train("run", &["--stop-after", "1"]);
    let before = folder.bytes("run/checkpoint.safetensors");
    let errors = folder.limited("-f 4", &["train", "--resume", "--out", "run"]);
    assert!(errors.contains("error: run/checkpoint.safetensors: "), "{errors}");
    assert_eq!(folder.bytes("run/checkpoint.safetensors"), before);
    assert!(folder.list("run").iter().all(|name| !name.ends_with(".tmp")));
}
