//! `polychron data encode`: your own recordings as spikes.

use crate::cli::print::say;
use crate::error::{Result, fail};
use crate::files;
use polychron_datasets::{encode, shd};
use std::path::PathBuf;

/// Options of `data encode`.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// Folder of folders of wav files, 16 kHz and one channel; a folder is a class
    folder: PathBuf,
    /// File to write, in the layout of SHD
    #[arg(long, value_name = "FILE.h5")]
    out: PathBuf,
    /// How sound becomes spikes
    #[arg(long, value_enum, default_value_t = Encoder::Cochlea)]
    encoder: Encoder,
    /// Seed of the cochlea's noise
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads; 0: one per core
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
    /// Rises and falls of 24 bands by 9 dB, 48 channels
    Delta,
}

/// Runs `data encode`.
pub(in crate::cli) fn encode(args: &Args) -> Result<()> {
    let shown = args.out.display();
    if args.out.exists() {
        fail!("{shown}: exists")
    }
    let folder = args.out.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        fail!("{shown}: there is no folder {}", folder.display())
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
        fail!("{shown}: exists")
    }
    let items = recordings.items.len();
    let (classes, channels) = (recordings.keys.len(), recordings.channels);
    let spikes: usize = recordings.items.iter().map(|item| item.times.len()).sum();
    let spikes = spikes as f64 / items as f64;
    if args.json {
        let written = serde_json::json!({
            "file": shown.to_string(), "items": items, "classes": classes, "channels": channels, "spikes": spikes,
        });
        return say(&format!("{written}\n"));
    }
    say(&format!(
        "{shown}: {items} recordings, {classes} classes, {channels} channels, {spikes:.1} spikes a recording\n"
    ))
}
