use super::error::TrainError;
use super::model::{
    Batch, Delays, Model, ParameterBlocks, Spikes, device_blocks, host_blocks, layer,
    synapse_params,
};
use super::network::Network;
use super::recipe::{Recipe, Sigma};
use super::state::{State, StateError, Tensor, TensorReader};
use crate::backend::{
    Backend, LayerGradients, LayerOps, LayerTape, NormMode, SynapseGradients, ViewMut,
};
use crate::delay::{DelayKernel, Rounding};
use crate::loss::decide;
use crate::neuron::NeuronModel;
use crate::norm::ValidSteps;
use crate::num::Real;
use crate::optim::Adam;
use crate::rng::Rng;
use crate::schedule::{Cosine, OneCycle, SigmaSchedule};
use crate::shape::Shape;
use crate::surrogate::Surrogate;
use alloc::vec;
use alloc::vec::Vec;

const DROPOUT: u64 = 3;

/// The loss and hits of a batch before an optimizer step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport<R> {
    /// The mean loss of the batch.
    pub loss: R,
    /// The number of samples whose highest score is that of their target.
    pub correct: usize,
}

/// A model with gradients and optimizer state.
pub struct Trainer<R: Real, B: Backend<R>, K, N, S> {
    model: Model<R, B, K, N, S>,
    recipe: Recipe,
    gradients: ParameterBlocks<B::Buffer>,
    first: ParameterBlocks<B::Buffer>,
    second: ParameterBlocks<B::Buffer>,
    workspace: Option<Workspace<B::Buffer, B::Sequence>>,
    epoch: u64,
    step: u64,
    seed: u64,
}

/// The blocks for one batch shape, kept from step to step.
struct Workspace<Buf, Q> {
    shape: Shape,
    x: Q,
    hidden: Vec<HiddenSpace<Buf, Q>>,
    y: Q,
    d_y: Q,
    targets: Buf,
    scores: Buf,
}

struct HiddenSpace<Buf, Q> {
    tape: LayerTape<Buf, Q>,
    spikes: Q,
    d_spikes: Q,
    mask: Option<Buf>,
}

