use crate::arguments::Readout;
use crate::backend::{Cuda, Sequence, lengths, padding, size};
use crate::device::{Buffer, In, Launch, Number, Out, kernels};
use crate::error::Error;
use crate::memory::sum_rows;
use polychron_core::loss::Loss;
use polychron_core::neuron::Li;
use polychron_core::norm::ValidSteps;
use polychron_core::shape::expect;
use std::rc::Rc;

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
    let (batch, classes) = (x.shape.batch, x.shape.width);
    expect("readout's scores", batch * classes, scores.len())?;
    if let Some(targets) = targets {
        expect("readout's targets", batch * classes, targets.len())?;
    }
    if let Some(d_x) = &d_x {
        x.shape.expect("readout's gradient", d_x.shape)?;
    }
    if batch * classes == 0 {
        return Ok(R::zero());
    }
    let samples = cuda.lengths(valid, x.shape)?;
    let mut membrane = cuda.scratch(x.shape.len(), "the readout's membrane")?;
    let mut losses = cuda.scratch(batch, "the losses of a batch")?;
    let arguments = Readout {
        targets: targets.map_or_else(In::default, Buffer::get),
        scores: scores.get_mut(),
        losses: losses.get_mut(),
        d_x: d_x
            .filter(|_| targets.is_some())
            .map_or_else(Out::default, |d_x| d_x.values.get_mut()),
        ..arguments(readout, loss, valid, &samples, x, &mut membrane)?
    };
    let launch = launch(&arguments, classes * R::BYTES);
    kernels::readout(&cuda.device, launch, &arguments)?;
    if targets.is_none() {
        return Ok(R::zero());
    }
    let mut mean = cuda.scratch(1, "a loss")?;
    sum_rows(cuda, losses.get(), mean.get_mut(), [1, batch, 1], R::one() / R::count(batch))?;
    let mut host = [R::zero()];
    mean.download(&mut host)?;
    Ok(host[0])
}

pub(crate) fn backward<R: Number>(
    cuda: &Cuda<R>,
    readout: &Li<R>,
    loss: Loss,
    valid: ValidSteps<'_>,
    x: &Sequence<R>,
    d_scores: &[R],
    d_x: &mut Sequence<R>,
) -> Result<(), Error> {
    expect("readout's scores", x.shape.batch * x.shape.width, d_scores.len())?;
    x.shape.expect("readout's gradient", d_x.shape)?;
    if d_scores.is_empty() {
        return Ok(());
    }
    let samples = cuda.lengths(valid, x.shape)?;
    let mut membrane = cuda.scratch(x.shape.len(), "the readout's membrane")?;
    let d_scores = Buffer::of(&cuda.device, d_scores, "the gradient of the scores")?;
    let arguments = Readout {
        d_scores: d_scores.get(),
        d_x: d_x.values.get_mut(),
        ..arguments(readout, loss, valid, &samples, x, &mut membrane)?
    };
    kernels::readout_backward(&cuda.device, launch(&arguments, 0), &arguments)
}

/// The arguments that both kernels share.
fn arguments<'a, R: Number>(
    readout: &Li<R>,
    loss: Loss,
    valid: ValidSteps<'_>,
    samples: &'a Option<Rc<Buffer<u32>>>,
    x: &'a Sequence<R>,
    membrane: &'a mut Buffer<R>,
) -> Result<Readout<'a, R>, Error> {
    Ok(Readout {
        x: x.values.get(),
        valid: lengths(samples),
        membrane: membrane.get_mut(),
        padding: padding(valid),
        steps: size("steps", x.shape.steps)?,
        batch: size("batch", x.shape.batch)?,
        classes: size("classes", x.shape.width)?,
        loss: match loss {
            Loss::SoftmaxSum => 0,
            Loss::Mean => 1,
            Loss::Max => 2,
            Loss::MembraneSum => 3,
        },
        rate: readout.rate,
        gain: if readout.decay_input { readout.rate } else { R::one() },
        ..Readout::default()
    })
}

/// One block of threads per sample.
fn launch<R>(arguments: &Readout<'_, R>, shared: usize) -> Launch {
    Launch { grid: [arguments.batch, 1, 1], threads: 128, shared }
}
