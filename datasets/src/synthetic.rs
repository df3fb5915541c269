//! Generated tasks that need delays, or a memory of the same length.

use polychron_core::rng::Rng;

use crate::{About, Dataset, Entry, SpikeTrain};

/// The generator's stream of synthetic tasks: "tasks" in ASCII.
const STREAM: u64 = 0x74_6173_6b73;
/// Seed of what does not depend on the seed of the samples: the orders of [`burst_order`].
const TASK_SEED: u64 = 5;
const STEPS: usize = 60;
const DT_MS: u32 = 10;

const BURSTS: usize = 8;
const ORDERS: usize = 10;
const GAP: usize = 6;
const MAX_SHIFT: u32 = 8;

/// Burst order: ten classes, which are ten orders of the same eight spikes.
///
/// A sample has 60 steps of 10 ms. Each of 8 channels spikes once, 60 ms after the previous one in
/// the order, with a jitter of up to one step (standard deviation 0.71 steps); all spikes are
/// shifted together by up to 7 steps. `noise` is the probability of one more spike in each step of
/// each channel, for example 0.01. Apart from noise, every channel spikes equally often in every
/// class and no two channels spike together, so counts and coincidences carry no information.
/// Labels are balanced. The orders are the same for every `seed`.
#[must_use]
pub fn burst_order(samples: usize, noise: f64, seed: u64) -> Dataset {
    let orders: Vec<[usize; BURSTS]> = (0..ORDERS as u64).map(order).collect();
    let sample = |i: usize| {
        let rng = Rng::new(seed, STREAM).fork(i as u64);
        let label = i % ORDERS;
        let mut spikes = vec![false; STEPS * BURSTS];
        for (k, spike) in spikes.iter_mut().enumerate() {
            *spike = rng.uniform_f64(k as u64) < noise;
        }
        // uniform_f64 has used two indices per cell.
        let base = 2 * spikes.len() as u64;
        let shift = 2 + rng.below(base, MAX_SHIFT) as usize;
        for (rank, &channel) in orders[label].iter().enumerate() {
            let bits = rng.bits(base + 1 + rank as u64);
            let jitter = (bits >> 31) as usize + (bits >> 30 & 1) as usize;
            spikes[(shift + GAP * rank + jitter - 1) * BURSTS + channel] = true;
        }
        train(&spikes, BURSTS, label)
    };
    dataset("burst order", BURSTS, ORDERS, (0..samples).map(sample).collect())
}

/// The order of the channels in a class.
fn order(class: u64) -> [usize; BURSTS] {
    let mut order = std::array::from_fn(|i| i);
    Rng::new(TASK_SEED, STREAM).fork(class).shuffle(&mut order);
    order
}

const PAIRS: usize = 2;
const LAGS: [usize; 3] = [4, 9, 15];
const SPIKES: usize = 6;

/// Lagged pairs: the class tells which of two pairs of channels is coupled and with which of three
/// lags (40, 90 or 150 ms).
///
/// A sample has 60 steps of 10 ms. Each of 4 channels spikes in 6 steps drawn at random, except
/// that the second channel of the coupled pair repeats the spikes of the first one lag later,
/// wrapping around at the end. Counts are the same in every sample. Labels are balanced.
#[must_use]
pub fn lagged_pairs(samples: usize, seed: u64) -> Dataset {
    let (channels, classes) = (2 * PAIRS, PAIRS * LAGS.len());
    let sample = |i: usize| {
        let rng = Rng::new(seed, STREAM).fork(i as u64);
        let label = i % classes;
        let (pair, lag) = (label % PAIRS, LAGS[label / PAIRS]);
        let mut spikes = vec![false; STEPS * channels];
        for channel in 0..channels {
            let coupled = channel == 2 * pair + 1;
            let (source, lag) = if coupled { (channel - 1, lag) } else { (channel, 0) };
            let mut steps: [usize; STEPS] = std::array::from_fn(|t| t);
            rng.fork(source as u64).shuffle(&mut steps);
            for t in &steps[..SPIKES] {
                spikes[(t + lag) % STEPS * channels + channel] = true;
            }
        }
        train(&spikes, channels, label)
    };
    dataset("lagged pairs", channels, classes, (0..samples).map(sample).collect())
}

fn train(spikes: &[bool], channels: usize, label: usize) -> SpikeTrain {
    let entry = |k| Entry { step: (k / channels) as u32, channel: (k % channels) as u16, count: 1 };
    let entries = (0..spikes.len()).filter(|&k| spikes[k]).map(entry).collect();
    SpikeTrain { steps: STEPS, entries, label: label as u16, ..Default::default() }
}

fn dataset(name: &str, channels: usize, classes: usize, samples: Vec<SpikeTrain>) -> Dataset {
    let class_names = (0..classes).map(|c| c.to_string()).collect();
    let (name, about) = (name.into(), About::default());
    Dataset { name, channels, classes, class_names, samples, dt_ms: DT_MS, about }
}
