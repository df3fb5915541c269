use super::graph::{Edge, Graph, Node};
use super::layout::{Blocks, Layout};
use super::network::Network;
use super::spread::full_sigmas;
use super::tensor::Group;
use crate::backend::{
    Activation, Backend, Firing, NeuronStage, RecurrentStage, SynapseParams, View,
};
use crate::delay::{Place, Rounding};
use crate::norm::ValidSteps;
use crate::shape::Synapses;
use alloc::vec::Vec;

/// The layers of a network with their parameters on a backend.
pub(super) struct Layers<B: Backend> {
    pub(super) network: Network<B>,
    pub(super) graph: Graph,
    pub(super) layout: Layout<B::Real>,
    pub(super) values: Blocks<B::Buffer>,
    /// The delays of all synapses `[out, in, count]` of each connection of each layer whose delays
    /// are not synaptic.
    pub(super) expanded: Vec<Vec<Option<B::Buffer>>>,
    /// The sigmas of all synapses of each connection of each layer that has spreads.
    pub(super) sigmas: Vec<Vec<Option<B::Buffer>>>,
}

/// A block `[out, in, count]` for each connection of a layer whose delays are not synaptic.
pub(super) fn full_delays<B: Backend>(
    backend: &B,
    node: &Node,
) -> Result<Vec<Option<B::Buffer>>, B::Error> {
    let block = |edge: &Edge| {
        let wanted = edge.place != Place::Synaptic;
        wanted.then(|| backend.buffer(edge.synapses.weights())).transpose()
    };
    node.connections().map(block).collect()
}

impl<B: Backend> Layers<B> {
    /// Layers whose [`expand`](Self::expand) has not been called.
    pub(super) fn new(
        backend: &B,
        network: Network<B>,
        graph: Graph,
        layout: Layout<B::Real>,
        values: Blocks<B::Buffer>,
    ) -> Result<Self, B::Error> {
        let nodes = || graph.nodes.iter();
        let expanded = nodes().map(|node| full_delays(backend, node)).collect::<Result<_, _>>()?;
        let sigmas = nodes().map(|node| full_sigmas(backend, node)).collect::<Result<_, _>>()?;
        Ok(Self { network, graph, layout, values, expanded, sigmas })
    }

    /// Renews the delays and sigmas of all synapses, after those of their connections have changed.
    pub(super) fn expand(&mut self, backend: &B) -> Result<(), B::Error> {
        let (n, Layout { layers, lens, .. }) = (Group::Delays as usize, &self.layout);
        let nodes = self.graph.nodes.iter().zip(layers).zip(&mut self.expanded);
        for ((node, ranges), expanded) in nodes {
            for ((edge, ranges), full) in node.connections().zip(&ranges.edges).zip(expanded) {
                let Some(full) = full else { continue };
                let packed = View::new(&self.values.0[n], ranges.delays.clone());
                backend.expand(&edge.synapses, edge.place, packed, lens[n], full)?;
            }
        }
        self.expand_sigmas(backend)
    }

    /// The valid steps of the output of a layer.
    pub(super) fn valid<'a>(&self, l: usize, lengths: Option<&'a [usize]>) -> ValidSteps<'a> {
        ValidSteps { lengths, padding: self.graph.nodes[l].padding }
    }

    /// Computes connection `c` of layer `l`.
    pub(super) fn project(
        &self,
        backend: &B,
        l: usize,
        c: usize,
        rounding: Option<Rounding>,
        x: &B::Sequence,
        y: &mut B::Sequence,
    ) -> Result<(), B::Error> {
        let (synapses, kernel, params) = self.connection(l, c, rounding);
        backend.project(synapses, kernel, params, x, y)
    }

    /// Adds the biases of a layer to the sum of its connections.
    pub(super) fn add_bias(
        &self,
        backend: &B,
        l: usize,
        y: &mut B::Sequence,
    ) -> Result<(), B::Error> {
        let (n, range) = (Group::Weights as usize, &self.layout.layers[l].bias);
        if range.is_empty() {
            return Ok(());
        }
        let bias = View::new(&self.values.0[n], range.clone());
        backend.add_bias(bias, self.layout.lens[n], y)
    }

    /// The recurrent synapses of a layer; `None` if it has none.
    pub(super) fn recurrence<'a>(
        &'a self,
        l: usize,
        rounding: Option<Rounding>,
        mask: Option<&'a B::Buffer>,
        before: Option<&'a B::Sequence>,
    ) -> Option<RecurrentStage<'a, B>> {
        let Node { edges, recurrence, .. } = &self.graph.nodes[l];
        let Edge { place, spread, .. } = *recurrence.as_ref()?;
        let (synapses, kernel, params) = self.connection(l, edges.len(), rounding);
        Some(RecurrentStage { synapses, place, kernel, params, spread, mask, before })
    }

    /// The arguments of connection `c` of layer `l`, the recurrent one last.
    pub(super) fn connection(
        &self,
        l: usize,
        c: usize,
        rounding: Option<Rounding>,
    ) -> (&Synapses, &B::Kernel, SynapseParams<'_, B::Buffer>) {
        let hidden = self.network.hidden.get(l);
        let recurrence = hidden.and_then(|hidden| hidden.recurrence.as_ref());
        let inputs = hidden.map_or(&self.network.output.inputs, |hidden| &hidden.inputs);
        let (node, recurrence) = (&self.graph.nodes[l], recurrence.map(|r| &r.connection));
        let connection = inputs.get(c).or(recurrence).unwrap_or(&inputs[0]);
        let edge = node.edges.get(c).or(node.recurrence.as_ref()).unwrap_or(&node.edges[0]);
        let [weights, delays, sigma, ..] = &self.values.0;
        let ranges = &self.layout.layers[l].edges[c];
        let params = SynapseParams {
            weights: View::new(weights, ranges.weights.clone()),
            delays: match &self.expanded[l][c] {
                Some(full) => View::new(full, 0..ranges.weights.len()),
                None => View::new(delays, ranges.delays.clone()),
            },
            sigma: match &self.sigmas[l][c] {
                Some(full) => View::new(full, 0..ranges.weights.len()),
                None => View::new(sigma, ranges.sigma.clone()),
            },
            rounding: if edge.fixed_delays { Some(Rounding::Nearest) } else { rounding },
        };
        (&edge.synapses, &connection.kernel, params)
    }

    /// The norm and the neurons of a layer; `None` for the readout.
    pub(super) fn activation<'a>(
        &'a self,
        l: usize,
        mask: Option<&'a B::Buffer>,
        valid: ValidSteps<'a>,
        start: Option<&'a B::Buffer>,
    ) -> Option<Activation<'a, B>> {
        let hidden = self.network.hidden.get(l)?;
        let [_, _, _, norms, neurons] = &self.values.0;
        let ranges = &self.layout.layers[l];
        Some(Activation {
            norm: hidden.norm.as_ref().map(|n| (n, View::new(norms, ranges.norm.clone()))),
            neurons: NeuronStage {
                neuron: &hidden.neuron,
                params: View::new(neurons, ranges.neuron.clone()),
                surrogate: &hidden.surrogate,
                firing: Firing::Step,
                mask,
                valid,
                start,
            },
        })
    }
}
