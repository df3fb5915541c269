//! `polychron reproduce`.

use super::interrupt;
use super::print::say;
use super::progress::Progress;
use super::train::DataFolder;
use crate::config::{Backend, Config, Protocol};
use crate::error::{Result, fail};
use crate::presets::{self, Variant};
use crate::report::name;
use crate::reproduce::Reproduction;
use crate::task::Task;
use std::path::{Path, PathBuf};

/// Options of `reproduce`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Preset; `train --help` lists all
    #[arg(value_name = "PRESET")]
    preset: String,
    /// Number of seeds: trains seeds 0 to N - 1
    #[arg(
        long,
        value_name = "N",
        default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(1..=1000)
    )]
    seeds: u64,
    /// How the reported epoch is chosen [default: as in the preset]
    #[arg(long, value_enum)]
    protocol: Option<Choice>,
    /// Speakers to leave out, one per run [default: all]
    #[arg(long, value_name = "N,N,..", value_delimiter = ',')]
    speakers: Vec<u16>,
    /// Apply one of the paper's ablations to the preset
    #[arg(long, value_enum)]
    variant: Option<Variant>,
    #[command(flatten)]
    data: DataFolder,
    /// Folder of the runs and their table [default: runs/reproduce-PRESET[-VARIANT][-PROTOCOL]]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Number of threads; 0 uses one per core
    #[arg(long)]
    threads: Option<usize>,
    /// Backend to train on
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// Print the table as one line of JSON
    #[arg(long)]
    json: bool,
    /// Set a field of the configuration; VALUE is TOML
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    set: Vec<String>,
    /// Compare values of a field: each --sweep of the field adds one; several fields make all
    /// combinations
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    sweep: Vec<String>,
}

/// How the reported epoch is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Choice {
    /// The best epoch on the test items
    Paper,
    /// An epoch chosen without the test items, which are evaluated once at the end
    Clean,
    /// Clean, with one run per speaker: trained on the others, tested on that speaker
    LeaveSpeakerOut,
}

/// Runs `reproduce`.
pub(super) fn reproduce(args: &Args) -> Result<()> {
    let (config, root) = (args.config()?, args.root()?);
    let speakers = args.speakers(&config)?;
    let data = args.data.of(&config);
    let (seeds, sweep) = (args.seeds, args.sweep.clone());
    let all = Reproduction { config, sweep, root, seeds, speakers, data };
    let Some(results) = all.run(&mut Progress::new(None, true))? else {
        let shown = all.root.display();
        interrupt::report_stop(&format!("{shown}: interrupted; continue with the same command"));
        return Ok(());
    };
    say(&if args.json { results.json()? } else { results.markdown()? })
}

impl Args {
    /// The configuration of seed 0.
    fn config(&self) -> Result<Config> {
        let mut set: Vec<_> = self.variant.map(Variant::assignment).into_iter().collect();
        if let Some(choice) = self.protocol {
            let protocol = if choice == Choice::Paper { Protocol::Paper } else { Protocol::Clean };
            set.extend(presets::protocol_assignments(Some(&self.preset), protocol)?);
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
            fail!("seed = {}: --seeds N sets the seeds, 0 to N - 1", config.seed)
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
                let data = Task::load(&whole, self.data.of(&whole).as_deref())?.data;
                speakers = data.speakers();
                if speakers.len() < 2 {
                    fail!("{}: needs two speakers or more to leave one out", data.name)
                }
            }
            (true, Some(_)) => {}
        }
        speakers.sort_unstable();
        speakers.dedup();
        Ok(speakers.into_iter().map(Some).collect())
    }
}
