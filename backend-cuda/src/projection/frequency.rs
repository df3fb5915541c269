//! Delayed projections as products of spectra.

use super::{Gradients, Projection};
use crate::arguments::{Complex, Product, Taps, ToSequence, ToSpectrum};
use crate::backend::{Cuda, Sequence, size};
use crate::device::{Buffer, Device, Launch, Number, SHARED, kernels};
use crate::error::Error;
use polychron_core::shape::{Shape, Synapses};
use std::ops::Range;
use std::rc::Rc;

/// Threads of a transforming block, as in `transform.cu` and `taps.cu`.
const THREADS: u32 = 256;
/// A block has at most 2^4 pairs of columns: a warp then reads 128 bytes of a row.
const LOG_PAIRS: u32 = 4;
/// Bytes of kernel spectra in memory at a time; further outputs are processed in later turns.
const KERNELS: usize = 128 << 20;
/// Tiles of a product, as in `product.cu`.
const COLUMNS: usize = 64;
const ROWS: usize = 128;
const FEW_ROWS: usize = 16;
const DEPTH: usize = 8;

/// The transforms of a projection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// The length of a transform in steps: 2^n, 3 2^n or 5 2^n.
    length: usize,
    /// The base-2 logarithm of the pairs of columns in a block. It is the same on every device,
    /// since the two columns of a pair share their rounding.
    log_pairs: u32,
    /// The number of outputs whose kernels are in memory at a time.
    outputs: usize,
}

impl Plan {
    /// `None` if a column does not fit the shared memory of a block.
    pub(super) fn new<R: Number>(synapses: &Synapses, x: Shape, y: Shape) -> Option<Self> {
        let empty = x.is_empty() || y.is_empty() || synapses.weights() == 0;
        let longest = synapses.taps.checked_sub(1).filter(|_| !empty)?;
        let least = x.steps.checked_add(longest)?.max(y.steps).max(2);
        let double =
            |n: usize| n.checked_mul(1 << least.div_ceil(n).checked_next_power_of_two()?.ilog2());
        let length = [2, 6, 10].into_iter().filter_map(double).min()?;
        let log_pairs = (0..=LOG_PAIRS).rev().find(|&n| shared::<R>(length, n) <= SHARED)?;
        let output = (length / 2 + 1) * synapses.inputs * 2 * R::BYTES;
        let outputs = (KERNELS / output.max(1)).clamp(1, synapses.outputs);
        Some(Self { length, log_pairs, outputs })
    }

    pub(super) fn bins(&self) -> usize {
        self.length / 2 + 1
    }

    /// The launch that transforms `columns` columns.
    fn launch<R: Number>(&self, columns: usize) -> Result<Launch, Error> {
        let blocks = size("blocks of columns", columns.div_ceil(2 << self.log_pairs))?;
        let shared = shared::<R>(self.length, self.log_pairs);
        Ok(Launch { grid: [blocks, 1, 1], threads: THREADS, shared })
    }

    /// The ranges of outputs processed in turn.
    fn turns(&self, outputs: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let each = self.outputs;
        (0..outputs).step_by(each).map(move |first| first..outputs.min(first + each))
    }
}

/// Bytes of shared memory: the columns and one number per thread.
fn shared<R: Number>(length: usize, log_pairs: u32) -> usize {
    ((length << (log_pairs + 1)) + THREADS as usize) * R::BYTES
}

/// The tables for transforms of one length.
#[derive(Debug)]
pub(crate) struct Tables<R> {
    /// exp(-2 pi i k / length).
    roots: Buffer<Complex<R>>,
    /// The place of bin k after the forward transform: a permutation of `0..length`.
    places: Buffer<u32>,
}

impl<R: Number> Tables<R> {
    pub(crate) fn new(device: &Rc<Device>, length: usize) -> Result<Self, Error> {
        let root = |k: usize| {
            let angle = -std::f64::consts::TAU * k as f64 / length as f64;
            Complex { re: R::of(angle.cos()), im: R::of(angle.sin()) }
        };
        let place = |mut k: usize| {
            let (mut place, mut n) = (0, length);
            while n > 1 {
                let radix = radix(n);
                n /= radix;
                place += k % radix * n;
                k /= radix;
            }
            place as u32
        };
        let (roots, places): (Vec<_>, Vec<_>) = (0..length).map(|k| (root(k), place(k))).unzip();
        Ok(Self {
            roots: Buffer::of(device, &roots, "the roots of a transform")?,
            places: Buffer::of(device, &places, "the order of a transform")?,
        })
    }
}

