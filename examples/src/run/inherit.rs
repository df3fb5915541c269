//! Runs that begin from trained weights.

use crate::error::{Result, fail};
use crate::model::Model;
use polychron_core::train::{Group, State, Tensor, TensorSpec};

/// Gives a first state the values of a trained model, within the bounds of the network, whose steps
/// last `dt_ms`. Returns the names of the tensors for which the model has none of the same name and
/// shape. If its steps have another length, delays keep theirs in ms, and the parameters of neurons
/// start anew: they are per step.
pub(super) fn inherit(
    model: &Model,
    specs: &[TensorSpec<f32>],
    dt_ms: f64,
    state: &mut State<f32>,
) -> Result<Vec<String>> {
    let ratio = model.interface().dt_ms / dt_ms;
    let mut new = Vec::new();
    let own: Vec<_> = specs.iter().filter(|spec| spec.group != Group::Sigma).collect();
    for spec in &own {
        let anew = ratio != 1.0 && spec.group == Group::Neurons;
        let factor = if spec.group == Group::Delays { ratio as f32 } else { 1.0 };
        let fits = |t: &&Tensor<f32>| !anew && t.name == spec.name && t.shape == spec.shape;
        let found = model.state().tensors.iter().find(fits);
        let start = state.tensors.iter_mut().find(|tensor| tensor.name == spec.name);
        let (Some(found), Some(start)) = (found, start) else {
            new.push(spec.name.clone());
            continue;
        };
        let values = start.values.iter_mut().zip(&found.values).enumerate();
        for (n, (value, &trained)) in values {
            let (least, most) = spec.bounds_of(n).unwrap_or((f32::MIN, f32::MAX));
            *value = (factor * trained).max(least).min(most);
        }
    }
    if new.len() == own.len() {
        let (path, run) = (model.path(), model.path().with_file_name("config.toml"));
        fail!(
            "{}: no tensor has the name and shape of one of the network; --config {} takes the \
             network of this run",
            path.display(),
            run.display()
        )
    }
    Ok(new)
}
