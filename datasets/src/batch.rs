use crate::{Dataset, Error, SpikeTrain};
use polychron_core::rng::Rng;
use polychron_core::shape::Shape;
use std::borrow::Cow;

/// The generator's stream of batch orders: "batch" in ASCII.
const STREAM: u64 = 0x62_6174_6368;

/// Samples as one block, the input of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleBatch {
    /// Number of steps T.
    pub steps: usize,
    /// Number of samples B.
    pub batch: usize,
    /// Number of channels N.
    pub channels: usize,
    /// The values of the block.
    pub values: Values,
    /// Class of each sample.
    pub labels: Vec<usize>,
    /// Length of each sample in steps, at most T.
    pub lengths: Vec<usize>,
}

/// The values `[T, B, N]` of a [`SampleBatch`]; they are 0 after the end of a sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Spike counts, sorted by sample, step and channel.
    Events(Vec<Event>),
    /// Real values in row-major order, if the samples are dense.
    Dense(Vec<f32>),
}

/// An event of a batch.
pub type Event = polychron_core::shape::Event<f32>;

impl SampleBatch {
    /// The block in row-major order.
    #[must_use]
    pub fn dense(&self) -> Cow<'_, [f32]> {
        let shape = Shape::new(self.steps, self.batch, self.channels);
        match &self.values {
            Values::Dense(x) => Cow::Borrowed(x),
            Values::Events(events) => {
                let mut x = vec![0.0; shape.len()];
                for event in events {
                    if let Some(x) = x.get_mut(event.at(shape)) {
                        *x = event.value;
                    }
                }
                Cow::Owned(x)
            }
        }
    }

    /// The share of values that are not 0.
    #[must_use]
    pub fn density(&self) -> f64 {
        let filled = match &self.values {
            Values::Dense(x) => x.iter().filter(|&&x| x != 0.0).count(),
            Values::Events(events) => events.len(),
        };
        filled as f64 / (self.steps * self.batch * self.channels).max(1) as f64
    }

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
        let problem = || {
            let problem =
                format!("of {batch} samples of {channels} channels do not fit into memory");
            Error::value(name, "steps", steps, problem)
        };
        let len = steps.checked_mul(batch).and_then(|rows| rows.checked_mul(channels));
        let len = len.ok_or_else(problem)?;
        let values = if samples.iter().any(|sample| sample.dense.is_some()) {
            let mut x = Vec::new();
            x.try_reserve_exact(len).map_err(|_| problem())?;
            x.resize(len, 0.0);
            fill(&mut x, &samples, steps, channels);
            Values::Dense(x)
        } else {
            Values::Events(events(&samples, steps, channels))
        };
        Ok(Self {
            steps,
            batch,
            channels,
            values,
            labels: samples.iter().map(|s| s.label.into()).collect(),
            lengths: samples.iter().map(|s| s.steps.min(steps)).collect(),
        })
    }
}

/// Writes samples to a block of zeros.
fn fill(x: &mut [f32], samples: &[&SpikeTrain], steps: usize, channels: usize) {
    let shape = Shape::new(steps, samples.len(), channels);
    for event in events(samples, steps, channels) {
        x[event.at(shape)] = event.value;
    }
    for (b, sample) in samples.iter().enumerate() {
        let Some(dense) = &sample.dense else { continue };
        let mut values = dense.values();
        for row in x.chunks_exact_mut(channels.max(1)).skip(b).step_by(samples.len()) {
            row.iter_mut().zip(&mut values).for_each(|(x, value)| *x = value);
        }
    }
}

/// The spikes of samples within the block.
fn events(samples: &[&SpikeTrain], steps: usize, channels: usize) -> Vec<Event> {
    let mut events = Vec::new();
    for (sample, train) in (0..).zip(samples) {
        for entry in &train.entries {
            if (entry.step as usize) < steps && usize::from(entry.channel) < channels {
                let (step, channel) = (entry.step, entry.channel.into());
                events.push(Event { sample, step, channel, value: entry.count.into() });
            }
        }
    }
    events
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
