use polychron_core::backend::{
    Backend, Event, HasKernel, HasNeuron, HasSurrogate, NeuronStage, NormMode, SynapseGradients,
    SynapseParams, View, ViewMut,
};
use polychron_core::connectivity::Sharing;
use polychron_core::delay::Place;
use polychron_core::loss::{Loss, RatePenalty};
use polychron_core::neuron::Li;
use polychron_core::norm::{BatchNorm, ValidSteps};
use polychron_core::optim::{Optimizer, Step};
use polychron_core::reference::{Block, Reference};
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, ShapeError, Synapses};
use std::cell::Cell;
use std::ops::Range;

/// The fault of a backend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    None,
    /// The forward pass of the projection delays by one more step.
    DelaysOneLate,
    /// The output of the projection is one step early.
    OutputOneEarly,
    /// The output of the projection is increased by 1.
    OutputPlusOne,
    /// The last value of the output of the projection is not written.
    OutputFallsShort,
    /// The range of the weights starts at 0.
    ViewsFromZero,
    /// The gradient of the weights is added to the previous values.
    GradientsAdded,
    /// The gradient of the weights is written one value too far.
    GradientsSpill,
    /// The whole buffer of the gradient of the weights is cleared by a product with 0 first, which
    /// leaves the NaN around a part.
    GradientsCleared,
    /// The gradient of the delays has the wrong sign.
    DelaySign,
    /// Delays are not rounded.
    NeverRounded,
    /// Every projection differs slightly from the previous one.
    NeverTheSame,
    /// An input sequence is cached by its address.
    StaleUpload,
    /// An upload of the wrong size is truncated.
    UploadCutsOff,
    /// Downloads have another order.
    WidthAfterBatch,
    /// Lengths are ignored.
    NoLengths,
    /// The running statistics are not updated.
    RunningStands,
    /// The backward pass of the norm treats the statistics as constants.
    StatisticsConstant,
    /// Spikes are one step late.
    SpikesOneLate,
    /// The backward pass of the neurons ignores the mask.
    NoMaskInGradient,
    /// All neurons have the parameters of the first.
    FirstParameters,
    /// The gradient by the parameters of each neuron is that by those of all.
    ParametersOfAll,
    /// The gradient is written without targets.
    TouchesGradient,
    /// The optimizer ignores its range.
    AdamEverywhere,
    /// The optimizer uses the wrong step number.
    AdamFromZero,
    /// The dropout mask is that of another generator.
    OtherMask,
    /// Only the first value is tested.
    FirstIsFinite,
    /// Events are written over the previous values.
    EventsOverlay,
    /// Sequences are not added.
    AddsNothing,
    /// Sequences are joined in the other order.
    JoinsBackwards,
    /// The first steps are copied.
    CopiesFirst,
    /// Every neuron has the first bias.
    FirstBias,
    /// The gradient by a bias is that of the first step.
    BiasOfFirstStep,
    /// Buffers are not added.
    AddsNoBuffer,
    /// The delays of an axonal connection are sorted over its synapses.
    DelaysSorted,
    /// Every delay has the gradient of its last synapse.
    LastSynapse,
    /// Neurons start at rest.
    AlwaysAtRest,
    /// Neurons start at rest in the backward pass.
    BackwardFromRest,
    /// The last states are the first.
    StatesStand,
    /// The scores are taken for means.
    GradientOfTheMean,
    /// Gradient descent ignores its range.
    DescentEverywhere,
    /// The root of the sum of squares is returned.
    NormNotSquared,
    /// The gradient of the penalty replaces the other gradient.
    PenaltyReplaces,
}

/// The reference with one fault.
pub(crate) struct Wrong {
    fault: Fault,
    calls: Cell<u64>,
    /// The first projected input and its address.
    first: Cell<Option<(*const f64, Block<f64>)>>,
}

impl Wrong {
    pub(crate) fn new(fault: Fault) -> Self {
        Self { fault, calls: Cell::new(0), first: Cell::new(None) }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn valid<'a>(&self, valid: ValidSteps<'a>) -> ValidSteps<'a> {
        if self.is(Fault::NoLengths) { ValidSteps::default() } else { valid }
    }
}

