//! `polychron data encode`: conversion of recordings into spikes.

use crate::cli::print::say;
use crate::error::{Result, fail};
use crate::files;
use polychron_datasets::{encode, shd};
use std::path::PathBuf;

/// Options of `data encode`.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// Folder with one folder per class of wav files, 16 kHz and one channel
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
        Encoder::Cochlea => encode::Encoder::Cochlea,
        Encoder::Delta => encode::Encoder::Delta,
    };
    let threads = match args.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads.into(),
    };
    let recordings = encode::folder(&args.folder, encoder, args.seed, threads)?;
    if !files::create(&args.out, &shd::to_bytes(&recordings)?)? {
        fail!("{shown}: exists; name another file")
    }
    let items = recordings.items.len();
    let (classes, channels) = (recordings.keys.len(), recordings.channels);
    let spikes: usize = recordings.items.iter().map(|item| item.times.len()).sum();
    let spikes = spikes as f64 / items as f64;
    if args.json {
        let written = serde_json::json!({
            "file": shown.to_string(), "items": items, "classes": classes, "channels": channels,
            "spikes": spikes,
        });
        return say(&format!("{written}\n"));
    }
    say(&format!(
        "{shown}: {items} recordings, {classes} classes, {channels} channels, \
         {spikes:.1} spikes per recording\n"
    ))
}
