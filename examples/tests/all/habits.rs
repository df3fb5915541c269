//! What people do with the program: other folders, other names, more epochs, logs in files.

use crate::cli::{Folder, SMALL, last_line};
use crate::common::{polychron, text};
use polychron::Model;
use polychron_datasets::{About, Part, Recording, Recordings, Split, TimeFormat, shd};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

fn tensor(folder: &Folder, run: &str, name: &str) -> Vec<f32> {
    let model = Model::load(folder.0.join(run)).unwrap();
    let found = model.state().tensors.iter().find(|tensor| tensor.name == name);
    found.unwrap().values.clone()
}

#[test]
fn a_data_folder_that_is_not_read_is_an_error() {
    let folder = Folder::new("habits-folder");
    folder.refuse(
        &["--data", "."],
        &["--data .", "data.source = \"order\" reads no files", "--preset recordings"],
    );
    folder.train("run", &["--stop-after", "0"]);
    let line = folder.fail(&["eval", "run", "--data", "."]);
    assert!(!line.is_empty());

    let mut command = polychron(&folder.0, &["train", "--preset", "order", "--plan"]);
    let output = command.env("POLYCHRON_DATA", "nowhere").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn a_run_begins_from_trained_weights() {
    let folder = Folder::new("habits-from");
    folder.train("first", &[]);
    let line = folder.fail(&["train", "--resume", "--out", "first", "--epochs", "4"]);
    assert!(
        line.contains("train.epochs = 2")
            && line.contains("--from first --config first/config.toml --out NEW"),
        "{line}"
    );

    // Another width: the first layer keeps its weights, the readout starts anew.
    let other = ["--from", "first", "--set", "network.hidden=[8,6]", "--set", "train.epochs=3"];
    let output = folder.train("second", &[&other[..], &["--threads", "1"]].concat());
    let lines = text(&output.stderr);
    let anew = "first: starts anew: hidden.1.weight, hidden.1.delay";
    assert!(lines.contains(anew) && lines.contains("output.weight"), "{lines}");
    assert!(!lines.contains("hidden.0.weight"), "{lines}");
    folder.train("cut", &[&other[..], &["--stop-after", "1"]].concat());
    let output = folder.run(&["train", "--resume", "--out", "cut"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for file in ["model.safetensors", "delays.svg"] {
        let [whole, cut] = ["second", "cut"].map(|run| folder.bytes(&format!("{run}/{file}")));
        assert!(whole == cut, "{file}");
    }
    assert!(!folder.list("cut").iter().any(|file| file.starts_with("initial")));

    // With a rate of almost 0 the weights stay those of the first run; delays are cut to 4.
    let still =
        ["train.rate=1e-12", "train.delay_rate=1e-12", "train.rounding=after", "train.l2=0"];
    let set: Vec<_> = still.iter().flat_map(|set| ["--set", set]).collect();
    let shorter = ["--from", "first", "--set", "network.max_delay=4"];
    folder.train("third", &[&shorter[..], &set].concat());
    let [first, third] = ["first", "third"].map(|run| tensor(&folder, run, "hidden.0.weight"));
    let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
    assert!(first.len() == third.len() && first.iter().zip(&third).all(near));
    let delays = tensor(&folder, "third", "hidden.0.delay");
    assert!(delays.iter().all(|delay| *delay <= 4.0) && delays.contains(&4.0));

    let line = folder.fail(&["train", "--from", "nowhere", "--out", "fourth"]);
    assert!(line.contains("nowhere: no such run"), "{line}");
}

#[test]
fn a_suffix_is_the_format_of_a_file() {
    let folder = Folder::new("habits-suffix");
    let line = folder.fail(&["data", "show", "digits", "--index", "0", "--out", "item.png"]);
    assert!(line.contains("item.png: the file is written as SVG; name it item.svg"), "{line}");
    folder.train("run", &[]);
    for name in ["model.nir", "model.h", "model"] {
        let line = folder.fail(&["export", "run", "-o", name]);
        assert!(line.contains(&format!("{name}: the file is written as a PCN")), "{line}");
    }
    let line = folder.fail(&["data", "encode", ".", "--out", "spikes.csv"]);
    assert!(line.contains("spikes.csv: the file is written as HDF5; name it spikes.h5"), "{line}");
    let line = folder.fail(&["data", "encode", ".", "--out", "spikes.h5.gz"]);
    assert!(line.trim_end().ends_with("written as HDF5; name it spikes.h5"), "{line}");
    assert_eq!(folder.list("."), ["run"]);
}

#[test]
fn a_log_begins_with_what_is_trained() {
    let folder = Folder::new("habits-log");
    let lines = text(&folder.train("run", &[]).stderr);
    let first = lines.lines().next().unwrap_or_default();
    assert!(first.contains(" training, ") && first.contains(" of 10 classes; "), "{lines}");
    assert!(!lines.contains(['\r', '\u{1b}']), "{lines}");
}

/// Items of two classes, which nothing tells apart.
fn imbalanced(count: [u16; 2]) -> Recordings {
    let item = |label: u16, n: u16| {
        let times = (0..12).map(|k| f32::from(k * 7 + n % 5) * 0.005).collect();
        let units = (0..12).map(|k| (k * 3 + n) % 8).collect();
        Recording { times, units, label, speaker: 0 }
    };
    let [many, few] = count;
    Recordings {
        source: "made".into(),
        channels: 8,
        keys: vec!["background".into(), "keyword".into()],
        time_format: TimeFormat::F32,
        about: About::default(),
        items: (0..many).map(|n| item(0, n)).chain((0..few).map(|n| item(1, n))).collect(),
    }
}

#[test]
fn a_rare_class_is_seen_in_the_figures_and_can_count_as_much_as_the_others() {
    let folder = Folder::new("habits-rare");
    for (file, count) in [("train.h5", [38, 4]), ("test.h5", [19, 1])] {
        fs::write(folder.0.join(file), shd::to_bytes(&imbalanced(count)).unwrap()).unwrap();
    }
    let data = "[data]\nsource = \"h5\"\ntrain_file = \"train.h5\"\ntest_file = \"test.h5\"\n\
                group = 1\nbatch = 8\nvalid = 0.0\n\n[network]\nhidden = [8]\nmax_delay = 3\n\n\
                [train]\nepochs = 3\n";
    fs::write(folder.0.join("net.toml"), data).unwrap();
    let train = |out: &str, more: &[&str]| {
        let args = ["train", "--config", "net.toml", "--data", ".", "--out", out];
        let output = folder.run(&[&args[..], more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let lines = train("plain", &[]);
    assert!(lines.contains("always predicting the most frequent class gives 95.0 %"), "{lines}");
    let evaluation = last_line(&folder.run(&["eval", "plain", "--data", ".", "--json"]));
    assert_eq!(evaluation["most_frequent_class"], "background");
    assert_eq!(evaluation["most_frequent_accuracy"], 0.95);
    let classes = evaluation["classes"].as_array().unwrap();
    let recall = |n: usize| classes[n]["recall"].as_f64().unwrap();
    let mean = (recall(0) + recall(1)) / 2.0;
    assert_eq!(evaluation["balanced_accuracy"], mean);
    assert_eq!([&classes[0]["items"], &classes[1]["items"]], [19, 1]);
    let table = text(&folder.run(&["eval", "plain", "--data", "."]).stdout);
    assert!(table.contains("always background: 95.0 %"), "{table}");
    assert!(table.contains("keyword: 1 items, recall "), "{table}");

    let weights = ["--set", "train.class_weights=true"];
    train("weighted", &weights);
    let [plain, weighted] = ["plain", "weighted"].map(|run| tensor(&folder, run, "output.weight"));
    assert!(plain != weighted, "the weights make no difference");
    let line = folder.fail(
        &[
            &["train", "--config", "net.toml", "--data", ".", "--out", "no"][..],
            &["--set", "network.objective=mean_square"],
            &weights,
        ]
        .concat(),
    );
    let expected = "train.class_weights = true needs network.objective = \"cross_entropy\"";
    assert!(line.contains(expected), "{line}");
}

/// A wav file of 16 kHz and 16 bit.
fn wav(samples: &[i16]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let size = |bytes: usize| (bytes as u32).to_le_bytes();
    let format = [1, 0, 1, 0, 128, 62, 0, 0, 0, 125, 0, 0, 2, 0, 16, 0];
    let parts: [&[u8]; 8] = [
        b"RIFF",
        &size(36 + data.len()),
        b"WAVEfmt ",
        &size(16),
        &format,
        b"data",
        &size(data.len()),
        &data,
    ];
    parts.concat()
}

#[test]
fn silence_is_a_class_that_is_encoded_and_trained() {
    let folder = Folder::new("habits-silence");
    for (class, loud) in [("silence", 0.0), ("tone", 9000.0)] {
        fs::create_dir_all(folder.0.join("wavs").join(class)).unwrap();
        for n in 0..5u16 {
            let pitch = 0.05 + f32::from(n) * 0.02;
            let sample = |t: u16| ((f32::from(t) * pitch).sin() * loud) as i16 + (t % 2) as i16;
            let samples: Vec<i16> = (0..8000).map(sample).collect();
            fs::write(folder.0.join(format!("wavs/{class}/{n}.wav")), wav(&samples)).unwrap();
        }
    }
    fs::create_dir(folder.0.join("data")).unwrap();
    let encode = ["data", "encode", "wavs", "--encoder", "delta", "--out", "data/recordings.h5"];
    let output = folder.run(&encode);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(
        said.contains("10 recordings, 2 classes") && said.contains("5 without spikes"),
        "{said}"
    );
    let set = ["data.group=1", "data.batch=4", "network.hidden=[8]", "network.max_delay=4"];
    let set: Vec<_> = set.iter().flat_map(|set| ["--set", set]).collect();
    let train =
        ["train", "--preset", "recordings", "--data", "data", "--epochs", "2", "--out", "r"];
    let output = folder.run(&[&train[..], &set].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("5 of 10 items have no spikes"));
}

#[test]
fn delays_that_another_step_shortens_are_noted() {
    let folder = Folder::new("habits-step");
    fs::write(folder.0.join("recordings.h5"), shd::to_bytes(&imbalanced([30, 30])).unwrap())
        .unwrap();
    let train = |set: &[&str]| {
        let plan = ["train", "--preset", "recordings", "--data", ".", "--plan"];
        let set = set.iter().flat_map(|set| ["--set", set]).collect::<Vec<_>>();
        let output = folder.run(&[&plan[..], &set].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    let note = "network.max_delay = 24: with data.dt_ms = 1, delays reach 24 ms; with the 10 ms of \
                preset recordings they reach 240 ms, which are 240 steps of 1 ms";
    assert!(train(&["network.max_delay=24", "data.dt_ms=1"]).1.contains(note));
    assert!(!train(&["network.max_delay=24"]).1.contains("network.max_delay"));
    for (set, taps) in [(&[][..], 25), (&["data.dt_ms=1"], 241)] {
        let (plan, notes) = train(set);
        assert!(plan.contains(&format!("{taps} taps up to 240 ms")), "{plan}");
        assert!(!notes.contains("network.max_delay"), "{notes}");
    }
}

/// A file of `speakers` speakers, each of whom says both words four times.
fn spoken(folder: &Folder, speakers: u16, parts: &[Part]) {
    let items = (0..8 * speakers).map(|n| Recording {
        times: (0..40u16).map(|k| f32::from(k) * 0.01 + 0.001 * f32::from(n % 9)).collect(),
        units: (0..40).map(|k| (k * (n % 7 + 1) + n) % 20).collect(),
        label: n % 2,
        speaker: n / 8,
    });
    let about = About { parts: parts.to_vec(), ..About::default() };
    let recordings = Recordings {
        channels: 20,
        keys: vec!["yes".into(), "no".into()],
        items: items.collect(),
        about,
        ..imbalanced([1, 1])
    };
    fs::write(folder.0.join("recordings.h5"), shd::to_bytes(&recordings).unwrap()).unwrap();
}

#[test]
fn speakers_stay_in_one_part_where_there_are_enough() {
    let folder = Folder::new("habits-speakers");
    let load = |set: &[&str]| {
        let mut config = polychron::Config::preset("recordings").unwrap();
        set.iter().for_each(|set| config.set(set).unwrap());
        polychron::Task::load(&config, Some(&folder.0)).unwrap()
    };
    let speakers = |task: &polychron::Task, items: &[usize]| -> BTreeSet<u16> {
        items.iter().map(|&i| task.data.samples[i].speaker).collect()
    };
    spoken(&folder, 12, &[]);
    let task = load(&[]);
    let Split { train, valid, test } = &task.split;
    let sizes = [train, valid, test].map(|part| speakers(&task, part).len());
    assert_eq!((sizes, task.split.train.len()), ([9, 1, 2], 72));
    assert!(
        task.warnings.iter().any(|note| note.contains("has speakers of its own, of 12 in all"))
    );
    // The network has an input for each of the 20 channels.
    assert_eq!(task.interface().channels, 20);
    let task = load(&["data.split=stratified"]);
    assert_eq!((speakers(&task, &task.split.train).len(), task.split.test.len()), (12, 19));
    assert!(!task.warnings.iter().any(|note| note.contains("speakers")), "{:?}", task.warnings);

    spoken(&folder, 3, &[]);
    let task = load(&[]);
    assert_eq!((task.split.test.len(), task.split.valid.len()), (5, 2));
    let note = "3 of 3 speakers are in two parts; accuracies for new speakers may be lower; \
                data.split = \"speakers\" keeps each in one part";
    assert!(task.warnings.iter().any(|own| own.ends_with(note)), "{:?}", task.warnings);
    let task = load(&["data.split=speakers"]);
    assert_eq!([task.split.train.len(), task.split.test.len()], [8; 2]);
    assert!(!task.warnings.iter().any(|note| note.contains("two parts")), "{:?}", task.warnings);

    // Parts that the file states are kept; what it does not state is drawn from training items.
    let parts: Vec<_> = (0..96).map(|n| if n < 16 { Part::Test } else { Part::Train }).collect();
    spoken(&folder, 12, &parts);
    let task = load(&[]);
    assert_eq!(task.split.test, (0..16).collect::<Vec<_>>());
    assert_eq!((task.split.valid.len(), task.split.train.len()), (8, 72));
    let task = load(&["data.split=fraction"]);
    assert_eq!(task.split.test, (0..16).collect::<Vec<_>>());
}

#[test]
fn a_run_ends_when_its_validation_accuracy_no_longer_rises() {
    let folder = Folder::new("habits-patience");
    // Weights that hardly change: the accuracy soon stays as it is.
    let set = ["train.epochs=20", "train.select=valid", "train.rate=1e-9", "train.delay_rate=1e-9"];
    let set: Vec<_> = set.iter().flat_map(|set| ["--set", set]).collect();
    let patient = [&set[..], &["--set", "train.patience=3"]].concat();
    let figures = last_line(&folder.train("whole", &[&patient[..], &["--json"]].concat()));
    let [stopped, chosen, first] = ["stopped_after", "chosen_epoch", "choice_from"]
        .map(|key| figures[key].as_u64().unwrap_or_else(|| panic!("{key}: {figures}")));
    // A quarter of the epochs has wide kernels.
    assert_eq!((first, figures["epochs"].as_u64()), (6, Some(20)));
    assert!(chosen >= first && stopped == chosen + 3 && stopped < 20, "{figures}");

    folder.train("cut", &[&patient[..], &["--stop-after", "4"]].concat());
    for stop in [chosen.to_string(), (stopped - 1).to_string(), "20".into()] {
        let args = ["train", "--resume", "--out", "cut", "--stop-after", &stop];
        let output = folder.run(&args);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    for file in ["model.safetensors", "checkpoint.safetensors", "config.toml"] {
        let [whole, cut] = ["whole", "cut"].map(|run| folder.bytes(&format!("{run}/{file}")));
        assert!(whole == cut, "{file}");
    }
    let output = folder.run(&["train", "--resume", "--out", "cut"]);
    assert!(text(&output.stdout).contains(&format!("of 20, stopped early after {stopped}\n")));

    let figures = last_line(&folder.train("impatient", &[&set[..], &["--json"]].concat()));
    assert!(figures.get("stopped_after").is_none(), "{figures}");
    folder.refuse(
        &["--set", "train.patience=3"],
        &["train.patience = 3 needs train.select = \"valid\""],
    );
}

#[test]
fn the_curves_are_a_line_of_json_for_every_epoch() {
    let folder = Folder::new("habits-curves");
    let lines = || -> Vec<Value> {
        let lines = text(&folder.bytes("run/curves.jsonl"));
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let report = || -> Value { serde_json::from_slice(&folder.bytes("run/report.json")).unwrap() };
    let errors = text(&folder.train("run", &["--epochs", "4", "--stop-after", "2"]).stderr);
    assert_eq!((lines().len(), report()["curves"].as_array()), (2, Some(&lines())));
    let loss = lines()[1]["valid_loss"].as_f64().unwrap();
    assert!(errors.contains(&format!(" (valid {loss:.4}), train ")), "{errors}");

    // What a killed process leaves, then a report of a version without the field.
    let path = folder.0.join("run/curves.jsonl");
    fs::write(&path, text(&folder.bytes("run/curves.jsonl")) + "{\"epoch\":3").unwrap();
    let mut old = report();
    for epoch in old["curves"].as_array_mut().unwrap() {
        epoch.as_object_mut().unwrap().remove("valid_loss").unwrap();
    }
    fs::write(folder.0.join("run/report.json"), old.to_string()).unwrap();
    let output = folder.run(&["train", "--resume", "--out", "run"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!((lines().len(), report()["curves"].as_array()), (4, Some(&lines())));
    assert!(lines()[1]["valid_loss"].is_null() && lines()[2]["valid_loss"].is_number());
}

#[test]
fn an_unfinished_run_has_the_model_of_its_best_epoch_so_far() {
    let folder = Folder::new("habits-unfinished");
    let errors = |args: &[&str]| {
        let output = folder.run(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stderr)
    };
    let train = |run: &str, more: &[&str]| {
        folder.train(run, &[&["--epochs", "8", "--stop-after", "5"][..], more].concat())
    };
    train("run", &["--set", "train.select=valid"]);
    let accuracy = |run: &str| -> Value {
        last_line(&folder.run(&["eval", run, "--split", "valid", "--json"]))["accuracy"].clone()
    };
    let report: Value = serde_json::from_slice(&folder.bytes("run/report.json")).unwrap();
    let of = |epoch: &Value| epoch["valid_accuracy"].as_f64().unwrap();
    let curves = report["curves"].as_array().unwrap();
    // The first two epochs have wide kernels.
    let best = curves[2..].iter().map(of).fold(0.0, f64::max);
    let chosen = curves[2..].iter().find(|epoch| of(epoch) == best).unwrap();
    assert_eq!((accuracy("run"), curves.len()), (chosen["valid_accuracy"].clone(), 5));
    let note = format!(
        "run: unfinished, epoch 5 of 8; its best epoch so far, {}, is used\n",
        chosen["epoch"]
    );
    for args in [
        &["eval", "run"][..],
        &["export", "run", "-o", "model.pcn"],
        &["inspect", "run"],
        &[&["train", "--from", "run", "--out", "next"][..], &SMALL].concat(),
    ] {
        let lines = errors(args);
        assert!(lines.starts_with(&note) || lines.contains(&format!("\n{note}")), "{lines}");
    }
    let inspection = last_line(&folder.run(&["inspect", "run", "--json"]));
    assert_eq!(inspection["epoch"], chosen["epoch"]);

    train("last", &[]);
    let step = last_line(&folder.run(&["inspect", "last", "--json"]))["step"].clone();
    let note = format!("epoch 5 of 8; its checkpoint after step {step} is used\n");
    assert!(errors(&["eval", "last"]).contains(&note));
    let report: Value = serde_json::from_slice(&folder.bytes("last/report.json")).unwrap();
    assert_eq!(accuracy("last"), report["curves"][4]["valid_accuracy"]);

    train("wide", &["--set", "train.sigma_epochs=6"]);
    assert!(errors(&["eval", "wide"]).contains("; its kernels are wide, so that rounded delays"));
    folder.train("begun", &["--stop-after", "0"]);
    let line = folder.fail(&["eval", "begun"]);
    assert!(line.contains("begun: no step was trained; continue it with train --resume"), "{line}");
}

#[test]
fn figures_say_where_the_run_is_and_what_was_set() {
    let folder = Folder::new("habits-figures");
    let figures = last_line(&folder.train("out/run", &["--json", "--seed", "3"]));
    assert_eq!(figures["folder"], "out/run");
    let set = [
        "data.valid = 0.6",
        "network.hidden = [8]",
        "network.max_delay = 6",
        "seed = 3",
        "train.epochs = 2",
    ];
    assert_eq!(figures["set"], serde_json::json!(set));
    let read =
        || -> Value { serde_json::from_slice(&folder.bytes("out/run/report.json")).unwrap() };
    let mut report = read();
    assert_eq!(report["figures"], figures);
    let loss = &report["curves"][figures["chosen_epoch"].as_u64().unwrap() as usize - 1];
    assert!(figures["valid_loss"].is_number() && figures["valid_loss"] == loss["valid_loss"]);

    // The same from the run's configuration file; a report of a version without the fields is read.
    let file = ["train", "--config", "out/run/config.toml", "--out", "again", "--json"];
    let again = last_line(&folder.run(&file));
    assert_eq!((&again["set"], &again["folder"]), (&figures["set"], &"again".into()));
    for field in ["folder", "set", "valid_loss"] {
        report["figures"].as_object_mut().unwrap().remove(field).unwrap();
    }
    fs::write(folder.0.join("out/run/report.json"), report.to_string()).unwrap();
    let old = last_line(&folder.run(&["train", "--resume", "--out", "out/run", "--json"]));
    assert_eq!(old["test_accuracy"], figures["test_accuracy"]);
}

#[test]
fn a_number_of_steps_determines_the_epochs() {
    let folder = Folder::new("habits-steps");
    fs::write(folder.0.join("recordings.h5"), shd::to_bytes(&imbalanced([15, 15])).unwrap())
        .unwrap();
    let set = ["data.group=1", "data.batch=8", "network.hidden=[8]", "network.max_delay=3"];
    let set: Vec<_> = set.iter().flat_map(|set| ["--set", set]).collect();
    let train = |out: &str, more: &[&str]| {
        let args = ["train", "--preset", "recordings", "--data", ".", "--json", "--out", out];
        let output = folder.run(&[&args[..], &set, more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        output
    };
    // 22 training items are three batches.
    let ten = ["--set", "train.steps=10"];
    let output = train("whole", &ten);
    let lines = text(&output.stderr);
    assert!(lines.contains("train.steps = 10 makes 4 epochs of these data; --epochs"), "{lines}");
    assert!(lines.contains("; 3 steps an epoch\n") && lines.contains("epoch 4/4: "), "{lines}");
    let figures = last_line(&output);
    assert_eq!((&figures["epochs"], &figures["train_items"]), (&4.into(), &22.into()));
    let has = |field| figures["set"].as_array().unwrap().contains(&Value::from(field));
    assert!(has("train.steps = 10") && !has("train.epochs = 4"), "{figures}");
    let stored = text(&folder.bytes("whole/config.toml"));
    assert!(stored.contains("epochs = 4\n") && stored.contains("steps = 10\n"), "{stored}");

    // A resumed run takes its own settings, as stored or from the command line, and no others.
    train("cut", &[&ten[..], &["--stop-after", "1"]].concat());
    train("cut", &[&ten[..], &["--resume", "--stop-after", "2"]].concat());
    let resume = ["train", "--resume", "--out", "cut", "--data", "."];
    let line = folder.fail(&[&resume[..], &["--epochs", "5"]].concat());
    assert!(line.contains("has train.epochs = 4, but the command line says train.epochs = 5"));
    let line = folder.fail(&[&resume[..], &["--set", "train.steps=13"]].concat());
    assert!(line.contains("has train.steps = 10, but the command line says train.steps = 13"));
    assert!(folder.run(&resume).status.success());
    for file in ["model.safetensors", "config.toml"] {
        let [whole, cut] = ["whole", "cut"].map(|run| folder.bytes(&format!("{run}/{file}")));
        assert!(whole == cut, "{file}");
    }

    // Other data would make another number of epochs.
    train("other", &[&ten[..], &["--stop-after", "1"]].concat());
    let more = shd::to_bytes(&imbalanced([30, 30])).unwrap();
    fs::write(folder.0.join("recordings.h5"), more).unwrap();
    let output = folder.run(&["train", "--resume", "--out", "other", "--data", "."]);
    let line = text(&output.stderr);
    assert!(line.contains("has 4 epochs, but train.steps makes 2 of these data"), "{line}");

    // A number of epochs removes the steps of the preset.
    let epochs = last_line(&train("epochs", &["--epochs", "2"]));
    assert_eq!(epochs["epochs"], 2);
    assert!(!text(&folder.bytes("epochs/config.toml")).contains("\nsteps = 10"));
    let file = "preset = \"recordings\"\n[train]\nepochs = 7\n";
    assert_eq!(polychron::Config::parse(file, "file").unwrap().train.steps, None);
    let output = folder.run(
        &[
            &["train", "--preset", "recordings", "--data", ".", "--out", "no"][..],
            &set,
            &ten,
            &["--set", "train.warmup_epochs=4"],
        ]
        .concat(),
    );
    let line = text(&output.stderr);
    let expected = "train.steps = 10: train.warmup_epochs = 4 is not below train.epochs";
    assert!(line.contains(expected) && !folder.0.join("no").exists(), "{line}");
}
