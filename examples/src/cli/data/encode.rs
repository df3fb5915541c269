//! `polychron data encode`: conversion of recordings into spikes.

use crate::cli::print::{note, say, say_json};
use crate::error::{Result, fail};
use crate::files;
use polychron_datasets::encode::{self, Naming, Report};
use polychron_datasets::shd;
use std::path::PathBuf;

/// Options of `data encode`.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// Folder with one folder per class of wav, FLAC or Ogg Vorbis files
    folder: PathBuf,
    /// File to write in the layout of SHD
    #[arg(long, value_name = "FILE.h5")]
    out: PathBuf,
    /// Encoder of sound into spikes
    #[arg(long, value_enum, default_value_t = Encoder::Cochlea)]
    encoder: Encoder,
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
    if args.out.exists() {
        fail!("{shown}: exists; name another file")
    }
    let folder = args.out.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        fail!("{shown}: the folder {} does not exist", folder.display())
    }
    let encoder = match args.encoder {
        Encoder::Cochlea => encode::Encoder::Cochlea { seed: args.seed },
        Encoder::Delta => encode::Encoder::Delta,
    };
    let threads = match args.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads.into(),
    };
    let (recordings, report) = encode::folder(&args.folder, &Naming::default(), encoder, threads)?;
    if let (true, Some(first)) = (args.strict, report.skipped.first()) {
        fail!("{first}; {} left out without --strict", plural(report.skipped.len()))
    }
    report.skipped.iter().for_each(|reason| note(&format!("left out: {reason}")));
    if !files::create(&args.out, &shd::to_bytes(&recordings)?)? {
        fail!("{shown}: exists; name another file")
    }
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
            "levels_db": report.levels, "skipped": skipped,
        }));
    }
    say(&format!(
        "{shown}: {items} recordings, {classes} classes, {channels} channels, \
         {spikes:.1} spikes per recording\n{}",
        summary(&report)
    ))
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
