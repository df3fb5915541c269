//! What becomes of a run when the GPU is too small or is lost, on the emulator.

use crate::checkpoint;
use crate::config::Config;
use crate::machine::Work;
use crate::presets;
use crate::task::Task;
use crate::train::{Training, rehearse};
use polychron_cuda::{Cuda, Emulated};
use std::path::{Path, PathBuf};

const SMALL: [&str; 8] = [
    "backend=\"cuda-emulated\"",
    "data.batch=64",
    "data.steps=20",
    "data.test=0.97",
    "data.valid=0.02",
    "network.hidden=[4]",
    "network.max_delay=4",
    "train.epochs=2",
];

fn config() -> Config {
    presets::load(None, None, &SMALL.map(String::from)).unwrap()
}

/// Trains in a folder, on a device that is lost after so many launches.
fn train(folder: &Path, launches: Option<usize>, resume: bool) -> Result<(), String> {
    let config = config();
    let task = Task::load(&config, None).unwrap();
    let folder = folder.to_path_buf();
    let training = Training { config: &config, task, folder, resume, stop_after: None };
    let device = || Ok(Cuda::emulated(Emulated { launches, ..Emulated::default() }));
    training.on(device).map(|_| ()).map_err(|failure| failure.to_string())
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("polychron-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

#[test]
fn full_memory_says_which_batch_fits() {
    let (config, memory) = (config(), Some(400_000));
    let task = Task::load(&config, None).unwrap();
    let device = || Ok(Cuda::emulated(Emulated { memory, ..Emulated::default() }));
    let text = rehearse(&device, &config, &task).unwrap_err().to_string();
    assert!(text.contains("the GPU has no ") && text.contains(" bytes for a "), "{text}");
    let batch = text.rsplit_once("data.batch = ").and_then(|(_, rest)| rest.strip_suffix(" fits"));
    let batch: usize = batch.and_then(|batch| batch.parse().ok()).expect(&text);
    assert!((2..64).contains(&batch), "{text}");
    let mut smaller = config.clone();
    smaller.data.batch = batch;
    let task = Task::load(&smaller, None).unwrap();
    rehearse(&device, &smaller, &task).unwrap();
}

#[test]
fn a_lost_device_leaves_the_last_checkpoint_good() {
    let (whole, broken) = (folder("whole"), folder("broken"));
    train(&whole, None, false).unwrap();
    let text = train(&broken, Some(200), false).unwrap_err();
    assert!(text.contains("the emulated device is lost"), "{text}");
    let state = checkpoint::read(&broken.join("checkpoint.safetensors")).unwrap().state;
    assert_eq!(state.epoch, 1, "the device was to be lost in the second epoch");
    train(&broken, None, true).unwrap();
    let model = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap();
    assert!(model(&whole) == model(&broken), "the resumed run ends elsewhere");
    for folder in [whole, broken] {
        std::fs::remove_dir_all(folder).unwrap();
    }
}
