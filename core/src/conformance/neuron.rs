use super::host::{Draw, Host, Output, Problem, agree, error};
use super::stage::{ATAN, MARGIN, MODES, Mode, Pick, StageCase, neuron_index, neurons};
use super::tolerance::Stage;
use super::{Conforming, Failure, Report, Verdict, Worst};
use crate::gradcheck::largest;
use crate::loss::RatePenalty;
use crate::neuron::{AnyNeuron, ErasedNeuron};
use crate::norm::ValidSteps;
use crate::num::Real;
use crate::shape::Shape;
use crate::surrogate::{AnySurrogate, Surrogate};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

const SHAPE: Shape = Shape::new(12, 3, 5);
const LARGER: Shape = Shape::new(37, 2, 67);
const SINGLE: Shape = Shape::new(1, 1, 1);

/// Spikes equal those of the reference, for every neuron that the backend has and every firing
/// mode, with and without mask and lengths, with parameters for the layer and for each neuron, from
/// rest and from other states; so do the last states. A neuron that the backend does not have is an
/// error.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn neuron_forward<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for case in neuron_cases::<R>()? {
        agree_or_refuse(backend, &mut report, &case, &Forward(&case))?;
    }
    Ok(report)
}

/// The gradients of input and raw parameters equal those of the reference, with parameters for the
/// layer and for each neuron, from rest and from other states.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn neuron_backward<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for case in neuron_cases::<R>()? {
        agree_or_refuse(backend, &mut report, &case, &Backward(&case))?;
    }
    Ok(report)
}

/// Compares the results with those of the reference if the backend has the neuron; else demands an
/// error.
fn agree_or_refuse<R: Real, B: Conforming<Real = R>>(
    backend: &B,
    report: &mut Report,
    case: &Case,
    problem: &impl Problem,
) -> Result<(), Failure> {
    let Case { name, stage, .. } = case;
    if B::has(&neurons()[stage.neuron].1) {
        return agree(backend, report, name, problem);
    }
    match problem.run::<R, B>(backend) {
        Ok(_) => Err(Failure(format!("{name}: computes a neuron that it says it does not have"))),
        Err(_) => Ok(()),
    }
}

/// Primitive and derivative of every surrogate equal those of the reference: in the output, in the
/// gradient, and in a reset that is not detached.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn surrogates<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for (&name, seed) in AnySurrogate::<f64>::NAMES.iter().zip(500..) {
        for mode in MODES {
            let case =
                Case::draw::<R>(seed, neuron_index("lif, soft"), (name, &[]), mode, SHAPE, true)?;
            agree(backend, &mut report, &case.name, &Forward(&case))?;
            agree(backend, &mut report, &case.name, &Backward(&case))?;
        }
    }
    Ok(report)
}

/// A neuron spikes in the step whose input takes it to the threshold or above, and restarts from
/// its reset. Gradients reach that step and earlier steps only.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn spikes_come_in_the_step_of_their_charge<R: Real, B: Conforming<Real = R>>(
    backend: &B,
) -> Verdict {
    let mut report = Report::default();
    let mut case = Case::draw::<R>(0, 0, ATAN, Mode::Step, Shape::new(8, 1, 1), false)?;
    // With a rate of 1/4 the charged membranes are 0.5, 0.875, 1.0: a spike exactly at the
    // threshold.
    case.x = vec![0.5, 0.5, 0.34375, 0.5, 0.0, 1.5, 0.9375, 0.0];
    let mut found = Forward(&case).run::<R, B>(backend)?;
    let spikes = [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0];
    let tolerance = Stage::Neuron.tolerance::<R>();
    let wrong = error(&found.remove(0).values, &spikes, 1.0);
    let worst = Worst { stage: Stage::Neuron, what: "spike times", error: wrong, tolerance };
    report.measure(worst, &case.name)?;

    case.d_spikes = vec![0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
    let d_x = Backward(&case).run::<R, B>(backend)?.remove(0).values;
    // h[4] = 0.375; no gradient passes the detached reset at t = 2.
    let slope = AnySurrogate::<f64>::from_name(ATAN.0, ATAN.1)?.derivative(0.375 - 1.0);
    let expected = [0.0, 0.0, 0.0, 0.75 * slope, slope, 0.0, 0.0, 0.0];
    let (stage, what) = (Stage::NeuronBackward, "gradient times");
    let error = error(&d_x, &expected, slope);
    report.measure(Worst { stage, what, error, tolerance: stage.tolerance::<R>() }, &case.name)?;
    Ok(report)
}

/// The penalty for rates and its gradient equal those of the reference. The gradient is added.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn rate_penalty<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for (shape, lengths) in [(SHAPE, None), (SHAPE, Some(vec![12, 0, 5])), (LARGER, None)] {
        let mut draw = Draw::<R>::new(7000);
        let spikes = draw.spikes(shape.len(), 0.4);
        let d = draw.uniform(shape.len(), -1e-2, 1e-2);
        let name = format!("{shape:?}, lengths {lengths:?}");
        agree(backend, &mut report, &name, &Penalty { shape, lengths, spikes, d })?;
    }
    Ok(report)
}

