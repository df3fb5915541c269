//! Text on standard output and standard error.

use crate::config::Rounding;
use crate::error::{Error, Result, at, printable};
use std::io::{ErrorKind, Write};

/// Prints to standard output. Ends the program if nobody reads it any more.
pub(super) fn say(text: &str) -> Result<()> {
    let printed = std::io::stdout().write_all(printable(text).as_bytes());
    if printed.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe) {
        std::process::exit(0);
    }
    printed.map_err(at("standard output"))
}

/// Prints an object as one line of JSON.
pub(super) fn say_json(object: &impl serde::Serialize) -> Result<()> {
    say(&(serde_json::to_string(object)? + "\n"))
}

/// Prints a line to standard error. A failure to print it is ignored.
pub(super) fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", Error::new(line));
}

/// Notes that rounding the delays costs more than 2 points of accuracy. `used` is the rounding, and
/// `trained` that of the training.
pub(super) fn note_rounding(
    trained: Rounding,
    used: Rounding,
    as_trained: Option<f64>,
    rounded: Option<f64>,
) {
    let cost = 100.0 * (as_trained.unwrap_or(0.0) - rounded.unwrap_or(0.0));
    if cost > 2.0 {
        let advice = match trained {
            Rounding::After => {
                "`export --rounding split` or train.rounding = \"split\" avoids that"
            }
            _ if trained != used => {
                "train with train.rounding = \"nearest\", or keep the rounding of the training"
            }
            _ => "this epoch comes before those with whole delays (train.rounded_epochs)",
        };
        note(&format!("rounding the delays costs {cost:.1} points; {advice}"));
    }
}

/// A share in percent; `-` if there is none.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or("-".into(), |share| format!("{:.1} %", 100.0 * share))
}
