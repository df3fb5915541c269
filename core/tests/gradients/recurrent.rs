//! Recurrent layers: backpropagation through the delays among the neurons of a layer.

use super::check::{Errors, Part, Value, Watched, compare, dot, hold};
use super::draw::{Draw, KERNELS, all_surrogates, neurons, surrogate};
use super::over_time::Detached;
use polychron_core::backend::{
    Backend, Firing, HasKernel, HasNeuron, NeuronStage, RecurrentGradients, RecurrentStage,
    SynapseGradients, SynapseParams, View, ViewMut,
};
use polychron_core::delay::{AnyKernel, Place, Rounding, dense_kernel};
use polychron_core::gradcheck::relative_error;
use polychron_core::neuron::{AnyNeuron, ErasedNeuron, Neuron, NeuronModel, NeuronVisitor};
use polychron_core::norm::ValidSteps;
use polychron_core::reference::{Block, Reference};
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::{Surrogate, step};
use proptest::prelude::*;
use std::ops::Range;
use std::rc::Rc;

const REFERENCE: Reference<f64> = Reference::new();
const STAGE: &str = "recurrent layer";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Smooth,
    Held,
    Frozen,
    Step,
}

/// A fault of the backward pass.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// The dropout of the current is ignored.
    NoMask,
    /// The spikes before the first step are ignored.
    NothingBefore,
    /// The gradient does not pass the recurrent synapses.
    NoRecurrence,
}

/// A recurrent layer whose loss is a function of one vector.
struct Case {
    mode: Mode,
    fault: Fault,
    synapses: Synapses,
    place: Place,
    kernel: AnyKernel,
    rounding: Option<Rounding>,
    neuron: AnyNeuron<f64>,
    watched: Rc<Watched>,
    shape: Shape,
    masks: [Option<Vec<f64>>; 2],
    before: Option<Block<f64>>,
    start: Option<Vec<f64>>,
    lengths: Option<Vec<usize>>,
    padding: usize,
    d_spikes: Vec<f64>,
    /// Excesses and spikes at the point.
    recorded: [Vec<f64>; 2],
    parts: Vec<Part>,
    point: Vec<f64>,
}

/// The input, the weights, the delays, the sigmas and the raw parameters.
const PARTS: [&str; 5] = ["input", "weights", "delays", "sigma", "neuron"];

impl Case {
    fn draw(
        draw: &mut Draw,
        (mode, shape): (Mode, Shape),
        (kernel, rounding): (AnyKernel, Option<Rounding>),
        place: Place,
        neuron: AnyNeuron<f64>,
        watched: Watched,
    ) -> Self {
        let synapses = Synapses { padding: 0, ..draw.synapses(shape.width, shape.width) };
        let smooth = rounding.map_or(kernel, Rounding::kernel);
        // Delays that synapses share have the sigma of all, so that all avoid the same kinks.
        let shared = draw.coin() || place != Place::Synaptic;
        let count = place.len(&synapses);
        let (delays, sigma) = draw.delays_and_sigma(smooth, synapses.taps, count, shared);
        let bound = 1.5 / ((shape.width * synapses.kernel_count) as f64).sqrt();
        let mut params = vec![0.0; neuron.param_count()];
        neuron.write_params(&mut params);
        if draw.coin() {
            params = params.iter().flat_map(|&raw| vec![raw; shape.width]).collect();
            params.iter_mut().for_each(|raw| *raw += draw.uniform(-0.3, 0.3));
        }
        let x = draw.block(shape.len(), -0.5, 2.0);
        let blocks = [x, draw.block(synapses.weights(), -bound, bound), delays, sigma, params];
        let (mut parts, mut point) = (Vec::new(), Vec::new());
        for (name, block) in PARTS.into_iter().zip(blocks) {
            parts.push((name, point.len()..point.len() + block.len()));
            point.extend(block);
        }
        let past = Shape { steps: synapses.taps, ..shape };
        let states = Shape { steps: neuron.state_count(), ..shape }.len();
        Self {
            masks: [draw.mask(shape), draw.mask(shape)],
            before: draw
                .coin()
                .then(|| Block { shape: past, values: draw.block(past.len(), 0.0, 1.0) }),
            start: draw.coin().then(|| draw.block(states, -0.5, 0.5)),
            lengths: draw.lengths(shape),
            padding: draw.below(2),
            d_spikes: draw.block(shape.len(), -1.0, 1.0),
            recorded: [vec![0.0; shape.len()], vec![0.0; shape.len()]],
            watched: Rc::new(watched),
            mode,
            fault: Fault::None,
            synapses,
            place,
            kernel,
            rounding,
            neuron,
            shape,
            parts,
            point,
        }
    }

