use crate::device::{Buffer, Device, In, Number};
use crate::error::Error;
use crate::projection::{self, Algorithm, Tables};
use crate::{memory, neuron, norm, optim, readout};
use polychron_core::backend::{
    Activation, ActivationGradients, Backend, Event, NeuronStage, NormMode, RecurrentGradients,
    RecurrentStage, SynapseGradients, SynapseParams, View, ViewMut, optimize_on_host,
};
use polychron_core::connectivity::Sharing;
use polychron_core::delay::AnyKernel;
use polychron_core::loss::{Loss, RatePenalty};
use polychron_core::neuron::{AnyNeuron, Li};
use polychron_core::norm::{BatchNorm, ValidSteps};
use polychron_core::optim::{Optimizer, Step};
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, ShapeError, Synapses, expect};
use polychron_core::surrogate::AnySurrogate;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

/// The backend for one GPU and one number type, `f32` or `f64`. It stays on the thread that created
/// it.
///
/// It has the delay kernels `Gauss`, `Max`, `Linear` and `Discrete`; the neurons and surrogates for
/// which it implements `HasNeuron` and `HasSurrogate`; and `AnyKernel`, `AnyNeuron` and
/// `AnySurrogate`.
#[derive(Debug)]
pub struct Cuda<R> {
    pub(crate) device: Rc<Device>,
    pub(crate) algorithm: Option<Algorithm>,
    samples: RefCell<Option<Samples>>,
    /// By length.
    tables: RefCell<HashMap<usize, Rc<Tables<R>>>>,
}

/// The most recent lengths, on the host and on the device.
type Samples = (Vec<u32>, Rc<Buffer<u32>>);

/// A block `[time, batch, width]` in device memory, time-major.
#[derive(Debug)]
pub struct Sequence<R> {
    pub(crate) shape: Shape,
    pub(crate) values: Buffer<R>,
}

impl<R: Number> Cuda<R> {
    /// The GPU with this number, counted from 0.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if there is no such GPU or the kernels do not run on it;
    /// [`Error::Driver`].
    pub fn new(ordinal: u32) -> Result<Self, Error> {
        Ok(Self::on(Device::new(ordinal)?))
    }

    /// An emulated device on the host: slow, for tests.
    #[cfg(feature = "emulator")]
    #[must_use]
    pub fn emulated(limits: crate::Emulated) -> Self {
        Self::on(Device::emulated(limits))
    }

    fn on(device: Device) -> Self {
        let (samples, tables) = Default::default();
        Self { device: Rc::new(device), algorithm: None, samples, tables }
    }

    /// Sets the algorithm of all projections. `None` selects the frequency domain if the sequence
    /// fits.
    #[must_use]
    pub fn with_algorithm(self, algorithm: Option<Algorithm>) -> Self {
        Self { algorithm, ..self }
    }

    pub(crate) fn scratch(&self, len: usize, what: &str) -> Result<Buffer<R>, Error> {
        Buffer::new(&self.device, len, || format!("{what}, {len} numbers of {}", R::NAME))
    }

    /// A sequence with uninitialised values.
    pub(crate) fn blank(&self, shape: Shape) -> Result<Sequence<R>, Error> {
        let values = Buffer::new(&self.device, count(shape)?, || named::<R>(shape))?;
        Ok(Sequence { shape, values })
    }

    /// The lengths of the samples on the device, kept for the next call; `None` if all steps are
    /// valid.
    pub(crate) fn lengths(
        &self,
        valid: ValidSteps<'_>,
        shape: Shape,
    ) -> Result<Option<Rc<Buffer<u32>>>, Error> {
        let Some(lengths) = valid.lengths else { return Ok(None) };
        // A sample without a length has all steps.
        let length =
            |b| lengths.get(b).map_or(u32::MAX, |&l: &usize| l.try_into().unwrap_or(u32::MAX));
        let samples: Vec<u32> = (0..shape.batch).map(length).collect();
        let mut last = self.samples.borrow_mut();
        match &*last {
            Some((known, buffer)) if *known == samples => Ok(Some(buffer.clone())),
            _ => {
                let buffer = Buffer::of(&self.device, &samples, "the lengths of a batch")?;
                let (_, buffer) = last.insert((samples, Rc::new(buffer)));
                Ok(Some(buffer.clone()))
            }
        }
    }

