//! The raw parameters of neurons before training.

use super::error::NetworkError;
use super::network::Layer;
use crate::backend::Backend;
use crate::neuron::ErasedNeuron;
use crate::num::Real;
use alloc::vec;
use alloc::vec::Vec;
use num_traits::float::FloatCore;

impl<B: Backend> Layer<B> {
    /// The same layer with raw parameters for each neuron, which start as those of `neurons`, one
    /// for each neuron of the layer.
    ///
    /// ```
    /// use polychron_core::delay::Gauss;
    /// use polychron_core::neuron::{Lif, Plif};
    /// use polychron_core::{reference::Reference, shape::Synapses, surrogate::Atan, train::Layer};
    /// let neurons = [2.0, 4.0].map(|tau| Plif::new(Lif::new(tau)));
    /// let layer = Layer::new(Synapses::new(3, 2, 5), Gauss, neurons[0], Atan { alpha: 5.0 });
    /// let layer: Layer<Reference<f32>> = layer.with_parameters_of(&neurons);
    /// assert_eq!(layer.initial, [0.0, -f32::ln(3.0)]);
    /// ```
    #[must_use]
    pub fn with_parameters_of<N: ErasedNeuron<B::Real>>(self, neurons: &[N]) -> Self {
        let each: Vec<_> = neurons.iter().map(raw_params).collect();
        let of = |p: usize| each.iter().filter_map(move |raw: &Vec<_>| raw.get(p).copied());
        let initial = (0..each.first().map_or(0, Vec::len)).flat_map(of).collect();
        Self { per_neuron: true, initial, ..self }
    }

    /// The raw parameters before training: one value of each for all neurons, or `[P, out]`.
    pub(super) fn initial_params(&self) -> Vec<B::Real> {
        if self.initial.is_empty() { raw_params(&self.neuron) } else { self.initial.clone() }
    }

    /// Checks the raw parameters of layer `layer` before training; it has `width` neurons.
    pub(super) fn check_params(&self, layer: usize, width: usize) -> Result<(), NetworkError> {
        let sets = if self.per_neuron { width } else { 1 };
        let (expected, found) = (sets * self.neuron.param_count(), self.initial.len());
        if found != 0 && found != expected {
            return Err(NetworkError::Initial { layer, expected, found });
        }
        let same = if found == 0 { 1 } else { sets };
        let raw = self.initial_params();
        let invalid = raw.iter().position(|p| !p.is_finite());
        if let Some(n) = invalid {
            let (index, found) = (n / same, raw[n].as_f64());
            return Err(NetworkError::Neuron { layer, index, found });
        }
        for (n, found) in raw.into_iter().enumerate() {
            let index = n / same;
            let Some((least, most)) = self.neuron.param_bounds(index) else { continue };
            if !(least <= found && found <= most) {
                let [found, least, most] = [found, least, most].map(Real::as_f64);
                return Err(NetworkError::NeuronBounds { layer, index, found, least, most });
            }
        }
        Ok(())
    }
}

fn raw_params<R: Real>(neuron: &impl ErasedNeuron<R>) -> Vec<R> {
    let mut raw = vec![R::zero(); neuron.param_count()];
    neuron.write_params(&mut raw);
    raw
}