    fn part<'a>(&self, at: &'a [f64], n: usize) -> &'a [f64] {
        &at[self.parts[n].1.clone()]
    }

    fn gate(&self, mask: usize, b: usize, o: usize) -> f64 {
        self.masks[mask].as_ref().map_or(1.0, |mask| mask[b * self.shape.width + o])
    }

    fn valid(&self) -> ValidSteps<'_> {
        ValidSteps { lengths: self.lengths.as_deref(), padding: self.padding }
    }

    fn delays(&self, at: &[f64]) -> Vec<f64> {
        let mut full = vec![f64::NAN; self.synapses.weights()];
        self.place.expand(&self.synapses, self.part(at, 2), &mut full).unwrap();
        full
    }

    fn dense(&self, at: &[f64]) -> Vec<f64> {
        let s = &self.synapses;
        let mut dense = vec![0.0; s.inputs * s.outputs * s.taps];
        let kernel = self.rounding.map_or(self.kernel, Rounding::kernel);
        let (weights, delays, sigma) = (self.part(at, 1), self.delays(at), self.part(at, 3));
        let scratch = &mut vec![0.0; s.taps];
        dense_kernel(&kernel, s, weights, &delays, sigma, scratch, &mut dense).unwrap();
        dense
    }

    /// What arrives at step `t` from each tap of each spike, if every spike is delivered when it is
    /// fired. `fire` is given the place and the excess, and returns the spike and that which resets
    /// the state. Returns the inputs and the spikes.
    fn run<N: Neuron<Real = f64>>(
        &self,
        neuron: &N,
        at: &[f64],
        mut fire: impl FnMut(usize, f64) -> (f64, f64),
    ) -> [Vec<f64>; 2] {
        let Shape { steps, batch, width } = self.shape;
        let (dense, raw, taps) = (self.dense(at), self.part(at, 4), self.synapses.taps);
        let sets = (raw.len() / neuron.params().as_ref().len().max(1)).max(1);
        let neurons: Vec<_> = (0..sets).map(|o| neuron.with_set(raw, sets, o)).collect();
        let (mut input, mut fired) = (self.part(at, 0).to_vec(), vec![0.0; self.shape.len()]);
        let deliver = |input: &mut [f64], from: isize, (b, i): (usize, usize), spike: f64| {
            for (o, j) in (0..width).flat_map(|o| (0..taps).map(move |j| (o, j))) {
                let arrival = from + 1 + j as isize;
                if (0..steps as isize).contains(&arrival) {
                    let charge = dense[(o * width + i) * taps + j] * spike;
                    input[self.shape.at(arrival as usize, b, o)] += charge * self.gate(1, b, o);
                }
            }
        };
        for b in 0..batch {
            let mut states: Vec<_> = (0..width)
                .map(|o| {
                    let mut state = neurons[o.min(sets - 1)].rest();
                    for (s, value) in state.as_mut().iter_mut().enumerate() {
                        *value = self.start.as_ref().map_or(*value, |x| x[self.shape.at(s, b, o)]);
                    }
                    state
                })
                .collect();
            for (t, i) in (0..taps).flat_map(|t| (0..width).map(move |i| (t, i))) {
                let Some(before) = &self.before else { break };
                let spike = before.values[self.shape.at(t, b, i)];
                deliver(&mut input, t as isize - taps as isize, (b, i), spike);
            }
            for (t, o) in (0..steps).flat_map(|t| (0..width).map(move |o| (t, o))) {
                let (place, neuron) = (self.shape.at(t, b, o), &neurons[o.min(sets - 1)]);
                let charged = neuron.charge(states[o], input[place]);
                let (spike, reset) = fire(place, neuron.excess(charged));
                states[o] = neuron.reset(charged, reset);
                fired[place] = spike;
                deliver(&mut input, t as isize, (b, o), spike);
            }
        }
        [input, fired]
    }

    /// Records the excesses and the spikes at the point.
    fn record<N: Neuron<Real = f64>>(&mut self, neuron: &N) {
        let mut recorded = [vec![0.0; self.shape.len()], vec![0.0; self.shape.len()]];
        self.run(neuron, &self.point, |at, u| {
            recorded[0][at] = u;
            recorded[1][at] = step(u);
            (step(u), step(u))
        });
        self.recorded = recorded;
    }

    /// The inputs and the spikes in the mode, around the recorded ones.
    fn outputs<N: Neuron<Real = f64>>(&self, neuron: &N, at: &[f64]) -> [Vec<f64>; 2] {
        let [excesses, spikes] = &self.recorded;
        self.run(neuron, at, |n, u| {
            let (f, held) = (|u| self.watched.primitive(u), spikes[n]);
            match self.mode {
                Mode::Smooth => (f(u), f(u)),
                Mode::Held => (f(u), held),
                Mode::Frozen => (held, held),
                Mode::Step => {
                    let spike = held + f(u) - f(excesses[n]);
                    (spike, if neuron.detached() { held } else { spike })
                }
            }
        })
    }

    /// The weighted sum of the output.
    fn sum(&self, fired: &[f64]) -> f64 {
        let weights = self.d_spikes.iter().enumerate().map(|(n, d)| {
            let (t, b) =
                (n / self.shape.width / self.shape.batch, n / self.shape.width % self.shape.batch);
            let counts = t < self.valid().steps(b, self.shape.steps);
            f64::from(counts) * d * self.gate(0, b, n % self.shape.width)
        });
        weights.zip(fired).map(|(d, spike)| d * spike).sum()
    }

    fn loss<N: Neuron<Real = f64>>(&self, neuron: &N, at: &[f64]) -> Value {
        self.watched.take_sides();
        let [_, fired] = self.outputs(neuron, at);
        Value { value: self.sum(&fired), piece: self.watched.take_sides() }
    }

    /// The gradient of the reference. Panics if its inputs and spikes are not those of
    /// [`outputs`](Self::outputs).
    fn gradient<N: Neuron<Real = f64>>(&self, neuron: &N) -> Vec<f64> {
        let shape = self.shape;
        let block = |values: &[f64]| Block { shape, values: values.to_vec() };
        let (recorded, full) = (block(&self.recorded[1]), self.delays(&self.point));
        let (point, range) = (&self.point, |n: usize| self.parts[n].1.clone());
        let (handle, surrogate) =
            (Reference::neuron(self.neuron), self.watched.clone() as Rc<dyn Surrogate<f64>>);
        let stage = NeuronStage {
            neuron: &handle,
            params: View::new(point, range(4)),
            surrogate: &surrogate,
            firing: match self.mode {
                Mode::Smooth => Firing::Smooth,
                Mode::Held => Firing::SmoothHeld(&recorded),
                Mode::Frozen => Firing::Frozen(&recorded),
                Mode::Step => Firing::Step,
            },
            mask: self.masks[0].as_ref(),
            valid: self.valid(),
            start: self.start.as_ref(),
        };
        let recurrent = RecurrentStage {
            synapses: &self.synapses,
            place: self.place,
            kernel: &Reference::kernel(self.kernel),
            params: SynapseParams {
                weights: View::new(point, range(1)),
                delays: View::new(&full, 0..full.len()),
                sigma: View::new(point, range(3)),
                rounding: self.rounding,
            },
            spread: None,
            mask: self.masks[1].as_ref(),
            before: self.before.as_ref(),
        };
        let blank = || block(&vec![f64::NAN; shape.len()]);
        let [mut input, mut fired, mut spikes] = [blank(), blank(), blank()];
        let (x, outputs) = (block(self.part(point, 0)), [&mut input, &mut fired, &mut spikes]);
        REFERENCE.recurrent_forward(&recurrent, &stage, &x, outputs, None).unwrap();
        let [own_input, own_fired] = self.outputs(neuron, point);
        for (found, own) in [(&input, own_input), (&fired, own_fired)] {
            let wrong =
                found.values.iter().zip(own).find(|(a, b)| relative_error(**a, *b, 1.0) > 1e-9);
            assert_eq!(wrong, None, "forward");
        }
        let (none, at) = (self.point.iter().map(|_| 0.0).collect::<Vec<_>>(), range(1));
        let SynapseParams { mut weights, delays, sigma, rounding } = recurrent.params;
        if self.fault == Fault::NoRecurrence {
            weights = View::new(&none, at);
        }
        let recurrent = RecurrentStage {
            params: SynapseParams { weights, delays, sigma, rounding },
            mask: recurrent.mask.filter(|_| self.fault != Fault::NoMask),
            before: recurrent.before.filter(|_| self.fault != Fault::NothingBefore),
            ..recurrent
        };
        let mut d = block(&self.d_spikes);
        let mut gradients = [1, 1, 3, 4].map(|n| vec![f64::NAN; range(n).len()]);
        let [weights, delays, sigma, params] = gradients.each_mut().map(all);
        let synapses = SynapseGradients { weights, delays, sigma };
        let into = RecurrentGradients { synapses, neuron: params };
        REFERENCE.recurrent_backward(&recurrent, &stage, [&input, &fired], &mut d, into).unwrap();
        let [weights, by_synapse, sigma, params] = gradients;
        let mut delays = vec![0.0; range(2).len()];
        let (to, len) = (all(&mut delays), range(2).len());
        REFERENCE.reduce(&self.synapses, self.place.into(), &by_synapse, to, len).unwrap();
        [d.values, weights, delays, sigma, params].concat()
    }
}

