//! A hidden layer: the sum of its connections, norm and neurons, forward and backward.

use crate::gradients::check::{Watched, dot};
use polychron_core::backend::{
    Activation, ActivationGradients, Backend, Firing, HasKernel, HasNeuron, NeuronStage, NormMode,
    RecurrentGradients, RecurrentStage, SynapseGradients, SynapseParams, View, ViewMut,
};
use polychron_core::connectivity::{Connectivity, Sharing};
use polychron_core::delay::{AnyKernel, Place, Rounding};
use polychron_core::neuron::{AnyNeuron, Neuron, NeuronModel, NeuronVisitor};
use polychron_core::norm::{BatchNorm, ValidSteps};
use polychron_core::reference::{Block, NeuronArgs, Reference, neuron_backward, neuron_forward};
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::Surrogate;
use std::ops::Range;
use std::rc::Rc;

pub(super) const REFERENCE: Reference<f64> = Reference::new();

/// A connection with the ranges of its parameters in the point.
pub(super) struct Projection {
    /// As in `Link`.
    pub(super) from: usize,
    pub(super) synapses: Synapses,
    pub(super) kernel: AnyKernel,
    pub(super) rounding: Option<Rounding>,
    pub(super) place: Place,
    pub(super) connectivity: Option<Rc<Connectivity>>,
    pub(super) weights: Range<usize>,
    pub(super) delays: Range<usize>,
    pub(super) sigma: Range<usize>,
}

impl Projection {
    /// The weights and the delays of all synapses.
    fn full(&self, at: &Vec<f64>) -> [Vec<f64>; 2] {
        let sharing = sharing(self.connectivity.as_deref(), self.place);
        [(sharing[0], &self.weights), (sharing[1], &self.delays)].map(|(sharing, range)| {
            let mut full = vec![f64::NAN; self.synapses.weights()];
            let packed = View::new(at, range.clone());
            REFERENCE.expand(&self.synapses, sharing, packed, at.len(), &mut full).unwrap();
            full
        })
    }

    fn params<'a>(
        &self,
        at: &'a Vec<f64>,
        [weights, delays]: &'a [Vec<f64>; 2],
    ) -> SynapseParams<'a, Vec<f64>> {
        SynapseParams {
            weights: View::new(weights, 0..weights.len()),
            delays: View::new(delays, 0..delays.len()),
            sigma: View::new(at, self.sigma.clone()),
            rounding: self.rounding,
        }
    }

    /// The gradient by the input, and that by the parameters, `[weights | delays | sigma]`.
    pub(super) fn backward(
        &self,
        at: &Vec<f64>,
        x: &Block<f64>,
        d_y: &Block<f64>,
    ) -> (Block<f64>, [Vec<f64>; 3]) {
        let mut d_x = zeros(x.shape);
        let full = self.full(at);
        let (params, kernel) = (self.params(at, &full), Reference::kernel(self.kernel));
        let gradients = self.gradients(|into| {
            let to = Some(&mut d_x);
            REFERENCE.project_backward(&self.synapses, &kernel, params, x, d_y, into, to).unwrap();
        });
        (d_x, gradients)
    }

    /// The gradients by the parameters that `backward` writes, for those of all synapses.
    fn gradients(&self, backward: impl FnOnce(SynapseGradients<'_, Vec<f64>>)) -> [Vec<f64>; 3] {
        let [mut weights, mut delays, mut sigma] =
            [self.synapses.weights(), self.synapses.weights(), self.sigma.len()]
                .map(|len| vec![f64::NAN; len]);
        backward(SynapseGradients {
            weights: all(&mut weights),
            delays: all(&mut delays),
            sigma: all(&mut sigma),
        });
        let reduce = |sharing: Sharing<'_>, full| {
            let len = sharing.len(&self.synapses);
            let mut packed = vec![f64::NAN; len];
            REFERENCE.reduce(&self.synapses, sharing, full, all(&mut packed), len).unwrap();
            packed
        };
        let [by_weights, by_delays] = sharing(self.connectivity.as_deref(), self.place);
        [reduce(by_weights, &weights), reduce(by_delays, &delays), sigma]
    }

    /// Writes its gradients to those of all parameters.
    pub(super) fn write(&self, parameters: [Vec<f64>; 3], gradient: &mut [f64]) {
        for (range, d) in [&self.weights, &self.delays, &self.sigma].into_iter().zip(parameters) {
            gradient[range.clone()].copy_from_slice(&d);
        }
    }
}

