use super::{Backend, View, ViewMut};
use crate::optim::Step;
use alloc::vec;
use core::ops::Range;
use num_traits::Zero;

/// [`Backend::optimize`] on the host, for optimizers that a backend has no kernel for.
///
/// # Errors
/// As [`Backend::optimize`]. The buffers have not changed then, unless the device fails.
pub fn optimize_on_host<B: Backend>(
    backend: &B,
    step: &Step<B::Real>,
    range: Range<usize>,
    gradient: &B::Buffer,
    params: &mut B::Buffer,
    first: &mut B::Buffer,
    second: &mut B::Buffer,
    len: usize,
) -> Result<(), B::Error> {
    let mut host = [(); 4].map(|()| vec![B::Real::zero(); len]);
    for (from, to) in [gradient, params, first, second].into_iter().zip(&mut host) {
        backend.download(from, to)?;
    }
    let [g, p, m, v] = &mut host;
    step.update(
        View::new(&*g, range.clone()).slice()?,
        ViewMut::new(p, range.clone()).slice()?,
        ViewMut::new(m, range.clone()).slice()?,
        ViewMut::new(v, range).slice()?,
    );
    backend.upload(p, params)?;
    backend.upload(m, first)?;
    backend.upload(v, second)
}
