//! Training of several seeds of one configuration or of a sweep, and the table of their results.

mod sweep;
mod table;

use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::error::{Result, at, fail};
use crate::observer::{Flow, Observer, Outcome};
use crate::report::Report;
use crate::run::{self, CHECKPOINT, MODEL, REPORT, Run};
use crate::task::Task;
use crate::{files, presets};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use sweep::Setting;
pub use table::Results;
use table::{Row, Table};

const CONFIG: &str = "reproduce.toml";

/// Runs of several seeds of one configuration, or of a sweep, in one folder.
pub struct Reproduction {
    /// The configuration with seed 0.
    pub config: Config,
    /// Assignments as of [`Config::set`] whose values are compared: each further one for a field
    /// adds a value, and several fields make all combinations. Without any, the configuration
    /// itself is trained.
    pub sweep: Vec<String>,
    /// Folder of the runs and their table.
    pub root: PathBuf,
    /// Number of seeds; trains seeds 0 to `seeds` - 1.
    pub seeds: u64,
    /// Speakers to leave out, one per run; `None` leaves out no speaker.
    pub speakers: Vec<Option<u16>>,
    /// Folder of the data files.
    pub data: Option<PathBuf>,
}

impl Reproduction {
    /// Trains the unfinished runs, writes the table to the folder and returns it; `None` if the
    /// observer stopped a run. Another call continues.
    ///
    /// # Errors
    /// If a setting is invalid, the folder has other contents, another process uses it, or a run
    /// fails.
    pub fn run(&self, observer: &mut dyn Observer) -> Result<Option<Results>> {
        let Some(&first) = self.speakers.first() else {
            fail!("speakers = []: needs at least one entry")
        };
        let settings = sweep::settings(&self.config, &self.sweep)?;
        let speakers = self.speakers.iter().any(Option::is_some);
        if speakers && settings[0].values.contains_key("data.speaker") {
            fail!("--sweep data.speaker: --speakers names the speakers to leave out")
        }
        for setting in &settings {
            let (config, folder) = self.member(setting, 0, first);
            if !self.root.exists() || !self.sweep.is_empty() && !folder.exists() {
                self.load(&config)?;
            }
        }
        let _lock = self.claim()?;
        for seed in 0..self.seeds {
            for setting in &settings {
                for &speaker in &self.speakers {
                    if self.train(setting, seed, speaker, observer)? == Flow::Stop {
                        return Ok(None);
                    }
                }
            }
            self.results(&settings)?.write(&self.root)?;
        }
        self.results(&settings).map(Some)
    }

    /// The configuration and folder of a run.
    fn member(&self, setting: &Setting, seed: u64, speaker: Option<u16>) -> (Config, PathBuf) {
        let mut config = Config { seed, ..setting.config.clone() };
        let mut folder = format!("{}seed{seed}", setting.prefix);
        if let Some(speaker) = speaker {
            config.data.speaker = speaker;
            folder += &format!("-speaker{speaker}");
        }
        (config, self.root.join(folder))
    }

    /// Loads the data of a run, which need items to choose the epoch on and items to test on.
    fn load(&self, config: &Config) -> Result<Task> {
        let task = Task::load(config, self.data.as_deref())?;
        run::check_choice(config, &task)?;
        if task.split.test.is_empty() {
            fail!("data.test = {:?}: leaves no items to test on", config.data.test)
        }
        Ok(task)
    }

    /// Claims the folder for this configuration unless it is claimed already, and locks it until
    /// the returned file is dropped.
    ///
    /// `reproduce.toml` is written once and never replaced, so all processes lock the same file.
    fn claim(&self) -> Result<File> {
        let (root, path) = (self.root.display(), self.root.join(CONFIG));
        if !path.exists() {
            fs::create_dir_all(&self.root).map_err(at(&root))?;
            if let Some(found) = files::find_foreign_entry(&self.root, &[CONFIG])? {
                fail!("{root}: has {found} but no reproduce.toml; choose another folder")
            }
            let config = Config { threads: 0, ..self.config.clone() };
            let created = files::create(&path, config.to_toml()?.as_bytes());
            // Another process may create the file first and remove this one's unfinished file.
            if !path.exists() {
                created?;
            }
        }
        let lock = files::lock_readable(&path)?;
        run::check_same(
            &presets::read_stored(&path, &[])?,
            &path,
            &self.config,
            "the command line",
        )?;
        files::remove_unfinished(&self.root, &[CONFIG, "table.json", "table.md"])?;
        Ok(lock)
    }

