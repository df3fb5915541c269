//! What a model was trained on.

use crate::config::{Bands, Bins, Data, Source};
use crate::error::{Result, fail};
use crate::network::Interface;
use polychron_core::format::Input;
use polychron_datasets::{Dataset, Split};
use serde::{Deserialize, Serialize};

/// The data that a model was trained on, as far as its users need to know them. The files of a run
/// hold it, so that a model can be exported and inspected without its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataCard {
    /// Where the input comes from: the source and the settings of its front-end, as text.
    pub source: String,
    /// What a channel receives in a step.
    pub input: InputKind,
    /// Number of input channels.
    pub channels: usize,
    /// Length of a step in ms.
    pub dt_ms: u32,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// How sound became spikes, as the data files state it; empty if they do not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub encoder: String,
    /// A hash of the items and their division, see [`Dataset::hash`]; `None` in files of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<u32>,
    /// A hash of the test items; `None` in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_hash: Option<u32>,
}

/// What a channel receives in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputKind {
    /// A spike or none.
    Spikes,
    /// A number of spikes.
    Counts {
        /// The largest number in the data.
        largest: u16,
    },
    /// Real values.
    Values,
}

impl DataCard {
    /// Describes data that were loaded with some options.
    pub(crate) fn new(data: &Dataset, split: &Split, options: &Data) -> Self {
        let source = match options.source {
            Source::Digits => "digits: rises and falls of 24 bands by 9 dB".into(),
            Source::Order => "order: the synthetic order task".into(),
            Source::H5 => {
                let (channels, group) = (data.channels * options.group, options.group);
                let binning = match options.binning {
                    Bins::Fixed => "fixed",
                    Bins::Legacy2023 => "legacy-2023",
                };
                format!("h5: {channels} channels in groups of {group}, binning {binning}")
            }
            Source::Gsc => {
                let bands = match options.bands {
                    Bands::Full => "full",
                    Bands::Paper => "paper",
                };
                format!("gsc: mel bands, range {bands}")
            }
        };
        let counts = data.samples.iter().flat_map(|s| &s.entries).map(|entry| entry.count);
        let input = if data.samples.iter().any(|sample| sample.dense.is_some()) {
            InputKind::Values
        } else {
            match counts.max().unwrap_or(0) {
                0 | 1 => InputKind::Spikes,
                largest => InputKind::Counts { largest },
            }
        };
        let (channels, dt_ms) = (data.channels, data.dt_ms);
        let (classes, encoder) = (data.class_names.clone(), data.about.encoder.clone());
        let Split { train, valid, test } = split;
        let hash = Some(data.hash([&train[..], valid, test]));
        let test_hash = Some(data.hash([&test[..]]));
        Self { source, input, channels, dt_ms, classes, encoder, hash, test_hash }
    }

    /// Whether the items or the split of some data are known to be others.
    pub(crate) fn has_changed(&self, data: &Self) -> bool {
        self.hash.is_some() && self.hash != data.hash
    }

    /// Returns the properties that determine the shape of a network.
    #[must_use]
    pub fn interface(&self) -> Interface {
        let (channels, classes) = (self.channels, self.classes.len());
        Interface { channels, classes, dt_ms: self.dt_ms.into() }
    }

    /// The kind of input in a model file.
    pub(crate) fn format_input(&self) -> Result<Input> {
        match self.input {
            InputKind::Spikes => Ok(Input::Spikes),
            InputKind::Counts { largest } if largest <= 127 => Ok(Input::Values),
            InputKind::Counts { largest } => fail!(
                "the data ({}): a bin has {largest} spikes; a model file takes whole numbers up to \
                 127",
                self.source
            ),
            InputKind::Values => fail!(
                "the data ({}): have real values; a model file takes whole numbers up to 127",
                self.source
            ),
        }
    }
}
