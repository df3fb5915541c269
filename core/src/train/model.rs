use super::error::TrainError;
use super::network::{Network, ParameterLayout};
use super::state::{State, StateError, Tensor, TensorReader};
use crate::backend::{
    Backend, Firing, Layer, LayerOps, NeuronStage, NormMode, SynapseParams, View,
};
use crate::delay::{DelayKernel, Rounding};
use crate::init::{self, DelayInit};
use crate::neuron::NeuronModel;
use crate::norm::ValidSteps;
use crate::num::Real;
use crate::rng::Rng;
use crate::shape::{Shape, ShapeError, expect};
use crate::surrogate::Surrogate;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

const WEIGHTS: u64 = 1;
const DELAYS: u64 = 2;

/// A batch of samples to train on or to evaluate.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, R> {
    /// The shape of `x`.
    pub shape: Shape,
    /// The input `[T, B, N]`, time-major.
    pub x: &'a [R],
    /// The target distributions `[B, classes]`.
    pub targets: &'a [R],
    /// The number of valid steps of every sample. With `None` all steps, including padding, count
    /// in the norms and the loss.
    pub lengths: Option<&'a [usize]>,
}

/// One flat block per parameter group, with one layer after the other.
#[derive(Clone, Debug)]
pub(super) struct ParameterBlocks<B> {
    /// Weights `[out, in, count]`.
    pub weights: B,
    /// Delays in steps, in the layout of the weights.
    pub delays: B,
    /// One raw sigma per layer.
    pub sigma: B,
    /// `[gamma | beta]` of the hidden layers with a norm.
    pub norms: B,
    /// Raw neuron parameters of the hidden layers.
    pub neurons: B,
}

/// How delays are applied in an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delays {
    /// Spread by the kernel of the layer, with its present sigma.
    Spread,
    /// Rounded to whole steps, as [`Network::rounding`] says.
    Rounded,
}

/// The output of one layer: spikes `[T, B, N]`, or the projection of the readout.
#[derive(Clone, Debug)]
pub struct Spikes<R> {
    /// The shape of `values`.
    pub shape: Shape,
    /// The values, time-major.
    pub values: Vec<R>,
}

/// The result of one pass over a batch.
#[derive(Clone, Debug)]
pub struct Trace<R> {
    /// Scores `[B, classes]`.
    pub scores: Vec<R>,
    /// The output of every layer, the projection of the readout last.
    pub layers: Vec<Spikes<R>>,
}

/// A network with its parameters on a backend.
pub struct Model<R: Real, B: Backend<R>, K, N, S> {
    pub(super) backend: B,
    pub(super) network: Network<R, K, N, S>,
    pub(super) layout: ParameterLayout,
    pub(super) values: ParameterBlocks<B::Buffer>,
    pub(super) running: B::Buffer,
}

