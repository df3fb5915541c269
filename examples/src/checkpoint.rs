//! Files that are whole or not there, and states of training in them.

use crate::config::Config;
use crate::error::{Result, at, fail, note};
use crate::presets;
use polychron_core::num::Real;
use polychron_core::train::{State, Tensor};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The one metadata key; more than one would be written in any order.
const KEY: &str = "polychron";
/// Most bytes before the numbers: names, shapes and a configuration.
const MAX_HEADER: u64 = 256 << 10;

#[derive(Serialize, Deserialize)]
struct Metadata {
    epoch: u64,
    step: u64,
    seed: u64,
    #[serde(flatten)]
    begun: Begun,
    /// The configuration in TOML.
    config: String,
}

/// What the steps of an epoch that is not finished add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Begun {
    /// Sum of the items' losses.
    pub(crate) loss: f64,
    /// Items decided rightly.
    pub(crate) correct: usize,
    /// Wall-clock seconds.
    pub(crate) seconds: f64,
}

/// A state of training, and what it belongs to.
pub(crate) struct Checkpoint {
    pub(crate) state: State<f32>,
    pub(crate) config: Config,
    pub(crate) begun: Begun,
}

/// Writes a checkpoint in the safetensors format.
pub(crate) fn write(path: &Path, checkpoint: &Checkpoint) -> Result<()> {
    let Checkpoint { state, config, begun } = checkpoint;
    let &State { epoch, step, seed, .. } = state;
    let metadata = Metadata { epoch, step, seed, begun: *begun, config: config.to_toml()? };
    let metadata = HashMap::from([(KEY.to_string(), serde_json::to_string(&metadata)?)]);
    let bytes: Vec<Vec<u8>> = state.tensors.iter().map(|t| to_bytes(&t.values)).collect();
    let mut views = Vec::new();
    for (tensor, bytes) in state.tensors.iter().zip(&bytes) {
        views.push((
            tensor.name.as_str(),
            TensorView::new(Dtype::F32, tensor.shape.clone(), bytes)?,
        ));
    }
    write_atomic(path, &serialize(views, Some(metadata))?)
}

/// Reads a checkpoint.
pub(crate) fn read(path: &Path) -> Result<Checkpoint> {
    let shown = path.display().to_string();
    from_bytes(&std::fs::read(path).map_err(at(&shown))?, &shown)
}

/// As [`read`], from a file's bytes; `shown` names it in messages.
pub(crate) fn from_bytes(bytes: &[u8], shown: &str) -> Result<Checkpoint> {
    let header = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    if header > MAX_HEADER {
        fail!("{shown}: not a checkpoint: a header of {header} bytes, more than {MAX_HEADER}")
    }
    let file = SafeTensors::deserialize(bytes).map_err(at(format!("{shown}: not a checkpoint")))?;
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let metadata = header.metadata().as_ref().and_then(|all| all.get(KEY));
    let Some(metadata) = metadata else { fail!("{shown}: metadata {KEY} is missing") };
    let metadata: Metadata =
        serde_json::from_str(metadata).map_err(at(format!("{shown}: metadata {KEY}")))?;
    let mut tensors = Vec::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            fail!("{shown}: tensor {name} has type {:?}, not F32", view.dtype())
        }
        let values: Vec<_> = view.data().chunks_exact(f32::BYTES).map(f32::read_le).collect();
        if let Some(i) = values.iter().position(|v| !v.is_finite()) {
            fail!("{shown}: tensor {name}[{i}] = {} is not finite", values[i])
        }
        tensors.push(Tensor { name: name.into(), shape: view.shape().to_vec(), values });
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    let Metadata { epoch, step, seed, begun, config } = metadata;
    let config = presets::parse(&config, shown)?;
    Ok(Checkpoint { state: State { tensors, epoch, step, seed }, config, begun })
}

/// Reads a run's state with the configuration that made it. A `config.toml` beside it that says otherwise is noted and
/// not followed.
pub(crate) fn read_run(path: &Path) -> Result<(State<f32>, Config)> {
    let Checkpoint { state, mut config, .. } = read(path)?;
    let (beside, shown) = (path.with_file_name("config.toml"), path.display());
    match presets::stored(&beside, &[]) {
        Ok(found) => {
            if let Some((found, made)) = found.difference(&config)? {
                let beside = beside.display();
                note(&format!("{beside}: has {found}; {shown} was made with {made}, which counts"));
            }
            config.threads = found.threads;
        }
        Err(failure) => note(&format!("{failure}; the configuration in {shown} counts")),
    }
    Ok((state, config))
}

fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Writes a file under another name in the same folder, flushes it to the disk, renames it and flushes the folder. On failure
/// the other name is not left, and `path` is as before, unless what failed is the last.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = unfinished(path);
    let written = create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.and_then(|()| put(&temporary, path)).map_err(at(path.display())).inspect_err(|_| {
        // The first error is the one to report.
        let _ = std::fs::remove_file(&temporary);
    })
}

/// A new file in the place of one that was not finished, or of a link.
fn create(unfinished: &Path) -> std::io::Result<File> {
    match std::fs::remove_file(unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => File::create_new(unfinished),
    }
}

/// Keeps other processes that ask for the same from a file, and so from its folder, until it is dropped.
pub(crate) fn hold(opened: std::io::Result<File>, path: &Path) -> Result<File> {
    let (file, shown) = (opened.map_err(at(path.display()))?, path.display());
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => fail!("{shown}: another process is at work there"),
        // Where there are no locks, nothing is held.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// The name beside `path` of what is not finished.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".tmp");
    path.with_file_name(name)
}

/// Gives what is finished its name; a new name is on the disk when its folder is.
pub(crate) fn put(unfinished: &Path, path: &Path) -> std::io::Result<()> {
    std::fs::rename(unfinished, path)?;
    #[cfg(unix)]
    {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// The first thing in a folder that has none of those names, in the order of names; none in a folder that is not there.
pub(crate) fn first_other(folder: &Path, own: &[&str]) -> Result<Option<String>> {
    let mut others = Vec::new();
    if !folder.exists() {
        return Ok(None);
    }
    for entry in std::fs::read_dir(folder).map_err(at(folder.display()))? {
        let found = entry.map_err(at(folder.display()))?.file_name().to_string_lossy().into_owned();
        others.extend((!own.contains(&found.as_str())).then_some(found));
    }
    Ok(others.into_iter().min())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_a_largest_size() {
        for (length, refused) in [(MAX_HEADER, false), (MAX_HEADER + 1, true)] {
            let failure = from_bytes(&length.to_le_bytes(), "file").err().unwrap().to_string();
            assert_eq!(failure.contains("a header of 262145 bytes"), refused, "{failure}");
        }
    }
}
