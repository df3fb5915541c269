use super::LANES;
use super::events::Events;
use crate::lanes::{Lanes, vectorize};
use polychron_core::delay::Rounding;
use polychron_core::shape::Synapses;
use pulp::{Simd, WithSimd};

/// The longest block in vectors of steps: AVX2 has registers for as many sums and two operands.
pub(super) const VECTORS: usize = 14;

/// Outputs that read the inputs together.
const OUTPUTS: usize = 4 * LANES;

/// Inputs per group: their past stays in the first-level cache while all outputs read it.
const INPUTS: usize = 32;

/// The cost of an event in multiply-adds of a vector.
const EVENT: usize = 2;

/// The delayed projection of one sample, with the past of its input.
///
/// Dense blocks are computed in vectors of steps: `y[o][t..] += weight x[i][t - delay..]` for every
/// synapse, with the sums of the block in registers. Sparse blocks are computed event by event.
#[derive(Debug)]
pub(super) struct Projection<R> {
    synapses: Synapses,
    /// Taps per pair of neurons.
    count: usize,
    groups: Vec<Group<R>>,
    events: Events<R>,
    /// `[input][past | window]`: the steps of the longest delay, then those of the block.
    values: Vec<R>,
    stride: usize,
    /// `[OUTPUTS][block]`
    sums: Vec<R>,
    /// `[block][LANES]`
    rows: Vec<[R; LANES]>,
}

/// The synapses of a group of inputs. Every tap counts as an input.
#[derive(Debug)]
struct Group<R> {
    first: usize,
    len: usize,
    /// `[output][input]`.
    weights: Vec<R>,
    /// `[output][input]`.
    delays: Vec<u32>,
    /// The inputs with a value that is not 0, and the start of their windows.
    active: Vec<(usize, usize)>,
}

impl<R: Lanes> Projection<R> {
    pub(super) fn new(
        synapses: &Synapses,
        rounding: Rounding,
        (weights, delays): (&[R], &[R]),
        block: usize,
    ) -> Self {
        let Synapses { inputs, outputs, taps, .. } = *synapses;
        let each = if rounding == Rounding::Split { 2 } else { 1 };
        let count = synapses.kernel_count * each;
        let (delays, weights): (Vec<u32>, Vec<R>) = weights
            .iter()
            .zip(delays)
            .flat_map(|(&weight, &delay)| {
                let taps = rounding.taps(delay, taps).into_iter().take(each);
                taps.map(move |(tap, share)| (tap as u32, weight * share))
            })
            .unzip();
        let group = |first: usize| {
            let len = INPUTS.min(inputs * count - first);
            let at = (0..outputs).map(|o| o * inputs * count + first).flat_map(|e| e..e + len);
            Group {
                first,
                len,
                weights: at.clone().map(|e| weights[e]).collect(),
                delays: at.map(|e| delays[e]).collect(),
                active: Vec::with_capacity(len),
            }
        };
        let behind = |i: usize| {
            let of = |o: usize| (o * inputs + i) * count;
            let element = |o: usize, e: usize| (delays[e] * outputs as u32 + o as u32, weights[e]);
            (0..outputs).flat_map(|o| (of(o)..of(o) + count).map(move |e| element(o, e))).collect()
        };
        let (past, fan_out) = (taps - 1, outputs * count);
        Self {
            synapses: *synapses,
            count,
            groups: (0..inputs * count).step_by(INPUTS).map(group).collect(),
            events: Events::new(outputs, fan_out, [past, block], (0..inputs).map(behind)),
            values: vec![R::zero(); inputs * (past + block)],
            stride: past + block,
            sums: vec![R::zero(); OUTPUTS * block],
            rows: vec![[R::zero(); LANES]; block],
        }
    }

    pub(super) fn inputs(&self) -> usize {
        self.synapses.inputs
    }

    /// The window of input `i`. It holds zeros until the caller writes it.
    pub(super) fn window(&mut self, i: usize) -> &mut [R] {
        let past = self.past();
        &mut self.values[i * self.stride..(i + 1) * self.stride][past..]
    }

    fn past(&self) -> usize {
        self.synapses.taps - 1
    }

    /// Writes the spikes `[n][LANES]` of the inputs from `first` on. Returns the number of spikes.
    pub(super) fn write(&mut self, first: usize, rows: &[[R; LANES]]) -> u64 {
        let mut spikes = R::zero();
        for l in 0..LANES.min(self.inputs() - first) {
            for (to, row) in self.window(first + l).iter_mut().zip(rows) {
                *to = row[l];
                spikes += row[l];
            }
        }
        spikes.to_u64().unwrap_or(0)
    }

    /// Clears the input.
    pub(super) fn reset(&mut self) {
        self.values.fill(R::zero());
        self.events.reset();
    }

    /// Advances by `n` steps.
    pub(super) fn shift(&mut self, n: usize) {
        let past = self.past();
        for row in self.values.chunks_exact_mut(self.stride) {
            row.copy_within(n..n + past, 0);
            row[past..past + n].fill(R::zero());
        }
        self.events.shift(n);
    }

