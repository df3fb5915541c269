//! Helpers of the tests of the command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes an empty folder.
pub(crate) fn empty_folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The program with a folder as its working directory.
pub(crate) fn polychron(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polychron"));
    command.current_dir(folder).env_remove("POLYCHRON_DATA").args(args);
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into()
}
