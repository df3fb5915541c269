//! Runs that begin from trained weights.

use crate::error::{Result, fail};
use crate::model::Model;
use crate::network::{self, place_name};
use polychron_core::connectivity::Connectivity;
use polychron_core::train::{Graph, Group, State, Tensor, TensorSpec};
use std::collections::BTreeMap;

/// Gives a first state the values of a trained model, within the bounds of the network, whose steps
/// last `dt_ms`. Returns the names of the tensors for which the model has none of the same name,
/// shape, synapses and place of delays. If its steps have another length, delays keep theirs in ms,
/// and the parameters of neurons start anew: they are per step.
pub(super) fn inherit(
    model: &Model,
    (graph, specs): (&Graph, &[TensorSpec<f32>]),
    dt_ms: f64,
    state: &mut State<f32>,
) -> Result<Vec<String>> {
    let ratio = model.interface().dt_ms / dt_ms;
    let trained = network::graph(&model.config, model.interface())?;
    let (trained, places) = (owners(&trained), owners(graph));
    let mut new = Vec::new();
    let own: Vec<_> = specs.iter().filter(|spec| spec.group != Group::Sigma).collect();
    for spec in &own {
        let anew = ratio != 1.0 && spec.group == Group::Neurons;
        let in_steps = spec.group == Group::Delays && spec.name.ends_with(".delay");
        let factor = if in_steps { ratio as f32 } else { 1.0 };
        let fits = |t: &&Tensor<f32>| {
            let same = trained.get(&t.name) == places.get(&t.name);
            !anew && t.name == spec.name && t.shape == spec.shape && same
        };
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

/// What the values of weights and delays belong to, by the names of their tensors.
fn owners(graph: &Graph) -> BTreeMap<String, (&'static str, Option<&Connectivity>)> {
    let mut places = BTreeMap::new();
    for (l, node) in graph.nodes.iter().enumerate() {
        for (c, edge) in node.connections().enumerate() {
            let (name, units) = (graph.connection_name(l, c), edge.connectivity.as_deref());
            places.insert(format!("{name}.weight"), ("", units));
            places.insert(format!("{name}.delay"), (place_name(edge), units));
        }
    }
    places
}