fn all(block: &mut Vec<f64>) -> ViewMut<'_, Vec<f64>> {
    let range = 0..block.len();
    ViewMut::new(block, range)
}

struct Compared(Case);

impl NeuronVisitor<f64> for Compared {
    type Output = Errors;
    fn visit<N: Neuron<Real = f64>>(self, neuron: &N) -> Errors {
        let Self(mut case) = self;
        case.record(neuron);
        let gradient = case.gradient(neuron);
        compare(|at| case.loss(neuron, at), &case.point, &case.parts, &gradient)
    }
}

/// Every kernel, and rounding to two taps.
pub(crate) fn kernels() -> impl Iterator<Item = (AnyKernel, Option<Rounding>)> {
    let rounded = (AnyKernel::Gauss, Some(Rounding::Split));
    KERNELS.into_iter().map(|kernel| (kernel, None)).chain([rounded])
}

fn spiking() -> Vec<AnyNeuron<f64>> {
    let mut all = neurons(2.3);
    all.retain(|neuron| !matches!(neuron, AnyNeuron::Li(_)));
    all
}

/// Every spiking neuron with every reset, gain and detachment, wherever the delays sit, with every
/// kernel and rounding; surrogates alternate.
fn layers(mode: Mode, name: &str) -> f64 {
    let shapes = (any::<u64>(), 3usize..6, 1usize..3, 1usize..4);
    hold((STAGE, name), 3, shapes, |(seed, steps, batch, width)| {
        let (mut draw, mut errors) = (Draw::new(seed), Errors::default());
        let (mut surrogates, shape) =
            (all_surrogates().into_iter().cycle(), Shape::new(steps, batch, width));
        for neuron in spiking() {
            if mode == Mode::Smooth && neuron.visit(Detached) {
                continue;
            }
            for (kernel, (label, place)) in
                kernels().flat_map(|kernel| Place::ALL.map(|place| (kernel, place)))
            {
                let watched = Watched::new(surrogates.next().unwrap());
                let text = format!("{neuron:?} {:?} {kernel:?} {label}", watched.surrogate);
                let case = Case::draw(&mut draw, (mode, shape), kernel, place, neuron, watched);
                let mut found = neuron.visit(Compared(case));
                found.worst_at = format!("{text} {}", found.worst_at);
                errors.merge(found);
            }
        }
        errors
    })
}