/// Which packed values the synapses have of weights and of delays.
pub(super) fn sharing(units: Option<&Connectivity>, place: Place) -> [Sharing<'_>; 2] {
    let at = |place| match units {
        Some(units) if place == Place::Synaptic => Sharing::Units(units),
        _ => Sharing::Place(place),
    };
    [at(Place::Synaptic), at(place)]
}

/// The connections of a layer, and the shape and padding of their sum.
pub(crate) struct Inputs {
    pub(super) projections: Vec<Projection>,
    pub(super) shape: Shape,
    pub(crate) padding: usize,
}

impl Inputs {
    /// The sum of the projections. `blocks` are the input and the spikes of every earlier layer.
    pub(super) fn forward(&self, at: &Vec<f64>, blocks: &[Block<f64>]) -> Block<f64> {
        let mut sum = zeros(self.shape);
        for p in &self.projections {
            let (kernel, mut y) = (Reference::kernel(p.kernel), zeros(self.shape));
            let full = p.full(at);
            let params = p.params(at, &full);
            REFERENCE.project(&p.synapses, &kernel, params, &blocks[p.from], &mut y).unwrap();
            add(&mut sum.values, &y.values);
        }
        sum
    }
}

/// What the backward pass of a hidden layer needs.
pub(super) struct Tape {
    projected: Block<f64>,
    statistics: Vec<f64>,
    /// The inputs and the spikes of recurrent neurons.
    recurrent: Option<[Block<f64>; 2]>,
}

/// The synapses among the neurons of a layer, and the dropout mask of their current.
pub(super) struct Recurrence {
    pub(super) synapses: Projection,
    pub(super) mask: Option<Vec<f64>>,
}

pub(super) struct HiddenLayer {
    pub(super) inputs: Inputs,
    norm: Option<(BatchNorm<f64>, Range<usize>)>,
    neuron: AnyNeuron<f64>,
    handle: <Reference<f64> as Backend>::Neuron,
    params: Range<usize>,
    pub(super) watched: Rc<Watched>,
    surrogate: Rc<dyn Surrogate<f64>>,
    mask: Option<Vec<f64>>,
    pub(super) recurrence: Option<Recurrence>,
    /// Spikes recorded at the point, before the mask, for a held reset or for frozen spikes.
    pub(super) recorded: Option<Block<f64>>,
    /// For frozen spikes, which have no gradient: the weights of the membranes in the loss.
    pub(super) d_membrane: Option<Vec<f64>>,
}

impl HiddenLayer {
    pub(super) fn new(
        inputs: Inputs,
        norm: Option<(BatchNorm<f64>, Range<usize>)>,
        (neuron, params): (AnyNeuron<f64>, Range<usize>),
        watched: Rc<Watched>,
        mask: Option<Vec<f64>>,
    ) -> Self {
        let (handle, surrogate) = (Reference::neuron(neuron), watched.clone());
        let (recurrence, recorded, d_membrane) = (None, None, None);
        Self {
            inputs,
            norm,
            neuron,
            handle,
            params,
            watched,
            surrogate,
            mask,
            recurrence,
            recorded,
            d_membrane,
        }
    }

