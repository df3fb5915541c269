//! Neurons over time: backpropagation through charge, spike and reset.

use super::check::{Errors, Value, Watched, compare, dot, hold};
use super::draw::{Draw, all_neurons, all_surrogates};
use polychron_core::backend::Firing;
use polychron_core::gradcheck::relative_error;
use polychron_core::neuron::{ErasedNeuron, Neuron, NeuronModel, NeuronVisitor};
use polychron_core::norm::ValidSteps;
use polychron_core::reference::{NeuronArgs, neuron_backward, neuron_forward};
use polychron_core::shape::Shape;
use polychron_core::surrogate::{Surrogate, step};
use proptest::prelude::*;

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Smooth,
    Held,
    Frozen,
    Step,
    Adjoint,
}

const SMOOTH: (Mode, &str) = (Mode::Smooth, "smooth");
const HELD: (Mode, &str) = (Mode::Held, "held");
const FROZEN: (Mode, &str) = (Mode::Frozen, "frozen");
const STEP: (Mode, &str) = (Mode::Step, "step");
const ADJOINT: (Mode, &str) = (Mode::Adjoint, "adjoint");

/// The loss `<d_spikes, spikes> + <d_membrane, membrane>` of one stage.
struct Stage<'a> {
    mode: Mode,
    surrogate: &'a Watched,
    mask: Option<&'a [f64]>,
    valid: ValidSteps<'a>,
    shape: Shape,
    x: &'a [f64],
    d_spikes: &'a [f64],
    d_membrane: &'a [f64],
    /// The distances `[params, width]` of the parameters of each neuron from the configured ones;
    /// `None` if all neurons share them.
    spread: Option<Vec<f64>>,
    /// The states `[S, batch, width]` before the first step; `None` for neurons at rest.
    start: Option<Vec<f64>>,
}

impl Stage<'_> {
    fn args<'a, N>(
        &'a self,
        neurons: &'a [N],
        firing: Firing<'a, [f64]>,
    ) -> NeuronArgs<'a, f64, N> {
        let Self { surrogate, mask, valid, shape, .. } = *self;
        let start = self.start.as_deref();
        NeuronArgs { neurons, surrogate, firing, mask, valid, shape, start }
    }

    /// The state of neuron `o` of sample `b` before the first step.
    fn first_state<N: Neuron<Real = f64>>(&self, neuron: &N, b: usize, o: usize) -> N::State {
        let mut state = neuron.rest();
        for (s, value) in state.as_mut().iter_mut().enumerate() {
            *value = self.start.as_ref().map_or(*value, |start| start[self.shape.at(s, b, o)]);
        }
        state
    }

    fn recorded<N: Neuron<Real = f64>>(&self, neurons: &[N]) -> Vec<f64> {
        let all = NeuronArgs {
            mask: None,
            valid: ValidSteps::default(),
            ..self.args(neurons, Firing::Step)
        };
        let mut spikes = vec![0.0; self.x.len()];
        neuron_forward(&all, self.x, &mut spikes, None, None).unwrap();
        spikes
    }

    fn outputs<N: Neuron<Real = f64>>(
        &self,
        args: &NeuronArgs<'_, f64, N>,
        x: &[f64],
    ) -> [Vec<f64>; 2] {
        let (mut spikes, mut membrane) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        neuron_forward(args, x, &mut spikes, Some(&mut membrane), None).unwrap();
        [spikes, membrane]
    }

    fn loss<N: Neuron<Real = f64>>(&self, args: &NeuronArgs<'_, f64, N>, x: &[f64]) -> Value {
        self.surrogate.take_sides();
        let [spikes, membrane] = self.outputs(args, x);
        let value = dot(self.d_spikes, &spikes) + dot(self.d_membrane, &membrane);
        Value { value, piece: self.surrogate.take_sides() }
    }

    fn gradient<N: Neuron<Real = f64>>(&self, args: &NeuronArgs<'_, f64, N>) -> Vec<f64> {
        let mut d_x = vec![f64::NAN; self.x.len()];
        let params = args.neurons[0].params().as_ref().len();
        let mut d_params = vec![f64::NAN; args.neurons.len() * params];
        let d_v = Some(self.d_membrane);
        neuron_backward(args, self.x, self.d_spikes, d_v, &mut d_x, &mut d_params).unwrap();
        d_x.extend(d_params);
        d_x
    }

    /// The loss if a spike is `s0 + F(u) - F(u0)` around the excesses u0 and the spikes s0 of `at`,
    /// and a detached reset uses s0. At the point itself this is the training pass, with the
    /// surrogate derivative as its true slope.
    fn anchored_loss<N: Neuron<Real = f64>>(&self, at: &[N], neurons: &[N], x: &[f64]) -> Value {
        self.surrogate.take_sides();
        let (shape, f) = (self.shape, |u| self.surrogate.primitive(u));
        let mut value = 0.0;
        for b in 0..shape.batch {
            for o in 0..shape.width {
                let set = o.min(at.len() - 1);
                let (at, neuron) = (&at[set], &neurons[set]);
                let mut home = self.first_state(at, b, o);
                let mut state = self.first_state(neuron, b, o);
                for t in 0..shape.steps {
                    let i = shape.at(t, b, o);
                    let (home_charged, charged) =
                        (at.charge(home, self.x[i]), neuron.charge(state, x[i]));
                    let (u0, u) = (at.excess(home_charged), neuron.excess(charged));
                    let s0 = if at.fires() { step(u0) } else { 0.0 };
                    let s = if at.fires() { s0 + f(u) - f(u0) } else { 0.0 };
                    home = at.reset(home_charged, s0);
                    state = neuron.reset(charged, if at.detached() { s0 } else { s });
                    let counts = t < self.valid.steps(b, shape.steps);
                    let mask = self.mask.map_or(1.0, |mask| mask[b * shape.width + o]);
                    value += if counts { self.d_spikes[i] * mask * s } else { 0.0 };
                    value += self.d_membrane[i] * state.as_ref()[0];
                }
            }
        }
        Value { value, piece: self.surrogate.take_sides() }
    }

    /// With recorded spikes the membrane is an affine function of the input.
    fn adjoint<N: Neuron<Real = f64>>(&self, args: &NeuronArgs<'_, f64, N>) -> Errors {
        let [_, image] = self.outputs(args, self.x);
        let [_, zero] = self.outputs(args, &vec![0.0; self.x.len()]);
        let image: Vec<_> = image.iter().zip(zero).map(|(a, b)| a - b).collect();
        let gradient = self.gradient(args);
        let (y, left) = (self.d_membrane, dot(self.d_membrane, &image));
        let right = dot(&gradient[..self.x.len()], self.x);
        let scale = (dot(y, y) * dot(&image, &image)).sqrt();
        let mut errors = Errors::default();
        errors.add(relative_error(left, right, scale), || format!("{left}, not {right}"));
        errors
    }
}

