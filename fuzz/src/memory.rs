//! The memory that reading a file may take.

use cap::Cap;
use std::alloc::System;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// The largest size of a file after a gzip stream or a zip archive around it is unpacked, in bytes.
pub fn unpacked(file: &[u8]) -> usize {
    let packed = file.starts_with(&[0x1f, 0x8b]) || file.starts_with(b"PK");
    if packed { (64 * file.len()).max(1 << 20) } else { file.len() }
}

/// Runs `call` with `bytes` more bytes of memory. The process ends if it allocates more.
pub fn within<T>(bytes: usize, call: impl FnOnce() -> T) -> T {
    MEMORY.set_limit(MEMORY.allocated() + bytes).unwrap();
    let result = call();
    MEMORY.set_limit(usize::MAX).unwrap();
    result
}
