//! 102 training steps on the spoken digits: losses and final parameters match a run of the PyTorch
//! reference in double precision from the same initial parameters and batches. Skipped if the
//! recorded run is not available; it is not part of the repository.

use polychron_core::delay::AnyKernel;
use polychron_core::neuron::{Li, Lif};
use polychron_core::norm::BatchNorm;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::AnySurrogate;
use polychron_core::train::{Batch, Input, Layer, Network, Readout, Recipe, Tensor, Trainer};
use polychron_cpu::{Algorithm, Cpu};
use polychron_datasets::digits;
use safetensors::SafeTensors;

const TAPS: usize = 25;
const STEPS: usize = 64;

fn f64s(file: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let data = file.tensor(name).unwrap_or_else(|_| panic!("{name}")).data().to_vec();
    data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
}

fn network() -> Network<Cpu<f64>> {
    let tau = (10.05 + 1e-9) / 10.0;
    let hidden = [(48, 64), (64, 64)].map(|(i, o)| {
        let surrogate = AnySurrogate::from_name("atan", &[("alpha", 5.0)]).unwrap();
        Layer::new(Synapses::new(i, o, TAPS), AnyKernel::Gauss, Lif::new(tau), surrogate)
            .with_norm(BatchNorm::default())
    });
    let synapses = Synapses::new(64, 10, TAPS);
    Network::chain(hidden, Readout::new(synapses, AnyKernel::Gauss, Li::new(tau)))
}

/// The tensors `init` or `final` of the recorded run. Its positions P are delays `(K - 1) / 2 - P`.
fn tensors(file: &SafeTensors<'_>, prefix: &str) -> Vec<Tensor<f64>> {
    let mut tensors = Vec::new();
    for l in 0..3 {
        let layer = if l == 2 { "output".to_string() } else { format!("hidden.{l}") };
        for (ours, theirs) in
            [("weight", "W"), ("delay", "P"), ("gamma", "gamma"), ("beta", "beta")]
        {
            let name = format!("{prefix}.l{l}.{theirs}");
            let Ok(view) = file.tensor(&name) else { continue };
            let mut values = f64s(file, &name);
            if ours == "delay" {
                values.iter_mut().for_each(|p| *p = (TAPS / 2) as f64 - *p);
            }
            let shape = view.shape().to_vec();
            tensors.push(Tensor { name: format!("{layer}.{ours}"), shape, values });
        }
    }
    tensors
}

fn follow(bytes: &[u8], algorithm: Algorithm) {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let data = digits::embedded();
    let cpu = Cpu::new(0).unwrap().with_algorithm(Some(algorithm));
    let mut trainer = Trainer::new(cpu, network(), Recipe::paper(30), 0).unwrap();
    let mut state = trainer.state().unwrap();
    for tensor in tensors(&file, "init") {
        let at = state.tensors.iter().position(|t| t.name == tensor.name).unwrap();
        state.tensors[at] = tensor;
    }
    trainer.restore(&state).unwrap();
    let batches = file.tensor("batches").unwrap();
    let items = batches.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()));
    let items: Vec<i64> = items.collect();
    let losses = f64s(&file, "losses");
    let mut worst = 0.0f64;
    for (n, (batch, &expected)) in items.chunks_exact(64).zip(&losses).enumerate() {
        let batch: Vec<usize> = batch.iter().filter_map(|&i| usize::try_from(i).ok()).collect();
        let dense = polychron_datasets::SampleBatch::assemble(&data, &batch, Some(STEPS)).unwrap();
        let x: Vec<f64> = dense.dense().iter().map(|&x| x.into()).collect();
        let mut targets = vec![0.0; 10 * batch.len()];
        dense.labels.iter().enumerate().for_each(|(b, &label)| targets[10 * b + label] = 1.0);
        let shape = Shape::new(STEPS, batch.len(), 48);
        let report = trainer
            .step(&Batch { shape, x: Input::Dense(&x), targets: Some(&targets), lengths: None })
            .unwrap();
        let error = (report.loss - expected).abs() / expected;
        worst = worst.max(error);
        assert!(error < 1e-9, "{algorithm:?}, step {n}: {} instead of {expected}", report.loss);
        if (n + 1) % 34 == 0 {
            trainer.finish_epoch().unwrap();
        }
    }
    println!("{algorithm:?}: {} losses, worst relative error {worst:.1e}", losses.len());
    let found = trainer.model().tensors().unwrap();
    for expected in tensors(&file, "final") {
        let found = found.iter().find(|t| t.name == expected.name).unwrap();
        let scale = expected.values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        for (a, b) in found.values.iter().zip(&expected.values) {
            assert!((a - b).abs() < 1e-7 * scale, "{algorithm:?}, {}: {a} {b}", expected.name);
        }
    }
}

#[test]
fn training_follows_the_reference_step_by_step() {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/items/digits_trace.safetensors");
    let Ok(bytes) = std::fs::read(path) else {
        println!("skipped: no {path}");
        return;
    };
    for (_, algorithm) in Algorithm::ALL {
        follow(&bytes, algorithm);
    }
}
