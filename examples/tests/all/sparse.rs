//! `network.fan_in`: neurons that have only some of the possible inputs.

use crate::common::{empty_folder, polychron, text};
use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const FAN_IN: usize = 3;
const SMALL: [&str; 7] = [
    "train.epochs=3",
    "train.delay_init=uniform",
    "network.hidden=[8, 6]",
    "network.max_delay=6",
    "network.count=2",
    "network.fan_in=3",
    "data.source=order",
];

fn folder(name: &str) -> PathBuf {
    empty_folder(&format!("sparse-{name}"))
}

/// Runs a command and returns its last line of output.
fn run(folder: &Path, args: &[&str]) -> String {
    let output = polychron(folder, args).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().last().unwrap_or_default().into()
}

fn train(folder: &Path, more: &[&str]) -> String {
    let set: Vec<_> = SMALL.into_iter().flat_map(|set| ["--set", set]).collect();
    run(folder, &[&["train", "--preset", "order", "--json"], &set[..], more].concat())
}

/// Weights and delays of every layer: shape `[out, in, count]` and values.
fn layers(path: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let synapses = |name: &str| name.ends_with(".weight") || name.ends_with(".delay");
    let tensors = file.iter().filter(|(name, _)| synapses(name));
    let values = |bytes: &[u8]| -> Vec<f32> {
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    tensors.map(|(name, t)| (name.into(), (t.shape().to_vec(), values(t.data())))).collect()
}

#[test]
fn missing_synapses_stay_missing_and_are_not_trained() {
    let folder = folder("absent");
    train(&folder, &["--out", "start", "--stop-after", "0"]);
    let figures: Value = serde_json::from_str(&train(&folder, &["--out", "run"])).unwrap();
    let before = layers(&folder.join("start/checkpoint.safetensors"));
    let after = layers(&folder.join("run/model.safetensors"));
    assert_eq!(after.len(), 6);
    let mut moved = 0;
    for name in ["hidden.0", "hidden.1", "output"] {
        let [weight, delay] = ["weight", "delay"].map(|part| format!("{name}.{part}"));
        let (shape, weights) = &after[&weight];
        for (o, row) in weights.chunks_exact(shape[1] * shape[2]).enumerate() {
            let kept: Vec<_> = row.chunks_exact(2).map(|both| both != [0.0; 2]).collect();
            assert_eq!(kept.iter().filter(|&&kept| kept).count(), FAN_IN, "{name}: {row:?}");
            for (n, weight) in row.iter().enumerate() {
                let (i, place) = (n / 2, o * row.len() + n);
                let [then, now] = [&before, &after].map(|layers| layers[&delay].1[place]);
                assert_eq!(*weight != 0.0, kept[i], "{name}: {row:?}");
                assert_eq!(before[&format!("{name}.weight")].1[place] != 0.0, kept[i]);
                assert!(
                    kept[i] || then == now,
                    "{name}: the delay of a missing synapse has changed"
                );
                moved += usize::from(then != now);
            }
        }
    }
    let synapses = FAN_IN * 2 * (8 + 6 + 10);
    assert!(moved > synapses / 2, "{moved}");
    let parameters = 2 * synapses + 2 * (8 + 6);
    assert_eq!(figures["parameters"], parameters);
    let inspection: Value =
        serde_json::from_str(&run(&folder, &["inspect", "run", "--json"])).unwrap();
    assert_eq!(inspection["parameters"], parameters);
}

#[test]
fn a_sparse_run_resumes_bit_for_bit_and_depends_on_its_seed() {
    let folder = folder("resume");
    train(&folder, &["--out", "whole"]);
    train(&folder, &["--out", "cut", "--stop-after", "1"]);
    run(&folder, &["train", "--resume", "--out", "cut"]);
    let bytes = |out: &str| fs::read(folder.join(out).join("checkpoint.safetensors")).unwrap();
    assert!(bytes("whole") == bytes("cut"), "the resumed run ends in a different state");
    train(&folder, &["--out", "other", "--seed", "1"]);
    let kept = |out: &str| -> Vec<bool> {
        let layers = layers(&folder.join(out).join("model.safetensors"));
        layers["hidden.1.weight"].1.iter().map(|&weight| weight != 0.0).collect()
    };
    assert_ne!(kept("whole"), kept("other"));
}

#[test]
fn a_fan_in_of_all_inputs_changes_nothing() {
    let folder = folder("all");
    train(&folder, &["--out", "none", "--set", "network.fan_in=0"]);
    train(&folder, &["--out", "all", "--set", "network.fan_in=1000"]);
    let layers = |out: &str| layers(&folder.join(out).join("model.safetensors"));
    assert!(
        layers("none") == layers("all"),
        "a fan-in above the number of inputs must keep all inputs"
    );
}
