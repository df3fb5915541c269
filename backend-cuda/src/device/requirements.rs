//! What each kernel requires of its arguments and its launch, so that it accesses only its blocks
//! and its shared memory.
//!
//! A kernel reads and writes at the indices that follow from the sizes in its arguments. Each
//! function here bounds these indices for one kernel; it has the kernel's name or that of a group.
//! The values in device memory matter in one place: `places` holds a permutation of `0..length`,
//! which `Tables::new` writes.

mod neuron;

use super::{In, Launch, Number, Out};
use crate::arguments::*;
pub(super) use neuron::{neuron_backward, neuron_forward, recurrent_backward, recurrent_forward};
use polychron_core::shape::{ShapeError, expect};

type Checked = Result<(), ShapeError>;

/// A field that refers to a block.
trait Block {
    fn is_null(&self) -> bool;
    fn size(&self) -> usize;
}

impl<T> Block for In<'_, T> {
    fn is_null(&self) -> bool {
        self.address() == 0
    }

    fn size(&self) -> usize {
        self.len()
    }
}

impl<T> Block for Out<'_, T> {
    fn is_null(&self) -> bool {
        self.address() == 0
    }

    fn size(&self) -> usize {
        self.len()
    }
}

/// A size from the arguments; products of three fit.
fn n(size: impl Into<u64>) -> u128 {
    size.into().into()
}

fn at_least(what: &'static str, expected: u128, found: usize) -> Checked {
    if expected <= found as u128 {
        return Ok(());
    }
    Err(ShapeError { what, expected: expected.try_into().unwrap_or(usize::MAX), found })
}

/// Requires `expected` numbers in a block.
fn holds(what: &'static str, block: &impl Block, expected: u128) -> Checked {
    at_least(what, expected, block.size())
}

/// As [`holds`], for a block that may be absent.
fn holds_if_any(what: &'static str, block: &impl Block, expected: u128) -> Checked {
    if block.is_null() { Ok(()) } else { holds(what, block, expected) }
}

/// Requires shared memory for `expected` numbers in every block of threads.
fn shared<R: Number>(launch: &Launch, expected: u128) -> Checked {
    at_least("bytes of shared memory", expected * R::BYTES as u128, launch.shared)
}

fn threads(launch: &Launch, expected: u32) -> Checked {
    expect("threads of a block", expected as usize, launch.threads as usize)
}

/// Requires one block of threads for each of `expected` results.
fn blocks(launch: &Launch, expected: u32) -> Checked {
    expect("blocks of threads", expected as usize, launch.grid[0] as usize)
}

pub(super) fn dropout<R: Number>(a: &Dropout<'_, R>, _: &Launch) -> Checked {
    holds("dropout's mask", &a.mask, n(a.len))
}

pub(super) fn find_not_finite<R: Number>(a: &Finite<'_, R>, _: &Launch) -> Checked {
    holds("values to check", &a.values, n(a.len))?;
    holds("the flag", &a.found, 1)
}

pub(super) fn scatter<R: Number>(a: &Events<'_, R>, _: &Launch) -> Checked {
    holds("places of events", &a.places, n(a.events))?;
    holds("values of events", &a.values, n(a.events))?;
    holds("sequence of events", &a.to, n(a.len))
}

pub(super) fn elementwise<R: Number>(a: &Elementwise<'_, R>, _: &Launch) -> Checked {
    holds("values to read", &a.x, n(a.len))?;
    holds("values to write", &a.to, n(a.len))
}

pub(super) fn scale<R: Number>(a: &Scale<'_, R>, _: &Launch) -> Checked {
    holds("values to scale", &a.values, n(a.len))
}

pub(super) fn square_sums<R: Number>(a: &Squares<'_, R>, launch: &Launch) -> Checked {
    shared::<f64>(launch, n(launch.threads))?;
    holds("values to square", &a.values, n(a.len))?;
    holds("sums of squares", &a.sums, n(launch.grid[0]))
}

