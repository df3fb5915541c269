//! The golden network on any backend: one pass, forward and, in training, backward.

use super::{Golden, Tolerance, check};
use polychron_core::backend::{
    Activation, ActivationGradients, Backend, Firing, NeuronStage, NormMode, SynapseGradients,
    SynapseParams, View, ViewMut,
};
use polychron_core::conformance::Conforming;
use polychron_core::delay::{AnyKernel, round_delay};
use polychron_core::loss::Loss;
use polychron_core::neuron::{AnyNeuron, Li, Lif};
use polychron_core::norm::{BatchNorm, ValidSteps};
use polychron_core::num::Real;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::{AnySurrogate, Atan};
use std::collections::BTreeMap;

/// Tensors with the names of the golden files, and delays instead of positions:
/// `l{l}.conv|bn|spikes`, `score`, `loss` and, in training, `d.l{l}.W|P|gamma|beta`, `dx`,
/// `l{l}.running_mean|running_var`. Spikes are after the dropout mask.
pub(crate) type Tensors<R> = BTreeMap<String, Vec<R>>;

/// The parameters of a layer. The readout, the last layer, has neither norm nor mask.
#[derive(Clone, Debug)]
pub(crate) struct Parameters<R> {
    pub(crate) synapses: Synapses,
    pub(crate) weights: Vec<R>,
    pub(crate) delays: Vec<R>,
    /// `[gamma | beta]`
    pub(crate) norm: Vec<R>,
    /// `[mean | var]`
    pub(crate) running: Vec<R>,
    pub(crate) mask: Option<Vec<R>>,
}

/// A network and a batch.
#[derive(Clone, Debug)]
pub(crate) struct Case<R> {
    /// Prefix of the golden tensors.
    pub(crate) name: String,
    pub(crate) layers: Vec<Parameters<R>>,
    pub(crate) kernel: AnyKernel,
    pub(crate) sigma: R,
    pub(crate) tau: R,
    pub(crate) x: Vec<R>,
    pub(crate) shape: Shape,
    pub(crate) targets: Vec<R>,
    /// Whether the norm uses the statistics of the batch, and gradients are computed.
    pub(crate) train: bool,
}

/// Every case of `network.safetensors`; the evaluation is the last.
pub(crate) fn cases<R: Real>(golden: &Golden) -> Vec<Case<R>> {
    let shape = golden.shape("x");
    let targets: Vec<R> = golden.reals("y");
    assert_eq!(targets, golden.one_hot("labels", targets.len() / shape[1]), "y");
    let case = |name: &str, layers, tau: &str| Case {
        name: name.into(),
        layers,
        kernel: AnyKernel::Gauss,
        sigma: R::zero(),
        tau: R::of(golden.meta[tau].as_f64().unwrap()),
        x: golden.reals("x"),
        shape: Shape::new(shape[0], shape[1], shape[2]),
        targets: targets.clone(),
        train: true,
    };
    let train = |name: &str, sigma: f64, tau: &str| {
        let mut layers = layers(golden, "", Some(""));
        for (l, layer) in layers.iter_mut().enumerate() {
            let mask = format!("{name}.l{l}.dropmask");
            layer.mask = golden.has(&mask).then(|| golden.reals(&mask));
        }
        Case { sigma: R::of(sigma), ..case(name, layers, tau) }
    };
    let mut rounded = layers(golden, "", Some("sig2."));
    for (l, layer) in rounded.iter_mut().enumerate() {
        let taps = layer.synapses.taps;
        layer.delays.iter_mut().for_each(|d| *d = R::count(round_delay(*d, taps)));
        assert_eq!(layer.delays, golden.delays(&format!("eval.l{l}.P"), taps), "rounded delays");
    }
    vec![
        train("sig2", 2.0, "tau"),
        train("sig0.8", 0.8, "tau"),
        train("sig0.23", 0.23, "tau"),
        train("sig2_tau1.005", 2.0, "tau_of_sig2_tau1.005"),
        train("sig0.8_dropout", 0.8, "tau"),
        Case { kernel: AnyKernel::Max, train: false, ..case("eval", rounded, "tau") },
    ]
}

