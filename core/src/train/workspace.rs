use super::graph::{Edge, Node};
use super::layers::{Full, Layers, full_blocks};
use super::layout::{Blocks, EdgeRanges};
use super::recurrent::{RecurrentPass, RecurrentSpace};
use super::tensor::Group;
use crate::backend::{Backend, NormMode, SynapseGradients, View, ViewMut};
use crate::delay::Rounding;
use crate::loss::RatePenalty;
use crate::neuron::ErasedNeuron;
use crate::norm::{BatchNorm, ValidSteps};
use crate::num::Real;
use crate::rng::Rng;
use crate::shape::{Shape, Synapses};
use alloc::vec;
use alloc::vec::Vec;
use num_traits::Zero;

/// The steps of a batch that a pass covers: all, or a window of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<'a> {
    /// The shape of the input of the whole batch.
    pub(super) batch: Shape,
    /// The lengths of the samples; `None` if all steps are valid.
    pub(super) lengths: Option<&'a [usize]>,
    /// The first step of the window and the number of its steps.
    pub(super) window: Option<(usize, usize)>,
}

impl Span<'_> {
    /// The number of valid steps of every sample in the whole output of a layer with this padding.
    pub(super) fn valid(&self, padding: usize) -> Vec<usize> {
        let all = self.batch.steps.saturating_add(padding);
        let valid = ValidSteps { lengths: self.lengths, padding };
        (0..self.batch.batch).map(|b| valid.steps(b, all)).collect()
    }

    /// Calls `f` with the valid steps of a layer with this padding, in the window.
    pub(super) fn with_valid<T>(&self, padding: usize, f: impl FnOnce(ValidSteps<'_>) -> T) -> T {
        let Some((start, steps)) = self.window else {
            return f(ValidSteps { lengths: self.lengths, padding });
        };
        let mut lengths = self.valid(padding);
        lengths.iter_mut().for_each(|length| *length = length.saturating_sub(start).min(steps));
        f(ValidSteps { lengths: Some(&lengths), padding: 0 })
    }

    /// The norm with the momentum of a window: that of the batch is shared among its windows by
    /// their valid steps.
    fn norm_of_share<R: Real>(&self, norm: &BatchNorm<R>, padding: usize) -> BatchNorm<R> {
        if self.window.is_none() {
            return *norm;
        }
        let keep = Real::powf(1.0 - norm.momentum.as_f64(), self.share(padding));
        BatchNorm { momentum: R::of(1.0 - keep), ..*norm }
    }

    /// The part of the valid steps of a layer that lies in the window.
    fn share(&self, padding: usize) -> f64 {
        let Some((_, steps)) = self.window else { return 1.0 };
        let all: usize = self.valid(padding).iter().sum();
        let here = self.with_valid(padding, |valid| valid.count(steps, self.batch.batch));
        here as f64 / all.max(1) as f64
    }
}

