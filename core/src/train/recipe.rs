use super::tensor::Group;
use crate::init::DelayInit;
use crate::loss::RatePenalty;
use crate::optim::Optimizer;
use crate::schedule::Schedule;

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

/// How the tensors of a group learn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learning {
    /// The learning rate.
    pub rate: f64,
    /// Adam's beta1.
    pub beta1: f64,
    /// The weight decay.
    pub l2: f64,
}

/// The hyper-parameters of a training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// The number of epochs; all schedules end with them.
    pub epochs: usize,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// The base learning rate of weights and norms: the highest of a one-cycle schedule, the first
    /// of the others.
    pub rate: f64,
    /// The schedule of `rate` and `neuron_rate`.
    pub schedule: Schedule,
    /// The base learning rate of the delays. With `None` the delays are fixed.
    pub delay_rate: Option<f64>,
    /// The schedule of `delay_rate`.
    pub delay_schedule: Schedule,
    /// The base learning rate of the raw parameters of the neurons; `None` for that of the weights.
    pub neuron_rate: Option<f64>,
    /// The number of first epochs in which all rates rise linearly to those of their schedules.
    pub warmup: usize,
    /// The largest norm of the gradient of all learned parameters; longer gradients are scaled. It
    /// must be positive.
    pub clip: Option<f64>,
    /// The penalty for the rates of the hidden neurons in a batch, or in each of its windows.
    pub rate_penalty: Option<RatePenalty>,
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
    /// The number of last epochs in which delays are rounded, as
    /// [`Network::rounding`](super::Network::rounding) says. With 0, they are rounded after
    /// training.
    pub rounded_epochs: usize,
}

impl Recipe {
    /// The recipe of the paper: Adam, a one-cycle schedule with the peak 5e-3, delays with a cosine
    /// from 0.1, L2 1e-5, sigma shrinks to 0.23 in the first quarter of the epochs, delays are
    /// rounded after training.
    #[must_use]
    pub fn paper(epochs: usize) -> Self {
        Self {
            epochs,
            optimizer: Optimizer::default(),
            rate: 5e-3,
            schedule: Schedule::OneCycle,
            delay_rate: Some(0.1),
            delay_schedule: Schedule::Cosine,
            neuron_rate: None,
            warmup: 0,
            clip: None,
            rate_penalty: None,
            l2: 1e-5,
            decoupled: false,
            train_neurons: true,
            sigma: Sigma { start: None, end: 0.23, epochs: (epochs / 4).max(1) },
            delays: DelayInit::Paper,
            rounded_epochs: 0,
        }
    }

    /// How the tensors of a group learn in an epoch, counted from 0; `None` if they do not.
    #[must_use]
    pub fn learning(&self, group: Group, epoch: usize) -> Option<Learning> {
        let (rate, schedule) = match group {
            Group::Weights | Group::Norms => (self.rate, self.schedule),
            Group::Delays => (self.delay_rate?, self.delay_schedule),
            Group::Neurons if self.train_neurons => {
                (self.neuron_rate.unwrap_or(self.rate), self.schedule)
            }
            Group::Neurons | Group::Sigma | Group::Statistics => return None,
        };
        let (mut rate, beta1) = schedule.at(rate, epoch, self.epochs);
        if epoch < self.warmup {
            rate = rate * (epoch as f64 + 1.0) / (self.warmup as f64 + 1.0);
        }
        let l2 = if group == Group::Weights { self.l2 } else { 0.0 };
        Some(Learning { rate, beta1, l2 })
    }

    /// Whether delays are rounded in an epoch, counted from 0.
    #[must_use]
    pub fn rounds_in(&self, epoch: u64) -> bool {
        epoch.saturating_add(self.rounded_epochs as u64) >= self.epochs as u64
            && self.rounded_epochs > 0
    }
}
