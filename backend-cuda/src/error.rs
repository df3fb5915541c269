use polychron_core::shape::ShapeError;

/// An error of the GPU backend.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A block has the wrong size for its operation.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A model has no CUDA kernel.
    #[error("the CUDA backend has no {0}")]
    Unsupported(String),
    /// No usable GPU was found.
    #[error("no CUDA: {0}")]
    Unavailable(String),
    /// The memory of the device is full.
    #[error(
        "the GPU has no {bytes} bytes for {what}: {used} bytes are in use{}; use a smaller batch",
        free.map_or(String::new(), |free| format!(", {free} free"))
    )]
    OutOfMemory {
        /// The block that was requested.
        what: String,
        /// Its size in bytes.
        bytes: usize,
        /// Bytes that this backend has allocated.
        used: usize,
        /// Bytes that are free on the device, if known.
        free: Option<usize>,
    },
    /// A call to the driver failed. After an error of the device itself, all later calls fail as
    /// well.
    #[error("CUDA: {call}: {reason}")]
    Driver {
        /// The function of the driver, or the kernel.
        call: String,
        /// The driver's message.
        reason: String,
    },
}
