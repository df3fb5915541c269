use polychron_core::rng::Rng;

use crate::{Dataset, Error};

/// The generator's stream of batch orders: "batch" in ASCII.
const STREAM: u64 = 0x62_6174_6368;

/// Samples as one dense array, the input of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseBatch {
    /// Number of steps T.
    pub steps: usize,
    /// Number of samples B.
    pub batch: usize,
    /// Number of channels N.
    pub channels: usize,
    /// Spike counts or real values, `[T, B, N]` in row-major order; 0 after the end of a sample.
    pub x: Vec<f32>,
    /// Class of each sample.
    pub labels: Vec<usize>,
    /// Length of each sample in steps, at most T.
    pub lengths: Vec<usize>,
}

impl DenseBatch {
    /// Assembles the samples at `indices`. They are padded with zeros or truncated to `steps`, or
    /// padded to the longest one.
    ///
    /// # Errors
    /// `indices` is empty or holds an index out of range, the block has no steps, or it does not
    /// fit into memory.
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
            return Err(Error::value(
                name,
                "indices",
                "[]",
                "is empty; a batch needs at least one sample",
            ));
        }
        let longest = samples.iter().map(|s| s.steps).max().unwrap_or(0);
        let steps = steps.unwrap_or(longest);
        if steps == 0 {
            return Err(Error::value(
                name,
                "steps",
                0,
                "is not a length; a batch needs at least one step",
            ));
        }
        let (batch, channels) = (samples.len(), data.channels);
        let mut x = zeros(steps, batch, channels).ok_or_else(|| {
            let problem =
                format!("of {batch} samples of {channels} channels do not fit into memory");
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

/// Divides `indices` into batches of `batch_size`. With `shuffle`, `seed` and `epoch` determine a
/// random order; otherwise the order is kept. A last batch that is smaller is dropped with
/// `drop_last`.
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
        return Err(Error::value("batches", "batch_size", 0, "is not a size; use at least 1"));
    }
    let mut order = indices.to_vec();
    if shuffle {
        Rng::new(seed, STREAM).fork(epoch).shuffle(&mut order);
    }
    let chunks = order.chunks(batch_size).filter(|c| !drop_last || c.len() == batch_size);
    Ok(chunks.map(<[usize]>::to_vec).collect())
}