/// The radix of the stage over blocks of `n` steps, as in `fourier.h`.
fn radix(n: usize) -> usize {
    [5, 3, 4].into_iter().find(|radix| n.is_multiple_of(*radix)).unwrap_or(2)
}

type Spectrum<R> = Buffer<Complex<R>>;

fn spectrum<R: Number>(cuda: &Cuda<R>, plan: &Plan, columns: usize) -> Result<Spectrum<R>, Error> {
    let (bins, len) = (plan.bins(), plan.bins() * columns);
    let what = || format!("a spectrum of {bins} bins x {columns} columns of {}", R::NAME);
    Buffer::new(&cuda.device, len, what)
}

fn to_spectrum<R: Number>(
    cuda: &Cuda<R>,
    plan: &Plan,
    x: &Sequence<R>,
) -> Result<Spectrum<R>, Error> {
    let columns = x.shape.batch * x.shape.width;
    let mut spectrum = spectrum(cuda, plan, columns)?;
    let tables = cuda.tables(plan.length)?;
    let arguments = ToSpectrum {
        sequence: x.values.get(),
        roots: tables.roots.get(),
        places: tables.places.get(),
        spectrum: spectrum.get_mut(),
        columns: columns as u64,
        steps: size("steps", x.shape.steps)?,
        length: plan.length as u32,
        log_pairs: plan.log_pairs,
    };
    kernels::sequence_to_spectrum(&cuda.device, plan.launch::<R>(columns)?, &arguments)?;
    Ok(spectrum)
}

fn to_sequence<R: Number>(
    cuda: &Cuda<R>,
    plan: &Plan,
    spectrum: &Spectrum<R>,
    x: &mut Sequence<R>,
) -> Result<(), Error> {
    let columns = x.shape.batch * x.shape.width;
    let tables = cuda.tables(plan.length)?;
    let arguments = ToSequence {
        spectrum: spectrum.get(),
        roots: tables.roots.get(),
        places: tables.places.get(),
        sequence: x.values.get_mut(),
        columns: columns as u64,
        steps: size("steps", x.shape.steps)?,
        length: plan.length as u32,
        log_pairs: plan.log_pairs,
    };
    kernels::spectrum_to_sequence(&cuda.device, plan.launch::<R>(columns)?, &arguments)
}

/// The arguments for the kernels of some outputs, without a spectrum.
fn taps<'a, R: Number>(
    plan: &Plan,
    projection: &Projection<'a, R>,
    outputs: &Range<usize>,
) -> Taps<'a, R> {
    let inputs = projection.synapses.inputs;
    Taps {
        first: (outputs.start * inputs) as u64,
        synapses: (outputs.len() * inputs) as u64,
        length: plan.length as u32,
        log_pairs: plan.log_pairs,
        ..projection.taps()
    }
}

fn kernels_of<R: Number>(
    cuda: &Cuda<R>,
    plan: &Plan,
    projection: &Projection<'_, R>,
    outputs: &Range<usize>,
) -> Result<Spectrum<R>, Error> {
    let synapses = outputs.len() * projection.synapses.inputs;
    let mut spectrum = spectrum(cuda, plan, synapses)?;
    let tables = cuda.tables(plan.length)?;
    let arguments = Taps {
        roots: tables.roots.get(),
        places: tables.places.get(),
        spectrum: spectrum.get_mut(),
        ..taps(plan, projection, outputs)
    };
    kernels::taps_to_spectrum(&cuda.device, plan.launch::<R>(synapses)?, &arguments)?;
    Ok(spectrum)
}