    /// Trains a run, or the rest of it.
    fn train(
        &self,
        setting: &Setting,
        seed: u64,
        speaker: Option<u16>,
        observer: &mut dyn Observer,
    ) -> Result<Flow> {
        let (config, folder) = self.member(setting, seed, speaker);
        if finished(&config, &folder)?.is_some() {
            return Ok(Flow::Continue);
        }
        let resume = folder.join(CHECKPOINT).exists();
        if resume {
            let found = run::stored_config(&folder, &[])?;
            let path = folder.join(run::CONFIG);
            run::check_same(&found, &path, &config, "the command line")?;
        } else if let Some(found) = files::find_foreign_entry(&folder, &[])? {
            fail!("{}: has {found} but no checkpoint; choose another folder", folder.display())
        }
        if observer.run_opened(&folder, resume) == Flow::Stop {
            return Ok(Flow::Stop);
        }
        let task = self.load(&config)?;
        task.warnings.iter().for_each(|warning| observer.warned(warning));
        let mut run = if resume {
            Run::resume(&config, task, &folder)?
        } else {
            Run::create(&config, task, &folder)?
        };
        Ok(match run.train(observer)? {
            Outcome::Finished(_) => Flow::Continue,
            Outcome::Stopped { .. } => Flow::Stop,
        })
    }

    /// Returns the tables of all settings.
    fn results(&self, settings: &[Setting]) -> Result<Results> {
        settings.iter().map(|setting| self.table(setting)).collect::<Result<_>>().map(Results)
    }

    /// Returns the table of the finished seeds of a setting.
    fn table(&self, setting: &Setting) -> Result<Table> {
        let plain = presets::load(Some(&self.config.preset), None, &[])?;
        let swept =
            |own: &str| own.split(" = ").next().is_some_and(|k| setting.values.contains_key(k));
        let own = self.config.differences(&plain)?.into_iter().map(|(own, _)| own);
        let set = own.filter(|own| !swept(own)).collect();
        let mut table = Table::new(&self.config.preset, set, setting.values.clone(), self.seeds);
        for seed in 0.. {
            let mut rows = Vec::new();
            for &speaker in &self.speakers {
                let (config, folder) = self.member(setting, seed, speaker);
                let Some(report) = finished(&config, &folder)? else { return table.summarize() };
                rows.push(Row::new(speaker, report, &folder)?);
            }
            table.push(seed, rows);
        }
        table.summarize()
    }
}

/// The folders of the runs in a folder of a reproduction, in the order of their names with numbers
/// by value; `None` if the folder is none.
pub(crate) fn members(folder: &Path) -> Result<Option<Vec<PathBuf>>> {
    if !folder.join(CONFIG).exists() {
        return Ok(None);
    }
    let mut members = Vec::new();
    for entry in fs::read_dir(folder).map_err(at(folder.display()))? {
        let path = entry.map_err(at(folder.display()))?.path();
        let unfinished =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        members.extend((!unfinished && path.join(run::CONFIG).exists()).then_some(path));
    }
    members.sort_by_cached_key(|path| by_number(&path.to_string_lossy()));
    Ok(Some(members))
}

/// A key that sorts names with numbers by value: every run of digits with its length in front.
fn by_number(name: &str) -> String {
    let mut key = String::new();
    for part in name.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = part.trim_end_matches(|c: char| !c.is_ascii_digit());
        key += &format!("{:03}{part}", digits.len());
    }
    key
}

/// The report of a run with this configuration; `None` if it is unfinished.
fn finished(config: &Config, folder: &Path) -> Result<Option<Report>> {
    let path = folder.join(REPORT);
    if !path.exists() {
        return Ok(None);
    }
    let report = Report::read(&path)?;
    if report.figures.is_none() {
        return Ok(None);
    }
    let path = folder.join(MODEL);
    run::check_same(&Checkpoint::read(&path)?.config, &path, config, "the command line")?;
    Ok(Some(report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_process_claims_a_folder() {
        for _ in 0..200 {
            let folder = tempfile::tempdir().unwrap();
            let claim = || {
                let (root, speakers) = (folder.path().join("all"), vec![None]);
                let config = Config::preset("order").unwrap();
                Reproduction { config, sweep: vec![], root, seeds: 1, speakers, data: None }.claim()
            };
            let held = std::thread::scope(|scope| {
                let all: Vec<_> = (0..4).map(|_| scope.spawn(claim)).collect();
                all.into_iter().map(|claim| claim.join().unwrap()).collect::<Vec<_>>()
            });
            assert_eq!(held.iter().filter(|lock| lock.is_ok()).count(), 1, "{held:?}");
        }
    }
}
