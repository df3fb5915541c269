use super::graph::{Edge, Graph};
use super::network::{Layer, Network};
use super::tensor::{Group, Init, TensorSpec};
use crate::backend::{ActivationGradients, Backend, SynapseGradients, ViewMut};
use crate::init::DelayInit;
use crate::neuron::ErasedNeuron;
use crate::num::Real;
use crate::rng::Rng;
use crate::shape::Synapses;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Streams of random numbers.
const WEIGHTS: u64 = 1;
const DELAYS: u64 = 2;
/// The recurrent connection of a layer in these streams, and its biases.
const RECURRENT: u64 = 1 << 32;
const BIASES: u64 = 1 << 33;

/// Where the tensors of a network lie.
#[derive(Clone, Debug)]
pub(super) struct Layout<R> {
    pub(super) specs: Vec<TensorSpec<R>>,
    pub(super) layers: Vec<LayerRanges>,
    /// The number of values of each group.
    pub(super) lens: [usize; 6],
}

/// A group, the bounds of its values, and a range of its block.
type Part<R> = (Group, Option<(R, R)>, Range<usize>);

/// The ranges of a layer in the blocks of the groups.
#[derive(Clone, Debug, Default)]
pub(super) struct LayerRanges {
    pub(super) edges: Vec<EdgeRanges>,
    /// Biases, in the block of the weights.
    pub(super) bias: Range<usize>,
    /// `[gamma | beta]`, and the running `[mean | var]`.
    pub(super) norm: Range<usize>,
    pub(super) neuron: Range<usize>,
}

/// The ranges of a connection. That of the recurrent one is the last of its layer.
#[derive(Clone, Debug, Default)]
pub(super) struct EdgeRanges {
    pub(super) weights: Range<usize>,
    pub(super) delays: Range<usize>,
    pub(super) sigma: Range<usize>,
    /// Learned spreads, in the block of the delays.
    pub(super) spread: Range<usize>,
    /// The number of kernel elements of all synapses.
    pub(super) elements: usize,
}

