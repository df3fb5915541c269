use super::{LANES, Parameters};
use crate::lanes::vectorize;
use core::fmt::Debug;
use polychron_core::neuron::Neuron;
use polychron_core::norm::BatchNorm;
use polychron_core::num::Real;
use polychron_core::shape::ShapeError;
use polychron_core::surrogate::step;

/// The neurons of a layer with their normalisation.
pub(crate) trait StreamNeurons<R>: Debug + Send + Sync {
    /// Returns all neurons to their first state.
    fn reset(&mut self);
    /// Runs the neurons `first..first + LANES` over the rows `[n][LANES]`, which hold their
    /// projections and receive their spikes.
    fn advance(&mut self, first: usize, rows: &mut [[R; LANES]]);
}

/// `z = scale y + shift`
#[derive(Clone, Copy, Debug)]
pub(crate) struct Affine<R> {
    scale: [R; LANES],
    shift: [R; LANES],
}

/// The normalisation of a layer of `width` neurons, or their biases.
pub(super) fn affine<R: Real>(
    norm: Option<&BatchNorm<R>>,
    bias: bool,
    width: usize,
    parameters: &Parameters<'_, R>,
) -> Result<Vec<Affine<R>>, ShapeError> {
    let identity = Affine { scale: [R::one(); LANES], shift: [R::zero(); LANES] };
    let mut affine = vec![identity; width.div_ceil(LANES)];
    if let Some(norm) = norm {
        let get = |name| parameters.get(name, width);
        let (gamma, beta) = (get("gamma")?, get("beta")?);
        let (mean, var) = (get("running_mean")?, get("running_var")?);
        for o in 0..width {
            let Affine { scale, shift } = &mut affine[o / LANES];
            let (scale, shift) = (&mut scale[o % LANES], &mut shift[o % LANES]);
            *scale = gamma[o] * norm.inverse_deviation(var[o]);
            *shift = beta[o] - mean[o] * *scale;
        }
    }
    if bias {
        for (o, &bias) in parameters.get("bias", width)?.iter().enumerate() {
            affine[o / LANES].shift[o % LANES] = bias;
        }
    }
    Ok(affine)
}

/// The neurons of a layer in their first state: one for all, or one for each. `start` holds the
/// states `[S, width]` of neurons that do not start at rest.
pub(crate) fn stream_neurons<N: Neuron>(
    mut neurons: Vec<N>,
    affine: Vec<Affine<N::Real>>,
    start: Vec<N::Real>,
) -> Box<dyn StreamNeurons<N::Real>> {
    let first = neurons[0];
    if neurons.len() > 1 {
        neurons.resize(affine.len() * LANES, first);
    }
    let states = vec![[first.rest(); LANES]; affine.len()];
    let mut layer = Layer { neurons, states, start, affine };
    layer.reset();
    Box::new(layer)
}

#[derive(Debug)]
struct Layer<N: Neuron> {
    /// One for all, or one for every lane.
    neurons: Vec<N>,
    states: Vec<[N::State; LANES]>,
    start: Vec<N::Real>,
    affine: Vec<Affine<N::Real>>,
}

impl<N: Neuron> StreamNeurons<N::Real> for Layer<N> {
    fn reset(&mut self) {
        let Self { neurons, states, start, .. } = self;
        let width = start.len() / neurons[0].rest().as_ref().len().max(1);
        for (n, state) in states.iter_mut().flatten().enumerate() {
            *state = neurons.get(n).unwrap_or(&neurons[0]).rest();
            let own = start.iter().skip(n).step_by(width.max(1)).filter(|_| n < width);
            state.as_mut().iter_mut().zip(own).for_each(|(to, &x)| *to = x);
        }
    }

    fn advance(&mut self, first: usize, rows: &mut [[N::Real; LANES]]) {
        let Self { neurons, states, affine, .. } = self;
        let group = first / LANES;
        let (affine, states) = (&affine[group], &mut states[group]);
        match &neurons[..] {
            [neuron] => vectorize(
                #[inline(always)]
                || run(|_| neuron, affine, states, rows),
            ),
            neurons => {
                let neurons = &neurons[first..first + LANES];
                vectorize(
                    #[inline(always)]
                    || run(|l| &neurons[l], affine, states, rows),
                );
            }
        }
    }
}

#[inline(always)]
fn run<'a, R: Real, N: Neuron<Real = R>>(
    neuron: impl Fn(usize) -> &'a N,
    affine: &Affine<R>,
    states: &mut [N::State; LANES],
    rows: &mut [[R; LANES]],
) {
    let fires = if neuron(0).fires() { R::one() } else { R::zero() };
    let mut now = *states;
    for row in rows {
        for l in 0..LANES {
            let neuron = neuron(l);
            let charged = neuron.charge(now[l], affine.scale[l] * row[l] + affine.shift[l]);
            let spike = fires * step(neuron.excess(charged));
            now[l] = neuron.reset(charged, spike);
            row[l] = spike;
        }
    }
    *states = now;
}
