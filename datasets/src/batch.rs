use polychron_core::rng::Rng;

use crate::{Dataset, Error};

/// The generator's stream of batch orders: "batch" in ASCII.
const STREAM: u64 = 0x62_6174_6368;

/// Samples as one dense block.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseBatch {
    /// Steps T.
    pub steps: usize,
    /// Samples B.
    pub batch: usize,
    /// Channels N.
    pub channels: usize,
    /// Spike counts or real values, time-major `[T, B, N]`, 0 after the end of a sample.
    pub x: Vec<f32>,
    /// Class of each sample.
    pub labels: Vec<usize>,
    /// Length of each sample in steps, at most T.
    pub lengths: Vec<usize>,
}

impl DenseBatch {
    /// Assembles the samples at `indices`, padded with zeros or cut to `steps`, or padded to the
    /// longest of them.
    ///
    /// # Errors
    /// There are no indices, one is out of range, there are no steps, or the block does not fit
    /// into memory.
    pub fn assemble(
        data: &Dataset,
        indices: &[usize],
        steps: Option<usize>,
    ) -> Result<Self, Error> {
        let name = &data.name;
        let sample = |(b, &i): (usize, &usize)| {
            let problem = || format!("is not below {} samples", data.samples.len());
            data.samples
                .get(i)
                .ok_or_else(|| Error::value(name, format!("indices[{b}]"), i, problem()))
        };
        let samples = indices.iter().enumerate().map(sample).collect::<Result<Vec<_>, _>>()?;
        if samples.is_empty() {
            return Err(Error::value(name, "indices", "[]", "makes no batch"));
        }
        let longest = samples.iter().map(|s| s.steps).max().unwrap_or(0);
        let steps = steps.unwrap_or(longest);
        if steps == 0 {
            return Err(Error::value(name, "steps", 0, "makes no batch"));
        }
        let (batch, channels) = (samples.len(), data.channels);
        let mut x = zeros(steps, batch, channels).ok_or_else(|| {
            let problem = format!("of {batch} x {channels} do not fit into memory");
            Error::value(name, "steps", steps, problem)
        })?;
        for (b, sample) in samples.iter().enumerate() {
            for e in &sample.entries {
                let (t, n) = (e.step as usize, usize::from(e.channel));
                if t < steps && n < channels {
                    x[(t * batch + b) * channels + n] = e.count.into();
                }
            }
            if let Some(dense) = &sample.dense {
                let mut values = dense.values();
                for row in x.chunks_exact_mut(channels.max(1)).skip(b).step_by(batch) {
                    row.iter_mut().zip(&mut values).for_each(|(x, value)| *x = value);
                }
            }
        }
        Ok(Self {
            steps,
            batch,
            channels,
            x,
            labels: samples.iter().map(|s| s.label.into()).collect(),
            lengths: samples.iter().map(|s| s.steps.min(steps)).collect(),
        })
    }
}

fn zeros(steps: usize, batch: usize, channels: usize) -> Option<Vec<f32>> {
    let len = steps.checked_mul(batch)?.checked_mul(channels)?;
    let mut x = Vec::new();
    x.try_reserve_exact(len).ok()?;
    x.resize(len, 0.0);
    Some(x)
}

/// Cuts `indices` into batches of `batch_size` for an epoch: in an order drawn by `seed` and `epoch`
/// if `shuffle`, as given otherwise. The last batch may be smaller, or is dropped.
///
/// # Errors
/// `batch_size` is 0.
pub fn batches(
    indices: &[usize],
    batch_size: usize,
    seed: u64,
    epoch: u64,
    shuffle: bool,
    drop_last: bool,
) -> Result<Vec<Vec<usize>>, Error> {
    if batch_size == 0 {
        return Err(Error::value("batches", "batch_size", 0, "makes no batch"));
    }
    let mut order = indices.to_vec();
    if shuffle {
        Rng::new(seed, STREAM).fork(epoch).shuffle(&mut order);
    }
    let chunks = order.chunks(batch_size).filter(|c| !drop_last || c.len() == batch_size);
    Ok(chunks.map(<[usize]>::to_vec).collect())
}
