//! Tests of the command and the library, in one executable.

mod cli;
mod common;
#[cfg(feature = "fetch")]
mod fetch;
#[cfg(unix)]
mod interrupted;
mod library;
mod models;
mod reproduce;
mod sparse;
