//! `polychron data convert`: files of spikes of every kind, in the layout of SHD.

use super::Layout;
use crate::cli::print::{note, say, say_json};
use crate::error::Result;
use polychron_datasets::{Part, spikes};
use std::path::PathBuf;

/// Options of `data convert`.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// File of spikes: HDF5 in the layout of SHD, .npz or CSV; packed or not
    file: PathBuf,
    /// New file in the layout of SHD
    #[arg(value_name = "OUT.h5")]
    out: PathBuf,
    #[command(flatten)]
    layout: Layout,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `data convert`.
pub(in crate::cli) fn convert(args: &Args) -> Result<()> {
    let shown = args.out.display();
    super::check_new(&args.out)?;
    let read = spikes::read(&args.file, &args.layout.options())?;
    let notes = read.notes();
    notes.iter().for_each(|text| note(text));
    super::write_new(&args.out, &read)?;
    let (items, classes, channels) = (read.items.len(), read.keys.len(), read.channels);
    let spikes: usize = read.items.iter().map(|item| item.times.len()).sum();
    let silent = read.items.iter().filter(|item| item.times.is_empty()).count();
    let end = read.items.iter().filter_map(|item| item.times.last());
    let end = end.copied().fold(0.0, f32::max);
    let speakers = read.about.speakers.len();
    let parts = [Part::Train, Part::Valid, Part::Test]
        .map(|part| (part.name(), read.about.parts.iter().filter(|p| **p == part).count()));
    if args.json {
        return say_json(&serde_json::json!({
            "file": shown.to_string(), "items": items, "classes": read.keys, "channels": channels,
            "spikes": spikes, "without_spikes": silent, "longest_s": end,
            "speakers": read.about.speakers, "notes": notes,
            "parts": parts.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        }));
    }
    let mean = spikes as f64 / items as f64;
    let mut text = format!(
        "{shown}: {items} recordings, {classes} classes, {channels} channels, {mean:.1} spikes per \
         recording\n  the last spike is at {end} s"
    );
    if silent > 0 {
        text += &format!("; {silent} without spikes");
    }
    if speakers > 0 {
        text += &format!("; {speakers} speakers");
    }
    let parts = parts.iter().filter(|(_, count)| *count > 0);
    text.extend(parts.map(|(name, count)| format!("; {count} {name}")));
    say(&format!("{text}\n"))
}
