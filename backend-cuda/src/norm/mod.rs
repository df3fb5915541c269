use crate::arguments::{NormApply, NormBackward, NormFinish, NormStatistics, RatePenalty};
use crate::backend::{Cuda, Sequence, lengths, padding, size};
use crate::device::{Buffer, Launch, Number, kernels};
use crate::error::Error;
use polychron_core::backend::{NormMode, View, ViewMut};
use polychron_core::loss;
use polychron_core::norm::{BatchNorm, ValidSteps};
use polychron_core::shape::{Shape, expect};
use std::rc::Rc;

/// Neurons and rows per block, as in `norm.cu`.
const LANES: usize = 32;
const ROWS: usize = 8;
const THREADS: u32 = (LANES * ROWS) as u32;

/// The number of blocks that divide the rows of a neuron among them.
fn slices(shape: Shape) -> usize {
    const LEAST_ROWS: usize = 16 * ROWS;
    const MOST: usize = 64;
    (shape.steps * shape.batch / LEAST_ROWS).clamp(1, MOST)
}

fn launch<R: Number>(shape: Shape, slices: usize) -> Launch {
    let shared = THREADS as usize * R::BYTES;
    Launch {
        grid: [shape.width.div_ceil(LANES) as u32, slices as u32, 1],
        threads: THREADS,
        shared,
    }
}

/// Writes `[mean | 1 / deviation]` to `saved`. In batch mode it also updates the running
/// statistics.
pub(crate) fn statistics<R: Number>(
    cuda: &Cuda<R>,
    norm: &BatchNorm<R>,
    mode: NormMode<'_, Buffer<R>>,
    valid: ValidSteps<'_>,
    y: &Sequence<R>,
    saved: &mut Buffer<R>,
) -> Result<(), Error> {
    let shape = y.shape;
    expect("norm's statistics", 2 * shape.width, saved.len())?;
    let width = size("width", shape.width)?;
    let finish = NormFinish {
        saved: saved.get_mut(),
        width,
        epsilon: norm.epsilon,
        ..NormFinish::default()
    };
    let each = Launch::each(shape.width, 256);
    let ViewMut { buffer, range } = match mode {
        NormMode::Running(running) => {
            expect("norm's running statistics", 2 * shape.width, running.range.len())?;
            let fixed = running.buffer.part(&running.range)?;
            return kernels::norm_finish(&cuda.device, each, &NormFinish { fixed, ..finish });
        }
        NormMode::Batch { running } => running,
    };
    expect("norm's running statistics", 2 * shape.width, range.len())?;
    let running = buffer.part_mut(&range)?;
    let counted = valid.count(shape.steps, shape.batch);
    let samples = cuda.lengths(valid, shape)?;
    let slices = slices(shape);
    let mut sums = cuda.scratch(slices * shape.width, "the norm's sums")?;
    let mut squares = cuda.scratch(slices * shape.width, "the norm's squares")?;
    let count = R::count(counted.max(1));
    let arguments = NormStatistics {
        squares: squares.get_mut(),
        count,
        ..sums_of(y, valid, &samples, &mut sums)?
    };
    kernels::norm_sums(&cuda.device, launch::<R>(shape, slices), &arguments)?;
    kernels::norm_squares(&cuda.device, launch::<R>(shape, slices), &arguments)?;
    let finish = NormFinish {
        sums: sums.get(),
        squares: squares.get(),
        running,
        slices: slices as u32,
        count,
        unbias: if counted > 1 { count / R::count(counted - 1) } else { R::one() },
        momentum: norm.momentum,
        ..finish
    };
    kernels::norm_finish(&cuda.device, each, &finish)
}

/// The arguments of the kernel `norm_sums`.
fn sums_of<'a, R: Number>(
    y: &'a Sequence<R>,
    valid: ValidSteps<'_>,
    samples: &'a Option<Rc<Buffer<u32>>>,
    sums: &'a mut Buffer<R>,
) -> Result<NormStatistics<'a, R>, Error> {
    Ok(NormStatistics {
        y: y.values.get(),
        valid: lengths(samples),
        sums: sums.get_mut(),
        padding: padding(valid),
        steps: size("steps", y.shape.steps)?,
        batch: size("batch", y.shape.batch)?,
        width: size("width", y.shape.width)?,
        ..NormStatistics::default()
    })
}

