//! `polychron data`: what is in a data set, and where it comes from.

#[cfg(feature = "fetch")]
mod fetch;

use crate::encode;
use crate::error::Result;
use crate::report::say;
use crate::task;
use polychron_datasets::{BinOptions, Dataset, digits, shd};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What to do with a data set.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Check a data set and count what is in it
    Stats(Args),
    /// Turn recordings of your own into spikes, in a file as those of SHD
    Encode(encode::Args),
    /// Download the published files of a data set; an interrupted download is gone on with
    #[cfg(feature = "fetch")]
    Fetch(fetch::Args),
}

/// Options of `data stats`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// digits, order, or a file in the layout of SHD (.h5, .h5.gz) or of the digits (.bin.gz)
    source: PathBuf,
    /// Length of a step in ms (.h5)
    #[arg(long, default_value_t = 10)]
    dt_ms: u32,
    /// Neighbouring channels summed into one (.h5)
    #[arg(long, default_value_t = 5)]
    group: usize,
    /// Channels of the file (.h5)
    #[arg(long, default_value_t = shd::CHANNELS)]
    channels: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Summary {
    name: String,
    samples: usize,
    channels: usize,
    dt_ms: u32,
    /// Shortest, mean and longest sample in steps.
    steps: [f64; 3],
    /// Mean spikes a sample.
    spikes: f64,
    /// Share of the places (channel, step) of the samples that hold a spike.
    density: f64,
    /// Samples of every class, by its word.
    classes: Vec<(String, usize)>,
    /// Samples of every speaker, by number.
    speakers: Vec<(u16, usize)>,
}

/// Runs `data`.
pub(crate) fn data(command: &Command) -> Result<()> {
    match command {
        Command::Stats(args) => stats(args),
        Command::Encode(args) => encode::encode(args),
        #[cfg(feature = "fetch")]
        Command::Fetch(args) => fetch::fetch(args),
    }
}

fn stats(args: &Args) -> Result<()> {
    let data = open(args)?;
    data.validate()?;
    let summary = summary(&data);
    if args.json {
        return say(&format!("{}\n", serde_json::to_string(&summary)?));
    }
    say(&summary.table())
}

fn open(args: &Args) -> Result<Dataset> {
    if args.source == Path::new("digits") {
        return Ok(digits::embedded());
    }
    if args.source == Path::new("order") {
        return task::order();
    }
    if !args.source.to_string_lossy().contains(".h5") {
        return Ok(digits::read(&args.source)?);
    }
    let recordings = shd::read(&args.source, args.channels)?;
    let options = BinOptions { dt_ms: args.dt_ms, group: args.group, ..BinOptions::default() };
    Ok(Dataset::from_recordings(&recordings, &options)?)
}

fn summary(data: &Dataset) -> Summary {
    let samples = &data.samples;
    let n = samples.len().max(1) as f64;
    let steps: usize = samples.iter().map(|s| s.steps).sum();
    let places = (steps * data.channels).max(1) as f64;
    let spikes = samples.iter().flat_map(|s| &s.entries).map(|e| f64::from(e.value));
    let entries: usize = samples.iter().map(|s| s.entries.len()).sum();
    let of_class = |class| samples.iter().filter(|s| usize::from(s.label) == class).count();
    let of_speaker = |speaker| samples.iter().filter(|s| s.speaker == speaker).count();
    let lengths = || samples.iter().map(|s| s.steps);
    Summary {
        name: data.name.clone(),
        samples: samples.len(),
        channels: data.channels,
        dt_ms: data.dt_ms,
        steps: [
            lengths().min().unwrap_or(0) as f64,
            steps as f64 / n,
            lengths().max().unwrap_or(0) as f64,
        ],
        spikes: spikes.sum::<f64>() / n,
        density: entries as f64 / places,
        classes: data.class_names.iter().cloned().zip((0..data.classes).map(of_class)).collect(),
        speakers: data.speakers().into_iter().map(|s| (s, of_speaker(s))).collect(),
    }
}

impl Summary {
    fn table(&self) -> String {
        let Self { name, samples, channels, dt_ms, steps: [shortest, mean, longest], .. } = self;
        let mut text =
            format!("{name}: {samples} samples, {channels} channels, steps of {dt_ms} ms\n");
        let _ = writeln!(text, "steps     {shortest} to {longest}, mean {mean:.1}");
        let (spikes, density) = (self.spikes, 100.0 * self.density);
        let _ = writeln!(text, "spikes    {spikes:.1} a sample, in {density:.2} % of the places");
        let list = |counts: &mut dyn Iterator<Item = String>| counts.collect::<Vec<_>>().join(", ");
        let classes = list(&mut self.classes.iter().map(|(word, n)| format!("{word} {n}")));
        let _ = writeln!(text, "classes   {classes}");
        let speakers =
            list(&mut self.speakers.iter().map(|(speaker, n)| format!("{speaker}: {n}")));
        let _ = writeln!(text, "speakers  {speakers}");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presets;

    #[test]
    fn order_shows_what_is_trained_on() {
        let source = "order".into();
        let args = Args { source, dt_ms: 10, group: 5, channels: shd::CHANNELS, json: false };
        let config = presets::load(Some("order"), None, &[]).unwrap();
        assert!(open(&args).unwrap() == task::Task::load(&config, None).unwrap().data);
    }

    #[cfg(feature = "fetch")]
    #[test]
    fn what_is_fetched_is_what_presets_read() {
        let sources = polychron_datasets::fetch::Sources::embedded().unwrap();
        for name in ["shd", "ssc"] {
            let data = presets::load(Some(name), None, &[]).unwrap().data;
            let mut read = vec![data.train_file, data.valid_file, data.test_file];
            read.retain(|file| !file.is_empty());
            let left = sources.archives(name).unwrap().iter();
            let left: Vec<_> = left.map(|a| a.to().trim_end_matches(".gz")).collect();
            assert_eq!(left, read);
        }
    }
}
