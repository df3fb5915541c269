use super::error::NetworkError;
use super::graph::{Edge, Graph, Node};
use super::start::InitialState;
use crate::backend::{Backend, HasKernel, HasNeuron, HasSurrogate};
use crate::connectivity::Connectivity;
use crate::delay::{Place, Rounding};
use crate::loss::{Loss, Objective};
use crate::neuron::Li;
use crate::norm::BatchNorm;
use crate::shape::Synapses;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroUsize;

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The previous layer; for the first layer, the input of the network.
    #[default]
    Previous,
    /// The input of the network.
    Input,
    /// The hidden layer with this index.
    Layer(usize),
}

/// Synapses with delays from one source to a layer.
pub struct Connection<B: Backend> {
    /// The source.
    pub from: Source,
    /// The sizes of the synapses.
    pub synapses: Synapses,
    /// Which synapses exist and which share their weights; with `None`, every pair of an input and
    /// an output has a synapse of its own.
    pub connectivity: Option<Arc<Connectivity>>,
    /// Where the delays sit; synaptic unless said.
    pub place: Place,
    /// The delay kernel used in training.
    pub kernel: B::Kernel,
    /// Whether the delays are fixed whole steps: drawn and rounded to the nearest step, not
    /// trained, and one tap each in training too, without the kernel.
    pub fixed_delays: bool,
    /// What has a learned spread of its own; with `None`, all synapses have the sigma of the
    /// schedule. With a spread `p`, which starts at 0 and learns as delays do, the raw sigma is
    ///
    /// ```text
    /// sigma = 2 logistic(p) sigma_of_the_schedule
    /// ```
    /// Source: DelRec (arXiv 2509.24852), with the kernel [`Max`](crate::delay::Max) and one spread
    /// for each emitting neuron, which is [`Place::Axonal`].
    pub spread: Option<Place>,
}

impl<B: Backend> Connection<B> {
    /// A connection from the previous layer with a delay for each synapse.
    #[must_use]
    pub fn new<K>(synapses: Synapses, kernel: K) -> Self
    where
        B: HasKernel<K>,
    {
        let (from, place) = (Source::Previous, Place::Synaptic);
        let (kernel, fixed_delays) = (B::kernel(kernel), false);
        let (connectivity, spread) = (None, None);
        Self { from, synapses, connectivity, place, kernel, fixed_delays, spread }
    }

    /// The same connection from another source.
    #[must_use]
    pub fn from(self, from: Source) -> Self {
        Self { from, ..self }
    }

    /// The same connection with such synapses only.
    #[must_use]
    pub fn with_connectivity(self, connectivity: Connectivity) -> Self {
        Self { connectivity: Some(Arc::new(connectivity)), ..self }
    }

    /// The same connection with its delays at another place.
    #[must_use]
    pub fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }

    /// The same connection with fixed delays.
    #[must_use]
    pub fn with_fixed_delays(self) -> Self {
        Self { fixed_delays: true, ..self }
    }

    /// The same connection with learned spreads at a place.
    #[must_use]
    pub fn with_spread(self, place: Place) -> Self {
        Self { spread: Some(place), ..self }
    }
}

/// Synapses among the neurons of a layer. A spike arrives `1 + d` steps later, for a delay of `d`
/// steps.
///
/// ```text
/// I_i[t] = z_i[t] + m_i sum over j, k of kernel_k[i, j] s_j[t - 1 - k]
/// ```
///
/// with z the normalised sum of the connections, s the spikes before the dropout of the layer, and
/// m the dropout mask of the current. The weights start as an orthogonal matrix. Source: DelRec
/// (arXiv 2509.24852).
pub struct Recurrence<B: Backend> {
    /// The synapses, whose source is the layer itself and whose padding is not used.
    pub connection: Connection<B>,
    /// The probability that the current of a neuron is silenced for a whole sample.
    pub dropout: f64,
}

impl<B: Backend> Recurrence<B> {
    /// Synapses among `neurons` neurons, with delays of 1 to `taps` steps and without dropout.
    #[must_use]
    pub fn new<K>(neurons: usize, taps: usize, kernel: K) -> Self
    where
        B: HasKernel<K>,
    {
        let synapses = Synapses { padding: 0, ..Synapses::new(neurons, neurons, taps) };
        Self { connection: Connection::new(synapses, kernel), dropout: 0.0 }
    }

