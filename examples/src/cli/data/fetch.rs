//! `polychron data fetch`: download of the published files of a data set.

use crate::cli::print::say;
use crate::error::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use polychron_datasets::fetch::{self, Archive, Outcome, Progress, RetryPolicy, Sources, Stage};
use serde::Serialize;
use std::io::IsTerminal;
use std::path::PathBuf;

/// Options of `data fetch`.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// Data set: shd, ssc, gsc, or another one named in --sources
    name: String,
    /// Folder for the files; created if missing
    #[arg(long, value_name = "DIR", env = "POLYCHRON_DATA")]
    dir: PathBuf,
    /// File of addresses and checksums, like datasets/data/sources.toml [default: built in]
    #[arg(long, value_name = "FILE")]
    sources: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Fetched<'a> {
    name: &'a str,
    dir: String,
    files: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    file: &'a str,
    outcome: &'static str,
}

/// Runs `data fetch`.
pub(in crate::cli) fn fetch(args: &Args) -> Result<()> {
    let sources = match &args.sources {
        Some(path) => Sources::read(path)?,
        None => Sources::embedded()?,
    };
    let mut files = Vec::new();
    for archive in sources.archives(&args.name)? {
        let row = Row { file: archive.to(), outcome: fetch_archive(archive, args)? };
        if !args.json {
            say(&format!("{}: {}\n", args.dir.join(row.file).display(), row.outcome))?;
        }
        files.push(row);
    }
    if args.json {
        let fetched = Fetched { name: &args.name, dir: args.dir.display().to_string(), files };
        say(&format!("{}\n", serde_json::to_string(&fetched)?))?;
    }
    Ok(())
}

fn fetch_archive(archive: &Archive, args: &Args) -> Result<&'static str> {
    let bar = bar(archive.name());
    let mut stage = None;
    let mut show = |now: Progress| {
        // The bytes present before a download is resumed do not count towards its speed.
        if stage.replace(now.stage) != Some(now.stage) {
            bar.set_message(stage_name(now.stage));
            bar.set_position(now.done);
            bar.reset_eta();
        }
        now.total.map_or_else(|| bar.unset_length(), |total| bar.set_length(total));
        bar.set_position(now.done);
    };
    let outcome = fetch::fetch(archive, &args.dir, &RetryPolicy::default(), &mut show);
    bar.finish_and_clear();
    Ok(match outcome? {
        Outcome::Present => "present",
        Outcome::Unpacked => "unpacked",
        Outcome::Fetched => "fetched",
    })
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Check => "checking",
        Stage::Download => "downloading",
        Stage::Wait => "waiting for the server",
        Stage::Unpack => "unpacking",
    }
}

fn bar(name: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    }
    let template = "{prefix}: {msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} eta {eta}";
    let style = ProgressStyle::with_template(template);
    ProgressBar::no_length()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_prefix(name.to_string())
}
