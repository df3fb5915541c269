use crate::arguments::{Readout, SumRows};
use crate::backend::{Cuda, Sequence, lengths, padding, same, size};
use crate::device::{Buffer, In, Launch, Number, Out, kernels};
use crate::error::Error;
use polychron_core::loss::Loss;
use polychron_core::neuron::Li;
use polychron_core::norm::ValidSteps;
use polychron_core::shape::expect;

const THREADS: u32 = 128;

pub(crate) fn readout<R: Number>(
    cuda: &Cuda<R>,
    readout: &Li<R>,
    loss: Loss,
    valid: ValidSteps<'_>,
    x: &Sequence<R>,
    targets: Option<&Buffer<R>>,
    scores: &mut Buffer<R>,
    d_x: Option<&mut Sequence<R>>,
) -> Result<R, Error> {
    let shape = x.shape;
    let (batch, classes) = (shape.batch, shape.width);
    expect("readout's scores", batch * classes, scores.len())?;
    if let Some(targets) = targets {
        expect("readout's targets", batch * classes, targets.len())?;
    }
    if let Some(d_x) = &d_x {
        same("readout's gradient", shape, d_x.shape)?;
    }
    if batch * classes == 0 {
        return Ok(R::zero());
    }
    let counted = cuda.lengths(valid, shape)?;
    let mut membrane = cuda.scratch(shape.len(), "the readout's membrane")?;
    let mut losses = cuda.scratch(batch, "the losses of a batch")?;
    let arguments = Readout {
        x: x.values.get(),
        valid: lengths(&counted),
        targets: targets.map_or_else(In::default, Buffer::get),
        membrane: membrane.get_mut(),
        scores: scores.get_mut(),
        losses: losses.get_mut(),
        d_x: d_x
            .filter(|_| targets.is_some())
            .map_or_else(Out::default, |d_x| d_x.values.get_mut()),
        padding: padding(valid),
        steps: size("steps", shape.steps)?,
        batch: size("batch", batch)?,
        classes: size("classes", classes)?,
        loss: match loss {
            Loss::SoftmaxSum => 0,
            Loss::Mean => 1,
            Loss::Max => 2,
            Loss::MembraneSum => 3,
        },
        rate: readout.rate,
        gain: if readout.decay_input { readout.rate } else { R::one() },
    };
    let shared = classes * R::BYTES;
    let launch = Launch { grid: [arguments.batch, 1, 1], threads: THREADS, shared };
    kernels::readout(&cuda.device, launch, &arguments)?;
    if targets.is_none() {
        return Ok(R::zero());
    }
    let mut mean = cuda.scratch(1, "a loss")?;
    sum_rows(cuda, losses.get(), mean.get_mut(), batch, 1, R::one() / R::count(batch))?;
    let mut host = [R::zero()];
    mean.download(&mut host)?;
    Ok(host[0])
}

/// `out = scale * sum over the rows` of a block `[rows, columns]`.
pub(crate) fn sum_rows<R: Number>(
    cuda: &Cuda<R>,
    values: In<'_, R>,
    out: Out<'_, R>,
    rows: usize,
    columns: usize,
    scale: R,
) -> Result<(), Error> {
    const THREADS: u32 = 1024;
    let columns = size("columns", columns)?;
    let arguments = SumRows { values, out, rows: rows as u64, columns, scale };
    let shared = THREADS as usize * R::BYTES;
    let launch = Launch { grid: [columns, 1, 1], threads: THREADS, shared };
    kernels::sum_rows(&cuda.device, launch, &arguments)
}
