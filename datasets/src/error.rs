/// An error of reading, encoding or preparing data. It prints as one line that names the file and
/// the place in it, with control characters escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: {}", line(file), line(error))]
    Io {
        /// Path of the file.
        file: String,
        /// The error of the operating system.
        #[source]
        error: std::io::Error,
    },
    /// The file does not have the expected format.
    #[error("{}: {}", line(file), line(reason))]
    Format {
        /// Path of the file, or name of the data set.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A value or an argument is out of range, or contradicts other values.
    #[error("{}: {} = {} {}", line(file), line(field), line(value), line(problem))]
    Value {
        /// Path of the file, or name of the data set.
        file: String,
        /// Place of the value, for example `spikes/units[17][3]`.
        field: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A download failed.
    #[cfg(feature = "fetch")]
    #[error("{}: {}", line(url), line(problem))]
    Download {
        /// Address of the file.
        url: String,
        /// What happened.
        problem: String,
    },
}

impl Error {
    pub(crate) fn format(file: &str, reason: impl ToString) -> Self {
        Self::Format { file: file.into(), reason: reason.to_string() }
    }

    pub(crate) fn value(
        file: &str,
        field: impl ToString,
        value: impl ToString,
        problem: impl ToString,
    ) -> Self {
        Self::Value {
            file: file.into(),
            field: field.to_string(),
            value: value.to_string(),
            problem: problem.to_string(),
        }
    }
}

/// A text with control characters escaped, so that it stays on one line.
fn line(text: &impl ToString) -> String {
    let mut line = String::new();
    for c in text.to_string().chars() {
        if c.is_control() { line.extend(c.escape_debug()) } else { line.push(c) }
    }
    line
}
