//! `network.delay_place`: where the delays of a connection sit, through the command line.

use crate::cli::{Folder, last_line};
use crate::common::text;
use polychron::Model;
use serde_json::Value;

/// Axonal, dendritic and no delays in a chain of 8 channels, 8, 6 and 10 neurons.
const MIXED: [&str; 8] = [
    "--set",
    "network.hidden=[8, 6]",
    "--set",
    "network.delay_place=axonal",
    "--set",
    "network.layers=[{}, { delay_place = \"dendritic\", count = 2 }]",
    "--set",
    "network.readout.delay_place=\"none\"",
];

#[test]
fn places_train_resume_and_are_exported() {
    let folder = Folder::new("places-train");
    folder.train_alike(&MIXED);

    let inspection = last_line(&folder.run(&["inspect", "whole", "--json"]));
    let places = inspection["layers"].as_array().unwrap().iter().map(|layer| &layer["delay_place"]);
    assert_eq!(places.collect::<Vec<_>>(), ["axonal", "dendritic", "none"]);
    let (weights, delays, norms) = (8 * 8 + 2 * 6 * 8 + 10 * 6, 8 + 2 * 6, 2 * (8 + 6));
    let report: Value = serde_json::from_slice(&folder.bytes("whole/report.json")).unwrap();
    for count in [&inspection["parameters"], &report["figures"]["parameters"]] {
        assert_eq!(*count, weights + delays + norms, "{report}");
    }
    let model = Model::load(folder.0.join("whole")).unwrap();
    let shape = |name: &str| {
        let tensor = model.state().tensors.iter().find(|tensor| tensor.name == name);
        tensor.unwrap().shape.clone()
    };
    assert_eq!([shape("hidden.0.delay"), shape("hidden.1.delay")], [[8, 1], [6, 2]]);
    let table = text(&folder.run(&["inspect", "whole"]).stdout);
    for part in ["gauss, axonal delays up to 6 steps", ", dendritic delays", "hidden.1, no delays"]
    {
        assert!(table.contains(part), "{part}: {table}");
    }

    let whole = last_line(&folder.run(&["eval", "whole", "--json"]));
    let stream = last_line(&folder.run(&["eval", "whole", "--stream", "--json"]));
    assert_eq!(stream["accuracy"], whole["accuracy"]);
    let args = ["export", "whole", "-o", "model.pcn", "--weights", "f32", "--json"];
    let export = last_line(&folder.run(&args));
    assert_eq!(export["rounded_accuracy"], whole["accuracy"]);
    assert_eq!(export["agreement"], 1.0, "{export}");
}

#[test]
fn a_run_from_another_place_starts_its_delays_anew() {
    let folder = Folder::new("places-from");
    // Axonal and dendritic delays of 8 inputs and 8 outputs have the same shape.
    folder.train("axonal", &["--set", "network.delay_place=axonal"]);
    for (place, anew) in [
        ("axonal", ""),
        ("dendritic", "axonal: starts anew: hidden.0.delay, output.delay"),
        ("none", "axonal: starts anew: hidden.0.delay, output.delay"),
    ] {
        let place = format!("network.delay_place={place}");
        let output = folder.train(&place, &["--from", "axonal", "--set", &place]);
        let lines = text(&output.stderr);
        assert!(lines.contains(anew) && lines.contains("anew") != anew.is_empty(), "{lines}");
    }
}

#[test]
fn a_place_is_shown_and_checked() {
    let folder = Folder::new("places-shown");
    let place = ["--set", "network.delay_place=shared"];
    let args = ["train", "--preset", "order", "--plan"];
    let plan = text(&folder.run(&[&args[..], &place].concat()).stdout);
    assert!(plan.contains(" ms, shared, sigma "), "{plan}");
    let page = text(&folder.run(&["config", "--preset", "order"]).stdout);
    assert!(page.contains("#delay_place = \"synaptic\"\n"), "{page}");
    assert!(page.contains("# * `axonal`: Every input has a delay"), "{page}");
    let page = text(&folder.run(&[&["config", "--preset", "order"], &place[..]].concat()).stdout);
    assert!(page.contains("\ndelay_place = \"shared\"\n"), "{page}");
    let args = ["train", "--preset", "order", "--out", "no", "--set", "network.delay_place=soma"];
    let line = folder.fail(&args);
    assert!(line.contains("unknown variant `soma`, expected one of `synaptic`"), "{line}");
    let longest = ["train", "--preset", "order", "--out", "no", "--set", "network.max_delay=5000"];
    assert!(folder.fail(&longest).contains("network.max_delay = 5000 is not below"));
    let plan =
        folder.run(&[&longest[..], &["--plan", "--set", "network.delay_place=none"]].concat());
    assert!(text(&plan.stdout).contains("1 taps up to 0 ms, sigma"), "{}", text(&plan.stderr));
}
