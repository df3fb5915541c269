//! `polychron`: see `polychron --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    polychron::cli::main()
}
