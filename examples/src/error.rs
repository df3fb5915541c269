//! The error of this crate.

use std::error::Error as StdError;
use std::fmt::{self, Display};

/// A failed operation.
///
/// The message names the file, the field and the invalid value. It is displayed as one line without
/// control characters.
pub struct Error {
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Makes an error with a message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }

    /// Wraps another error, which becomes the source, and takes over its message.
    #[must_use]
    pub fn wrap(error: impl StdError + Send + Sync + 'static) -> Self {
        Self { message: error.to_string(), source: Some(Box::new(error)) }
    }

    /// Puts a place in front of the message.
    pub(crate) fn at(self, place: impl Display) -> Self {
        Self { message: format!("{place}: {}", self.message), ..self }
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }
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
}
