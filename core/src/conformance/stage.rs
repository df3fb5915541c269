//! Neuron stages, and the distance of their membranes from points where rounding errors matter.

use super::host::{Draw, Host, Output, Part};
use super::{Conforming, Failure, tolerance};
use crate::backend::{Backend, Firing, NeuronStage};
use crate::neuron::{AnyNeuron, ErasedNeuron, Lif, Neuron, NeuronModel, NeuronVisitor};
use crate::norm::ValidSteps;
use crate::num::Real;
use crate::shape::Shape;
use crate::surrogate::{AnySurrogate, Surrogate, step};
use alloc::vec;
use alloc::vec::Vec;

/// The least distance of an excess from 0 and from the surrogate's kinks, in units of the membrane.
pub(super) const MARGIN: f64 = 1e-4;

/// [`Firing`] without the recorded spikes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mode {
    Step,
    Smooth,
    SmoothHeld,
    Frozen,
}

pub(super) const MODES: [Mode; 4] = [Mode::Step, Mode::Smooth, Mode::SmoothHeld, Mode::Frozen];

/// The neurons of the suite, with their names. All configured numbers are exact in `f32`.
pub(super) fn neurons<R: Real>() -> Vec<(&'static str, AnyNeuron<R>)> {
    let fast = Lif { rate: R::of(255.0 / 256.0), ..Lif::new(R::one()) };
    let fast = ("lif, fast leak", AnyNeuron::Lif(fast));
    AnyNeuron::examples().chain([fast]).collect()
}

/// The index of a neuron in [`neurons`].
pub(super) fn neuron_index(name: &str) -> usize {
    let found = neurons::<f64>().iter().position(|(n, _)| *n == name);
    found.unwrap_or_else(|| panic!("the suite has no neuron {name:?}"))
}

