//! A network whose loss is a function of one vector, through the reference backend.

use super::check::{Part, Value, Watched, digest, dot};
use super::draw::Draw;
use super::stages::highest_steps;
use polychron_core::backend::{
    Activation, ActivationGradients, Backend, Firing, HasKernel, HasNeuron, NeuronStage, NormMode,
    SynapseGradients, SynapseParams, View, ViewMut,
};
use polychron_core::delay::AnyKernel;
use polychron_core::loss::Loss;
use polychron_core::neuron::{AnyNeuron, ErasedNeuron, Li, Neuron, NeuronModel, NeuronVisitor};
use polychron_core::norm::{BatchNorm, ValidSteps};
use polychron_core::reference::{Block, NeuronArgs, Reference, neuron_backward, neuron_forward};
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::{AnySurrogate, Scaled, Surrogate};
use std::ops::Range;
use std::rc::Rc;

const REFERENCE: Reference<f64> = Reference::new();

/// What the backward pass of a hidden layer needs.
struct Tape {
    projected: Block<f64>,
    statistics: Vec<f64>,
}

/// The ranges of the parameters of a projection in the point.
pub(crate) struct Projection {
    synapses: Synapses,
    kernel: AnyKernel,
    weights: Range<usize>,
    delays: Range<usize>,
    sigma: Range<usize>,
}

struct HiddenLayer {
    projection: Projection,
    norm: Option<(BatchNorm<f64>, Range<usize>)>,
    neuron: AnyNeuron<f64>,
    handle: <Reference<f64> as Backend>::Neuron,
    params: Range<usize>,
    watched: Rc<Watched>,
    surrogate: Rc<dyn Surrogate<f64>>,
    mask: Option<Vec<f64>>,
    /// Spikes recorded at the point, before the mask, for a held reset or for frozen spikes.
    recorded: Option<Block<f64>>,
    /// For frozen spikes, which have no gradient: the weights of the membranes in the loss.
    d_membrane: Option<Vec<f64>>,
    /// The shape of the output, and the padding so far.
    shape: Shape,
    padding: usize,
}

/// The loss of the spikes of the last hidden layer.
pub(crate) enum End {
    /// A weighted sum.
    Sum(Vec<f64>),
    Readout {
        projection: Projection,
        li: Li<f64>,
        loss: Loss,
        targets: Vec<f64>,
        padding: usize,
    },
}

/// A network whose loss is a function of one vector: the parameters layer by layer, then the input.
pub(crate) struct Net {
    hidden: Vec<HiddenLayer>,
    end: End,
    lengths: Option<Vec<usize>>,
    shape: Shape,
    input: Range<usize>,
    pub(crate) parts: Vec<Part>,
    pub(crate) point: Vec<f64>,
}

/// The builder of a network.
pub(crate) struct Builder {
    parts: Vec<Part>,
    point: Vec<f64>,
    pub(crate) shape: Shape,
    pub(crate) padding: usize,
    hidden: Vec<HiddenLayer>,
}

impl Builder {
    fn push(&mut self, name: &'static str, block: Vec<f64>) -> Range<usize> {
        let range = self.point.len()..self.point.len() + block.len();
        self.point.extend(block);
        self.parts.push((name, range.clone()));
        range
    }

    pub(crate) fn projection(
        &mut self,
        draw: &mut Draw,
        synapses: Synapses,
        kernel: AnyKernel,
    ) -> Projection {
        let n = synapses.weights();
        let shared = draw.coin();
        let (delays, sigma) = draw.delays_and_sigma(kernel, synapses.taps, n, shared);
        self.shape = synapses.output(self.shape);
        self.padding += synapses.padding;
        let bound = 3.0 / (synapses.inputs as f64).sqrt();
        Projection {
            synapses,
            kernel,
            weights: self.push("weights", draw.block(n, -bound, bound)),
            delays: self.push("delays", delays),
            sigma: self.push("sigma", sigma),
        }
    }

