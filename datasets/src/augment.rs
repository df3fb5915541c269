use polychron_core::rng::Rng;

use crate::{Dataset, Entry, Error, SpikeTrain};

/// The generator's stream of augmentations: "augment" in ASCII.
const STREAM: u64 = 0x61_7567_6d65_6e74;

/// Random changes that leave the class as it is. The draw depends on seed, epoch and sample alone, so any order of
/// workers makes the same batch. The default changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Augment {
    /// Shift along the channels, uniform in `-shift_channels..=shift_channels`, within every block.
    pub shift_channels: u32,
    /// Channels of a block that shifts as one; 0: all channels are one block. Spikes that leave their block are
    /// dropped.
    pub block: usize,
    /// Tempo: times are multiplied by a factor uniform in `[1 - warp, 1 + warp]`.
    pub warp: f64,
    /// Probability that a spike is dropped. An entry of several spikes loses each with this probability.
    pub drop: f64,
}

impl Augment {
    /// Checks the ranges.
    ///
    /// # Errors
    /// `warp` or `drop` is not in [0, 1), `shift_channels` is not below the channels, these are no multiple of `block`,
    /// or a sample to be changed is dense.
    pub fn check(&self, data: &Dataset) -> Result<(), Error> {
        if *self != Self::default() && data.samples.iter().any(|s| s.dense.is_some()) {
            return Err(Error::format(&data.name, "augmentation changes spikes, not real values"));
        }
        for (field, value) in [("warp", self.warp), ("drop", self.drop)] {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::value("augment", field, value, "is not in [0, 1)"));
            }
        }
        if self.shift_channels as usize >= data.channels.max(1) {
            let problem = format!("is not below the {} channels of {}", data.channels, data.name);
            return Err(Error::value("augment", "shift_channels", self.shift_channels, problem));
        }
        if self.block > 0 && !data.channels.is_multiple_of(self.block) {
            let problem =
                format!("does not divide the {} channels of {}", data.channels, data.name);
            return Err(Error::value("augment", "block", self.block, problem));
        }
        Ok(())
    }

    /// The samples at `indices`, changed as `epoch` has it; dense ones stay as they are.
    pub fn samples(
        &self,
        data: &Dataset,
        indices: &[usize],
        seed: u64,
        epoch: u64,
    ) -> Vec<SpikeTrain> {
        let rng = Rng::new(seed, STREAM).fork(epoch);
        let samples = indices.iter().filter_map(|&i| data.samples.get(i).map(|s| (i, s)));
        samples.map(|(i, s)| self.apply(s, data.channels, rng.fork(i as u64))).collect()
    }

    fn apply(&self, sample: &SpikeTrain, channels: usize, rng: Rng) -> SpikeTrain {
        if sample.dense.is_some() {
            return sample.clone();
        }
        let block = if self.block == 0 { channels } else { self.block };
        let shift =
            i64::from(rng.below(0, 2 * self.shift_channels + 1)) - i64::from(self.shift_channels);
        let factor = 1.0 + self.warp * (2.0 * rng.uniform::<f64>(1) - 1.0);
        let keeps = rng.fork(1);
        let mut drawn = 0;
        let mut entries: Vec<Entry> = Vec::with_capacity(sample.entries.len());
        for e in &sample.entries {
            let within = i64::from(e.channel) % block as i64 + shift;
            if !(0..block as i64).contains(&within) {
                continue;
            }
            let mut value = e.value;
            if self.drop > 0.0 {
                let spikes = e.value.max(1.0) as u64;
                let lost = (drawn..drawn + spikes).filter(|&n| keeps.uniform::<f64>(n) < self.drop);
                value *= 1.0 - lost.count() as f32 / spikes as f32;
                drawn += spikes;
            }
            if value != 0.0 {
                let channel = (i64::from(e.channel) + shift) as u16;
                let step = (f64::from(e.step) * factor) as u32;
                entries.push(Entry { step, channel, value });
            }
        }
        entries.sort_by_key(|e| (e.step, e.channel));
        entries.dedup_by(|next, kept| {
            let same = (next.step, next.channel) == (kept.step, kept.channel);
            if same {
                kept.value += next.value;
            }
            same
        });
        let steps = ((sample.steps as f64 * factor) as usize)
            .max(entries.last().map_or(0, |e| e.step as usize + 1))
            .max(1);
        SpikeTrain { steps, entries, label: sample.label, speaker: sample.speaker, dense: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digits;

    fn strong() -> Augment {
        Augment { shift_channels: 3, block: 24, warp: 0.2, drop: 0.1 }
    }

    #[test]
    fn the_default_changes_nothing() {
        let data = digits::embedded();
        let indices = [5, 0, 7];
        let samples = Augment::default().samples(&data, &indices, 1, 2);
        for (sample, i) in samples.iter().zip(indices) {
            assert_eq!(sample.entries, data.samples[i].entries);
            assert_eq!(sample.label, data.samples[i].label);
        }
    }

    #[test]
    fn the_draw_depends_on_seed_epoch_and_sample_alone() {
        let data = digits::embedded();
        let both = strong().samples(&data, &[3, 9], 1, 2);
        assert_eq!(strong().samples(&data, &[9], 1, 2)[0], both[1]);
        assert_ne!(strong().samples(&data, &[9], 1, 3)[0], both[1]);
        assert_ne!(strong().samples(&data, &[9], 2, 2)[0], both[1]);
    }

    #[test]
    fn changed_samples_stay_valid() {
        let mut data = digits::embedded();
        let all: Vec<usize> = (0..data.samples.len()).collect();
        let before: usize = data.samples.iter().map(|s| s.entries.len()).sum();
        data.samples = strong().samples(&data, &all, 4, 0);
        data.validate().unwrap();
        let after: usize = data.samples.iter().map(|s| s.entries.len()).sum();
        assert!(after < before && after > before * 7 / 10, "{before} {after}");
    }

    #[test]
    fn a_shift_stays_within_its_block() {
        let entry = |channel| Entry { step: 0, channel, value: 1.0 };
        let sample = SpikeTrain {
            steps: 1,
            entries: vec![entry(0), entry(23), entry(24)],
            ..Default::default()
        };
        let shift = Augment { shift_channels: 1, block: 24, ..Default::default() };
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..64 {
            let moved = shift.apply(&sample, 48, Rng::new(n, 0));
            seen.insert(moved.entries.iter().map(|e| e.channel).collect::<Vec<_>>());
        }
        let expected = [vec![0, 23, 24], vec![1, 25], vec![22]];
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn ranges_are_checked() {
        let data = digits::embedded();
        let odd = Augment { block: 7, ..Default::default() };
        assert!(odd.check(&data).unwrap_err().to_string().contains("block = 7"));
        let all = Augment { drop: 1.0, ..Default::default() };
        assert!(all.check(&data).is_err());
    }
}
