//! What a choice of vector instructions changes, and what it does not.

use polychron_core::backend::{Backend, SynapseOps, SynapseParams, View};
use polychron_core::delay::AnyKernel;
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, Synapses};
use polychron_cpu::{Algorithm, Cpu, Error, Vectors};

/// The bits of a projection.
fn project(vectors: Vectors, algorithm: Algorithm, threads: usize) -> Vec<u32> {
    let cpu = Cpu::new(threads).unwrap().with_vectors(vectors).unwrap();
    let cpu = cpu.with_algorithm(Some(algorithm));
    let (synapses, input) = (Synapses::new(7, 19, 9), Shape::new(30, 5, 7));
    let numbers = |stream, len: usize| -> Vec<f32> {
        (0..len as u64).map(|n| Rng::new(3, stream).uniform::<f32>(n)).collect()
    };
    let (weights, delays) = (numbers(0, synapses.weights()), numbers(1, synapses.weights()));
    let sigma = vec![1.3f32];
    let view = |values| View::new(values, 0..Vec::len(values));
    let params =
        SynapseParams { weights: view(&weights), delays: view(&delays), sigma: view(&sigma) };
    let mut x = cpu.sequence(input).unwrap();
    cpu.upload_sequence(&numbers(2, input.len()), &mut x).unwrap();
    let mut y = cpu.sequence(synapses.output(input)).unwrap();
    cpu.project(&synapses, &AnyKernel::Gauss, params, &x, &mut y).unwrap();
    let mut out = vec![0.0; synapses.output(input).len()];
    cpu.download_sequence(&y, &mut out).unwrap();
    out.into_iter().map(f32::to_bits).collect()
}

fn available() -> impl Iterator<Item = Vectors> {
    Vectors::ALL.into_iter().map(|(_, vectors)| vectors).filter(|vectors| vectors.are_available())
}

#[test]
fn every_choice_gives_the_same_bytes_for_any_number_of_threads() {
    for (_, algorithm) in Algorithm::ALL {
        for vectors in available() {
            let one = project(vectors, algorithm, 1);
            assert_eq!(one, project(vectors, algorithm, 3), "{vectors} {algorithm:?}");
        }
    }
}

#[test]
fn every_choice_gives_the_same_numbers_to_rounding() {
    for (_, algorithm) in Algorithm::ALL {
        let native = project(Vectors::Native, algorithm, 1);
        for vectors in available() {
            let found = project(vectors, algorithm, 1);
            let equal = found.iter().zip(&native).filter(|(a, b)| a == b).count();
            println!("{algorithm:?}, {vectors}: {equal} of {} equal", native.len());
            for (&a, &b) in found.iter().zip(&native) {
                let (a, b) = (f32::from_bits(a), f32::from_bits(b));
                assert!((a - b).abs() < 1e-4, "{vectors} {algorithm:?}: {a} {b}");
            }
        }
    }
}

#[test]
fn missing_instructions_are_an_error() {
    for (name, vectors) in Vectors::ALL {
        match Cpu::<f32>::new(1).unwrap().with_vectors(vectors) {
            Ok(_) => assert!(vectors.are_available()),
            Err(Error::MissingVectors { vectors }) => assert!(!vectors.are_available()),
            Err(other) => panic!("{name}: {other}"),
        }
    }
}
