//! A custom neuron model: definition, gradient check and training.
//!
//! `cargo run --release -p polychron --example own_neuron`

use polychron_core::delay::Gauss;
use polychron_core::gradcheck::{charge_error, reset_error};
use polychron_core::neuron::{ChargeAdjoint, Li, Neuron, ResetAdjoint};
use polychron_core::norm::BatchNorm;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::Atan;
use polychron_core::train::{Batch, Input, Layer, Network, Readout, Recipe, Trainer};
use polychron_cpu::Cpu;
use polychron_datasets::synthetic::lagged_pairs;

/// The resonate-and-fire neuron. Membrane `v` and current `u` rotate by a learned angle `w` per
/// step and are damped.
///
/// ```text
/// h[t] = damping (cos(w) v[t-1] - sin(w) u[t-1]) + x[t]
/// u[t] = damping (sin(w) v[t-1] + cos(w) u[t-1])
/// v[t] = (1 - s[t]) h[t]                                  detached
/// ```
/// Source: Izhikevich, *Resonate-and-fire neurons* (Neural Networks, 2001), in steps.
#[derive(Clone, Copy, Debug)]
struct Resonator {
    damping: f64,
    angle: f64,
}

impl Resonator {
    /// `damping sin(w)` and `damping cos(w)`.
    fn rotation(&self) -> (f64, f64) {
        let (sin, cos) = self.angle.sin_cos();
        (self.damping * sin, self.damping * cos)
    }
}

impl Neuron for Resonator {
    type Real = f64;
    type State = [f64; 2];
    type Params = [f64; 1];

    fn fill_state(x: f64) -> [f64; 2] {
        [x; 2]
    }
    fn fill_params(x: f64) -> [f64; 1] {
        [x]
    }
    fn params(&self) -> [f64; 1] {
        [self.angle]
    }
    fn with_params(&self, [angle]: [f64; 1]) -> Self {
        Self { angle, ..*self }
    }
    fn rest(&self) -> [f64; 2] {
        [0.0; 2]
    }
    fn charge(&self, [v, u]: [f64; 2], x: f64) -> [f64; 2] {
        let (sin, cos) = self.rotation();
        [cos * v - sin * u + x, sin * v + cos * u]
    }
    fn charge_adjoint(
        &self,
        [v, u]: [f64; 2],
        _x: f64,
        [d_h, d_u]: [f64; 2],
    ) -> ChargeAdjoint<[f64; 2], [f64; 1], f64> {
        let (sin, cos) = self.rotation();
        ChargeAdjoint {
            state: [cos * d_h + sin * d_u, cos * d_u - sin * d_h],
            params: [d_u * (cos * v - sin * u) - d_h * (sin * v + cos * u)],
            input: d_h,
        }
    }
    fn excess(&self, [h, _]: [f64; 2]) -> f64 {
        h - 1.0
    }
    fn reset(&self, [h, u]: [f64; 2], s: f64) -> [f64; 2] {
        [(1.0 - s) * h, u]
    }
    fn reset_adjoint(
        &self,
        _charged: [f64; 2],
        s: f64,
        [d_v, d_u]: [f64; 2],
    ) -> ResetAdjoint<[f64; 2], [f64; 1], f64> {
        ResetAdjoint { charged: [(1.0 - s) * d_v, d_u], params: [0.0], spike: 0.0 }
    }
    fn detached(&self) -> bool {
        true
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let neuron = Resonator { damping: 0.8, angle: 0.4 };
    let charge = charge_error(&neuron, [0.3, -0.7], 0.5, [0.9, -0.4]);
    let reset = reset_error(&neuron, [1.2, -0.7], 1.0, [0.9, -0.4]);
    println!("error of the charge adjoint {charge:.1e}, of the reset adjoint {reset:.1e}");
    assert!(charge < 1e-8 && reset < 1e-8);

    let data = lagged_pairs(120, 0);
    let shape = Shape::new(60, data.samples.len(), data.channels);
    let (mut x, mut targets) = (vec![0.0; shape.len()], vec![0.0; shape.batch * data.classes]);
    for (b, sample) in data.samples.iter().enumerate() {
        targets[b * data.classes + usize::from(sample.label)] = 1.0;
        for e in &sample.entries {
            x[shape.at(e.step as usize, b, e.channel.into())] = f64::from(e.count);
        }
    }
    let batch = Batch { shape, x: Input::Dense(&x), targets: Some(&targets), lengths: None };

    let synapses = Synapses::new(data.channels, 32, 17);
    let hidden = Layer::new(synapses, Gauss, neuron, Atan { alpha: 5.0 });
    let output = Readout::new(Synapses::new(32, data.classes, 17), Gauss, Li::new(1.005));
    let network = Network::chain([hidden.with_norm(BatchNorm::default())], output);
    let mut trainer = Trainer::new(Cpu::new(0)?, network, Recipe::paper(60), 0)?;
    for epoch in 0..60 {
        let report = trainer.step(&batch)?;
        trainer.finish_epoch()?;
        if epoch % 10 == 9 {
            println!(
                "step {epoch}: loss {:.3}, {} of {} correct",
                report.loss, report.correct, shape.batch
            );
        }
    }
    let tensors = trainer.model().tensors()?;
    let angle = tensors.iter().find(|t| t.name == "hidden.0.neuron").map(|t| t.values[0]);
    println!("learned angle: {:.3} per step", angle.unwrap_or(f64::NAN));
    Ok(())
}