    /// The tables for transforms of this length.
    pub(crate) fn tables(&self, length: usize) -> Result<Rc<Tables<R>>, Error> {
        if let Some(tables) = self.tables.borrow().get(&length) {
            return Ok(tables.clone());
        }
        let tables = Rc::new(Tables::new(&self.device, length)?);
        self.tables.borrow_mut().insert(length, tables.clone());
        Ok(tables)
    }
}

/// The lengths as a kernel argument.
pub(crate) fn lengths(samples: &Option<Rc<Buffer<u32>>>) -> In<'_, u32> {
    samples.as_ref().map_or_else(In::default, |samples| samples.get())
}

/// The padding of the layers so far, in steps.
pub(crate) fn padding(valid: ValidSteps<'_>) -> u32 {
    valid.padding.try_into().unwrap_or(u32::MAX)
}

/// Checks that a size fits the 32-bit arithmetic of the kernels.
pub(crate) fn size(what: &'static str, n: usize) -> Result<u32, ShapeError> {
    let largest = u32::MAX as usize / 2;
    u32::try_from(n).ok().filter(|_| n <= largest).ok_or(ShapeError {
        what,
        expected: largest,
        found: n,
    })
}

/// The number of values in a shape, after checks that every side fits the kernels.
fn count(shape: Shape) -> Result<usize, Error> {
    for (what, side) in [("steps", shape.steps), ("batch", shape.batch), ("width", shape.width)] {
        size(what, side)?;
    }
    size("batch times width", shape.batch.saturating_mul(shape.width))?;
    size("steps times batch", shape.steps.saturating_mul(shape.batch))?;
    let rows = shape.batch * shape.width;
    let what = "numbers in a sequence";
    rows.checked_mul(shape.steps).ok_or(Error::Shape(ShapeError {
        what,
        expected: usize::MAX,
        found: rows,
    }))
}

fn named<R: Number>(shape: Shape) -> String {
    let Shape { steps, batch, width } = shape;
    format!("a sequence of {steps} steps x {batch} samples x {width} neurons of {}", R::NAME)
}

impl<R: Number> Backend for Cuda<R> {
    type Real = R;
    type Buffer = Buffer<R>;
    type Sequence = Sequence<R>;
    type Kernel = AnyKernel;
    type Neuron = AnyNeuron<R>;
    type Surrogate = AnySurrogate<R>;
    type Error = Error;

