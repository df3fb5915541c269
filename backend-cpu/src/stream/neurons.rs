use super::{LANES, Parameters};
use crate::lanes::vectorize;
use core::fmt::Debug;
use polychron_core::neuron::{Neuron, NeuronModel, NeuronVisitor};
use polychron_core::num::Real;
use polychron_core::shape::{ShapeError, expect};
use polychron_core::surrogate::step;
use polychron_core::train::HiddenLayer;

/// The neurons of a layer, with their normalisation.
pub(super) trait Neurons<R>: Debug + Send + Sync {
    /// Puts all neurons at rest.
    fn reset(&mut self);
    /// Runs [`LANES`] neurons from `first` on over steps `[n][LANES]`: projections become spikes.
    fn advance(&mut self, first: usize, rows: &mut [[R; LANES]]);
}

/// The neurons of a hidden layer.
pub(super) fn neurons<R: Real, K, N: NeuronModel<R>, S>(
    hidden: &HiddenLayer<R, K, N, S>,
    parameters: &Parameters<'_, R>,
) -> Result<Box<dyn Neurons<R>>, ShapeError> {
    let groups = hidden.synapses.outputs.div_ceil(LANES);
    let mut normals = vec![Normal { scale: [R::one(); LANES], shift: [R::zero(); LANES] }; groups];
    if let Some(norm) = &hidden.norm {
        let get = |name| parameters.get(name, hidden.synapses.outputs);
        let (gamma, beta) = (get("gamma")?, get("beta")?);
        let (mean, var) = (get("running_mean")?, get("running_var")?);
        for o in 0..hidden.synapses.outputs {
            let Normal { scale, shift } = &mut normals[o / LANES];
            let (scale, shift) = (&mut scale[o % LANES], &mut shift[o % LANES]);
            *scale = gamma[o] * norm.inverse_deviation(var[o]);
            *shift = beta[o] - mean[o] * *scale;
        }
    }
    let raw = parameters.get("neuron", hidden.neuron.param_count())?;
    hidden.neuron.visit(Build { raw, normals })
}

/// `z = scale y + shift`
#[derive(Clone, Copy, Debug)]
struct Normal<R> {
    scale: [R; LANES],
    shift: [R; LANES],
}

struct Build<'a, R> {
    raw: &'a [R],
    normals: Vec<Normal<R>>,
}

impl<R: Real> NeuronVisitor<R> for Build<'_, R> {
    type Output = Result<Box<dyn Neurons<R>>, ShapeError>;

    fn visit<N: Neuron<Real = R>>(self, neuron: &N) -> Self::Output {
        let mut raw = neuron.params();
        expect("neurons' parameters", raw.as_ref().len(), self.raw.len())?;
        raw.as_mut().copy_from_slice(self.raw);
        let neuron = neuron.with_params(raw);
        let states = vec![[neuron.rest(); LANES]; self.normals.len()];
        Ok(Box::new(Layer { neuron, states, normals: self.normals }))
    }
}

#[derive(Debug)]
struct Layer<N: Neuron> {
    neuron: N,
    states: Vec<[N::State; LANES]>,
    normals: Vec<Normal<N::Real>>,
}

impl<N: Neuron> Neurons<N::Real> for Layer<N> {
    fn reset(&mut self) {
        self.states.fill([self.neuron.rest(); LANES]);
    }

    fn advance(&mut self, first: usize, rows: &mut [[N::Real; LANES]]) {
        let Self { neuron, states, normals } = self;
        let group = first / LANES;
        vectorize(
            #[inline(always)]
            || run(neuron, &normals[group], &mut states[group], rows),
        );
    }
}

#[inline(always)]
fn run<R: Real, N: Neuron<Real = R>>(
    neuron: &N,
    normal: &Normal<R>,
    states: &mut [N::State; LANES],
    rows: &mut [[R; LANES]],
) {
    let fires = if neuron.fires() { R::one() } else { R::zero() };
    let mut now = *states;
    for row in rows {
        for l in 0..LANES {
            let charged = neuron.charge(now[l], normal.scale[l] * row[l] + normal.shift[l]);
            let spike = fires * step(neuron.excess(charged));
            now[l] = neuron.reset(charged, spike);
            row[l] = spike;
        }
    }
    *states = now;
}