impl<R, B, K, N, S> Model<R, B, K, N, S>
where
    R: Real,
    B: LayerOps<R, K, N, S>,
    K: DelayKernel<R>,
    N: NeuronModel<R>,
    S: Surrogate<R>,
{
    /// Creates a model with random initial parameters, which depend on the seed and the layer only.
    ///
    /// # Errors
    /// [`TrainError::Network`] if the network is invalid; [`TrainError::Backend`] if the backend
    /// fails.
    pub fn new(
        backend: B,
        network: Network<R, K, N, S>,
        delays: DelayInit,
        seed: u64,
    ) -> Result<Self, TrainError<B::Error>> {
        network.check().map_err(TrainError::Network)?;
        let layout = network.layout();
        let mut host = host_blocks(&layout);
        let mut running = vec![R::zero(); layout.total.norm.len()];
        for (l, (synapses, ranges)) in network.synapses().zip(&layout.layers).enumerate() {
            let rng = |stream| Rng::new(seed, stream).fork(l as u64);
            init::weights(synapses, rng(WEIGHTS), &mut host.weights[ranges.synapses.clone()]);
            let block = &mut host.delays[ranges.synapses.clone()];
            init::delays(synapses, delays, rng(DELAYS), block);
            let half = ranges.norm.len() / 2;
            host.norms[ranges.norm.clone()][..half].fill(R::one());
            running[ranges.norm.clone()][half..].fill(R::one());
            if let Some(hidden) = network.hidden.get(l) {
                hidden.neuron.write_params(&mut host.neurons[ranges.neuron.clone()]);
            }
        }
        let values = upload(&backend, &host)?;
        let mut device = backend.buffer(running.len())?;
        backend.upload(&running, &mut device)?;
        Ok(Self { backend, network, layout, values, running: device })
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Network<R, K, N, S> {
        &self.network
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// The scores `[B, classes]` and the mean loss of a batch, with running statistics and without
    /// dropout.
    ///
    /// # Errors
    /// The error of the backend, which includes a [`ShapeError`] if the batch does not fit the
    /// network.
    pub fn evaluate(&self, batch: &Batch<'_, R>, delays: Delays) -> Result<(Vec<R>, R), B::Error> {
        self.forward(batch, delays, |_, _| Ok(()))
    }

    /// The output of every layer for a batch, the projection of the readout last; otherwise as
    /// [`evaluate`](Self::evaluate).
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn spikes(&self, batch: &Batch<'_, R>, delays: Delays) -> Result<Vec<Spikes<R>>, B::Error> {
        Ok(self.trace(batch, delays)?.layers)
    }

    /// The scores of [`Model::evaluate`] and the layers of [`Model::spikes`] from one pass.
    ///
    /// # Errors
    /// As [`Model::evaluate`].
    pub fn trace(&self, batch: &Batch<'_, R>, delays: Delays) -> Result<Trace<R>, B::Error> {
        let mut layers = Vec::new();
        let (scores, _) = self.forward(batch, delays, |backend, sequence| {
            let shape = backend.shape(sequence);
            let mut values = vec![R::zero(); shape.len()];
            backend.download_sequence(sequence, &mut values)?;
            layers.push(Spikes { shape, values });
            Ok(())
        })?;
        Ok(Trace { scores, layers })
    }

    fn forward(
        &self,
        batch: &Batch<'_, R>,
        delays: Delays,
        mut look: impl FnMut(&B, &B::Sequence) -> Result<(), B::Error>,
    ) -> Result<(Vec<R>, R), B::Error> {
        self.check(batch)?;
        let Self { backend, network, layout, values, .. } = self;
        let rounding = (delays == Delays::Rounded).then_some(network.rounding);
        let mut x = backend.sequence(batch.shape)?;
        backend.upload_sequence(batch.x, &mut x)?;
        let mut valid = ValidSteps { lengths: batch.lengths, padding: 0 };
        for (l, hidden) in network.hidden.iter().enumerate() {
            valid = valid.extended(hidden.synapses.padding);
            let shape = hidden.synapses.output(backend.shape(&x));
            let mut tape = backend.tape(shape)?;
            let mut spikes = backend.sequence(shape)?;
            let mode = NormMode::Running(View::new(&self.running, layout.layers[l].norm.clone()));
            let layer = layer(network, layout, values, l, rounding, None, valid);
            backend.layer_forward(&layer, mode, &x, &mut tape, &mut spikes)?;
            look(backend, &spikes)?;
            x = spikes;
        }
        let output = &network.output;
        valid = valid.extended(output.synapses.padding);
        let mut y = backend.sequence(output.synapses.output(backend.shape(&x)))?;
        let params = synapse_params(values, layout, network.hidden.len(), rounding);
        backend.project(&output.synapses, &output.kernel, params, &x, &mut y)?;
        look(backend, &y)?;
        let mut targets = backend.buffer(batch.targets.len())?;
        backend.upload(batch.targets, &mut targets)?;
        let mut scores = backend.buffer(batch.targets.len())?;
        let (li, loss) = (&output.readout, network.loss);
        let loss = backend.readout(li, loss, valid, &y, Some(&targets), &mut scores, None)?;
        let mut host = vec![R::zero(); batch.targets.len()];
        backend.download(&scores, &mut host)?;
        Ok((host, loss))
    }

    pub(super) fn check(&self, batch: &Batch<'_, R>) -> Result<(), ShapeError> {
        let shape = batch.shape;
        let first = self.network.synapses().next().map_or(0, |s| s.inputs);
        expect("channels of the batch", first, shape.width)?;
        expect("input of the batch", shape.len(), batch.x.len())?;
        let classes = self.network.output.synapses.outputs;
        expect("targets of the batch", shape.batch * classes, batch.targets.len())?;
        match batch.lengths {
            Some(lengths) => expect("lengths of the batch", shape.batch, lengths.len()),
            None => Ok(()),
        }
    }

    /// The parameters and running statistics by name: `hidden.0.weight` `[out, in, count]`,
    /// `.delay`, `.sigma`, `.neuron`, `.gamma`, `.beta`, `.running_mean`, `.running_var`;
    /// `output.weight`, `.delay`, `.sigma`. Tensors without values are left out.
    ///
    /// # Errors
    /// The error of the backend.
    pub fn tensors(&self) -> Result<Vec<Tensor<R>>, B::Error> {
        let mut tensors = self.block_tensors(&self.values)?;
        let mut running = vec![R::zero(); self.layout.total.norm.len()];
        self.backend.download(&self.running, &mut running)?;
        for (l, ranges) in self.layout.layers.iter().enumerate() {
            push_halves(
                &mut tensors,
                l,
                ["running_mean", "running_var"],
                &running[ranges.norm.clone()],
            );
        }
        Ok(tensors)
    }

    /// The tensors of buffers in the layout of the parameters, such as gradients.
    pub(super) fn block_tensors(
        &self,
        groups: &ParameterBlocks<B::Buffer>,
    ) -> Result<Vec<Tensor<R>>, B::Error> {
        let mut host = host_blocks::<R>(&self.layout);
        for (from, to) in groups.list().into_iter().zip(host.list_mut()) {
            self.backend.download(from, to)?;
        }
        let mut tensors = Vec::new();
        for (l, (synapses, ranges)) in self.network.synapses().zip(&self.layout.layers).enumerate()
        {
            let layer = layer_name(l, self.network.hidden.len());
            let shape = [synapses.outputs, synapses.inputs, synapses.kernel_count];
            let mut push = |name: &str, shape: &[usize], block: &[R]| {
                if !block.is_empty() {
                    tensors.push(Tensor {
                        name: format!("{layer}.{name}"),
                        shape: shape.to_vec(),
                        values: block.to_vec(),
                    });
                }
            };
            push("weight", &shape, &host.weights[ranges.synapses.clone()]);
            push("delay", &shape, &host.delays[ranges.synapses.clone()]);
            push("sigma", &[1], &host.sigma[ranges.sigma.clone()]);
            push("neuron", &[ranges.neuron.len()], &host.neurons[ranges.neuron.clone()]);
            push_halves(&mut tensors, l, ["gamma", "beta"], &host.norms[ranges.norm.clone()]);
        }
        Ok(tensors)
    }

    /// Copies the parameters and running statistics of a state.
    ///
    /// # Errors
    /// [`TrainError::State`] names a tensor that is missing, has another shape, or holds a value
    /// that is not finite, a delay beyond the kernel, or a negative variance. The model has not
    /// changed then.
    pub fn restore(&mut self, state: &State<R>) -> Result<(), TrainError<B::Error>> {
        let (host, running) = self.read(state).map_err(TrainError::State)?;
        self.values = upload(&self.backend, &host)?;
        self.backend.upload(&running, &mut self.running)?;
        Ok(())
    }

    fn read(&self, state: &State<R>) -> Result<(ParameterBlocks<Vec<R>>, Vec<R>), StateError> {
        let mut host = host_blocks::<R>(&self.layout);
        let mut running = vec![R::zero(); self.layout.total.norm.len()];
        let hidden = self.network.hidden.len();
        for (l, (synapses, ranges)) in self.network.synapses().zip(&self.layout.layers).enumerate()
        {
            let from = TensorReader { state, layer: layer_name(l, hidden) };
            let shape = [synapses.outputs, synapses.inputs, synapses.kernel_count];
            from.read("weight", &shape, &mut host.weights[ranges.synapses.clone()])?;
            let delays = &mut host.delays[ranges.synapses.clone()];
            from.read("delay", &shape, delays)?;
            from.within("delay", delays, R::count(synapses.taps - 1))?;
            from.read("sigma", &[1], &mut host.sigma[ranges.sigma.clone()])?;
            let neuron = &mut host.neurons[ranges.neuron.clone()];
            from.read("neuron", &[neuron.len()], neuron)?;
            let width = [ranges.norm.len() / 2];
            let (gamma, beta) = host.norms[ranges.norm.clone()].split_at_mut(width[0]);
            from.read("gamma", &width, gamma)?;
            from.read("beta", &width, beta)?;
            let (mean, var) = running[ranges.norm.clone()].split_at_mut(width[0]);
            from.read("running_mean", &width, mean)?;
            from.read("running_var", &width, var)?;
            from.within("running_var", var, R::infinity())?;
        }
        Ok((host, running))
    }
}

pub(super) fn layer<'a, R: Real, K, N, S, Buf, Q>(
    network: &'a Network<R, K, N, S>,
    layout: &ParameterLayout,
    values: &'a ParameterBlocks<Buf>,
    l: usize,
    rounding: Option<Rounding>,
    mask: Option<&'a Buf>,
    valid: ValidSteps<'a>,
) -> Layer<'a, R, K, N, S, Buf, Q> {
    let hidden = &network.hidden[l];
    let ranges = &layout.layers[l];
    let SynapseParams { weights, delays, sigma, .. } = synapse_params(values, layout, l, rounding);
    Layer {
        synapses: &hidden.synapses,
        kernel: &hidden.kernel,
        weights,
        delays,
        sigma,
        rounding,
        norm: hidden.norm.as_ref().map(|n| (n, View::new(&values.norms, ranges.norm.clone()))),
        stage: NeuronStage {
            neuron: &hidden.neuron,
            params: View::new(&values.neurons, ranges.neuron.clone()),
            surrogate: &hidden.surrogate,
            firing: Firing::Step,
            mask,
            valid,
        },
    }
}

