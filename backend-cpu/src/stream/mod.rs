//! Inference of one sample, step by step.

mod events;
mod neurons;
mod projection;
mod readout;

use crate::backend::{Cpu, Error};
use crate::lanes::{Lanes, whole_vectors};
use crate::models::CpuNeuron;
use crate::vectors::Width;
use core::any::Any;
pub(crate) use neurons::{Affine, StreamNeurons, stream_neurons};
use polychron_core::backend::{Backend, HasNeuron};
use polychron_core::shape::{ShapeError, expect};
use polychron_core::train::{Model, Tensor};
pub(crate) use projection::StreamSums;
use projection::{Projection, VECTORS};
use readout::Readout;

/// Neurons that are computed together.
const LANES: usize = 16;

/// Runs a trained network on one sample, block by block, on the calling thread.
///
/// A stream holds the network with rounded delays and running statistics, folded into a scale and a
/// shift, and the state of the current utterance. A block has any number of steps. A spike passes
/// through all layers in its own step.
///
/// After [`finish`](Self::finish) the scores equal, up to rounding, those of [`Model::evaluate`]
/// with [`Delays::Rounded`](polychron_core::train::Delays::Rounded) for a batch of this sample
/// alone. They depend on the division into blocks by rounding only.
///
/// Cost: a layer processes a block either spike by spike, with one addition per tap of a spike,
/// or in vectors of 4, 8 or 16 steps, with one multiply-add per tap and vector, whichever is
/// cheaper. It processes a block of at most one vector spike by spike. A step allocates no memory.
///
/// Memory: 16 bytes per tap in single precision; a delay has two taps with
/// [`Rounding::Split`](polychron_core::delay::Rounding::Split), else one. For every neuron, two
/// rows of the longest delay plus 112 steps (224 with AVX-512).
///
/// ```
/// use polychron_core::init::DelayInit;
/// use polychron_core::loss::decide;
/// use polychron_core::train::Model;
/// use polychron_cpu::{Cpu, Stream};
/// # use polychron_core::delay::Gauss;
/// # use polychron_core::neuron::{Li, Lif};
/// # use polychron_core::shape::Synapses;
/// # use polychron_core::surrogate::Atan;
/// # use polychron_core::train::{Layer, Network, Readout};
/// # let surrogate = Atan { alpha: 5.0f32 };
/// # let hidden = Layer::new(Synapses::new(4, 8, 5), Gauss, Lif::new(1.5), surrogate);
/// # let output = Readout::new(Synapses::new(8, 3, 5), Gauss, Li::new(2.0));
/// # let network = Network::chain([hidden.with_norm(Default::default())], output);
/// let model = Model::new(Cpu::new(1)?, network, DelayInit::Uniform, 0)?;
/// let mut stream = Stream::new(&model)?;
/// stream.step(&[(0, 1.0), (3, 2.0)])?;
/// stream.step(&[])?;
/// println!("class {} so far", decide(stream.scores()));
/// stream.feed(&[0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])?;
/// println!("class {}", decide(stream.finish()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Stream<R> {
    width: Width,
    hidden: Vec<HiddenLayer<R>>,
    output: Projection<R>,
    readout: Readout<R>,
    /// The longest block in steps.
    block: usize,
    /// The spike count of every hidden layer in this utterance.
    spikes: Vec<u64>,
    steps: usize,
    finished: bool,
}

#[derive(Debug)]
struct HiddenLayer<R> {
    projection: Projection<R>,
    neurons: Box<dyn StreamNeurons<R>>,
    /// Steps by which this layer and those before it extend the utterance.
    padding: usize,
}

