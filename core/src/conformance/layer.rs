use super::host::{Draw, Host, Output, Part, Problem, agree, compare};
use super::norm::norm;
use super::projection::{self, gradients};
use super::stage::{self, ATAN, MARGIN, Mode, StageCase};
use super::tolerance::Stage;
use super::{Conforming, Failure, Report, Verdict, Worst};
use crate::backend::{Activation, ActivationGradients, Backend, NormMode};
use crate::delay::{AnyKernel, Rounding};
use crate::norm::BatchNorm;
use crate::num::Real;
use crate::reference::Reference;
use crate::shape::{Shape, Synapses};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Projection, statistics and spikes equal those of the reference, and those that the backend's
/// single stages compute, with and without norm.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn layer_forward<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    every_case::<R, B>(backend, false)
}

/// Gradients equal those of the reference, and those that the backend's single stages compute, with
/// and without the gradient of the input.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn layer_backward<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    every_case::<R, B>(backend, true)
}

/// With one-tap kernels, a strong synapse makes its target spike exactly one delay after its
/// source.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn spikes_cross_a_layer_at_their_delay<R: Real, B: Conforming<Real = R>>(
    backend: &B,
) -> Verdict {
    let mut report = Report::default();
    for kernel in [AnyKernel::Max, AnyKernel::Discrete] {
        let synapses = Synapses::new(1, 7, 7);
        let mut case =
            Case::draw::<R>(0, kernel, synapses, (9, 1), (0, Mode::Step), Plan::default());
        case.projection.weights.fill(1.5);
        case.projection.sigma[0] = 0.0;
        case.projection.delays = (0..7).map(|d| d as f64).collect();
        case.projection.x = vec![0.0; 9];
        case.projection.x[2] = 1.0;
        let shape = case.projection.y_shape();
        let mut spikes = vec![0.0; shape.len()];
        for d in 0..7 {
            spikes[shape.at(2 + d, 0, d)] = 1.0;
        }
        let found = Whole { case: &case, backward: false }.run::<R, B>(backend)?.remove(0);
        let error = super::host::error(&found.values, &spikes, 1.0);
        let (stage, what) = (Stage::Layer, "spike times");
        report
            .measure(Worst { stage, what, error, tolerance: stage.tolerance::<R>() }, &case.name)?;
    }
    Ok(report)
}

fn every_case<R: Real, B: Conforming<Real = R>>(backend: &B, backward: bool) -> Verdict {
    let mut report = Report::default();
    for case in cases::<R>()?.iter().filter(|case| !(backward && case.plan.running)) {
        let whole = Whole { case, backward };
        agree(backend, &mut report, &case.name, &whole)?;
        let parts = Parts { case, backward }.run::<R, B>(backend)?;
        let name = format!("against the single stages, {}", case.name);
        compare::<R>(&mut report, &name, &whole.run::<R, B>(backend)?, &parts)?;
    }
    Ok(report)
}

/// The optional parts and results of a layer.
#[derive(Clone, Copy, Default)]
struct Plan {
    norm: bool,
    /// Whether the norm uses the running statistics.
    running: bool,
    mask: bool,
    lengths: bool,
    d_x: bool,
    /// Whether each neuron has its own parameters.
    per_neuron: bool,
    /// Whether the neurons are not at rest before the first step.
    started: bool,
}

struct Case {
    name: String,
    plan: Plan,
    projection: projection::Case,
    stage: StageCase,
    norm_params: Vec<f64>,
    running: Vec<f64>,
    d_spikes: Vec<f64>,
}

impl Case {
    fn draw<R: Real>(
        seed: u64,
        kernel: AnyKernel,
        synapses: Synapses,
        size: (usize, usize),
        (neuron, mode): (usize, Mode),
        plan: Plan,
    ) -> Self {
        let mut draw = Draw::<R>::new(20_000 + seed);
        let projection = projection::Case::draw(&mut draw, kernel, synapses, size, Some(0.23), 0);
        let shape = projection.y_shape();
        let mut stage = StageCase::draw(&mut draw, neuron, ATAN, mode, shape);
        stage.lengths =
            plan.lengths.then(|| (0..size.1).map(|b| size.0 * (3 - b % 3) / 3).collect());
        stage.padding = synapses.padding;
        if !plan.mask {
            stage.mask = None;
        }
        if plan.per_neuron {
            stage = stage.per_neuron(&mut draw);
        }
        if plan.started {
            stage = stage.started(&mut draw);
        }
        let width = shape.width;
        let norm_params =
            [draw.uniform(width, 0.5, 1.5), draw.uniform(width, -0.25, 0.75)].concat();
        let running = [draw.uniform(width, -0.5, 0.5), draw.uniform(width, 0.5, 2.0)].concat();
        let neuron = stage::neurons::<R>()[neuron].0;
        let Plan { norm, running: fixed, per_neuron, started, .. } = plan;
        let each = if per_neuron { ", per neuron" } else { "" };
        let each = format!("{each}{}", if started { ", started" } else { "" });
        Self {
            name: format!(
                "{neuron}{each}, {mode:?}, norm {norm}, running {fixed}, {}",
                projection.name
            ),
            plan,
            projection,
            stage,
            norm_params,
            running,
            d_spikes: draw.uniform(shape.len(), -1.0, 1.0),
        }
    }