pub(super) fn sum_rows<R: Number>(a: &SumRows<'_, R>, launch: &Launch) -> Checked {
    let sums = launch.grid[0];
    if !sums.is_multiple_of(a.columns) {
        let (expected, found) = (a.columns as usize, sums as usize);
        return Err(ShapeError { what: "sums of rows", expected, found });
    }
    shared::<R>(launch, n(launch.threads))?;
    holds("rows to sum", &a.values, n(a.rows) * n(sums))?;
    holds("sums of rows", &a.out, n(sums))
}

pub(super) fn repeat_rows<R: Number>(a: &RepeatRows<'_, R>, _: &Launch) -> Checked {
    if a.len == 0 {
        return Ok(());
    }
    let group = n(a.rows) * n(a.columns);
    at_least("a group of rows", 1, usize::try_from(group).unwrap_or(usize::MAX))?;
    holds("rows to repeat", &a.values, n(a.len).div_ceil(group) * n(a.columns))?;
    holds("repeated rows", &a.out, n(a.len))
}

pub(super) fn adam<R: Number>(a: &AdamStep<'_, R>, _: &Launch) -> Checked {
    holds("Adam's gradient", &a.gradient, n(a.len))?;
    holds("Adam's parameters", &a.params, n(a.len))?;
    holds("Adam's first moments", &a.first, n(a.len))?;
    holds("Adam's second moments", &a.second, n(a.len))
}

/// The launch of a reduction over `norm.cu`'s blocks of 32 neurons x 8 rows.
fn norm_reduction<R: Number>(launch: &Launch) -> Checked {
    threads(launch, 256)?;
    shared::<R>(launch, 256)
}

fn norm_statistics<R: Number>(a: &NormStatistics<'_, R>, launch: &Launch) -> Checked {
    norm_reduction::<R>(launch)?;
    holds("norm's input", &a.y, n(a.steps) * n(a.batch) * n(a.width))?;
    holds_if_any("norm's lengths", &a.valid, n(a.batch))?;
    holds("norm's sums", &a.sums, n(launch.grid[1]) * n(a.width))
}

pub(super) fn norm_sums<R: Number>(a: &NormStatistics<'_, R>, launch: &Launch) -> Checked {
    norm_statistics(a, launch)
}

pub(super) fn norm_squares<R: Number>(a: &NormStatistics<'_, R>, launch: &Launch) -> Checked {
    norm_statistics(a, launch)?;
    holds("norm's squares", &a.squares, n(launch.grid[1]) * n(a.width))
}

pub(super) fn norm_finish<R: Number>(a: &NormFinish<'_, R>, _: &Launch) -> Checked {
    holds("norm's statistics", &a.saved, 2 * n(a.width))?;
    if a.slices == 0 {
        return holds("norm's running statistics", &a.fixed, 2 * n(a.width));
    }
    holds("norm's sums", &a.sums, n(a.slices) * n(a.width))?;
    holds("norm's squares", &a.squares, n(a.slices) * n(a.width))?;
    holds("norm's running statistics", &a.running, 2 * n(a.width))
}

pub(super) fn norm_apply<R: Number>(a: &NormApply<'_, R>, _: &Launch) -> Checked {
    holds("norm's parameters", &a.params, 2 * n(a.width))?;
    holds("norm's statistics", &a.saved, 2 * n(a.width))?;
    holds("norm's input", &a.y, n(a.rows) * n(a.width))?;
    holds("norm's output", &a.z, n(a.rows) * n(a.width))
}

pub(super) fn norm_gradient_sums<R: Number>(a: &NormBackward<'_, R>, launch: &Launch) -> Checked {
    norm_reduction::<R>(launch)?;
    holds("norm's statistics", &a.saved, 2 * n(a.width))?;
    holds_if_any("norm's lengths", &a.valid, n(a.batch))?;
    holds("norm's input", &a.y, n(a.steps) * n(a.batch) * n(a.width))?;
    holds("norm's gradient", &a.d_z, n(a.steps) * n(a.batch) * n(a.width))?;
    holds("norm's gradient sums", &a.gammas, n(launch.grid[1]) * n(a.width))?;
    holds("norm's gradient sums", &a.betas, n(launch.grid[1]) * n(a.width))
}

