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

#[test]
fn a_pruned_run_keeps_the_largest_weights_and_trains_them() {
    let folder = folder("pruned");
    let dense = ["--set", "network.fan_in=0"];
    train(&folder, &[&dense[..], &["--out", "dense"]].concat());
    let pruned = [&dense[..], &["--from", "dense", "--set", "network.density=0.3"]].concat();
    let with = |more: &[&'static str]| [&pruned[..], more].concat();
    let figures: Value = serde_json::from_str(&train(&folder, &with(&["--out", "run"]))).unwrap();
    train(&folder, &with(&["--out", "cut", "--stop-after", "1"]));
    run(&folder, &["train", "--resume", "--out", "cut"]);
    let bytes = |out: &str| fs::read(folder.join(out).join("checkpoint.safetensors")).unwrap();
    assert!(bytes("run") == bytes("cut"), "the resumed run ends in a different state");

    let [before, after] =
        ["dense", "run"].map(|out| layers(&folder.join(out).join("model.safetensors")));
    let (mut synapses, mut missing, mut kept_all) = (0, 0, 0);
    for name in ["hidden.0", "hidden.1", "output"] {
        let [old, new] = [&before, &after].map(|layers| &layers[&format!("{name}.weight")].1);
        let kept = (0.3 * old.len() as f64).ceil() as usize;
        let places = || (0..old.len()).filter(|&place| new[place] != 0.0);
        assert_eq!(places().count(), kept, "{name}");
        let least = places().map(|place| old[place].abs()).fold(f32::INFINITY, f32::min);
        let absent = (0..old.len()).filter(|&place| new[place] == 0.0);
        assert!(absent.map(|place| old[place].abs()).all(|size| size <= least), "{name}");
        assert!(places().all(|place| new[place] != old[place]), "{name}: is not trained");
        let [old, new] = [&before, &after].map(|layers| &layers[&format!("{name}.delay")].1);
        missing += (0..old.len()).filter(|&place| new[place] == old[place]).count();
        synapses += old.len();
        kept_all += kept;
    }
    assert!(missing >= synapses - kept_all, "delays of absent synapses have changed");
    assert_eq!(figures["parameters"], 2 * kept_all + 2 * (8 + 6));
    let inspection: Value =
        serde_json::from_str(&run(&folder, &["inspect", "run", "--json"])).unwrap();
    assert_eq!(inspection["parameters"], figures["parameters"]);

    let export = |out: &str| -> Value {
        let args = ["export", out, "-o", &format!("{out}.pcn"), "--weights", "f32", "--json"];
        serde_json::from_str(&run(&folder, &args)).unwrap()
    };
    let [dense, pruned] = ["dense", "run"].map(export);
    assert_eq!(pruned["agreement"], 1.0);
    let size = |summary: &Value| summary["flash"].as_u64().unwrap();
    let synapses = |summary: &Value| -> u64 {
        let layers = summary["layers"].as_array().unwrap().iter();
        layers.map(|layer| layer["synapses"].as_u64().unwrap()).sum()
    };
    assert!(synapses(&pruned) < synapses(&dense) / 2 && size(&pruned) < size(&dense), "{pruned}");
}

#[test]
fn pruning_prints_what_it_costs() {
    let folder = folder("cost");
    train(&folder, &["--set", "network.fan_in=0", "--out", "dense"]);
    let set: Vec<_> = SMALL.into_iter().flat_map(|set| ["--set", set]).collect();
    let more = ["--set", "network.fan_in=0", "--set", "network.density=0.5", "--from", "dense"];
    let args = [&["train", "--preset", "order", "--out", "half"], &set[..], &more].concat();
    let output = polychron(&folder, &args).output().unwrap();
    let lines = text(&output.stderr);
    let synapses = 2 * (8 * 8 + 8 * 6 + 6 * 10);
    let start = format!("pruned: {} of {synapses} synapses are left; before", synapses / 2);
    let line =
        lines.lines().find(|line| line.contains(&start)).unwrap_or_else(|| panic!("{lines}"));
    assert!(line.contains("accuracy ") && line.contains(" instead of "), "{line}");
    for (density, problem) in [("0", "0.0 is not above 0"), ("1.5", "1.5 is not above 0")] {
        let density = format!("network.density={density}");
        let args = ["train", "--preset", "order", "--out", "no", "--set", &density];
        let output = polychron(&folder, &args).output().unwrap();
        let line = text(&output.stderr);
        assert!(line.contains(&format!("network.density = {problem}")), "{line}");
    }
}
