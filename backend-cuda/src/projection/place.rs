use crate::backend::Cuda;
use crate::device::{Buffer, Number};
use crate::error::Error;
use crate::memory::{copy, repeat_rows, sum_rows};
use polychron_core::backend::{View, ViewMut, expand_on_host, reduce_on_host};
use polychron_core::connectivity::Sharing;
use polychron_core::delay::Place;
use polychron_core::shape::{ShapeError, Synapses, expect};
use std::ops::Range;

/// The delays of the synapses as a block `[groups, rows, columns]`, whose rows are the same within
/// a group. Those of the connection are `[groups, columns]`.
fn block(place: Place, synapses: &Synapses) -> [usize; 3] {
    let Synapses { inputs, outputs, kernel_count: count, .. } = *synapses;
    match place {
        Place::Synaptic => [outputs.saturating_mul(inputs), 1, count],
        Place::Axonal => [1, outputs, inputs.saturating_mul(count)],
        Place::Dendritic => [outputs, inputs, count],
        Place::Shared => [1, outputs.saturating_mul(inputs), count],
    }
}

fn check<R: Number>(
    synapses: &Synapses,
    place: Place,
    full: &Buffer<R>,
    [packed, len]: [usize; 2],
    range: &Range<usize>,
) -> Result<(), ShapeError> {
    expect("delays of the synapses", synapses.weights(), full.len())?;
    expect("delays of the connection", place.len(synapses), range.len())?;
    expect("delays of all connections", len, packed)
}

/// The value of every synapse. A list of units takes the way through the host.
pub(crate) fn expand<R: Number>(
    cuda: &Cuda<R>,
    synapses: &Synapses,
    sharing: Sharing<'_>,
    packed: View<'_, Buffer<R>>,
    len: usize,
    full: &mut Buffer<R>,
) -> Result<(), Error> {
    let Sharing::Place(place) = sharing else {
        return expand_on_host(cuda, synapses, sharing, packed, len, full);
    };
    check(synapses, place, full, [packed.buffer.len(), len], &packed.range)?;
    let values = packed.buffer.part(&packed.range)?;
    repeat_rows(cuda, values, full.get_mut(), block(place, synapses))
}

/// The gradient by the values of the connection.
pub(crate) fn reduce<R: Number>(
    cuda: &Cuda<R>,
    synapses: &Synapses,
    sharing: Sharing<'_>,
    full: &Buffer<R>,
    packed: ViewMut<'_, Buffer<R>>,
    len: usize,
) -> Result<(), Error> {
    let Sharing::Place(place) = sharing else {
        return reduce_on_host(cuda, synapses, sharing, full, packed, len);
    };
    check(synapses, place, full, [packed.buffer.len(), len], &packed.range)?;
    if place == Place::Synaptic {
        return copy(cuda, full, 0..full.len(), packed.buffer, packed.range);
    }
    let sums = packed.buffer.part_mut(&packed.range)?;
    sum_rows(cuda, full.get(), sums, block(place, synapses), R::one())
}