pub(super) fn norm_gradient_finish<R: Number>(a: &NormBackward<'_, R>, _: &Launch) -> Checked {
    holds("norm's gradient sums", &a.gammas, n(a.slices) * n(a.width))?;
    holds("norm's gradient sums", &a.betas, n(a.slices) * n(a.width))?;
    holds("norm's parameter gradient", &a.d_params, 2 * n(a.width))
}

pub(super) fn norm_backward<R: Number>(a: &NormBackward<'_, R>, _: &Launch) -> Checked {
    let len = n(a.steps) * n(a.batch) * n(a.width);
    holds("norm's parameters", &a.params, 2 * n(a.width))?;
    holds("norm's statistics", &a.saved, 2 * n(a.width))?;
    holds("norm's parameter gradient", &a.d_params, 2 * n(a.width))?;
    holds_if_any("norm's lengths", &a.valid, n(a.batch))?;
    holds("norm's input", &a.y, len)?;
    holds("norm's gradient", &a.d_z, len)?;
    holds("norm's input gradient", &a.d_y, len)
}

pub(super) fn rate_penalty<R: Number>(a: &RatePenalty<'_, R>, launch: &Launch) -> Checked {
    threads(launch, 256)?;
    holds("sums of spikes", &a.sums, n(a.slices) * n(a.width))?;
    holds_if_any("neurons' lengths", &a.valid, n(a.batch))?;
    holds("penalties for rates", &a.penalties, n(a.width))?;
    holds("neurons' output gradient", &a.d, n(a.steps) * n(a.batch) * n(a.width))
}

/// What both kernels of the readout require. Returns the sizes of the scores and the input.
fn membrane<R: Number>(a: &Readout<'_, R>, launch: &Launch) -> Result<[u128; 2], ShapeError> {
    let [scores, len] = [n(a.batch) * n(a.classes), n(a.steps) * n(a.batch) * n(a.classes)];
    blocks(launch, a.batch)?;
    at_least("readout's classes", 1, a.classes as usize)?;
    holds("readout's input", &a.x, len)?;
    holds_if_any("readout's lengths", &a.valid, n(a.batch))?;
    holds("readout's membrane", &a.membrane, len)?;
    Ok([scores, len])
}

pub(super) fn readout_backward<R: Number>(a: &Readout<'_, R>, launch: &Launch) -> Checked {
    let [scores, len] = membrane(a, launch)?;
    holds("gradient of the scores", &a.d_scores, scores)?;
    holds("readout's gradient", &a.d_x, len)
}

pub(super) fn readout<R: Number>(a: &Readout<'_, R>, launch: &Launch) -> Checked {
    let [scores, len] = membrane(a, launch)?;
    shared::<R>(launch, n(a.classes))?;
    holds("readout's scores", &a.scores, scores)?;
    if a.targets.is_null() {
        return Ok(());
    }
    holds("readout's targets", &a.targets, scores)?;
    holds("readout's losses", &a.losses, n(a.batch))?;
    holds_if_any("readout's gradient", &a.d_x, len)
}

/// What a transform requires: a length of 2^n, 3 2^n or 5 2^n with its tables, and shared memory
/// for its columns and for `more` numbers. Returns the number of bins.
fn transform<R: Number>(
    launch: &Launch,
    (length, log_pairs): (u32, u32),
    roots: &impl Block,
    places: &impl Block,
    more: u128,
) -> Result<u128, ShapeError> {
    let odd = length.checked_shr(length.trailing_zeros()).unwrap_or(0);
    if !length.is_multiple_of(2) || !matches!(odd, 1 | 3 | 5) || log_pairs > 4 {
        let found = length as usize;
        return Err(ShapeError { what: "length of a transform", expected: 2, found });
    }
    shared::<R>(launch, (n(length) << (log_pairs + 1)) + more)?;
    holds("roots of a transform", roots, n(length))?;
    expect("places of a transform", length as usize, places.size())?;
    Ok(n(length / 2 + 1))
}

