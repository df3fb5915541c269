use crate::arguments::{Dropout, Elementwise, Events, Finite, RepeatRows, Scale, Squares, SumRows};
use crate::backend::{Cuda, Sequence, size};
use crate::device::{Buffer, In, Launch, Number, Out, kernels};
use crate::error::Error;
use polychron_core::backend::Event;
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, expect};
use std::ops::Range;

pub(crate) fn upload_events<R: Number>(
    cuda: &Cuda<R>,
    events: &[Event<R>],
    to: &mut Sequence<R>,
) -> Result<(), Error> {
    let (shape, len) = (to.shape, to.values.len());
    Event::check(events, shape)?;
    if len > u32::MAX as usize || events.len() * (R::BYTES + size_of::<u32>()) > len * R::BYTES {
        let mut dense = vec![R::zero(); len];
        for event in events {
            dense[event.at(shape)] = event.value;
        }
        return to.values.upload(&dense);
    }
    let places: Vec<_> = events.iter().map(|event| event.at(shape) as u32).collect();
    let values: Vec<_> = events.iter().map(|event| event.value).collect();
    let places = Buffer::of(&cuda.device, &places, "the places of events")?;
    let values = Buffer::of(&cuda.device, &values, "the values of events")?;
    to.values.clear()?;
    let arguments = Events {
        places: places.get(),
        values: values.get(),
        to: to.values.get_mut(),
        events: events.len() as u64,
        len: len as u64,
    };
    kernels::scatter(&cuda.device, Launch::each(events.len(), 256), &arguments)
}

pub(crate) fn add<R: Number>(
    cuda: &Cuda<R>,
    x: &Sequence<R>,
    sum: &mut Sequence<R>,
) -> Result<(), Error> {
    x.shape.expect("sum of sequences", sum.shape)?;
    add_buffer(cuda, &x.values, &mut sum.values, x.values.len())
}

pub(crate) fn add_buffer<R: Number>(
    cuda: &Cuda<R>,
    x: &Buffer<R>,
    sum: &mut Buffer<R>,
    len: usize,
) -> Result<(), Error> {
    expect("sum of buffers", len, x.len())?;
    expect("sum of buffers", len, sum.len())?;
    let arguments = Elementwise { x: x.get(), to: sum.get_mut(), len: len as u64 };
    kernels::add(&cuda.device, Launch::each(len, 256), &arguments)
}

pub(crate) fn join<R: Number>(
    cuda: &Cuda<R>,
    first: &Sequence<R>,
    second: &Sequence<R>,
    joined: &mut Sequence<R>,
) -> Result<(), Error> {
    let steps = first.shape.steps.saturating_add(second.shape.steps);
    Shape { steps, ..first.shape }.expect("joined sequence", joined.shape)?;
    Shape { steps, ..second.shape }.expect("joined sequence", joined.shape)?;
    let edge = first.values.len();
    let to = &mut joined.values;
    copy(cuda, &first.values, 0..edge, to, 0..edge)?;
    copy(cuda, &second.values, 0..second.values.len(), to, edge..edge + second.values.len())
}

pub(crate) fn copy_last<R: Number>(
    cuda: &Cuda<R>,
    x: &Sequence<R>,
    last: &mut Sequence<R>,
) -> Result<(), Error> {
    let steps = x.shape.steps.min(last.shape.steps);
    Shape { steps, ..x.shape }.expect("last steps", last.shape)?;
    let (all, some) = (x.values.len(), last.values.len());
    copy(cuda, &x.values, all - some..all, &mut last.values, 0..some)
}

pub(crate) fn copy<R: Number>(
    cuda: &Cuda<R>,
    from: &Buffer<R>,
    part: Range<usize>,
    to: &mut Buffer<R>,
    place: Range<usize>,
) -> Result<(), Error> {
    let len = part.len();
    let (x, to) = (from.part(&part)?, to.part_mut(&place)?);
    kernels::copy(&cuda.device, Launch::each(len, 256), &Elementwise { x, to, len: len as u64 })
}

