//! Packed and full values of connections, on the host.

use super::{Backend, View, ViewMut};
use crate::connectivity::Sharing;
use crate::shape::{Synapses, try_size};
use alloc::vec;
use num_traits::Zero;

/// [`Backend::expand`] on the host, for any backend.
///
/// # Errors
/// As [`Backend::expand`].
pub fn expand_on_host<B: Backend>(
    backend: &B,
    synapses: &Synapses,
    sharing: Sharing<'_>,
    packed: View<'_, B::Buffer>,
    len: usize,
    full: &mut B::Buffer,
) -> Result<(), B::Error> {
    let all = try_size("values of the synapses", synapses.weights())?;
    let mut host = [len, all].map(|len| vec![B::Real::zero(); len]);
    let [values, all] = &mut host;
    backend.download(packed.buffer, values)?;
    sharing.expand(synapses, View::new(&*values, packed.range).slice()?, all)?;
    backend.upload(all, full)
}

/// [`Backend::reduce`] on the host, for any backend.
///
/// # Errors
/// As [`Backend::reduce`].
pub fn reduce_on_host<B: Backend>(
    backend: &B,
    synapses: &Synapses,
    sharing: Sharing<'_>,
    full: &B::Buffer,
    packed: ViewMut<'_, B::Buffer>,
    len: usize,
) -> Result<(), B::Error> {
    let all = try_size("values of the synapses", synapses.weights())?;
    let mut host = [all, len].map(|len| vec![B::Real::zero(); len]);
    let [all, values] = &mut host;
    backend.download(full, all)?;
    backend.download(packed.buffer, values)?;
    sharing.reduce(synapses, all, ViewMut::new(values, packed.range).slice()?)?;
    backend.upload(values, packed.buffer)
}
