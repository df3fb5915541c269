//! Runs that begin from trained weights.

use crate::error::{Result, fail};
use crate::model::Model;
use polychron_core::train::{Group, State, Tensor, TensorSpec};

/// Gives a first state the values of a trained model, within the bounds of the network. Returns the
/// names of the tensors for which the model has none of the same name and shape.
pub(super) fn inherit(
    model: &Model,
    specs: &[TensorSpec<f32>],
    state: &mut State<f32>,
) -> Result<Vec<String>> {
    let mut new = Vec::new();
    let own: Vec<_> = specs.iter().filter(|spec| spec.group != Group::Sigma).collect();
    for spec in &own {
        let fits = |t: &&Tensor<f32>| t.name == spec.name && t.shape == spec.shape;
        let found = model.state().tensors.iter().find(fits);
        let start = state.tensors.iter_mut().find(|tensor| tensor.name == spec.name);
        let (Some(found), Some(start)) = (found, start) else {
            new.push(spec.name.clone());
            continue;
        };
        let values = start.values.iter_mut().zip(&found.values).enumerate();
        for (n, (value, &trained)) in values {
            let (least, most) = spec.bounds_of(n).unwrap_or((f32::MIN, f32::MAX));
            *value = trained.max(least).min(most);
        }
    }
    if new.len() == own.len() {
        fail!("{}: no tensor has the name and shape of one of the network", model.path().display())
    }
    Ok(new)
}