    fn upload<Q: Real, B: Conforming<Real = Q>>(
        &self,
        host: &Host<'_, Q, B>,
    ) -> Result<Inputs<B>, Failure> {
        Ok(Inputs {
            projection: self.projection.upload(host)?,
            norm: norm(),
            norm_params: host.part(&self.norm_params)?,
            running: host.part(&self.running)?,
            stage: self.stage.upload(host)?,
            x: host.sequence(self.projection.x_shape(), &self.projection.x)?,
            d_spikes: host.sequence(self.stage.shape, &self.d_spikes)?,
        })
    }

    fn unchanged<Q: Real, B: Conforming<Real = Q>>(
        &self,
        host: &Host<'_, Q, B>,
        inputs: &Inputs<B>,
    ) -> Result<(), Failure> {
        self.projection.unchanged(host, &inputs.projection, &inputs.x)?;
        self.stage.unchanged(host, &inputs.stage)?;
        host.same_part(&inputs.norm_params, &self.norm_params)?;
        host.same_sequence(&inputs.d_spikes, &self.d_spikes)?;
        if self.plan.norm && !self.plan.running {
            return Ok(());
        }
        host.same_part(&inputs.running, &self.running)
    }
}

/// A case on a backend.
struct Inputs<B: Backend> {
    projection: [Part<B::Buffer>; 3],
    norm: BatchNorm<B::Real>,
    norm_params: Part<B::Buffer>,
    running: Part<B::Buffer>,
    stage: stage::Stage<B>,
    x: B::Sequence,
    d_spikes: B::Sequence,
}

impl<B: Conforming> Inputs<B> {
    fn project(&self, case: &Case, backend: &B, y: &mut B::Sequence) -> Result<(), B::Error> {
        let projection = &case.projection;
        let (kernel, params) = (B::kernel(projection.kernel), projection.params(&self.projection));
        backend.project(&projection.synapses, &kernel, params, &self.x, y)
    }

    fn project_backward(
        &self,
        case: &Case,
        backend: &B,
        d_y: &B::Sequence,
        d: &mut Gradients<B::Buffer, B::Sequence>,
    ) -> Result<(), B::Error> {
        let projection = &case.projection;
        let (kernel, params) = (B::kernel(projection.kernel), projection.params(&self.projection));
        let (into, d_x) = (gradients(&mut d.projection), case.plan.d_x.then_some(&mut d.x));
        let synapses = &projection.synapses;
        backend.project_backward(synapses, &kernel, params, &self.x, d_y, into, d_x)
    }

    fn activation<'a>(&'a self, case: &'a Case) -> Activation<'a, B> {
        Activation {
            norm: case.plan.norm.then(|| (&self.norm, self.norm_params.view())),
            neurons: self.stage.get(&case.stage),
        }
    }
}

/// The statistics of the norm. The running statistics change, so they are not in [`Inputs`].
fn mode<'a, B>(plan: Plan, running: &'a mut Part<B>) -> NormMode<'a, B> {
    if plan.norm && !plan.running {
        NormMode::Batch { running: running.view_mut() }
    } else {
        NormMode::Running(running.view())
    }
}

/// Buffers of NaN for the gradients of a layer.
struct Gradients<B, S> {
    projection: [Part<B>; 3],
    norm: Part<B>,
    neuron: Part<B>,
    x: S,
}

impl<B, S> Gradients<B, S> {
    fn blank<Q: Real, D: Conforming<Real = Q, Buffer = B, Sequence = S>>(
        case: &Case,
        host: &Host<'_, Q, D>,
    ) -> Result<Self, Failure> {
        let n = case.projection.weights.len();
        Ok(Self {
            projection: [
                host.blank_part(n)?,
                host.blank_part(n)?,
                host.blank_part(case.projection.sigma.len())?,
            ],
            norm: host.blank_part(case.norm_params.len())?,
            neuron: host.blank_part(case.stage.params.len())?,
            x: host.blank_sequence(case.projection.x_shape())?,
        })
    }

