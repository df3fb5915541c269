#![forbid(unsafe_code)]
//! Data sets for training and testing: files of the Spiking Heidelberg Digits and Spiking Speech Commands ([`shd`]),
//! Google Speech Commands as mel spectra ([`gsc`]), recordings of one's own as spikes ([`encode`]), 3000 embedded
//! spoken digits ([`digits`]), made tasks that need delays ([`synthetic`]); from events to steps ([`binning`]), eight
//! bytes an [`Entry`], to parts ([`Split`]), to dense blocks ([`DenseBatch`]). With feature `fetch`, module `fetch` downloads
//! the published files.
//!
//! ```
//! use polychron_datasets::{DenseBatch, Split, batches, digits};
//!
//! let data = digits::embedded();
//! let split = Split::fractions(data.samples.len(), 0.1, 0.2, 0)?;
//! let first = &batches(&split.train, 64, 0, 0, true, false)?[0];
//! let batch = DenseBatch::assemble(&data, first, None)?;
//! assert_eq!(batch.x.len(), batch.steps * 64 * 48);
//! # Ok::<(), polychron_datasets::Error>(())
//! ```
//!
//! Everything drawn at random is drawn by [`polychron_core::rng::Rng`], or by a generator that it seeds, so the same seed
//! draws the same on every machine.

mod augment;
mod batch;
pub mod binning;
mod bytes;
mod dataset;
pub mod digits;
pub mod encode;
mod error;
#[cfg(feature = "fetch")]
pub mod fetch;
mod folders;
pub mod gsc;
mod mel;
mod parallel;
mod recording;
pub mod shd;
pub mod sound;
mod split;
pub mod synthetic;

pub use augment::{Augment, Mixed, Pool};
pub use batch::{DenseBatch, batches};
pub use binning::{BinOptions, Binning};
pub use dataset::{Dataset, Entry, Levels, SpikeTrain};
pub use error::Error;
pub use recording::{Recording, Recordings, TimeFormat};
pub use split::Split;
