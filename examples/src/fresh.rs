//! Recordings that were not there when a model was trained.

use crate::config::Source;
use crate::error::{Result, fail};
use crate::model::Model;
use crate::task::{self, Task};
use polychron_datasets::{Dataset, Recordings, spikes};
use std::path::Path;

impl Model {
    /// Reads a file of spikes, with the settings of the model's training data.
    ///
    /// Classes are those of the model with the same names. If the file has no names of classes, its
    /// labels count the model's classes. All items are test items.
    ///
    /// # Errors
    /// If the model was trained on sound, the file cannot be read, its channels do not fit, or it
    /// has items of a class that the model does not know.
    pub fn task_of_file(&self, path: &Path) -> Result<Task> {
        let (run, name) = (self.path().display(), path.display());
        if self.config.data.source == Source::Gsc {
            fail!("{name}: {run} was trained on mel bands of sound; name sound files")
        }
        let group = self.group();
        let channels = Some(self.interface().channels * group);
        let layout = spikes::Options { channels, ..self.config.data.layout() };
        self.task_of(&spikes::read(path, &layout)?)
    }

    /// Takes recordings of spikes, as [`Model::task_of_file`] does.
    ///
    /// # Errors
    /// As [`Model::task_of_file`].
    pub fn task_of(&self, recordings: &Recordings) -> Result<Task> {
        let (expected, group) = (self.interface().channels, self.group());
        if recordings.channels != expected * group {
            let (run, name, has) = (self.path().display(), &recordings.source, recordings.channels);
            fail!("{name}: channels = {has}, but {run} takes {} channels", expected * group)
        }
        let mut options = task::bin_options(&self.config.data);
        options.group = group;
        let data = Dataset::from_recordings(recordings, &options)?;
        self.task_of_samples(data)
    }

    /// Takes samples, which need the model's channels and steps. Classes as for
    /// [`Model::task_of_file`].
    ///
    /// # Errors
    /// As [`Model::task_of_file`].
    pub fn task_of_samples(&self, mut data: Dataset) -> Result<Task> {
        data.check_samples()?;
        if let Some(card) = self.card() {
            rename_classes(&mut data, &card.classes)?;
        }
        let task = Task::fresh(&self.config, data)?;
        self.check(&task)?;
        Ok(task)
    }

    /// Number of neighbouring channels of a file that the model takes as one.
    fn group(&self) -> usize {
        if self.config.data.source == Source::H5 { self.config.data.group } else { 1 }
    }
}

/// Gives the samples the classes of a model. Classes of the same name are the same. Numbers, which
/// classes without names have, count the model's classes.
fn rename_classes(data: &mut Dataset, classes: &[String]) -> Result<()> {
    let own = &data.class_names;
    if own == classes {
        return Ok(());
    }
    let number = |name: &String| name.parse().ok().filter(|&n: &usize| n < classes.len());
    let unnamed = own.iter().enumerate().all(|(n, name)| *name == n.to_string())
        && !own.iter().any(|name| classes.contains(name));
    let class = |name: &String| match unnamed {
        true => number(name),
        false => classes.iter().position(|known| known == name),
    };
    let known: Vec<_> = own.iter().map(class).collect();
    for sample in &mut data.samples {
        let label = usize::from(sample.label);
        match known[label] {
            Some(class) => sample.label = class as u16,
            None => {
                let (name, class) = (&data.name, &own[label]);
                fail!("{name}: class {class} is not one of the model: {}", classes.join(", "))
            }
        }
    }
    data.class_names = classes.to_vec();
    data.classes = classes.len();
    Ok(())
}