    pub(crate) fn hidden(
        &mut self,
        draw: &mut Draw,
        synapses: Synapses,
        kernel: AnyKernel,
        neuron: AnyNeuron<f64>,
        surrogate: Scaled<f64, AnySurrogate<f64>>,
        per_neuron: bool,
    ) {
        let projection = self.projection(draw, synapses, kernel);
        let width = synapses.outputs;
        let norm = (draw.below(4) > 0).then(|| {
            let mut params = draw.block(width, 0.7, 1.3);
            params.extend(draw.block(width, -0.2, 1.0));
            (BatchNorm::default(), self.push("gamma, beta", params))
        });
        let mut params = vec![0.0; neuron.param_count()];
        neuron.write_params(&mut params);
        if per_neuron {
            let spread = draw.block(params.len() * width, -0.3, 0.3);
            let near = |(n, d)| params[n / width] + d;
            params = spread.into_iter().enumerate().map(near).collect();
        }
        let params = self.push("neuron", params);
        let watched = Rc::new(Watched::new(surrogate));
        self.hidden.push(HiddenLayer {
            projection,
            norm,
            neuron,
            handle: Reference::neuron(neuron),
            params,
            surrogate: watched.clone(),
            watched,
            mask: draw.mask(self.shape),
            recorded: None,
            d_membrane: None,
            shape: self.shape,
            padding: self.padding,
        });
    }

    pub(crate) fn finish(mut self, draw: &mut Draw, input: Shape, end: End) -> Net {
        let x = draw.block(input.len(), -1.0, 1.5);
        let range = self.push("input", x);
        Net {
            hidden: self.hidden,
            end,
            lengths: draw.lengths(input),
            shape: input,
            input: range,
            parts: self.parts,
            point: self.point,
        }
    }
}

pub(crate) fn builder(shape: Shape) -> Builder {
    Builder { parts: Vec::new(), point: Vec::new(), shape, padding: 0, hidden: Vec::new() }
}

impl Projection {
    fn params<'a>(&self, at: &'a Vec<f64>) -> SynapseParams<'a, Vec<f64>> {
        SynapseParams {
            weights: View::new(at, self.weights.clone()),
            delays: View::new(at, self.delays.clone()),
            sigma: View::new(at, self.sigma.clone()),
            rounding: None,
        }
    }

    fn forward(&self, at: &Vec<f64>, x: &Block<f64>, y: &mut Block<f64>) {
        let kernel = Reference::kernel(self.kernel);
        REFERENCE.project(&self.synapses, &kernel, self.params(at), x, y).unwrap();
    }
}

impl HiddenLayer {
    fn stage<'a>(
        &'a self,
        at: &'a Vec<f64>,
        lengths: Option<&'a [usize]>,
    ) -> NeuronStage<'a, Reference<f64>> {
        NeuronStage {
            neuron: &self.handle,
            params: View::new(at, self.params.clone()),
            surrogate: &self.surrogate,
            firing: match (&self.recorded, &self.d_membrane) {
                (None, _) => Firing::Smooth,
                (Some(spikes), None) => Firing::SmoothHeld(spikes),
                (Some(spikes), Some(_)) => Firing::Frozen(spikes),
            },
            mask: self.mask.as_ref(),
            valid: ValidSteps { lengths, padding: self.padding },
            start: None,
        }
    }

    fn activation<'a>(
        &'a self,
        at: &'a Vec<f64>,
        lengths: Option<&'a [usize]>,
    ) -> Activation<'a, Reference<f64>> {
        Activation {
            norm: self.norm.as_ref().map(|(norm, range)| (norm, View::new(at, range.clone()))),
            neurons: self.stage(at, lengths),
        }
    }

    fn forward(
        &self,
        at: &Vec<f64>,
        lengths: Option<&[usize]>,
        x: &Block<f64>,
    ) -> (Tape, Block<f64>) {
        let layer = self.activation(at, lengths);
        let width = self.shape.width;
        let running = &mut vec![0.0; 2 * width];
        let mode = NormMode::Batch { running: ViewMut::new(running, 0..2 * width) };
        let mut projected = zeros(self.shape);
        self.projection.forward(at, x, &mut projected);
        let (mut statistics, mut spikes) = (vec![0.0; 2 * width], zeros(self.shape));
        REFERENCE.activate(&layer, mode, &projected, &mut statistics, &mut spikes, None).unwrap();
        (Tape { projected, statistics }, spikes)
    }

    /// The input to the neurons.
    fn normalised(&self, at: &Vec<f64>, tape: &Tape) -> Block<f64> {
        let mut z = tape.projected.clone();
        if let Some((_, range)) = &self.norm {
            let params = View::new(at, range.clone());
            REFERENCE.norm_apply(params, &tape.statistics, &tape.projected, &mut z).unwrap();
        }
        z
    }

    /// Spikes before the mask, at every step.
    fn record(&self, at: &Vec<f64>, lengths: Option<&[usize]>, tape: &Tape) -> Block<f64> {
        let z = self.normalised(at, tape);
        let valid = ValidSteps::default();
        let stage =
            NeuronStage { firing: Firing::Step, mask: None, valid, ..self.stage(at, lengths) };
        let mut spikes = zeros(self.shape);
        REFERENCE.neuron_forward(&stage, &z, &mut spikes, None).unwrap();
        spikes
    }

    /// `<d_membrane, membrane>`, or 0 if spikes are not frozen, and on request its gradients by
    /// input and raw parameters.
    fn membranes(&self, at: &[f64], z: &Block<f64>, gradients: Option<[&mut Vec<f64>; 2]>) -> f64 {
        let params = &at[self.params.clone()];
        self.neuron.visit(Membranes { hidden: self, params, z, gradients })
    }
}

