//! `polychron data`: statistics, pictures, downloads and encoding of data sets.

mod encode;
#[cfg(feature = "fetch")]
mod fetch;
mod show;
mod stats;

use crate::config::{Origin, TimeUnit};
use crate::error::{Result, fail};
use crate::task;
use polychron_datasets::{BinOptions, Dataset, digits, spikes};
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
    /// digits, order, or a file of spikes: HDF5 in the layout of SHD, or digits; packed or not
    #[arg(value_name = "SOURCE")]
    path: PathBuf,
    /// Length of a step in ms (SHD)
    #[arg(long, default_value_t = 10)]
    dt_ms: u32,
    /// Number of neighbouring channels to sum into one (SHD)
    #[arg(long, default_value_t = 1)]
    group: usize,
    /// Number of channels in the file (SHD) [default: as the file says, or 700]
    #[arg(long)]
    channels: Option<usize>,
    /// Unit of the times in the file (SHD)
    #[arg(long, value_enum, default_value_t = TimeUnit::S)]
    time_unit: TimeUnit,
    /// Time from which the times of an item count (SHD)
    #[arg(long, value_enum, default_value_t = Origin::Zero)]
    origin: Origin,
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
    /// Loads and checks the data set. Returns it with what is unusual about it.
    fn open(&self) -> Result<(Dataset, Vec<String>)> {
        let path = self.path.as_path();
        let mut notes = Vec::new();
        let data = if path == Path::new("digits") {
            digits::embedded()
        } else if path == Path::new("order") {
            task::order()?
        } else if path.is_dir() {
            fail!(
                "{}: is a folder; name a file of spikes, such as one from data encode",
                path.display()
            )
        } else if digits::is_file(path)? {
            digits::read(path)?
        } else {
            let (channels, time_unit) = (self.channels, self.time_unit.into());
            let origin = self.origin.into();
            let layout = spikes::Options { channels, time_unit, origin, unlabelled: false };
            let recordings = spikes::read(path, &layout)?;
            notes.extend(recordings.notes());
            let (dt_ms, group) = (self.dt_ms, self.group);
            let options = BinOptions { dt_ms, group, ..BinOptions::default() };
            Dataset::from_recordings(&recordings, &options)?
        };
        data.check_samples()?;
        notes.extend(data.notes());
        Ok((data, notes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presets;

    #[test]
    fn order_is_the_data_set_of_its_preset() {
        let (time_unit, origin) = (TimeUnit::S, Origin::Zero);
        let path = "order".into();
        let source = Source { path, dt_ms: 10, group: 1, channels: None, time_unit, origin };
        let config = presets::load(Some("order"), None, &[]).unwrap();
        assert!(source.open().unwrap().0 == task::Task::load(&config, None).unwrap().data);
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
