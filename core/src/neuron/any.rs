use super::{AdLif, CubaLif, Li, Lif, Neuron, Plif};
use crate::num::Real;
use core::fmt::Debug;

/// A generic function of a neuron, called through [`NeuronModel::visit`].
pub trait NeuronVisitor<R: Real> {
    /// The result.
    type Output;
    /// Calls the function with the concrete neuron.
    fn visit<N: Neuron<Real = R>>(self, neuron: &N) -> Self::Output;
}

/// A neuron whose type may be chosen at run time: every [`Neuron`], and [`AnyNeuron`].
///
/// Backends dispatch once per stage, through [`visit`](Self::visit), not once per step.
pub trait NeuronModel<R: Real>: Clone + Debug + Send + Sync {
    /// Calls the visitor with the concrete neuron.
    fn visit<V: NeuronVisitor<R>>(&self, visitor: V) -> V::Output;

    /// The number of raw learnable parameters.
    fn param_count(&self) -> usize {
        struct Count;
        impl<R: Real> NeuronVisitor<R> for Count {
            type Output = usize;
            fn visit<N: Neuron<Real = R>>(self, neuron: &N) -> usize {
                neuron.params().as_ref().len()
            }
        }
        self.visit(Count)
    }

    /// Copies the raw parameters to `out`, up to its length.
    fn write_params(&self, out: &mut [R]) {
        struct Write<'a, R>(&'a mut [R]);
        impl<R: Real> NeuronVisitor<R> for Write<'_, R> {
            type Output = ();
            fn visit<N: Neuron<Real = R>>(self, neuron: &N) {
                for (to, &from) in self.0.iter_mut().zip(neuron.params().as_ref()) {
                    *to = from;
                }
            }
        }
        self.visit(Write(out));
    }
}

impl<N: Neuron> NeuronModel<N::Real> for N {
    fn visit<V: NeuronVisitor<N::Real>>(&self, visitor: V) -> V::Output {
        visitor.visit(self)
    }
}

/// A neuron model chosen at run time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AnyNeuron<R> {
    /// [`Lif`]; with a rate of 0 the integrate-and-fire neuron.
    Lif(Lif<R>),
    /// [`Plif`]
    Plif(Plif<R>),
    /// [`Li`]
    Li(Li<R>),
    /// [`CubaLif`]
    CubaLif(CubaLif<R>),
    /// [`AdLif`]
    AdLif(AdLif<R>),
}

impl<R: Real> NeuronModel<R> for AnyNeuron<R> {
    fn visit<V: NeuronVisitor<R>>(&self, visitor: V) -> V::Output {
        match self {
            Self::Lif(n) => visitor.visit(n),
            Self::Plif(n) => visitor.visit(n),
            Self::Li(n) => visitor.visit(n),
            Self::CubaLif(n) => visitor.visit(n),
            Self::AdLif(n) => visitor.visit(n),
        }
    }
}
