use super::LANES;
use crate::lanes::vectorize;
use polychron_core::loss::{Loss, softmax};
use polychron_core::neuron::{Li, Neuron};
use polychron_core::num::Real;

/// The leaky integrators of the classes. [`polychron_core::reference::readout`] has the equations.
#[derive(Debug)]
pub(super) struct Readout<R> {
    li: Li<R>,
    loss: Loss,
    classes: usize,
    /// The biases of the classes, if there are any.
    bias: Vec<R>,
    /// Steps by which the layers extend the utterance.
    padding: usize,
    /// `[block][classes]`: the projections, then the contributions to the scores.
    values: Vec<R>,
    membrane: Vec<R>,
    /// The sums over time; for [`Loss::Max`] the maxima.
    totals: Vec<R>,
    scores: Vec<R>,
    steps: usize,
}

impl<R: Real> Readout<R> {
    pub(super) fn new(li: Li<R>, loss: Loss, classes: usize, block: usize, padding: usize) -> Self {
        let zeros = |n| vec![R::zero(); n];
        Self {
            values: zeros(block * classes),
            membrane: zeros(classes),
            totals: zeros(classes),
            scores: zeros(classes),
            steps: 0,
            bias: Vec::new(),
            li,
            loss,
            classes,
            padding,
        }
    }

    /// The same readout with biases.
    pub(super) fn with_bias(self, bias: Vec<R>) -> Self {
        Self { bias, ..self }
    }

    pub(super) fn padding(&self) -> usize {
        self.padding
    }

    pub(super) fn scores(&self) -> &[R] {
        &self.scores
    }

    pub(super) fn reset(&mut self) {
        for block in [&mut self.membrane, &mut self.totals, &mut self.scores] {
            block.fill(R::zero());
        }
        self.steps = 0;
    }

    /// Writes the projections `[n][LANES]` of the classes from `first` on.
    pub(super) fn write(&mut self, first: usize, rows: &[[R; LANES]]) {
        let width = LANES.min(self.classes - first);
        for (to, row) in self.values.chunks_exact_mut(self.classes).zip(rows) {
            to[first..first + width].copy_from_slice(&row[..width]);
        }
    }

    /// Integrates the first `n` steps.
    pub(super) fn integrate(&mut self, n: usize) {
        vectorize(
            #[inline(always)]
            || self.integrate_steps(n),
        );
    }

    #[inline(always)]
    fn integrate_steps(&mut self, n: usize) {
        let Self { li, loss, bias, membrane, totals, .. } = self;
        for x in self.values.chunks_exact_mut(self.classes).take(n) {
            x.iter_mut().zip(bias.iter()).for_each(|(x, &bias)| *x += bias);
            for (v, x) in membrane.iter_mut().zip(x.iter_mut()) {
                [*v] = li.charge([*v], *x);
                *x = *v;
            }
            if *loss == Loss::SoftmaxSum {
                softmax(x);
            }
            self.steps += 1;
            for (total, &x) in totals.iter_mut().zip(x.iter()) {
                let first = self.steps == 1;
                *total = if *loss != Loss::Max || first { *total + x } else { total.max(x) };
            }
        }
        let divisor = if *loss == Loss::Mean { self.steps.max(1) } else { 1 };
        for (score, &total) in self.scores.iter_mut().zip(totals.iter()) {
            *score = total / R::count(divisor);
        }
    }
}
