use super::error::TrainError;
use super::graph::{Edge, Node};
use super::layout::Blocks;
use super::model::{Batch, Delays, Layers, Model, Spikes, mean_loss};
use super::network::Network;
use super::recipe::{Learning, Recipe, Sigma};
use super::state::{State, StateError, Tensor};
use super::tensor::{Group, TensorSpec};
use crate::backend::{Backend, NormMode, ViewMut};
use crate::delay::Rounding;
use crate::loss::decide;
use crate::num::Real;
use crate::optim::Step;
use crate::rng::Rng;
use crate::schedule::SigmaSchedule;
use crate::shape::{Shape, ShapeError};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use num_traits::Zero;
use num_traits::float::FloatCore;

const DROPOUT: u64 = 3;
/// The names of the moments in states.
const MOMENTS: [&str; 2] = ["first", "second"];

/// The loss and hits of a batch before an optimizer step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport<R> {
    /// The mean loss of the batch, with the penalty for rates.
    pub loss: R,
    /// The number of samples whose highest score is that of their target.
    pub correct: usize,
}

/// A model with gradients and optimizer state.
pub struct Trainer<B: Backend> {
    model: Model<B>,
    recipe: Recipe,
    gradients: Blocks<B::Buffer>,
    /// The first and the second moments.
    moments: [Blocks<B::Buffer>; 2],
    workspace: Option<Workspace<B>>,
    epoch: u64,
    step: u64,
    seed: u64,
}

/// The blocks for one batch shape, kept from step to step.
struct Workspace<B: Backend> {
    shape: Shape,
    input: B::Sequence,
    layers: Vec<LayerSpace<B>>,
    targets: B::Buffer,
    scores: B::Buffer,
}

/// The blocks of a layer. The readout has no spikes; its `d` is the gradient by `y`.
struct LayerSpace<B: Backend> {
    /// The sum of the projections.
    y: B::Sequence,
    /// A term of the sum, if there are several.
    part: Option<B::Sequence>,
    statistics: B::Buffer,
    mask: Option<B::Buffer>,
    spikes: Option<B::Sequence>,
    /// The gradient by the spikes, then by `y`.
    d: B::Sequence,
    /// A term of the gradient, if several connections read the spikes.
    d_part: Option<B::Sequence>,
}

