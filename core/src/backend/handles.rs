use super::Backend;

/// A backend that computes delay kernels of type `K`.
#[diagnostic::on_unimplemented(
    message = "the backend `{Self}` has no delay kernel `{K}`",
    note = "the CPU and the reference backend take every type that implements `DelayKernel`"
)]
pub trait HasKernel<K>: Backend {
    /// The handle of a kernel.
    fn kernel(kernel: K) -> Self::Kernel;
}

/// A backend that computes neurons of type `N`.
#[diagnostic::on_unimplemented(
    message = "the backend `{Self}` has no neuron `{N}`",
    note = "the CPU and the reference backend take every type that implements `Neuron`"
)]
pub trait HasNeuron<N>: Backend {
    /// The handle of a neuron.
    fn neuron(neuron: N) -> Self::Neuron;

    /// Whether the backend computes this neuron, which may be chosen at run time. Operations with a
    /// neuron that it does not compute are errors.
    fn has(_neuron: &N) -> bool {
        true
    }
}

/// A backend that computes surrogates of type `S`.
#[diagnostic::on_unimplemented(
    message = "the backend `{Self}` has no surrogate `{S}`",
    note = "the CPU and the reference backend take every type that implements `Surrogate`"
)]
pub trait HasSurrogate<S>: Backend {
    /// The handle of a surrogate.
    fn surrogate(surrogate: S) -> Self::Surrogate;
}
