//! The conformance suite in both precisions, with each algorithm.

use polychron_cpu::{Algorithm, Cpu};

mod chosen {
    use super::Cpu;
    polychron_core::conformance!(f32, Cpu::new(2).unwrap());
    polychron_core::conformance!(f64, Cpu::new(2).unwrap());
}

mod dense {
    use super::{Algorithm, Cpu};
    polychron_core::conformance!(f32, Cpu::new(1).unwrap().with_algorithm(Some(Algorithm::Dense)));
    polychron_core::conformance!(f64, Cpu::new(1).unwrap().with_algorithm(Some(Algorithm::Dense)));
}

mod frequency {
    use super::{Algorithm, Cpu};
    polychron_core::conformance!(
        f32,
        Cpu::new(1).unwrap().with_algorithm(Some(Algorithm::Frequency))
    );
    polychron_core::conformance!(
        f64,
        Cpu::new(1).unwrap().with_algorithm(Some(Algorithm::Frequency))
    );
}

mod taps {
    use super::{Algorithm, Cpu};
    polychron_core::conformance!(f32, Cpu::new(1).unwrap().with_algorithm(Some(Algorithm::Taps)));
    polychron_core::conformance!(f64, Cpu::new(1).unwrap().with_algorithm(Some(Algorithm::Taps)));
}

mod windows {
    use super::{Algorithm, Cpu};
    polychron_core::conformance!(
        f32,
        Cpu::new(1).unwrap().with_algorithm(Some(Algorithm::Windows))
    );
    polychron_core::conformance!(
        f64,
        Cpu::new(1).unwrap().with_algorithm(Some(Algorithm::Windows))
    );
}
