//! A small network against the golden file: forward, backward and evaluation.

use crate::common::network::{cases, compare, run};
use crate::common::{Golden, Stage, tolerance};
use polychron_cpu::{Algorithm, Cpu, Lanes};

fn network_matches_the_golden_file<R: Lanes>() {
    let golden = Golden::open("network");
    for (_, algorithm) in Algorithm::ALL {
        let cpu = Cpu::new(2).unwrap().with_algorithm(Some(algorithm));
        for case in cases::<R>(&golden) {
            let tensors = run(&cpu, &case).unwrap();
            compare(&golden, &case.name, &case.layers, &tensors, tolerance::<R>(Stage::Network));
        }
    }
}

#[test]
fn network_matches_the_golden_file_in_f64() {
    network_matches_the_golden_file::<f64>();
}

#[test]
fn network_matches_the_golden_file_in_f32() {
    network_matches_the_golden_file::<f32>();
}