type Multiply<R> = fn(&Device, Launch, &Product<'_, R>) -> Result<(), Error>;

/// The product in every bin, with the tile that suits the number of rows.
fn multiply<R: Number>(
    cuda: &Cuda<R>,
    plan: &Plan,
    [wide, few]: [Multiply<R>; 2],
    arguments: &Product<'_, R>,
) -> Result<(), Error> {
    let (rows, columns) = (arguments.rows as usize, arguments.columns as usize);
    let (kernel, tile, each) =
        if rows <= 2 * FEW_ROWS { (few, FEW_ROWS, 4) } else { (wide, ROWS, 8) };
    let launch = Launch {
        grid: [columns.div_ceil(COLUMNS) as u32, rows.div_ceil(tile) as u32, plan.bins() as u32],
        threads: (tile / each * COLUMNS / 4) as u32,
        shared: 2 * DEPTH * (tile + 1 + COLUMNS + 1) * 2 * R::BYTES,
    };
    kernel(&cuda.device, launch, arguments)
}

pub(super) fn forward<R: Number>(
    cuda: &Cuda<R>,
    plan: &Plan,
    projection: &Projection<'_, R>,
    x: &Sequence<R>,
    y: &mut Sequence<R>,
) -> Result<(), Error> {
    let Synapses { inputs, outputs, .. } = projection.synapses;
    let batch = x.shape.batch;
    let x = to_spectrum(cuda, plan, x)?;
    let mut sums = spectrum(cuda, plan, batch * outputs)?;
    let all = sums.len();
    for part in plan.turns(outputs) {
        let kernels = kernels_of(cuda, plan, projection, &part)?;
        let arguments = Product {
            a: x.get(),
            b: kernels.get(),
            c: sums.part_mut(&(part.start..all))?,
            a_bin: (batch * inputs) as u64,
            b_bin: (part.len() * inputs) as u64,
            c_bin: (batch * outputs) as u64,
            a_leading: inputs as u32,
            b_leading: inputs as u32,
            c_leading: outputs as u32,
            rows: batch as u32,
            columns: part.len() as u32,
            depth: inputs as u32,
            accumulate: 0,
        };
        let ways = [kernels::product_forward, kernels::product_forward_few_rows];
        multiply(cuda, plan, ways, &arguments)?;
    }
    drop(x);
    to_sequence(cuda, plan, &sums, y)
}

pub(super) fn backward<R: Number>(
    cuda: &Cuda<R>,
    plan: &Plan,
    projection: &Projection<'_, R>,
    x: &Sequence<R>,
    d_y: &Sequence<R>,
    gradients: Gradients<'_, R>,
    d_x: &mut Option<&mut Sequence<R>>,
) -> Result<(), Error> {
    let d_y = to_spectrum(cuda, plan, d_y)?;
    if let Some(d_x) = d_x {
        by_input(cuda, plan, projection, &d_y, d_x)?;
    }
    let Synapses { inputs, outputs, .. } = projection.synapses;
    let batch = x.shape.batch;
    let x = to_spectrum(cuda, plan, x)?;
    let tables = cuda.tables(plan.length)?;
    let Gradients { weights, delays, sigma } = gradients;
    for part in plan.turns(outputs) {
        let synapses = part.len() * inputs;
        let mut d_kernels = spectrum(cuda, plan, synapses)?;
        let arguments = Product {
            a: d_y.part(&(part.start..d_y.len()))?,
            b: x.get(),
            c: d_kernels.get_mut(),
            a_bin: (batch * outputs) as u64,
            b_bin: (batch * inputs) as u64,
            c_bin: synapses as u64,
            a_leading: outputs as u32,
            b_leading: inputs as u32,
            c_leading: inputs as u32,
            rows: part.len() as u32,
            columns: inputs as u32,
            depth: batch as u32,
            accumulate: 0,
        };
        let ways = [kernels::product_kernel, kernels::product_kernel_few_rows];
        multiply(cuda, plan, ways, &arguments)?;
        let arguments = Taps {
            roots: tables.roots.get(),
            places: tables.places.get(),
            d_spectrum: d_kernels.get(),
            d_weights: weights.reborrow(),
            d_delays: delays.reborrow(),
            d_sigma: sigma.reborrow(),
            ..taps(plan, projection, &part)
        };
        kernels::taps_from_spectrum(&cuda.device, plan.launch::<R>(synapses)?, &arguments)?;
    }
    Ok(())
}

fn by_input<R: Number>(
    cuda: &Cuda<R>,
    plan: &Plan,
    projection: &Projection<'_, R>,
    d_y: &Spectrum<R>,
    d_x: &mut Sequence<R>,
) -> Result<(), Error> {
    let Synapses { inputs, outputs, .. } = projection.synapses;
    let batch = d_x.shape.batch;
    let mut sums = spectrum(cuda, plan, batch * inputs)?;
    for part in plan.turns(outputs) {
        let kernels = kernels_of(cuda, plan, projection, &part)?;
        let arguments = Product {
            a: d_y.part(&(part.start..d_y.len()))?,
            b: kernels.get(),
            c: sums.get_mut(),
            a_bin: (batch * outputs) as u64,
            b_bin: (part.len() * inputs) as u64,
            c_bin: (batch * inputs) as u64,
            a_leading: outputs as u32,
            b_leading: inputs as u32,
            c_leading: inputs as u32,
            rows: batch as u32,
            columns: inputs as u32,
            depth: part.len() as u32,
            accumulate: u32::from(part.start > 0),
        };
        let ways = [kernels::product_input, kernels::product_input_few_rows];
        multiply(cuda, plan, ways, &arguments)?;
    }
    to_sequence(cuda, plan, &sums, d_x)
}
