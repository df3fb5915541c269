#![forbid(unsafe_code)]
#![cfg_attr(not(feature = "cli"), allow(dead_code))]
//! Spiking networks with learnable delays: configure, train, evaluate and export them.
//!
//! This is the library behind the command `polychron`. A preset or a TOML file describes data,
//! network and training; a run trains in a folder, which holds everything to resume or repeat it.
//!
//! ```
//! use polychron::{Config, Run, Task};
//!
//! # fn main() -> Result<(), polychron::Error> {
//! # let temporary = tempfile::tempdir()?;
//! # let folder = temporary.path().join("order");
//! let mut config = Config::preset("order")?;
//! config.set("train.epochs=2")?;
//! let task = Task::load(&config, None)?;
//! let figures = Run::create(&config, task, &folder)?.train(&mut ())?.figures();
//! println!("{:?}", figures.and_then(|figures| figures.test_accuracy));
//! # Ok(())
//! # }
//! ```
//!
//! A finished run is loaded and evaluated in a few lines: see [`Model`]. An [`Observer`] follows a
//! run and may stop it: see [`Run`]. Networks that a configuration cannot describe, and own
//! neurons, take the crates below: [`LabeledBatch`] leads from data to `polychron_core::train`.
//!
//! * [`config`]: the configuration; [`Config::preset`], [`Config::read`], [`Config::set`]
//! * [`Task`]: data with its split; [`LabeledBatch`]: batches with targets
//! * [`Run`], [`Observer`]: training; [`reproduce`]: several seeds and the table of their results
//! * [`Model`]: a finished run's model; [`eval`], [`export`], [`inspect`], [`model_file`]
//! * [`Classifier`]: any model, whatever computes it; [`network`]: from configuration to network
//! * [`Checkpoint`], [`report`], [`plot`]: files
//! * `cli`: the command line, with feature `cli`

mod backend;
mod batch;
mod checkpoint;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
#[cfg(all(test, feature = "emulator"))]
mod device_failures;
mod error;
pub mod eval;
pub mod export;
mod files;
pub mod inspect;
mod model;
pub mod model_file;
pub mod network;
mod observer;
pub mod plot;
mod prefetch;
mod presets;
pub mod report;
pub mod reproduce;
mod run;
mod sparse;
mod task;

pub use backend::Classifier;
pub use batch::LabeledBatch;
pub use checkpoint::{Checkpoint, PartialEpoch};
pub use config::Config;
pub use error::{Error, Result};
pub use model::Model;
pub use observer::{EpochEnd, Flow, Observer, Outcome, Start, Step};
pub use presets::Variant;
pub use run::Run;
pub use task::{Part, Predictions, Task};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
