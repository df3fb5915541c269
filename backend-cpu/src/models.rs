use crate::backend::Cpu;
use crate::lanes::Lanes;
use crate::neuron::NeuronPasses;
use crate::projection::KernelPasses;
use polychron_core::backend::{HasKernel, HasNeuron, HasSurrogate};
use polychron_core::delay::DelayKernel;
use polychron_core::neuron::{ErasedNeuron, LinearMembrane, Neuron, NeuronModel, NeuronVisitor};
use polychron_core::num::Real;
use polychron_core::surrogate::Surrogate;
use std::sync::Arc;

/// A neuron model whose type is erased, with its vector code. [`HasNeuron`] makes it from a
/// [`Neuron`].
#[derive(Clone, Debug)]
pub struct CpuNeuron<R: Real>(pub(crate) Arc<dyn NeuronPasses<R>>);

impl<R: Real> ErasedNeuron<R> for CpuNeuron<R> {
    fn param_count(&self) -> usize {
        self.0.param_count()
    }

    fn state_count(&self) -> usize {
        self.0.state_count()
    }

    fn write_params(&self, out: &mut [R]) {
        self.0.write_params(out);
    }

    fn param_bounds(&self, index: usize) -> Option<(R, R)> {
        self.0.param_bounds(index)
    }

    fn membrane_with(&self, params: &[R]) -> Option<LinearMembrane<R>> {
        self.0.membrane_with(params)
    }
}

impl<R: Lanes, K: DelayKernel<R> + 'static> HasKernel<K> for Cpu<R> {
    fn kernel(kernel: K) -> Arc<dyn KernelPasses<R>> {
        Arc::new(kernel)
    }
}

impl<R: Lanes, M: NeuronModel<Real = R>> HasNeuron<M> for Cpu<R> {
    fn neuron(neuron: M) -> CpuNeuron<R> {
        struct Erase;
        impl<R: Lanes> NeuronVisitor<R> for Erase {
            type Output = CpuNeuron<R>;
            fn visit<N: Neuron<Real = R>>(self, neuron: &N) -> CpuNeuron<R> {
                CpuNeuron(Arc::new(*neuron))
            }
        }
        neuron.visit(Erase)
    }
}

impl<R: Lanes> HasNeuron<CpuNeuron<R>> for Cpu<R> {
    fn neuron(neuron: CpuNeuron<R>) -> CpuNeuron<R> {
        neuron
    }
}

impl<R: Lanes, S: Surrogate<R> + 'static> HasSurrogate<S> for Cpu<R> {
    fn surrogate(surrogate: S) -> Arc<dyn Surrogate<R>> {
        Arc::new(surrogate)
    }
}
