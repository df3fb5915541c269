use super::network::{Setting, complete, values};
use crate::error::{Error, Result, fail};
use polychron_core::optim::Optimizer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use toml::Table;

/// The training recipe.
///
/// Recipes are equal if all their fields are, with defaults in place of missing parameters. Those
/// of another optimizer are ignored:
///
/// * `momentum`: share of the previous step that `sgd` repeats, in [0, 1); 0.9 by default.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Train {
    /// Number of passes over the training items, from 1 to 2^20; 30 by default. With `steps`, it
    /// follows from the data, and a run stores what it found.
    pub epochs: usize,
    /// Least number of training steps, at least 1: `epochs` becomes the smallest number that
    /// reaches it, so that the length of the training does not depend on the number of items. If it
    /// is absent, `epochs` counts. An assignment to `epochs` removes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Optimizer: `adam` (the default; with `decoupled`, AdamW) or `sgd`, gradient descent with
    /// momentum.
    pub optimizer: String,
    /// Parameters of the optimizer.
    #[serde(flatten)]
    pub parameters: BTreeMap<String, Setting>,
    /// Base learning rate of weights, batch norms and neurons, above 0; 0.005 by default. It is the
    /// highest of a one-cycle schedule and the first of the others.
    pub rate: f64,
    /// Schedule of `rate`. `one-cycle`, the default, rises to the base rate in three tenths of the
    /// epochs, then falls to almost 0; `cosine` falls to 0 as half a cosine; `constant` stays;
    /// `step` is multiplied by `step_factor` after every `step_epochs` epochs.
    pub schedule: String,
    /// Base learning rate of the delays, above 0; 0.1 by default.
    pub delay_rate: f64,
    /// Schedule of `delay_rate`; `cosine` by default.
    pub delay_schedule: String,
    /// Number of epochs after which the schedule `step` multiplies the rate by `step_factor`; 10 by
    /// default.
    pub step_epochs: usize,
    /// Factor of the schedule `step`, above 0 and at most 1; 0.5 by default.
    pub step_factor: f64,
    /// Base learning rate of the neurons' parameters, above 0, with the schedule of `rate`. If it
    /// is absent, they learn at `rate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neuron_rate: Option<f64>,
    /// Number of first epochs in which the rates rise to those of their schedules, below `epochs`;
    /// 0 by default.
    pub warmup_epochs: usize,
    /// Largest norm of the gradient of all learned parameters, above 0; longer gradients are
    /// shortened. If it is absent, there is no limit. Not with `network.fan_in` or
    /// `network.density`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Penalty for hidden neurons that spike too seldom or too often. If it is absent, there is
    /// none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_penalty: Option<RatePenalty>,
    /// Longest stretch of time steps that is computed at once, at least 1. Longer batches are cut
    /// into windows: the layers take the memory of one window, and gradients do not pass its edges
    /// (truncated backpropagation through time). If it is absent, batches are not cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_steps: Option<usize>,
    /// Weight decay of the synaptic weights, at least 0; 1e-5 by default.
    pub l2: f64,
    /// Whether the weight decay is decoupled from the gradient, as in AdamW; `false` by default.
    pub decoupled: bool,
    /// Distribution of the initial delays; `uniform` by default.
    pub delay_init: DelayStart,
    /// Raw sigma of the kernel in the first epoch, in steps and at least 0. If it is absent, each
    /// layer starts at half the length of its kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma_start: Option<f64>,
    /// Raw sigma after it has shrunk, in steps and at least 0; 0.23 by default.
    pub sigma_end: f64,
    /// Number of epochs in which sigma shrinks. If it is absent, a quarter of all epochs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma_epochs: Option<usize>,
    /// How learned delays become whole steps, which is all that a device has; `split` by default.
    /// With `nearest`, they stop learning when they become whole.
    pub rounding: Rounding,
    /// Number of last epochs in which learned delays have one or two taps at whole steps, unless
    /// `rounding` is `after`. If it is absent, a quarter of all epochs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounded_epochs: Option<usize>,
    /// Whether all classes count the same in the loss, however many training items they have;
    /// `false` by default. With the objective `cross_entropy` only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub class_weights: bool,
    /// Whether the parameters of the neurons are trained; `true` by default.
    pub train_neurons: bool,
    /// Epoch whose model is tested under protocol `clean`; `last` by default.
    pub select: Select,
    /// Number of epochs, at least 1, after which a run ends if the validation accuracy has not
    /// risen in them. Epochs count from the first one that may be selected: the first with narrow
    /// kernels. The schedules do not know of it, so a run that ends early leaves out what they have
    /// left, often the epochs with whole delays (`rounded_epochs`). If it is absent, all epochs are
    /// trained. Only with `select = "valid"` under the protocol `clean`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
}

/// Penalty for hidden neurons that spike too seldom or too often: the sum over all neurons of
/// `weight` times the square of the distance from the range `low` to `high`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RatePenalty {
    /// Weight in the loss, at least 0.
    pub weight: f64,
    /// Lowest mean rate without a penalty, in spikes per step; 0 by default.
    #[serde(default)]
    pub low: f64,
    /// Highest mean rate without a penalty, in spikes per step; at least `low`.
    pub high: f64,
}

/// How learned delays become whole steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum, schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    /// After training, to the nearest step, as in the paper.
    #[cfg_attr(feature = "cli", value(skip))]
    After,
    /// One tap per delay, at the nearest step.
    Nearest,
    /// Two taps per delay that share its weight, at the steps before and after it. A synapse costs
    /// as much as two on a device.
    Split,
}

