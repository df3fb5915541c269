//! A layer with random numbers, to run its stages one by one.
// Each benchmark uses a part of it.
#![allow(dead_code)]

use polychron_core::backend::{
    Activation, Backend, Firing, HasKernel, HasNeuron, HasSurrogate, NeuronStage, NormMode,
    SynapseGradients, SynapseParams, View, ViewMut,
};
use polychron_core::delay::Gauss;
use polychron_core::loss::Loss;
use polychron_core::neuron::{Li, Lif};
use polychron_core::norm::{BatchNorm, ValidSteps};
use polychron_core::optim::{Optimizer, Step};
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::Atan;
use polychron_cpu::{Algorithm, Cpu, Error, Sequence};

/// The size of a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) x: Shape,
    pub(crate) outputs: usize,
    pub(crate) taps: usize,
    /// Raw sigma.
    pub(crate) sigma: f32,
}

impl Size {
    pub(crate) fn synapses(&self) -> Synapses {
        Synapses::new(self.x.width, self.outputs, self.taps)
    }

    pub(crate) fn output(&self) -> Shape {
        self.synapses().output(self.x)
    }

    /// Multiply-adds of a projection, tap by tap.
    pub(crate) fn dense(&self) -> usize {
        self.output().len() * self.x.width * self.taps
    }
}

/// The models of a layer.
struct Models {
    kernel: <Cpu<f32> as Backend>::Kernel,
    neuron: <Cpu<f32> as Backend>::Neuron,
    surrogate: <Cpu<f32> as Backend>::Surrogate,
}

/// The parameters, the blocks and the results of a layer.
pub(crate) struct Work {
    cpu: Cpu<f32>,
    models: Models,
    synapses: Synapses,
    weights: Vec<f32>,
    delays: Vec<f32>,
    sigma: Vec<f32>,
    norm: Vec<f32>,
    running: Vec<f32>,
    mask: Vec<f32>,
    host: Vec<f32>,
    targets: Vec<f32>,
    x: Sequence<f32>,
    /// Input of the neurons.
    z: Sequence<f32>,
    y: Sequence<f32>,
    statistics: Vec<f32>,
    spikes: Sequence<f32>,
    d_spikes: Sequence<f32>,
    d_x: Sequence<f32>,
    d_weights: Vec<f32>,
    d_delays: Vec<f32>,
    d_sigma: Vec<f32>,
    moments: [Vec<f32>; 2],
}

fn view(buffer: &Vec<f32>) -> View<'_, Vec<f32>> {
    View::new(buffer, 0..buffer.len())
}

fn view_mut(buffer: &mut Vec<f32>) -> ViewMut<'_, Vec<f32>> {
    let all = 0..buffer.len();
    ViewMut::new(buffer, all)
}

fn numbers(rng: Rng, len: usize, low: f32, high: f32) -> Vec<f32> {
    (0..len as u64).map(|n| low + (high - low) * rng.uniform::<f32>(n)).collect()
}

const NORM: BatchNorm<f32> = BatchNorm { momentum: 0.1, epsilon: 1e-5 };

impl Work {
    /// A layer whose input is a spike with probability 0.1. With 0 `threads`, one per core.
    pub(crate) fn new(
        size: Size,
        algorithm: Option<Algorithm>,
        threads: usize,
    ) -> Result<Self, Error> {
        let cpu = Cpu::new(threads)?.with_algorithm(algorithm);
        let rng = Rng::new(0, 0);
        let (synapses, y) = (size.synapses(), size.output());
        let sequence = |stream, shape: Shape| {
            let mut sequence = cpu.sequence(shape)?;
            let values = numbers(rng.fork(stream), shape.len(), -1.0, 1.5);
            cpu.upload_sequence(&values, &mut sequence)?;
            Ok::<_, Error>(sequence)
        };
        let draws = numbers(rng.fork(0), size.x.len(), 0.0, 1.0);
        let host: Vec<f32> = draws.iter().map(|&u| f32::from(u8::from(u < 0.1))).collect();
        let mut x = cpu.sequence(size.x)?;
        cpu.upload_sequence(&host, &mut x)?;
        let count = synapses.weights();
        let mut targets = vec![0.0; y.batch * y.width];
        for (b, target) in targets.chunks_exact_mut(y.width).enumerate() {
            target[b % y.width] = 1.0;
        }
        Ok(Self {
            models: Models {
                kernel: Cpu::kernel(Gauss),
                neuron: Cpu::neuron(Lif::new(1.005)),
                surrogate: Cpu::surrogate(Atan { alpha: 5.0 }),
            },
            synapses,
            weights: numbers(rng.fork(1), count, -0.2, 0.2),
            delays: numbers(rng.fork(2), count, 0.0, (size.taps - 1) as f32),
            sigma: vec![size.sigma],
            norm: numbers(rng.fork(3), 2 * y.width, 0.5, 1.5),
            running: vec![1.0; 2 * y.width],
            mask: cpu.dropout(rng.fork(4), 0.4, y.batch * y.width)?,
            host,
            targets,
            z: sequence(5, y)?,
            y: sequence(6, y)?,
            statistics: vec![1.0; 2 * y.width],
            spikes: cpu.sequence(y)?,
            d_spikes: sequence(7, y)?,
            d_x: cpu.sequence(size.x)?,
            d_weights: numbers(rng.fork(8), count, -1.0, 1.0),
            d_delays: vec![0.0; count],
            d_sigma: vec![0.0],
            moments: [vec![0.0; count], vec![0.0; count]],
            x,
            cpu,
        })
    }

