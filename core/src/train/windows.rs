use super::layers::Layers;
use super::layout::Blocks;
use super::model::{Batch, Delays, Input, Model, mean_loss};
use super::tensor::Group;
use super::trainer::Trainer;
use super::workspace::{LayerSpace, Norms, Signal, Span, Workspace};
use crate::backend::{Backend, Event};
use crate::delay::Rounding;
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
        windows: Windows,
        look: impl FnMut(usize, &B, &B::Sequence) -> Result<(), B::Error>,
    ) -> Result<(Vec<B::Real>, B::Real), B::Error> {
        let Self { backend, layers, running } = self;
        let rounding = (delays == Delays::Rounded).then_some(layers.network.rounding);
        let mut passes = Passes::new(backend, layers, rounding, batch, windows, false)?;
        passes.space.start(backend, layers, batch.shape.batch)?;
        let scores = passes.integrate(&mut Norms::Running(running), look)?.scores();
        let loss = batch.targets.map(|targets| passes.loss(&scores, targets).0);
        Ok((scores, loss.unwrap_or(B::Real::zero())))
    }
}

/// Passes over the windows of a batch.
struct Passes<'a, B: Backend> {
    backend: &'a B,
    layers: &'a Layers<B>,
    rounding: Option<Rounding>,
    batch: &'a Batch<'a, B::Real>,
    windows: Windows,
    space: Workspace<B>,
}

/// The projection of the readout in a window.
struct Projected<'a, R> {
    span: Span<'a>,
    y: Vec<R>,
    shape: Shape,
}

impl<'a, B: Backend> Passes<'a, B> {
    fn new(
        backend: &'a B,
        layers: &'a Layers<B>,
        rounding: Option<Rounding>,
        batch: &'a Batch<'a, B::Real>,
        windows: Windows,
        with_gradients: bool,
    ) -> Result<Self, B::Error> {
        let shape = Shape { steps: windows.steps, ..batch.shape };
        let space = Workspace::new(backend, layers, shape, true, with_gradients)?;
        Ok(Self { backend, layers, rounding, batch, windows, space })
    }

    /// The readout before the first window.
    fn integration(&self) -> Integration<B::Real> {
        let (network, classes) = (&self.layers.network, self.layers.graph.classes());
        let li = &network.output.integrator;
        Integration::new(li, network.loss, self.batch.shape.batch, classes)
    }

    /// The readout after the last window. `look` sees the output of every layer in every window.
    fn integrate(
        &mut self,
        norms: &mut Norms<'_, B::Buffer>,
        mut look: impl FnMut(usize, &B, &B::Sequence) -> Result<(), B::Error>,
    ) -> Result<Integration<B::Real>, B::Error> {
        let mut readout = self.integration();
        for window in 0..self.windows.count {
            let Projected { span, y, shape } = self.compute(window, norms)?;
            for (l, layer) in self.space.layers.iter().enumerate() {
                look(l, self.backend, layer.output())?;
            }
            self.with_valid(&span, |valid| readout.advance(valid, (&y, shape)))?;
            self.space.advance(self.backend)?;
        }
        Ok(readout)
    }

    /// Computes the layers in the next window.
    fn compute(
        &mut self,
        window: usize,
        norms: &mut Norms<'_, B::Buffer>,
    ) -> Result<Projected<'a, B::Real>, B::Error> {
        let Self { backend, layers, rounding, batch, windows, space } = self;
        let span = windows.span(batch, window);
        windows.upload(*backend, batch, window, &mut space.input)?;
        space.forward(backend, layers, *rounding, &span, norms)?;
        let last = &space.layers[space.layers.len() - 1];
        let shape = backend.shape(&last.y);
        let mut y = vec![B::Real::zero(); shape.len()];
        backend.download_sequence(&last.y, &mut y)?;
        Ok(Projected { span, y, shape })
    }

    /// Calls `f` with the valid steps of the readout in a window.
    fn with_valid<T>(&self, span: &Span<'_>, f: impl FnOnce(ValidSteps<'_>) -> T) -> T {
        span.with_valid(self.layers.graph.nodes.last().map_or(0, |node| node.padding), f)
    }

    /// The mean loss of the batch, and its gradient by the scores.
    fn loss(&self, scores: &[B::Real], targets: &[B::Real]) -> (B::Real, Vec<B::Real>) {
        let objective = self.layers.network.objective.unwrap_or(&CrossEntropy);
        mean_loss(objective, self.layers.graph.classes(), scores, targets)
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
        windows: Windows,
        scores: &mut [B::Real],
    ) -> Result<B::Real, B::Error> {
        let (rounding, rng) = (self.rounding(), self.dropout());
        self.kept = None;
        let Model { backend, layers, running } = &mut self.model;
        let (backend, layers) = (&*backend, &*layers);
        let mut passes = Passes::new(backend, layers, rounding, batch, windows, true)?;
        passes.space.draw_masks(backend, layers, rng, batch.shape.batch)?;
        let mut not_kept = backend.buffer(layers.layout.lens[Group::Statistics as usize])?;
        let whole = passes.integrate(&mut Norms::Batch(&mut not_kept), |_, _, _| Ok(()))?;
        scores.copy_from_slice(&whole.scores());
        let (mut loss, d_scores) = passes.loss(scores, targets);
        if !loss.is_finite() {
            return Ok(loss);
        }
        passes.space.restart(backend)?;
        let mut term = Blocks::host(&layers.layout).upload(backend)?;
        let mut readout = passes.integration();
        for window in 0..windows.count {
            let Projected { span, y, shape } =
                passes.compute(window, &mut Norms::Batch(running))?;
            let mut d_y = vec![B::Real::zero(); shape.len()];
            passes.with_valid(&span, |valid| {
                readout.backward(&whole, valid, (&y, shape), &d_scores, &mut d_y)?;
                readout.advance(valid, (&y, shape))
            })?;
            let space = &mut passes.space;
            if let Some(LayerSpace { d: Some(d), .. }) = space.layers.last_mut() {
                backend.upload_sequence(&d_y, d)?;
            }
            let into = if window == 0 { &mut self.gradients } else { &mut term };
            let penalty = self.recipe.rate_penalty.as_ref();
            loss += space.backward(backend, layers, rounding, &span, penalty, into)?;
            if window > 0 {
                let sums = self.gradients.0.iter_mut().zip(&term.0).zip(layers.layout.lens);
                for ((sum, term), len) in sums {
                    backend.add_buffer(term, sum, len)?;
                }
            }
            space.advance(backend)?;
        }
        Ok(loss)
    }
}
