//! `network.delays`: delays that are fixed or given, through the command line.

use crate::cli::{Folder, last_line};
use crate::common::text;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize_to_file};

/// A fixed, a given and a learned connection of 8 channels, 8 neurons and 10 classes.
const MIXED: [&str; 6] = [
    "--set",
    "network.delays=fixed",
    "--set",
    "network.layers=[{}, { delays = \"learned\", delay_place = \"axonal\" }]",
    "--set",
    "network.hidden=[8, 6]",
];

/// The values of a tensor of a file of a run.
fn values(folder: &Folder, file: &str, name: &str) -> Vec<f32> {
    let bytes = folder.bytes(file);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let data = file.tensor(name).unwrap().data().to_vec();
    data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn write(folder: &Folder, file: &str, tensors: &[(&str, &[usize], &[f64])]) {
    let bytes = |values: &[f64]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let all: Vec<_> = tensors.iter().map(|(.., values)| bytes(values)).collect();
    let views = tensors.iter().zip(&all).map(|((name, shape, _), bytes)| {
        (*name, TensorView::new(Dtype::F64, shape.to_vec(), bytes).unwrap())
    });
    serialize_to_file(views, None, &folder.0.join(file)).unwrap();
}

#[test]
fn fixed_delays_stay_as_drawn_and_resume() {
    let folder = Folder::new("fixed-train");
    folder.train("start", &[&MIXED[..], &["--stop-after", "0"]].concat());
    folder.train("whole", &[&MIXED[..], &["--threads", "1"]].concat());
    folder.train("cut", &[&MIXED[..], &["--stop-after", "1"]].concat());
    let output = folder.run(&["train", "--resume", "--out", "cut"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        folder.bytes("whole/checkpoint.safetensors") == folder.bytes("cut/checkpoint.safetensors")
    );
    for (name, fixed) in [("hidden.0", true), ("hidden.1", false), ("output", true)] {
        let name = format!("{name}.delay");
        let [start, end] = ["start/checkpoint.safetensors", "whole/model.safetensors"]
            .map(|file| values(&folder, file, &name));
        assert_eq!(start == end, fixed, "{name}");
        assert_eq!(end.iter().all(|d| d.fract() == 0.0), fixed, "{name}");
    }
    let inspection = last_line(&folder.run(&["inspect", "whole", "--json"]));
    let of = |field: &str| [0, 1, 2].map(|l| inspection["layers"][l][field].clone());
    assert_eq!(of("delays"), ["fixed", "learned", "fixed"]);
    assert_eq!(of("kernel"), ["discrete", "gauss", "discrete"]);
    assert_eq!(of("parameters"), [8 * 8 + 2 * 8, 6 * 8 + 8 + 2 * 6, 10 * 6]);
    let table = text(&folder.run(&["inspect", "whole"]).stdout);
    assert!(table.contains("kernel discrete, fixed synaptic delays up to 6 steps"), "{table}");

    let whole = last_line(&folder.run(&["eval", "whole", "--json"]));
    let stream = last_line(&folder.run(&["eval", "whole", "--stream", "--json"]));
    assert_eq!(stream["accuracy"], whole["accuracy"]);
    let args = ["export", "whole", "-o", "model.pcn", "--weights", "f32", "--json"];
    let export = last_line(&folder.run(&args));
    assert_eq!(export["rounded_accuracy"], whole["accuracy"]);
    assert_eq!(export["agreement"], 1.0, "{export}");
}

#[test]
fn given_delays_come_from_a_file_or_a_run() {
    let folder = Folder::new("fixed-given");
    let hidden: Vec<f64> = (0..64).map(|n| f64::from(n % 7)).collect();
    let output: Vec<f64> = (0..80).map(|n| f64::from(10 * (n % 5))).collect();
    let tensors: [(&str, &[usize], &[f64]); 2] =
        [("hidden.0.delay", &[8, 8], &hidden), ("output.delay_ms", &[10, 8, 1], &output)];
    write(&folder, "delays.safetensors", &tensors);
    let given = ["--set", "network.delays=given", "--set", "network.delay_file=delays.safetensors"];
    folder.train("file", &given);
    let of = |file: &str, name: &str| values(&folder, file, name);
    let whole: Vec<f32> = hidden.iter().map(|&d| d as f32).collect();
    assert_eq!(of("file/model.safetensors", "hidden.0.delay"), whole);
    let steps: Vec<f32> = output.iter().map(|ms| (ms / 10.0) as f32).collect();
    assert_eq!(of("file/model.safetensors", "output.delay"), steps);

    folder.train("learned", &[]);
    folder.train("from", &["--from", "learned", "--set", "network.delays=given"]);
    let learned = "network.delay_file=learned/model.safetensors";
    folder.train("read", &["--set", "network.delays=given", "--set", learned]);
    for name in ["hidden.0.delay", "output.delay"] {
        let rounded: Vec<f32> =
            of("learned/model.safetensors", name).iter().map(|d| d.round_ties_even()).collect();
        assert_eq!(of("from/model.safetensors", name), rounded);
        assert_eq!(of("read/model.safetensors", name), rounded);
    }
}

#[test]
fn delays_that_cannot_be_given_are_refused() {
    let folder = Folder::new("fixed-refused");
    folder.refuse(&["--set", "network.delays=given"], &["network.delay_file", "--from RUN"]);
    folder.refuse(
        &["--set", "network.delay_file=a"],
        &["network.delay_file = \"a\" needs network.delays = \"given\""],
    );
    let given = ["--set", "network.delays=given", "--set", "network.delay_file=file"];
    folder.refuse(&given, &["file: "]);
    std::fs::write(folder.0.join("file"), "no tensors").unwrap();
    folder.refuse(&given, &["file: not a Safetensors file"]);
    let (whole, mut late) = ([0.0; 64], [0.0; 64]);
    for (tensors, message) in [
        (("hidden.1.delay", &[8, 8][..]), "tensor hidden.0.delay or hidden.0.delay_ms is missing"),
        (("hidden.0.delay", &[64]), "tensor hidden.0.delay has the shape [64], not [8, 8, 1]"),
    ] {
        write(&folder, "file", &[(tensors.0, tensors.1, &whole)]);
        folder.refuse(&given, &[&format!("file: {message}")]);
    }
    for value in [7.0, -1.0, f64::NAN] {
        late[9] = value;
        write(&folder, "file", &[("hidden.0.delay", &[8, 8], &late)]);
        let message = format!("tensor hidden.0.delay[9] = {value} is not between 0 and 6");
        folder.refuse(&given, &[&message]);
    }
}
