//! Delay kernels and their gradients equal those of the published packages.

use crate::common::{Golden, Stage, check, tolerance};
use polychron_core::delay::{AnyKernel, DelayKernel, Gauss, Linear, Max, dense_kernel};
use polychron_core::num::Real;
use polychron_core::reference::project_backward;
use polychron_core::shape::{Shape, Synapses};

/// The parameters and the upstream gradient that the cases of one size share.
struct Size<'a, R> {
    golden: &'a Golden,
    synapses: Synapses,
    weights: Vec<R>,
    delays: Vec<R>,
    upstream: Vec<f64>,
    /// The kernel elements whose gradients by delay and sigma are compared.
    smooth: Vec<bool>,
}

impl<'a, R: Real> Size<'a, R> {
    fn read(golden: &'a Golden, prefix: &str) -> Self {
        let [weights, positions, upstream] = ["W", "P", "G"].map(|name| format!("{prefix}.{name}"));
        let (shape, taps) = (golden.shape(&weights), golden.shape(&upstream)[2]);
        let tail = taps - 1;
        Self {
            golden,
            synapses: Synapses {
                inputs: shape[1],
                outputs: shape[0],
                kernel_count: shape[2],
                taps,
                padding: tail,
            },
            weights: golden.reals(&weights),
            delays: golden.delays(&positions, taps),
            upstream: golden.dense(&upstream),
            smooth: golden.f64s(&positions).into_iter().map(|p| smooth::<R>(golden, p)).collect(),
        }
    }

    /// The gradients by weights, delays and sigma. The input is one impulse per sample and channel,
    /// so the projection is the dense kernel over time: `y[j, i, o] = kernel_j[o, i]`.
    fn gradients(&self, kernel: &dyn DelayKernel<R>, sigma: &[R]) -> [Vec<R>; 3] {
        let Synapses { inputs, outputs, taps, .. } = self.synapses;
        let impulse = |at| if at % (inputs + 1) == 0 { R::one() } else { R::zero() };
        let x: Vec<R> = (0..inputs * inputs).map(impulse).collect();
        let mut d_y = vec![R::zero(); self.upstream.len()];
        for (at, &g) in self.upstream.iter().enumerate() {
            let (o, i, j) = (at / taps / inputs, at / taps % inputs, at % taps);
            d_y[(j * inputs + i) * outputs + o] = R::of(g);
        }
        let n = self.weights.len();
        let [mut w, mut d, mut s] = [n, n, sigma.len()].map(|n| vec![R::zero(); n]);
        let params = [&self.weights[..], &self.delays, sigma];
        let to = [&mut w[..], &mut d, &mut s];
        let shape = Shape::new(1, inputs, inputs);
        project_backward(&self.synapses, kernel, params, &x, shape, &d_y, to).unwrap();
        [w, d, s]
    }

    /// Compares one case. If the file has no sigma, it is 0 and its gradient is not compared.
    fn compare(&self, kernel: &dyn DelayKernel<R>, case: &str) {
        let of = |name: &str| format!("{case}.{name}");
        let allowed = tolerance::<R>(Stage::Kernel);
        let n = self.weights.len();
        let (sigma, d_sigma) = if self.golden.has(&of("SIG")) {
            (self.golden.reals(&of("SIG")), self.golden.f64s(&of("dSIG")))
        } else {
            (vec![R::zero(); n], vec![0.0; n])
        };
        let (s, w, d) = (&self.synapses, &self.weights, &self.delays);
        let mut scratch = vec![R::zero(); s.taps];
        let mut dense = vec![R::zero(); self.upstream.len()];
        dense_kernel(kernel, s, w, d, &sigma, &mut scratch, &mut dense).unwrap();
        check(&of("kernel"), &dense, &self.golden.dense(&of("kernel")), allowed.value);

        let [by_weight, by_delay, by_sigma] = self.gradients(kernel, &sigma);
        check(&of("dW"), &by_weight, &self.golden.f64s(&of("dW")), allowed.gradient);
        let d_delay = self.golden.by_delay(&of("dP"));
        check(&of("dP"), &self.kept(&by_delay), &self.kept(&d_delay), allowed.gradient);
        check(&of("dSIG"), &self.kept(&by_sigma), &self.kept(&d_sigma), allowed.gradient);
        if sigma.iter().all(|s| *s == sigma[0]) && self.smooth.iter().all(|s| *s) {
            let [_, _, shared] = self.gradients(kernel, &sigma[..1]);
            let allowed = tolerance::<R>(Stage::Shared).gradient;
            check(&of("dSIG, shared"), &shared, &[d_sigma.iter().sum()], allowed);
        }
    }

    fn kept<T: Copy>(&self, values: &[T]) -> Vec<T> {
        values.iter().zip(&self.smooth).filter(|(_, smooth)| **smooth).map(|(v, _)| *v).collect()
    }
}

/// Whether a kernel with kinks has a unique gradient at a position in `R`: a position 1e-9 away
/// from a tap is on the tap in `f32`.
fn smooth<R: Real>(golden: &Golden, position: f64) -> bool {
    let off = (position - position.round()).abs();
    golden.meta["version"] == "gauss" || R::BYTES == 8 || off == 0.0 || off > 1e-6
}

fn is_the_packages<R: Real>(file: &str, kernels: [&dyn DelayKernel<R>; 2]) {
    let golden = Golden::open(file);
    let cases: Vec<String> = serde_json::from_value(golden.meta["cases"].clone()).unwrap();
    for case in cases {
        let prefix: Vec<&str> = case.split('.').take(2).collect();
        let size = Size::<R>::read(&golden, &prefix.join("."));
        for kernel in kernels {
            size.compare(kernel, &case);
        }
    }
    golden.all_read();
}

#[test]
fn triangle_is_the_packages_v1() {
    is_the_packages::<f64>("dcls_kernel_v1", [&Linear, &AnyKernel::Linear]);
    is_the_packages::<f32>("dcls_kernel_v1", [&Linear, &AnyKernel::Linear]);
}

#[test]
fn max_is_the_packages() {
    is_the_packages::<f64>("dcls_kernel_max", [&Max, &AnyKernel::Max]);
    is_the_packages::<f32>("dcls_kernel_max", [&Max, &AnyKernel::Max]);
}

#[test]
fn gauss_is_the_packages() {
    is_the_packages::<f64>("dcls_kernel_gauss", [&Gauss, &AnyKernel::Gauss]);
    is_the_packages::<f32>("dcls_kernel_gauss", [&Gauss, &AnyKernel::Gauss]);
}
