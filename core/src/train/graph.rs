use crate::connectivity::{Connectivity, Sharing};
use crate::delay::{Place, Rounding};
use crate::shape::{Shape, Synapses};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

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
    /// The synapses among its neurons.
    pub recurrence: Option<Edge>,
    /// The number of neurons.
    pub width: usize,
    /// Steps by which the output is longer than the input of the network.
    pub padding: usize,
}

/// A connection of a [`Graph`].
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// The hidden layer that it comes from; `None` for the input of the network.
    pub from: Option<usize>,
    /// The sizes. The padding is that between the lengths of source and layer: all connections of a
    /// layer end with the longest.
    pub synapses: Synapses,
    /// Which synapses exist and which share their weights; all are different with `None`.
    pub connectivity: Option<Arc<Connectivity>>,
    /// Where the delays sit.
    pub place: Place,
    /// Whether the delays are whole steps that do not learn.
    pub fixed_delays: bool,
    /// Where learned spreads sit, if there are any.
    pub spread: Option<Place>,
}

impl Edge {
    /// The number of weights.
    #[must_use]
    pub fn weights(&self) -> usize {
        self.packed().len(&self.synapses)
    }

    /// Which packed value every synapse has, of the weights and of synaptic delays.
    pub(super) fn packed(&self) -> Sharing<'_> {
        self.at(Place::Synaptic)
    }

    /// Which packed value every synapse has, of values at a place.
    pub(super) fn at(&self, place: Place) -> Sharing<'_> {
        match &self.connectivity {
            Some(units) if place == Place::Synaptic => Sharing::Units(units),
            _ => Sharing::Place(place),
        }
    }

    /// Which packed values every synapse has of weights, delays and spreads; `None` where they are
    /// not packed.
    pub(super) fn shared(&self) -> [Option<Sharing<'_>>; 3] {
        let dense = Sharing::Place(Place::Synaptic);
        let packed = [self.packed(), self.at(self.place)].map(|s| (s != dense).then_some(s));
        [packed[0], packed[1], self.spread.map(|place| self.at(place))]
    }

    /// How delays become whole steps in a network with this rounding: those that are fixed have one
    /// tap.
    #[must_use]
    pub fn rounding(&self, of_network: Rounding) -> Rounding {
        if self.fixed_delays { Rounding::Nearest } else { of_network }
    }
}

impl Node {
    /// The connections, then the recurrent one.
    pub fn connections(&self) -> impl Iterator<Item = &Edge> {
        self.edges.iter().chain(&self.recurrence)
    }
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

    /// The connections of all layers, without the recurrent ones.
    pub fn edges(&self) -> impl Iterator<Item = &Edge> {
        self.nodes.iter().flat_map(|node| &node.edges)
    }

    /// The connections of all layers, the recurrent one of each last.
    pub fn connections(&self) -> impl Iterator<Item = &Edge> {
        self.nodes.iter().flat_map(Node::connections)
    }

    /// The hidden layers.
    #[must_use]
    pub fn hidden(&self) -> &[Node] {
        &self.nodes[..self.nodes.len().saturating_sub(1)]
    }

    /// The synapses of a chain, the readout last; `None` if a layer has several connections, is
    /// recurrent or does not follow the previous one.
    #[must_use]
    pub fn chain(&self) -> Option<Vec<Synapses>> {
        let follows = |(l, node): (usize, &Node)| match &node.edges[..] {
            [edge] if edge.from == l.checked_sub(1) && node.recurrence.is_none() => {
                Some(edge.synapses)
            }
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
    /// `hidden.0.inputs.1` and so on, and `hidden.0.recurrent` for the one after the last.
    #[must_use]
    pub fn connection_name(&self, layer: usize, connection: usize) -> String {
        let name = self.name(layer);
        match connection {
            0 => name,
            c if c == self.nodes[layer].edges.len() => format!("{name}.recurrent"),
            c => format!("{name}.inputs.{c}"),
        }
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
