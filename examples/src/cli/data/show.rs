//! `polychron data show`: a picture of one item.

use super::Source;
use crate::cli::print::{note, say};
use crate::error::{Result, fail};
use crate::{files, plot};
use polychron_datasets::Dataset;
use std::path::PathBuf;

/// Options of `data show`.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    source: Source,
    /// Index of the item, from 0
    #[arg(long)]
    index: usize,
    /// File to write [default: SOURCE-INDEX.svg]
    #[arg(long, value_name = "FILE.svg")]
    out: Option<PathBuf>,
    /// Overwrite the file
    #[arg(long)]
    force: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `data show`.
pub(in crate::cli) fn show(args: &Args) -> Result<()> {
    let out = args.out.clone().unwrap_or_else(|| default_name(args));
    let shown = out.display();
    files::check_suffix(&out, "svg", "SVG")?;
    if out.exists() && !args.force {
        fail!("{shown}: exists; --force overwrites it")
    }
    let (data, notes) = args.source.open()?;
    notes.iter().for_each(|text| note(text));
    let index = args.index;
    let Some(sample) = data.samples.get(index) else {
        fail!("{}: --index {index} is out of range of {} items", data.name, data.samples.len())
    };
    let title = title(&data, index);
    plot::draw_sample(&out, &data, &title, sample)?;
    let Dataset { channels, dt_ms, .. } = data;
    let spikes: u64 = sample.entries.iter().map(|e| u64::from(e.count)).sum();
    let (steps, speaker) = (sample.steps, sample.speaker);
    if args.json {
        let class = &data.class_names[usize::from(sample.label)];
        let object = serde_json::json!({
            "file": shown.to_string(), "index": index, "class": class, "speaker": speaker,
            "steps": steps, "channels": channels, "dt_ms": dt_ms, "spikes": spikes,
        });
        return say(&format!("{object}\n"));
    }
    say(&format!(
        "{shown}: {title}; {spikes} spikes, {channels} channels, {steps} steps of {dt_ms} ms\n"
    ))
}

/// The class, and the speaker if the data set has several.
fn title(data: &Dataset, index: usize) -> String {
    let sample = &data.samples[index];
    let mut title = format!("Item {index}: {}", data.class_names[usize::from(sample.label)]);
    if data.speakers().len() > 1 {
        title += &format!(", speaker {}", data.speaker_name(sample.speaker));
    }
    if let Some(name) = data.about.names.get(index) {
        title += &format!(", {name}");
    }
    title
}

fn default_name(args: &Args) -> PathBuf {
    let name = args.source.path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.split('.').next().unwrap_or_default();
    format!("{stem}-{}.svg", args.index).into()
}
