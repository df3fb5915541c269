//! Tests of the command and the library, in one executable.

mod answers;
mod cli;
mod common;
mod compare;
mod connect;
mod described;
#[cfg(feature = "fetch")]
mod fetch;
mod fixed;
mod folders;
mod graph;
mod habits;
mod initial;
#[cfg(unix)]
mod interrupted;
mod library;
mod models;
mod places;
mod recurrent;
mod reproduce;
mod sparse;
mod spikes;
mod windows;
