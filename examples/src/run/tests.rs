use super::*;

fn small() -> (Config, Task, tempfile::TempDir) {
    let mut config = Config::preset("order").unwrap();
    (config.train.epochs, config.network.hidden) = (2, vec![4]);
    (config.network.max_delay, config.data.valid) = (Some(4), 0.9);
    let task = Task::load(&config, None).unwrap();
    (config, task, tempfile::tempdir().unwrap())
}

fn failure<T>(result: Result<T>) -> String {
    result.map(drop).unwrap_err().to_string()
}

#[test]
fn a_run_takes_the_data_of_its_configuration_only() {
    let (mut config, task, folder) = small();
    config.data.batch += 1;
    let path = folder.path().join("run");
    let text = failure(Run::create(&config, task, &path));
    assert!(text.contains("was loaded for another seed or another [data]"), "{text}");
    config.data.batch = 0;
    let text = failure(Task::load(&config, None));
    assert_eq!(text, "data.batch = 0 is not at least 2");
    assert!(!path.exists());
}

#[test]
fn a_run_that_is_finished_early_is_not_resumed() {
    let (config, task, folder) = small();
    let path = folder.path().join("run");
    let mut run = Run::create(&config, task, &path).unwrap();
    assert!(failure(run.finish()).ends_with("no epoch was trained"));
    let outcome = run.train(&mut |_: &EpochEnd<'_>| Flow::Stop).unwrap();
    assert!(matches!(outcome, Outcome::Stopped { epoch: 1, .. }), "{outcome:?}");
    assert_eq!(run.finish().unwrap().chosen_epoch, 1);
    drop(run);
    let report = std::fs::read(path.join(REPORT)).unwrap();
    let task = Task::load(&config, None).unwrap();
    let text = failure(Run::resume(&config, task, &path));
    assert!(text.ends_with("the run is finished"), "{text}");
    assert_eq!(std::fs::read(path.join(REPORT)).unwrap(), report);
}

#[test]
fn a_run_that_has_failed_does_not_train_on() {
    let (config, task, folder) = small();
    let path = folder.path().join("run");
    let mut run = Run::create(&config, task, &path).unwrap();
    let remove = &mut |end: &EpochEnd<'_>| {
        std::fs::remove_dir_all(end.folder).unwrap();
        Flow::Continue
    };
    assert!(failure(run.train(remove)).contains("report.json"));
    for text in [failure(run.train(&mut ())), failure(run.finish())] {
        assert!(text.contains("has failed before"), "{text}");
    }
}
