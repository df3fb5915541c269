mod mix;

use polychron_core::rng::Rng;

use crate::{Dataset, Entry, Error, SpikeTrain};
pub use mix::{MixedLabel, Pool};

/// The generator's stream of augmentations: "augment" in ASCII.
const STREAM: u64 = 0x61_7567_6d65_6e74;

/// The streams of the generator of a sample. Channel shift and tempo use the generator itself.
enum Draw {
    Drop = 1,
    ShiftSteps,
    TimeMask,
    ChannelMask,
    Noise,
    Blend,
    CutMix,
}

/// Random changes of training samples. They depend only on the seed, the epoch and the index of the
/// sample, so the order of the work does not matter. The default changes nothing.
///
/// The order is: the sample is blended with another of its class, shifted along the channels,
/// warped and thinned, and shifted in time; a stretch is replaced by one of another sample that has
/// been changed in the same way; noise is added; masks silence blocks of steps and channels. A
/// sample may lose all its spikes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Augment {
    /// Shift along the channels within every block, uniform in `-shift_channels..=shift_channels`.
    pub shift_channels: u32,
    /// Number of channels in a block; with 0, all channels are one block. Spikes that a shift moves
    /// out of their block are dropped.
    pub block: usize,
    /// Shift in time, uniform in `-shift_steps..=shift_steps`. The sample keeps its length, and
    /// spikes outside it are dropped.
    pub shift_steps: u32,
    /// Tempo: times are multiplied by a factor uniform in `[1 - warp, 1 + warp]`.
    pub warp: f64,
    /// Probability that a spike is dropped. Every spike of an entry counts on its own.
    pub drop: f64,
    /// Probability of an additional spike in each step of each channel.
    pub noise: f64,
    /// Number of blocks of steps that are silenced.
    pub time_masks: u32,
    /// Largest length of such a block in steps. Each length is uniform in `0..=time_mask`.
    pub time_mask: u32,
    /// Number of blocks of neighbouring channels that are silenced.
    pub channel_masks: u32,
    /// Largest width of such a block in channels. Each width is uniform in `0..=channel_mask`.
    pub channel_mask: u32,
    /// Probability that a sample is blended with another of its class. Every spike of the two is
    /// kept with probability 1/2.
    pub blend: f64,
    /// Probability that a stretch of time is replaced by the same stretch of another sample, whose
    /// label then has a share in the target (CutMix: Yun et al. 2019, along time).
    pub cutmix: f64,
}