pub(crate) fn smooth() -> f64 {
    layers(Mode::Smooth, "smooth")
}

pub(crate) fn held() -> f64 {
    layers(Mode::Held, "held")
}

/// The inputs are those of the recorded spikes, and no gradient passes these.
#[test]
fn recorded_spikes_pass_no_gradient() {
    assert_eq!(layers(Mode::Frozen, "held"), 0.0);
}

pub(crate) fn trained() -> f64 {
    layers(Mode::Step, "step")
}

struct Affine(Case);

impl NeuronVisitor<f64> for Affine {
    type Output = Errors;
    fn visit<N: Neuron<Real = f64>>(self, neuron: &N) -> Errors {
        let Self(mut case) = self;
        case.record(neuron);
        let Range { end, .. } = case.parts[0].1;
        let mut zero = case.point.clone();
        zero[..end].fill(0.0);
        let [image, origin] = [&case.point, &zero].map(|at| case.sum(&case.outputs(neuron, at)[1]));
        let gradient = case.gradient(neuron);
        let (left, right) = (image - origin, dot(&gradient[..end], &case.point[..end]));
        let x = &case.point[..end];
        let scale = (dot(&gradient[..end], &gradient[..end]) * dot(x, x)).sqrt();
        let mut errors = Errors::default();
        errors
            .add(relative_error(left, right, scale), || format!("{neuron:?}: {left}, not {right}"));
        errors
    }
}

