use crate::arguments::{self, NeuronModel};
use crate::backend::{Cuda, Sequence, lengths, padding, same, size};
use crate::device::{Buffer, Device, In, Launch, Number, kernels};
use crate::error::Error;
use crate::readout::sum_rows;
use polychron_core::backend::{Firing, NeuronOps, NeuronStage, View, ViewMut};
use polychron_core::neuron::{self as core, AdLif, AnyNeuron, CubaLif, Li, Lif, Plif, Reset};
use polychron_core::shape::{Shape, expect};
use polychron_core::surrogate::{self, AnySurrogate, Surrogate};
use std::rc::Rc;

/// A neuron with a CUDA kernel.
#[diagnostic::on_unimplemented(
    message = "the CUDA backend has no neuron `{Self}`",
    note = "it has `Lif`, `Plif`, `Li`, `CubaLif`, `AdLif` and `AnyNeuron`; the CPU backend accepts every type that implements `Neuron`"
)]
pub trait DeviceNeuron<R: Number>: core::NeuronModel<R> {
    /// The neuron as a variant of [`AnyNeuron`].
    fn known(&self) -> AnyNeuron<R>;
}

/// A surrogate with a CUDA kernel.
#[diagnostic::on_unimplemented(
    message = "the CUDA backend has no surrogate `{Self}`",
    note = "it has the variants of `AnySurrogate`; the CPU backend accepts every type that implements `Surrogate`"
)]
pub trait DeviceSurrogate<R: Number>: Surrogate<R> {
    /// The surrogate as a variant of [`AnySurrogate`].
    fn known(&self) -> AnySurrogate<R>;
}

impl<R: Number> DeviceNeuron<R> for AnyNeuron<R> {
    fn known(&self) -> AnyNeuron<R> {
        *self
    }
}

impl<R: Number> DeviceSurrogate<R> for AnySurrogate<R> {
    fn known(&self) -> AnySurrogate<R> {
        *self
    }
}

impl<R: Number> DeviceSurrogate<R> for surrogate::StraightThrough {
    fn known(&self) -> AnySurrogate<R> {
        AnySurrogate::StraightThrough(*self)
    }
}

macro_rules! known {
    ($trait:ident, $any:ident: $($name:ident)*) => {
        $(impl<R: Number> $trait<R> for $name<R> {
            fn known(&self) -> $any<R> {
                $any::$name(*self)
            }
        })*
    };
}

known! { DeviceNeuron, AnyNeuron: Lif Plif Li CubaLif AdLif }

mod surrogates {
    use super::*;
    use surrogate::{
        Atan, Circ, Erf, Gaussian, LeakyKRelu, LeakyRect, MultiGaussian, PiecewiseExp, Rect, S2nn,
        Sigmoid, Softsign, SparseFastSigmoid, SpikeRateEscape, Triangle,
    };

    known! {
        DeviceSurrogate, AnySurrogate:
            Atan Sigmoid Softsign Triangle PiecewiseExp Erf Rect LeakyRect LeakyKRelu S2nn Gaussian
            MultiGaussian SpikeRateEscape Circ SparseFastSigmoid
    }

    macro_rules! codes {
        ($($surrogate:ident = $name:ident)*) => {
            /// The surrogates in the order of the enumeration in `surrogates.h`.
            #[derive(Clone, Copy)]
            enum Code {
                $($surrogate),*
            }

            /// The surrogate's value in the enumeration in `surrogates.h`.
            pub(super) fn code<R>(surrogate: &AnySurrogate<R>) -> u32 {
                let code = match surrogate {
                    $(AnySurrogate::$surrogate(_) => Code::$surrogate),*
                };
                code as u32
            }

            #[test]
            fn the_header_enumerates_the_same_surrogates() {
                let header = include_str!("surrogates.h");
                let (_, from) = header.split_once("enum {").unwrap();
                let (names, _) = from.split_once('}').unwrap();
                let names: Vec<_> = names.split(',').map(str::trim).collect();
                assert_eq!(names, [$(stringify!($name)),*]);
            }
        };
    }

    codes! {
        Atan = ATAN
        Sigmoid = SIGMOID
        Softsign = SOFTSIGN
        Triangle = TRIANGLE
        PiecewiseExp = PIECEWISE_EXP
        Erf = ERF
        Rect = RECT
        LeakyRect = LEAKY_RECT
        LeakyKRelu = LEAKY_K_RELU
        S2nn = S2NN
        StraightThrough = STRAIGHT_THROUGH
        Gaussian = GAUSSIAN
        MultiGaussian = MULTI_GAUSSIAN
        SpikeRateEscape = SPIKE_RATE_ESCAPE
        Circ = CIRC
        SparseFastSigmoid = SPARSE_FAST_SIGMOID
    }
}

fn leaky<R: Number>(lif: &Lif<R>) -> NeuronModel<R> {
    NeuronModel {
        rate: lif.rate,
        decay_input: u32::from(lif.decay_input),
        ..resetting(lif.threshold, lif.reset, lif.detach)
    }
}

