//! Delays that a file gives, and fixed delays from a trained model.

use crate::backend::Learner;
use crate::config::{Config, Delays};
use crate::error::{Error, Result, at, fail};
use polychron_core::num::Real;
use polychron_core::train::Tensor;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::path::Path;

/// Takes the delays that are given from `network.delay_file`, and rounds all fixed and given delays
/// to whole steps, ties to even. `inherits` says whether the learner has those of a trained model.
///
/// # Errors
/// If the file cannot be read, lacks a connection, or a delay is not between 0 and the longest; if
/// there are given delays and neither a file nor a trained model.
pub(crate) fn hold_delays(
    config: &Config,
    learner: &mut dyn Learner,
    inherits: bool,
) -> Result<()> {
    let graph = learner.model().graph();
    if !graph.connections().any(|edge| edge.fixed_delays) {
        return Ok(());
    }
    let bytes;
    let mut file = None;
    if let Some(path) = &config.network.delay_file {
        bytes = std::fs::read(Path::new(path)).map_err(at(path))?;
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|error| Error::wrap(error).at(format!("{path}: not a Safetensors file")))?;
        file = Some((path, tensors));
    } else if !inherits && config.network.has_delays(Delays::Given) {
        fail!(
            "network.delays = \"given\" needs network.delay_file, or a run to begin from \
             (train --from RUN)"
        )
    }
    let mut state = learner.state()?;
    for (l, node) in graph.nodes.iter().enumerate() {
        let own = config.network.layer(l)?;
        for (c, (edge, input)) in node.connections().zip(&own.inputs).enumerate() {
            let name = format!("{}.delay", graph.connection_name(l, c));
            let found = state.tensors.iter_mut().find(|tensor| tensor.name == name);
            let Some(tensor) = found.filter(|_| edge.fixed_delays) else { continue };
            if let (Some((path, file)), Some(Delays::Given)) = (&file, input.delays) {
                let longest = edge.synapses.taps - 1;
                read(file, longest, config.data.dt_ms, tensor).map_err(at(path))?;
            }
            tensor.values.iter_mut().for_each(|d| *d = d.round_even());
        }
    }
    learner.restore(&state)
}

/// Reads the delays of a connection in steps.
fn read(file: &SafeTensors<'_>, longest: usize, dt_ms: u32, to: &mut Tensor<f32>) -> Result<()> {
    let name = &to.name;
    let (view, shown, step) = match (file.tensor(name), file.tensor(&format!("{name}_ms"))) {
        (Ok(view), _) => (view, name.clone(), 1.0),
        (_, Ok(view)) => (view, format!("{name}_ms"), f64::from(dt_ms)),
        _ => fail!("tensor {name} or {name}_ms is missing"),
    };
    // One kernel element per synapse needs no dimension.
    let short = to.shape.strip_suffix(&[1]);
    if view.shape() != to.shape && short != Some(view.shape()) {
        fail!("tensor {shown} has the shape {:?}, not {:?}", view.shape(), to.shape)
    }
    for (n, (to, given)) in to.values.iter_mut().zip(numbers(&view, &shown)?).enumerate() {
        let steps = given / step;
        if !(0.0..=longest as f64).contains(&steps) {
            let most = longest as f64 * step;
            fail!("tensor {shown}[{n}] = {given} is not between 0 and {most}, the longest delay")
        }
        *to = steps as f32;
    }
    Ok(())
}

fn numbers(view: &TensorView<'_>, name: &str) -> Result<Vec<f64>> {
    fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        bytes.as_chunks::<N>().0.iter().map(|&bytes| number(bytes)).collect()
    }
    let bytes = view.data();
    Ok(match view.dtype() {
        Dtype::F32 => each(bytes, |b| f32::from_le_bytes(b).into()),
        Dtype::F64 => each(bytes, f64::from_le_bytes),
        Dtype::I32 => each(bytes, |b| i32::from_le_bytes(b).into()),
        Dtype::I64 => each(bytes, |b| i64::from_le_bytes(b) as f64),
        other => fail!("tensor {name} has type {other:?}, not F32, F64, I32 or I64"),
    })
}
