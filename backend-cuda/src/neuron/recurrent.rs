//! Recurrent layers: one launch for all steps of a pass.

use super::{Checked, Stage};
use crate::arguments;
use crate::backend::{Cuda, Sequence, size};
use crate::device::kernels::Pass;
use crate::device::{Buffer, In, Launch, Number, Out};
use crate::error::Error;
use crate::memory::{copy, copy_last, sum_rows};
use crate::projection::{Wiring, project_backward};
use polychron_core::backend::{Backend, RecurrentGradients, RecurrentStage};
use polychron_core::shape::{Shape, expect};

type Recurrent<'a, R> = RecurrentStage<'a, Cuda<R>>;

/// Checks the sizes of recurrent synapses. Returns the shape of the spikes from K steps before the
/// first to the last but one: the input of a projection whose last steps are the currents.
fn check<R: Number>(recurrent: &Recurrent<'_, R>, shape: Shape) -> Result<Shape, Error> {
    recurrent.check(shape)?;
    let taps = recurrent.synapses.taps;
    if let Some(mask) = recurrent.mask {
        expect("recurrent dropout mask", shape.batch * shape.width, mask.len())?;
    }
    if let Some(before) = recurrent.before {
        Shape { steps: taps, ..shape }.expect("spikes before", before.shape)?;
    }
    Ok(Shape { steps: taps.saturating_add(shape.steps.max(1)) - 1, ..shape })
}

/// What both passes share: the synapses, and a row per step of `rows` for what the neurons send.
fn arguments<'a, R: Number>(
    recurrent: &'a Recurrent<'_, R>,
    wiring: &'a Wiring<R>,
    neurons: arguments::NeuronStage<'a, R>,
    sent: Out<'a, R>,
    relayed: &'a mut Buffer<R>,
    rows: usize,
) -> Result<arguments::RecurrentStage<'a, R>, Error> {
    Ok(arguments::RecurrentStage {
        neurons,
        lines: wiring.lines(),
        dense: wiring.dense.get(),
        mask: recurrent.mask.map_or_else(In::default, Buffer::get),
        sent,
        relayed: relayed.get_mut(),
        order: wiring.order,
        taps: size("taps", recurrent.synapses.taps)?,
        rows: size("steps", rows)?,
        ..Default::default()
    })
}

fn launch<R: Number>(
    cuda: &Cuda<R>,
    pass: Pass,
    checked: &Checked<'_, R>,
    arguments: &arguments::RecurrentStage<'_, R>,
) -> Result<(), Error> {
    /// As in `recurrent.h`, and the launch bound of the kernels.
    const SAMPLES: usize = 2;
    const MOST: usize = 512;
    let Shape { batch, width, .. } = checked.shape;
    let blocks = if width == 0 { 0 } else { size("batch", batch.div_ceil(SAMPLES))? };
    let threads = width.next_multiple_of(32).clamp(32, MOST) as u32;
    let launch = Launch { grid: [blocks, 1, 1], threads, shared: 0 };
    let neuron = &checked.neuron;
    neuron.kernels.launch_recurrent(pass, neuron.sizes, &cuda.device, launch, arguments)
}

/// A scratch sequence if `wiring` has delay lines.
fn relayed<R: Number>(cuda: &Cuda<R>, wiring: &Wiring<R>, len: usize) -> Result<Buffer<R>, Error> {
    cuda.scratch(if wiring.lines.is_some() { len } else { 0 }, "relayed values")
}

