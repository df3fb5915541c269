use polychron_core::rng::Rng;

use crate::{Error, Recordings};

/// The generator's streams.
const KEPT: u64 = 0x0065_7175_616c;
const ADDED: u64 = 0x0066_696c_6c73;

/// What [`Recordings::equalise`] has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equalised {
    /// The number of spikes of each channel in every recording.
    pub counts: Vec<usize>,
    /// The number of spikes that were removed, in all recordings.
    pub removed: usize,
    /// The number of spikes that were added.
    pub added: usize,
}

impl Recordings {
    /// Makes the spikes of a channel as many in every recording, so that only their times tell
    /// recordings apart. Labels, speakers, names and parts stay; the encoder is forgotten, because
    /// its spikes of other sounds are not equalised.
    ///
    /// A channel has as many spikes as in the recording in which it has the fewest, so one that is
    /// silent in a recording becomes silent in all. Of more spikes, those that stay are drawn with
    /// the seed. No spike is moved or added.
    ///
    /// With a number of `spikes`, every channel that has any spikes has this number in every
    /// recording. Where it has fewer, all stay, and the missing ones are added at times of spikes
    /// of the recording in any channel, drawn with the seed: these times say nothing about the
    /// channel.
    ///
    /// # Errors
    /// The recordings fail [`Recordings::validate`]; `spikes` is 0, or a recording has no spikes;
    /// without `spikes`, no channel has a spike in every recording. They are unchanged then.
    pub fn equalise(&mut self, spikes: Option<usize>, seed: u64) -> Result<Equalised, Error> {
        self.validate()?;
        let mut least = vec![usize::MAX; self.channels];
        let mut most = vec![0; self.channels];
        for item in &self.items {
            let mut own = vec![0; self.channels];
            item.units.iter().for_each(|&unit| own[usize::from(unit)] += 1);
            for ((least, most), own) in least.iter_mut().zip(&mut most).zip(own) {
                (*least, *most) = ((*least).min(own), (*most).max(own));
            }
        }
        let wrong = |reason: String| Err(Error::format(&self.source, reason));
        let counts = match spikes {
            None if least.iter().all(|&count| count == 0) => {
                return wrong("no channel has a spike in every recording; give a number".into());
            }
            None => least,
            Some(0) => return Err(Error::value(&self.source, "spikes", 0, "is not at least 1")),
            Some(count) => {
                if let Some(n) = self.items.iter().position(|item| item.times.is_empty()) {
                    return wrong(format!("recording {n} has no spikes and cannot be filled up"));
                }
                most.into_iter().map(|most| if most > 0 { count } else { 0 }).collect()
            }
        };
        let (mut removed, mut added) = (0, 0);
        for (n, item) in self.items.iter_mut().enumerate() {
            let mut of_channels = vec![Vec::new(); self.channels];
            for (index, &unit) in item.units.iter().enumerate() {
                of_channels[usize::from(unit)].push(index);
            }
            let mut taken = Vec::new();
            for (channel, (mut own, &count)) in of_channels.into_iter().zip(&counts).enumerate() {
                let rng = |stream| Rng::new(seed, stream).fork(n as u64).fork(channel as u64);
                if own.len() > count {
                    rng(KEPT).shuffle(&mut own);
                }
                removed += own.len().saturating_sub(count);
                own.truncate(count);
                let missing = count - own.len();
                added += missing;
                let draw = |k| (rng(ADDED).uniform_f64(k) * item.times.len() as f64) as usize;
                own.extend((0..missing as u64).map(draw));
                taken.extend(own.into_iter().map(|index| (index, channel as u16)));
            }
            // Times ascend with the index.
            taken.sort_unstable();
            item.times = taken.iter().map(|&(index, _)| item.times[index]).collect();
            item.units = taken.into_iter().map(|(_, unit)| unit).collect();
        }
        self.about.encoder.clear();
        Ok(Equalised { counts, removed, added })
    }
}
