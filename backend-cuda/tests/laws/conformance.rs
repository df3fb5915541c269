//! The laws of every backend, on the emulator and, if there is one, on the GPU.

use polychron_cuda::{Algorithm, Cuda, Emulated};

mod device {
    use super::Cuda;
    polychron_core::conformance!(f32, try Cuda::<f32>::new(0));
    polychron_core::conformance!(f64, try Cuda::<f64>::new(0));
}

mod device_direct {
    use super::{Algorithm, Cuda};
    polychron_core::conformance!(
        f32,
        try Cuda::<f32>::new(0).map(|cuda| cuda.with_algorithm(Some(Algorithm::Direct)))
    );
    polychron_core::conformance!(
        f64,
        try Cuda::<f64>::new(0).map(|cuda| cuda.with_algorithm(Some(Algorithm::Direct)))
    );
}

mod emulated {
    use super::{Cuda, Emulated};
    polychron_core::conformance!(f32, Cuda::<f32>::emulated(Emulated::default()));
    polychron_core::conformance!(f64, Cuda::<f64>::emulated(Emulated::default()));
}

mod emulated_direct {
    use super::{Algorithm, Cuda, Emulated};
    polychron_core::conformance!(
        f32,
        Cuda::<f32>::emulated(Emulated::default()).with_algorithm(Some(Algorithm::Direct))
    );
    polychron_core::conformance!(
        f64,
        Cuda::<f64>::emulated(Emulated::default()).with_algorithm(Some(Algorithm::Direct))
    );
}