/// The parameters with one prefix and the running statistics with another. Without a prefix the
/// running statistics are the initial ones.
pub(crate) fn layers<R: Real>(
    golden: &Golden,
    params: &str,
    running: Option<&str>,
) -> Vec<Parameters<R>> {
    let sizes: Vec<usize> = serde_json::from_value(golden.meta["sizes"].clone()).unwrap();
    let taps = golden.meta["K"].as_u64().unwrap() as usize;
    let layer = |(l, pair): (usize, &[usize])| {
        let two = |prefix: &str, names: [&str; 2]| {
            names.map(|name| golden.reals(&format!("{prefix}l{l}.{name}"))).concat()
        };
        let (norm, running) = if l + 2 == sizes.len() {
            (vec![], vec![])
        } else {
            let fresh = || [vec![R::zero(); pair[1]], vec![R::one(); pair[1]]].concat();
            let names = ["running_mean", "running_var"];
            (two(params, ["gamma", "beta"]), running.map_or_else(fresh, |r| two(r, names)))
        };
        Parameters {
            synapses: Synapses::new(pair[0], pair[1], taps),
            weights: golden.reals(&format!("{params}l{l}.W")),
            delays: golden.delays(&format!("{params}l{l}.P"), taps),
            norm,
            running,
            mask: None,
        }
    };
    sizes.windows(2).enumerate().map(layer).collect()
}

/// Compares `tensors` with the golden tensors of a prefix.
#[track_caller]
pub(crate) fn compare<R: Real>(
    golden: &Golden,
    prefix: &str,
    layers: &[Parameters<R>],
    tensors: &Tensors<R>,
    tolerance: Tolerance,
) {
    for (name, got) in tensors {
        let full = format!("{prefix}.{name}");
        let gradient = name == "dx" || name.starts_with("d.");
        let mut want = match name.rsplit('.').next() {
            Some("P") if gradient => golden.by_delay(&full),
            Some("P") => golden.delays(&full, layers[0].synapses.taps),
            Some("kernel") => golden.dense(&full),
            _ => golden.f64s(&full),
        };
        let layer = name.strip_suffix(".spikes").and_then(|l| l[1..].parse::<usize>().ok());
        if let Some(mask) = layer.and_then(|l| layers[l].mask.as_ref()) {
            want.iter_mut().zip(mask.iter().cycle()).for_each(|(s, m)| *s *= m.as_f64());
        }
        check(&full, got, &want, if gradient { tolerance.gradient } else { tolerance.value });
    }
}

/// One pass over the batch.
pub(crate) fn run<R: Real, B: Conforming<Real = R>>(
    backend: &B,
    case: &Case<R>,
) -> Result<Tensors<R>, B::Error> {
    let mut walk = Walk::new(backend, case)?;
    let (inputs, tapes) = walk.forward()?;
    if let Some(d_y) = walk.readout(&inputs)? {
        walk.backward(&inputs, &tapes, d_y)?;
    }
    Ok(walk.tensors)
}

struct Blocks<B> {
    weights: B,
    delays: B,
    norm: B,
    mask: Option<B>,
}

struct Walk<'a, B: Backend> {
    backend: &'a B,
    case: &'a Case<B::Real>,
    blocks: Vec<Blocks<B::Buffer>>,
    sigma: B::Buffer,
    nothing: B::Buffer,
    norm: BatchNorm<B::Real>,
    kernel: B::Kernel,
    neuron: B::Neuron,
    surrogate: B::Surrogate,
    tensors: Tensors<B::Real>,
}

/// What the backward pass of a hidden layer needs.
struct Tape<B: Backend> {
    projected: B::Sequence,
    statistics: B::Buffer,
}

/// The input of every layer and the tapes of the hidden ones.
type Trace<B> = (Vec<<B as Backend>::Sequence>, Vec<Tape<B>>);

