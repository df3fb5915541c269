use polychron_core::backend::{
    Activation, ActivationGradients, Backend, Event, HasKernel, HasNeuron, HasSurrogate,
    NeuronStage, NormMode, RecurrentGradients, RecurrentStage, SynapseGradients, SynapseParams,
    View, ViewMut,
};
use polychron_core::connectivity::Sharing;
use polychron_core::loss::{Loss, RatePenalty};
use polychron_core::neuron::Li;
use polychron_core::norm::{BatchNorm, ValidSteps};
use polychron_core::optim::Step;
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, Synapses};
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::time::Instant;

/// A backend that forwards every operation to another one and measures its time.
pub(super) struct Stopwatch<B> {
    backend: B,
    laps: RefCell<Laps>,
    mode: Cell<Mode>,
}

/// What the stopwatch does with an operation.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mode {
    /// Forwards it, waits for its end and measures its time.
    Stages,
    /// Forwards it.
    Steps,
    /// Forwards it, except uploads of the input, which is already on the device.
    ResidentSteps,
}

/// The measurements since the last restart.
#[derive(Default)]
pub(super) struct Laps {
    /// Milliseconds by stage, in the order in which they began.
    pub(super) stages: Vec<(String, f64)>,
    /// Mean spikes per neuron and step of every hidden layer.
    pub(super) rates: Vec<f64>,
    /// The current layer, from 1.
    layer: usize,
    counting: bool,
}

/// A part of a training step.
enum Stage {
    Named(&'static str),
    /// The next layer up.
    Forward,
    /// The next layer down.
    Backward,
    /// The current layer.
    ForwardOn,
    /// The layer below.
    BackwardOn,
}

impl<B: Backend<Real = f32>> Stopwatch<B> {
    pub(super) fn new(backend: B) -> Self {
        Self { backend, laps: RefCell::default(), mode: Cell::new(Mode::Stages) }
    }

    /// Sets the mode of the operations that follow.
    pub(super) fn set_mode(&self, mode: Mode) {
        self.mode.set(mode);
    }

    /// Returns the current laps and starts new ones. Counting spikes takes time outside the stages.
    pub(super) fn restart(&self, counting: bool) -> Laps {
        self.laps.replace(Laps { counting, ..Laps::default() })
    }

    fn time<T>(
        &self,
        stage: Stage,
        work: impl FnOnce() -> Result<T, B::Error>,
    ) -> Result<T, B::Error> {
        if self.mode.get() != Mode::Stages {
            return work();
        }
        let start = Instant::now();
        let result = work()?;
        self.backend.synchronize()?;
        self.laps.borrow_mut().add(stage, start.elapsed().as_secs_f64() * 1e3);
        Ok(result)
    }

    /// Mean spikes per step of the neurons that dropout keeps. Its scale cancels in the quotient.
    fn spike_rate(&self, mask: Option<&B::Buffer>, spikes: &B::Sequence) -> Result<f64, B::Error> {
        let Shape { steps, batch, width } = self.backend.shape(spikes);
        let (mut kept, mut host) = (vec![1.0; batch * width], vec![0.0; steps * batch * width]);
        if let Some(mask) = mask {
            self.backend.download(mask, &mut kept)?;
        }
        self.backend.download_sequence(spikes, &mut host)?;
        let sum = |values: &[f32]| values.iter().map(|&v| f64::from(v)).sum::<f64>();
        Ok(sum(&host) / (steps as f64 * sum(&kept)))
    }
}

impl Laps {
    fn add(&mut self, stage: Stage, ms: f64) {
        let name = match stage {
            Stage::Named(name) => name.into(),
            Stage::Forward => {
                self.layer += 1;
                format!("forward_{}", self.layer)
            }
            Stage::Backward => {
                self.layer = self.layer.saturating_sub(1);
                format!("backward_{}", self.layer + 1)
            }
            Stage::ForwardOn => format!("forward_{}", self.layer),
            Stage::BackwardOn => format!("backward_{}", self.layer),
        };
        match self.stages.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += ms,
            None => self.stages.push((name, ms)),
        }
    }
}

