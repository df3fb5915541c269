//! A delayed projection as one complex matrix product per frequency.
//!
//! Every pass is a circular convolution or correlation of period N; with N >= T + K - 1 and N >= T' nothing wraps onto
//! what is kept, for none of the three passes. The signals are real, so frequencies 0..=N/2 suffice. N need not be a
//! power of two: the transforms are matrix products.

use crate::gemm::gemm;
use crate::scratch::{Block, Scratch};
use crate::sequence::Sequence;
use core::f64::consts::TAU;
use ndarray::{Array2, ArrayView2, ArrayView3, ArrayViewMut3, Axis, Zip, s};
use polychron_core::num::Real;
use rayon::prelude::*;

/// Synapses to a task.
const SYNAPSES: usize = 1024;

/// The frequencies of a real signal of a period.
pub(super) fn frequencies(period: usize) -> usize {
    period / 2 + 1
}

/// The transform of a period. A spectrum is `[frequency and re, im][series][lane]`.
pub(super) struct Transform<'a, R> {
    /// `cos, -sin (2 pi f t / N)`, `[frequency and re, im][time]`.
    forward: Array2<R>,
    /// `[time][frequency and re, im]`.
    inverse: Array2<R>,
    scratch: &'a Scratch<R>,
}

impl<'a, R: Real> Transform<'a, R> {
    pub(super) fn new(period: usize, scratch: &'a Scratch<R>) -> Self {
        let turn: Vec<(f64, f64)> = (0..period)
            .map(|n| (TAU * n as f64 / period as f64).sin_cos())
            .map(|(sin, cos)| (cos, -sin))
            .collect();
        let at = |row: usize, t: usize| {
            let (re, im) = turn[row / 2 * t % period];
            if row & 1 == 0 { re } else { im }
        };
        let rows = 2 * frequencies(period);
        let share = |row: usize| {
            let alone = row / 2 == 0 || row / 2 * 2 == period;
            if alone { 1.0 / period as f64 } else { 2.0 / period as f64 }
        };
        let inverse = |(t, row)| R::of(share(row) * at(row, t));
        Self {
            forward: Array2::from_shape_fn((rows, period), |(row, t)| R::of(at(row, t))),
            inverse: Array2::from_shape_fn((period, rows), inverse),
            scratch,
        }
    }

    /// The spectrum of a sequence, `[frequency and re, im][neuron][batch]`.
    pub(super) fn sequence(&self, x: &Sequence<R>) -> Block<R> {
        let shape = x.shape();
        let mut spectrum = self.scratch.block((self.forward.nrows(), shape.width, shape.batch));
        let forward = self.forward.slice(s![.., ..shape.steps]);
        let x = x.view();
        spectrum
            .view_mut()
            .axis_iter_mut(Axis(1))
            .into_par_iter()
            .zip(x.axis_iter(Axis(0)))
            .for_each(|(to, x)| gemm(to, R::zero(), R::one(), forward, x));
        spectrum
    }

    /// The first steps of the sequence of a spectrum.
    pub(super) fn write_sequence(&self, spectrum: &Block<R>, y: &mut Sequence<R>) {
        let inverse = self.inverse.slice(s![..y.shape().steps, ..]);
        let spectrum = spectrum.view();
        y.view_mut()
            .axis_iter_mut(Axis(0))
            .into_par_iter()
            .zip(spectrum.axis_iter(Axis(1)))
            .for_each(|(y, spectrum)| gemm(y, R::zero(), R::one(), inverse, spectrum));
    }

    /// The spectrum `[frequency and re, im][out][in]` of taps `[out][in][K]`.
    pub(super) fn taps(&self, taps: &Block<R>) -> Block<R> {
        let (outputs, inputs, length) = taps.view().dim();
        let planes = self.forward.nrows();
        let mut spectrum = self.scratch.block((planes, outputs, inputs));
        let forward = self.forward.slice(s![.., ..length]);
        let taps = flat(taps.view(), outputs * inputs);
        let mut to = spectrum
            .view_mut()
            .into_shape_with_order((planes, outputs * inputs))
            .expect("contiguous");
        to.axis_chunks_iter_mut(Axis(1), SYNAPSES)
            .into_par_iter()
            .zip(taps.axis_chunks_iter(Axis(0), SYNAPSES))
            .for_each(|(to, taps)| gemm(to, R::zero(), R::one(), forward, taps.reversed_axes()));
        spectrum
    }

