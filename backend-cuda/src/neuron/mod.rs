mod recurrent;

use crate::arguments::{self, NeuronModel};
use crate::backend::{Cuda, Sequence, lengths, padding, size};
use crate::device::kernels::{NeuronKernels, Pass, names, neuron_kernels};
use crate::device::{Buffer, In, Launch, Number, Out};
use crate::error::Error;
use crate::memory::sum_rows;
use polychron_core::backend::{Firing, HasNeuron, HasSurrogate, NeuronStage, View, ViewMut};
use polychron_core::neuron::{
    AdLif, Alif, AnyNeuron, CSiLif, CubaLif, ErasedNeuron, Li, Lif, Neuron, Plif, SeAdLif, SiLif,
};
use polychron_core::shape::{Shape, expect};
use polychron_core::surrogate::AnySurrogate;
pub(crate) use recurrent::{backward as recurrent_backward, forward as recurrent_forward};
use std::rc::Rc;

impl<R: Number> HasNeuron<AnyNeuron<R>> for Cuda<R> {
    fn neuron(neuron: AnyNeuron<R>) -> AnyNeuron<R> {
        neuron
    }

    fn has(neuron: &AnyNeuron<R>) -> bool {
        Compiled::new(neuron).is_ok()
    }
}

impl<R: Number> HasSurrogate<AnySurrogate<R>> for Cuda<R> {
    fn surrogate(surrogate: AnySurrogate<R>) -> AnySurrogate<R> {
        surrogate
    }
}

mod surrogates {
    use super::*;
    use polychron_core::surrogate::*;

