//! Several runs side by side: `compare`.

use crate::cli::{Folder, last_line};
use crate::common::text;
use serde_json::{Value, json};

#[test]
fn compare_shows_runs_and_the_fields_in_which_they_differ() {
    let folder = Folder::new("compare");
    folder.train("first", &["--set", "train.rate=0.01"]);
    let paper = ["--seed", "3", "--set", "train.optimizer=sgd", "--threads", "1"];
    folder.train("second", &[&paper[..], &["--set", "network.hidden=[9]"]].concat());
    let cut = ["--stop-after", "1", "--set", "train.epochs=3", "--set", "data.valid=0"];
    folder.train("cut", &cut);

    let output = folder.run(&["compare", "first", "second", "cut", "--json", "--out", "all.svg"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
    let all = last_line(&output);
    let fields = [
        "data.valid",
        "network.hidden",
        "seed",
        "train.epochs",
        "train.momentum",
        "train.optimizer",
        "train.rate",
    ];
    assert_eq!(all["differing"], json!(fields));
    assert_eq!(all["note"], Value::Null);
    let settings = json!({
        "data.valid": 0.6, "network.hidden": [9], "seed": 3, "train.epochs": 2,
        "train.momentum": 0.9, "train.optimizer": "sgd", "train.rate": 0.005
    });
    assert_eq!(all["runs"][1]["settings"], settings);
    assert_eq!(all["runs"][0]["settings"].get("train.momentum"), None);
    for (run, name) in [(0, "first"), (1, "second")] {
        let report: Value =
            serde_json::from_slice(&folder.bytes(&format!("{name}/report.json"))).unwrap();
        for field in ["test_accuracy", "valid_accuracy", "parameters", "epochs", "chosen_epoch"] {
            assert_eq!(all["runs"][run][field], report["figures"][field], "{field}");
        }
        assert_eq!(all["runs"][run]["finished"], true);
    }
    let unfinished = &all["runs"][2];
    assert_eq!([&unfinished["epochs_done"], &unfinished["epochs"]], [1, 3]);
    assert_eq!(
        (&unfinished["finished"], &unfinished["test_accuracy"]),
        (&json!(false), &json!(null))
    );
    assert_eq!(unfinished["parameters"], all["runs"][0]["parameters"]);

    let picture = text(&folder.bytes("all.svg"));
    for legend in ["first\n", "second\n", "cut (training)\n"] {
        assert!(picture.contains(legend), "{legend}: {picture}");
    }
    let absolute = ["first", "cut"].map(|run| folder.0.join(run).display().to_string());
    let output = folder.run(&["compare", &absolute[0], &absolute[1], "--out", "two.svg"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let picture = text(&folder.bytes("two.svg"));
    assert!(picture.contains("\nfirst\n") && picture.contains("\ncut (training)\n"), "{picture}");

    let output = folder.run(&["compare", "first", "cut"]);
    let table = text(&output.stdout);
    let lines: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..4], ["run", "epochs", "test", "validation"]);
    assert_eq!(lines[0][7..], ["data.valid", "train.epochs", "train.rate"]);
    assert_eq!(
        (lines[1][..4].join(" "), lines[2][..5].join(" ")),
        ("first 2 of 2".into(), "cut 1 of 3, unfinished".into())
    );
    assert_eq!(lines[2][5..7], ["-", "-"]);
    assert_eq!(lines[2][9..], ["0.0", "3", "0.005"]);
}

#[test]
fn compare_says_when_test_items_differ() {
    let folder = Folder::new("compare-data");
    folder.train("order", &[]);
    folder.train("digits", &["--set", "data.source=digits", "--stop-after", "0"]);
    let output = folder.run(&["compare", "order", "digits"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(
        text(&output.stderr),
        "test accuracies are not comparable: the runs differ in the classes, the test items\n"
    );
    folder.train("more", &["--set", "data.test=0.3"]);
    let output = folder.run(&["compare", "order", "more", "--json"]);
    // The source has test items of its own.
    assert!(last_line(&output)["note"].is_null());
}

#[test]
fn compare_names_what_is_not_a_run() {
    let folder = Folder::new("compare-errors");
    folder.train("cut", &["--stop-after", "0"]);
    let line = folder.fail(&["compare", "cut", "nowhere"]);
    assert!(line.contains("nowhere: no such run"), "{line}");
    std::fs::create_dir(folder.0.join("empty")).unwrap();
    let line = folder.fail(&["compare", "empty"]);
    assert!(line.contains("empty: not the folder of a run"), "{line}");
    std::fs::write(folder.0.join("empty/reproduce.toml"), "").unwrap();
    let line = folder.fail(&["compare", "empty"]);
    assert!(line.contains("empty: has no run"), "{line}");
    let line = folder.fail(&["compare", "cut", "--out", "all.png"]);
    assert!(line.contains("all.png: the file is written as SVG; name it all.svg"), "{line}");
    let line = folder.fail(&["compare", "cut", "--out", "all.svg"]);
    assert!(line.contains("no run has a finished epoch to draw"), "{line}");
    assert_eq!(folder.list("."), ["cut", "empty"]);
}