pub(super) fn sequence_to_spectrum<R: Number>(a: &ToSpectrum<'_, R>, launch: &Launch) -> Checked {
    let bins = transform::<R>(launch, (a.length, a.log_pairs), &a.roots, &a.places, 0)?;
    holds("transform's sequence", &a.sequence, n(a.steps) * n(a.columns))?;
    holds("transform's spectrum", &a.spectrum, bins * n(a.columns))
}

pub(super) fn spectrum_to_sequence<R: Number>(a: &ToSequence<'_, R>, launch: &Launch) -> Checked {
    let bins = transform::<R>(launch, (a.length, a.log_pairs), &a.roots, &a.places, 0)?;
    holds("transform's sequence", &a.sequence, n(a.steps) * n(a.columns))?;
    holds("transform's spectrum", &a.spectrum, bins * n(a.columns))
}

/// The parameters of the synapses up to `end`.
fn synapses<R: Number>(a: &Taps<'_, R>, end: u128) -> Checked {
    let elements = end * n(a.count);
    holds("projection's weights", &a.weights, elements)?;
    holds("projection's delays", &a.delays, elements)?;
    holds("projection's sigma", &a.sigma, if a.sigmas == 1 { 1 } else { elements })
}

fn synapse_gradients<R: Number>(a: &Taps<'_, R>, end: u128) -> Checked {
    let elements = end * n(a.count);
    holds("projection's weight gradients", &a.d_weights, elements)?;
    holds("projection's delay gradients", &a.d_delays, elements)?;
    holds("projection's sigma gradients", &a.d_sigma, elements)
}

/// What both kernels between taps and spectra require. Returns the number of bins.
fn taps<R: Number>(a: &Taps<'_, R>, launch: &Launch) -> Result<u128, ShapeError> {
    threads(launch, 256)?;
    at_least("steps of a transform", n(a.taps), a.length as usize)?;
    // Threads without a synapse read the parameters of the first.
    synapses(a, (n(a.first) + n(a.synapses)).max(1))?;
    transform::<R>(launch, (a.length, a.log_pairs), &a.roots, &a.places, 256)
}

pub(super) fn taps_to_spectrum<R: Number>(a: &Taps<'_, R>, launch: &Launch) -> Checked {
    let bins = taps(a, launch)?;
    holds("spectra of kernels", &a.spectrum, bins * n(a.synapses))
}

pub(super) fn taps_from_spectrum<R: Number>(a: &Taps<'_, R>, launch: &Launch) -> Checked {
    let bins = taps(a, launch)?;
    holds("spectra of kernels", &a.d_spectrum, bins * n(a.synapses))?;
    synapse_gradients(a, n(a.first) + n(a.synapses))
}

pub(super) fn taps_to_dense<R: Number>(a: &Taps<'_, R>, _: &Launch) -> Checked {
    synapses(a, n(a.synapses))?;
    holds("dense kernels", &a.dense, n(a.synapses) * n(a.taps))
}

pub(super) fn taps_from_dense<R: Number>(a: &Taps<'_, R>, _: &Launch) -> Checked {
    synapses(a, n(a.synapses))?;
    holds("dense kernels' gradient", &a.d_dense, n(a.synapses) * n(a.taps))?;
    synapse_gradients(a, n(a.synapses))
}

pub(super) fn taps_of_lines<R: Number>(a: &Lines<'_, R>, _: &Launch) -> Checked {
    let delays = n(a.neurons.saturating_sub(1)) * n(a.stride) + u128::from(a.neurons > 0);
    holds("delays of lines", &a.delays, delays)?;
    holds("sigma of lines", &a.sigma, 1)?;
    holds("delay lines", &a.lines, n(a.neurons) * n(a.taps))
}

pub(super) fn taps_by_sender<R: Number>(a: &BySender<'_, R>, _: &Launch) -> Checked {
    let len = n(a.neurons) * n(a.neurons) * n(a.taps);
    holds("dense kernels", &a.dense, len)?;
    holds("sorted kernels", &a.sorted, len)
}

