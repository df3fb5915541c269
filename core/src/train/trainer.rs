use super::error::TrainError;
use super::graph::Edge;
use super::layers::Layers;
use super::layout::Blocks;
use super::model::{Batch, Delays, Model, Spikes, mean_loss};
use super::network::Network;
use super::recipe::{Learning, Recipe, Sigma};
use super::state::{State, StateError, Tensor};
use super::tensor::{Group, TensorSpec};
use super::workspace::{LayerSpace, Norms, Span, Workspace};
use crate::backend::Backend;
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
    pub(super) model: Model<B>,
    pub(super) recipe: Recipe,
    pub(super) gradients: Blocks<B::Buffer>,
    /// The first and the second moments.
    moments: [Blocks<B::Buffer>; 2],
    pub(super) kept: Option<Kept<B>>,
    epoch: u64,
    step: u64,
    seed: u64,
}

/// The blocks for one batch shape, kept from step to step.
pub(super) struct Kept<B: Backend> {
    shape: Shape,
    pass: Workspace<B>,
    targets: B::Buffer,
    scores: B::Buffer,
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
        let (epoch, step, kept) = (0, 0, None);
        let mut trainer = Self { model, recipe, gradients, moments, kept, epoch, step, seed };
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
    /// parameters. Fixed delays, and those of a connection of one tap, are not counted.
    #[must_use]
    pub fn parameters(&self) -> usize {
        let learns = |spec: &&TensorSpec<_>| {
            self.recipe.learning(spec.group, 0).is_some() && !spec.is_fixed()
        };
        self.model.specs().iter().filter(learns).map(|spec| spec.range.len()).sum()
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
        let Model { backend, layers, .. } = &mut self.model;
        let Layers { graph, values, .. } = &mut *layers;
        let sigma = |edge: &Edge| {
            let start = start.unwrap_or((edge.synapses.taps / 2) as f64);
            B::Real::of(SigmaSchedule { start, end, epochs }.at(self.epoch as usize))
        };
        let sigma: Vec<_> = graph.connections().map(sigma).collect();
        backend.upload(&sigma, &mut values.0[Group::Sigma as usize])?;
        layers.expand(backend, Group::Delays)
    }

    /// Computes the gradients, the loss and the hits of a batch.
    fn accumulate(&mut self, batch: &Batch<'_, B::Real>) -> Result<StepReport<B::Real>, B::Error> {
        self.model.check(batch)?;
        let classes = self.model.layers.graph.classes();
        let Some(targets) = batch.targets else {
            let expected = batch.shape.batch.saturating_mul(classes);
            return Err(ShapeError { what: "targets of the batch", expected, found: 0 }.into());
        };
        let mut scores = vec![B::Real::zero(); targets.len()];
        let loss = match self.model.windows(batch) {
            Some(windows) => self.accumulate_windows(batch, targets, windows, &mut scores)?,
            None => self.accumulate_whole(batch, targets, &mut scores)?,
        };
        let rows = scores.chunks_exact(classes).zip(targets.chunks_exact(classes));
        let correct = rows.filter(|(score, target)| decide(score) == decide(target)).count();
        Ok(StepReport { loss, correct })
    }

    /// Computes the gradients, the loss and the scores of a batch at once.
    fn accumulate_whole(
        &mut self,
        batch: &Batch<'_, B::Real>,
        targets: &[B::Real],
        scores: &mut [B::Real],
    ) -> Result<B::Real, B::Error> {
        let (rounding, rng) = (self.rounding(), self.dropout());
        let Model { backend, layers, running } = &mut self.model;
        let (backend, layers) = (&*backend, &*layers);
        let mut kept = match self.kept.take() {
            Some(kept) if kept.shape == batch.shape => kept,
            _ => Kept {
                shape: batch.shape,
                pass: Workspace::new(backend, layers, batch.shape, false, true)?,
                targets: backend.buffer(targets.len())?,
                scores: backend.buffer(targets.len())?,
            },
        };
        let pass = &mut kept.pass;
        batch.x.upload(backend, &mut pass.input.now)?;
        backend.upload(targets, &mut kept.targets)?;
        pass.draw_masks(backend, layers, rng, batch.shape.batch)?;
        let span = Span { batch: batch.shape, lengths: batch.lengths, window: None };
        pass.forward(backend, layers, rounding, &span, &mut Norms::Batch(running))?;
        let last = pass.layers.len() - 1;
        let LayerSpace { y, d, .. } = &mut pass.layers[last];
        let (li, reduction) = (&layers.network.output.integrator, layers.network.loss);
        let valid = layers.valid(last, batch.lengths);
        let mut loss;
        if let Some(objective) = layers.network.objective {
            backend.readout(li, reduction, valid, y, None, &mut kept.scores, None)?;
            backend.download(&kept.scores, scores)?;
            let d_scores;
            (loss, d_scores) = mean_loss(objective, layers.graph.classes(), scores, targets);
            if let Some(d) = d {
                backend.readout_backward(li, reduction, valid, y, &d_scores, d)?;
            }
        } else {
            let (targets, to) = (Some(&kept.targets), &mut kept.scores);
            loss = backend.readout(li, reduction, valid, y, targets, to, d.as_mut())?;
            backend.download(&kept.scores, scores)?;
        }
        if loss.is_finite() {
            let (penalty, gradients) = (self.recipe.rate_penalty.as_ref(), &mut self.gradients);
            loss += pass.backward(backend, layers, rounding, &span, penalty, gradients)?;
        }
        self.kept = Some(kept);
        Ok(loss)
    }

    /// The generator of the dropout masks of a step.
    pub(super) fn dropout(&self) -> Rng {
        Rng::new(self.seed, DROPOUT).fork(self.step)
    }

    /// The blocks with their lengths, for a check that they are finite. The loss does not suffice:
    /// a NaN membrane never crosses the threshold, so that the loss stays finite. Neither do
    /// parameters: a gradient with an infinite square does not move them, but its second moment is
    /// infinite.
    fn sized<'a>(&self, blocks: &'a Blocks<B::Buffer>) -> [(&'a B::Buffer, usize); 5] {
        core::array::from_fn(|n| (&blocks.0[n], self.model.layers.layout.lens[n]))
    }

    /// How delays are rounded in this epoch.
    pub(super) fn rounding(&self) -> Option<Rounding> {
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
        for group in [Group::Weights, Group::Delays] {
            if self.learning(group).is_some() {
                self.model.layers.expand(&self.model.backend, group)?;
            }
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