    fn activation<'a>(
        &'a self,
        at: &'a Vec<f64>,
        lengths: Option<&'a [usize]>,
    ) -> Activation<'a, Reference<f64>> {
        let neurons = NeuronStage {
            neuron: &self.handle,
            params: View::new(at, self.params.clone()),
            surrogate: &self.surrogate,
            firing: match (&self.recorded, &self.d_membrane) {
                (None, _) => Firing::Smooth,
                (Some(spikes), None) => Firing::SmoothHeld(spikes),
                (Some(spikes), Some(_)) => Firing::Frozen(spikes),
            },
            mask: self.mask.as_ref(),
            valid: ValidSteps { lengths, padding: self.inputs.padding },
            start: None,
        };
        let norm = self.norm.as_ref().map(|(norm, range)| (norm, View::new(at, range.clone())));
        Activation { norm, neurons }
    }

    pub(super) fn forward(
        &self,
        at: &Vec<f64>,
        lengths: Option<&[usize]>,
        blocks: &[Block<f64>],
    ) -> (Tape, Block<f64>) {
        let layer = self.activation(at, lengths);
        let width = self.inputs.shape.width;
        let running = &mut vec![0.0; 2 * width];
        let mode = NormMode::Batch { running: all(running) };
        let projected = self.inputs.forward(at, blocks);
        let (statistics, mut spikes) = (vec![0.0; 2 * width], zeros(self.inputs.shape));
        let mut tape = Tape { projected, statistics, recurrent: None };
        let Tape { projected, statistics, .. } = &mut tape;
        if self.recurrence.is_none() {
            REFERENCE.activate(&layer, mode, projected, statistics, &mut spikes, None).unwrap();
            return (tape, spikes);
        }
        if let Some((norm, params)) = &layer.norm {
            let (params, valid, mut z) =
                (params.clone(), layer.neurons.valid, zeros(self.inputs.shape));
            REFERENCE
                .norm_forward(norm, params, mode, valid, projected, statistics, &mut z)
                .unwrap();
        }
        let outputs = self.recurrent_forward(at, &layer.neurons, &self.normalised(at, &tape));
        let [input, fired, spikes] = outputs;
        (Tape { recurrent: Some([input, fired]), ..tape }, spikes)
    }

    /// The inputs, the spikes and the output of recurrent neurons.
    fn recurrent_forward(
        &self,
        at: &Vec<f64>,
        neurons: &NeuronStage<'_, Reference<f64>>,
        z: &Block<f64>,
    ) -> [Block<f64>; 3] {
        let mut blocks = [(); 3].map(|()| zeros(z.shape));
        self.with_recurrence(at, |recurrent| {
            let outputs = blocks.each_mut();
            REFERENCE.recurrent_forward(recurrent, neurons, z, outputs, None).unwrap();
        });
        blocks
    }

    fn with_recurrence(&self, at: &Vec<f64>, f: impl FnOnce(&RecurrentStage<'_, Reference<f64>>)) {
        let Some(Recurrence { synapses: p, mask }) = &self.recurrence else { return };
        let (full, kernel) = (p.full(at), Reference::kernel(p.kernel));
        f(&RecurrentStage {
            synapses: &p.synapses,
            place: p.place,
            kernel: &kernel,
            params: p.params(at, &full),
            spread: None,
            mask: mask.as_ref(),
            before: None,
        });
    }

    /// The gradient by the sum of the projections. Those of the norm and the neurons are added to
    /// `gradient`.
    pub(super) fn backward(
        &self,
        at: &Vec<f64>,
        lengths: Option<&[usize]>,
        tape: &Tape,
        d_spikes: Block<f64>,
        gradient: &mut [f64],
    ) -> Block<f64> {
        let range = self.norm.as_ref().map_or(0..0, |(_, range)| range.clone());
        let (mut d_norm, mut d_neuron) =
            (vec![f64::NAN; range.len()], vec![f64::NAN; self.params.len()]);
        let layer = self.activation(at, lengths);
        let (Tape { projected, statistics, recurrent }, mut d_y) = (tape, d_spikes);
        if let (Some([input, fired]), Some(recurrence)) = (recurrent, &self.recurrence) {
            let parameters = recurrence.synapses.gradients(|synapses| {
                let into = RecurrentGradients { synapses, neuron: all(&mut d_neuron) };
                self.with_recurrence(at, |recurrent| {
                    let (neurons, saved) = (&layer.neurons, [input, fired]);
                    REFERENCE
                        .recurrent_backward(recurrent, neurons, saved, &mut d_y, into)
                        .unwrap();
                });
            });
            recurrence.synapses.write(parameters, gradient);
            if let Some((_, params)) = &layer.norm {
                let (d_z, valid, into) = (d_y.clone(), layer.neurons.valid, all(&mut d_norm));
                let params = params.clone();
                REFERENCE
                    .norm_backward(params, statistics, valid, projected, &d_z, &mut d_y, into)
                    .unwrap();
            }
        } else {
            let into = ActivationGradients { norm: all(&mut d_norm), neuron: all(&mut d_neuron) };
            REFERENCE.activate_backward(&layer, projected, statistics, &mut d_y, into).unwrap();
        }
        add(&mut gradient[range], &d_norm);
        add(&mut gradient[self.params.clone()], &d_neuron);
        if self.d_membrane.is_some() {
            let d_membrane = self.membranes_backward(at, lengths, tape, gradient);
            add(&mut d_y.values, &d_membrane.values);
        }
        d_y
    }

    /// The single stages of a layer, for the gradient through its membranes.
    fn membranes_backward(
        &self,
        at: &Vec<f64>,
        lengths: Option<&[usize]>,
        tape: &Tape,
        gradient: &mut [f64],
    ) -> Block<f64> {
        let (mut d_z, mut d_params) = (zeros(self.inputs.shape), vec![0.0; self.params.len()]);
        self.membranes(at, tape, Some([&mut d_z.values, &mut d_params]));
        add(&mut gradient[self.params.clone()], &d_params);
        let Some((_, range)) = &self.norm else { return d_z };
        let (mut d_y, mut d_norm) = (zeros(self.inputs.shape), vec![0.0; range.len()]);
        let valid = ValidSteps { lengths, padding: self.inputs.padding };
        let (params, into) = (View::new(at, range.clone()), all(&mut d_norm));
        let Tape { projected, statistics, .. } = tape;
        REFERENCE
            .norm_backward(params, statistics, valid, projected, &d_z, &mut d_y, into)
            .unwrap();
        add(&mut gradient[range.clone()], &d_norm);
        d_y
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
    pub(super) fn record(&self, at: &Vec<f64>, tape: &Tape) -> Block<f64> {
        let z = self.normalised(at, tape);
        let valid = ValidSteps::default();
        let neurons = self.activation(at, None).neurons;
        let stage = NeuronStage { firing: Firing::Step, mask: None, valid, ..neurons };
        if self.recurrence.is_some() {
            let [_, fired, _] = self.recurrent_forward(at, &stage, &z);
            return fired;
        }
        let mut spikes = zeros(self.inputs.shape);
        REFERENCE.neuron_forward(&stage, &z, &mut spikes, None).unwrap();
        spikes
    }

    /// `<d_membrane, membrane>`, or 0 if spikes are not frozen, and on request its gradients by
    /// input and raw parameters.
    pub(super) fn membranes(
        &self,
        at: &Vec<f64>,
        tape: &Tape,
        gradients: Option<[&mut Vec<f64>; 2]>,
    ) -> f64 {
        let (params, z) = (&at[self.params.clone()], &self.normalised(at, tape));
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

pub(super) fn add(to: &mut [f64], from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

pub(super) fn zeros(shape: Shape) -> Block<f64> {
    Block { shape, values: vec![0.0; shape.len()] }
}

fn all(block: &mut Vec<f64>) -> ViewMut<'_, Vec<f64>> {
    let range = 0..block.len();
    ViewMut::new(block, range)
}
