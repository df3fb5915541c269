//! `polychron data`: statistics, pictures, downloads and encoding of data sets.

mod encode;
#[cfg(feature = "fetch")]
mod fetch;
mod show;
mod stats;

use crate::error::{Result, fail};
use crate::task;
use polychron_datasets::{BinOptions, Dataset, digits, shd};
use std::path::{Path, PathBuf};

/// Commands for data sets.
#[derive(clap::Subcommand)]
pub(in crate::cli) enum Command {
    /// Check a data set and show its statistics
    Stats(stats::Args),
    /// Draw the spikes of one item
    Show(show::Args),
    /// Convert your own recordings into spikes, in a file with the layout of SHD
    Encode(encode::Args),
    /// Download the published files of a data set; an interrupted download is resumed
    #[cfg(feature = "fetch")]
    Fetch(fetch::Args),
}

/// A data set.
#[derive(clap::Args)]
struct Source {
    /// digits, order, or a file in the layout of SHD (.h5, .h5.gz) or of the digits (.bin.gz)
    #[arg(value_name = "SOURCE")]
    path: PathBuf,
    /// Length of a step in ms (.h5)
    #[arg(long, default_value_t = 10)]
    dt_ms: u32,
    /// Number of neighbouring channels to sum into one (.h5)
    #[arg(long, default_value_t = 5)]
    group: usize,
    /// Number of channels in the file (.h5) [default: as the file says, or 700]
    #[arg(long)]
    channels: Option<usize>,
}

/// Runs `data`.
pub(in crate::cli) fn data(command: &Command) -> Result<()> {
    match command {
        Command::Stats(args) => stats::stats(args),
        Command::Show(args) => show::show(args),
        Command::Encode(args) => encode::encode(args),
        #[cfg(feature = "fetch")]
        Command::Fetch(args) => fetch::fetch(args),
    }
}

impl Source {
    /// Loads and checks the data set.
    fn open(&self) -> Result<Dataset> {
        let path = self.path.as_path();
        let data = if path == Path::new("digits") {
            digits::embedded()
        } else if path == Path::new("order") {
            task::order()?
        } else if path.is_dir() {
            fail!(
                "{}: is a folder; name a file of spikes, such as one from data encode",
                path.display()
            )
        } else if !is_h5(path) {
            digits::read(path)?
        } else {
            let recordings = shd::read(path, self.channels)?;
            let (dt_ms, group) = (self.dt_ms, self.group);
            let options = BinOptions { dt_ms, group, ..BinOptions::default() };
            Dataset::from_recordings(&recordings, &options)?
        };
        data.check_samples()?;
        Ok(data)
    }
}

fn is_h5(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".h5") || name.ends_with(".h5.gz")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presets;

    #[test]
    fn order_is_the_data_set_of_its_preset() {
        let path = "order".into();
        let source = Source { path, dt_ms: 10, group: 5, channels: None };
        let config = presets::load(Some("order"), None, &[]).unwrap();
        assert!(source.open().unwrap() == task::Task::load(&config, None).unwrap().data);
    }

    #[cfg(feature = "fetch")]
    #[test]
    fn presets_read_the_fetched_files() {
        let sources = polychron_datasets::fetch::Sources::embedded().unwrap();
        for name in ["shd", "ssc"] {
            let data = presets::load(Some(name), None, &[]).unwrap().data;
            let mut read = vec![data.train_file, data.valid_file, data.test_file];
            read.retain(|file| !file.is_empty());
            let archives = sources.archives(name).unwrap().iter();
            let fetched: Vec<_> = archives.map(|a| a.to().trim_end_matches(".gz")).collect();
            assert_eq!(fetched, read);
        }
    }
}