impl<R, B, K, N, S> Trainer<R, B, K, N, S>
where
    R: Real,
    B: LayerOps<R, K, N, S>,
    K: DelayKernel<R>,
    N: NeuronModel<R>,
    S: Surrogate<R>,
{
    /// Creates a trainer with random initial parameters and zero moments.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn new(
        backend: B,
        network: Network<R, K, N, S>,
        recipe: Recipe,
        seed: u64,
    ) -> Result<Self, TrainError<B::Error>> {
        let model = Model::new(backend, network, recipe.delays, seed)?;
        let gradients = device_blocks(&model.backend, &model.layout)?;
        let first = device_blocks(&model.backend, &model.layout)?;
        let second = device_blocks(&model.backend, &model.layout)?;
        let (epoch, step, workspace) = (0, 0, None);
        let mut trainer =
            Self { model, recipe, gradients, first, second, workspace, epoch, step, seed };
        trainer.set_sigma()?;
        Ok(trainer)
    }

    /// The model with its present parameters.
    #[must_use]
    pub fn model(&self) -> &Model<R, B, K, N, S> {
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
        let total = &self.model.layout.total;
        let delays = if self.recipe.delay_rate.is_some() { total.synapses.len() } else { 0 };
        let neurons = if self.recipe.train_neurons { total.neuron.len() } else { 0 };
        total.synapses.len() + delays + total.norm.len() + neurons
    }

    /// Runs one optimizer step on a batch.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] if the loss, a running statistic or a gradient is not finite,
    /// before anything except the running statistics changes; or if the step makes a parameter or a
    /// moment infinite. [`TrainError::Backend`] if the backend fails.
    pub fn step(&mut self, batch: &Batch<'_, R>) -> Result<StepReport<R>, TrainError<B::Error>> {
        let report = self.accumulate(batch)?;
        let diverged = TrainError::Diverged { epoch: self.epoch, step: self.step };
        let backend = &self.model.backend;
        let running = (&self.model.running, self.model.layout.total.norm.len());
        let seen = [&self.sized(&self.gradients)[..], &[running]].concat();
        if !report.loss.is_finite() || !backend.are_finite(&seen)? {
            return Err(diverged);
        }
        self.update()?;
        let made = [self.sized(&self.model.values), self.sized(&self.second)].concat();
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
    pub fn gradients(&self) -> Result<Vec<Tensor<R>>, B::Error> {
        self.model.block_tensors(&self.gradients)
    }

    /// [`Model::evaluate`] with rounded delays.
    ///
    /// # Errors
    /// The error of the backend.
    pub fn evaluate(&self, batch: &Batch<'_, R>) -> Result<(Vec<R>, R), B::Error> {
        self.model.evaluate(batch, Delays::Rounded)
    }

    /// [`Model::spikes`] with rounded delays.
    ///
    /// # Errors
    /// The error of the backend.
    pub fn spikes(&self, batch: &Batch<'_, R>) -> Result<Vec<Spikes<R>>, B::Error> {
        self.model.spikes(batch, Delays::Rounded)
    }

    /// The state from which training can resume bit for bit: the tensors of the model, and the
    /// moments of Adam as `adam.first.GROUP` and `adam.second.GROUP`.
    ///
    /// # Errors
    /// The error of the backend.
    pub fn state(&self) -> Result<State<R>, B::Error> {
        let mut tensors = self.model.tensors()?;
        for (order, moments) in [("first", &self.first), ("second", &self.second)] {
            let mut host = host_blocks::<R>(&self.model.layout);
            let blocks = moments.list().into_iter().zip(host.list_mut()).zip(GROUPS);
            for ((from, to), group) in blocks {
                self.model.backend.download(from, to)?;
                if !to.is_empty() {
                    tensors.push(Tensor {
                        name: alloc::format!("adam.{order}.{group}"),
                        shape: vec![to.len()],
                        values: core::mem::take(to),
                    });
                }
            }
        }
        Ok(State { tensors, epoch: self.epoch, step: self.step, seed: self.seed })
    }

    /// Resumes from a state. Moments that the state does not contain become zero.
    ///
    /// # Errors
    /// [`TrainError::State`] names a tensor that does not fit. The trainer has not changed then.
    pub fn restore(&mut self, state: &State<R>) -> Result<(), TrainError<B::Error>> {
        let mut moments = [host_blocks::<R>(&self.model.layout), host_blocks(&self.model.layout)];
        for (order, host) in ["first", "second"].into_iter().zip(&mut moments) {
            let from = TensorReader { state, layer: alloc::format!("adam.{order}") };
            for (group, block) in GROUPS.into_iter().zip(host.list_mut()) {
                let len = [block.len()];
                match from.read(group, &len, block) {
                    Ok(()) | Err(StateError::Missing { .. }) => {}
                    Err(error) => return Err(TrainError::State(error)),
                }
                if order == "second" {
                    from.within(group, block, R::infinity()).map_err(TrainError::State)?;
                }
            }
        }
        self.model.restore(state)?;
        let backend = &self.model.backend;
        for (host, device) in moments.iter().zip([&mut self.first, &mut self.second]) {
            for (from, to) in host.list().into_iter().zip(device.list_mut()) {
                backend.upload(from, to)?;
            }
        }
        (self.epoch, self.step, self.seed) = (state.epoch, state.step, state.seed);
        Ok(())
    }

    fn set_sigma(&mut self) -> Result<(), B::Error> {
        let Sigma { start, end, epochs } = self.recipe.sigma;
        let sigma: Vec<R> = (self.model.network.synapses())
            .map(|s| {
                let start = start.unwrap_or((s.taps / 2) as f64);
                R::of(SigmaSchedule { start, end, epochs }.at(self.epoch as usize))
            })
            .collect();
        self.model.backend.upload(&sigma, &mut self.model.values.sigma)
    }

    /// Computes the gradients, the loss and the hits of a batch.
    fn accumulate(&mut self, batch: &Batch<'_, R>) -> Result<StepReport<R>, B::Error> {
        self.model.check(batch)?;
        let mut space = match self.workspace.take() {
            Some(space) if space.shape == batch.shape => space,
            _ => self.make_workspace(batch)?,
        };
        let loss = self.forward(batch, &mut space)?;
        let mut scores = vec![R::zero(); batch.targets.len()];
        self.model.backend.download(&space.scores, &mut scores)?;
        if loss.is_finite() {
            self.backward(batch, &mut space)?;
        }
        self.workspace = Some(space);
        let classes = self.model.network.output.synapses.outputs;
        let rows = scores.chunks_exact(classes).zip(batch.targets.chunks_exact(classes));
        let correct = rows.filter(|(score, target)| decide(score) == decide(target)).count();
        Ok(StepReport { loss, correct })
    }

    /// The blocks with their lengths, for a check that they are finite. The loss does not suffice:
    /// a NaN membrane never crosses the threshold, so that the loss stays finite. Neither do
    /// parameters: a gradient with an infinite square does not move them, but its second moment is
    /// infinite. First moments are finite if the second ones are.
    fn sized<'a>(&self, groups: &'a ParameterBlocks<B::Buffer>) -> [(&'a B::Buffer, usize); 5] {
        let total = &self.model.layout.total;
        let sizes = [&total.synapses, &total.synapses, &total.sigma, &total.norm, &total.neuron];
        let groups = groups.list();
        core::array::from_fn(|n| (groups[n], sizes[n].len()))
    }

    fn make_workspace(
        &self,
        batch: &Batch<'_, R>,
    ) -> Result<Workspace<B::Buffer, B::Sequence>, B::Error> {
        let backend = &self.model.backend;
        let mut shape = batch.shape;
        let mut hidden = Vec::new();
        for layer in &self.model.network.hidden {
            shape = layer.synapses.output(shape);
            hidden.push(HiddenSpace {
                tape: backend.tape(shape)?,
                spikes: backend.sequence(shape)?,
                d_spikes: backend.sequence(shape)?,
                mask: None,
            });
        }
        let output = self.model.network.output.synapses.output(shape);
        Ok(Workspace {
            shape: batch.shape,
            x: backend.sequence(batch.shape)?,
            hidden,
            y: backend.sequence(output)?,
            d_y: backend.sequence(output)?,
            targets: backend.buffer(batch.targets.len())?,
            scores: backend.buffer(batch.targets.len())?,
        })
    }

    fn forward(
        &mut self,
        batch: &Batch<'_, R>,
        space: &mut Workspace<B::Buffer, B::Sequence>,
    ) -> Result<R, B::Error> {
        let rounding = self.rounding();
        let Model { backend, network, layout, values, running } = &mut self.model;
        backend.upload_sequence(batch.x, &mut space.x)?;
        backend.upload(batch.targets, &mut space.targets)?;
        let rng = Rng::new(self.seed, DROPOUT).fork(self.step);
        let mut valid = ValidSteps { lengths: batch.lengths, padding: 0 };
        let mut x = &space.x;
        for (l, at) in space.hidden.iter_mut().enumerate() {
            let hidden = &network.hidden[l];
            valid = valid.extended(hidden.synapses.padding);
            at.mask = None;
            if hidden.dropout > 0.0 {
                let len = batch.shape.batch * hidden.synapses.outputs;
                at.mask = Some(backend.dropout(rng.fork(l as u64), hidden.dropout, len)?);
            }
            let layer = layer(network, layout, values, l, rounding, at.mask.as_ref(), valid);
            let running = ViewMut::new(&mut *running, layout.layers[l].norm.clone());
            let mode = NormMode::Batch { running };
            backend.layer_forward(&layer, mode, x, &mut at.tape, &mut at.spikes)?;
            x = &at.spikes;
        }
        let output = &network.output;
        let params = synapse_params(values, layout, network.hidden.len(), rounding);
        backend.project(&output.synapses, &output.kernel, params, x, &mut space.y)?;
        backend.readout(
            &output.readout,
            network.loss,
            valid.extended(output.synapses.padding),
            &space.y,
            Some(&space.targets),
            &mut space.scores,
            Some(&mut space.d_y),
        )
    }

    fn backward(
        &mut self,
        batch: &Batch<'_, R>,
        space: &mut Workspace<B::Buffer, B::Sequence>,
    ) -> Result<(), B::Error> {
        let rounding = self.rounding();
        let Model { backend, network, layout, values, .. } = &self.model;
        let gradients = &mut self.gradients;
        let mut padding: usize = network.hidden.iter().map(|h| h.synapses.padding).sum();
        let Workspace { x: input, hidden, d_y, .. } = space;
        let output = &network.output;
        let params = synapse_params(values, layout, hidden.len(), rounding);
        let ranges = &layout.layers[hidden.len()];
        let into = SynapseGradients {
            weights: ViewMut::new(&mut gradients.weights, ranges.synapses.clone()),
            delays: ViewMut::new(&mut gradients.delays, ranges.synapses.clone()),
            sigma: ViewMut::new(&mut gradients.sigma, ranges.sigma.clone()),
        };
        let (synapses, kernel) = (&output.synapses, &output.kernel);
        match hidden.last_mut() {
            Some(last) => {
                let d_x = Some(&mut last.d_spikes);
                backend.project_backward(synapses, kernel, params, &last.spikes, d_y, into, d_x)?;
            }
            None => {
                return backend.project_backward(synapses, kernel, params, input, d_y, into, None);
            }
        }
        for l in (0..hidden.len()).rev() {
            let (before, from) = hidden.split_at_mut(l);
            let at = &mut from[0];
            let valid = ValidSteps { lengths: batch.lengths, padding };
            let layer = layer(network, layout, values, l, rounding, at.mask.as_ref(), valid);
            let ranges = &layout.layers[l];
            let into = LayerGradients {
                synapses: SynapseGradients {
                    weights: ViewMut::new(&mut gradients.weights, ranges.synapses.clone()),
                    delays: ViewMut::new(&mut gradients.delays, ranges.synapses.clone()),
                    sigma: ViewMut::new(&mut gradients.sigma, ranges.sigma.clone()),
                },
                norm: ViewMut::new(&mut gradients.norms, ranges.norm.clone()),
                neuron: ViewMut::new(&mut gradients.neurons, ranges.neuron.clone()),
            };
            let (x, d_x) = match before.last_mut() {
                Some(below) => (&below.spikes, Some(&mut below.d_spikes)),
                None => (&*input, None),
            };
            backend.layer_backward(&layer, x, &at.tape, &mut at.d_spikes, into, d_x)?;
            padding -= network.hidden[l].synapses.padding;
        }
        Ok(())
    }

    /// How delays are rounded in this epoch.
    fn rounding(&self) -> Option<Rounding> {
        self.recipe.rounds_in(self.epoch).then_some(self.model.network.rounding)
    }

    fn update(&mut self) -> Result<(), B::Error> {
        // Adam would move delays without a gradient by their momentum.
        let fixed = self.rounding() == Some(Rounding::Nearest);
        let Model { backend, network, layout, values, .. } = &mut self.model;
        let epoch = self.epoch as usize;
        let step = self.step.saturating_add(1);
        let (gradients, first, second) = (&self.gradients, &mut self.first, &mut self.second);
        let (rate, beta1) =
            OneCycle { peak: self.recipe.rate, epochs: self.recipe.epochs }.at(epoch);
        let plain = Adam { beta1: R::of(beta1), ..Adam::new(R::of(rate), step) };
        let decayed = Adam { l2: R::of(self.recipe.l2), decoupled: self.recipe.decoupled, ..plain };
        let total = &layout.total;
        let (g, p) = (&gradients.weights, &mut values.weights);
        let all = total.synapses.clone();
        backend.adam(&decayed, all, g, p, &mut first.weights, &mut second.weights)?;
        let (g, p) = (&gradients.norms, &mut values.norms);
        backend.adam(&plain, total.norm.clone(), g, p, &mut first.norms, &mut second.norms)?;
        if self.recipe.train_neurons {
            let (g, p) = (&gradients.neurons, &mut values.neurons);
            let all = total.neuron.clone();
            backend.adam(&plain, all, g, p, &mut first.neurons, &mut second.neurons)?;
        }
        if let Some(base) = self.recipe.delay_rate.filter(|_| !fixed) {
            let rate = Cosine { base, epochs: self.recipe.epochs }.at(epoch);
            for (synapses, ranges) in network.synapses().zip(&layout.layers) {
                let last = R::count(synapses.taps - 1);
                let bounds = Some((R::zero(), last));
                let adam = Adam { bounds, ..Adam::new(R::of(rate), step) };
                let (g, p) = (&gradients.delays, &mut values.delays);
                let part = ranges.synapses.clone();
                backend.adam(&adam, part, g, p, &mut first.delays, &mut second.delays)?;
            }
        }
        Ok(())
    }
}

const GROUPS: [&str; 5] = ["weights", "delays", "sigma", "norms", "neurons"];