impl<'a, R: Real, B: Conforming<Real = R>> Walk<'a, B> {
    fn new(backend: &'a B, case: &'a Case<R>) -> Result<Self, B::Error> {
        let blocks = |layer: &Parameters<R>| {
            Ok(Blocks {
                weights: upload(backend, &layer.weights)?,
                delays: upload(backend, &layer.delays)?,
                norm: upload(backend, &layer.norm)?,
                mask: layer.mask.as_ref().map(|mask| upload(backend, mask)).transpose()?,
            })
        };
        Ok(Self {
            backend,
            case,
            blocks: case.layers.iter().map(blocks).collect::<Result<_, B::Error>>()?,
            sigma: upload(backend, &[case.sigma])?,
            nothing: backend.buffer(0)?,
            norm: BatchNorm::default(),
            kernel: B::kernel(case.kernel),
            neuron: B::neuron(AnyNeuron::Lif(Lif::new(case.tau))),
            surrogate: B::surrogate(AnySurrogate::Atan(Atan { alpha: R::of(5.0) })),
            tensors: Tensors::new(),
        })
    }

    fn forward(&mut self) -> Result<Trace<B>, B::Error> {
        let backend = self.backend;
        let mut x = backend.sequence(self.case.shape)?;
        backend.upload_sequence(&self.case.x, &mut x)?;
        let (mut inputs, mut tapes) = (vec![x], vec![]);
        for l in 0..self.blocks.len() - 1 {
            let layer = &self.case.layers[l];
            let shape = layer.synapses.output(backend.shape(&inputs[l]));
            let (mut y, mut z) = (backend.sequence(shape)?, backend.sequence(shape)?);
            let mut statistics = backend.buffer(2 * shape.width)?;
            let mut spikes = backend.sequence(shape)?;
            let mut running = upload(backend, &layer.running)?;
            let all = 0..layer.running.len();
            let mode = if self.case.train {
                NormMode::Batch { running: ViewMut::new(&mut running, all.clone()) }
            } else {
                NormMode::Running(View::new(&running, all.clone()))
            };
            let params = self.params(l);
            backend.project(&layer.synapses, &self.kernel, params, &inputs[l], &mut y)?;
            backend.activate(&self.layer(l), mode, &y, &mut statistics, &mut spikes, None)?;
            let norm = View::new(&self.blocks[l].norm, all);
            backend.norm_apply(norm, &statistics, &y, &mut z)?;
            for (name, q) in [("conv", &y), ("bn", &z), ("spikes", &spikes)] {
                self.tensors.insert(format!("l{l}.{name}"), sequence(backend, q)?);
            }
            if self.case.train {
                self.keep_halves(l, &running, ["", "running_mean", "running_var"])?;
            }
            inputs.push(spikes);
            tapes.push(Tape { projected: y, statistics });
        }
        Ok((inputs, tapes))
    }

    /// Scores and loss, and in training the gradient by the projection of the readout.
    fn readout(&mut self, inputs: &[B::Sequence]) -> Result<Option<B::Sequence>, B::Error> {
        let (backend, case, l) = (self.backend, self.case, inputs.len() - 1);
        let synapses = &case.layers[l].synapses;
        let shape = synapses.output(backend.shape(&inputs[l]));
        let mut y = backend.sequence(shape)?;
        backend.project(synapses, &self.kernel, self.params(l), &inputs[l], &mut y)?;
        let targets = upload(backend, &case.targets)?;
        let mut scores = backend.buffer(case.targets.len())?;
        let mut d_y = if case.train { Some(backend.sequence(shape)?) } else { None };
        let (li, valid, wanted) = (Li::new(case.tau), ValidSteps::default(), d_y.as_mut());
        let loss = backend.readout(
            &li,
            Loss::SoftmaxSum,
            valid,
            &y,
            Some(&targets),
            &mut scores,
            wanted,
        )?;
        self.tensors.insert(format!("l{l}.conv"), sequence(backend, &y)?);
        self.tensors.insert("score".into(), buffer(backend, &scores, case.targets.len())?);
        self.tensors.insert("loss".into(), vec![loss]);
        Ok(d_y)
    }

