use super::error::TrainError;
use super::graph::Graph;
use super::layers::Layers;
use super::layout::{Blocks, Layout};
use super::network::Network;
use super::recurrent::{RecurrentPass, RecurrentSpace};
use super::state::{State, StateError, Tensor};
use super::tensor::{Group, TensorSpec};
use crate::backend::{Backend, Event, NormMode, View};
use crate::init::DelayInit;
use crate::loss::Objective;
use crate::num::Real;
use crate::shape::{Shape, ShapeError, expect};
use alloc::vec;
use alloc::vec::Vec;
use num_traits::Zero;

/// The input `[T, B, N]` of a batch.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a, R> {
    /// All values, time-major.
    Dense(&'a [R]),
    /// The values that are not zero, in the order of [`Event::check`].
    Events(&'a [Event<R>]),
}

/// A batch of samples to train on or to evaluate.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, R> {
    /// The shape of `x`.
    pub shape: Shape,
    /// The input.
    pub x: Input<'a, R>,
    /// The target distributions `[B, classes]`, where something is learned or a loss is asked for.
    pub targets: Option<&'a [R]>,
    /// The number of valid steps of every sample. With `None` all steps, including padding, count
    /// in the norms and the loss.
    pub lengths: Option<&'a [usize]>,
}

impl<R: Real> Input<'_, R> {
    pub(super) fn upload<B: Backend<Real = R>>(
        &self,
        backend: &B,
        to: &mut B::Sequence,
    ) -> Result<(), B::Error> {
        match self {
            Self::Dense(x) => backend.upload_sequence(x, to),
            Self::Events(events) => backend.upload_events(events, to),
        }
    }
}

/// How delays are applied in an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delays {
    /// Spread by the kernel of the layer, with its present sigma.
    Spread,
    /// Rounded to whole steps, as [`Network::rounding`] says.
    Rounded,
}

/// The output of one layer: spikes `[T, B, N]`, or the projection of the readout.
#[derive(Clone, Debug)]
pub struct Spikes<R> {
    /// The shape of `values`.
    pub shape: Shape,
    /// The values, time-major.
    pub values: Vec<R>,
}

/// The result of one pass over a batch.
#[derive(Clone, Debug)]
pub struct Trace<R> {
    /// Scores `[B, classes]`.
    pub scores: Vec<R>,
    /// The output of every layer, the projection of the readout last.
    pub layers: Vec<Spikes<R>>,
}

/// A network with its parameters on a backend.
pub struct Model<B: Backend> {
    pub(super) backend: B,
    pub(super) layers: Layers<B>,
    pub(super) running: B::Buffer,
}

impl<B: Backend> Model<B> {
    /// Creates a model with random initial parameters, which depend on the seed, the layer
    /// and the connection only.
    ///
    /// # Errors
    /// [`TrainError::Network`] if the network is invalid; [`TrainError::Backend`] if the backend
    /// fails.
    pub fn new(
        backend: B,
        network: Network<B>,
        delays: DelayInit,
        seed: u64,
    ) -> Result<Self, TrainError<B::Error>> {
        let graph = network.graph().map_err(TrainError::Network)?;
        for (l, inputs) in network.inputs().enumerate() {
            let hidden = network.hidden.get(l);
            let recurrence = hidden.and_then(|hidden| hidden.recurrence.as_ref());
            let kernels = inputs.iter().map(|connection| &connection.kernel);
            let kernels: Vec<_> = kernels.chain(recurrence.map(|r| &r.connection.kernel)).collect();
            let models = hidden.map(|hidden| (&hidden.neuron, &hidden.surrogate));
            backend.supports(&kernels, models)?;
        }
        let layout = Layout::new(&network, &graph, delays, seed);
        let mut host = Blocks::host(&layout);
        let mut running = layout.zeros(Group::Statistics);
        for spec in &layout.specs {
            let block = host.0.get_mut(spec.group as usize).unwrap_or(&mut running);
            spec.fill(&mut block[spec.range.clone()]);
        }
        let values = host.upload(&backend)?;
        let mut device = backend.buffer(running.len())?;
        backend.upload(&running, &mut device)?;
        let mut layers = Layers::new(&backend, network, graph, layout, values)?;
        layers.expand_all(&backend)?;
        Ok(Self { backend, layers, running: device })
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Network<B> {
        &self.layers.network
    }

    /// Who is connected to whom.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.layers.graph
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// What the tensors of [`tensors`](Self::tensors) are, in the same order.
    #[must_use]
    pub fn specs(&self) -> &[TensorSpec<B::Real>] {
        &self.layers.layout.specs
    }

    /// The scores `[B, classes]` and the mean loss of a batch, with running statistics and without
    /// dropout. Without targets the loss is 0. A batch that is longer than [`Network::window`] is
    /// computed window by window; its scores are the same up to rounding.
    ///
    /// # Errors
    /// The error of the backend, which includes a [`ShapeError`] if the batch does not fit the
    /// network.
    pub fn evaluate(
        &self,
        batch: &Batch<'_, B::Real>,
        delays: Delays,
    ) -> Result<(Vec<B::Real>, B::Real), B::Error> {
        self.forward(batch, delays, |_, _, _| Ok(()))
    }

    /// As [`evaluate`](Self::evaluate). Calls `look` with the index and the output of every layer:
    /// the spikes of the hidden layers, then the projection of the readout. If the batch is cut
    /// into windows, `look` sees one after the other; after the end of a layer its spikes are 0.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn watch(
        &self,
        batch: &Batch<'_, B::Real>,
        delays: Delays,
        look: &mut dyn FnMut(usize, Spikes<B::Real>),
    ) -> Result<(Vec<B::Real>, B::Real), B::Error> {
        self.forward(batch, delays, |l, backend, sequence| {
            let shape = backend.shape(sequence);
            let mut values = vec![B::Real::zero(); shape.len()];
            backend.download_sequence(sequence, &mut values)?;
            look(l, Spikes { shape, values });
            Ok(())
        })
    }

