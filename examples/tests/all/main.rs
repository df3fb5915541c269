//! The command as a user calls it, in one test executable.

mod cli;
mod common;
#[cfg(feature = "fetch")]
mod fetch;
#[cfg(unix)]
mod interrupted;
mod library;
mod reproduce;
mod sparse;