impl<B: Backend> Trainer<B> {
    /// Creates a trainer with random initial parameters and zero moments.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn new(
        backend: B,
        network: Network<B>,
        recipe: Recipe,
        seed: u64,
    ) -> Result<Self, TrainError<B::Error>> {
        let model = Model::new(backend, network, recipe.delays, seed)?;
        let zeros = Blocks::host(&model.layers.layout);
        let gradients = zeros.upload(&model.backend)?;
        let moments = [zeros.upload(&model.backend)?, zeros.upload(&model.backend)?];
        let (epoch, step, workspace) = (0, 0, None);
        let mut trainer = Self { model, recipe, gradients, moments, workspace, epoch, step, seed };
        trainer.set_sigma()?;
        Ok(trainer)
    }

    /// The model with its present parameters.
    #[must_use]
    pub fn model(&self) -> &Model<B> {
        &self.model
    }

    /// The number of finished epochs.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The number of optimizer steps.
    #[must_use]
    pub fn step_count(&self) -> u64 {
        self.step
    }

    /// The number of trained parameters: weights, norms and, if they learn, delays and neuron
    /// parameters.
    #[must_use]
    pub fn parameters(&self) -> usize {
        let learns = |&(group, _): &(Group, _)| self.recipe.learning(group, 0).is_some();
        let lens = Group::LEARNED.into_iter().filter(learns).map(|(group, _)| group as usize);
        lens.map(|n| self.model.layers.layout.lens[n]).sum()
    }

    /// Runs one optimizer step on a batch.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] if the loss, a running statistic or a gradient is not finite,
    /// before anything except the running statistics changes; or if the step makes a parameter or a
    /// moment infinite. [`TrainError::Backend`] if the backend fails.
    pub fn step(
        &mut self,
        batch: &Batch<'_, B::Real>,
    ) -> Result<StepReport<B::Real>, TrainError<B::Error>> {
        let report = self.accumulate(batch)?;
        let diverged = TrainError::Diverged { epoch: self.epoch, step: self.step };
        let backend = &self.model.backend;
        let running =
            (&self.model.running, self.model.layers.layout.lens[Group::Statistics as usize]);
        let seen = [&self.sized(&self.gradients)[..], &[running]].concat();
        if !report.loss.is_finite() || !backend.are_finite(&seen)? {
            return Err(diverged);
        }
        self.update()?;
        let mut made = self.sized(&self.model.layers.values).to_vec();
        let checked = self.recipe.optimizer.checked();
        for (moments, _) in self.moments.iter().zip(checked).filter(|(_, checked)| *checked) {
            made.extend(self.sized(moments));
        }
        if !self.model.backend.are_finite(&made)? {
            return Err(diverged);
        }
        self.step = self.step.saturating_add(1);
        Ok(report)
    }

    /// Ends an epoch: advances the schedules.
    ///
    /// # Errors
    /// The error of the backend.
    pub fn finish_epoch(&mut self) -> Result<(), B::Error> {
        self.epoch = self.epoch.saturating_add(1);
        self.set_sigma()
    }

    /// The gradients of the last step, with the names of the parameters.
    ///
    /// # Errors
    /// The error of the backend.
    pub fn gradients(&self) -> Result<Vec<Tensor<B::Real>>, B::Error> {
        let Model { backend, layers: Layers { layout, .. }, .. } = &self.model;
        Ok(self.model.named(&self.gradients.download(backend, layout)?, None))
    }

    /// [`Model::evaluate`] with rounded delays.
    ///
    /// # Errors
    /// The error of the backend.
    pub fn evaluate(
        &self,
        batch: &Batch<'_, B::Real>,
    ) -> Result<(Vec<B::Real>, B::Real), B::Error> {
        self.model.evaluate(batch, Delays::Rounded)
    }

    /// [`Model::spikes`] with rounded delays.
    ///
    /// # Errors
    /// The error of the backend.
    pub fn spikes(&self, batch: &Batch<'_, B::Real>) -> Result<Vec<Spikes<B::Real>>, B::Error> {
        self.model.spikes(batch, Delays::Rounded)
    }

    /// The state from which training can resume bit for bit: the tensors of the model, and the
    /// moments of those that have gradients, as `adam.first.hidden.0.weight` for any optimizer.
    ///
    /// # Errors
    /// The error of the backend.
    pub fn state(&self) -> Result<State<B::Real>, B::Error> {
        let Model { backend, layers: Layers { layout, .. }, .. } = &self.model;
        let mut tensors = self.model.tensors()?;
        for (order, moments) in MOMENTS.into_iter().zip(&self.moments) {
            for tensor in self.model.named(&moments.download(backend, layout)?, None) {
                let name = format!("adam.{order}.{}", tensor.name);
                tensors.push(Tensor { name, ..tensor });
            }
        }
        Ok(State { tensors, epoch: self.epoch, step: self.step, seed: self.seed })
    }

    /// Resumes from a state. Moments that the state does not contain become zero.
    ///
    /// # Errors
    /// [`TrainError::State`] names a tensor that does not fit. The trainer has not changed then.
    pub fn restore(&mut self, state: &State<B::Real>) -> Result<(), TrainError<B::Error>> {
        let layout = &self.model.layers.layout;
        let mut moments = [Blocks::host(layout), Blocks::host(layout)];
        for (order, host) in MOMENTS.into_iter().zip(&mut moments) {
            let positive = Some((B::Real::zero(), B::Real::infinity()));
            let bounds = positive.filter(|_| order == "second");
            let read = |name: &str, shape: &[usize], out: &mut [B::Real]| {
                let name = format!("adam.{order}.{name}");
                match state.read(&name, shape, |_| bounds, out) {
                    Err(StateError::Missing { .. }) => Ok(()),
                    result => result.map_err(TrainError::State),
                }
            };
            for (block, (_, name)) in host.0.iter_mut().zip(Group::LEARNED) {
                // Earlier versions stored one tensor per group.
                read(name, &[block.len()], block)?;
            }
            for TensorSpec { name, shape, group, range, .. } in &layout.specs {
                if let Some(block) = host.0.get_mut(*group as usize) {
                    read(name, shape, &mut block[range.clone()])?;
                }
            }
        }
        self.model.restore(state)?;
        for (from, to) in moments.iter().zip(&mut self.moments) {
            from.copy(&self.model.backend, to)?;
        }
        (self.epoch, self.step, self.seed) = (state.epoch, state.step, state.seed);
        Ok(())
    }

    fn set_sigma(&mut self) -> Result<(), B::Error> {
        let Sigma { start, end, epochs } = self.recipe.sigma;
        let Model { backend, layers: Layers { graph, values, .. }, .. } = &mut self.model;
        let sigma = |edge: &Edge| {
            let start = start.unwrap_or((edge.synapses.taps / 2) as f64);
            B::Real::of(SigmaSchedule { start, end, epochs }.at(self.epoch as usize))
        };
        let sigma: Vec<_> = graph.edges().map(sigma).collect();
        backend.upload(&sigma, &mut values.0[Group::Sigma as usize])
    }

    /// Computes the gradients, the loss and the hits of a batch.
    fn accumulate(&mut self, batch: &Batch<'_, B::Real>) -> Result<StepReport<B::Real>, B::Error> {
        self.model.check(batch)?;
        let classes = self.model.layers.graph.classes();
        let Some(targets) = batch.targets else {
            let expected = batch.shape.batch.saturating_mul(classes);
            return Err(ShapeError { what: "targets of the batch", expected, found: 0 }.into());
        };
        let mut space = match self.workspace.take() {
            Some(space) if space.shape == batch.shape => space,
            _ => self.make_workspace(batch.shape)?,
        };
        let backend = &self.model.backend;
        batch.x.upload(backend, &mut space.input)?;
        backend.upload(targets, &mut space.targets)?;
        let mut loss = self.forward(batch.lengths, &mut space)?;
        let mut scores = vec![B::Real::zero(); targets.len()];
        let Model { backend, layers, .. } = &self.model;
        backend.download(&space.scores, &mut scores)?;
        if let Some(objective) = layers.network.objective {
            let (value, d_scores) = mean_loss(objective, classes, &scores, targets);
            loss = value;
            let last = space.layers.len() - 1;
            let LayerSpace { y, d, .. } = &mut space.layers[last];
            let (li, reduction) = (&layers.network.output.integrator, layers.network.loss);
            let valid = layers.valid(last, batch.lengths);
            backend.readout_backward(li, reduction, valid, y, &d_scores, d)?;
        }
        if loss.is_finite() {
            loss += self.backward(batch.lengths, &mut space)?;
        }
        self.workspace = Some(space);
        let rows = scores.chunks_exact(classes).zip(targets.chunks_exact(classes));
        let correct = rows.filter(|(score, target)| decide(score) == decide(target)).count();
        Ok(StepReport { loss, correct })
    }

    /// The blocks with their lengths, for a check that they are finite. The loss does not suffice:
    /// a NaN membrane never crosses the threshold, so that the loss stays finite. Neither do
    /// parameters: a gradient with an infinite square does not move them, but its second moment is
    /// infinite.
    fn sized<'a>(&self, blocks: &'a Blocks<B::Buffer>) -> [(&'a B::Buffer, usize); 5] {
        core::array::from_fn(|n| (&blocks.0[n], self.model.layers.layout.lens[n]))
    }

    fn make_workspace(&self, shape: Shape) -> Result<Workspace<B>, B::Error> {
        let Model { backend, layers: Layers { graph, .. }, .. } = &self.model;
        let mut layers = Vec::new();
        for (l, Node { edges, width, .. }) in graph.nodes.iter().enumerate() {
            let output = graph.output(l, shape);
            let sequence = |wanted: bool| wanted.then(|| backend.sequence(output)).transpose();
            let readers = graph.edges().filter(|edge| edge.from == Some(l)).count();
            layers.push(LayerSpace {
                y: backend.sequence(output)?,
                part: sequence(edges.len() > 1)?,
                statistics: backend.buffer(2 * width)?,
                mask: None,
                spikes: sequence(l < graph.hidden().len())?,
                d: backend.sequence(output)?,
                d_part: sequence(readers > 1)?,
            });
        }
        let scores = shape.batch.saturating_mul(graph.classes());
        Ok(Workspace {
            shape,
            input: backend.sequence(shape)?,
            layers,
            targets: backend.buffer(scores)?,
            scores: backend.buffer(scores)?,
        })
    }

    fn forward(
        &mut self,
        lengths: Option<&[usize]>,
        space: &mut Workspace<B>,
    ) -> Result<B::Real, B::Error> {
        let rounding = self.rounding();
        let rng = Rng::new(self.seed, DROPOUT).fork(self.step);
        for l in 0..space.layers.len() {
            let (before, from) = space.layers.split_at_mut(l);
            let at = &mut from[0];
            let Model { backend, layers, running } = &mut self.model;
            let layers = &*layers;
            for (c, edge) in layers.graph.nodes[l].edges.iter().enumerate() {
                let x = source(edge, &space.input, before);
                match at.part.as_mut().filter(|_| c > 0) {
                    Some(part) => {
                        layers.project(backend, l, c, rounding, x, part)?;
                        backend.add(part, &mut at.y)?;
                    }
                    None => layers.project(backend, l, c, rounding, x, &mut at.y)?,
                }
            }
            let dropout = layers.network.hidden.get(l).map_or(0.0, |hidden| hidden.dropout);
            at.mask = None;
            if dropout > 0.0 {
                let len = space.shape.batch * layers.graph.nodes[l].width;
                at.mask = Some(backend.dropout(rng.fork(l as u64), dropout, len)?);
            }
            let layer = layers.activation(l, at.mask.as_ref(), lengths);
            if let (Some(layer), Some(spikes)) = (layer, &mut at.spikes) {
                let range = layers.layout.layers[l].norm.clone();
                let mode = NormMode::Batch { running: ViewMut::new(running, range) };
                backend.activate(&layer, mode, &at.y, &mut at.statistics, spikes)?;
            }
        }
        let Workspace { layers, targets, scores, .. } = space;
        let last = layers.len() - 1;
        let LayerSpace { y, d, .. } = &mut layers[last];
        let Model { backend, layers: Layers { network, .. }, .. } = &self.model;
        let (li, valid) = (&network.output.integrator, self.model.layers.valid(last, lengths));
        if network.objective.is_some() {
            return backend.readout(li, network.loss, valid, y, None, scores, None);
        }
        backend.readout(li, network.loss, valid, y, Some(targets), scores, Some(d))
    }

    /// Computes the gradients and returns the penalties.
    fn backward(
        &mut self,
        lengths: Option<&[usize]>,
        space: &mut Workspace<B>,
    ) -> Result<B::Real, B::Error> {
        let rounding = self.rounding();
        let mut penalties = B::Real::zero();
        let (Model { backend, layers, .. }, gradients) = (&self.model, &mut self.gradients);
        let layout = &layers.layout;
        let mut reached = vec![false; space.layers.len()];
        for l in (0..space.layers.len()).rev() {
            let (before, from) = space.layers.split_at_mut(l);
            let at = &mut from[0];
            if let (Some(penalty), Some(spikes)) = (&self.recipe.rate_penalty, &at.spikes) {
                let valid = layers.valid(l, lengths);
                penalties += backend.penalize_rates(penalty, valid, spikes, &mut at.d)?;
            }
            if let Some(layer) = layers.activation(l, at.mask.as_ref(), lengths) {
                let into = gradients.activation(layout, l);
                backend.activate_backward(&layer, &at.y, &at.statistics, &mut at.d, into)?;
            }
            for (c, edge) in layers.graph.nodes[l].edges.iter().enumerate() {
                let (synapses, kernel, params) = layers.connection(l, c, rounding);
                let into = gradients.connection(layout, l, c);
                let Some(below) = edge.from.map(|from| &mut before[from]) else {
                    let x = &space.input;
                    backend.project_backward(synapses, kernel, params, x, &at.d, into, None)?;
                    continue;
                };
                let LayerSpace { spikes: Some(x), d, d_part, .. } = below else { continue };
                let further = edge.from.is_some_and(|n| core::mem::replace(&mut reached[n], true));
                let term = d_part.as_mut().filter(|_| further);
                let d_x = Some(term.unwrap_or(d));
                backend.project_backward(synapses, kernel, params, x, &at.d, into, d_x)?;
                if let Some(term) = d_part.as_ref().filter(|_| further) {
                    backend.add(term, &mut below.d)?;
                }
            }
        }
        Ok(penalties)
    }

    /// How delays are rounded in this epoch.
    fn rounding(&self) -> Option<Rounding> {
        self.recipe.rounds_in(self.epoch).then_some(self.model.layers.network.rounding)
    }

    /// How a group learns in this epoch; `None` if it is fixed.
    fn learning(&self, group: Group) -> Option<Learning> {
        // An optimizer would move delays without a gradient by their momentum.
        let fixed = group == Group::Delays && self.rounding() == Some(Rounding::Nearest);
        self.recipe.learning(group, self.epoch as usize).filter(|_| !fixed)
    }

    fn update(&mut self) -> Result<(), B::Error> {
        self.clip()?;
        let of = B::Real::of;
        for (group, bounds, range) in self.model.layers.layout.parts() {
            let Some(Learning { rate, beta1, l2 }) = self.learning(group) else { continue };
            let Recipe { optimizer, decoupled, .. } = self.recipe;
            let step = Step {
                beta1: of(beta1),
                l2: of(l2),
                decoupled,
                bounds,
                ..Step::new(optimizer, of(rate), self.step.saturating_add(1))
            };
            let Model { backend, layers: Layers { layout, values, .. }, .. } = &mut self.model;
            let (n, [first, second]) = (group as usize, &mut self.moments);
            let (gradient, params) = (&self.gradients.0[n], &mut values.0[n]);
            let (first, second, len) = (&mut first.0[n], &mut second.0[n], layout.lens[n]);
            backend.optimize(&step, range, gradient, params, first, second, len)?;
        }
        Ok(())
    }

    /// Scales the gradients of the groups that learn so that their norm is within the limit.
    fn clip(&mut self) -> Result<(), B::Error> {
        let Some(limit) = self.recipe.clip.filter(|limit| *limit > 0.0) else { return Ok(()) };
        let Model { backend, layers: Layers { layout, .. }, .. } = &self.model;
        let mut square = 0.0;
        let learning =
            Group::LEARNED.map(|(group, _)| self.learning(group).map(|_| group as usize));
        for n in learning.into_iter().flatten() {
            square += backend.square_sum(&self.gradients.0[n], layout.lens[n])?;
        }
        let factor = limit / (Real::sqrt(square) + 1e-6);
        if factor < 1.0 {
            for n in learning.into_iter().flatten() {
                let gradient = &mut self.gradients.0[n];
                backend.scale(B::Real::of(factor), gradient, layout.lens[n])?;
            }
        }
        Ok(())
    }
}

/// The sequence that a connection reads.
fn source<'a, B: Backend>(
    edge: &Edge,
    input: &'a B::Sequence,
    before: &'a [LayerSpace<B>],
) -> &'a B::Sequence {
    edge.from.and_then(|from| before[from].spikes.as_ref()).unwrap_or(input)
}
