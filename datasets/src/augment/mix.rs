//! Augmentations that combine two samples.

use polychron_core::rng::Rng;

use super::{Thinner, merge};
use crate::{Dataset, SpikeTrain};

/// The samples that may be mixed into others, usually the training samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    all: Vec<usize>,
    of_class: Vec<Vec<usize>>,
}

/// The label of another sample that replaces a stretch of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MixedLabel {
    /// Class of the other sample.
    pub label: u16,
    /// Its share of the time, in (0, 1].
    pub share: f32,
}

impl Pool {
    /// Makes a pool of the samples at `indices`, whose order does not matter. Dense samples and
    /// indices out of range are left out.
    #[must_use]
    pub fn new(data: &Dataset, indices: &[usize]) -> Self {
        let sparse = |i: &usize| data.samples.get(*i).is_some_and(|s| s.dense.is_none());
        let mut all: Vec<usize> = indices.iter().copied().filter(sparse).collect();
        all.sort_unstable();
        all.dedup();
        let mut of_class = vec![Vec::new(); data.classes];
        for &i in &all {
            if let Some(class) = of_class.get_mut(usize::from(data.samples[i].label)) {
                class.push(i);
            }
        }
        Self { all, of_class }
    }

    /// Combines half the spikes of a sample with half those of another one of its class; `None` if
    /// the sample stays unchanged.
    pub(super) fn blend(
        &self,
        probability: f64,
        data: &Dataset,
        index: usize,
        rng: Rng,
    ) -> Option<SpikeTrain> {
        if rng.uniform::<f64>(0) >= probability {
            return None;
        }
        let own = &data.samples[index];
        let class = self.of_class.get(usize::from(own.label))?;
        let other = &data.samples[draw_other(class, index, rng, 1)?];
        let mut entries = Vec::with_capacity(own.entries.len() + other.entries.len());
        for (part, sample) in [own, other].into_iter().enumerate() {
            let mut keep = Thinner::new(0.5, rng.fork(part as u64));
            for e in &sample.entries {
                let count = keep.thin(e.count);
                if count > 0 {
                    entries.push(crate::Entry { count, ..*e });
                }
            }
        }
        merge(&mut entries);
        let steps = own.steps.max(other.steps);
        Some(SpikeTrain { steps, entries, label: own.label, speaker: own.speaker, dense: None })
    }

    /// Replaces a stretch of a sample by the same stretch of another one, which `get` returns.
    pub(super) fn cutmix(
        &self,
        probability: f64,
        index: usize,
        sample: &mut SpikeTrain,
        rng: Rng,
        get: impl Fn(usize) -> SpikeTrain,
    ) -> Option<MixedLabel> {
        if rng.uniform::<f64>(0) >= probability {
            return None;
        }
        let other = get(draw_other(&self.all, index, rng, 1)?);
        let common = sample.steps.min(other.steps);
        let length = 1 + rng.below(2, common as u32) as usize;
        let start = rng.below(3, (common - length.min(common)) as u32 + 1) as usize;
        let stretch = start as u32..(start + length) as u32;
        sample.entries.retain(|e| !stretch.contains(&e.step));
        sample.entries.extend(other.entries.iter().filter(|e| stretch.contains(&e.step)));
        merge(&mut sample.entries);
        let share = length as f32 / sample.steps as f32;
        Some(MixedLabel { label: other.label, share })
    }
}

/// Draws an element other than `index` from an ascending list.
fn draw_other(list: &[usize], index: usize, rng: Rng, place: u64) -> Option<usize> {
    match list.binary_search(&index) {
        Ok(own) => {
            let n = rng.below(place, list.len() as u32 - 1) as usize;
            list.get(if n < own { n } else { n + 1 }).copied()
        }
        Err(_) => list.get(rng.below(place, list.len() as u32) as usize).copied(),
    }
}
