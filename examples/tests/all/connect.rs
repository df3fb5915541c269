//! `network.connect`: connections that are not dense, through the command line.

use crate::cli::{Folder, last_line};
use crate::common::text;
use polychron::Model;
use serde_json::{Value, json};

/// 8 channels, 4 positions of 3 maps, 3 positions of 2 maps, and a dense readout of 10 classes.
const TWO: [&str; 6] = [
    "--set",
    "train.rounding=nearest",
    "--set",
    "network.hidden=[12, 6]",
    "--set",
    "network.layers=[{ connect = { conv = { width = 3, stride = 2, padding = 1, maps = 3 } }, \
     count = 2 }, { connect = { conv = { width = 2, maps = 2 } } }]",
];

#[test]
fn convolutions_train_resume_and_are_exported() {
    let folder = Folder::new("connect-train");
    folder.train_alike(&TWO);

    let inspection = last_line(&folder.run(&["inspect", "whole", "--json"]));
    let layers = inspection["layers"].as_array().unwrap();
    let first = json!({ "conv": { "width": 3, "maps": 3, "stride": 2, "padding": 1 } });
    let second = json!({ "conv": { "width": 2, "maps": 2, "stride": 1, "padding": 0 } });
    let connects = layers.iter().map(|layer| layer["connect"].clone());
    assert_eq!(connects.collect::<Vec<_>>(), [first, second, json!("dense")]);
    assert_eq!(layers[0]["shape"], json!([3, 1, 3, 2]));
    let (weights, norms) = (3 * 3 * 2 + 2 * 3 * 2 + 10 * 6, 2 * (12 + 6));
    let report: Value = serde_json::from_slice(&folder.bytes("whole/report.json")).unwrap();
    for count in [&inspection["parameters"], &report["figures"]["parameters"]] {
        assert_eq!(*count, 2 * weights + norms, "{report}");
    }
    let model = Model::load(folder.0.join("whole")).unwrap();
    for (name, shape) in [("hidden.0.weight", [3, 1, 3, 2]), ("hidden.1.delay", [2, 3, 2, 1])] {
        let tensor = model.state().tensors.iter().find(|tensor| tensor.name == name);
        assert_eq!(tensor.unwrap().shape, shape);
    }
    let table = text(&folder.run(&["inspect", "whole"]).stdout);
    let dimensions = "2 x 3 x 2 x 1 (output maps x input maps x width x kernel elements)";
    assert!(table.contains(dimensions), "{table}");

    let whole = last_line(&folder.run(&["eval", "whole", "--json"]));
    let stream = last_line(&folder.run(&["eval", "whole", "--stream", "--json"]));
    assert_eq!(stream["accuracy"], whole["accuracy"]);
    let args = ["export", "whole", "-o", "model.pcn", "--weights", "f32", "--json"];
    let export = last_line(&folder.run(&args));
    assert_eq!(export["rounded_accuracy"], whole["accuracy"]);
    assert_eq!(export["agreement"], 1.0, "{export}");
    // The first kernel begins outside of the channels. A ring has a table of all pairs.
    let [first, second] = [&export["layers"][0], &export["layers"][1]];
    assert_eq!((&first["scheme"], &second["scheme"]), (&json!("groups"), &json!("ring")));
    assert_eq!([&first["synapses"], &second["synapses"]], [(2 + 3 * 3) * 3 * 2, 12 * 6]);
}

#[test]
fn a_run_from_other_synapses_starts_them_anew() {
    let folder = Folder::new("connect-from");
    // Both have weights `[2, 1, 3]` and 4 positions.
    let [set, other] = [(2, 1), (3, 2)].map(|(stride, padding)| {
        let sizes = format!("width = 3, maps = 2, stride = {stride}, padding = {padding}");
        format!("network.layers=[{{ connect = {{ conv = {{ {sizes} }} }} }}]")
    });
    folder.train("first", &["--set", &set]);
    let lines = text(&folder.train("same", &["--from", "first", "--set", &set]).stderr);
    assert!(!lines.contains("anew"), "{lines}");
    let lines = text(&folder.train("other", &["--from", "first", "--set", &other]).stderr);
    assert!(lines.contains("starts anew: hidden.0.weight, hidden.0.delay\n"), "{lines}");
}

#[test]
fn a_convolution_is_shown_and_checked() {
    let folder = Folder::new("connect-shown");
    let plan =
        text(&folder.run(&[&["train", "--preset", "order", "--plan"], &TWO[..]].concat()).stdout);
    assert!(plan.contains(" ms, convolution of 3 x 1 x 3, sigma "), "{plan}");
    let page = text(&folder.run(&["config", "--preset", "order"]).stdout);
    assert!(page.contains("#connect = \"dense\"\n"), "{page}");
    let with = |conv: &'static str| ["--set", "network.readout.connect=\"dense\"", "--set", conv];
    let conv = "network.connect={ conv = { width = 3, maps = 2 } }";
    folder.refuse(
        &with(conv),
        &["network.hidden[0] = 8, but network.connect makes 6 positions of 2 maps; use 12"],
    );
    folder.refuse(
        &["--set", conv, "--set", "network.hidden=[12]"],
        &["makes 4 positions of 2 maps, 8 in all, but there are 10 classes; set network.readout"],
    );
    folder.refuse(
        &with("network.connect={ conv = { width = 9, maps = 2 } }"),
        &["network.connect.conv.width = 9 is above 8, the positions of its input"],
    );
    folder.refuse(
        &with("network.connect={ conv = { width = 3, maps = 2, stride = 0 } }"),
        &["network.connect.conv.stride = 0 is not from 1 to 16384"],
    );
    folder.refuse(
        &with("network.connect={ conv = { width = 3, maps = 2, padding = 3 } }"),
        &["network.connect.conv.padding = 3 is not below the width"],
    );
    folder.refuse(
        &[&with(conv)[..], &["--set", "network.fan_in=3"]].concat(),
        &["network.fan_in = 3 does not go with network.connect"],
    );
    folder.refuse(&with("network.connect=\"near\""), &["unknown variant `near`, expected "]);
}