struct Membranes<'a> {
    hidden: &'a HiddenLayer,
    params: &'a [f64],
    z: &'a Block<f64>,
    gradients: Option<[&'a mut Vec<f64>; 2]>,
}

impl NeuronVisitor<f64> for Membranes<'_> {
    type Output = f64;

    fn visit<N: Neuron<Real = f64>>(self, neuron: &N) -> f64 {
        let HiddenLayer { recorded: Some(spikes), d_membrane: Some(d_membrane), .. } = self.hidden
        else {
            return 0.0;
        };
        let sets = (self.params.len() / neuron.params().as_ref().len().max(1)).max(1);
        let neurons: Vec<_> = (0..sets).map(|o| neuron.with_set(self.params, sets, o)).collect();
        let args = NeuronArgs {
            neurons: &neurons,
            surrogate: &*self.hidden.watched,
            firing: Firing::Frozen(spikes.values.as_slice()),
            mask: None,
            valid: ValidSteps::default(),
            shape: self.z.shape,
            start: None,
        };
        let z = &self.z.values;
        let none = &mut vec![0.0; z.len()];
        if let Some([d_z, d_params]) = self.gradients {
            neuron_backward(&args, z, none, Some(d_membrane), d_z, d_params).unwrap();
        }
        let mut membrane = none.clone();
        neuron_forward(&args, z, none, Some(&mut membrane), None).unwrap();
        dot(d_membrane, &membrane)
    }
}