    /// The output of every layer for a batch, the projection of the readout last; otherwise as
    /// [`evaluate`](Self::evaluate).
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn spikes(
        &self,
        batch: &Batch<'_, B::Real>,
        delays: Delays,
    ) -> Result<Vec<Spikes<B::Real>>, B::Error> {
        Ok(self.trace(batch, delays)?.layers)
    }

    /// The scores of [`Model::evaluate`] and the layers of [`Model::spikes`] from one pass.
    ///
    /// # Errors
    /// As [`Model::evaluate`].
    pub fn trace(
        &self,
        batch: &Batch<'_, B::Real>,
        delays: Delays,
    ) -> Result<Trace<B::Real>, B::Error> {
        let mut layers: Vec<Spikes<B::Real>> = Vec::new();
        let (scores, _) = self.watch(batch, delays, &mut |l, part| match layers.get_mut(l) {
            Some(layer) => {
                let kept = layer.shape.len().saturating_sub(layer.values.len());
                layer.values.extend(part.values.into_iter().take(kept));
            }
            None => {
                let mut layer = part;
                layer.shape = self.graph().output(l, batch.shape);
                layer.values.reserve_exact(layer.shape.len().saturating_sub(layer.values.len()));
                layer.values.truncate(layer.shape.len());
                layers.push(layer);
            }
        })?;
        for layer in &mut layers {
            layer.values.resize(layer.shape.len(), B::Real::zero());
        }
        Ok(Trace { scores, layers })
    }

