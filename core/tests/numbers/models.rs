//! Functions, surrogates, delay kernels, neurons for one step.

use super::measure::{Case, Draw, Part, Row, all, largest, measure, of};
use polychron_core::delay::{AnyKernel, DelayKernel};
use polychron_core::neuron::{AnyNeuron, Li, Lif, Neuron, NeuronModel, NeuronVisitor};
use polychron_core::num::{Real, logistic};
use polychron_core::parameter::Value::{Flag, Number, Word};
use polychron_core::surrogate::{AnySurrogate, Surrogate};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = functions();
    rows.extend(AnySurrogate::<f32>::NAMES.iter().flat_map(|name| surrogate(name)));
    rows.extend(AnyKernel::ALL.iter().flat_map(|&(name, kernel)| delay_kernel(name, kernel)));
    rows.extend(AnyNeuron::<f32>::KINDS.iter().flat_map(|kind| neurons(kind.names[0])));
    rows
}

struct Function {
    name: &'static str,
    inputs: Vec<[f32; 2]>,
}

const FUNCTIONS: [&str; 9] = ["exp", "ln", "sqrt", "cos", "atan", "erf", "powf", "logistic", "sin"];

impl Case for Function {
    fn run<R: Real>(&self) -> Vec<Part<R>> {
        let of = |&[x, y]: &[f32; 2]| {
            let (x, y) = (of::<R>(x), of::<R>(y));
            match self.name {
                "exp" => Real::exp(x),
                "ln" => Real::ln(x),
                "sqrt" => Real::sqrt(x),
                "cos" => Real::cos(x),
                "sin" => Real::sin(x),
                "atan" => Real::atan(x),
                "erf" => Real::erf(x),
                "powf" => Real::powf(x, y),
                _ => logistic(x),
            }
        };
        vec![Part::each(self.inputs.iter().map(of).collect())]
    }
}

fn functions() -> Vec<Row> {
    let mut draw = Draw::new(1);
    let mut rows = Vec::new();
    for name in FUNCTIONS {
        let edges: &[f32] = match name {
            "exp" => &[0.0, -0.0, 1e-30, -1e-30, 88.7, -69.0, -86.6, -88.0],
            "ln" => &[f32::MIN_POSITIVE, 1.0 - f32::EPSILON, 1.0, 1.0 + f32::EPSILON, f32::MAX],
            "sqrt" => &[0.0, f32::MIN_POSITIVE, 1e-30, 1.0, f32::MAX],
            "powf" => &[0.0, 0.5, 1.0],
            _ => &[0.0, -0.0, 1e-30, 1.0, -1e9, 1e9],
        };
        let mut inputs: Vec<_> = edges.iter().map(|&x| [x, 1.0]).collect();
        for n in 0..20_000 {
            inputs.push(match name {
                "exp" => [draw.uniform(-88.0, 88.7), 0.0],
                "ln" if n % 2 == 0 => [draw.uniform(0.5, 2.0), 0.0],
                "ln" | "sqrt" => [draw.magnitude(-37.0, 38.0), 0.0],
                // The decays of the moments, raised to the number of the step.
                "powf" => [draw.pick(&[0.85, 0.9, 0.95, 0.999]), draw.magnitude(0.0, 5.0).floor()],
                "cos" | "sin" => [draw.uniform(0.0, 6.3), 0.0],
                _ => [draw.uniform(-12.0, 12.0), 0.0],
            });
        }
        rows.extend(measure(name, &["value"], [Function { name, inputs }]));
    }
    rows
}

struct Curve {
    surrogate: AnySurrogate<f32>,
    inputs: Vec<f32>,
}

impl Case for Curve {
    fn run<R: Real>(&self) -> Vec<Part<R>> {
        let named = self.surrogate.parameters();
        let parameters: Vec<_> = named.iter().flatten().map(|&(n, x)| (n, f64::from(x))).collect();
        let surrogate = AnySurrogate::from_name(self.surrogate.name(), &parameters).unwrap();
        let (mut slopes, mut primitives) = (all::<R>(&self.inputs), all::<R>(&self.inputs));
        surrogate.derivatives(&mut slopes);
        surrogate.primitives(&mut primitives);
        let slopes = match surrogate {
            // The flanks of the curve cancel a part of its peak.
            AnySurrogate::MultiGaussian(_) => Part::against(slopes, 1.0),
            _ => Part::each(slopes),
        };
        vec![slopes, Part::against(primitives, 1.0)]
    }
}

fn surrogate(name: &str) -> Vec<Row> {
    let mut inputs = vec![0.0, -0.0, 1e-30, -1e-30];
    for edge in [0.5, 1.0, 1e3, 1e6, 1e9] {
        inputs.extend([edge, -edge]);
    }
    inputs.extend(Draw::new(2).block(20_000, -6.0, 6.0));
    let surrogate = AnySurrogate::from_name(name, &[]).unwrap();
    measure(&format!("surrogate {name}"), &["slope", "primitive"], [Curve { surrogate, inputs }])
}

struct Element {
    kernel: AnyKernel,
    weight: f32,
    delay: f32,
    sigma: f32,
    upstream: Vec<f32>,
}

impl Case for Element {
    fn run<R: Real>(&self) -> Vec<Part<R>> {
        let (weight, delay, sigma) = (of(self.weight), of(self.delay), of(self.sigma));
        let upstream = all::<R>(&self.upstream);
        let mut taps = vec![R::zero(); upstream.len()];
        self.kernel.taps(delay, sigma, &mut taps);
        let g = self.kernel.backward(weight, delay, sigma, &upstream);
        let scale = largest(&upstream);
        let by_place = scale * weight.as_f64().abs();
        vec![
            Part::against_largest(taps),
            Part::against(vec![g.weight], scale),
            Part::against(vec![g.delay], by_place),
            Part::against(vec![g.sigma], by_place),
        ]
    }
}