/// A surrogate's name and its parameters.
pub(super) type Pick = (&'static str, &'static [(&'static str, f64)]);

/// The paper's surrogate.
pub(super) const ATAN: Pick = ("atan", &[("alpha", 5.0)]);

/// A neuron stage's configuration and inputs.
#[derive(Clone)]
pub(super) struct StageCase {
    /// Index in [`neurons`].
    pub(super) neuron: usize,
    pub(super) surrogate: Pick,
    pub(super) mode: Mode,
    pub(super) shape: Shape,
    /// One set of raw parameters, or `[P, width]`.
    pub(super) params: Vec<f64>,
    pub(super) held: Vec<f64>,
    pub(super) mask: Option<Vec<f64>>,
    pub(super) lengths: Option<Vec<usize>>,
    pub(super) padding: usize,
    /// The states `[S, batch, width]` before the first step; `None` for neurons at rest.
    pub(super) start: Option<Vec<f64>>,
}

impl StageCase {
    /// A case with a dropout mask, lengths, and parameters near the configured ones.
    pub(super) fn draw<R: Real>(
        draw: &mut Draw<R>,
        neuron: usize,
        surrogate: Pick,
        mode: Mode,
        shape: Shape,
    ) -> Self {
        Self {
            neuron,
            surrogate,
            mode,
            shape,
            params: params_near(draw, neuron, 1),
            held: draw.spikes(shape.len(), 0.3),
            mask: Some(draw.mask(shape.batch * shape.width)),
            lengths: Some((0..shape.batch).map(|b| shape.steps * (3 - b % 3) / 3).collect()),
            padding: 0,
            start: None,
        }
    }

    /// The same case with neurons that are not at rest.
    pub(super) fn started<R: Real>(self, draw: &mut Draw<R>) -> Self {
        Self { start: Some(draw.uniform(self.state_len(), -0.5, 0.75)), ..self }
    }

    fn state_len(&self) -> usize {
        let count = neurons::<f64>()[self.neuron].1.state_count();
        Shape { steps: count, ..self.shape }.len()
    }

    /// The same case with parameters for each neuron.
    pub(super) fn per_neuron<R: Real>(self, draw: &mut Draw<R>) -> Self {
        Self { params: params_near(draw, self.neuron, self.shape.width), ..self }
    }

    pub(super) fn valid(&self) -> ValidSteps<'_> {
        ValidSteps { lengths: self.lengths.as_deref(), padding: self.padding }
    }

    pub(super) fn upload<Q: Real, B: Conforming<Real = Q>>(
        &self,
        host: &Host<'_, Q, B>,
    ) -> Result<Stage<B>, Failure> {
        let (name, parameters) = self.surrogate;
        Ok(Stage {
            neuron: B::neuron(neurons()[self.neuron].1),
            surrogate: B::surrogate(AnySurrogate::from_name(name, parameters)?),
            params: host.part(&self.params)?,
            held: host.sequence(self.shape, &self.held)?,
            mask: self.mask.as_ref().map(|mask| host.buffer(mask)).transpose()?,
            start: self.start.as_ref().map(|start| host.buffer(start)).transpose()?,
        })
    }

    /// A buffer of NaN for the states after the last step, if the neurons do not start at rest.
    pub(super) fn blank_end<Q: Real, B: Conforming<Real = Q>>(
        &self,
        host: &Host<'_, Q, B>,
    ) -> Result<Option<B::Buffer>, Failure> {
        self.start.is_some().then(|| host.blank(self.state_len())).transpose()
    }

    /// The states after the last step, as an output.
    pub(super) fn read_end<Q: Real, B: Conforming<Real = Q>>(
        &self,
        host: &Host<'_, Q, B>,
        stage: tolerance::Stage,
        end: Option<&B::Buffer>,
    ) -> Result<Option<Output>, Failure> {
        let Some(end) = end else { return Ok(None) };
        let states = Output::new(stage, "last states", host.read(end, self.state_len())?);
        Ok(Some(Output { floor: 1.0, ..states }))
    }

    pub(super) fn unchanged<Q: Real, B: Conforming<Real = Q>>(
        &self,
        host: &Host<'_, Q, B>,
        stage: &Stage<B>,
    ) -> Result<(), Failure> {
        host.same_part(&stage.params, &self.params)?;
        host.same_sequence(&stage.held, &self.held)?;
        if let (Some(buffer), Some(start)) = (&stage.start, &self.start) {
            host.same_buffer(buffer, start)?;
        }
        match (&stage.mask, &self.mask) {
            (Some(buffer), Some(mask)) => host.same_buffer(buffer, mask),
            _ => Ok(()),
        }
    }

    /// The least distance of an excess from 0 or from a kink of the surrogate, for input `x`.
    pub(super) fn clearance(&self, x: &[f64]) -> Result<f64, Failure> {
        let (name, parameters) = self.surrogate;
        let surrogate = &AnySurrogate::from_name(name, parameters)?;
        Ok(neurons()[self.neuron].1.visit(Clearance { case: self, surrogate, x }))
    }
}

/// Raw parameters `[P, sets]` near the configured ones.
fn params_near<R: Real>(draw: &mut Draw<R>, neuron: usize, sets: usize) -> Vec<f64> {
    let model = &neurons::<R>()[neuron].1;
    let mut raw = vec![R::zero(); model.param_count()];
    model.write_params(&mut raw);
    let spread = draw.uniform(raw.len() * sets, -0.3, 0.3);
    let near = |(n, d): (usize, f64)| R::of(raw[n / sets].as_f64() + d).as_f64();
    spread.into_iter().enumerate().map(near).collect()
}

/// A [`StageCase`] on a backend.
pub(super) struct Stage<B: Backend> {
    neuron: B::Neuron,
    surrogate: B::Surrogate,
    pub(super) params: Part<B::Buffer>,
    held: B::Sequence,
    mask: Option<B::Buffer>,
    start: Option<B::Buffer>,
}

impl<B: Backend> Stage<B> {
    pub(super) fn get<'a>(&'a self, case: &'a StageCase) -> NeuronStage<'a, B> {
        NeuronStage {
            neuron: &self.neuron,
            params: self.params.view(),
            surrogate: &self.surrogate,
            firing: match case.mode {
                Mode::Step => Firing::Step,
                Mode::Smooth => Firing::Smooth,
                Mode::SmoothHeld => Firing::SmoothHeld(&self.held),
                Mode::Frozen => Firing::Frozen(&self.held),
            },
            mask: self.mask.as_ref(),
            valid: case.valid(),
            start: self.start.as_ref(),
        }
    }
}

struct Clearance<'a> {
    case: &'a StageCase,
    surrogate: &'a AnySurrogate<f64>,
    x: &'a [f64],
}

impl NeuronVisitor<f64> for Clearance<'_> {
    type Output = f64;

    fn visit<N: Neuron<Real = f64>>(self, neuron: &N) -> f64 {
        let case = self.case;
        if case.mode == Mode::Frozen || !neuron.fires() {
            return f64::INFINITY;
        }
        let shape = case.shape;
        let each = case.params.len() > neuron.params().as_ref().len();
        let sets = if each { shape.width } else { 1 };
        let edges = [Some(0.0)].into_iter().chain(self.surrogate.kinks()).flatten();
        let mut nearest = f64::INFINITY;
        for (b, o) in (0..shape.batch).flat_map(|b| (0..shape.width).map(move |o| (b, o))) {
            let neuron = neuron.with_set(&case.params, sets, o % sets);
            let mut state = neuron.rest();
            for (s, value) in state.as_mut().iter_mut().enumerate() {
                *value = case.start.as_ref().map_or(*value, |start| start[shape.at(s, b, o)]);
            }
            for t in 0..shape.steps {
                let at = shape.at(t, b, o);
                let charged = neuron.charge(state, self.x[at]);
                let u = neuron.excess(charged);
                nearest = edges.clone().map(|edge| (u - edge).abs()).fold(nearest, f64::min);
                let reset_spike = match case.mode {
                    Mode::Step => step(u),
                    Mode::Smooth => self.surrogate.primitive(u),
                    Mode::SmoothHeld | Mode::Frozen => case.held[at],
                };
                state = neuron.reset(charged, reset_spike);
            }
        }
        nearest
    }
}
