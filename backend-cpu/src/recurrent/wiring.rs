use super::LANES;
use super::product::{Matrix, active};
use crate::lanes::{Lanes, vectorize};
use crate::projection::{KernelPasses, Parameters, Windows, window_len};
use crate::scratch::Scratch;
use polychron_core::delay::Place;
use polychron_core::num::Real;
use polychron_core::shape::Synapses;

/// Numbers of a delay line that are computed for all taps before the next.
const TILE: usize = 2048;

/// The sizes of synapses, where their delays sit, and where their sigmas do if each has one.
pub(super) type Places<'a> = (&'a Synapses, Place, Option<Place>);

/// The recurrent synapses of a layer, from values that neurons send to those that arrive at later
/// steps.
///
/// Backwards in time, gradients take the same ways through the transposed synapses.
pub(super) struct Wiring<R> {
    pub(super) neurons: usize,
    /// The longest way in steps.
    pub(super) longest: usize,
    /// The shortest way in steps: so many steps can be computed without those before them.
    pub(super) shortest: usize,
    ways: Ways<R>,
}

enum Ways<R> {
    /// A delay line for each sender, then a matrix.
    LinesFirst(Lines<R>, Matrix<R>),
    /// A matrix, then a delay line for each receiver.
    MatrixFirst(Matrix<R>, Lines<R>),
    /// Delay lines `[sender][receiver][count]` of their own for all pairs.
    Pairs(Lines<R>, usize),
}

/// Delay lines with a window of taps each.
pub(super) struct Lines<R> {
    len: usize,
    /// The step of the first tap of every line.
    first: Vec<usize>,
    /// `[line][len]`.
    taps: Vec<R>,
}

impl<R: Lanes> Lines<R> {
    /// The lines of kernel elements `[out, in, count]`.
    pub(super) fn new(
        scratch: &Scratch<R>,
        synapses: &Synapses,
        kernel: &dyn KernelPasses<R>,
        params: &Parameters<'_, R>,
    ) -> Self {
        let len = window_len(kernel.kernel(), params.sigma, synapses.taps);
        let windows = Windows::new(scratch, synapses, kernel, params, len, len);
        Self { len, taps: windows.taps.values().to_vec(), first: windows.first }
    }

    fn of(&self, line: usize) -> (usize, &[R]) {
        (self.first[line], &self.taps[line * self.len..(line + 1) * self.len])
    }

    /// The lines in the order of their new index.
    fn permuted(&self, from: impl Fn(usize) -> usize) -> Self {
        let order = (0..self.first.len()).map(from);
        let (mut first, mut taps) = (Vec::new(), Vec::new());
        for line in order {
            let (start, window) = self.of(line);
            first.push(start);
            taps.extend_from_slice(window);
        }
        Self { len: self.len, first, taps }
    }

    /// Adds the values `[LANES]` that a line's sender sends at step `now` to the steps of `ring` at
    /// which they arrive. `row` is the receiver.
    #[inline(always)]
    fn send(&self, line: usize, row: usize, x: &[R], now: usize, ring: &mut Ring<R>) {
        let (first, taps) = self.of(line);
        for (k, &tap) in taps.iter().enumerate() {
            let to = ring.row(now + 1 + first + k, row);
            for l in 0..LANES {
                to[l] += tap * x[l];
            }
        }
    }

    /// The output `[steps][batch]` of a line at steps `0..`, for an input that starts `taps` steps
    /// earlier.
    #[inline(always)]
    pub(super) fn filter(&self, line: usize, longest: usize, batch: usize, x: &[R], y: &mut [R]) {
        let (first, taps) = self.of(line);
        for (n, y) in y.chunks_mut(TILE).enumerate() {
            y.fill(R::zero());
            for (k, &tap) in taps.iter().enumerate() {
                let start = (longest - 1 - first - k) * batch + n * TILE;
                for (y, &x) in y.iter_mut().zip(&x[start..]) {
                    *y += tap * x;
                }
            }
        }
    }

    /// The adjoint of [`filter`](Self::filter).
    #[inline(always)]
    pub(super) fn filter_back(
        &self,
        line: usize,
        longest: usize,
        batch: usize,
        d_y: &[R],
        d_x: &mut [R],
    ) {
        let (first, taps) = self.of(line);
        d_x.fill(R::zero());
        for (n, d_y) in d_y.chunks(TILE).enumerate() {
            for (k, &tap) in taps.iter().enumerate() {
                let start = (longest - 1 - first - k) * batch + n * TILE;
                for (d_x, &d_y) in d_x[start..].iter_mut().zip(d_y) {
                    *d_x += tap * d_y;
                }
            }
        }
    }

