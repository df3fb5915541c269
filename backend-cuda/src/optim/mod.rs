use crate::arguments::AdamStep;
use crate::backend::Cuda;
use crate::device::{Buffer, Launch, Number, kernels};
use crate::error::Error;
use polychron_core::optim::Adam;
use std::ops::Range;

pub(crate) fn adam<R: Number>(
    cuda: &Cuda<R>,
    adam: &Adam<R>,
    range: Range<usize>,
    gradient: &Buffer<R>,
    params: &mut Buffer<R>,
    first: &mut Buffer<R>,
    second: &mut Buffer<R>,
) -> Result<(), Error> {
    let (scale, root) = adam.corrections();
    let (low, high) = adam.bounds.unwrap_or((R::zero(), R::zero()));
    let arguments = AdamStep {
        gradient: gradient.part(&range)?,
        params: params.part_mut(&range)?,
        first: first.part_mut(&range)?,
        second: second.part_mut(&range)?,
        len: range.len() as u64,
        rate: adam.rate,
        beta1: adam.beta1,
        beta2: adam.beta2,
        epsilon: adam.epsilon,
        l2: adam.l2,
        scale,
        root,
        low,
        high,
        decoupled: u32::from(adam.decoupled),
        bounded: u32::from(adam.bounds.is_some()),
    };
    kernels::adam(&cuda.device, Launch::each(range.len(), 256), &arguments)
}