/// Rows, columns and threads of a tile in `product.cu`.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    rows: u32,
    threads: u32,
}

pub(super) const MANY_ROWS: Tile = Tile { rows: 128, threads: 256 };
pub(super) const FEW_ROWS: Tile = Tile { rows: 16, threads: 64 };

/// The numbers of `outer` rows that are `leading` numbers apart and `inner` numbers wide, in every
/// bin.
fn matrices(launch: &Launch, bin: u64, [outer, inner, leading]: [u32; 3]) -> u128 {
    if outer == 0 || inner == 0 || launch.grid[2] == 0 {
        return 0;
    }
    n(launch.grid[2] - 1) * n(bin) + n(outer - 1) * n(leading) + n(inner)
}

/// The products of `product.cu`; `a` and `b` are stored by depth within a row (`BY_DEPTH`) or by
/// row within a depth.
fn product<R: Number, const A_BY_DEPTH: bool, const B_BY_DEPTH: bool>(
    a: &Product<'_, R>,
    launch: &Launch,
    tile: Tile,
) -> Checked {
    /// `COLUMNS` and `DEPTH` of `product.cu`.
    const COLUMNS: u32 = 64;
    const DEPTH: u32 = 8;
    let sides = |by_depth: bool, outer, leading| {
        if by_depth { [outer, a.depth, leading] } else { [a.depth, outer, leading] }
    };
    threads(launch, tile.threads)?;
    shared::<R>(launch, n(4 * DEPTH) * n(tile.rows + 1 + COLUMNS + 1))?;
    let left = matrices(launch, a.a_bin, sides(A_BY_DEPTH, a.rows, a.a_leading));
    let right = matrices(launch, a.b_bin, sides(B_BY_DEPTH, a.columns, a.b_leading));
    holds("product's left side", &a.a, left)?;
    holds("product's right side", &a.b, right)?;
    let result = matrices(launch, a.c_bin, [a.rows, a.columns, a.c_leading]);
    holds("product's result", &a.c, result)
}

pub(super) fn product_forward<R: Number>(
    a: &Product<'_, R>,
    launch: &Launch,
    tile: Tile,
) -> Checked {
    product::<R, true, true>(a, launch, tile)
}

pub(super) fn product_input<R: Number>(a: &Product<'_, R>, launch: &Launch, tile: Tile) -> Checked {
    product::<R, true, false>(a, launch, tile)
}

pub(super) fn product_kernel<R: Number>(
    a: &Product<'_, R>,
    launch: &Launch,
    tile: Tile,
) -> Checked {
    product::<R, false, false>(a, launch, tile)
}

/// The sizes of a direct projection's kernel, input and output.
fn direct<R: Number>(a: &Direct<'_, R>) -> [u128; 3] {
    [
        n(a.outputs) * n(a.inputs) * n(a.taps),
        n(a.x_steps) * n(a.batch) * n(a.inputs),
        n(a.y_steps) * n(a.batch) * n(a.outputs),
    ]
}

pub(super) fn direct_forward<R: Number>(a: &Direct<'_, R>, _: &Launch) -> Checked {
    let [kernel, input, output] = direct(a);
    holds("dense kernels", &a.dense, kernel)?;
    holds("projection's input", &a.x, input)?;
    holds("projection's output", &a.y, output)
}

pub(super) fn direct_input<R: Number>(a: &Direct<'_, R>, _: &Launch) -> Checked {
    let [kernel, input, output] = direct(a);
    holds("dense kernels", &a.dense, kernel)?;
    holds("projection's input gradient", &a.d_x, input)?;
    holds("projection's output gradient", &a.d_y, output)
}

pub(super) fn direct_kernel<R: Number>(a: &Direct<'_, R>, _: &Launch) -> Checked {
    let [kernel, input, output] = direct(a);
    holds("dense kernels' gradient", &a.d_dense, kernel)?;
    holds("projection's input", &a.x, input)?;
    holds("projection's output gradient", &a.d_y, output)
}
