//! Eight training steps of the small network equal those of the packages: losses, gradients,
//! parameters, running statistics, moments.

use crate::common::network::{Case, Parameters, Tensors, compare, layers, run};
use crate::common::{Golden, Stage, check, tolerance};
use polychron_core::delay::AnyKernel;
use polychron_core::num::Real;
use polychron_core::optim::{Optimizer, Step};
use polychron_core::reference::Reference;
use polychron_core::schedule::{Cosine, OneCycle, SigmaSchedule};
use polychron_core::shape::Shape;

/// The moments of Adam, with the names of the parameters.
type Moments<R> = [Tensors<R>; 2];

/// The optimizers of one step.
struct Steps<R> {
    weights: Step<R>,
    norms: Step<R>,
    delays: Step<R>,
}

impl<R: Real> Steps<R> {
    fn of(epoch: usize, number: u64, epochs: usize, taps: usize) -> Self {
        let (rate, beta1) = OneCycle { peak: 5e-3, epochs }.at(epoch);
        let new = |rate| Step::new(Optimizer::default(), R::of(rate), number);
        let norms = Step { beta1: R::of(beta1), ..new(rate) };
        let delays = new(Cosine { base: 0.1, epochs }.at(epoch));
        Self {
            weights: Step { l2: R::of(1e-5), ..norms },
            norms,
            delays: Step { bounds: Some((R::zero(), R::count(taps - 1))), ..delays },
        }
    }

    /// Updates a layer and returns the parameters with their golden names.
    fn update(
        &self,
        l: usize,
        layer: &mut Parameters<R>,
        gradients: &Tensors<R>,
        [first, second]: &mut Moments<R>,
    ) -> Tensors<R> {
        let half = layer.norm.len() / 2;
        let (gamma, beta) = layer.norm.split_at_mut(half);
        let mut after = Tensors::new();
        for (name, step, values) in [
            ("W", &self.weights, &mut layer.weights[..]),
            ("P", &self.delays, &mut layer.delays),
            ("gamma", &self.norms, gamma),
            ("beta", &self.norms, beta),
        ] {
            if values.is_empty() {
                continue;
            }
            let name = format!("l{l}.{name}");
            let moment = |of: &mut Tensors<R>| {
                of.remove(&name).unwrap_or_else(|| vec![R::zero(); values.len()])
            };
            let (mut m, mut v) = (moment(first), moment(second));
            step.update(&gradients[&format!("d.{name}")], values, &mut m, &mut v);
            after.insert(name.clone(), values.to_vec());
            first.insert(name.clone(), m);
            second.insert(name, v);
        }
        after
    }
}

fn is_the_packages<R: Real>() {
    let golden = Golden::open("train_steps");
    let number = |name: &str| golden.meta[name].as_f64().unwrap();
    let (epochs, taps) = (number("epochs_of_schedule") as usize, number("K") as usize);
    let sigma = SigmaSchedule::paper(taps, epochs);
    let allowed = tolerance::<R>(Stage::Optimizer);
    let mut layers = layers::<R>(&golden, "init.", None);
    let mut moments = Moments::<R>::default();
    for n in 0..8 {
        let epoch = n / number("batches_per_epoch") as usize;
        let shape = golden.shape(&format!("step{n}.x"));
        let case = Case {
            name: format!("step{n}"),
            layers: layers.clone(),
            kernel: AnyKernel::Gauss,
            sigma: R::of(sigma.at(epoch)),
            tau: R::of(number("tau")),
            x: golden.reals(&format!("step{n}.x")),
            shape: Shape::new(shape[0], shape[1], shape[2]),
            targets: golden.one_hot(&format!("step{n}.labels"), 4),
            train: true,
        };
        let mut tensors = run(&Reference::new(), &case).unwrap();
        let rules = Steps::of(epoch, n as u64 + 1, epochs, taps);
        let mut after = Tensors::new();
        for (l, layer) in layers.iter_mut().enumerate() {
            after.extend(rules.update(l, layer, &tensors, &mut moments));
            if l < 2 {
                let names = ["running_mean", "running_var"].map(|name| format!("l{l}.{name}"));
                layer.running = names.each_ref().map(|name| tensors[name].clone()).concat();
                after.extend(names.map(|name| (name.clone(), tensors[&name].clone())));
            }
        }
        tensors.retain(|name, _| name == "loss" || name.starts_with("d."));
        compare(&golden, &case.name, &case.layers, &tensors, allowed);
        compare(&golden, &format!("step{n}.after"), &case.layers, &after, allowed);
    }
    for (name, values) in &moments[0] {
        let full = format!("final.adam_m.{name}");
        let want = if name.ends_with(".P") { golden.by_delay(&full) } else { golden.f64s(&full) };
        check(&full, values, &want, allowed.gradient);
    }
    for (name, values) in &moments[1] {
        let full = format!("final.adam_v.{name}");
        check(&full, values, &golden.f64s(&full), allowed.gradient);
    }
    golden.all_read();
}

#[test]
fn training_steps_are_the_packages_in_f64() {
    is_the_packages::<f64>();
}

#[test]
fn training_steps_are_the_packages_in_f32() {
    is_the_packages::<f32>();
}
