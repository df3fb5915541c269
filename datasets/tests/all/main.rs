//! Tests of the public interface. `fetch` and `unpack` need the feature `fetch`.

mod augment;
mod binning;
mod digits;
mod encode;
mod equalise;
#[cfg(feature = "fetch")]
mod fetch;
#[cfg(feature = "fetch")]
mod folder;
mod folders;
mod gsc;
mod kinds;
#[cfg(feature = "fetch")]
#[path = "../server/mod.rs"]
mod server;
mod shd;
mod sound;
mod spikes;
mod split;
mod synthetic;
#[cfg(feature = "fetch")]
mod unpack;
mod wav;
