use super::layout::Blocks;
use super::model::{Batch, Delays, Input, Layers, Model, mean_loss};
use super::tensor::Group;
use super::trainer::Trainer;
use super::workspace::{LayerSpace, Norms, Signal, Span, Workspace};
use crate::backend::{Backend, Event};
use crate::loss::CrossEntropy;
use crate::norm::ValidSteps;
use crate::num::Real;
use crate::reference::Integration;
use crate::shape::Shape;
use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;
use num_traits::Zero;
use num_traits::float::FloatCore;

/// The windows of a batch, all of the same length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    steps: usize,
    count: usize,
}

impl Windows {
    fn span<'a, R>(&self, batch: &Batch<'a, R>, window: usize) -> Span<'a> {
        let window = Some((window * self.steps, self.steps));
        Span { batch: batch.shape, lengths: batch.lengths, window }
    }

    /// Copies the input of a window; after the end of the batch it is 0.
    fn upload<B: Backend>(
        &self,
        backend: &B,
        batch: &Batch<'_, B::Real>,
        window: usize,
        to: &mut Signal<B>,
    ) -> Result<(), B::Error> {
        let start = window * self.steps;
        match batch.x {
            Input::Dense(x) => {
                let step = batch.shape.batch * batch.shape.width;
                let end = (start + self.steps) * step;
                let part = &x[(start * step).min(x.len())..end.min(x.len())];
                let mut part = Cow::Borrowed(part);
                if part.len() < self.steps * step {
                    part.to_mut().resize(self.steps * step, B::Real::zero());
                }
                backend.upload_sequence(&part, &mut to.now)?;
            }
            Input::Events(events) => {
                let events = events_in(events, batch.shape, start, self.steps);
                backend.upload_events(&events, &mut to.now)?;
            }
        }
        to.join(backend)
    }
}

/// The events of a window, with steps counted from its start.
fn events_in<R: Real>(
    events: &[Event<R>],
    shape: Shape,
    start: usize,
    steps: usize,
) -> Vec<Event<R>> {
    let before = |sample: usize, step: usize| {
        events.partition_point(|e| (e.sample as usize, e.step as usize) < (sample, step))
    };
    let of = |sample| &events[before(sample, start)..before(sample, start + steps)];
    let part = (0..shape.batch).flat_map(of);
    part.map(|event| Event { step: event.step - start as u32, ..*event }).collect()
}

impl<B: Backend> Model<B> {
    /// The windows of a batch; `None` if it is computed at once.
    pub(super) fn windows(&self, batch: &Batch<'_, B::Real>) -> Option<Windows> {
        let graph = self.graph();
        let padding = graph.nodes.last()?.padding;
        let longest = self.network().window?.get();
        if batch.shape.steps.saturating_add(padding) <= longest {
            return None;
        }
        let span = Span { batch: batch.shape, lengths: batch.lengths, window: None };
        let steps = span.valid(padding).into_iter().max().unwrap_or(0).max(1);
        let count = steps.div_ceil(longest);
        Some(Windows { steps: steps.div_ceil(count), count })
    }

    /// [`evaluate`](Self::evaluate) window by window.
    pub(super) fn evaluate_in_windows(
        &self,
        batch: &Batch<'_, B::Real>,
        delays: Delays,
        windows: &Windows,
        mut look: impl FnMut(usize, &B, &B::Sequence) -> Result<(), B::Error>,
    ) -> Result<(Vec<B::Real>, B::Real), B::Error> {
        let Self { backend, layers, running } = self;
        let rounding = (delays == Delays::Rounded).then_some(layers.network.rounding);
        let shape = Shape { steps: windows.steps, ..batch.shape };
        let mut pass = Workspace::new(backend, layers, shape, true, false)?;
        let mut readout = layers.integration(batch);
        for window in 0..windows.count {
            let span = windows.span(batch, window);
            windows.upload(backend, batch, window, &mut pass.input)?;
            pass.forward(backend, layers, rounding, &span, &mut Norms::Running(running))?;
            for (l, layer) in pass.layers.iter().enumerate() {
                look(l, backend, layer.output())?;
            }
            let (y, shape) = pass.projection(backend)?;
            layers.in_window(&span, |valid| readout.advance(valid, (&y, shape)))?;
            pass.advance(backend)?;
        }
        let scores = readout.scores();
        let loss = batch.targets.map(|targets| layers.loss(&scores, targets).0);
        Ok((scores, loss.unwrap_or(B::Real::zero())))
    }
}

