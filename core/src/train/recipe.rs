use crate::init::DelayInit;

/// The schedule of the raw sigma, which shrinks from `start` to `end` and then stays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sigma {
    /// Sigma in the first epoch. With `None` every layer starts at half the length of its kernel.
    pub start: Option<f64>,
    /// Sigma after it has shrunk.
    pub end: f64,
    /// The number of epochs in which sigma shrinks.
    pub epochs: usize,
}

/// The hyper-parameters of a training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// The number of epochs; all schedules end with them.
    pub epochs: usize,
    /// The highest learning rate of weights, norms and neurons in the one-cycle schedule, which
    /// starts at a 25th of it.
    pub rate: f64,
    /// The learning rate of the delays in the first epoch; it falls to zero as a cosine. With
    /// `None` the delays are fixed.
    pub delay_rate: Option<f64>,
    /// The weight decay of the synaptic weights.
    pub l2: f64,
    /// Whether the weight decay is decoupled from the gradient (AdamW).
    pub decoupled: bool,
    /// Whether the raw parameters of the neurons learn.
    pub train_neurons: bool,
    /// The schedule of sigma.
    pub sigma: Sigma,
    /// The distribution of the initial delays.
    pub delays: DelayInit,
    /// The number of last epochs in which delays are [rounded](super::Network::rounding). With 0, they are
    /// rounded after training.
    pub rounded_epochs: usize,
}

impl Recipe {
    /// The recipe of the paper: peak rate 5e-3, rate of the delays 0.1, L2 1e-5, sigma shrinks to
    /// 0.23 in the first quarter of the epochs, delays are rounded after training.
    #[must_use]
    pub fn paper(epochs: usize) -> Self {
        Self {
            epochs,
            rate: 5e-3,
            delay_rate: Some(0.1),
            l2: 1e-5,
            decoupled: false,
            train_neurons: true,
            sigma: Sigma { start: None, end: 0.23, epochs: (epochs / 4).max(1) },
            delays: DelayInit::Paper,
            rounded_epochs: 0,
        }
    }

    /// Whether delays are rounded in an epoch, counted from 0.
    #[must_use]
    pub fn rounds_in(&self, epoch: u64) -> bool {
        epoch.saturating_add(self.rounded_epochs as u64) >= self.epochs as u64
            && self.rounded_epochs > 0
    }
}