pub(super) fn synapse_params<'a, B>(
    values: &'a ParameterBlocks<B>,
    layout: &ParameterLayout,
    l: usize,
    rounding: Option<Rounding>,
) -> SynapseParams<'a, B> {
    let ranges = &layout.layers[l];
    SynapseParams {
        weights: View::new(&values.weights, ranges.synapses.clone()),
        delays: View::new(&values.delays, ranges.synapses.clone()),
        sigma: View::new(&values.sigma, ranges.sigma.clone()),
        rounding,
    }
}

impl<B> ParameterBlocks<B> {
    pub(super) fn list(&self) -> [&B; 5] {
        [&self.weights, &self.delays, &self.sigma, &self.norms, &self.neurons]
    }

    pub(super) fn list_mut(&mut self) -> [&mut B; 5] {
        let Self { weights, delays, sigma, norms, neurons } = self;
        [weights, delays, sigma, norms, neurons]
    }
}

/// Buffers of zeros in the sizes of the parameters.
pub(super) fn device_blocks<R: Real, B: Backend<R>>(
    backend: &B,
    layout: &ParameterLayout,
) -> Result<ParameterBlocks<B::Buffer>, B::Error> {
    upload(backend, &host_blocks::<R>(layout))
}

pub(super) fn host_blocks<R: Real>(layout: &ParameterLayout) -> ParameterBlocks<Vec<R>> {
    let zeros = |range: &Range<usize>| vec![R::zero(); range.len()];
    let total = &layout.total;
    ParameterBlocks {
        weights: zeros(&total.synapses),
        delays: zeros(&total.synapses),
        sigma: zeros(&total.sigma),
        norms: zeros(&total.norm),
        neurons: zeros(&total.neuron),
    }
}