    pub(crate) fn upload(&mut self) -> Result<(), Error> {
        self.cpu.upload_sequence(&self.host, &mut self.x)
    }

    pub(crate) fn dropout(&mut self) -> Result<(), Error> {
        self.mask = self.cpu.dropout(Rng::new(0, 0), 0.4, self.mask.len())?;
        Ok(())
    }

    pub(crate) fn project(&mut self) -> Result<(), Error> {
        let params = SynapseParams {
            weights: view(&self.weights),
            delays: view(&self.delays),
            sigma: view(&self.sigma),
            rounding: None,
        };
        self.cpu.project(&self.synapses, &self.models.kernel, params, &self.x, &mut self.y)
    }

    pub(crate) fn project_backward(&mut self, by_input: bool) -> Result<(), Error> {
        let params = SynapseParams {
            weights: view(&self.weights),
            delays: view(&self.delays),
            sigma: view(&self.sigma),
            rounding: None,
        };
        let gradients = SynapseGradients {
            weights: view_mut(&mut self.d_weights),
            delays: view_mut(&mut self.d_delays),
            sigma: view_mut(&mut self.d_sigma),
        };
        let d_x = by_input.then_some(&mut self.d_x);
        let (synapses, kernel) = (&self.synapses, &self.models.kernel);
        let (x, d_y) = (&self.x, &self.d_spikes);
        self.cpu.project_backward(synapses, kernel, params, x, d_y, gradients, d_x)
    }

    pub(crate) fn neuron_backward(&mut self) -> Result<(), Error> {
        let stage = stage(&self.models, &self.mask);
        let d_params = ViewMut::new(&mut self.running, 0..0);
        self.cpu.neuron_backward(&stage, &self.z, &self.d_spikes, &mut self.spikes, d_params)
    }

    pub(crate) fn layer_forward(&mut self) -> Result<(), Error> {
        self.project()?;
        let layer = Activation {
            norm: Some((&NORM, view(&self.norm))),
            neurons: stage(&self.models, &self.mask),
        };
        let mode = NormMode::Batch { running: view_mut(&mut self.running) };
        self.cpu.activate(&layer, mode, &self.y, &mut self.statistics, &mut self.spikes, None)
    }

    /// Runs the readout on the input of the neurons.
    pub(crate) fn readout(&mut self) -> Result<f32, Error> {
        let (scores, d_x) = (&mut self.mask, Some(&mut self.spikes));
        let targets = Some(&self.targets);
        self.cpu.readout(
            &Li::new(1.005),
            Loss::SoftmaxSum,
            ValidSteps::default(),
            &self.z,
            targets,
            scores,
            d_x,
        )
    }

    pub(crate) fn adam(&mut self) -> Result<(), Error> {
        let step = Step { l2: 1e-5, ..Step::new(Optimizer::default(), 1e-3, 1) };
        let len = self.weights.len();
        let [first, second] = &mut self.moments;
        let (gradient, params) = (&self.d_weights, &mut self.weights);
        self.cpu.optimize(&step, 0..len, gradient, params, first, second, len)
    }
}

fn stage<'a>(models: &'a Models, mask: &'a Vec<f32>) -> NeuronStage<'a, Cpu<f32>> {
    NeuronStage {
        neuron: &models.neuron,
        params: View::new(mask, 0..0),
        surrogate: &models.surrogate,
        firing: Firing::Step,
        mask: Some(mask),
        valid: ValidSteps::default(),
        start: None,
    }
}
