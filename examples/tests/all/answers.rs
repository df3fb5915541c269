//! Recordings that were not there when a network was trained.

use crate::cli::{Folder, last_line};
use crate::common::text;
use hdf5_writer::{DatasetBuilder, Hdf5Builder, WriteOptions};
use polychron_datasets::{About, Recording, Recordings, TimeFormat, shd};
use std::fs;

/// Words whose spikes run upwards or downwards over 8 channels, by two speakers.
fn words(keys: &[&str], count: u16) -> Recordings {
    let item = |n: u16| {
        let key = usize::from(n) % keys.len();
        let times = (0..8u16).map(|k| 0.011 * f32::from(k) + 0.002 * f32::from(n % 5)).collect();
        let up = keys[key] == "yes";
        let units = (0..8).map(|k| if up { k } else { 7 - k }).collect();
        Recording { times, units, label: key as u16, speaker: u16::from(n % 6 > 2) }
    };
    Recordings {
        source: "made".into(),
        channels: 8,
        keys: keys.iter().map(|key| key.to_string()).collect(),
        time_format: TimeFormat::F32,
        items: (0..count).map(item).collect(),
        about: About {
            names: (0..count).map(|n| format!("take, {n}.wav")).collect(),
            speakers: ["ann", "ben"].map(String::from).to_vec(),
            ..About::default()
        },
    }
}

/// A file with the spikes of recordings and nothing else.
fn without_labels(recordings: &Recordings) -> Vec<u8> {
    let order = hdf5_writer::ByteOrder::LittleEndian;
    let times = hdf5_writer::Datatype::FloatingPoint { size: 4, byte_order: order };
    let units = hdf5_writer::Datatype::FixedPoint { size: 2, signed: false, byte_order: order };
    let items = &recordings.items;
    let n = [items.len() as u64];
    let all_times = items.iter().map(|r| r.times.iter().flat_map(|t| t.to_le_bytes()).collect());
    let all_units = items.iter().map(|r| r.units.iter().flat_map(|u| u.to_le_bytes()).collect());
    let set = DatasetBuilder::vlen_sequence_data;
    Hdf5Builder::new()
        .dataset(set("spikes/times", times, n, all_times.collect()).unwrap())
        .dataset(set("spikes/units", units, n, all_units.collect()).unwrap())
        .into_plan()
        .unwrap()
        .encode(WriteOptions::default())
        .unwrap()
}

