//! Delayed projections and their gradients equal those of the packages.

use crate::common::{Golden, Stage, check, tolerance};
use polychron_core::delay::{DelayKernel, Gauss, Linear, Max, dense_kernel};
use polychron_core::num::Real;
use polychron_core::reference::{project, project_backward, project_input};
use polychron_core::shape::{Shape, Synapses};

fn compare<R: Real>(golden: &Golden, case: &str, kernel: &dyn DelayKernel<R>, taps: usize) {
    let of = |name: &str| format!("{case}.{name}");
    let reals = |name: &str| golden.reals::<R>(&of(name));
    let allowed = tolerance::<R>(Stage::Projection);
    let (x, w) = (golden.shape(&of("x")), golden.shape(&of("W")));
    let synapses = Synapses { kernel_count: w[2], ..Synapses::new(w[1], w[0], taps) };
    let shape = Shape::new(x[0], x[1], x[2]);
    assert_eq!(vec![synapses.output(shape).steps, x[1], w[0]], golden.shape(&of("y")));

    let (x, weights, delays) = (reals("x"), reals("W"), golden.delays(&of("P"), taps));
    let n = weights.len();
    let sigma = if golden.has(&of("SIG")) { reals("SIG") } else { vec![R::zero(); n] };
    let mut scratch = vec![R::zero(); taps];
    let mut dense = vec![R::zero(); synapses.inputs * synapses.outputs * taps];
    dense_kernel(kernel, &synapses, &weights, &delays, &sigma, &mut scratch, &mut dense).unwrap();
    check(&of("kernel"), &dense, &golden.dense(&of("kernel")), allowed.value);
    let mut y = vec![R::zero(); synapses.output(shape).len()];
    project(&synapses, &dense, &x, shape, &mut y).unwrap();
    check(&of("y"), &y, &golden.f64s(&of("y")), allowed.value);

    let d_y = reals("G");
    let mut d_x = vec![R::zero(); x.len()];
    project_input(&synapses, &dense, &d_y, shape, &mut d_x).unwrap();
    check(&of("dx"), &d_x, &golden.f64s(&of("dx")), allowed.gradient);
    let each = if golden.has(&of("SIG")) { golden.f64s(&of("dSIG")) } else { vec![0.0; n] };
    let shared = vec![each.iter().sum()];
    for (sigma, d_sigma, stage) in
        [(&sigma[..], each, Stage::Projection), (&sigma[..1], shared, Stage::Shared)]
    {
        let [mut w, mut d, mut s] = [n, n, sigma.len()].map(|n| vec![R::zero(); n]);
        let params = [&weights[..], &delays, sigma];
        let to = [&mut w[..], &mut d, &mut s];
        project_backward(&synapses, kernel, params, &x, shape, &d_y, to).unwrap();
        check(&of("dW"), &w, &golden.f64s(&of("dW")), allowed.gradient);
        check(&of("dP"), &d, &golden.by_delay(&of("dP")), allowed.gradient);
        check(&of("dSIG"), &s, &d_sigma, tolerance::<R>(stage).gradient);
    }
}

fn is_the_packages<R: Real>() {
    let golden = Golden::open("dcls_conv");
    for (case, meta) in golden.meta["cases"].as_object().unwrap() {
        let kernel: &dyn DelayKernel<R> = match meta["version"].as_str() {
            Some("gauss") => &Gauss,
            Some("max") => &Max,
            _ => &Linear,
        };
        compare(&golden, case, kernel, meta["K"].as_u64().unwrap() as usize);
    }
    golden.all_read();
}

#[test]
fn projections_are_the_packages_in_f64() {
    is_the_packages::<f64>();
}

#[test]
fn projections_are_the_packages_in_f32() {
    is_the_packages::<f32>();
}
