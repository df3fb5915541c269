//! Checks that names stay inside a folder.

use std::path::{Component, Path, PathBuf};

/// `true` if the name denotes a file that is not hidden, on every operating system.
pub(super) fn is_name(name: &str) -> bool {
    let odd = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':');
    !name.is_empty() && !name.starts_with('.') && !name.contains(odd)
}

/// The path of an archive's entry relative to the target folder; empty for the folder itself.
pub(super) fn inside(name: &[u8]) -> Result<PathBuf, &'static str> {
    let name = std::str::from_utf8(name).map_err(|_| "is not UTF-8")?;
    if name.contains(|c: char| c.is_control() || c == '\\') {
        return Err("contains a backslash or a control character");
    }
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            _ => return Err("leaves the folder"),
        }
    }
    Ok(path)
}