fn resetting<R: Number>(threshold: R, reset: Reset<R>, detach: bool) -> NeuronModel<R> {
    NeuronModel {
        rate: R::zero(),
        rest: reset.rest(),
        threshold,
        decay_input: 0,
        soft: u32::from(reset == Reset::Soft),
        detach: u32::from(detach),
    }
}

fn model<R: Number>(neuron: &AnyNeuron<R>) -> NeuronModel<R> {
    match neuron {
        AnyNeuron::Lif(lif) => leaky(lif),
        AnyNeuron::Plif(plif) => leaky(plif.lif()),
        AnyNeuron::CubaLif(cuba) => leaky(cuba.lif()),
        AnyNeuron::AdLif(adlif) => {
            let (threshold, reset, detach) = adlif.membrane();
            resetting(threshold, reset, detach)
        }
        AnyNeuron::Li(li) => NeuronModel {
            rate: li.rate,
            decay_input: u32::from(li.decay_input),
            ..resetting(R::zero(), Reset::Soft, true)
        },
    }
}

/// The number of components of a neuron's state.
fn states<R>(neuron: &AnyNeuron<R>) -> usize {
    match neuron {
        AnyNeuron::Lif(_) | AnyNeuron::Plif(_) | AnyNeuron::Li(_) => 1,
        AnyNeuron::CubaLif(_) | AnyNeuron::AdLif(_) => 2,
    }
}

type Kernel<R> = fn(&Device, Launch, &arguments::NeuronStage<'_, R>) -> Result<(), Error>;

/// The forward and backward kernels. `atan` selects those for step spikes with the slope of the arc
/// tangent; the others handle every firing mode and surrogate.
fn kernels_of<R: Number>(neuron: &AnyNeuron<R>, atan: bool) -> [Kernel<R>; 2] {
    use kernels::*;
    match (neuron, atan) {
        (AnyNeuron::Lif(_), true) => [neuron_forward_lif_atan, neuron_backward_lif_atan],
        (AnyNeuron::Lif(_), false) => [neuron_forward_lif, neuron_backward_lif],
        (AnyNeuron::Plif(_), true) => [neuron_forward_plif_atan, neuron_backward_plif_atan],
        (AnyNeuron::Plif(_), false) => [neuron_forward_plif, neuron_backward_plif],
        (AnyNeuron::Li(_), _) => [neuron_forward_li, neuron_backward_li],
        (AnyNeuron::CubaLif(_), true) => {
            [neuron_forward_cuba_lif_atan, neuron_backward_cuba_lif_atan]
        }
        (AnyNeuron::CubaLif(_), false) => [neuron_forward_cuba_lif, neuron_backward_cuba_lif],
        (AnyNeuron::AdLif(_), true) => [neuron_forward_adlif_atan, neuron_backward_adlif_atan],
        (AnyNeuron::AdLif(_), false) => [neuron_forward_adlif, neuron_backward_adlif],
    }
}

type Stage<'a, R, N, S> = NeuronStage<'a, N, S, Buffer<R>, Sequence<R>>;

/// The parameters `[gamma | beta]` and statistics `[mean | 1 / deviation]` of the norm before the
/// neurons.
pub(crate) type Norm<'a, R> = Option<(View<'a, Buffer<R>>, &'a Buffer<R>)>;

/// A stage with checked sizes.
struct Checked<'a, R> {
    neuron: AnyNeuron<R>,
    shape: Shape,
    samples: Option<Rc<Buffer<u32>>>,
    padding: u32,
    params: In<'a, R>,
    held: In<'a, R>,
    mask: In<'a, R>,
    norm: In<'a, R>,
    saved: In<'a, R>,
    surrogate: AnySurrogate<R>,
    firing: u32,
}

impl<'a, R: Number> Checked<'a, R> {
    fn new<N: DeviceNeuron<R>, S: DeviceSurrogate<R>>(
        cuda: &Cuda,
        stage: &Stage<'a, R, N, S>,
        norm: &Norm<'a, R>,
        shape: Shape,
    ) -> Result<Self, Error> {
        expect("neurons' parameters", stage.neuron.param_count(), stage.params.range.len())?;
        if let Some(mask) = stage.mask {
            expect("dropout mask", shape.batch * shape.width, mask.len())?;
        }
        let (firing, held) = match stage.firing {
            Firing::Step => (0, None),
            Firing::Smooth => (1, None),
            Firing::SmoothHeld(held) => (2, Some(held)),
            Firing::Frozen(held) => (3, Some(held)),
        };
        if let Some(held) = held {
            same("recorded spikes", shape, held.shape)?;
        }
        let (norm, saved) = match norm {
            Some((params, saved)) => {
                expect("norm's parameters", 2 * shape.width, params.range.len())?;
                expect("norm's statistics", 2 * shape.width, saved.len())?;
                (params.buffer.part(&params.range)?, saved.get())
            }
            None => (In::default(), In::default()),
        };
        Ok(Self {
            neuron: stage.neuron.known(),
            shape,
            samples: cuda.lengths(stage.valid, shape)?,
            padding: padding(stage.valid),
            params: stage.params.buffer.part(&stage.params.range)?,
            held: held.map_or_else(In::default, |held| held.values.get()),
            mask: stage.mask.map_or_else(In::default, Buffer::get),
            norm,
            saved,
            surrogate: stage.surrogate.known(),
            firing,
        })
    }

