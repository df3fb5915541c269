use super::host::{Draw, Host, Output, Part, Problem, agree, compare};
use super::stage::{ATAN, MARGIN, MODES, Mode, StageCase, neuron_index, neurons};
use super::tolerance::Stage;
use super::{Conforming, Failure, Report, Verdict};
use crate::backend::{RecurrentGradients, RecurrentStage, SynapseGradients, SynapseParams};
use crate::delay::{AnyKernel, Place, Rounding};
use crate::gradcheck::largest;
use crate::num::Real;
use crate::reference::Reference;
use crate::shape::{Shape, Synapses};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

const SHAPE: Shape = Shape::new(12, 3, 5);
const LARGER: Shape = Shape::new(29, 18, 37);

/// Inputs, spikes and last states of recurrent neurons equal those of the reference: for every
/// neuron that the backend has and every firing mode, wherever the delays sit, for every kernel and
/// rounding, with and without dropout, earlier spikes and other states.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn recurrent_forward<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for case in cases::<R, B>()? {
        agree(backend, &mut report, &case.name, &Forward(&case))?;
    }
    Ok(report)
}

/// The gradients by the input, the raw parameters, and the weights, delays and sigma of the
/// recurrent synapses equal those of the reference.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn recurrent_backward<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for case in cases::<R, B>()? {
        agree(backend, &mut report, &case.name, &Backward(&case))?;
    }
    Ok(report)
}

/// A spike of a neuron reaches another `1 + d` steps later, for a delay of `d` steps, and makes it
/// spike; the gradient goes back to the step of the first spike.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn spikes_return_after_their_delay<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let (shape, taps) = (Shape::new(9, 1, 2), 5);
    let mut report = Report::default();
    for (delay, (_, kernel)) in (0..taps).flat_map(|d| AnyKernel::ALL.map(|kernel| (d, kernel))) {
        let mut draw = Draw::<R>::new(6100);
        let (neuron, mode) = (neuron_index("lif, soft"), Mode::Step);
        let mut stage = StageCase::draw(&mut draw, neuron, ATAN, mode, shape);
        (stage.mask, stage.lengths) = (None, None);
        let synapses = Synapses { padding: 0, ..Synapses::new(2, 2, taps) };
        // Neuron 0 excites neuron 1, which excites none.
        let weights = vec![0.0, 0.0, 8.0, 0.0];
        let case = Case {
            name: format!("delay {delay}, {kernel:?}"),
            stage,
            x: (0..shape.len()).map(|n| if n == 2 { 4.0 } else { 0.0 }).collect(),
            d_spikes: vec![0.0; shape.len()],
            synapses,
            place: Place::Synaptic,
            kernel,
            rounding: Some(Rounding::Nearest),
            weights,
            delays: vec![delay as f64; 4],
            sigma: vec![0.0],
            spread: None,
            mask: None,
            before: None,
        };
        let found = Forward(&case).run::<R, B>(backend)?;
        let fired = &found[1].values;
        // Neuron 0 is charged at step 1.
        let first = fired.iter().skip(1).step_by(2).position(|&spike| spike > 0.0);
        if fired[2] != 1.0 || first != Some(2 + delay) {
            let text = format!("recurrent spikes arrive first at {first:?}, not {}", 2 + delay);
            return Err(Failure(format!("{text} ({})", case.name)));
        }
        let mut d_spikes = vec![0.0; shape.len()];
        d_spikes[2 * (2 + delay) + 1] = 1.0;
        let case = Case { d_spikes, ..case };
        let d_x = &Backward(&case).run::<R, B>(backend)?[0].values;
        if d_x[2] == 0.0 || d_x.iter().skip(4).step_by(2).any(|&d| d != 0.0) {
            return Err(Failure(format!("recurrent gradient: {d_x:?} ({})", case.name)));
        }
        report = Report::default();
    }
    Ok(report)
}