    fn backward(
        &mut self,
        inputs: &[B::Sequence],
        tapes: &[Tape<B>],
        mut d_y: B::Sequence,
    ) -> Result<(), B::Error> {
        let backend = self.backend;
        for l in (0..inputs.len()).rev() {
            let Parameters { synapses, norm, .. } = &self.case.layers[l];
            let n = synapses.weights();
            let mut d_x = backend.sequence(backend.shape(&inputs[l]))?;
            let (mut d_weights, mut d_delays) = (backend.buffer(n)?, backend.buffer(n)?);
            let (mut d_sigma, mut d_norm) = (backend.buffer(1)?, backend.buffer(norm.len())?);
            let mut d_neuron = backend.buffer(0)?;
            let gradients = SynapseGradients {
                weights: ViewMut::new(&mut d_weights, 0..n),
                delays: ViewMut::new(&mut d_delays, 0..n),
                sigma: ViewMut::new(&mut d_sigma, 0..1),
            };
            if let Some(Tape { projected, statistics }) = tapes.get(l) {
                let gradients = ActivationGradients {
                    norm: ViewMut::new(&mut d_norm, 0..norm.len()),
                    neuron: ViewMut::new(&mut d_neuron, 0..0),
                };
                let layer = self.layer(l);
                backend.activate_backward(&layer, projected, statistics, &mut d_y, gradients)?;
                self.keep_halves(l, &d_norm, ["d.", "gamma", "beta"])?;
            }
            let (kernel, x) = (&self.kernel, &inputs[l]);
            let (params, d_x_asked) = (self.params(l), Some(&mut d_x));
            backend.project_backward(synapses, kernel, params, x, &d_y, gradients, d_x_asked)?;
            self.tensors.insert(format!("d.l{l}.W"), buffer(backend, &d_weights, n)?);
            self.tensors.insert(format!("d.l{l}.P"), buffer(backend, &d_delays, n)?);
            d_y = d_x;
        }
        self.tensors.insert("dx".into(), sequence(backend, &d_y)?);
        Ok(())
    }

    fn params(&self, l: usize) -> SynapseParams<'_, B::Buffer> {
        let (blocks, n) = (&self.blocks[l], self.case.layers[l].synapses.weights());
        SynapseParams {
            weights: View::new(&blocks.weights, 0..n),
            delays: View::new(&blocks.delays, 0..n),
            sigma: View::new(&self.sigma, 0..1),
            rounding: None,
        }
    }

    fn layer(&self, l: usize) -> Activation<'_, B> {
        let norm = View::new(&self.blocks[l].norm, 0..self.case.layers[l].norm.len());
        Activation {
            norm: Some((&self.norm, norm)),
            neurons: NeuronStage {
                neuron: &self.neuron,
                params: View::new(&self.nothing, 0..0),
                surrogate: &self.surrogate,
                firing: Firing::Step,
                mask: self.blocks[l].mask.as_ref(),
                valid: ValidSteps::default(),
                start: None,
            },
        }
    }

    /// Stores the two halves of a buffer with two names.
    fn keep_halves(
        &mut self,
        l: usize,
        from: &B::Buffer,
        [prefix, first, second]: [&str; 3],
    ) -> Result<(), B::Error> {
        let n = self.case.layers[l].synapses.outputs;
        let mut values = buffer(self.backend, from, 2 * n)?;
        self.tensors.insert(format!("{prefix}l{l}.{second}"), values.split_off(n));
        self.tensors.insert(format!("{prefix}l{l}.{first}"), values);
        Ok(())
    }
}

fn upload<R: Real, B: Backend<Real = R>>(backend: &B, values: &[R]) -> Result<B::Buffer, B::Error> {
    let mut to = backend.buffer(values.len())?;
    backend.upload(values, &mut to)?;
    Ok(to)
}

fn buffer<R: Real, B: Backend<Real = R>>(
    backend: &B,
    from: &B::Buffer,
    len: usize,
) -> Result<Vec<R>, B::Error> {
    let mut to = vec![R::zero(); len];
    backend.download(from, &mut to)?;
    Ok(to)
}

fn sequence<R: Real, B: Backend<Real = R>>(
    backend: &B,
    from: &B::Sequence,
) -> Result<Vec<R>, B::Error> {
    let mut to = vec![R::zero(); backend.shape(from).len()];
    backend.download_sequence(from, &mut to)?;
    Ok(to)
}
