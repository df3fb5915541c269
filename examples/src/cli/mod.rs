//! The command line. Only this module prints.

mod bench;
mod compare;
mod config;
mod data;
mod eval;
mod export;
mod inspect;
mod interrupt;
mod predict;
mod print;
mod progress;
mod reproduce;
mod train;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train a network; without options, on the embedded spoken digits
    Train(train::Args),
    /// Train several seeds of a preset and write the table of their results
    Reproduce(reproduce::Args),
    /// Show several runs side by side: accuracies, and the settings in which they differ
    Compare(compare::Args),
    /// Show all fields of a configuration with their meanings, as a file for `train --config`
    Config(config::Args),
    /// Test a run's model, also on recordings that were not there when it was trained
    Eval(eval::Args),
    /// Let a run's model decide on recordings without labels
    Predict(predict::Args),
    /// Write a run's model to a file for firmware, and show its accuracy and cost
    Export(export::Args),
    /// Show the layers, parameters and delays of a run's model, or the cost of a model file
    Inspect(inspect::Args),
    /// Inspect or download a data set, or make one from recordings
    #[command(subcommand)]
    Data(data::Command),
    /// Benchmark the paper's networks and their data on this machine
    #[command(subcommand)]
    Bench(bench::Command),
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Train(args) => train::train(&args),
        Command::Reproduce(args) => reproduce::reproduce(&args),
        Command::Compare(args) => compare::compare(&args),
        Command::Config(args) => config::config(&args),
        Command::Eval(args) => eval::eval(&args),
        Command::Predict(args) => predict::predict(&args),
        Command::Export(args) => export::export(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Data(command) => data::data(&command),
        Command::Bench(command) => bench::bench(&command),
    };
    match result {
        Ok(()) if interrupt::has_stopped() => ExitCode::from(interrupt::CODE),
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            print::note(&format!("error: {failure}"));
            ExitCode::FAILURE
        }
    }
}
