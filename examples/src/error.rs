use std::fmt::Display;
use std::io::Write;

/// Why a command failed: names file, field and value, and shows as one line without control characters.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<_> = self.0.lines().map(str::trim).collect();
        f.write_str(&plain(&lines.join(" ")))
    }
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// A failure with its place in front.
pub(crate) fn at<E: Display>(place: impl Display) -> impl FnOnce(E) -> Failure {
    move |error| Failure(format!("{place}: {error}"))
}

/// Ends a function with a formatted failure.
macro_rules! fail {
    ($($arg:tt)*) => {
        return Err($crate::error::Failure(format!($($arg)*)))
    };
}
pub(crate) use fail;

/// Text that can be shown: control characters other than line feeds are written as JSON has them.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            plain += &format!("\\u{:04x}", u32::from(c));
        } else {
            plain.push(c);
        }
    }
    plain
}

/// A line beside the results. Where no one reads it any more, work goes on.
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", Failure(line.into()));
}
