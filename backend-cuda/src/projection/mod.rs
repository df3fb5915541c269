mod frequency;
mod place;
mod wiring;

pub(crate) use frequency::Tables;
pub(crate) use place::{expand, reduce};
pub(crate) use wiring::Wiring;

use crate::arguments::{Direct, Taps};
use crate::backend::{Cuda, Sequence, size};
use crate::device::{Buffer, In, Launch, Number, Out, kernels};
use crate::error::Error;
use crate::memory::sum_rows;
use polychron_core::backend::{HasKernel, SynapseGradients, SynapseParams};
use polychron_core::delay::{AnyKernel, Discrete, Gauss, Linear, Max, Rounding};
use polychron_core::shape::{Shape, Synapses, expect};

/// The algorithm of a projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// A product of spectra in every bin, with transforms in shared memory. Sequence and kernel
    /// together may have up to 6144 steps in `f32`, 3072 in `f64`. Cost: 8 bins B I O operations
    /// per direction; the number of bins is half the length.
    Frequency,
    /// One multiply-add per tap, for any length. Cost: 2 T B I O K operations per direction.
    Direct,
}

/// The work of one direction of a delayed projection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// Multiply-adds of the synapses, without those of the transforms.
    pub multiply_adds: f64,
    /// Bytes moved: input and output once, kernels and spectra written and read once.
    pub bytes: f64,
}

/// The work of a projection of an input of shape `input`: forward, gradient by the kernel, gradient
/// by the input. `None` selects the algorithm as
/// [`Cuda::with_algorithm`](crate::Cuda::with_algorithm) does.
#[must_use]
pub fn work<R: Number>(
    synapses: &Synapses,
    input: Shape,
    algorithm: Option<Algorithm>,
) -> [Work; 3] {
    let Synapses { inputs, outputs, kernel_count: count, taps, .. } = *synapses;
    let output = synapses.output(input);
    let (pairs, batch) = ((inputs * outputs) as f64, input.batch as f64);
    let ends = (input.len() + output.len()) as f64;
    let parameters = 3.0 * pairs * count as f64;
    let plan = match algorithm {
        Some(Algorithm::Direct) => None,
        _ => frequency::Plan::new::<R>(synapses, input, output),
    };
    let Some(plan) = plan else {
        let kernel = pairs * taps as f64;
        let bytes = R::BYTES as f64 * (ends + parameters + 2.0 * kernel);
        return [Work { multiply_adds: kernel * batch * input.steps as f64, bytes }; 3];
    };
    let bins = plan.bins() as f64;
    let spectra = |columns: f64| 4.0 * bins * columns;
    let (x, y) = (batch * inputs as f64, batch * outputs as f64);
    let all = spectra(x) + spectra(pairs) + spectra(y);
    let moved = [all, all, spectra(x) + spectra(pairs) + 0.5 * spectra(y)];
    moved.map(|spectra| Work {
        multiply_adds: 4.0 * bins * batch * pairs,
        bytes: R::BYTES as f64 * (ends + parameters + spectra),
    })
}

impl<R: Number> HasKernel<AnyKernel> for Cuda<R> {
    fn kernel(kernel: AnyKernel) -> AnyKernel {
        kernel
    }
}

macro_rules! kernels {
    ($($kernel:ident)*) => {
        /// The delay kernels in the order of the enumeration in `taps.h`.
        const KERNELS: &[AnyKernel] = &[$(AnyKernel::$kernel),*];

        $(impl<R: Number> HasKernel<$kernel> for Cuda<R> {
            fn kernel(_: $kernel) -> AnyKernel {
                AnyKernel::$kernel
            }
        })*
    };
}

kernels! { Gauss Max Linear Discrete }

/// The kernel's value in the enumeration in `taps.h`.
pub(crate) fn code(kernel: &AnyKernel) -> Result<u32, Error> {
    let code = KERNELS.iter().position(|known| known == kernel);
    code.map(|code| code as u32)
        .ok_or_else(|| Error::Unsupported(format!("delay kernel {kernel:?}")))
}