    fn kernels(&self) -> [Kernel<R>; 2] {
        let atan = self.firing == 0 && matches!(self.surrogate, AnySurrogate::Atan(_));
        kernels_of(&self.neuron, atan)
    }

    fn launch(&self) -> Launch {
        Launch::each(self.shape.batch * self.shape.width, 128)
    }

    /// The arguments that both passes share, without an output.
    fn arguments<'b>(&'b self, x: &'b Sequence<R>) -> Result<arguments::NeuronStage<'b, R>, Error> {
        let parameters = self.surrogate.parameters();
        Ok(arguments::NeuronStage {
            x: x.values.get(),
            params: self.params,
            held: self.held,
            mask: self.mask,
            valid: lengths(&self.samples),
            norm: self.norm,
            saved: self.saved,
            model: model(&self.neuron),
            surrogate: parameters.map(|p| p.map_or(R::zero(), |(_, value)| value)),
            kind: surrogates::code(&self.surrogate),
            firing: self.firing,
            padding: self.padding,
            steps: size("steps", self.shape.steps)?,
            batch: size("batch", self.shape.batch)?,
            width: size("width", self.shape.width)?,
            ..Default::default()
        })
    }
}

/// The spikes for input `x`, after the norm if there is one.
pub(crate) fn forward<R: Number, N: DeviceNeuron<R>, S: DeviceSurrogate<R>>(
    cuda: &Cuda,
    stage: &Stage<'_, R, N, S>,
    norm: Norm<'_, R>,
    x: &Sequence<R>,
    spikes: &mut Sequence<R>,
) -> Result<(), Error> {
    let checked = Checked::new(cuda, stage, &norm, x.shape)?;
    same("neurons' output", x.shape, spikes.shape)?;
    let arguments =
        arguments::NeuronStage { spikes: spikes.values.get_mut(), ..checked.arguments(x)? };
    let [forward, _] = checked.kernels();
    forward(&cuda.device, checked.launch(), &arguments)
}

/// The gradients with respect to the (normalised) input and the raw parameters.
pub(crate) fn backward<R: Number, N: DeviceNeuron<R>, S: DeviceSurrogate<R>>(
    cuda: &Cuda,
    stage: &Stage<'_, R, N, S>,
    norm: Norm<'_, R>,
    x: &Sequence<R>,
    d_spikes: &Sequence<R>,
    d_x: &mut Sequence<R>,
    d_params: ViewMut<'_, Buffer<R>>,
) -> Result<(), Error> {
    let checked = Checked::new(cuda, stage, &norm, x.shape)?;
    same("neurons' gradient", x.shape, d_spikes.shape)?;
    same("neurons' gradient", x.shape, d_x.shape)?;
    let raw = stage.params.range.len();
    expect("neurons' parameters", raw, d_params.range.len())?;
    let into = d_params.buffer.part_mut(&d_params.range)?;
    let columns = x.shape.batch * x.shape.width;
    let kept = x.shape.len() * states(&checked.neuron);
    let mut kept = cuda.scratch(kept, "the neurons' states")?;
    let mut each = cuda.scratch(columns * raw, "the neurons' gradients")?;
    let arguments = arguments::NeuronStage {
        states: kept.get_mut(),
        d_spikes: d_spikes.values.get(),
        d_x: d_x.values.get_mut(),
        d_params: each.get_mut(),
        ..checked.arguments(x)?
    };
    let [_, backward] = checked.kernels();
    backward(&cuda.device, checked.launch(), &arguments)?;
    if raw == 0 {
        return Ok(());
    }
    sum_rows(cuda, each.get(), into, columns, raw, R::one())
}

impl<R: Number, N: DeviceNeuron<R>, S: DeviceSurrogate<R>> NeuronOps<R, N, S> for Cuda {
    fn neuron_forward(
        &self,
        stage: &Stage<'_, R, N, S>,
        x: &Sequence<R>,
        spikes: &mut Sequence<R>,
    ) -> Result<(), Error> {
        forward(self, stage, None, x, spikes)
    }

    fn neuron_backward(
        &self,
        stage: &Stage<'_, R, N, S>,
        x: &Sequence<R>,
        d_spikes: &Sequence<R>,
        d_x: &mut Sequence<R>,
        d_params: ViewMut<'_, Buffer<R>>,
    ) -> Result<(), Error> {
        backward(self, stage, None, x, d_spikes, d_x, d_params)
    }
}
