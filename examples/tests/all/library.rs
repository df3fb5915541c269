//! The library without the command line: observers, early stopping, locks and finished models.

use polychron::export::ExportOptions;
use polychron::model_file::Description;
use polychron::{
    Config, EpochEnd, ErrorKind, Flow, Model, Observer, Outcome, Part, Run, Step, Task, eval,
};
use std::fs;
use std::path::Path;

fn config() -> Config {
    let mut config = Config::preset("order").unwrap();
    for set in ["train.epochs=3", "network.hidden=[8]", "data.valid=0.8", "train.select=valid"] {
        config.set(set).unwrap();
    }
    config
}

fn run(folder: &Path) -> Run {
    Run::create(&config(), Task::load(&config(), None).unwrap(), folder).unwrap()
}

/// Stops after every third step and remembers the last step.
struct Stopper(u64);

impl Observer for Stopper {
    fn step_ended(&mut self, step: &Step) -> Flow {
        self.0 = step.step;
        if step.step.is_multiple_of(3) { Flow::Stop } else { Flow::Continue }
    }
}

#[test]
fn a_run_stopped_by_an_observer_ends_in_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, cut] = ["whole", "cut"].map(|name| folder.path().join(name));
    let figures = run(&whole).train(&mut ()).unwrap().figures().unwrap();
    let mut stopper = Stopper(0);
    let mut stopped = run(&cut);
    for n in 1..3 {
        let outcome = stopped.train(&mut stopper).unwrap();
        assert!(
            matches!(outcome, Outcome::Stopped { step, .. } if step == 3 * n && stopper.0 == step)
        );
        let evaluation = eval::evaluate(stopped.model(), stopped.task(), Part::Valid).unwrap();
        assert!(evaluation.accuracy.is_some());
    }
    // As if in another process.
    drop(stopped);
    let task = Task::load(&config(), None).unwrap();
    let mut resumed = Run::resume(&config(), task, &cut).unwrap();
    let outcome = resumed.train(&mut ()).unwrap();
    assert_eq!(outcome.figures().unwrap().test_accuracy, figures.test_accuracy);
    for file in ["checkpoint.safetensors", "model.safetensors"] {
        assert!(fs::read(whole.join(file)).unwrap() == fs::read(cut.join(file)).unwrap(), "{file}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn early_stopping_leaves_a_finished_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut run = run(&path);
    assert!(run.finish().unwrap_err().to_string().ends_with("no epoch was trained"));
    let mut own = Vec::new();
    run.train(&mut |end: &EpochEnd<'_>| {
        own.push(eval::evaluate(end.model, end.task, Part::Valid).unwrap().accuracy);
        if own.len() == 2 { Flow::Stop } else { Flow::Continue }
    })
    .unwrap();
    assert_eq!(own, run.curves().iter().map(|epoch| epoch.valid_accuracy).collect::<Vec<_>>());
    let figures = run.finish().unwrap();
    let model = Model::load(&path).unwrap();
    let task = model.task(None).unwrap();
    let evaluation = model.evaluate(&task, Part::Test).unwrap();
    assert_eq!(evaluation.accuracy, figures.test_accuracy);
    let predictions = model.predict(&task, task.part(Part::Test)).unwrap();
    assert_eq!(predictions.accuracy(&task.data, |_| true), figures.test_accuracy);
    let export = model.export(Some(&task), &ExportOptions::default()).unwrap();
    let Description { channels, classes, flash, layers, work, .. } = &export.summary.model;
    assert_eq!((*channels, *classes, *flash), (8, 10, export.file.len()));
    assert_eq!((layers[0].inputs, layers[1].outputs, work.len()), (8, 10, 4));
    assert!(work[0].instructions < work[3].instructions && work[3].activity == 1.0);
    let digits = Task::load(&Config::preset("digits").unwrap(), None).unwrap();
    let error = model.evaluate(&digits, Part::Test).unwrap_err().to_string();
    assert!(error.contains("was trained on 8 channels"), "{error}");
}

#[test]
fn a_folder_is_locked_from_its_creation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let busy = |failure: Option<polychron::Error>| {
        let error = failure.unwrap();
        assert_eq!(error.kind(), ErrorKind::Locked);
        let text = error.to_string();
        assert!(text.ends_with("locked by another process"), "{text}");
    };
    let task = || Task::load(&config(), None).unwrap();
    // Another process has renamed the folder but not yet locked the file inside.
    let beginning = fs::File::create(folder.path().join(".run.lock")).unwrap();
    beginning.lock().unwrap();
    busy(Run::create(&config(), task(), &path).err());
    fs::create_dir(&path).unwrap();
    fs::write(path.join("config.toml"), config().to_toml().unwrap()).unwrap();
    busy(Run::resume(&config(), task(), &path).err());
    drop(beginning);
    fs::remove_dir_all(&path).unwrap();
    let held = run(&path);
    busy(Run::resume(&config(), task(), &path).err());
    let error = Run::create(&config(), task(), &path).err().unwrap().to_string();
    assert!(error.ends_with("run: exists"), "{error}");
    drop(held);
    Run::resume(&config(), task(), &path).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