impl<R: Lanes> Stream<R> {
    /// A stream of the network of a model, before its first step.
    ///
    /// Its vector instructions are those of the model's [`Cpu`]. For a model of another backend
    /// they are those that [`Vectors::VARIABLE`](crate::Vectors::VARIABLE) names, by default the
    /// widest of the machine.
    ///
    /// # Errors
    /// [`Error::NotAChain`] if a layer does not read the previous one alone;
    /// [`Error::UnknownVectors`] or [`Error::MissingVectors`] if the machine does not have what the
    /// variable names; [`Error::Backend`] if another backend fails to return the parameters.
    pub fn new<B>(model: &Model<B>) -> Result<Self, Error>
    where
        B: Backend<Real = R> + Any,
        Cpu<R>: HasNeuron<B::Neuron, Neuron = CpuNeuron<R>>,
    {
        let width = match (model.backend() as &dyn Any).downcast_ref::<Cpu<R>>() {
            Some(cpu) => cpu.width(),
            None => Width::from_env()?,
        };
        let block = width.scope(|| whole_vectors::<R>(1)) * VECTORS;
        let (network, graph) = (model.network(), model.graph());
        let synapses = graph.chain().ok_or(Error::NotAChain)?;
        let tensors = model.tensors().map_err(Error::of_backend)?;
        let of = |l| Parameters { tensors: &tensors, prefix: format!("{}.", graph.name(l)) };
        let projection = |l: usize| -> Result<_, Error> {
            let weights = model.weights(l, 0).map_err(Error::of_backend)?;
            let delays = model.delays(l, 0).map_err(Error::of_backend)?;
            let rounding = graph.nodes[l].edges[0].rounding(network.rounding);
            Ok(Projection::new(&synapses[l], rounding, (&weights, &delays), block))
        };
        let mut hidden = Vec::new();
        for (l, from) in network.hidden.iter().enumerate() {
            let (parameters, node) = (of(l), &graph.nodes[l]);
            let CpuNeuron(neuron) = Cpu::neuron(from.neuron.clone());
            let sets = if from.per_neuron { node.width } else { 1 };
            let raw = parameters.get("neuron", neuron.param_count() * sets)?;
            let norm = from.norm.as_ref();
            let affine = neurons::affine(norm, from.bias, node.width, &parameters)?;
            let start = model.initial_states(l).map_err(Error::of_backend)?.unwrap_or_default();
            hidden.push(HiddenLayer {
                projection: projection(l)?,
                neurons: neuron.stream(raw, sets, affine, start),
                padding: node.padding,
            });
        }
        let last = hidden.len();
        let li = network.output.integrator;
        let padding = graph.nodes[last].padding;
        let classes = if network.output.bias { graph.classes() } else { 0 };
        let bias = of(last).get("bias", classes)?.to_vec();
        let readout = Readout::new(li, network.loss, graph.classes(), block, padding);
        Ok(Self {
            width,
            spikes: vec![0; last],
            hidden,
            output: projection(last)?,
            readout: readout.with_bias(bias),
            block,
            steps: 0,
            finished: false,
        })
    }

    /// Processes one step. `inputs` are pairs of channel and value; other channels are 0, and
    /// values of the same channel add up. After [`finish`](Self::finish), begins a new utterance.
    ///
    /// # Errors
    /// [`ShapeError`] if the network does not have a channel. The stream has not changed then.
    pub fn step(&mut self, inputs: &[(usize, R)]) -> Result<(), ShapeError> {
        let channels = self.input().inputs();
        if let Some(&(found, _)) = inputs.iter().find(|(i, _)| *i >= channels) {
            return Err(ShapeError { what: "stream's channel", expected: channels, found });
        }
        self.begin();
        for &(i, x) in inputs {
            self.input().window(i)[0] += x;
        }
        self.steps += 1;
        self.advance(1, None);
        Ok(())
    }

    /// Processes a time-major block `[steps, channels]` of any number of steps. After
    /// [`finish`](Self::finish), begins a new utterance.
    ///
    /// # Errors
    /// [`ShapeError`] if the length is not a multiple of the channels. The stream has not changed
    /// then.
    pub fn feed(&mut self, x: &[R]) -> Result<(), ShapeError> {
        let channels = self.input().inputs();
        expect("stream's input", x.len().next_multiple_of(channels), x.len())?;
        self.begin();
        for block in x.chunks(self.block * channels) {
            let n = block.len() / channels;
            for i in 0..channels {
                let column = block[i..].iter().step_by(channels);
                self.input().window(i).iter_mut().zip(column).for_each(|(to, &x)| *to = x);
            }
            self.steps += n;
            self.advance(n, None);
        }
        Ok(())
    }

    /// The scores of the steps so far, one per class, as the [`Loss`](polychron_core::loss::Loss)
    /// of the network defines them.
    #[must_use]
    pub fn scores(&self) -> &[R] {
        self.readout.scores()
    }

