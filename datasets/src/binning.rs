//! Spike times to steps.

use half::f16;

use crate::{Entry, Error, Recording, Recordings, SpikeTrain, TimeFormat};

/// Rule that assigns events to steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binning {
    /// A grid that starts at time 0: step `floor(t / dt)`. A time that is a whole millisecond
    /// within the precision of the file counts as that millisecond. So 0.03 s, which float16 and
    /// float32 store as slightly less, is in step 3 of 10 ms.
    #[default]
    Fixed,
    /// Frames anchored to events, as in the data path of *Learning Delays in Spiking Neural
    /// Networks using Dilated Convolutions with Learnable Spacings* (ICLR 2024). A frame starts at
    /// its first event and includes every later one with `t - t_first <= dt`; the next event starts
    /// the next frame, and silence makes no frames. `t` is `1000 times` in the precision of the
    /// file.
    Legacy2023,
}

/// Conversion of recordings to samples. A recording without spikes becomes a sample of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BinOptions {
    /// Rule that assigns events to steps.
    pub binning: Binning,
    /// Length of a step in milliseconds; 10 by default.
    pub dt_ms: u32,
    /// Number of neighbouring channels that are summed into one. It divides the number of channels.
    /// 1, the default, leaves them as they are; 5 turns the 700 of SHD into the 140 of most
    /// published networks.
    pub group: usize,
    /// Events at this step or later are dropped; by default none are.
    pub max_steps: Option<usize>,
}

impl Default for BinOptions {
    fn default() -> Self {
        Self { binning: Binning::Fixed, dt_ms: 10, group: 1, max_steps: None }
    }
}

/// A channel has more spikes in a step than an [`Entry`] can count.
pub(crate) struct CountOverflow {
    pub(crate) step: u32,
    pub(crate) channel: usize,
}

impl BinOptions {
    pub(crate) fn check(&self, recordings: &Recordings) -> Result<(), Error> {
        let value = |field, value, problem: &str| {
            Err(Error::value(&recordings.source, field, value, problem))
        };
        if self.dt_ms == 0 {
            return value("dt_ms", 0, "is not a step length; use at least 1");
        }
        if self.max_steps == Some(0) {
            return value("max_steps", 0, "leaves no step; use at least 1");
        }
        if self.group == 0 || !recordings.channels.is_multiple_of(self.group) {
            let problem = format!("does not divide {} channels", recordings.channels);
            let advice = divisors(recordings.channels, self.group);
            return value("group", self.group, &format!("{problem}; {advice}"));
        }
        Ok(())
    }

    pub(crate) fn bin(
        &self,
        item: &Recording,
        format: TimeFormat,
    ) -> Result<SpikeTrain, CountOverflow> {
        let steps = steps_of(&item.times, format, self.binning, self.dt_ms);
        let cap = self.max_steps.unwrap_or(usize::MAX);
        let group = u32::try_from(self.group).unwrap_or(u32::MAX);
        let channel = |unit: u16| (u32::from(unit) / group) as usize;
        let width = item.units.iter().max().map_or(0, |&unit| channel(unit) + 1);
        // For one step: the number of events of each channel, and a bit per channel that has any.
        let (mut counts, mut seen) = (vec![0u16; width], vec![0u64; width.div_ceil(64)]);
        let mut entries: Vec<Entry> = Vec::with_capacity(steps.len());
        let mut units = item.units.iter();
        for together in steps.chunk_by(|a, b| a == b).take_while(|run| (run[0] as usize) < cap) {
            for &unit in units.by_ref().take(together.len()) {
                let channel = channel(unit);
                let more = counts[channel].checked_add(1);
                counts[channel] = more.ok_or(CountOverflow { step: together[0], channel })?;
                seen[channel / 64] |= 1 << (channel % 64);
            }
            for (word, bits) in seen.iter_mut().enumerate() {
                while *bits != 0 {
                    let channel = 64 * word + bits.trailing_zeros() as usize;
                    *bits &= *bits - 1;
                    let count = std::mem::take(&mut counts[channel]);
                    entries.push(Entry { step: together[0], channel: channel as u16, count });
                }
            }
        }
        entries.shrink_to_fit();
        let steps = steps.last().map_or(1, |&last| (last as usize + 1).min(cap));
        let (label, speaker) = (item.label, item.speaker);
        Ok(SpikeTrain { steps, entries, dense: None, label, speaker })
    }
}

/// Names the nearest numbers that divide `channels`.
fn divisors(channels: usize, group: usize) -> String {
    let divides = |n: &usize| channels.is_multiple_of(*n);
    let below = (1..=group.min(channels)).rev().find(divides);
    let above = (group + 1..=channels).find(divides);
    match (below, above) {
        (Some(below), Some(above)) => format!("use {below} or {above}"),
        (Some(only), None) | (None, Some(only)) => format!("use {only}"),
        (None, None) => "there are none".into(),
    }
}

/// Assigns each event to a step. `times` are in seconds and ascending, and so are the steps;
/// `dt_ms` is at least 1.
#[must_use]
pub fn steps_of(times: &[f32], format: TimeFormat, binning: Binning, dt_ms: u32) -> Vec<u32> {
    match binning {
        Binning::Fixed => {
            // In half precision many times are equal, and rounding is most of the work.
            let (mut before, mut step) = (0.0, 0);
            let step = |&t: &f32| {
                if t != before {
                    (before, step) = (t, fixed(t, format, dt_ms));
                }
                step
            };
            times.iter().map(step).collect()
        }
        Binning::Legacy2023 => legacy(times, format, dt_ms),
    }
}

fn fixed(t: f32, format: TimeFormat, dt_ms: u32) -> u32 {
    let ms = f64::from(t) * 1000.0;
    let whole = ms.round();
    let ms = if format.round(whole / 1000.0) == t { whole } else { ms };
    (ms / f64::from(dt_ms)) as u32
}

fn legacy(times: &[f32], format: TimeFormat, dt_ms: u32) -> Vec<u32> {
    let rounded = |x: f32| match format {
        TimeFormat::F16 => f16::from_f32(x).to_f32(),
        TimeFormat::F32 => x,
    };
    let ms = |t: f32| rounded(t * 1000.0);
    let Some(&first) = times.first() else { return Vec::new() };
    let (mut frame, mut opened) = (0, ms(first));
    times
        .iter()
        .map(|&t| {
            if rounded(ms(t) - opened) > dt_ms as f32 {
                frame += 1;
                opened = ms(t);
            }
            frame
        })
        .collect()
}