    /// The products `[K]` of a gradient by the output of a line with its input at every tap of the
    /// window; 0 elsewhere.
    #[inline(always)]
    pub(super) fn by_taps(
        &self,
        line: usize,
        longest: usize,
        batch: usize,
        x: &[R],
        d_y: &[R],
        to: &mut [R],
    ) {
        let first = self.first[line];
        to.fill(R::zero());
        for (n, d_y) in d_y.chunks(TILE).enumerate() {
            for j in first..first + self.len {
                to[j] += dot(d_y, &x[(longest - 1 - j) * batch + n * TILE..]);
            }
        }
    }
}

/// The sum of products, in [`LANES`] sums.
#[inline(always)]
fn dot<R: Real>(a: &[R], b: &[R]) -> R {
    let mut sums = [R::zero(); LANES];
    let b = &b[..a.len()];
    let (whole_a, whole_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = whole_a.remainder().iter().zip(whole_b.remainder());
    for (a, b) in whole_a.zip(whole_b) {
        for l in 0..LANES {
            sums[l] += a[l] * b[l];
        }
    }
    rest.zip(&mut sums).for_each(|((&a, &b), sum)| *sum += a * b);
    sums.into_iter().sum()
}

impl<R: Lanes> Wiring<R> {
    /// The synapses `[out, in, count]` of a layer.
    pub(super) fn new(
        scratch: &Scratch<R>,
        (synapses, place, spread): Places<'_>,
        kernel: &dyn KernelPasses<R>,
        params: &Parameters<'_, R>,
    ) -> Self {
        let (neurons, count) = (synapses.inputs, synapses.kernel_count);
        let ways = match lines(scratch, (synapses, place, spread), kernel, params) {
            Some(lines) => {
                let matrix = Matrix::new(neurons, neurons, |o, i| params.weights[o * neurons + i]);
                match place {
                    Place::Dendritic => Ways::MatrixFirst(matrix, lines),
                    _ => Ways::LinesFirst(lines, matrix),
                }
            }
            None => {
                let lines = Lines::new(scratch, synapses, kernel, params);
                Ways::Pairs(lines.permuted(|n| swapped(n, neurons, count)), count)
            }
        };
        Self::of(neurons, synapses.taps, ways)
    }

    fn of(neurons: usize, longest: usize, ways: Ways<R>) -> Self {
        let (Ways::LinesFirst(lines, _) | Ways::MatrixFirst(_, lines) | Ways::Pairs(lines, _)) =
            &ways;
        let shortest = 1 + lines.first.iter().min().copied().unwrap_or(0);
        Self { neurons, longest, shortest, ways }
    }

    /// The transposed synapses, for gradients backwards in time.
    pub(super) fn transposed(self, weights: &[R]) -> Self {
        let Self { neurons, longest, ways, .. } = self;
        let matrix = || Matrix::new(neurons, neurons, |o, i| weights[i * neurons + o]);
        let ways = match ways {
            Ways::LinesFirst(lines, _) => Ways::MatrixFirst(matrix(), lines),
            Ways::MatrixFirst(_, lines) => Ways::LinesFirst(lines, matrix()),
            Ways::Pairs(lines, count) => {
                Ways::Pairs(lines.permuted(|n| swapped(n, neurons, count)), count)
            }
        };
        Self::of(neurons, longest, ways)
    }
}

/// One delay line for each neuron, if all its synapses share it and have one kernel element.
pub(super) fn lines<R: Lanes>(
    scratch: &Scratch<R>,
    (synapses, place, spread): Places<'_>,
    kernel: &dyn KernelPasses<R>,
    params: &Parameters<'_, R>,
) -> Option<Lines<R>> {
    let Synapses { inputs: neurons, kernel_count, .. } = *synapses;
    let shared = params.sigma.len() == 1;
    let whole = kernel_count == 1 && (shared || spread == Some(place));
    let stride = match place {
        Place::Synaptic => return None,
        Place::Axonal | Place::Shared => 1,
        Place::Dendritic => neurons,
    };
    let delays: Vec<R> = params.delays.iter().step_by(stride).take(neurons).copied().collect();
    let ones = vec![R::one(); neurons];
    let each: Vec<R> = params.sigma.iter().step_by(stride).take(neurons).copied().collect();
    let sigma = if shared { params.sigma } else { &each };
    let params = Parameters { weights: &ones, delays: &delays, sigma };
    let one = Synapses { outputs: 1, ..*synapses };
    whole.then(|| Lines::new(scratch, &one, kernel, &params))
}

/// The index of an element `[in, out, count]` in `[out, in, count]`, or back.
fn swapped(n: usize, neurons: usize, count: usize) -> usize {
    let (pair, j) = (n / count, n % count);
    (pair % neurons * neurons + pair / neurons) * count + j
}

/// Values that arrive at the next steps.
struct Ring<R> {
    /// `[neuron][step & last][LANES]`, for a number of steps that is a power of two. The taps of a
    /// window lie together.
    values: Vec<R>,
    last: usize,
    /// Values from one neuron to the next: one row more than there are, so that the rows of a step
    /// do not compete for the same lines of the cache.
    stride: usize,
}

impl<R: Real> Ring<R> {
    fn new(steps: usize, neurons: usize) -> Self {
        let steps = steps.next_power_of_two();
        let stride = (steps + 1) * LANES;
        Self { values: vec![R::zero(); neurons * stride], last: steps - 1, stride }
    }

    #[inline(always)]
    fn row(&mut self, now: usize, row: usize) -> &mut [R] {
        &mut self.values[row * self.stride + (now & self.last) * LANES..][..LANES]
    }

    /// Takes the values `[neuron][LANES]` of a step, which become 0.
    #[inline(always)]
    fn take(&mut self, now: usize, to: &mut [R]) {
        for (row, to) in to.chunks_exact_mut(LANES).enumerate() {
            let from = self.row(now, row);
            to.copy_from_slice(from);
            from.fill(R::zero());
        }
    }
}

/// What travels through a [`Wiring`] in [`LANES`] samples.
pub(super) struct Traffic<'a, R> {
    wiring: &'a Wiring<R>,
    ring: Ring<R>,
    active: Vec<u32>,
    /// What enters or leaves the matrix.
    product: Vec<R>,
}