pub(crate) fn forward<R: Number>(
    cuda: &Cuda<R>,
    recurrent: &Recurrent<'_, R>,
    stage: &Stage<'_, R>,
    x: &Sequence<R>,
    [input, fired, spikes]: [&mut Sequence<R>; 3],
    end: Option<&mut Buffer<R>>,
) -> Result<(), Error> {
    let shape = x.shape;
    let checked = Checked::new(cuda, stage, &None, shape)?;
    shape.expect("recurrent input", input.shape)?;
    shape.expect("recurrent spikes", fired.shape)?;
    shape.expect("neurons' output", spikes.shape)?;
    let wiring = Wiring::new(cuda, recurrent, check(recurrent, shape)?, false)?;
    let states = Shape { steps: checked.neuron.sizes[0], ..shape }.len();
    let mut own = cuda.scratch(if end.is_some() { 0 } else { states }, "the neurons' states")?;
    let end = end.unwrap_or(&mut own);
    expect("neurons' last states", states, end.len())?;
    // Earlier spikes and those of this part in one block.
    let mut all = match recurrent.before {
        Some(before) => {
            let steps = before.shape.steps.saturating_add(shape.steps);
            let (mut all, past) = (cuda.blank(Shape { steps, ..shape })?, before.values.len());
            copy(cuda, &before.values, 0..past, &mut all.values, 0..past)?;
            Some(all)
        }
        None => None,
    };
    let earlier = recurrent.before.map_or(0, |before| before.shape.steps);
    let sent = all.as_mut().map_or(&mut *fired, |all| all);
    let mut relayed = relayed(cuda, &wiring, sent.values.len())?;
    let (rows, sent) = (sent.shape.steps, sent.values.get_mut());
    let neurons = arguments::NeuronStage {
        spikes: spikes.values.get_mut(),
        end: end.get_mut(),
        ..checked.arguments(x)?
    };
    let arguments = arguments::RecurrentStage {
        input: input.values.get_mut(),
        earlier: size("steps", earlier)?,
        ..arguments(recurrent, &wiring, neurons, sent, &mut relayed, rows)?
    };
    launch(cuda, Pass::Forward, &checked, &arguments)?;
    all.map_or(Ok(()), |all| copy_last(cuda, &all, fired))
}

pub(crate) fn backward<R: Number>(
    cuda: &Cuda<R>,
    recurrent: &Recurrent<'_, R>,
    stage: &Stage<'_, R>,
    [input, fired]: [&Sequence<R>; 2],
    d: &mut Sequence<R>,
    gradients: RecurrentGradients<'_, Buffer<R>>,
) -> Result<(), Error> {
    let shape = input.shape;
    let checked = Checked::new(cuda, stage, &None, shape)?;
    shape.expect("recurrent spikes", fired.shape)?;
    shape.expect("neurons' output gradient", d.shape)?;
    let long = check(recurrent, shape)?;
    let RecurrentGradients { synapses: by_synapse, neuron: by_neuron } = gradients;
    let raw = stage.params.range.len();
    expect("neurons' parameters", raw, by_neuron.range.len())?;
    let by_neuron = by_neuron.buffer.part_mut(&by_neuron.range)?;
    let wiring = Wiring::new(cuda, recurrent, long, true)?;

    let states = Shape { steps: checked.neuron.sizes[0], ..shape }.len();
    let mut kept = cuda.scratch(states * shape.steps, "the neurons' states")?;
    let mut d_states = cuda.scratch(states, "gradients by the neurons' states")?;
    let rows = shape.batch * shape.width / checked.sets;
    let mut each = cuda.scratch(rows * raw, "the neurons' gradients")?;
    // The gradient of the projection's output is 0 before the first step.
    let mut d_current = cuda.sequence(long)?;
    let mut relayed = relayed(cuda, &wiring, d_current.values.len())?;
    let d = d.values.get_mut();
    let neurons = arguments::NeuronStage {
        end: d_states.get_mut(),
        states: kept.get_mut(),
        d_spikes: d.as_input(),
        d_x: d,
        d_params: each.get_mut(),
        ..checked.arguments(input)?
    };
    let sent = d_current.values.get_mut();
    let arguments = arguments(recurrent, &wiring, neurons, sent, &mut relayed, long.steps)?;
    launch(cuda, Pass::Backward, &checked, &arguments)?;
    if raw > 0 {
        sum_rows(cuda, each.get(), by_neuron, [1, rows, raw], R::one())?;
    }
    let spikes = shifted(cuda, recurrent, fired, long)?;
    let RecurrentStage { synapses, kernel, ref params, .. } = *recurrent;
    project_backward(cuda, synapses, kernel, params.clone(), &spikes, &d_current, by_synapse, None)
}

/// The spikes before every step, from K steps before the first on.
fn shifted<R: Number>(
    cuda: &Cuda<R>,
    recurrent: &Recurrent<'_, R>,
    fired: &Sequence<R>,
    long: Shape,
) -> Result<Sequence<R>, Error> {
    let mut all = cuda.sequence(long)?;
    let past = recurrent.synapses.taps * fired.shape.batch * fired.shape.width;
    let rest = all.values.len() - past;
    if let Some(before) = recurrent.before {
        copy(cuda, &before.values, 0..past, &mut all.values, 0..past)?;
    }
    copy(cuda, &fired.values, 0..rest, &mut all.values, past..past + rest)?;
    Ok(all)
}
