//! The allowed errors of a backend against the reference, in one table.

use crate::num::Real;

/// The operation that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The output of the delayed projection.
    Projection,
    /// The gradients of the delayed projection.
    ProjectionBackward,
    /// The sums of the gradients by the delays of synapses.
    Delays,
    /// Normalised values and statistics.
    Norm,
    /// The gradients of the normalisation.
    NormBackward,
    /// Spikes, or the smooth primitive instead.
    Neuron,
    /// Backpropagation through time.
    NeuronBackward,
    /// The inputs and spikes of recurrent neurons.
    Recurrent,
    /// The gradients of recurrent neurons and their synapses.
    RecurrentBackward,
    /// The output, the projection and the statistics of a whole layer.
    Layer,
    /// The gradients of a whole layer.
    LayerBackward,
    /// The loss and the running statistics of a whole network.
    Network,
    /// The gradients of a whole network.
    NetworkBackward,
    /// Scores and loss.
    Readout,
    /// The gradient of the loss.
    ReadoutBackward,
    /// Parameters and moments after optimizer steps.
    Optimizer,
}

impl Stage {
    /// Name, and largest errors in `f32` and `f64`.
    const fn row(self) -> (&'static str, f64, f64) {
        match self {
            Self::Projection => ("projection", 5e-6, 1e-12),
            Self::ProjectionBackward => ("projection backward", 2e-5, 1e-11),
            Self::Delays => ("delays", 5e-6, 1e-12),
            Self::Norm => ("norm", 5e-6, 1e-12),
            Self::NormBackward => ("norm backward", 2e-5, 1e-11),
            Self::Neuron => ("neuron", 1e-5, 1e-12),
            Self::NeuronBackward => ("neuron backward", 5e-5, 1e-11),
            Self::Recurrent => ("recurrent", 2e-5, 1e-12),
            Self::RecurrentBackward => ("recurrent backward", 2e-4, 1e-11),
            Self::Layer => ("layer", 1e-5, 1e-12),
            Self::LayerBackward => ("layer backward", 1e-4, 1e-11),
            Self::Network => ("network", 1e-5, 1e-12),
            Self::NetworkBackward => ("network backward", 1e-4, 1e-11),
            Self::Readout => ("readout", 5e-6, 1e-12),
            Self::ReadoutBackward => ("readout backward", 2e-5, 1e-11),
            Self::Optimizer => ("optimizer", 5e-6, 1e-12),
        }
    }

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The largest error allowed, relative to the largest magnitude in the block.
    #[must_use]
    pub fn tolerance<R: Real>(self) -> f64 {
        let (_, single, double) = self.row();
        if R::BYTES == 4 { single } else { double }
    }
}