impl NeuronVisitor<f64> for &Stage<'_> {
    type Output = Errors;

    fn visit<N: Neuron<Real = f64>>(self, neuron: &N) -> Errors {
        let n = self.x.len();
        let sets = self.spread.as_ref().map_or(1, |_| self.shape.width);
        let own = neuron.params();
        let repeated = own.as_ref().iter().flat_map(|&raw| vec![raw; sets]);
        let mut raw: Vec<_> = repeated.collect();
        raw.iter_mut().zip(self.spread.iter().flatten()).for_each(|(raw, d)| *raw += d);
        let with =
            |raw: &[f64]| (0..sets).map(|o| neuron.with_set(raw, sets, o)).collect::<Vec<_>>();
        let neurons = &with(&raw)[..];
        let recorded = self.recorded(neurons);
        let firing = match self.mode {
            Mode::Smooth => Firing::Smooth,
            Mode::Held => Firing::SmoothHeld(recorded.as_slice()),
            Mode::Frozen | Mode::Adjoint => Firing::Frozen(recorded.as_slice()),
            Mode::Step => Firing::Step,
        };
        if self.mode == Mode::Adjoint {
            return self.adjoint(&self.args(neurons, firing));
        }
        let gradient = self.gradient(&self.args(neurons, firing));
        let mut point = self.x.to_vec();
        point.extend(raw);
        let value = |at: &[f64]| {
            let (x, raw) = at.split_at(n);
            let moved = with(raw);
            match self.mode {
                Mode::Step => self.anchored_loss(neurons, &moved, x),
                _ => self.loss(&self.args(&moved, firing), x),
            }
        };
        let parts = [("input", 0..n), ("params", n..point.len())];
        compare(value, &point, &parts, &gradient)
    }
}

