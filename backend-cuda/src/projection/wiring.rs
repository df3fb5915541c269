use super::{Projection, dense};
use crate::arguments::{BySender, Lines};
use crate::backend::{Cuda, size};
use crate::device::{Buffer, In, Launch, Number, kernels};
use crate::error::Error;
use polychron_core::backend::RecurrentStage;
use polychron_core::delay::Place;
use polychron_core::shape::Shape;

/// The recurrent synapses of a layer for a pass: how values travel from senders to receivers. Those
/// of the backward pass are gradients, which outputs send.
pub(crate) struct Wiring<R> {
    /// Delay lines `[taps][neurons]`, if the delays are those of neurons.
    pub(crate) lines: Option<Buffer<R>>,
    /// The kernel `[tap][sender][receiver]`; of one tap with delay lines.
    pub(crate) dense: Buffer<R>,
    /// The value in the enumeration in `recurrent.h`.
    pub(crate) order: u32,
}

impl<R: Number> Wiring<R> {
    pub(crate) fn new(
        cuda: &Cuda<R>,
        recurrent: &RecurrentStage<'_, Cuda<R>>,
        x: Shape,
        backwards: bool,
    ) -> Result<Self, Error> {
        let RecurrentStage { synapses, place, kernel, ref params, .. } = *recurrent;
        let projection = Projection::new(synapses, kernel, params, x, x)?;
        let sort = |dense, taps| by_sender(cuda, dense, [synapses.inputs, taps], backwards);
        let of_neurons = synapses.kernel_count == 1 && projection.sigmas == 1;
        if !of_neurons || place == Place::Synaptic {
            let dense = dense(cuda, &projection)?;
            let dense = sort(dense.get(), synapses.taps)?;
            return Ok(Self { lines: None, dense, order: 0 });
        }
        // A shared delay line is that of either side. After the matrix, spikes of 0 cost nothing.
        let at_inputs = place == Place::Axonal;
        let lines = Some(lines(cuda, &projection, if at_inputs { 1 } else { synapses.inputs })?);
        let order = if at_inputs == backwards { 2 } else { 1 };
        Ok(Self { lines, dense: sort(projection.weights, 1)?, order })
    }

    pub(crate) fn lines(&self) -> In<'_, R> {
        self.lines.as_ref().map_or_else(In::default, Buffer::get)
    }
}

/// The lines of the neurons, whose delays are `stride` synapses apart.
fn lines<R: Number>(
    cuda: &Cuda<R>,
    projection: &Projection<'_, R>,
    stride: usize,
) -> Result<Buffer<R>, Error> {
    let (neurons, taps) = (projection.synapses.inputs, projection.synapses.taps);
    let mut lines = cuda.scratch(neurons * taps, "delay lines")?;
    let arguments = Lines {
        delays: projection.delays,
        sigma: projection.sigma,
        lines: lines.get_mut(),
        stride: size("distance of delays", stride)?,
        neurons: size("neurons", neurons)?,
        taps: size("taps", taps)?,
        kernel: projection.kernel,
    };
    kernels::taps_of_lines(&cuda.device, Launch::each(neurons, 128), &arguments)?;
    Ok(lines)
}

/// The kernel `[tap][sender][receiver]` of a dense one.
fn by_sender<R: Number>(
    cuda: &Cuda<R>,
    dense: In<'_, R>,
    [neurons, taps]: [usize; 2],
    backwards: bool,
) -> Result<Buffer<R>, Error> {
    let mut sorted = cuda.scratch(dense.len(), "a recurrent kernel")?;
    let arguments = BySender {
        dense,
        sorted: sorted.get_mut(),
        neurons: size("neurons", neurons)?,
        taps: size("taps", taps)?,
        backwards: u32::from(backwards),
    };
    kernels::taps_by_sender(&cuda.device, Launch::each(dense.len(), 128), &arguments)?;
    Ok(sorted)
}