    /// Projects the first `n` steps of the window. Calls `each` with the index of an output and the
    /// sums `[n][LANES]` of the outputs from it on.
    pub(super) fn project(&mut self, n: usize, mut each: impl FnMut(usize, &mut [[R; LANES]])) {
        if n == 0 {
            return;
        }
        let past = self.past();
        let by_events = self.is_sparse(n);
        if by_events {
            self.events.send(&self.values, self.stride, past, n);
        } else {
            self.events.forget();
        }
        for first in (0..self.synapses.outputs).step_by(LANES) {
            if by_events {
                self.events.read(first, &mut self.rows[..n]);
            } else {
                if first % OUTPUTS == 0 {
                    self.sum(first, n);
                }
                self.read(first % OUTPUTS, n);
            }
            each(first, &mut self.rows[..n]);
        }
    }

    /// Whether the block is cheaper event by event. If not, `active` holds the active inputs.
    fn is_sparse(&mut self, n: usize) -> bool {
        let vectors = n.div_ceil(self.rows.len() / VECTORS);
        if vectors == 1 {
            return true;
        }
        let (events, active) = vectorize(
            #[inline(always)]
            || self.find_active(n),
        );
        EVENT * events <= active * vectors
    }

    /// Finds the active inputs. Returns the number of events to process and of active inputs.
    #[inline(always)]
    fn find_active(&mut self, n: usize) -> (usize, usize) {
        let (past, count) = (self.past(), self.count);
        let (mut events, mut active) = (0, 0);
        for group in &mut self.groups {
            group.active.clear();
            for e in 0..group.len {
                let begin = (group.first + e) / count * self.stride;
                let count_events = |row: &[R]| row.iter().filter(|x| **x != R::zero()).count();
                let before = count_events(&self.values[begin..begin + past]);
                let now = count_events(&self.values[begin + past..begin + past + n]);
                events += now + if self.events.current() { 0 } else { before };
                if before + now > 0 {
                    group.active.push((e, begin + past));
                }
            }
            active += group.active.len();
        }
        (events, active)
    }

    /// Computes the sums of `n` steps for the outputs from `first` on.
    fn sum(&mut self, first: usize, n: usize) {
        let block = self.rows.len();
        self.sums.fill(R::zero());
        R::stream_sums(StreamSums {
            groups: &self.groups,
            values: &self.values,
            outputs: first..self.synapses.outputs.min(first + OUTPUTS),
            steps: n,
            block,
            sums: &mut self.sums,
        });
    }

    /// The sums `[n][LANES]` of the outputs from `first` on.
    fn read(&mut self, first: usize, n: usize) {
        let block = self.rows.len();
        for (t, row) in self.rows[..n].iter_mut().enumerate() {
            *row = core::array::from_fn(|l| self.sums[(first + l) * block + t]);
        }
    }
}

/// Computes the sums `[output][block]` of a range of outputs over all groups.
pub struct StreamSums<'a, R> {
    groups: &'a [Group<R>],
    values: &'a [R],
    outputs: core::ops::Range<usize>,
    steps: usize,
    block: usize,
    sums: &'a mut [R],
}

impl<R: Lanes> WithSimd for StreamSums<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        // Few sums would wait for each other, so short blocks compute several outputs together.
        macro_rules! choose {
            ($($vectors:literal by $outputs:literal)*) => {
                match self.steps.div_ceil(R::lanes::<S>()) {
                    $($vectors => self.sum::<S, $vectors, $outputs>(s),)*
                    _ => {}
                }
            };
        }
        choose!(
            2 by 4  3 by 4  4 by 2  5 by 2  6 by 2  7 by 2
            8 by 1  9 by 1  10 by 1  11 by 1  12 by 1  13 by 1  14 by 1
        );
    }
}

impl<R: Lanes> StreamSums<'_, R> {
    #[inline(always)]
    fn sum<S: Simd, const V: usize, const O: usize>(self, s: S) {
        let last = self.outputs.end - 1;
        for group in self.groups {
            let firsts = self.outputs.clone().step_by(O);
            for (first, sums) in firsts.zip(self.sums.chunks_exact_mut(O * self.block)) {
                let mut synapses = [(&[][..], &[][..]); O];
                let mut y = [[R::splat(s, R::zero()); V]; O];
                for o in 0..O {
                    let at = (first + o).min(last) * group.len;
                    let at = at..at + group.len;
                    synapses[o] = (&group.weights[at.clone()], &group.delays[at]);
                    y[o].copy_from_slice(&R::vectors::<S>(&sums[o * self.block..])[..V]);
                }
                for &(e, begin) in &group.active {
                    for o in 0..O {
                        let (weights, delays) = synapses[o];
                        let Some(x) = self.values.get(begin - delays[e] as usize..) else { return };
                        let Some(x) = R::vectors::<S>(x).first_chunk::<V>() else { return };
                        let weight = R::splat(s, weights[e]);
                        for v in 0..V {
                            y[o][v] = R::mul_add(s, x[v], weight, y[o][v]);
                        }
                    }
                }
                for o in 0..O {
                    R::vectors_mut::<S>(&mut sums[o * self.block..])[..V].copy_from_slice(&y[o]);
                }
            }
        }
    }
}