    /// Ends the utterance and returns its scores. Runs the steps that the padding of the layers
    /// adds.
    pub fn finish(&mut self) -> &[R] {
        if !self.finished {
            let padding = self.readout.padding();
            for past in (0..padding).step_by(self.block) {
                self.advance(self.block.min(padding - past), Some(past));
            }
            self.finished = true;
        }
        self.scores()
    }

    /// Begins a new utterance.
    pub fn reset(&mut self) {
        for hidden in &mut self.hidden {
            hidden.projection.reset();
            hidden.neurons.reset();
        }
        self.output.reset();
        self.readout.reset();
        self.spikes.fill(0);
        self.steps = 0;
        self.finished = false;
    }

    /// The number of steps of the utterance so far, without padding.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The spike count of every hidden layer in the utterance so far.
    #[must_use]
    pub fn spikes(&self) -> &[u64] {
        &self.spikes
    }

    fn begin(&mut self) {
        if self.finished {
            self.reset();
        }
    }

    fn input(&mut self) -> &mut Projection<R> {
        self.hidden.first_mut().map_or(&mut self.output, |hidden| &mut hidden.projection)
    }

    fn advance(&mut self, n: usize, past: Option<usize>) {
        self.width.scope(|| self.advance_here(n, past));
    }

    /// Passes a block of `n` steps through all layers. After the end of the input, `past` is the
    /// number of padding steps before the block.
    fn advance_here(&mut self, n: usize, past: Option<usize>) {
        let live = |padding: usize| past.map_or(n, |past| padding.saturating_sub(past).min(n));
        for l in 0..self.hidden.len() {
            let (below, above) = self.hidden.split_at_mut(l + 1);
            let HiddenLayer { projection, neurons, padding } = &mut below[l];
            let next = above.first_mut().map_or(&mut self.output, |hidden| &mut hidden.projection);
            let spikes = &mut self.spikes[l];
            projection.project(live(*padding), |first, rows| {
                neurons.advance(first, rows);
                *spikes += next.write(first, rows);
            });
            projection.shift(n);
        }
        let live = live(self.readout.padding());
        let readout = &mut self.readout;
        self.output.project(live, |first, rows| readout.write(first, rows));
        self.output.shift(n);
        self.readout.integrate(live);
    }
}

/// The tensors of a layer.
struct Parameters<'a, R> {
    tensors: &'a [Tensor<R>],
    prefix: String,
}

impl<'a, R> Parameters<'a, R> {
    /// The `len` values of a tensor. An empty tensor may be missing.
    ///
    /// # Errors
    /// [`ShapeError`] with the name of the tensor if it is missing or has another length.
    fn get(&self, name: &'static str, len: usize) -> Result<&'a [R], ShapeError> {
        let named = |t: &&Tensor<R>| t.name.strip_prefix(&self.prefix) == Some(name);
        let values = self.tensors.iter().find(named).map_or(&[][..], |t| &t.values);
        expect(name, len, values.len())?;
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_uses_the_vectors_of_its_backend() {
        use crate::Vectors;
        use polychron_core::{delay, init, neuron, shape, train};
        let synapses = shape::Synapses::new(2, 2, 3);
        let output = train::Readout::new(synapses, delay::Gauss, neuron::Li::new(2.0f32));
        let network = train::Network::chain([], output);
        let cpu = Cpu::new(1).unwrap().with_vectors(Vectors::Portable).unwrap();
        let model = Model::new(cpu, network, init::DelayInit::Uniform, 0).unwrap();
        assert!(matches!(Stream::new(&model).unwrap().width.arch, pulp::Arch::Scalar));
    }

    #[test]
    fn missing_tensor_is_named() {
        let tensors =
            [Tensor { name: "hidden.0.gamma".into(), shape: vec![3], values: vec![1.0f32; 3] }];
        let parameters = Parameters { tensors: &tensors, prefix: "hidden.0.".into() };
        assert_eq!(parameters.get("gamma", 3), Ok(&[1.0; 3][..]));
        assert_eq!(parameters.get("neuron", 0), Ok(&[][..]));
        let error = parameters.get("running_var", 3).unwrap_err();
        assert_eq!(error.to_string(), "running_var: expected 3, found 0");
    }
}
