use crate::backend::{Cpu, Error};
use crate::neuron::{Stage, backward, forward};
use crate::norm::NeuronNorm;
use crate::projection::{KernelPasses, project, project_backward};
use crate::sequence::Sequence;
use polychron_core::backend::{SynapseGradients, SynapseParams};
use polychron_core::num::Real;
use polychron_core::shape::Synapses;

macro_rules! stages {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty = $function:ident;)*) => {
        /// Stages that depend on the number type alone: compiled once, in this crate, for all
        /// neuron models and delay kernels.
        #[doc(hidden)]
        pub trait Stages: Real {
            $(fn $name($($argument: $type),*) -> $result;)*
        }

        impl Stages for f32 {
            $(
                #[inline(never)]
                fn $name($($argument: $type),*) -> $result {
                    $function($($argument),*)
                }
            )*
        }

        impl Stages for f64 {
            $(
                #[inline(never)]
                fn $name($($argument: $type),*) -> $result {
                    $function($($argument),*)
                }
            )*
        }
    };
}

stages! {
    fn project(
        cpu: &Cpu<Self>,
        synapses: &Synapses,
        kernel: &dyn KernelPasses<Self>,
        params: SynapseParams<'_, Vec<Self>>,
        x: &Sequence<Self>,
        y: &mut Sequence<Self>
    ) -> Result<(), Error> = project;

    fn project_backward(
        cpu: &Cpu<Self>,
        synapses: &Synapses,
        kernel: &dyn KernelPasses<Self>,
        params: SynapseParams<'_, Vec<Self>>,
        x: &Sequence<Self>,
        d_y: &Sequence<Self>,
        gradients: SynapseGradients<'_, Vec<Self>>,
        d_x: Option<&mut Sequence<Self>>
    ) -> Result<(), Error> = project_backward;

    fn neurons_forward(
        cpu: &Cpu<Self>,
        stage: &Stage<'_, Self>,
        spikes: &mut Sequence<Self>
    ) -> Vec<(NeuronNorm<Self>, Vec<Self>)> = forward;

    fn neurons_backward(
        cpu: &Cpu<Self>,
        stage: &Stage<'_, Self>,
        through_norm: bool,
        d: &mut Sequence<Self>,
        d_params: &mut [Self]
    ) -> Vec<(Self, Self)> = backward;
}

/// Compiles the training of the built-in models in this crate. Below optimisation level 2 the
/// compiler shares generic code between crates, so that other crates do not compile it again.
#[cfg(all(debug_assertions, not(test)))]
mod shared {
    use crate::backend::Cpu;
    use crate::stream::Stream;
    use polychron_core::backend::{HasKernel, HasNeuron, HasSurrogate};
    use polychron_core::delay::AnyKernel;
    use polychron_core::neuron::AnyNeuron;
    use polychron_core::surrogate::AnySurrogate;
    use polychron_core::train::{Model, Trainer};

    macro_rules! share {
        ($t:ident, [$($function:expr),* $(,)?]) => {
            const _: () = {
                #[used]
                static SHARED: fn() -> Vec<*const ()> = functions;

                fn functions() -> Vec<*const ()> {
                    vec![$($function as *const ()),*]
                }
            };
        };
        ($($t:ident),*) => {
            $(share!($t, [
                <Cpu<$t> as HasKernel<AnyKernel>>::kernel,
                <Cpu<$t> as HasNeuron<AnyNeuron<$t>>>::neuron,
                <Cpu<$t> as HasSurrogate<AnySurrogate<$t>>>::surrogate,
                Trainer::<Cpu<$t>>::new,
                Trainer::<Cpu<$t>>::step,
                Trainer::<Cpu<$t>>::state,
                Trainer::<Cpu<$t>>::restore,
                Model::<Cpu<$t>>::evaluate,
                Model::<Cpu<$t>>::trace,
                Stream::<$t>::new::<Cpu<$t>>,
                Stream::<$t>::step,
                Stream::<$t>::feed,
                Stream::<$t>::finish,
            ]);)*
        };
    }

    share!(f32, f64);
}
