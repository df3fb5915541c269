//! Augmentations that combine two samples.

use polychron_core::rng::Rng;

use super::{Thinner, join};
use crate::{Dataset, SpikeTrain};

/// The samples that others may be mixed with: those to train on.
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
    /// Makes a pool of the samples at `indices`, whose order does not matter. Dense samples and indices
    /// out of range are left out.
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

    /// Half of the spikes of a sample and half of those of another of its class, or `None` if the sample
    /// stays as it is.
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
        let other = &data.samples[other(class, index, rng, 1)?];
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
        join(&mut entries);
        let steps = own.steps.max(other.steps);
        Some(SpikeTrain { steps, entries, label: own.label, speaker: own.speaker, dense: None })
    }

    /// Replaces a stretch of a sample by the same stretch of another one, which `of` makes.
    pub(super) fn cutmix(
        &self,
        probability: f64,
        index: usize,
        sample: &mut SpikeTrain,
        rng: Rng,
        of: impl Fn(usize) -> SpikeTrain,
    ) -> Option<MixedLabel> {
        if rng.uniform::<f64>(0) >= probability {
            return None;
        }
        let other = of(other(&self.all, index, rng, 1)?);
        let common = sample.steps.min(other.steps);
        let length = 1 + rng.below(2, common as u32) as usize;
        let start = rng.below(3, (common - length.min(common)) as u32 + 1) as usize;
        let stretch = start as u32..(start + length) as u32;
        sample.entries.retain(|e| !stretch.contains(&e.step));
        sample.entries.extend(other.entries.iter().filter(|e| stretch.contains(&e.step)));
        join(&mut sample.entries);
        let share = length as f32 / sample.steps as f32;
        Some(MixedLabel { label: other.label, share })
    }
}

/// A random element of an ascending list, other than `index`.
fn other(list: &[usize], index: usize, rng: Rng, place: u64) -> Option<usize> {
    match list.binary_search(&index) {
        Ok(own) => {
            let n = rng.below(place, list.len() as u32 - 1) as usize;
            list.get(if n < own { n } else { n + 1 }).copied()
        }
        Err(_) => list.get(rng.below(place, list.len() as u32) as usize).copied(),
    }
}