/// A sequence in two parts gives the same spikes as the whole: the second part has the spikes and
/// the last states of the first.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn recurrent_parts_continue<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for (n, (name, place)) in Place::ALL.into_iter().enumerate() {
        let case = Case::draw::<R>(900 + n as u64, neuron_index("cuba, soft"), place, SHAPE)?;
        let case = Case { before: None, ..case };
        let (whole, cut) = (Forward(&case).run::<R, B>(backend)?, 7);
        let at = cut * SHAPE.batch * SHAPE.width;
        let part = |shape: Shape, range: core::ops::Range<usize>| Case {
            stage: StageCase {
                shape,
                lengths: None,
                held: case.stage.held[range.clone()].to_vec(),
                ..case.stage.clone()
            },
            x: case.x[range].to_vec(),
            ..case.clone()
        };
        let case =
            Case { stage: StageCase { lengths: None, ..case.stage.clone() }, ..case.clone() };
        let first = part(Shape { steps: cut, ..SHAPE }, 0..at);
        let found = Forward(&first).run::<R, B>(backend)?;
        let mut second = part(Shape { steps: SHAPE.steps - cut, ..SHAPE }, at..SHAPE.len());
        let row = SHAPE.batch * SHAPE.width;
        second.before = Some(found[1].values[at - case.synapses.taps * row..].to_vec());
        second.stage.start = Some(found[3].values.clone());
        let rest = Forward(&second).run::<R, B>(backend)?;
        let expected = Output::new(Stage::Neuron, "parts", whole[1].values[at..].to_vec());
        let rest = Output::new(Stage::Neuron, "parts", rest[1].values.clone());
        compare::<R>(&mut report, name, &[rest], &[Output { floor: 1.0, ..expected }])?;
    }
    Ok(report)
}

/// A recurrent layer.
#[derive(Clone)]
struct Case {
    name: String,
    stage: StageCase,
    x: Vec<f64>,
    d_spikes: Vec<f64>,
    synapses: Synapses,
    place: Place,
    kernel: AnyKernel,
    rounding: Option<Rounding>,
    weights: Vec<f64>,
    /// Of all synapses.
    delays: Vec<f64>,
    sigma: Vec<f64>,
    spread: Option<Place>,
    mask: Option<Vec<f64>>,
    before: Option<Vec<f64>>,
}

impl Case {
    /// A clear case with a dropout mask, earlier spikes and states, and lengths.
    fn draw<R: Real>(
        seed: u64,
        neuron: usize,
        place: Place,
        shape: Shape,
    ) -> Result<Self, Failure> {
        let mut draw = Draw::<R>::new(16_000 + seed);
        let mode = MODES[seed as usize % MODES.len()];
        let stage = StageCase::draw(&mut draw, neuron, ATAN, mode, shape).started(&mut draw);
        let count = 1 + usize::from(seed % 5 == 4);
        let taps = [4, 1, 6][seed as usize % 3];
        let synapses = Synapses {
            kernel_count: count,
            padding: 0,
            ..Synapses::new(shape.width, shape.width, taps)
        };
        let (kernel_name, kernel) = AnyKernel::ALL[seed as usize / 2 % AnyKernel::ALL.len()];
        let rounding = [None, Some(Rounding::Nearest), None, Some(Rounding::Split)];
        let rounding = rounding[seed as usize / 3 % rounding.len()];
        let packed = draw.uniform(place.len(&synapses), 0.0, (taps - 1) as f64);
        let mut delays = vec![0.0; synapses.weights()];
        place.expand(&synapses, &packed, &mut delays)?;
        // One sigma, or one for each synapse at the place of the delays, or at another.
        let spread = [None, Some(place), Some(Place::Synaptic)][seed as usize % 3];
        let packed = draw.uniform(spread.map_or(1, |at| at.len(&synapses)), 0.4, 1.3);
        let mut sigma = packed.clone();
        if let Some(spread) = spread {
            sigma = vec![0.0; synapses.weights()];
            spread.expand(&synapses, &packed, &mut sigma)?;
        }
        let scale = 1.5 / Real::sqrt(shape.width as f64 * count as f64);
        let mut case = Self {
            name: format!(
                "{}, {mode:?}, {}, {kernel_name}, {rounding:?}, {taps} taps",
                neurons::<R>()[neuron].0,
                place.name()
            ),
            x: Vec::new(),
            d_spikes: Vec::new(),
            weights: draw.uniform(synapses.weights(), -scale, scale),
            sigma,
            spread,
            mask: (seed % 3 != 1).then(|| draw.mask(shape.batch * shape.width)),
            before: seed
                .is_multiple_of(2)
                .then(|| draw.spikes(Shape { steps: taps, ..shape }.len(), 0.3)),
            stage,
            synapses,
            place,
            kernel,
            rounding,
            delays,
        };
        for _ in 0..200 {
            case.x = draw.uniform(shape.len(), -0.5, 1.5);
            let input = Forward(&case).run::<f64, _>(&Reference::<f64>::new())?.swap_remove(0);
            if case.stage.clearance(&input.values)? >= MARGIN / 10.0 {
                case.d_spikes = draw.uniform(shape.len(), -1.0, 1.0);
                return Ok(case);
            }
        }
        Err(Failure(format!("no input found with a margin ({})", case.name)))
    }