/// Distribution of the initial delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DelayStart {
    /// Uniform between 0 and the longest delay.
    Uniform,
    /// As in the paper's code: about one delay in `max_delay + 1` starts at the longest delay.
    Paper,
    /// All delays start at 0.
    Zero,
}

/// Epoch whose model is tested under protocol `clean`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Select {
    /// The last epoch.
    Last,
    /// The first epoch with the best validation accuracy.
    Valid,
}

impl Train {
    /// The optimizer with its parameters.
    pub(crate) fn optimizer(&self) -> Result<Optimizer> {
        let known = Optimizer::KINDS.iter().flat_map(|(_, parameters)| *parameters);
        let known: Vec<_> = known.map(|parameter| parameter.name).collect();
        if let Some(field) = self.parameters.keys().find(|field| !known.contains(&&***field)) {
            let fields = Self::fields().chain(known.into_iter().map(Into::into));
            let fields: Vec<_> = fields.map(|field: String| format!("`{field}`")).collect();
            fail!("train: unknown field `{field}`, expected one of {}", fields.join(", "))
        }
        let given: Vec<_> = values(&self.parameters).collect();
        let optimizer = Optimizer::from_name(&self.optimizer, &given);
        optimizer.map_err(|error| Error::new(format!("train.{error}")))
    }

    /// The fields of every recipe.
    fn fields() -> impl Iterator<Item = String> {
        let every = Self {
            neuron_rate: Some(0.0),
            clip_norm: Some(0.0),
            rate_penalty: Some(RatePenalty { weight: 0.0, low: 0.0, high: 0.0 }),
            window_steps: Some(1),
            class_weights: true,
            sigma_start: Some(0.0),
            sigma_epochs: Some(1),
            rounded_epochs: Some(1),
            steps: Some(1),
            patience: Some(1),
            ..Self::default()
        };
        Table::try_from(every).unwrap_or_default().into_iter().map(|(field, _)| field)
    }

    /// The same recipe with all parameters that the optimizer has, and no others; unchanged if the
    /// optimizer is unknown.
    pub(crate) fn complete(mut self) -> Self {
        if let Some((_, own)) = Optimizer::KINDS.iter().find(|(name, _)| *name == self.optimizer) {
            self.parameters = complete(self.parameters, own);
        }
        self
    }
}

impl PartialEq for Train {
    fn eq(&self, other: &Self) -> bool {
        let fields = |train: &Self| Table::try_from(train.clone().complete()).ok();
        fields(self).is_some_and(|own| Some(own) == fields(other))
    }
}

impl Default for Train {
    fn default() -> Self {
        Self {
            epochs: 30,
            steps: None,
            optimizer: Optimizer::default().name().into(),
            parameters: BTreeMap::new(),
            rate: 5e-3,
            schedule: "one-cycle".into(),
            delay_rate: 0.1,
            delay_schedule: "cosine".into(),
            neuron_rate: None,
            step_epochs: 10,
            step_factor: 0.5,
            warmup_epochs: 0,
            clip_norm: None,
            rate_penalty: None,
            window_steps: None,
            l2: 1e-5,
            decoupled: false,
            delay_init: DelayStart::Uniform,
            sigma_start: None,
            sigma_end: 0.23,
            sigma_epochs: None,
            rounding: Rounding::Split,
            rounded_epochs: None,
            class_weights: false,
            train_neurons: true,
            select: Select::Last,
            patience: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use polychron_core::optim::{Optimizer, Sgd};

    fn with(set: &[&str]) -> crate::Result<Config> {
        let mut config = Config::preset("order")?;
        set.iter().try_for_each(|set| config.set(set))?;
        Ok(config)
    }

    #[test]
    fn an_optimizer_has_its_own_parameters() {
        let sgd = with(&["train.momentum=0.5", "train.optimizer=sgd"]).unwrap();
        assert_eq!(sgd.train.optimizer().unwrap(), Optimizer::Sgd(Sgd { momentum: 0.5 }));
        assert!(
            with(&["train.optimizer=sgd"]).unwrap().to_toml().unwrap().contains("momentum = 0.9")
        );
        let (adam, plain) = (with(&["train.momentum=0.5"]).unwrap(), with(&[]).unwrap());
        assert_eq!((&adam, adam.difference(&plain).unwrap()), (&plain, None));
        assert!(!adam.to_toml().unwrap().contains("momentum"));
        let shown = Some(("train.optimizer = \"sgd\"".into(), "train.optimizer = \"adam\"".into()));
        let difference = sgd.differences(&plain).unwrap().into_iter().nth(1);
        assert_eq!(difference, shown);
    }

    #[test]
    fn what_an_optimizer_does_not_take_is_named() {
        for (set, message) in [
            ("train.momentum=1", "train.momentum = 1.0 is not in [0, 1)"),
            ("train.momentum=true", "train.momentum = true is not a number"),
            (
                "train.optimizer=adams",
                "train.optimizer = \"adams\" is not one of [\"adam\", \"sgd\"]",
            ),
            ("train.epoch=3", "train: unknown field `epoch`, expected one of `class_weights`, "),
            ("train.epoch=3", "`epochs`, "),
            ("train.epoch=3", "`momentum`"),
        ] {
            let error = with(&["train.optimizer=sgd", set]).unwrap_err().to_string();
            assert!(error.contains(message), "{set}: {error}");
        }
    }
}
