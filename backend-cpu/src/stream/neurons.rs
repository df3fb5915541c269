use super::{LANES, Parameters};
use crate::lanes::vectorize;
use core::fmt::Debug;
use polychron_core::neuron::{Neuron, NeuronModel, NeuronVisitor};
use polychron_core::num::Real;
use polychron_core::shape::{ShapeError, expect};
use polychron_core::surrogate::step;
use polychron_core::train::HiddenLayer;

/// The neurons of a layer with their normalisation.
pub(super) trait Neurons<R>: Debug + Send + Sync {
    /// Returns all neurons to their rest state.
    fn reset(&mut self);
    /// Runs the neurons `first..first + LANES` over the rows `[n][LANES]`, which hold their
    /// projections and receive their spikes.
    fn advance(&mut self, first: usize, rows: &mut [[R; LANES]]);
}

/// Builds the neurons of a hidden layer.
pub(super) fn neurons<R: Real, K, N: NeuronModel<R>, S>(
    hidden: &HiddenLayer<R, K, N, S>,
    parameters: &Parameters<'_, R>,
) -> Result<Box<dyn Neurons<R>>, ShapeError> {
    let groups = hidden.synapses.outputs.div_ceil(LANES);
    let mut affine = vec![Affine { scale: [R::one(); LANES], shift: [R::zero(); LANES] }; groups];
    if let Some(norm) = &hidden.norm {
        let get = |name| parameters.get(name, hidden.synapses.outputs);
        let (gamma, beta) = (get("gamma")?, get("beta")?);
        let (mean, var) = (get("running_mean")?, get("running_var")?);
        for o in 0..hidden.synapses.outputs {
            let Affine { scale, shift } = &mut affine[o / LANES];
            let (scale, shift) = (&mut scale[o % LANES], &mut shift[o % LANES]);
            *scale = gamma[o] * norm.inverse_deviation(var[o]);
            *shift = beta[o] - mean[o] * *scale;
        }
    }
    let raw = parameters.get("neuron", hidden.neuron.param_count())?;
    hidden.neuron.visit(Build { raw, affine })
}

/// `z = scale y + shift`
#[derive(Clone, Copy, Debug)]
struct Affine<R> {
    scale: [R; LANES],
    shift: [R; LANES],
}

struct Build<'a, R> {
    raw: &'a [R],
    affine: Vec<Affine<R>>,
}

impl<R: Real> NeuronVisitor<R> for Build<'_, R> {
    type Output = Result<Box<dyn Neurons<R>>, ShapeError>;

    fn visit<N: Neuron<Real = R>>(self, neuron: &N) -> Self::Output {
        let mut raw = neuron.params();
        expect("neurons' parameters", raw.as_ref().len(), self.raw.len())?;
        raw.as_mut().copy_from_slice(self.raw);
        let neuron = neuron.with_params(raw);
        let states = vec![[neuron.rest(); LANES]; self.affine.len()];
        Ok(Box::new(Layer { neuron, states, affine: self.affine }))
    }
}

#[derive(Debug)]
struct Layer<N: Neuron> {
    neuron: N,
    states: Vec<[N::State; LANES]>,
    affine: Vec<Affine<N::Real>>,
}

impl<N: Neuron> Neurons<N::Real> for Layer<N> {
    fn reset(&mut self) {
        self.states.fill([self.neuron.rest(); LANES]);
    }

    fn advance(&mut self, first: usize, rows: &mut [[N::Real; LANES]]) {
        let Self { neuron, states, affine } = self;
        let group = first / LANES;
        vectorize(
            #[inline(always)]
            || run(neuron, &affine[group], &mut states[group], rows),
        );
    }
}

#[inline(always)]
fn run<R: Real, N: Neuron<Real = R>>(
    neuron: &N,
    affine: &Affine<R>,
    states: &mut [N::State; LANES],
    rows: &mut [[R; LANES]],
) {
    let fires = if neuron.fires() { R::one() } else { R::zero() };
    let mut now = *states;
    for row in rows {
        for l in 0..LANES {
            let charged = neuron.charge(now[l], affine.scale[l] * row[l] + affine.shift[l]);
            let spike = fires * step(neuron.excess(charged));
            now[l] = neuron.reset(charged, spike);
            row[l] = spike;
        }
    }
    *states = now;
}
