//! The reference's small network, whole: forward, backward and evaluation on the CPU.

#[path = "../common/mod.rs"]
mod common;

use common::network::{cases, compare, run};
use common::{Golden, Stage, tolerance};
use polychron_core::backend::LayerOps;
use polychron_core::delay::AnyKernel;
use polychron_core::neuron::AnyNeuron;
use polychron_core::num::Real;
use polychron_core::surrogate::AnySurrogate;
use polychron_cpu::{Algorithm, Cpu};

fn the_network_is_the_packages<R: Real>()
where
    Cpu<R>: LayerOps<R, AnyKernel, AnyNeuron<R>, AnySurrogate<R>>,
{
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
fn the_network_is_the_packages_in_f64() {
    the_network_is_the_packages::<f64>();
}

#[test]
fn the_network_is_the_packages_in_f32() {
    the_network_is_the_packages::<f32>();
}