impl Augment {
    /// Checks the ranges of the fields for a data set.
    ///
    /// # Errors
    /// `warp`, `drop` or `noise` is not in [0, 1), or `blend` or `cutmix` not in [0, 1]; a shift is
    /// not below the number of channels or the steps of the longest sample; `block` does not divide
    /// the number of channels; the number or length of masks exceeds the steps or channels; one of
    /// these two is 0 and the other is not; a sample is dense and a field is not 0.
    pub fn check(&self, data: &Dataset) -> Result<(), Error> {
        if let Some((field, value)) = self.first_nonzero()
            && data.samples.iter().any(|s| s.dense.is_some())
        {
            let problem = format!("changes spikes, but {} holds real values; use 0", data.name);
            return Err(Error::value("augment", field, value, problem));
        }
        for (field, value) in [("warp", self.warp), ("drop", self.drop), ("noise", self.noise)] {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::value("augment", field, value, "is not in [0, 1)"));
            }
        }
        for (field, value) in [("blend", self.blend), ("cutmix", self.cutmix)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::value("augment", field, value, "is not in [0, 1]"));
            }
        }
        if self.block > 0 && !data.channels.is_multiple_of(self.block) {
            let problem =
                format!("does not divide the {} channels of {}", data.channels, data.name);
            return Err(Error::value("augment", "block", self.block, problem));
        }
        let steps = data.samples.iter().map(|s| s.steps).max().unwrap_or(0);
        let channels = Axis { name: "channels", size: data.channels, of: &data.name };
        let steps = Axis { name: "steps", size: steps, of: &data.name };
        channels.shift("shift_channels", self.shift_channels)?;
        steps.shift("shift_steps", self.shift_steps)?;
        channels
            .masks(("channel_masks", self.channel_masks), ("channel_mask", self.channel_mask))?;
        steps.masks(("time_masks", self.time_masks), ("time_mask", self.time_mask))
    }

    /// The first field that is not 0, and its value.
    fn first_nonzero(&self) -> Option<(&'static str, f64)> {
        [
            ("shift_channels", self.shift_channels.into()),
            ("block", self.block as f64),
            ("shift_steps", self.shift_steps.into()),
            ("warp", self.warp),
            ("drop", self.drop),
            ("noise", self.noise),
            ("time_masks", self.time_masks.into()),
            ("time_mask", self.time_mask.into()),
            ("channel_masks", self.channel_masks.into()),
            ("channel_mask", self.channel_mask.into()),
            ("blend", self.blend),
            ("cutmix", self.cutmix),
        ]
        .into_iter()
        .find(|(_, value)| *value != 0.0)
    }

    /// Changes the samples at `indices` for an epoch. Samples to mix with come from the pool. Dense
    /// samples stay as they are; indices out of range are skipped.
    #[must_use]
    pub fn samples(
        &self,
        data: &Dataset,
        pool: &Pool,
        indices: &[usize],
        seed: u64,
        epoch: u64,
    ) -> Vec<(SpikeTrain, Option<MixedLabel>)> {
        let rng = Rng::new(seed, STREAM).fork(epoch);
        let valid = indices.iter().filter(|&&i| i < data.samples.len());
        valid.map(|&i| self.apply(data, pool, i, rng)).collect()
    }

    fn apply(
        &self,
        data: &Dataset,
        pool: &Pool,
        index: usize,
        epoch: Rng,
    ) -> (SpikeTrain, Option<MixedLabel>) {
        if data.samples[index].dense.is_some() {
            return (data.samples[index].clone(), None);
        }
        let own = epoch.fork(index as u64);
        let transform = |i: usize| self.transform(data, pool, i, epoch.fork(i as u64));
        let mut sample = transform(index);
        let mixed =
            pool.cutmix(self.cutmix, index, &mut sample, stream(own, Draw::CutMix), transform);
        if self.noise > 0.0 {
            add_noise(&mut sample, data.channels, self.noise, stream(own, Draw::Noise));
        }
        let rng = stream(own, Draw::TimeMask);
        for mask in draw_masks(self.time_masks, self.time_mask, sample.steps, rng) {
            sample.entries.retain(|e| !mask.contains(&(e.step as usize)));
        }
        let rng = stream(own, Draw::ChannelMask);
        for mask in draw_masks(self.channel_masks, self.channel_mask, data.channels, rng) {
            sample.entries.retain(|e| !mask.contains(&e.channel.into()));
        }
        (sample, mixed)
    }

    /// Blends, shifts, warps and thins a sample.
    fn transform(&self, data: &Dataset, pool: &Pool, index: usize, rng: Rng) -> SpikeTrain {
        let blended = pool.blend(self.blend, data, index, stream(rng, Draw::Blend));
        let sample = blended.as_ref().unwrap_or(&data.samples[index]);
        let block = if self.block == 0 { data.channels } else { self.block } as i64;
        let shift = draw_signed(rng, 0, self.shift_channels);
        let factor = 1.0 + self.warp * (2.0 * rng.uniform::<f64>(1) - 1.0);
        let mut keep = Thinner::new(self.drop, stream(rng, Draw::Drop));
        let mut entries: Vec<Entry> = Vec::with_capacity(sample.entries.len());
        for e in &sample.entries {
            if !(0..block).contains(&(i64::from(e.channel) % block + shift)) {
                continue;
            }
            let count = keep.thin(e.count);
            if count > 0 {
                let channel = (i64::from(e.channel) + shift) as u16;
                let step = (f64::from(e.step) * factor) as u32;
                entries.push(Entry { step, channel, count });
            }
        }
        merge(&mut entries);
        let steps = ((sample.steps as f64 * factor) as usize)
            .max(entries.last().map_or(0, |e| e.step as usize + 1))
            .max(1);
        let shift = draw_signed(stream(rng, Draw::ShiftSteps), 0, self.shift_steps);
        if shift != 0 {
            entries.retain_mut(|e| {
                let step = i64::from(e.step) + shift;
                e.step = step as u32;
                (0..steps as i64).contains(&step)
            });
        }
        SpikeTrain { steps, entries, label: sample.label, speaker: sample.speaker, dense: None }
    }
}