    /// The same synapses with their delays at another place.
    #[must_use]
    pub fn at(self, place: Place) -> Self {
        Self { connection: self.connection.at(place), ..self }
    }

    /// The same synapses with dropout.
    #[must_use]
    pub fn with_dropout(self, dropout: f64) -> Self {
        Self { dropout, ..self }
    }
}

/// A hidden layer: the sum of its connections, batch norm, neurons and dropout.
pub struct Layer<B: Backend> {
    /// The connections; one in a chain.
    pub inputs: Vec<Connection<B>>,
    /// The synapses among its neurons.
    pub recurrence: Option<Recurrence<B>>,
    /// The norm between synapses and neurons.
    pub norm: Option<BatchNorm<B::Real>>,
    /// Whether each neuron has a bias, which is added to the sum of its connections at every step;
    /// a norm has one of its own. Biases start as those of PyTorch's `Linear`, uniform in `+-1 /
    /// sqrt(n)` with the `n` weights of a neuron, without the recurrent ones. They learn as weights
    /// do, with the same rate and weight decay.
    pub bias: bool,
    /// The neuron model.
    pub neuron: B::Neuron,
    /// Whether each neuron has its own raw parameters.
    pub per_neuron: bool,
    /// The raw parameters before training, `[P]`, or `[P, out]` for each neuron its own. Without
    /// values, all start as those of `neuron`.
    pub initial: Vec<B::Real>,
    /// The states of the neurons before the first step; at rest unless said.
    pub initial_state: InitialState,
    /// The surrogate derivative.
    pub surrogate: B::Surrogate,
    /// The probability that a neuron is silenced for a whole sample.
    pub dropout: f64,
}

impl<B: Backend> Layer<B> {
    /// A layer behind the previous one, without norm and dropout.
    #[must_use]
    pub fn new<K, N, S>(synapses: Synapses, kernel: K, neuron: N, surrogate: S) -> Self
    where
        B: HasKernel<K> + HasNeuron<N> + HasSurrogate<S>,
    {
        Self {
            inputs: vec![Connection::new(synapses, kernel)],
            recurrence: None,
            norm: None,
            bias: false,
            neuron: B::neuron(neuron),
            per_neuron: false,
            initial: Vec::new(),
            initial_state: InitialState::Rest,
            surrogate: B::surrogate(surrogate),
            dropout: 0.0,
        }
    }

    /// The same layer with a norm.
    #[must_use]
    pub fn with_norm(self, norm: BatchNorm<B::Real>) -> Self {
        Self { norm: Some(norm), ..self }
    }

    /// The same layer with biases.
    #[must_use]
    pub fn with_bias(self) -> Self {
        Self { bias: true, ..self }
    }

    /// The same layer with dropout.
    #[must_use]
    pub fn with_dropout(self, dropout: f64) -> Self {
        Self { dropout, ..self }
    }

    /// The same layer with raw parameters for each neuron.
    #[must_use]
    pub fn with_parameters_per_neuron(self) -> Self {
        Self { per_neuron: true, ..self }
    }

    /// The same layer with synapses among its neurons.
    #[must_use]
    pub fn with_recurrence(self, recurrence: Recurrence<B>) -> Self {
        Self { recurrence: Some(recurrence), ..self }
    }

    /// The same layer with one more connection.
    #[must_use]
    pub fn with_input(mut self, input: Connection<B>) -> Self {
        self.inputs.push(input);
        self
    }
}

/// The last layer: the sum of its connections, and one leaky integrator per class.
pub struct Readout<B: Backend> {
    /// The connections; one in a chain.
    pub inputs: Vec<Connection<B>>,
    /// Whether each class has a bias, as [`Layer::bias`].
    pub bias: bool,
    /// The integrator.
    pub integrator: Li<B::Real>,
}

impl<B: Backend> Readout<B> {
    /// A readout of the last hidden layer.
    #[must_use]
    pub fn new<K>(synapses: Synapses, kernel: K, integrator: Li<B::Real>) -> Self
    where
        B: HasKernel<K>,
    {
        let inputs = vec![Connection::new(synapses, kernel)];
        Self { inputs, bias: false, integrator }
    }

