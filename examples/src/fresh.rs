//! Recordings that were not there when a model was trained.

use crate::config::Source;
use crate::error::{Error, Result, fail};
use crate::model::Model;
use crate::task::{self, Task};
use polychron_datasets::encode::{self, Encoder, Naming, Spikes};
use polychron_datasets::{
    About, Dataset, Part, Recording, Recordings, TimeFormat, gsc, sound, spikes,
};
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
        let recordings = self.read_spikes(path, false)?;
        let mut task = self.task_of(&recordings)?;
        task.warnings.splice(0..0, recordings.notes());
        Ok(task)
    }

    /// Reads the sound files of a folder whose folders are classes, as `data encode` and
    /// [`encode::folder`] do. `encoder` turns sound into spikes; `None` takes that of the training
    /// data. The warnings say what was left out.
    ///
    /// # Errors
    /// As [`Model::task_of_file`] and [`Model::task_to_predict`]; or if no file can be used.
    pub fn task_of_sound(&self, folder: &Path, encoder: Option<Encoder>) -> Result<Task> {
        let threads = self.config.threads();
        let (data, skipped, notes) = if self.config.data.source == Source::Gsc {
            let (data, skipped) = gsc::folder(folder, self.config.data.bands(), threads)?;
            (data, skipped, Vec::new())
        } else {
            let (encoder, naming) = (self.encoder(encoder)?, Naming::default());
            let (recordings, report) = encode::folder(folder, &naming, encoder, threads)?;
            (self.bin(&recordings)?, report.skipped, report.notes)
        };
        let mut task = self.task_of_samples(data)?;
        task.warnings.splice(0..0, notes);
        task.warnings.extend(skipped.iter().map(|error| format!("left out: {error}")));
        Ok(task)
    }

    /// Reads recordings to decide on: a sound file, or a file of spikes that may have no labels.
    /// Labels are ignored: all items have the first class. `encoder` turns sound into spikes;
    /// `None` takes that of the training data.
    ///
    /// # Errors
    /// As [`Model::task_of_file`]; or if the file is sound and it is unknown how sound became the
    /// spikes of the training data.
    pub fn task_to_predict(&self, path: &Path, encoder: Option<Encoder>) -> Result<Task> {
        let name = path.display().to_string();
        let mut notes = Vec::new();
        let mut data = if !sound::is_file(path)? {
            let recordings = self.read_spikes(path, true)?;
            notes = recordings.notes();
            self.bin(&recordings)?
        } else if self.config.data.source == Source::Gsc {
            let samples = vec![gsc::file(path, self.config.data.bands())?];
            let (channels, dt_ms) = (gsc::CHANNELS, self.config.data.dt_ms);
            let about = About { names: vec![name.clone()], ..About::default() };
            Dataset { name, channels, classes: 1, class_names: Vec::new(), samples, dt_ms, about }
        } else {
            let encoder = self.encoder(encoder)?;
            let Spikes { times, units } = encode::file(path, encoder)?;
            let about = About {
                names: vec![name.clone()],
                encoder: encoder.to_string(),
                ..About::default()
            };
            let (channels, keys) = (encoder.channels(), vec!["unknown".into()]);
            let items = vec![Recording { times, units, label: 0, speaker: 0 }];
            let time_format = TimeFormat::F32;
            let source = name;
            self.bin(&Recordings { source, channels, keys, time_format, items, about })?
        };
        data.samples.iter_mut().for_each(|sample| sample.label = 0);
        data.classes = self.interface().classes;
        data.class_names = match self.card() {
            Some(card) => card.classes.clone(),
            None => (0..data.classes).map(|class| class.to_string()).collect(),
        };
        let mut task = Task::fresh(&self.config, data)?;
        self.check(&task)?;
        task.warnings = notes;
        Ok(task)
    }

    /// The encoder of the training data, or another one.
    fn encoder(&self, other: Option<Encoder>) -> Result<Encoder> {
        let run = self.path().display();
        match (other, self.card().map(|card| card.encoder.as_str()).unwrap_or_default()) {
            (Some(encoder), _) => Ok(encoder),
            (None, "") if self.config.data.source == Source::H5 => fail!(
                "{run}: its data do not say how sound became spikes; --encoder says it, or name \
                 files of spikes"
            ),
            (None, "") => fail!("{run}: its data were not made from sound by an encoder of ours"),
            (None, text) => Ok(text.parse()?),
        }
    }

    fn read_spikes(&self, path: &Path, unlabelled: bool) -> Result<Recordings> {
        let run = self.path().display();
        if self.config.data.source == Source::Gsc {
            let name = path.display();
            fail!("{name}: {run} was trained on mel bands of sound; name sound files")
        }
        let channels = Some(self.interface().channels * self.group());
        let layout = spikes::Options { channels, unlabelled, ..self.config.data.layout() };
        let encoder = self.card().map(|card| card.encoder.as_str()).filter(|text| !text.is_empty());
        spikes::read(path, &layout).map_err(|error| match encoder {
            Some(encoder) => Error::from(error).hint(format!("{run} takes spikes of {encoder}")),
            None => error.into(),
        })
    }

    /// Takes recordings of spikes, as [`Model::task_of_file`] does.
    ///
    /// # Errors
    /// As [`Model::task_of_file`].
    pub fn task_of(&self, recordings: &Recordings) -> Result<Task> {
        self.task_of_samples(self.bin(recordings)?)
    }

    fn bin(&self, recordings: &Recordings) -> Result<Dataset> {
        let (expected, group) = (self.interface().channels, self.group());
        if recordings.channels != expected * group {
            let (run, name, has) = (self.path().display(), &recordings.source, recordings.channels);
            fail!("{name}: channels = {has}, but {run} takes {} channels", expected * group)
        }
        let mut options = task::bin_options(&self.config.data);
        options.group = group;
        Ok(Dataset::from_recordings(recordings, &options)?)
    }

    /// Takes samples, which need the model's channels and steps. Classes as for
    /// [`Model::task_of_file`].
    ///
    /// # Errors
    /// As [`Model::task_of_file`].
    pub fn task_of_samples(&self, mut data: Dataset) -> Result<Task> {
        data.check_samples()?;
        let mut notes = Vec::new();
        if let Some(card) = self.card() {
            notes.extend(rename_classes(&mut data, &card.classes)?);
        }
        let trained = data.about.parts.iter().filter(|part| **part != Part::Test).count();
        if trained > 0 {
            let (name, items) = (&data.name, data.samples.len());
            notes.push(format!("{name}: {trained} of {items} items are not marked as test items"));
        }
        let mut task = Task::fresh(&self.config, data)?;
        self.check(&task)?;
        task.warnings = notes;
        Ok(task)
    }

    /// Number of neighbouring channels of a file that the model takes as one.
    fn group(&self) -> usize {
        if self.config.data.source == Source::H5 { self.config.data.group } else { 1 }
    }
}

/// Gives the samples the classes of a model. Numbers, which classes without names have, count the
/// model's classes; a note says so.
fn rename_classes(data: &mut Dataset, classes: &[String]) -> Result<Option<String>> {
    let own = &data.class_names;
    let number = |name: &String| name.parse::<usize>().ok();
    let numbers: Option<Vec<usize>> = own.iter().map(number).collect();
    let unnamed = numbers.filter(|_| !own.iter().any(|name| classes.contains(name)));
    let note = unnamed.map(|numbers| {
        let name_of = |&n: &usize| classes.get(n).cloned();
        data.class_names =
            numbers.iter().map(|n| name_of(n).unwrap_or_else(|| n.to_string())).collect();
        let list = classes.join(", ");
        format!("{}: labels are numbers; they count the classes {list} from 0", data.name)
    });
    data.use_classes(classes)?;
    Ok(note)
}
