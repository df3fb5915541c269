use super::network::NetworkError;
use super::state::StateError;
use crate::shape::ShapeError;
use core::fmt;

/// Why training stopped.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TrainError<E> {
    /// The backend failed.
    Backend(E),
    /// The network cannot be.
    Network(NetworkError),
    /// The state is not of this network.
    State(StateError),
    /// The loss, a running statistic, a gradient, an updated parameter or its moment is no longer a finite number: go on from an
    /// earlier state.
    Diverged {
        /// Epoch, from 0.
        epoch: u64,
        /// Step of the whole training, from 0.
        step: u64,
    },
}

impl<E: fmt::Display> fmt::Display for TrainError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(e) => e.fmt(f),
            Self::Network(e) => e.fmt(f),
            Self::State(e) => e.fmt(f),
            Self::Diverged { epoch, step } => {
                write!(
                    f,
                    "loss, statistic, gradient, parameter or moment is not finite in epoch {epoch}, step {step}"
                )
            }
        }
    }
}

impl<E: core::error::Error> core::error::Error for TrainError<E> {}

impl<E: From<ShapeError>> From<E> for TrainError<E> {
    fn from(error: E) -> Self {
        Self::Backend(error)
    }
}
