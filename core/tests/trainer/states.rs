//! The tensors of a trainer: their initial values, their moments, and states that do not fit.

use super::{Data, small};
use polychron_core::init;
use polychron_core::train::{Group, Init, StateError, Tensor, TrainError};

/// Earlier versions stored the moments of a group as one tensor: `adam.first.weights`.
#[test]
fn a_state_with_moments_by_group_goes_on_bit_for_bit() {
    let (mut trainer, data) = (small(1), Data::new(3));
    for _ in 0..3 {
        trainer.step(&data.batch()).unwrap();
    }
    let mut old = trainer.state().unwrap();
    let mut groups: Vec<Tensor<f64>> = Vec::new();
    let specs: Vec<_> = trainer.model().specs().iter().map(|s| (s.name.clone(), s.group)).collect();
    for order in ["first", "second"] {
        for (group, part) in [
            ("weights", Group::Weights),
            ("delays", Group::Delays),
            ("sigma", Group::Sigma),
            ("norms", Group::Norms),
            ("neurons", Group::Neurons),
        ] {
            let mut values = Vec::new();
            for (name, _) in specs.iter().filter(|(_, group)| *group == part) {
                let name = format!("adam.{order}.{name}");
                let n = old.tensors.iter().position(|tensor| tensor.name == name).unwrap();
                values.extend(old.tensors.remove(n).values);
            }
            let (name, shape) = (format!("adam.{order}.{group}"), vec![values.len()]);
            groups.extend((!values.is_empty()).then_some(Tensor { name, shape, values }));
        }
    }
    assert!(old.tensors.iter().all(|tensor| !tensor.name.starts_with("adam.")));
    old.tensors.extend(groups);
    let mut resumed = small(2);
    resumed.restore(&old).unwrap();
    assert_eq!(resumed.state().unwrap(), trainer.state().unwrap());
    let steps = [&mut trainer, &mut resumed].map(|trainer| trainer.step(&data.batch()).unwrap());
    assert_eq!(steps[0], steps[1]);
    assert_eq!(resumed.state().unwrap(), trainer.state().unwrap());
    let norms = old.tensors.iter_mut().find(|tensor| tensor.name == "adam.second.norms").unwrap();
    norms.values[2] = -2.0;
    let error = resumed.restore(&old).unwrap_err().to_string();
    assert_eq!(error, "tensor adam.second.norms[2] is -2, not between 0 and inf");
}

#[test]
fn moments_have_the_shapes_of_their_tensors() {
    let trainer = small(1);
    let state = trainer.state().unwrap();
    for spec in trainer.model().specs().iter().filter(|spec| spec.group != Group::Statistics) {
        for order in ["first", "second"] {
            let name = format!("adam.{order}.{}", spec.name);
            let moment = state.tensors.iter().find(|tensor| tensor.name == name).unwrap();
            assert_eq!(
                (&moment.shape, moment.values.len()),
                (&spec.shape, spec.shape.iter().product())
            );
        }
    }
}

#[test]
fn tensors_start_as_their_specs_say() {
    let trainer = small(1);
    let tensors = trainer.model().tensors().unwrap();
    let [mut constant, mut random] = [0; 2];
    for (spec, Tensor { values, .. }) in trainer.model().specs().iter().zip(tensors) {
        let mut expected = vec![0.0; values.len()];
        match &spec.init {
            Init::Constant(rows) => {
                // A schedule sets sigma.
                let rows = if spec.group == Group::Sigma { &vec![2.0] } else { rows };
                let each = values.len() / rows.len();
                expected = rows.iter().flat_map(|&row| vec![row; each]).collect();
                constant += 1;
            }
            Init::Orthogonal(..) => unreachable!("the network is not recurrent"),
            Init::Biases(..) => unreachable!("the network has norms"),
            Init::Weights(synapses, rng) => {
                init::weights(synapses, *rng, &mut expected);
                random += 1;
            }
            Init::Delays(synapses, delays, rng) => {
                init::delays(synapses, *delays, *rng, &mut expected);
                random += 1;
            }
            Init::FixedDelays(..) => panic!("{} is fixed", spec.name),
        }
        assert_eq!(values, expected, "{}", spec.name);
    }
    assert_eq!((constant, random), (6, 4));
}

#[test]
fn an_invalid_state_is_refused_and_changes_nothing() {
    let mut trainer = small(1);
    let before = trainer.state().unwrap();
    let mut other = before.clone();
    other.tensors.iter_mut().find(|t| t.name == "output.weight").unwrap().values[3] = f64::INFINITY;
    let error = trainer.restore(&other).unwrap_err();
    let name = "output.weight".to_string();
    assert_eq!(error, TrainError::State(StateError::NotFinite { name, index: 3 }));
    other.tensors.retain(|t| t.name != "output.weight");
    assert_eq!(trainer.restore(&other).unwrap_err().to_string(), "tensor output.weight is missing");
    assert_eq!(trainer.state().unwrap(), before);
}

#[test]
fn values_out_of_range_are_refused_and_change_nothing() {
    let mut trainer = small(1);
    let before = trainer.state().unwrap();
    for (name, value, message) in [
        ("hidden.0.running_var", -0.5, "is -0.5, not between 0 and inf"),
        ("hidden.0.delay", 4.25, "is 4.25, not between 0 and 4"),
        ("output.delay", -1.0, "is -1, not between 0 and 4"),
        ("adam.second.hidden.0.gamma", -2.0, "is -2, not between 0 and inf"),
    ] {
        let mut other = before.clone();
        other.tensors.iter_mut().find(|t| t.name == name).unwrap().values[2] = value;
        let error = trainer.restore(&other).unwrap_err();
        assert_eq!(error.to_string(), format!("tensor {name}[2] {message}"));
        assert_eq!(trainer.state().unwrap(), before);
    }
}