    /// The same readout with biases.
    #[must_use]
    pub fn with_bias(self) -> Self {
        Self { bias: true, ..self }
    }
}

/// A network: layers whose connections come from the input or from earlier layers.
pub struct Network<B: Backend> {
    /// The hidden layers, from the input on.
    pub hidden: Vec<Layer<B>>,
    /// The readout.
    pub output: Readout<B>,
    /// How the membranes of the readout become scores.
    pub loss: Loss,
    /// The loss of the scores; `None` for the cross entropy.
    pub objective: Option<&'static dyn Objective<B::Real>>,
    /// How delays become whole steps.
    pub rounding: Rounding,
    /// The longest stretch of steps that is computed at once; with `None`, batches are not cut.
    ///
    /// Longer batches are cut into windows. The layers take the memory of one window, gradients do
    /// not pass its edges (truncated backpropagation through time), and the loss is that of the
    /// whole sequence, which takes a second forward pass. In training, norms have the statistics of
    /// the window: the running ones average over the windows, without the variance between them.
    /// The penalty for rates is that of every window, weighted by its valid steps.
    pub window: Option<NonZeroUsize>,
}

/// The largest number of weights, and of taps of the dense kernel, in a connection.
const LARGEST: usize = 1 << 30;

impl<B: Backend> Network<B> {
    /// The largest number of weights, and of taps of the dense kernel, in a connection.
    pub const LARGEST: usize = LARGEST;

    /// A chain of layers with the loss of the paper; rounds delays to the nearest step.
    #[must_use]
    pub fn chain(hidden: impl IntoIterator<Item = Layer<B>>, output: Readout<B>) -> Self {
        let hidden = hidden.into_iter().collect();
        let (loss, rounding) = (Loss::SoftmaxSum, Rounding::Nearest);
        Self { hidden, output, loss, objective: None, rounding, window: None }
    }

    /// The connections of every layer, the readout last.
    pub fn inputs(&self) -> impl Iterator<Item = &[Connection<B>]> {
        self.hidden.iter().map(|h| &h.inputs[..]).chain([&self.output.inputs[..]])
    }

    /// Who is connected to whom.
    ///
    /// # Errors
    /// [`NetworkError`] names the first layer that is invalid: a size is 0 or too large, sizes do
    /// not match, a source does not exist, a layer has a norm and biases, or dropout or a neuron
    /// parameter is out of range.
    pub fn graph(&self) -> Result<Graph, NetworkError> {
        let mut nodes: Vec<Node> = Vec::new();
        let mut channels = None;
        for (layer, inputs) in self.inputs().enumerate() {
            let first = inputs.first().ok_or(NetworkError::Empty { layer, field: "inputs" })?;
            let width = first.synapses.outputs;
            let mut edges = Vec::new();
            for connection in inputs {
                let synapses = connection.synapses;
                check_sizes(layer, &synapses)?;
                check_connectivity(layer, connection)?;
                let from = match connection.from {
                    Source::Previous => layer.checked_sub(1),
                    Source::Input => None,
                    Source::Layer(from) if from < layer => Some(from),
                    Source::Layer(from) => return Err(NetworkError::Order { layer, from }),
                };
                let expected = match from {
                    Some(from) => nodes[from].width,
                    None => *channels.get_or_insert(synapses.inputs),
                };
                let found = synapses.inputs;
                if found != expected {
                    return Err(NetworkError::Width { layer, expected, found });
                }
                if synapses.outputs != width {
                    let (expected, found) = (width, synapses.outputs);
                    return Err(NetworkError::Outputs { layer, expected, found });
                }
                edges.push(edge(connection, from, synapses));
            }
            let before = |edge: &Edge| edge.from.map_or(0, |from| nodes[from].padding);
            let ends = edges.iter().map(|e| before(e).saturating_add(e.synapses.padding));
            let padding = ends.max().unwrap_or(0);
            let starts: Vec<_> = edges.iter().map(before).collect();
            for (edge, start) in edges.iter_mut().zip(starts) {
                edge.synapses.padding = padding - start;
            }
            let recurrence = self.hidden.get(layer).and_then(|h| h.recurrence.as_ref());
            let recurrence = match recurrence {
                Some(Recurrence { connection, .. }) => {
                    let synapses = Synapses { padding: 0, ..connection.synapses };
                    check_sizes(layer, &synapses)?;
                    if connection.connectivity.is_some() {
                        return Err(NetworkError::RecurrentConnectivity { layer });
                    }
                    let Synapses { inputs, outputs, .. } = synapses;
                    if let Some(found) = [inputs, outputs].into_iter().find(|n| *n != width) {
                        return Err(NetworkError::Recurrence { layer, expected: width, found });
                    }
                    Some(edge(connection, Some(layer), synapses))
                }
                None => None,
            };
            nodes.push(Node { edges, recurrence, width, padding });
        }
        for layer in 0..self.hidden.len() {
            let mut later = nodes[layer + 1..].iter().flat_map(|node| &node.edges);
            if !later.any(|edge| edge.from == Some(layer)) {
                return Err(NetworkError::Unused { layer });
            }
        }
        for (layer, h) in self.hidden.iter().enumerate() {
            let recurrent = h.recurrence.as_ref().map(|recurrence| recurrence.dropout);
            for found in [Some(h.dropout), recurrent].into_iter().flatten() {
                if !(0.0..1.0).contains(&found) {
                    return Err(NetworkError::Dropout { layer, found });
                }
            }
            if h.bias && h.norm.is_some() {
                return Err(NetworkError::Bias { layer });
            }
            h.check_params(layer, nodes[layer].width)?;
        }
        Ok(Graph { nodes })
    }

