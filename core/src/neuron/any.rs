use super::{AdLif, CubaLif, Li, Lif, LinearMembrane, Neuron, Plif};
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
pub trait NeuronModel: Clone + Debug + Send + Sync {
    /// The number type.
    type Real: Real;
    /// Calls the visitor with the concrete neuron.
    fn visit<V: NeuronVisitor<Self::Real>>(&self, visitor: V) -> V::Output;
}

/// What a network knows of a neuron model whose type is erased.
pub trait ErasedNeuron<R: Real>: Debug {
    /// The number of raw learnable parameters of a neuron.
    fn param_count(&self) -> usize;
    /// Copies the raw parameters of the configuration to `out`, up to its length.
    fn write_params(&self, out: &mut [R]);
    /// The bounds of a raw parameter, from [`Neuron::bounds`]; `None` if it has none.
    fn param_bounds(&self, index: usize) -> Option<(R, R)>;
    /// [`Neuron::linear_membrane`] of a neuron with these raw parameters. `None` also if it cannot
    /// spike or if `params` has another length.
    fn membrane_with(&self, params: &[R]) -> Option<LinearMembrane<R>>;
}

impl<R: Real, M: NeuronModel<Real = R>> ErasedNeuron<R> for M {
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

    fn param_bounds(&self, index: usize) -> Option<(R, R)> {
        struct Bounds(usize);
        impl<R: Real> NeuronVisitor<R> for Bounds {
            type Output = Option<(R, R)>;
            fn visit<N: Neuron<Real = R>>(self, neuron: &N) -> Self::Output {
                let (least, most) = neuron.bounds()?;
                let bounds = (*least.as_ref().get(self.0)?, *most.as_ref().get(self.0)?);
                (bounds != (-R::infinity(), R::infinity())).then_some(bounds)
            }
        }
        self.visit(Bounds(index))
    }

    fn membrane_with(&self, params: &[R]) -> Option<LinearMembrane<R>> {
        struct Linear<'a, R>(&'a [R]);
        impl<R: Real> NeuronVisitor<R> for Linear<'_, R> {
            type Output = Option<LinearMembrane<R>>;
            fn visit<N: Neuron<Real = R>>(self, neuron: &N) -> Self::Output {
                if !neuron.fires() || neuron.params().as_ref().len() != self.0.len() {
                    return None;
                }
                neuron.with_set(self.0, 1, 0).linear_membrane()
            }
        }
        self.visit(Linear(params))
    }
}

impl<N: Neuron> NeuronModel for N {
    type Real = N::Real;

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

impl<R: Real> NeuronModel for AnyNeuron<R> {
    type Real = R;

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
