//! Losses over the membrane of the readout equal those of PyTorch.

use crate::common::{Golden, Stage, check, tolerance};
use polychron_core::loss::Loss;
use polychron_core::neuron::Li;
use polychron_core::norm::ValidSteps;
use polychron_core::num::Real;
use polychron_core::reference::readout;
use polychron_core::shape::Shape;

fn is_the_packages<R: Real>() {
    let golden = Golden::open("loss");
    let allowed = tolerance::<R>(Stage::Loss);
    let (v, shape) = (golden.reals::<R>("v"), golden.shape("v"));
    let shape = Shape::new(shape[0], shape[1], shape[2]);
    assert_eq!(golden.reals::<R>("onehot"), golden.one_hot("labels", shape.width));
    for name in ["sum", "mean", "max", "spike_count"] {
        let loss = Loss::from_name(name).unwrap();
        for target in ["onehot", "soft"] {
            let of = |tensor: &str| format!("{name}.{target}.{tensor}");
            let targets = golden.reals::<R>(target);
            let mut scores = vec![R::zero(); targets.len()];
            let mut d_v = vec![R::zero(); v.len()];
            // With tau = 1 the membrane of the readout is its input.
            let (li, valid, to) = (Li::new(R::one()), ValidSteps::default(), Some(&mut d_v[..]));
            let mean = readout(&li, loss, valid, (&v, shape), Some(&targets), &mut scores, to);
            check(&of("score"), &scores, &golden.f64s(&of("score")), allowed.value);
            check(&of("loss"), &[mean.unwrap()], &golden.f64s(&of("loss")), allowed.value);
            check(&of("dv"), &d_v, &golden.f64s(&of("dv")), allowed.gradient);
        }
    }
    golden.all_read();
}

#[test]
fn losses_are_pytorchs_in_f64() {
    is_the_packages::<f64>();
}

#[test]
fn losses_are_pytorchs_in_f32() {
    is_the_packages::<f32>();
}