impl<R: Real> Layout<R> {
    /// The tensors of a network whose initial values are those of the seed.
    pub(super) fn new<B: Backend<Real = R>>(
        network: &Network<B>,
        graph: &Graph,
        delays: DelayInit,
        seed: u64,
    ) -> Self {
        let mut layout = Self { specs: Vec::new(), layers: Vec::new(), lens: [0; 6] };
        let zeros = || Init::Constant(vec![R::zero()]);
        let ones = || Init::Constant(vec![R::one()]);
        for (layer, node) in graph.nodes.iter().enumerate() {
            let mut ranges = LayerRanges::default();
            for (connection, edge) in node.connections().enumerate() {
                let &Edge { from, synapses, place, fixed_delays, spread, .. } = edge;
                let at = (layer, connection, graph.connection_name(layer, connection));
                let recurrent = from == Some(layer);
                let rng = |stream| {
                    let rng = Rng::new(seed, stream).fork(layer as u64);
                    match connection {
                        _ if recurrent => rng.fork(RECURRENT),
                        0 => rng,
                        _ => rng.fork(connection as u64),
                    }
                };
                let within = Some((R::zero(), R::count(synapses.taps - 1)));
                let random = match recurrent {
                    true => Init::Orthogonal(synapses, rng(WEIGHTS)),
                    false => {
                        let inputs =
                            edge.connectivity.as_ref().map_or(synapses.inputs, |c| c.fan_in());
                        Init::Weights(Synapses { inputs, ..synapses }, rng(WEIGHTS))
                    }
                };
                let shape = edge.packed().shape(&synapses);
                let weights = layout.push(&at, "weight", &shape, Group::Weights, &[None], random);
                let random = match fixed_delays {
                    true => Init::FixedDelays(synapses, delays, rng(DELAYS)),
                    false => Init::Delays(synapses, delays, rng(DELAYS)),
                };
                let shape = edge.at(place).shape(&synapses);
                let delays = layout.push(&at, "delay", &shape, Group::Delays, &[within], random);
                let sigma = layout.push(&at, "sigma", &[1], Group::Sigma, &[None], zeros());
                let shape = spread.map_or(vec![0], |place| edge.at(place).shape(&synapses));
                let spread = layout.push(&at, "spread", &shape, Group::Delays, &[None], zeros());
                let elements = synapses.weights();
                ranges.edges.push(EdgeRanges { weights, delays, sigma, spread, elements });
            }
            let hidden = network.hidden.get(layer);
            if hidden.map_or(network.output.bias, |hidden| hidden.bias) {
                let weights = |edge: &Edge| edge.synapses.weights() / node.width;
                let fan_in = node.edges.iter().map(weights).sum();
                let rng = Rng::new(seed, WEIGHTS).fork(layer as u64).fork(BIASES);
                let (at, init) = ((layer, 0, graph.name(layer)), Init::Biases(fan_in, rng));
                let (shape, group) = ([node.width], Group::Weights);
                ranges.bias = layout.push(&at, "bias", &shape, group, &[None], init);
            }
            if let Some(hidden) = hidden {
                let Layer { neuron, per_neuron, norm, .. } = hidden;
                let at = (layer, 0, graph.name(layer));
                let shape = [neuron.param_count(), node.width];
                let bounds: Vec<_> = (0..shape[0]).map(|p| neuron.param_bounds(p)).collect();
                let shape = &shape[..if *per_neuron { 2 } else { 1 }];
                let raw = Init::Constant(hidden.initial_params());
                ranges.neuron = layout.push(&at, "neuron", shape, Group::Neurons, &bounds, raw);
                if norm.is_some() {
                    let (norms, statistics) = (Group::Norms, Group::Statistics);
                    let (width, positive) = ([node.width], Some((R::zero(), R::infinity())));
                    let gamma = layout.push(&at, "gamma", &width, norms, &[None], ones());
                    let beta = layout.push(&at, "beta", &width, norms, &[None], zeros());
                    layout.push(&at, "running_mean", &width, statistics, &[None], zeros());
                    layout.push(&at, "running_var", &width, statistics, &[positive], ones());
                    ranges.norm = gamma.start..beta.end;
                }
            }
            layout.layers.push(ranges);
        }
        layout
    }

    /// Adds a tensor of a layer, a connection and its name, unless it has no values.
    fn push(
        &mut self,
        &(layer, connection, ref prefix): &(usize, usize, String),
        name: &str,
        shape: &[usize],
        group: Group,
        bounds: &[Option<(R, R)>],
        init: Init<R>,
    ) -> Range<usize> {
        let start = self.lens[group as usize];
        let range = start..start + shape.iter().product::<usize>();
        self.lens[group as usize] = range.end;
        if !range.is_empty() {
            let (name, shape, bounds) =
                (format!("{prefix}.{name}"), shape.to_vec(), bounds.to_vec());
            let range = range.clone();
            let spec = TensorSpec { name, layer, connection, shape, group, bounds, init, range };
            self.specs.push(spec);
        }
        range
    }

    /// The parts of the groups whose values learn within the same bounds, as long as possible.
    pub(super) fn parts(&self) -> Vec<Part<R>> {
        let mut parts: Vec<Part<R>> = Vec::new();
        for (group, _) in Group::LEARNED {
            for spec in self.specs.iter().filter(|s| s.group == group && !s.is_fixed()) {
                let len = spec.range.len() / spec.bounds.len();
                for (n, &bounds) in spec.bounds.iter().enumerate() {
                    let start = spec.range.start + n * len;
                    match parts.last_mut() {
                        Some((last, same, range))
                            if *last == group && *same == bounds && range.end == start =>
                        {
                            range.end = start + len;
                        }
                        _ => parts.push((group, bounds, start..start + len)),
                    }
                }
            }
        }
        parts
    }

    /// Zeros for every value of a group.
    pub(super) fn zeros(&self, group: Group) -> Vec<R> {
        vec![R::zero(); self.lens[group as usize]]
    }
}