fn upload<R: Real, B: Backend<R>>(
    backend: &B,
    host: &ParameterBlocks<Vec<R>>,
) -> Result<ParameterBlocks<B::Buffer>, B::Error> {
    let buffer = |from: &Vec<R>| -> Result<B::Buffer, B::Error> {
        let mut to = backend.buffer(from.len())?;
        backend.upload(from, &mut to)?;
        Ok(to)
    };
    Ok(ParameterBlocks {
        weights: buffer(&host.weights)?,
        delays: buffer(&host.delays)?,
        sigma: buffer(&host.sigma)?,
        norms: buffer(&host.norms)?,
        neurons: buffer(&host.neurons)?,
    })
}

pub(super) fn layer_name(l: usize, hidden: usize) -> alloc::string::String {
    if l == hidden { "output".into() } else { format!("hidden.{l}") }
}

fn push_halves<R: Real>(tensors: &mut Vec<Tensor<R>>, l: usize, names: [&str; 2], block: &[R]) {
    if block.is_empty() {
        return;
    }
    let (first, second) = block.split_at(block.len() / 2);
    for (name, half) in names.into_iter().zip([first, second]) {
        tensors.push(Tensor {
            name: format!("hidden.{l}.{name}"),
            shape: vec![half.len()],
            values: half.to_vec(),
        });
    }
}