    fn upload<Q: Real, B: Conforming<Real = Q>>(
        &self,
        host: &Host<'_, Q, B>,
    ) -> Result<Uploaded<B>, Failure> {
        let past = Shape { steps: self.synapses.taps, ..self.stage.shape };
        Ok(Uploaded {
            kernel: B::kernel(self.kernel),
            params: [host.part(&self.weights)?, host.part(&self.delays)?, host.part(&self.sigma)?],
            mask: self.mask.as_ref().map(|mask| host.buffer(mask)).transpose()?,
            before: self.before.as_ref().map(|b| host.sequence(past, b)).transpose()?,
        })
    }

    fn unchanged<Q: Real, B: Conforming<Real = Q>>(
        &self,
        host: &Host<'_, Q, B>,
        uploaded: &Uploaded<B>,
    ) -> Result<(), Failure> {
        let values = [&self.weights, &self.delays, &self.sigma];
        for (part, values) in uploaded.params.iter().zip(values) {
            host.same_part(part, values)?;
        }
        if let (Some(buffer), Some(mask)) = (&uploaded.mask, &self.mask) {
            host.same_buffer(buffer, mask)?;
        }
        match (&uploaded.before, &self.before) {
            (Some(sequence), Some(before)) => host.same_sequence(sequence, before),
            _ => Ok(()),
        }
    }
}

/// The recurrent synapses of a [`Case`] on a backend.
struct Uploaded<B: crate::backend::Backend> {
    kernel: B::Kernel,
    params: [Part<B::Buffer>; 3],
    mask: Option<B::Buffer>,
    before: Option<B::Sequence>,
}

impl<B: crate::backend::Backend> Uploaded<B> {
    fn get<'a>(&'a self, case: &'a Case) -> RecurrentStage<'a, B> {
        let [weights, delays, sigma] = &self.params;
        let (weights, delays, sigma) = (weights.view(), delays.view(), sigma.view());
        let params = SynapseParams { weights, delays, sigma, rounding: case.rounding };
        let (mask, before) = (self.mask.as_ref(), self.before.as_ref());
        let Case { synapses, place, .. } = case;
        let (place, spread, kernel) = (*place, case.spread, &self.kernel);
        RecurrentStage { synapses, place, kernel, params, spread, mask, before }
    }
}

/// Every neuron in every mode; every place with every kernel and rounding.
fn cases<R: Real, B: Conforming<Real = R>>() -> Result<Vec<Case>, Failure> {
    let mut cases = Vec::new();
    for (neuron, (_, model)) in neurons::<R>().iter().enumerate() {
        if !B::has(model) {
            continue;
        }
        for _ in MODES {
            let seed = cases.len() as u64;
            let place = Place::ALL[(seed as usize / 4) % Place::ALL.len()].1;
            cases.push(Case::draw::<R>(seed, neuron, place, SHAPE)?);
        }
    }
    for seed in 400..448 {
        let place = Place::ALL[seed as usize % Place::ALL.len()].1;
        cases.push(Case::draw::<R>(
            seed / 4 * 5 + seed % 4,
            neuron_index("plif, hard, detached"),
            place,
            SHAPE,
        )?);
    }
    for (seed, (_, place)) in (500..).step_by(4).zip(Place::ALL) {
        cases.push(Case::draw::<R>(seed, neuron_index("lif, soft"), place, LARGER)?);
    }
    Ok(cases)
}