    fn read<Q: Real, D: Conforming<Real = Q, Buffer = B, Sequence = S>>(
        &self,
        case: &Case,
        host: &Host<'_, Q, D>,
    ) -> Result<Vec<Output>, Failure> {
        let [weights, delays, sigma] = &self.projection;
        let stage = Stage::LayerBackward;
        let read = [host.read_part(weights)?, host.read_part(delays)?, host.read_part(sigma)?];
        let floor = crate::gradcheck::largest(&read[0]);
        let mut outputs = case.projection.outputs(stage, read);
        let neuron = Output::new(stage, "d_neuron", host.read_part(&self.neuron)?);
        outputs.push(Output { floor, ..neuron });
        if case.plan.norm {
            outputs.push(Output::new(stage, "d_norm", host.read_part(&self.norm)?));
        }
        if case.plan.d_x {
            outputs.push(Output::new(stage, "d_x", host.read_sequence(&self.x)?));
        }
        Ok(outputs)
    }
}

/// The results of a forward pass, in the same order for both problems.
fn forward_outputs<Q: Real, B: Conforming<Real = Q>>(
    case: &Case,
    host: &Host<'_, Q, B>,
    spikes: &B::Sequence,
    y: &B::Sequence,
    statistics: &B::Buffer,
    running: &Part<B::Buffer>,
    end: Option<&B::Buffer>,
) -> Result<Vec<Output>, Failure> {
    let stage = Stage::Layer;
    let spikes = Output::new(stage, "spikes", host.read_sequence(spikes)?);
    let mut outputs = vec![
        Output { floor: 1.0, ..spikes },
        Output::new(stage, "projected", host.read_sequence(y)?),
    ];
    if case.plan.norm {
        let statistics = host.read(statistics, 2 * case.stage.shape.width)?;
        outputs.push(Output::new(stage, "statistics", statistics));
        outputs.push(Output::new(stage, "running", host.read_part(running)?));
    }
    outputs.extend(case.stage.read_end(host, stage, end)?);
    Ok(outputs)
}

struct Whole<'a> {
    case: &'a Case,
    backward: bool,
}

impl Problem for Whole<'_> {
    fn run<Q: Real, B: Conforming<Real = Q>>(&self, backend: &B) -> Result<Vec<Output>, Failure> {
        let (case, host) = (self.case, Host::<Q, B>::new(backend));
        let shape = case.stage.shape;
        let inputs = case.upload(&host)?;
        let mut running = host.part(&case.running)?;
        let (mut y, mut spikes) = (host.blank_sequence(shape)?, host.blank_sequence(shape)?);
        let mut statistics = host.blank(2 * shape.width)?;
        inputs.project(case, backend, &mut y)?;
        let (layer, mode) = (inputs.activation(case), mode(case.plan, &mut running));
        let mut end = case.stage.blank_end(&host)?;
        backend.activate(&layer, mode, &y, &mut statistics, &mut spikes, end.as_mut())?;
        if !self.backward {
            case.unchanged(&host, &inputs)?;
            let end = end.as_ref();
            return forward_outputs(case, &host, &spikes, &y, &statistics, &running, end);
        }
        let mut d = Gradients::blank(case, &host)?;
        let into = ActivationGradients { norm: d.norm.view_mut(), neuron: d.neuron.view_mut() };
        let mut d_y = host.sequence(case.stage.shape, &case.d_spikes)?;
        backend.activate_backward(&layer, &y, &statistics, &mut d_y, into)?;
        inputs.project_backward(case, backend, &d_y, &mut d)?;
        case.unchanged(&host, &inputs)?;
        d.read(case, &host)
    }
}

/// The same layer, computed by the single stages of the backend.
struct Parts<'a> {
    case: &'a Case,
    backward: bool,
}

impl Problem for Parts<'_> {
    fn run<Q: Real, B: Conforming<Real = Q>>(&self, backend: &B) -> Result<Vec<Output>, Failure> {
        let (case, host) = (self.case, Host::<Q, B>::new(backend));
        let (shape, valid) = (case.stage.shape, case.stage.valid());
        let inputs = case.upload(&host)?;
        let mut running = host.part(&case.running)?;
        let (neuron, p) = (inputs.stage.get(&case.stage), &inputs.norm_params);
        let y = &mut host.blank_sequence(shape)?;
        let saved = &mut host.blank(2 * shape.width)?;
        inputs.project(case, backend, y)?;
        let mut z = host.blank_sequence(shape)?;
        if case.plan.norm {
            let mode = mode(case.plan, &mut running);
            backend.norm_forward(&inputs.norm, p.view(), mode, valid, y, saved, &mut z)?;
        } else {
            host.fill_sequence(&mut z, &host.read_sequence(y)?)?;
        }
        if !self.backward {
            let mut spikes = host.blank_sequence(shape)?;
            let mut end = case.stage.blank_end(&host)?;
            backend.neuron_forward(&neuron, &z, &mut spikes, end.as_mut())?;
            return forward_outputs(case, &host, &spikes, y, saved, &running, end.as_ref());
        }
        let mut d = Gradients::blank(case, &host)?;
        let (mut d_z, mut d_y) = (host.blank_sequence(shape)?, host.blank_sequence(shape)?);
        backend.neuron_backward(&neuron, &z, &inputs.d_spikes, &mut d_z, d.neuron.view_mut())?;
        if case.plan.norm {
            let into = d.norm.view_mut();
            backend.norm_backward(p.view(), saved, valid, y, &d_z, &mut d_y, into)?;
        } else {
            d_y = d_z;
        }
        inputs.project_backward(case, backend, &d_y, &mut d)?;
        d.read(case, &host)
    }
}