fn over_time<M: NeuronModel<Real = f64>>(
    (mode, name): (Mode, &str),
    cases: u32,
    neurons: &[M],
) -> f64 {
    let shapes = (any::<u64>(), 1usize..6, 1usize..3, 1usize..3);
    hold(("neurons over time", name), cases, shapes, |(seed, steps, batch, width)| {
        let shape = Shape::new(steps, batch, width);
        let mut errors = cases_of(mode, &mut Draw::new(seed), shape, neurons, false);
        let wider = Shape::new(steps, batch, width + 1);
        errors.merge(cases_of(mode, &mut Draw::new(!seed), wider, neurons, true));
        errors
    })
}

/// Every surrogate and neuron, with parameters for each neuron or for all.
fn cases_of<M: NeuronModel<Real = f64>>(
    mode: Mode,
    draw: &mut Draw,
    shape: Shape,
    neurons: &[M],
    per_neuron: bool,
) -> Errors {
    let mut errors = Errors::default();
    for surrogate in all_surrogates() {
        let surrogate = Watched::new(surrogate);
        for neuron in neurons {
            let params = neuron.param_count();
            if mode == Mode::Smooth && neuron.visit(Detached) || per_neuron && params == 0 {
                continue;
            }
            let (mask, lengths) = (draw.mask(shape), draw.lengths(shape));
            let states = Shape { steps: neuron.state_count(), ..shape }.len();
            let [x, d_spikes, d_membrane] = [(-0.5, 2.5), (-1.0, 1.0), (-1.0, 1.0)]
                .map(|(low, high)| draw.block(shape.len(), low, high));
            let stage = Stage {
                mode,
                surrogate: &surrogate,
                mask: mask.as_deref(),
                valid: ValidSteps { lengths: lengths.as_deref(), padding: draw.below(2) },
                shape,
                x: &x,
                d_spikes: &d_spikes,
                d_membrane: &d_membrane,
                spread: per_neuron.then(|| draw.block(params * shape.width, -0.3, 0.3)),
                start: (draw.below(2) == 0).then(|| draw.block(states, -0.5, 0.75)),
            };
            let mut found = neuron.visit(&stage);
            found.worst_at = format!("{neuron:?} {:?} {}", surrogate.surrogate, found.worst_at);
            errors.merge(found);
        }
    }
    errors
}

/// Whether the reset of a spiking neuron is detached.
pub(crate) struct Detached;

impl NeuronVisitor<f64> for Detached {
    type Output = bool;
    fn visit<N: Neuron<Real = f64>>(self, neuron: &N) -> bool {
        neuron.fires() && neuron.detached()
    }
}

pub(crate) fn smooth() -> f64 {
    over_time(SMOOTH, 2, &all_neurons())
}

pub(crate) fn held() -> f64 {
    over_time(HELD, 2, &all_neurons())
}

pub(crate) fn frozen() -> f64 {
    over_time(FROZEN, 2, &all_neurons())
}

pub(crate) fn trained() -> f64 {
    over_time(STEP, 2, &all_neurons())
}

pub(crate) fn adjoint() -> f64 {
    over_time(ADJOINT, 4, &all_neurons())
}

/// The gradient of a detached reset is the same in training and with recorded spikes.
#[test]
fn detached_training_gradient_is_the_held_one() {
    let shape = Shape::new(12, 2, 3);
    let mut draw = Draw::new(5);
    for neuron in all_neurons().into_iter().filter(|neuron| neuron.visit(Detached)) {
        struct Both<'a>(&'a Stage<'a>);
        impl NeuronVisitor<f64> for Both<'_> {
            type Output = [Vec<f64>; 2];
            fn visit<N: Neuron<Real = f64>>(self, neuron: &N) -> [Vec<f64>; 2] {
                let neurons = std::slice::from_ref(neuron);
                let recorded = self.0.recorded(neurons);
                [Firing::Step, Firing::SmoothHeld(recorded.as_slice())]
                    .map(|firing| self.0.gradient(&self.0.args(neurons, firing)))
            }
        }
        let surrogate = Watched::new(draw.any_surrogate());
        let [x, d_spikes, d_membrane] =
            [2.5, 1.0, 1.0].map(|high| draw.block(shape.len(), -1.0, high));
        let [training, held] = neuron.visit(Both(&Stage {
            mode: Mode::Held,
            surrogate: &surrogate,
            mask: None,
            valid: ValidSteps::default(),
            shape,
            x: &x,
            d_spikes: &d_spikes,
            d_membrane: &d_membrane,
            spread: None,
            start: None,
        }));
        assert_eq!(training, held, "{neuron:?}");
    }
}
