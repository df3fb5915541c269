//! `polychron data encode`: conversion of recordings into spikes.

use crate::cli::print::{note, say, say_json};
use crate::error::{Result, fail};
use polychron_datasets::encode::{self, Columns, Naming, Pattern, Report};
use polychron_datasets::{Part, Recording, Recordings};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Most lines about classes.
const SHOWN: usize = 12;

/// Options of `data encode`.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// Folder of wav, FLAC or Ogg Vorbis files: CLASS/FILE, CLASS/SPEAKER/FILE or PART/CLASS/FILE
    folder: PathBuf,
    /// File to write in the layout of SHD
    #[arg(long, value_name = "FILE.h5")]
    out: PathBuf,
    /// Encoder of sound into spikes
    #[arg(long, value_enum, default_value_t = Encoder::Cochlea)]
    encoder: Encoder,
    /// What the names of files say, such as {class}_{speaker}_{index}; {} is any text. With /, it
    /// is the pattern of the path
    #[arg(long, value_name = "PATTERN")]
    name: Option<Pattern>,
    /// List with a header and the columns file, class, speaker and part; all but file are optional.
    /// May be repeated
    #[arg(long, value_name = "FILE.csv")]
    list: Vec<PathBuf>,
    /// The list's own names of the columns, such as file=path,speaker=client_id,class=sentence
    #[arg(long, value_name = "COLUMNS", requires = "list")]
    columns: Option<Columns>,
    /// Seed of the cochlea's noise
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number of threads; 0 uses one per core
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// Fail if a file cannot be used, instead of leaving it out
    #[arg(long)]
    strict: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Encoder {
    /// Gammatone filters, hair cells and bushy cells, 700 channels
    Cochlea,
    /// A spike when one of 24 bands rises or falls by 9 dB, 48 channels
    Delta,
}

/// Runs `data encode`.
pub(in crate::cli) fn encode(args: &Args) -> Result<()> {
    let shown = args.out.display();
    super::check_new(&args.out)?;
    let encoder = match args.encoder {
        Encoder::Cochlea => encode::Encoder::Cochlea { seed: args.seed },
        Encoder::Delta => encode::Encoder::Delta,
    };
    let threads = match args.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads.into(),
    };
    let naming = Naming {
        pattern: args.name.clone(),
        lists: args.list.clone(),
        columns: args.columns.clone().unwrap_or_default(),
    };
    let (recordings, report) = encode::folder(&args.folder, &naming, encoder, threads)?;
    if args.strict && report.missing > 0 {
        let (folder, missing) = (args.folder.display(), report.missing);
        fail!("{folder}: missing recordings of the lists: {missing}; leave out --strict")
    }
    if let (true, Some(first)) = (args.strict, report.skipped.first()) {
        fail!("{first}; {} left out without --strict", plural(report.skipped.len()))
    }
    report.notes.iter().for_each(|line| note(line));
    report.skipped.iter().for_each(|reason| note(&format!("left out: {reason}")));
    super::write_new(&args.out, &recordings)?;
    let counts = Counts::of(&recordings);
    let items = recordings.items.len();
    let (classes, channels) = (recordings.keys.len(), recordings.channels);
    let spikes: usize = recordings.items.iter().map(|item| item.times.len()).sum();
    let spikes = spikes as f64 / items as f64;
    if args.json {
        let skipped: Vec<_> = report.skipped.iter().map(ToString::to_string).collect();
        return say_json(&serde_json::json!({
            "file": shown.to_string(), "items": items, "classes": classes, "channels": channels,
            "spikes": spikes, "resampled": report.resampled, "mixed": report.mixed,
            "clipped": report.clipped, "offset": report.offset, "quiet": report.quiet,
            "silent": report.silent, "without_spikes": report.without_spikes,
            "levels_db": report.levels, "skipped": skipped, "missing": report.missing,
            "unlisted": report.unlisted, "notes": report.notes, "counts": counts,
        }));
    }
    say(&format!(
        "{shown}: {items} recordings, {classes} classes, {channels} channels, \
         {spikes:.1} spikes per recording\n{}{}",
        counts.text(),
        summary(&report)
    ))
}

/// How many recordings are of each class, part and speaker. Parts and speakers that are not known
/// are empty.
#[derive(serde::Serialize)]
struct Counts<'a> {
    classes: BTreeMap<&'a str, usize>,
    parts: BTreeMap<Part, usize>,
    speakers: BTreeMap<&'a str, usize>,
}

impl<'a> Counts<'a> {
    fn of(recordings: &'a Recordings) -> Self {
        let Recordings { keys, items, about, .. } = recordings;
        let count = |names: &'a [String], of: fn(&Recording) -> u16| {
            let mut counts: BTreeMap<_, _> = names.iter().map(|name| (name.as_str(), 0)).collect();
            let names = items.iter().filter_map(|item| names.get(usize::from(of(item))));
            names.for_each(|name| *counts.entry(name).or_default() += 1);
            counts
        };
        let (classes, mut parts) = (count(keys, |item| item.label), BTreeMap::new());
        about.parts.iter().for_each(|part| *parts.entry(*part).or_default() += 1);
        Self { classes, parts, speakers: count(&about.speakers, |item| item.speaker) }
    }

    fn text(&self) -> String {
        let classes = self.classes.len();
        let shown = if classes > SHOWN { SHOWN - 1 } else { classes };
        let width = self.classes.keys().take(shown).map(|name| name.chars().count()).max();
        let width = width.unwrap_or(0).min(40);
        let rows = self.classes.iter().take(shown);
        let mut text: String =
            rows.map(|(name, count)| format!("  {name:width$} {count:>6}\n")).collect();
        if classes > shown {
            let (rest, sum) = (classes - shown, self.classes.values().skip(shown).sum::<usize>());
            text += &format!("  {rest} further classes with {sum}\n");
        }
        if !self.parts.is_empty() {
            let parts = self.parts.iter().map(|(part, count)| format!("{} {count}", part.name()));
            text += &format!("  parts: {}\n", parts.collect::<Vec<_>>().join(", "));
        }
        let counts = self.speakers.values();
        if let (Some(least), Some(most)) = (counts.clone().min(), counts.max()) {
            let speakers = self.speakers.len();
            text += &format!("  {speakers} speakers with {least} to {most} recordings\n");
        }
        text
    }
}

fn plural(skipped: usize) -> String {
    if skipped == 1 { "1 is".into() } else { format!("{skipped} are") }
}

/// What was done to the recordings, in one line, and their levels, in another.
fn summary(report: &Report) -> String {
    let counts = [
        (report.resampled, "resampled to 16 kHz"),
        (report.mixed, "mixed to one channel"),
        (report.clipped, "clipped"),
        (report.offset, "with an offset above 1 %, removed"),
        (report.quiet, "below -50 dB, amplified as -50 dB"),
        (report.silent, "silent"),
        (report.without_spikes, "without spikes"),
        (report.skipped.len(), "left out"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<_> = counts.map(|(count, what)| format!("{count} {what}")).collect();
    let mut text = String::new();
    if !counts.is_empty() {
        text += &format!("  {}\n", counts.join("; "));
    }
    if let Some([low, high]) = report.levels {
        text += &format!("  level from {low:.1} to {high:.1} dB of full scale\n");
    }
    text
}
