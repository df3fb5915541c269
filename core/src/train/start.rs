//! The states of neurons before the first step.

use super::layers::Layers;
use super::model::Model;
use crate::backend::Backend;
use crate::neuron::ErasedNeuron;
use crate::num::Real;
use crate::rng::Rng;
use crate::shape::Shape;
use alloc::vec::Vec;

/// The generator of the states in evaluations.
const EVALUATION: Rng = Rng::new(0, 4);

/// The states of the neurons of a layer before the first step of a sample. Gradients treat them as
/// constants. Source of the draws: sparch (Bittar and Garner, 2022).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InitialState {
    /// Neurons start at rest.
    #[default]
    Rest,
    /// Every component of the state of every neuron is a number drawn from [0, 1).
    ///
    /// In training, the draws are those of the seed, the step, and the place of the sample in its
    /// batch. In evaluation, all samples start from the same states, those of
    /// [`Model::initial_states`]: their scores depend neither on a seed nor on their batch.
    Random,
}

impl<B: Backend> Layers<B> {
    /// The states `[S, batch, width]` before the first step, from draws for every sample, or from
    /// those of an evaluation; `None` for neurons at rest.
    pub(super) fn initial_states(
        &self,
        backend: &B,
        l: usize,
        rng: Option<Rng>,
        batch: usize,
    ) -> Result<Option<B::Buffer>, B::Error> {
        let hidden = self.network.hidden.get(l);
        let Some(hidden) = hidden.filter(|h| h.initial_state == InitialState::Random) else {
            return Ok(None);
        };
        let shape = Shape::new(hidden.neuron.state_count(), batch, self.graph.nodes[l].width);
        let len = shape.try_len()?;
        let (own, samples) = (rng.unwrap_or(EVALUATION.fork(l as u64)), rng.map_or(1, |_| batch));
        let draw = |n: usize| {
            let row = n / shape.width;
            let (s, b) = (row / batch, row % batch % samples);
            own.uniform(((s * samples + b) * shape.width + n % shape.width) as u64)
        };
        let host: Vec<B::Real> = (0..len).map(draw).collect();
        let mut states = backend.buffer(len)?;
        backend.upload(&host, &mut states)?;
        Ok(Some(states))
    }
}

impl<B: Backend> Model<B> {
    /// The states `[S, width]` from which the neurons of a hidden layer start in an evaluation, if
    /// these are [random](InitialState::Random).
    ///
    /// # Errors
    /// The error of the backend.
    pub fn initial_states(&self, layer: usize) -> Result<Option<Vec<B::Real>>, B::Error> {
        let found = self.layers.initial_states(&self.backend, layer, None, 1)?;
        let Some((states, hidden)) = found.zip(self.network().hidden.get(layer)) else {
            return Ok(None);
        };
        let len = hidden.neuron.state_count() * self.graph().nodes[layer].width;
        let mut host = alloc::vec![B::Real::of(0.0); len];
        self.backend.download(&states, &mut host)?;
        Ok(Some(host))
    }
}
