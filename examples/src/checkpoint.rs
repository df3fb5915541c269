//! Training states in safetensors files.

use crate::config::Config;
use crate::data_card::DataCard;
use crate::error::{Error, Result, at, fail};
use crate::{files, presets};
use polychron_core::num::Real;
use polychron_core::train::{State, Tensor};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// The only metadata key, because the order of several keys would vary between files.
const KEY: &str = "polychron";
/// Largest size of a header in bytes. It holds names, shapes, a configuration and class names.
const MAX_HEADER: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Metadata {
    epoch: u64,
    step: u64,
    seed: u64,
    #[serde(flatten)]
    partial: PartialEpoch,
    /// The configuration in TOML.
    config: String,
    /// Earlier versions did not describe the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<DataCard>,
}

/// Sums over the steps of an unfinished epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartialEpoch {
    /// Sum of the losses over the items.
    pub loss: f64,
    /// Number of items that were classified correctly.
    pub correct: usize,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// A training state with the configuration that made it.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Tensors, epoch, step and seed.
    pub state: State<f32>,
    /// The configuration of the run.
    pub config: Config,
    /// The data of the run; `None` in files of earlier versions.
    pub data: Option<DataCard>,
    /// Sums over the steps since the last finished epoch.
    pub partial: PartialEpoch,
}

impl Checkpoint {
    /// Writes the checkpoint atomically: the file appears as a whole or not at all.
    ///
    /// # Errors
    /// If the file cannot be written, or names take so much space that it could not be read again.
    pub fn write(&self, path: &Path) -> Result<()> {
        let Self { state, config, data, partial } = self;
        let &State { epoch, step, seed, .. } = state;
        let (config, data) = (config.to_toml()?, data.clone());
        let metadata = Metadata { epoch, step, seed, partial: *partial, config, data };
        let metadata = HashMap::from([(KEY.to_string(), serde_json::to_string(&metadata)?)]);
        let bytes: Vec<Vec<u8>> = state.tensors.iter().map(|t| to_bytes(&t.values)).collect();
        let mut views = Vec::new();
        for (tensor, bytes) in state.tensors.iter().zip(&bytes) {
            views.push((
                tensor.name.as_str(),
                TensorView::new(Dtype::F32, tensor.shape.clone(), bytes)?,
            ));
        }
        let bytes = serialize(views, Some(metadata))?;
        let header = header_len(&bytes);
        if header > MAX_HEADER {
            fail!(
                "{}: the names of connections and classes and the configuration take {header} \
                 bytes, more than {MAX_HEADER}; use fewer or shorter ones",
                path.display()
            )
        }
        files::replace(path, &bytes)
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// If the file cannot be read, or as [`Checkpoint::from_bytes`].
    pub fn read(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        Self::from_bytes(&std::fs::read(path).map_err(at(&shown))?, &shown)
    }

    /// Parses the bytes of a checkpoint file; `name` stands for the file in error messages.
    ///
    /// # Errors
    /// If the bytes are not a checkpoint, a number is not finite or the configuration is invalid.
    pub fn from_bytes(bytes: &[u8], name: &str) -> Result<Self> {
        let header = header_len(bytes);
        if header > MAX_HEADER {
            fail!("{name}: not a checkpoint: the header has {header} bytes, more than {MAX_HEADER}")
        }
        let file = SafeTensors::deserialize(bytes)
            .map_err(|error| Error::wrap(error).at(format!("{name}: not a checkpoint")))?;
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let metadata = header.metadata().as_ref().and_then(|all| all.get(KEY));
        let Some(metadata) = metadata else { fail!("{name}: metadata {KEY} is missing") };
        let metadata: Metadata =
            serde_json::from_str(metadata).map_err(at(format!("{name}: metadata {KEY}")))?;
        let mut tensors = Vec::new();
        for (tensor, view) in file.iter() {
            if view.dtype() != Dtype::F32 {
                fail!("{name}: tensor {tensor} has type {:?}, not F32", view.dtype())
            }
            let values: Vec<_> = view.data().chunks_exact(f32::BYTES).map(f32::read_le).collect();
            if let Some(i) = values.iter().position(|v| !v.is_finite()) {
                fail!("{name}: tensor {tensor}[{i}] = {} is not finite", values[i])
            }
            tensors.push(Tensor { name: tensor.into(), shape: view.shape().to_vec(), values });
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let Metadata { epoch, step, seed, partial, config, data } = metadata;
        let config = presets::parse_stored(&config, name)?;
        Ok(Self { state: State { tensors, epoch, step, seed }, config, data, partial })
    }
}

/// The length of the header that a file states.
fn header_len(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length))
}

fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_header_is_limited() {
        for (length, refused) in [(MAX_HEADER, false), (MAX_HEADER + 1, true)] {
            let failure =
                Checkpoint::from_bytes(&length.to_le_bytes(), "file").err().unwrap().to_string();
            assert_eq!(failure.contains("the header has 1048577 bytes"), refused, "{failure}");
        }
    }
}