macro_rules! timed {
    ($($stage:expr => $name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {$(
        fn $name(&self, $($arg: $type),*) -> Result<$result, Self::Error> {
            self.time($stage, || self.backend.$name($($arg),*))
        }
    )*};
}

impl<B: Backend<Real = f32>> Backend for Stopwatch<B> {
    type Real = f32;
    type Buffer = B::Buffer;
    type Sequence = B::Sequence;
    type Kernel = B::Kernel;
    type Neuron = B::Neuron;
    type Surrogate = B::Surrogate;
    type Error = B::Error;

    fn name(&self) -> &'static str {
        self.backend.name()
    }
    fn shape(&self, sequence: &B::Sequence) -> Shape {
        self.backend.shape(sequence)
    }

    fn synchronize(&self) -> Result<(), B::Error> {
        self.backend.synchronize()
    }
    fn device_bytes(&self) -> Option<usize> {
        self.backend.device_bytes()
    }
    fn upload_events(&self, events: &[Event<f32>], to: &mut B::Sequence) -> Result<(), B::Error> {
        if self.mode.get() == Mode::ResidentSteps {
            return Ok(());
        }
        self.time(Stage::Named("upload"), || self.backend.upload_events(events, to))
    }
    fn upload_sequence(&self, from: &[f32], to: &mut B::Sequence) -> Result<(), B::Error> {
        if self.mode.get() == Mode::ResidentSteps {
            return Ok(());
        }
        self.time(Stage::Named("upload"), || self.backend.upload_sequence(from, to))
    }

    timed! {
        Stage::Named("memory") => buffer(len: usize) -> B::Buffer;
        Stage::Named("memory") => sequence(shape: Shape) -> B::Sequence;
        Stage::Named("upload") => upload(from: &[f32], to: &mut B::Buffer) -> ();
        Stage::Named("download") => download(from: &B::Buffer, to: &mut [f32]) -> ();
        Stage::Named("download") => download_sequence(from: &B::Sequence, to: &mut [f32]) -> ();
        Stage::Named("finite") => are_finite(buffers: &[(&B::Buffer, usize)]) -> bool;
        Stage::Named("norm") => norm_forward(
            norm: &BatchNorm<f32>, params: View<'_, B::Buffer>, mode: NormMode<'_, B::Buffer>,
            valid: ValidSteps<'_>, y: &B::Sequence, saved: &mut B::Buffer, z: &mut B::Sequence
        ) -> ();
        Stage::Named("norm") => norm_apply(
            params: View<'_, B::Buffer>, saved: &B::Buffer, y: &B::Sequence, z: &mut B::Sequence
        ) -> ();
        Stage::Named("norm") => norm_backward(
            params: View<'_, B::Buffer>, saved: &B::Buffer, valid: ValidSteps<'_>,
            y: &B::Sequence, d_z: &B::Sequence, d_y: &mut B::Sequence,
            d_params: ViewMut<'_, B::Buffer>
        ) -> ();
        Stage::Named("readout") => readout(
            readout: &Li<f32>, loss: Loss, valid: ValidSteps<'_>, x: &B::Sequence,
            targets: Option<&B::Buffer>, scores: &mut B::Buffer, d_x: Option<&mut B::Sequence>
        ) -> f32;
        Stage::Named(step.optimizer.name()) => optimize(
            step: &Step<f32>, range: Range<usize>, gradient: &B::Buffer, params: &mut B::Buffer,
            first: &mut B::Buffer, second: &mut B::Buffer, len: usize
        ) -> ();
        Stage::Named("readout") => readout_backward(
            readout: &Li<f32>, loss: Loss, valid: ValidSteps<'_>, x: &B::Sequence,
            d_scores: &[f32], d_x: &mut B::Sequence
        ) -> ();
        Stage::Named("clip") => square_sum(buffer: &B::Buffer, len: usize) -> f64;
        Stage::Named("clip") => scale(factor: f32, buffer: &mut B::Buffer, len: usize) -> ();
        Stage::Named("penalty") => penalize_rates(
            penalty: &RatePenalty, valid: ValidSteps<'_>, spikes: &B::Sequence,
            d: &mut B::Sequence
        ) -> f32;
        Stage::Named("dropout") => dropout(rng: Rng, p: f64, len: usize) -> B::Buffer;
        Stage::Named("add") => add(x: &B::Sequence, sum: &mut B::Sequence) -> ();
        Stage::Named("add") => add_buffer(
            x: &B::Buffer, sum: &mut B::Buffer, len: usize
        ) -> ();
        Stage::Named("bias") => add_bias(
            bias: View<'_, B::Buffer>, len: usize, y: &mut B::Sequence
        ) -> ();
        Stage::Named("bias") => bias_backward(
            d_y: &B::Sequence, d_bias: ViewMut<'_, B::Buffer>, len: usize
        ) -> ();
        Stage::Named("join") => join(
            first: &B::Sequence, second: &B::Sequence, joined: &mut B::Sequence
        ) -> ();
        Stage::Named("join") => copy_last(x: &B::Sequence, last: &mut B::Sequence) -> ();
        Stage::Named("place") => expand(
            synapses: &Synapses, sharing: Sharing<'_>, packed: View<'_, B::Buffer>, len: usize,
            full: &mut B::Buffer
        ) -> ();
        Stage::Named("place") => reduce(
            synapses: &Synapses, sharing: Sharing<'_>, full: &B::Buffer,
            packed: ViewMut<'_, B::Buffer>,
            len: usize
        ) -> ();
        Stage::Forward => project(
            synapses: &Synapses, kernel: &B::Kernel, params: SynapseParams<'_, B::Buffer>,
            x: &B::Sequence, y: &mut B::Sequence
        ) -> ();
        Stage::Backward => project_backward(
            synapses: &Synapses, kernel: &B::Kernel, params: SynapseParams<'_, B::Buffer>,
            x: &B::Sequence, d_y: &B::Sequence, gradients: SynapseGradients<'_, B::Buffer>,
            d_x: Option<&mut B::Sequence>
        ) -> ();
    }

    fn supports(
        &self,
        kernels: &[&B::Kernel],
        models: Option<(&B::Neuron, &B::Surrogate)>,
    ) -> Result<(), B::Error> {
        self.backend.supports(kernels, models)
    }

    fn neuron_forward(
        &self,
        stage: &NeuronStage<'_, Self>,
        x: &B::Sequence,
        spikes: &mut B::Sequence,
        end: Option<&mut B::Buffer>,
    ) -> Result<(), B::Error> {
        let stage = stage.on();
        self.time(Stage::Named("neuron"), || self.backend.neuron_forward(&stage, x, spikes, end))
    }

    fn neuron_backward(
        &self,
        stage: &NeuronStage<'_, Self>,
        x: &B::Sequence,
        d_spikes: &B::Sequence,
        d_x: &mut B::Sequence,
        d_params: ViewMut<'_, B::Buffer>,
    ) -> Result<(), B::Error> {
        let stage = stage.on();
        self.time(Stage::Named("neuron"), || {
            self.backend.neuron_backward(&stage, x, d_spikes, d_x, d_params)
        })
    }

    fn recurrent_forward(
        &self,
        recurrent: &RecurrentStage<'_, Self>,
        stage: &NeuronStage<'_, Self>,
        x: &B::Sequence,
        outputs: [&mut B::Sequence; 3],
        end: Option<&mut B::Buffer>,
    ) -> Result<(), B::Error> {
        let (recurrent, stage) = (recurrent.on(), stage.on());
        self.time(Stage::Named("recurrent"), || {
            self.backend.recurrent_forward(&recurrent, &stage, x, outputs, end)
        })
    }

    fn recurrent_backward(
        &self,
        recurrent: &RecurrentStage<'_, Self>,
        stage: &NeuronStage<'_, Self>,
        saved: [&B::Sequence; 2],
        d: &mut B::Sequence,
        gradients: RecurrentGradients<'_, B::Buffer>,
    ) -> Result<(), B::Error> {
        let (recurrent, stage) = (recurrent.on(), stage.on());
        self.time(Stage::Named("recurrent"), || {
            self.backend.recurrent_backward(&recurrent, &stage, saved, d, gradients)
        })
    }

    fn activate(
        &self,
        layer: &Activation<'_, Self>,
        mode: NormMode<'_, B::Buffer>,
        y: &B::Sequence,
        statistics: &mut B::Buffer,
        spikes: &mut B::Sequence,
        end: Option<&mut B::Buffer>,
    ) -> Result<(), B::Error> {
        let activation = layer.on();
        self.time(Stage::ForwardOn, || {
            self.backend.activate(&activation, mode, y, statistics, spikes, end)
        })?;
        if self.laps.borrow().counting {
            let rate = self.spike_rate(layer.neurons.mask, spikes)?;
            self.laps.borrow_mut().rates.push(rate);
        }
        Ok(())
    }

    fn activate_backward(
        &self,
        layer: &Activation<'_, Self>,
        y: &B::Sequence,
        statistics: &B::Buffer,
        d: &mut B::Sequence,
        gradients: ActivationGradients<'_, B::Buffer>,
    ) -> Result<(), B::Error> {
        let activation = layer.on();
        self.time(Stage::BackwardOn, || {
            self.backend.activate_backward(&activation, y, statistics, d, gradients)
        })
    }
}

impl<K, B: Backend<Real = f32> + HasKernel<K>> HasKernel<K> for Stopwatch<B> {
    fn kernel(kernel: K) -> B::Kernel {
        B::kernel(kernel)
    }
}

impl<N, B: Backend<Real = f32> + HasNeuron<N>> HasNeuron<N> for Stopwatch<B> {
    fn neuron(neuron: N) -> B::Neuron {
        B::neuron(neuron)
    }
    fn has(neuron: &N) -> bool {
        B::has(neuron)
    }
}

impl<S, B: Backend<Real = f32> + HasSurrogate<S>> HasSurrogate<S> for Stopwatch<B> {
    fn surrogate(surrogate: S) -> B::Surrogate {
        B::surrogate(surrogate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polychron_core::delay::{AnyKernel, Place};
    use polychron_core::neuron::{AnyNeuron, Lif};
    use polychron_core::surrogate::AnySurrogate;
    use polychron_core::train::{
        Batch, Input, Layer, Network, Readout, Recipe, Recurrence, Trainer,
    };
    use polychron_cpu::Cpu;

    /// An operation that is not forwarded has the default of all backends, which is slow.
    #[test]
    fn recurrent_layers_are_one_stage() {
        let (synapses, kernel) = (Synapses::new(2, 2, 3), AnyKernel::Gauss);
        let surrogate = AnySurrogate::from_name("atan", &[]).unwrap();
        let layer = Layer::new(synapses, kernel, AnyNeuron::Lif(Lif::new(2.0)), surrogate);
        let layer = layer.with_recurrence(Recurrence::new(2, 3, kernel).at(Place::Axonal));
        let network = Network::chain([layer], Readout::new(synapses, kernel, Li::new(2.0)));
        let stopwatch = Stopwatch::new(Cpu::new(1).unwrap());
        let mut trainer = Trainer::new(stopwatch, network, Recipe::paper(1), 0).unwrap();
        let (shape, x) = (Shape::new(4, 1, 2), [1.0; 8]);
        let targets = Some(&[1.0, 0.0][..]);
        let batch = Batch { shape, x: Input::Dense(&x), targets, lengths: None };
        trainer.model().backend().restart(false);
        trainer.step(&batch).unwrap();
        let laps = trainer.model().backend().restart(false);
        let stages: Vec<_> = laps.stages.iter().map(|(name, _)| name.as_str()).collect();
        assert!(stages.contains(&"recurrent"), "{stages:?}");
        assert!(!stages.contains(&"neuron"), "{stages:?}");
    }
}