/// One block per group with gradients.
pub(super) struct Blocks<T>(pub(super) [T; Group::LEARNED.len()]);

impl<R: Real> Blocks<Vec<R>> {
    /// Zeros in the sizes of the parameters.
    pub(super) fn host(layout: &Layout<R>) -> Self {
        Self(Group::LEARNED.map(|(group, _)| layout.zeros(group)))
    }

    /// Copies to blocks of the same sizes.
    pub(super) fn copy<B: Backend<Real = R>>(
        &self,
        backend: &B,
        to: &mut Blocks<B::Buffer>,
    ) -> Result<(), B::Error> {
        self.0.iter().zip(&mut to.0).try_for_each(|(from, to)| backend.upload(from, to))
    }

    pub(super) fn upload<B: Backend<Real = R>>(
        &self,
        backend: &B,
    ) -> Result<Blocks<B::Buffer>, B::Error> {
        let buffer = |from: &Vec<R>| -> Result<B::Buffer, B::Error> {
            let mut to = backend.buffer(from.len())?;
            backend.upload(from, &mut to)?;
            Ok(to)
        };
        let [weights, delays, sigma, norms, neurons] = &self.0;
        Ok(Blocks([
            buffer(weights)?,
            buffer(delays)?,
            buffer(sigma)?,
            buffer(norms)?,
            buffer(neurons)?,
        ]))
    }
}

impl<T> Blocks<T> {
    pub(super) fn download<B: Backend<Buffer = T>>(
        &self,
        backend: &B,
        layout: &Layout<B::Real>,
    ) -> Result<Blocks<Vec<B::Real>>, B::Error> {
        let mut host = Blocks::host(layout);
        for (from, to) in self.0.iter().zip(&mut host.0) {
            backend.download(from, to)?;
        }
        Ok(host)
    }

    /// Where the gradients of connection `c` of layer `l` go, those of weights, delays and sigma to
    /// `full` if there are such blocks.
    pub(super) fn connection<'a, R>(
        &'a mut self,
        layout: &Layout<R>,
        l: usize,
        c: usize,
        full: &'a mut [Option<T>; 3],
    ) -> SynapseGradients<'a, T> {
        self.recurrent(layout, l, c, full).0
    }

    /// Where the gradients of the norm and the neurons of layer `l` go.
    pub(super) fn activation<R>(
        &mut self,
        layout: &Layout<R>,
        l: usize,
    ) -> ActivationGradients<'_, T> {
        let [_, _, _, norms, neurons] = &mut self.0;
        let layer = &layout.layers[l];
        let norm = ViewMut::new(norms, layer.norm.clone());
        ActivationGradients { norm, neuron: ViewMut::new(neurons, layer.neuron.clone()) }
    }

    /// [`connection`](Self::connection) and [`activation`](Self::activation).
    pub(super) fn recurrent<'a, R>(
        &'a mut self,
        layout: &Layout<R>,
        l: usize,
        c: usize,
        full: &'a mut [Option<T>; 3],
    ) -> (SynapseGradients<'a, T>, ActivationGradients<'a, T>) {
        let [weights, delays, sigma, norms, neurons] = &mut self.0;
        let (layer, ranges) = (&layout.layers[l], &layout.layers[l].edges[c]);
        let part = |full: &'a mut Option<T>, packed, range: &Range<usize>| match full {
            Some(full) => ViewMut::new(full, 0..ranges.elements),
            None => ViewMut::new(packed, range.clone()),
        };
        let [full_weights, full_delays, full_sigma] = full;
        let weights = part(full_weights, weights, &ranges.weights);
        let delays = part(full_delays, delays, &ranges.delays);
        let sigma = part(full_sigma, sigma, &ranges.sigma);
        let (norm, neuron) =
            (ViewMut::new(norms, layer.norm.clone()), ViewMut::new(neurons, layer.neuron.clone()));
        (SynapseGradients { weights, delays, sigma }, ActivationGradients { norm, neuron })
    }
}
