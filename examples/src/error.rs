//! The error of this crate.

use std::error::Error as StdError;
use std::fmt::{self, Display};

/// A failed operation.
///
/// The message names the file, the field and the invalid value. It is displayed as one line without
/// control characters.
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A configuration, an argument or the contents of a file are invalid. The message names the
    /// value to correct.
    Invalid,
    /// A file or a download could not be read, written or found.
    Io,
    /// Another process has locked the file or folder. Try again when it has finished.
    Locked,
    /// A block of memory could not be allocated. Use a smaller batch.
    OutOfMemory,
    /// The backend is not available or failed: no GPU, no threads, an error of the driver.
    Backend,
    /// The training diverged. Lower the learning rate and resume from the checkpoint.
    Diverged,
}

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Makes an error of the kind [`ErrorKind::Invalid`] with a message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Invalid, message: message.into(), source: None }
    }

    /// Wraps another error, which becomes the source, and takes over its message. The errors of
    /// this project and [`std::io::Error`] determine the kind; others are [`ErrorKind::Invalid`].
    #[must_use]
    pub fn wrap(error: impl StdError + Send + Sync + 'static) -> Self {
        Self { kind: kind_of(&error), message: error.to_string(), source: Some(Box::new(error)) }
    }

    /// Returns the kind of the error.
    ///
    /// ```
    /// use polychron::{ErrorKind, Model};
    ///
    /// let error = Model::load("no/such/run").err().unwrap();
    /// assert_eq!(error.kind(), ErrorKind::Io);
    /// ```
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Changes the kind.
    pub(crate) fn with_kind(self, kind: ErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// Appends a hint to the message.
    pub(crate) fn hint(self, hint: impl Display) -> Self {
        Self { message: format!("{}; {hint}", self.message), ..self }
    }

    /// Puts a place in front of the message.
    pub(crate) fn at(self, place: impl Display) -> Self {
        Self { message: format!("{place}: {}", self.message), ..self }
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

/// Classifies an error by its type.
fn kind_of(error: &(dyn StdError + 'static)) -> ErrorKind {
    use polychron_core::{quant::FoldError, train::TrainError};
    use polychron_cpu::Error as CpuError;
    use polychron_datasets::Error as DataError;

    if let Some(error) = error.downcast_ref::<Error>() {
        return error.kind;
    }
    if let Some(error) = error.downcast_ref::<std::io::Error>() {
        return match error.kind() {
            std::io::ErrorKind::OutOfMemory => ErrorKind::OutOfMemory,
            _ => ErrorKind::Io,
        };
    }
    if let Some(error) = error.downcast_ref::<DataError>() {
        return match error {
            DataError::Format { .. } | DataError::Value { .. } => ErrorKind::Invalid,
            _ => ErrorKind::Io,
        };
    }
    if let Some(error) = error.downcast_ref::<CpuError>() {
        return match error {
            CpuError::OutOfMemory { .. } => ErrorKind::OutOfMemory,
            CpuError::Shape(_) | CpuError::UnknownVectors { .. } => ErrorKind::Invalid,
            _ => ErrorKind::Backend,
        };
    }
    #[cfg(feature = "cuda")]
    if let Some(error) = error.downcast_ref::<polychron_cuda::Error>() {
        return match error {
            polychron_cuda::Error::OutOfMemory { .. } => ErrorKind::OutOfMemory,
            polychron_cuda::Error::Shape(_) => ErrorKind::Invalid,
            _ => ErrorKind::Backend,
        };
    }
    macro_rules! on_backend {
        ($($backend:ty),*) => {$(
            match error.downcast_ref::<TrainError<$backend>>() {
                Some(TrainError::Backend(error)) => return kind_of(error),
                Some(TrainError::Diverged { .. }) => return ErrorKind::Diverged,
                _ => {}
            }
            if let Some(FoldError::Backend(error)) = error.downcast_ref::<FoldError<$backend>>() {
                return kind_of(error);
            }
        )*};
    }
    on_backend!(CpuError);
    #[cfg(feature = "cuda")]
    on_backend!(polychron_cuda::Error);
    ErrorKind::Invalid
}

/// As it is displayed: `main` prints the error that it returns in this form.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.message.lines().map(str::trim).collect();
        f.write_str(&printable(&lines.join(" ")))
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.source.as_deref()?)
    }
}

