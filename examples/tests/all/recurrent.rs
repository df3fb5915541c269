//! `network.recurrent`: synapses among the neurons of a layer, through the command line.

use crate::cli::{Folder, last_line};
use crate::common::text;
use serde_json::Value;

/// A chain of 8 channels, 8, 6 and 10 neurons whose hidden layers are recurrent.
const RECURRENT: [&str; 8] = [
    "--set",
    "network.hidden=[8, 6]",
    "--set",
    "network.recurrent={ delay_place = \"axonal\", max_delay = 5, dropout = 0.2 }",
    "--set",
    "network.layers=[{}, { recurrent = { delays = \"fixed\", count = 2 } }]",
    "--set",
    "network.delay_place=none",
];

#[test]
fn recurrent_layers_train_resume_and_are_shown() {
    let folder = Folder::new("recurrent-train");
    folder.train_alike(&RECURRENT);

    let inspection = last_line(&folder.run(&["inspect", "whole", "--json"]));
    let layers = inspection["layers"].as_array().unwrap();
    let of = |field: &str| layers.iter().map(|layer| layer[field].clone()).collect::<Vec<_>>();
    let names = ["hidden.0", "hidden.0.recurrent", "hidden.1", "hidden.1.recurrent", "output"];
    assert_eq!(of("name"), names);
    assert_eq!(of("from"), ["input", "hidden.0", "hidden.0", "hidden.1", "hidden.1"]);
    assert_eq!(of("delay_place"), ["none", "axonal", "none", "none", "none"]);
    let (weights, norms) = (8 * 8 + 8 * 8 + 8 * 6 + 2 * 6 * 6 + 6 * 10, 2 * (8 + 6));
    let report: Value = serde_json::from_slice(&folder.bytes("whole/report.json")).unwrap();
    for count in [&inspection["parameters"], &report["figures"]["parameters"]] {
        assert_eq!(*count, weights + 8 + norms, "{report}");
    }

    let args = ["train", "--preset", "order", "--plan"];
    let plan = text(&folder.run(&[&args[..], &RECURRENT].concat()).stdout);
    assert!(plan.contains("layer 1 recurrent: 8-8, 6 taps up to 50 ms, axonal, sigma"), "{plan}");
    let line = folder.fail(&["export", "whole", "-o", "model.pcn"]);
    assert!(line.contains("is recurrent"), "{line}");
    let line = folder.fail(&["eval", "whole", "--stream"]);
    assert!(line.contains("recurrent connections"), "{line}");
}

#[test]
fn fields_of_recurrent_layers_are_checked_by_name() {
    let folder = Folder::new("recurrent-checked");
    for (set, expected) in [
        ("network.recurrent.dropout=1", "network.recurrent.dropout = 1.0 is not in [0, 1)"),
        ("network.recurrent.max_delay=5000", "network.recurrent.max_delay = 5000 is not below"),
        ("network.recurrent.kernel=\"box\"", "network.recurrent.kernel = \"box\" is not one of"),
        ("network.recurrent.size=3", "unknown field `size`"),
        (
            "network.layers=[{ recurrent = { count = 0 } }]",
            "network.layers[0].recurrent.count = 0 is not at least 1",
        ),
        (
            "network.layers=[{ inputs = [{ from = 0 }] }]",
            "the layer itself; use network.layers[0].recurrent = {}",
        ),
    ] {
        let args = ["train", "--preset", "order", "--out", "no", "--set", set];
        let line = folder.fail(&args);
        assert!(line.contains(expected), "{line}");
    }
}