/// The statistics of the norms of all layers.
pub(super) enum Norms<'a, T> {
    /// Those of the batch, which update the running ones.
    Batch(&'a mut T),
    /// The running ones.
    Running(&'a T),
}

/// The blocks of a pass over a batch or over its windows, kept from one to the next.
pub(super) struct Workspace<B: Backend> {
    /// The input of the pass.
    pub(super) input: Signal<B>,
    pub(super) layers: Vec<LayerSpace<B>>,
}

/// The blocks of a layer. The readout has no spikes; its `d` is the gradient by `y`.
pub(super) struct LayerSpace<B: Backend> {
    /// The sum of the projections.
    pub(super) y: B::Sequence,
    /// A term of the sum, if there are several.
    part: Option<B::Sequence>,
    statistics: B::Buffer,
    mask: Option<B::Buffer>,
    /// The states before the first step of the batch; `None` for neurons at rest.
    initial: Option<B::Buffer>,
    spikes: Option<Signal<B>>,
    /// The gradient by the spikes, then by `y`; `None` if the pass has no gradients.
    pub(super) d: Option<B::Sequence>,
    /// A term of the gradient, if several connections read the spikes.
    d_part: Option<B::Sequence>,
    /// The gradients by the values of all synapses of each connection, where they are packed.
    d_full: Vec<Full<B>>,
    states: Option<States<B>>,
    recurrent: Option<RecurrentSpace<B>>,
}

/// A sequence that connections read.
pub(super) struct Signal<B: Backend> {
    pub(super) now: B::Sequence,
    pub(super) past: Option<Past<B>>,
}

/// What connections read in a window.
pub(super) struct Past<B: Backend> {
    /// The steps before the window, as many as the longest delay.
    pub(super) before: B::Sequence,
    /// These steps and those of the window.
    joined: B::Sequence,
}

/// The states of the neurons of a layer at the edges of a window.
struct States<B: Backend> {
    start: B::Buffer,
    end: B::Buffer,
    /// Whether this is not the first window.
    started: bool,
}

impl<B: Backend> LayerSpace<B> {
    /// The spikes; for the readout, the sum of the projections.
    pub(super) fn output(&self) -> &B::Sequence {
        self.spikes.as_ref().map_or(&self.y, |spikes| &spikes.now)
    }
}

impl<B: Backend> Signal<B> {
    pub(super) fn new(backend: &B, shape: Shape, past: Option<usize>) -> Result<Self, B::Error> {
        let now = backend.sequence(shape)?;
        let past = match past {
            None => None,
            Some(steps) => {
                let before = backend.sequence(Shape { steps, ..shape })?;
                let steps = steps.saturating_add(shape.steps);
                Some(Past { before, joined: backend.sequence(Shape { steps, ..shape })? })
            }
        };
        Ok(Self { now, past })
    }

    /// The steps that connections read, after [`join`](Self::join).
    fn read(&self) -> &B::Sequence {
        self.past.as_ref().map_or(&self.now, |past| &past.joined)
    }

    pub(super) fn join(&mut self, backend: &B) -> Result<(), B::Error> {
        match &mut self.past {
            Some(Past { before, joined }) => backend.join(before, &self.now, joined),
            None => Ok(()),
        }
    }

    pub(super) fn advance(&mut self, backend: &B) -> Result<(), B::Error> {
        match &mut self.past {
            Some(Past { before, joined }) => backend.copy_last(joined, before),
            None => Ok(()),
        }
    }

    pub(super) fn restart(&mut self, backend: &B) -> Result<(), B::Error> {
        if let Some(Past { before, .. }) = &mut self.past {
            *before = backend.sequence(backend.shape(before))?;
        }
        Ok(())
    }
}

impl<B: Backend> Workspace<B> {
    /// The blocks of passes over batches with an input of the given shape, or over windows of this
    /// shape.
    pub(super) fn new(
        backend: &B,
        layers: &Layers<B>,
        shape: Shape,
        in_windows: bool,
        with_gradients: bool,
    ) -> Result<Self, B::Error> {
        let graph = &layers.graph;
        let past = |from: Option<usize>| {
            let readers = graph.edges().filter(|edge| edge.from == from);
            let longest = readers.map(|edge| edge.synapses.taps - 1).max();
            in_windows.then(|| longest.unwrap_or(0))
        };
        let mut spaces = Vec::new();
        for (l, node) in graph.nodes.iter().enumerate() {
            let Node { edges, width, .. } = node;
            let whole = graph.output(l, shape);
            let output = if in_windows { Shape { steps: shape.steps, ..whole } } else { whole };
            let sequence = |wanted: bool| wanted.then(|| backend.sequence(output)).transpose();
            let readers = graph.edges().filter(|edge| edge.from == Some(l)).count();
            let hidden = layers.network.hidden.get(l);
            let states = match hidden.filter(|_| in_windows) {
                Some(hidden) => {
                    let count = hidden.neuron.state_count();
                    let len = Shape::new(count, shape.batch, *width).try_len()?;
                    let (start, end) = (backend.buffer(len)?, backend.buffer(len)?);
                    Some(States { start, end, started: false })
                }
                None => None,
            };
            let spikes = hidden.map(|_| Signal::new(backend, output, past(Some(l)))).transpose()?;
            spaces.push(LayerSpace {
                y: backend.sequence(output)?,
                part: sequence(edges.len() > 1)?,
                statistics: backend.buffer(2 * width)?,
                mask: None,
                initial: None,
                spikes,
                d: sequence(with_gradients)?,
                d_part: sequence(with_gradients && readers > 1)?,
                d_full: if with_gradients { full_blocks(backend, node)? } else { Vec::new() },
                states,
                recurrent: RecurrentSpace::new(backend, node, output, in_windows)?,
            });
        }
        Ok(Self { input: Signal::new(backend, shape, past(None))?, layers: spaces })
    }

    /// Sets the first states of an evaluation.
    pub(super) fn start(
        &mut self,
        backend: &B,
        layers: &Layers<B>,
        batch: usize,
    ) -> Result<(), B::Error> {
        for (l, space) in self.layers.iter_mut().enumerate() {
            space.initial = layers.initial_states(backend, l, None, batch)?;
        }
        Ok(())
    }

    /// Draws the dropout masks and the first states of a batch.
    pub(super) fn draw_masks(
        &mut self,
        backend: &B,
        layers: &Layers<B>,
        rng: Rng,
        batch: usize,
    ) -> Result<(), B::Error> {
        for (l, (hidden, space)) in layers.network.hidden.iter().zip(&mut self.layers).enumerate() {
            let starts = Some(rng.fork(l as u64).fork(1));
            space.initial = layers.initial_states(backend, l, starts, batch)?;
            space.mask = None;
            if hidden.dropout > 0.0 {
                let len = batch * layers.graph.nodes[l].width;
                space.mask = Some(backend.dropout(rng.fork(l as u64), hidden.dropout, len)?);
            }
            if let (Some(space), Some(hidden)) = (&mut space.recurrent, &hidden.recurrence) {
                space.draw_mask(backend, rng.fork(l as u64).fork(0), hidden.dropout)?;
            }
        }
        Ok(())
    }

    /// Goes back to the first window of a batch.
    pub(super) fn restart(&mut self, backend: &B) -> Result<(), B::Error> {
        self.input.restart(backend)?;
        for space in &mut self.layers {
            space.spikes.as_mut().map_or(Ok(()), |spikes| spikes.restart(backend))?;
            space.recurrent.as_mut().map_or(Ok(()), |space| space.restart(backend))?;
            space.states.iter_mut().for_each(|states| states.started = false);
        }
        Ok(())
    }

    /// Goes on to the next window.
    pub(super) fn advance(&mut self, backend: &B) -> Result<(), B::Error> {
        self.input.advance(backend)?;
        for space in &mut self.layers {
            space.spikes.as_mut().map_or(Ok(()), |spikes| spikes.advance(backend))?;
            space.recurrent.as_mut().map_or(Ok(()), |space| space.advance(backend))?;
            if let Some(States { start, end, started }) = &mut space.states {
                core::mem::swap(start, end);
                *started = true;
            }
        }
        Ok(())
    }

    /// Computes all layers up to the projection of the readout.
    pub(super) fn forward(
        &mut self,
        backend: &B,
        layers: &Layers<B>,
        rounding: Option<Rounding>,
        span: &Span<'_>,
        norms: &mut Norms<'_, B::Buffer>,
    ) -> Result<(), B::Error> {
        for l in 0..self.layers.len() {
            let (before, from) = self.layers.split_at_mut(l);
            let at = &mut from[0];
            for (c, edge) in layers.graph.nodes[l].edges.iter().enumerate() {
                let x = source(edge, &self.input, before).read();
                let pass = Projection { backend, layers, connection: (l, c), rounding, span };
                match at.part.as_mut().filter(|_| c > 0) {
                    Some(part) => {
                        pass.forward(x, part)?;
                        backend.add(part, &mut at.y)?;
                    }
                    None => pass.forward(x, &mut at.y)?,
                }
            }
            layers.add_bias(backend, l, &mut at.y)?;
            let (Some(spikes), states) = (&mut at.spikes, at.states.as_mut()) else { continue };
            span.with_valid(layers.graph.nodes[l].padding, |valid| {
                let (start, end) = match states {
                    Some(States { start, end, started }) => (started.then_some(&*start), Some(end)),
                    None => (None, None),
                };
                let start = start.or(at.initial.as_ref());
                let layer = layers.activation(l, at.mask.as_ref(), valid, start);
                let Some(mut layer) = layer else { return Ok(()) };
                let in_share;
                if let Some((norm, params)) = layer.norm {
                    in_share = span.norm_of_share(norm, layers.graph.nodes[l].padding);
                    layer.norm = Some((&in_share, params));
                }
                let range = layers.layout.layers[l].norm.clone();
                let mode = match norms {
                    Norms::Batch(running) => {
                        NormMode::Batch { running: ViewMut::new(&mut **running, range) }
                    }
                    Norms::Running(running) => NormMode::Running(View::new(*running, range)),
                };
                let (y, statistics) = (&at.y, &mut at.statistics);
                let to = &mut spikes.now;
                match &mut at.recurrent {
                    Some(space) => {
                        let pass = RecurrentPass { backend, layers, l, rounding };
                        space.forward(&pass, &layer, mode, y, statistics, to, end)
                    }
                    None => backend.activate(&layer, mode, y, statistics, to, end),
                }
            })?;
            spikes.join(backend)?;
        }
        Ok(())
    }

    /// Computes the gradients of a pass after [`forward`](Self::forward), from that by the
    /// projection of the readout, and returns the penalties.
    pub(super) fn backward(
        &mut self,
        backend: &B,
        layers: &Layers<B>,
        rounding: Option<Rounding>,
        span: &Span<'_>,
        penalty: Option<&RatePenalty>,
        gradients: &mut Blocks<B::Buffer>,
    ) -> Result<B::Real, B::Error> {
        let mut penalties = B::Real::zero();
        let layout = &layers.layout;
        let mut reached = vec![false; self.layers.len()];
        for l in (0..self.layers.len()).rev() {
            let (before, from) = self.layers.split_at_mut(l);
            let at = &mut from[0];
            let (Some(d), padding) = (&mut at.d, layers.graph.nodes[l].padding) else { continue };
            if let (Some(penalty), Some(spikes)) = (penalty, &at.spikes) {
                let penalty =
                    RatePenalty { weight: penalty.weight * span.share(padding), ..*penalty };
                penalties += span.with_valid(padding, |valid| {
                    backend.penalize_rates(&penalty, valid, &spikes.now, d)
                })?;
            }
            span.with_valid(padding, |valid| {
                let states = at.states.as_ref().filter(|states| states.started);
                let start = states.map(|states| &states.start).or(at.initial.as_ref());
                let layer = layers.activation(l, at.mask.as_ref(), valid, start);
                let Some(layer) = layer else { return Ok(()) };
                let (y, statistics, edges) = (&at.y, &at.statistics, &layers.graph.nodes[l].edges);
                let Some(space) = &at.recurrent else {
                    let into = gradients.activation(layout, l);
                    return backend.activate_backward(&layer, y, statistics, d, into);
                };
                let c = edges.len();
                let into = gradients.recurrent(layout, l, c, &mut at.d_full[c]);
                let pass = RecurrentPass { backend, layers, l, rounding };
                space.backward(&pass, &layer, y, statistics, d, into)
            })?;
            let (n, bias) = (Group::Weights as usize, &layout.layers[l].bias);
            if !bias.is_empty() {
                let into = ViewMut::new(&mut gradients.0[n], bias.clone());
                backend.bias_backward(d, into, layout.lens[n])?;
            }
            for (c, edge) in layers.graph.nodes[l].edges.iter().enumerate() {
                let pass = Projection { backend, layers, connection: (l, c), rounding, span };
                let into = gradients.connection(layout, l, c, &mut at.d_full[c]);
                match edge.from.map(|from| (&mut reached[from], &mut before[from])) {
                    None => pass.backward(self.input.read(), d, into, None)?,
                    Some((reached, LayerSpace { spikes, d: d_x, d_part, .. })) => {
                        let (Some(spikes), Some(d_x)) = (spikes, d_x) else { continue };
                        let further = core::mem::replace(reached, true);
                        match d_part.as_mut().filter(|_| further) {
                            Some(term) => {
                                pass.backward(spikes.read(), d, into, Some(term))?;
                                backend.add(term, d_x)?;
                            }
                            None => pass.backward(spikes.read(), d, into, Some(d_x))?,
                        }
                    }
                }
            }
            for (c, edge) in layers.graph.nodes[l].connections().enumerate() {
                let EdgeRanges { weights, delays, spread, .. } = &layout.layers[l].edges[c];
                let to =
                    [(Group::Weights, weights), (Group::Delays, delays), (Group::Delays, spread)];
                for ((full, sharing), (group, to)) in at.d_full[c].iter().zip(edge.shared()).zip(to)
                {
                    let (Some(full), Some(sharing)) = (full, sharing) else { continue };
                    let n = group as usize;
                    let to = ViewMut::new(&mut gradients.0[n], to.clone());
                    backend.reduce(&edge.synapses, sharing, full, to, layout.lens[n])?;
                }
            }
        }
        layers.sigmas_to_spreads(backend, &mut gradients.0[Group::Delays as usize])?;
        Ok(penalties)
    }
}

/// Connection `c` of layer `l`, with `connection = (l, c)`, in a pass.
struct Projection<'a, B: Backend> {
    backend: &'a B,
    layers: &'a Layers<B>,
    connection: (usize, usize),
    rounding: Option<Rounding>,
    span: &'a Span<'a>,
}