    macro_rules! surrogates {
        ($($surrogate:ident($model:ty) = $name:ident)*) => {
            $(impl<R: Number> HasSurrogate<$model> for Cuda<R> {
                fn surrogate(surrogate: $model) -> AnySurrogate<R> {
                    AnySurrogate::$surrogate(surrogate)
                }
            })*

            /// The surrogate's value in the enumeration in `surrogates.h`.
            pub(super) fn code<R: Number>(surrogate: &AnySurrogate<R>) -> Result<u32, Error> {
                let known = [$(matches!(surrogate, AnySurrogate::$surrogate(_))),*];
                let code = known.iter().position(|&found| found).map(|code| code as u32);
                code.ok_or_else(|| Error::Unsupported(format!("surrogate {surrogate:?}")))
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

    surrogates! {
        Atan(Atan<R>) = ATAN
        Sigmoid(Sigmoid<R>) = SIGMOID
        Softsign(Softsign<R>) = SOFTSIGN
        Triangle(Triangle<R>) = TRIANGLE
        PiecewiseExp(PiecewiseExp<R>) = PIECEWISE_EXP
        Erf(Erf<R>) = ERF
        Rect(Rect<R>) = RECT
        LeakyRect(LeakyRect<R>) = LEAKY_RECT
        LeakyKRelu(LeakyKRelu<R>) = LEAKY_K_RELU
        S2nn(S2nn<R>) = S2NN
        StraightThrough(StraightThrough) = STRAIGHT_THROUGH
        Gaussian(Gaussian<R>) = GAUSSIAN
        MultiGaussian(MultiGaussian<R>) = MULTI_GAUSSIAN
        SpikeRateEscape(SpikeRateEscape<R>) = SPIKE_RATE_ESCAPE
        Circ(Circ<R>) = CIRC
        SparseFastSigmoid(SparseFastSigmoid<R>) = SPARSE_FAST_SIGMOID
    }
}

/// A neuron as the kernels see it.
struct Compiled<R> {
    model: NeuronModel<R>,
    kernels: &'static NeuronKernels,
    /// The numbers of components of the state and of raw parameters.
    sizes: [usize; 2],
}

impl<R: Number> Compiled<R> {
    fn of<N: Neuron<Real = R>>(
        neuron: &N,
        model: fn(&N) -> NeuronModel<R>,
        kernels: &'static NeuronKernels,
    ) -> Self {
        let (state, params) = (neuron.rest(), neuron.params());
        let sizes = [state.as_ref().len(), params.as_ref().len()];
        Self { model: model(neuron), kernels, sizes }
    }
}

/// The table of neurons: the type, its file, and what its kernels read of the configuration.
macro_rules! neurons {
    ($($neuron:ident in $file:literal: $model:expr;)*) => {
        $(impl<R: Number> HasNeuron<$neuron<R>> for Cuda<R> {
            fn neuron(neuron: $neuron<R>) -> AnyNeuron<R> {
                AnyNeuron::$neuron(neuron)
            }
        })*

        /// The kernels and the PTX of every neuron.
        pub(crate) static NEURONS: &[(NeuronKernels, &str)] =
            &[$((neuron_kernels!($file), include_str!(concat!($file, ".ptx")))),*];

        impl<R: Number> Compiled<R> {
            fn new(neuron: &AnyNeuron<R>) -> Result<Self, Error> {
                // Not a `match`, so that a variant without a kernel can join the enumeration.
                $(if let AnyNeuron::$neuron(found) = neuron {
                    return Ok(Self::of(found, $model, &neuron_kernels!($file)));
                })*
                Err(Error::Unsupported(format!("neuron {neuron:?}")))
            }
        }
    };
}

neurons! {
    Lif in "lif": leaky;
    Plif in "plif": |plif| leaky(plif.lif());
    Li in "li": integrating;
    CubaLif in "cuba_lif": |cuba| leaky(cuba.lif());
    AdLif in "adlif": resetting;
    Alif in "alif": |alif| leaky(alif.lif());
    SeAdLif in "se_adlif": symplectic;
    SiLif in "silif": resetting;
    CSiLif in "csilif": resetting;
}

fn leaky<R: Number>(lif: &Lif<R>) -> NeuronModel<R> {
    NeuronModel { rate: lif.rate, decay_input: u32::from(lif.decay_input), ..resetting(lif) }
}

/// Threshold and reset, read off the equations: the membrane after a spike depends on the membrane
/// before it only if the reset is soft.
fn resetting<R: Number, N: Neuron<Real = R>>(neuron: &N) -> NeuronModel<R> {
    let (rest, zero) = (neuron.rest(), N::fill_state(R::zero()));
    let mut d_v = zero;
    d_v.as_mut()[0] = R::one();
    let by_membrane = neuron.reset_adjoint(rest, R::one(), d_v).charged.as_ref()[0];
    NeuronModel {
        rest: rest.as_ref()[0],
        threshold: -neuron.excess(zero),
        soft: u32::from(by_membrane != R::zero()),
        detach: u32::from(neuron.detached()),
        ..NeuronModel::default()
    }
}

/// `q` is the drive of the adaptation by a spike for `rate_w = 1`, `a = 0` and `b = 1`.
fn symplectic<R: Number>(neuron: &SeAdLif<R>) -> NeuronModel<R> {
    let at_once = neuron.with_params([R::zero(), R::infinity(), R::zero(), R::one()]);
    let [_, q] = at_once.reset([R::zero(); 2], R::one());
    NeuronModel { q, ..resetting(neuron) }
}

fn integrating<R: Number>(li: &Li<R>) -> NeuronModel<R> {
    NeuronModel { rate: li.rate, decay_input: u32::from(li.decay_input), ..NeuronModel::default() }
}

/// Checks that both have a kernel.
pub(crate) fn supports<R: Number>(
    neuron: &AnyNeuron<R>,
    surrogate: &AnySurrogate<R>,
) -> Result<(), Error> {
    Compiled::new(neuron)?;
    surrogates::code(surrogate).map(|_| ())
}

type Stage<'a, R> = NeuronStage<'a, Cuda<R>>;

/// The parameters `[gamma | beta]` and statistics `[mean | 1 / deviation]` of the norm before the
/// neurons.
pub(crate) type Norm<'a, R> = Option<(View<'a, Buffer<R>>, &'a Buffer<R>)>;

/// A stage with checked sizes.
struct Checked<'a, R> {
    neuron: Compiled<R>,
    shape: Shape,
    samples: Option<Rc<Buffer<u32>>>,
    padding: u32,
    params: In<'a, R>,
    /// The number of sets of raw parameters: 1, or one for each neuron.
    sets: usize,
    held: In<'a, R>,
    mask: In<'a, R>,
    norm: In<'a, R>,
    saved: In<'a, R>,
    /// The states before the first step; absent for neurons at rest.
    start: In<'a, R>,
    surrogate: AnySurrogate<R>,
    kind: u32,
    firing: u32,
}

impl<'a, R: Number> Checked<'a, R> {
    fn new(
        cuda: &Cuda<R>,
        stage: &Stage<'a, R>,
        norm: &Norm<'a, R>,
        shape: Shape,
    ) -> Result<Self, Error> {
        let sets = stage.sets(shape.width)?;
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
            shape.expect("recorded spikes", held.shape)?;
        }
        let (norm, saved) = match norm {
            Some((params, saved)) => {
                expect("norm's parameters", 2 * shape.width, params.range.len())?;
                expect("norm's statistics", 2 * shape.width, saved.len())?;
                (params.buffer.part(&params.range)?, saved.get())
            }
            None => (In::default(), In::default()),
        };
        if let Some(start) = stage.start {
            let states = Shape { steps: stage.neuron.state_count(), ..shape };
            expect("neurons' first states", states.len(), start.len())?;
        }
        Ok(Self {
            neuron: Compiled::new(stage.neuron)?,
            shape,
            samples: cuda.lengths(stage.valid, shape)?,
            padding: padding(stage.valid),
            params: stage.params.buffer.part(&stage.params.range)?,
            sets,
            held: held.map_or_else(In::default, |held| held.values.get()),
            mask: stage.mask.map_or_else(In::default, Buffer::get),
            norm,
            saved,
            start: stage.start.map_or_else(In::default, Buffer::get),
            surrogate: *stage.surrogate,
            kind: surrogates::code(stage.surrogate)?,
            firing,
        })
    }

    fn launch(
        &self,
        cuda: &Cuda<R>,
        pass: Pass,
        arguments: &arguments::NeuronStage<'_, R>,
    ) -> Result<(), Error> {
        let Compiled { kernels, sizes, .. } = self.neuron;
        let atan = self.firing == 0 && matches!(self.surrogate, AnySurrogate::Atan(_));
        let launch = Launch::each(self.shape.batch * self.shape.width, 128);
        kernels.launch(pass, atan, sizes, &cuda.device, launch, arguments)
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
            start: self.start,
            model: NeuronModel { ..self.neuron.model },
            surrogate: parameters.map(|p| p.map_or(R::zero(), |(_, value)| value)),
            kind: self.kind,
            firing: self.firing,
            padding: self.padding,
            steps: size("steps", self.shape.steps)?,
            batch: size("batch", self.shape.batch)?,
            width: size("width", self.shape.width)?,
            sets: size("parameter sets", self.sets)?,
            ..Default::default()
        })
    }
}

