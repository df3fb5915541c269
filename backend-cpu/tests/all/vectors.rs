//! Vector instructions: results agree to rounding, and to the byte for any number of threads.

use crate::stream::Other;
use polychron_core::backend::{Backend, HasKernel, SynapseParams, View};
use polychron_core::delay::AnyKernel;
use polychron_core::init::DelayInit;
use polychron_core::neuron::Li;
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::train::{Model, Network, Readout};
use polychron_cpu::{Algorithm, Cpu, Error, Stream, Vectors};

/// The bits of the output of a projection.
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
    let params = SynapseParams {
        weights: view(&weights),
        delays: view(&delays),
        sigma: view(&sigma),
        rounding: None,
    };
    let mut x = cpu.sequence(input).unwrap();
    cpu.upload_sequence(&numbers(2, input.len()), &mut x).unwrap();
    let mut y = cpu.sequence(synapses.output(input)).unwrap();
    let kernel = Cpu::kernel(AnyKernel::Gauss);
    cpu.project(&synapses, &kernel, params, &x, &mut y).unwrap();
    let mut out = vec![0.0; synapses.output(input).len()];
    cpu.download_sequence(&y, &mut out).unwrap();
    out.into_iter().map(f32::to_bits).collect()
}

fn available() -> impl Iterator<Item = Vectors> {
    Vectors::ALL.into_iter().map(|(_, vectors)| vectors).filter(|vectors| vectors.are_available())
}

#[test]
fn bytes_do_not_depend_on_the_number_of_threads() {
    for (_, algorithm) in Algorithm::ALL {
        for vectors in available() {
            let one = project(vectors, algorithm, 1);
            assert_eq!(one, project(vectors, algorithm, 3), "{vectors} {algorithm:?}");
        }
    }
}

#[test]
fn all_instructions_agree_to_rounding() {
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

#[test]
fn unknown_instructions_are_an_error() {
    const UNKNOWN: &str = "none";
    if std::env::var(Vectors::VARIABLE).as_deref() != Ok(UNKNOWN) {
        let test = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "vectors::unknown_instructions_are_an_error"])
            .env(Vectors::VARIABLE, UNKNOWN)
            .output()
            .unwrap();
        assert!(test.status.success(), "{}", String::from_utf8_lossy(&test.stdout));
        return;
    }
    let is_unknown = |error| matches!(error, Error::UnknownVectors { name } if name == UNKNOWN);
    assert!(is_unknown(Cpu::<f32>::new(1).unwrap_err()));
    let output = Readout::new(Synapses::new(2, 2, 3), AnyKernel::Gauss, Li::new(2.0));
    let network = Network::chain([], output);
    let model = Model::new(Other, network, DelayInit::Uniform, 0).unwrap();
    assert!(is_unknown(Stream::new(&model).unwrap_err()));
}
