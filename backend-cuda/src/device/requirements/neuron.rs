use super::{Block, Checked, at_least, blocks, holds, holds_if_any, n};
use crate::arguments::{NeuronStage, RecurrentStage};
use crate::device::{Launch, Number};
use polychron_core::shape::{ShapeError, expect};

/// What both passes of a neuron with this many components of its state and parameters require.
fn neuron<R: Number>(a: &NeuronStage<'_, R>, states: usize, params: usize) -> Checked {
    let columns = n(a.batch) * n(a.width);
    holds_if_any("neurons' first states", &a.start, n(states as u64) * columns)?;
    holds_if_any("neurons' last states", &a.end, n(states as u64) * columns)?;
    holds("neurons' input", &a.x, n(a.steps) * columns)?;
    if a.sets != 1 && a.sets != a.width {
        let (expected, found) = (a.width as usize, a.sets as usize);
        return Err(ShapeError { what: "parameter sets", expected, found });
    }
    holds("neurons' parameters", &a.params, n(params as u64) * n(a.sets))?;
    holds_if_any("dropout mask", &a.mask, columns)?;
    holds_if_any("neurons' lengths", &a.valid, n(a.batch))?;
    // `stage.h`: SMOOTH_HELD and FROZEN read the recorded spikes.
    if a.firing >= 2 {
        holds("recorded spikes", &a.held, n(a.steps) * columns)?;
    }
    if a.saved.is_null() {
        return Ok(());
    }
    holds("norm's statistics", &a.saved, 2 * n(a.width))?;
    holds("norm's parameters", &a.norm, 2 * n(a.width))
}

pub(in crate::device) fn neuron_forward<R: Number>(
    a: &NeuronStage<'_, R>,
    states: usize,
    params: usize,
) -> Checked {
    neuron(a, states, params)?;
    holds("neurons' output", &a.spikes, n(a.steps) * n(a.batch) * n(a.width))
}

pub(in crate::device) fn neuron_backward<R: Number>(
    a: &NeuronStage<'_, R>,
    states: usize,
    params: usize,
) -> Checked {
    let columns = n(a.batch) * n(a.width);
    neuron(a, states, params)?;
    holds("neurons' states", &a.states, n(a.steps) * columns * n(states as u64))?;
    holds("neurons' output gradient", &a.d_spikes, n(a.steps) * columns)?;
    holds("neurons' input gradient", &a.d_x, n(a.steps) * columns)?;
    holds("neurons' parameter gradients", &a.d_params, columns * n(params as u64))
}

/// What both passes of recurrent neurons require.
fn recurrent<R: Number>(a: &RecurrentStage<'_, R>, launch: &Launch, states: usize) -> Checked {
    let columns = n(a.neurons.batch) * n(a.neurons.width);
    if columns > 0 {
        // `recurrent.h`: SAMPLES.
        blocks(launch, a.neurons.batch.div_ceil(2))?;
    }
    holds("states of recurrent neurons", &a.neurons.end, n(states as u64) * columns)?;
    holds_if_any("recurrent dropout mask", &a.mask, columns)?;
    let square = n(a.neurons.width) * n(a.neurons.width);
    let rows = n(a.rows) * columns;
    holds("values that neurons send", &a.sent, rows)?;
    // `recurrent.h`: PAIRS.
    if a.order == 0 {
        return holds("recurrent kernel", &a.dense, square * n(a.taps));
    }
    holds("recurrent weights", &a.dense, square)?;
    holds("delay lines", &a.lines, n(a.taps) * n(a.neurons.width))?;
    holds("relayed values", &a.relayed, rows)
}

pub(in crate::device) fn recurrent_forward<R: Number>(
    a: &RecurrentStage<'_, R>,
    launch: &Launch,
    states: usize,
    params: usize,
) -> Checked {
    neuron_forward(&a.neurons, states, params)?;
    recurrent(a, launch, states)?;
    let rows = n(a.earlier) + n(a.neurons.steps);
    at_least("rows of recurrent spikes", rows, a.rows as usize)?;
    let len = n(a.neurons.steps) * n(a.neurons.batch) * n(a.neurons.width);
    holds("recurrent neurons' input", &a.input, len)
}

pub(in crate::device) fn recurrent_backward<R: Number>(
    a: &RecurrentStage<'_, R>,
    launch: &Launch,
    states: usize,
    params: usize,
) -> Checked {
    neuron_backward(&a.neurons, states, params)?;
    recurrent(a, launch, states)?;
    expect("steps before the last", 0, a.earlier as usize)?;
    at_least("rows of recurrent gradients", n(a.neurons.steps), a.rows as usize)
}