impl<B: Backend> Projection<'_, B> {
    /// In a window, `x` has more steps than `y`: those before the window come first.
    fn forward(&self, x: &B::Sequence, y: &mut B::Sequence) -> Result<(), B::Error> {
        let (backend, (l, c)) = (self.backend, self.connection);
        let (synapses, kernel, params) = self.layers.connection(l, c, self.rounding);
        if self.span.window.is_none() {
            return backend.project(synapses, kernel, params, x, y);
        }
        let (synapses, steps) = (Synapses { padding: 0, ..*synapses }, backend.shape(x).steps);
        let mut longer = backend.sequence(Shape { steps, ..backend.shape(y) })?;
        backend.project(&synapses, kernel, params, x, &mut longer)?;
        backend.copy_last(&longer, y)
    }

    fn backward(
        &self,
        x: &B::Sequence,
        d_y: &B::Sequence,
        into: SynapseGradients<'_, B::Buffer>,
        d_x: Option<&mut B::Sequence>,
    ) -> Result<(), B::Error> {
        let (backend, (l, c)) = (self.backend, self.connection);
        let (synapses, kernel, params) = self.layers.connection(l, c, self.rounding);
        if self.span.window.is_none() {
            return backend.project_backward(synapses, kernel, params, x, d_y, into, d_x);
        }
        let (synapses, steps) = (Synapses { padding: 0, ..*synapses }, backend.shape(x).steps);
        let shape = backend.shape(d_y);
        let before = backend.sequence(Shape { steps: steps - shape.steps, ..shape })?;
        let mut longer = backend.sequence(Shape { steps, ..shape })?;
        backend.join(&before, d_y, &mut longer)?;
        let Some(d_x) = d_x else {
            return backend.project_backward(&synapses, kernel, params, x, &longer, into, None);
        };
        let mut d = backend.sequence(backend.shape(x))?;
        let to = Some(&mut d);
        backend.project_backward(&synapses, kernel, params, x, &longer, into, to)?;
        backend.copy_last(&d, d_x)
    }
}

/// The sequence that a connection reads.
fn source<'a, B: Backend>(
    edge: &Edge,
    input: &'a Signal<B>,
    before: &'a [LayerSpace<B>],
) -> &'a Signal<B> {
    edge.from.and_then(|from| before[from].spikes.as_ref()).unwrap_or(input)
}