fn stream(rng: Rng, draw: Draw) -> Rng {
    rng.fork(draw as u64)
}

/// The axis of steps or of channels.
struct Axis<'a> {
    name: &'a str,
    size: usize,
    of: &'a str,
}

impl Axis<'_> {
    fn shift(&self, field: &str, shift: u32) -> Result<(), Error> {
        if shift as usize >= self.size.max(1) {
            let problem = format!("is not below the {} {} of {}", self.size, self.name, self.of);
            return Err(Error::value("augment", field, shift, problem));
        }
        Ok(())
    }

    fn masks(&self, count: (&str, u32), longest: (&str, u32)) -> Result<(), Error> {
        for (field, value) in [count, longest] {
            if value as usize > self.size {
                let problem = format!("is above the {} {} of {}", self.size, self.name, self.of);
                return Err(Error::value("augment", field, value, problem));
            }
        }
        for ((field, value), (other, zero)) in [(count, longest), (longest, count)] {
            if value > 0 && zero == 0 {
                let problem = format!("has no effect while {other} = 0; set both or neither");
                return Err(Error::value("augment", field, value, problem));
            }
        }
        Ok(())
    }
}

/// Drops each spike with a probability, one entry after another.
struct Thinner {
    drop: f64,
    rng: Rng,
    drawn: u64,
    four: [f64; 4],
}

impl Thinner {
    fn new(drop: f64, rng: Rng) -> Self {
        Self { drop, rng, drawn: 0, four: [0.0; 4] }
    }

    /// Draws the number of spikes that remain of `count`.
    fn thin(&mut self, count: u16) -> u16 {
        if self.drop <= 0.0 {
            return count;
        }
        (0..count).filter(|_| self.draw() >= self.drop).count() as u16
    }

    fn draw(&mut self) -> f64 {
        let (four, n) = (self.drawn / 4, (self.drawn % 4) as usize);
        if n == 0 {
            self.four = self.rng.four_uniform(four);
        }
        self.drawn += 1;
        self.four[n]
    }
}

/// Sorts entries and merges those with the same step and channel. Counts saturate.
fn merge(entries: &mut Vec<Entry>) {
    entries.sort_by_key(|e| (e.step, e.channel));
    entries.dedup_by(|next, kept| {
        let same = (next.step, next.channel) == (kept.step, kept.channel);
        if same {
            kept.count = kept.count.saturating_add(next.count);
        }
        same
    });
}

/// Draws uniformly from `-most..=most`.
fn draw_signed(rng: Rng, index: u64, most: u32) -> i64 {
    i64::from(rng.below(index, most.saturating_mul(2).saturating_add(1))) - i64::from(most)
}

fn add_noise(sample: &mut SpikeTrain, channels: usize, noise: f64, rng: Rng) {
    let places = sample.steps * channels;
    for group in 0..places.div_ceil(4) {
        let drawn = rng.four_uniform::<f64>(group as u64);
        for (k, _) in (4 * group..places).zip(drawn).filter(|(_, u)| *u < noise) {
            let (step, channel) = ((k / channels) as u32, (k % channels) as u16);
            sample.entries.push(Entry { step, channel, count: 1 });
        }
    }
    merge(&mut sample.entries);
}

/// Draws `count` blocks in `0..size`, each with a length in `0..=longest`.
fn draw_masks(
    count: u32,
    longest: u32,
    size: usize,
    rng: Rng,
) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..u64::from(count)).map(move |n| {
        let length = (rng.below(2 * n, longest.saturating_add(1)) as usize).min(size);
        let start = rng.below(2 * n + 1, ((size - length) as u32).saturating_add(1)) as usize;
        start..start + length
    })
}
