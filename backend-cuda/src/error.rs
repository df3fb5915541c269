use polychron_core::shape::ShapeError;

/// What can go wrong on a GPU.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A block is not of the size its operation needs.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// There is no GPU to be had.
    #[error("no CUDA: {0}")]
    Unavailable(String),
    /// The device's memory is full.
    #[error(
        "the GPU has no {bytes} bytes for {what}: {used} bytes are in use{}; a smaller batch needs less",
        free.map_or(String::new(), |free| format!(", {free} free"))
    )]
    OutOfMemory {
        /// The block.
        what: String,
        /// Its size.
        bytes: usize,
        /// What this backend holds.
        used: usize,
        /// What the device has left, where it says so.
        free: Option<usize>,
    },
    /// A call of the driver failed. After an error of the device itself every later call fails too.
    #[error("CUDA: {call}: {reason}")]
    Driver {
        /// The call, or the kernel.
        call: String,
        /// What the driver says.
        reason: String,
    },
}
