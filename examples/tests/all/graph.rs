//! Networks whose layers differ and have several inputs, through the command line.

use crate::cli::{Folder, last_line};
use crate::common::text;
use serde_json::Value;
use std::fs;

/// A folder with the configuration of `README.md` as `net.toml`, followed by more lines.
fn folder(name: &str, more: &str) -> Folder {
    let folder = Folder::new(&format!("graph-{name}"));
    let readme = include_str!("../../README.md");
    let toml = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let small = "\n[data]\nvalid = 0.6\n\n[train]\nepochs = 2\n";
    fs::write(folder.0.join("net.toml"), format!("{toml}{small}{more}")).unwrap();
    folder
}

fn train(folder: &Folder, out: &str, more: &[&str]) {
    let output = folder.run(&[&["train", "--config", "net.toml", "--out", out], more].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// Name, source, kernel and longest delay of every connection.
const CONNECTIONS: [(&str, &str, &str, u64); 5] = [
    ("hidden.0", "input", "max", 12),
    ("hidden.1", "hidden.0", "gauss", 12),
    ("hidden.1.inputs.1", "input", "linear", 30),
    ("output", "hidden.1", "gauss", 0),
    ("output.inputs.1", "hidden.0", "gauss", 12),
];

#[test]
fn a_graph_trains_resumes_and_is_inspected() {
    let folder = folder("trains", "");
    train(&folder, "whole", &["--threads", "1"]);
    train(&folder, "two", &["--threads", "2"]);
    train(&folder, "cut", &["--stop-after", "1"]);
    let output = folder.run(&["train", "--resume", "--out", "cut"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for file in ["checkpoint.safetensors", "model.safetensors", "delays.svg", "raster.svg"] {
        let whole = folder.bytes(&format!("whole/{file}"));
        assert!(whole == folder.bytes(&format!("cut/{file}")), "{file}");
        assert!(whole == folder.bytes(&format!("two/{file}")), "{file}");
    }
    let delays = text(&folder.bytes("whole/delays.svg"));
    for (name, ..) in CONNECTIONS {
        assert!(delays.contains(&format!("Delays of {name}")), "{name}");
    }
    let raster = text(&folder.bytes("whole/raster.svg"));
    assert!(raster.contains("Hidden layer 2") && raster.contains("Readout"));

    let report: Value = serde_json::from_slice(&folder.bytes("whole/report.json")).unwrap();
    let evaluation = last_line(&folder.run(&["eval", "whole", "--json"]));
    assert_eq!(evaluation["accuracy"], report["figures"]["test_accuracy"]);

    let inspection = last_line(&folder.run(&["inspect", "whole", "--json"]));
    let layers = inspection["layers"].as_array().unwrap();
    assert_eq!(layers.len(), CONNECTIONS.len());
    for (layer, (name, from, kernel, max_delay)) in layers.iter().zip(CONNECTIONS) {
        assert_eq!(layer["name"], name);
        assert_eq!((&layer["from"], &layer["kernel"]), (&from.into(), &kernel.into()));
        assert_eq!(layer["max_delay"], max_delay);
    }
    let neurons = &layers[1]["neurons"];
    assert_eq!((&neurons["model"]["kind"], &neurons["norm"]), (&"adlif".into(), &false.into()));
    assert_eq!((&neurons["dropout"], &layers[2]["neurons"]), (&0.0.into(), &Value::Null));
    let table = text(&folder.run(&["inspect", "whole"]).stdout);
    for part in [
        "8 channels, 10 classes\ninput    spikes, steps of 10 ms\n",
        "classes  0, 1, 2, 3, 4, 5, 6, 7, 8, 9\n",
        "  from input, kernel linear, synaptic delays up to 30 steps, 300 ms\n",
        "  neurons lif, surrogate atan, norm, dropout 0.1\n",
        "  neurons adlif, surrogate atan, no norm, dropout 0\n",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
}

#[test]
fn a_plan_says_where_every_connection_comes_from() {
    let folder = folder("plan", "");
    let plan = text(&folder.run(&["train", "--config", "net.toml", "--plan"]).stdout);
    let lines: Vec<_> = plan.lines().filter(|line| !line.starts_with(' ')).collect();
    let expected = [
        "layer 1 from input: 8-24, 13 taps up to 120 ms, sigma 6, ",
        "layer 2 from hidden.0: 24-16, 13 taps up to 120 ms, sigma 6, ",
        "layer 2 from input: 8-16, 31 taps up to 300 ms, sigma 15, ",
        "layer 3 from hidden.1: 16-10, 1 taps up to 0 ms, sigma 0, ",
        "layer 3 from hidden.0: 24-10, 13 taps up to 120 ms, sigma 6, ",
    ];
    assert_eq!(lines.len(), expected.len(), "{plan}");
    for (line, start) in lines.iter().zip(expected) {
        assert!(line.starts_with(start), "{start}: {plan}");
    }
}

#[test]
fn streams_and_model_files_refuse_a_graph() {
    let folder = folder("chain", "");
    train(&folder, "run", &["--epochs", "1"]);
    let line = folder.fail(&["eval", "run", "--stream"]);
    assert!(line.contains("chain of layers"), "{line}");
    let line = folder.fail(&["export", "run", "-o", "model.pcn"]);
    assert!(line.contains("run/model.safetensors: a model file holds a chain of layers"), "{line}");
    assert_eq!(folder.list("."), ["net.toml", "run"]);
}

#[test]
fn errors_name_the_field_of_the_layer_that_has_it() {
    let folder = folder("errors", "");
    let whole = text(&folder.bytes("net.toml"));
    let linear = "{ from = \"input\", max_delay = 30, kernel = \"linear\" }";
    for (old, new, named) in [
        (
            "{ from = \"previous\" }",
            "{ from = 1 }",
            "network.layers[1].inputs[0].from = 1 is the layer itself; use",
        ),
        (
            "{ from = \"previous\" }",
            "{ from = 2 }",
            "network.layers[1].inputs[0].from = 2 is not an earlier",
        ),
        ("{ from = 0 }", "{ from = 2 }", "network.readout.inputs[1].from = 2 is not an earlier"),
        (
            "{ from = \"previous\" }",
            "{ from = \"last\" }",
            "network.layers[1].inputs[0].from = \"last\" is not \"previous\", \"input\" or",
        ),
        ("from = 0", "form = 0", "net.toml:19: unknown field `form`"),
        ("from = 0", "from = -1", "net.toml:19: from is not \"previous\", \"input\" or the index"),
        (
            "[24, 16]",
            "[24]",
            "tables of network.layers = 2 is above 1, the number of layers of network.hidden",
        ),
        ("\"max\"", "\"box\"", "network.layers[0].kernel = \"box\" is not one of [\"gauss\""),
        ("\"linear\"", "\"box\"", "network.layers[1].inputs[1].kernel = \"box\""),
        (linear, "{ count = 0 }", "network.layers[1].inputs[1].count = 0 is not at least 1"),
        (
            "max_delay = 12",
            "max_delay = 60",
            "network.max_delay = 60 is not below the 60 steps of burst order",
        ),
        (
            "max_delay = 30",
            "max_delay = 60",
            "network.layers[1].inputs[1].max_delay = 60 is not below the 60 steps",
        ),
        (
            "max_delay = 30",
            "max_delay = 20000",
            "network.layers[1].inputs[1].max_delay = 20000 is above 16384",
        ),
        (
            "max_delay = 0",
            "max_delay = 61",
            "network.readout.inputs[0].max_delay = 61 is not below",
        ),
        (
            "norm = false",
            "bias = true",
            "network.layers[1].bias = true needs norm = false: a norm has a bias",
        ),
        ("dropout = 0.0", "dropout = 1.0", "network.layers[1].dropout = 1.0 is not in [0, 1)"),
        ("dropout = 0.1", "dropout = -0.1", "network.dropout = -0.1 is not in [0, 1)"),
        (
            "tau_ms = 15.0",
            "tau_ms = 5",
            "network.layers[1].neuron.tau_ms = 5.0 is not above one step of 10 ms",
        ),
        (
            "tau_ms = 15.0",
            "tau_w_ms = 5",
            "network.layers[1].neuron.tau_w_ms = 5.0 is not above one step of 10 ms",
        ),
        (
            "tau_ms = 15.0",
            "v_reset = 2.0",
            "network.neuron.threshold = 1.0 is not above the resting potential, v_reset",
        ),
        ("tau_ms = 15.0", "tau = 15.0", "network.layers[1].neuron: unknown field `tau`"),
        (
            "\"adlif\"",
            "\"izhikevich\"",
            "network.layers[1].neuron.kind = \"izhikevich\" is not one of",
        ),
        ("norm = false", "surrogate = { kind = \"sine\" }", "network.layers[1].surrogate: "),
        (
            "{ from = \"previous\", max_delay = 0 }",
            "{ from = 0 }",
            "network.hidden[1] = 16: no layer has it as an input",
        ),
    ] {
        assert!(whole.contains(old), "{old}");
        fs::write(folder.0.join("net.toml"), whole.replacen(old, new, 1)).unwrap();
        let line = folder.fail(&["train", "--config", "net.toml", "--out", "refused"]);
        assert!(line.contains(named), "{named}: {line}");
        assert!(!folder.0.join("refused").exists());
    }
}

/// A layer with as many inputs as a configuration of 64 KiB can list.
#[test]
fn a_long_list_of_inputs_is_checked_quickly() {
    let folder = Folder::new("graph-long");
    let inputs = "{},".repeat(20_000);
    let text =
        format!("[network]\nhidden = [2]\n[network.readout]\ninputs = [{inputs}{{from = 1}}]");
    fs::write(folder.0.join("net.toml"), text).unwrap();
    let line = folder.fail(&["train", "--config", "net.toml"]);
    assert!(line.contains("network.readout.inputs[20000].from = 1 is not an earlier"), "{line}");
}

#[test]
fn a_network_whose_names_do_not_fit_into_a_checkpoint_is_not_begun() {
    let folder = folder("names", "");
    let layers = format!("network.layers=[{{}}, {{ inputs = [{}] }}]", "{},".repeat(1500));
    let args = ["--set", "network.hidden=[2, 2]", "--out", "refused"];
    let train = ["train", "--config", "net.toml", "--set", &layers];
    let line = folder.fail(&[&train[..], &args].concat());
    assert!(line.contains("bytes, more than 1048576; use fewer or shorter ones"), "{line}");
    assert_eq!(folder.list("."), ["net.toml"]);
}

#[test]
fn layers_are_set_as_a_whole_on_the_command_line() {
    let folder = folder("set", "");
    let layers = r#"network.layers=[{}, { neuron = { kind = "plif" }, inputs = [{ from = 0 }] }]"#;
    train(&folder, "run", &["--epochs", "1", "--set", layers]);
    let inspection = last_line(&folder.run(&["inspect", "run", "--json"]));
    assert_eq!(inspection["layers"].as_array().unwrap().len(), 4);
    assert_eq!(inspection["layers"][0]["kernel"], "gauss");
    assert_eq!(inspection["layers"][1]["neurons"]["model"]["kind"], "plif");
    for (set, named) in [
        ("network.layers=[{ kernel = max }]", "the value is not TOML; are strings in quotes?"),
        ("network.layers=[{ kernl = \"max\" }]", "unknown field `kernl`"),
        (
            "network.layers[1].kernel=max",
            "--set network.layers[1].kernel=max: set the whole list: network.layers=[{ ... }]",
        ),
        ("network.layers.1.kernel=max", "layers is a list; set it as a whole"),
    ] {
        let line = folder.fail(&["train", "--config", "net.toml", "--out", "no", "--set", set]);
        assert!(line.contains(named), "{named}: {line}");
    }
}

#[test]
fn a_recipe_of_other_parts_trains_and_resumes() {
    let recipe = r#"
optimizer = "sgd"
momentum = 0.8
rate = 0.02
schedule = "step"
delay_schedule = "constant"
step_epochs = 1
step_factor = 0.1
warmup_epochs = 1
clip_norm = 0.5
rate_penalty = { weight = 0.1, low = 0.01, high = 0.2 }
neuron_rate = 0.5
"#;
    let network = [
        "--set",
        "network.objective=mean_square",
        "--set",
        "network.neuron.kind=plif",
        "--set",
        "network.neuron.per_neuron=true",
    ];
    let folder = folder("recipe", recipe);
    train(&folder, "whole", &network);
    train(&folder, "cut", &[&network[..], &["--stop-after", "1"]].concat());
    let output = folder.run(&["train", "--resume", "--out", "cut"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for file in ["checkpoint.safetensors", "model.safetensors"] {
        let whole = folder.bytes(&format!("whole/{file}"));
        assert!(whole == folder.bytes(&format!("cut/{file}")), "{file}");
    }
    let model = folder.bytes("whole/model.safetensors");
    for set in [
        "train.optimizer=adam",
        "train.momentum=0.7",
        "train.schedule=cosine",
        "train.delay_schedule=step",
        "train.step_factor=0.5",
        "train.step_epochs=2",
        "train.warmup_epochs=0",
        "train.clip_norm=0.1",
        "train.rate_penalty.weight=1.0",
        "train.neuron_rate=0.1",
        "network.objective=binary_cross_entropy",
        "network.neuron.per_neuron=false",
    ] {
        train(&folder, set, &[&network[..], &["--set", set]].concat());
        assert!(folder.bytes(&format!("{set}/model.safetensors")) != model, "{set}");
    }
}