    fn forward(
        &self,
        batch: &Batch<'_, B::Real>,
        delays: Delays,
        mut look: impl FnMut(usize, &B, &B::Sequence) -> Result<(), B::Error>,
    ) -> Result<(Vec<B::Real>, B::Real), B::Error> {
        self.check(batch)?;
        if let Some(windows) = self.windows(batch) {
            return self.evaluate_in_windows(batch, delays, windows, look);
        }
        let Self { backend, layers, running } = self;
        let Layers { network, graph, layout, .. } = layers;
        let rounding = (delays == Delays::Rounded).then_some(network.rounding);
        let mut input = backend.sequence(batch.shape)?;
        batch.x.upload(backend, &mut input)?;
        let mut input = Some(input);
        let mut outputs: Vec<Option<B::Sequence>> = Vec::new();
        for (l, node) in graph.nodes.iter().enumerate() {
            let shape = graph.output(l, batch.shape);
            // Large blocks come first: a backend reports that they do not fit.
            let mut y = backend.sequence(shape)?;
            let start = layers.initial_states(backend, l, None, batch.shape.batch)?;
            let valid = layers.valid(l, batch.lengths);
            let layer = layers.activation(l, None, valid, start.as_ref());
            let mut spikes = layer.as_ref().map(|_| backend.sequence(shape)).transpose()?;
            let mut statistics = backend.buffer(2 * node.width)?;
            for (c, edge) in node.edges.iter().enumerate() {
                let source = edge.from.map_or(&input, |from| &outputs[from]);
                let Some(x) = source else { continue };
                if c == 0 {
                    layers.project(backend, l, c, rounding, x, &mut y)?;
                } else {
                    let mut part = backend.sequence(shape)?;
                    layers.project(backend, l, c, rounding, x, &mut part)?;
                    backend.add(&part, &mut y)?;
                }
            }
            layers.add_bias(backend, l, &mut y)?;
            if graph.last_reader(None) == l {
                input = None;
            }
            for (from, output) in outputs.iter_mut().enumerate() {
                if graph.last_reader(Some(from)) == l {
                    *output = None;
                }
            }
            let (Some(layer), Some(to)) = (layer, &mut spikes) else {
                outputs.push(Some(y));
                break;
            };
            let mode = NormMode::Running(View::new(running, layout.layers[l].norm.clone()));
            match RecurrentSpace::new(backend, node, shape, false)? {
                Some(mut space) => {
                    let pass = RecurrentPass { backend, layers, l, rounding };
                    space.forward(&pass, &layer, mode, &y, &mut statistics, to, None)?;
                }
                None => backend.activate(&layer, mode, &y, &mut statistics, to, None)?,
            }
            look(l, backend, to)?;
            outputs.push(spikes);
        }
        let Some(y) = outputs.pop().flatten() else { return Ok((Vec::new(), B::Real::zero())) };
        look(graph.nodes.len() - 1, backend, &y)?;
        let mut host = vec![B::Real::zero(); batch.shape.batch.saturating_mul(graph.classes())];
        let mut scores = backend.buffer(host.len())?;
        let (li, loss) = (&network.output.integrator, network.loss);
        let valid = layers.valid(graph.nodes.len() - 1, batch.lengths);
        let targets = match batch.targets.filter(|_| network.objective.is_none()) {
            Some(targets) => {
                let mut buffer = backend.buffer(targets.len())?;
                backend.upload(targets, &mut buffer)?;
                Some(buffer)
            }
            None => None,
        };
        let mut loss = backend.readout(li, loss, valid, &y, targets.as_ref(), &mut scores, None)?;
        backend.download(&scores, &mut host)?;
        if let (Some(objective), Some(targets)) = (network.objective, batch.targets) {
            loss = mean_loss(objective, graph.classes(), &host, targets).0;
        }
        Ok((host, loss))
    }

    pub(super) fn check(&self, batch: &Batch<'_, B::Real>) -> Result<(), ShapeError> {
        let shape = batch.shape;
        Shape::new(1, shape.batch, self.graph().classes()).try_len()?;
        expect("channels of the batch", self.graph().channels(), shape.width)?;
        match batch.x {
            Input::Dense(x) => expect("input of the batch", shape.len(), x.len())?,
            Input::Events(events) => Event::check(events, shape)?,
        }
        if let Some(targets) = batch.targets {
            expect(
                "targets of the batch",
                shape.batch.saturating_mul(self.graph().classes()),
                targets.len(),
            )?;
        }
        match batch.lengths {
            Some(lengths) => expect("lengths of the batch", shape.batch, lengths.len()),
            None => Ok(()),
        }
    }

    /// The parameters and running statistics by name: `hidden.0.weight` `[out, in, count]`, or
    /// packed if the connection has a [`Connectivity`](crate::connectivity::Connectivity),
    /// `.delay` and `.spread` in the shapes of their [`Place`](crate::delay::Place), `.sigma`,
    /// `.neuron` `[P]` or `[P, out]`, `.gamma`, `.beta`, `.running_mean`, `.running_var`, `.bias`
    /// `[out]`; `output.weight`, `.delay`, `.sigma`, `.bias`; further connections of a layer as
    /// `hidden.0.inputs.1.weight`, the recurrent one as `hidden.0.recurrent.weight`. Tensors
    /// without values are left out.
    ///
    /// # Errors
    /// The error of the backend.
    pub fn tensors(&self) -> Result<Vec<Tensor<B::Real>>, B::Error> {
        let mut running = self.layers.layout.zeros(Group::Statistics);
        self.backend.download(&self.running, &mut running)?;
        let host = self.layers.values.download(&self.backend, &self.layers.layout)?;
        Ok(self.named(&host, Some(&running)))
    }

