//! A network of one's own on the order task: ten orders of the same eight spikes, which only delays tell apart.
//!
//! `cargo run --release -p polychron --example train_in_20_lines`

use polychron_core::delay::Gauss;
use polychron_core::loss::{Loss, decide};
use polychron_core::neuron::{Li, Lif};
use polychron_core::norm::BatchNorm;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::Atan;
use polychron_core::train::{self, HiddenLayer, Network, ReadoutLayer, Recipe, Trainer};
use polychron_cpu::Cpu;
use polychron_datasets::{DenseBatch, Split, batches, synthetic::burst_order};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = burst_order(1000, 0.01, 0);
    let split = Split::fractions(data.samples.len(), 0.0, 0.2, 0)?;
    let (kernel, dropout, norm) = (Gauss, 0.1, Some(BatchNorm::default()));
    let (neuron, surrogate) = (Lif::new(1.005), Atan { alpha: 5.0f32 });
    let synapses = Synapses::new(data.channels, 64, 25);
    let hidden = vec![HiddenLayer { synapses, kernel, norm, neuron, surrogate, dropout }];
    let synapses = Synapses::new(64, data.classes, 25);
    let output = ReadoutLayer { synapses, kernel, readout: Li::new(1.005) };
    let network = Network { hidden, output, loss: Loss::SoftmaxSum };
    let mut trainer = Trainer::new(Cpu::new(0)?, network, Recipe::paper(12), 0)?;
    for epoch in 0..12 {
        for indices in batches(&split.train, 32, 0, epoch, true, true)? {
            let (batch, targets) =
                dense(DenseBatch::assemble(&data, &indices, None)?, data.classes);
            trainer.step(&view(&batch, &targets))?;
        }
        trainer.finish_epoch()?;
        let (batch, targets) = dense(DenseBatch::assemble(&data, &split.test, None)?, data.classes);
        let (scores, loss) = trainer.evaluate(&view(&batch, &targets))?;
        let rows = scores.chunks_exact(data.classes).zip(&batch.labels);
        let right = rows.filter(|(scores, label)| decide(scores) == **label).count();
        println!("epoch {epoch}: test loss {loss:.3}, {right} of {} right", split.test.len());
    }
    Ok(())
}

/// A batch with its labels as distributions.
fn dense(batch: DenseBatch, classes: usize) -> (DenseBatch, Vec<f32>) {
    let mut targets = vec![0.0; batch.batch * classes];
    for (row, &label) in targets.chunks_exact_mut(classes).zip(&batch.labels) {
        row[label] = 1.0;
    }
    (batch, targets)
}

fn view<'a>(batch: &'a DenseBatch, targets: &'a [f32]) -> train::Batch<'a, f32> {
    let shape = Shape::new(batch.steps, batch.batch, batch.channels);
    train::Batch { shape, x: &batch.x, targets, lengths: Some(&batch.lengths) }
}
