//! Presets after other papers: their sizes are those of the papers, and they train.

use super::load;
use crate::config::Config;
use crate::network::{Interface, graph, network, recipe};
use polychron_core::rng::Rng;
use polychron_core::shape::Shape;
use polychron_core::train::{Batch, Graph, Group, Input, TensorSpec, Trainer};
use polychron_cpu::Cpu;

/// A preset with its number of channels and classes, weights and delays.
type Row = (&'static str, [usize; 2], [usize; 2]);

const SSC: [usize; 2] = [140, 35];
const SHD: [usize; 2] = [140, 20];
const GSC: [usize; 2] = [140, 35];
/// The delays of [`Row`]s that have one for each input of every projection.
const AXONAL: usize = 140 + 3 * 512;

const ROWS: [Row; 10] = [
    ("axonal-ssc", SSC, [613_888, AXONAL]),
    ("axonal-gsc", GSC, [613_888, AXONAL]),
    ("d-cadlif-shd", SHD, [36_864, 36_864]),
    ("d-cadlif-ssc", SSC, [351_744, 351_744]),
    ("d-cadlif-gsc", GSC, [351_744, 351_744]),
    ("se-adlif-shd", SHD, [187_200, 0]),
    ("silif-ssc", SSC, [351_744, 0]),
    ("delrec-ssc", SSC, [372_480, 3 * 256]),
    ("delrec-shd", SHD, [140 * 256 + 2 * 256 * 256 + 256 * 20, 256]),
    ("delays-ssc-4ms", SSC, [2 * 613_888, 2 * 613_888]),
];

fn made(preset: &str, [channels, classes]: [usize; 2]) -> (Config, Interface, Graph) {
    let config = load(Some(preset), None, &[]).unwrap();
    let interface = Interface { channels, classes, dt_ms: config.data.dt_ms.into() };
    let graph = graph(&config, interface).unwrap();
    (config, interface, graph)
}

/// The numbers of weights and delays.
fn sizes(graph: &Graph) -> [usize; 2] {
    let weights = graph.connections().map(|edge| edge.weights()).sum();
    let delayed = graph.connections().filter(|edge| edge.synapses.taps > 1);
    [weights, delayed.map(|edge| edge.place.len(&edge.synapses)).sum()]
}

#[test]
fn presets_have_the_published_sizes() {
    let total = |preset, interface| sizes(&made(preset, interface).2).iter().sum::<usize>();
    for (preset, interface, expected) in ROWS {
        assert_eq!(sizes(&made(preset, interface).2), expected, "{preset}");
    }
    assert_eq!(total("d-cadlif-shd", SHD), 73_728);
    assert_eq!(total("d-cadlif-ssc", SSC), 703_488);
    // The source has 40 mel bands.
    assert_eq!(total("d-cadlif-gsc", [40, 35]), 601_088);
    // The source has recurrent weights in both layers, 0.45 M in all.
    assert_eq!(total("se-adlif-shd", SHD) + 2 * 360 * 360, 446_400);
}

/// Weights, biases, delays and spreads of the record of DelRec (arXiv 2509.24852) on SSC.
#[test]
fn recurrent_delays_have_the_published_number_of_parameters() {
    let (config, interface, _) = made("delrec-ssc", SSC);
    let network = network::<Cpu<f32>>(&config, interface).unwrap();
    let trainer = Trainer::new(Cpu::new(1).unwrap(), network, recipe(&config), 1).unwrap();
    assert_eq!(trainer.parameters(), 374_819);
}

#[test]
fn finer_steps_keep_the_delays_in_ms() {
    let [fine, coarse] = ["delays-ssc-4ms", "ssc"].map(|preset| made(preset, SSC));
    assert_eq!(sizes(&fine.2), sizes(&coarse.2));
    for (fine, coarse) in fine.2.edges().zip(coarse.2.edges()) {
        assert_eq!([4 * (fine.synapses.taps - 1), 10 * (coarse.synapses.taps - 1)], [300; 2]);
    }
    let rate = |config: &Config| config.train.delay_rate * f64::from(config.data.dt_ms);
    assert_eq!(rate(&fine.0), rate(&coarse.0));
}

/// With narrow layers, on random spikes in the shape of the data.
#[test]
fn presets_after_other_papers_train() {
    for (preset, interface, _) in ROWS {
        let (mut config, interface, _) = made(preset, interface);
        config.network.hidden.fill(64);
        let network = network::<Cpu<f32>>(&config, interface).unwrap();
        let recipe = recipe(&config);
        let mut trainer = Trainer::new(Cpu::new(2).unwrap(), network, recipe, 1).unwrap();
        let shape = Shape::new(80, 2, interface.channels);
        let rng = Rng::new(7, 0);
        let spikes = (0..shape.len() as u64).map(|n| f32::from(rng.uniform_f64(n) < 0.3));
        let x: Vec<f32> = spikes.collect();
        let mut targets = vec![0.0; 2 * interface.classes];
        (targets[1], targets[interface.classes]) = (1.0, 1.0);
        let batch = Batch { shape, x: Input::Dense(&x), targets: Some(&targets), lengths: None };
        let before = trainer.model().tensors().unwrap();
        for _ in 0..2 {
            assert!(trainer.step(&batch).unwrap().loss.is_finite(), "{preset}");
        }
        let after = trainer.model().tensors().unwrap();
        let specs = trainer.model().specs();
        for group in [Group::Weights, Group::Delays, Group::Norms, Group::Neurons] {
            let of = |(spec, _): &(&TensorSpec<f32>, _)| spec.group == group;
            let mut own = specs.iter().zip(before.iter().zip(&after)).filter(of).peekable();
            let delayed = trainer.model().graph().connections().any(|e| e.synapses.taps > 1);
            let learns = own.peek().is_some() && (group != Group::Delays || delayed);
            let moved = own.any(|(_, (before, after))| before.values != after.values);
            assert_eq!(moved, learns, "{preset}: {group:?}");
        }
    }
}
