//! Long samples, which are computed window by window, through the command line.

use crate::cli::Folder;
use crate::common::text;
use polychron_datasets::{About, Recording, Recordings, TimeFormat, shd};
use std::fs;
use std::process::Command;

/// Samples of 100 s, 100,000 steps of 1 ms. The classes differ in the order of two spikes, which
/// come again and again.
fn recordings(count: u16) -> Recordings {
    let item = |n: u16| {
        let (label, first) = (n % 2, f32::from(n) * 0.003);
        let (mut times, mut units) = (Vec::new(), Vec::new());
        for start in (0..1999).map(|k| k as f32 * 0.05 + first) {
            times.extend([start, start + 0.006]);
            units.extend([label, 1 - label]);
        }
        times.push(99.9995);
        units.push(2);
        Recording { times, units, label, speaker: n % 3 }
    };
    Recordings {
        source: "made".into(),
        channels: 3,
        keys: vec!["up".into(), "down".into()],
        time_format: TimeFormat::F32,
        about: About::default(),
        items: (0..count).map(item).collect(),
    }
}

fn folder(name: &str) -> Folder {
    let folder = Folder::new(&format!("windows-{name}"));
    for (file, count) in [("train.h5", 4), ("test.h5", 2)] {
        fs::write(folder.0.join(file), shd::to_bytes(&recordings(count)).unwrap()).unwrap();
    }
    let config = "[data]\nsource = \"h5\"\ntrain_file = \"train.h5\"\ntest_file = \"test.h5\"\n\
                  channels = 3\ngroup = 1\ndt_ms = 1\nbatch = 8\nvalid = 0.0\n\
                  split = \"fraction\"\n\n[network]\n\
                  hidden = [16]\nmax_delay = 12\ndropout = 0.1\nloss = \"mean\"\n\n\
                  [train]\nepochs = 4\nrate = 0.05\nwindow_steps = 2000\n";
    fs::write(folder.0.join("net.toml"), config).unwrap();
    folder
}

#[cfg(target_os = "linux")]
fn run(folder: &Folder, limit: &str, args: &[&str]) -> std::process::Output {
    let script = format!("ulimit {limit}; exec \"$@\"");
    let mut command = Command::new("sh");
    command.current_dir(&folder.0).args(["-c", &script, "sh", env!("CARGO_BIN_EXE_polychron")]);
    command.env("RAYON_NUM_THREADS", "2").args(args).output().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_sequence_of_100000_steps_trains_in_the_memory_of_a_window() {
    let folder = folder("long");
    let train = |out: &str, more: &[&str]| {
        let args = ["train", "--config", "net.toml", "--data", ".", "--out", out];
        run(&folder, "-v 250000", &[&args[..], more].concat())
    };
    let output = train("run", &["--threads", "1"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines = text(&output.stderr);
    let loss = |line: &str| line.split_once("loss ")?.1.split_once(',')?.0.parse::<f64>().ok();
    let losses: Vec<_> = lines.lines().filter_map(loss).collect();
    assert!(losses.len() == 4 && losses[3] < 0.8 * losses[0], "{lines}");
    let output = train("two", &["--threads", "2", "--stop-after", "1"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = run(&folder, "-v 250000", &["train", "--resume", "--out", "two", "--data", "."]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let bytes = |run: &str| folder.bytes(&format!("{run}/model.safetensors"));
    assert!(bytes("run") == bytes("two"));
    let output = run(&folder, "-v 250000", &["eval", "run", "--data", "."]);
    assert!(output.status.success(), "{}", text(&output.stderr));

    let output = train("whole", &["--set", "train.window_steps=1000000"]);
    assert!(!output.status.success(), "the limit is no limit");
}