/// The penalty for the rates of neurons. Adds its gradient to `d`.
pub(crate) fn penalize_rates<R: Number>(
    cuda: &Cuda<R>,
    penalty: &loss::RatePenalty,
    valid: ValidSteps<'_>,
    spikes: &Sequence<R>,
    d: &mut Sequence<R>,
) -> Result<R, Error> {
    let shape = spikes.shape;
    shape.expect("penalty's gradient", d.shape)?;
    let samples = cuda.lengths(valid, shape)?;
    let slices = slices(shape);
    let launch = launch::<R>(shape, slices);
    let mut sums = cuda.scratch(slices * shape.width, "the sums of spikes")?;
    let counted = sums_of(spikes, valid, &samples, &mut sums)?;
    kernels::norm_sums(&cuda.device, launch, &counted)?;
    let NormStatistics { padding, steps, batch, width, .. } = counted;
    let mut penalties = Buffer::new(&cuda.device, shape.width, || "penalties for rates".into())?;
    let arguments = RatePenalty {
        sums: sums.get(),
        valid: lengths(&samples),
        penalties: penalties.get_mut(),
        d: d.values.get_mut(),
        weight: penalty.weight,
        low: penalty.low,
        high: penalty.high,
        count: valid.count(shape.steps, shape.batch).max(1) as f64,
        padding,
        steps,
        batch,
        width,
        slices: slices as u32,
    };
    kernels::rate_penalty(&cuda.device, Launch { shared: 0, ..launch }, &arguments)?;
    let mut host = vec![0.0; shape.width];
    penalties.download(&mut host)?;
    Ok(R::of(host.iter().sum()))
}

pub(crate) fn apply<R: Number>(
    cuda: &Cuda<R>,
    params: View<'_, Buffer<R>>,
    saved: &Buffer<R>,
    y: &Sequence<R>,
    z: &mut Sequence<R>,
) -> Result<(), Error> {
    let shape = y.shape;
    shape.expect("norm's output", z.shape)?;
    expect("norm's parameters", 2 * shape.width, params.range.len())?;
    expect("norm's statistics", 2 * shape.width, saved.len())?;
    let arguments = NormApply {
        params: params.buffer.part(&params.range)?,
        saved: saved.get(),
        y: y.values.get(),
        z: z.values.get_mut(),
        rows: (shape.steps * shape.batch) as u64,
        width: size("width", shape.width)?,
    };
    kernels::norm_apply(&cuda.device, Launch::each(shape.len(), 256), &arguments)
}

/// The gradients. Without `d_z` the upstream gradient is the content of `d_y`.
pub(crate) fn backward<R: Number>(
    cuda: &Cuda<R>,
    params: View<'_, Buffer<R>>,
    saved: &Buffer<R>,
    valid: ValidSteps<'_>,
    y: &Sequence<R>,
    d_z: Option<&Sequence<R>>,
    d_y: &mut Sequence<R>,
    d_params: ViewMut<'_, Buffer<R>>,
) -> Result<(), Error> {
    let shape = y.shape;
    expect("norm's parameters", 2 * shape.width, params.range.len())?;
    expect("norm's gradient", 2 * shape.width, d_params.range.len())?;
    expect("norm's statistics", 2 * shape.width, saved.len())?;
    let counted = valid.count(shape.steps, shape.batch).max(1);
    let samples = cuda.lengths(valid, shape)?;
    let slices = slices(shape);
    let mut gammas = cuda.scratch(slices * shape.width, "the norm's gradients")?;
    let mut betas = cuda.scratch(slices * shape.width, "the norm's gradients")?;
    let into = d_y.values.get_mut();
    let arguments = NormBackward {
        params: params.buffer.part(&params.range)?,
        saved: saved.get(),
        valid: lengths(&samples),
        y: y.values.get(),
        d_z: d_z.map_or_else(|| into.as_input(), |d_z| d_z.values.get()),
        d_y: into,
        gammas: gammas.get_mut(),
        betas: betas.get_mut(),
        d_params: d_params.buffer.part_mut(&d_params.range)?,
        padding: padding(valid),
        steps: size("steps", shape.steps)?,
        batch: size("batch", shape.batch)?,
        width: size("width", shape.width)?,
        slices: slices as u32,
        count: R::count(counted),
    };
    kernels::norm_gradient_sums(&cuda.device, launch::<R>(shape, slices), &arguments)?;
    kernels::norm_gradient_finish(&cuda.device, Launch::each(shape.width, 256), &arguments)?;
    kernels::norm_backward(&cuda.device, Launch::each(shape.len(), 256), &arguments)
}