impl<E: StdError + Send + Sync + 'static> From<polychron_core::train::TrainError<E>> for Error {
    fn from(error: polychron_core::train::TrainError<E>) -> Self {
        Self::wrap(error)
    }
}

impl<E: StdError + Send + Sync + 'static> From<polychron_core::quant::FoldError<E>> for Error {
    fn from(error: polychron_core::quant::FoldError<E>) -> Self {
        Self::wrap(error)
    }
}

impl<E: StdError + Send + Sync + 'static> From<plotters::drawing::DrawingAreaErrorKind<E>>
    for Error
{
    fn from(error: plotters::drawing::DrawingAreaErrorKind<E>) -> Self {
        Self::wrap(error)
    }
}

impl From<polychron_core::surrogate::SurrogateError<'_>> for Error {
    fn from(error: polychron_core::surrogate::SurrogateError<'_>) -> Self {
        Self::new(error.to_string())
    }
}

macro_rules! wrapped {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::wrap(error)
            }
        }
    )*};
}

wrapped! {
    std::io::Error,
    safetensors::SafeTensorError,
    serde_json::Error,
    statrs::distribution::StudentsTError,
    toml::de::Error,
    toml::ser::Error,
    polychron_core::connectivity::ConnectivityError,
    polychron_core::format::FormatError,
    polychron_core::infer::EngineError,
    polychron_core::quant::SpecError,
    polychron_core::shape::ShapeError,
    polychron_core::train::NetworkError,
    polychron_core::train::StateError,
    polychron_cpu::Error,
    polychron_datasets::Error,
}

#[cfg(feature = "cuda")]
wrapped! { polychron_cuda::Error }

/// Returns a function that puts a place in front of an error's message, for `map_err`.
pub(crate) fn at<E: Into<Error>>(place: impl Display) -> impl FnOnce(E) -> Error {
    move |error| error.into().at(place)
}

/// Returns an error with a formatted message.
macro_rules! fail {
    ($($arg:tt)*) => {
        return Err($crate::error::Error::new(format!($($arg)*)))
    };
}
pub(crate) use fail;

/// Escapes control characters other than line feeds as in JSON, so that the text is safe to print.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            printable += &format!("\\u{:04x}", u32::from(c));
        } else {
            printable.push(c);
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_and_names_its_source() {
        let io = std::io::Error::other("first\n  second\u{1b}[31m");
        let error = at("a file")(io);
        assert_eq!(error.to_string(), "a file: first second\\u001b[31m");
        assert!(error.source().unwrap().is::<std::io::Error>());
        assert!(Error::new("alone").source().is_none());
    }

    #[test]
    fn the_kind_follows_the_cause() {
        use polychron_core::train::TrainError;
        type Failure = TrainError<polychron_cpu::Error>;

        let full = || polychron_cpu::Error::OutOfMemory { bytes: 8 };
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        let data = polychron_datasets::Error::Io { file: "data".into(), error: missing };
        let device = polychron_cpu::Error::MissingVectors { vectors: polychron_cpu::Vectors::Avx2 };
        for (error, kind) in [
            (Error::new("wrong"), ErrorKind::Invalid),
            (Error::from(std::io::Error::other("broken")), ErrorKind::Io),
            (Error::from(data), ErrorKind::Io),
            (Error::from(full()), ErrorKind::OutOfMemory),
            (Error::from(TrainError::Backend(full())), ErrorKind::OutOfMemory),
            (Error::from(device), ErrorKind::Backend),
            (Error::from(Failure::Diverged { epoch: 0, step: 1 }), ErrorKind::Diverged),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
            assert_eq!(Error::wrap(error.at("place").hint("hint")).kind(), kind);
        }
    }
}