struct Penalty {
    shape: Shape,
    lengths: Option<Vec<usize>>,
    spikes: Vec<f64>,
    d: Vec<f64>,
}

impl Problem for Penalty {
    fn run<Q: Real, B: Conforming<Real = Q>>(&self, backend: &B) -> Result<Vec<Output>, Failure> {
        let host = Host::<Q, B>::new(backend);
        let penalty = RatePenalty { weight: 0.75, low: 0.35, high: 0.375 };
        let valid = ValidSteps { lengths: self.lengths.as_deref(), padding: 2 };
        let spikes = host.sequence(self.shape, &self.spikes)?;
        let mut d = host.sequence(self.shape, &self.d)?;
        let value = backend.penalize_rates(&penalty, valid, &spikes, &mut d)?;
        host.same_sequence(&spikes, &self.spikes)?;
        let d = host.read_sequence(&d)?;
        let value = Output::new(Stage::NeuronBackward, "penalty", vec![value.as_f64()]);
        Ok(vec![value, Output::new(Stage::NeuronBackward, "d", d)])
    }
}

pub(super) struct Case {
    pub(super) name: String,
    pub(super) stage: StageCase,
    pub(super) x: Vec<f64>,
    pub(super) d_spikes: Vec<f64>,
}

impl Case {
    /// A clear case. Mask and lengths are present if `full`.
    pub(super) fn draw<R: Real>(
        seed: u64,
        neuron: usize,
        surrogate: Pick,
        mode: Mode,
        shape: Shape,
        full: bool,
    ) -> Result<Self, Failure> {
        let name = format!("{}, {}, {mode:?}, {shape:?}", neurons::<R>()[neuron].0, surrogate.0);
        let mut draw = Draw::<R>::new(10_000 + seed);
        let mut stage = StageCase::draw(&mut draw, neuron, surrogate, mode, shape);
        if !full {
            stage.mask = None;
            stage.lengths = None;
        }
        Self::clear(name, draw, stage)
    }

    /// As [`draw`](Self::draw), with parameters for each neuron, mask and lengths.
    fn per_neuron<R: Real>(
        seed: u64,
        neuron: usize,
        mode: Mode,
        shape: Shape,
    ) -> Result<Self, Failure> {
        let name = format!("{}, per neuron, {mode:?}, {shape:?}", neurons::<R>()[neuron].0);
        let mut draw = Draw::<R>::new(12_000 + seed);
        let stage = StageCase::draw(&mut draw, neuron, ATAN, mode, shape).per_neuron(&mut draw);
        Self::clear(name, draw, stage)
    }

    /// As [`draw`](Self::draw), with neurons that are not at rest, mask and lengths.
    fn started<R: Real>(
        seed: u64,
        neuron: usize,
        mode: Mode,
        shape: Shape,
    ) -> Result<Self, Failure> {
        let name = format!("{}, started, {mode:?}, {shape:?}", neurons::<R>()[neuron].0);
        let mut draw = Draw::<R>::new(14_000 + seed);
        let stage = StageCase::draw(&mut draw, neuron, ATAN, mode, shape).started(&mut draw);
        Self::clear(name, draw, stage)
    }

    /// Draws inputs until every excess keeps its margin.
    fn clear<R: Real>(name: String, mut draw: Draw<R>, stage: StageCase) -> Result<Self, Failure> {
        let shape = stage.shape;
        for _ in 0..200 {
            let x = draw.uniform(shape.len(), -0.5, 1.5);
            if stage.clearance(&x)? >= MARGIN {
                let d_spikes = draw.uniform(shape.len(), -1.0, 1.0);
                return Ok(Self { name, stage, x, d_spikes });
            }
        }
        Err(Failure(format!("no input found with a margin of {MARGIN} ({name})")))
    }
}

