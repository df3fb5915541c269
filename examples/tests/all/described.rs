//! The files of a run describe its data: export and inspection without the data.

use crate::cli::{Folder, edit_metadata, last_line};
use crate::common::text;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// A run on a copy of the test recordings in the folder `data`.
fn recordings(name: &str) -> Folder {
    let folder = Folder::new(&format!("described-{name}"));
    fs::create_dir(folder.0.join("data")).unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/commands");
    for word in ["backward", "happy"] {
        fs::create_dir_all(folder.0.join("wavs").join(word)).unwrap();
        for n in 0..8 {
            let copy = folder.0.join(format!("wavs/{word}/{n}.wav"));
            fs::copy(fixtures.join(format!("{word}.wav")), copy).unwrap();
        }
    }
    let encode = ["data", "encode", "wavs", "--out", "data/recordings.h5", "--encoder", "delta"];
    assert!(folder.run(&encode).status.success());
    folder
}

fn train(folder: &Folder, out: &str, group: &str) {
    let train = ["train", "--preset", "recordings", "--data", "data", "--epochs", "1"];
    let small = ["--out", out, "--set", "network.hidden=[8]", "--set", "data.batch=4"];
    let output = folder.run(&[&train[..], &small, &["--set", group]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn a_run_is_exported_and_inspected_without_its_data() {
    let folder = recordings("alone");
    train(&folder, "run", "data.group=1");
    let export = |file: &str, data: &[&str]| {
        let output = folder.run(&[&["export", "run", "-o", file, "--json"], data].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        (last_line(&output), text(&output.stderr))
    };
    let (with, said) = export("with.pcn", &["--data", "data"]);
    assert!(with["engine_accuracy"].is_f64() && !said.contains("not evaluated"), "{said}");
    fs::rename(folder.0.join("data"), folder.0.join("away")).unwrap();
    let line = folder.fail(&["export", "run", "-o", "without.pcn", "--data", "data"]);
    assert!(line.starts_with("error: data/recordings.h5"), "{line}");
    let (without, said) = export("without.pcn", &[]);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("not evaluated: "), "{said}");
    assert_eq!((&without["items"], &without["engine_accuracy"]), (&0.into(), &Value::Null));
    assert!(folder.bytes("with.pcn") == folder.bytes("without.pcn"));
    let output = folder.run(&["export", "run", "-o", "plain.pcn"]);
    let (table, said) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && said.contains("pass the folder"), "{said}");
    assert!(table.contains("48 channels, 2 classes") && !table.contains("accuracy"), "{table}");

    let args = ["export", "run", "-o", "no.pcn", "--recording", "no.bin"];
    let line = folder.fail(&args);
    assert!(line.starts_with("error: --recording: "), "{line}");
    assert!(!folder.0.join("no.pcn").exists());

    let inspection = last_line(&folder.run(&["inspect", "run", "--json"]));
    let card = &inspection["data"];
    assert_eq!(card["classes"], json!(["backward", "happy"]));
    assert_eq!((&card["channels"], &card["dt_ms"]), (&48.into(), &10.into()));
    assert_eq!(card["source"], "h5: 48 channels in groups of 1, binning fixed");
    let table = text(&folder.run(&["inspect", "run"]).stdout);
    for part in ["48 channels, 2 classes\n", "classes  backward, happy\n", "steps of 10 ms"] {
        assert!(table.contains(part), "{part}: {table}");
    }
}

#[test]
fn the_input_is_described() {
    let folder = recordings("input");
    train(&folder, "grouped", "data.group=8");
    let inspection = last_line(&folder.run(&["inspect", "grouped", "--json"]));
    let largest = inspection["data"]["input"]["counts"]["largest"].as_u64();
    assert!(largest > Some(1), "{inspection}");
    let table = text(&folder.run(&["inspect", "grouped"]).stdout);
    assert!(table.contains("input    counts of spikes up to "), "{table}");
    let mut args = vec!["export", "grouped", "-o", "model.pcn"];
    assert!(folder.run(&args).status.success());
    args.extend(["--force", "--data", "data", "--recording", "spikes.bin"]);
    let output = folder.run(&args);
    assert!(!output.status.success());
    let line = text(&output.stderr);
    assert!(line.ends_with("has counts; recordings need spikes\n"), "{line}");
}

#[test]
fn runs_of_earlier_versions_need_their_data() {
    let folder = Folder::new("described-old");
    folder.train("run", &[]);
    folder.train("begun", &["--stop-after", "1"]);
    let export = |file: &str| folder.run(&["export", "run", "-o", file]);
    assert!(export("new.pcn").status.success());
    for path in ["run/model.safetensors", "begun/checkpoint.safetensors"] {
        edit_metadata(&folder, path, |parts| {
            assert!(parts.as_object_mut().unwrap().remove("data").is_some());
        });
    }
    assert!(export("old.pcn").status.success());
    assert!(folder.bytes("new.pcn") == folder.bytes("old.pcn"));
    let inspection = last_line(&folder.run(&["inspect", "run", "--json"]));
    assert_eq!((&inspection["data"], &inspection["channels"]), (&Value::Null, &8.into()));
    let output = folder.run(&["train", "--resume", "--out", "begun"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    folder.train("whole", &[]);
    for file in ["checkpoint.safetensors", "model.safetensors"] {
        assert!(folder.bytes(&format!("begun/{file}")) == folder.bytes(&format!("whole/{file}")));
    }

    // The data of this configuration are in a file that is not there.
    let folder = recordings("old-file");
    train(&folder, "run", "data.group=1");
    edit_metadata(&folder, "run/model.safetensors", |parts| {
        parts.as_object_mut().unwrap().remove("data");
    });
    let line = folder.fail(&["export", "run", "-o", "model.pcn"]);
    assert!(line.contains("pass the folder"), "{line}");
    assert!(!folder.0.join("model.pcn").exists());
}

#[test]
fn a_description_that_does_not_fit_the_network_is_refused() {
    let folder = Folder::new("described-wrong");
    folder.train("run", &[]);
    let whole = folder.bytes("run/model.safetensors");
    for (key, value, named) in [
        ("channels", json!(9), "tensor hidden.0.weight has shape [8, 8, 1]"),
        ("channels", json!(0), "layer 0: inputs is 0"),
        ("channels", json!(usize::MAX), "layer 0: there are more than 2^30 weights"),
        ("classes", json!(["a", "b"]), "tensor output.weight has shape [10, 8, 1]"),
        ("classes", json!([]), "layer 1: outputs is 0"),
        ("dt_ms", json!(11), "data.dt_ms = 10, but the data have steps of 11 ms"),
        ("input", json!("sound"), "unknown variant `sound`"),
    ] {
        fs::write(folder.0.join("run/model.safetensors"), &whole).unwrap();
        edit_metadata(&folder, "run/model.safetensors", |parts| {
            parts["data"][key] = value.clone();
        });
        for args in [&["inspect", "run"][..], &["export", "run", "-o", "model.pcn"]] {
            let line = folder.fail(args);
            let found = line.starts_with("error: run/model.safetensors: ") && line.contains(named);
            assert!(found, "{named}: {line}");
        }
    }
}
