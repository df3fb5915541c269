//! `polychron data equalise`: the same number of spikes in every recording.

use super::Layout;
use crate::cli::print::{note, say, say_json};
use crate::error::Result;
use polychron_datasets::spikes;
use std::path::PathBuf;

/// Options of `data equalise`.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// File of spikes: HDF5 in the layout of SHD, .npz or CSV; packed or not
    file: PathBuf,
    /// New file in the layout of SHD
    #[arg(value_name = "OUT.h5")]
    out: PathBuf,
    /// Number of spikes of every channel that has any [default: the fewest in a recording]
    #[arg(long, value_name = "N")]
    spikes: Option<usize>,
    /// Seed of the spikes that stay and of the times of added ones
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    layout: Layout,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `data equalise`.
pub(in crate::cli) fn equalise(args: &Args) -> Result<()> {
    super::check_new(&args.out)?;
    let mut data = spikes::read(&args.file, &args.layout.options())?;
    data.notes().iter().for_each(|text| note(text));
    let ranges = |of: &[usize]| (of.iter().min().copied(), of.iter().max().copied());
    let before: Vec<_> = data.items.iter().map(|item| item.times.len()).collect();
    let (least, most) = ranges(&before);
    let mut active = vec![false; data.channels];
    data.items.iter().flat_map(|item| &item.units).for_each(|&c| active[usize::from(c)] = true);
    let active = active.into_iter().filter(|&active| active).count();
    let report = data.equalise(args.spikes, args.seed)?;
    super::write_new(&args.out, &data)?;
    let (shown, items, removed, added) =
        (args.out.display(), data.items.len(), report.removed, report.added);
    let after: usize = report.counts.iter().sum();
    let left = report.counts.iter().filter(|&&count| count > 0).count();
    if args.json {
        return say_json(&serde_json::json!({
            "file": shown.to_string(), "items": items,
            "spikes_before": before.iter().sum::<usize>(), "spikes_after": after * items,
            "removed": removed, "added": added, "counts": report.counts,
            "channels_before": active, "channels_after": left,
        }));
    }
    let (least, most) = (least.unwrap_or_default(), most.unwrap_or_default());
    say(&format!(
        "{shown}: {items} recordings\n  spikes per recording: {least} to {most} before, {after} \
         after; {removed} removed, {added} added\n  channels with spikes: {active} before, {left} \
         after\n"
    ))
}
