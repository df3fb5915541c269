use crate::arguments::AdamStep;
use crate::backend::Cuda;
use crate::device::{Buffer, Launch, Number, kernels};
use crate::error::Error;
use polychron_core::optim::{Adam, Step};
use std::ops::Range;

pub(crate) fn adam<R: Number>(
    cuda: &Cuda<R>,
    adam: &Adam,
    step: &Step<R>,
    range: Range<usize>,
    gradient: &Buffer<R>,
    params: &mut Buffer<R>,
    first: &mut Buffer<R>,
    second: &mut Buffer<R>,
) -> Result<(), Error> {
    let (scale, root) = adam.corrections(step);
    let (low, high) = step.bounds.unwrap_or((R::zero(), R::zero()));
    let arguments = AdamStep {
        gradient: gradient.part(&range)?,
        params: params.part_mut(&range)?,
        first: first.part_mut(&range)?,
        second: second.part_mut(&range)?,
        len: range.len() as u64,
        rate: step.rate,
        beta1: step.beta1,
        beta2: R::of(adam.beta2),
        epsilon: R::of(adam.epsilon),
        l2: step.l2,
        scale,
        root,
        low,
        high,
        decoupled: u32::from(step.decoupled),
        bounded: u32::from(step.bounds.is_some()),
    };
    kernels::adam(&cuda.device, Launch::each(range.len(), 256), &arguments)
}
