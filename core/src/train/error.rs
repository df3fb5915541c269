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
    /// The network description is invalid.
    Network(NetworkError),
    /// The state does not belong to this network.
    State(StateError),
    /// The loss, a running statistic, a gradient, an updated parameter or its moment is not finite.
    /// Restore an earlier state.
    Diverged {
        /// The epoch, counted from 0.
        epoch: u64,
        /// The step of the whole training, counted from 0.
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
                    "the training diverged in epoch {epoch}, step {step}: \
                     a loss, statistic, gradient, parameter or moment is not finite"
                )
            }
        }
    }
}

impl<E: core::error::Error> core::error::Error for TrainError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Backend(error) => error.source(),
            Self::Network(error) => error.source(),
            Self::State(error) => error.source(),
            Self::Diverged { .. } => None,
        }
    }
}

impl<E: From<ShapeError>> From<E> for TrainError<E> {
    fn from(error: E) -> Self {
        Self::Backend(error)
    }
}
