//! Several seeds of one configuration, one after the other, and their table.

mod table;

use crate::checkpoint::{self, first_other, write_atomic};
use crate::config::{Backend, Config, Protocol};
use crate::error::{Result, at, fail, note};
use crate::interrupt;
use crate::machine;
use crate::presets::{self, Variant};
use crate::report::{Report, name, percent, say};
use crate::task::Task;
use crate::train::{self, Training};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use table::{Row, Table};

/// Options of `reproduce`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Preset, as `train --help` lists them
    #[arg(value_name = "PRESET")]
    preset: String,
    /// Seeds 0 to N - 1
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// How a result is chosen; as the preset says by default
    #[arg(long, value_enum)]
    protocol: Option<Choice>,
    /// Speakers to leave out, each in a run of its own; all by default
    #[arg(long, value_name = "N,N,..", value_delimiter = ',')]
    speakers: Vec<u16>,
    /// One of the paper's ablations, over the preset
    #[arg(long, value_enum)]
    variant: Option<Variant>,
    /// Folder of the data files
    #[arg(long, value_name = "DIR", env = "POLYCHRON_DATA")]
    data: Option<PathBuf>,
    /// Folder of the runs and their table; runs/reproduce-PRESET by default, with variant and protocol behind it where they are given
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Threads; 0: one per core
    #[arg(long)]
    threads: Option<usize>,
    /// What computes
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// Print the table as one JSON object on the last line
    #[arg(long)]
    json: bool,
    /// Set any field of the configuration; VALUE is TOML
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    set: Vec<String>,
}

/// How a result is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Choice {
    /// The best epoch on the test items counts
    Paper,
    /// The test items are evaluated once, after the model has been chosen
    Clean,
    /// Clean, and for every speaker a run that is tested on that one and trained on the others
    LeaveSpeakerOut,
}

/// Seeds of a configuration in one folder.
struct Reproduction<'a> {
    args: &'a Args,
    /// That of seed 0.
    config: Config,
    root: PathBuf,
    /// Speakers to leave out; `None`: none is.
    speakers: Vec<Option<u16>>,
}

/// `polychron reproduce`
pub(crate) fn reproduce(args: &Args) -> Result<()> {
    let (config, root) = (args.config()?, args.root()?);
    let speakers = args.speakers(&config)?;
    let all = Reproduction { args, config, root, speakers };
    if !all.root.exists() {
        all.load(&all.run(0, all.speakers[0]).0)?;
    }
    let _held = all.claim()?;
    for seed in 0..args.seeds {
        for &speaker in &all.speakers {
            if interrupt::asked() || !all.train(seed, speaker)? {
                let shown = all.root.display();
                interrupt::leave(&format!("{shown}: interrupted; the same command goes on"));
                return Ok(());
            }
        }
        all.table()?.write(&all.root)?;
    }
    let table = all.table()?;
    say(&if args.json { table.json()? } else { table.markdown() })
}

impl Args {
    /// The configuration of seed 0.
    fn config(&self) -> Result<Config> {
        let mut set: Vec<_> = self.variant.map(Variant::assignment).into_iter().collect();
        if let Some(choice) = self.protocol {
            let protocol = if choice == Choice::Paper { Protocol::Paper } else { Protocol::Clean };
            set.extend(presets::chosen_by(Some(&self.preset), protocol)?);
            if choice == Choice::LeaveSpeakerOut {
                set.push("data.split=leave-speaker-out".into());
            }
        }
        set.extend(self.set.iter().cloned());
        if let Some(backend) = self.backend {
            set.push(format!("backend={}", name(&backend)?));
        }
        let mut config = presets::load(Some(&self.preset), None, &set)?;
        if config.seed != 0 {
            fail!("seed = {}: --seeds N takes seeds 0 to N - 1", config.seed)
        }
        config.threads = self.threads.unwrap_or(config.threads);
        config.check()?;
        Ok(config)
    }

    fn root(&self) -> Result<PathBuf> {
        if let Some(out) = &self.out {
            return Ok(out.clone());
        }
        let mut folder = format!("reproduce-{}", self.preset);
        if let Some(variant) = self.variant {
            folder += &format!("-{}", name(&variant)?);
        }
        if let Some(choice) = self.protocol {
            folder += &format!("-{}", name(&choice)?);
        }
        Ok(Path::new("runs").join(folder))
    }

