#![forbid(unsafe_code)]
//! Data sets of spike trains: reading, generating, splitting and batching.
//!
//! | module | contents |
//! |---|---|
//! | [`spikes`] | files of spikes of every kind |
//! | [`shd`] | files of the Spiking Heidelberg Digits and the Spiking Speech Commands |
//! | [`gsc`] | Google Speech Commands as mel spectra |
//! | [`encode`] | your own recordings, encoded as spikes |
//! | [`sound`] | wav files |
//! | [`digits`] | 3000 embedded spoken digits |
//! | [`synthetic`] | generated tasks that need delays |
//! | [`binning`] | spike times to steps |
//! | `fetch` | download of the published files (feature `fetch`) |
//!
//! Readers return [`Recordings`], which are spikes in continuous time, or a [`Dataset`], whose
//! samples are sparse matrices of steps and channels with eight bytes per [`Entry`]. A [`Split`]
//! divides a data set, [`Augment`] changes its samples at random, and a [`SampleBatch`] is what a
//! network takes:
//!
//! ```
//! use polychron_datasets::{SampleBatch, Split, batches, digits};
//!
//! let data = digits::embedded();
//! let split = Split::fractions(data.samples.len(), 0.1, 0.2, 0)?;
//! let first = &batches(&split.train, 64, 0, 0, true, false)?[0];
//! let batch = SampleBatch::assemble(&data, first, None)?;
//! assert_eq!(batch.dense().len(), batch.steps * 64 * 48);
//! # Ok::<(), polychron_datasets::Error>(())
//! ```
//!
//! All random numbers come from [`polychron_core::rng::Rng`] or from a generator that it seeds, so
//! a seed gives the same results on every machine.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod about;
mod augment;
mod batch;
pub mod binning;
mod bytes;
mod dataset;
pub mod digits;
pub mod encode;
mod equalise;
mod error;
#[cfg(feature = "fetch")]
pub mod fetch;
mod folders;
pub mod gsc;
mod mel;
mod notes;
mod parallel;
mod recording;
pub mod shd;
pub mod sound;
pub mod spikes;
mod split;
pub mod synthetic;
mod table;

pub use about::{About, Part};
pub use augment::{Augment, MixedLabel, Pool};
pub use batch::{Event, SampleBatch, Values, batches};
pub use binning::{BinOptions, Binning};
pub use dataset::{Dataset, Entry, Levels, SpikeTrain};
pub use equalise::Equalised;
pub use error::Error;
pub use recording::{Recording, Recordings, TimeFormat};
pub use split::Split;