impl<B: Backend> Layers<B> {
    /// The readout before the first window.
    fn integration(&self, batch: &Batch<'_, B::Real>) -> Integration<B::Real> {
        let (li, loss) = (&self.network.output.integrator, self.network.loss);
        Integration::new(li, loss, batch.shape.batch, self.graph.classes())
    }

    /// Calls `f` with the valid steps of the readout in a window.
    fn in_window<T>(&self, span: &Span<'_>, f: impl FnOnce(ValidSteps<'_>) -> T) -> T {
        span.with_valid(self.graph.nodes.last().map_or(0, |node| node.padding), f)
    }

    /// The mean loss of a batch, and its gradient by the scores.
    fn loss(&self, scores: &[B::Real], targets: &[B::Real]) -> (B::Real, Vec<B::Real>) {
        let objective = self.network.objective.unwrap_or(&CrossEntropy);
        mean_loss(objective, self.graph.classes(), scores, targets)
    }
}

impl<B: Backend> Workspace<B> {
    /// The projection of the readout.
    fn projection(&self, backend: &B) -> Result<(Vec<B::Real>, Shape), B::Error> {
        let Some(LayerSpace { y, .. }) = self.layers.last() else { unreachable!() };
        let shape = backend.shape(y);
        let mut host = vec![B::Real::zero(); shape.len()];
        backend.download_sequence(y, &mut host)?;
        Ok((host, shape))
    }
}

impl<B: Backend> Trainer<B> {
    /// Computes the gradients, the loss and the scores of a batch window by window.
    ///
    /// A first pass computes the scores, a second one the gradients of their loss. Gradients do not
    /// pass the edges of windows.
    pub(super) fn accumulate_windows(
        &mut self,
        batch: &Batch<'_, B::Real>,
        targets: &[B::Real],
        windows: &Windows,
        scores: &mut [B::Real],
    ) -> Result<B::Real, B::Error> {
        let (rounding, rng) = (self.rounding(), self.dropout());
        self.kept = None;
        let Model { backend, layers, running } = &mut self.model;
        let (backend, layers) = (&*backend, &*layers);
        let shape = Shape { steps: windows.steps, ..batch.shape };
        let mut pass = Workspace::new(backend, layers, shape, true, true)?;
        pass.draw_masks(backend, layers, rng, shape.batch)?;
        let mut not_kept = backend.buffer(layers.layout.lens[Group::Statistics as usize])?;
        let mut whole = layers.integration(batch);
        for window in 0..windows.count {
            let span = windows.span(batch, window);
            windows.upload(backend, batch, window, &mut pass.input)?;
            pass.forward(backend, layers, rounding, &span, &mut Norms::Batch(&mut not_kept))?;
            let (y, shape) = pass.projection(backend)?;
            layers.in_window(&span, |valid| whole.advance(valid, (&y, shape)))?;
            pass.advance(backend)?;
        }
        scores.copy_from_slice(&whole.scores());
        let (mut loss, d_scores) = layers.loss(scores, targets);
        if !loss.is_finite() {
            return Ok(loss);
        }
        pass.restart(backend)?;
        let mut term = Blocks::host(&layers.layout).upload(backend)?;
        let mut readout = layers.integration(batch);
        let mut d_y = Vec::new();
        for window in 0..windows.count {
            let span = windows.span(batch, window);
            windows.upload(backend, batch, window, &mut pass.input)?;
            pass.forward(backend, layers, rounding, &span, &mut Norms::Batch(running))?;
            let (y, shape) = pass.projection(backend)?;
            d_y.resize(shape.len(), B::Real::zero());
            layers.in_window(&span, |valid| {
                readout.backward(&whole, valid, (&y, shape), &d_scores, &mut d_y)?;
                readout.advance(valid, (&y, shape))
            })?;
            if let Some(LayerSpace { d: Some(d), .. }) = pass.layers.last_mut() {
                backend.upload_sequence(&d_y, d)?;
            }
            let into = if window == 0 { &mut self.gradients } else { &mut term };
            let penalty = self.recipe.rate_penalty.as_ref();
            loss += pass.backward(backend, layers, rounding, &span, penalty, into)?;
            if window > 0 {
                let sums = self.gradients.0.iter_mut().zip(&term.0).zip(layers.layout.lens);
                for ((sum, term), len) in sums {
                    backend.add_buffer(term, sum, len)?;
                }
            }
            pass.advance(backend)?;
        }
        Ok(loss)
    }
}