    /// The weights of all synapses `[out, in, count]` of a connection; 0 for those that its
    /// [`Connectivity`](crate::connectivity::Connectivity) does not have.
    ///
    /// # Errors
    /// The error of the backend.
    pub fn weights(&self, layer: usize, connection: usize) -> Result<Vec<B::Real>, B::Error> {
        self.full(layer, connection, Group::Weights)
    }

    /// The delays of all synapses `[out, in, count]` of a connection, wherever its delays sit; see
    /// [`Place`](crate::delay::Place).
    ///
    /// # Errors
    /// The error of the backend.
    pub fn delays(&self, layer: usize, connection: usize) -> Result<Vec<B::Real>, B::Error> {
        self.full(layer, connection, Group::Delays)
    }

    fn full(&self, l: usize, c: usize, group: Group) -> Result<Vec<B::Real>, B::Error> {
        let Layers { layout, values, full, .. } = &self.layers;
        let ([weights, delays, _], ranges) = (&full[l][c], &layout.layers[l].edges[c]);
        let (full, range) = match group {
            Group::Weights => (weights, &ranges.weights),
            _ => (delays, &ranges.delays),
        };
        if let Some(full) = full {
            let mut values = vec![B::Real::zero(); ranges.elements];
            self.backend.download(full, &mut values)?;
            return Ok(values);
        }
        let mut host = layout.zeros(group);
        self.backend.download(&values.0[group as usize], &mut host)?;
        Ok(host[range.clone()].to_vec())
    }

    /// The tensors of blocks in the layout of the parameters, such as gradients.
    pub(super) fn named(
        &self,
        blocks: &Blocks<Vec<B::Real>>,
        running: Option<&Vec<B::Real>>,
    ) -> Vec<Tensor<B::Real>> {
        let tensor = |spec: &TensorSpec<B::Real>| {
            let block = blocks.0.get(spec.group as usize).or(running)?;
            let values = block[spec.range.clone()].to_vec();
            Some(Tensor { name: spec.name.clone(), shape: spec.shape.clone(), values })
        };
        self.layers.layout.specs.iter().filter_map(tensor).collect()
    }

    /// Copies the parameters and running statistics of a state.
    ///
    /// # Errors
    /// [`TrainError::State`] names a tensor that is missing, has another shape, or holds a value
    /// that is not finite, a delay beyond the kernel, or a negative variance. The model has not
    /// changed then.
    pub fn restore(&mut self, state: &State<B::Real>) -> Result<(), TrainError<B::Error>> {
        let (host, running) = self.read(state).map_err(TrainError::State)?;
        host.copy(&self.backend, &mut self.layers.values)?;
        self.layers.expand_all(&self.backend)?;
        self.backend.upload(&running, &mut self.running)?;
        Ok(())
    }

    fn read(
        &self,
        state: &State<B::Real>,
    ) -> Result<(Blocks<Vec<B::Real>>, Vec<B::Real>), StateError> {
        let mut host = Blocks::host(&self.layers.layout);
        let mut running = self.layers.layout.zeros(Group::Statistics);
        for spec in &self.layers.layout.specs {
            let block = host.0.get_mut(spec.group as usize).unwrap_or(&mut running);
            let out = &mut block[spec.range.clone()];
            state.read(&spec.name, &spec.shape, |index| spec.bounds_of(index), out)?;
        }
        Ok((host, running))
    }
}

/// The mean loss of a batch, and its gradient by the scores.
pub(super) fn mean_loss<R: Real>(
    objective: &dyn Objective<R>,
    classes: usize,
    scores: &[R],
    targets: &[R],
) -> (R, Vec<R>) {
    let mut gradient = vec![R::zero(); scores.len()];
    let mut loss = R::zero();
    let rows = scores.chunks_exact(classes).zip(targets.chunks_exact(classes));
    for ((scores, targets), d) in rows.zip(gradient.chunks_exact_mut(classes)) {
        loss += objective.loss(scores, targets, d);
    }
    let share = R::one() / R::count((scores.len() / classes).max(1));
    gradient.iter_mut().for_each(|d| *d *= share);
    (loss * share, gradient)
}
