#![forbid(unsafe_code)]
#![cfg_attr(not(feature = "cli"), allow(dead_code))]
//! Spiking networks with learnable delays: configure, train, evaluate and export them.
//!
//! This is the library behind the command `polychron`. A preset or a TOML file describes the data,
//! the network and the training. A run trains in a folder that holds everything needed to resume or
//! repeat it.
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
//! [`Model`] loads and evaluates a run. An [`Observer`] follows a [`Run`] and may stop it.
//! [`models`] lets configurations name neurons, delay kernels and surrogates of your own. For
//! networks that a configuration cannot describe, use the crate `polychron_core`: [`LabeledBatch`]
//! converts data to batches for `polychron_core::train`.
//!
//! * [`config`]: the configuration; [`Config::preset`], [`Config::read`], [`Config::set`]
//! * [`Task`]: data and their split; [`LabeledBatch`]: batches with targets; [`DataCard`]: what a
//!   model was trained on
//! * [`Run`], [`Observer`]: training; [`reproduce`]: several seeds and the table of their results;
//!   [`compare`]: several runs side by side
//! * [`Model`]: the model of a run; [`eval`], [`export`], [`inspect`], [`model_file`]
//! * [`Classifier`]: a model on any backend; [`network`]: conversion of a configuration to a
//!   network
//! * [`models`]: neurons, delay kernels and surrogates by name, also your own
//! * [`Checkpoint`], [`report`], [`plot`]: files
//! * `cli`: the command line (feature `cli`)

mod backend;
mod batch;
mod checkpoint;
#[cfg(feature = "cli")]
pub mod cli;
pub mod compare;
pub mod config;
mod data_card;
#[cfg(all(test, feature = "emulator"))]
mod device_failures;
mod error;
pub mod eval;
pub mod export;
mod files;
mod fresh;
mod given;
mod initial;
pub mod inspect;
mod model;
pub mod model_file;
pub mod models;
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
pub use data_card::{DataCard, InputKind};
pub use error::{Error, ErrorKind, Result};
pub use model::Model;
pub use observer::{EpochEnd, Flow, Observer, Outcome, Start, Step};
pub use polychron_datasets::Part;
pub use presets::Variant;
pub use run::Run;
pub use sparse::Pruned;
pub use task::{Predictions, Task};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
