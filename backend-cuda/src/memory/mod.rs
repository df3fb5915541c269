use crate::arguments::{Add, Dropout, Events, Finite, Scale, Squares, SumRows};
use crate::backend::{Cuda, Sequence, same, size};
use crate::device::{Buffer, In, Launch, Number, Out, kernels};
use crate::error::Error;
use polychron_core::backend::Event;
use polychron_core::rng::Rng;
use polychron_core::shape::expect;

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
    same("sum of sequences", x.shape, sum.shape)?;
    let len = x.values.len();
    let arguments = Add { x: x.values.get(), sum: sum.values.get_mut(), len: len as u64 };
    kernels::add(&cuda.device, Launch::each(len, 256), &arguments)
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

/// `out = scale * sum over the rows` of a block `[rows, columns]`.
pub(crate) fn sum_rows<R: Number>(
    cuda: &Cuda<R>,
    values: In<'_, R>,
    out: Out<'_, R>,
    rows: usize,
    columns: usize,
    scale: R,
) -> Result<(), Error> {
    const THREADS: u32 = 1024;
    let columns = size("columns", columns)?;
    let arguments = SumRows { values, out, rows: rows as u64, columns, scale };
    let shared = THREADS as usize * R::BYTES;
    let launch = Launch { grid: [columns, 1, 1], threads: THREADS, shared };
    kernels::sum_rows(&cuda.device, launch, &arguments)
}