    /// Checks the network as [`graph`](Self::graph) does.
    ///
    /// # Errors
    /// As [`graph`](Self::graph).
    pub fn check(&self) -> Result<(), NetworkError> {
        self.graph().map(|_| ())
    }
}

fn edge<B: Backend>(connection: &Connection<B>, from: Option<usize>, synapses: Synapses) -> Edge {
    let &Connection { ref connectivity, place, fixed_delays, spread, .. } = connection;
    Edge { from, synapses, connectivity: connectivity.clone(), place, fixed_delays, spread }
}

fn check_connectivity<B: Backend>(
    layer: usize,
    connection: &Connection<B>,
) -> Result<(), NetworkError> {
    let Some(units) = &connection.connectivity else { return Ok(()) };
    let Synapses { inputs, outputs, .. } = connection.synapses;
    let (expected, found) = ([inputs, outputs], [units.inputs(), units.outputs()]);
    if expected == found {
        Ok(())
    } else {
        Err(NetworkError::Connectivity { layer, expected, found })
    }
}

fn check_sizes(layer: usize, s: &Synapses) -> Result<(), NetworkError> {
    for (field, value) in [
        ("inputs", s.inputs),
        ("outputs", s.outputs),
        ("taps", s.taps),
        ("kernel_count", s.kernel_count),
    ] {
        if value == 0 {
            return Err(NetworkError::Empty { layer, field });
        }
    }
    let pairs = s.inputs.checked_mul(s.outputs);
    let fits = |per_pair| {
        let all = pairs.and_then(|pairs| pairs.checked_mul(per_pair));
        all.is_some_and(|all| all <= LARGEST)
    };
    if fits(s.kernel_count) && fits(s.taps) {
        Ok(())
    } else {
        Err(NetworkError::TooLarge { layer })
    }
}

macro_rules! plain {
    ($($name:ident { $($field:ident),+ })+) => {
        $(
            impl<B: Backend> Clone for $name<B> {
                fn clone(&self) -> Self {
                    Self { $($field: self.$field.clone()),+ }
                }
            }

            impl<B: Backend> fmt::Debug for $name<B> {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    let mut text = f.debug_struct(stringify!($name));
                    $(text.field(stringify!($field), &self.$field);)+
                    text.finish()
                }
            }
        )+
    };
}

// Derived implementations would require them of the backend.
plain! {
    Connection { from, synapses, connectivity, place, kernel, fixed_delays, spread }
    Recurrence { connection, dropout }
    Layer {
        inputs, recurrence, norm, bias, neuron, per_neuron, initial, initial_state, surrogate,
        dropout
    }
    Readout { inputs, bias, integrator }
    Network { hidden, output, loss, objective, rounding, window }
}
