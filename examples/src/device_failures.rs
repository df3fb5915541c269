//! Runs on an emulated GPU that has too little memory or is lost.

use crate::backend::{self, Learner};
use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::error::{ErrorKind, Result};
use crate::presets;
use crate::run::{Run, rehearse};
use crate::task::Task;
use polychron_cuda::{Cuda, Emulated};
use std::path::{Path, PathBuf};

/// A trainer on an emulated device.
fn learner(config: &Config, task: &Task, device: Emulated) -> Result<Box<dyn Learner>> {
    Ok(Box::new(backend::trainer(Cuda::emulated(device), config, task.interface())?))
}

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

/// Trains in a folder on a device that is lost after `launches` kernel launches.
fn train(folder: &Path, launches: Option<usize>, resume: bool) -> Result<()> {
    let config = config();
    let (task, interface) = (Task::load(&config, None)?, Task::load(&config, None)?.interface());
    let learner = || -> Result<Box<dyn Learner>> {
        let device = Cuda::emulated(Emulated { launches, ..Emulated::default() });
        Ok(Box::new(backend::trainer(device, &config, interface)?))
    };
    let mut run = if resume {
        Run::resume_with(&learner, &config, task, folder)?
    } else {
        Run::create_with(&learner, &config, task, folder, None)?
    };
    run.train(&mut ()).map(|_| ())
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("polychron-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

#[test]
fn an_out_of_memory_error_names_a_batch_size_that_fits() {
    let (config, memory) = (config(), Some(400_000));
    let task = Task::load(&config, None).unwrap();
    let device = || Emulated { memory, ..Emulated::default() };
    let error = rehearse(&|| learner(&config, &task, device()), &config, &task).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    let text = error.to_string();
    assert!(text.contains("the GPU has no ") && text.contains(" bytes for a "), "{text}");
    let batch = text.rsplit_once("data.batch = ").and_then(|(_, rest)| rest.strip_suffix(" fits"));
    let batch: usize = batch.and_then(|batch| batch.parse().ok()).expect(&text);
    assert!((2..64).contains(&batch), "{text}");
    let mut smaller = config.clone();
    smaller.data.batch = batch;
    let task = Task::load(&smaller, None).unwrap();
    rehearse(&|| learner(&smaller, &task, device()), &smaller, &task).unwrap();
}

#[test]
fn a_run_resumes_after_its_device_was_lost() {
    let (whole, broken) = (folder("whole"), folder("broken"));
    train(&whole, None, false).unwrap();
    let error = train(&broken, Some(200), false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend);
    let text = error.to_string();
    assert!(text.contains("the emulated device is lost"), "{text}");
    let state = Checkpoint::read(&broken.join("checkpoint.safetensors")).unwrap().state;
    assert_eq!(state.epoch, 1, "the device must be lost in the second epoch");
    train(&broken, None, true).unwrap();
    let model = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap();
    assert!(
        model(&whole) == model(&broken),
        "the models of the resumed and the uninterrupted run differ"
    );
    for folder in [whole, broken] {
        std::fs::remove_dir_all(folder).unwrap();
    }
}