    /// The taps `[out][in][K]` of a spectrum.
    pub(super) fn write_taps(&self, spectrum: &Block<R>, taps: &mut Block<R>) {
        let (outputs, inputs, length) = taps.view().dim();
        let spectrum = flat(spectrum.view(), self.forward.nrows());
        let inverse = self.inverse.slice(s![..length, ..]).reversed_axes();
        let mut taps =
            taps.view_mut().into_shape_with_order((outputs * inputs, length)).expect("contiguous");
        taps.axis_chunks_iter_mut(Axis(0), SYNAPSES)
            .into_par_iter()
            .zip(spectrum.axis_chunks_iter(Axis(1), SYNAPSES))
            .for_each(|(to, spectrum)| {
                gemm(to, R::zero(), R::one(), spectrum.reversed_axes(), inverse)
            });
    }
}

/// A block as a matrix of that many rows.
fn flat<R: Real>(block: ArrayView3<'_, R>, rows: usize) -> ArrayView2<'_, R> {
    let columns = block.len() / rows;
    block.into_shape_with_order((rows, columns)).expect("contiguous")
}

/// A spectrum's part in a product: as it is, or its conjugate transpose at every frequency.
pub(super) enum Factor<'a, R: Real> {
    Plain(&'a Block<R>),
    Adjoint(&'a Block<R>),
}

impl<R: Real> Factor<'_, R> {
    fn spectrum(&self) -> ArrayView3<'_, R> {
        match self {
            Self::Plain(spectrum) | Self::Adjoint(spectrum) => spectrum.view(),
        }
    }

    /// Real and imaginary plane of a frequency, and the imaginary one's sign.
    fn planes(&self, f: usize) -> (ArrayView2<'_, R>, ArrayView2<'_, R>, R) {
        let plane = |n| self.spectrum().index_axis_move(Axis(0), n);
        let sign = if matches!(self, Self::Plain(_)) { R::one() } else { -R::one() };
        (plane(2 * f), plane(2 * f + 1), sign)
    }

    fn orient<'b>(&self, plane: ArrayView2<'b, R>) -> ArrayView2<'b, R> {
        match self {
            Self::Plain(_) => plane,
            Self::Adjoint(_) => plane.reversed_axes(),
        }
    }
}

/// The product of two spectra at every frequency.
pub(super) fn product<R: Real>(
    scratch: &Scratch<R>,
    a: &Factor<'_, R>,
    b: &Factor<'_, R>,
) -> Block<R> {
    let rows = a.orient(a.planes(0).0).nrows();
    let columns = b.orient(b.planes(0).0).ncols();
    let mut to = scratch.block((a.spectrum().len_of(Axis(0)), rows, columns));
    to.view_mut()
        .axis_chunks_iter_mut(Axis(0), 2)
        .into_par_iter()
        .enumerate()
        .for_each(|(f, to)| multiply(to, a, b, f));
    to
}

/// Three real products for a complex one: with `p = (a_re + a_im) b_re`,
/// `re = p - a_im (b_re + b_im)` and `im = p + a_re (b_im - b_re)`.
fn multiply<R: Real>(mut to: ArrayViewMut3<'_, R>, a: &Factor<'_, R>, b: &Factor<'_, R>, f: usize) {
    let ((a_re, a_im, a_sign), (b_re, b_im, b_sign)) = (a.planes(f), b.planes(f));
    let (zero, one) = (R::zero(), R::one());
    let sum = |x: ArrayView2<'_, R>, sign: R, y: ArrayView2<'_, R>| {
        Zip::from(x).and(y).map_collect(|&x, &y| x + sign * y)
    };
    let (mut re, mut im) = to.multi_slice_mut((s![0, .., ..], s![1, .., ..]));
    gemm(re.view_mut(), zero, one, a.orient(sum(a_re, a_sign, a_im).view()), b.orient(b_re));
    im.assign(&re);
    gemm(re, one, -a_sign, a.orient(a_im), b.orient(sum(b_re, b_sign, b_im).view()));
    gemm(im, one, -one, a.orient(a_re), b.orient(sum(b_re, -b_sign, b_im).view()));
}