fn add(to: &mut [f64], from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

fn zeros(shape: Shape) -> Block<f64> {
    Block { shape, values: vec![0.0; shape.len()] }
}

impl Net {
    fn lengths(&self) -> Option<&[usize]> {
        self.lengths.as_deref()
    }

    fn input(&self, at: &[f64]) -> Block<f64> {
        Block { shape: self.shape, values: at[self.input.clone()].to_vec() }
    }

    /// Records spikes layer by layer, each from the output of the held layers before it.
    pub(crate) fn record(&mut self) {
        let mut x = self.input(&self.point);
        for l in 0..self.hidden.len() {
            let (tape, _) = self.hidden[l].forward(&self.point, self.lengths(), &x);
            let recorded = self.hidden[l].record(&self.point, self.lengths(), &tape);
            self.hidden[l].recorded = Some(recorded);
            x = self.hidden[l].forward(&self.point, self.lengths(), &x).1;
        }
    }

    /// Freezes every spike, and draws the weights of the membranes in the loss, at valid steps.
    pub(crate) fn freeze(&mut self, draw: &mut Draw) {
        let lengths = self.lengths.as_deref();
        for hidden in &mut self.hidden {
            let (shape, valid) = (hidden.shape, ValidSteps { lengths, padding: hidden.padding });
            let mut d = draw.block(shape.len(), -1.0, 1.0);
            for (n, d) in d.iter_mut().enumerate() {
                let (t, b) = (n / shape.width / shape.batch, n / shape.width % shape.batch);
                *d *= f64::from(t < valid.steps(b, shape.steps));
            }
            hidden.d_membrane = Some(d);
        }
        self.record();
    }

    fn readout(&self, at: &Vec<f64>, spikes: &Block<f64>, d_x: Option<&mut Block<f64>>) -> Value {
        let End::Readout { projection, li, loss, targets, padding } = &self.end else {
            unreachable!()
        };
        let mut y = zeros(projection.synapses.output(spikes.shape));
        projection.forward(at, spikes, &mut y);
        let valid = ValidSteps { lengths: self.lengths(), padding: *padding };
        let scores = &mut vec![0.0; targets.len()];
        let value = REFERENCE.readout(li, *loss, valid, &y, Some(targets), scores, d_x).unwrap();
        let max = *loss == Loss::Max;
        Value { value, piece: if max { highest_steps(li, valid, &y.values, y.shape) } else { 0 } }
    }

    /// Whether the membranes stay small. A hard reset with large smooth spikes may diverge.
    pub(crate) fn is_bounded(&self) -> bool {
        let mut x = self.input(&self.point);
        self.hidden.iter().all(|hidden| {
            x = hidden.forward(&self.point, self.lengths(), &x).1;
            x.values.iter().all(|value| value.abs() < 1e6)
        })
    }

    pub(crate) fn loss(&self, at: &[f64]) -> Value {
        let at = &at.to_vec();
        let (mut x, mut piece, mut membranes) = (self.input(at), 0, 0.0);
        for hidden in &self.hidden {
            hidden.watched.take_sides();
            let (tape, spikes) = hidden.forward(at, self.lengths(), &x);
            membranes += hidden.membranes(at, &hidden.normalised(at, &tape), None);
            x = spikes;
            piece = digest(piece, hidden.watched.take_sides());
        }
        let end = match &self.end {
            End::Sum(upstream) => dot(upstream, &x.values).into(),
            End::Readout { .. } => self.readout(at, &x, None),
        };
        Value { value: membranes + end.value, piece: digest(piece, end.piece) }
    }

    pub(crate) fn gradient(&self) -> Vec<f64> {
        let at = &self.point;
        let mut gradient = vec![0.0; at.len()];
        let (mut inputs, mut tapes) = (vec![self.input(at)], Vec::new());
        for hidden in &self.hidden {
            let (tape, spikes) = hidden.forward(at, self.lengths(), &inputs[inputs.len() - 1]);
            tapes.push(tape);
            inputs.push(spikes);
        }
        let last = &inputs[inputs.len() - 1];
        let mut d_x = match &self.end {
            End::Sum(upstream) => Block { shape: last.shape, values: upstream.clone() },
            End::Readout { projection, .. } => {
                let mut d_y = zeros(projection.synapses.output(last.shape));
                self.readout(at, last, Some(&mut d_y));
                self.project_backward(projection, last, &d_y, &mut gradient)
            }
        };
        for ((hidden, tape), x) in self.hidden.iter().zip(&tapes).zip(&inputs).rev() {
            d_x = self.layer_backward(hidden, tape, x, &d_x, &mut gradient);
        }
        gradient[self.input.clone()].copy_from_slice(&d_x.values);
        gradient
    }

    fn project_backward(
        &self,
        p: &Projection,
        x: &Block<f64>,
        d_y: &Block<f64>,
        gradient: &mut [f64],
    ) -> Block<f64> {
        let mut blocks = Blocks::of(p, 0, 0);
        let mut d_x = zeros(x.shape);
        let (params, gradients) = (p.params(&self.point), blocks.synapses());
        let (kernel, d) = (Reference::kernel(p.kernel), Some(&mut d_x));
        REFERENCE.project_backward(&p.synapses, &kernel, params, x, d_y, gradients, d).unwrap();
        blocks.add(p, gradient);
        d_x
    }

    /// The single stages of a layer, for the gradient through its membranes.
    fn membranes_backward(
        &self,
        hidden: &HiddenLayer,
        tape: &Tape,
        x: &Block<f64>,
        gradient: &mut [f64],
    ) -> Block<f64> {
        let (at, shape) = (&self.point, hidden.shape);
        let z = hidden.normalised(at, tape);
        let (mut d_z, mut d_params) = (zeros(shape), vec![0.0; hidden.params.len()]);
        hidden.membranes(at, &z, Some([&mut d_z.values, &mut d_params]));
        add(&mut gradient[hidden.params.clone()], &d_params);
        if let Some((_, range)) = &hidden.norm {
            let (mut d_y, mut d_norm) = (zeros(shape), vec![0.0; range.len()]);
            let (params, valid) =
                (View::new(at, range.clone()), hidden.stage(at, self.lengths()).valid);
            let d_params = ViewMut::new(&mut d_norm, 0..range.len());
            REFERENCE
                .norm_backward(
                    params,
                    &tape.statistics,
                    valid,
                    &tape.projected,
                    &d_z,
                    &mut d_y,
                    d_params,
                )
                .unwrap();
            add(&mut gradient[range.clone()], &d_norm);
            d_z = d_y;
        }
        self.project_backward(&hidden.projection, x, &d_z, gradient)
    }

    fn layer_backward(
        &self,
        hidden: &HiddenLayer,
        tape: &Tape,
        x: &Block<f64>,
        d_spikes: &Block<f64>,
        gradient: &mut [f64],
    ) -> Block<f64> {
        let norm = hidden.norm.as_ref().map_or(0..0, |(_, range)| range.clone());
        let mut blocks = Blocks::of(&hidden.projection, norm.len(), hidden.params.len());
        let layer = hidden.activation(&self.point, self.lengths());
        let (Tape { projected, statistics }, mut d_y) = (tape, d_spikes.clone());
        let into = blocks.activation();
        REFERENCE.activate_backward(&layer, projected, statistics, &mut d_y, into).unwrap();
        let mut d_x = self.project_backward(&hidden.projection, x, &d_y, gradient);
        add(&mut gradient[norm], &blocks.norm);
        add(&mut gradient[hidden.params.clone()], &blocks.neuron);
        if hidden.d_membrane.is_some() {
            let d_membrane = self.membranes_backward(hidden, tape, x, gradient);
            add(&mut d_x.values, &d_membrane.values);
        }
        d_x
    }
}

/// The gradients of a layer.
struct Blocks {
    weights: Vec<f64>,
    delays: Vec<f64>,
    sigma: Vec<f64>,
    norm: Vec<f64>,
    neuron: Vec<f64>,
}

impl Blocks {
    fn of(p: &Projection, norm: usize, neuron: usize) -> Self {
        let block = |len| vec![f64::NAN; len];
        Self {
            weights: block(p.weights.len()),
            delays: block(p.delays.len()),
            sigma: block(p.sigma.len()),
            norm: block(norm),
            neuron: block(neuron),
        }
    }

    fn synapses(&mut self) -> SynapseGradients<'_, Vec<f64>> {
        SynapseGradients {
            weights: all(&mut self.weights),
            delays: all(&mut self.delays),
            sigma: all(&mut self.sigma),
        }
    }

    fn activation(&mut self) -> ActivationGradients<'_, Vec<f64>> {
        ActivationGradients { norm: all(&mut self.norm), neuron: all(&mut self.neuron) }
    }

    fn add(&self, p: &Projection, gradient: &mut [f64]) {
        add(&mut gradient[p.weights.clone()], &self.weights);
        add(&mut gradient[p.delays.clone()], &self.delays);
        add(&mut gradient[p.sigma.clone()], &self.sigma);
    }
}

fn all(block: &mut Vec<f64>) -> ViewMut<'_, Vec<f64>> {
    let range = 0..block.len();
    ViewMut::new(block, range)
}
