use super::write::{Decay, LayerSpec, NeuronSpec, Spec, SynapseSpec};
use crate::backend::LayerOps;
use crate::delay::{DelayKernel, Discrete, round_delay};
use crate::format::{Decision, Input, Scheme};
use crate::loss::Loss;
use crate::neuron::{Neuron, NeuronModel, NeuronVisitor};
use crate::norm::BatchNorm;
use crate::shape::Synapses;
use crate::surrogate::Surrogate;
use crate::train::{Model, Tensor};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// What a network does not know of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct About {
    /// Length of a tick in microseconds.
    pub tick_us: u32,
    /// What a channel takes in.
    pub input: Input,
    /// A name a class, or none at all.
    pub labels: Vec<String>,
}

/// A network that no model file holds.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FoldError<E> {
    /// The backend's.
    Backend(E),
    /// A hidden layer whose neurons are not of the form `v <- leak v + gain x`, with one threshold and a reset to the rest or
    /// by the threshold.
    Neuron {
        /// The layer.
        layer: usize,
    },
}

impl<E: fmt::Display> fmt::Display for FoldError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(error) => error.fmt(f),
            Self::Neuron { layer } => write!(
                f,
                "layer {layer}: a model file holds leaky integrate-and-fire neurons, these are others"
            ),
        }
    }
}

impl<E: core::error::Error> core::error::Error for FoldError<E> {}

/// The network with rounded delays and its norms folded into weights and biases.
///
/// # Errors
/// [`FoldError::Neuron`] for neurons of more than a leaky membrane, or what the backend reports.
pub fn fold<B, K, N, S>(
    model: &Model<f32, B, K, N, S>,
    about: About,
) -> Result<Spec<f32>, FoldError<B::Error>>
where
    B: LayerOps<f32, K, N, S> + LayerOps<f32, Discrete, N, S>,
    K: DelayKernel<f32>,
    N: NeuronModel<f32>,
    S: Surrogate<f32>,
{
    let tensors = model.tensors().map_err(FoldError::Backend)?;
    let network = model.network();
    let mut layers = Vec::new();
    for (l, hidden) in network.hidden.iter().enumerate() {
        let of = |name: &str| find(&tensors, &format!("hidden.{l}.{name}"));
        let probe = Probe { params: of("neuron") };
        let linear = hidden.neuron.visit(probe).ok_or(FoldError::Neuron { layer: l })?;
        let folded = |o: usize| {
            let (scale, offset) = norm(hidden.norm.as_ref(), of, o);
            (linear.gain * scale, linear.gain * offset)
        };
        let neurons = (0..hidden.synapses.outputs)
            .map(|o| NeuronSpec { threshold: linear.threshold, bias: folded(o).1 });
        layers.push(LayerSpec {
            neurons: neurons.collect(),
            soft: linear.soft,
            ..layer(&hidden.synapses, of, linear.keep, |o| folded(o).0)
        });
    }
    let output = &network.output;
    let of = |name: &str| find(&tensors, &format!("output.{name}"));
    let readout = output.readout;
    let keep = f64::from(readout.charge([1.0], 0.0)[0]);
    let gain = f64::from(readout.charge([0.0], 1.0)[0]);
    layers.push(layer(&output.synapses, of, keep, |_| gain));
    Ok(Spec {
        tick_us: about.tick_us,
        input: about.input,
        channels: network.synapses().next().map_or(0, |s| s.inputs),
        decision: match network.loss {
            Loss::SoftmaxSum => Decision::SoftmaxSum,
            Loss::Mean | Loss::MembraneSum => Decision::MembraneSum,
            Loss::Max => Decision::Max,
        },
        labels: about.labels,
        layers,
    })
}

fn find<'a>(tensors: &'a [Tensor<f32>], name: &str) -> &'a [f32] {
    tensors.iter().find(|t| t.name == name).map_or(&[], |t| &t.values)
}

/// A projection whose weights are multiplied by a factor an output, without neurons.
fn layer<'a>(
    synapses: &Synapses,
    of: impl Fn(&str) -> &'a [f32],
    keep: f64,
    factor: impl Fn(usize) -> f64,
) -> LayerSpec<f32> {
    let Synapses { inputs, outputs, kernel_count: count, taps, padding: tail } = *synapses;
    let elements = of("weight").iter().zip(of("delay")).enumerate();
    let synapse = |(e, (&w, &d)): (usize, (&f32, &f32))| {
        let target = e / count / inputs;
        let weight = (factor(target) * f64::from(w)) as f32;
        SynapseSpec { source: e / count % inputs, target, delay: round_delay(d, taps), weight }
    };
    LayerSpec {
        outputs,
        taps,
        tail,
        synapses: elements.map(synapse).collect(),
        neurons: Vec::new(),
        leak: Decay::Float(keep as f32),
        soft: false,
        gain: (0, 0),
        scheme: Scheme::Groups { list: 31 },
    }
}

/// What the norm makes of an output's sum, as factor and summand.
fn norm<'a>(norm: Option<&BatchNorm<f32>>, of: impl Fn(&str) -> &'a [f32], o: usize) -> (f64, f64) {
    let Some(norm) = norm else { return (1.0, 0.0) };
    let at = |name: &str| of(name).get(o).map_or(0.0, |&x| f64::from(x));
    let deviation = libm::sqrt(at("running_var") + f64::from(norm.epsilon));
    let scale = at("gamma") / deviation;
    (scale, at("beta") - at("running_mean") * scale)
}

/// `v <- keep v + gain x`, counted from the rest.
struct Linear {
    keep: f64,
    gain: f64,
    threshold: f64,
    soft: bool,
}

/// Finds out whether a neuron is linear, by asking it.
struct Probe<'a> {
    params: &'a [f32],
}

impl NeuronVisitor<f32> for Probe<'_> {
    type Output = Option<Linear>;

    fn visit<N: Neuron<Real = f32>>(self, neuron: &N) -> Option<Linear> {
        let mut params = neuron.params();
        let raw = params.as_mut();
        raw.copy_from_slice(self.params.get(..raw.len())?);
        let neuron = neuron.with_params(params);
        let (state, rest) = (N::fill_state, neuron.rest());
        if rest.as_ref().len() != 1 || !neuron.fires() {
            return None;
        }
        let first = |state: N::State| f64::from(state.as_ref()[0]);
        let rest = first(rest);
        let charge = |v: f64, x: f32| first(neuron.charge(state((rest + v) as f32), x)) - rest;
        let (keep, gain) = (charge(1.0, 0.0), charge(0.0, 1.0));
        let threshold = -f64::from(neuron.excess(state(rest as f32)));
        let near = |a: f64, b: f64| (a - b).abs() < 1e-4 * (1.0 + a.abs());
        let linear = near(charge(0.0, 0.0), 0.0)
            && near(charge(-3.0, 5.0), 5.0 * gain - 3.0 * keep)
            && (0.0..=1.0).contains(&keep)
            && threshold > 0.0;
        let after = |v: f64| first(neuron.reset(state((rest + v) as f32), 1.0)) - rest;
        let (low, high) = (after(threshold), after(threshold + 1.0));
        let hard = near(low, 0.0) && near(high, 0.0);
        let soft = near(low, 0.0) && near(high, 1.0);
        (linear && (hard || soft)).then_some(Linear { keep, gain, threshold, soft })
    }
}
