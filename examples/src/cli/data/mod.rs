//! `polychron data`: statistics, pictures, downloads and encoding of data sets.

mod convert;
mod encode;
mod equalise;
#[cfg(feature = "fetch")]
mod fetch;
mod show;
mod stats;

use crate::config::{Origin, TimeUnit};
use crate::error::{Result, at, fail};
use crate::{files, task};
use polychron_datasets::{BinOptions, Dataset, Recordings, digits, shd, spikes};
use std::path::{Path, PathBuf};

/// Commands for data sets.
#[derive(clap::Subcommand)]
pub(in crate::cli) enum Command {
    /// Check a data set and show its statistics
    Stats(stats::Args),
    /// Draw the spikes of one item
    Show(show::Args),
    /// Write a file of spikes of any kind in the layout of SHD
    Convert(convert::Args),
    /// Give every recording the same number of spikes in each channel, so that only times differ
    ///
    /// Without --spikes, a channel has as many spikes as in the recording in which it has the
    /// fewest; of more spikes, those that stay are drawn with the seed, and none is moved or added.
    /// A channel that is silent in one recording becomes silent in all. With --spikes N, every
    /// channel that has any spikes has N: where it has fewer, the missing ones are added at times
    /// of spikes of the recording in any channel, drawn with the seed.
    #[command(alias = "equalize")]
    Equalise(equalise::Args),
    /// Convert your own recordings into spikes, in a file with the layout of SHD
    Encode(encode::Args),
    /// Download the published files of a data set; an interrupted download is resumed
    #[cfg(feature = "fetch")]
    Fetch(fetch::Args),
}

/// A data set.
#[derive(clap::Args)]
struct Source {
    /// digits, order, or a file of spikes: HDF5 in the layout of SHD, .npz, CSV, or digits; packed
    /// or not
    #[arg(value_name = "SOURCE")]
    path: PathBuf,
    /// Length of a step in ms, for files of spikes
    #[arg(long, default_value_t = 10)]
    dt_ms: u32,
    /// Number of neighbouring channels to sum into one, for files of spikes
    #[arg(long, default_value_t = 1)]
    group: usize,
    #[command(flatten)]
    layout: Layout,
}

/// What a file of spikes does not say about itself.
#[derive(clap::Args)]
struct Layout {
    /// Number of channels in the file [default: as the file says; else 700 in HDF5, and the largest
    /// unit plus 1 in other kinds]
    #[arg(long)]
    channels: Option<usize>,
    /// Unit of the times in the file
    #[arg(long, value_enum, default_value_t = TimeUnit::S)]
    time_unit: TimeUnit,
    /// Time from which the times of an item count
    #[arg(long, value_enum, default_value_t = Origin::Zero)]
    origin: Origin,
    /// Number of the first channel in the file
    #[arg(long, value_name = "N", default_value_t = 0)]
    first_unit: u16,
    /// Number of the first class in the file
    #[arg(long, value_name = "N", default_value_t = 0)]
    first_label: u16,
    /// Length in ms of the steps of a raster that does not state it (.npz)
    #[arg(long)]
    step_ms: Option<f64>,
}

impl Layout {
    fn options(&self) -> spikes::Options {
        spikes::Options {
            channels: self.channels,
            time_unit: self.time_unit.into(),
            origin: self.origin.into(),
            first_unit: self.first_unit,
            first_label: self.first_label,
            step_ms: self.step_ms,
            unlabelled: false,
        }
    }
}

/// Fails unless a file in the layout of SHD can be written to a path.
fn check_new(out: &Path) -> Result<()> {
    let shown = out.display();
    let suffix = out.extension().unwrap_or_default();
    if !["hdf5", "hdf"].iter().any(|known| suffix.eq_ignore_ascii_case(known)) {
        files::check_suffix(out, "h5", "HDF5")?;
    }
    if out.exists() {
        fail!("{shown}: exists; name another file")
    }
    Ok(())
}

/// Writes recordings to a new file, and makes its folder.
fn write_new(out: &Path, recordings: &Recordings) -> Result<()> {
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder).map_err(at(folder.display()))?;
    }
    if !files::create(out, &shd::to_bytes(recordings)?)? {
        fail!("{}: exists; name another file", out.display())
    }
    Ok(())
}

/// Runs `data`.
pub(in crate::cli) fn data(command: &Command) -> Result<()> {
    match command {
        Command::Stats(args) => stats::stats(args),
        Command::Show(args) => show::show(args),
        Command::Convert(args) => convert::convert(args),
        Command::Equalise(args) => equalise::equalise(args),
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
            let recordings = spikes::read(path, &self.layout.options())?;
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
        let layout = Layout {
            channels: None,
            time_unit: TimeUnit::S,
            origin: Origin::Zero,
            first_unit: 0,
            first_label: 0,
            step_ms: None,
        };
        let source = Source { path: "order".into(), dt_ms: 10, group: 1, layout };
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