/// Moves a block by one step, earlier or later, and fills the gap with zeros.
fn moved(block: &Block<f64>, later: bool) -> Vec<f64> {
    let row = (block.shape.batch * block.shape.width).min(block.values.len());
    let zeros = vec![0.0; row];
    if later {
        [&zeros, &block.values[..block.values.len() - row]].concat()
    } else {
        [&block.values[row..], &zeros].concat()
    }
}

type Result<T> = core::result::Result<T, ShapeError>;
type Stage<'a> = NeuronStage<'a, Reference<f64>>;

const REFERENCE: Reference<f64> = Reference::new();

impl<K> HasKernel<K> for Wrong
where
    Reference<f64>: HasKernel<K>,
{
    fn kernel(kernel: K) -> Self::Kernel {
        Reference::kernel(kernel)
    }
}

impl<N> HasNeuron<N> for Wrong
where
    Reference<f64>: HasNeuron<N>,
{
    fn neuron(neuron: N) -> Self::Neuron {
        Reference::neuron(neuron)
    }
}

impl<S> HasSurrogate<S> for Wrong
where
    Reference<f64>: HasSurrogate<S>,
{
    fn surrogate(surrogate: S) -> Self::Surrogate {
        Reference::surrogate(surrogate)
    }
}

impl Backend for Wrong {
    type Real = f64;
    type Buffer = Vec<f64>;
    type Sequence = Block<f64>;
    type Kernel = <Reference<f64> as Backend>::Kernel;
    type Neuron = <Reference<f64> as Backend>::Neuron;
    type Surrogate = <Reference<f64> as Backend>::Surrogate;
    type Error = ShapeError;