/// With spikes proportional to the excess and resets by recorded ones, the spikes of a recurrent
/// layer are an affine function of its input: `<y, J x> = <J' y, x>`.
pub(crate) fn adjoint() -> f64 {
    hold((STAGE, "adjoint"), 4, any::<u64>(), |seed| {
        let (mut draw, mut errors) = (Draw::new(seed), Errors::default());
        for neuron in spiking() {
            for (n, (_, place)) in Place::ALL.into_iter().enumerate() {
                let kernel = kernels().nth((n + errors.compared) % 4).unwrap();
                let (mode, shape) = (Mode::Held, Shape::new(24, 3, 7));
                let watched = Watched::new(surrogate("straight_through"));
                let case = Case::draw(&mut draw, (mode, shape), kernel, place, neuron, watched);
                errors.merge(neuron.visit(Affine(case)));
            }
        }
        errors
    })
}

#[test]
fn faults_of_recurrent_gradients_are_found() {
    let (shape, soft) = (Shape::new(6, 2, 3), spiking()[2]);
    let mode = if soft.visit(Detached) { Mode::Held } else { Mode::Smooth };
    for (place, fault) in Place::ALL.into_iter().flat_map(|(_, place)| {
        [Fault::None, Fault::NoMask, Fault::NothingBefore, Fault::NoRecurrence].map(|f| (place, f))
    }) {
        let (mut draw, kernel) = (Draw::new(7), (AnyKernel::Gauss, None));
        let watched = Watched::new(surrogate("atan"));
        let mut case = Case::draw(&mut draw, (mode, shape), kernel, place, soft, watched);
        let past = Shape { steps: case.synapses.taps, ..shape };
        case.before = Some(Block { shape: past, values: draw.block(past.len(), 0.0, 1.0) });
        case.masks[1] = Some(draw.block(shape.batch * shape.width, 0.5, 0.8));
        case.fault = fault;
        let errors = soft.visit(Compared(case));
        assert_eq!(errors.worst > 1e-8, fault != Fault::None, "{place:?} {fault:?}: {errors:?}");
    }
}