impl<'a, R: Lanes> Traffic<'a, R> {
    /// Nothing travels yet. Steps can be received `block` at a time.
    pub(super) fn new(wiring: &'a Wiring<R>, block: usize) -> Self {
        let Wiring { neurons, longest, .. } = *wiring;
        Self {
            wiring,
            ring: Ring::new(longest + block, neurons),
            active: Vec::new(),
            product: vec![R::zero(); neurons * LANES],
        }
    }

    /// Writes the values `[neurons][LANES]` that arrive at step `now`, after those of all earlier
    /// steps.
    #[inline(always)]
    pub(super) fn receive(&mut self, now: usize, to: &mut [R]) {
        match &self.wiring.ways {
            Ways::LinesFirst(_, matrix) => {
                self.ring.take(now, &mut self.product);
                active(&self.product, &mut self.active);
                matrix.multiply(&self.active, &self.product, to);
            }
            Ways::MatrixFirst(..) | Ways::Pairs(..) => self.ring.take(now, to),
        }
    }

    /// Forgets what arrives at step `now`.
    pub(super) fn skip(&mut self, now: usize) {
        self.ring.take(now, &mut self.product);
    }

    /// Sends the values `[neurons][LANES]` of step `now`.
    pub(super) fn send(&mut self, now: usize, x: &[R]) {
        let Self { wiring, ring, active: rows, product } = self;
        active(x, rows);
        if rows.is_empty() {
            return;
        }
        let row = |n: usize| &x[n * LANES..][..LANES];
        vectorize(
            #[inline(always)]
            || match &wiring.ways {
                Ways::LinesFirst(lines, _) => {
                    for n in rows.iter().map(|&n| n as usize) {
                        lines.send(n, n, row(n), now, ring);
                    }
                }
                Ways::MatrixFirst(matrix, lines) => {
                    matrix.multiply(rows, x, product);
                    for n in 0..wiring.neurons {
                        lines.send(n, n, &product[n * LANES..][..LANES], now, ring);
                    }
                }
                Ways::Pairs(lines, count) => {
                    for n in rows.iter().map(|&n| n as usize) {
                        let each = wiring.neurons * count;
                        for pair in 0..each {
                            lines.send(n * each + pair, pair / count, row(n), now, ring);
                        }
                    }
                }
            },
        );
    }
}