/// A folder with a run that tells the two words apart.
fn trained(name: &str) -> Folder {
    let folder = Folder::new(&format!("answers-{name}"));
    let write = |file: &str, recordings: &Recordings| {
        fs::write(folder.0.join(file), shd::to_bytes(recordings).unwrap()).unwrap();
    };
    write("train.h5", &words(&["no", "yes"], 40));
    write("new.h5", &words(&["yes", "no"], 12));
    write("one.h5", &words(&["yes"], 5));
    write("other.h5", &words(&["no", "stop"], 4));
    let mut unnamed = words(&["no", "yes"], 6);
    unnamed.keys = ["0", "1"].map(String::from).to_vec();
    write("numbers.h5", &unnamed);
    write("wide.h5", &Recordings { channels: 9, ..words(&["no", "yes"], 4) });
    fs::write(folder.0.join("bare.h5"), without_labels(&words(&["no", "yes"], 3))).unwrap();
    let config = "[data]\nsource = \"h5\"\ntrain_file = \"train.h5\"\ngroup = 1\nbatch = 8\n\n\
                  [network]\nhidden = [16]\nmax_delay = 6\n\n[train]\nepochs = 12\n";
    fs::write(folder.0.join("net.toml"), config).unwrap();
    let output = folder.run(&["train", "--config", "net.toml", "--data", ".", "--out", "run"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    folder
}

#[test]
fn a_model_is_tested_on_files_that_came_later() {
    let folder = trained("eval");
    let json = |file: &str| last_line(&folder.run(&["eval", "run", "--file", file, "--json"]));
    // The classes have another order, and are found by their names.
    let new = json("new.h5");
    assert_eq!((&new["accuracy"], &new["items"]), (&1.0.into(), &12.into()));
    assert_eq!(new["classes"][0]["class"], "no");
    assert_eq!(new["confusion"], serde_json::json!([[6, 0], [0, 6]]));
    let speakers = new["speakers"].as_array().unwrap();
    let named: Vec<_> = speakers.iter().map(|s| (&s["speaker"], &s["items"])).collect();
    assert_eq!(named, [(&"ann".into(), &6.into()), (&"ben".into(), &6.into())]);
    assert!(new["seen_accuracy"].is_null() && new["unseen_accuracy"].is_null());
    for (file, items) in [("one.h5", 5), ("numbers.h5", 6)] {
        let found = json(file);
        assert_eq!((&found["accuracy"], &found["items"]), (&1.0.into(), &items.into()), "{file}");
    }
    // Milliseconds are not taken for seconds in silence.
    let mut slow = words(&["no", "yes"], 4);
    slow.items.iter_mut().for_each(|item| item.times.iter_mut().for_each(|t| *t *= 1000.0));
    fs::write(folder.0.join("slow.h5"), shd::to_bytes(&slow).unwrap()).unwrap();
    for args in [&["eval", "run", "--file", "slow.h5"][..], &["predict", "run", "slow.h5"]] {
        let lines = text(&folder.run(args).stderr);
        assert!(lines.contains("are these milliseconds?"), "{lines}");
    }
    let line = folder.fail(&["eval", "run", "--file", "other.h5"]);
    assert!(line.contains("other.h5: class = stop is not one of the 2 classes no, yes"), "{line}");
    let line = folder.fail(&["eval", "run", "--file", "wide.h5"]);
    assert!(line.contains("extra/channels = 9 is not 8"), "{line}");
}

#[test]
fn an_evaluation_leaves_tables_and_a_picture() {
    let folder = trained("tables");
    let output = folder.run(&["eval", "run", "--file", "new.h5", "--out", "tested"]);
    let table = text(&output.stdout);
    assert!(table.contains("class            no    yes  <- decision\n"), "{table}");
    assert!(table.contains("no                6      0\n"), "{table}");
    assert!(table.contains("  speaker ann   100.0 % of 6 items\n"), "{table}");
    assert_eq!(folder.list("tested"), ["confusion.svg", "evaluation.json", "predictions.csv"]);
    let rows = String::from_utf8(folder.bytes("tested/predictions.csv")).unwrap();
    let mut lines = rows.lines();
    assert_eq!(lines.next(), Some("item,name,speaker,class,predicted,share"));
    let first = lines.next().unwrap();
    assert!(first.starts_with("0,\"take, 0.wav\",ann,yes,yes,0.") && lines.count() == 11);
    let share: f64 = first.rsplit(',').next().unwrap().parse().unwrap();
    assert!(share > 0.5 && share <= 1.0, "{first}");
    let picture = String::from_utf8(folder.bytes("tested/confusion.svg")).unwrap();
    assert!(picture.contains("yes") && picture.ends_with("</svg>\n"), "{picture}");
    let line = folder.fail(&["eval", "run", "--file", "new.h5", "--out", "tested"]);
    assert!(line.contains("tested: exists"), "{line}");
}

#[test]
fn a_model_decides_on_files_without_labels() {
    let folder = trained("predict");
    let run = |more: &[&str]| {
        let output = folder.run(&[&["predict", "run"], more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let lines = run(&["new.h5", "bare.h5", "numbers.h5"]);
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 12 + 3 + 6);
    assert!(lines[0].starts_with("take, 0.wav  yes  ") && lines[0].contains("(no "), "{lines:?}");
    let csv = run(&["--format", "csv", "bare.h5"]);
    let mut rows = csv.lines();
    assert_eq!(rows.next(), Some("name,class,share,no,yes"));
    let words: Vec<_> = rows.map(|row| row.split(',').nth(1).unwrap()).collect();
    assert_eq!(words, ["no", "yes", "no"]);
    let json: serde_json::Value =
        serde_json::from_str(run(&["--format", "json", "one.h5"]).lines().last().unwrap()).unwrap();
    assert_eq!((&json["name"], &json["class"]), (&"take, 4.wav".into(), &"yes".into()));
    let shares = ["no", "yes"].map(|class| json["shares"][class].as_f64().unwrap());
    assert!((shares[0] + shares[1] - 1.0).abs() < 1e-5 && shares[1] == json["share"]);

    // The training data do not say how sound becomes their spikes.
    fs::write(folder.0.join("take.wav"), [b"RIFF".as_slice(), &[0; 40]].concat()).unwrap();
    let line = folder.fail(&["predict", "run", "take.wav"]);
    assert!(line.contains("do not say how sound became spikes; --encoder"), "{line}");
    let output = folder.run(&["predict", "run", "--encoder", "ears", "take.wav"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("ears: is no encoder of this version"));
    // One file that cannot be used does not stop the others, unless asked.
    let output = folder.run(&["predict", "run", "take.wav", "one.h5"]);
    assert!(output.status.success() && text(&output.stdout).lines().count() == 5);
    assert!(text(&output.stderr).contains("left out: "), "{}", text(&output.stderr));
    let line = folder.fail(&["predict", "run", "--strict", "take.wav", "one.h5"]);
    assert!(line.contains("--encoder"), "{line}");
}

#[test]
fn sound_is_heard_as_the_training_data_were() {
    let folder = Folder::new("answers-sound");
    for (word, n) in ["backward", "happy"].iter().flat_map(|word| (0..8).map(move |n| (word, n))) {
        let path = folder.0.join(format!("wavs/{word}/ann/{n}.wav"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(format!("tests/fixtures/commands/{word}.wav"), path).unwrap();
    }
    let run = |args: &[&str]| {
        let output = folder.run(args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        output
    };
    run(&["data", "encode", "wavs", "--encoder", "delta", "--out", "recordings.h5"]);
    let train = ["train", "--preset", "recordings", "--data", ".", "--epochs", "8", "--out", "run"];
    run(&[&train[..], &["--set", "network.hidden=[32]", "--set", "data.batch=4"]].concat());
    let heard = last_line(&run(&["eval", "run", "--wav", "wavs", "--json"]));
    assert_eq!((&heard["items"], &heard["accuracy"]), (&16.into(), &1.0.into()), "{heard}");
    // The same recordings as spikes and as sound.
    let read = last_line(&run(&["eval", "run", "--file", "recordings.h5", "--json"]));
    assert_eq!((&read["classes"], &read["rates"]), (&heard["classes"], &heard["rates"]));
    assert_eq!((&read["file"], &heard["file"]), (&"recordings.h5".into(), &"wavs".into()));
    let decided = text(&run(&["predict", "run", "wavs/happy"]).stdout);
    assert!(decided.lines().count() == 8 && decided.starts_with("wavs/happy/ann/0.wav  happy  "));
    let line = folder.fail(&["eval", "run", "--wav", "wavs/happy"]);
    assert!(
        line.contains("wavs/happy: class = ann is not one of the 2 classes backward, happy"),
        "{line}"
    );
}

#[test]
fn delays_keep_their_length_when_another_run_has_other_steps() {
    let folder = trained("step");
    let delays = |run: &str| {
        let model = polychron::Model::load(folder.0.join(run)).unwrap();
        let tensors = &model.state().tensors;
        let found = tensors.iter().find(|tensor| tensor.name == "hidden.0.delay").unwrap();
        found.values.clone()
    };
    let still = ["train.epochs=1", "train.rate=1e-12", "train.delay_rate=1e-12"];
    let still = [&still[..], &["train.rounding=after", "network.max_delay=12", "data.dt_ms=5"]];
    let set: Vec<_> = still.concat().into_iter().flat_map(|set| ["--set", set]).collect();
    let from = ["train", "--from", "run", "--config", "run/config.toml", "--data", ".", "--out"];
    let output = folder.run(&[&from[..], &["fine"], &set].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let [coarse, fine] = ["run", "fine"].map(delays);
    assert!(coarse.iter().zip(&fine).all(|(coarse, fine)| (2.0 * coarse - fine).abs() < 1e-4));
}

#[test]
fn data_that_have_changed_since_the_training_are_known() {
    let folder = trained("changed");
    let new =
        ["train", "--config", "net.toml", "--data", ".", "--out", "half", "--stop-after", "2"];
    assert!(folder.run(&new).status.success());
    let eval = || text(&folder.run(&["eval", "run", "--data", "."]).stderr);
    assert!(!eval().contains("has changed"));
    let whole = folder.bytes("train.h5");
    let mut renamed = words(&["no", "yes"], 40);
    renamed.keys.swap(0, 1);
    for recordings in [words(&["no", "yes"], 48), renamed] {
        let bytes = shd::to_bytes(&recordings).unwrap();
        fs::write(folder.0.join("train.h5"), bytes).unwrap();
        let note = "train.h5: has changed since run/model.safetensors was trained on it";
        assert!(eval().contains(note), "{}", eval());
        let resumed = folder.run(&["train", "--resume", "--data", ".", "--out", "half"]);
        let lines = text(&resumed.stderr);
        let advice = "or begin a new run from these weights: --from half";
        assert!(!resumed.status.success() && lines.contains(advice), "{lines}");
    }
    fs::write(folder.0.join("train.h5"), whole).unwrap();
    let resumed = folder.run(&["train", "--resume", "--data", ".", "--out", "half"]);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
}