fn delay_kernel(name: &str, kernel: AnyKernel) -> Vec<Row> {
    let mut draw = Draw::new(3);
    let cases = (0..4000).map(|_| {
        let taps = draw.pick(&[1, 2, 3, 16, 25, 65, 120]);
        let last = (taps - 1) as f32;
        let mut number = |low, high| match kernel {
            AnyKernel::Gauss => draw.uniform(low, high),
            _ => draw.on_grid(low, high),
        };
        let between = number(0.0, last);
        let sigma = [0.0, 1.0 / 1024.0, number(0.0, 2.0), number(2.0, 60.0), 1e4, 1e30];
        Element {
            kernel,
            weight: draw.pick(&[1e-3, 0.7, -2.0, 1e4]),
            delay: draw.pick(&[0.0, last, between.floor(), between, between]),
            sigma: draw.pick(&sigma) * draw.pick(&[1.0, -1.0]),
            upstream: draw.block(taps, -1.0, 1.0),
        }
    });
    let results = ["taps", "gradient by weight", "gradient by delay", "gradient by sigma"];
    measure(&format!("kernel {name}"), &results, cases)
}

/// One step of a neuron.
struct OneStep {
    kind: &'static str,
    rate: f32,
    raw: [f32; 4],
    hard: Option<f32>,
    decay_input: bool,
    /// State, input, spike and upstream gradients.
    state: [f32; 2],
    input: f32,
    spike: f32,
    upstream: [f32; 2],
}

impl OneStep {
    fn neuron<R: Real>(&self) -> AnyNeuron<R> {
        let given = [
            ("threshold", Number(0.75)),
            ("q", Number(2.0)),
            ("reset", Word(if self.hard.is_some() { "hard" } else { "soft" })),
            ("v_reset", Number(self.hard.unwrap_or(0.0).into())),
            ("decay_input", Flag(self.decay_input)),
            ("detach", Flag(false)),
        ];
        // A fixed rate is exact in `f32`, where a time constant would be rounded.
        match AnyNeuron::from_name(self.kind, &given, 1.0).unwrap() {
            AnyNeuron::Lif(lif) => AnyNeuron::Lif(Lif { rate: of(self.rate), ..lif }),
            AnyNeuron::Li(li) => AnyNeuron::Li(Li { rate: of(self.rate), ..li }),
            other => other,
        }
    }
}

impl<R: Real> NeuronVisitor<R> for &OneStep {
    type Output = Vec<Part<R>>;

    fn visit<N: Neuron<Real = R>>(self, neuron: &N) -> Vec<Part<R>> {
        let array = |from: [f32; 2]| {
            let mut state = N::fill_state(R::zero());
            state.as_mut().iter_mut().zip(from).for_each(|(to, from)| *to = of(from));
            state
        };
        let mut params = neuron.params();
        params.as_mut().iter_mut().zip(self.raw).for_each(|(to, from)| *to = of(from));
        let neuron = neuron.with_params(params);
        let (state, upstream) = (array(self.state), array(self.upstream));
        let (input, spike) = (of(self.input), of(self.spike));
        let size = largest(&[self.state[0], self.state[1], self.input, 1.0]);
        let charge = neuron.charge_adjoint(state, input, upstream);
        let reset = neuron.reset_adjoint(state, spike, upstream);
        let gradients = [charge.state.as_ref(), charge.params.as_ref(), &[charge.input]].concat();
        let reset_gradients =
            [reset.charged.as_ref(), reset.params.as_ref(), &[reset.spike]].concat();
        let slope = size * largest(&self.upstream);
        vec![
            Part::against(neuron.charge(state, input).as_ref().to_vec(), size),
            Part::against(neuron.reset(state, spike).as_ref().to_vec(), size),
            Part::against(gradients, slope),
            Part::against(reset_gradients, slope),
        ]
    }
}

impl Case for OneStep {
    fn run<R: Real>(&self) -> Vec<Part<R>> {
        self.neuron::<R>().visit(self)
    }
}

fn neurons(kind: &'static str) -> Vec<Row> {
    let mut draw = Draw::new(4);
    let cases = (0..20_000).map(|n| {
        let far = if n % 4 == 0 { 1e4 } else { 2.0 };
        // Time constants from 1.000001 to 1e30 steps.
        let rate = [draw.magnitude(-6.0, 0.0), draw.uniform(0.1, 1.0), 0.999_999, 1e-30];
        let smooth = draw.uniform(0.0, 1.0);
        let raw = [draw.uniform(-3.0, 3.0), draw.uniform(-14.0, 14.0), 14.0, -69.0];
        OneStep {
            kind,
            rate: draw.pick(&rate),
            raw: [
                draw.pick(&raw),
                draw.pick(&raw),
                draw.uniform(-1.0, 1.0),
                draw.uniform(0.0, 2.0),
            ],
            hard: draw.pick(&[Some(0.0), Some(-0.3), None]),
            decay_input: draw.pick(&[false, true]),
            state: [draw.uniform(-far, far), draw.uniform(-far, far)],
            input: draw.uniform(-far, far),
            spike: draw.pick(&[0.0, 1.0, smooth]),
            upstream: [draw.uniform(-1.0, 1.0), draw.uniform(-1.0, 1.0)],
        }
    });
    let results = ["charge", "reset", "gradients of charge", "gradients of reset"];
    measure(&format!("neuron {}", kind.replace('-', " ")), &results, cases)
}