    fn name(&self) -> &'static str {
        "wrong"
    }
    fn buffer(&self, len: usize) -> Result<Vec<f64>> {
        REFERENCE.buffer(len)
    }
    fn sequence(&self, shape: Shape) -> Result<Block<f64>> {
        REFERENCE.sequence(shape)
    }
    fn shape(&self, sequence: &Block<f64>) -> Shape {
        sequence.shape
    }
    fn upload(&self, from: &[f64], to: &mut Vec<f64>) -> Result<()> {
        if self.is(Fault::UploadCutsOff) {
            to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
            return Ok(());
        }
        REFERENCE.upload(from, to)
    }
    fn download(&self, from: &Vec<f64>, to: &mut [f64]) -> Result<()> {
        REFERENCE.download(from, to)
    }
    fn upload_sequence(&self, from: &[f64], to: &mut Block<f64>) -> Result<()> {
        REFERENCE.upload_sequence(from, to)
    }
    fn download_sequence(&self, from: &Block<f64>, to: &mut [f64]) -> Result<()> {
        REFERENCE.download_sequence(from, to)?;
        if self.is(Fault::WidthAfterBatch) {
            to.reverse();
        }
        Ok(())
    }
    fn synchronize(&self) -> Result<()> {
        Ok(())
    }
    fn are_finite(&self, buffers: &[(&Vec<f64>, usize)]) -> Result<bool> {
        if self.is(Fault::FirstIsFinite) {
            return Ok(buffers.iter().all(|(b, _)| b.first().is_none_or(|x| x.is_finite())));
        }
        REFERENCE.are_finite(buffers)
    }

    fn upload_events(&self, events: &[Event<f64>], to: &mut Block<f64>) -> Result<()> {
        let before = to.values.clone();
        REFERENCE.upload_events(events, to)?;
        if self.is(Fault::EventsOverlay) {
            let both = to.values.iter_mut().zip(before);
            both.filter(|(x, _)| **x == 0.0).for_each(|(x, before)| *x = before);
        }
        Ok(())
    }

    fn add(&self, x: &Block<f64>, sum: &mut Block<f64>) -> Result<()> {
        if self.is(Fault::AddsNothing) { Ok(()) } else { REFERENCE.add(x, sum) }
    }

    fn join(&self, a: &Block<f64>, b: &Block<f64>, joined: &mut Block<f64>) -> Result<()> {
        let (a, b) = if self.is(Fault::JoinsBackwards) { (b, a) } else { (a, b) };
        REFERENCE.join(a, b, joined)
    }

    fn copy_last(&self, x: &Block<f64>, last: &mut Block<f64>) -> Result<()> {
        REFERENCE.copy_last(x, last)?;
        if self.is(Fault::CopiesFirst) {
            last.values = x.values[..last.values.len()].to_vec();
        }
        Ok(())
    }

    fn add_buffer(&self, x: &Vec<f64>, sum: &mut Vec<f64>, len: usize) -> Result<()> {
        if self.is(Fault::AddsNoBuffer) { Ok(()) } else { REFERENCE.add_buffer(x, sum, len) }
    }

    fn expand(
        &self,
        synapses: &Synapses,
        sharing: Sharing<'_>,
        packed: View<'_, Vec<f64>>,
        len: usize,
        full: &mut Vec<f64>,
    ) -> Result<()> {
        REFERENCE.expand(synapses, sharing, packed, len, full)?;
        if self.is(Fault::DelaysSorted) && sharing == Sharing::Place(Place::Axonal) {
            full.sort_by(f64::total_cmp);
        }
        Ok(())
    }

    fn reduce(
        &self,
        synapses: &Synapses,
        sharing: Sharing<'_>,
        full: &Vec<f64>,
        packed: ViewMut<'_, Vec<f64>>,
        len: usize,
    ) -> Result<()> {
        let (buffer, start) = (packed.buffer, packed.range.start);
        REFERENCE.reduce(synapses, sharing, full, ViewMut::new(buffer, packed.range), len)?;
        if self.is(Fault::LastSynapse) {
            for (n, &d) in full.iter().enumerate() {
                let (o, e) = (n / synapses.kernel_count, n % synapses.kernel_count);
                let (o, i) = (o / synapses.inputs, o % synapses.inputs);
                if let Some(index) = sharing.index(synapses, o, i, e) {
                    buffer[start + index] = d;
                }
            }
        }
        Ok(())
    }

    fn readout_backward(
        &self,
        li: &Li<f64>,
        loss: Loss,
        valid: ValidSteps<'_>,
        x: &Block<f64>,
        d_scores: &[f64],
        d_x: &mut Block<f64>,
    ) -> Result<()> {
        let loss = if self.is(Fault::GradientOfTheMean) { Loss::Mean } else { loss };
        REFERENCE.readout_backward(li, loss, valid, x, d_scores, d_x)
    }

    fn square_sum(&self, buffer: &Vec<f64>, len: usize) -> Result<f64> {
        let sum = REFERENCE.square_sum(buffer, len)?;
        Ok(if self.is(Fault::NormNotSquared) { sum.sqrt() } else { sum })
    }

    fn penalize_rates(
        &self,
        penalty: &RatePenalty,
        valid: ValidSteps<'_>,
        spikes: &Block<f64>,
        d: &mut Block<f64>,
    ) -> Result<f64> {
        if self.is(Fault::PenaltyReplaces) {
            d.values.fill(0.0);
        }
        REFERENCE.penalize_rates(penalty, valid, spikes, d)
    }

    fn norm_forward(
        &self,
        norm: &BatchNorm<f64>,
        params: View<'_, Vec<f64>>,
        mode: NormMode<'_, Vec<f64>>,
        valid: ValidSteps<'_>,
        y: &Block<f64>,
        saved: &mut Vec<f64>,
        z: &mut Block<f64>,
    ) -> Result<()> {
        let momentum = if self.is(Fault::RunningStands) { 0.0 } else { norm.momentum };
        let norm = BatchNorm { momentum, ..*norm };
        REFERENCE.norm_forward(&norm, params, mode, self.valid(valid), y, saved, z)
    }

    fn norm_apply(
        &self,
        params: View<'_, Vec<f64>>,
        saved: &Vec<f64>,
        y: &Block<f64>,
        z: &mut Block<f64>,
    ) -> Result<()> {
        REFERENCE.norm_apply(params, saved, y, z)
    }

    fn norm_backward(
        &self,
        params: View<'_, Vec<f64>>,
        saved: &Vec<f64>,
        valid: ValidSteps<'_>,
        y: &Block<f64>,
        d_z: &Block<f64>,
        d_y: &mut Block<f64>,
        d_params: ViewMut<'_, Vec<f64>>,
    ) -> Result<()> {
        REFERENCE.norm_backward(params.clone(), saved, valid, y, d_z, d_y, d_params)?;
        if self.is(Fault::StatisticsConstant) {
            let (gamma, width) = (&params.buffer[params.range], y.shape.width);
            for (at, d) in d_y.values.iter_mut().enumerate() {
                *d = d_z.values[at] * gamma[at % width] * saved[width + at % width];
            }
        }
        Ok(())
    }

    fn readout(
        &self,
        li: &Li<f64>,
        loss: Loss,
        valid: ValidSteps<'_>,
        x: &Block<f64>,
        targets: Option<&Vec<f64>>,
        scores: &mut Vec<f64>,
        mut d_x: Option<&mut Block<f64>>,
    ) -> Result<f64> {
        if let (true, Some(d_x)) = (self.is(Fault::TouchesGradient), &mut d_x) {
            d_x.values.fill(0.0);
        }
        REFERENCE.readout(li, loss, self.valid(valid), x, targets, scores, d_x)
    }

    fn optimize(
        &self,
        step: &Step<f64>,
        range: Range<usize>,
        gradient: &Vec<f64>,
        params: &mut Vec<f64>,
        first: &mut Vec<f64>,
        second: &mut Vec<f64>,
        len: usize,
    ) -> Result<()> {
        let everywhere = match step.optimizer {
            Optimizer::Adam(_) => self.is(Fault::AdamEverywhere),
            _ => self.is(Fault::DescentEverywhere),
        };
        let range = if everywhere { 0..len } else { range };
        let number = if self.is(Fault::AdamFromZero) { step.number + 1 } else { step.number };
        let step = Step { number, ..*step };
        REFERENCE.optimize(&step, range, gradient, params, first, second, len)
    }

    fn dropout(&self, rng: Rng, p: f64, len: usize) -> Result<Vec<f64>> {
        let rng = if self.is(Fault::OtherMask) { rng.fork(1) } else { rng };
        REFERENCE.dropout(rng, p, len)
    }

    fn project(
        &self,
        synapses: &Synapses,
        kernel: &Self::Kernel,
        params: SynapseParams<'_, Vec<f64>>,
        x: &Block<f64>,
        y: &mut Block<f64>,
    ) -> Result<()> {
        let SynapseParams { mut weights, delays, sigma, rounding } = params;
        let late: Vec<f64> = delays.buffer.iter().map(|d| d + 1.0).collect();
        let one_late = View::new(&late, delays.range.clone());
        let delays = if self.is(Fault::DelaysOneLate) { one_late } else { delays };
        if self.is(Fault::ViewsFromZero) {
            weights.range = 0..weights.range.len();
        }
        let rounding = rounding.filter(|_| !self.is(Fault::NeverRounded));
        let params = SynapseParams { weights, delays, sigma, rounding };
        let first = self.first.take().unwrap_or_else(|| (x.values.as_ptr(), x.clone()));
        let stale = self.is(Fault::StaleUpload) && first.0 == x.values.as_ptr();
        let before = y.values.last().copied();
        let result =
            REFERENCE.project(synapses, kernel, params, if stale { &first.1 } else { x }, y);
        self.first.set(Some(first));
        result?;
        self.calls.set(self.calls.get() + 1);
        match (self.fault, before) {
            (Fault::OutputOneEarly, _) => y.values = moved(y, false),
            (Fault::OutputPlusOne, _) => y.values.iter_mut().for_each(|y| *y += 1.0),
            (Fault::NeverTheSame, _) => y.values[0] += self.calls.get() as f64 * 1e-15,
            (Fault::OutputFallsShort, Some(before)) => *y.values.last_mut().unwrap() = before,
            _ => {}
        }
        Ok(())
    }

    fn project_backward(
        &self,
        synapses: &Synapses,
        kernel: &Self::Kernel,
        params: SynapseParams<'_, Vec<f64>>,
        x: &Block<f64>,
        d_y: &Block<f64>,
        gradients: SynapseGradients<'_, Vec<f64>>,
        d_x: Option<&mut Block<f64>>,
    ) -> Result<()> {
        let SynapseGradients { weights, delays, sigma } = gradients;
        let (d_weights, at) = (weights.buffer, weights.range);
        let (d_delays, delays_at) = (delays.buffer, delays.range);
        let before = d_weights.clone();
        let inner = SynapseGradients {
            weights: ViewMut::new(d_weights, at.clone()),
            delays: ViewMut::new(d_delays, delays_at.clone()),
            sigma,
        };
        REFERENCE.project_backward(synapses, kernel, params, x, d_y, inner, d_x)?;
        match self.fault {
            Fault::GradientsAdded => {
                d_weights.iter_mut().zip(before).for_each(|(d, before)| *d += before);
            }
            Fault::GradientsCleared => {
                let outside = d_weights.iter_mut().enumerate().filter(|(n, _)| !at.contains(n));
                outside.for_each(|(_, d)| *d *= 0.0);
            }
            Fault::GradientsSpill => d_weights[at.end] = 0.0,
            Fault::DelaySign => d_delays[delays_at].iter_mut().for_each(|d| *d = -*d),
            _ => {}
        }
        Ok(())
    }

    fn add_bias(&self, bias: View<'_, Vec<f64>>, len: usize, y: &mut Block<f64>) -> Result<()> {
        let mut biases = bias.buffer.clone();
        if let (true, Some(own)) = (self.is(Fault::FirstBias), biases.get_mut(bias.range.clone())) {
            own.fill(own[0]);
        }
        REFERENCE.add_bias(View::new(&biases, bias.range), len, y)
    }

    fn bias_backward(
        &self,
        d_y: &Block<f64>,
        d_bias: ViewMut<'_, Vec<f64>>,
        len: usize,
    ) -> Result<()> {
        let mut d_y = d_y.clone();
        if self.is(Fault::BiasOfFirstStep) {
            d_y.values.iter_mut().skip(d_y.shape.batch * d_y.shape.width).for_each(|d| *d = 0.0);
        }
        REFERENCE.bias_backward(&d_y, d_bias, len)
    }

    fn neuron_forward(
        &self,
        stage: &NeuronStage<'_, Self>,
        x: &Block<f64>,
        spikes: &mut Block<f64>,
        mut end: Option<&mut Vec<f64>>,
    ) -> Result<()> {
        let mut stage = Stage { valid: self.valid(stage.valid), ..stage.on() };
        stage.start = stage.start.filter(|_| !self.is(Fault::AlwaysAtRest));
        let sets = stage.sets(x.shape.width)?;
        let first: Vec<_> = stage.params.clone().slice()?.iter().step_by(sets).copied().collect();
        if self.is(Fault::FirstParameters) {
            stage.params = View::new(&first, 0..first.len());
        }
        REFERENCE.neuron_forward(&stage, x, spikes, end.as_deref_mut())?;
        if self.is(Fault::SpikesOneLate) {
            spikes.values = moved(spikes, true);
        }
        if let (true, Some(end), Some(start)) = (self.is(Fault::StatesStand), end, stage.start) {
            end.copy_from_slice(start);
        }
        Ok(())
    }

    fn neuron_backward(
        &self,
        stage: &NeuronStage<'_, Self>,
        x: &Block<f64>,
        d_spikes: &Block<f64>,
        d_x: &mut Block<f64>,
        d_params: ViewMut<'_, Vec<f64>>,
    ) -> Result<()> {
        let mask = stage.mask.filter(|_| !self.is(Fault::NoMaskInGradient));
        let start = stage.start.filter(|_| !self.is(Fault::BackwardFromRest));
        let stage = Stage { mask, start, ..stage.on() };
        let (into, range) = (d_params.buffer, d_params.range);
        let d_params = ViewMut::new(into, range.clone());
        REFERENCE.neuron_backward(&stage, x, d_spikes, d_x, d_params)?;
        if self.is(Fault::ParametersOfAll) {
            for set in into[range].chunks_mut(stage.sets(x.shape.width)?) {
                set.fill(set.iter().sum());
            }
        }
        Ok(())
    }
}