/// A projection with checked sizes and its parameters on the device.
struct Projection<'a, R> {
    synapses: Synapses,
    /// As [`code`].
    kernel: u32,
    weights: In<'a, R>,
    delays: In<'a, R>,
    sigma: In<'a, R>,
    /// 1 if all synapses share a sigma, else one per kernel element.
    sigmas: usize,
    x: Shape,
    y: Shape,
}

impl<'a, R: Number> Projection<'a, R> {
    fn new(
        synapses: &Synapses,
        kernel: &AnyKernel,
        params: &SynapseParams<'a, Buffer<R>>,
        x: Shape,
        y: Shape,
    ) -> Result<Self, Error> {
        synapses.check(x, y)?;
        let SynapseParams { weights, delays, sigma, .. } = params;
        check_sizes(synapses, [weights.range.len(), delays.range.len(), sigma.range.len()])?;
        size("taps of a kernel", synapses.taps)?;
        size("kernel elements", synapses.kernel_count)?;
        Ok(Self {
            synapses: *synapses,
            kernel: code(&params.rounding.map_or(*kernel, Rounding::kernel))?,
            weights: weights.buffer.part(&weights.range)?,
            delays: delays.buffer.part(&delays.range)?,
            sigma: sigma.buffer.part(&sigma.range)?,
            sigmas: sigma.range.len(),
            x,
            y,
        })
    }

    /// The parameters as kernel arguments, without input and output.
    fn taps(&self) -> Taps<'a, R> {
        let Synapses { inputs, outputs, kernel_count: count, taps, .. } = self.synapses;
        Taps {
            weights: self.weights,
            delays: self.delays,
            sigma: self.sigma,
            sigmas: self.sigmas as u64,
            synapses: (inputs * outputs) as u64,
            count: count as u32,
            taps: taps as u32,
            kernel: self.kernel,
            ..Taps::default()
        }
    }

    /// The plan of the transforms, or `None` for the direct algorithm.
    fn plan(&self, algorithm: Option<Algorithm>) -> Option<frequency::Plan> {
        if algorithm == Some(Algorithm::Direct) {
            return None;
        }
        frequency::Plan::new::<R>(&self.synapses, self.x, self.y)
    }
}

fn check_sizes(synapses: &Synapses, [weights, delays, sigma]: [usize; 3]) -> Result<(), Error> {
    let n = synapses.weights();
    expect("projection's weights", n, weights)?;
    expect("projection's delays", n, delays)?;
    if sigma != 1 {
        expect("projection's sigma", n, sigma)?;
    }
    Ok(())
}

/// The outputs for the gradients of the parameters.
struct Gradients<'a, R> {
    weights: Out<'a, R>,
    delays: Out<'a, R>,
    /// One per kernel element.
    sigma: Out<'a, R>,
}

pub(crate) fn project<R: Number>(
    cuda: &Cuda<R>,
    synapses: &Synapses,
    kernel: &AnyKernel,
    params: SynapseParams<'_, Buffer<R>>,
    x: &Sequence<R>,
    y: &mut Sequence<R>,
) -> Result<(), Error> {
    let projection = Projection::new(synapses, kernel, &params, x.shape, y.shape)?;
    match projection.plan(cuda.algorithm) {
        Some(plan) => frequency::forward(cuda, &plan, &projection, x, y),
        None => forward(cuda, &projection, x, y),
    }
}