struct Forward<'a>(&'a Case);

impl Problem for Forward<'_> {
    fn run<Q: Real, B: Conforming<Real = Q>>(&self, backend: &B) -> Result<Vec<Output>, Failure> {
        let (case, host) = (self.0, Host::<Q, B>::new(backend));
        let (stage, uploaded) = (case.stage.upload(&host)?, case.upload(&host)?);
        let x = host.sequence(case.stage.shape, &case.x)?;
        let blank = || host.blank_sequence(case.stage.shape);
        let [mut input, mut fired, mut spikes] = [blank()?, blank()?, blank()?];
        let mut end = case.stage.blank_end(&host)?;
        let (recurrent, get) = (uploaded.get(case), stage.get(&case.stage));
        let outputs = [&mut input, &mut fired, &mut spikes];
        backend.recurrent_forward(&recurrent, &get, &x, outputs, end.as_mut())?;
        case.stage.unchanged(&host, &stage)?;
        case.unchanged(&host, &uploaded)?;
        host.same_sequence(&x, &case.x)?;
        let outputs = [("inputs", &input), ("fired", &fired), ("spikes", &spikes)];
        let mut found = Vec::new();
        for (what, sequence) in outputs {
            let output = Output::new(Stage::Recurrent, what, host.read_sequence(sequence)?);
            found.push(Output { floor: 1.0, ..output });
        }
        found.extend(case.stage.read_end(&host, Stage::Recurrent, end.as_ref())?);
        Ok(found)
    }
}

struct Backward<'a>(&'a Case);

impl Problem for Backward<'_> {
    fn run<Q: Real, B: Conforming<Real = Q>>(&self, backend: &B) -> Result<Vec<Output>, Failure> {
        let (case, host) = (self.0, Host::<Q, B>::new(backend));
        let (stage, uploaded) = (case.stage.upload(&host)?, case.upload(&host)?);
        // The forward pass of the reference, so that no rounding moves a spike.
        let forward = Forward(case).run::<f64, _>(&Reference::<f64>::new())?;
        let [input, fired] = [0, 1].map(|n| &forward[n].values);
        let saved =
            [host.sequence(case.stage.shape, input)?, host.sequence(case.stage.shape, fired)?];
        let mut d = host.sequence(case.stage.shape, &case.d_spikes)?;
        let mut by_neuron = host.blank_part(case.stage.params.len())?;
        let mut by_synapse = [
            host.blank_part(case.weights.len())?,
            host.blank_part(case.delays.len())?,
            host.blank_part(case.sigma.len())?,
        ];
        let [weights, delays, sigma] = by_synapse.each_mut().map(Part::view_mut);
        let synapses = SynapseGradients { weights, delays, sigma };
        let gradients = RecurrentGradients { synapses, neuron: by_neuron.view_mut() };
        let (recurrent, get) = (uploaded.get(case), stage.get(&case.stage));
        let [input, fired] = &saved;
        backend.recurrent_backward(&recurrent, &get, [input, fired], &mut d, gradients)?;
        case.stage.unchanged(&host, &stage)?;
        case.unchanged(&host, &uploaded)?;
        let d = host.read_sequence(&d)?;
        let stage = Stage::RecurrentBackward;
        // The gradients of parameters are sums whose terms may cancel.
        let floor = largest(&d);
        let mut found = vec![Output::new(stage, "d_x", d)];
        let parts = [&by_neuron, &by_synapse[0], &by_synapse[1], &by_synapse[2]];
        let names = ["d_params", "d_weights", "d_delays", "d_sigma"];
        for (what, part) in names.into_iter().zip(parts) {
            let mut values = host.read_part(part)?;
            let place = match what {
                "d_delays" => Some(case.place),
                "d_sigma" => case.spread,
                _ => None,
            };
            if let Some(place) = place {
                let mut sums = vec![0.0; place.len(&case.synapses)];
                place.reduce(&case.synapses, &values, &mut sums)?;
                values = sums;
            }
            found.push(Output { floor, ..Output::new(stage, what, values) });
        }
        Ok(found)
    }
}
