/// What is wrong with a data set; each prints as one line that names the file and the place, control characters escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: {}", line(file), line(error))]
    Io {
        /// The path as given.
        file: String,
        /// What the system said.
        #[source]
        error: std::io::Error,
    },
    /// The bytes are not of the format.
    #[error("{}: {}", line(file), line(reason))]
    Format {
        /// The file or the data set's name.
        file: String,
        /// What does not fit.
        reason: String,
    },
    /// A value that the format allows and the contents forbid, or an argument out of range.
    #[error("{}: {} = {} {}", line(file), line(field), line(value), line(problem))]
    Value {
        /// The file or the data set's name.
        file: String,
        /// Where the value is, `spikes/units[17][3]` say.
        field: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A server does not give a file.
    #[cfg(feature = "fetch")]
    #[error("{}: {}", line(url), line(problem))]
    Download {
        /// The address asked for.
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

fn line(text: &impl ToString) -> String {
    let mut line = String::new();
    for c in text.to_string().chars() {
        if c.is_control() { line.extend(c.escape_debug()) } else { line.push(c) }
    }
    line
}