/// The least distance of an excess from 0 or a kink, in the reference.
fn clearance(case: &Case) -> Result<f64, Failure> {
    let outputs = Parts { case, backward: false }.run::<f64, Reference<f64>>(&Reference::new())?;
    let mut input = outputs[1].values.clone();
    if case.plan.norm {
        let shape: Shape = case.stage.shape;
        let (params, statistics) = (&case.norm_params, &outputs[2].values);
        let mut z = vec![0.0; shape.len()];
        crate::reference::norm_apply(params, statistics, &input, shape, &mut z)?;
        input = z;
    }
    case.stage.clearance(&input)
}

fn cases<R: Real>() -> Result<Vec<Case>, Failure> {
    let sizes = [
        (Synapses::new(5, 4, 7), (8, 3)),
        (Synapses { kernel_count: 2, padding: 0, ..Synapses::new(3, 5, 6) }, (9, 2)),
        (Synapses::new(6, 3, 25), (5, 1)),
        (Synapses::new(19, 17, 9), (21, 3)),
    ];
    let plans = [
        Plan { d_x: true, ..Plan::default() },
        Plan { norm: true, ..Plan::default() },
        Plan { norm: true, mask: true, lengths: true, d_x: true, ..Plan::default() },
        Plan { norm: true, running: true, lengths: true, ..Plan::default() },
        Plan { mask: true, lengths: true, ..Plan::default() },
    ];
    let neurons = [
        ("lif, hard, detached", Mode::Step),
        ("lif, soft", Mode::Step),
        ("plif, hard, detached", Mode::Smooth),
        ("cuba, soft", Mode::Step),
        ("adlif", Mode::SmoothHeld),
    ]
    .map(|(name, mode)| (stage::neuron_index(name), mode));
    let kernels = AnyKernel::ALL.map(|(_, kernel)| kernel);
    let mut cases = Vec::new();
    for (s, &(synapses, size)) in sizes.iter().enumerate() {
        for (p, &plan) in plans.iter().enumerate() {
            for n in [p, s + p + 1] {
                let (kernel, neuron) = (kernels[(s + p + n) % kernels.len()], neurons[n % 5]);
                let at = 1000 * cases.len() as u64;
                let drawn = (at..at + 500)
                    .map(|seed| Case::draw::<R>(seed, kernel, synapses, size, neuron, plan));
                cases.push(first_clear(drawn)?);
            }
        }
    }
    for (p, &plan) in plans.iter().enumerate() {
        for (n, &neuron) in neurons[2..].iter().enumerate() {
            let plan = Plan { per_neuron: true, started: n % 2 == 0, ..plan };
            let (synapses, size) = sizes[(p + n) % 4];
            let at = 900_000 + 1000 * (3 * p + n) as u64;
            let drawn = (at..at + 500)
                .map(|seed| Case::draw::<R>(seed, kernels[0], synapses, size, neuron, plan));
            cases.push(first_clear(drawn)?);
        }
    }
    for (seed, (_, rounding)) in (500_000..).step_by(1000).zip(Rounding::ALL) {
        let (plan, (synapses, size)) = (plans[0], sizes[0]);
        let drawn = (seed..seed + 500).map(|seed| {
            let kernel = AnyKernel::Gauss;
            let mut case = Case::draw::<R>(seed, kernel, synapses, size, neurons[0], plan);
            case.projection.rounding = Some(rounding);
            case.name += &format!(", rounding {rounding:?}");
            case
        });
        cases.push(first_clear(drawn)?);
    }
    Ok(cases)
}

fn first_clear(drawn: impl Iterator<Item = Case>) -> Result<Case, Failure> {
    for case in drawn {
        if clearance(&case)? >= MARGIN {
            return Ok(case);
        }
    }
    Err(Failure(format!("no layer found with a margin of {MARGIN}")))
}