    fn speakers(&self, config: &Config) -> Result<Vec<Option<u16>>> {
        let leaves = self.protocol == Some(Choice::LeaveSpeakerOut);
        let mut speakers = self.speakers.clone();
        match (leaves, speakers.first()) {
            (false, None) => return Ok(vec![None]),
            (false, Some(speaker)) => {
                fail!("--speakers {speaker}: needs --protocol leave-speaker-out")
            }
            (true, None) => {
                let mut whole = config.clone();
                whole.data.split = presets::load(Some(&self.preset), None, &[])?.data.split;
                let data = Task::load(&whole, self.data.as_deref())?.data;
                speakers = data.speakers();
                if speakers.len() < 2 {
                    fail!("{}: names no speakers to leave out", data.name)
                }
            }
            (true, Some(_)) => {}
        }
        speakers.sort_unstable();
        speakers.dedup();
        Ok(speakers.into_iter().map(Some).collect())
    }
}

impl Reproduction<'_> {
    /// A run's configuration and folder.
    fn run(&self, seed: u64, speaker: Option<u16>) -> (Config, PathBuf) {
        let mut config = Config { seed, ..self.config.clone() };
        let mut folder = format!("seed{seed}");
        if let Some(speaker) = speaker {
            config.data.speaker = speaker;
            folder += &format!("-speaker{speaker}");
        }
        (config, self.root.join(folder))
    }

    /// A run's data, with items to choose and to test on.
    fn load(&self, config: &Config) -> Result<Task> {
        let task = Task::load(config, self.args.data.as_deref())?;
        train::chooses_on_some(config, &task)?;
        if task.split.test.is_empty() {
            fail!("data.test = {:?}: leaves no items to test on", config.data.test)
        }
        Ok(task)
    }

    /// Makes the folder this reproduction's, or finds that it is; holds it until the file is dropped.
    fn claim(&self) -> Result<File> {
        let (root, path) = (self.root.display(), self.root.join("reproduce.toml"));
        if path.exists() {
            train::same(&presets::stored(&path, &[])?, &path, &self.config, "the command line")?;
        } else {
            fs::create_dir_all(&self.root).map_err(at(&root))?;
            if let Some(found) = first_other(&self.root, &[".reproduce.toml.tmp"])? {
                fail!("{root}: holds {found} and no reproduction; --out DIR makes another")
            }
            let config = Config { threads: 0, ..self.config.clone() };
            write_atomic(&path, config.to_toml()?.as_bytes())?;
        }
        checkpoint::hold(File::open(&path), &path)
    }

    /// Trains what is left of a run; whether it came to its end.
    fn train(&self, seed: u64, speaker: Option<u16>) -> Result<bool> {
        let (config, folder) = self.run(seed, speaker);
        if finished(&config, &folder)?.is_some() {
            return Ok(true);
        }
        let resume = folder.join("checkpoint.safetensors").exists();
        if resume {
            let path = folder.join("config.toml");
            train::same(&presets::stored(&path, &[])?, &path, &config, "the command line")?;
        } else if let Some(found) = first_other(&folder, &[])? {
            fail!("{}: holds {found} and no checkpoint; --out DIR makes another", folder.display())
        }
        let shown = folder.display().to_string();
        note(&format!("{shown}: {}", if resume { "goes on" } else { "begins" }));
        let task = self.load(&config)?;
        let training = Training { config: &config, task, folder, resume, stop_after: None };
        let Some(figures) = machine::on_backend(&config, training)? else { return Ok(false) };
        note(&format!("{shown}: test {}", percent(figures.test_accuracy)));
        Ok(true)
    }

    /// The table of the seeds that are finished, one after the other.
    fn table(&self) -> Result<Table> {
        let plain = presets::load(Some(&self.config.preset), None, &[])?;
        let differences = self.config.differences(&plain)?;
        let set = differences.into_iter().map(|(here, _)| here).collect();
        let mut table = Table::new(&self.config.preset, set, self.args.seeds);
        for seed in 0.. {
            let mut rows = Vec::new();
            for &speaker in &self.speakers {
                let (config, folder) = self.run(seed, speaker);
                let Some(report) = finished(&config, &folder)? else { return table.closed() };
                rows.push(Row::new(speaker, report, &folder)?);
            }
            table.push(seed, rows);
        }
        table.closed()
    }
}

/// The report of a run that is finished, made with that configuration.
fn finished(config: &Config, folder: &Path) -> Result<Option<Report>> {
    let path = folder.join("report.json");
    if !path.exists() {
        return Ok(None);
    }
    let report = Report::read(&path)?;
    if report.figures.is_none() {
        return Ok(None);
    }
    let path = folder.join("model.safetensors");
    train::same(&checkpoint::read(&path)?.config, &path, config, "the command line")?;
    Ok(Some(report))
}