/// The spikes for input `x`, after the norm if there is one. `end` receives the last states.
pub(crate) fn forward<R: Number>(
    cuda: &Cuda<R>,
    stage: &Stage<'_, R>,
    norm: Norm<'_, R>,
    x: &Sequence<R>,
    spikes: &mut Sequence<R>,
    end: Option<&mut Buffer<R>>,
) -> Result<(), Error> {
    let checked = Checked::new(cuda, stage, &norm, x.shape)?;
    x.shape.expect("neurons' output", spikes.shape)?;
    if let Some(end) = &end {
        let states = Shape { steps: stage.neuron.state_count(), ..x.shape };
        expect("neurons' last states", states.len(), end.len())?;
    }
    let arguments = arguments::NeuronStage {
        spikes: spikes.values.get_mut(),
        end: end.map_or_else(Out::default, Buffer::get_mut),
        ..checked.arguments(x)?
    };
    checked.launch(cuda, Pass::Forward, &arguments)
}

/// The gradients with respect to the (normalised) input and the raw parameters.
pub(crate) fn backward<R: Number>(
    cuda: &Cuda<R>,
    stage: &Stage<'_, R>,
    norm: Norm<'_, R>,
    x: &Sequence<R>,
    d_spikes: &Sequence<R>,
    d_x: &mut Sequence<R>,
    d_params: ViewMut<'_, Buffer<R>>,
) -> Result<(), Error> {
    let checked = Checked::new(cuda, stage, &norm, x.shape)?;
    x.shape.expect("neurons' gradient", d_spikes.shape)?;
    x.shape.expect("neurons' gradient", d_x.shape)?;
    let raw = stage.params.range.len();
    expect("neurons' parameters", raw, d_params.range.len())?;
    let into = d_params.buffer.part_mut(&d_params.range)?;
    let columns = x.shape.batch * x.shape.width;
    let [states, _] = checked.neuron.sizes;
    let mut kept = cuda.scratch(x.shape.len() * states, "the neurons' states")?;
    let rows = columns / checked.sets;
    let mut each = cuda.scratch(rows * raw, "the neurons' gradients")?;
    let arguments = arguments::NeuronStage {
        states: kept.get_mut(),
        d_spikes: d_spikes.values.get(),
        d_x: d_x.values.get_mut(),
        d_params: each.get_mut(),
        ..checked.arguments(x)?
    };
    checked.launch(cuda, Pass::Backward, &arguments)?;
    if raw == 0 {
        return Ok(());
    }
    sum_rows(cuda, each.get(), into, [1, rows, raw], R::one())
}

/// The kernels read and write as many components as the checks of a launch allow for.
#[test]
fn the_kernels_have_the_sizes_of_the_neurons() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/");
    let mut compiled = Vec::new();
    for (label, neuron) in AnyNeuron::<f32>::examples() {
        let Ok(Compiled { kernels, sizes, .. }) = Compiled::new(&neuron) else { continue };
        compiled.push(kernels.file);
        let read = |file: &str| std::fs::read_to_string(format!("{folder}{file}")).unwrap();
        let own = read(&format!("{}.cu", kernels.file));
        let included = own.lines().next().and_then(|line| line.split('"').nth(1)).unwrap();
        let texts = [read(&format!("neuron/{included}")), read("neuron/neurons.h")];
        let size = |name: &str| {
            let of = |text: &str| {
                let (_, value) = text.split_once(&format!("{name} = "))?;
                value.split([',', ';']).next()?.parse().ok()
            };
            of(&own).or_else(|| texts.iter().find_map(|text| of(text)))
        };
        assert_eq!(["STATES", "PARAMS"].map(size), sizes.map(Some), "{label}");
    }
    compiled.sort_unstable();
    compiled.dedup();
    let mut all: Vec<_> = NEURONS.iter().map(|(kernels, _)| kernels.file).collect();
    all.sort_unstable();
    assert_eq!(compiled, all);
}