pub(crate) fn scale<R: Number>(
    cuda: &Cuda<R>,
    factor: R,
    buffer: &mut Buffer<R>,
    len: usize,
) -> Result<(), Error> {
    expect("buffer", buffer.len(), len)?;
    let arguments = Scale { values: buffer.get_mut(), len: len as u64, factor };
    kernels::scale(&cuda.device, Launch::each(len, 256), &arguments)
}

pub(crate) fn square_sum<R: Number>(
    cuda: &Cuda<R>,
    buffer: &Buffer<R>,
    len: usize,
) -> Result<f64, Error> {
    const THREADS: u32 = 256;
    /// The order of the sum depends on the number of blocks, which depends on `len` alone.
    const MOST_BLOCKS: u32 = 256;
    expect("buffer", buffer.len(), len)?;
    let grid = Launch::each(len, THREADS).grid.map(|blocks| blocks.min(MOST_BLOCKS));
    let mut host = vec![0.0; grid[0] as usize];
    let mut sums = Buffer::new(&cuda.device, host.len(), || "sums of squares".to_owned())?;
    let arguments = Squares { values: buffer.get(), sums: sums.get_mut(), len: len as u64 };
    let shared = THREADS as usize * size_of::<f64>();
    kernels::square_sums(&cuda.device, Launch { grid, threads: THREADS, shared }, &arguments)?;
    sums.download(&mut host)?;
    Ok(host.iter().sum())
}

pub(crate) fn are_finite<R: Number>(
    cuda: &Cuda<R>,
    buffers: &[(&Buffer<R>, usize)],
) -> Result<bool, Error> {
    let mut found = Buffer::<u32>::zeros(&cuda.device, 1, || "a flag".to_owned())?;
    for &(buffer, len) in buffers {
        expect("buffer", buffer.len(), len)?;
        if len == 0 {
            continue;
        }
        let arguments = Finite { values: buffer.get(), found: found.get_mut(), len: len as u64 };
        kernels::find_not_finite(&cuda.device, Launch::each(len, 256), &arguments)?;
    }
    let mut flag = [0];
    found.download(&mut flag)?;
    Ok(flag == [0])
}

pub(crate) fn dropout<R: Number>(
    cuda: &Cuda<R>,
    rng: Rng,
    p: f64,
    len: usize,
) -> Result<Buffer<R>, Error> {
    let mut mask = cuda.scratch(len, "a dropout mask")?;
    let (seed, stream) = rng.key();
    let keep = R::of(1.0 / (1.0 - p));
    let arguments =
        Dropout { mask: mask.get_mut(), len: len as u64, seed, stream, probability: p, keep };
    kernels::dropout(&cuda.device, Launch::each(len, 256), &arguments)?;
    Ok(mask)
}

/// `out[group, column] = scale * sum over the rows` of a block `[groups, rows, columns]`.
pub(crate) fn sum_rows<R: Number>(
    cuda: &Cuda<R>,
    values: In<'_, R>,
    out: Out<'_, R>,
    [groups, rows, columns]: [usize; 3],
    scale: R,
) -> Result<(), Error> {
    const THREADS: u32 = 1024;
    let sums = size("sums of rows", groups.saturating_mul(columns))?;
    let columns = size("columns", columns)?;
    let arguments = SumRows { values, out, rows: rows as u64, columns, scale };
    let shared = THREADS as usize * R::BYTES;
    let launch = Launch { grid: [sums, 1, 1], threads: THREADS, shared };
    kernels::sum_rows(&cuda.device, launch, &arguments)
}

/// The transpose of [`sum_rows`]: `out[group, row, column] = values[group, column]`.
pub(crate) fn repeat_rows<R: Number>(
    cuda: &Cuda<R>,
    values: In<'_, R>,
    out: Out<'_, R>,
    [_, rows, columns]: [usize; 3],
) -> Result<(), Error> {
    let (len, columns) = (out.len(), size("columns", columns)?);
    let arguments = RepeatRows { values, out, len: len as u64, rows: rows as u64, columns };
    kernels::repeat_rows(&cuda.device, Launch::each(len, 256), &arguments)
}