    fn name(&self) -> &'static str {
        self.device.name()
    }

    /// Includes released blocks kept for reuse: the peak so far, unless memory ran short.
    fn device_bytes(&self) -> Option<usize> {
        Some(self.device.used())
    }

    fn buffer(&self, len: usize) -> Result<Buffer<R>, Error> {
        Buffer::zeros(&self.device, len, || format!("a buffer of {len} numbers of {}", R::NAME))
    }

    fn sequence(&self, shape: Shape) -> Result<Sequence<R>, Error> {
        let values = Buffer::zeros(&self.device, count(shape)?, || named::<R>(shape))?;
        Ok(Sequence { shape, values })
    }

    fn shape(&self, sequence: &Sequence<R>) -> Shape {
        sequence.shape
    }

    fn upload(&self, from: &[R], to: &mut Buffer<R>) -> Result<(), Error> {
        to.upload(from)
    }

    fn download(&self, from: &Buffer<R>, to: &mut [R]) -> Result<(), Error> {
        from.download(to)
    }

    fn upload_sequence(&self, from: &[R], to: &mut Sequence<R>) -> Result<(), Error> {
        to.values.upload(from)
    }

    /// An event takes 8 bytes in `f32` and 12 in `f64`: its place in the block and its value. A
    /// batch that is smaller as a dense block travels as that.
    fn upload_events(&self, events: &[Event<R>], to: &mut Sequence<R>) -> Result<(), Error> {
        memory::upload_events(self, events, to)
    }

    fn download_sequence(&self, from: &Sequence<R>, to: &mut [R]) -> Result<(), Error> {
        from.values.download(to)
    }

    fn synchronize(&self) -> Result<(), Error> {
        self.device.synchronize()
    }

    fn supports(
        &self,
        kernels: &[&AnyKernel],
        neuron: Option<(&AnyNeuron<R>, &AnySurrogate<R>)>,
    ) -> Result<(), Error> {
        for kernel in kernels {
            projection::code(kernel)?;
        }
        neuron.map_or(Ok(()), |(neuron, surrogate)| neuron::supports(neuron, surrogate))
    }

    fn join(
        &self,
        first: &Sequence<R>,
        second: &Sequence<R>,
        joined: &mut Sequence<R>,
    ) -> Result<(), Error> {
        memory::join(self, first, second, joined)
    }

    fn copy_last(&self, x: &Sequence<R>, last: &mut Sequence<R>) -> Result<(), Error> {
        memory::copy_last(self, x, last)
    }

    fn add_buffer(&self, x: &Buffer<R>, sum: &mut Buffer<R>, len: usize) -> Result<(), Error> {
        memory::add_buffer(self, x, sum, len)
    }

    fn add(&self, x: &Sequence<R>, sum: &mut Sequence<R>) -> Result<(), Error> {
        memory::add(self, x, sum)
    }

    fn expand(
        &self,
        synapses: &Synapses,
        sharing: Sharing<'_>,
        packed: View<'_, Buffer<R>>,
        len: usize,
        full: &mut Buffer<R>,
    ) -> Result<(), Error> {
        projection::expand(self, synapses, sharing, packed, len, full)
    }

    fn reduce(
        &self,
        synapses: &Synapses,
        sharing: Sharing<'_>,
        full: &Buffer<R>,
        packed: ViewMut<'_, Buffer<R>>,
        len: usize,
    ) -> Result<(), Error> {
        projection::reduce(self, synapses, sharing, full, packed, len)
    }

    fn project(
        &self,
        synapses: &Synapses,
        kernel: &AnyKernel,
        params: SynapseParams<'_, Buffer<R>>,
        x: &Sequence<R>,
        y: &mut Sequence<R>,
    ) -> Result<(), Error> {
        projection::project(self, synapses, kernel, params, x, y)
    }

    fn project_backward(
        &self,
        synapses: &Synapses,
        kernel: &AnyKernel,
        params: SynapseParams<'_, Buffer<R>>,
        x: &Sequence<R>,
        d_y: &Sequence<R>,
        gradients: SynapseGradients<'_, Buffer<R>>,
        d_x: Option<&mut Sequence<R>>,
    ) -> Result<(), Error> {
        projection::project_backward(self, synapses, kernel, params, x, d_y, gradients, d_x)
    }

    fn norm_forward(
        &self,
        norm: &BatchNorm<R>,
        params: View<'_, Buffer<R>>,
        mode: NormMode<'_, Buffer<R>>,
        valid: ValidSteps<'_>,
        y: &Sequence<R>,
        saved: &mut Buffer<R>,
        z: &mut Sequence<R>,
    ) -> Result<(), Error> {
        y.shape.expect("norm's output", z.shape)?;
        expect("norm's parameters", 2 * y.shape.width, params.range.len())?;
        params.buffer.part(&params.range)?;
        norm::statistics(self, norm, mode, valid, y, saved)?;
        norm::apply(self, params, saved, y, z)
    }

    fn norm_apply(
        &self,
        params: View<'_, Buffer<R>>,
        saved: &Buffer<R>,
        y: &Sequence<R>,
        z: &mut Sequence<R>,
    ) -> Result<(), Error> {
        norm::apply(self, params, saved, y, z)
    }

    fn norm_backward(
        &self,
        params: View<'_, Buffer<R>>,
        saved: &Buffer<R>,
        valid: ValidSteps<'_>,
        y: &Sequence<R>,
        d_z: &Sequence<R>,
        d_y: &mut Sequence<R>,
        d_params: ViewMut<'_, Buffer<R>>,
    ) -> Result<(), Error> {
        y.shape.expect("norm's gradient", d_z.shape)?;
        y.shape.expect("norm's gradient", d_y.shape)?;
        norm::backward(self, params, saved, valid, y, Some(d_z), d_y, d_params)
    }

    fn neuron_forward(
        &self,
        stage: &NeuronStage<'_, Self>,
        x: &Sequence<R>,
        spikes: &mut Sequence<R>,
        end: Option<&mut Buffer<R>>,
    ) -> Result<(), Error> {
        neuron::forward(self, stage, None, x, spikes, end)
    }

    fn neuron_backward(
        &self,
        stage: &NeuronStage<'_, Self>,
        x: &Sequence<R>,
        d_spikes: &Sequence<R>,
        d_x: &mut Sequence<R>,
        d_params: ViewMut<'_, Buffer<R>>,
    ) -> Result<(), Error> {
        neuron::backward(self, stage, None, x, d_spikes, d_x, d_params)
    }

    fn recurrent_forward(
        &self,
        recurrent: &RecurrentStage<'_, Self>,
        stage: &NeuronStage<'_, Self>,
        x: &Sequence<R>,
        outputs: [&mut Sequence<R>; 3],
        end: Option<&mut Buffer<R>>,
    ) -> Result<(), Error> {
        neuron::recurrent_forward(self, recurrent, stage, x, outputs, end)
    }

    fn recurrent_backward(
        &self,
        recurrent: &RecurrentStage<'_, Self>,
        stage: &NeuronStage<'_, Self>,
        saved: [&Sequence<R>; 2],
        d: &mut Sequence<R>,
        gradients: RecurrentGradients<'_, Buffer<R>>,
    ) -> Result<(), Error> {
        neuron::recurrent_backward(self, recurrent, stage, saved, d, gradients)
    }

    /// The kernels of the neurons apply the norm when they read their input.
    fn activate(
        &self,
        layer: &Activation<'_, Self>,
        mode: NormMode<'_, Buffer<R>>,
        y: &Sequence<R>,
        statistics: &mut Buffer<R>,
        spikes: &mut Sequence<R>,
        end: Option<&mut Buffer<R>>,
    ) -> Result<(), Error> {
        y.shape.expect("layer's output", spikes.shape)?;
        let norm = match &layer.norm {
            Some((norm, params)) => {
                norm::statistics(self, norm, mode, layer.neurons.valid, y, statistics)?;
                Some((params.clone(), &*statistics))
            }
            None => None,
        };
        neuron::forward(self, &layer.neurons, norm, y, spikes, end)
    }

    fn activate_backward(
        &self,
        layer: &Activation<'_, Self>,
        y: &Sequence<R>,
        statistics: &Buffer<R>,
        d: &mut Sequence<R>,
        gradients: ActivationGradients<'_, Buffer<R>>,
    ) -> Result<(), Error> {
        let Activation { norm, neurons } = layer;
        let mut d_y = self.blank(y.shape)?;
        let norm = norm.as_ref().map(|(_, params)| (params.clone(), statistics));
        neuron::backward(self, neurons, norm.clone(), y, d, &mut d_y, gradients.neuron)?;
        if let Some((params, saved)) = norm {
            let (valid, into) = (neurons.valid, gradients.norm);
            norm::backward(self, params, saved, valid, y, None, &mut d_y, into)?;
        }
        *d = d_y;
        Ok(())
    }

    fn readout(
        &self,
        readout: &Li<R>,
        loss: Loss,
        valid: ValidSteps<'_>,
        x: &Sequence<R>,
        targets: Option<&Buffer<R>>,
        scores: &mut Buffer<R>,
        d_x: Option<&mut Sequence<R>>,
    ) -> Result<R, Error> {
        readout::readout(self, readout, loss, valid, x, targets, scores, d_x)
    }

    fn readout_backward(
        &self,
        readout: &Li<R>,
        loss: Loss,
        valid: ValidSteps<'_>,
        x: &Sequence<R>,
        d_scores: &[R],
        d_x: &mut Sequence<R>,
    ) -> Result<(), Error> {
        readout::backward(self, readout, loss, valid, x, d_scores, d_x)
    }

    fn optimize(
        &self,
        step: &Step<R>,
        range: Range<usize>,
        gradient: &Buffer<R>,
        params: &mut Buffer<R>,
        first: &mut Buffer<R>,
        second: &mut Buffer<R>,
        len: usize,
    ) -> Result<(), Error> {
        match step.optimizer {
            Optimizer::Adam(adam) => {
                optim::adam(self, &adam, step, range, gradient, params, first, second)
            }
            _ => optimize_on_host(self, step, range, gradient, params, first, second, len),
        }
    }

    fn square_sum(&self, buffer: &Buffer<R>, len: usize) -> Result<f64, Error> {
        memory::square_sum(self, buffer, len)
    }

    fn scale(&self, factor: R, buffer: &mut Buffer<R>, len: usize) -> Result<(), Error> {
        memory::scale(self, factor, buffer, len)
    }

    fn penalize_rates(
        &self,
        penalty: &RatePenalty,
        valid: ValidSteps<'_>,
        spikes: &Sequence<R>,
        d: &mut Sequence<R>,
    ) -> Result<R, Error> {
        norm::penalize_rates(self, penalty, valid, spikes, d)
    }

    fn dropout(&self, rng: Rng, p: f64, len: usize) -> Result<Buffer<R>, Error> {
        memory::dropout(self, rng, p, len)
    }

    fn are_finite(&self, buffers: &[(&Buffer<R>, usize)]) -> Result<bool, Error> {
        memory::are_finite(self, buffers)
    }
}
