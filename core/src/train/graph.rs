use super::network::Network;
use super::state::TensorSpec;
use crate::backend::Backend;
use crate::neuron::ErasedNeuron;
use crate::num::Real;
use crate::shape::{Shape, Synapses};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Who is connected to whom: a network without its models and parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// The layers, the readout last.
    pub nodes: Vec<Node>,
}

/// A layer of a [`Graph`].
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The connections.
    pub edges: Vec<Edge>,
    /// The number of neurons.
    pub width: usize,
    /// Steps by which the output is longer than the input of the network.
    pub padding: usize,
}

/// A connection of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edge {
    /// The hidden layer that it comes from; `None` for the input of the network.
    pub from: Option<usize>,
    /// The sizes. The padding is that between the lengths of source and layer: all connections of a
    /// layer end with the longest.
    pub synapses: Synapses,
}

impl Graph {
    /// The number of input channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        let input = self.edges().find(|edge| edge.from.is_none());
        input.map_or(0, |edge| edge.synapses.inputs)
    }

    /// The number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.nodes.last().map_or(0, |node| node.width)
    }

    /// The connections of all layers.
    pub fn edges(&self) -> impl Iterator<Item = &Edge> {
        self.nodes.iter().flat_map(|node| &node.edges)
    }

    /// The hidden layers.
    #[must_use]
    pub fn hidden(&self) -> &[Node] {
        &self.nodes[..self.nodes.len().saturating_sub(1)]
    }

    /// The synapses of a chain, the readout last; `None` if a layer has several connections or does
    /// not follow the previous one.
    #[must_use]
    pub fn chain(&self) -> Option<Vec<Synapses>> {
        let follows = |(l, node): (usize, &Node)| match node.edges[..] {
            [edge] if edge.from == l.checked_sub(1) => Some(edge.synapses),
            _ => None,
        };
        self.nodes.iter().enumerate().map(follows).collect()
    }

    /// The name of a layer in the names of its tensors: `hidden.0`, `output`.
    #[must_use]
    pub fn name(&self, layer: usize) -> String {
        if layer + 1 == self.nodes.len() { "output".into() } else { format!("hidden.{layer}") }
    }

    /// The name of a connection in the names of its tensors: that of its layer for the first, then
    /// `hidden.0.inputs.1` and so on.
    #[must_use]
    pub fn connection_name(&self, layer: usize, connection: usize) -> String {
        let name = self.name(layer);
        if connection == 0 { name } else { format!("{name}.inputs.{connection}") }
    }

    /// The shape of the output of a layer for an input of the given shape.
    #[must_use]
    pub fn output(&self, layer: usize, input: Shape) -> Shape {
        let Node { width, padding, .. } = self.nodes[layer];
        Shape::new(input.steps.saturating_add(padding), input.batch, width)
    }

    /// The last layer that reads the output of a hidden layer, or the input.
    pub(super) fn last_reader(&self, from: Option<usize>) -> usize {
        let reads = |node: &Node| node.edges.iter().any(|edge| edge.from == from);
        self.nodes.iter().rposition(reads).unwrap_or(0)
    }
}

/// The groups of tensors. Each is one flat block, with one layer after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Weights `[out, in, count]`.
    Weights,
    /// Delays in steps, in the layout of the weights.
    Delays,
    /// One raw sigma per connection; a schedule sets it.
    Sigma,
    /// Gamma and beta of the norms.
    Norms,
    /// Raw parameters of the neurons, `[P]` or `[P, out]`.
    Neurons,
    /// Running mean and variance of the norms.
    Statistics,
}

impl Group {
    /// The groups with gradients, with their names in checkpoints.
    pub(super) const LEARNED: [(Self, &'static str); 5] = [
        (Self::Weights, "weights"),
        (Self::Delays, "delays"),
        (Self::Sigma, "sigma"),
        (Self::Norms, "norms"),
        (Self::Neurons, "neurons"),
    ];
}

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
    /// `[gamma | beta]`, and the running `[mean | var]`.
    pub(super) norm: Range<usize>,
    pub(super) neuron: Range<usize>,
}

/// The ranges of a connection. Weights and delays share one.
#[derive(Clone, Debug, Default)]
pub(super) struct EdgeRanges {
    pub(super) synapses: Range<usize>,
    pub(super) sigma: Range<usize>,
}

impl<R: Real> Layout<R> {
    pub(super) fn new<B: Backend<Real = R>>(network: &Network<B>, graph: &Graph) -> Self {
        let mut layout = Self { specs: Vec::new(), layers: Vec::new(), lens: [0; 6] };
        let positive = Some((R::zero(), R::infinity()));
        for (l, node) in graph.nodes.iter().enumerate() {
            let name = graph.name(l);
            let mut ranges = LayerRanges::default();
            for (c, Edge { synapses, .. }) in node.edges.iter().enumerate() {
                let name = graph.connection_name(l, c);
                let shape = [synapses.outputs, synapses.inputs, synapses.kernel_count];
                let within = Some((R::zero(), R::count(synapses.taps - 1)));
                let weights = layout.push(&name, "weight", &shape, Group::Weights, &[None]);
                layout.push(&name, "delay", &shape, Group::Delays, &[within]);
                let sigma = layout.push(&name, "sigma", &[1], Group::Sigma, &[None]);
                ranges.edges.push(EdgeRanges { synapses: weights, sigma });
            }
            if let Some(hidden) = network.hidden.get(l) {
                let count = hidden.neuron.param_count();
                let shape = [count, node.width];
                let shape = &shape[..if hidden.per_neuron { 2 } else { 1 }];
                let bounds: Vec<_> = (0..count).map(|p| hidden.neuron.param_bounds(p)).collect();
                ranges.neuron = layout.push(&name, "neuron", shape, Group::Neurons, &bounds);
                if hidden.norm.is_some() {
                    let width = [node.width];
                    let gamma = layout.push(&name, "gamma", &width, Group::Norms, &[None]);
                    let beta = layout.push(&name, "beta", &width, Group::Norms, &[None]);
                    layout.push(&name, "running_mean", &width, Group::Statistics, &[None]);
                    layout.push(&name, "running_var", &width, Group::Statistics, &[positive]);
                    ranges.norm = gamma.start..beta.end;
                }
            }
            layout.layers.push(ranges);
        }
        layout
    }

    /// Adds a tensor unless it has no values.
    fn push(
        &mut self,
        layer: &str,
        name: &str,
        shape: &[usize],
        group: Group,
        bounds: &[Option<(R, R)>],
    ) -> Range<usize> {
        let start = self.lens[group as usize];
        let range = start..start + shape.iter().product::<usize>();
        self.lens[group as usize] = range.end;
        if !range.is_empty() {
            let (name, shape, range) = (format!("{layer}.{name}"), shape.to_vec(), range.clone());
            let bounds = bounds.to_vec();
            self.specs.push(TensorSpec { name, shape, group, bounds, range });
        }
        range
    }

    /// The parts of the groups whose values have the same bounds, as long as possible.
    pub(super) fn parts(&self) -> Vec<Part<R>> {
        let mut parts: Vec<Part<R>> = Vec::new();
        for (group, _) in Group::LEARNED {
            for spec in self.specs.iter().filter(|spec| spec.group == group) {
                let len = spec.range.len() / spec.bounds.len();
                for (n, &bounds) in spec.bounds.iter().enumerate() {
                    let start = spec.range.start + n * len;
                    match parts.last_mut() {
                        Some((last, same, range)) if *last == group && *same == bounds => {
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