fn neuron_cases<R: Real>() -> Result<Vec<Case>, Failure> {
    let mut cases = Vec::new();
    for neuron in 0..neurons::<R>().len() {
        for mode in MODES {
            for full in [false, true] {
                let seed = cases.len() as u64;
                cases.push(Case::draw::<R>(seed, neuron, ATAN, mode, SHAPE, full)?);
            }
        }
        cases.push(Case::draw::<R>(0, neuron, ATAN, Mode::Step, SINGLE, false)?);
    }
    for neuron in ["lif, hard, detached", "lif, soft", "adlif"].map(neuron_index) {
        cases.push(Case::draw::<R>(1, neuron, ATAN, Mode::Step, LARGER, true)?);
    }
    for neuron in 0..neurons::<R>().len() {
        let mut case = Case::draw::<R>(2, neuron, ATAN, Mode::Step, SHAPE, true)?;
        case.stage.lengths = Some(vec![0, 4, 12]);
        case.stage.padding = 3;
        cases.push(case);
    }
    let learns = |model: &AnyNeuron<R>| model.param_count() > 0;
    for (neuron, _) in neurons::<R>().iter().enumerate().filter(|(_, (_, model))| learns(model)) {
        for mode in MODES {
            cases.push(Case::per_neuron::<R>(cases.len() as u64, neuron, mode, SHAPE)?);
        }
    }
    for neuron in ["plif, hard, detached", "cuba, soft", "adlif"].map(neuron_index) {
        cases.push(Case::per_neuron::<R>(3, neuron, Mode::Step, LARGER)?);
    }
    for neuron in 0..neurons::<R>().len() {
        for (mode, shape) in
            MODES.map(|mode| (mode, SHAPE)).into_iter().chain([(Mode::Step, LARGER)])
        {
            cases.push(Case::started::<R>(cases.len() as u64, neuron, mode, shape)?);
        }
    }
    Ok(cases)
}

struct Forward<'a>(&'a Case);

impl Problem for Forward<'_> {
    fn run<Q: Real, B: Conforming<Real = Q>>(&self, backend: &B) -> Result<Vec<Output>, Failure> {
        let (case, host) = (self.0, Host::<Q, B>::new(backend));
        let stage = case.stage.upload(&host)?;
        let x = host.sequence(case.stage.shape, &case.x)?;
        let mut spikes = host.blank_sequence(case.stage.shape)?;
        let mut end = case.stage.blank_end(&host)?;
        backend.neuron_forward(&stage.get(&case.stage), &x, &mut spikes, end.as_mut())?;
        case.stage.unchanged(&host, &stage)?;
        host.same_sequence(&x, &case.x)?;
        let spikes = Output::new(Stage::Neuron, "spikes", host.read_sequence(&spikes)?);
        let end = case.stage.read_end(&host, Stage::Neuron, end.as_ref())?;
        Ok([Output { floor: 1.0, ..spikes }].into_iter().chain(end).collect())
    }
}

struct Backward<'a>(&'a Case);

impl Problem for Backward<'_> {
    fn run<Q: Real, B: Conforming<Real = Q>>(&self, backend: &B) -> Result<Vec<Output>, Failure> {
        let (case, host) = (self.0, Host::<Q, B>::new(backend));
        let stage = case.stage.upload(&host)?;
        let x = host.sequence(case.stage.shape, &case.x)?;
        let d_spikes = host.sequence(case.stage.shape, &case.d_spikes)?;
        let mut d_x = host.blank_sequence(case.stage.shape)?;
        let mut d_params = host.blank_part(case.stage.params.len())?;
        let (get, d) = (stage.get(&case.stage), d_params.view_mut());
        backend.neuron_backward(&get, &x, &d_spikes, &mut d_x, d)?;
        case.stage.unchanged(&host, &stage)?;
        host.same_sequence(&x, &case.x)?;
        host.same_sequence(&d_spikes, &case.d_spikes)?;
        let d_x = host.read_sequence(&d_x)?;
        // The gradient of a parameter is a sum over the layer, whose terms may cancel.
        let floor = largest(&d_x);
        let d_params = Output::new(Stage::NeuronBackward, "d_params", host.read_part(&d_params)?);
        Ok(vec![Output::new(Stage::NeuronBackward, "d_x", d_x), Output { floor, ..d_params }])
    }
}