pub(crate) fn project_backward<R: Number>(
    cuda: &Cuda<R>,
    synapses: &Synapses,
    kernel: &AnyKernel,
    params: SynapseParams<'_, Buffer<R>>,
    x: &Sequence<R>,
    d_y: &Sequence<R>,
    gradients: SynapseGradients<'_, Buffer<R>>,
    mut d_x: Option<&mut Sequence<R>>,
) -> Result<(), Error> {
    let projection = Projection::new(synapses, kernel, &params, x.shape, d_y.shape)?;
    let SynapseGradients { weights, delays, sigma } = gradients;
    check_sizes(synapses, [weights.range.len(), delays.range.len(), sigma.range.len()])?;
    expect("projection's sigma gradient", projection.sigmas, sigma.range.len())?;
    if let Some(d_x) = &d_x {
        x.shape.expect("projection's input gradient", d_x.shape)?;
    }
    let shared = sigma.range.len() == 1;
    let mut each =
        cuda.scratch(if shared { synapses.weights() } else { 0 }, "sigma's gradients")?;
    let d_sigma = sigma.buffer.part_mut(&sigma.range)?;
    let (into, total) = if shared { (each.get_mut(), Some(d_sigma)) } else { (d_sigma, None) };
    let gradients = Gradients {
        weights: weights.buffer.part_mut(&weights.range)?,
        delays: delays.buffer.part_mut(&delays.range)?,
        sigma: into,
    };
    match projection.plan(cuda.algorithm) {
        Some(plan) => {
            frequency::backward(cuda, &plan, &projection, x, d_y, gradients, &mut d_x)?;
        }
        None => backward(cuda, &projection, x, d_y, gradients, &mut d_x)?,
    }
    match total {
        Some(total) => sum_rows(cuda, each.get(), total, [1, synapses.weights(), 1], R::one()),
        None => Ok(()),
    }
}

fn dense<R: Number>(cuda: &Cuda<R>, projection: &Projection<'_, R>) -> Result<Buffer<R>, Error> {
    let Synapses { inputs, outputs, taps, .. } = projection.synapses;
    let mut dense = cuda.scratch(inputs * outputs * taps, "a dense kernel")?;
    let arguments = Taps { dense: dense.get_mut(), ..projection.taps() };
    kernels::taps_to_dense(&cuda.device, Launch::each(inputs * outputs, 128), &arguments)?;
    Ok(dense)
}

fn direct<'a, R: Number>(projection: &Projection<'_, R>) -> Result<Direct<'a, R>, Error> {
    let Synapses { inputs, outputs, taps, .. } = projection.synapses;
    Ok(Direct {
        x_steps: size("steps", projection.x.steps)?,
        y_steps: size("steps", projection.y.steps)?,
        batch: size("batch", projection.x.batch)?,
        inputs: size("inputs", inputs)?,
        outputs: size("outputs", outputs)?,
        taps: size("taps", taps)?,
        ..Direct::default()
    })
}

fn forward<R: Number>(
    cuda: &Cuda<R>,
    projection: &Projection<'_, R>,
    x: &Sequence<R>,
    y: &mut Sequence<R>,
) -> Result<(), Error> {
    let dense = dense(cuda, projection)?;
    let launch = Launch::each(y.shape.len(), 128);
    let arguments = Direct {
        dense: dense.get(),
        x: x.values.get(),
        y: y.values.get_mut(),
        ..direct(projection)?
    };
    kernels::direct_forward(&cuda.device, launch, &arguments)
}

fn backward<R: Number>(
    cuda: &Cuda<R>,
    projection: &Projection<'_, R>,
    x: &Sequence<R>,
    d_y: &Sequence<R>,
    gradients: Gradients<'_, R>,
    d_x: &mut Option<&mut Sequence<R>>,
) -> Result<(), Error> {
    if let Some(d_x) = d_x {
        let dense = dense(cuda, projection)?;
        let launch = Launch::each(d_x.shape.len(), 128);
        let arguments = Direct {
            dense: dense.get(),
            d_y: d_y.values.get(),
            d_x: d_x.values.get_mut(),
            ..direct(projection)?
        };
        kernels::direct_input(&cuda.device, launch, &arguments)?;
    }
    let Synapses { inputs, outputs, taps, .. } = projection.synapses;
    let len = inputs * outputs * taps;
    let mut d_dense = cuda.scratch(len, "a dense kernel's gradient")?;
    let arguments = Direct {
        x: x.values.get(),
        d_y: d_y.values.get(),
        d_dense: d_dense.get_mut(),
        ..direct(projection)?
    };
    kernels::direct_kernel(&cuda.device, Launch::each(len, 128), &arguments)?;
    let Gradients { weights: d_weights, delays: d_delays, sigma: d_sigma } = gradients;
    let arguments =
        Taps { d_dense: d_dense.get(), d_weights, d_delays, d_sigma, ..projection.taps() };
    kernels::taps_from_dense(&cuda.device, Launch::each(inputs * outputs, 128), &arguments)
}
